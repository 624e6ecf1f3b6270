"""The studies of this machine, one of which is opened with a click."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from components import study_jobs
from components.keep import show
from components.library_filters import reader_zone
from components.study_jobs import Known
from reagent_core.baselines.methods import label_of
from reagent_core.wording import visible

_ROW, _MOST_ROWS = 35, 12
_TABLE = "studies"


def draw_list() -> None:
    """The table; nothing while there are none."""
    known = study_jobs.all_studies()
    if not known:
        return
    st.markdown("**Studies on this machine**")
    st.caption("Select one to open it, to go on with it, or to take its results away.")
    st.dataframe(
        studies_table(known),
        key=_TABLE,
        hide_index=True,
        on_select=_open,
        selection_mode="single-row",
        height=_ROW * (min(len(known), _MOST_ROWS) + 1) + 3,
        placeholder="",
        alt="The studies of this machine, one a row",
        column_config={
            "Name": st.column_config.TextColumn(width=220),
            "Done": st.column_config.TextColumn(width=110),
            "Last change": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", width=130),
        },
    )
    st.session_state["studies listed"] = [each.id for each in known]


def studies_table(known: list[Known]) -> pd.DataFrame:
    """One row a study; why one cannot be opened is said where it is opened."""
    zone = reader_zone()
    return pd.DataFrame(
        {
            "Name": [visible(each.name) for each in known],
            "Done": [_done(each) for each in known],
            # Without a zone: it is the reader's own already.
            "Last change": pd.to_datetime(
                [each.changed.astimezone(zone).replace(tzinfo=None) for each in known]
            ),
            "Models": [", ".join(each.models) for each in known],
            "Methods": [", ".join(label_of(name) for name in each.methods) for each in known],
        }
    )


def _done(study: Known) -> str:
    if study.damaged:
        return "Damaged"
    told = f"{study.done:,} of {study.total:,}"
    return told if study.done < study.total else f"All {study.total:,}"


def _open() -> None:
    rows = st.session_state[_TABLE]["selection"]["rows"]
    listed: list[str] = st.session_state.get("studies listed", [])
    if rows and rows[0] < len(listed):
        show({"study": listed[rows[0]]})
