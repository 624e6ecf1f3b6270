"""The pictures of single steps: what each changed, the stop test, and the scores of one step."""

from __future__ import annotations

import math

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
from components.charts import FOR_COLOUR, GREY, Chart, short
from reagent_core.course import Course
from reagent_core.decimate import decimated
from reagent_core.explanation import Explanation
from reagent_core.sentences import unit_names
from reagent_core.settling import passing_rank, running_mean
from reagent_core.stepping import original_probability
from reagent_core.wording import percent

MOST_POINTS = 240
MOST_BARS = 30
# Probabilities are drawn on a log scale from here on; below it lies what a float hardly tells.
LEAST_PROBABILITY = 1e-8

_HOVER = [
    {"field": "step", "type": "quantitative"},
    {"field": "probe", "type": "quantitative"},
    {"field": "replaced", "type": "nominal"},
]


def change_chart(explanation: Explanation, highlight: Highlight) -> Chart:
    """d of every step as a dot, and its running mean over all probes as a line.

    A dot has the colour of the first unit that stands out among those replaced in its step.
    """
    frame = _steps(explanation, highlight, "change")
    x = step_axis(_last(explanation))
    scale = {"zero": True, "nice": True}
    y = upward("value", "d, probability lost", format=".0%", scale=scale)
    dots = {
        "transform": [{"filter": "datum.kind == 'step'"}],
        "mark": {"type": "circle", "size": 22, "opacity": 0.75, **BARE},
        "encoding": {"x": x, "y": y, "color": role_colour(), "tooltip": _HOVER},
    }
    mean = {
        "transform": [{"filter": "datum.kind == 'mean'"}],
        "mark": {"type": "line", "strokeWidth": 2.4, "color": FOR_COLOUR},
        "encoding": {"x": x, "y": y},
    }
    d = [step.change for step in explanation.trace]
    description = (
        f"Dot chart: the probability that the target lost in each of {so_many(len(d), 'step')}, "
        f"{min(d):.1%} to {max(d):.1%}, and a line for the mean so far, which ends at "
        f"{sum(d) / len(d):.1%}."
    )
    return Chart(frame, layered(dots, mean, description=description, height=240))


def probability_chart(explanation: Explanation, highlight: Highlight) -> Chart:
    """The target's probability in every step, and what it was before anything was replaced."""
    frame = _steps(explanation, highlight, "probability")
    frame = frame[frame["kind"] != "mean"].copy()
    frame["value"] = frame["value"].clip(lower=LEAST_PROBABILITY)
    decades = math.floor(math.log10(max(float(frame["value"].min()), LEAST_PROBABILITY)))
    places = [10.0**power for power in range(decades, 1)]
    x = step_axis(_last(explanation))
    scale = {"type": "log", "domain": [places[0], 1], "nice": False}
    # 1e-6 of a probability is 0.0001%.
    y = upward("value", "probability of the target", values=places, format="~%", scale=scale)
    dots = {
        "transform": [{"filter": "datum.kind == 'step'"}],
        "mark": {"type": "circle", "size": 22, "opacity": 0.75, **BARE},
        "encoding": {"x": x, "y": y, "color": role_colour(),
                     "tooltip": [*_HOVER, {"field": "told", "type": "nominal",
                                           "title": "probability"}]},
    }  # fmt: skip
    before = {
        "transform": [{"filter": "datum.kind == 'original'"}],
        "mark": {"type": "rule", "strokeDash": [5, 4], "strokeWidth": 2, "color": GREY},
        "encoding": {"y": y},
    }
    found = [step.probability for step in explanation.trace]
    description = (
        f"Dot chart: the target's probability in each of {so_many(len(found), 'step')}, "
        f"{percent(min(found))} to {percent(max(found))}; before anything was replaced it was "
        f"{percent(original_probability(explanation))}."
    )
    return Chart(frame, layered(before, dots, description=description, height=240))


def rank_chart(explanation: Explanation) -> Chart:
    """The target's rank in every stop test, and the line above which the test is passed.

    Rows: step, probe, value, kind; empty where no test was made.
    """
    first = explanation.trace[0].step if explanation.trace else 0
    rows = [
        {"step": s.step - first + 1, "probe": s.probe + 1, "value": s.rank, "kind": "rank"}
        for s in explanation.trace
        if s.rank is not None
    ]
    if not rows:
        return Chart(pd.DataFrame(columns=["step", "probe", "value", "kind"]), {})
    best = passing_rank(explanation)
    parts = []
    frame = pd.DataFrame(rows)
    for _, own in frame.groupby("probe"):
        parts.append(own.iloc[decimated(own["value"].to_numpy(float), MOST_POINTS)])
    parts.append(pd.DataFrame([{"step": 1, "probe": 0, "value": best + 0.5, "kind": "line"}]))
    x, worst = step_axis(_last(explanation)), float(max(frame["value"].max(), best + 1))
    y = upward("value", "rank in the stop test", format="~s",
               scale={"type": "log", "domain": [0.8, worst * 1.2], "reverse": True, "nice": False},
               tickCount=4)  # fmt: skip
    dots = {
        "transform": [{"filter": "datum.kind == 'rank'"}],
        "mark": {"type": "point", "filled": True, "size": 40},
        "encoding": {
            "x": x, "y": y, "detail": {"field": "probe"},
            "color": {"condition": {"test": f"datum.value <= {best}", "value": FOR_COLOUR},
                      "value": GREY},
            "tooltip": [*_HOVER[:2], {"field": "value", "type": "quantitative", "title": "rank"}],
        },
    }  # fmt: skip
    line = {
        "transform": [{"filter": "datum.kind == 'line'"}],
        "mark": {"type": "rule", "strokeDash": [5, 4], "strokeWidth": 2, "color": GREY},
        "encoding": {"y": y},
    }
    passed = so_many(int((frame["value"] <= best).sum()), "test")
    description = (
        f"Dot chart: the target's rank in {so_many(len(frame), 'stop test')}, "
        f"{frame['value'].min():,} to {frame['value'].max():,}; {passed} passed, with at most "
        f"rank {best}."
    )
    return Chart(
        pd.concat(parts, ignore_index=True),
        layered(line, dots, description=description, height=200),
    )


