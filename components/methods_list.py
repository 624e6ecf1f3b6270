"""The comparisons of methods that are kept, one of which is opened with a click."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from components import runs
from components.keep import show
from components.library_filters import reader_zone
from components.plain import unformatted
from reagent_core.baselines.methods import label_of
from reagent_core.errors import ReagentError
from reagent_core.wording import visible

if TYPE_CHECKING:
    from reagent_core.comparison_rows import KeptComparison

MOST = 100
_ROW, _MOST_ROWS = 35, 12
# What a cell can show is shorter; the whole text need not travel.
_LONGEST = 300
_page_is_drawn = st.components.v2.component(
    "reagent_methods_list",
    js="""
export default function ({ setTriggerValue }) { setTriggerValue("drawn", true); }
""",
)


def draw_list(in_view: str | None) -> None:
    """The table; nothing while there are none. `in_view`: the key of the comparison that the page
    shows, which also says whether the library can be read."""
    if not runs.library_is_imported():
        # A first page waits for no import: the browser asks once, when it has drawn the rest.
        _page_is_drawn(key="methods list asked", on_drawn_change=_draw_again)
        return
    try:
        kept = runs.explanation_store().comparisons(limit=MOST, longest=_LONGEST)
    except ReagentError as error:
        if in_view is None:
            st.warning(unformatted(str(error)), icon=":material/link_off:")
        return
    if not kept.newest:
        return
    st.markdown("**Comparisons that are kept**")
    left_out = kept.total - len(kept.newest)
    older = f" Older ones, which are left out: {left_out:,}." if left_out else ""
    st.caption(f"Select one to open it.{older}")
    keys = tuple(each.key for each in kept.newest)
    # Selected rows are numbers: with other rows, or another one in view, it is another table.
    table = f"methods kept {hash((in_view, keys))}"
    st.dataframe(
        comparisons_table(kept.newest),
        key=table,
        hide_index=True,
        on_select=partial(open_selected, table, keys),
        selection_mode="single-row",
        height=_ROW * (min(len(keys), _MOST_ROWS) + 1) + 3,
        placeholder="",
        alt="The comparisons that are kept, one a row",
        column_config={
            "Kept": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", width=130),
            "Prompt": st.column_config.TextColumn(width=270),
            "Target": st.column_config.TextColumn(width=110),
            "Model": st.column_config.TextColumn(width=105),
        },
    )


def comparisons_table(kept: tuple[KeptComparison, ...]) -> pd.DataFrame:
    """One row a comparison."""
    zone = reader_zone()
    return pd.DataFrame(
        {
            # Without a zone: it is the reader's own already.
            "Kept": pd.to_datetime(
                [each.kept and each.kept.astimezone(zone).replace(tzinfo=None) for each in kept]
            ),
            "Prompt": [visible(each.prompt) for each in kept],
            "Target": [visible(each.target) for each in kept],
            "Model": [each.model for each in kept],
            "Methods": [", ".join(label_of(name) for name in each.methods) for each in kept],
        }
    )


def open_selected(table: str, keys: tuple[str, ...]) -> None:
    """Show the comparison whose row is selected in the table of this key, if one is."""
    rows = st.session_state[table]["selection"]["rows"]
    if rows:
        show({"run": keys[rows[0]]})


def _draw_again() -> None:
    """The page is drawn again as it is, now with what the list needs."""
    runs.explanation_store()
