"""Coarse to fine: where in a long prompt it is worth to look unit by unit.

Each window of sentences is replaced alone, then each sentence of the windows that mattered most.
The units of the sentences that mattered most are what the method then replaces; all else stays
coarse, with the effect it showed as a whole. Whatever stands before the replaced part comes from
the cached prompt, so a sequence costs half a prompt on average. The published procedure knows no
such looks: it replaces all units from the first step on, whatever that costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from reagent_core.config import Config, is_published
from reagent_core.explanation import Explanation
from reagent_core.masks import Purpose, generator
from reagent_core.meter import Meter
from reagent_core.prompt import Prompt, Unit, joined, sentence_numbers
from reagent_core.reagent import token_mask
from reagent_core.replacers.base import Substitute
from reagent_core.scorers.base import BoolArray, FloatArray

# More units than this are first looked at in windows (see `goes_coarse_to_fine`).
MOST_UNITS = 200

# Windows of the first look; what the next look opens are those that lost at least this share of
# what the worst one lost, so many windows and units at most.
WINDOWS = 12
WORTH_OPENING = 0.15
OPENED = 3
FINE_UNITS = 48

Part = tuple[int, ...]  # consecutive units, by their index


@dataclass(frozen=True)
class Narrowed:
    """A prompt in which some units are free, and the others are joined to coarse ones.

    `effects`: index of a coarse unit -> [T] what is lost when it is replaced, in nats.
    """

    prompt: Prompt
    effects: dict[int, FloatArray]


def goes_coarse_to_fine(units: int, config: Config) -> bool:
    """Whether a run over so many free units first looks where it is worth to replace them."""
    return units > MOST_UNITS and not is_published(config)


def narrow(
    prompt: Prompt, substitute: Substitute, meter: Meter, original: FloatArray, seed: int
) -> Iterator[Narrowed]:
    """Look at windows, then at sentences; the last one yielded leaves units to replace one by one.

    `original` [T]: the targets' values under the whole prompt. What is opened follows the first
    target. Units of the answer stay free throughout: they are few.
    """
    free = prompt.free_units[: len(prompt.free_units) - len(prompt.answer_stops)]
    sentences = _sentences(prompt, free)
    windows = _windows(prompt, sentences)
    losses = _losses(prompt, windows, substitute, meter, original, seed)
    yield _narrowed(prompt, losses, set())
    opened = set(_worth_opening(losses)[:OPENED])
    parts = [part for part in sentences if any(set(part) <= set(window) for window in opened)]
    again = _losses(prompt, parts, substitute, meter, original, seed)
    fine: set[int] = set()
    for part in _worth_opening(again):
        if not fine or len(fine) + len(part) <= FINE_UNITS:
            fine |= set(part)
    kept = {window: loss for window, loss in losses.items() if window not in opened}
    yield _narrowed(prompt, kept | again, fine)


def narrowed_before(prompt: Prompt, known: Sequence[Explanation]) -> Narrowed | None:
    """What `narrow` found for this prompt in an earlier run, one of `known` for each of T targets.

    None where the units it left are not units of this prompt.
    """
    column = {unit.start: i for i, unit in enumerate(prompt.units) if unit.end > unit.start}
    stop = {unit.end: i + 1 for i, unit in enumerate(prompt.units) if unit.end > unit.start}
    losses: dict[Part, FloatArray] = {}
    for index, unit in enumerate(known[0].units):
        if unit.coarse:
            if unit.start not in column or unit.end not in stop:
                return None
            part = tuple(range(column[unit.start], stop[unit.end]))
            found = [each.units[index].effect for each in known]
            losses[part] = np.array([np.nan if loss is None else loss for loss in found])
    joined_units = {i for part in losses for i in part}
    if not losses or not joined_units <= set(prompt.free_units):
        return None
    before = _narrowed(prompt, losses, set())
    left = [(unit.start, unit.end) for unit in before.prompt.units]
    widest = max(known, key=lambda each: len(each.units))
    told = [(unit.start, unit.end) for unit in widest.units]
    return before if left == told else None


def _worth_opening(losses: dict[Part, FloatArray]) -> list[Part]:
    """The parts whose loss comes near the largest, the largest first."""
    parts = sorted(losses, key=lambda part: -losses[part][0])
    least = WORTH_OPENING * losses[parts[0]][0]
    return [part for part in parts if part is parts[0] or losses[part][0] >= least > 0]


def _sentences(prompt: Prompt, free: Sequence[int]) -> list[Part]:
    """The free units by sentence; a sentence of too many units is cut into equal pieces."""
    numbers = sentence_numbers(prompt)
    parts: list[Part] = []
    for _, group in groupby(free, key=lambda i: (numbers[i], i - free.index(i))):
        units = list(group)
        pieces = -(-len(units) // FINE_UNITS)
        parts += [tuple(map(int, piece)) for piece in np.array_split(units, pieces)]
    return parts


def _windows(prompt: Prompt, sentences: Sequence[Part]) -> list[Part]:
    """Consecutive sentences joined, so that there are about `WINDOWS` of them."""
    least = sum(map(len, sentences)) / WINDOWS
    windows: list[Part] = []
    current: Part = ()
    for part in sentences:
        if current and (len(current) >= least or part[0] != current[-1] + 1):
            windows.append(current)
            current = ()
        current += part
    return [*windows, current]


def _losses(
    prompt: Prompt,
    parts: Sequence[Part],
    substitute: Substitute,
    meter: Meter,
    original: FloatArray,
    seed: int,
) -> dict[Part, FloatArray]:
    """What is lost [T] when each part alone is replaced, in nats."""
    column = {unit: i for i, unit in enumerate(prompt.free_units)}
    masks: BoolArray = np.zeros((len(parts), len(column)), bool)
    for row, part in enumerate(parts):
        masks[row, [column[unit] for unit in part]] = True
    length = len(prompt.token_ids)
    draws = [generator(seed, Purpose.COARSE, part[0], part[-1]).random(length) for part in parts]
    values = meter.read(substitute(token_mask(prompt, masks), np.stack(draws))).values
    return dict(zip(parts, original - values, strict=True))


def _narrowed(prompt: Prompt, losses: dict[Part, FloatArray], fine: set[int]) -> Narrowed:
    """The prompt with its `fine` units free and every other part of `losses` joined to one."""
    first = {part[0]: part for part in losses if not fine >= set(part)}
    inside = {unit for part in first.values() for unit in part}
    units: list[Unit] = []
    effects: dict[int, FloatArray] = {}
    for i, unit in enumerate(prompt.units):
        if i in first:
            effects[len(units)] = losses[first[i]]
            whole = joined(prompt.text, [prompt.units[k] for k in first[i]])
            units.append(replace(whole, protected=True))
        elif i not in inside:
            units.append(unit)
    return Narrowed(replace(prompt, units=tuple(units)), effects)
