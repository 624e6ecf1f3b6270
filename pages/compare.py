"""Compare: 2 to 4 prompts (or models, settings, seeds) side by side, and what differs."""

from __future__ import annotations

import streamlit as st

from components.compare_form import draw_form, open_comparison
from components.compare_requests import fill
from components.compare_view import columns_of, draw_comparison, draw_progress
from components.examples import comparisons
from reagent_core.comparison import MOST

EXAMPLES = {",".join(each.examples): each.title for each in comparisons()}


def show_example() -> None:
    """Put the chosen comparison into the address; a second click on it changes nothing."""
    st.session_state["compare_problems"] = {}
    open_comparison(st.session_state["compare_example"] or st.query_params.get("runs", first()))
    st.session_state["compare_example"] = st.query_params["runs"]


def first() -> str:
    """What is compared where the address says nothing."""
    return next(iter(EXAMPLES))


def selected_words() -> list[int | None]:
    """`&words=0,2`: the word of each answer that a link has selected; None where it says none."""
    given = st.query_params.get("words", "")
    return [
        int(word) if word.isascii() and word.isdecimal() and len(word) < 6 else None
        for word in given.split(",")
    ]


st.title("What does another wording change?", anchor=False)
asked = st.query_params.get("runs", "")
references = [part.strip() for part in asked.split(",") if part.strip()] or first().split(",")
shown = ",".join(references)
columns = columns_of(references[:MOST])
if st.session_state.get("compare_seen") != shown:
    fill([column.explanation for column in columns])
    st.session_state["compare_seen"] = shown
    st.session_state["compare_example"] = shown if shown in EXAMPLES else None
draw_form()
st.pills(
    "Or look at a finished comparison",
    list(EXAMPLES),
    format_func=EXAMPLES.__getitem__,
    key="compare_example",
    on_change=show_example,
    persist_state=None,  # the address says what is shown
)
if len(references) > MOST:
    st.info(f"The link names {len(references)} runs; the first {MOST} are compared here.")
elif len(references) == 1:
    st.info("The link names one run; a comparison needs two or more, separated by commas.")
waiting = [column.reference for column in columns if column.waiting]
if waiting:
    st.fragment(draw_progress, run_every=1.0)(references[:MOST], waiting)
st.fragment(draw_comparison)(references[:MOST], selected_words())
