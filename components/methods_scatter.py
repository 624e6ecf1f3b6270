"""Faithfulness of methods against their cost: one named point a method.

The specification is plain Vega-Lite; rows hold numbers and names of methods, never token texts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from components.chart_parts import Spec, layered
from components.charts import GREY, TOP_COLOURS, Chart
from reagent_core.baselines.compared import Faithful, MethodResult
from reagent_core.baselines.methods import METHODS, REAGENT

Cost = Literal["seconds", "sequences", "forwards"]
Which = Literal[
    "area", "comprehensiveness", "sufficiency",
    "soft_sufficiency_log_ratio", "soft_comprehensiveness_log_ratio",
]
Side = Literal["left", "right"]

HEIGHT = 480
# Of a narrow plot: how wide a letter of a name is, and how much room a name needs upwards.
_LETTER_WIDTH, _NAME_HEIGHT = 0.019, 0.055

_NEEDS = {
    "forwards": "replaces words", "gradients": "gradients", "attention": "attention",
    "nothing": "random numbers",
}  # fmt: skip
_KINDS = {REAGENT: "replaces words", **{method.name: _NEEDS[method.needs] for method in METHODS}}


@dataclass(frozen=True)
class Measured:
    """A measure of faithfulness: its name, what its axis says, whether less of it is better, and
    whether it has intervals."""

    name: str
    title: str
    low_is_good: bool = False
    intervals: bool = True


MEASURES: dict[Which, Measured] = {
    "area": Measured("Area", "area between insertion and deletion curve", intervals=False),
    "comprehensiveness": Measured("Comprehensiveness", "comprehensiveness, nats"),
    "sufficiency": Measured("Sufficiency", "sufficiency, nats (little is good)", low_is_good=True),
    # Flat scores, even random ones, raise the soft measures themselves.
    "soft_sufficiency_log_ratio": Measured(
        "Soft-NS, log ratio", "soft sufficiency, log ratio to shuffled scores", intervals=False
    ),
    "soft_comprehensiveness_log_ratio": Measured(
        "Soft-NC, log ratio", "soft comprehensiveness, log ratio to shuffled scores",
        intervals=False,
    ),
}
_LOG_RATIOS = ("soft_sufficiency_log_ratio", "soft_comprehensiveness_log_ratio")
COSTS: dict[Cost, str] = {
    "seconds": "Seconds", "sequences": "Prompts read", "forwards": "Forward calls"
}  # fmt: skip


class _Point(NamedTuple):
    value: float
    low: float
    high: float


def measures_known(results: Sequence[MethodResult]) -> list[Which]:
    """The measures of which there is a value for some method."""
    known = [each.faithful for each in results if each.faithful is not None]
    return [which for which in MEASURES if any(_point(each, which) for each in known)]


def left_out(results: Sequence[MethodResult], which: Which) -> list[str]:
    """The labels of methods that have no value of a measure."""
    return [
        result.label
        for result in results
        if result.faithful is None or _point(result.faithful, which) is None
    ]


def cost_of(result: MethodResult, cost: Cost) -> float:
    """What a method cost; never 0, for it is shown on a logarithmic scale."""
    if cost == "seconds":
        return max(0.001, result.explanation.seconds)
    counts = result.explanation.counts
    return max(1, counts.sequences if cost == "sequences" else counts.forwards)


def cost_chart(results: Sequence[MethodResult], which: Which, cost: Cost) -> Chart:
    """Faithfulness against cost, one point a method with its name; up and to the left is good.

    Rows: label, kind, cost, value, low and high (of its 95% interval, or the value), and where the
    name stands: side ("left", "right") and name_value. A dashed line for chance: the area of random
    orders, or a log ratio of 0.
    """
    points = [
        (result, point)
        for result in results
        if result.faithful is not None and (point := _point(result.faithful, which)) is not None
    ]
    costs = [math.log10(cost_of(result, cost)) for result, _ in points]
    random_area = points[0][0].faithful.random_area if points and points[0][0].faithful else 0.0
    line = [random_area] if which == "area" else [0.0] if which in _LOG_RATIOS else []
    # Intervals of a few draws are wide: where they leave the picture they are cut.
    values = [point.value for _, point in points] + line
    x_low, x_high = _padded(costs, 0.08, 0.5)
    y_low, y_high = _padded(values, 0.12, 0.05)
    places = [
        Named(
            (x - x_low) / (x_high - x_low),
            (point.value - y_low) / (y_high - y_low),
            _LETTER_WIDTH * (len(result.label) + 1),
        )
        for x, (result, point) in zip(costs, points, strict=True)
    ]
    lines = [(height - y_low) / (y_high - y_low) for height in line]
    rows = []
    for (result, point), x, (side, height) in zip(
        points, costs, name_places(places, lines), strict=True
    ):
        rows.append(
            {"label": result.label, "kind": _KINDS.get(result.method, "replaces words"),
             "cost": 10**x, "value": point.value, "low": point.low, "high": point.high,
             "side": side, "name_value": y_low + height * (y_high - y_low)}
        )  # fmt: skip
    columns = ["label", "kind", "cost", "value", "low", "high", "side", "name_value"]
    frame = pd.DataFrame(rows, columns=columns)
    measured = MEASURES[which]
    told = "; ".join(
        f"{result.label} {point.value:.2f} for {_amount(cost_of(result, cost), cost)}"
        for result, point in points
    )
    spec = _cost_spec(measured, cost, (10**x_low, 10**x_high), (y_low, y_high), line)
    spec["description"] = f"Scatter of {measured.title} against {COSTS[cost].lower()}. {told}."
    return Chart(frame, spec)


class Named(NamedTuple):
    """A point of a plot and the width of its name, all as shares of the plot."""

    x: float
    y: float
    width: float


class _Place(NamedTuple):
    """Where a name stands: at this height, from `low` to `high` in x."""

    side: Side
    height: float
    low: float
    high: float


def name_places(points: Sequence[Named], lines: Sequence[float] = ()) -> list[tuple[Side, float]]:
    """Where the names of points stand: beside them, or a little above or below where another name
    or point is in the way, or one of the horizontal `lines` (heights in [0, 1]).

    Returns for each the side of its point and the height in [0, 1] that the name has.
    """
    placed: dict[int, _Place] = {}
    for i in sorted(range(len(points)), key=lambda i: -points[i].y):
        x, y, width = points[i]
        beside: list[tuple[Side, float, float]] = [("right", x, x + width), ("left", x - width, x)]
        found = []
        for side, low, high in [each for each in beside if each[1] >= 0 and each[2] <= 1] or beside:
            names = [each.height for each in placed.values() if low < each.high and each.low < high]
            others = [point.y for j, point in enumerate(points) if j != i and low < point.x < high]
            height = _free_height(y, [*names, *others, *lines])
            crowded = height is None
            if height is None:
                height = _free_height(y, names)
            height = y if height is None else height
            found.append((crowded, abs(height - y), _Place(side, height, low, high)))
        placed[i] = min(found, key=lambda each: each[:2])[2]
    return [(placed[i].side, placed[i].height) for i in range(len(points))]


def _free_height(wanted: float, taken: Sequence[float]) -> float | None:
    """The height in [0, 1] nearest to the one wanted at which a name has room."""
    moves = (sign * step * _NAME_HEIGHT / 4 for step in range(80) for sign in (1, -1))
    heights = (wanted + move for move in moves)
    return next(
        (
            height for height in heights
            if 0 <= height <= 1
            and all(abs(height - other) >= _NAME_HEIGHT - 1e-9 for other in taken)
        ),
        None,
    )  # fmt: skip


def _point(faithful: Faithful, which: Which) -> _Point | None:
    alone = {"area": faithful.area, **faithful.log_ratios()}
    if which in alone:
        value = alone[which]
        return None if value is None else _Point(value, value, value)
    estimate = faithful.estimates()[which]
    if estimate is None:
        return None
    low = estimate.mean if estimate.low is None else estimate.low
    high = estimate.mean if estimate.high is None else estimate.high
    return _Point(estimate.mean, low, high)


def _padded(values: Sequence[float], share: float, least: float) -> tuple[float, float]:
    """The range of values with room on both sides."""
    if not values:
        return 0.0, 1.0
    low, high = float(np.min(values)), float(np.max(values))
    room = max(least, share * (high - low))
    return low - room, high + room


def _amount(value: float, cost: Cost) -> str:
    return f"{value:,.1f} s" if cost == "seconds" else f"{value:,.0f}"


def _cost_spec(
    measured: Measured,
    cost: Cost,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    line: list[float],
) -> Spec:
    x: Spec = {
        "field": "cost", "type": "quantitative",
        "title": f"{COSTS[cost].lower()} (logarithmic)",
        "scale": {"type": "log", "domain": list(x_range), "nice": False},
        "axis": {"grid": False, "format": "~s" if cost != "seconds" else "~g", "tickCount": 5},
    }  # fmt: skip
    title = {"titleAngle": 0, "titleAlign": "left", "titleBaseline": "bottom", "titleY": -8}
    y: Spec = {
        "field": "value", "type": "quantitative",
        "scale": {"domain": list(y_range), "nice": False, "zero": False,
                  "reverse": measured.low_is_good},
        "axis": {"title": measured.title, "titleX": -34, **title, "format": ".2~f",
                 "tickCount": 6},
    }  # fmt: skip
    kinds = list(dict.fromkeys(_NEEDS.values()))
    colour: Spec = {
        "field": "kind",
        "type": "nominal",
        "scale": {"domain": kinds, "range": [*TOP_COLOURS[: len(kinds) - 1], GREY]},
        "legend": {
            "orient": "bottom",
            "title": None,
            "columns": 2,
            "symbolType": "circle",
            "symbolOpacity": 1,
        },
    }
    digits = ",.1f" if cost == "seconds" else ",.0f"
    hover: list[dict[str, Any]] = [
        {"field": "label", "type": "nominal", "title": "method"},
        {"field": "value", "type": "quantitative", "format": ".3f", "title": measured.name},
        {"field": "low", "type": "quantitative", "format": ".3f", "title": "from (95%)"},
        {"field": "high", "type": "quantitative", "format": ".3f", "title": "to"},
        {"field": "cost", "type": "quantitative", "format": digits, "title": COSTS[cost]},
    ]
    if not measured.intervals:
        hover = hover[:2] + hover[4:]
    place = {"x": x, "y": y}
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.3, "clip": True},
            "encoding": {
                **place,
                "y": {**y, "field": "low"},
                "y2": {"field": "high"},
                "color": colour,
            },
        },
        # From a point to its name where that stands elsewhere.
        {
            "mark": {"type": "rule", "strokeWidth": 1, "color": GREY},
            "encoding": {**place, "y2": {"field": "name_value"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
            "encoding": {**place, "color": colour, "tooltip": hover},
        },
    ]
    for side, align, shift in (("right", "left", 9), ("left", "right", -9)):
        layers.append({
            "transform": [{"filter": f"datum.side == '{side}'"}],
            "mark": {"type": "text", "align": align, "dx": shift, "fontSize": 12,
                     "fontWeight": 600},
            "encoding": {**place, "y": {**y, "field": "name_value"}, "color": colour,
                         "text": {"field": "label"}, "tooltip": hover},
        })  # fmt: skip
    if line:
        layers.insert(0, {
            "data": {"values": [{"value": line[0]}]},
            "mark": {"type": "rule", "strokeDash": [6, 4], "color": GREY, "strokeWidth": 1.5},
            "encoding": {"y": y},
        })  # fmt: skip
    return layered(*layers, height=HEIGHT)
