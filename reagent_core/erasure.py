"""Replacing units in an order and in random ones: the prompts to read, and what was read.

Random orders come in pairs, one and its reverse: what is replaced to delete along the one is what
is replaced to insert along the other, so every prompt serves twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reagent_core.masks import Purpose, generator
from reagent_core.meter import Meter
from reagent_core.prompt import Prompt
from reagent_core.reagent import token_mask
from reagent_core.replacers.base import Substitute
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray
from reagent_core.target import Readings

# The shares of ERASER (DeYoung et al. 2020, section 4) but its 1% (a prompt has no hundred
# units) and 50%; the curves go on from there.
SHARES = (0.05, 0.1, 0.2, 0.3)
_CURVE_SHARES = (*SHARES, 0.5)
# Random orders are most of the work and are only compared with: they are read at half as many.
_RANDOM_SHARES = (0.05, 0.2, 0.5)

# Pairs of random orders: as few as can tell chance at the 5% level (see `trust.standing`).
PAIRS = 10


@dataclass(frozen=True)
class Plan:
    """Every prompt of a check: S masks over n units, and the draw that each is replaced with.

    `at` [K]: points of the curves; `random_at` [k]: those of them at which random orders are read,
    too. The rows are the order's deletion and insertion for each of D draws, then of each pair of
    random orders what the first of the two deletes and inserts.
    """

    at: IntArray
    random_at: IntArray
    masks: BoolArray
    draws: IntArray
    count: int

    def __len__(self) -> int:
        return len(self.masks)


@dataclass(frozen=True)
class Erased:
    """Values (nats) at K points: `deletion`, `insertion` [D, K] of the order over D draws,
    `random_deletion`, `random_insertion` [R, k] of random orders, one draw each, at k of them.
    """

    at: IntArray
    random_at: IntArray
    deletion: FloatArray
    insertion: FloatArray
    random_deletion: FloatArray
    random_insertion: FloatArray


def points(n: int) -> IntArray:
    """Numbers of strongest units at which the curves of n units are read, ascending, at most 12.

    0, the shares 5, 10, 20, 30 and 50% (rounded, at least one unit), what they leave, and n.
    """
    return _points(n, _CURVE_SHARES)


def random_points(n: int) -> IntArray:
    """Those of the `points` at which random orders are read, at most 8: as above, without the
    shares 10 and 30%."""
    return _points(n, _RANDOM_SHARES)


def _points(n: int, shares: tuple[float, ...]) -> IntArray:
    some = {share_units(n, share) for share in shares}
    return np.array(sorted({0, n} | some | {n - k for k in some}), np.int64)


def share_units(n: int, share: float) -> int:
    """How many units a share of n is: rounded, at least one."""
    return max(1, round(share * n))


def plan(order: IntArray, draws: int, seed: int) -> Plan:
    """What is to be read for an order [n] of units, strongest first.

    Random order number r uses the replacements of draw r modulo D: with all units replaced it
    comes to a prompt that the order itself comes to.
    """
    at, random_at = points(len(order)), random_points(len(order))
    own = _both(order, at)
    masks = [own] * draws
    numbers = [np.full(len(own), draw) for draw in range(draws)]
    for pair in range(PAIRS):
        random = generator(seed, Purpose.CHECK_ORDER, pair).permutation(len(order))
        masks.append(_both(random, random_at))
        numbers.append(np.full(len(masks[-1]), pair % draws))
    return Plan(at, random_at, np.concatenate(masks), np.concatenate(numbers), draws)


def _both(order: IntArray, at: IntArray) -> BoolArray:
    """[2K, n]: the first units replaced, at each point; then all but the first."""
    first = np.stack([_first(order, k) for k in at.tolist()])
    return np.concatenate([first, ~first])


def _first(order: IntArray, count: int) -> BoolArray:
    """Mask [n] of the first `count` units of an order [n]."""
    mask: BoolArray = np.zeros(len(order), bool)
    mask[order[:count]] = True
    return mask


def read(
    prompt: Prompt, planned: Plan, substitute: Substitute, meter: Meter, seed: int
) -> Iterator[Readings]:
    """Read the prompts of a plan in its order; yields the readings of a few at a time.

    In a draw each place keeps its replacement whatever else is replaced, as far as the replacer's
    proposals allow it, so that equal masks are equal prompts and are scored once.

    Raises:
        Cancelled: the meter was cancelled.
    """
    length = len(prompt.token_ids)
    uniforms = np.stack(
        [generator(seed, Purpose.CHECK_DRAW, draw).random(length) for draw in range(planned.count)]
    )
    # Two forwards' worth, as in a run.
    size = max(4, 2 * meter.sequences_at_once(length))
    for low in range(0, len(planned), size):
        masks = token_mask(prompt, planned.masks[low : low + size])
        yield meter.read(substitute(masks, uniforms[planned.draws[low : low + size]]))


def erased(planned: Plan, values: FloatArray) -> Erased:
    """Values [S] (nats) of the prompts of a plan, sorted by order and point."""
    first = planned.count * 2 * len(planned.at)
    own = values[:first].reshape(planned.count, 2, -1)
    pairs = values[first:].reshape(PAIRS, 2, -1)
    deletion, insertion = pairs[:, 0], pairs[:, 1]
    return Erased(
        planned.at,
        planned.random_at,
        own[:, 0],
        own[:, 1],
        # What the reverse order deletes first is what the order itself keeps last.
        np.concatenate([deletion, insertion[:, ::-1]]),
        np.concatenate([insertion, deletion[:, ::-1]]),
    )
