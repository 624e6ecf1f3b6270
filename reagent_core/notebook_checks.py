"""What must hold in the published notebook's file before anything is computed from it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from reagent_core.curves import softmax
from reagent_core.errors import InputError
from reagent_core.notebook import Iteration, refused

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# More than the notebook can make: RoBERTa reads 512 tokens.
MOST_TOKENS = 1_000
MOST_CHARACTERS = 100_000
MOST_SCORES = 1_000_000
# Of all replaced prompts; a million tokens have about as many.
MOST_BYTES = 5_000_000

# What the notebook writes and what follows from it may differ by as much through rounding.
ROUNDING = 1e-3


def numbers_of(rows: Sequence[Iteration]) -> list[int]:
    """The iterations' own numbers, or their places where they have none."""
    given = [row.iteration for row in rows]
    if all(number is None for number in given):
        return list(range(len(rows)))
    for place, (before, number) in enumerate(zip([None, *given], given, strict=False), start=1):
        if number is None:
            raise refused(f"entry {place} of the list, iteration", "it has no number, others have")
        if abs(number) >= 10**9:
            raise refused(f"entry {place} of the list, iteration", "this is no number of one")
        if before == number:
            raise refused(f"iteration {number}", "there are two iterations of this number")
        if before is not None and number < before:
            raise refused(f"iteration {number}", f"it comes after iteration {before}")
    return [number for number in given if number is not None]


def gaps(numbers: Sequence[int]) -> tuple[str, ...]:
    """A sentence about iterations that are left out, if any are."""
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if not missing:
        return ()
    first = next(before for before, after in pairwise(numbers) if after != before + 1)
    return (
        f"{missing:,} of the iterations {numbers[0]} to {numbers[-1]} are not in the file, the "
        f"first after {first}; steps are numbered without gaps.",
    )


def prompt_of(rows: Sequence[Iteration], places: Sequence[str]) -> str:
    """The prompt, the same in every iteration that holds it."""
    prompt = rows[0].original_input
    if prompt is None:
        raise refused(f"{places[0]}, original_input", "it is missing")
    if not prompt.strip():
        raise refused(f"{places[0]}, original_input", "it is empty")
    if "\x00" in prompt:
        raise refused(f"{places[0]}, original_input", "it holds a NUL byte, which no model reads")
    check_unicode(prompt, f"{places[0]}, original_input")
    for row, place in zip(rows, places, strict=True):
        if row.original_input not in (None, prompt):
            raise refused(f"{place}, original_input", f"it is another text than in {places[0]}")
    return prompt


def scores_of(
    rows: Sequence[Iteration], places: Sequence[str]
) -> tuple[FloatArray, tuple[str, ...]]:
    """The raw scores S [K, n] after each iteration, and what to say about them."""
    count: int | None = None
    raw: list[FloatArray] = []
    rebuilt = differing = 0
    for row, place in zip(rows, places, strict=True):
        vectors = {
            name: values
            for name in (
                "logit_scores_before_softmax",
                "normalized_scores_after_softmax",
                "logit_scores_before_logit_update",
            )
            if (values := getattr(row, name)) is not None
        }
        for name, values in vectors.items():
            count = len(values) if count is None else count
            if not values:
                raise refused(f"{place}, {name}", "it is empty")
            if len(values) != count:
                raise refused(
                    f"{place}, {name}", f"it holds {len(values):,} scores, others hold {count:,}"
                )
        before = vectors.get("logit_scores_before_softmax")
        after = vectors.get("normalized_scores_after_softmax")
        normalised = None if after is None else _checked_softmax(after, place)
        if before is not None:
            raw.append(np.array(before, float))
            if normalised is not None:
                differing += bool(np.abs(softmax(raw[-1]) - normalised).max() > ROUNDING)
        elif normalised is not None:
            # Softmax forgets a constant that all raw scores share.
            raw.append(np.log(np.maximum(normalised, np.finfo(float).tiny)))
            rebuilt += 1
        else:
            raise refused(
                place,
                "it has neither logit_scores_before_softmax nor normalized_scores_after_softmax",
            )
        for name in ("logit_scores_before_softmax", "logit_scores_before_logit_update"):
            too_large = np.flatnonzero(np.abs(vectors.get(name, ())) > 1e9)
            if len(too_large):
                raise refused(f"{place}, {name}[{too_large[0]}]", "no score is so large")
    notes = []
    if rebuilt:
        notes.append(
            f"In {share(rebuilt, len(rows))} the raw scores are missing; they are the logarithms "
            "of the normalised ones, right but for a constant."
        )
    if differing:
        notes.append(
            f"In {share(differing, len(rows))} the normalised scores of the file are not the "
            "softmax of its raw scores; shown is the softmax."
        )
    return _stacked(raw), tuple(notes)


