"""A prompt as a masked language model reads it, with any of its tokens masked.

The model has a tokenizer of its own. Each replaced token of the prompt becomes one mask, so that
the number of tokens stays the same; where the two tokenizers cut the text is decided by character
offsets. What is kept keeps the tokens it has in the whole text; of a token that is kept in part,
the rest is tokenized anew.

The special tokens of the explained model ("<|im_start|>") are no text and are left out; the words
of a chat template stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reagent_core.prompt import Prompt, Span, Tokenizer
from reagent_core.replacers.vocabulary import is_spaced, surfaces
from reagent_core.scorers.base import BoolArray


@dataclass(frozen=True)
class Masked:
    """A text with masks: its tokens, the places of the masks among them that are to be filled
    (ascending), and the position in the prompt of the token that each of these stands for."""

    token_ids: tuple[int, ...]
    places: tuple[int, ...]
    positions: tuple[int, ...]

    def asking(self, wanted: BoolArray) -> Masked:
        """The same text, only the masks at these positions [L] of the prompt to be filled."""
        pairs = zip(self.places, self.positions, strict=True)
        kept = [(place, position) for place, position in pairs if wanted[position]]
        return Masked(
            self.token_ids, tuple(place for place, _ in kept), tuple(own for _, own in kept)
        )


class MaskableText:
    """A prompt in the tokens of a masked model.

    `seen` [L]: whether that model sees anything of a token of the prompt: it has no mask for what
    it does not see, as line ends for BERT. `spaced` [L]: whether what the model has in the place
    of a token begins with a blank, as it writes it.
    """

    def __init__(
        self, prompt: Prompt, explained: Tokenizer, tokenizer: Tokenizer, mask_id: int
    ) -> None:
        self._text, self._tokenizer, self._mask_id = prompt.text, tokenizer, mask_id
        self._ids: list[int] = []
        self._spans: list[Span] = []
        for begin, end in _stretches(prompt, explained.special_ids):
            encoding = tokenizer.encode(prompt.text[begin:end], add_special_tokens=False)
            self._ids += encoding.token_ids
            self._spans += [
                _core(prompt.text, begin + low, begin + high) for low, high in encoding.offsets
            ]
        length = len(prompt.token_ids)
        self.seen: BoolArray = np.zeros(length, bool)
        self.spaced: BoolArray = np.zeros(length, bool)
        self._own = [_core(prompt.text, *span) for span in prompt.offsets]
        covered = np.zeros(len(prompt.text) + 1, bool)
        begins: dict[int, int] = {}
        for place, (low, high) in enumerate(self._spans):
            covered[low:high] = True
            if low < high:
                begins.setdefault(low, place)
        spaced = [is_spaced(surface) for surface in surfaces(tokenizer, self._ids)]
        for position, (low, high) in enumerate(self._own):
            if prompt.token_ids[position] not in explained.special_ids:
                self.seen[position] = covered[low:high].any()
                # Of several tokens that make one character, the first one begins it.
                place = begins.pop(low, -1) if low < high else -1
                self.spaced[position] = place >= 0 and spaced[place]

    def masked(self, replaced: Sequence[int]) -> Masked:
        """The text with the tokens at these positions (ascending, all of them seen) masked."""
        hidden = np.zeros(len(self._text) + 1, np.int64)
        for position in replaced:
            low, high = self._own[position]
            hidden[low:high] = 1
        before = np.concatenate([[0], np.cumsum(hidden)])
        # (first character, token, position of a mask or -1), then in the order of the text
        parts: list[tuple[int, int, int]] = []
        for (low, high), token_id in zip(self._spans, self._ids, strict=True):
            gone = before[high] - before[low]
            if not gone:
                parts.append((low, token_id, -1))
            elif gone < high - low:
                parts += [(start, i, -1) for start, i in self._rest(low, high, hidden)]
        parts += [(self._own[position][0], self._mask_id, position) for position in replaced]
        parts.sort(key=lambda part: part[0])
        masks = [(place, part[2]) for place, part in enumerate(parts) if part[2] >= 0]
        return Masked(
            tuple(part[1] for part in parts),
            tuple(place for place, _ in masks),
            tuple(position for _, position in masks),
        )

    def _rest(self, low: int, high: int, hidden: np.ndarray) -> Iterator[tuple[int, int]]:
        """(first character, token) of what is kept of a token at `low` to `high`."""
        edges = np.flatnonzero(np.diff([1, *hidden[low:high], 1]))  # begins and ends
        for begin, end in zip(low + edges[::2], low + edges[1::2], strict=True):
            blank = int(begin == low and self._text[begin - 1 : begin] == " ")
            text = self._text[begin - blank : end]
            for token_id in self._tokenizer.encode(text, add_special_tokens=False).token_ids:
                yield int(begin), token_id


def windows(text: Masked, most: int) -> list[Masked]:
    """Stretches of at most `most` tokens, each with the masks that stand in its middle.

    Every mask is in one of them, with at least a quarter of `most` on each side where there is
    so much text. A text that fits is one window.
    """
    length = len(text.token_ids)
    if length <= most:
        return [text]
    step = max(1, most // 2)
    blocks: dict[int, list[tuple[int, int]]] = {}
    for place, position in zip(text.places, text.positions, strict=True):
        blocks.setdefault(place // step, []).append((place, position))
    found = []
    for block, masks in blocks.items():
        start = min(max(0, block * step - (most - step) // 2), length - most)
        found.append(
            Masked(
                text.token_ids[start : start + most],
                tuple(place - start for place, _ in masks),
                tuple(position for _, position in masks),
            )
        )
    return found


def _stretches(prompt: Prompt, special_ids: frozenset[int]) -> Iterator[Span]:
    """What of the text lies between special tokens."""
    begin = 0
    for token_id, (low, high) in zip(prompt.token_ids, prompt.offsets, strict=True):
        if token_id in special_ids and low < high:
            if begin < low:
                yield begin, low
            begin = high
    if begin < len(prompt.text):
        yield begin, len(prompt.text)


def _core(text: str, start: int, end: int) -> Span:
    """The characters without blanks at either end, or all of them where all are blank."""
    piece = text[start:end]
    if not piece.strip():
        return start, end
    return end - len(piece.lstrip()), start + len(piece.rstrip())
