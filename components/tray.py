"""The job tray: what this session is waiting for, on every page."""

from __future__ import annotations

import streamlit as st

from components.plain import plain_text
from components.runs import cancel, open_run, unfinished
from reagent_core.wording import quoted


def job_tray() -> None:
    """Draw the tray; it polls only while something is queued or running."""
    st.markdown("### Runs")
    st.fragment(_tray, run_every=1.0 if unfinished() else None)()
    st.markdown("### How it works")
    st.markdown(
        "ReAGent replaces parts of your prompt, in random order and by other words, and watches "
        "how likely the model's own answer stays. What the answer cannot do without is "
        "coloured.\n\n"
        "A colour says that a word *mattered to this model here*. It does not say that the answer "
        "is right, or why the model was built to think so."
    )


def _tray() -> None:
    jobs = unfinished()
    if not jobs and st.session_state.get("tray"):
        st.session_state["tray"] = False
        st.rerun()  # the last run has ended: stop polling
    st.session_state["tray"] = bool(jobs)
    if not jobs:
        st.caption("Nothing is running.")
    for job in jobs:
        progress = job.progress
        if progress is not None:
            plain_text(quoted(progress.explanation.prompt, 40), key=f"tray prompt {job.key}")
            st.progress(progress.done / max(1, progress.total), f"{progress.done} steps")
        elif job.state == "queued":
            st.caption(f"Waiting, place {job.position} in the queue")
        else:
            st.caption("Loading the model")
        with st.container(horizontal=True):
            if st.button("Open", key=f"open {job.key}", on_click=open_run, args=(job.key,)):
                st.rerun()  # the page, too, not only the tray
            st.button("Cancel", key=f"stop {job.key}", on_click=cancel, args=(job.key,))
