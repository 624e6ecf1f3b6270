"""The one place where pages start, find and cancel runs.

Process-wide state: the job queue, the store and the models (`components.loaded_models`, whose
functions for pages are found here, too). Session state: this session's owner id. What a page shows
is named by the address (`?run=KEY` or `?example=ID`), so that every view has a link.
"""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import streamlit as st

from components.keep import show
from components.loaded_models import learn_from, ready
from components.local_mode import local_mode
from reagent_core import models
from reagent_core.errors import Cancelled, Interrupted
from reagent_core.explanation import Explanation
from reagent_core.jobs import Job, JobQueue, JobSnapshot, Work
from reagent_core.replacers.masked_models import replacer_model_info
from reagent_core.request import Request

if TYPE_CHECKING:
    from reagent_core.explain import Progress
    from reagent_core.store import Store

# Browsers let a hidden tab act once a minute.
_GRACE_S = 180.0


@st.cache_resource(show_spinner=False)
def job_queue() -> JobQueue:
    """All jobs of this server. One worker: a run fills all cores by itself."""
    return JobQueue(grace_s=_GRACE_S)


@st.cache_resource(show_spinner=False)
def explanation_store() -> Store:
    """The library: every finished explanation."""
    from reagent_core.store import Store

    return Store()


def library_is_imported() -> bool:
    """Whether the library can be asked at once. Importing SQLAlchemy for it takes a good part of a
    second, which the first content of a page does not wait for."""
    return "reagent_core.store" in sys.modules


def owner() -> str:
    """This session, as the job queue knows it."""
    if "owner" not in st.session_state:
        st.session_state["owner"] = uuid.uuid4().hex
    return str(st.session_state["owner"])


def adopt(kept: object) -> None:
    """Go on as the owner that this browser tab was before its page was loaded anew. What the
    session waits for already it waits for as that one. `kept` comes from the browser: anything
    that is no owner id changes nothing."""
    if isinstance(kept, str) and re.fullmatch("[0-9a-f]{32}", kept) and kept != owner():
        for job in job_queue().jobs_of(owner()):
            job_queue().join(job.key, kept)
            job_queue().cancel(job.key, owner())
        st.session_state["owner"] = kept


def start(request: Request, known: Explanation | None = None) -> str:
    """Queue a run, or join the equal one; returns its key.

    `known`: a run of the same request with another number of steps, which is gone on with (see
    `reagent_core.explain.explain`) and shown until there is more. Where none is given, what an
    equal run had found before it was stopped is gone on with.

    Raises:
        ReagentError: there is no such model, or the replacements need one that is not to be had.
    """
    models.resolve(request.model, urls_allowed=local_mode())
    info = models.model_info(request.model)
    key = request.key(info, replacer_model_info(request.config))
    ask_again(key)
    st.session_state.setdefault("requests", {})[key] = request
    explanation_store().revive(key)
    if stored(key) is None:
        left = peek(key)
        if known is None and left is not None and left.progress is not None:
            known = left.progress.explanation
        work = _work(request, key, explanation_store(), known)
        job_queue().submit(key, work, owner(), None if known is None else _shown(known, request))
    return key


def _shown(known: Explanation, request: Request) -> Progress:
    """What is known as the progress of a run that goes on with it."""
    from reagent_core.explain import Progress

    total = request.config.probes * request.config.max_steps
    return Progress(len(known.trace), total, _with_status(known, "running"))


def found_by(job: JobSnapshot[Progress]) -> Explanation | None:
    """What a job has found so far, None before there is anything.

    A job that ended before it could say so itself leaves a run that is cancelled, not running.
    """
    if job.progress is None:
        return None
    found = job.progress.explanation
    ended = job.state in ("cancelled", "failed") and found.status == "running"
    return _with_status(found, "cancelled") if ended else found


def _with_status(explanation: Explanation, status: str) -> Explanation:
    inner = {
        name: tuple(each.model_copy(update={"status": status}) for each in several)
        for name in ("explanations", "words")
        if (several := getattr(explanation, name)) is not None
    }
    return explanation.model_copy(update={"status": status, "interruption": None, **inner})


def open_run(key: str) -> None:
    """Put the run into the address, and no example."""
    show({"run": key})


def request_of(key: str) -> Request | None:
    """What this session asked for under this key."""
    asked: dict[str, Request] = st.session_state.get("requests", {})
    return asked.get(key)


def stored(key: str) -> Explanation | None:
    """The finished explanation of this key, if it was kept."""
    # Asked each time: another process may have deleted it, or put another in its place.
    checksum = explanation_store().checksum(key)
    try:
        return None if checksum is None else _from_store(key, checksum)
    except LookupError:
        return None


def forget(key: str) -> None:
    """What was deleted is not shown from its run either."""
    job_queue().forget(key)


def why_not_kept() -> str | None:
    """Why no explanation can be kept, in a sentence; None where all is well."""
    return explanation_store().problem()


@st.cache_resource(show_spinner=False, max_entries=8)
def _from_store(key: str, checksum: str) -> Explanation:
    explanation = explanation_store().get(key)
    if explanation is None:
        raise LookupError(key)  # not cached: it may be there a moment later
    return explanation


def snapshot(key: str) -> JobSnapshot[Progress] | None:
    """The job of this key as it is now. Looking at it is waiting for it, unless it was cancelled
    here: then it ends, or goes on for another session."""
    if was_cancelled(key):
        return peek(key)
    return _run(job_queue().join(key, owner()))


def peek(key: str) -> JobSnapshot[Progress] | None:
    """The job of this key as it is now, without waiting for it."""
    return _run(job_queue().get(key))


def _run(job: Job[Any] | None) -> JobSnapshot[Progress] | None:
    """The job as it is now, if it is a run: an address may name a check or a comparison as one."""
    now = None if job is None else job.snapshot()
    if now is not None and now.progress is not None and not hasattr(now.progress, "explanation"):
        return None
    return now


def of_session() -> list[JobSnapshot[Any]]:
    """This session's jobs, oldest first: queued, running, and those that ended not long ago,
    but for those it has cancelled. Also tells the queue that the session is alive."""
    job_queue().heartbeat(owner())
    jobs: list[Job[Any]] = job_queue().jobs_of(owner())
    return [job.snapshot() for job in jobs]


def unfinished() -> list[JobSnapshot[Any]]:
    """This session's queued and running jobs."""
    return [job for job in of_session() if job.state in ("queued", "running")]


def cancel(key: str) -> None:
    """This session no longer waits for the run; it stops when nobody does."""
    st.session_state.setdefault("cancelled", set()).add(key)
    job_queue().cancel(key, owner())


def ask_again(key: str) -> None:
    """Forget that this session has cancelled the job."""
    st.session_state.setdefault("cancelled", set()).discard(key)


def was_cancelled(key: str) -> bool:
    """Whether this session has cancelled the run and not asked for it again."""
    return key in st.session_state.get("cancelled", set())


def _work(
    request: Request, key: str, store: Store, known: Explanation | None
) -> Work[Progress]:
    def work(cancelled: Callable[[], bool]) -> Iterator[Progress]:
        from reagent_core.explain import explain

        scorer = ready(request.model)
        if cancelled():
            raise Cancelled("Stopped before the model had answered.")
        for progress in explain(request, scorer, cancelled, known=known):
            yield progress
        if progress.explanation.interruption:
            raise Interrupted(progress.explanation.interruption)
        if progress.explanation.status == "complete":
            store.put(key, progress.explanation)
            if known is None:
                learn_from(request, progress.explanation.seconds)

    return work
