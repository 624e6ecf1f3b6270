"""The effect of each unit, from the same steps the scores come from.

effect_i = mean value of the target over the steps that kept unit i - mean over the steps that
replaced it, in nats. Unlike the ReAGent score it does not sharpen with the number of steps, so
runs and prompts can be compared, and exp(effect) is a factor one can say aloud.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from reagent_core.scorers.base import BoolArray, FloatArray

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Effects:
    """Mean difference and its confidence interval, each [T, n] in nats; NaN where unknown."""

    mean: FloatArray
    low: FloatArray
    high: FloatArray


def effects(replaced: BoolArray, values: FloatArray, original: FloatArray) -> Effects:
    """Effects of n units on T targets over K steps, with Welch's 95% interval (Welch 1947).

    `replaced` [K, n]; `values` [K, T] and `original` [T] in nats. A unit replaced in every step is
    compared with the original prompt; one that was replaced or kept only once has no interval and
    no effect yet. Values that do not vary at all have an interval only from five steps on.
    """
    out = replaced.astype(float)
    kept = 1.0 - out
    # Around the original the squares lose no digits.
    centered = values - original
    n_out, n_kept = out.sum(0), kept.sum(0)  # [n]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_out, var_out = _moments(out, centered, n_out)
        mean_kept, var_kept = _moments(kept, centered, n_kept)
        always_out = n_kept == 0
        mean_kept[:, always_out] = 0.0
        se_out, se_kept = var_out / n_out, np.where(always_out, 0.0, var_kept / n_kept)
        mean = mean_kept - mean_out
        error = se_out + se_kept
        freedom = error**2 / (
            se_out**2 / (n_out - 1) + np.where(always_out, 0.0, se_kept**2 / (n_kept - 1))
        )
        half = student.ppf(0.5 + CONFIDENCE / 2, np.where(error > 0, freedom, 1.0)) * np.sqrt(error)
    unknown = (n_out < 2) | ((n_kept < 2) & ~always_out)
    mean[:, unknown] = np.nan
    # A few equal values look like certainty; they only have not varied yet.
    few = np.minimum(n_out, np.where(always_out, np.inf, n_kept)) < 5
    half[(error == 0) & few] = np.nan
    return Effects(mean, mean - half, mean + half)


def _moments(weight: FloatArray, values: FloatArray, count: FloatArray) -> tuple[FloatArray, ...]:
    """Mean and unbiased variance [T, n] of `values` [K, T] over the steps with `weight` [K, n]."""
    mean = (values.T @ weight) / count
    square = ((values**2).T @ weight) / count
    variance = np.maximum(square - mean**2, 0.0) * count / (count - 1)
    return mean, variance
