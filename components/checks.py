"""The one place where pages start and find checks of explanations.

A check is a job in the queue of all runs; what it found is kept beside its explanation in the
library. Session state is that of `runs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from components import loaded_models, runs
from components.examples import check_of, is_example
from components.local_mode import local_mode
from reagent_core import models
from reagent_core.catalogue import ServerEntry
from reagent_core.check import Check, another_replacer, check_key
from reagent_core.config import ReplacerName
from reagent_core.errors import Cancelled, ReagentError
from reagent_core.explanation import Explanation
from reagent_core.jobs import JobSnapshot


@dataclass(frozen=True)
class Checking:
    """How far a check is: `done` of `total` prompts are read; no total while the model is loaded.

    `reference` names the explanation (see `named`), and `prompt` is what was typed for it. The last
    one has the `check`.
    """

    reference: str
    prompt: str
    done: int = 0
    total: int = 0
    check: Check | None = None


@dataclass(frozen=True)
class Checked:
    """What is to be checked: `explanation` is all of it or one of its words, `whole` the
    explanation that `reference` names."""

    explanation: Explanation
    whole: Explanation
    reference: str

    @property
    def model_id(self) -> str:
        """The model to ask, as it was asked for where that is known."""
        return self.whole.request.model if self.whole.request else self.whole.model.id

    @property
    def explanation_key(self) -> str:
        """What tells it from every other explanation."""
        request = self.whole.request
        if request is not None and is_example(self.reference):
            return request.key(self.whole.model, self.whole.replacer_model)
        # One that was stopped is gone on with under the same reference.
        grown = "" if self.whole.status == "complete" else f" {len(self.whole.trace)} steps"
        return f"{self.reference}{grown}"

    def key(self, replacer: ReplacerName | None) -> str:
        """The key of the check with this replacer, None for the one that the check chooses."""
        return check_key(self.explanation_key, self.explanation.target, replacer)


def default_replacer(checked: Checked) -> ReplacerName:
    """What the check would choose. Of a model that is not in memory what it most likely is."""
    own = checked.explanation.config.replacer
    try:
        scorer = models.in_memory(checked.model_id) if loaded_models.models_ready() else None
        if scorer is not None:
            from reagent_core.checker import other_replacer  # with SciPy, as the model is by now

            return other_replacer(checked.explanation, scorer)
        server = isinstance(models.resolve(checked.model_id), ServerEntry)
    except ReagentError:
        server = False
    return another_replacer(own, plain=server)


def why_not(checked: Checked) -> str | None:
    """Why this cannot be checked, in a sentence; None where it can be tried."""
    if checked.whole.source == "notebook" and checked.whole.request is None:
        return "The file does not say which model was explained, so no model can be asked again."
    try:
        models.resolve(checked.model_id, urls_allowed=local_mode())
    except ReagentError as error:
        return f"The model that was explained cannot be asked again. {error}"
    return None


def start(checked: Checked, replacer: ReplacerName | None) -> None:
    """Queue the check, or join the equal one."""
    whole, key = checked.whole, checked.key(replacer)
    runs.ask_again(key)
    typed = whole.messages[-1].content if whole.messages else whole.prompt
    begun = Checking(checked.reference, typed)
    store = runs.explanation_store()

    def work(cancelled: Callable[[], bool]) -> Iterator[Checking]:
        yield begun
        from reagent_core.checker import check

        scorer = loaded_models.load_model(checked.model_id)
        if cancelled():
            raise Cancelled("Stopped before anything was checked.")
        for step in check(checked.explanation, scorer, replacer=replacer, cancelled=cancelled):
            if step.check is not None and whole.status == "complete":
                store.put_check(key, checked.explanation_key, step.check)
            yield Checking(checked.reference, typed, step.done, step.total, step.check)

    runs.job_queue().submit(key, work, runs.owner(), begun)


def found(checked: Checked, replacer: ReplacerName | None) -> Check | None:
    """The check with this replacer, if there is one."""
    if replacer is None and is_example(checked.reference):
        shipped = check_of(checked.reference)
        if shipped is not None and shipped.target == checked.explanation.target:
            return shipped
    key = checked.key(replacer)
    job = _peek(key)
    if job is not None and job.progress is not None and job.progress.check is not None:
        return job.progress.check
    return runs.explanation_store().check(key)


def job_of(checked: Checked, replacer: ReplacerName | None) -> JobSnapshot[Checking] | None:
    """The job of this check as it is now. Looking at it is waiting for it, unless it was
    cancelled here."""
    key = checked.key(replacer)
    if runs.was_cancelled(key):
        return _peek(key)
    job = runs.job_queue().join(key, runs.owner())
    return None if job is None else job.snapshot()


def _peek(key: str) -> JobSnapshot[Checking] | None:
    job = runs.job_queue().get(key)
    return None if job is None else job.snapshot()


def progress_words(job: JobSnapshot[Checking]) -> tuple[float, str]:
    """How far an unfinished check is, in [0, 1] and in words."""
    if job.state == "queued":
        return 0.0, f"Waiting, place {job.position} in the queue"
    part = job.progress
    if part is None or not part.total:
        return 0.0, "Loading the model and preparing replacements"
    if part.done == part.total:
        return 1.0, "Last measures"
    return part.done / part.total, f"{part.done} of {part.total} replaced prompts read"
