"""The one place where pages start and find comparisons of methods.

A comparison is a job in the queue of all runs. What each method found is kept in the library as it
lands, and the comparison beside it in the end. Session state is that of `runs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import streamlit as st

from components import loaded_models, runs
from components.local_mode import local_mode
from reagent_core import models
from reagent_core.architecture import refused_by_files
from reagent_core.baselines.compared import MethodResult, MethodsCompared, comparison_key
from reagent_core.baselines.methods import METHODS, REAGENT
from reagent_core.catalogue import ServerEntry
from reagent_core.check import DRAWS
from reagent_core.errors import Cancelled, InputError, ReagentError
from reagent_core.jobs import JobSnapshot
from reagent_core.replacers.masked_models import replacer_model_info
from reagent_core.request import Request
from reagent_core.scorers.base import Scorer

ALL = (REAGENT, *(method.name for method in METHODS))


@dataclass(frozen=True)
class Asked:
    """A comparison that is asked for: see `compare_methods`."""

    request: Request
    methods: tuple[str, ...] = ALL
    budget: int | None = None
    draws: int = DRAWS


@dataclass(frozen=True)
class Comparing:
    """How far a comparison is: `done` of `total` parts, `doing` the next; no total while the model
    is loaded. `found`: see `CompareProgress`. The last one has what was `compared`."""

    asked: Asked
    doing: str = ""
    done: int = 0
    total: int = 0
    found: tuple[MethodResult, ...] = ()
    compared: MethodsCompared | None = None

    @property
    def judged(self) -> int:
        """Of how many methods the faithfulness is known."""
        return sum(result.faithful is not None for result in self.found)

    @property
    def prompt(self) -> str:
        """What was typed."""
        typed = self.asked.request.prompt
        return typed if isinstance(typed, str) else typed[-1].content


def start(asked: Asked) -> str:
    """Queue the comparison, or join the equal one; returns its key.

    Raises:
        ReagentError: there is no such model, no method is chosen, or the replacements need a model
            that is not to be had.
    """
    request = asked.request
    if not asked.methods:
        raise InputError("Choose at least one method.", "methods")
    models.resolve(request.model, urls_allowed=local_mode())
    info = models.model_info(request.model)
    replacer = replacer_model_info(request.config)
    key = comparison_key(asked.methods, request, asked.budget, asked.draws, info, replacer)
    runs.ask_again(key)
    store = runs.explanation_store()
    if kept(key) is None:
        runs.job_queue().forget(key)  # what it has kept was deleted since
        begun = Comparing(asked)

        def work(cancelled: Callable[[], bool]) -> Iterator[Comparing]:
            yield begun
            scorer = loaded_models.load_model(request.model)
            from reagent_core.baselines.comparison import compare_methods

            if cancelled():
                raise Cancelled("Stopped before the model had answered.")
            steps = compare_methods(
                asked.methods, request, scorer, budget=asked.budget, draws=asked.draws,
                cancelled=cancelled,
            )  # fmt: skip
            landed = 0
            for step in steps:
                for result in step.found[landed:]:
                    store.put(result.key, result.explanation)
                landed = len(step.found)
                if step.compared is not None:
                    store.put_comparison(key, step.compared)
                yield Comparing(asked, step.doing, step.done, step.total, step.found, step.compared)

        runs.job_queue().submit(key, work, runs.owner(), begun)
    return key


def kept(key: str) -> MethodsCompared | None:
    """The finished comparison of this key, if it was kept and all of its explanations are."""
    return runs.explanation_store().comparison(key)


def job_of(key: str) -> JobSnapshot[Comparing] | None:
    """The job of a comparison as it is now; None also where the key is that of something else.
    Looking at it is waiting for it, unless it was cancelled here."""
    job = runs.job_queue().get(key)
    if job is None or not isinstance(job.snapshot().progress, Comparing):
        return None
    if not runs.was_cancelled(key):
        job = runs.job_queue().join(key, runs.owner()) or job
    return job.snapshot()


def asked_of(compared: MethodsCompared) -> Asked | None:
    """What was asked for, None where the file of an explanation does not say."""
    request = compared.results[0].explanation.request
    if request is None:
        return None
    names = [each.method for each in compared.results]
    names += [each.method for each in compared.refused]
    methods = tuple(name for name in ALL if name in names)
    return Asked(request, methods, compared.budget, compared.draws)


def progress_words(job: JobSnapshot[Comparing]) -> tuple[float, str]:
    """How far an unfinished comparison is, in [0, 1] and in words."""
    if job.state == "queued":
        return 0.0, f"Waiting, place {job.position} in the queue"
    part = job.progress
    if part is None or not part.total:
        return 0.0, "Loading the model"
    return part.done / part.total, f"{part.doing}, {part.done + 1} of {part.total}"


def refusals(model_id: str) -> dict[str, str]:
    """The methods that this model does not allow, each with the reason. Of a model that is not in
    memory only what follows from its kind and its files."""
    try:
        entry = models.resolve(model_id)
        scorer = models.in_memory(model_id) if loaded_models.models_ready() else None
        if scorer is not None:
            return refused_by(scorer)
    except ReagentError:
        return {}  # what is wrong with the model is said beside it
    if not isinstance(entry, ServerEntry):
        return refused_by_files(entry)
    told = {method.name: method.why_not_from_outside() for method in METHODS}
    return {name: reason for name, reason in told.items() if reason is not None}


def refused_by(scorer: Scorer) -> dict[str, str]:
    """The methods that a model in memory does not allow, each with the reason."""
    return _refused_by(scorer.info.id, scorer.info.revision_or_sha256, scorer)


@st.cache_resource(show_spinner=False, max_entries=16)
def _refused_by(model: str, weights: str, _scorer: object) -> dict[str, str]:
    """Asked once a model: it is read for it."""
    told = {method.name: method.can(_scorer) for method in METHODS}  # type: ignore[arg-type]
    return {name: reason for name, reason in told.items() if reason is not None}
