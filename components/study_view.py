"""One study on its page: how far it is, what it says, its prompts, and files to take away.

Session state: `study work problem`, why a study could not be gone on with; `study pausing`, the
one that was paused here and has not ended yet; `study name wanted`, which one was started here
last, and by which name.
"""

from __future__ import annotations

import streamlit as st

from components import study_jobs
from components.plain import plain_text, unformatted
from components.study_downloads import draw_downloads
from components.study_results import draw_results
from components.study_rows import draw_row, draw_rows
from reagent_core.baselines.methods import label_of
from reagent_core.config import preset_of
from reagent_core.errors import ReagentError
from reagent_core.study.plan import Outcome, Study, Task, made_before
from reagent_core.wording import quoted

# While it is worked on, so often; a table of many rows takes longer to send.
_EVERY_S, _ROWS_AT_ONCE = 2.0, 1000
_PROBLEM, PAUSING, WANTED_NAME = "study work problem", "study pausing", "study name wanted"


def draw_study(study_id: str) -> None:
    """Everything under the way back to the list.

    Raises:
        ReagentError: there is no such study, or it cannot be read.
    """
    study = study_jobs.study_of(study_id)
    plain_text(study.name, key=f"study name {study_id}", size="headline")
    plain_text(_plan(study), key=f"study plan {study_id}", size="note")
    wanted_id, wanted = st.session_state.get(WANTED_NAME, ("", ""))
    if wanted_id == study_id and wanted != study.name:
        told = f"This study was here already, under this name and not as {quoted(wanted)}."
        st.caption(f":material/label: {unformatted(told)}")
    working = study_jobs.is_working(study_jobs.job_of(study_id))
    # One place for what is drawn again every few seconds, and for what stands still.
    every = _EVERY_S * (1 + len(study_jobs.outcomes_of(study_id)) // _ROWS_AT_ONCE)
    st.fragment(_draw_all, run_every=every if working else None)(study_id, working)


def _plan(study: Study) -> str:
    """What is done, in a line: prompts, models, methods, settings."""
    count = len(study.rows)
    preset = preset_of(study.config)
    told = [
        f"{count:,} prompt{'s' if count > 1 else ''}",
        ", ".join(study.models),
        ", ".join(label_of(method) for method in study.methods),
        f"preset {preset}" if preset else "settings of its own",
        f"{study.config.granularity}s, explained with replacements by {study.config.replacer}",
        f"seed {study.config.seed}",
    ]
    return " · ".join([*told, "as chat turns"] if study.chat else told)


def _draw_all(study_id: str, was_working: bool) -> None:
    job = study_jobs.job_of(study_id)
    working = study_jobs.is_working(job)
    if was_working != working:
        st.rerun()  # polling stops, or starts
    try:
        study, outcomes = study_jobs.study_of(study_id), study_jobs.outcomes_of(study_id)
    except ReagentError as error:  # it was damaged or removed meanwhile
        st.error(unformatted(str(error)), icon=":material/error:")
        return
    with st.container():
        _progress(study, outcomes, job)
    if outcomes:
        draw_results(study, live=working)
    st.markdown("**The prompts**")
    st.caption("Select a row to see what every method found in it.")
    chosen = draw_rows(study, outcomes)
    with st.container():
        if chosen is not None:
            draw_row(study, chosen)
    if outcomes:
        draw_downloads(study)


def _progress(
    study: Study,
    outcomes: tuple[Outcome, ...],
    job: study_jobs.JobSnapshot[study_jobs.Studying] | None,
) -> None:
    """How far it is, and the button that pauses it or goes on with it."""
    total, done = len(study.rows) * len(study.models), len(outcomes)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    bar, button = st.columns([5, 1], vertical_alignment="center")
    if job is not None and study_jobs.is_working(job):
        share, told = study_jobs.progress_words(job)
        bar.progress(share, unformatted(told))
        if st.session_state.get(PAUSING) == study.id:
            button.caption("Stopping …")
        else:
            button.button(
                "Pause", icon=":material/pause:", key="pause study", width="stretch",
                on_click=_pause, args=(study.id,),
            )  # fmt: skip
        st.caption(
            "It goes on while a tab shows this app, and 3 minutes longer; other runs go first. "
            "What is done is kept, and a study that was stopped can be resumed at any time."
        )
        return
    st.session_state[PAUSING] = None
    words = f"{done:,} of {total:,} done" + (f" · {failed:,} failed" if failed else "")
    if done < total:
        bar.progress(done / total, f"Paused · {words}")
        button.button(
            "Resume", icon=":material/resume:", key="resume study", type="primary",
            width="stretch", on_click=_resume, args=(study.id,),
        )  # fmt: skip
        _say_what_goes_with_it(made_before(study, outcomes))
    elif failed:
        bar.progress(1.0, words)
        button.button(
            "Retry failed", icon=":material/refresh:", key="retry study", width="stretch",
            on_click=_resume, args=(study.id, True),
        )  # fmt: skip
        well = [outcome for outcome in outcomes if outcome.status == "done"]
        _say_what_goes_with_it(made_before(study, well))
    else:
        bar.caption(f":material/check_circle: {words}")
    problem = st.session_state.get(_PROBLEM, {}).get(study.id)
    if problem := problem or (job.error if job is not None else None):
        st.error(unformatted(problem), icon=":material/error:")


def _say_what_goes_with_it(again: set[Task]) -> None:
    if again:
        from reagent_core.study.words import again_words

        st.caption(again_words(len(again)))


def _pause(study_id: str) -> None:
    st.session_state[PAUSING] = study_id
    study_jobs.pause(study_id)


def _resume(study_id: str, retry_failed: bool = False) -> None:
    st.session_state[_PROBLEM] = {}
    st.session_state[PAUSING] = None
    try:
        study_jobs.resume(study_id, retry_failed=retry_failed)
    except ReagentError as error:
        st.session_state[_PROBLEM] = {study_id: str(error)}
