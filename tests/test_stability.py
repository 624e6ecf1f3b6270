"""Agreement of rankings, with numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reagent_core.effects import Effects
from reagent_core.stability import (
    Agreement,
    agreement,
    between_probes,
    mean_agreement,
    top_count,
    top_since,
    widest_half_width,
    with_final,
)

NAN = math.nan
NOTHING = Agreement(None, None, None)


@pytest.mark.parametrize(("units", "count"), [(1, 1), (4, 1), (5, 2), (10, 3), (100, 30)])
def test_the_top_30_percent_are_at_least_one(units: int, count: int) -> None:
    assert top_count(units) == count


def test_one_swap_of_four() -> None:
    # Five of six pairs agree: tau = (5 - 1) / 6; rho = 1 - 6 * 2 / (4 * 15).
    found = agreement(np.array([4.0, 3, 2, 1]), np.array([3.0, 4, 2, 1]))
    assert found.overlap == 0.0  # the top 30% of four are one, and it changed
    assert found.tau == pytest.approx(4 / 6)
    assert found.rho == pytest.approx(0.8)


def test_part_of_the_top_is_shared() -> None:
    first = np.arange(10.0)  # its top 30%: 9, 8, 7
    second = np.array([0, 1, 2, 3, 4, 5, 6.5, 6, 8, 9])  # its top 30%: 9, 8, 6
    found = agreement(first, second)
    assert found.overlap == pytest.approx(2 / 3)
    assert found.tau == pytest.approx(43 / 45)


def test_ties_are_kendalls_tau_b() -> None:
    # Pairs: 2 concordant, 0 discordant, one tied in the first: 2 / sqrt((3 - 1) * 3).
    found = agreement(np.array([1.0, 1, 2]), np.array([1.0, 2, 3]))
    assert found.tau == pytest.approx(2 / math.sqrt(6))


def test_what_is_constant_or_unknown_is_not_defined() -> None:
    line = np.array([1.0, 2, 3])
    assert agreement(np.full(3, 7.0), line) == Agreement(0.0, None, None)
    assert agreement(np.full(3, NAN), line) == NOTHING
    assert agreement(np.array([NAN, NAN, 3.0]), line) == Agreement(1.0, None, None)


def test_units_not_known_yet_are_left_out_of_the_correlations() -> None:
    found = agreement(np.array([NAN, 1.0, 2, 3]), np.array([9.0, 1, 2, 3]))
    assert found.tau == pytest.approx(1) and found.overlap == 0.0


def test_since_when_the_top_is_the_final_one() -> None:
    curves = np.array([[NAN, NAN], [1, 2], [2, 1], [1, 2], [1, 3]])
    assert [each.overlap for each in with_final(curves)] == [None, 1, 0, 1, 1]
    assert top_since(curves) == 4
    assert top_since(np.array([[1.0, 2], [1, 2]])) == 1
    assert top_since(np.array([[2.0, 1], [1, 2]])) == 2
    assert top_since(np.array([[NAN, NAN], [NAN, NAN]])) == 2


def test_probes_are_compared_two_by_two() -> None:
    pairs = between_probes(np.array([[1.0, 2, 3], [1, 2, 3], [3, 2, 1]]))
    assert {pair: found.tau for pair, found in pairs.items()} == pytest.approx(
        {(0, 1): 1, (0, 2): -1, (1, 2): -1}
    )
    assert mean_agreement(list(pairs.values())).tau == pytest.approx(-1 / 3)
    assert mean_agreement([*pairs.values(), NOTHING]).overlap == pytest.approx(1 / 3)
    assert between_probes(np.array([[1.0, 2]])) == {} and mean_agreement([]) == NOTHING


def test_the_widest_interval_among_some() -> None:
    mean = np.zeros((2, 3))
    error = np.array([[1.0, 2, NAN], [0.5, 1, 9]])
    found = Effects(mean, error, np.full((2, 3), 1e6))  # nearly normal: 1.96 errors
    assert widest_half_width(found, [0, 1]) == pytest.approx([3.92, 1.96], abs=1e-3)
    assert np.isnan(widest_half_width(found, [0, 2])[0])
    assert np.isnan(widest_half_width(found, [])).all()
