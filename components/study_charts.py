"""The two charts of a study: a measure of every method with its interval, and what it costs.

Specifications are plain Vega-Lite with nothing in them but numbers and fixed words; names of
models and methods are data.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from components.chart_parts import COLOURS, Spec, layered, upward
from components.charts import Chart
from reagent_core.study.cost_plot import LEAST_SECONDS, label_heights

_ROW = 30


class _Scale(NamedTuple):
    """How a measure is drawn: its name, and the format of its numbers."""

    title: str
    format: str


def measure_chart(rows: pd.DataFrame, title: str, digits: int) -> Chart:
    """A dot with its 95% interval for every method, the largest mean at the top.

    `rows`: model, method (its label), value, low, high, n; what is not known is NaN and is left
    out. Several models stand in one row, each in a colour. `title`: of the measure; `digits`:
    behind the point.
    """
    scale = _Scale(title, f",.{digits}f")
    known = rows.dropna(subset=["value"]).copy()
    means = known.groupby("method")["value"].mean()
    known["rank"] = known["method"].map(means.rank(ascending=False))
    told = "; ".join(
        f"{row.method} {row.value:{scale.format}}" for row in known.sort_values("rank").itertuples()
    )
    models = list(dict.fromkeys(known["model"]))
    description = f"{scale.title} of each method with its 95% interval. {told or 'None known'}."
    return Chart(known, {**_measure_spec(scale, models), "description": description})


def cost_chart(rows: pd.DataFrame, title: str, digits: int) -> Chart:
    """Every method's measure against the seconds that it takes a prompt.

    `rows`: as those of `measure_chart`, with seconds.
    """
    scale = _Scale(title, f",.{digits}f")
    known = rows.dropna(subset=["value", "seconds"]).copy()
    known["seconds"] = known["seconds"].clip(lower=LEAST_SECONDS)
    known["label_y"] = label_heights(known)
    told = "; ".join(
        f"{row.method} {row.value:{scale.format}} in {row.seconds:.2g} s"
        for row in known.sort_values("seconds").itertuples()
    )
    models = list(dict.fromkeys(known["model"]))
    description = f"{scale.title} against seconds a prompt. {told or 'None known'}."
    return Chart(known, {**_cost_spec(scale, models), "description": description})


def _measure_spec(scale: _Scale, models: list[str]) -> Spec:
    y: Spec = {
        "field": "method",
        "type": "nominal",
        "title": None,
        # Layers sort as one only by an aggregate.
        "sort": {"field": "rank", "op": "min", "order": "ascending"},
        "axis": {"labelLimit": 170, "ticks": False, "domain": False, "labelPadding": 6},
    }
    offset: Spec = {"yOffset": {"field": "model", "type": "nominal"}} if len(models) > 1 else {}
    x: Spec = {
        "field": "value",
        "type": "quantitative",
        "title": scale.title,
        "axis": {"format": scale.format, "tickCount": 5},
        "scale": {"zero": False},
    }
    hover = _hover(scale)
    interval: Spec = {
        "mark": {"type": "rule", "strokeWidth": 2.5, "opacity": 0.6},
        "encoding": {
            "x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y, **offset,
            "color": _colour(models),
        },
    }  # fmt: skip
    dot: Spec = {
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
        "encoding": {"x": x, "y": y, **offset, "color": _colour(models), "tooltip": hover},
    }
    # With several models a step is that of one of them.
    step: Spec = {"step": _ROW} if len(models) == 1 else {"step": _ROW * 0.6, "for": "offset"}
    return {"layer": [interval, dot], "height": step}


def _cost_spec(scale: _Scale, models: list[str]) -> Spec:
    x: Spec = {
        "field": "seconds",
        "type": "quantitative",
        "title": "seconds a prompt",
        "scale": {"type": "log", "nice": True},
        "axis": {"format": "~g", "grid": False, "tickCount": 5},
    }
    y = upward("value", scale.title, scale={"zero": False}, format=scale.format, tickCount=5)
    colour = _colour(models)
    whisker: Spec = {
        "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.5},
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour},
    }
    dot: Spec = {
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
        "encoding": {"x": x, "y": y, "color": colour, "tooltip": _hover(scale)},
    }
    name: Spec = {
        "mark": {"type": "text", "align": "left", "dx": 8, "fontSize": 12},
        "encoding": {
            "x": x, "y": {**y, "field": "label_y"}, "text": {"field": "method", "type": "nominal"},
            "color": colour,
        },
    }  # fmt: skip
    return layered(whisker, dot, name, height=330, right=110)


def _colour(models: list[str]) -> Spec:
    legend = {"orient": "bottom", "title": None, "columns": 1, "labelLimit": 300}
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(models))]
    return {
        "field": "model",
        "type": "nominal",
        "scale": {"domain": models, "range": colours},
        "legend": legend if len(models) > 1 else None,
    }


def _hover(scale: _Scale) -> list[Spec]:
    return [
        {"field": "method", "type": "nominal", "title": "method"},
        {"field": "model", "type": "nominal", "title": "model"},
        {"field": "value", "type": "quantitative", "format": scale.format, "title": "mean"},
        {"field": "low", "type": "quantitative", "format": scale.format, "title": "95%: from"},
        {"field": "high", "type": "quantitative", "format": scale.format, "title": "to"},
        {"field": "n", "type": "quantitative", "title": "prompts"},
    ]
