"""The effect of each unit, from the same steps the scores come from.

effect_i = mean value of the target over the steps that kept unit i (or, anchored, its value under
the original prompt) - mean over the steps that replaced it, in nats, cleared of what the other
units did (see `adjustment`). Unlike the ReAGent score it does not sharpen with the number of steps,
so runs and prompts can be compared, and exp(effect) is a factor one can say aloud.

Under `balanced` the replacements that a unit gets are no independent draws: they are spread evenly
from a random start (`masks.replacement_draws`), so that what differs between one part of the
proposals and another adds next to nothing to the error of their mean. The variance of independent
draws would be far too large. What is left is the scatter around a smooth curve, told by the second
differences of neighbours (Gasser, Sroka & Jennen-Steinmetz 1986, Biometrika 73; for systematic
samples Wolter 2007, Introduction to Variance Estimation, section 8.2, estimator 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import stdtrit

from reagent_core.adjustment import adjusted
from reagent_core.masks import GOLDEN
from reagent_core.moderated import moderated
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray

CONFIDENCE = 0.95

# Fewer values have no second difference that is not twice the same.
LEAST_SPREAD = 4


@dataclass(frozen=True)
class Effects:
    """Mean differences [T, n] in nats, their standard errors, and Student's degrees of freedom.

    NaN where unknown.
    """

    mean: FloatArray
    error: FloatArray
    freedom: FloatArray

    def half_width(self, confidence: float) -> FloatArray:
        """Half of the confidence interval [T, n], in nats."""
        # Student's quantile; scipy.stats, which has it, too, takes a second to load.
        quantile = stdtrit(self.freedom, 0.5 + confidence / 2)
        half: FloatArray = np.where(self.error > 0, quantile, 1.0) * self.error
        return half

    def after(self, rows: IntArray) -> Effects:
        """Those of some `rows` [R], counted from 1."""
        return Effects(*(each[rows - 1] for each in (self.mean, self.error, self.freedom)))

    def of(self, column: int) -> Effects:
        """Those [T, 1] of one unit."""
        one = slice(column, column + 1)
        return Effects(*(each[:, one] for each in (self.mean, self.error, self.freedom)))

    @cached_property
    def low(self) -> FloatArray:
        """The lower ends of the 95% intervals."""
        return self.mean - self.half_width(CONFIDENCE)

    @cached_property
    def high(self) -> FloatArray:
        """The upper ends of the 95% intervals."""
        return self.mean + self.half_width(CONFIDENCE)


def effects(
    replaced: BoolArray,
    values: FloatArray,
    original: FloatArray,
    context: BoolArray | None = None,
    *,
    anchored: bool = False,
    probes: IntArray | None = None,
) -> Effects:
    """Effects of n units on T targets over K steps, with Welch's standard error (Welch 1947), or
    anchored that of a moderated t.

    `replaced` [K, n]; `values` [K, T] and `original` [T] in nats; `context` [T, n]: the units that
    can have an effect on a target (all of them by default). `anchored`: compare with the original
    prompt; so is a unit that was replaced in every step. A unit replaced only once has no interval,
    and an effect only against the original; one kept only once has neither. `probes` [K]: the
    probe of each step; anchored steps spread the replacements of all probes together evenly. None
    where they were drawn independently.
    """
    targets, n = values.shape[1], replaced.shape[1]
    found = np.full((3, targets, n), np.nan)
    all_rows = np.array([len(replaced)])
    order = _spread_order(replaced, probes) if anchored and probes is not None else None
    for target in range(targets):
        own = np.ones(n, bool) if context is None else context[target]
        # Around the original the squares lose no digits.
        centered = values[:, target] - original[target]
        columns = adjusted(replaced[:, own], centered, anchored=anchored)
        own_order = None if order is None else order[:, own]
        told = _welch(replaced[:, own], columns, all_rows, anchored, own_order)
        found[:, target, own] = [each[0] for each in told]
    return Effects(*found)


def running_intervals(
    replaced: BoolArray,
    values: FloatArray,
    original: float,
    rows: IntArray,
    *,
    anchored: bool,
    probes: IntArray | None = None,
) -> Effects:
    """Effects [R, n] of one target after its first `rows` [R] steps, with their intervals.

    `replaced` [K, n]; `values` [K] and `original` in nats; `probes` as in `effects`. What the other
    units did is taken out as all K steps tell it (see `curves.running_effects`), so that after K
    steps these are the effects of `effects`.
    """
    columns = adjusted(replaced, values - original, anchored=anchored)
    order = _spread_order(replaced, probes) if anchored and probes is not None else None
    return Effects(*_welch(replaced, columns, rows, anchored, order))


def _spread_order(replaced: BoolArray, probes: IntArray) -> FloatArray:
    """Where in [0, 1) each step's replacement of each unit stands [K, n], but for where its first
    one does; means nothing where it was kept. See `masks.replacement_draws`."""
    number = np.zeros(replaced.shape)
    for probe in np.unique(probes):
        own = probes == probe
        rounds = np.cumsum(replaced[own], axis=0) - 1  # each round replaces every unit once
        number[own] = rounds * (probes.max() + 1) + probe
    return np.asarray(GOLDEN * number % 1.0)


def _scatter(
    replaced: BoolArray, columns: FloatArray, order: FloatArray, counts: IntArray
) -> FloatArray:
    """Mean squared second differences of a unit's first `counts` [R, n] values in the order of
    their draws, over 6: the variance of the values around a smooth curve. The last is a neighbour
    of the first. NaN for fewer than four values."""
    drawn = np.argsort(np.where(replaced, order, np.inf), axis=0)[: counts.max(initial=0)]
    values = np.take_along_axis(columns, drawn, axis=0).T  # [n, draws]
    made = np.where(replaced, np.cumsum(replaced, axis=0), len(replaced) + 1)
    number = np.take_along_axis(made, drawn, axis=0).T
    found = np.full((len(replaced) + 1, len(values)), np.nan)  # by the count of values
    total = replaced.sum(0)
    for count in np.unique(counts[counts >= LEAST_SPREAD]).tolist():
        own = total >= count
        some = values[own][number[own] <= count].reshape(-1, count)
        second = some - 2 * np.roll(some, -1, axis=1) + np.roll(some, -2, axis=1)
        found[count, own] = (second**2).sum(1) / (6 * count)
    return np.asarray(found[counts, np.arange(len(values))])


def _welch(
    replaced: BoolArray,
    columns: FloatArray,
    rows: IntArray,
    anchored: bool,
    order: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Kept minus replaced for each of n units after the first `rows` [R] steps: mean, standard
    error, freedom, each [R, n].

    `columns` [K, n]: the values that are compared for each unit, 0 for the original prompt.
    `order`: see `_spread_order`; None for independent draws.
    """
    out = replaced.astype(float)
    kept = 1.0 - out
    n_out, n_kept = _so_far(out, rows), _so_far(kept, rows)
    original = (n_kept == 0) | anchored
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_out, var_out = _moments(out, columns, rows)
        freedom_out = n_out - 1
        if order is not None:
            enough = n_out >= LEAST_SPREAD
            spread = _scatter(replaced, columns, order, n_out.astype(np.int64))
            var_out = np.where(enough, spread, var_out)
            # Second differences of independent values overlap: 35 tell as much as 18 values.
            freedom_out = np.where(enough, n_out * 18 / 35, freedom_out)
        if anchored:  # a unit is replaced a few times only
            var_out, freedom_out = moderated(var_out, freedom_out)
        mean_kept, var_kept = _moments(kept, columns, rows)
        square_out = var_out / n_out
        square_kept = np.where(original, 0.0, var_kept / n_kept)
        mean = np.where(original, 0.0, mean_kept) - mean_out
        square = square_out + square_kept
        freedom = square**2 / (
            square_out**2 / freedom_out + np.where(original, 0.0, square_kept**2 / (n_kept - 1))
        )
    too_few = (n_out < 2) | ((n_kept < 2) & ~original)
    # A few equal values look like certainty; they only have not varied yet.
    few = np.minimum(n_out, np.where(original, np.inf, n_kept)) < 5
    error = np.where(too_few | ((square == 0) & few), np.nan, np.sqrt(square))
    known = np.where(original, n_out > 0, ~too_few)
    return np.where(known, mean, np.nan), error, np.where(square > 0, freedom, 1.0)


def _moments(
    weight: FloatArray, columns: FloatArray, rows: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Mean and unbiased variance [R, n] of each column over those of the first `rows` [R] steps
    with `weight` [K, n]."""
    count = _so_far(weight, rows)
    mean = _so_far(columns * weight, rows) / count
    square = _so_far(columns**2 * weight, rows) / count
    variance = np.maximum(square - mean**2, 0.0) * count / (count - 1)
    return mean, variance


def _so_far(values: FloatArray, rows: IntArray) -> FloatArray:
    """Sums [R, n] of the first `rows` [R] of the values [K, n]."""
    nothing = np.zeros((1, values.shape[1]))
    return np.asarray(np.concatenate([nothing, np.cumsum(values, axis=0)])[rows])
