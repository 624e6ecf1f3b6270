"""Curves of a real run on the tiny model end where the explanation stands."""

from __future__ import annotations

import pytest

from reagent_core.config import Config
from reagent_core.curves import effect_curves, score_curves
from reagent_core.explain import explain_now
from reagent_core.request import AnswerTokens, Request
from tests.tiny import TinyScorer


@pytest.mark.parametrize("selection", ["bernoulli", "balanced"])
def test_curves_have_a_row_a_step_and_end_at_the_result(selection: str) -> None:
    config = Config(probes=3, min_steps=12, max_steps=12, selection=selection)
    request = Request(prompt="the capital of france is", target=AnswerTokens(), config=config)
    explanation = explain_now(request, TinyScorer())
    effects, scores = effect_curves(explanation), score_curves(explanation)
    assert effects.shape == scores.shape == (12, 5)
    assert effects[-1] == pytest.approx([u.effect for u in explanation.units], abs=1e-5)
    everyone = any(step.stopped for step in explanation.trace)
    if not everyone:  # the score is the mean over all probes only if none has stopped
        assert scores[-1] == pytest.approx([u.score for u in explanation.units], abs=1e-4)
    assert scores.sum(1) == pytest.approx([1] * 12)
