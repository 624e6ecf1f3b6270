"""The job tray: what this session is waiting for, on every page."""

from __future__ import annotations

import streamlit as st

from components.runs import cancel, unfinished


def job_tray() -> None:
    """Draw the tray; it polls only while something is queued or running."""
    st.markdown("### Runs")
    st.fragment(_tray, run_every=1.0 if unfinished() else None)()
    st.markdown("### How it works")
    st.markdown(
        "ReAGent replaces random parts of your prompt and watches how likely the model's own "
        "answer stays. What the answer cannot do without is coloured.\n\n"
        "A colour says that a word *mattered to this model here*. It does not say that the answer "
        "is right, or why the model was built to think so."
    )


def _tray() -> None:
    jobs = unfinished()
    if not jobs:
        st.caption("Nothing is running.")
    for job in jobs:
        progress = job.progress
        if job.state == "queued":
            st.caption(f"Waiting, place {job.position} in the queue")
        elif progress is None:
            st.caption("Loading the model")
        else:
            st.progress(progress.done / max(1, progress.total), f"{progress.done} steps")
        st.button("Cancel", key=f"tray {job.key}", on_click=cancel, args=(job.key,))
