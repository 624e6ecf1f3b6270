"""Variances of many small samples, each steadied by all of them (moderated t, Smyth 2004).

A unit is replaced a few times only, and the variance of a few values is hardly known: by itself it
gives intervals that are far too wide or, by luck, far too narrow. The variances of all units tell
what is usual, and each is moved towards that as far as their spread allows.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from reagent_core.scorers.base import FloatArray

# Fewer variances say nothing about what is usual.
LEAST_UNITS = 4


def moderated(variance: FloatArray, freedom: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Steadied variances [n] and their degrees of freedom (Smyth 2004, sections 3 and 6.2).

    `variance` [n] with `freedom` [n]; NaN and entries without freedom stay as they are. A variance
    of zero is moved like any other, but says nothing about the usual.
    """
    told = (variance > 0) & (freedom > 0)
    if told.sum() < LEAST_UNITS:
        return variance, freedom
    half = freedom[told] / 2
    logs = np.log(variance[told]) - digamma(half) + np.log(half)
    spread = logs.var(ddof=1) - polygamma(1, half).mean()
    if spread <= 0:  # no more spread than chance gives: one variance for all
        prior, usual = np.inf, np.exp(logs.mean())
    else:
        prior = 2 * _inverse_trigamma(float(spread))
        usual = np.exp(logs.mean() + digamma(prior / 2) - np.log(prior / 2))
    share = 1.0 if np.isinf(prior) else prior / (prior + freedom)
    known = freedom > 0
    steadied = np.where(known, share * usual + (1 - share) * variance, variance)
    # Student with very many degrees of freedom is normal; SciPy wants a finite number.
    return steadied, np.where(known, np.minimum(freedom + prior, 1e6), freedom)


def _inverse_trigamma(value: float) -> float:
    """x with trigamma(x) = value > 0; trigamma falls from infinity to zero."""
    return float(brentq(lambda x: float(polygamma(1, x)) - value, 1e-6, 1e9))
