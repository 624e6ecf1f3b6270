"""Prompts side by side: their words, and which word of one is which of another.

Words, not tokens, are aligned: prompts read by different models have different tokens.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from uniseg.wordbreak import word_boundaries

from reagent_core.explanation import UnitScore

# Of a word in another text than the first: it stands there as in the first, in place of another
# word of the first, elsewhere than in the first, or only here. "missing": only in the first.
Kind = Literal["same", "changed", "moved", "added", "missing"]


@dataclass(frozen=True)
class Piece:
    """A word as the units make it: characters `start:end` of the context, indices of `units`.

    A unit never splits, so a piece may be several words (a sentence, where these are the units).
    """

    text: str
    start: int
    end: int
    units: tuple[int, ...]
    protected: bool


@dataclass(frozen=True)
class Pair:
    """Place `base` of the first text and place `other` of another; None where there is none."""

    kind: Kind
    base: int | None
    other: int | None


@dataclass(frozen=True)
class Cell:
    """One text in a row: the place of its piece, and what became of it."""

    piece: int
    kind: Kind


@dataclass(frozen=True)
class Row:
    """Pieces of several texts that belong together; None in a text without such a piece."""

    cells: tuple[Cell | None, ...]


def pieces(context: str, units: Sequence[UnitScore]) -> list[Piece]:
    """The units grouped to words of Unicode UAX #29, in order; each unit is in exactly one.

    `context`: the text that the units' offsets count in (prompt, then answer). Blanks alone belong
    to what follows, or at an end to what stands before; protected and free units never mix.
    """
    breaks = frozenset(word_boundaries(context))
    groups: list[list[int]] = []
    has_ink = False
    for i, unit in enumerate(units):
        ink = unit.text.lstrip()
        begin = unit.end - len(ink)
        at_break = any(place in breaks for place in range(unit.start, begin + 1))
        turned = bool(groups) and unit.protected != units[i - 1].protected
        if not groups or turned or (has_ink and (at_break or not ink)):
            if not has_ink and len(groups) > 1 and _alike(units, groups[-2], groups[-1]):
                groups[-2].extend(groups.pop())
            groups.append([])
            has_ink = False
        groups[-1].append(i)
        has_ink = has_ink or bool(ink)
    if not has_ink and len(groups) > 1 and _alike(units, groups[-2], groups[-1]):
        groups[-2].extend(groups.pop())
    return [_piece(context, units, group) for group in groups]


def align(base: Sequence[str], other: Sequence[str]) -> list[Pair]:
    """Which word of `other` is which of `base`, by a text diff (Python's difflib).

    Words are equal whatever their case and the blanks around them. A word that goes in one place
    and comes in another is moved (punctuation never is); of what is left, words that stand for
    each other in the same gap are changed, in their order. Every place of both is in one pair.
    """
    left, right = [_normal(text) for text in base], [_normal(text) for text in other]
    same: list[Pair] = []
    gaps: list[tuple[list[int], list[int]]] = []
    for tag, i, i_end, j, j_end in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag == "equal":
            pairs = zip(range(i, i_end), range(j, j_end), strict=True)
            same += [Pair("same", a, b) for a, b in pairs]
        else:
            gaps.append((list(range(i, i_end)), list(range(j, j_end))))
    gone: defaultdict[str, deque[int]] = defaultdict(deque)
    for lost, _ in gaps:
        for a in lost:
            if any(character.isalnum() for character in left[a]):
                gone[left[a]].append(a)
    moved = [
        Pair("moved", gone[right[b]].popleft(), b) for _, new in gaps for b in new if gone[right[b]]
    ]
    from_there = {pair.base for pair in moved}
    to_here = {pair.other for pair in moved}
    rest: list[Pair] = []
    for lost, new in gaps:
        lost = [a for a in lost if a not in from_there]
        new = [b for b in new if b not in to_here]
        rest += [Pair("changed", a, b) for a, b in zip(lost, new, strict=False)]
        rest += [Pair("missing", a, None) for a in lost[len(new) :]]
        rest += [Pair("added", None, b) for b in new[len(lost) :]]
    return same + moved + rest


def align_all(texts: Sequence[Sequence[str]]) -> list[Row]:
    """Rows over all texts, each aligned to the first; every word of each is in exactly one row.

    In the order of the first text; a word that it lacks follows the word it stands behind. Equal
    words that several texts add share a row.
    """
    if not texts:
        return []
    count = len(texts)
    rows: list[list[Cell | None]] = [
        [Cell(i, "same"), *[None] * (count - 1)] for i in range(len(texts[0]))
    ]
    added: dict[tuple[str, int], tuple[int, list[Cell | None]]] = {}
    for column, text in enumerate(texts[1:], start=1):
        pairs = sorted(
            (pair for pair in align(texts[0], text) if pair.other is not None),
            key=lambda pair: pair.other or 0,
        )
        behind = -1  # the word of the first text that the last one in place stands for
        seen: defaultdict[str, int] = defaultdict(int)
        for pair in pairs:
            assert pair.other is not None
            cell = Cell(pair.other, pair.kind)
            if pair.base is not None:
                rows[pair.base][column] = cell
                behind = behind if pair.kind == "moved" else pair.base
                continue
            word = _normal(text[pair.other])
            key = (word, seen[word])
            seen[word] += 1
            _, cells = added.setdefault(key, (behind, [None] * count))
            cells[column] = cell
    ordered: list[list[Cell | None]] = []
    for i in range(-1, len(rows)):
        if i >= 0:
            ordered.append(rows[i])
        ordered += [cells for place, cells in added.values() if place == i]
    return [Row(tuple(cells)) for cells in ordered]


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip()).casefold()


def _alike(units: Sequence[UnitScore], first: Sequence[int], second: Sequence[int]) -> bool:
    return units[first[-1]].protected == units[second[0]].protected


def _piece(context: str, units: Sequence[UnitScore], group: Sequence[int]) -> Piece:
    start, end = units[group[0]].start, units[group[-1]].end
    return Piece(context[start:end], start, end, tuple(group), units[group[0]].protected)
