from __future__ import annotations

import gc
import logging
import random
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from reagent_core.errors import Cancelled, InputError
from reagent_core.jobs import RETAINED, Job, JobQueue, Work
from tests.waiting import until

PATIENCE_S = 20.0


class Gate:
    """A work whose every move the test decides."""

    def __init__(self) -> None:
        self.runs = 0
        self.started = threading.Event()
        self.may_end = threading.Event()
        self.noticed = threading.Event()

    def work(self, cancelled: Callable[[], bool]) -> Iterator[str]:
        self.runs += 1
        yield "first"
        self.started.set()
        until(lambda: self.may_end.is_set() or cancelled(), PATIENCE_S)
        if self.may_end.is_set():
            yield "result"
        else:
            self.noticed.set()
            yield "partial"

    def wait_started(self) -> None:
        assert self.started.wait(PATIENCE_S)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Iterator[JobQueue]:
    queue = JobQueue(workers=1, grace_s=60.0, clock=clock)
    yield queue
    queue.shutdown()


def quickly(value: str) -> Work[str]:
    def work(cancelled: Callable[[], bool]) -> Iterator[str]:
        yield value

    return work


def raising(error: BaseException) -> Work[str]:
    def work(cancelled: Callable[[], bool]) -> Iterator[str]:
        yield "so far"
        raise error

    return work


def finish(job: Job[str]) -> tuple[str, str | None]:
    snapshot = job.wait(PATIENCE_S)
    return snapshot.state, snapshot.progress


def test_a_job_shows_its_progress_and_then_its_result(queue: JobQueue, clock: Clock) -> None:
    gate = Gate()
    job = queue.submit("key", gate.work, "ann")
    gate.wait_started()
    clock.now += 7.0
    running = job.snapshot()
    assert (running.state, running.progress, running.elapsed) == ("running", "first", 7.0)
    gate.may_end.set()
    done = job.wait(PATIENCE_S)
    assert (done.state, done.progress, done.error, done.elapsed) == ("done", "result", None, 7.0)
    clock.now += 100.0
    assert job.snapshot() == done


def test_equal_requests_share_one_run(queue: JobQueue) -> None:
    gate, other = Gate(), Gate()
    job = queue.submit("key", gate.work, "ann")
    gate.wait_started()
    assert queue.submit("key", other.work, "bob") is job
    assert queue.jobs_of("ann") == queue.jobs_of("bob") == [job]
    gate.may_end.set()
    assert finish(job) == ("done", "result")
    assert queue.submit("key", other.work, "cid") is job
    assert (gate.runs, other.runs) == (1, 0)


def test_others_queue_and_see_their_place_move_up(queue: JobQueue) -> None:
    gates = [Gate() for _ in range(3)]
    jobs = [queue.submit(f"key{n}", gate.work, "ann") for n, gate in enumerate(gates)]
    gates[0].wait_started()
    assert [job.snapshot().position for job in jobs] == [0, 1, 2]
    assert jobs[2].snapshot().state == "queued"
    assert jobs[2].snapshot().elapsed == 0.0
    gates[0].may_end.set()
    gates[1].wait_started()
    assert [job.snapshot().position for job in jobs] == [0, 0, 1]
    assert [job.key for job in queue.jobs_of("ann")] == ["key0", "key1", "key2"]


def test_two_workers_run_two_jobs_at_once() -> None:
    queue = JobQueue(workers=2)
    gates = [Gate(), Gate()]
    for n, gate in enumerate(gates):
        queue.submit(f"key{n}", gate.work, "ann")
    for gate in gates:
        gate.wait_started()
    queue.shutdown()


def test_a_queued_job_is_cancelled_at_once(queue: JobQueue) -> None:
    gate, never = Gate(), Gate()
    queue.submit("running", gate.work, "ann")
    gate.wait_started()
    job = queue.submit("waiting", never.work, "ann")
    queue.cancel("waiting", "ann")
    snapshot = job.snapshot()
    assert (snapshot.state, snapshot.position, snapshot.progress) == ("cancelled", 0, None)
    gate.may_end.set()
    assert finish(queue.submit("next", quickly("x"), "ann")) == ("done", "x")
    assert never.runs == 0


