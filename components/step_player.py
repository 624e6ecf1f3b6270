"""The steps of a run, played: a slider, the replaced prompt, and what it did to the scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from components.plain import plain_text
from reagent_core.colours import swatch
from reagent_core.explanation import Explanation
from reagent_core.sentences import unit_names
from reagent_core.stepping import FloatArray, Frame, StepThrough, points, step_through
from reagent_core.wording import percent, visible

MOST_BARS = 10
# Rows for replaced units that are not among the strongest.
MOST_EXTRA = 3

_ASSETS = Path(__file__).parent.parent / "assets"


def _colour(name: str, weight: float) -> str:
    light, dark = (swatch(weight, dark=dark).background for dark in (False, True))
    return f"--{name}:light-dark({light},{dark})"


_player = st.components.v2.component(
    "reagent_step_player",
    js=(_ASSETS / "step_player.js").read_text("utf-8"),
    css=(_ASSETS / "step_player.css").read_text("utf-8")
    + f".player{{{_colour('gain', 1)};{_colour('loss', -1)}}}",
)


def step_player(
    explanation: Explanation, *, key: str, followed: Mapping[int, str] | None = None
) -> None:
    """Draw the steps of one explanation, to be played or looked through one by one.

    `followed`: units (indices) that stand out, each in its CSS colour. Drawing again under the same
    key keeps the step that is shown (while a run grows the newest one, until somebody chooses
    another).
    """
    steps = step_through(explanation)
    if steps is None:
        plain_text(_nothing(explanation), key=f"{key} nothing", size="note")
        return
    _player(key=key, data=player_data(explanation, steps, followed))


def player_data(
    explanation: Explanation, steps: StepThrough, followed: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """What the browser needs of the steps (see assets/step_player.js), as short as it goes.

    Every step is there; of the scores those of the `MOST_BARS` units that are highest at the end,
    of the `followed` ones, and in each step of at most `MOST_EXTRA` replaced ones beside them.
    """
    column = {unit: place for place, unit in enumerate(steps.units)}
    highest = np.argsort(-steps.scores[-1], kind="stable")[:MOST_BARS]
    own_colour = dict(followed or {})
    bars = sorted(
        {steps.units[place] for place in highest.tolist()} | column.keys() & own_colour.keys()
    )
    shown = np.round(steps.scores, 4)
    own = set(bars)
    extras = [_extras(frame, row, shown, column, own) for row, frame in enumerate(steps.frames)]
    texts: dict[str, int] = {}
    for frame in steps.frames:
        for text in frame.replacements:
            texts.setdefault(text, len(texts))
    names = unit_names(explanation.units)
    bar_scores = shown[:, [column[unit] for unit in bars]]
    highest_yet = np.maximum.accumulate(
        [bar_scores[0].max()]
        + [
            max(bars_now.max(), *(score for _, *both in row for score in both), 0.0)
            for bars_now, row in zip(bar_scores[1:], extras, strict=True)
        ]
    )
    top = _scale_end(max(steps.original, *(frame.probability for frame in steps.frames)))
    return {
        "target": steps.target,
        "probes": steps.probes,
        "running": explanation.status == "running",
        "opening": steps.opening,
        "original": _short(steps.original),
        "originalWords": percent(steps.original),
        "top": top,
        "topWords": percent(top),
        "pieces": _pieces(explanation),
        "names": {unit: names[unit] for unit in steps.units},
        "followed": own_colour,
        "title": _title(len(bars), len(steps.units)),
        "bars": bars,
        "extraRows": max(map(len, extras)),
        "scores": bar_scores.tolist(),
        "ends": [_scale_end(score) for score in highest_yet.tolist()],
        "texts": [visible(text) for text in texts],
        "frames": [
            (
                frame.probe,
                frame.replaced,
                [texts[text] for text in frame.replacements],
                _short(frame.probability),
                f"{'at most ' if frame.bounded else ''}{percent(frame.probability)}",
                points(frame.change, at_least=frame.bounded),
                _direction(steps.original, frame),
                frame.sentence,
                frame.note,
                extra,
            )
            for frame, extra in zip(steps.frames, extras, strict=True)
        ],
    }


def _title(bars: int, units: int) -> str:
    """What the bars are, and where not all units have one, which."""
    if bars == units:
        return "ReAGent scores"
    bars_of = f"the {MOST_BARS} highest at the end{', the picked' if bars > MOST_BARS else ''}"
    return f"ReAGent scores: {bars_of} and up to {MOST_EXTRA} replaced"


def _extras(
    frame: Frame, row: int, scores: FloatArray, column: dict[int, int], bars: set[int]
) -> list[tuple[int, float, float]]:
    """The highest replaced units that have no bar of their own: unit, score before and after."""
    others = [unit for unit in frame.replaced if unit not in bars]
    moved = [
        (unit, float(scores[row, column[unit]]), float(scores[row + 1, column[unit]]))
        for unit in others
    ]
    return sorted(sorted(moved, key=lambda each: -each[2])[:MOST_EXTRA])


def _direction(original: float, frame: Frame) -> int:
    """1: the probability fell; -1: it rose; 0: not so that it could be seen."""
    if percent(original) == percent(frame.probability):
        return 0
    return 1 if frame.change > 0 else -1


def _scale_end(largest: float) -> float:
    """The smallest of 1, 0.5, 0.2, 0.1, 0.05 ... that is at least as large."""
    if largest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(largest))
    return min(1.0, next(float(f"{n * power:.1g}") for n in (1, 2, 5, 10) if largest <= n * power))


def _pieces(explanation: Explanation) -> list[tuple[str, int | None, bool]]:
    """The prompt as text, index of the unit if it is scored, and whether it is never replaced.

    Of a chat only the part between the first and the last unit that may be replaced.
    """
    units = explanation.units
    free = [i for i, unit in enumerate(units) if unit.stepped]
    shown = range(free[0], free[-1] + 1) if explanation.messages is not None else range(len(units))
    pieces: list[tuple[str, int | None, bool]] = []
    for stepped, group in groupby(shown, key=lambda i: units[i].stepped):
        if stepped:
            pieces.extend((units[i].text, i, False) for i in group)
        else:
            pieces.append(("".join(units[i].text for i in group), None, True))
    return pieces


def _short(probability: float) -> float:
    return float(f"{probability:.3g}")


def _nothing(explanation: Explanation) -> str:
    if explanation.status == "running":
        return "No step is done yet. The steps appear here as they are made."
    return "No steps were kept with this explanation, so there is nothing to play."
