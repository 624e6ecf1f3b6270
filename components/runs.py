"""The one place where pages start, find and cancel runs.

Process-wide state: the job queue, the store, the models with their speed, and how far the last
estimates were off. Session state: this session's owner id. What a page shows is named by the
address (`?run=KEY` or `?example=ID`), so that every view has a link.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any

import streamlit as st

from reagent_core import models
from reagent_core.errors import Cancelled, ReagentError
from reagent_core.explanation import Explanation
from reagent_core.jobs import Job, JobQueue, JobSnapshot, Work
from reagent_core.request import Request

if TYPE_CHECKING:
    from reagent_core.cost import Cost, Speed
    from reagent_core.explain import Progress
    from reagent_core.scorers.transformers_lm import TransformersScorer
    from reagent_core.store import Store

log = logging.getLogger(__name__)

# Importing torch keeps a core busy for seconds: it waits for the first page to be out, or for this
# long when nobody comes.
_WARM_UP_PATIENCE_S = 20.0
_page_is_out = threading.Event()

# Models that are in memory and whose speed is known.
_ready: set[str] = set()

# What the last runs took, as multiples of what they were said to take.
_errors: deque[float] = deque(maxlen=5)

# Browsers let a hidden tab act once a minute.
_GRACE_S = 180.0


@st.cache_resource(show_spinner=False)
def job_queue() -> JobQueue:
    """All jobs of this server. One worker: a run fills all cores by itself."""
    return JobQueue(grace_s=_GRACE_S)


@st.cache_resource(show_spinner=False)
def explanation_store() -> Store:
    """Every finished explanation, on disk."""
    from reagent_core.store import Store

    return Store()


@cache
def load_model(model_id: str) -> TransformersScorer:
    """The model, loaded once.

    Raises:
        ReagentError: it cannot be loaded; the sentence says why.
    """
    scorer = models.load(model_id)
    # Streamlit runs a full garbage collection after every script run, once a second in a live
    # view. With torch and transformers in memory that took half of the processor; objects that
    # stay for good need not be looked at again.
    gc.collect()
    gc.freeze()
    return scorer


@cache
def speed_of(model_id: str) -> Speed:
    """How fast a loaded model is here, measured once."""
    from reagent_core.cost import measure_speed

    return measure_speed(load_model(model_id))


def models_ready() -> bool:
    """Whether there is a model whose speed is known."""
    return bool(_ready)


def cost_of(request: Request) -> Cost | None:
    """What the run would cost, None while the model is not ready to say.

    Raises:
        ReagentError: there is no such run; the sentence says why.
    """
    if request.model not in _ready:
        return None
    from reagent_core.cost import estimate
    from reagent_core.prompt import build_prompt

    scorer = load_model(request.model)
    config = request.config
    prompt = build_prompt(request.prompt, scorer.tokenizer, config.granularity, request.protected)
    cost = estimate(prompt, request, scorer, speed_of(request.model))
    return replace(cost, seconds=cost.seconds * (median(_errors) if _errors else 1.0))


def warm_up() -> None:
    """Load the bundled model in the background, so that the first run need not wait for it."""

    def load() -> None:
        import components.run_view  # noqa: F401  (what the first page is drawn with)

        _page_is_out.wait(_WARM_UP_PATIENCE_S)
        time.sleep(1.0)  # the browser draws it, often on the same machine
        try:
            import reagent_core.explain  # noqa: F401  (SciPy takes a second of its own)

            load_model("bundled")
            speed_of("bundled")
            _ready.add("bundled")
        except ReagentError as error:
            log.warning("%s", error)

    threading.Thread(target=load, name="warm-up", daemon=True).start()


def page_is_out() -> None:
    """Tell the warm-up that a first page has been drawn."""
    _page_is_out.set()


def owner() -> str:
    """This session, as the job queue knows it."""
    if "owner" not in st.session_state:
        st.session_state["owner"] = uuid.uuid4().hex
    return str(st.session_state["owner"])


def start(request: Request) -> str:
    """Queue a run, or join the equal one; returns its key.

    Raises:
        ReagentError: there is no such model.
    """
    key = request.key(models.model_info(request.model))
    st.session_state.setdefault("cancelled", set()).discard(key)
    st.session_state.setdefault("requests", {})[key] = request
    if stored(key) is None:
        job_queue().submit(key, _work(request, key, explanation_store()), owner())
    return key


def open_run(key: str) -> None:
    """Put the run into the address, and no example."""
    st.query_params.clear()
    st.query_params["run"] = key
    st.session_state["example"] = None


def request_of(key: str) -> Request | None:
    """What this session asked for under this key."""
    asked: dict[str, Request] = st.session_state.get("requests", {})
    return asked.get(key)


def stored(key: str) -> Explanation | None:
    """The finished explanation of this key, if it was kept."""
    try:
        return _from_store(key)
    except LookupError:
        return None


@st.cache_resource(show_spinner=False, max_entries=8)
def _from_store(key: str) -> Explanation:
    explanation = explanation_store().get(key)
    if explanation is None:
        raise LookupError(key)  # not cached: it may be there a moment later
    return explanation


def snapshot(key: str) -> JobSnapshot[Progress] | None:
    """The job of this key as it is now. Looking at it is waiting for it, unless it was cancelled
    here: then it ends, or goes on for another session."""
    if was_cancelled(key):
        return peek(key)
    job = job_queue().join(key, owner())
    return None if job is None else job.snapshot()


def peek(key: str) -> JobSnapshot[Progress] | None:
    """The job of this key as it is now, without waiting for it."""
    job = job_queue().get(key)
    return None if job is None else job.snapshot()


def unfinished() -> list[JobSnapshot[Any]]:
    """This session's queued and running jobs. Also tells the queue that the session is alive."""
    job_queue().heartbeat(owner())
    jobs: list[Job[Any]] = job_queue().jobs_of(owner())
    return [s for s in (job.snapshot() for job in jobs) if s.state in ("queued", "running")]


def cancel(key: str) -> None:
    """This session no longer waits for the run; it stops when nobody does."""
    st.session_state.setdefault("cancelled", set()).add(key)
    job_queue().cancel(key, owner())


def was_cancelled(key: str) -> bool:
    """Whether this session has cancelled the run and not asked for it again."""
    return key in st.session_state.get("cancelled", set())


def _work(request: Request, key: str, store: Store) -> Work[Progress]:
    def work(cancelled: Callable[[], bool]) -> Iterator[Progress]:
        from reagent_core.explain import explain

        scorer = load_model(request.model)
        if cancelled():
            raise Cancelled("Stopped before the model had answered.")
        for progress in explain(request, scorer, cancelled):
            yield progress
        if progress.explanation.status == "complete":
            store.put(key, progress.explanation)
            told = cost_of(request)
            if told is not None:
                off = progress.explanation.seconds / told.seconds
                _errors.append(off * (median(_errors) if _errors else 1.0))

    return work
