"""Several explanations side by side: which words matter more in one than in another.

The first explanation is what the others are compared with. Effects are compared, never the
published scores: these sharpen with the number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from reagent_core.alignment import Kind, Piece, Row, align_all, pieces
from reagent_core.explanation import Explanation, UnitScore
from reagent_core.export import csv_text
from reagent_core.strip import StripToken, full_colour, prompt_strip
from reagent_core.wording import quoted

MOST = 4
LETTERS = "ABCD"

What = Literal["prompts", "models", "methods", "settings", "seeds", "nothing"]
# What a word does in two prompts that it differs in: it speaks for the target in both, against it
# in both, or for it in one and against it in the other. One of the two may have no clear sign.
Side = Literal["for", "against", "turned_for", "turned_against"]


@dataclass(frozen=True)
class Word:
    """A word of one prompt, what became of it since the first prompt, and its effect.

    `effect`, `low`, `high` in nats, with the 95% interval; None where not known. A word of several
    units has effect and interval of the unit whose effect is largest in size: effects do not add
    up (what the units do together was not measured), and neither do intervals. `units`: how many.
    `at_least`: the effect is a lower bound; then `high` is infinite.
    """

    text: str
    kind: Kind
    units: int
    effect: float | None
    low: float | None
    high: float | None
    at_least: bool = False


@dataclass(frozen=True)
class Difference:
    """Effect of a word minus its effect in the first prompt (nats), with a 95% interval.

    exp(value) is the ratio of the two factors. The interval is made of both words' intervals by
    the square-and-add rule (MOVER; Zou and Donner 2008, doi 10.1002/sim.3095), as for
    independent runs. `clear`: the two intervals do not overlap; the difference is beyond the
    noise. That is stricter than an interval of the difference without 0 (Schenker and Gentleman
    2001, doi 10.1198/000313001317097960), which suits a table of many words. `side`: of which
    effect there is more or less, by the signs that the two intervals leave no doubt of.
    """

    value: float
    low: float
    high: float
    clear: bool
    side: Side


@dataclass(frozen=True)
class ComparedWord:
    """One row: the word in each prompt (None where it has none), and the differences to the
    first prompt (None for the first, and where one of the effects or intervals is not known)."""

    words: tuple[Word | None, ...]
    differences: tuple[Difference | None, ...]

    @property
    def clear(self) -> bool:
        """Whether some difference is beyond the noise."""
        return any(difference is not None and difference.clear for difference in self.differences)


@dataclass(frozen=True)
class Comparison:
    """Explanations side by side, called by `letters`. `rows` in the order of the first prompt;
    `pieces` are the words of each prompt that may be replaced, and `aligned` names them for each
    row."""

    letters: str
    explanations: tuple[Explanation, ...]
    pieces: tuple[tuple[Piece, ...], ...]
    aligned: tuple[Row, ...]
    rows: tuple[ComparedWord, ...]

    @property
    def sorted_rows(self) -> list[ComparedWord]:
        """Rows with the largest clear difference first, then those with the largest effect."""
        return sorted(self.rows, key=_weight, reverse=True)

    def row_of(self, column: int, unit: int) -> int:
        """The row that this unit of a prompt is in.

        Raises:
            LookupError: the unit is protected, or there is none of this number.
        """
        places = {
            number: i for i, piece in enumerate(self.pieces[column]) for number in piece.units
        }
        return next(
            number
            for number, row in enumerate(self.aligned)
            if (cell := row.cells[column]) is not None and cell.piece == places[unit]
        )


def compare(explanations: Sequence[Explanation], letters: str = LETTERS) -> Comparison:
    """Align the prompts' words and compare their effects with those in the first prompt.

    `letters`: what the prompts are called, one letter each. Protected words are left out: they
    were never replaced and have no effect. Effects by different methods are not compared.
    """
    words = tuple(
        tuple(piece for piece in pieces(each.prompt + each.answer, each.units)
              if not piece.protected)
        for each in explanations
    )  # fmt: skip
    aligned = tuple(align_all([[piece.text for piece in column] for column in words]))
    apart, rows = by_several_methods(explanations), []
    for row in aligned:
        cells = tuple(
            None if cell is None else _word(each, column[cell.piece], cell.kind)
            for each, column, cell in zip(explanations, words, row.cells, strict=True)
        )
        first = cells[0]
        told = (None if apart else _difference(first, cell) for cell in cells[1:])
        differences = (None, *told)
        rows.append(ComparedWord(cells, differences))
    return Comparison(letters, tuple(explanations), words, aligned, tuple(rows))


def strips(comparison: Comparison) -> list[list[StripToken]]:
    """The prompts as strips with one colour scale; words that differ from the first are marked,
    and their tooltips say how."""
    full = full_colour(comparison.explanations)
    return [
        _marked(comparison, column, prompt_strip(each, full=full))
        for column, each in enumerate(comparison.explanations)
    ]


def missing_words(comparison: Comparison, column: int) -> list[str]:
    """Words of the first prompt that this one lacks, in their order."""
    return [
        row.words[0].text
        for row in comparison.rows
        if row.words[0] is not None and row.words[column] is None
    ]


def what_differs(explanations: Sequence[Explanation]) -> What:
    """What tells these runs apart: the first that differs of prompt, model, method, settings,
    seed."""
    if len({_asked(each) for each in explanations}) > 1:
        return "prompts"
    if len({each.model for each in explanations}) > 1:
        return "models"
    if by_several_methods(explanations):
        return "methods"
    if len({each.config.model_copy(update={"seed": 0}) for each in explanations}) > 1:
        return "settings"
    return "seeds" if len({each.config.seed for each in explanations}) > 1 else "nothing"


def by_several_methods(explanations: Sequence[Explanation]) -> bool:
    """Whether not all of them were found by the same method. What one method says of a word is
    then no measure of what another says."""
    return len({each.method for each in explanations}) > 1


def comparison_csv(comparison: Comparison) -> str:
    """One row a word and prompt, with the effects (nats) and their differences to the first.

    `word` counts the rows of `Comparison.rows`, `prompt` is A to D. What is not known is empty;
    `difference` also where it does not exist: in the first prompt, and for a word that one of the
    two lacks. A text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    records = []
    for number, row in enumerate(comparison.rows):
        columns = zip(comparison.letters, row.words, row.differences, strict=False)
        for letter, word, difference in columns:
            if word is None:
                continue
            records.append(
                {
                    "word": number,
                    "prompt": letter,
                    "text": word.text,
                    "kind": word.kind,
                    "units": word.units,
                    "effect": word.effect,
                    "effect_low": word.low,
                    "effect_high": word.high,
                    "difference": difference.value if difference else None,
                    "difference_low": difference.low if difference else None,
                    "difference_high": difference.high if difference else None,
                    "clear": difference.clear if difference else None,
                }
            )
    return csv_text(pd.DataFrame(records, columns=CSV_COLUMNS), ["text"])


