"""What a strip of tokens shows: pieces of text with a colour weight and a tooltip.

The browser strip, the HTML report and the terminal all draw these same pieces. The engine takes
its words from `word_spans`, so a word that can be clicked is a word that was explained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from uniseg.wordbreak import word_boundaries

from reagent_core.explanation import AnswerToken, Explanation, UnitScore
from reagent_core.method_words import score_name, strength
from reagent_core.sentences import Measure as Measure
from reagent_core.sentences import effect_words, ranking
from reagent_core.wording import percent, quoted

# Full colour never stands for less than a factor of 2: a run in which nothing matters looks pale.
FULL_COLOUR_AT_LEAST = math.log(2)


@dataclass(frozen=True)
class StripToken:
    """One piece of a strip.

    `weight`: colour, -1 (against) to 1 (for), None for none. `lines`: the tooltip, plain text.
    `muted`: drawn faintly. `fold`: label under which a long muted text is folded away.
    `unit`: index into `Explanation.units`, None for a piece that is no unit of its own.
    `mark`: how it differs from the prompt it is compared with, if it does.
    """

    text: str
    weight: float | None = None
    lines: tuple[str, ...] = ()
    clickable: bool = False
    muted: bool = False
    fold: str | None = None
    unit: int | None = None
    mark: Literal["changed", "moved", "added"] | None = None


@dataclass(frozen=True)
class AnswerWord:
    """A word of the answer: characters `start:end`, answer tokens `token_start:token_stop`.

    `explained`: the explanation that has exactly this word as its target, if there is one.
    """

    text: str
    start: int
    end: int
    token_start: int
    token_stop: int
    explained: Explanation | None = None


def word_spans(answer: str, tokens: Sequence[AnswerToken]) -> list[tuple[int, int]]:
    """Group the tokens of an answer to words: ranges (start, stop) that tile the tokens.

    A range ends where a word of Unicode UAX #29 ends, so punctuation stands alone. A token never
    splits, whatever it spans. A token without characters of its own (part of an emoji, say) goes
    with the token that completes it, and a lone blank with the word after it.
    """
    if not tokens:
        return []
    breaks = frozenset(word_boundaries(answer))
    starts = [0]
    for i, (left, right) in enumerate(pairwise(tokens), start=1):
        so_far = answer[tokens[starts[-1]].start : left.end]
        lone_blank = bool(so_far) and not so_far.strip(" ")
        complete = left.end > left.start or right.start > left.end
        at_break = any(place in breaks for place in range(left.end, right.start + 1))
        if at_break and complete and not lone_blank:
            starts.append(i)
    return list(pairwise([*starts, len(tokens)]))


def answer_words(explanation: Explanation) -> list[AnswerWord]:
    """The answer as words, each with the explanation that belongs to it.

    In whole-answer mode every word is explained: one token by its entry of `explanations`,
    several by the entry of `words` with the same range, the only word by the whole. Otherwise
    the target's own tokens form one word, the only one explained. An answer without tokens is
    one word.
    """
    tokens, target = explanation.answer_tokens, explanation.target
    if not tokens:
        answer = explanation.answer
        return [AnswerWord(answer, 0, len(answer), 0, 0, explanation)] if answer else []
    spans = word_spans(explanation.answer, tokens)
    inner = {
        (each.target.answer_start, each.target.answer_stop): each
        for each in explanation.every()
        if explanation.explanations
    }
    if not inner and target.answer_start is not None and target.answer_stop is not None:
        own = (target.answer_start, target.answer_stop)
        spans = list(_cut_out(spans, own))
        inner = {own: explanation}
    return [_word(explanation, span, inner.get(span)) for span in spans]


def answer_strip(explanation: Explanation) -> list[StripToken]:
    """`answer_words` as a strip; in whole-answer mode the explained words can be clicked."""
    tokens = explanation.answer_tokens
    choice = bool(explanation.explanations)
    return [
        StripToken(
            text=word.text,
            lines=_word_lines(word, tokens[word.token_start : word.token_stop]),
            clickable=choice and word.explained is not None,
        )
        for word in answer_words(explanation)
    ]


def prompt_strip(
    explanation: Explanation, measure: Measure = "effect", full: float | None = None
) -> list[StripToken]:
    """The prompt's units as a strip, coloured and placed by effect (or by the published score).

    Neighbouring protected units become one muted piece; a chat's template and system turn are
    folded. Where no effect is known yet, colours follow the score. `full`: the effect (nats) that
    gets full colour where several strips share one scale; else `full_colour` of this one.
    """
    units = explanation.units
    if not any(unit.effect is not None for unit in units):
        measure = "score"
    if measure == "effect":
        full = full_colour([explanation]) if full is None else full
    else:
        full = max((abs(strength(unit) or 0.0) for unit in units), default=0.0) or 1.0
    order = ranking(explanation, measure)
    places = {
        unit: f"Place {number} of {len(order)} by {measure}"
        for number, unit in enumerate(order, start=1)
    }
    pieces: list[StripToken] = []
    for i, unit in enumerate(units):
        if not unit.protected:
            value = unit.effect if measure == "effect" else strength(unit)
            weight = None if value is None else value / full
            lines = _unit_lines(explanation, unit, places.get(i))
            pieces.append(StripToken(unit.text, weight, lines, clickable=True, unit=i))
        elif i == 0 or not units[i - 1].protected:
            pieces.append(_protected(explanation, i))
    return pieces


def full_colour(explanations: Sequence[Explanation]) -> float:
    """The effect (nats) that gets full colour: the largest of all, and no less than ln 2."""
    effects = (abs(unit.effect or 0.0) for each in explanations for unit in each.units)
    return max(FULL_COLOUR_AT_LEAST, max(effects, default=0.0))


def _protected(explanation: Explanation, first: int) -> StripToken:
    """The run of protected units that begins at `first`, as one muted piece."""
    units, stop = explanation.units, first
    while stop < len(units) and units[stop].protected:
        stop += 1
    start, end = units[first].start, units[stop - 1].end
    text = explanation.prompt[start:end]
    line = "Protected: it was never replaced, so it has no score."
    return StripToken(text, lines=(line,), muted=True, fold=_fold_label(explanation, start, end))


def _fold_label(explanation: Explanation, start: int, end: int) -> str | None:
    """Why a protected piece of a chat may be folded: it is (or holds) text nobody typed there."""
    if explanation.messages is None:
        return None
    at = 0
    system = False
    for turn in explanation.messages:
        content = turn.content.strip()
        found = explanation.prompt.find(content, at)
        if found < 0:
            continue
        at = found + len(content)
        if turn.role != "system" and found <= start and end <= at:
            return None
        system |= turn.role == "system" and start <= found < end
    return "system turn" if system else "chat template"


def _cut_out(spans: Sequence[tuple[int, int]], own: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The spans with `own` as one of them, its neighbours cut to fit."""
    edges = {place for span in spans for place in span}
    inside = range(own[0] + 1, own[1])
    yield from pairwise(sorted((edges - set(inside)) | set(own)))


