"""What is typed into the form of Compare, kept while its widgets are not drawn.

Streamlit forgets a widget that a page does not draw. `st.session_state["compare_form"]` keeps what
was typed and gives it back, so that it outlives a look at another page or at another choice of
what differs. A field has a name, and a column where each column has its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from reagent_core.comparison import MOST
from reagent_core.request import Request

FEWEST = 2
_SHARED: dict[str, Any] = {
    "what": "prompts", "count": FEWEST, "mode": "Plain text", "system": "", "model": "bundled",
    "target": "own", "target_text": "", "preset": "standard", "granularity": "token", "seed": 0,
    "length": 8,
}  # fmt: skip
_IN_COLUMNS: dict[str, Sequence[Any]] = {
    "prompt": [""] * MOST,
    "model": ["bundled"] * MOST,
    "preset": ["quick", "standard", "thorough", "paper"],
    "seed": [0, 1, 2, 3],
}


def key_of(name: str, column: int | None = None) -> str:
    """The key of the field's widget."""
    return f"compare_{name}" if column is None else f"compare_{name}_{column}"


def keep_all() -> None:
    """Remember what the widgets say. Call it before any is drawn: what was typed last counts,
    even if its widget is not drawn any more."""
    keys = [key_of(name) for name in _SHARED]
    keys += [key_of(name, column) for name in _IN_COLUMNS for column in range(MOST)]
    kept = _kept()
    kept |= {key: value for key in keys if (value := st.session_state.get(key)) is not None}


def get(name: str, column: int | None = None) -> Any:
    """What the field says: its widget, or what was kept of it while it is not drawn."""
    key = key_of(name, column)
    value = st.session_state.get(key)
    if value is not None:
        return value
    return _kept().get(key, default(name, column))


def put(name: str, value: Any, column: int | None = None) -> None:
    """Write a field: before its widget is drawn, or in a callback."""
    key = key_of(name, column)
    st.session_state[key] = _kept()[key] = value


def restored(name: str, column: int | None = None) -> str:
    """The key for a widget that is about to be drawn, which gets its value back first."""
    key = key_of(name, column)
    if st.session_state.get(key) is None:
        st.session_state[key] = get(name, column)
    return key


def default(name: str, column: int | None = None) -> Any:
    """What the field says before anybody has written it."""
    return _SHARED[name] if column is None else _IN_COLUMNS[name][column]


def put_bases(requests: Sequence[Request]) -> None:
    """Remember the runs that the form was filled with, column by column."""
    st.session_state["compare_bases"] = list(requests)


def bases() -> list[Request]:
    """The runs that the form was filled with, without those of columns removed since."""
    found: list[Request] = st.session_state.get("compare_bases", [])
    return found


def base(column: int) -> Request | None:
    """The run that this column was filled with, the first one of a column that was added; None
    where the form was not filled."""
    found = bases()
    return found[column if column < len(found) else 0] if found else None


def remove(column: int) -> None:
    """Take one column away: those behind it move up."""
    for filled in ("compare_bases", "compare_lost"):
        found = st.session_state.get(filled, [])
        st.session_state[filled] = [each for i, each in enumerate(found) if i != column]
    for name, defaults in _IN_COLUMNS.items():
        for i in range(column, MOST - 1):
            put(name, get(name, i + 1), i)
        put(name, defaults[MOST - 1], MOST - 1)
    put("count", max(FEWEST, int(get("count")) - 1))


def _kept() -> dict[str, Any]:
    kept: dict[str, Any] = st.session_state.setdefault("compare_form", {})
    return kept
