"""Intervals over prompts: the bootstrap of what is made of means, Wilson's of a share.

The bootstrap (Efron & Tibshirani 1993, chapter 13; by `scipy.stats.bootstrap`) draws prompts with
replacement, and takes the percentiles of what the drawn ones give. The Wilson score interval of a
share (Wilson 1927; Brown et al. 2001, doi 10.1214/ss/1009213286) is sound where all or none hit.
Equal values give equal intervals.

Of more than `MOST` prompts random groups of equal size are drawn in place of single prompts: the
mean of group means varies as much as that of the prompts, and the time does not grow with them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np

from reagent_core.scorers.base import FloatArray, IntArray

CONFIDENCE = 0.95
# Of fewer prompts nothing is told.
LEAST = 5
MOST = 4_000
_RESAMPLES = 2_000
_SEED = 0
# Prompts or groups that are drawn at a time.
_AT_ONCE = 2_000_000
# Rounding makes equal numbers differ by less.
EQUAL = 1e-9


@np.errstate(divide="ignore", invalid="ignore")  # a statistic may be infinite
def bootstrap_ends(
    values: FloatArray, statistic: Callable[[FloatArray], FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends [M] of the 95% intervals of M numbers, which `statistic` makes of the
    means [B, C] of the columns of `values` [n, C]: [B, M].

    NaN where there is none: of fewer than `LEAST` prompts, where all are equal (that looks like
    certainty and only has not varied yet), and where an end would be infinite.
    """
    from scipy.stats import DegenerateDataWarning, bootstrap

    n = len(values)
    if n < LEAST:
        nothing = np.full(statistic(values.mean(0)[None]).shape[1], np.nan)
        return nothing, nothing

    if (size := math.ceil(n / MOST)) > 1:
        # Fewer than one group are left over, of thousands.
        order = np.random.default_rng(_SEED).permutation(n)[: n // size * size]
        values = values[order].reshape(-1, size, values.shape[1]).mean(1)
        n = len(values)

    def drawn(rows: IntArray, axis: int) -> FloatArray:
        """[M, B] of the prompts [B, n] drawn. How often each was drawn says the means, in one
        product of matrices: much faster than to look each up."""
        places = rows + np.arange(len(rows))[:, None] * n
        times = np.bincount(places.ravel(), minlength=rows.size).reshape(rows.shape)
        return np.asarray(statistic(times @ values / n).T)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # what is infinite has no interval
        sure = bootstrap(
            (np.arange(n),), drawn, vectorized=True, n_resamples=_RESAMPLES,
            batch=max(1, _AT_ONCE // n), confidence_level=CONFIDENCE, method="percentile",
            rng=np.random.default_rng(_SEED),
        ).confidence_interval  # fmt: skip
        known = np.isfinite(sure.low) & np.isfinite(sure.high) & (sure.high - sure.low >= EQUAL)
    return np.where(known, sure.low, np.nan), np.where(known, sure.high, np.nan)


def share_ends(hits: int, n: int) -> tuple[float, float]:
    """Lower and upper end of the 95% Wilson interval of the share of `hits` among `n` > 0."""
    from scipy.stats import binomtest

    sure = binomtest(hits, n).proportion_ci(CONFIDENCE, "wilson")
    return float(sure.low), float(sure.high)
