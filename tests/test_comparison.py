"""Explanations side by side: effects of words, their differences, and what is said of them."""

from __future__ import annotations

import io
import math

import pandas as pd
import pytest

from reagent_core.comparison import (
    CSV_COLUMNS,
    ComparedWord,
    Comparison,
    compare,
    comparison_csv,
    missing_words,
    strips,
    what_differs,
)
from reagent_core.comparison_words import (
    answer_change,
    answers_sentence,
    difference_cell,
    differences_sentence,
    effect_cell,
    elsewhere,
    row_name,
)
from reagent_core.explanation import Explanation, TargetInfo
from reagent_core.request import ModelInfo, Turn
from reagent_core.strip import full_colour
from tests.examples import UnitSpec, make_explanation, make_whole_answer, without_intervals

TIMES_10 = (math.log(10), math.log(8), math.log(12.5))
TIMES_3 = (math.log(3), math.log(2.5), math.log(3.6))
NOTHING = (0.0, -0.1, 0.1)

A: list[UnitSpec] = [("Say", NOTHING), (" the", NOTHING), (" capital", TIMES_10)]


def explained(
    specs: list[UnitSpec], answer: str = " Paris", probability: float = 0.41, **options: object
) -> Explanation:
    return make_explanation(specs, (answer,), probability=probability, **options)  # type: ignore[arg-type]


def row_of(comparison: Comparison, text: str) -> ComparedWord:
    (row,) = [row for row in comparison.rows if text in row_name(row)]
    return row


def changed(specs: list[UnitSpec], **options: object) -> str:
    return answer_change(compare([explained(A), explained(specs, **options)]), 1)


def test_a_word_that_is_in_both_is_compared() -> None:
    other: list[UnitSpec] = [*A[:2], (" capital", TIMES_3)]
    row = row_of(compare([explained(A), explained(other)]), "capital")
    first, second = row.differences
    assert first is None and second is not None
    assert second.value == pytest.approx(math.log(0.3))
    # 2.5/3 and 12.5/10 below, 3.6/3 and 10/8 above: square and add.
    below = math.hypot(math.log(3 / 2.5), math.log(12.5 / 10))
    above = math.hypot(math.log(3.6 / 3), math.log(10 / 8))
    assert second.low == pytest.approx(math.log(0.3) - below)
    assert second.high == pytest.approx(math.log(0.3) + above)
    assert second.clear and row.clear


@pytest.mark.parametrize(
    ("low", "high", "clear"), [(7.9, 20, False), (12.4, 20, False), (12.6, 20, True), (2, 7, True)]
)
def test_within_the_noise_is_where_the_intervals_overlap(
    low: float, high: float, clear: bool
) -> None:
    numbers = (math.log((low * high) ** 0.5), math.log(low), math.log(high))
    comparison = compare([explained(A), explained([*A[:2], (" capital", numbers)])])
    difference = row_of(comparison, "capital").differences[1]
    assert difference is not None and difference.clear is clear
    assert (difference_cell(difference, "A") == "within the noise") is not clear


def test_no_difference_without_intervals_or_without_the_word() -> None:
    unknown = without_intervals(explained(A))
    comparison = compare([explained(A), unknown, explained(A[1:])])
    assert row_of(comparison, "capital").differences[:2] == (None, None)
    assert row_of(comparison, "Say").words[2] is None
    assert row_of(comparison, "Say").differences == (None, None, None)


def test_a_word_of_several_tokens_has_the_effect_of_the_strongest() -> None:
    split: list[UnitSpec] = [*A[:2], (" cap", NOTHING), ("ital", (-3.0, -3.2, -2.8))]
    word = row_of(compare([explained(A), explained(split)]), "capital").words[1]
    assert word is not None
    assert (word.text, word.units, word.effect, word.low) == (" capital", 2, -3.0, -3.2)


def test_a_unit_is_found_in_its_row() -> None:
    split: list[UnitSpec] = [("<s>", None), (" new", NOTHING), (" cap", NOTHING), ("ital", TIMES_3)]
    comparison = compare([explained(A), explained(split)])
    words = [comparison.rows[comparison.row_of(1, unit)].words[1] for unit in (1, 2, 3)]
    assert [word.text for word in words if word] == [" new", " capital", " capital"]
    with pytest.raises(LookupError):
        comparison.row_of(1, 0)


def test_protected_words_are_left_out() -> None:
    protected: list[UnitSpec] = [("<s>", None), *A]
    assert [row_name(row) for row in compare([explained(protected)] * 2).rows] == [
        "“Say”", "“the”", "“capital”",
    ]  # fmt: skip


