"""Less noise from the same steps: what the other units did to a step is taken out of its value.

A unit's mean is right on average, but noisy: in every step other units are replaced, too. A ridge
regression of the values on the masks says about how much they cost, and that is subtracted before
the means are taken (control variates; regression adjustment of randomized experiments, Lin 2013).
Each step's correction comes from a regression that has not seen the step (cross-fitting, Wager et
al. 2016), so that the effects stay right on average and their intervals honest, however bad the
regression is.

NumPy alone, so that a page can draw curves at once.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

FOLDS = 4
# With fewer steps a regression adds more noise than it takes out.
LEAST_STEPS = 16
# Penalties tried, as shares of the number of steps.
_PENALTIES = np.logspace(-4, 2, 19)


def adjusted(replaced: BoolArray, values: FloatArray, *, anchored: bool) -> FloatArray:
    """Values [K, n]: column i is `values` [K] without what replacing the units other than i did.

    `replaced` [K, n]. `anchored`: 0 is what the values are when nothing is replaced, and the
    regression goes through it. Before there are enough steps every column is `values` itself.
    """
    steps, n = replaced.shape
    columns = np.tile(values[:, None], (1, n))
    alone = anchored and not (replaced.sum(1) > 1).any()
    if steps < LEAST_STEPS or n < 2 or alone:
        return columns
    masks = replaced.astype(float)
    fold = np.arange(steps) % FOLDS
    for held_out in range(FOLDS):
        seen, unseen = fold != held_out, fold == held_out
        center = np.zeros(n) if anchored else masks[seen].mean(0)
        level = 0.0 if anchored else values[seen].mean()
        # Matrices this small are solved in milliseconds. Two threads took 1.5 times as long, and
        # ten times the processor time where both cores were busy: they wait for each other.
        with _linear_algebra().limit(limits=1, user_api="blas"):
            slopes = ridge(masks[seen] - center, values[seen] - level, 0 if anchored else 1)
        told = (masks[unseen] - center) * slopes
        columns[unseen] -= told.sum(1, keepdims=True) - told
    return columns


@cache
def _linear_algebra() -> ThreadpoolController:
    """The threads of NumPy's linear algebra; finding it takes 10 ms."""
    return ThreadpoolController()


def ridge(masks: FloatArray, values: FloatArray, spent: int) -> FloatArray:
    """Slopes [n] of `values` [K] on `masks` [K, n], both around their origin, under the penalty
    that generalized cross-validation finds best (Golub, Heath & Wahba 1979).

    `spent`: degrees of freedom that finding the origin took.
    """
    steps = len(masks)
    few = steps < masks.shape[1]  # of a long prompt: the smaller product has the same spectrum
    spectrum, vectors = np.linalg.eigh(masks @ masks.T if few else masks.T @ masks)
    spectrum = np.maximum(spectrum, 0.0)
    projected = vectors.T @ (values if few else masks.T @ values)
    squares = projected**2 * (spectrum if few else 1.0)
    penalties = steps * _PENALTIES[:, None]
    weights = 1.0 / (spectrum + penalties)  # [penalties, the smaller of K and n]
    residual = (values @ values) - ((2 - spectrum * weights) * weights * squares).sum(1)
    freedom = steps - spent - (spectrum * weights).sum(1)
    # A fit with nearly as many parameters as steps explains anything.
    score = np.where(freedom > 0.1 * steps, residual / np.maximum(freedom, 1e-9) ** 2, np.inf)
    best = int(np.argmin(score))
    slopes: FloatArray = vectors @ (weights[best] * projected)
    return masks.T @ slopes if few else slopes
