"""Whether an explanation may be trusted, in a sentence, from how its order compares with chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from reagent_core.wording import percent

# Against random orders: `better` than chance at the 5% level, and faster; `weak`: better than 80%
# of them; `chance`: than fewer. `untestable`: so few units have so few orders that chance hits the
# right one, or the target stays as it is whatever is replaced.
Standing = Literal["better", "weak", "chance", "untestable"]

# Of fewer units chance finds the one that matters one time in four or more often.
LEAST_UNITS = 5
# With this much left when all is replaced there is nothing to lose in any order.
NOTHING_LOST = 0.8
SURE, WEAK_THAN = 0.05, 0.8
# Below this many times as fast is no faster.
FASTER = 1.1


@dataclass(frozen=True)
class Contest:
    """An order against random ones.

    `units`: how many there are. `beaten` of `orders` random orders are worse: the area between
    their insertion and deletion curves is smaller. `faster`: the random orders' mean area under the
    deletion curve divided by the order's own, that is by how many times fewer units, on average,
    are replaced when a piece of the target's probability is lost. `half`: units to be replaced
    until half of it is left, None where that never happens. `left_at_end`: what is left, in [0, 1],
    with all units replaced.
    """

    units: int
    beaten: int
    orders: int
    faster: float
    half: float | None
    left_at_end: float


def standing(contest: Contest) -> Standing:
    """Whether the order is better than chance.

    By a permutation test: a random order is as good as this one with a probability of
    (orders - beaten + 1) / (orders + 1) (Phipson & Smyth 2010, equation 2), so of 20 all must be
    beaten, and an explanation that is no better than chance is trusted one time in twenty.
    """
    if contest.units < LEAST_UNITS or contest.left_at_end > NOTHING_LOST:
        return "untestable"
    chance = (contest.orders - contest.beaten + 1) / (contest.orders + 1)
    if chance <= SURE and contest.faster >= FASTER:
        return "better"
    return "weak" if contest.beaten >= WEAK_THAN * contest.orders else "chance"


def sentence(contest: Contest, target: str, unit: str) -> str:
    """One sentence for a person who asks whether to trust the explanation.

    `target`: its name as in `sentences.target_name`; `unit`: "token", "word" or "sentence".
    """
    found = standing(contest)
    if contest.units < LEAST_UNITS:
        count = f"only {contest.units} {unit}s" if contest.units > 1 else f"only one {unit}"
        return f"This cannot be checked: {count} can be replaced, and chance orders so few right."
    if found == "untestable":
        return (
            f"This cannot be checked: with all {contest.units} {unit}s replaced, {target} keeps "
            f"{percent(contest.left_at_end)} of its probability, so there is nothing to explain."
        )
    top = _top(contest, unit)
    against = f"better than {contest.beaten} of {contest.orders} random orders"
    if found == "chance":
        return f"Replacing {top} first is no better than chance ({against}): do not trust it."
    if contest.faster < FASTER:
        return (
            f"Replacing {top} first destroys {target} no faster than a random order, though "
            f"keeping them does better than chance ({against}): do not trust it alone."
        )
    advice = "trust it" if found == "better" else "chance can do that, so do not trust it alone"
    return (
        f"Replacing {top} first destroys {target} {_times(contest.faster)} faster than a random "
        f"order ({against}): {advice}."
    )


def _top(contest: Contest, unit: str) -> str:
    """The units that take half of the target's probability."""
    if contest.half is None:
        return f"its top {unit}s"
    count = max(1, math.ceil(contest.half - 1e-9))
    return f"its top {unit}" if count == 1 else f"its top {count} {unit}s"


def _times(factor: float) -> str:
    digits = 1 if factor < 2.95 else 0
    return f"about {factor:.{digits}f} times"
