"""Convergence: has an explanation settled, and how did it get there?"""

from __future__ import annotations

import streamlit as st

from components import runs
from components.convergence_view import draw_convergence
from components.examples import examples, explanation_of
from components.keep import follow_address, show
from components.named import named, query_of
from components.plain import unformatted
from components.run_view import below_explanation, show_run
from reagent_core.request import Request
from reagent_core.wording import quoted

EXAMPLES = {example.id: example for example in examples()}
LABEL_LENGTH = 70


def in_address() -> str:
    """The reference this page shows: without one in the address, the first example."""
    run, example = st.query_params.get("run"), st.query_params.get("example")
    return run or (example if example in EXAMPLES else next(iter(EXAMPLES)))


def choices(shown: str) -> dict[str, str]:
    """What can be looked at: the examples, this session's runs and what is shown."""
    asked: dict[str, Request] = st.session_state.get("requests", {})
    labels: dict[str, str] = {}
    for key, request in reversed(asked.items()):
        label = prompt_of(request)
        # Streamlit tells options apart by what they read.
        labels[key] = f"{label} · {key[:6]}" if label in labels.values() else label
    if shown not in labels and shown not in EXAMPLES:
        kept = named(shown)
        labels[shown] = quoted(kept.prompt, LABEL_LENGTH) if kept else "A run that is not kept"
    return labels | {each.id: f"Example: {each.title}" for each in EXAMPLES.values()}


def prompt_of(request: Request) -> str:
    """The prompt as it was typed."""
    typed = request.prompt if isinstance(request.prompt, str) else request.prompt[-1].content
    return quoted(typed, LABEL_LENGTH)


def choose() -> None:
    """Put the choice into the address."""
    show(query_of(st.session_state["looked at"]))


st.title("Has it settled?", anchor=False)
shown = in_address()
labels = choices(shown)
follow_address("looked at", shown, labels[shown])  # which changes by the back button, too
st.selectbox(
    "Explanation", list(labels), format_func=labels.__getitem__, key="looked at", on_change=choose,
    persist_state=None,
)  # fmt: skip
if shown in EXAMPLES:
    explanation = explanation_of(shown)
    st.fragment(draw_convergence)(explanation, shown, EXAMPLES[shown].focus)
    below_explanation(explanation, "convergence", shown)
else:
    job = runs.snapshot(shown)
    if job is not None and job.state == "failed":
        st.error(unformatted(job.error or "This run failed."), icon=":material/error:")
    show_run(shown, job, "convergence", draw_convergence)
