"""Effects against SciPy's own Welch interval, and what happens at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from reagent_core import adjustment
from reagent_core.adjustment import adjusted
from reagent_core.config import PRESETS
from reagent_core.curves import running_effects
from reagent_core.effects import effects, running_intervals
from reagent_core.masks import replacement_draws, unit_mask


def test_an_effect_is_what_is_lost_when_the_unit_is_replaced() -> None:
    replaced = np.array([[True], [False], [True], [False]])
    values = np.array([[-5.0], [-1.0], [-7.0], [-1.0]])
    found = effects(replaced, values, np.array([-1.0]))
    assert found.mean[0, 0] == pytest.approx(5.0)  # from -6 to -1 nats


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(8, 60), st.integers(1, 6))
def test_the_interval_is_welchs_for_what_is_left_to_a_unit(seed: int, steps: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    replaced = rng.random((steps, n)) < 0.4
    values = rng.normal(size=(steps, 2)) - 2.0 * replaced[:, :1]
    found = effects(replaced, values, np.array([0.5, -0.5]))
    for target in range(2):
        columns = adjusted(replaced, values[:, target], anchored=False)
        for unit in range(n):
            kept, gone = (columns[rows, unit] for rows in (~replaced[:, unit], replaced[:, unit]))
            if min(len(kept), len(gone)) < 2:
                continue
            expected = ttest_ind(kept, gone, equal_var=False).confidence_interval(0.95)
            assert found.mean[target, unit] == pytest.approx(kept.mean() - gone.mean())
            assert found.low[target, unit] == pytest.approx(expected.low)
            assert found.high[target, unit] == pytest.approx(expected.high)


def test_too_few_steps_are_no_effect_yet() -> None:
    replaced = np.array([[True, False], [False, False], [False, False]])
    found = effects(replaced, np.zeros((3, 1)), np.zeros(1))
    assert np.isnan(found.mean).all() and np.isnan(found.low).all()


def test_a_unit_always_replaced_is_compared_with_the_original() -> None:
    found = effects(np.ones((5, 1), bool), np.full((5, 1), -3.0), np.array([-1.0]))
    assert (found.mean[0, 0], found.low[0, 0], found.high[0, 0]) == (2.0, 2.0, 2.0)


def test_a_few_equal_values_are_no_certainty() -> None:
    replaced = np.array([[True], [True], [False], [False]])
    found = effects(replaced, np.array([[-5.0], [-5.0], [-1.0], [-1.0]]), np.array([-1.0]))
    assert found.mean[0, 0] == 4.0 and np.isnan(found.low[0, 0])


@pytest.mark.parametrize("anchored", [False, True])
def test_running_effects_end_at_the_effect(anchored: bool) -> None:
    rng = np.random.default_rng(1)
    replaced, values = rng.random((40, 3)) < 0.3, rng.normal(size=40)
    running = running_effects(replaced, values, 0.2, anchored=anchored)
    assert running.shape == (40, 3)
    final = effects(replaced, values[:, None], np.array([0.2]), anchored=anchored).mean[0]
    assert running[-1] == pytest.approx(final)
    assert np.isnan(running[0]).any()


def test_intervals_hold_the_true_effect_as_often_as_they_say() -> None:
    """Coverage of the 95% interval over 2,000 made-up runs of 40 steps."""
    rng = np.random.default_rng(5)
    replaced = rng.random((40, 2000)) < 0.3
    values = rng.normal(size=(40, 2000)) * np.where(replaced, 2.0, 1.0) - 1.5 * replaced
    inside = 0
    for run in range(2000):
        found = effects(replaced[:, run : run + 1], values[:, run : run + 1], np.zeros(1))
        inside += found.low[0, 0] <= 1.5 <= found.high[0, 0]
    assert 0.93 <= inside / 2000 <= 0.97


def proposals(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Ten proposals for each of n units: where their shares of [0, 1) end, and what each costs."""
    shares = np.sort(rng.dirichlet(np.full(10, 0.6), n), axis=1)[:, ::-1]
    return np.cumsum(shares, axis=1), rng.normal(2.0, 1.0, (n, 10))


def test_evenly_spread_replacements_need_narrower_intervals() -> None:
    """Units as many as tokens of a prompt, and steps as many as Standard's first look has."""
    rng, n, inside, widths = np.random.default_rng(3), 12, [], []
    for seed in range(150):
        ends, losses = proposals(rng, n)
        truth = (np.diff(ends, axis=1, prepend=0) * losses).sum(1)
        config = PRESETS["standard"].model_copy(update={"seed": seed})
        places = [(j, k) for k in range(config.min_steps) for j in range(config.probes)]
        replaced = np.stack([unit_mask(n, config, *place) for place in places])
        draws = np.stack([replacement_draws(n, n, config, *place) for place in places])
        drawn = (draws[:, :, None] >= ends[None, :, :-1]).sum(2)
        lost = np.take_along_axis(losses[None], drawn[..., None], 2)[..., 0]
        given = (replaced, -(lost * replaced).sum(1, keepdims=True), np.zeros(1))
        probes = np.array([probe for probe, _ in places])
        spread = effects(*given, anchored=True, probes=probes)
        independent = effects(*given, anchored=True)
        inside.append((spread.low[0] <= truth) & (truth <= spread.high[0]))
        widths.append(np.median(spread.error / independent.error))
    assert np.mean(inside) >= 0.95
    assert np.mean(widths) < 0.8


@pytest.mark.parametrize("anchored", [False, True])
def test_running_intervals_are_those_of_the_steps_so_far(anchored: bool) -> None:
    """Of steps that leave nothing to adjust for: one unit each, or too few of them."""
    rng = np.random.default_rng(4)
    steps, n = (60, 5) if anchored else (15, 5)
    units = np.concatenate([rng.permutation(n) for _ in range(steps // n)])
    replaced = np.eye(n, dtype=bool)[units]
    if not anchored:
        replaced |= rng.random(replaced.shape) < 0.3
    values, probes = rng.normal(size=steps), np.arange(steps) // n % 2
    values[units == 3] = -2.0  # always the same: no variance
    rows = np.array([1, 7, 4, steps])
    found = running_intervals(replaced, values, -1.0, rows, anchored=anchored, probes=probes)
    for place, row in enumerate(rows):
        alone = effects(replaced[:row], values[:row, None], np.array([-1.0]), anchored=anchored,
                        probes=probes[:row])  # fmt: skip
        for field in ("mean", "low", "high"):
            np.testing.assert_allclose(
                getattr(found, field)[place], getattr(alone, field)[0], rtol=1e-9, err_msg=field
            )


def test_the_regression_keeps_to_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of linear algebra that wait for each other take the cores from the model."""

    def threads() -> set[int]:
        libraries = adjustment._linear_algebra().select(user_api="blas").info()
        return {library["num_threads"] for library in libraries}

    used, before = list[set[int]](), threads()

    def ridge(masks: np.ndarray, values: np.ndarray, spent: int) -> np.ndarray:
        used.append(threads())
        return np.zeros(masks.shape[1])

    monkeypatch.setattr(adjustment, "ridge", ridge)
    adjusted(np.random.default_rng(0).random((40, 5)) < 0.5, np.zeros(40), anchored=False)
    assert used == [{1}] * adjustment.FOLDS
    assert threads() == before
