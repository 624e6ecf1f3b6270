"""Replacements predicted by the explained model itself from the left context.

The original implementation calls this an inferential replacer. It keeps a replaced prompt
fluent, so that a change of the answer comes from the meaning that was lost, not from garbage.
"""

from __future__ import annotations

from reagent_core.prompt import Prompt
from reagent_core.replacers.base import Substitute
from reagent_core.replacers.candidates import CANDIDATES, drawing_from, left_context
from reagent_core.scorers.base import Scorer


class CausalLMReplacer:
    """Samples from the model's ten likeliest tokens at a place, the original one excluded."""

    model = None

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def prepare(self, prompt: Prompt) -> Substitute:
        """Predict every place once, from the original prompt (a single forward).

        Raises:
            ModelError: the vocabulary is too small.
        """
        candidates = left_context(self._scorer, prompt.token_ids, CANDIDATES)
        return drawing_from(candidates, prompt.token_ids)
