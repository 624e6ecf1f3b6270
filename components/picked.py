"""The tokens a person has picked on Convergence: one choice, which all pictures follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from components.chart_parts import MOST_PICKED, PICK


def picked(name: str) -> list[int]:
    """Indices of the units picked in the explanation `name`, in the order of picking."""
    return list(_all().get(name, ()))


def pick(name: str, units: Sequence[int]) -> None:
    """Pick these and no others; of more than there are colours, the last ones."""
    _all()[name] = list(units)[-MOST_PICKED:]


def follow_chart(name: str, chart: str) -> None:
    """Take over a click in the chart with the key `chart`: on what was picked already it lets go.

    The chart keeps a list of its own, of what was clicked in it; the click is what changed there.
    """
    before: set[int] = set(_all().get(chart, ()))
    state = st.session_state.get(chart, {})
    points = state.get("selection", {}).get(PICK, []) if isinstance(state, Mapping) else []
    now = [point["unit"] for point in points if isinstance(point.get("unit"), int)]
    _all()[chart] = now
    changed = before.symmetric_difference(now)
    units = picked(name)
    kept = [unit for unit in units if unit not in changed]
    pick(name, kept + [unit for unit in changed if unit not in units])


def _all() -> dict[str, list[int]]:
    choices: dict[str, list[int]] = st.session_state.setdefault("picked", {})
    return choices