def test_a_bound_is_no_proof_of_a_difference_upwards() -> None:
    first = explained(A)
    units = tuple(unit.model_copy(update={"at_least": True}) for unit in first.units)
    bounded = first.model_copy(update={"units": units})
    higher = explained([*A[:2], (" capital", (5.0, 4.9, 5.1))])
    lower = explained([*A[:2], (" capital", (0.5, 0.4, 0.6))])
    row = row_of(compare([bounded, higher, lower]), "capital")
    assert [each.clear for each in row.differences if each] == [False, True]
    assert row.differences[2].low == -math.inf  # type: ignore[union-attr]
    assert effect_cell(row.words[0])[1] == "at least 8 times"  # type: ignore[arg-type]


def test_rows_are_sorted_by_the_clear_difference_then_by_effect() -> None:
    other: list[UnitSpec] = [("Say", (1.0, 0.8, 1.2)), (" the", (0.05, -0.1, 0.2)), A[2]]
    comparison = compare([explained(A), explained([*other, (" now", (0.5, 0.1, 0.9))])])
    names = [row_name(row) for row in comparison.sorted_rows]
    assert names == ["“Say”", "“capital”", "“now”", "“the”"]


def test_one_colour_scale_and_marks() -> None:
    other: list[UnitSpec] = [
        (" capital", TIMES_3), (" the", NOTHING), (" Tell", NOTHING), (" now", NOTHING)
    ]  # fmt: skip
    comparison = compare([explained(A), explained(other)])
    assert full_colour(comparison.explanations) == TIMES_10[0]
    first, second = strips(comparison)
    assert [token.mark for token in first] == [None] * 3
    weights = {token.text: token.weight for token in second}
    assert weights[" capital"] == pytest.approx(TIMES_3[0] / TIMES_10[0])
    marks = {token.text: token.mark for token in second}
    assert marks[" capital"] == "moved" and marks[" now"] == "added"
    assert "Moved: A has it elsewhere" in second[0].lines


def test_a_changed_word_says_what_stood_there() -> None:
    comparison = compare([explained(A), explained([("Tell", NOTHING), *A[1:]])])
    token = strips(comparison)[1][0]
    assert (token.mark, token.lines[-1]) == ("changed", "Changed: A has “Say” here")
    assert row_name(comparison.rows[0]) == "“Say”"
    assert row_name(comparison.rows[0], 1) == "“Tell” in place of “Say”"
    assert missing_words(compare([explained(A), explained(A[1:])]), 1) == ["Say"]


@pytest.mark.parametrize(
    ("specs", "sentence"),
    [
        ([("Politely", NOTHING), (" say", NOTHING), *A[1:]],
         "Adding “Politely” makes the model answer “Paris” with 84% instead of 41%."),
        (A[1:], "Leaving out “Say” makes the model answer “Paris” with 84% instead of 41%."),
        ([("Tell", NOTHING), *A[1:]],
         "Replacing “Say” by “Tell” makes the model answer “Paris” with 84% instead of 41%."),
        ([(" capital", TIMES_10), (" say", NOTHING), (" the", NOTHING)],
         "Moving “capital” makes the model answer “Paris” with 84% instead of 41%."),
        ([*A[1:], (" please", NOTHING), (" now", NOTHING), (" then", NOTHING)],
         "Leaving out “Say” and adding 3 words make the model answer “Paris” with 84% instead of "
         "41%."),
    ],
)  # fmt: skip
def test_what_was_done_to_the_prompt_and_what_came_of_it(
    specs: list[UnitSpec], sentence: str
) -> None:
    assert changed(specs, probability=0.84) == sentence


def test_many_kinds_of_change_are_not_spelled_out() -> None:
    first: list[UnitSpec] = [*A, (" of", NOTHING)]
    specs: list[UnitSpec] = [("Of", NOTHING), (" the", NOTHING), (" town", TIMES_10)]
    comparison = compare([explained(first), explained(specs, probability=0.84)])
    assert {word.kind for row in comparison.rows if (word := row.words[1])} == {
        "moved", "same", "changed",
    }  # fmt: skip
    assert answer_change(comparison, 1) == (
        "The changes in B make the model answer “Paris” with 84% instead of 41%."
    )


