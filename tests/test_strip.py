"""Pieces of the strips, words of an answer, tried prompts, and readable colours."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reagent_core.colours import LEVELS, contrast, level, palette_css, swatch
from reagent_core.explanation import AnswerToken
from reagent_core.request import Turn
from reagent_core.strip import answer_strip, answer_words, prompt_strip, word_spans
from reagent_core.tried import Segment, tried
from tests.examples import (
    UnitSpec,
    answer_tokens,
    make_chat,
    make_explanation,
    make_trace,
    make_whole_answer,
    with_scores,
    without_intervals,
)


def words_of(*texts: str) -> list[str]:
    """The words the tokens `texts` are grouped to, as text."""
    tokens = answer_tokens(texts)
    return ["".join(texts[start:stop]) for start, stop in word_spans("".join(texts), tokens)]


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([" Bang", "kok", ",", " of", " course", "."], [" Bangkok", ",", " of", " course", "."]),
        ([" don", "'t"], [" don't"]),
        (["3", ".", "14"], ["3.14"]),
        ([" ", "4", "2"], [" 42"]),
        (["a", "\n", "\n", "b"], ["a", "\n", "\n", "b"]),
        ([" of the", " city"], [" of the", " city"]),
        (["東", "京"], ["東", "京"]),
        ([" مر", "حبا"], [" مرحبا"]),
        (["!"], ["!"]),
    ],
)
def test_words(tokens: list[str], words: list[str]) -> None:
    assert words_of(*tokens) == words


def token(text: str, start: int, end: int) -> AnswerToken:
    return AnswerToken(text=text, start=start, end=end, token_id=1, probability=0.5)


def test_bytes_of_an_emoji_go_with_the_token_that_completes_it() -> None:
    tokens = [token("a", 0, 1), token("\ufffd", 1, 1), token("\ufffd", 1, 1), token("👋", 1, 2)]
    assert word_spans("a👋", tokens) == [(0, 1), (1, 4)]


def test_bytes_inside_a_word_do_not_break_it() -> None:
    tokens = [token("na", 0, 2), token("\ufffd", 2, 2), token("ï", 2, 3), token("ve", 3, 5)]
    assert word_spans("naïve", tokens) == [(0, 4)]


def test_a_special_token_at_the_end_stands_alone() -> None:
    tokens = [token("Hi", 0, 2), token("<end>", 2, 2)]
    assert word_spans("Hi", tokens) == [(0, 1), (1, 2)]


def test_no_tokens_no_words() -> None:
    assert word_spans("", []) == []


@given(st.text(max_size=40), st.lists(st.integers(0, 40), max_size=12))
def test_words_tile_the_tokens(answer: str, cuts: list[int]) -> None:
    edges = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    # Doubled cuts stand for tokens without characters of their own.
    edges = sorted([*edges, *(cut for cut in cuts[::3] if cut < len(answer))])
    tokens = [token(answer[start:end], start, end) for start, end in pairwise(edges)]
    spans = word_spans(answer, tokens)
    assert [i for start, stop in spans for i in range(start, stop)] == list(range(len(tokens)))
    assert all(stop > start for start, stop in spans)


def test_every_word_of_a_whole_answer_is_explained_by_its_own() -> None:
    explanation = make_whole_answer()
    words = answer_words(explanation)
    assert [word.text for word in words] == [" Bangkok", ",", " of", " course", "."]
    assert explanation.explanations is not None and explanation.words is not None
    assert words[0].explained is explanation.words[0]
    assert words[1].explained is explanation.explanations[2]
    assert [(w.token_start, w.token_stop) for w in words] == [
        (0, 2),
        (2, 3),
        (3, 4),
        (4, 5),
        (5, 6),
    ]
    assert all(piece.clickable for piece in answer_strip(explanation))


def test_of_a_single_target_only_its_own_tokens_are_explained() -> None:
    explanation = make_explanation(answer=(" Bang", "kok", " it", " is"), target=(1, 3))
    words = answer_words(explanation)
    assert [word.text for word in words] == [" Bang", "kok it", " is"]
    assert [word.explained is explanation for word in words] == [False, True, False]
    assert not any(piece.clickable for piece in answer_strip(explanation))


def test_words_carry_their_probability_and_alternatives() -> None:
    first, comma, *_ = answer_strip(make_whole_answer())
    assert first.lines == ("“Bangkok”", "The model gave it 18%")  # 0.42 x 0.42
    assert comma.lines[-1] == "Also considered: “Paris” 12%, “Phuket” 3%"


def test_prompt_strip_is_coloured_by_effect() -> None:
    specs: list[UnitSpec] = [("a", (4, 3, 5)), (" b", (-2, -3, -1)), (" c", (0, -1, 1))]
    pieces = prompt_strip(make_explanation(specs))
    assert [piece.weight for piece in pieces] == [1.0, -0.5, 0.0]
    assert [piece.unit for piece in pieces] == [0, 1, 2]
    assert pieces[0].lines == (
        "“a”",
        "Without it about 55 times less likely (95% sure: 20 to 150 times)",
        "ReAGent score 0.980",
        "Place 1 of 3 by effect",
    )


def test_the_place_is_by_what_the_colours_show() -> None:
    explanation = make_explanation([("a", (4, 3, 5)), (" b", (2, 1, 3)), (" c", (0, -1, 1))])
    other = with_scores(explanation, (0.1, 0.3, 0.6))
    assert [piece.lines[2:] for piece in prompt_strip(other, "score")] == [
        ("ReAGent score 0.100", "Place 3 of 3 by score"),
        ("ReAGent score 0.300", "Place 2 of 3 by score"),
        ("ReAGent score 0.600", "Place 1 of 3 by score"),
    ]
    assert prompt_strip(other)[2].lines[2:] == ("ReAGent score 0.600", "Place 3 of 3 by effect")


def test_an_effect_without_an_interval_is_told_without_one() -> None:
    pieces = prompt_strip(without_intervals(make_explanation()))
    assert pieces[5].lines[1] == "Without it about 50 times less likely"


def test_intervals_against_a_foil_are_odds() -> None:
    (piece,) = prompt_strip(make_explanation([("a", (0.1, -1.1, 1.1))], instead_of=" Paris"))
    assert piece.lines[1] == (
        "Without it about 1.1 times lower odds (95% sure: from 3 times higher to 3 times lower "
        "odds)"
    )


def test_small_effects_stay_pale() -> None:
    specs: list[UnitSpec] = [("a", (math.log(1.1), 0, 1)), (" b", (0, -1, 1))]
    assert prompt_strip(make_explanation(specs))[0].weight == pytest.approx(0.1375, abs=1e-4)


def test_prompt_strip_by_score() -> None:
    specs: list[UnitSpec] = [("a", (4, 3, 5)), (" b", (-2, -3, -1))]
    weights = [piece.weight for piece in prompt_strip(make_explanation(specs), "score")]
    assert weights == [1.0, pytest.approx(math.exp(-6))]


def test_prompt_strip_before_any_step() -> None:
    explanation = make_explanation([("a", (4, 3, 5))])
    nothing = {"effect": None, "effect_low": None, "effect_high": None, "score": None}
    units = tuple(unit.model_copy(update=nothing) for unit in explanation.units)
    (piece,) = prompt_strip(explanation.model_copy(update={"units": units}))
    assert piece.weight is None and piece.lines == ("“a”", "Effect not known yet")


def test_template_and_system_turn_of_a_chat_are_folded() -> None:
    explanation = make_chat()
    pieces = prompt_strip(explanation)
    assert "".join(piece.text for piece in pieces) == explanation.prompt
    assert [piece.fold for piece in pieces if piece.muted] == ["system turn", "chat template"]
    assert not any(piece.clickable for piece in pieces if piece.muted)


def test_a_protected_span_of_the_user_is_muted_but_not_folded() -> None:
    specs: list[UnitSpec] = [("<u>", None), ("one", (1, 0, 2)), (" two", None), (" six", (1, 0, 2))]
    turns = (Turn(role="user", content="one two six"),)
    pieces = prompt_strip(make_explanation(specs, messages=turns))
    assert [(piece.text, piece.muted, piece.fold) for piece in pieces] == [
        ("<u>", True, "chat template"),
        ("one", False, None),
        (" two", True, None),
        (" six", False, None),
    ]


def test_tried_prompts_come_with_the_largest_drop_first() -> None:
    rows = tried(make_explanation(), limit=5)
    assert len(rows) == 5
    drops = [row.drop for row in rows]
    assert drops == sorted(drops, reverse=True)
    assert rows[0].drop == pytest.approx(math.log(0.42) - math.log(rows[0].probability))


def test_drops_are_counted_from_a_probability_too_small_for_a_float() -> None:
    explanation = make_explanation(answer=(" a", " b"), target=(0, 2), probability=1e-200)
    assert explanation.target.probability == 0.0
    (step, *_) = explanation.trace
    step = step.model_copy(update={"value": 2 * math.log(1e-200) - 5})
    (row,) = tried(explanation.model_copy(update={"trace": (step,)}))
    assert row.drop == pytest.approx(5)


def test_drops_against_a_foil_are_log_odds() -> None:
    row = tried(make_explanation(instead_of=" Paris"))[0]
    odds = row.probability / (1 - row.probability)
    assert row.drop == pytest.approx(math.log(0.42 / 0.08) - math.log(odds))


def test_replaced_words_are_marked() -> None:
    specs: list[UnitSpec] = [("I", (0, 0, 0)), (" like", (1, 0, 2)), (" tea", (0, 0, 0))]
    explanation = make_explanation(specs, steps=0)
    step = make_trace(explanation.units, math.log(0.42), 1)[0]
    step = step.model_copy(update={"replaced": (1,), "replacements": (" hate",)})
    again = step.model_copy(update={"probe": 1})
    empty = step.model_copy(update={"replaced": (), "replacements": ()})
    (row,) = tried(explanation.model_copy(update={"trace": (step, again, empty)}))
    assert row.segments == (Segment("I"), Segment(" hate", " like"), Segment(" tea"))
    assert row.replaced == 1


def test_tried_prompts_of_a_chat_leave_the_template_out() -> None:
    text = "".join(segment.text for segment in tried(make_chat())[0].segments)
    assert "<|im_start|>" not in text


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("step", range(-LEVELS, LEVELS + 1))
def test_text_is_readable_on_every_colour(step: int, dark: bool) -> None:
    colours = swatch(step / LEVELS, dark=dark)
    assert contrast(colours.background, colours.text) >= 4.5


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def test_levels_are_clipped() -> None:
    assert (level(-3), level(0.04), level(0.26), level(9)) == (-LEVELS, 0, 3, LEVELS)


def test_stronger_weights_have_stronger_colours() -> None:
    for sign in (1, -1):
        for dark, page in ((False, "#ffffff"), (True, "#0e1117")):
            far = [
                contrast(swatch(sign * i / LEVELS, dark=dark).background, page)
                for i in range(LEVELS + 1)
            ]
            assert far == sorted(far) and far[-1] > 2


def test_style_sheet_has_every_level() -> None:
    css = palette_css()
    assert css.count("{") == css.count("}") == 2 * LEVELS
    strongest = swatch(1.0, dark=False).background, swatch(1.0, dark=True).background
    assert f"light-dark({strongest[0]},{strongest[1]})" in css
