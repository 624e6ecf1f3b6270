"""Replacements predicted by the explained model itself from the left context.

The original implementation calls this an inferential replacer. It keeps a replaced prompt
fluent, so that a change of the answer comes from the meaning that was lost, not from garbage.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reagent_core.errors import ModelError
from reagent_core.replacers.base import Substitute
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray, Scorer

CANDIDATES = 10


class CausalLMReplacer:
    """Samples from the model's ten likeliest tokens at a place, the original one excluded."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def prepare(self, token_ids: Sequence[int]) -> Substitute:
        """Predict every place once, from the original prompt (a single forward)."""
        tokenizer = self._scorer.tokenizer
        # Parts of characters are ordinary here: where the prompt is made of them, the model
        # proposes other ones.
        size = max([*tokenizer.ordinary_ids, *tokenizer.special_ids, *token_ids]) + 1
        allowed = np.ones(size, bool)
        allowed[list(tokenizer.special_ids)] = False
        if not allowed.sum() > CANDIDATES:
            raise ModelError("This model's vocabulary is too small to propose replacements.")
        top = self._scorer.predict(token_ids, CANDIDATES + 1, allowed)
        original = np.asarray(token_ids, np.int64)
        # Of k + 1 candidates at most one is the original; otherwise the last one goes.
        own = top.token_ids == original[:, None]
        own[~own.any(1), -1] = True
        ids = top.token_ids[~own].reshape(len(original), CANDIDATES)
        weights = top.probabilities[~own].reshape(len(original), CANDIDATES)
        weights = np.maximum(weights, np.finfo(float).tiny)
        cumulative = np.cumsum(weights / weights.sum(1, keepdims=True), axis=1)

        def substitute(replaced: BoolArray, uniforms: FloatArray) -> IntArray:
            choice = (uniforms[:, :, None] >= cumulative[None, :, :-1]).sum(2)  # inverse CDF
            drawn = ids[np.arange(len(original))[None, :], choice]
            return np.where(replaced, drawn, original)

        return substitute