def test_the_same_chance_and_other_answers() -> None:
    more: list[UnitSpec] = [*A, (" now", NOTHING)]
    assert changed(more) == "Adding “now” leaves “Paris” at 41%."
    assert changed(more, answer=" Rome", probability=0.2) == (
        "Adding “now” makes the model answer “Rome” (20%) instead of “Paris” (41%). “Paris” has "
        "12% in B; how likely “Rome” is in A is not known."
    )
    assert changed(more, answer=" Phuket", probability=0.2).endswith(
        "“Paris” has 12% in B; “Phuket” has 3% in A."
    )
    pair = [explained(A, answer=" Oslo"), explained(more, answer=" Rome")]
    assert answer_change(compare(pair), 1).endswith(
        "How likely “Oslo” is in B and “Rome” in A is not known: explain the same target in both "
        "to learn it."
    )
    model = {"model": ModelInfo(id="big", revision_or_sha256="1")}
    pair = [explained(A), explained(A, " Phuket", 0.2).model_copy(update=model)]
    assert answer_change(compare(pair), 1) == (
        "“big” answers “Phuket” (20%), “bundled” “Paris” (41%). “Paris” has 12% in B; “Phuket” has "
        "3% in A."
    )
    # A longer answer that begins with the first one's word knows its chance.
    pair = [explained(A), make_explanation(more, (" Paris", "ian"), (0, 2), probability=0.5)]
    assert answer_change(compare(pair), 1) == (
        "Adding “now” makes the model answer “Parisian” (25%) instead of “Paris” (41%). “Paris” "
        "has 50% in B; how likely “Parisian” is in A is not known."
    )
    unseen = make_explanation(more, ("", " Oslo"), (0, 1))  # a part of a character
    assert elsewhere(unseen, make_explanation(A, ("", "Å"), (0, 2))) is None
    # The alternatives of the tests' tokens are Paris and Phuket.
    assert elsewhere(explained(A, answer=" Oslo"), explained(more, answer=" Rome")) is None


def test_chances_too_small_for_percentages_are_told_as_a_factor() -> None:
    tiny = {"probability": 1e-7}
    comparison = compare([explained(A, **tiny), explained([*A, (" now", NOTHING)],
                                                          probability=1e-8)])  # fmt: skip
    assert answer_change(comparison, 1) == (
        "Adding “now” makes the model answer “Paris” about 10 times less likely."
    )


def test_a_given_target_is_no_answer() -> None:
    def given(explanation: Explanation) -> Explanation:
        told = explanation.target.model_dump() | {"answer_start": None, "answer_stop": None}
        return explanation.model_copy(update={"target": TargetInfo(**told)})

    pair = [given(explained(A)), given(explained([*A, (" now", NOTHING)], probability=0.84))]
    assert answer_change(compare(pair), 1) == (
        "Adding “now” makes “Paris” 84% likely instead of 41%."
    )


def test_other_words_of_the_answers_are_only_named() -> None:
    answers = (" Bang", "kok", ",", " of", " course", ".")
    first, other = make_whole_answer(A, answers), make_whole_answer([*A, (" now", NOTHING)])
    comparison = compare([first.explanations[3], other.explanations[4]])  # type: ignore[index]
    assert answer_change(comparison, 1) == "Shown here is “course”, but “of” in A."
    assert answers_sentence(comparison).startswith("What is shown differs: ")


def test_what_the_runs_differ_in() -> None:
    run = explained(A)
    model = run.model_copy(update={"model": ModelInfo(id="big", revision_or_sha256="1")})
    seed, ratio = ({"config": run.config.model_copy(update={name: value})}
                   for name, value in (("seed", 7), ("ratio", 0.1)))  # fmt: skip
    assert what_differs([run, explained(A[1:])]) == "prompts"
    assert what_differs([run, model]) == "models"
    assert what_differs([run, run.model_copy(update=ratio)]) == "settings"
    assert what_differs([run, run.model_copy(update=seed)]) == "seeds"
    assert what_differs([run, run]) == "nothing"
    assert answer_change(compare([run, model]), 1) == "“big” gives “Paris” 41%, as “bundled” does."
    assert answer_change(compare([run, run.model_copy(update=seed)]), 1) == (
        "The same with another seed: the chance of “Paris” is 41% as before; what differs is the "
        "noise of the method."
    )
    assert answer_change(compare([run, run.model_copy(update=ratio)]), 1).startswith(
        "The same with other settings: "
    )


def test_what_different_methods_say_is_not_compared() -> None:
    run = explained(A)
    other = run.model_copy(update={"method": "leave_one_out"})
    assert what_differs([run, other]) == "methods"
    comparison = compare([run, other])
    assert answer_change(comparison, 1) == (
        "The same, explained by Leave-one-out in place of ReAGent: the chance of “Paris” is 41% as "
        "before; only how it is explained differs."
    )
    assert differences_sentence(comparison) == (
        "Words are not compared: the methods differ, A by ReAGent and B by Leave-one-out."
    )
    assert not any(each for row in comparison.rows for each in row.differences)
    assert what_differs([run, explained(A[1:]).model_copy(update={"method": "random"})]) == (
        "prompts"
    )
    # One method that tells effects and how sure they are is compared with itself.
    assert row_of(compare([other, other]), "capital").differences[1] is not None


