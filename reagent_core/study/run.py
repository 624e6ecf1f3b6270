"""Running a study: what is not done yet is done, kept at once, and told with the time left."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from reagent_core.errors import Cancelled
from reagent_core.scorers.base import never
from reagent_core.study import local
from reagent_core.study.folder import StudyFolder
from reagent_core.study.plan import Outcome, Task, made_before
from reagent_core.study.work import Doing, Engine, OwnTime

log = logging.getLogger(__name__)

_ENGINES: dict[str, Engine] = {"local": local.run}


@dataclass(frozen=True)
class StudyProgress:
    """How far a study is.

    `done` of `total` tasks have ended, `failed` of these without a result; of earlier runs, too.
    `doing`: what is being done, in a few words. `seconds`: of this run's own work; `left_s`: at
    its pace, None while there is none. `last`: the task that has just ended.
    """

    done: int
    failed: int
    total: int
    doing: str
    seconds: float
    left_s: float | None = None
    last: Outcome | None = None


def run_study(
    folder: StudyFolder,
    engine: Engine | Literal["local"] = "local",
    cancelled: Callable[[], bool] = never,
    *,
    retry_failed: bool = False,
) -> Iterator[StudyProgress]:
    """Do the tasks of a study that are not done; yields at the start, before each part of the work,
    and after each task, which is on disk by then. Ends early, and can be gone on with later, when
    `cancelled()` becomes true: the last progress tells.

    `retry_failed`: those that failed before are done again. So are those that another version of
    the program did (see `made_before`), and, as soon as a model turns out to have other weights
    than before, those that it did then.

    Raises:
        StudyBusy: the folder is being written by somebody else.
        InputError: its file of outcomes is damaged.
        Interrupted: a server cannot be asked any more; what was done is kept.
        LibraryError, OutputError: the disk refuses.
    """
    work = _ENGINES[engine] if isinstance(engine, str) else engine
    with folder.run():
        if retry_failed:
            folder.forget_failed()
        clock = OwnTime()
        if again := made_before(folder.study, folder.outcomes()):
            folder.replace(again)
        earlier = {outcome.task: outcome for outcome in folder.outcomes()}
        ended = set(earlier)
        bad = {task for task, outcome in earlier.items() if outcome.status == "failed"}
        waiting = [task for task in folder.study.tasks if task not in ended]
        total = len(ended) + len(waiting)
        well = 0  # done in this run; what failed took no time

        def progress(doing: str, last: Outcome | None = None) -> StudyProgress:
            seconds = clock.seconds
            left = seconds / well * (total - len(ended)) if well else None
            return StudyProgress(len(ended), len(bad), total, doing, seconds, left, last)

        def make_way(new: Outcome) -> list[Task]:
            """Forget what earlier runs have with other weights of the model of a new outcome."""
            old = [task for task, outcome in earlier.items() if _other_weights(outcome, new)]
            if old:
                model = new.task.model
                log.warning("%s has other weights: %d rows are done again.", model, len(old))
                folder.replace(old)
                for task in old:
                    del earlier[task]
                ended.difference_update(old)
                bad.difference_update(old)
            return old

        with clock.stopped():
            yield progress("Starting" if waiting else "Done")
        if not waiting:
            return
        with contextlib.suppress(Cancelled):
            while waiting:
                changed: list[Task] = []
                for step in work(waiting, folder.study, cancelled):
                    if isinstance(step, Doing):
                        now = progress(_told(step))
                    else:
                        changed += make_way(step.outcome)
                        if not folder.keep(step):
                            continue
                        ended.add(step.outcome.task)
                        if step.outcome.status == "failed":
                            bad.add(step.outcome.task)
                        well += step.outcome.status == "done"
                        now = progress("Done" if len(ended) == total else "Next", step.outcome)
                    with clock.stopped():
                        yield now
                waiting = changed  # once at most: no earlier run has them any more
        if len(ended) < total:
            yield progress("Paused")


def _other_weights(one: Outcome, other: Outcome) -> bool:
    """Whether two outcomes are of one model with two states of its weights."""
    if one.task.model != other.task.model or one.made_by is None or other.made_by is None:
        return False
    return one.made_by.has_other_weights(other.made_by)


def _told(doing: Doing) -> str:
    if doing.task is None:
        return doing.what
    return f"Row {doing.task.row + 1:,}: {doing.what}"
