"""A few proposals for every place of a prompt, and drawing from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reagent_core.errors import ModelError
from reagent_core.replacers.base import Substitute
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray, Scorer

# How many proposals a place has to be drawn from.
CANDIDATES = 10


@dataclass(frozen=True)
class Candidates:
    """K proposals for each of L places: `token_ids` [L, K], and how likely each is to be drawn in
    proportion to the others, `weights` [L, K]."""

    token_ids: IntArray
    weights: FloatArray


def left_context(scorer: Scorer, token_ids: Sequence[int], count: int) -> Candidates:
    """The model's `count` likeliest tokens at each place after what stands left of it.

    Neither the original token nor a special one is among them; weights are probabilities.

    Raises:
        ModelError: the vocabulary is too small.
    """
    tokenizer = scorer.tokenizer
    # Parts of characters are ordinary here: where the prompt is made of them, the model
    # proposes other ones.
    size = max([*tokenizer.ordinary_ids, *tokenizer.special_ids, *token_ids]) + 1
    allowed = np.ones(size, bool)
    allowed[list(tokenizer.special_ids)] = False
    count = min(count, int(allowed.sum()) - 1)
    if count < CANDIDATES:
        raise ModelError("This model's vocabulary is too small to propose replacements.")
    top = scorer.predict(token_ids, count + 1, allowed)
    own = surplus(top.token_ids, np.asarray(token_ids, np.int64))
    shape = (len(token_ids), count)
    return Candidates(top.token_ids[~own].reshape(shape), top.probabilities[~own].reshape(shape))


def surplus(token_ids: IntArray, original: IntArray) -> BoolArray:
    """True [L, K + 1] for the one of K + 1 proposals that goes: the original [L] if it is among
    them (at most once), otherwise the last."""
    own: BoolArray = token_ids == original[:, None]
    own[~own.any(1), -1] = True
    return own


def cumulative(weights: FloatArray) -> FloatArray:
    """Shares of the weights [..., K], summed up; where all are zero, all are alike."""
    weights = np.maximum(weights, np.finfo(float).tiny)
    return np.asarray(np.cumsum(weights / weights.sum(-1, keepdims=True), axis=-1))


def drawn(cumulative_weights: FloatArray, uniforms: FloatArray) -> IntArray:
    """Which of K proposals [..., K] a uniform number [...] in [0, 1) chooses (inverse CDF)."""
    return np.asarray((uniforms[..., None] >= cumulative_weights[..., :-1]).sum(-1), np.int64)


def drawing_from(candidates: Candidates, token_ids: Sequence[int]) -> Substitute:
    """The substitute that draws from the same proposals whatever else is replaced."""
    original = np.asarray(token_ids, np.int64)
    places = np.arange(len(original))
    summed = cumulative(candidates.weights)

    def substitute(replaced: BoolArray, uniforms: FloatArray) -> IntArray:
        proposed = candidates.token_ids[places[None, :], drawn(summed[None], uniforms)]
        return np.where(replaced, proposed, original)

    return substitute
