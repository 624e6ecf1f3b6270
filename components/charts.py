"""The two charts of an explanation: effects with their intervals, and how they settled.

Each function returns the rows and a Vega-Lite specification for `st.vega_lite_chart`, whose
description is what a screen reader says of the chart. Token texts are only ever data and, there,
plain text. Colours are readable on light and dark pages alike; everything else is left to
Streamlit's theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.factor_axis import NOTHING, factor_axis, less, ticks
from reagent_core.explanation import Explanation
from reagent_core.sentences import Measure, interval_words, ranking, unit_names
from reagent_core.wording import change, quoted

TOP = 5
MOST_BARS = 12
MOST_POINTS = 60
MOST_GREY = 60
LABEL_LENGTH = 11

# At least 3 to 1 against white and against Streamlit's dark background; kept apart by people
# with any common colour blindness, and every curve carries its name besides.
TOP_COLOURS = ("#3b82d6", "#d9730d", "#0f9d72", "#b065c9", "#a3811a")
SELECTED_COLOUR = "#e0479e"
GREY = "#8a8f98"
FOR_COLOUR, AGAINST_COLOUR = "#3b82d6", "#d9730d"



class Chart(NamedTuple):
    """What `st.vega_lite_chart(rows, spec)` takes."""

    rows: pd.DataFrame
    spec: dict[str, Any]


def effects_chart(explanation: Explanation) -> Chart:
    """Bars of the strongest effects (by size, at most 12) with whiskers for the 95% interval.

    Rows: name, effect, low, high (nats; the effect itself where the interval is not known), rank,
    direction and the words of the tooltip. Empty while no effect is known.
    """
    names = unit_names(explanation.units)
    order = [i for i in ranking(explanation) if explanation.units[i].effect is not None]
    largest = sorted(order, key=lambda i: -abs(explanation.units[i].effect or 0.0))[:MOST_BARS]
    odds = explanation.target.instead_of is not None
    rows = []
    for rank, i in enumerate([i for i in order if i in set(largest)]):
        unit = explanation.units[i]
        assert unit.effect is not None
        low = unit.effect if unit.effect_low is None else unit.effect_low
        high = unit.effect if unit.effect_high is None else unit.effect_high
        rows.append(
            {
                "name": names[i],
                "effect": unit.effect,
                "low": low,
                "high": high,
                "rank": rank,
                "direction": "for" if unit.effect >= 0 else "against",
                "without": change(unit.effect, odds=odds, at_least=unit.at_least),
                "sure": interval_words(unit, odds=odds) or "not known",
            }
        )
    columns = ["name", "effect", "low", "high", "rank", "direction", "without", "sure"]
    frame = pd.DataFrame(rows, columns=columns)
    ends = (frame["low"].min(), frame["high"].max()) if rows else (0.0, 1.0)
    two_sided = bool((frame["effect"] < -NOTHING).any())
    told = "; ".join(f"{quoted(str(row['name']))} {row['without']} without it" for row in rows)
    description = f"Bar chart, the strongest first. {told or 'Nothing is known yet'}."
    return Chart(frame, _filled(_bar_spec(two_sided, odds), description, ticks(*ends, most=6)))


def curves_chart(
    explanation: Explanation,
    values: NDArray[np.floating[Any]],
    *,
    measure: Measure = "effect",
    selected: int | None = None,
) -> Chart:
    """One curve a unit: its effect (nats) or ReAGent score after each step.

    `values` [steps, free units], NaN where not known yet, the columns in the order of the
    unprotected units. The five highest at the end are coloured and named, the others grey, of
    very many the largest, for or against; the unit `selected` (index into `explanation.units`)
    stands out whatever its place. Rows: step, unit, name, value, role, and on the last row of a
    named curve the label and where it goes.
    """
    free = [i for i, unit in enumerate(explanation.units) if unit.stepped]
    if values.ndim != 2 or values.shape[1] != len(free):
        raise ValueError(f"values has shape {values.shape}; {len(free)} columns are expected")
    names = unit_names(explanation.units)
    frame = _curve_rows(values, free, names, selected)
    known = frame["value"].dropna()
    description = _curves_in_words(frame, len(values), measure)
    if measure == "score":
        return Chart(frame, _filled(_curve_spec("score", False), description))
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    odds = explanation.target.instead_of is not None
    spec = _curve_spec("effect", odds)
    return Chart(frame, _filled(spec, description, ticks(low, high, most=6)))


def _curve_rows(
    values: NDArray[np.floating[Any]],
    free: Sequence[int],
    names: Sequence[str],
    selected: int | None,
) -> pd.DataFrame:
    columns = ["step", "unit", "name", "value", "role", "label", "label_y"]
    steps = len(values)
    if not steps or np.isnan(values[-1]).all():
        return pd.DataFrame(columns=columns)
    last = values[-1]
    highest = np.argsort(-np.nan_to_num(last, nan=-np.inf), kind="stable")[:TOP]
    largest = np.argsort(-np.nan_to_num(abs(last), nan=-1.0), kind="stable")
    drawn = [*highest.tolist(), *largest[~np.isin(largest, highest)][:MOST_GREY].tolist()]
    if selected in free and free.index(selected) not in drawn:
        drawn.append(free.index(selected))
    kept = np.unique(np.linspace(0, steps - 1, min(steps, MOST_POINTS)).round().astype(int))
    parts = []
    for rank, column in enumerate(drawn):
        unit = free[column]
        role = f"top {rank + 1}" if rank < TOP else "other"
        if unit == selected:
            role = "selected"
        part = pd.DataFrame({"step": kept + 1, "value": values[kept, column]})
        part["unit"], part["name"], part["role"] = unit, names[unit], role
        part["label"] = None
        if role != "other":
            part.loc[part.index[-1], "label"] = short(names[unit])
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True).dropna(subset=["value"])
    frame["label_y"] = np.nan
    named = frame["label"].notna()
    span = max(frame["value"].max(), 0.0) - min(frame["value"].min(), 0.0)
    frame.loc[named, "label_y"] = spread(frame.loc[named, "value"].to_numpy(), span * 0.075)
    return frame[columns]


def left_out(count: int, drawn: int, name: str, which: str = "weakest") -> str | None:
    """The sentence that not all of so many tokens (or words ...) are drawn; None where they are."""
    if count <= drawn:
        return None
    if count == drawn + 1:
        return f"The {which} of {count} {name}s is left out."
    return f"The {count - drawn} {which} of {count} {name}s are left out."


def spread(heights: NDArray[np.floating[Any]], gap: float) -> NDArray[np.floating[Any]]:
    """Move label heights apart to at least `gap`, keeping their order and about their middle."""
    order = np.argsort(heights, kind="stable")
    placed = heights[order].astype(float)
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    placed -= (placed - heights[order]).mean() if len(placed) else 0.0
    result = np.empty_like(placed)
    result[order] = placed
    return result


def short(name: str) -> str:
    """A name that fits beside a chart."""
    return name if len(name) <= LABEL_LENGTH else name[: LABEL_LENGTH - 1] + "…"


@lru_cache(maxsize=4)
def _bar_spec(two_sided: bool, odds: bool) -> dict[str, Any]:
    title = less(odds)
    if two_sided:
        title = f"◂ times {'higher odds' if odds else 'more likely'} · {title} ▸"
    name = alt.Y(
        "name:N",
        title=None,
        # Layers sort as one, and again when rows change, only by an aggregate.
        sort=alt.EncodingSortField("rank", op="min", order="ascending"),
        axis=alt.Axis(labelLimit=110, ticks=False, domain=False, labelPadding=6),
    )
    tooltip = [
        alt.Tooltip("name:N", title="token"),
        alt.Tooltip("without:N", title="without it"),
        alt.Tooltip("sure:N", title="95% sure"),
    ]
    base = alt.Chart().encode(y=name, tooltip=tooltip)
    bars = base.mark_bar(cornerRadius=3, height={"band": 0.62}).encode(
        x=alt.X("effect:Q", axis=factor_axis(title)),
        color=alt.Color(
            "direction:N",
            scale=alt.Scale(domain=["for", "against"], range=[FOR_COLOUR, AGAINST_COLOUR]),
            legend=None,
        ),
    )
    # The whisker needs to be seen on the bar and beyond it: a grey that is neither.
    whisker = base.mark_rule(strokeWidth=2.5, color=GREY).encode(x="low:Q", x2="high:Q")
    ends = [
        base.mark_tick(thickness=2.5, size=11, color=GREY).encode(x=alt.X(f"{end}:Q"))
        for end in ("low", "high")
    ]
    chart = alt.layer(bars, whisker, *ends).properties(height=alt.Step(26))
    return _spec(chart)


@lru_cache(maxsize=4)
def _curve_spec(measure: Measure, odds: bool) -> dict[str, Any]:
    roles = [*(f"top {i}" for i in range(1, TOP + 1)), "selected", "other"]
    colour = alt.Color(
        "role:N",
        scale=alt.Scale(domain=roles, range=[*TOP_COLOURS, SELECTED_COLOUR, GREY]),
        legend=None,
    )
    if measure == "effect":
        axis = factor_axis(less(odds))
    else:
        axis = alt.Axis(title="ReAGent score", format=".2~f")
    # The title lies above the axis: upright it would take a tenth of a phone's width.
    axis.titleAngle, axis.titleAlign, axis.titleBaseline = 0, "left", "bottom"
    axis.titleX, axis.titleY = -34, -8
    steps = alt.X(
        "step:Q",
        title="step",
        axis=alt.Axis(tickMinStep=1, grid=False, format="d"),
        scale=alt.Scale(nice=False, domainMin=1),
    )
    tooltip = [alt.Tooltip("name:N", title="token"), alt.Tooltip("step:Q")]
    base = alt.Chart().encode(x=steps, color=colour, detail="unit:N", tooltip=tooltip)
    grey = (
        base.transform_filter("datum.role == 'other'")
        .mark_line(strokeWidth=1, opacity=0.35)
        .encode(y=alt.Y("value:Q", axis=axis))
    )
    top = (
        base.transform_filter("datum.role != 'other' && datum.role != 'selected'")
        .mark_line(strokeWidth=2.2)
        .encode(y=alt.Y("value:Q", axis=axis))
    )
    selected = (
        base.transform_filter("datum.role == 'selected'")
        .mark_line(strokeWidth=5)
        .encode(y=alt.Y("value:Q", axis=axis))
    )
    names = (
        base.transform_filter("isValid(datum.label)")
        .mark_text(align="left", dx=6, fontSize=12, fontWeight=600)
        .encode(y=alt.Y("label_y:Q", axis=axis), text="label:N")
    )
    # The names stand in the padding to the right of the last step.
    chart = alt.layer(grey, top, selected, names).properties(
        height=380, padding={"left": 4, "top": 26, "bottom": 4, "right": 84}
    )
    return _spec(chart)


def _curves_in_words(frame: pd.DataFrame, steps: int, measure: Measure) -> str:
    what = "effect" if measure == "effect" else "ReAGent score"
    start = f"Line chart: the {what} of each piece of the prompt after each of {steps} steps."
    ends = frame[frame["role"].str.startswith("top")].drop_duplicates("unit", keep="last")
    if ends.empty:
        return start
    names = ends.sort_values("value", ascending=False)["name"]
    return f"{start} Highest at the end: {', '.join(quoted(name) for name in names)}."


def _filled(
    spec: dict[str, Any], description: str, values: Sequence[float] = ()
) -> dict[str, Any]:
    """The specification with a description and tick positions of its own: Altair takes 20 ms to
    build one anew, each second of a live run."""
    changed = deepcopy(spec)
    changed["description"] = description
    for layer in changed["layer"]:
        for channel in ("x", "y"):
            axis = layer["encoding"].get(channel, {}).get("axis")
            if axis and "values" in axis:
                axis["values"] = list(values)
    return changed


def _spec(chart: alt.LayerChart | alt.FacetChart) -> dict[str, Any]:
    spec: dict[str, Any] = chart.to_dict()
    # Altair's own look would override Streamlit's theme, and its placeholder data the rows.
    for part in (spec, *spec["layer"]):
        for name in ("config", "data", "datasets"):
            part.pop(name, None)
    return spec
