"""One run on a page: waiting, live, finished or stopped."""

from __future__ import annotations

import streamlit as st

from components import runs
from components.explanation_view import downloads, draw_explanation


def show_run(key: str, job: runs.JobSnapshot[runs.Progress] | None) -> None:
    """A stored, running or cancelled run; the sentence of a failed one stands in the form."""
    finished = runs.stored(key)
    if finished is None and job is not None and job.state == "done":
        finished = job.progress.explanation if job.progress else None  # the store keeps nothing
    if finished is not None:
        st.fragment(draw_explanation)(finished, key)
        more = finished.verdict.more_steps
        with st.container(horizontal=True, vertical_alignment="center"):
            downloads(finished, f"{st.context.url}?run={key}")
            if more and runs.request_of(key):
                steps = finished.verdict.steps + more
                st.button(f"Run {more} more steps", on_click=_continue, args=(key, steps))
    elif job is None:
        st.warning(
            "This explanation is not kept here any more. Type the prompt again to make it anew.",
            icon=":material/link_off:",
        )
    elif job.state in ("queued", "running"):
        st.fragment(_live, run_every=1.0)(key)
    elif job.progress is not None:
        part = job.progress
        why = "Stopped" if job.state == "cancelled" else "The run failed"
        st.info(
            f"{why} after {part.done} of up to {part.total} steps. What you see was found until "
            "then.",
            icon=":material/stop_circle:",
        )
        st.fragment(draw_explanation)(part.explanation, key)
        downloads(part.explanation)
    elif job.state == "cancelled":
        st.info("Stopped before the model had answered.", icon=":material/stop_circle:")


def _live(key: str) -> None:
    """The run as it is now; redrawn every second until it ends."""
    job = runs.snapshot(key)
    if job is None or job.state not in ("queued", "running"):
        st.rerun()
    progress = job.progress
    bar, button = st.columns([6, 1], vertical_alignment="center")
    if job.state == "queued":
        bar.progress(0.0, f"Waiting: place {job.position} in the queue")
    elif progress is None:
        bar.progress(
            0.0,
            f"Loading the model ({job.elapsed:.0f} s; the first time on a computer about half a "
            "minute)",
        )
    else:
        bar.progress(min(1.0, progress.done / max(1, progress.total)), _clock(progress))
    if runs.was_cancelled(key):
        shared = "Cancelled here; another session still waits for it."
        button.caption(shared if job.owners else "Stopping …")
    else:
        button.button("Cancel", key="cancel", on_click=runs.cancel, args=(key,), width="stretch")
    if progress is not None:
        draw_explanation(progress.explanation, key)


def _clock(progress: runs.Progress) -> str:
    """Steps, elapsed time and time left, in words."""
    passed = progress.explanation.seconds
    text = f"{progress.done} of up to {progress.total} steps · {passed:.0f} s"
    if not progress.done:
        narrowing = any(unit.coarse for unit in progress.explanation.units)
        return f"Looking where in a long prompt it matters · {passed:.0f} s" if narrowing else text
    left = passed / progress.done * (progress.total - progress.done)
    return f"{text} · about {left:.0f} s left" if left else f"{text} · last checks"


def _continue(key: str, steps: int) -> None:
    """The same run, some steps longer: the steps it has made are made again, bit for bit."""
    request = runs.request_of(key)
    if request is not None:
        longer = request.config.model_copy(update={"min_steps": steps, "max_steps": steps})
        runs.open_run(runs.start(request.model_copy(update={"config": longer})))
