"""An axis of effects: in nats, and labelled with the factors they stand for ("×50", "same")."""

from __future__ import annotations

import math

import altair as alt

# Effects in nats nearer to 0 than this are called the same.
NOTHING = math.log(1.05)
_FACTORS = (1.1, 1.2, 1.5, 2, 3, 5, 10, 30, 100, 1000, 1e4, 1e6, 1e9, 1e12, 1e15, 1e20, 1e30)


def ticks(low: float, high: float, *, most: int) -> tuple[float, ...]:
    """Round factors as axis positions in nats, 0 included: at most about `most` that cover the
    range from `low` to `high`, at even distances as far as round numbers allow."""
    low, high = min(low, 0.0), max(high, 0.0)
    gap = (high - low) / most
    sides = []
    for end in (high, -low):
        places, last = [], 0.0
        for factor in _FACTORS:
            place = math.log(factor)
            if place <= end * 1.02 and place - last >= gap * 0.8:
                places.append(place)
                last = place
        sides.append(places)
    above, below = sides
    return tuple([-place for place in reversed(below)] + [0.0] + above)


def factor_axis(title: str) -> alt.Axis:
    """An axis in nats that is labelled with factors ("×50", "same"); its ticks come later."""
    times = "'×' + format(exp(abs(datum.value)), exp(abs(datum.value)) < 9.5 ? '.2~r' : ',.0f')"
    return alt.Axis(
        title=title,
        values=[0.0],  # see _filled
        labelExpr=f"abs(datum.value) < {NOTHING} ? 'same' : "
        f"abs(datum.value) > 13.9 ? '×' + format(exp(abs(datum.value)), '.0e') : {times}",
    )


def less(odds: bool) -> str:
    """What a factor on an axis stands for."""
    return f"times {'lower odds' if odds else 'less likely'} without it"
