"""What stands in for a replaced token."""

from __future__ import annotations

from typing import Protocol

from reagent_core.prompt import Prompt
from reagent_core.request import ModelInfo
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray


class Substitute(Protocol):
    """Replaces tokens of one prompt."""

    def __call__(self, replaced: BoolArray, uniforms: FloatArray) -> IntArray:
        """Token ids [B, L] of the prompt with the tokens in `replaced` [B, L] replaced.

        `uniforms` [B, L] in [0, 1) decides which proposal is taken at each place, so equal
        numbers give equal replacements whatever else is in the batch. No token is ever replaced
        by itself or by a special token; the number of tokens stays the same.

        Raises:
            Cancelled: the proposals take a model, and nobody waits for them any more.
        """


class Replacer(Protocol):
    """Makes a `Substitute` for a prompt."""

    @property
    def model(self) -> ModelInfo | None:
        """The model that makes the proposals, None where none but the explained one does."""

    def prepare(self, prompt: Prompt) -> Substitute:
        """Do once what all replacements of this prompt share.

        Raises:
            Cancelled: nobody waits for it any more.
        """
