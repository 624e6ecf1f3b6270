"""The kept explanations as a table in which rows are selected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from components.library_filters import reader_zone
from reagent_core.wording import visible

if TYPE_CHECKING:
    from reagent_core.library import Entry

_ROW, _MOST_ROWS = 35, 12
# What a cell can show is shorter; the whole text need not travel.
_LONGEST = 300


def draw_table(entries: list[Entry]) -> list[Entry]:
    """Draw the entries; returns those that are selected."""
    # Selected rows are numbers: with other entries the table is another one, with none selected.
    key = f"library {hash(tuple(entry.key for entry in entries))}"
    event = st.dataframe(
        _rows(entries),
        key=key,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        height=_ROW * (min(len(entries), _MOST_ROWS) + 1) + 3,
        placeholder="",
        alt="The explanations that are kept, one a row",
        column_config={
            "Name": st.column_config.TextColumn(width=120),
            "Prompt": st.column_config.TextColumn(width=270),
            "Answer": st.column_config.TextColumn(width=120),
            "Method": st.column_config.TextColumn(width=120),
            "Verdict": st.column_config.TextColumn(width=95),
            "Model": st.column_config.TextColumn(width=105),
            "Kept": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", width=130),
            "Tags": st.column_config.ListColumn(width=120),
        },
    )
    return [entries[row] for row in event["selection"]["rows"] if row < len(entries)]


def _rows(entries: list[Entry]) -> pd.DataFrame:
    """One row an entry; names, other methods and tags only where there are any."""
    zone = reader_zone()
    columns: dict[str, Any] = {
        "Name": [visible(entry.name) if entry.name else None for entry in entries],
        "Prompt": [visible(entry.prompt[:_LONGEST]) for entry in entries],
        "Answer": [visible(entry.answer[:_LONGEST]) for entry in entries],
        "Method": [entry.other_method for entry in entries],
        "Verdict": [entry.verdict for entry in entries],
        "Model": [entry.model for entry in entries],
        # Without a zone: it is the reader's own already.
        "Kept": pd.to_datetime(
            [entry.created and entry.created.astimezone(zone).replace(tzinfo=None)
             for entry in entries]
        ),
        "Tags": [list(entry.tags) for entry in entries],
    }  # fmt: skip
    unused = [name for name in ("Name", "Method", "Tags") if not any(columns[name])]
    return pd.DataFrame(columns).drop(columns=unused)
