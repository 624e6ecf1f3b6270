"""One run on a page: waiting, live, finished or stopped."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from components import runs
from components.downloads import downloads
from components.examples import examples
from components.explanation_view import draw_explanation
from components.named import named, query_of
from components.navigation import address_of, link_to
from components.plain import unformatted
from reagent_core.baselines.methods import REAGENT
from reagent_core.errors import InputError, ReagentError
from reagent_core.explanation import Explanation
from reagent_core.longer import MORE_STEPS, goes_on_to_its_test, longer, steps_made
from reagent_core.request import Request

# Draws an explanation under the name that tells it from others.
Draw = Callable[[Explanation, str], None]
# From the pages that show one explanation to what the other one shows of it.
_SISTERS = {
    "explain": ("convergence", "See how it settled"),
    "convergence": ("explain", "See what it found"),
}


def below_explanation(explanation: Explanation, page: str, reference: str | None) -> None:
    """Downloads with the link to this `page`, the way to its sister page, and more steps.
    `reference`: by what the explanation can be found again, None if it is not kept."""
    if reference is None:
        downloads(explanation)
        return
    query = query_of(reference)
    sister, label = _SISTERS[page]
    with st.container(horizontal=True, vertical_alignment="center"):
        downloads(explanation, address_of(page, query))
        if page == "explain":
            link_to("methods", "Compare methods", {"of": reference})
        if explanation.method == REAGENT:  # others take no steps
            link_to(sister, label, query)
            more_steps_button(reference, explanation)


def show_run(
    key: str,
    job: runs.JobSnapshot[runs.Progress] | None,
    page: str,
    draw: Draw = draw_explanation,
) -> None:
    """A stored, running or cancelled run; the sentence of a failed one is left to the page."""
    finished = named(key)
    if finished is None and job is not None and job.state == "done":
        finished = job.progress.explanation if job.progress else None  # the store keeps nothing
        if problem := runs.why_not_kept():
            st.warning(f"Not kept: {unformatted(problem)}", icon=":material/save:")
    if finished is not None:
        st.fragment(draw)(finished, key)
        below_explanation(finished, page, key)
    elif job is None:
        problem = runs.why_not_kept()
        st.warning(
            unformatted(problem)
            if problem
            else "This explanation is not kept here any more. Type the prompt again to make it "
            "anew.",
            icon=":material/link_off:",
        )
    elif job.state in ("queued", "running"):
        st.fragment(_live, run_every=1.0)(key, draw)
    elif job.progress is not None and (part := runs.found_by(job)) is not None:
        why = "Stopped" if job.state == "cancelled" else "The run failed"
        again = (
            " What was said of replaced prompts is not asked for again."
            if part.status == "interrupted"
            else ""
        )
        st.info(
            f"{why} after {job.progress.done} of up to {job.progress.total} steps. What you see "
            f"was found until then.{again}",
            icon=":material/stop_circle:",
        )
        if part.request is not None:
            st.button("Go on", icon=":material/resume:", on_click=_go_on, args=(key, part))
            _cannot_go_on(key)
        st.fragment(draw)(part, key)
        below_explanation(part, page, None)
    elif job.state == "cancelled":
        st.info("Stopped before the model had answered.", icon=":material/stop_circle:")


def _live(key: str, draw: Draw) -> None:
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
            f"Loading the model ({job.elapsed:.0f} s; one that is new here is downloaded or "
            "converted first)",
        )
    else:
        bar.progress(min(1.0, progress.done / max(1, progress.total)), _clock(progress))
    if runs.was_cancelled(key):
        shared = "Cancelled here; another session still waits for it."
        button.caption(shared if job.owners else "Stopping …")
    else:
        button.button("Cancel", key="cancel", on_click=runs.cancel, args=(key,), width="stretch")
    if progress is not None:
        draw(progress.explanation, key)


def _clock(progress: runs.Progress) -> str:
    """Steps, elapsed time and time left, in words."""
    passed = progress.explanation.seconds
    text = f"{progress.done} of up to {progress.total} steps · {passed:.0f} s"
    if not progress.done:
        narrowing = any(unit.coarse for unit in progress.explanation.units)
        return f"Looking where in a long prompt it matters · {passed:.0f} s" if narrowing else text
    left = passed / progress.done * (progress.total - progress.done)
    return f"{text} · about {left:.0f} s left" if left else f"{text} · last checks"


def more_steps_button(key: str, explanation: Explanation) -> None:
    """Go on with a finished explanation (see `reagent_core.longer`); the longer run then is what
    the page's address names. `key` is the reference that names the explanation (see
    `components.named`). One that came in as a file is asked for from the start: it may hold any
    numbers, and what is kept under the key of a run was computed here."""
    request, how = None, _how(key, explanation)
    try:
        request = longer(explanation)
    except InputError as error:
        how = str(error)
    st.button(
        f"Run {MORE_STEPS} more steps",
        key=f"more steps {key}",
        icon=":material/more_time:",
        help=how,
        disabled=request is None,
        on_click=_continue,
        args=(key, explanation, request),
    )
    _cannot_go_on(key)


def _cannot_go_on(key: str) -> None:
    """The sentence of a run that could not be started again."""
    problem = st.session_state.pop(f"no more steps {key}", None)
    if problem:
        st.error(unformatted(problem), icon=":material/error:")


def _how(key: str, explanation: Explanation) -> str:
    told = "It came in as a file, so all of its steps are computed here first."
    if _made_here(key, explanation):
        told = f"After the {steps_made(explanation)} steps it has: none is computed again."
    if goes_on_to_its_test(explanation):
        return f"{told} A probe ends where it passes the stop test, as before."
    return told


def _made_here(key: str, explanation: Explanation) -> bool:
    """Whether it was computed here, or is an example of ours: not so a file that was imported,
    which no key of a request names."""
    request = explanation.request
    if request is None:
        return False
    own = request.key(explanation.model, explanation.replacer_model)
    return key == own or any(example.id == key for example in examples())


def _continue(key: str, explanation: Explanation, request: Request) -> None:
    """Start the longer run from what is known."""
    _start(key, request, explanation if _made_here(key, explanation) else None)


def _go_on(key: str, part: Explanation) -> None:
    """Take a run that has been stopped up again."""
    assert part.request is not None  # or there is no button
    _start(key, part.request, part)


def _start(key: str, request: Request, known: Explanation | None) -> None:
    try:
        runs.open_run(runs.start(request, known))
    except ReagentError as error:
        st.session_state[f"no more steps {key}"] = str(error)
