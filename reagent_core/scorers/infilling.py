"""What an encoder-decoder model would put at a place of its source: the task it was trained on.

T5 (Raffel et al. 2020, section 3.1.4) writes what stood at each sentinel of the source, after the
sentinel; BART (Lewis et al. 2020, section 2.2) writes the whole source again, masks filled.
Several places are asked for in one forward, far enough apart that each keeps its neighbours: T5 was
trained with 15% of the tokens left out, BART with 30%. The decoder reads the original tokens of
the places before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from reagent_core.errors import ModelError

# Places asked for together have at least so many tokens from one to the next: one in eight.
_APART = 8


@dataclass(frozen=True)
class Gaps:
    """A source in which tokens are left out, and what makes a model say which.

    `source`, `decoder`: token ids of the two inputs. `read`: for each place left out, the position
    in the decoder after which the model says what stood there.
    """

    source: list[int]
    decoder: list[int]
    read: list[int]


@dataclass(frozen=True)
class Sentinels:
    """As T5: a sentinel in each gap; the decoder says each of them and then what it stands for."""

    ids: tuple[int, ...]

    def most(self, source: Sequence[int]) -> int:
        """Gaps in one source; sentinels that a user typed into it stand for something else."""
        return len(set(self.ids) - set(source))

    def gaps(self, source: Sequence[int], places: Sequence[int], opening: Sequence[int]) -> Gaps:
        """Ask for `places` of `source`, in ascending order."""
        corrupted, decoder, read = list(source), list(opening), []
        unused = (i for i in self.ids if i not in source)
        for place, sentinel in zip(places, unused, strict=False):
            corrupted[place] = sentinel
            read.append(len(decoder))
            decoder += [sentinel, source[place]]
        return Gaps(corrupted, decoder[:-1], read)


@dataclass(frozen=True)
class Mask:
    """As BART: a mask in each gap; the decoder says the source from its beginning."""

    id: int

    def most(self, source: Sequence[int]) -> int:
        """Gaps in one source: as many as it has tokens."""
        return len(source)

    def gaps(self, source: Sequence[int], places: Sequence[int], opening: Sequence[int]) -> Gaps:
        """Ask for `places` of `source`, in ascending order."""
        corrupted = list(source)
        for place in places:
            corrupted[place] = self.id
        # A BOS that the decoder is made to begin with is the source's own, where it has one.
        repeats = len(opening) > 1 and opening[-1] == source[0]
        begun = list(opening[:-1] if repeats else opening)
        decoder = [*begun, *source[: places[-1]]]
        return Gaps(corrupted, decoder, [len(begun) - 1 + place for place in places])


def infilling_of(tokenizer: PreTrainedTokenizerBase) -> Sentinels | Mask | None:
    """How a model with this tokenizer fills gaps; None where it has no token for a gap."""
    vocabulary = tokenizer.get_vocab()
    names = (f"<extra_id_{n}>" for n in range(len(vocabulary)))
    ids = []
    for name in names:
        if name not in vocabulary:
            break
        ids.append(vocabulary[name])
    if ids:
        return Sentinels(tuple(ids))
    return None if tokenizer.mask_token_id is None else Mask(tokenizer.mask_token_id)


def apart(places: Sequence[int], most: int) -> list[list[int]]:
    """`places` in groups for one forward each, of at most `most` places that lie apart.

    Raises:
        ModelError: `most` is zero.
    """
    if not most:
        raise ModelError(
            "This prompt holds every token that this model marks a gap with, so it cannot propose "
            "replacements. Delete them, or choose the replacer “uniform”."
        )
    step = max(_APART, -(-len(places) // most))
    return [list(places[first::step]) for first in range(min(step, len(places)))]
