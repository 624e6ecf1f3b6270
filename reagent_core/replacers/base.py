"""What stands in for a replaced token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from reagent_core.scorers.base import BoolArray, FloatArray, IntArray


class Substitute(Protocol):
    """Replaces tokens of one prompt."""

    def __call__(self, replaced: BoolArray, uniforms: FloatArray) -> IntArray:
        """Token ids [B, L] of the prompt with the tokens in `replaced` [B, L] replaced.

        `uniforms` [B, L] in [0, 1) decides which proposal is taken at each place, so equal
        numbers give equal replacements whatever else is in the batch. No token is ever replaced
        by itself or by a special token; the number of tokens stays the same.
        """


class Replacer(Protocol):
    """Makes a `Substitute` for a prompt."""

    def prepare(self, token_ids: Sequence[int]) -> Substitute:
        """Do once what all replacements of this prompt share."""
