"""Study: a whole data set by several models and methods, and which method can be trusted."""

from __future__ import annotations

import streamlit as st

from components.keep import show
from components.plain import unformatted
from components.study_form import draw_form
from components.study_list import draw_list
from components.study_view import draw_study
from reagent_core.errors import ReagentError

st.title("What holds over many prompts?", anchor=False)
shown = st.query_params.get("study")
if shown is None:
    st.caption(
        "Explains every prompt of a data set by several methods, and measures whose explanations "
        "are the most faithful."
    )
    draw_form()
    with st.container():
        draw_list()
else:
    st.button(
        "New study, and all others", icon=":material/arrow_back:", type="tertiary",
        on_click=show, args=({},),
    )  # fmt: skip
    try:
        draw_study(shown)
    except ReagentError as error:
        st.error(unformatted(str(error)), icon=":material/error:")
