"""Sentences of Convergence: the headline, what to do, and what each picture shows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reagent_core.config import PRESETS, Config
from reagent_core.effects import Effects
from reagent_core.explanation import Explanation, Step
from reagent_core.headline import advice, headline
from reagent_core.request import Request
from reagent_core.settling import (
    change_sentence,
    effect_sentence,
    heatmap_sentence,
    running_mean,
    score_sentence,
    stability_sentence,
    step_sentence,
    stop_sentence,
    width_sentence,
)
from reagent_core.stability import Agreement
from tests.examples import UnitSpec, make_explanation

log = math.log
TWO: list[UnitSpec] = [("Thailand", (2, 1, 3)), (" city", (1, 0, 2))]


def judged(
    status: str = "complete", config: Config | None = None, **verdict: object
) -> Explanation:
    explanation = make_explanation(steps=96, status=status, config=config)
    figures = {"top": 3, "steps": 48, "unchanged_steps": 31, "probes": 3, "probes_agreeing": 3}
    changed = explanation.verdict.model_copy(update={**figures, **verdict})
    return explanation.model_copy(update={"verdict": changed})


def advised(explanation: Explanation) -> str | None:
    """What is advised where the request is known."""
    request = Request(prompt=explanation.prompt, config=explanation.config)
    return advice(explanation, explanation.model_copy(update={"request": request}))


def test_settled() -> None:
    assert headline(judged()) == (
        "Settled: the three strongest tokens have been the same for the last 31 of 48 steps, and "
        "all 3 probes agree."
    )
    assert advised(judged()) is None


def test_settled_with_one_strongest_and_one_probe_astray() -> None:
    assert headline(judged(top=1, probes_agreeing=2)) == (
        "Settled: the strongest token has been the same for the last 31 of 48 steps, and 2 of 3 "
        "probes agree."
    )


def test_settled_by_its_intervals() -> None:
    assert headline(judged(unchanged_steps=2, probes_agreeing=0)) == (
        "Settled: after 48 steps, the three strongest tokens are clearly ahead of all others."
    )


def test_words_are_called_words() -> None:
    assert "strongest words have" in headline(judged(config=Config(granularity="word")))


@pytest.mark.parametrize(
    ("figures", "why"),
    [
        ({"steps": 5, "unchanged_steps": 5}, "only 5 steps were made, too few to tell"),
        ({"steps": 1, "unchanged_steps": 1}, "only 1 step was made, too few to tell"),
        ({"unchanged_steps": 4}, "the three strongest tokens still changed at step 44 of 48"),
        (
            {"probes_agreeing": 1},
            "the 3 probes, which each looked for themselves, do not find the same tokens strongest",
        ),
        ({}, "no effect is large enough to be told from chance"),
    ],
)
def test_not_settled_says_why_and_what_to_do(figures: dict[str, int], why: str) -> None:
    explanation = judged(settled=False, more_steps=64, **figures)
    assert headline(explanation) == f"Not settled yet: {why}."
    told = advised(explanation)
    assert told is not None and "run 64 more steps" in told


def test_what_cannot_be_done_is_not_advised() -> None:
    """A notebook's file does not say what was asked for."""
    explanation = judged(settled=False, more_steps=64)
    assert advice(explanation, explanation) == (
        "Trust the strongest colours, not the exact order."
    )


def test_running_and_stopped() -> None:
    assert headline(judged("running")).startswith("Still running: so far, the three strongest")
    assert advised(judged("running")) is None
    assert headline(judged("cancelled")).startswith("Stopped after 48 steps before it was done: ")
    assert "Explain the same prompt again" in (advised(judged("cancelled", settled=False)) or "")
    nothing = judged("running").model_copy(update={"trace": ()})
    assert headline(nothing) == "Still running: no step has been made yet."
    assert headline(judged().model_copy(update={"trace": ()})).startswith("No steps are known")


def test_the_paper_has_its_own_test() -> None:
    explanation = judged(config=PRESETS["paper"], settled=False, probes=5, probes_stopped=4)
    assert headline(explanation) == "Not settled: 4 of 5 probes passed the published test."


def test_one_unit_cannot_be_ranked() -> None:
    assert headline(make_explanation([("a", (1, 0, 2))])).startswith("Only one part")


def found(*intervals: tuple[float, float]) -> Effects:
    """Intervals (as factors) of the first of two units, at growing steps."""
    low, high = np.log(np.array(intervals)).T
    mean = np.stack([(low + high) / 2, np.zeros(len(low))], 1)
    error = np.stack([(high - low) / 2 / 1.959964, np.full(len(low), np.nan)], 1)
    return Effects(mean, error, np.full(mean.shape, 1e9))


STEPS = np.array([2, 6, 48])


def test_an_effect_that_stands_out() -> None:
    told = effect_sentence(make_explanation(TWO), found((0.5, 99), (3, 900), (20, 120)), 0)
    assert told == (
        "“Thailand” has clearly spoken for the target since step 2 (95% sure: from 2 times more to "
        "99 times less likely after step 1, 20 to 120 times after step 3)."
    )


def test_an_effect_against_the_target() -> None:
    told = effect_sentence(make_explanation(TWO), found((0.1, 0.5), (0.1, 0.5), (0.1, 0.5)), 0)
    assert told == (
        "“Thailand” has clearly spoken against the target since step 1 (95% sure: 2 to 10 times)."
    )


def test_an_effect_that_spoke_for_and_then_against() -> None:
    told = effect_sentence(make_explanation(TWO), found((2, 3), (2, 3), (0.1, 0.5)), 0)
    assert told.startswith("“Thailand” has clearly spoken against the target since step 3 (")


