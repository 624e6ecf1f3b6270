"""The verdict, from evidence made by hand."""

from __future__ import annotations

import numpy as np

from reagent_core.config import PRESETS, Config
from reagent_core.convergence import Evidence, clear_cut, judge
from reagent_core.effects import effects
from reagent_core.masks import unit_mask


def evidence(
    weights: list[float], config: Config, noise: float = 0.1, steps: int = 40, stopped: int = 3
) -> Evidence:
    """Steps on a target that loses weights[i] nats when unit i is replaced."""
    rng = np.random.default_rng(0)
    places = [(j, k) for k in range(steps) for j in range(config.probes)]
    replaced = np.array([unit_mask(len(weights), config, j, k) for j, k in places])
    values = -(replaced @ np.array(weights)) + rng.normal(0, noise, len(places))
    found = effects(replaced, values[:, None], np.zeros(1), anchored=config.anchored)
    return Evidence(
        replaced, values, np.array([j for j, _ in places]), (steps,) * stopped,
        found.mean[0], found.low[0], found.high[0], 0.0,
    )  # fmt: skip


BALANCED = Config(selection="balanced", probes=3)


def test_five_strong_units_settle() -> None:
    verdict = judge(evidence([9.0] * 5 + [0.0] * 7, BALANCED, steps=150), BALANCED)
    assert verdict.settled and verdict.top == 5 and verdict.more_steps == 0
    assert verdict.text == (
        f"Settled: the five most important tokens have not changed for {verdict.unchanged_steps} "
        "steps and 3 of 3 probes agree."
    )


def test_one_strong_unit_settles_though_the_rest_is_tied() -> None:
    verdict = judge(evidence([6] + [0] * 11, BALANCED), BALANCED)
    assert verdict.settled and verdict.top == 1
    assert verdict.text.startswith("Settled: the most important token has not changed for")


def test_noise_alone_never_settles() -> None:
    verdict = judge(evidence([0] * 12, BALANCED, noise=1.0), BALANCED)
    assert not verdict.settled
    assert verdict.text.endswith("; run 64 more steps.") and verdict.more_steps == 64


def test_words_are_called_words() -> None:
    config = BALANCED.model_copy(update={"granularity": "word"})
    assert "the most important word has" in judge(evidence([6] + [0] * 11, config), config).text


def test_no_probe_stopped_is_a_warning() -> None:
    verdict = judge(evidence([6] + [0] * 11, BALANCED, stopped=0), BALANCED)
    assert verdict.warnings and "No probe passed the stop test" in verdict.warnings[0]


def test_paper_asks_the_published_stop_test() -> None:
    config = PRESETS["paper"]
    weights = [6.0] + [0.0] * 11
    assert judge(evidence(weights, config, stopped=5), config).settled
    verdict = judge(evidence(weights, config, stopped=4), config)
    assert not verdict.settled and "4 of 5 probes passed the published stop test" in verdict.text


def test_before_the_first_step_nothing_is_claimed() -> None:
    nothing = np.full(4, np.nan)
    empty = Evidence(
        np.zeros((0, 4), bool), np.zeros(0), np.zeros(0, int), (), nothing, nothing, nothing, 0.0
    )
    verdict = judge(empty, BALANCED, finished=False)
    assert not verdict.settled and verdict.steps == verdict.probes_agreeing == 0


def test_one_unit_has_nothing_to_rank() -> None:
    verdict = judge(evidence([6], BALANCED), BALANCED)
    assert verdict.settled and "nothing to rank" in verdict.text


def test_the_cut_falls_where_effects_are_clearly_apart() -> None:
    half = np.full(10, 0.2)
    assert clear_cut(np.array([5, 4.9, 4.8, 1, 0.95, 0.9, 0, 0, 0, 0]), half) == 3
    assert clear_cut(np.array([5.0, 1, 1, 1, 1, 1, 1, 1, 1, 1]), half) == 1
    assert clear_cut(np.full(10, np.nan), np.full(10, np.nan)) == 1