CSV_COLUMNS = [
    "word", "prompt", "text", "kind", "units", "effect", "effect_low", "effect_high",
    "difference", "difference_low", "difference_high", "clear",
]  # fmt: skip


def _asked(explanation: Explanation) -> object:
    """The prompt as it was typed: another model renders the same chat otherwise."""
    return explanation.prompt if explanation.messages is None else explanation.messages


def _word(explanation: Explanation, piece: Piece, kind: Kind) -> Word:
    units = [explanation.units[i] for i in piece.units]
    known = [(abs(unit.effect), unit) for unit in units if unit.effect is not None]
    if not known:
        return Word(piece.text, kind, len(units), None, None, None)
    strongest: UnitScore = max(known, key=lambda pair: pair[0])[1]
    bound = strongest.at_least and strongest.effect_high is not None
    high = math.inf if bound else strongest.effect_high
    return Word(
        piece.text, kind, len(units), strongest.effect, strongest.effect_low, high,
        strongest.at_least,
    )  # fmt: skip


def _difference(first: Word | None, word: Word | None) -> Difference | None:
    if first is None or word is None or first.effect is None or word.effect is None:
        return None
    if first.low is None or first.high is None or word.low is None or word.high is None:
        return None
    value = word.effect - first.effect
    return Difference(
        value,
        value - math.hypot(word.effect - word.low, first.high - first.effect),
        value + math.hypot(word.high - word.effect, first.effect - first.low),
        clear=word.low > first.high or word.high < first.low,
        side=_side(_sign(first.low, first.high), _sign(word.low, word.high)),
    )


def _side(first: int, word: int) -> Side:
    if first * word < 0:
        return "turned_for" if word > 0 else "turned_against"
    return "against" if min(first, word) < 0 else "for"


def _sign(low: float, high: float) -> int:
    """Of an effect; 0 where its interval holds both signs."""
    return (low > 0) - (high < 0)


def _weight(row: ComparedWord) -> tuple[float, float]:
    clear = [abs(each.value) for each in row.differences if each is not None and each.clear]
    effects = [abs(word.effect) for word in row.words if word and word.effect is not None]
    return max(clear, default=0.0), max(effects, default=0.0)


def _marked(comparison: Comparison, column: int, tokens: Sequence[StripToken]) -> list[StripToken]:
    if column == 0:
        return list(tokens)
    became = {}
    for row, cells in zip(comparison.rows, comparison.aligned, strict=True):
        cell, first, base = cells.cells[column], row.words[0], comparison.letters[0]
        if cell is not None:
            for unit in comparison.pieces[column][cell.piece].units:
                became[unit] = (cell.kind, first.text if first else "")
    marked = []
    for token in tokens:
        kind, stood = became.get(token.unit, ("same", "")) if token.unit is not None else ("", "")
        if kind == "changed":
            line = f"Changed: {base} has {quoted(stood)} here"
            token = replace(token, mark="changed", lines=(*token.lines, line))
        elif kind == "moved":
            line = f"Moved: {base} has it elsewhere"
            token = replace(token, mark="moved", lines=(*token.lines, line))
        elif kind == "added":
            line = f"Added: {base} does not have it"
            token = replace(token, mark="added", lines=(*token.lines, line))
        marked.append(token)
    return marked
