"""What each replaced token became, from a prompt before and after the replacement.

The published notebook writes the whole text after each replacement. What was kept stands in it
unchanged and in order; what lies between is the replacements. Nothing is made up: where it cannot
be told which of several replaced neighbours became what, the text between is shared out and the
caller is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby

from reagent_core.notebook_tokens import RobertaTokenizer, pieces

# difflib takes cubic time on repetitive texts: at most so many pieces a text, and so many
# comparisons (pieces before times pieces after) a file.
_MOST_PIECES = 128
_MOST_COMPARISONS = 1_000_000


@dataclass(frozen=True)
class Replacements:
    """For each step the texts its replaced tokens became, in order.

    `uncertain`: how many steps leave open which replaced token became which part of the text.
    `unknown`: in how many nothing can be told; their replacements are empty.
    """

    texts: list[tuple[str, ...]]
    uncertain: int
    unknown: int


def replacements(
    tokens: Sequence[str],
    replaced: Sequence[Sequence[int]],
    modified: Sequence[str | None],
    tokenizer: RobertaTokenizer | None,
) -> Replacements:
    """Compare the `tokens` of the prompt with its `modified` texts, one a step (None: not known).

    `replaced`: indices of tokens, ascending. `tokenizer`: what found the tokens.
    """
    after: list[list[str] | None] = [None] * len(modified)
    if tokenizer is not None:
        known = [i for i, text in enumerate(modified) if text is not None]
        texts = [modified[i] or "" for i in known]
        for i, parts in zip(known, _parts(texts, tokenizer), strict=True):
            after[i] = parts
    found: list[tuple[str, ...]] = []
    uncertain = unknown = spent = 0
    for indices, text, cut in zip(replaced, modified, after, strict=True):
        told: tuple[str, ...] | None = None if indices else ()
        sure = True
        if indices and text is not None:
            told = _one_for_one(tokens, indices, cut)
            if told is None:
                told, sure = _between(tokens, indices, text, tokenizer)
            if told is None:
                parts = _parts([text], tokenizer)[0] if cut is None else cut
                spent += len(tokens) * len(parts)
                if max(len(tokens), len(parts)) <= _MOST_PIECES and spent <= _MOST_COMPARISONS:
                    told, sure = _by_difference(tokens, indices, parts), False
        unknown += told is None
        uncertain += not sure and told is not None
        found.append(told if told is not None else ("",) * len(indices))
    return Replacements(found, uncertain, unknown)


def _one_for_one(
    tokens: Sequence[str], indices: Sequence[int], after: Sequence[str] | None
) -> tuple[str, ...] | None:
    """The tokens that stand where the replaced ones stood, if all others are what they were."""
    if after is None or len(after) != len(tokens):
        return None
    gone = set(indices)
    if any(i not in gone and tokens[i] != after[i] for i in range(len(tokens))):
        return None
    return tuple(after[i] for i in indices)


def _between(
    tokens: Sequence[str],
    indices: Sequence[int],
    text: str,
    tokenizer: RobertaTokenizer | None,
) -> tuple[tuple[str, ...] | None, bool]:
    """What lies between the kept tokens, and whether it is sure which token became what.

    Each run of kept tokens is taken where it occurs first: if there is a way, this finds one.
    None where the kept tokens do not stand in the text.
    """
    gone = set(indices)
    runs = [
        (is_replaced, [tokens[i] for i in run])
        for is_replaced, run in groupby(range(len(tokens)), key=gone.__contains__)
    ]
    at = 0
    waiting = 0  # replaced tokens whose text ends where the next kept run begins
    gaps: list[tuple[str, int]] = []
    for place, (is_replaced, run) in enumerate(runs):
        if is_replaced:
            waiting = len(run)
            continue
        kept = "".join(run)
        if place == len(runs) - 1:
            start = len(text) - len(kept) if text.endswith(kept) else -1
        elif waiting:
            start = text.find(kept, at + 1)
        else:
            start = 0 if text.startswith(kept) else -1
        if start < at + (waiting > 0):
            return None, False
        gaps.append((text[at:start], waiting))
        at, waiting = start + len(kept), 0
    if not waiting and at != len(text):
        return None, False
    return _shared([*gaps, (text[at:], waiting)], tokenizer)


def _shared(
    gaps: Sequence[tuple[str, int]], tokenizer: RobertaTokenizer | None
) -> tuple[tuple[str, ...], bool]:
    """Each text as that of so many tokens, one after the other, and whether all have just as many
    as they are said to stand for."""
    several = iter(_parts([text for text, count in gaps if count > 1], tokenizer))
    found: list[str] = []
    sure = True
    for text, count in gaps:
        if count > 1:
            parts = next(several)
            found += _groups(parts, count)
            sure &= len(parts) == count
        else:
            found += [text] * count
    return tuple(found), sure


def _by_difference(
    tokens: Sequence[str], indices: Sequence[int], parts: Sequence[str]
) -> tuple[str, ...]:
    """What difflib takes for the replacements of the tokens `indices`."""
    became = dict.fromkeys(range(len(tokens)), "")
    matcher = SequenceMatcher(None, tokens, parts, autojunk=False)
    for _, start, stop, first, last in matcher.get_opcodes():
        if start < stop:
            for i, text in zip(
                range(start, stop), _groups(parts[first:last], stop - start), strict=True
            ):
                became[i] = text
    return tuple(became[i] for i in indices)


def _parts(texts: Sequence[str], tokenizer: RobertaTokenizer | None) -> list[list[str]]:
    cut = [pieces(text) for text in texts] if tokenizer is None else tokenizer.spans(texts)
    return [
        [text[start:end] for start, end in spans] for text, spans in zip(texts, cut, strict=True)
    ]


def _groups(parts: Sequence[str], count: int) -> Iterator[str]:
    """`count` texts, as even as can be, that joined are the parts joined."""
    size = len(parts)
    for i in range(count):
        yield "".join(parts[size * i // count : size * (i + 1) // count])