def test_a_job_runs_on_while_one_owner_is_left(queue: JobQueue) -> None:
    gate = Gate()
    job = queue.submit("key", gate.work, "ann")
    queue.submit("key", gate.work, "bob")
    gate.wait_started()
    queue.cancel("key", "ann")
    queue.cancel("key", "ann")
    queue.cancel("key", "a stranger")
    queue.cancel("unknown", "bob")
    assert queue.jobs_of("ann") == []
    gate.may_end.set()
    assert finish(job) == ("done", "result")
    assert not gate.noticed.is_set()


def test_a_job_stops_when_every_owner_cancels_and_keeps_the_last_progress(queue: JobQueue) -> None:
    gate = Gate()
    job = queue.submit("key", gate.work, "ann")
    queue.submit("key", gate.work, "bob")
    gate.wait_started()
    queue.cancel("key", "ann")
    queue.cancel("key", "bob")
    assert finish(job) == ("cancelled", "partial")
    assert job.snapshot().error is None


def test_a_request_does_not_join_a_job_that_is_stopping(queue: JobQueue) -> None:
    may_go = threading.Event()
    started = threading.Event()

    def stubborn(cancelled: Callable[[], bool]) -> Iterator[str]:
        started.set()
        assert may_go.wait(PATIENCE_S)
        yield "partial" if cancelled() else "result"

    old = queue.submit("key", stubborn, "ann")
    assert started.wait(PATIENCE_S)
    queue.cancel("key", "ann")
    new = queue.submit("key", quickly("fresh"), "bob")
    assert new is not old
    assert new.snapshot().position == 1
    may_go.set()
    assert finish(new) == ("done", "fresh")
    assert finish(old) == ("cancelled", "partial")
    assert queue.get("key") is new


def test_a_work_that_finishes_before_it_notices_the_wish_to_stop_is_done(queue: JobQueue) -> None:
    may_go, started = threading.Event(), threading.Event()

    def deaf(cancelled: Callable[[], bool]) -> Iterator[str]:
        started.set()
        assert may_go.wait(PATIENCE_S)
        yield "result"

    job = queue.submit("key", deaf, "ann")
    assert started.wait(PATIENCE_S)
    queue.cancel("key", "ann")
    may_go.set()
    assert finish(job) == ("done", "result")
    assert queue.submit("key", quickly("other"), "bob") is job


@pytest.mark.parametrize(
    ("error", "state"),
    [(Cancelled("stopped"), "cancelled"), (InputError("Bad.", "prompt"), "failed")],
)
def test_a_job_without_a_result_is_replaced_by_a_new_run(
    queue: JobQueue, error: Exception, state: str
) -> None:
    old = queue.submit("key", raising(error), "ann")
    assert finish(old) == (state, "so far")
    new = queue.submit("key", quickly("fresh"), "ann")
    assert finish(new) == ("done", "fresh")
    assert queue.jobs_of("ann") == [new]
    assert finish(old) == (state, "so far")


def test_the_raised_cancelled_is_no_failure(queue: JobQueue) -> None:
    snapshot = queue.submit("key", raising(Cancelled("nothing yet")), "ann").wait(PATIENCE_S)
    assert (snapshot.state, snapshot.error) == ("cancelled", None)


