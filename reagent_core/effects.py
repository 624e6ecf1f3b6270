"""The effect of each unit, from the same steps the scores come from.

effect_i = mean value of the target over the steps that kept unit i (or, anchored, its value under
the original prompt) - mean over the steps that replaced it, in nats, cleared of what the other
units did (see `adjustment`). Unlike the ReAGent score it does not sharpen with the number of steps,
so runs and prompts can be compared, and exp(effect) is a factor one can say aloud.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import t as student

from reagent_core.adjustment import adjusted
from reagent_core.moderated import moderated
from reagent_core.scorers.base import BoolArray, FloatArray

CONFIDENCE = 0.95


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
        quantile = student.ppf(0.5 + confidence / 2, self.freedom)
        half: FloatArray = np.where(self.error > 0, quantile, 1.0) * self.error
        return half

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
) -> Effects:
    """Effects of n units on T targets over K steps, with Welch's standard error (Welch 1947), or
    anchored that of a moderated t.

    `replaced` [K, n]; `values` [K, T] and `original` [T] in nats; `context` [T, n]: the units that
    can have an effect on a target (all of them by default). `anchored`: compare with the original
    prompt; so is a unit that was replaced in every step. A unit replaced only once has no interval,
    and an effect only against the original; one kept only once has neither.
    """
    targets, n = values.shape[1], replaced.shape[1]
    found = np.full((3, targets, n), np.nan)
    for target in range(targets):
        own = np.ones(n, bool) if context is None else context[target]
        # Around the original the squares lose no digits.
        centered = values[:, target] - original[target]
        columns = adjusted(replaced[:, own], centered, anchored=anchored)
        found[:, target, own] = _welch(replaced[:, own], columns, anchored)
    return Effects(*found)


def _welch(
    replaced: BoolArray, columns: FloatArray, anchored: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Kept minus replaced for each of n units: mean, standard error, freedom, each [n].

    `columns` [K, n]: the values that are compared for each unit, 0 for the original prompt.
    """
    out = replaced.astype(float)
    kept = 1.0 - out
    n_out, n_kept = out.sum(0), kept.sum(0)
    original = (n_kept == 0) | anchored
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_out, var_out = _moments(out, columns, n_out)
        freedom_out = n_out - 1
        if anchored:  # a unit is replaced a few times only
            var_out, freedom_out = moderated(var_out, freedom_out)
        mean_kept, var_kept = _moments(kept, columns, n_kept)
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


def _moments(weight: FloatArray, columns: FloatArray, count: FloatArray) -> tuple[FloatArray, ...]:
    """Mean and unbiased variance [n] of each column over the steps with `weight` [K, n]."""
    mean = (columns * weight).sum(0) / count
    square = (columns**2 * weight).sum(0) / count
    variance = np.maximum(square - mean**2, 0.0) * count / (count - 1)
    return mean, variance
