"""Thinned lines and binned rows keep what a person looks for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reagent_core.decimate import binned, decimated

NUMBERS = st.floats(-1e6, 1e6)


def test_ends_and_extremes_of_every_stretch_stay() -> None:
    line = [0, 1, 5, 2, -7, 3, 4, 9, 8, 0]
    # Room for six: the ends, and of 1..4 and 5..8 the lowest and the highest.
    assert decimated(line, 6).tolist() == [0, 2, 4, 5, 7, 9]


def test_a_short_line_stays_as_it_is() -> None:
    assert decimated([3, 1, 2], 4).tolist() == [0, 1, 2]
    assert decimated([], 4).tolist() == []


def test_what_is_not_known_gives_way() -> None:
    line = [math.nan] * 5 + [2.0, math.nan, 1.0] + [math.nan] * 5
    kept = decimated(line, 4)
    assert {0, 5, 7, 12} == set(kept.tolist())


def test_a_line_needs_four_points() -> None:
    with pytest.raises(ValueError, match="room for 4 points, not 3"):
        decimated([1, 2, 3, 4], 3)


@given(st.lists(NUMBERS | st.just(math.nan), max_size=300), st.integers(4, 60))
def test_extremes_order_and_number(line: list[float], most: int) -> None:
    kept = decimated(line, most)
    assert len(kept) <= max(most, 0) and (np.diff(kept) > 0).all()
    if line:
        assert kept[0] == 0 and kept[-1] == len(line) - 1
    known = [value for value in line if not math.isnan(value)]
    if known:
        left = np.array(line)[kept]
        assert np.nanmin(left) == min(known) and np.nanmax(left) == max(known)


def test_bins_are_means_of_what_is_known() -> None:
    rows = [[1, math.nan], [3, math.nan], [5, 2], [7, math.nan]]
    edges, means = binned(rows, 2)
    assert edges.tolist() == [0, 2, 4]
    np.testing.assert_array_equal(means, [[2, math.nan], [6, 2]])


@given(st.integers(0, 50), st.integers(1, 60))
def test_bins_tile_the_rows(count: int, most: int) -> None:
    edges, means = binned(np.arange(count, dtype=float)[:, None], most)
    assert len(means) == min(count, most) and edges[-1] == count
    sizes = np.diff(edges)
    assert (sizes >= 1).all()
    assert (means[:, 0] * sizes).sum() == pytest.approx(count * (count - 1) / 2)
