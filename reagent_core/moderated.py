"""Variances of many small samples, each steadied by all of them (moderated t, Smyth 2004).

A unit is replaced a few times only, and the variance of a few values is hardly known: by itself it
gives intervals that are far too wide or, by luck, far too narrow. The variances of all units tell
what is usual, and each is moved towards that as far as their spread allows.
"""

from __future__ import annotations

import numpy as np
from scipy.special import digamma, zeta

from reagent_core.scorers.base import FloatArray

# Fewer variances say nothing about what is usual.
LEAST_UNITS = 4

# Newton's method needs fewer than ten.
MOST_TURNS = 50


def moderated(variance: FloatArray, freedom: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Steadied variances [..., n] and their degrees of freedom (Smyth 2004, sections 3 and 6.2).

    `variance` [..., n] with `freedom` [..., n], each row by itself; NaN and entries without freedom
    stay as they are. A variance of zero is moved like any other, but says nothing about the usual.
    """
    if variance.shape[-1] < LEAST_UNITS:
        return variance, freedom
    told = (variance > 0) & (freedom > 0)
    enough = told.sum(-1, keepdims=True) >= LEAST_UNITS
    told = told & enough
    half = np.where(told, freedom / 2, 1.0)
    logs = np.log(np.where(told, variance, 1.0)) - digamma(half) + np.log(half)
    own = told | ~enough  # a row with too few of them stays as it is, whatever is made of it
    mean = logs.mean(-1, where=own, keepdims=True)
    chance = _trigamma(half).mean(-1, where=own, keepdims=True)
    spread = logs.var(-1, ddof=1, where=own, keepdims=True) - chance
    # No more spread than chance gives: one variance for all.
    varied = spread > 0
    prior = 2 * _inverse_trigamma(np.where(varied, spread, 1.0))
    usual = np.exp(mean + np.where(varied, digamma(prior / 2) - np.log(prior / 2), 0.0))
    share = np.where(varied, prior / (prior + freedom), 1.0)
    known = enough & (freedom > 0)
    steadied = np.where(known, share * usual + (1 - share) * variance, variance)
    # Student with very many degrees of freedom is normal; SciPy wants a finite number.
    more = np.where(varied, prior, np.inf)
    return steadied, np.where(known, np.minimum(freedom + more, 1e6), freedom)


def _trigamma(x: FloatArray) -> FloatArray:
    return np.asarray(zeta(2.0, x))


def _inverse_trigamma(value: FloatArray) -> FloatArray:
    """x with trigamma(x) = value > 0, by Newton's method on 1 / trigamma, which is convex: from a
    start above it, x falls to the solution and does not pass it (Smyth 2004, appendix)."""
    x = 0.5 + 1 / value
    for _ in range(MOST_TURNS):
        found = _trigamma(x)
        step = found * (1 - found / value) / (2 * zeta(3.0, x))
        x = x - step
        if (step <= 1e-9 * x).all():
            break
    return np.asarray(x)
