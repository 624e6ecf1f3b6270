"""What the charts of Convergence share: which units stand out, and pieces of specifications.

The specifications are plain Vega-Lite, with nothing in them but numbers and fixed words: token
texts are only ever data. Their description is what a screen reader says of the chart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.charts import GREY, SELECTED_COLOUR, TOP, TOP_COLOURS

COLOURS = (*TOP_COLOURS, SELECTED_COLOUR)
MOST_PICKED = len(COLOURS)
# The name of the selection in charts whose tokens can be clicked.
PICK = "pick"

# A title above its axis: upright it would take a tenth of a phone's width.
_ABOVE = {"titleAngle": 0, "titleAlign": "left", "titleBaseline": "bottom", "titleY": -8}
Spec = dict[str, Any]

# For marks by the thousand, whose numbers are all known: a browser need not look for gaps, nor
# write a sentence for each of them; the picture as a whole has one.
BARE: Spec = {"aria": False, "invalid": None}


@dataclass(frozen=True)
class Highlight:
    """The units (indices) that stand out in every picture, each in the colour of its place.

    `picked`: a person has chosen them; else they are the strongest.
    """

    units: tuple[int, ...]
    picked: bool = False

    @property
    def followed(self) -> dict[int, str]:
        """The colours of the picked units; none where nobody has picked any."""
        return dict(zip(self.units, COLOURS, strict=False)) if self.picked else {}

    def role(self, unit: int) -> str:
        """ "1" to "6" for a unit that stands out, "other" for all others."""
        return str(self.units.index(unit) + 1) if unit in self.units else "other"

    def first_of(self, units: Sequence[int]) -> str:
        """The role of the first of these units that stands out."""
        return next((self.role(unit) for unit in self.units if unit in units), "other")


def highlighted(picked: Sequence[int], ranked: Sequence[int]) -> Highlight:
    """The picked units, or where there are none the five strongest of the `ranked`."""
    if picked:
        return Highlight(tuple(picked[-MOST_PICKED:]), True)
    return Highlight(tuple(ranked[:TOP]))


def role_colour(field: str = "role") -> Spec:
    """Colour by role."""
    roles = [str(place) for place in range(1, MOST_PICKED + 1)]
    return {
        "field": field,
        "type": "nominal",
        "scale": {"domain": [*roles, "other"], "range": [*COLOURS, GREY]},
        "legend": None,
    }


def so_many(count: int, noun: str) -> str:
    """ "1 step", "80 steps"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def step_axis(last: int) -> Spec:
    """The horizontal axis of everything that goes by steps."""
    return {
        "field": "step",
        "type": "quantitative",
        "title": "step",
        "axis": {"tickMinStep": 1, "grid": False, "format": "d"},
        "scale": {"domain": [1, max(2, last)], "nice": False},
    }


def upward(field: str, title: str, **more: Any) -> Spec:
    """A vertical axis with its title above it; `more` goes into the axis, `scale` excepted."""
    channel: Spec = {"field": field, "type": "quantitative"}
    if "scale" in more:
        channel["scale"] = more.pop("scale")
    channel["axis"] = {"title": title, "titleX": -34, **_ABOVE, **more}
    return channel


def point_pick() -> Spec:
    """A click on a mark picks its unit, a second one lets it go."""
    select = {"type": "point", "fields": ["unit"], "toggle": "true", "clear": False}
    return {"name": PICK, "select": select}


def layered(*layers: Spec, height: int, right: int = 12, description: str = "") -> Spec:
    """Layers of one picture; `right`: pixels beside it, for names at the ends of lines. Without a
    `description` it gets one where the numbers are known."""
    return {
        "description": description,
        "layer": list(layers),
        "height": height,
        "padding": {"left": 4, "top": 26, "bottom": 4, "right": right},
    }
