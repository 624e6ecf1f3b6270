"""Is the ranking stable? Agreement with the final ranking, agreement between probes, certainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import kendalltau, spearmanr

from reagent_core.convergence import strongest
from reagent_core.effects import Effects
from reagent_core.scorers.base import FloatArray

# The share of units that the method takes for the rationale, and its stop test keeps.
SHARE = 0.3


@dataclass(frozen=True)
class Agreement:
    """How alike two rankings of the same units are; None: not defined.

    `overlap`: share of the top 30% of the one that are also in that of the other, in [0, 1]; not
    defined where nothing is ranked. `tau`: Kendall's tau-b, `rho`: Spearman's rank correlation,
    both in [-1, 1] over the units known in both; not defined for fewer than two of them, or where
    one ranking gives all of them the same value.
    """

    overlap: float | None
    tau: float | None
    rho: float | None


def top_count(units: int) -> int:
    """How many of so many units are the top 30%: at least one."""
    return max(1, round(SHARE * units))


def agreement(first: FloatArray, second: FloatArray) -> Agreement:
    """Agreement of two rankings by the values [n]; NaN is not known, and ranked last."""
    known = ~(np.isnan(first) | np.isnan(second))
    one, other = first[known], second[known]
    if not known.any():
        return Agreement(None, None, None)
    count = top_count(len(first))
    shared = np.isin(strongest(first, count), strongest(second, count)).mean()
    if known.sum() < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return Agreement(float(shared), None, None)
    return Agreement(
        float(shared),
        float(kendalltau(one, other).statistic),
        float(spearmanr(one, other).statistic),
    )


def with_final(curves: FloatArray) -> list[Agreement]:
    """Agreement of every row of `curves` [R, n] with the last one."""
    return [agreement(row, curves[-1]) for row in curves]


def between_probes(last: FloatArray) -> dict[tuple[int, int], Agreement]:
    """Agreement of each two of the probes, by what each found by itself [probes, n].

    Keys: rows of `last`, the smaller first.
    """
    return {(i, j): agreement(last[i], last[j]) for i, j in combinations(range(len(last)), 2)}


def mean_agreement(pairs: Sequence[Agreement]) -> Agreement:
    """The mean of each figure over the pairs in which it is defined."""

    def mean(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    return Agreement(
        mean([pair.overlap for pair in pairs]),
        mean([pair.tau for pair in pairs]),
        mean([pair.rho for pair in pairs]),
    )


def top_since(curves: FloatArray) -> int:
    """The first row of `curves` [K, n], counted from 1, from which on the top 30% are the final
    ones; the last row at the latest."""
    tops = strongest(curves, top_count(curves.shape[1]))
    known = ~(np.isnan(curves) | np.isnan(curves[-1])).all(1)
    other = np.flatnonzero((tops != tops[-1]).any(1)[:-1] | ~known[:-1])
    return int(other[-1]) + 2 if len(other) else 1


def widest_half_width(found: Effects, columns: Sequence[int]) -> FloatArray:
    """Half of the widest 95% interval [R] among the units `columns`, in nats.

    NaN while the interval of one of them is not known: unknown is as wide as can be.
    """
    half: FloatArray = (found.high - found.low)[:, list(columns)] / 2
    if not half.shape[1]:
        return np.full(len(half), np.nan)
    widest: FloatArray = half.max(1)  # NaN wins
    return widest
