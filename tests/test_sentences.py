"""The words a person reads: numbers, intervals and whole sentences."""

from __future__ import annotations

import math
from typing import get_args

import pytest

from reagent_core.config import PRESETS, ReplacerName
from reagent_core.explanation import Explanation, Fact
from reagent_core.sentences import fact_sentence, main_measure, ranking, summary, unit_names
from reagent_core.wording import change, factor, interval, percent, quoted, visible
from tests.examples import (
    BANGKOK,
    UnitSpec,
    make_explanation,
    make_whole_answer,
    with_scores,
    without_intervals,
)

log = math.log


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (1.3, "about 1.3 times"),
        (1.02, "less than 1.05 times"),
        (2.0, "about 2 times"),
        (49.7, "about 50 times"),
        (52.4, "about 52 times"),
        (347, "about 350 times"),
        (999, "about 1,000 times"),
        (1001, "over 1,000 times"),
    ],
)
def test_factor_has_two_digits_and_a_cap(times: float, words: str) -> None:
    assert factor(log(times)) == words
    assert factor(-log(times)) == words


def test_factor_of_an_effect_too_large_for_exp() -> None:
    assert factor(5000.0) == "over 1,000 times"


def test_change_names_the_direction() -> None:
    assert change(log(50)) == "about 50 times less likely"
    assert change(-log(3)) == "about 3 times more likely"
    assert change(0.01) == "about as likely as before"
    assert change(log(3), odds=True) == "about 3 times lower odds"
    assert change(0.0, odds=True) == "about the same odds"


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (20, 120, "20 to 120 times"),
        (1 / 5, 1 / 2, "2 to 5 times"),
        (1.01, 3, "1 to 3 times"),
        (500, 5000, "500 to over 1,000 times"),
        (2000, 5000, "over 1,000 times"),
        (1 / 1.2, 3, "from 1.2 times more to 3 times less likely"),
        (1 / 1.01, 3, "up to 3 times less likely"),
        (1 / 3, 1.01, "up to 3 times more likely"),
        (1 / 1.01, 1.01, "about as likely"),
    ],
)
def test_interval(low: float, high: float, words: str) -> None:
    assert interval(log(low), log(high)) == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (20, 120, "20 to 120 times"),
        (1 / 2, 3, "from 2 times higher to 3 times lower odds"),
        (1 / 1.01, 3, "up to 3 times lower odds"),
        (1 / 3, 1.01, "up to 3 times higher odds"),
        (1 / 1.01, 1.01, "about the same odds"),
    ],
)
def test_interval_of_odds(low: float, high: float, words: str) -> None:
    assert interval(log(low), log(high), odds=True) == words


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (1.0, "100%"),
        (0.99999, "over 99.99%"),
        (0.9996, "99.96%"),
        (0.42, "42%"),
        (0.0997, "10%"),
        (0.042, "4.2%"),
        (0.004, "0.4%"),
        (0.0004, "0.04%"),
        (0.00001, "under 0.01%"),
        (0.0, "0%"),
    ],
)
def test_percent(probability: float, words: str) -> None:
    assert percent(probability) == words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" Thailand", "Thailand"),
        ("a\n\tb", "a↵⇥b"),
        ("  ", "␣␣"),
        ("", "∅"),
        ("\ufffd", "∅"),
        ("\u202eevil", "U+202Eevil"),
        ("\x1b[31m", "U+001B[31m"),
        ("👩\u200d👧", "👩\u200d👧"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_quoted_is_cut_and_isolates_right_to_left_text() -> None:
    assert quoted("a" * 100) == f"“{'a' * 59}…”"
    assert quoted(" سلام") == "“\u2068سلام\u2069”"


def test_ranking_is_by_effect_and_leaves_protected_units_out() -> None:
    specs: list[UnitSpec] = [("a", (0.1, 0, 1)), ("b", None), ("c", (2, 1, 3)), ("d", (-3, -4, -2))]
    assert ranking(make_explanation(specs)) == [2, 0, 3]


def test_ranking_falls_back_to_the_score_while_no_effect_is_known() -> None:
    explanation = make_explanation([("a", (0.1, 0, 1)), ("b", (2, 1, 3))])
    units = tuple(unit.model_copy(update={"effect": None}) for unit in explanation.units)
    assert ranking(explanation.model_copy(update={"units": units})) == [1, 0]


def test_unit_names_differ() -> None:
    specs: list[UnitSpec] = [
        (text, (0, 0, 0)) for text in (" in", "in (1)", " in", " city", "in", "in")
    ]
    names = unit_names(make_explanation(specs).units)
    assert names[1] == "in (1)" and names[3] == "city"
    assert len(set(names)) == 6


def test_summary_of_a_clear_case() -> None:
    assert summary(make_explanation()) == (
        "“Thailand” mattered most for “Bangkok”: replacing it makes “Bangkok” about 50 times less "
        "likely (95% sure: 20 to 120 times). Next came “capital” and “city”."
    )


def test_summary_of_a_foil_speaks_of_odds() -> None:
    assert summary(make_explanation(BANGKOK[:6], instead_of=" Paris")) == (
        "“Thailand” mattered most for “Bangkok” rather than “Paris”: replacing it lowers the odds "
        "of “Bangkok” over “Paris” about 50 times (95% sure: 20 to 120 times)."
    )


def test_summary_of_a_whole_answer() -> None:
    assert summary(make_whole_answer()).startswith(
        "“Thailand” mattered most for the answer “Bangkok, of course.”: replacing it makes this "
        "answer about 50 times less likely"
    )


def test_summary_says_which_of_equal_tokens_is_meant() -> None:
    specs: list[UnitSpec] = [(" in", (0, -1, 1)), (" in", (2, 1, 3))]
    assert summary(make_explanation(specs)).startswith("“in” (the 2nd of 2) mattered most")


def test_summary_when_chance_may_explain_the_strongest() -> None:
    specs: list[UnitSpec] = [("a", (log(1.5), -log(1.2), log(3))), (" b", (0, -1, 1))]
    assert summary(make_explanation(specs)) == (
        "Nothing stands out for “Bangkok”: what replacing “a”, the strongest, does cannot be told "
        "from chance (95% sure: from 1.2 times more to 3 times less likely)."
    )


def lucky_among(count: int) -> Explanation:
    """One unit whose own interval is just above zero, among others that do nothing."""
    specs: list[UnitSpec] = [("a", (log(3), log(1.3), log(7))), *[(" b", (0, -1, 1))] * (count - 1)]
    return make_explanation(specs)


def test_the_strongest_of_many_must_be_more_than_a_lucky_one() -> None:
    assert summary(lucky_among(2)).startswith("“a” mattered most for “Bangkok”")
    assert summary(lucky_among(40)) == (
        "Nothing stands out for “Bangkok”: replacing “a”, the strongest, makes “Bangkok” about 3 "
        "times less likely (95% sure: 1.3 to 7 times), but the strongest of 40 can come out like "
        "that by chance."
    )


def test_next_and_against_are_said_only_of_what_stands_out() -> None:
    sure, lucky, nothing = (4, 3.5, 4.5), (log(3), log(1.3), log(7)), (0, -1, 1)
    against = (-log(3), -log(7), -log(1.3))
    few: list[UnitSpec] = [("a", sure), (" b", lucky)]
    many: list[UnitSpec] = [*few, *[(" c", nothing)] * 40]
    assert summary(make_explanation(few)).endswith("Next came “b”.")
    assert "Next" not in summary(make_explanation(many))
    few, many = [("a", sure), (" b", against)], [("a", sure), (" b", against), *many[2:]]
    assert summary(make_explanation(few)).endswith("“b” spoke against it.")
    assert "spoke" not in summary(make_explanation(many))
    only: list[UnitSpec] = [(" b", against), *many[2:]]
    assert summary(make_explanation(only)) == (
        "Nothing in the prompt clearly speaks for or against “Bangkok”."
    )


def test_a_clear_unit_is_not_hidden_by_an_unsure_stronger_one() -> None:
    specs: list[UnitSpec] = [("a", (2.5, -1, 6)), (" b", (2, 1.8, 2.2))]
    assert summary(make_explanation(specs)) == (
        "“b” clearly mattered for “Bangkok”: replacing it makes “Bangkok” about 7.4 times less "
        "likely (95% sure: 6 to 9 times). “a” may matter more, but that cannot be told from chance."
    )


def test_summary_where_no_interval_is_known() -> None:
    assert summary(without_intervals(make_explanation())) == (
        "Nothing stands out for “Bangkok”: what replacing “Thailand”, the strongest, does cannot "
        "be told from chance."
    )
    assert summary(without_intervals(make_explanation([("a", (-2, -3, -1))]))) == (
        "Nothing in the prompt clearly speaks for or against “Bangkok”."
    )


def paper(
    specs: list[UnitSpec], scores: list[float | None], status: str = "complete"
) -> Explanation:
    return with_scores(make_explanation(specs, config=PRESETS["paper"], status=status), scores)


def test_under_the_paper_preset_the_sentence_speaks_by_score() -> None:
    unsure: list[UnitSpec] = [("a", (1, -1, 3)), (" b", (2, -1, 5)), ("<s>", None)]
    assert summary(paper(unsure, [0.55, 0.45, None])) == (
        "“a” has the highest ReAGent score for “Bangkok” (0.55), then “b” (0.45)."
    )
    assert summary(paper(unsure, [0.998, 0.002, None], "running")) == (
        "So far, “a” has the highest ReAGent score for “Bangkok” (over 0.99)."
    )


def test_under_the_paper_preset_the_effect_comes_second() -> None:
    sure: list[UnitSpec] = [("a", (0, -1, 1)), (" b", (log(50), log(20), log(120)))]
    told = "replacing it makes “Bangkok” about 50 times less likely (95% sure: 20 to 120 times)."
    assert summary(paper(sure, [0.9, 0.1])) == (
        "“a” has the highest ReAGent score for “Bangkok” (0.9). "
        f"By effect, “b” mattered most: {told}"
    )
    assert summary(paper(sure, [0.1, 0.9])) == (
        f"“b” has the highest ReAGent score for “Bangkok” (0.9). By effect too: {told}"
    )


@pytest.mark.parametrize("replacer", get_args(ReplacerName))
def test_the_published_procedure_speaks_by_score_with_any_replacer(replacer: ReplacerName) -> None:
    """The paper's own replacer is the masked model, which the preset does not take."""
    own = {"replacer": replacer, "replacer_model": "a/masked-model", "seed": 3}
    published = PRESETS["paper"].model_copy(update=own)
    assert main_measure(make_explanation(config=published)) == "score"
    others = (PRESETS["standard"], PRESETS["paper"].model_copy(update={"max_steps": 50}))
    for other in others:
        explanation = make_explanation(config=other.model_copy(update=own))
        assert main_measure(explanation) == "effect"


def test_under_the_paper_preset_before_any_score() -> None:
    running = make_explanation(config=PRESETS["paper"], status="running")
    nothing = {"score": None, "effect": None, "effect_low": None, "effect_high": None}
    units = tuple(unit.model_copy(update=nothing) for unit in running.units)
    assert summary(running.model_copy(update={"units": units})) == (
        "Still trying replacements: what matters for “Bangkok” cannot be told yet."
    )


def test_summary_when_a_token_speaks_against() -> None:
    specs: list[UnitSpec] = [("a", (0.1, -0.1, 0.3)), (" not", (-log(3), -log(5), -log(2)))]
    assert summary(make_explanation(specs)) == (
        "Nothing in the prompt clearly speaks for “Bangkok”. “not” speaks against it: replacing it "
        "makes “Bangkok” about 3 times more likely (95% sure: 2 to 5 times)."
    )


def test_summary_names_an_opponent_beside_the_strongest() -> None:
    specs: list[UnitSpec] = [("a", (2, 1, 3)), (" not", (-2, -3, -1))]
    assert summary(make_explanation(specs)).endswith(" “not” spoke against it.")
    assert summary(make_explanation(specs, instead_of=" Paris")).endswith(
        " “not” spoke for “Paris”."
    )


def test_summary_when_everything_is_negative_but_unsure() -> None:
    specs: list[UnitSpec] = [("a", (-0.1, -0.3, 0.1)), (" b", (-0.2, -0.5, 0.1))]
    assert summary(make_explanation(specs)) == (
        "Nothing in the prompt clearly speaks for or against “Bangkok”."
    )


def test_summary_of_a_single_unit() -> None:
    assert summary(make_explanation([("Hi", (1, 0.5, 2))])).startswith(
        "“Hi” is the only part of the prompt that was replaced for “Bangkok”: replacing it makes"
    )


def test_summary_while_running() -> None:
    assert summary(make_explanation(status="running")).startswith(
        "So far, “Thailand” matters most for “Bangkok”"
    )
    units = tuple(
        unit.model_copy(update={"effect": None, "effect_low": None, "effect_high": None})
        for unit in make_explanation().units
    )
    running = make_explanation(status="running").model_copy(update={"units": units})
    assert summary(running) == (
        "Still trying replacements: what matters for “Bangkok” cannot be told yet."
    )
    cancelled = running.model_copy(update={"status": "cancelled"})
    assert summary(cancelled) == "Too few steps were run to tell what mattered for “Bangkok”."


def test_fact() -> None:
    assert fact_sentence(make_explanation()) == (
        "With only “Thailand” replaced, “Bangkok” falls from 42% to 0.4% (mean over 8 "
        "replacements)."
    )


@pytest.mark.parametrize(
    ("before", "after", "happens"),
    [
        (0.42, 0.6, "“Bangkok” rises from 42% to 60%"),
        (0.42, 0.42, "“Bangkok” stays at 42%"),
        (1e-6, 1e-8, "“Bangkok” becomes about 100 times less likely"),
        (1e-6, 1e-6, "“Bangkok” stays about as likely as before"),
        (1e-6, 1e-3, "“Bangkok” rises from under 0.01% to 0.1%"),
        (0.42, 0.0, "“Bangkok” falls from 42% to under 0.01%"),
        (1.0, 0.99999, "“Bangkok” falls from 100% to over 99.99%"),
        (0.99999, 0.99999, "“Bangkok” stays over 99.99%"),
    ],
)
def test_fact_in_other_directions(before: float, after: float, happens: str) -> None:
    assert happens in (fact_sentence(make_explanation(probability=before, fact=after)) or "")


def test_fact_against_a_foil_is_a_share() -> None:
    # 0.42 against 0.08 is 84 to 16.
    assert "the chance of “Bangkok” against “Paris” falls from 84% to 0.4%" in (
        fact_sentence(make_explanation(instead_of=" Paris")) or ""
    )


def test_no_fact_before_one_is_known() -> None:
    assert fact_sentence(make_explanation(fact=None)) is None


def test_fact_of_an_answer_too_unlikely_for_a_float() -> None:
    def long(fact: float) -> str | None:
        answer = (" a", " b", " c")
        return fact_sentence(
            make_explanation(answer=answer, target=(0, 3), probability=1e-120, fact=fact)
        )

    assert "replaced, the chance of this answer stays too small to tell" in (long(0.0) or "")
    assert "replaced, this answer becomes over 1,000 times more likely" in (long(1e-300) or "")
    assert "replaced, the chance of this answer rises from under 0.01% to 2%" in (long(0.02) or "")


@pytest.mark.parametrize(
    ("value", "after", "happens"),
    [
        (800.0, 1.0, "the chance of “Bangkok” against “Paris” stays at 100%"),
        (-800.0, 0.5, "the chance of “Bangkok” against “Paris” rises from under 0.01% to 50%"),
        (-log(10**6), 1e-7, "“Bangkok” against “Paris” becomes about 10 times less likely"),
        (0.0, 0.5, "the chance of “Bangkok” against “Paris” stays at 50%"),
    ],
)
def test_fact_against_a_foil_of_any_odds(value: float, after: float, happens: str) -> None:
    explanation = make_explanation(instead_of=" Paris", fact=after)
    target = explanation.target.model_copy(update={"value": value})
    assert happens in (fact_sentence(explanation.model_copy(update={"target": target})) or "")


def test_facts_of_the_next_strongest() -> None:
    explanation = make_explanation()
    second = Fact(unit=11, draws=8, probability=0.1)
    explanation = explanation.model_copy(update={"facts": (*explanation.facts, second)})
    assert fact_sentence(explanation, 1) == (
        "With only “capital” replaced, “Bangkok” falls from 42% to 10% (mean over 8 replacements)."
    )
    assert fact_sentence(explanation, 2) is None
