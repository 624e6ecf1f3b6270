"""A measure of every method against the seconds it takes: where all of it stands in a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reagent_core.study.summary import Measure
from reagent_core.study.words import interval_words, number

# A method that takes no time still has a place on an axis of factors.
LEAST_SECONDS = 1e-3

# Of the picture: below these two labels would cover each other.
_LABEL_WIDTH, _LABEL_HEIGHT = 0.45, 0.09
# Where dots stand: across in percent of the picture, down in its pixels.
_LEFT, _RIGHT, _TOP, _BOTTOM = 14.0, 94.0, 14.0, 256.0
_TICKS = 6


@dataclass(frozen=True)
class CostDot:
    """A method. `x` in percent, `y`, `label_y`, `low_y` and `high_y` in pixels from the top; the
    last two None without an interval. `words`: its numbers."""

    label: str
    words: str
    x: float
    y: float
    label_y: float
    low_y: float | None
    high_y: float | None


@dataclass(frozen=True)
class CostPlot:
    """The picture: `across` (seconds) in percent and `down` (the measure) in pixels, each tick with
    its number. `told`: all of it in words."""

    title: str
    dots: tuple[CostDot, ...]
    across: tuple[tuple[float, str], ...]
    down: tuple[tuple[float, str], ...]
    told: str


def cost_plot(means: pd.DataFrame, measure: Measure) -> CostPlot | None:
    """The picture of one model's rows of a `summary`; None while nothing of it is known."""
    seconds = means[means["measure"] == "seconds"].set_index("method")["mean"]
    rows = means[means["measure"] == measure.column].set_index("method")
    rows = rows.rename(columns={"mean": "value"}).assign(seconds=seconds.clip(lower=LEAST_SECONDS))
    rows = rows.dropna(subset=["value", "seconds"]).sort_values("seconds")
    if rows.empty:
        return None
    rows["label_y"] = label_heights(rows)
    heights = rows[["value", "low", "high", "label_y"]]
    across = _Axis(math.log10(rows["seconds"].min()), math.log10(rows["seconds"].max()))
    down = _Axis(heights.min(axis=None), heights.max(axis=None))

    def x(seconds: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * across.share(math.log10(seconds)), 2)

    def y(value: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * down.share(value), 1)

    dots, told = [], []
    for row in rows.itertuples():
        sure = interval_words(row.low, row.high, measure)
        words = f"{number(row.value, measure)}{f' ({sure})' if sure else ''} in {row.seconds:.2g} s"
        told.append(f"{row.label} {words}")
        dots.append(
            CostDot(
                label=str(row.label),
                words=words,
                x=x(row.seconds),
                y=y(row.value),
                label_y=y(row.label_y),
                low_y=y(row.low) if sure else None,
                high_y=y(row.high) if sure else None,
            )
        )
    return CostPlot(
        title=measure.label,
        dots=tuple(dots),
        across=tuple((x(tick), f"{tick:g}") for tick in _factors(across)),
        down=tuple((y(tick), number(tick, measure)) for tick in _steps(down)),
        told=f"{measure.label} against seconds a prompt. {'; '.join(told)}.",
    )


def label_heights(rows: pd.DataFrame) -> list[float]:
    """How high the name of each dot stands: beside it, or above the name that is there already.

    `rows`: seconds, value, low, high; the heights are values, too.
    """
    across = [math.log(seconds) for seconds in rows["seconds"]]
    heights = rows["value"].tolist()
    if not heights:
        return []
    ends = (rows[["low", "value"]].min(axis=None), rows[["high", "value"]].max(axis=None))
    gap = _LABEL_HEIGHT * float(ends[1] - ends[0])
    width = _LABEL_WIDTH * (max(across) - min(across))
    for place in sorted(range(len(heights)), key=lambda i: heights[i]):
        near = [i for i, x in enumerate(across) if i != place and abs(x - across[place]) < width]
        below = [i for i in near if heights[i] <= heights[place]]
        for other in sorted(below, key=lambda i: heights[i]):
            if heights[place] - heights[other] < gap:
                heights[place] = heights[other] + gap
    return heights


class _Axis:
    """From `low` to `high`, with a little room at both ends."""

    def __init__(self, low: float, high: float) -> None:
        room = 0.06 * (high - low) or 0.5
        self.low, self.high = float(low - room), float(high + room)

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


def _steps(axis: _Axis) -> list[float]:
    """Round numbers on an axis, at most `_TICKS`."""
    rough = (axis.high - axis.low) / _TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first = math.ceil(axis.low / step)
    return [step * i for i in range(first, math.floor(axis.high / step) + 1)]


def _factors(axis: _Axis) -> list[float]:
    """Powers of ten on an axis of logarithms; two and five times these where there is room."""
    powers = 10.0 ** np.arange(math.floor(axis.low), math.ceil(axis.high) + 1)
    for factors in ((1, 2, 5), (1,)):
        made = sorted(float(power * factor) for power in powers for factor in factors)
        kept = [tick for tick in made if axis.low <= math.log10(tick) <= axis.high]
        if len(kept) <= _TICKS:
            break
    return kept
