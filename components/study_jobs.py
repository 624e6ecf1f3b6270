"""The one place where pages find, start and pause studies.

A study is a folder of this machine: what it has found outlives the server. Working on it is a job
in the queue of all runs, which lets every other run go first. Session state is that of `runs`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from components import loaded_models, runs
from components.local_mode import local_mode
from reagent_core import models
from reagent_core.converted import cache_root
from reagent_core.errors import InputError, ReagentError
from reagent_core.jobs import JobSnapshot
from reagent_core.study.plan import Outcome, Study

if TYPE_CHECKING:
    from reagent_core.explanation import Explanation
    from reagent_core.study.folder import StudyFolder

log = logging.getLogger(__name__)

_ID = re.compile("[0-9a-f]{16}")
_STUDY, _OUTCOMES = "study.json", "outcomes.jsonl"


@dataclass(frozen=True)
class Studying:
    """How far the work on a study is: of `total` tasks `done` are over, `failed` of them with a
    reason. `doing`: what is being done, in words; `left_s`: seconds left, None while not known."""

    id: str
    name: str
    done: int
    failed: int
    total: int
    doing: str = ""
    left_s: float | None = None


@dataclass(frozen=True)
class Known:
    """A study on this machine. `changed`: when something was found last (UTC). `damaged`: it cannot
    be opened, and only its name is known, if that."""

    id: str
    name: str
    done: int
    total: int
    models: tuple[str, ...]
    methods: tuple[str, ...]
    changed: datetime
    damaged: bool = False


def all_studies() -> list[Known]:
    """Every study of this machine, the one that was worked on last first."""
    root = _root()
    if not root.is_dir():
        return []
    found = [
        _known(path.name, _stamp(path / _STUDY), _stamp(path / _OUTCOMES))
        for path in root.iterdir()
        if _ID.fullmatch(path.name)
    ]
    return sorted(found, key=lambda each: each.changed, reverse=True)


def study_of(study_id: str) -> Study:
    """The plan of a study, read from disk once.

    Raises:
        ReagentError: there is none, or it cannot be read.
    """
    return folder_of(study_id).study


def folder_of(study_id: str) -> StudyFolder:
    """Where a study lies; to read from.

    Raises:
        ReagentError: there is none, or it cannot be read.
    """
    if not _ID.fullmatch(study_id) or not (_root() / study_id).is_dir():
        raise InputError("There is no such study on this machine (any more).", "study")
    return _folder(study_id, *_stamp(_root() / study_id / _STUDY))


def outcomes_of(study_id: str) -> tuple[Outcome, ...]:
    """What its tasks have left so far, in the order in which they were done.

    Raises:
        ReagentError: it cannot be read.
    """
    return _outcomes(study_id, *state_of(study_id))


def state_of(study_id: str) -> tuple[int, int]:
    """What is another one as soon as more is found."""
    return _stamp(_root() / study_id / _OUTCOMES)


def explanation_of(study_id: str, key: str) -> Explanation:
    """What a method found, by `MethodFound.explanation`.

    Raises:
        ReagentError: it is not there (any more), or cannot be read.
    """
    return _explanation(study_id, key)


def start(study: Study) -> str:
    """Work on a study, a new one or one that was paused; returns its id.

    Raises:
        ReagentError: a model of it cannot be had, or its folder cannot be written.
    """
    from reagent_core.study.folder import StudyFolder

    _check_models(study)
    with _without_its_path(study.id):
        StudyFolder.create(_root() / study.id, study)
    resume(study.id)
    return study.id


def resume(study_id: str, *, retry_failed: bool = False) -> None:
    """Go on with what is not done.

    Raises:
        ReagentError: there is no such study, or a model of it cannot be had.
    """
    study = study_of(study_id)
    _check_models(study)
    runs.ask_again(study_id)
    begun = _begun(study_id, study)

    def work(cancelled: Callable[[], bool]) -> Iterator[Studying]:
        yield begun
        from reagent_core.study import local
        from reagent_core.study.folder import StudyFolder
        from reagent_core.study.run import run_study

        engine = partial(local.run, load=loaded_models.load_model)
        with _without_its_path(study_id):
            folder = StudyFolder.open(_root() / study_id)
            for step in run_study(folder, engine, cancelled, retry_failed=retry_failed):
                yield Studying(
                    study_id, study.name, step.done, step.failed, step.total, step.doing,
                    step.left_s,
                )  # fmt: skip

    runs.job_queue().forget(study_id)  # what has ended is done again where something is left
    runs.job_queue().submit(study_id, work, runs.owner(), begun, gives_way=True)


def pause(study_id: str) -> None:
    """End the work on a study, whoever has started it; what is done is kept."""
    runs.job_queue().stop(study_id)


def job_of(study_id: str) -> JobSnapshot[Studying] | None:
    """The work on a study as it is now. Looking at it keeps it going."""
    job = runs.job_queue().join(study_id, runs.owner())
    return None if job is None else job.snapshot()


def is_working(job: JobSnapshot[Studying] | None) -> bool:
    """Whether a study is being worked on, or waits for it."""
    return job is not None and job.state in ("queued", "running")


def progress_words(job: JobSnapshot[Studying]) -> tuple[float, str]:
    """How far the work is, in [0, 1] and in words."""
    from reagent_core.study.words import duration

    part = job.progress
    share = 0.0 if part is None or not part.total else part.done / part.total
    if job.state == "queued":
        return share, f"Waiting, place {job.position} in the queue"
    if part is None:
        return 0.0, "Starting"
    told = [f"{part.done:,} of {part.total:,} done"]
    if part.failed:
        told.append(f"{part.failed:,} failed")
    if job.waits:
        return min(1.0, share), " · ".join(["Waiting for a shorter run", *told])
    if part.left_s is not None:
        told.append(f"about {duration(part.left_s)} left")
    if part.doing:
        told.append(part.doing)
    return min(1.0, share), " · ".join(told)


def _check_models(study: Study) -> None:
    for model in study.models:
        models.resolve(model, urls_allowed=local_mode())


@contextlib.contextmanager
def _without_its_path(study_id: str) -> Iterator[None]:
    """Where a study lies on this machine is for the log, not for whoever looks at the page."""
    try:
        yield
    except ReagentError as error:
        path = str(_root() / study_id)
        told = str(error).replace(f"{path}{os.sep}", "").replace(path, study_id)
        if told == str(error):
            raise
        log.warning("%s", error)
        raise InputError(told, "study") from None


def _root() -> Path:
    return cache_root() / "studies"


def _begun(study_id: str, study: Study) -> Studying:
    outcomes = outcomes_of(study_id)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    return Studying(study_id, study.name, len(outcomes), failed, len(study.tasks))


# Small, and so more of them: a list of studies reads none of them twice.
@st.cache_resource(show_spinner=False, max_entries=1000)
def _known(study_id: str, plan: tuple[int, int], outcomes: tuple[int, int]) -> Known:
    from reagent_core.study.folder import StudyFolder

    changed = datetime.fromtimestamp(max(plan[0], outcomes[0]) / 1e9, UTC)
    name = f"Study {study_id}"
    try:
        folder = StudyFolder.open(_root() / study_id)
        study, name = folder.study, folder.study.name
        done = len(folder.outcomes())
    except ReagentError as error:
        log.warning("%s", error)
        return Known(study_id, name, 0, 0, (), (), changed, damaged=True)
    total = len(study.rows) * len(study.models)
    return Known(study_id, study.name, done, total, study.models, study.methods, changed)


def _stamp(path: Path) -> tuple[int, int]:
    """What changes whenever the file does: time of the last change in ns, and size."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


@st.cache_resource(show_spinner=False, max_entries=32)
def _folder(study_id: str, changed: int, size: int) -> StudyFolder:
    from reagent_core.study.folder import StudyFolder

    with _without_its_path(study_id):
        return StudyFolder.open(_root() / study_id)


# Few: a study that is being worked on leaves another tuple of all its outcomes at every look.
@st.cache_resource(show_spinner=False, max_entries=2)
def _outcomes(study_id: str, changed: int, size: int) -> tuple[Outcome, ...]:
    folder = folder_of(study_id)
    with _without_its_path(study_id):
        return tuple(folder.outcomes())


@st.cache_resource(show_spinner=False, max_entries=32)
def _explanation(study_id: str, key: str) -> Explanation:
    folder = folder_of(study_id)
    with _without_its_path(study_id):
        return folder.explanation(key)
