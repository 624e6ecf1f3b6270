"""Attention as attribution: from the places where the target is predicted, to the context.

`A` [layers, D, S] is the attention of each layer, the mean over its heads. Of a target of several
tokens the mean over the places is taken that predict one of them. Attention does not know what was
said there, only where the model looked; a unit's is the sum over its tokens.
"""

from __future__ import annotations

import numpy as np

from reagent_core.baselines.case import Case, Found, unit_sums
from reagent_core.baselines.inside import inside
from reagent_core.errors import Cancelled
from reagent_core.scorers.base import FloatArray


def attention(case: Case) -> Found:
    """The mean of A over all layers."""
    layers, rows = _read(case)
    return _found(case, layers[:, rows].mean((0, 1)), f"All {len(layers)} layers were averaged.")


def attention_last(case: Case) -> Found:
    """A of the last layer."""
    layers, rows = _read(case)
    return _found(case, layers[-1, rows].mean(0), "The last layer was read.")


def attention_rollout(case: Case) -> Found:
    """The product of A/2 + I/2 over all layers (Abnar & Zuidema 2020, section 3)."""
    layers, rows = _read(case)
    return _found(case, rollout(layers)[rows].mean(0), f"All {len(layers)} layers were multiplied.")


def rollout(layers: FloatArray) -> FloatArray:
    """Attention rollout [S, S] of layers [layers, S, S]; every row sums to 1."""
    identity = np.eye(layers.shape[1])
    rolled = identity
    for layer in layers:
        mixed = (layer + identity) / 2
        rolled = mixed / mixed.sum(1, keepdims=True) @ rolled
    return rolled


def _read(case: Case) -> tuple[FloatArray, list[int]]:
    """A, and its rows that predict the target."""
    if case.cancelled():
        raise Cancelled("Stopped.")
    targets, ids = case.targets, case.context.token_ids
    low, high = targets.spans[0]
    said = () if targets.in_context else targets.continuation[: high - 1]
    layers = inside(case.scorer).attentions(ids, said)
    case.work.forwards += 1
    case.work.sequences += 1
    case.work.tokens += len(ids) + len(said)
    last = layers.shape[1]
    return layers, list(range(last - (high - low), last))


def _found(case: Case, tokens: FloatArray, told: str) -> Found:
    return Found(unit_sums(case.context, tokens), told)