def test_an_error_of_the_library_is_shown_as_its_sentence(queue: JobQueue) -> None:
    error = InputError("The prompt is empty. Type a prompt.", "prompt")
    snapshot = queue.submit("key", raising(error), "ann").wait(PATIENCE_S)
    assert (snapshot.state, snapshot.error) == ("failed", "The prompt is empty. Type a prompt.")


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (ValueError("bad shape\nand a long story"), "ValueError: bad shape"),
        (MemoryError(), "MemoryError"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_any_other_error_is_a_sentence_and_a_traceback_in_the_log(
    queue: JobQueue, caplog: pytest.LogCaptureFixture, error: BaseException, what: str
) -> None:
    with caplog.at_level(logging.ERROR):
        snapshot = queue.submit("key", raising(error), "ann").wait(PATIENCE_S)
    assert snapshot.state == "failed"
    assert snapshot.error == (
        f"Something went wrong inside the program ({what}). "
        "The details are in the server's log."
    )
    assert "Traceback" in caplog.text
    assert finish(queue.submit("next", quickly("x"), "ann")) == ("done", "x")


def test_the_job_of_a_vanished_owner_stops(queue: JobQueue, clock: Clock) -> None:
    gate, waiting = Gate(), Gate()
    job = queue.submit("key", gate.work, "ann")
    queued = queue.submit("other", waiting.work, "ann")
    gate.wait_started()
    clock.now += 60.0
    assert job.snapshot().state == "running"
    assert not gate.noticed.is_set()
    clock.now += 0.001
    queue.heartbeat("bob")
    assert finish(job) == ("cancelled", "partial")
    assert queued.snapshot().state == "cancelled"


def test_a_heartbeat_keeps_a_job_alive_and_one_living_owner_is_enough(
    queue: JobQueue, clock: Clock
) -> None:
    gate = Gate()
    job = queue.submit("key", gate.work, "ann")
    queue.submit("key", gate.work, "bob")
    gate.wait_started()
    for _ in range(5):
        clock.now += 50.0
        queue.heartbeat("bob")
    assert queue.jobs_of("ann") == []
    gate.may_end.set()
    assert finish(job) == ("done", "result")


def test_looking_at_a_job_does_not_keep_it_alive(queue: JobQueue, clock: Clock) -> None:
    gate = Gate()
    job = queue.submit("key", gate.work, "ann")
    gate.wait_started()
    clock.now += 61.0
    job.snapshot()
    assert finish(job) == ("cancelled", "partial")


def test_an_owner_who_comes_back_late_finds_the_finished_job(
    queue: JobQueue, clock: Clock
) -> None:
    job = queue.submit("key", quickly("x"), "ann")
    assert finish(job) == ("done", "x")
    clock.now += 3600.0
    queue.heartbeat("ann")
    assert queue.jobs_of("ann") == [job]


def test_an_abandoned_job_stops_even_if_nobody_calls() -> None:
    queue = JobQueue(grace_s=0.05)
    gate = Gate()
    queue.submit("key", gate.work, "ann")
    assert gate.noticed.wait(PATIENCE_S)
    queue.shutdown()


def test_a_finished_job_is_forgotten_on_request_and_no_other(queue: JobQueue) -> None:
    gate, waiting = Gate(), Gate()
    job = queue.submit("key", gate.work, "ann")
    queue.submit("waiting", waiting.work, "ann")
    gate.wait_started()
    for key in ("key", "waiting", "unknown"):
        queue.forget(key)
    assert [each.key for each in queue.jobs_of("ann")] == ["key", "waiting"]
    gate.may_end.set()
    assert job.wait(PATIENCE_S).state == "done"
    queue.forget("key")
    assert queue.get("key") is None
    assert [each.key for each in queue.jobs_of("ann")] == ["waiting"]
    waiting.may_end.set()
    again = queue.submit("key", gate.work, "ann")
    assert again is not job and again.wait(PATIENCE_S).progress == "result" and gate.runs == 2


def test_only_the_latest_finished_jobs_are_retained(queue: JobQueue) -> None:
    extra = 3
    keys = [f"key{n}" for n in range(RETAINED + extra)]
    for key in keys:
        finish(queue.submit(key, quickly(key), "ann"))
    assert [key for key in keys if queue.get(key) is None] == keys[:extra]
    assert len(queue.jobs_of("ann")) == RETAINED


def test_shutdown_cancels_everything_and_ends_the_threads() -> None:
    queue = JobQueue(workers=2)
    gates = [Gate() for _ in range(3)]
    jobs = [queue.submit(f"key{n}", gate.work, "ann") for n, gate in enumerate(gates)]
    gates[0].wait_started()
    gates[1].wait_started()
    queue.shutdown()
    assert [job.snapshot().state for job in jobs] == ["cancelled"] * 3
    assert [job.snapshot().progress for job in jobs] == ["partial", "partial", None]
    assert not any(thread.is_alive() for thread in queue._threads)
    queue.shutdown()
    with pytest.raises(RuntimeError):
        queue.submit("late", quickly("x"), "ann")


def test_a_stuck_work_does_not_hold_up_the_end_of_the_process() -> None:
    program = """
import threading
import weakref
from reagent_core.jobs import JobQueue
started = threading.Event()
def stuck(cancelled):
    started.set()
    threading.Event().wait()
    yield None
JobQueue().submit("key", stuck, "ann")
assert started.wait(20)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_many_threads_at_once_lose_nothing_and_never_run_equal_work_side_by_side() -> None:
    queue = JobQueue(workers=4)
    keys = [f"key{n}" for n in range(20)]
    running = {key: threading.Lock() for key in keys}

    def work_for(key: str) -> Work[str]:
        def work(cancelled: Callable[[], bool]) -> Iterator[str]:
            if not running[key].acquire(blocking=False):
                raise AssertionError(f"{key} runs twice at a time")
            for step in range(5):
                yield f"{key} step {step}"
            running[key].release()
            yield key

        return work

    def user(number: int) -> None:
        owner = f"owner{number}"
        for key in random.Random(number).sample(keys, len(keys)):
            seen = queue.submit(key, work_for(key), owner).snapshot()
            assert seen.error is None
            assert seen.progress is None or seen.progress.startswith(key)
            assert (seen.position > 0) == (seen.state == "queued")
            queue.submit(f"{key} of {owner}", quickly("own"), owner)
            queue.heartbeat(owner)
            queue.cancel(f"{key} of {owner}", owner)

    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            user(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert failures == []
    for key in keys:
        assert finish(queue.submit(key, work_for(key), "last")) == ("done", key)
    queue.shutdown()


def test_many_equal_requests_at_once_are_one_run() -> None:
    queue = JobQueue(workers=4)
    gate = Gate()
    barrier = threading.Barrier(16)
    jobs: list[Job[str]] = []

    def user(number: int) -> None:
        barrier.wait(PATIENCE_S)
        jobs.append(queue.submit("key", gate.work, f"owner{number}"))

    threads = [threading.Thread(target=user, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    gate.may_end.set()
    assert len(jobs) == 16 and len(set(jobs)) == 1
    assert finish(jobs[0]) == ("done", "result")
    assert gate.runs == 1
    queue.shutdown()


def test_a_reopened_page_joins_the_running_job() -> None:
    started, release = threading.Event(), threading.Event()

    def work(cancelled: Callable[[], bool]) -> Iterator[str]:
        started.set()
        release.wait(10)
        yield "cancelled" if cancelled() else "finished"

    queue = JobQueue()
    queue.submit("a", work, "first tab")
    started.wait(10)
    job = queue.join("a", "second tab")
    assert job is not None and queue.join("unknown", "second tab") is None
    queue.cancel("a", "first tab")
    release.set()
    assert job.wait(10).progress == "finished"
    queue.shutdown()


def test_an_input_error_names_its_field() -> None:
    def work(cancelled: Callable[[], bool]) -> Iterator[str]:
        raise InputError("Too long.", "prompt")
        yield ""

    queue = JobQueue()
    snapshot = queue.submit("a", work, "me").wait(10)
    assert snapshot.state == "failed"
    assert (snapshot.error, snapshot.error_field) == ("Too long.", "prompt")
    queue.shutdown()


def test_a_failed_job_keeps_its_sentence_and_nothing_that_was_in_memory(queue: JobQueue) -> None:
    class Weights:
        """Stands for a model."""

    seen: list[weakref.ref[Weights]] = []

    def work(cancelled: Callable[[], bool]) -> Iterator[int]:
        weights = Weights()
        seen.append(weakref.ref(weights))
        try:
            raise ValueError("inner")
        except ValueError as error:
            raise InputError("Too long.", "prompt") from error
        yield 1

    job = queue.submit("key", work, "me")
    assert job.wait(10).error == "Too long."
    gc.collect()
    assert seen[0]() is None


def test_what_was_found_is_shown_until_the_next_try_has_found_more(queue: JobQueue) -> None:
    def breaks_off(cancelled: Callable[[], bool]) -> Iterator[str]:
        yield "half of it"
        raise InputError("The server is lost.", "model")

    assert queue.submit("key", breaks_off, "me").wait(PATIENCE_S).progress == "half of it"
    def finds_nothing(cancelled: Callable[[], bool]) -> Iterator[str]:
        raise InputError("Still lost.", "model")
        yield "never"

    gate = Gate()
    told = queue.submit("key", finds_nothing, "me").wait(PATIENCE_S)
    assert (told.progress, told.error) == ("half of it", "Still lost.")
    job = queue.submit("key", gate.work, "me")
    gate.wait_started()
    assert job.snapshot().progress == "first"
    gate.may_end.set()
    assert job.wait(PATIENCE_S).progress == "result"


def test_what_is_known_is_shown_before_the_work_has_found_more(queue: JobQueue) -> None:
    gate, busy = Gate(), Gate()
    queue.submit("busy", busy.work, "ann")
    busy.wait_started()
    job = queue.submit("key", gate.work, "ann", found="known")
    assert (job.snapshot().state, job.snapshot().progress) == ("queued", "known")
    assert queue.submit("key", gate.work, "bob", found="other") is job  # it is there already
    busy.may_end.set()
    gate.wait_started()
    assert job.snapshot().progress == "first"
    gate.may_end.set()


def by_hand(steps: list[threading.Event]) -> Work[int]:
    """A work that yields once for each event, when it is set."""

    def work(cancelled: Callable[[], bool]) -> Iterator[int]:
        for number, step in enumerate(steps):
            assert step.wait(PATIENCE_S)
            if cancelled():
                raise Cancelled("Stopped.")
            yield number

    return work


def test_what_takes_hours_lets_the_others_go_first_and_then_goes_on(queue: JobQueue) -> None:
    steps = [threading.Event() for _ in range(2)]
    long = queue.submit("long", by_hand(steps), "ann", gives_way=True)
    short = [queue.submit(f"short{n}", quickly(f"result {n}"), "bob") for n in range(2)]
    as_long = queue.submit("as long", quickly("other"), "bob", gives_way=True)
    assert [job.snapshot().state for job in short] == ["queued", "queued"]
    gate = Gate()
    last = queue.submit("last", gate.work, "bob")
    assert not long.snapshot().waits
    steps[0].set()
    assert [finish(job) for job in short] == [("done", "result 0"), ("done", "result 1")]
    gate.wait_started()
    assert (long.snapshot().state, as_long.snapshot().state) == ("running", "queued")
    assert long.snapshot().waits and not last.snapshot().waits
    gate.may_end.set()
    last.wait(PATIENCE_S)
    steps[1].set()
    assert finish(long) == ("done", 1) and finish(as_long) == ("done", "other")
    assert not long.snapshot().waits


def test_a_job_that_gives_way_outlives_one_that_fails(queue: JobQueue) -> None:
    steps = [threading.Event() for _ in range(2)]
    long = queue.submit("long", by_hand(steps), "ann", gives_way=True)
    failing = queue.submit("short", raising(ValueError("x")), "bob")
    for step in steps:
        step.set()
    assert finish(failing)[0] == "failed" and finish(long) == ("done", 1)


def test_a_job_can_be_stopped_for_everybody(queue: JobQueue) -> None:
    steps = [threading.Event()]
    running = queue.submit("running", by_hand(steps), "ann")
    queue.join("running", "bob")
    waiting = queue.submit("waiting", quickly("never"), "ann")
    queue.stop("waiting")
    assert waiting.snapshot().state == "cancelled"
    queue.stop("running")
    steps[0].set()
    assert finish(running) == ("cancelled", None)
    queue.stop("running")  # it has ended
    queue.stop("no such job")
    assert finish(queue.submit("running", quickly("again"), "bob")) == ("done", "again")
