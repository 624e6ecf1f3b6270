"""Effects against SciPy's own Welch interval, and what happens at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from reagent_core.adjustment import adjusted
from reagent_core.curves import running_effects
from reagent_core.effects import effects


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