def _word(
    explanation: Explanation, span: tuple[int, int], explained: Explanation | None
) -> AnswerWord:
    tokens = explanation.answer_tokens[slice(*span)]
    start, end = tokens[0].start, tokens[-1].end
    # A special token at the end has no characters in the answer, but it was generated.
    text = explanation.answer[start:end] or "".join(token.text for token in tokens)
    return AnswerWord(text, start, end, *span, explained)


def _word_lines(word: AnswerWord, tokens: Sequence[AnswerToken]) -> tuple[str, ...]:
    lines = [quoted(word.text)]
    if tokens:
        probability = math.prod(token.probability for token in tokens)
        lines.append(f"The model gave it {percent(probability)}")
    if len(tokens) == 1 and tokens[0].alternatives:
        others = (
            f"{quoted(other.text)} {percent(other.probability)}"
            for other in tokens[0].alternatives[:3]
        )
        lines.append(f"Also considered: {', '.join(others)}")
    return tuple(lines)


def _unit_lines(explanation: Explanation, unit: UnitScore, place: str | None) -> tuple[str, ...]:
    told = effect_words(unit, odds=explanation.target.instead_of is not None)
    score = None if unit.score is None else f"{score_name(explanation)} {unit.score:.3f}"
    if told is None and unit.attribution is not None:
        told = f"Attribution {unit.attribution:.3g}"
    whole = "Looked at as a whole, once" if unit.coarse else None
    lines = (quoted(unit.text), told or "Effect not known yet", score, place, whole)
    return tuple(line for line in lines if line is not None)
