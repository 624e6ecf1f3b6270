"""Explain: pick a model, type a prompt, click a word of the answer, see which tokens made it."""

from __future__ import annotations

import streamlit as st

from components import runs
from components.cost import draw_cost
from components.examples import examples, explanation_of
from components.explanation_view import draw_explanation
from components.keep import follow_address, show
from components.model_picker import chosen_model, draw_model_note, draw_model_picker
from components.plain import unformatted
from components.run_view import below_explanation, show_run
from components.settings import (
    attributes_answer,
    chosen_config,
    chosen_length,
    chosen_target,
    draw_settings,
)
from reagent_core.errors import InputError, ReagentError
from reagent_core.prompt import check_text
from reagent_core.request import Request, Turn

EXAMPLES = {example.id: example for example in examples()}


def show_example() -> None:
    """Put the chosen example into the address; a second click on it changes nothing."""
    st.session_state["problem"] = None
    chosen = st.session_state["example"] or st.query_params.get("example", next(iter(EXAMPLES)))
    show({"example": chosen})


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
        model=chosen_model(),
        prompt=(*turns, Turn(role="user", content=prompt)) if chat else prompt,
        target=chosen_target(),
        max_new_tokens=chosen_length(),
        attribute_answer=attributes_answer(),
        config=chosen_config(),
    )


def explain() -> None:
    """Start a run from what the form says now, or remember what is wrong with it."""
    st.session_state["problem"] = None
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
            persist_state="session",
        )
        with st.container():
            complain("prompt")
        row = st.container(horizontal=True, vertical_alignment="bottom")
        with row:
            mode = st.segmented_control(
                "Prompt is", ["Plain text", "Chat"], default="Plain text", key="mode",
                required=True, label_visibility="collapsed", persist_state="session",
            )  # fmt: skip
            draw_model_picker()
            button = st.container(width="content")
            cost = st.container(width="content")
        # What comes and goes stays in here: settings that move down the page would close.
        with st.container():
            draw_model_note()
            complain("model")
            if mode == "Chat":
                st.text_input(
                    "System turn (never replaced)", key="system", persist_state="session"
                )
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
st.session_state["problem"] = st.session_state.get("problem") or failure(job)
form()
wanted = st.query_params.get("example", "")
first = next(iter(EXAMPLES))
follow_address("example", None if run else wanted if wanted in EXAMPLES else first)
st.pills(
    "Or look at a finished example",
    list(EXAMPLES),
    format_func=lambda example: EXAMPLES[example].title,
    key="example",
    on_change=show_example,
    persist_state=None,
)
if run:
    show_run(run, job, "explain")
elif st.session_state["example"]:
    example = EXAMPLES[st.session_state["example"]]
    explanation = explanation_of(example.id)
    st.fragment(draw_explanation)(explanation, example.id, example.focus)
    below_explanation(explanation, "explain", example.id)
