"""The curves of a real run on the tiny model, and their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from components.examples import explanation_of
from reagent_core.config import Config
from reagent_core.course import MOST_SAMPLES, Course
from reagent_core.curves import effect_curves, score_curves, softmax
from reagent_core.effects import Effects
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation, Step
from reagent_core.request import AnswerTokens, Request
from reagent_core.settling import effect_sentence
from reagent_core.stability import top_since, with_final
from tests.examples import UnitSpec, make_explanation
from tests.tiny import TinyScorer


def explained(**options: object) -> Explanation:
    config = Config(probes=3, min_steps=24, max_steps=24, **options)
    request = Request(prompt="the capital of france is", target=AnswerTokens(), config=config)
    return explain_now(request, TinyScorer())


@pytest.fixture(scope="module", params=["bernoulli", "balanced"])
def explanation(request: pytest.FixtureRequest) -> Explanation:
    return explained(selection=request.param)


def test_effects_and_intervals_end_at_the_explanation(explanation: Explanation) -> None:
    lines = Course(explanation).effects
    assert lines.band_steps[-1] == len(lines.mean) == 24
    for ends, field in (
        (lines.mean[-1], "effect"), (lines.low[-1], "effect_low"), (lines.high[-1], "effect_high"),
    ):  # fmt: skip
        known = [getattr(unit, field) for unit in explanation.units]
        assert ends == pytest.approx([math.nan if x is None else x for x in known],
                                     abs=1e-5, nan_ok=True)  # fmt: skip


def test_intervals_stand_around_the_curves(explanation: Explanation) -> None:
    course = Course(explanation)
    late = course.samples >= 6  # before, too few steps kept or replaced a unit
    curves = effect_curves(explanation)[course.samples[late] - 1]
    np.testing.assert_allclose(course.found.mean[late], curves, atol=1e-9)


def test_the_mean_score_is_the_published_one(explanation: Explanation) -> None:
    lines = Course(explanation).scores
    np.testing.assert_allclose(lines.mean, score_curves(explanation))
    assert (lines.low <= lines.mean + 1e-12).all() and (lines.mean <= lines.high + 1e-12).all()


def test_each_probe_alone(explanation: Explanation) -> None:
    lines = Course(explanation).effects
    for probe in range(3):
        own = tuple(step for step in explanation.trace if step.probe == probe)
        alone = effect_curves(explanation.model_copy(update={"trace": own}))
        np.testing.assert_allclose(lines.probes[probe], alone)


def made(*steps: tuple[int, int, tuple[float, float]]) -> Explanation:
    """An explanation of two units with these steps: probe, step, raw scores."""
    specs: list[UnitSpec] = [("a", (1, 0, 2)), (" b", (0, -1, 1))]
    trace = tuple(
        Step(
            probe=probe, step=step, replaced=(0,), replacements=("x",), probability=0.1,
            value=math.log(0.1), change=0.3, scores=scores,
        )
        for probe, step, scores in steps
    )  # fmt: skip
    return make_explanation(specs).model_copy(update={"trace": trace})


def test_a_probe_that_has_ended_keeps_its_scores() -> None:
    lines = Course(made((0, 0, (1, 0)), (1, 0, (3, 0)), (1, 1, (5, 2)))).raw
    assert lines.probes[:, :, 0].tolist() == [[1, 1], [3, 5]]
    assert lines.mean.tolist() == [[2, 0], [3, 1]]
    assert lines.low.tolist() == [[1, 0], [1, 0]] and lines.high.tolist() == [[3, 0], [5, 2]]


def test_a_probe_that_has_not_begun_is_left_out() -> None:
    lines = Course(made((0, 0, (1, 0)), (0, 1, (2, 0)), (1, 1, (4, 0)))).raw
    assert math.isnan(lines.probes[1, 0, 0])
    assert lines.mean[:, 0].tolist() == [1, 3]


def test_softmax_is_that_of_the_paper() -> None:
    shares = softmax(np.array([[0.0, math.log(3)], [1000.0, 1000.0]]))
    assert shares.tolist() == pytest.approx(np.array([[0.25, 0.75], [0.5, 0.5]]))


def test_samples_are_few_and_reach_the_end() -> None:
    course = Course(made(*((0, step, (0.0, float(step))) for step in range(500))))
    assert len(course.samples) <= MOST_SAMPLES
    assert course.samples[0] == 1 and course.samples[-1] == 500
    assert len(course.agreement) == len(course.samples)


def test_the_verdict_names_how_many_are_looked_at(explanation: Explanation) -> None:
    course = Course(explanation)
    assert len(course.top) == max(1, explanation.verdict.top)
    known = course.half_width[~np.isnan(course.half_width)]
    assert len(known) and known[-1] >= 0


def test_the_steps_that_sentences_name_are_looked_for_among_all_steps() -> None:
    """Of many steps the figures are sampled; what moved between two samples is not missed."""
    course = Course(made(*((0, step, (0.0, float(step))) for step in range(500))))
    left_out = np.setdiff1d(np.arange(1, 501), course.samples)[-1]
    assert len(course.intervals.mean) == 500
    for sampled, all_steps in (
        (course.found.mean, course.intervals.mean), (course.found.low, course.intervals.low),
    ):  # fmt: skip
        np.testing.assert_array_equal(sampled, all_steps[course.samples - 1])
    mean = np.tile([0.0, 1.0], (500, 1))
    mean[left_out - 1] = 1.0, 0.0
    assert top_since(mean) == left_out + 1
    assert all(each.overlap == 1 for each in with_final(mean[course.samples - 1]))
    low = np.ones((500, 2))
    low[left_out - 1] = -1.0
    error = np.full(low.shape, 1e-9)
    found = Effects(low + error, error, np.ones(low.shape))
    told = effect_sentence(course.explanation, found, 0)
    assert f"since step {left_out + 1} " in told


@pytest.mark.parametrize(
    ("example", "focus"), [("needle", "pot"), ("why", "hungry."), ("capital", "Paris.")]
)
def test_the_examples_name_the_step_after_which_nothing_moved(example: str, focus: str) -> None:
    """Whose top moved between two samples; counted here one step back at a time."""
    every = explanation_of(example).every()
    course = Course(next(each for each in every if each.target.text.strip() == focus))
    count = max(1, round(0.3 * len(course.units)))
    tops = [set(np.argsort(-row, kind="stable")[:count]) for row in course.effects.mean]
    since = len(tops)
    while tops[since - 2] == tops[-1]:
        since -= 1
    assert top_since(course.main.mean) == since
    sampled = with_final(course.effects.mean[course.samples - 1])
    moved = [at for at, each in zip(course.samples, sampled, strict=True) if each.overlap != 1.0]
    assert max(moved) < since - 1
