"""The tasks of a study in this process, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from reagent_core import models
from reagent_core.errors import Cancelled, Interrupted, ModelError
from reagent_core.scorers.base import Scorer, never
from reagent_core.study.plan import Study, Task
from reagent_core.study.work import Doing, Worked, failed, steps_on


def run(
    tasks: Iterable[Task],
    study: Study,
    cancelled: Callable[[], bool] = never,
    *,
    load: Callable[[str], Scorer] | None = None,
) -> Iterator[Worked | Doing]:
    """An engine (see `work.Engine`). A model is loaded at its first task; where that fails, each of
    its tasks fails with the reason. A server that is lost costs its own tasks alone: the other
    models' are done before it is told. `load`: what loads a model, in place of `models.load`.

    Raises:
        Cancelled: `cancelled()` became true.
        Interrupted: a server cannot be asked any more; its tasks that are not done can be done
            later.
    """
    waiting: dict[str, list[Task]] = {}
    for task in tasks:
        waiting.setdefault(task.model, []).append(task)
    lost: Interrupted | None = None
    for model, own in waiting.items():
        try:
            yield from _with(model, own, study, cancelled, load or models.load)
        except Interrupted as error:
            lost = error
    if lost is not None:
        raise lost


def _with(
    model: str,
    tasks: list[Task],
    study: Study,
    cancelled: Callable[[], bool],
    load: Callable[[str], Scorer],
) -> Iterator[Worked | Doing]:
    if cancelled():
        raise Cancelled("Stopped.")
    yield Doing(f"Loading {model}")
    try:
        scorer = load(model)
    except Interrupted:
        raise
    except ModelError as error:
        yield from (failed(task, str(error)) for task in tasks)
        return
    for task in tasks:
        if cancelled():
            raise Cancelled("Stopped.")
        yield from steps_on(task, study, scorer, cancelled)
