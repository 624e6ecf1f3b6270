"""Loading the page anew is no new person: a browser tab remembers whose runs it waits for."""

from __future__ import annotations

import streamlit as st

from components import runs

_KEY = "tab"
_tab = st.components.v2.component(
    "reagent_same_tab",
    js="""
export default function ({ data, setStateValue }) {
  try {
    const kept = sessionStorage.getItem("reagent owner") ?? "";
    if (!/^[0-9a-f]{32}$/.test(kept)) sessionStorage.setItem("reagent owner", data.owner);
    else if (kept !== data.owner) setStateValue("owner", kept);
  } catch {} // a browser that stores nothing forgets
}
""",
)


def keep_owner() -> None:
    """Draw what asks the tab; it takes no room, and speaks once after a reload."""
    _tab(key=_KEY, data={"owner": runs.owner()}, default={"owner": None}, on_owner_change=_adopt)


def _adopt() -> None:
    runs.adopt(st.session_state[_KEY]["owner"])
