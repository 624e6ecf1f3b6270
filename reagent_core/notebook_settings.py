"""With which settings the published notebook's file was made, as far as its numbers show them."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np

from reagent_core.config import Config, Selection, Weights
from reagent_core.notebook import Iteration
from reagent_core.notebook_checks import BoolArray, FloatArray

# What a random choice does less often than this is taken for no chance.
_CHANCE = 0.05


def settings_of(rows: Sequence[Iteration], replaced: BoolArray, changes: FloatArray) -> Config:
    """The settings that masks [K, n], changes d [K] and scores show; else the notebook's."""
    steps = len(replaced)
    start = rows[0].logit_scores_before_logit_update
    ratio = min(max(float(replaced.mean()), 0.001), 0.999)
    return Config(
        selection=_selection(replaced),
        init="uniform" if start is not None and any(start) else "zeros",
        weights=_weights(rows, replaced, changes, ratio),
        replacer="masked_lm",
        ratio=ratio,
        probes=1,
        min_steps=steps,
        max_steps=steps,
    )


def _selection(replaced: BoolArray) -> Selection:
    if _is_balanced(replaced):
        return "balanced"
    counts = replaced.sum(1)
    return "exact" if (counts == counts[0]).all() else "bernoulli"


def _is_balanced(replaced: BoolArray) -> bool:
    """Whether the steps replace about as many tokens each, and none again before all were.

    A few random subsets may look so, too, and must not be compared with the original prompt: much
    of it is gone in each. Where each step replaces one token, that comparison is right for them.
    """
    n = replaced.shape[1]
    sizes: list[int] = replaced.sum(1).tolist()
    if min(sizes) < max(1, max(sizes) - 1):
        return False
    chance, gone = 1.0, np.zeros(n, bool)
    for mask, size in zip(replaced, sizes, strict=True):
        if (gone & mask).any():
            return False
        chance *= comb(n - int(gone.sum()), size) / comb(n, size)
        gone |= mask
        if gone.all():
            gone[:] = False
    return max(sizes) == 1 or chance < _CHANCE


def _weights(
    rows: Sequence[Iteration], replaced: BoolArray, changes: FloatArray, ratio: float
) -> Weights:
    """Those that lead from the raw scores before the iterations to those after them."""
    from reagent_core.reagent import update  # SciPy

    told = [(row.logit_scores_before_logit_update, row.logit_scores_before_softmax) for row in rows]
    known = [
        k for k, (before, after) in enumerate(told) if before is not None and after is not None
    ]
    if not known:
        return "centered"
    added = np.array([np.subtract(told[k][1] or (), told[k][0] or ()) for k in known])

    def misses(weights: Weights) -> float:
        config = Config(weights=weights, ratio=ratio)
        off = added - update(changes[known], replaced[known], config)
        # The ratio is not told exactly. It moves all scores of a step alike, which means nothing.
        return float(((off - off.mean(1, keepdims=True)) ** 2).sum())

    return min(("centered", "unit"), key=misses)
