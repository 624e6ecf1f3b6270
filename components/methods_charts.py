"""Which methods agree: a matrix of Kendall's tau.

The specification is plain Vega-Lite; rows hold numbers and names of methods, never token texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from components.chart_parts import Spec
from components.charts import Chart
from reagent_core.baselines.compared import MethodsCompared
from reagent_core.colours import swatch

CELL = 30
# Of more methods than these, two digits do not fit into a cell.
_MOST_DIGITS = 8
_INK = swatch(1.0, dark=False).text
# Both ends as in a strip on a light page, on dark pages too: one ink is readable on all of them.
_SCALE = (swatch(-1.0, dark=False).background, "#eceff3", swatch(1.0, dark=False).background)
_UNKNOWN = "#d3d9e1"


def agreement_chart(compared: MethodsCompared, order: Sequence[int]) -> Chart:
    """Kendall's tau of each method with each, in this order (indices of the results).

    Rows: row ("1 ReAGent"), column ("1"), tau (0 where it is not defined), text and told, the
    words of the tooltip.
    """
    labels = [compared.results[i].label for i in order]
    names = [f"{place} {label}" for place, label in enumerate(labels, start=1)]
    rows = []
    for y, i in enumerate(order):
        for x, j in enumerate(order):
            tau = compared.agreement[i][j]
            digits = 1 if len(order) > _MOST_DIGITS else 2
            text = "–" if tau is None else _short(tau, digits)
            told = "not defined: all numbers of one are the same" if tau is None else f"{tau:.3f}"
            rows.append(
                {"row": names[y], "column": str(x + 1), "tau": tau or 0.0, "known": tau is not None,
                 "text": text, "one": labels[y], "other": labels[x], "told": told}
            )  # fmt: skip
    across = [str(place) for place in range(1, len(order) + 1)]
    told = "; ".join(
        f"{labels[y]} and {labels[x]} {row['text']}"
        for row, (y, x) in zip(rows, ((y, x) for y in range(len(order)) for x in range(len(order))),
                               strict=True)
        if x > y
    )  # fmt: skip
    description = f"Matrix of Kendall's tau between the orders of two methods each. {told}."
    return Chart(pd.DataFrame(rows), {**_matrix_spec(names, across), "description": description})


def _short(tau: float, digits: int) -> str:
    """ ".81", "−.05", "0" or "1": a cell is narrow on a phone."""
    rounded = round(abs(tau), digits)
    text = f"{rounded:.0f}" if rounded in (0, 1) else f"{rounded:.{digits}f}".removeprefix("0")
    return f"{'−' if tau < 0 and rounded else ''}{text}"


def _matrix_spec(names: list[str], across: list[str]) -> Spec:
    y: Spec = {
        "field": "row", "type": "nominal", "sort": names, "title": None,
        "axis": {"labelLimit": 180, "ticks": False, "domain": False, "labelPadding": 6},
    }  # fmt: skip
    x: Spec = {
        "field": "column", "type": "nominal", "sort": across, "title": None,
        "axis": {"orient": "top", "labelAngle": 0, "ticks": False, "domain": False},
    }  # fmt: skip
    hover = [
        {"field": "one", "type": "nominal", "title": "method"},
        {"field": "other", "type": "nominal", "title": "and"},
        {"field": "told", "type": "nominal", "title": "Kendall's tau"},
    ]
    scale = {"domain": [-1, 0, 1], "range": list(_SCALE), "interpolate": "rgb"}
    cells: Spec = {
        "mark": {"type": "rect"},
        "encoding": {
            "x": x,
            "y": y,
            "tooltip": hover,
            "color": {
                "condition": {"test": "!datum.known", "value": _UNKNOWN},
                "field": "tau",
                "type": "quantitative",
                "scale": scale,
                "legend": None,
            },
        },
    }
    texts: Spec = {
        "mark": {"type": "text", "fontSize": 11, "color": _INK},
        "encoding": {"x": x, "y": y, "tooltip": hover, "text": {"field": "text"}},
    }
    return {
        "layer": [cells, texts],
        "height": {"step": CELL},
        "padding": {"left": 4, "top": 4, "bottom": 4, "right": 4},
    }
