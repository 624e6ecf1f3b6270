"""The entry script of every session: page settings, navigation, and the job tray."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from components.keep import restore_address
from components.loaded_models import page_is_out
from components.navigation import all_pages, link_to, name_of
from components.same_tab import keep_owner
from components.tray import job_tray, notice

ASSETS = Path(__file__).parent.parent / "assets"

# A file of ours: the browser would ask a stranger's server for one of Streamlit's named icons.
st.set_page_config(page_title="ReAGent", page_icon=ASSETS / "icon.svg", layout="wide")

st.html(ASSETS / "app.css")

page = st.navigation(all_pages())
name = name_of(page)
restore_address(page.url_path, name)
notice(name)
with st.sidebar:
    job_tray()
    st.markdown("### How it works")
    st.markdown(
        "ReAGent replaces parts of your prompt, in random order and by other words, and watches "
        "how likely the model's own answer stays. What the answer cannot do without is "
        "coloured.\n\n"
        "A colour says that a word *mattered to this model here*. It does not say that the answer "
        "is right, or why the model was built to think so."
    )
    link_to("method", "Watch it work, step by step", {})
    keep_owner()
try:
    page.run()
finally:  # a page may end early by asking to be drawn again
    page_is_out()
