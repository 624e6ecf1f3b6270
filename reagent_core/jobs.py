"""Background jobs: a queue, progress, cancelling, and one run for equal requests.

Generic over the work: this module knows nothing of models or explanations.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from reagent_core.errors import Cancelled, InputError, ModelError, ReagentError

log = logging.getLogger(__name__)

P = TypeVar("P")

# A generator function. It asks `cancelled()` now and then, and ends early when that is true. What
# it yields is the progress so far; the last value is the result (a partial one when cancelled).
Work = Callable[[Callable[[], bool]], Iterator[P]]
State = Literal["queued", "running", "done", "cancelled", "failed"]

# Each may hold tens of megabytes.
RETAINED = 10
_JOIN_SECONDS = 5.0


@dataclass(frozen=True)
class JobSnapshot(Generic[P]):
    """A job at one moment.

    `position`: place in the queue, 1 is next, 0 when not queued. `owners`: how many wait for it.
    `progress`: the latest value
    the work has yielded; of a finished job, its result. `error`: a sentence, for a failed job;
    `error_field`: the input it is about (see `InputError`), if it is about one. `elapsed`: seconds
    the work has run, 0 before it starts. `waits`: it has begun, and lets others go first just now.
    """

    key: str
    state: State
    position: int
    owners: int
    progress: P | None
    error: str | None
    error_field: str | None
    elapsed: float
    waits: bool = False


class Job(Generic[P]):
    """One piece of work in a `JobQueue`. Made by `JobQueue.submit`."""

    def __init__(self, queue: JobQueue, key: str, work: Work[P], *, gives_way: bool) -> None:
        self.key = key
        self._queue = queue
        self._gives_way = gives_way
        # The queue's lock guards all of these but the two events.
        self._work: Work[P] | None = work
        self._owners: set[str] = set()
        self._waits = False
        self._state: State = "queued"
        self._progress: P | None = None
        self._error: ReagentError | str | None = None
        self._started: float | None = None
        self._finished: float | None = None
        self._stop = threading.Event()
        self._ended = threading.Event()

    def snapshot(self) -> JobSnapshot[P]:
        """The job as it is now."""
        return self._queue._snapshot(self)

    def wait(self, timeout_s: float | None = None) -> JobSnapshot[P]:
        """Block until the job has finished, or for `timeout_s` seconds; then a snapshot."""
        self._ended.wait(timeout_s)
        return self.snapshot()

    @property
    def _joinable(self) -> bool:
        """Whether an equal request can share this job: it gives a result, or has given it."""
        stopping = self._state == "running" and self._stop.is_set()
        return self._state in ("queued", "running", "done") and not stopping


class JobQueue:
    """Runs jobs on `workers` threads, first come, first served.

    Each job has owners (say, browser sessions). It stops when no owner is left: each has
    cancelled it, or has given no `heartbeat` for `grace_s` seconds. `clock` gives seconds that
    never go back. The threads are daemons and live until `shutdown` or the end of the process.
    The last 10 finished jobs are retained with their results.
    """

    def __init__(
        self, workers: int = 1, grace_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._grace_s = grace_s
        self._clock = clock
        # The one lock. No work, and no other code of the caller but the clock, runs under it.
        self._lock = threading.Condition()
        self._jobs: dict[str, Job[Any]] = {}
        self._waiting: deque[Job[Any]] = deque()
        self._active: list[Job[Any]] = []
        self._retained: deque[Job[Any]] = deque()
        self._heard: dict[str, float] = {}
        self._closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"job-worker-{number}", daemon=True)
            for number in range(workers)
        ]
        self._threads.append(threading.Thread(target=self._reap, name="job-reaper", daemon=True))
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        key: str,
        work: Work[P],
        owner: str,
        found: P | None = None,
        *,
        gives_way: bool = False,
    ) -> Job[P]:
        """Queue `work`, or join the equal job (same `key`) that is there already.

        A job that failed, was cancelled or is being cancelled is replaced by a new one; one that
        is done is returned with its result. `found`: the progress of a new job before its work has
        yielded any; by default that of the job it replaces. `gives_way`: it takes hours, so
        whenever it yields, the jobs that wait and do not give way are run first.

        Raises:
            RuntimeError: the queue has been shut down.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the job queue has been shut down")
            self._heard[owner] = self._clock()
            self._sweep()
            job = self._jobs.get(key)
            if job is None or not job._joinable:
                if job is not None and job in self._retained:
                    self._retained.remove(job)
                # What the one before has found is shown until this one has found more.
                if found is None and job is not None:
                    found = job._progress
                job = Job(self, key, work, gives_way=gives_way)
                job._progress = found
                self._jobs[key] = job
                self._waiting.append(job)
                self._lock.notify_all()
            job._owners.add(owner)
            return job

    def get(self, key: str) -> Job[Any] | None:
        """The latest job of this key, while it is unfinished or retained."""
        with self._lock:
            return self._jobs.get(key)

    def join(self, key: str, owner: str) -> Job[Any] | None:
        """The latest job of this key; while it is unfinished, `owner` becomes one of its owners."""
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and job._joinable and job._state != "done":
                self._heard[owner] = self._clock()
                job._owners.add(owner)
            return job

    def cancel(self, key: str, owner: str) -> None:
        """Detach `owner` from the job; without any owner it stops.

        A queued job is gone at once, a running one ends when its work next asks. Nothing happens
        when the job is unknown or not this owner's.
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is not None:
                self._detach(job, owner)

    def stop(self, key: str) -> None:
        """Stop the latest job of this key, whoever waits for it. Nothing happens when there is
        none, or it has ended."""
        with self._lock:
            job = self._jobs.get(key)
            if job is not None:
                self._stop(job)

    def forget(self, key: str) -> None:
        """Let go of a finished job and its result. Nothing happens to one that is queued or
        running, or when there is none."""
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and job in self._retained:
                self._retained.remove(job)
                del self._jobs[key]

    def heartbeat(self, owner: str) -> None:
        """Say that `owner` is still there."""
        with self._lock:
            self._heard[owner] = self._clock()
            self._sweep()

    def jobs_of(self, owner: str) -> list[Job[Any]]:
        """The jobs this owner is attached to, oldest first."""
        with self._lock:
            return [job for job in self._jobs.values() if owner in job._owners]

    def shutdown(self) -> None:
        """Cancel every job and wait up to 5 seconds for the running ones to notice."""
        with self._lock:
            self._closed = True
            for job in [*self._waiting, *self._active]:
                self._stop(job)
            self._lock.notify_all()
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    # Below: called with the lock held.

    def _sweep(self) -> None:
        """Detach the owners that have not been heard of for too long."""
        now = self._clock()
        for owner, heard in list(self._heard.items()):
            if now - heard > self._grace_s:
                del self._heard[owner]
                # Finished jobs stay theirs: a laptop that was asleep comes back to its results.
                for job in [*self._waiting, *self._active]:
                    self._detach(job, owner)

    def _detach(self, job: Job[Any], owner: str) -> None:
        if owner in job._owners:
            job._owners.remove(owner)
            if not job._owners:
                self._stop(job)

    def _stop(self, job: Job[Any]) -> None:
        if job._state == "queued":
            self._waiting.remove(job)
            self._finish(job, "cancelled", None)
        elif job._state == "running":
            job._stop.set()

    def _begin(self, job: Job[Any]) -> None:
        job._state, job._started = "running", self._clock()
        self._active.append(job)

    def _finish(self, job: Job[Any], state: State, error: ReagentError | str | None) -> None:
        job._state, job._error, job._finished = state, error, self._clock()
        job._work = None  # it may hold a model
        if self._jobs.get(job.key) is job:
            self._retained.append(job)
            if len(self._retained) > RETAINED:
                del self._jobs[self._retained.popleft().key]
        job._ended.set()

    # Below: called without the lock.

    def _snapshot(self, job: Job[P]) -> JobSnapshot[P]:
        with self._lock:
            self._sweep()
            position = self._waiting.index(job) + 1 if job._state == "queued" else 0
            end = self._clock() if job._finished is None else job._finished
            elapsed = 0.0 if job._started is None else end - job._started
            error = None if job._error is None else str(job._error)
            field = None
            if isinstance(job._error, InputError):
                field = job._error.field
            elif isinstance(job._error, ModelError):
                field = "model"
            return JobSnapshot(
                job.key, job._state, position, len(job._owners), job._progress, error, field,
                elapsed, job._waits,
            )  # fmt: skip

    def _serve(self) -> None:
        """A worker thread: one job after the other."""
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                job = self._waiting.popleft()
                self._begin(job)
            self._complete(job)
            del job  # an idle worker keeps no result alive

    def _complete(self, job: Job[Any]) -> None:
        state, error = self._run(job)
        with self._lock:
            self._active.remove(job)
            self._finish(job, state, error)

    def _run_others(self, giving_way: Job[Any]) -> None:
        """Those that wait and do not give way, one after the other."""
        while True:
            with self._lock:
                short = [job for job in self._waiting if not job._gives_way]
                giving_way._waits = bool(short) and not self._closed
                if not giving_way._waits:
                    return
                self._waiting.remove(short[0])
                self._begin(short[0])
            self._complete(short[0])

    def _reap(self) -> None:
        """The reaper thread: abandoned jobs stop even if nobody calls."""
        with self._lock:
            while not self._closed:
                self._lock.wait(self._grace_s / 4)
                self._sweep()

    def _run(self, job: Job[Any]) -> tuple[State, ReagentError | str | None]:
        """Run the work to its end; the state it ends in, and the sentence of a failure."""
        work = job._work
        assert work is not None
        told = False

        def cancelled() -> bool:
            nonlocal told
            told = told or job._stop.is_set()
            return told

        try:
            for progress in work(cancelled):
                with self._lock:
                    job._progress = progress
                if job._gives_way and not job._stop.is_set():
                    self._run_others(job)
        except Cancelled:
            return "cancelled", None
        except ReagentError as error:
            # Only the sentence is kept: frames of the traceback may hold a model.
            error.__cause__ = error.__context__ = None
            return "failed", error.with_traceback(None)
        # Whatever else it is, SystemExit too: it must not end the worker.
        except BaseException as error:
            log.exception("The job %s failed", job.key)
            return "failed", _sentence(error)
        # A work that had finished before it could notice the wish to stop is simply done.
        return ("cancelled" if told else "done"), None


def _sentence(error: BaseException) -> str:
    lines = str(error).splitlines()
    what = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return (
        f"Something went wrong inside the program ({what}). The details are in the server's log."
    )
