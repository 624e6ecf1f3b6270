"""Methods: one prompt, several attribution methods side by side, how faithful each is, its cost."""

from __future__ import annotations

import streamlit as st

from components import methods_jobs as jobs
from components import runs
from components.examples import methods_compared, methods_examples
from components.keep import show
from components.methods_form import PROBLEM, draw_form, fill
from components.methods_jobs import Comparing
from components.methods_list import draw_list
from components.methods_view import draw_compared, draw_found
from components.named import named
from components.plain import unformatted
from components.token_strip import chosen_token
from reagent_core.explanation import Explanation
from reagent_core.jobs import JobSnapshot
from reagent_core.request import AnswerTokens, Request, WholeAnswer
from reagent_core.strip import answer_words

EXAMPLES = {example.id: example.title for example in methods_examples()}


def show_example() -> None:
    """Put the chosen example into the address; a second click on it changes nothing."""
    st.session_state[PROBLEM] = None
    chosen = st.session_state["methods_example"] or st.query_params.get("example", first())
    show({"example": chosen})


def first() -> str:
    """What is shown where the address says nothing."""
    return next(iter(EXAMPLES))


def explained(explanation: Explanation, reference: str) -> Request | None:
    """What to compare methods on: the target of an explanation, of a whole answer the word that is
    chosen on Explain, else its first."""
    request = explanation.request
    if request is None or not isinstance(request.target, WholeAnswer):
        return request
    words, chosen = answer_words(explanation), chosen_token(f"answer {reference}")
    word = words[chosen if chosen is not None and chosen < len(words) else 0]
    target = AnswerTokens(start=word.token_start, stop=word.token_stop)
    return request.model_copy(update={"target": target})


def prefill(run: str | None, of: str | None, job: JobSnapshot[Comparing] | None) -> None:
    """Bring the form to what the address names, once."""
    if st.session_state.get("methods seen") == (run, of):
        return
    if run:
        kept = jobs.kept(run)
        asked = jobs.asked_of(kept) if kept is not None else None
        if job is not None and job.progress is not None:
            asked = job.progress.asked
        if asked is not None:
            fill(asked.request, asked)
    elif of and (explanation := named(of)) is not None:
        request = explained(explanation, of)
        if request is not None:
            fill(request)
    st.session_state["methods seen"] = (run, of)


def prefill_anyway() -> None:
    """Let what the address names take the place of what was typed."""
    st.session_state["methods_prompt"] = ""
    st.session_state["methods seen"] = None


def show_run(key: str, job: JobSnapshot[Comparing] | None) -> None:
    """A kept, running, stopped or failed comparison."""
    compared = jobs.kept(key)
    progress = job.progress if job else None
    problem = runs.why_not_kept()
    if compared is None and progress is not None and problem:
        compared = progress.compared
        st.warning(f"Not kept: {unformatted(problem)}", icon=":material/save:")
    if compared is not None:
        st.fragment(draw_compared)(compared, key, {"run": key})
        return
    if job is None or progress is None or progress.compared is not None:
        st.warning(
            unformatted(problem)
            if problem
            else "This comparison is not kept here any more, or one of its explanations was "
            "deleted. Compare again to make it anew.",
            icon=":material/link_off:",
        )
        return
    if job.state in ("queued", "running"):
        st.fragment(live, run_every=1.0)(key, len(progress.found), progress.judged)
    else:
        count = len(progress.found)
        many = "1 method" if count == 1 else f"{count} methods"
        why = "Stopped" if job.state == "cancelled" else "The comparison failed"
        st.info(
            f"{why} when {many} had ended. What they found is below"
            f"{'' if problem else ' and in the library'}; {untold(progress)}"
            if count
            else f"{why} before the first method had ended.",
            icon=":material/stop_circle:",
        )  # fmt: skip
    if progress.found:
        st.fragment(draw_found)(progress.found, key)


def untold(progress: Comparing) -> str:
    """What a comparison that ended early does not say of its methods."""
    if not progress.judged:
        return "how faithful it is was not told any more."
    return f"how faithful it is was told for {progress.judged} of them only."


def live(key: str, drawn: int, judged: int) -> None:
    """How far it is; the page is drawn again when a method has landed or was judged, or all is
    over."""
    job = jobs.job_of(key)
    if job is None or job.state not in ("queued", "running") or job.progress is None:
        st.rerun()
    if (len(job.progress.found), job.progress.judged) != (drawn, judged):
        st.rerun()
    bar, button = st.columns([6, 1], vertical_alignment="center")
    bar.progress(*jobs.progress_words(job))
    if runs.was_cancelled(key):
        shared = "Cancelled here; another session still waits for it."
        button.caption(shared if job.owners else "Stopping …")
    else:
        button.button(
            "Cancel", key="methods cancel", on_click=runs.cancel, args=(key,), width="stretch"
        )


st.title("Which method can you believe?", anchor=False)
run, of = st.query_params.get("run"), st.query_params.get("of")
job = jobs.job_of(run) if run else None
prefill(run, of, job)
failed = job is not None and job.state == "failed"
draw_form((job.error_field or "prompt", job.error or "") if job and failed else None)
# What the address names is what is chosen, however it came there.
wanted = st.query_params.get("example", "")
shown = wanted if wanted in EXAMPLES else first()
st.session_state["methods_example"] = None if run or of else shown
st.pills(
    "Or look at a finished comparison",
    list(EXAMPLES),
    format_func=EXAMPLES.__getitem__,
    key="methods_example",
    on_change=show_example,
    persist_state=None,  # the address says what is shown
)
if run:
    show_run(run, job)
elif of and (source := named(of)) is not None:
    typed = source.messages[-1].content if source.messages else source.prompt
    if st.session_state.get("methods_prompt") == typed:
        told = "The form has the prompt and the target. Press Compare."
        st.info(told, icon=":material/balance:")
    elif source.request is not None:
        st.info("The form holds another prompt than the one you come from.", icon=":material/edit:")
        st.button("Put the one I come from into the form", on_click=prefill_anyway)
else:
    st.fragment(draw_compared)(methods_compared(shown), shown, {"example": shown})
with st.container():
    draw_list(run)
