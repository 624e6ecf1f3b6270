"""Explain: pick a model, type a prompt, click a word of the answer, see which tokens made it."""

from __future__ import annotations

import streamlit as st

from components import runs
from components.examples import examples, explanation_of
from components.explanation_view import downloads, draw_explanation
from components.plain import unformatted
from components.settings import chosen_config, chosen_length, chosen_target, draw_settings
from reagent_core.errors import InputError, ReagentError
from reagent_core.explanation import Turn
from reagent_core.models import CATALOGUE
from reagent_core.prompt import check_text
from reagent_core.request import Request

EXAMPLES = {example.id: example for example in examples()}


def show_example() -> None:
    """Put the chosen example into the address; a second click on it changes nothing."""
    st.session_state["problem"] = None
    chosen = st.session_state["example"] or st.query_params.get("example", next(iter(EXAMPLES)))
    st.session_state["example"] = chosen
    st.query_params.clear()
    st.query_params["example"] = chosen


def explain() -> None:
    """Start a run from what the form says now, or remember what is wrong with it."""
    st.session_state["problem"] = None
    if failure(runs.peek(st.query_params.get("run", ""))):
        st.query_params.clear()
    prompt, chat = st.session_state["prompt"], st.session_state["mode"] == "Chat"
    try:
        check_text(prompt, "prompt")
        system = st.session_state.get("system", "").strip() if chat else ""
        turns = [Turn(role="system", content=system)] if system else []
        request = Request(
            model=st.session_state["model"],
            prompt=(*turns, Turn(role="user", content=prompt)) if chat else prompt,
            target=chosen_target(),
            max_new_tokens=chosen_length(),
            config=chosen_config(),
        )
        show(runs.start(request))
    except ReagentError as error:
        field = error.field if isinstance(error, InputError) else "model"
        st.session_state["problem"] = (field, str(error))


def continue_run(key: str, more: int) -> None:
    """The same run, some steps longer: the steps it has made are made again, bit for bit."""
    request = runs.request_of(key)
    if request is not None:
        steps = request.config.max_steps + more
        longer = request.config.model_copy(update={"min_steps": steps, "max_steps": steps})
        show(runs.start(request.model_copy(update={"config": longer})))


def show(key: str) -> None:
    """Put the run into the address."""
    st.query_params.clear()
    st.query_params["run"] = key
    st.session_state["example"] = None


def failure(job: runs.JobSnapshot[runs.Progress] | None) -> tuple[str, str] | None:
    """Field and sentence of a run that failed."""
    if job is None or job.state != "failed":
        return None
    return job.error_field or "prompt", job.error or ""


def complain(field: str) -> None:
    """The sentence about this input, if it is the one in the way."""
    problem = st.session_state.get("problem")
    if problem and problem[0] == field:
        st.error(unformatted(problem[1]), icon=":material/error:")


def form() -> None:
    """Prompt box, model, one button; everything else is under Advanced."""
    with st.container(border=True):
        st.text_area(
            "Your prompt",
            key="prompt",
            height=80,
            placeholder="The capital of France is",
        )
        complain("prompt")
        complain("file")
        row = st.container(horizontal=True, vertical_alignment="bottom")
        with row:
            mode = st.segmented_control(
                "Prompt is", ["Plain text", "Chat"], default="Plain text", key="mode",
                required=True, label_visibility="collapsed",
            )  # fmt: skip
            names = {entry.id: entry.name for entry in CATALOGUE}
            st.selectbox(
                "Model", list(names), format_func=names.__getitem__, key="model", width=320,
                label_visibility="collapsed",
            )  # fmt: skip
            button = st.container(width="content")
        complain("model")
        # Written back, so that it outlives a look at plain text, where there is no such field.
        st.session_state["system"] = st.session_state.get("system", "")
        if mode == "Chat":
            st.text_input("System turn (never replaced)", key="system")
            complain("system")
        problem = st.session_state.get("problem")
        open_settings = bool(problem and problem[0] in ("settings", "target"))
        with st.expander("Advanced", expanded=open_settings, icon=":material/tune:"):
            complain("target")
            complain("settings")
            draw_settings()
        button.button("Explain", type="primary", on_click=explain)


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
                st.button(f"Run {more} more steps", on_click=continue_run, args=(key, more))
    elif job is None:
        st.warning(
            "This explanation is not kept here any more. Type the prompt again to make it anew.",
            icon=":material/link_off:",
        )
    elif job.state in ("queued", "running"):
        st.fragment(live, run_every=1.0)(key)
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


def live(key: str) -> None:
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
        bar.progress(min(1.0, progress.done / max(1, progress.total)), clock(progress))
    if runs.was_cancelled(key):
        shared = "Cancelled here; another session still waits for it."
        button.caption(shared if job.owners else "Stopping …")
    else:
        button.button("Cancel", key="cancel", on_click=runs.cancel, args=(key,), width="stretch")
    if progress is not None:
        draw_explanation(progress.explanation, key)


def clock(progress: runs.Progress) -> str:
    """Steps, elapsed time and time left, in words."""
    passed = progress.explanation.seconds
    text = f"{progress.done} of up to {progress.total} steps · {passed:.0f} s"
    if not progress.done:
        return text
    left = passed / progress.done * (progress.total - progress.done)
    return f"{text} · about {left:.0f} s left" if left else f"{text} · last checks"


st.title("Which words made it say that?", anchor=False)
run = st.query_params.get("run")
# One look at the job for the whole page: it may end while the page is drawn.
job = runs.snapshot(run) if run else None
st.session_state["problem"] = failure(job) or st.session_state.get("problem")
form()
if "example" not in st.session_state:
    wanted = st.query_params.get("example")
    first = next(iter(EXAMPLES))
    st.session_state["example"] = None if run else wanted if wanted in EXAMPLES else first
st.pills(
    "Or look at a finished example",
    list(EXAMPLES),
    format_func=lambda example: EXAMPLES[example].title,
    key="example",
    on_change=show_example,
)
if run:
    show_run(run, job)
elif st.session_state["example"]:
    example = EXAMPLES[st.session_state["example"]]
    explanation = explanation_of(example.id)
    st.fragment(draw_explanation)(explanation, example.id, example.focus)
    downloads(explanation, f"{st.context.url}?example={example.id}")