def test_an_effect_that_does_not_stand_out_or_is_not_known() -> None:
    explanation, unclear = make_explanation(TWO), found((3, 9), (3, 9), (0.5, 9))
    assert effect_sentence(explanation, unclear, 0).startswith(
        "The effect of “Thailand” cannot be told from chance (95% sure: 3 to 9 times after step 1, "
    )
    assert effect_sentence(explanation, unclear, 1) == (
        "“city” was replaced too few times to say how sure its effect is."
    )


SCORES = np.array([[[0.4, 0.6], [0.7, 0.3]], [[0.5, 0.5], [0.9, 0.1]]])


def test_scores() -> None:
    explanation = make_explanation(TWO)
    mean = SCORES.mean(0)
    assert score_sentence(explanation, mean, SCORES, 0, raw=False) == (
        "The ReAGent score of “Thailand” ends at 0.80, 0.70 to 0.90 in the 2 probes; it has been "
        "the highest since step 2."
    )
    assert score_sentence(explanation, SCORES[0], SCORES[:1], 1, raw=False) == (
        "The ReAGent score of “city” ends at 0.30; the highest is that of “Thailand”."
    )
    assert "so only their order counts" in score_sentence(explanation, mean, SCORES, 0, raw=True)


def test_the_score_of_the_probes_that_passed_the_stop_test() -> None:
    told = score_sentence(with_steps({"stopped": True}, {"probe": 1}), SCORES[0], SCORES, 0,
                          raw=False)  # fmt: skip
    assert told == (
        "The ReAGent score of “Thailand” ends at 0.70, 0.70 to 0.90 in the 2 probes, as that "
        "of the one that passed the stop test; it has been the highest since step 2."
    )


def with_steps(*steps: dict[str, object], **config: object) -> Explanation:
    base = {"probe": 0, "step": 0, "replaced": (0,), "replacements": ("x",), "probability": 0.1,
            "value": log(0.1), "change": 0.2, "scores": (0.0, 0.0)}  # fmt: skip
    trace = tuple(Step.model_validate({**base, "step": i, **s}) for i, s in enumerate(steps))
    explanation = make_explanation(TWO, config=Config(probes=2, **config))
    return explanation.model_copy(update={"trace": trace})


def test_changes() -> None:
    assert change_sentence(with_steps({"change": 0.4}, {"change": 0.2}, {"change": 0.3})) == (
        "On average a step takes 30 percentage points from the chance of “Bangkok” (42%); the mean "
        "has moved by less than a point since step 2."
    )
    assert change_sentence(with_steps({"change": -0.01})).startswith(
        "On average a step adds 1 percentage point to the chance"
    )
    assert running_mean(np.array([4.0, 2, 0])).tolist() == [4, 3, 2]


def test_changes_of_this_against_that() -> None:
    told = change_sentence(make_explanation(TWO, instead_of=" Paris"))
    assert "the chance of “Bangkok” against “Paris” (84%)" in told


def test_the_stop_test() -> None:
    both = with_steps({"rank": 9}, {"rank": 2}, {"rank": 7, "probe": 1})
    assert stop_sentence(both) == (
        "With only the strongest 30% of the prompt kept, “Bangkok” was among the model's first 3 "
        "in 1 of 2 probes (ranks 2 to 7)."
    )
    assert "in none of 2 probes (ranks 9" in stop_sentence(
        with_steps({"rank": 9}, {"rank": 1200, "probe": 1})
    )
    once = stop_sentence(with_steps({"rank": 4}, until="settled"))
    assert "was not among" in once and once.endswith(
        "(rank 4); the test was made once, at the end."
    )
    assert stop_sentence(with_steps({})).startswith("No stop test was made")
    imported = with_steps({}).model_copy(update={"source": "notebook"})
    assert stop_sentence(imported).startswith("The file does not say")


def test_the_heatmap() -> None:
    explanation = make_explanation([*TWO, (" of", (0, -1, 1))])
    assert heatmap_sentence(explanation, np.array([2.0, -1.0, 0.1])) == (
        "2 of 3 rows end in a strong colour: “Thailand” and “city”; 1 stays under a tenth of the "
        "strongest."
    )
    assert heatmap_sentence(explanation, np.full(3, np.nan)) == "No row has a colour yet."


def test_stability() -> None:
    mean = np.array([[1.0, 2], [2, 1], [3, 1]])
    told = stability_sentence(with_steps({}, {"probe": 1}), mean, Agreement(0.5, 0.25, 0.3))
    assert told == (
        "The top 30% have been the same since step 2 of 3; what two probes share of them is 50% "
        "on average (Kendall's tau 0.25)."
    )
    nothing = Agreement(None, None, None)
    alone = stability_sentence(with_steps({}), mean[[2, 0, 2]], nothing)
    assert alone == (
        "The top 30% still changed at the last step; there is one probe only, so none to compare "
        "it with."
    )
    assert stability_sentence(with_steps({}), mean[:1], nothing).startswith(
        "Only 1 step was made, so the top 30% cannot have changed; "
    )


def test_the_widest_interval() -> None:
    half = np.array([math.nan, log(30), log(1.5)])
    assert width_sentence(half, STEPS, 3) == (
        "The widest interval among the 3 strongest reached ×30 either way at step 6 and reaches "
        "×1.5 at step 48."
    )
    assert "is known yet" in width_sentence(np.full(3, math.nan), STEPS, 3)
    assert "of the strongest reaches over ×1,000" in width_sentence(np.array([9.0]), STEPS, 1)


def test_one_step() -> None:
    told = step_sentence(make_explanation(TWO), np.array([1.0, 2.5]), np.array([0.18, 0.82]))
    assert told == ("“city” stands highest: a raw score of 2.50, which softmax makes 82% of all.")
