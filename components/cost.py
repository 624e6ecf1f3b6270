"""What a run would cost, beside the button that starts it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from components import loaded_models
from reagent_core.errors import ReagentError
from reagent_core.request import Request

if TYPE_CHECKING:
    from reagent_core.cost import Cost


def draw_cost(asked: Callable[[], Request]) -> None:
    """One line: "about 6 s, 130 forward passes"; nothing while the model is not in memory."""
    if not loaded_models.models_ready():
        if loaded_models.warming_up():
            st.fragment(_wait, run_every=1.0)()
        return
    try:
        cost = loaded_models.cost_of(asked())
    except ReagentError:
        return  # what is wrong is said when the button is pressed
    if cost is not None:
        st.caption(cost_line(cost))


def _wait() -> None:
    """Draw the page again once the speed is known."""
    if not loaded_models.warming_up():
        st.rerun()


def cost_line(cost: Cost) -> str:
    """Seconds where they are known, else what a server is asked for."""
    if cost.seconds is None:
        return f"about {cost.requests:,} requests, {cost.tokens:,} tokens"
    return f"{cost_words(cost.seconds)}, {cost.sequences:,} forward passes"


def cost_words(seconds: float) -> str:
    """Two digits at most: "about 6 s", "about 45 s", "about 3 min"."""
    if seconds < 60:
        return f"about {max(1, round(seconds))} s"
    return f"about {math.ceil(seconds / 60)} min"