def _stacked(raw: list[FloatArray]) -> FloatArray:
    steps, n = len(raw), len(raw[0])
    if n > MOST_TOKENS or steps * n > MOST_SCORES:
        raise InputError(
            f"This notebook file holds {steps:,} iterations of {n:,} scores; at most "
            f"{MOST_TOKENS:,} scores an iteration and {MOST_SCORES:,} in all can be imported.",
            "file",
        )
    return np.stack(raw)


def _checked_softmax(values: Sequence[float], place: str) -> FloatArray:
    normalised = np.array(values, float)
    outside = np.flatnonzero((normalised < 0) | (normalised > 1 + ROUNDING))
    name = "normalized_scores_after_softmax"
    if len(outside):
        raise refused(
            f"{place}, {name}[{outside[0]}]", f"{normalised[outside[0]]:g} is not between 0 and 1"
        )
    # Each may have been rounded to three decimals.
    if abs(normalised.sum() - 1) > ROUNDING * (1 + len(normalised) / 2):
        raise refused(f"{place}, {name}", f"the scores sum to {normalised.sum():.4g}, not to 1")
    return normalised


def masks_of(rows: Sequence[Iteration], places: Sequence[str], n: int) -> BoolArray:
    """Masks [K, n] of the replaced tokens."""
    replaced = np.zeros((len(rows), n), bool)
    for k, (row, place) in enumerate(zip(rows, places, strict=True)):
        for j, index in enumerate(row.replaced_indices):
            if not 0 <= index < n:
                raise refused(
                    f"{place}, replaced_indices[{j}]",
                    f"{index} is no index of {n:,} score{'s' if n != 1 else ''}",
                )
            if replaced[k, index]:
                raise refused(f"{place}, replaced_indices[{j}]", f"{index} is there twice")
            replaced[k, index] = True
    return replaced


def check_count(prompt: str, n: int, place: str) -> None:
    """Refuse a prompt that is too long, or too short for n tokens."""
    if len(prompt) > MOST_CHARACTERS:
        raise refused(
            f"{place}, original_input",
            f"it has {len(prompt):,} characters; at most {MOST_CHARACTERS:,} can be imported",
        )
    size = len(prompt.encode())
    if n > size:
        raise refused(
            f"{place}, original_input",
            f"its {size:,} bytes cannot be {n:,} tokens, as many as there are scores",
        )


def check_modified(rows: Sequence[Iteration], places: Sequence[str], prompt: str) -> None:
    """Refuse replaced prompts that are far longer than the prompt, or too much text together."""
    most, size = 4 * len(prompt) + 1_000, 0
    for row, place in zip(rows, places, strict=True):
        text, field = row.modified_input or "", f"{place}, modified_input"
        if len(text) > most:
            raise refused(
                field,
                f"it has {len(text):,} characters; after a prompt of {len(prompt):,} at most "
                f"{most:,} can be imported",
            )
        check_unicode(text, field)
        size += len(text.encode())
        if size > MOST_BYTES:
            raise refused(
                field, f"up to here they have more than {MOST_BYTES:,} bytes, and no more are read"
            )


def check_unicode(text: str, place: str) -> None:
    """Refuse a text that cannot be written down again."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise refused(place, "it is half of a Unicode pair (a lone surrogate)") from None


def share(count: int, total: int) -> str:
    """ "3 of 200 iterations"."""
    return f"{count:,} of {total:,} iteration{'s' if total != 1 else ''}"
