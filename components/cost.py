"""What a run would cost, beside the button that starts it."""

from __future__ import annotations

import math
from collections.abc import Callable

import streamlit as st

from components import runs
from reagent_core.errors import ReagentError
from reagent_core.request import Request


def draw_cost(asked: Callable[[], Request]) -> None:
    """One line: "about 6 s, 130 forward passes"; nothing while the model is not in memory."""
    if not runs.models_ready():
        return
    try:
        cost = runs.cost_of(asked())
    except ReagentError:
        return  # what is wrong is said when the button is pressed
    if cost is not None:
        st.caption(f"{cost_words(cost.seconds)}, {cost.sequences:,} forward passes")


def cost_words(seconds: float) -> str:
    """Two digits at most: "about 6 s", "about 45 s", "about 3 min"."""
    if seconds < 60:
        return f"about {max(1, round(seconds))} s"
    return f"about {math.ceil(seconds / 60)} min"
