"""Text to tokens with character offsets, and tokens to the units that get a score.

Everything is decided by character offsets, never by the look of a token, so it holds for every
tokenizer that reports offsets. Words and sentences are those of Unicode UAX #29 (`uniseg`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Protocol

from uniseg import sentencebreak, wordbreak

from reagent_core.chat import render
from reagent_core.config import Granularity
from reagent_core.errors import InputError
from reagent_core.request import Turn

Span = tuple[int, int]


@dataclass(frozen=True)
class Encoding:
    """Token ids and, for each, its characters `text[start:end]` (empty for added tokens).

    `closed`: the last token ends the text; what follows is a text of its own.
    """

    token_ids: tuple[int, ...]
    offsets: tuple[Span, ...]
    closed: bool = False


class Tokenizer(Protocol):
    """What the library needs of a tokenizer."""

    def __hash__(self) -> int:
        """Of the object: what is made of a vocabulary is made once."""

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids that stand for no ordinary text; never attributed, never proposed."""

    @property
    def ordinary_ids(self) -> Sequence[int]:
        """Ascending ids that stand for readable text of their own."""

    def encode(self, text: str, *, add_special_tokens: bool) -> Encoding:
        """Tokens of `text`."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the tokens, special ones included; U+FFFD for incomplete UTF-8."""

    def render_chat(self, turns: Sequence[Turn]) -> str:
        """The model's chat template, up to where its answer begins.

        Raises:
            InputError: the model has no chat template, or the template refuses the turns.
        """


@dataclass(frozen=True)
class Unit:
    """One piece of the prompt that is replaced, kept and scored as a whole.

    `positions`: the token positions it is made of. `prompt.text[start:end] == text`; the units
    of a prompt tile its text without gap or overlap.
    """

    text: str
    start: int
    end: int
    protected: bool
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Prompt:
    """A tokenized prompt. `turns` holds the chat as typed, None for plain text.

    `closed`: the last token ends the prompt, and the answer is a text of its own: the prompt is the
    source of an encoder-decoder model.
    `offsets`: the characters of each token in `text`, as the tokenizer reports them: with or
    without the blank in front; empty for a token that stands for no text.
    `answer_stops`: where the answer was made part of the context (`answer.with_answer`), the last
    units are its tokens, and for each of them this is the number of answer tokens up to its end.
    """

    text: str
    token_ids: tuple[int, ...]
    units: tuple[Unit, ...]
    turns: tuple[Turn, ...] | None = None
    answer_stops: tuple[int, ...] = ()
    closed: bool = False
    offsets: tuple[Span, ...] = ()

    @cached_property
    def free_units(self) -> tuple[int, ...]:
        """Indices of the units that may be replaced."""
        return tuple(i for i, unit in enumerate(self.units) if not unit.protected)

    @cached_property
    def free_positions(self) -> tuple[int, ...]:
        """The token positions of the units that may be replaced, ascending."""
        free = (self.units[i].positions for i in self.free_units)
        return tuple(sorted(position for positions in free for position in positions))


def check_text(text: str, field: str) -> None:
    """Refuse what no tokenizer can read.

    Raises:
        InputError: empty or blank, a NUL byte, or a lone surrogate.
    """
    if not text.strip():
        raise InputError("This is empty. Type some text for the model to read.", field)
    if "\x00" in text:
        raise InputError(
            f"Character {text.index(chr(0)) + 1} is a NUL byte, which no model reads. "
            "Delete it and try again.",
            field,
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"Character {error.start + 1} is half of a Unicode pair (a lone surrogate). "
            "Delete it and try again.",
            field,
        ) from None


