"""The entry script of every session: page settings, navigation, and the job tray."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from components.runs import page_is_out
from components.tray import job_tray

_PAGES = Path(__file__).parent.parent / "pages"

st.set_page_config(page_title="ReAGent", page_icon=":material/mark_chat_read:", layout="wide")

# Streamlit leaves room for a toolbar that this app does not have.
st.html("<style>.stMainBlockContainer { padding-top: 2.5rem; max-width: 72rem; }</style>")

page = st.navigation(
    [
        st.Page(
            _PAGES / "explain.py",
            title="Explain",
            icon=":material/travel_explore:",
            url_path="explain",
            default=True,
        )
    ]
)
with st.sidebar:
    job_tray()
page.run()
page_is_out()
