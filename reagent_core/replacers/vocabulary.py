"""What the tokens of two vocabularies have in common: their text.

Tokenizers mark the blank between words in different ways: before a word ("Ġthe", "▁the"), or its
absence inside one ("##ing"). All of that is seen in what a token adds to a text that is there
already, so only that is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from reagent_core.prompt import Tokenizer
from reagent_core.scorers.base import BoolArray, IntArray


@dataclass(frozen=True)
class Dictionary:
    """From the V ids of one vocabulary to those of another with the same letters.

    `spaced` [V]: whether a token brings a blank with it. `targets` [2, V]: the id with the same
    letters without and with a blank in front, -1 where there is none.
    """

    spaced: BoolArray
    targets: IntArray


def surfaces(tokenizer: Tokenizer, token_ids: Iterable[int]) -> list[str]:
    """What each token adds to a text, its blank included; U+FFFD for parts of a character."""
    before = tokenizer.encode("a", add_special_tokens=False).token_ids
    base = tokenizer.decode(before)
    texts = (tokenizer.decode([*before, token_id]) for token_id in token_ids)
    return [text[len(base) :] if text.startswith(base) else "" for text in texts]


def is_spaced(surface: str) -> bool:
    """Whether a token is a blank with something after it."""
    return surface.startswith(" ") and bool(surface.strip())


@lru_cache(maxsize=4)  # 10 to 30 microseconds a token: seconds for a large vocabulary
def dictionary(source: Tokenizer, target: Tokenizer) -> Dictionary:
    """The dictionary of two tokenizers; made once for each pair.

    Only readable tokens are in it. Of several with the same text the last one of `target` counts,
    because byte tokens come first; and the first one of `source`.
    """
    known = dict(zip(surfaces(target, target.ordinary_ids), target.ordinary_ids, strict=True))
    known.pop("", None)
    size = max(source.ordinary_ids, default=-1) + 1
    spaced = np.zeros(size, bool)
    targets = np.full((2, size), -1, np.int64)
    seen = {""}
    for i, surface in zip(source.ordinary_ids, surfaces(source, source.ordinary_ids), strict=True):
        if surface in seen:
            continue
        seen.add(surface)
        spaced[i] = is_spaced(surface)
        letters = surface[1:] if spaced[i] else surface
        targets[:, i] = known.get(letters, -1), known.get(" " + letters, -1)
    return Dictionary(spaced, targets)
