"""Explain: pick a model, type a prompt, click a word of the answer, see which tokens made it."""

from __future__ import annotations

import streamlit as st

from components import runs
from components.cost import draw_cost
from components.examples import examples, explanation_of
from components.explanation_view import downloads, draw_explanation
from components.plain import unformatted
from components.run_view import show_run
from components.settings import (
    attributes_answer,
    chosen_config,
    chosen_length,
    chosen_target,
    draw_settings,
)
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


def asked() -> Request:
    """The run that the form asks for.

    Raises:
        ReagentError: something typed cannot be used.
    """
    prompt, chat = st.session_state["prompt"], st.session_state["mode"] == "Chat"
    check_text(prompt, "prompt")
    system = st.session_state.get("system", "").strip() if chat else ""
    turns = [Turn(role="system", content=system)] if system else []
    return Request(
        model=st.session_state["model"],
        prompt=(*turns, Turn(role="user", content=prompt)) if chat else prompt,
        target=chosen_target(),
        max_new_tokens=chosen_length(),
        attribute_answer=attributes_answer(),
        config=chosen_config(),
    )


def explain() -> None:
    """Start a run from what the form says now, or remember what is wrong with it."""
    st.session_state["problem"] = None
    if failure(runs.peek(st.query_params.get("run", ""))):
        st.query_params.clear()
    try:
        runs.open_run(runs.start(asked()))
    except ReagentError as error:
        field = error.field if isinstance(error, InputError) else "model"
        st.session_state["problem"] = (field, str(error))


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
            cost = st.container(width="content")
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
        with cost:
            draw_cost(asked)


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
