"""The pictures of how stable the ranking is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from components.chart_parts import Spec, layered, so_many, step_axis, upward
from components.charts import TOP_COLOURS, Chart, spread
from components.factor_axis import factor_axis, ticks
from reagent_core.course import Course
from reagent_core.wording import times_sign

if TYPE_CHECKING:  # with SciPy
    from reagent_core.stability import Agreement

FIGURES = {"overlap": "top 30%", "tau": "Kendall τ", "rho": "Spearman ρ"}


def agreement_chart(course: Course) -> Chart:
    """Agreement with the final ranking over the steps. Rows: step, figure, value; left out where
    it is not defined."""
    rows = [
        {"step": int(step), "figure": name, "value": getattr(each, field)}
        for step, each in zip(course.samples, course.agreement, strict=True)
        for field, name in FIGURES.items()
    ]
    frame = pd.DataFrame(rows).dropna(subset=["value"])
    frame["value"] = frame["value"].astype(float)
    ends = frame.groupby("figure")["step"].idxmax()
    frame.loc[ends, "label_y"] = spread(frame.loc[ends, "value"].to_numpy(), 0.15)
    low = min(0.0, float(frame["value"].min())) if len(frame) else 0.0
    scale = {"domain": [low, 1.1], "nice": False}
    places = [-1, -0.5, 0, 0.5, 1]
    y = upward("value", "agreement with the end", scale=scale, format=".1f", values=places)
    colour = {
        "field": "figure",
        "type": "nominal",
        "scale": {"domain": list(FIGURES.values()), "range": list(TOP_COLOURS[:3])},
        "legend": None,
    }
    hover = [
        {"field": "figure", "type": "nominal"},
        {"field": "step", "type": "quantitative"},
        {"field": "value", "type": "quantitative", "format": ".2f"},
    ]
    line: Spec = {
        "mark": {"type": "line", "strokeWidth": 2.2, "point": {"size": 14}},
        "encoding": {"x": step_axis(int(course.samples[-1])), "y": y, "color": colour,
                     "tooltip": hover},
    }  # fmt: skip
    names = {
        "transform": [{"filter": "isValid(datum.label_y)"}],
        "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 12, "fontWeight": 600},
        "encoding": {**line["encoding"], "y": {**y, "field": "label_y"},
                     "text": {"field": "figure"}},
    }  # fmt: skip
    steps = so_many(int(course.samples[-1]), "step")
    description = (
        "Line chart: agreement with the order at the end, by the shared top 30%, Kendall's tau and "
        f"Spearman's rho, over {steps}."
    )
    return Chart(frame, layered(line, names, description=description, height=260, right=84))


def width_chart(course: Course) -> Chart:
    """Half of the widest 95% interval among the strongest units, as a factor, over the steps."""
    frame = pd.DataFrame({"step": course.samples, "value": course.half_width}).dropna()
    # The first intervals are without end; from the later half on they can be compared.
    late = frame["value"].iloc[len(frame) // 3 :]
    most = float(late.max()) * 1.1 if len(late) else 1.0
    axis = factor_axis("widest interval, either way").to_dict()
    axis["values"] = list(ticks(0.0, most, most=5))
    y = upward("value", scale={"domain": [0, most], "nice": False}, **axis)
    line = {
        "mark": {"type": "line", "clip": True, "strokeWidth": 2.4, "color": TOP_COLOURS[0]},
        "encoding": {"x": step_axis(int(course.samples[-1])), "y": y},
    }
    strongest = so_many(len(course.top), f"strongest {course.explanation.config.granularity}")
    ends = f"{times_sign(float(frame['value'].iloc[-1]))} at the end" if len(frame) else "not known"
    description = (
        f"Line chart: the widest 95% interval of the {strongest} over "
        f"{so_many(int(course.samples[-1]), 'step')}, as a factor either way: {ends}."
    )
    return Chart(frame, layered(line, description=description, height=260))


def probe_table(course: Course) -> pd.DataFrame:
    """Each two probes, counted from 1, and how far they agree; NaN where it is not defined."""
    return pd.DataFrame(
        [_row(f"{i + 1} and {j + 1}", each) for (i, j), each in course.between.items()],
        columns=["probes", *FIGURES.values()],
    )


def _row(probes: str, each: Agreement) -> dict[str, str | float | None]:
    figures = {name: getattr(each, field) for field, name in FIGURES.items()}
    return {"probes": probes, **figures}