def stopped_chart(explanation: Explanation) -> Chart:
    """The share of the probes that the stop test has ended, after each step."""
    first, last = explanation.trace[0].step, _last(explanation)
    ended = sorted(s.step - first + 1 for s in explanation.trace if s.stopped)
    rows = [(1, 0.0)]
    rows += [(step, (i + 1) / explanation.config.probes) for i, step in enumerate(ended)]
    rows.append((last, len(ended) / explanation.config.probes))
    y = upward("share", "probes that stopped", format=".0%", scale={"domain": [0, 1]})
    line = {
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2.4,
                 "color": FOR_COLOUR},
        "encoding": {"x": step_axis(last), "y": y},
    }  # fmt: skip
    description = (
        f"Line chart: the share of {so_many(explanation.config.probes, 'probe')} that the stop "
        f"test has ended, {rows[-1][1]:.0%} after {so_many(last, 'step')}."
    )
    return Chart(
        pd.DataFrame(rows, columns=["step", "share"]),
        layered(line, description=description, height=200),
    )


def scores_charts(
    course: Course, raw: NDArray[np.float64], shares: NDArray[np.float64], highlight: Highlight
) -> tuple[Chart, Chart]:
    """The scores [n] of one step, raw and after softmax, as bars in the order of the prompt.

    Of very many units the highest are drawn, and what a person has picked.
    """
    names = unit_names(course.explanation.units)
    highest = np.argsort(-raw, kind="stable")[:MOST_BARS]
    kept = [course.units.index(unit) for unit in highlight.units if unit in course.units]
    chosen = np.union1d(highest, np.array(kept if highlight.picked else [], np.int64)).astype(int)
    frame = pd.DataFrame(
        {
            "row": np.arange(len(chosen)),
            "unit": [course.units[column] for column in chosen],
            "name": [names[course.units[column]] for column in chosen],
            "role": [highlight.role(course.units[column]) for column in chosen],
            "raw": raw[chosen],
            "softmax": shares[chosen],
        }
    )
    frame["label"] = [short(name) for name in frame["name"]]
    bars = so_many(len(frame), course.explanation.config.granularity)
    before, after = (
        f"Bar chart: the {what} of {bars}, {frame[field].min():.2f} to {frame[field].max():.2f}."
        for field, what in (("raw", "raw score"), ("softmax", "score after softmax"))
    )
    return (
        Chart(frame, _bars("raw", "raw score S", "~f", before)),
        Chart(frame, _bars("softmax", "after softmax", ".0%", after)),
    )


def _steps(explanation: Explanation, highlight: Highlight, field: str) -> pd.DataFrame:
    """Dots of `field` (thinned a probe at a time), its running mean, and the original value."""
    trace, names = explanation.trace, unit_names(explanation.units)
    first = trace[0].step
    values = np.array([getattr(step, field) for step in trace], float)
    probes = np.array([step.probe for step in trace])
    kept: list[int] = []
    for probe in np.unique(probes):
        own = np.flatnonzero(probes == probe)
        most = max(4, MOST_POINTS // len(np.unique(probes)))
        kept += own[decimated(values[own], most)].tolist()
    rows = [
        {
            "step": trace[i].step - first + 1,
            "probe": trace[i].probe + 1,
            "value": values[i],
            "kind": "step",
            "role": highlight.first_of(trace[i].replaced),
            "replaced": _list([names[unit] for unit in trace[i].replaced]),
            "told": percent(trace[i].probability),
        }
        for i in sorted(kept)
    ]
    mean = running_mean(values)
    rows += [
        {"step": trace[i].step - first + 1, "value": mean[i], "kind": "mean"}
        for i in decimated(mean, MOST_POINTS).tolist()
    ]
    rows.append({"step": 1, "value": original_probability(explanation), "kind": "original"})
    return pd.DataFrame(rows)


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more


def _last(explanation: Explanation) -> int:
    return len({step.step for step in explanation.trace})


def _bars(field: str, title: str, form: str, description: str) -> Spec:
    y = {
        "field": "row",
        "type": "ordinal",
        "axis": {"labels": False, "ticks": False, "domain": False, "title": None},
    }
    bars = {
        "params": [point_pick()],
        "mark": {"type": "bar", "cornerRadius": 3, "height": {"band": 0.66}, "cursor": "pointer"},
        "encoding": {
            "y": y,
            "x": {"field": field, "type": "quantitative",
                  "axis": {"title": title, "format": form, "tickCount": 5}},
            "color": role_colour(),
            "tooltip": [{"field": "name", "type": "nominal", "title": "token"},
                        {"field": field, "type": "quantitative", "format": ".3~f"}],
        },
    }  # fmt: skip
    labels = {
        "mark": {"type": "text", "align": "right", "dx": -6, "fontSize": 12},
        "encoding": {"y": y, "x": {"value": 0}, "text": {"field": "label"}, "color": role_colour()},
    }
    spec = layered(bars, labels, description=description, height=0)
    spec["height"] = {"step": 20}
    spec["padding"] = {"left": 84, "top": 6, "bottom": 4, "right": 12}
    return spec
