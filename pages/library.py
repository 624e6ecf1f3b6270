"""Library: every finished explanation; search, open, name, tag, compare, export, delete."""

from __future__ import annotations

import math

import streamlit as st

from components import runs
from components.import_file import draw_import
from components.library_actions import draw_actions, draw_restore, draw_undo
from components.library_filters import draw_filters
from components.library_table import draw_table
from components.navigation import link_to
from components.plain import plain_text, unformatted
from reagent_core.errors import ReagentError

ROWS = 50
# More than any place of the page shows.
LONGEST_TEXT = 400


def show_library() -> None:
    """Everything under the title.

    Raises:
        ReagentError: the library cannot be read.
    """
    store = runs.explanation_store()
    totals = store.totals()
    with st.container():
        draw_undo()
    deleted = bool(totals.deleted_entries) and st.session_state.get("library gone", False)
    if not totals.entries and not deleted:
        st.info("Nothing is kept yet. Every explanation that is finished will be listed here.")
        link_to("explain", "Explain something", {})
    else:
        show_table(deleted)
    if totals.deleted_entries:
        st.toggle(
            f"Show what was deleted ({totals.deleted_entries:,})", key="library gone",
            persist_state="session",
        )  # fmt: skip
    said = f"{totals.entries:,} kept, {megabytes(totals.size)}"
    if totals.deleted_entries:
        said += (
            f"; {totals.deleted_entries:,} deleted, {megabytes(totals.deleted_size)}, which go "
            "for good after a week"
        )
    plain_text(f"{said}. Kept in {store.name}.", key="library totals", size="note")


def show_table(deleted: bool) -> None:
    """Filters, a page of the table, and what can be done to what is selected there."""
    store = runs.explanation_store()
    wanted = draw_filters(store, deleted)
    count = store.count(wanted)
    pages = max(1, math.ceil(count / ROWS))
    below = st.container()
    # Another question starts on its first page.
    page = 1
    if pages > 1:
        page = st.pagination(pages, key=f"library page {hash(wanted)} {pages}")
    entries = store.entries(
        wanted, limit=ROWS, offset=(page - 1) * ROWS, longest=LONGEST_TEXT
    )
    with below:
        if not entries:
            st.info("No explanation is like that. Search for less, or clear a filter.")
            return
        selected = draw_table(entries)
        more = f"; {ROWS} on a page" if pages > 1 else ""
        st.caption(f"{count:,} found, newest first{more}.")
    if deleted:
        draw_restore(selected)
    else:
        draw_actions(selected, store)


def megabytes(size: int) -> str:
    """Bytes in words."""
    return f"{size / 1e6:,.1f} MB" if size >= 50_000 else f"{size / 1e3:,.0f} kB"


st.title("Library", anchor=False)
st.caption("Every finished explanation is kept here, until you delete it.")
with st.expander("Import a file", icon=":material/upload_file:"):
    draw_import()
try:
    show_library()
except ReagentError as error:
    st.error(unformatted(str(error)), icon=":material/error:")
