"""Which kept explanations the page Library shows."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

if TYPE_CHECKING:
    from reagent_core.library import Filter
    from reagent_core.store import Store

_VERDICTS = {"Settled": True, "Not settled": False}


def reader_zone() -> tzinfo:
    """The time zone of whoever looks at the page; the server's where the browser does not say."""
    try:
        return ZoneInfo(st.context.timezone or "")
    except (ZoneInfoNotFoundError, ValueError):
        zone = datetime.now().astimezone().tzinfo
        assert zone is not None
        return zone


def draw_filters(store: Store, deleted: bool) -> Filter:
    """Draw the fields; what they say outlives a look at another page.

    Raises:
        LibraryError: the library cannot be read.
    """
    from reagent_core.library import Filter

    st.text_input(
        "Search", key="library search", type="search", live=True, persist_state="session",
        icon=":material/search:", label_visibility="collapsed",
        placeholder="Search in prompts, answers and names",
    )  # fmt: skip
    with st.container(horizontal=True):
        model = _one_of("Model", "library model", store.models())
        verdict = _one_of("Verdict", "library verdict", list(_VERDICTS))
        tag = _one_of("Tag", "library tag", store.tags())
        days = st.date_input(
            "Kept from, to", value=[], key="library days", persist_state="session", width=230,
            format="YYYY-MM-DD",
        )  # fmt: skip
    since, until = _bounds(days, reader_zone())
    return Filter(
        search=st.session_state["library search"] or "",
        model=model,
        tag=tag,
        settled=None if verdict is None else _VERDICTS[verdict],
        since=since,
        until=until,
        deleted=deleted,
    )


def _one_of(label: str, key: str, options: list[str]) -> str | None:
    """A field that may stay empty; what was chosen and is gone since stays on offer."""
    chosen = st.session_state.get(key)
    return st.selectbox(
        label, options if chosen in (None, *options) else [*options, chosen], index=None, key=key,
        placeholder="Any", persist_state="session", width=165,
    )  # fmt: skip


def _bounds(days: tuple[date, ...], zone: tzinfo) -> tuple[datetime | None, datetime | None]:
    """From the start of the first day to the end of the second; a day alone has no end."""
    first = days[0] if days else None
    last = days[1] if len(days) > 1 else None
    return (
        datetime.combine(first, time(), zone) if first else None,
        datetime.combine(last + timedelta(days=1), time(), zone) if last else None,
    )
