"""The two large pictures of Convergence: the curves of all tokens, and tokens x steps."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.chart_parts import (
    BARE,
    Highlight,
    Spec,
    layered,
    point_pick,
    role_colour,
    so_many,
    step_axis,
    upward,
)
from components.charts import (
    AGAINST_COLOUR,
    FOR_COLOUR,
    GREY,
    Chart,
    short,
    spread,
)
from components.factor_axis import factor_axis, less, ticks
from reagent_core.course import Course, Lines, Shown
from reagent_core.decimate import binned, decimated
from reagent_core.sentences import unit_names
from reagent_core.strip import FULL_COLOUR_AT_LEAST

# Points of one line: a browser draws some five thousand in the time a person does not notice. The
# more lines are grey, the fewer points each of them has.
MOST_MEAN, MOST_PROBE, MOST_OTHER, MOST_BAND = 120, 80, 60, 60
MOST_LINES, MOST_GREY_POINTS = 120, 3600

# Cells of the heatmap, for the same reason.
MOST_COLUMNS, MOST_CELLS, MOST_ROWS = 120, 6000, 120
ROW_HEIGHT, MAP_HEIGHT, LABEL_HEIGHT = 18, 560, 13
# Streamlit fits a chart with its axis into the height that is asked for.
AXIS_HEIGHT = 64

WHAT: dict[Shown, str] = {"effect": "effect", "score": "ReAGent score", "raw": "raw score"}

FloatArray = NDArray[np.float64]


def curves_chart(course: Course, shown: Shown, highlight: Highlight) -> Chart:
    """Every unit over the steps; the picked ones with a band and a thin line a probe, or the
    strongest where none is picked: more would cover each other.

    Rows: step, unit, name, line, kind ("mean", "probe", "band", "other"), value, low, high, role,
    label and label_y; thinned such that extremes stay.
    """
    lines, names = course.lines(shown), unit_names(course.explanation.units)
    steps = len(lines.mean)
    detailed = highlight.units if highlight.picked else highlight.units[:1]
    parts: list[dict[str, Any]] = []
    drawn = _drawn(course, lines, shown, highlight)
    most_other = min(MOST_OTHER, MOST_GREY_POINTS // len(drawn))
    for column in drawn:
        unit = course.units[column]
        role = highlight.role(unit)
        own = {"unit": unit, "name": names[unit], "role": role, "line": str(unit)}
        named = role != "other"
        kind, most = ("mean", MOST_MEAN) if named else ("other", most_other)
        parts.append({**own, "kind": kind, **_line(lines.mean[:, column], most)})
        if unit not in detailed:
            continue
        for probe, alone in enumerate(lines.probes[:, :, column] if len(lines.probes) > 1 else ()):
            line = f"{unit} of {probe}"
            parts.append({**own, "line": line, "kind": "probe", **_line(alone, MOST_PROBE)})
        parts.append({**own, "kind": "band", **_band(lines, column)})
    frame = _table(parts)
    domain = _domain(lines, detailed, course)
    frame["label"], frame["label_y"] = None, np.nan
    ends = frame.index[(frame["kind"] == "mean") & (frame["step"] == steps)]
    frame.loc[ends, "label"] = [short(name) for name in frame.loc[ends, "name"]]
    heights = frame.loc[ends, "value"].to_numpy(float)
    frame.loc[ends, "label_y"] = spread(heights, (domain[1] - domain[0]) * 0.075)
    odds = course.explanation.target.instead_of is not None
    name = course.explanation.config.granularity
    description = (
        f"Line chart: the {WHAT[shown]} of {so_many(frame['unit'].nunique(), name)} after each of "
        f"{so_many(steps, 'step')}; {len(highlight.units)} in colour."
    )
    return Chart(frame, _curves_spec(shown, domain, steps, odds, description))


def heatmap_chart(course: Course, shown: Shown, highlight: Highlight) -> Chart:
    """Units in the order of the prompt from top to bottom, steps from left to right.

    The stronger the colour the larger the score or effect; what is not picked is grey. Of very
    many units the strongest are drawn. Rows: row, unit, name, from and to (steps), value,
    strength in [0, 1], tone, and on the first cell of some rows a label.
    """
    values = course.lines(shown).mean
    if shown == "raw":
        raise ValueError("raw scores have no common scale to colour by")
    last = np.abs(np.nan_to_num(values[-1]))
    chosen = np.sort(np.argsort(-last, kind="stable")[:MOST_ROWS])
    picked = [course.units.index(unit) for unit in highlight.units if unit in course.units]
    chosen = np.union1d(chosen, np.array(picked, np.int64)).astype(int)
    edges, cells = binned(values[:, chosen], min(MOST_COLUMNS, max(20, MOST_CELLS // len(chosen))))
    full = max(float(last.max()), FULL_COLOUR_AT_LEAST if shown == "effect" else 1e-9)
    names = unit_names(course.explanation.units)
    units = [course.units[column] for column in chosen]
    height = min(ROW_HEIGHT * len(units), MAP_HEIGHT)
    important = [units.index(unit) for unit in highlight.units if unit in units]
    labelled = _labelled(len(units), important, height)
    frame = pd.DataFrame(
        {
            "row": np.tile(np.arange(len(units)), len(cells)),
            "from": np.repeat(edges[:-1] + 0.5, len(units)),
            "to": np.repeat(edges[1:] + 0.5, len(units)),
            "value": cells.ravel(),
        }
    )
    frame["unit"] = [units[row] for row in frame["row"]]
    frame["name"] = [names[unit] for unit in frame["unit"]]
    frame["steps"] = [
        f"{a + 1}" if b == a + 1 else f"{a + 1} to {b}"
        for a, b in pairwise(edges.tolist())
        for _ in units
    ]
    frame["strength"] = np.clip(np.abs(frame["value"]) / full, 0, 1)
    frame["role"] = [highlight.role(unit) for unit in frame["unit"]]
    grey = highlight.picked & (frame["role"] == "other")
    frame["tone"] = np.where(grey, "other", np.where(frame["value"] < 0, "against", "for"))
    frame["label"] = None
    first = frame.index[: len(units)]
    frame.loc[first, "label"] = [
        short(frame.at[i, "name"]) if i in labelled else None for i in first
    ]
    rows = so_many(len(units), course.explanation.config.granularity)
    description = (
        f"Heatmap: the {WHAT[shown]} of {rows}, from top to bottom, after each of "
        f"{so_many(len(values), 'step')}, from left to right."
    )
    return Chart(frame, _heatmap_spec(len(values), len(units), height, shown, description))


def _drawn(course: Course, lines: Lines, shown: Shown, highlight: Highlight) -> list[int]:
    """The columns that are drawn: the strongest at the end, and those that stand out on top.

    An effect against the target is as strong as one for it; of raw scores only the order counts.
    """
    last = lines.mean[-1] if shown == "raw" else np.abs(lines.mean[-1])
    order = np.argsort(-np.nan_to_num(last, nan=-np.inf), kind="stable").tolist()
    out = [course.units.index(unit) for unit in highlight.units if unit in course.units]
    return [column for column in order[:MOST_LINES] if column not in out] + out


def _line(values: FloatArray, most: int) -> dict[str, FloatArray]:
    kept = decimated(values, most)
    kept = kept[~np.isnan(values[kept])]
    return {"step": (kept + 1).astype(np.float64), "value": values[kept]}


def _band(lines: Lines, column: int) -> dict[str, FloatArray]:
    low, high = lines.low[:, column], lines.high[:, column]
    kept = np.union1d(decimated(low, MOST_BAND // 2), decimated(high, MOST_BAND // 2))
    kept = kept[~np.isnan(low[kept]) & ~np.isnan(high[kept])]
    return {"step": lines.band_steps[kept].astype(float), "low": low[kept], "high": high[kept]}


def _table(parts: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a step of each part; a data frame for each would take a second to put together."""
    sizes = [len(part["step"]) for part in parts]
    columns: dict[str, Any] = {
        name: np.repeat(np.array([part[name] for part in parts], dtype), sizes)
        for name, dtype in (("unit", int), ("name", object), ("line", object),
                            ("kind", object), ("role", object))
    }  # fmt: skip
    for name in ("step", "value", "low", "high"):
        unknown = (np.full(size, np.nan) for size in sizes)
        columns[name] = np.concatenate(
            [part.get(name, nothing) for part, nothing in zip(parts, unknown, strict=True)]
        )
    return pd.DataFrame(columns)


def _domain(lines: Lines, detailed: tuple[int, ...], course: Course) -> tuple[float, float]:
    """The range of the means, and of the bands as they end: an early one may be without end."""
    out = [course.units.index(unit) for unit in detailed if unit in course.units]
    seen = np.concatenate(
        [lines.mean[len(lines.mean) // 4 :].ravel(), lines.low[-1, out], lines.high[-1, out]]
    )
    known = seen[~np.isnan(seen)]
    low, high = (min(0.0, known.min()), max(0.0, known.max())) if len(known) else (0.0, 1.0)
    room = 0.04 * (high - low) or 1.0
    return float(low - (room if low < 0 else 0.0)), float(high + room)


def _labelled(count: int, important: list[int], height: int) -> set[int]:
    """The rows that are named: all where there is room, else those that stand out and what fits
    between them."""
    gap = math.ceil(LABEL_HEIGHT * count / height)
    rows: set[int] = set()
    for row in [*important, *range(count)]:
        if all(abs(row - other) >= gap for other in rows):
            rows.add(row)
    return rows


def _curves_spec(
    shown: Shown, domain: tuple[float, float], steps: int, odds: bool, description: str
) -> Spec:
    scale = {"domain": list(domain), "nice": False, "zero": False}
    if shown == "effect":
        axis = factor_axis(less(odds)).to_dict()
        axis["values"] = list(ticks(*domain, most=6))
        y = upward("value", scale=scale, **axis)
    else:
        title = "ReAGent score" if shown == "score" else "raw score S"
        y = upward("value", title, scale=scale, format=".2~f")
    x, colour = step_axis(steps), role_colour()

    def lines(kind: str, **mark: object) -> Spec:
        return {
            "transform": [{"filter": f"datum.kind == '{kind}'"}],
            "mark": {"type": "line", "clip": True, **BARE, **mark},
            "encoding": {"x": x, "y": y, "color": colour, "detail": {"field": "line"}},
        }

    band = {
        "transform": [{"filter": "datum.kind == 'band'"}],
        "mark": {"type": "area", "clip": True, "opacity": 0.14, **BARE},
        "encoding": {
            "x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"},
            "color": colour, "detail": {"field": "line"},
        },
    }  # fmt: skip
    # A line is too thin to be hit; what is clicked is a broad one that cannot be seen.
    hit = {
        "params": [point_pick()],
        "transform": [{"filter": "datum.kind == 'mean' || datum.kind == 'other'"}],
        "mark": {"type": "line", "clip": True, "strokeWidth": 9, "opacity": 0.002,
                 "cursor": "pointer", **BARE},
        "encoding": {"x": x, "y": y, "detail": [{"field": "line"}, {"field": "unit"}],
                     "tooltip": {"field": "name", "type": "nominal"}},
    }  # fmt: skip
    names = {
        "transform": [{"filter": "isValid(datum.label)"}],
        "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 12, "fontWeight": 600},
        "encoding": {"x": x, "y": {**y, "field": "label_y"}, "text": {"field": "label"},
                     "color": colour},
    }  # fmt: skip
    return layered(
        lines("other", strokeWidth=1, opacity=0.35), band,
        lines("probe", strokeWidth=1, opacity=0.55), lines("mean", strokeWidth=2.4), hit, names,
        description=description, height=380, right=84,
    )  # fmt: skip


def _heatmap_spec(steps: int, rows: int, height: int, shown: Shown, description: str) -> Spec:
    y = {"field": "row", "type": "ordinal", "axis": None,
         "scale": {"domain": list(range(rows)), "paddingInner": 0.06}}  # fmt: skip
    what = "effect (nats)" if shown == "effect" else "ReAGent score"
    cells = {
        "params": [point_pick()],
        "mark": {"type": "rect", "cursor": "pointer", "aria": False},
        "encoding": {
            "y": y,
            "x": {**step_axis(steps), "field": "from",
                  "scale": {"domain": [0.5, steps + 0.5], "nice": False}},
            "x2": {"field": "to"},
            "detail": {"field": "unit"},
            "color": {"field": "tone", "type": "nominal", "legend": None,
                      "scale": {"domain": ["for", "against", "other"],
                                "range": [FOR_COLOUR, AGAINST_COLOUR, GREY]}},
            # The paper shows through, whether it is light or dark.
            "opacity": {"field": "strength", "type": "quantitative", "legend": None,
                        "scale": {"domain": [0, 1], "range": [0.04, 1]}},
            "tooltip": [{"field": "name", "type": "nominal", "title": "token"},
                        {"field": "steps", "type": "nominal"},
                        {"field": "value", "type": "quantitative", "title": what,
                         "format": ".3~f"}],
        },
    }  # fmt: skip
    labels = {
        "transform": [{"filter": "isValid(datum.label)"}],
        "mark": {"type": "text", "align": "right", "dx": -6, "x": 0, "fontSize": 12},
        "encoding": {"y": y, "text": {"field": "label"}, "color": role_colour(),
                     "x": {"value": 0}},
    }  # fmt: skip
    return {
        **layered(cells, labels, description=description, height=height + AXIS_HEIGHT),
        "resolve": {"scale": {"color": "independent"}},
        "padding": {"left": 84, "top": 6, "bottom": 4, "right": 12},
    }