def build_prompt(
    prompt: str | Sequence[Turn],
    tokenizer: Tokenizer,
    granularity: Granularity = "token",
    protected: Iterable[Span] = (),
) -> Prompt:
    """Tokenize a plain text or a chat and cut it into units.

    Protected are: special tokens, the chat template, system turns, and the character spans in
    `protected` (of the plain text, or of the last turn's content).

    Raises:
        InputError: the text cannot be used, there is no chat template, a span is out of range,
            or nothing is left that may be replaced.
    """
    if isinstance(prompt, str):
        check_text(prompt, "prompt")
        text, open_spans, turns = prompt, [(0, len(prompt))], None
        base, limit = 0, len(prompt)
        encoding = tokenizer.encode(text, add_special_tokens=True)
    else:
        turns = tuple(prompt)
        if not turns:
            raise InputError("This chat has no turns. Type something for the model.", "prompt")
        for turn in turns:
            check_text(turn.content, "system" if turn.role == "system" else "prompt")
        text, contents = render(turns, tokenizer.render_chat)
        # The template already holds the special tokens: adding them again doubles the BOS.
        encoding = tokenizer.encode(text, add_special_tokens=False)
        open_spans = [
            span for turn, span in zip(turns, contents, strict=True) if turn.role != "system"
        ]
        # A span counts from the content as typed, which the template may have trimmed.
        last, (start, end) = turns[-1].content, contents[-1]
        base, limit = start + _indent(text[start:end]) - _indent(last), len(last)
    closed: list[Span] = []
    for start, end in protected:
        if not 0 <= start < end <= limit:
            raise InputError(
                f"The protected span {start} to {end} is empty or lies outside the text of "
                f"{limit:,} characters. Choose another.",
                "prompt",
            )
        closed.append((base + start, base + end))
    pieces = _pieces(text, encoding, tokenizer.special_ids, open_spans, closed)
    units = _group(text, pieces, granularity)
    if not any(not unit.protected for unit in units):
        raise InputError(
            "Nothing in this prompt may be replaced: all of it is protected.", "prompt"
        )
    return Prompt(
        text, encoding.token_ids, units, turns, closed=encoding.closed, offsets=encoding.offsets
    )


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def _pieces(
    text: str,
    encoding: Encoding,
    special_ids: frozenset[int],
    open_spans: Sequence[Span],
    closed: Sequence[Span],
) -> list[Unit]:
    """The smallest units: tokens, with tokens that share a character taken together.

    What the tokenizer skips belongs to the token after it from the first blank on, and to the
    token before it up to there: an accent stays with its letter.
    """
    spans: list[Span] = []
    begins: list[int] = []  # without the skipped characters, which may be the template's
    positions: list[list[int]] = []
    special: list[bool] = []
    waiting: list[int] = []  # ordinary tokens without characters: part of the next piece
    covered = 0
    for position, (token_id, (start, end)) in enumerate(
        zip(encoding.token_ids, encoding.offsets, strict=True)
    ):
        is_special = token_id in special_ids
        if spans and start > covered and not text[covered].isspace():
            covered += len(text[covered:start].split(maxsplit=1)[0])
            spans[-1] = (spans[-1][0], covered)
        # GPT-2's `trim_offsets` leaves nothing of a token that is all blanks.
        if start == end and (is_special or start <= covered):
            if not is_special:
                waiting.append(position)
        elif start < covered and spans:
            spans[-1] = (spans[-1][0], max(covered, end))
            positions[-1] += [*waiting, position]
            special[-1] |= is_special
            waiting = []
        else:
            spans.append((covered, end))
            begins.append(start if start < end else covered)
            positions.append([*waiting, position])
            special.append(is_special)
            waiting = []
        covered = max(covered, end)
    if not spans:
        raise InputError(
            "The model's tokenizer finds no token in this text. Type other characters.", "prompt"
        )
    positions[-1] += waiting
    ends = [end for _, end in spans]
    spans[-1] = (spans[-1][0], len(text))
    return [
        Unit(
            text[start:end],
            start,
            end,
            is_special
            or not _inside(text, begin, own_end, open_spans)
            or any(low < end and start < high for low, high in closed),
            tuple(places),
        )
        for (start, end), begin, own_end, places, is_special in zip(
            spans, begins, ends, positions, special, strict=True
        )
    ]


def _inside(text: str, start: int, end: int, spans: Sequence[Span]) -> bool:
    """Whether a token is the user's: the blank it begins with may be the template's."""
    piece = text[start:end]
    begin = start + (_indent(piece) if piece.strip() else 0)
    return any(low <= begin and end <= high for low, high in spans)


def _group(text: str, pieces: Sequence[Unit], granularity: Granularity) -> tuple[Unit, ...]:
    """Join pieces to words or sentences; a unit ends where both a piece and a segment end.

    Whitespace alone belongs to what follows it, so " word" is one unit for every tokenizer.
    """
    if granularity == "token":
        return tuple(pieces)
    split = wordbreak.words if granularity == "word" else sentencebreak.sentences
    starts, position = [], 0
    for segment in split(text):
        starts.append(position)
        position += len(segment)
    if granularity == "sentence":  # they end with the blanks that here begin the next one
        starts = [len(text[:start].rstrip()) for start in starts]
    units: list[Unit] = []
    for _, run in groupby(pieces, key=lambda piece: piece.protected):
        group: list[Unit] = []
        blanks: list[Unit] = []
        last_segment = 0
        for piece in run:
            if not piece.text.strip():
                blanks.append(piece)
                continue
            begin = blanks[0].start if blanks else piece.start
            if group and bisect_right(starts, begin) > last_segment:
                units.append(joined(text, group))
                group = []
            group += [*blanks, piece]
            blanks = []
            last_segment = bisect_right(starts, piece.start + len(piece.text.rstrip()) - 1)
        units.append(joined(text, group + blanks))
    return tuple(units)


def joined(text: str, pieces: Sequence[Unit]) -> Unit:
    """Consecutive units as one; protected if the first is."""
    start, end = pieces[0].start, pieces[-1].end
    positions = tuple(position for piece in pieces for position in piece.positions)
    return Unit(text[start:end], start, end, pieces[0].protected, positions)


def sentence_numbers(prompt: Prompt) -> list[int]:
    """The sentence each unit belongs to: a number that never falls from unit to unit."""
    sentences = _group(prompt.text, prompt.units, "sentence")
    return [bisect_right([each.start for each in sentences], unit.start) for unit in prompt.units]
