"""What stays when a person leaves a page and comes back, and when a request comes late.

Streamlit forgets the value of a widget that is not drawn. A page declares an input that is to be
kept by drawing it with a key of its own and `persist_state="session"`:

    st.text_area("Your prompt", key="prompt", persist_state="session")

Nothing else is needed; a test reads the sources and names every input that says nothing about it.
(An input that belongs to one view alone says so with `persist_state=None`.) Keys are one space
for all pages: two inputs with the same key are one input. What a page shows is named by its
address: `show` changes it, and `restore_address` brings it back.

A request that the browser sent before it had heard of a change names the address before, as that
of a timer does now and then. Were it believed, the click that changed the address would be lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

# Session state: where the last run of the script was (path, name), and what every page shows.
_PLACE = "place"
_SHOWN = "shown"

Query = Mapping[str, str]


@dataclass(frozen=True)
class _Shown:
    """What a page shows, and the addresses that `show` has replaced since the person came."""

    query: Query
    replaced: tuple[Query, ...] = ()


def show(query: Query) -> None:
    """Put this into the address of the page in view, and nothing else. Call it in a callback."""
    if _PLACE in st.session_state:
        name = st.session_state[_PLACE][1]
        before = _shown(name)
        if query != before.query:
            _remember(name, _Shown(dict(query), (*before.replaced, before.query)))
    st.query_params.from_dict(query)  # at once: one entry in the history


def is_at(name: str) -> bool:
    """Whether the page of this name is the one in view."""
    return _PLACE in st.session_state and st.session_state[_PLACE][1] == name


def restore_address(path: str, name: str) -> None:
    """Call it before the page of this name runs; `path` is the last part of its address.

    Coming to a page by a link that names nothing, as those of the sidebar, shows what the page
    showed last. Staying on it shows what was last asked for, whatever a late request says.
    """
    before = st.session_state.get(_PLACE)
    shown = _shown(name)
    arrived, by_history = before is None or before[0] != path, _through_history()
    by_link = arrived and before is not None and not by_history and not st.query_params
    late = not arrived and not by_history and st.query_params.to_dict() in shown.replaced
    if late or (by_link and shown.query):
        st.query_params.from_dict(shown.query)
    replaced = () if arrived or by_history else shown.replaced
    _remember(name, _Shown(st.query_params.to_dict(), replaced))
    st.session_state[_PLACE] = (path, name)


def follow_address(key: str, value: object, label: str = "") -> None:
    """Set the widget with this key to what the address says. Call it before the widget is drawn.
    `label`: how the value is shown, where that may change.

    Only if that is news: a value that is set goes to the browser, and would undo there what was
    chosen in the meantime.
    """
    told = f"{key} is told"
    if st.session_state.get(key, told) != value or st.session_state.get(told) != label:
        st.session_state[key], st.session_state[told] = value, label


def _shown(name: str) -> _Shown:
    pages: dict[str, _Shown] = st.session_state.get(_SHOWN, {})
    return pages.get(name, _Shown({}))


def _remember(name: str, shown: _Shown) -> None:
    st.session_state[_SHOWN] = {**st.session_state.get(_SHOWN, {}), name: shown}


def _through_history() -> bool:
    """Whether the person went back or forward in the browser."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation
