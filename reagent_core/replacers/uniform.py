"""Replacements drawn uniformly from the ordinary vocabulary (the paper's ablation)."""

from __future__ import annotations

import numpy as np

from reagent_core.errors import ModelError
from reagent_core.prompt import Prompt, Tokenizer
from reagent_core.replacers.base import Substitute
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray


class UniformReplacer:
    """Any readable token of the vocabulary is as likely as any other, the original excluded.

    Raises:
        ModelError: there are no two readable tokens.
    """

    model = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._ids = np.asarray(tokenizer.ordinary_ids, np.int64)
        if len(self._ids) < 2:
            raise ModelError("This model's vocabulary is too small to propose replacements.")

    def prepare(self, prompt: Prompt) -> Substitute:
        """Nothing to compute ahead but where each original stands in the vocabulary."""
        original = np.asarray(prompt.token_ids, np.int64)
        place = np.searchsorted(self._ids, original)
        ordinary = np.isin(original, self._ids)
        size = len(self._ids) - ordinary  # [L] how many others there are

        def substitute(replaced: BoolArray, uniforms: FloatArray) -> IntArray:
            choice = (uniforms * size).astype(np.int64)
            choice += ordinary & (choice >= place)  # skip the original
            return np.where(replaced, self._ids[choice], original)

        return substitute
