"""A study on Ray: rows go to replicas of the model, on as many machines as the cluster has.

A replica is one actor, a process with the model in memory, that works on one row at a time. What
it finds comes back to this process, which alone writes results. Where a replica dies, another
takes its place, and its row is given to whoever is idle next: a row may be worked on twice, and
comes out once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from reagent_core import models
from reagent_core.catalogue import ServerEntry
from reagent_core.errors import Cancelled, Interrupted, ModelError, ReagentError
from reagent_core.request import ModelInfo
from reagent_core.scorers.base import Scorer, never
from reagent_core.study.plan import Study, Task
from reagent_core.study.ray_cluster import Share, connected, import_ray, share
from reagent_core.study.work import Doing, Worked, failed, work_on

log = logging.getLogger(__name__)

# A row that ends its worker as often is to blame, and not the machines.
DEATHS: Final = 3
# How soon a wish to stop is heard, and how often the cluster is asked which machines it has.
_POLL_S: Final = 0.2
_MACHINES_S: Final = 5.0


def run(
    tasks: Iterable[Task],
    study: Study,
    cancelled: Callable[[], bool] = never,
    address: str | None = None,
) -> Iterator[Worked | Doing]:
    """An engine (see `work.Engine`) with as many replicas as the cluster has room for.

    Each task comes out once. One that ends its worker three times comes out failed, and so do all
    tasks of a model that no worker can load. A server that is lost costs its own tasks alone, as
    with the local engine. `address`: see `ray_cluster.connected`.

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address.
        ModelError: Ray does not start.
        Cancelled: `cancelled()` became true. What had not ended by then can be done later.
        Interrupted: a server cannot be asked any more.
    """
    ray = import_ray()
    with connected(ray, address):
        pool = _Pool(ray, study, tasks)
        try:
            while pool.unfinished:
                yield from pool.fill()
                yield from pool.collect(_POLL_S)
                if cancelled():
                    raise Cancelled("Stopped.")
        finally:
            pool.close()
    if pool.interrupted is not None:
        raise pool.interrupted


class Replica:
    """A model in a process of its own. Its methods run in the worker, one at a time."""

    def __init__(self, study: Study, gpus: int) -> None:
        self._study = study
        self._scorer: Scorer | None = None
        if not gpus:  # whatever this machine has, none was given to this replica
            os.environ.setdefault("REAGENT_DEVICE", "cpu")

    def load(self, model: str) -> ModelInfo | str:
        """Load the model that is worked with; a sentence where it cannot be.

        Replicas of one machine load one after the other: each then sees how much memory is left.

        Raises:
            Interrupted: the server behind the model cannot be asked any more.
        """
        import platformdirs
        from filelock import FileLock

        lock = platformdirs.user_runtime_path("reagent", ensure_exists=True) / "loading.lock"
        try:
            with FileLock(lock):
                self._scorer = models.load(model)
        except Interrupted:
            raise
        except ReagentError as error:
            return str(error)
        return self._scorer.info

    def work(self, task: Task) -> Worked:
        """What `work_on` finds; a model must have been loaded."""
        assert self._scorer is not None
        return work_on(task, self._study, self._scorer)


@dataclass
class _Worker:
    """A replica as this process knows it. `task`: what it works on, None while it loads and while
    it is idle. `begun`: whether it has got this task; before, it is asked whether it still lives.
    `worked`: whether it has ever done one."""

    actor: Any
    model: str
    loaded: bool = False
    task: Task | None = None
    begun: bool = False
    worked: bool = False


class _Pool:
    """The tasks that wait, and the replicas that work on the others.

    `interrupted`: why tasks of a server were given up.
    """

    def __init__(self, ray: Any, study: Study, tasks: Iterable[Task]) -> None:
        self.interrupted: Interrupted | None = None
        self._ray = ray
        self._study = ray.put(study)
        self._replica = ray.remote(max_restarts=0, max_task_retries=0)(Replica)
        self._waiting: dict[str, deque[Task]] = {}
        for task in dict.fromkeys(tasks):
            self._waiting.setdefault(task.model, deque()).append(task)
        self._servers = {model for model in self._waiting if _is_server(model)}
        self._idle: list[_Worker] = []
        self._busy: dict[Any, _Worker] = {}  # by what is asked of them
        self._deaths: Counter[Task] = Counter()  # of workers, by what they worked on
        # Workers of a model that died before they did anything, since one of them has done a row.
        self._unworked: Counter[str] = Counter()
        self._most: dict[str, int] = {}  # replicas of a model that some worker could not load
        self._info: dict[str, ModelInfo] = {}
        self._machines: list[dict[str, float]] = []
        self._asked = -_MACHINES_S

    @property
    def unfinished(self) -> bool:
        """Whether a task waits, or is worked on."""
        return any(self._waiting.values()) or any(each.task for each in self._busy.values())

    def fill(self) -> Iterator[Doing]:
        """Give waiting tasks to idle replicas, and start replicas for the others."""
        for worker in [*self._idle]:
            if waiting := self._waiting[worker.model]:
                self._idle.remove(worker)
                worker.task = waiting.popleft()
                self._busy[worker.actor.__ray_ready__.remote()] = worker
            elif any(self._waiting.values()):
                # Another model needs the place.
                self._idle.remove(worker)
                self._end(worker)
        self._look_at_machines()
        while (model := self._next_model()) is not None:
            room = self._room(model)
            actor = self._replica.options(num_cpus=room.cpus, num_gpus=room.gpus).remote(
                self._study, room.gpus
            )
            self._busy[actor.load.remote(model)] = _Worker(actor, model)
            yield Doing(f"Waiting for a worker with {model}")

    def collect(self, timeout_s: float) -> Iterator[Worked | Doing]:
        """What has been found or begun since the last time; waits up to `timeout_s` for the first
        of it."""
        asked = list(self._busy)
        if not asked:
            return
        first, rest = self._ray.wait(asked, num_returns=1, timeout=timeout_s)
        others = self._ray.wait(rest, num_returns=len(rest), timeout=0)[0] if rest else []
        for done in (*first, *others):
            worker = self._busy.pop(done)
            try:
                found = self._ray.get(done)
            except self._ray.exceptions.RayTaskError as error:
                self._end(worker)
                if not isinstance(error.cause, Interrupted):
                    raise error.cause from error  # a defect, as if it had been done here
                self.interrupted = error.cause
                self._waiting[worker.model].clear()
            except self._ray.exceptions.RayError as error:
                self._end(worker)
                yield from self._lost(worker, error)
            else:
                if worker.task is not None and not worker.begun:  # it lives
                    worker.begun = True
                    self._busy[worker.actor.work.remote(worker.task)] = worker
                    yield Doing("Working", worker.task)
                elif isinstance(found, Worked):
                    worker.task, worker.begun, worker.worked = None, False, True
                    self._unworked.pop(worker.model, None)
                    self._idle.append(worker)
                    yield found
                else:
                    yield from self._loaded(worker, found)

    def close(self) -> None:
        """End all replicas, whatever they do."""
        for worker in (*self._idle, *self._busy.values()):
            self._end(worker)

    def _next_model(self) -> str | None:
        """The first model that has more tasks than replicas about to take one, and room for one
        more."""
        workers = [*self._idle, *self._busy.values()]
        for model, waiting in self._waiting.items():
            server = model in self._servers
            alike = sum((each.model in self._servers) == server for each in workers)
            own = [each for each in workers if each.model == model]
            room = alike < self._room(model).replicas and len(own) < self._most.get(model, 2**31)
            if room and sum(not each.loaded for each in own) < len(waiting):
                return model
        return None

    def _room(self, model: str) -> Share:
        # A server is asked as often at a time as it allows one process.
        return Share(0, 0, 1) if model in self._servers else share(self._machines)

    def _look_at_machines(self) -> None:
        if time.monotonic() - self._asked >= _MACHINES_S:
            self._asked = time.monotonic()
            self._machines = [each["Resources"] for each in self._ray.nodes() if each["Alive"]]

    def _loaded(self, worker: _Worker, found: ModelInfo | str) -> Iterator[Worked]:
        if isinstance(found, ModelInfo):
            if found == self._info.setdefault(worker.model, found):
                worker.loaded = True
                self._idle.append(worker)
                return
            found = (
                f"A worker has another state of {worker.model} than the others, so that their "
                "results do not go together. Bring the same files to all machines, and give all "
                "the same device and REAGENT_DTYPE."
            )
        self._end(worker)
        yield from self._without(worker.model, found)

    def _lost(self, worker: _Worker, error: Exception) -> Iterator[Worked]:
        """Try again what a worker was asked for when it died, or say that it cannot be done."""
        model, task = worker.model, worker.task
        if getattr(error, "actor_init_failed", False):
            reason = str(error).strip().splitlines()[-1]
            yield from self._without(
                model,
                f"A worker could not start ({reason}). Install the same version of this program "
                "and of Ray on every machine of the cluster.",
            )
        elif task is None or not worker.begun:
            if task is not None:  # it has nothing to do with the row that was to be next
                self._waiting[model].appendleft(task)
            doing = "it loaded" if task is None else "it was idle, with"
            log.warning("A worker was lost while %s %s; another takes its place.", doing, model)
            self._unworked[model] += not worker.worked
            if self._unworked[model] >= DEATHS:
                yield from self._without(
                    model,
                    f"The model {model} ended {DEATHS} workers while it was loaded, or right "
                    "after. Perhaps their machines ran out of memory: choose a smaller model.",
                )
        else:
            self._deaths[task] += 1
            if self._deaths[task] < DEATHS:
                log.warning(
                    "A worker was lost while it worked on row %d with %s; the row is given to "
                    "another.", task.row, model,
                )  # fmt: skip
                self._waiting[model].appendleft(task)
            else:
                yield failed(
                    task,
                    f"This row ended its worker {DEATHS} times. Perhaps its machine ran out of "
                    "memory: shorten the prompt, or give the workers more.",
                )

    def _without(self, model: str, reason: str) -> Iterator[Worked]:
        """Go on with the replicas of a model that are left; where none is, its tasks fail."""
        left = sum(each.model == model for each in (*self._idle, *self._busy.values()))
        self._most[model] = left
        if left:
            log.warning("%d of the workers have %s, and no more: %s", left, model, reason)
            return
        while self._waiting[model]:
            yield failed(self._waiting[model].popleft(), reason)

    def _end(self, worker: _Worker) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker.actor)


def _is_server(model: str) -> bool:
    try:
        return isinstance(models.resolve(model), ServerEntry)
    except ModelError:  # a worker says the same, with the reason
        return False
