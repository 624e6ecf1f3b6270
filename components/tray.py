"""The job tray: this session's runs and checks on every page, and a word when one ends elsewhere.

Session state: `tray`, what is known of every run by its key, the one that ended last at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import streamlit as st

from components import methods_jobs, runs, study_jobs
from components.checks import Checking, progress_words
from components.methods_jobs import Comparing
from components.named import query_of
from components.navigation import link_to
from components.plain import plain_text, unformatted
from components.study_jobs import Studying
from reagent_core.wording import quoted

MOST_ENDED = 5
_LENGTH = 40


@dataclass(frozen=True)
class Listed:
    """One run in the tray. `prompt`: None while it is not known, which it may not be of a run
    asked for before a reload. `page` and `query`: where it was first seen, which `Open` opens.
    `error`: the sentence of a failed one. `what`: what else than an explanation of the prompt it
    is, said before it; of the work on a study its name stands in place of the prompt."""

    prompt: str | None
    page: str
    query: dict[str, str]
    state: Literal["waiting", "done", "failed"] = "waiting"
    error: str | None = None
    checks: bool = False
    what: Literal["", "Check of ", "Methods on ", "Study "] = ""

    @property
    def name(self) -> str:
        """The start of the prompt in quotation marks."""
        if self.prompt is None:
            return "A run"
        return f"{self.what}{quoted(self.prompt, _LENGTH)}"


def notice(page: str) -> None:
    """Bring the tray up to date. Of a run that has ended since the last look, and is not what
    `page`, the one in view, shows, a toast says so. Call it on every run of the script."""
    tray = _tray()
    for key in _in_view():
        runs.snapshot(key)  # looking at a run is waiting for it, on a page yet to be drawn, too
    jobs = {job.key: job for job in runs.of_session() if job.state != "cancelled"}
    for key, job in jobs.items():
        known = tray.get(key) or _listed(job)
        known = replace(known, prompt=known.prompt or _prompt(job))
        if key not in tray and key in _in_view():
            known = replace(known, page=page, query=st.query_params.to_dict())
        if job.state in ("queued", "running"):
            tray[key] = replace(known, state="waiting", error=None)
        elif key not in tray or known.state == "waiting":
            # What ended before a reload of the page, and was not asked for since, is no news.
            news = key in tray or runs.request_of(key) is not None
            state: Literal["done", "failed"] = "failed" if job.state == "failed" else "done"
            _end(key, replace(known, state=state, error=job.error), news)
    for key in [key for key in _waiting() if key not in jobs]:
        if runs.was_cancelled(key) or runs.stored(key) is None:
            del tray[key]
        else:  # so many have ended since the last look that the queue has forgotten it
            _end(key, replace(tray[key], state="done"), True)


def job_tray() -> None:
    """Draw the tray; it polls only while something is queued or running."""
    st.markdown("### Runs")
    st.fragment(_draw, run_every=1.0 if _waiting() else None)()


def _tray() -> dict[str, Listed]:
    tray: dict[str, Listed] = st.session_state.setdefault("tray", {})
    return tray


def _waiting() -> list[str]:
    return [key for key, run in _tray().items() if run.state == "waiting"]


def _in_view() -> set[str]:
    """The runs that the address names."""
    return {key for value in st.query_params.to_dict().values() for key in value.split(",")}


def _listed(job: runs.JobSnapshot[Any]) -> Listed:
    """A job that is new to the tray."""
    if isinstance(job.progress, Checking):
        query = query_of(job.progress.reference)
        return Listed(job.progress.prompt, "explain", query, what="Check of ")
    if isinstance(job.progress, Comparing):
        return Listed(job.progress.prompt, "methods", {"run": job.key}, what="Methods on ")
    if isinstance(job.progress, Studying):
        return Listed(job.progress.name, "study", {"study": job.key}, what="Study ")
    return Listed(None, "explain", {"run": job.key})


def _end(key: str, run: Listed, news: bool) -> None:
    _tray().pop(key, None)
    _tray()[key] = run
    shown = run.query.values() if run.what == "Check of " else [key]
    if not _in_view().isdisjoint(shown) or not news:
        return
    if run.state == "failed":
        text, icon = f"{run.name} failed. {run.error or ''}".strip(), ":material/error:"
    else:
        what = f"{run.name} is {'finished' if run.what else 'explained'}"
        text, icon = f"{what}. Open it under Runs.", ":material/check_circle:"
    st.toast(unformatted(text), icon=icon, duration="long")


def _prompt(job: runs.JobSnapshot[Any]) -> str | None:
    """What was asked, without the template of a chat."""
    if isinstance(job.progress, Checking | Comparing):
        return job.progress.prompt
    if isinstance(job.progress, Studying):
        return job.progress.name
    found = job.progress.explanation if job.progress else None
    request = runs.request_of(job.key) or (found.request if found else None)
    if request is None:
        return found.prompt if found else None
    return request.prompt if isinstance(request.prompt, str) else request.prompt[-1].content


def _draw() -> None:
    tray, jobs = _tray(), {job.key: job for job in runs.unfinished()}
    if set(jobs) != set(_waiting()):
        st.rerun()  # one has ended: the page, too, is drawn again, and polling may stop
    ended = [key for key, run in reversed(tray.items()) if run.state != "waiting"]
    if not tray:
        st.caption("Nothing is running.")
    for key, job in jobs.items():
        with st.container(gap="xsmall"):
            _name(key, replace(tray[key], prompt=tray[key].prompt or _prompt(job)))
            _progress(job)
            with st.container(horizontal=True, vertical_alignment="center"):
                _open(key)
                _cancel(key)
    for key in ended[:MOST_ENDED]:
        with st.container(gap="xsmall"):
            _name(key, tray[key])
            if tray[key].error:
                st.caption(f":material/error: {unformatted(tray[key].error or '')}")
            _open(key)


def _name(key: str, run: Listed) -> None:
    plain_text(run.name, key=f"tray {key}", size="note")


def _cancel(key: str) -> None:
    if _tray()[key].what == "Study ":
        st.button("Pause", key=f"stop {key}", on_click=study_jobs.pause, args=(key,))
    else:
        st.button("Cancel", key=f"stop {key}", on_click=runs.cancel, args=(key,))


def _open(key: str) -> None:
    run = _tray()[key]
    icons = {"waiting": None, "done": ":material/check_circle:", "failed": ":material/error:"}
    link_to(run.page, "Open", run.query, icon=icons[run.state], key=key)


def _progress(job: runs.JobSnapshot[Any]) -> None:
    if isinstance(job.progress, Checking):
        st.progress(*progress_words(job))
    elif isinstance(job.progress, Comparing):
        st.progress(*methods_jobs.progress_words(job))
    elif isinstance(job.progress, Studying):
        share, told = study_jobs.progress_words(job)
        st.progress(share, unformatted(told))
    elif job.state == "queued":
        st.progress(0.0, f"Waiting, place {job.position} in the queue")
    elif job.progress is None:
        st.progress(0.0, "Loading the model")
    else:
        done, total = job.progress.done, job.progress.total
        st.progress(min(1.0, done / max(1, total)), f"{done} of up to {total} steps")
