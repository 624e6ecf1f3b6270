"""Long prompts: windows, then sentences, then units, on a model one can compute by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from reagent_core.coarse import MOST_UNITS, narrow
from reagent_core.config import PRESETS
from reagent_core.explain import explain, explain_now
from reagent_core.meter import Meter
from reagent_core.prompt import build_prompt
from reagent_core.replacers.uniform import UniformReplacer
from reagent_core.request import AnswerTokens, Request, WholeAnswer
from reagent_core.scorers.base import BoolArray, Predictions
from reagent_core.sentences import ranking
from reagent_core.target import Targets
from tests.tiny import WORDS, TinyScorer

SENTENCE = "the big red city is in a green one !"
NEEDLE = "the capital of france is blue two !"
LONG = " ".join([SENTENCE] * 17 + [NEEDLE] + [SENTENCE] * 9)
TARGETS = Targets((WORDS.index("paris"),), ((0, 1),))


class Homely(TinyScorer):
    """Proposes anything but a country, so that no replacement says "france" again."""

    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        ids = [i for i in range(2, len(WORDS)) if WORDS[i] not in ("france", "spain")][:k]
        shape = (len(token_ids), k)
        return Predictions(np.tile(np.array(ids), (len(token_ids), 1)), np.full(shape, 0.05))


def request(**options: object) -> Request:
    given = {"target": AnswerTokens(), "config": PRESETS["quick"], "max_new_tokens": 2, **options}
    return Request(prompt=LONG, **given)


def test_the_word_that_matters_is_found_in_a_long_text() -> None:
    explanation = explain_now(request(), Homely())
    assert sum(len(unit.text.split()) for unit in explanation.units) > MOST_UNITS
    best = explanation.units[ranking(explanation)[0]]
    assert best.text.strip() == "france" and best.effect_low is not None and best.effect_low > 0
    # What was opened is fine, what was not is there as a whole; together they are the prompt.
    assert "".join(unit.text for unit in explanation.units) == explanation.prompt
    fine = [unit for unit in explanation.units if unit.stepped]
    coarse = [unit for unit in explanation.units if unit.coarse]
    assert 1 < len(fine) <= 48 and len(coarse) >= 10
    assert max(abs(unit.effect or 0) for unit in coarse) < 0.5
    assert all(unit.score is None and unit.effect_low is None for unit in coarse)


def test_the_first_pictures_are_of_windows() -> None:
    first, *middle, _ = explain(request(), Homely())
    assert not any(unit.effect is not None for unit in first.explanation.units)
    windows = middle[0].explanation
    best = windows.units[ranking(windows)[0]]
    assert best.coarse and "france" in best.text


def test_it_costs_far_less_than_a_look_at_every_unit() -> None:
    scorer = Homely()
    explanation = explain_now(request(), scorer)
    assert explanation.counts.sequences < 200
    assert len(explanation.trace) <= 2 * PRESETS["quick"].max_steps


def test_a_whole_answer_and_a_chat_go_the_same_way() -> None:
    explanation = explain_now(request(target=WholeAnswer()), Homely())
    for each in explanation.every():
        assert "".join(unit.text for unit in each.units) == explanation.prompt


@pytest.mark.parametrize("granularity", ["word", "sentence"])
def test_other_granularities_are_what_the_finest_units_are(granularity: str) -> None:
    config = PRESETS["quick"].model_copy(update={"granularity": granularity})
    explanation = explain_now(request(config=config), Homely())
    assert "france" in explanation.units[ranking(explanation)[0]].text


def test_the_published_procedure_replaces_all_units_of_a_long_prompt() -> None:
    published = explain_now(request(config=PRESETS["paper"]), Homely())
    n = len(published.units)
    assert n > MOST_UNITS and all(unit.stepped and unit.score for unit in published.units)
    assert {len(step.replaced) for step in published.trace} == {round(0.3 * n)}
    assert published.verdict.probes_stopped == 5
    # What has another limit is no published procedure.
    other = PRESETS["paper"].model_copy(update={"max_steps": 20})
    assert any(unit.coarse for unit in explain_now(request(config=other), Homely()).units)


def test_protected_text_stays_protected_and_parts_never_run_across_it() -> None:
    start = LONG.index(NEEDLE) - len(SENTENCE) - 1
    span = (start, start + len(SENTENCE))
    scorer = Homely()
    prompt = build_prompt(LONG, scorer.tokenizer, "token", [span])
    substitute = UniformReplacer(scorer.tokenizer).prepare(prompt)
    meter = Meter(scorer, TARGETS)
    original = meter.read(np.array([prompt.token_ids])).values[0]
    for found in narrow(prompt, substitute, meter, original, seed=0):
        units = found.prompt.units
        assert "".join(unit.text for unit in units) == prompt.text
        assert all(left.end == right.start for left, right in pairwise(units))
        inside = [i for i, unit in enumerate(units) if span[0] <= unit.start < span[1]]
        assert inside and all(units[i].protected and i not in found.effects for i in inside)
        assert {p for unit in units for p in unit.positions} == set(range(len(prompt.token_ids)))


def test_at_its_finest_it_is_the_plain_run_on_the_opened_units() -> None:
    """The same numbers as a run in which all else is protected."""
    explanation = explain_now(request(), Homely())
    fine = [unit for unit in explanation.units if unit.stepped]
    closed = [(unit.start, unit.end) for unit in explanation.units if not unit.stepped]
    plain = explain_now(request(protected=tuple(closed)), Homely())
    again = [unit for unit in plain.units if not unit.protected]
    assert [(u.text, u.effect, u.score) for u in again] == [
        (u.text, u.effect, u.score) for u in fine
    ]
    assert [s.scores for s in plain.trace] == [s.scores for s in explanation.trace]