def test_one_chat_that_two_models_render_otherwise_is_one_prompt() -> None:
    turns = (Turn(role="user", content="the capital"),)
    first = explained(A, messages=turns)
    other = explained([("<s>", None), *A], messages=turns)
    model = other.model_copy(update={"model": ModelInfo(id="big", revision_or_sha256="1")})
    assert what_differs([first, model]) == "models"


def test_the_answers_of_all() -> None:
    three = [explained(A), explained(A[1:], probability=0.84), explained(A[:2], " Rome", 0.2)]
    assert answers_sentence(compare(three)) == (
        "The answers differ: “Paris” in A (41%) and B (84%), “Rome” in C (20%)."
    )
    assert answers_sentence(compare(three[:2], "BD")) == (
        "The chance of “Paris” is 41% in B and 84% in D."
    )
    assert answers_sentence(compare(three[:1] * 3)) == "The chance of “Paris” is 41% in all."


def test_what_differs_most() -> None:
    other: list[UnitSpec] = [("Say", (0.0, -0.1, 0.1)), (" the", NOTHING), (" capital", TIMES_3)]
    assert differences_sentence(compare([explained(A), explained(other)])) == (
        "One of 3 words differs beyond the noise. Most of all “capital”: in B it speaks about 3.3 "
        "times less for the answer."
    )



@pytest.mark.parametrize(
    ("in_a", "in_b", "sentence", "cell"),
    [
        (1, -2, "in B it speaks against the answer, in A for it",
         "against the answer, in A for it"),
        (-2, 1, "in B it speaks for the answer, in A against it",
         "for the answer, in A against it"),
        (-1, -3, "in B it speaks about 7.4 times more against the answer",
         "7.4 times more against than in A (6.4 to 8.5 times)"),
        (-3, -1, "in B it speaks about 7.4 times less against the answer",
         "7.4 times less against than in A (6.4 to 8.5 times)"),
        (0, -2, "in B it speaks about 7.4 times more against the answer",
         "7.4 times more against than in A (6.4 to 8.5 times)"),
        (-0.05, 2, "in B it speaks about 7.8 times more for the answer",
         "7.8 times more than in A (6.7 to 8.9 times)"),
    ],
)  # fmt: skip
def test_a_difference_says_what_the_word_speaks_for(
    in_a: float, in_b: float, sentence: str, cell: str
) -> None:
    first, other = (
        explained([*A[:2], (" capital", (each, each - 0.1, each + 0.1))]) for each in (in_a, in_b)
    )
    comparison = compare([first, other])
    assert differences_sentence(comparison).endswith(f"Most of all “capital”: {sentence}.")
    difference = row_of(comparison, "capital").differences[1]
    assert difference is not None and difference_cell(difference, "A") == cell


def test_no_difference_is_a_sentence_too() -> None:
    assert differences_sentence(compare([explained(A), explained(A)])) == (
        "No word matters clearly more or less than in A: all differences lie within the noise."
    )
    apart = [explained(A), explained([("Bonjour", NOTHING)]), without_intervals(explained(A))]
    assert differences_sentence(compare(apart)) != ""
    assert differences_sentence(compare([apart[0], apart[2]])) == (
        "No word of A can be compared: the others lack it, or how sure its effects are is not "
        "known."
    )


def test_the_csv_has_a_row_for_each_word_and_prompt() -> None:
    other: list[UnitSpec] = [("=Say(1)", NOTHING), *A[1:], (" more", NOTHING)]
    frame = pd.read_csv(
        io.StringIO(comparison_csv(compare([explained(A), explained(other)]))),
        keep_default_na=False,
    )
    assert list(frame.columns) == CSV_COLUMNS
    in_b = frame[frame["prompt"] == "B"]
    assert list(frame[frame["prompt"] == "A"]["text"]) == ["Say", " the", " capital"]
    assert "".join(in_b.sort_values("word")["text"]).replace("'", "").endswith(" capital more")
    assert "'=" in "".join(in_b["text"])  # no formula for a spreadsheet
    assert set(in_b["kind"]) == {"same", "changed", "added"}
    capital = in_b[in_b["text"] == " capital"].iloc[0]
    assert float(capital["difference"]) == 0.0 and str(capital["clear"]) == "False"
