"""The two curves of a check: what is left when the strongest are replaced, or they alone are kept.

The specification is plain Vega-Lite and holds no token text.
"""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd

from components.chart_parts import Spec, layered, upward
from components.charts import GREY, TOP_COLOURS, Chart
from reagent_core.check import Check
from reagent_core.wording import percent

Which = Literal["deletion", "insertion"]

_OWN, _RANDOM = "this explanation", "random orders"
_ACROSS = {
    "deletion": "replaced, the strongest first",
    "insertion": "kept, the strongest first",
}


def erasure_chart(check: Check, which: Which) -> Chart:
    """What is left of the target's probability, in the order that is checked and in random ones.

    Rows: units, share of the units, left, random_mean, random_low, random_high; all but the first
    in [0, 1]. The band holds random orders but for the lowest and highest 5%.
    """
    curve = check.deletion if which == "deletion" else check.insertion
    count = check.points[-1]
    frame = pd.DataFrame(
        {
            "units": check.points,
            "share": [point / count for point in check.points],
            "left": curve.left,
            "random_mean": curve.random_mean,
            "random_low": curve.random_low,
            "random_high": curve.random_high,
        }
    )
    better = "low" if which == "deletion" else "high"
    told = (
        f"Line chart of what is left of the probability against the share of the prompt that is "
        f"{_ACROSS[which]}; {better} is good. Area under it {percent(curve.area)}, of random "
        f"orders {percent(curve.random_area)}."
    )
    return Chart(frame, {**_spec(which), "description": told})


def _spec(which: Which) -> Spec:
    across: Spec = {
        "field": "share",
        "type": "quantitative",
        "title": f"share of the prompt {_ACROSS[which]}",
        "axis": {"format": ".0%", "grid": False, "tickCount": 5},
        "scale": {"domain": [0, 1], "nice": False},
    }
    scale = {"domain": [0, 1], "nice": False}
    left = upward("left", "probability left", scale=scale, format=".0%", tickCount=5)
    hover = [
        {"field": "units", "type": "quantitative", "title": "pieces"},
        {"field": "left", "type": "quantitative", "format": ".1%", "title": _OWN},
        {"field": "random_mean", "type": "quantitative", "format": ".1%", "title": _RANDOM},
    ]
    band: Spec = {
        "mark": {"type": "area", "color": GREY, "opacity": 0.25},
        "encoding": {
            "x": across,
            "y": {**left, "field": "random_low"},
            "y2": {"field": "random_high"},
        },
    }
    random: Spec = {
        "mark": {"type": "line", "strokeWidth": 2, "strokeDash": [6, 4]},
        "encoding": {"x": across, "y": {**left, "field": "random_mean"}, **_named(_RANDOM)},
    }
    own: Spec = {
        "mark": {"type": "line", "strokeWidth": 3, "point": {"size": 36}},
        "encoding": {"x": across, "y": left, "tooltip": hover, **_named(_OWN)},
    }
    return layered(band, random, own, height=330)


def _named(name: str) -> dict[str, Any]:
    """The colour of a curve, told in a legend."""
    return {
        "color": {
            "datum": name,
            "type": "nominal",
            "scale": {"domain": [_OWN, _RANDOM], "range": [TOP_COLOURS[0], GREY]},
            "legend": {"orient": "bottom", "title": None, "symbolType": "stroke"},
        }
    }
