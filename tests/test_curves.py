"""Curves of a real run on the tiny model end where the explanation stands."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reagent_core.config import Config
from reagent_core.course import Course
from reagent_core.curves import effect_curves, score_curves
from reagent_core.explain import explain_now
from reagent_core.request import AnswerTokens, GivenText, Request
from tests.tiny import TinyScorer


@pytest.mark.parametrize("selection", ["bernoulli", "balanced"])
def test_curves_have_a_row_a_step_and_end_at_the_result(selection: str) -> None:
    config = Config(probes=3, min_steps=12, max_steps=12, selection=selection)
    request = Request(prompt="the capital of france is", target=AnswerTokens(), config=config)
    explanation = explain_now(request, TinyScorer())
    effects, scores = effect_curves(explanation), score_curves(explanation)
    assert effects.shape == scores.shape == (12, 5)
    assert effects[-1] == pytest.approx([u.effect for u in explanation.units], abs=1e-5)
    assert scores[-1] == pytest.approx([u.score for u in explanation.units], abs=1e-4)
    assert scores.sum(1) == pytest.approx([1] * 12)


def test_scores_end_at_those_of_the_probes_that_passed_the_stop_test() -> None:
    def rule(words: Sequence[str]) -> dict[str, float]:  # among the first three now and then
        return {"paris": 0.03 + 0.04 * (sum(map(len, words)) % 3), "is": 0.1, "a": 0.1, "of": 0.1}

    config = Config(selection="exact", init="uniform", probes=4, min_steps=1, max_steps=2)
    request = Request(prompt="the capital of france is", target=GivenText(text="paris"),
                      max_new_tokens=1, config=config)  # fmt: skip
    explanation = explain_now(request, TinyScorer(rule))
    assert 0 < explanation.verdict.probes_stopped < 4
    curves, course = score_curves(explanation), Course(explanation)
    published = [unit.score for unit in explanation.units]
    assert curves[-1] == pytest.approx(published, abs=1e-4)
    assert course.scores.mean[-1] == pytest.approx(published, abs=1e-4)
    assert course.scores.probes[:, -1].mean(0) != pytest.approx(published, abs=1e-3)
