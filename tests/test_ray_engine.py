"""A study on a cluster of two Ray workers that die, refuse and are interrupted."""

from __future__ import annotations

import socketserver
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
import pytest
from typer.testing import CliRunner

from reagent_core import models
from reagent_core.cli import app
from reagent_core.config import PRESETS
from reagent_core.errors import InputError, Interrupted, UnknownModelError
from reagent_core.explanation import Explanation, dump, load
from reagent_core.study import ray_engine
from reagent_core.study.folder import StudyFolder
from reagent_core.study.plan import Outcome, Row, Study, Task
from reagent_core.study.ray_cluster import Share, share
from reagent_core.study.run import run_study
from reagent_core.study.work import Doing, Worked, work_on
from tests import ray_replicas
from tests.tiny import TinyScorer
from tests.tiny_models import tiny_model
from tests.trained_tokenizers import byte_level
from tests.waiting import until

# An outcome, and its explanations by their keys.
Found = tuple[Outcome, list[tuple[str, Explanation]]]

ROWS = tuple(Row(index=i, prompt="the capital of france is" + " big" * i) for i in range(8))


def study_of(*models: str, rows: tuple[Row, ...] = ROWS) -> Study:
    config = PRESETS["quick"]
    return Study(
        name="test", rows=rows, models=models, methods=("reagent", "leave_one_out"), config=config,
        max_new_tokens=4, draws=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster of two machines with one CPU each."""
    with (
        pytest.MonkeyPatch.context() as patch,
        # The path of a socket has 107 characters at most.
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder,
    ):
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")  # or a token is left in the user's home
        patch.setenv("OMP_NUM_THREADS", "1")
        from ray.cluster_utils import Cluster

        machine = {"num_cpus": 1, "object_store_memory": 80 * 1024**2, "include_dashboard": False}
        # Without the processes of the head that watch: they take seconds to start.
        head = {**machine, "no_monitor": True, "include_log_monitor": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            cluster.add_node(**machine)
            yield cluster.address
        finally:
            cluster.shutdown()


def replicas(name: str) -> list[psutil.Process]:
    """The workers of the cluster, which Ray names after their class and what they do."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[0].startswith(f"ray::{name}"):
                found.append(process)
        except (psutil.Error, IndexError):
            continue
    return found


def without_times(worked: Worked) -> Found:
    """All that two runs have in common."""
    outcome = worked.outcome
    found = tuple(each.model_copy(update={"seconds": 0.0}) for each in outcome.found)
    explanations = [
        (key, load(text).model_copy(update={"seconds": 0.0})) for key, text in worked.explanations
    ]
    return outcome.model_copy(update={"seconds": 0.0, "found": found}), explanations


def kept(folder: StudyFolder, outcome: Outcome) -> Found:
    """The same of what a folder has kept."""
    keys = [found.explanation for found in outcome.found]
    return without_times(
        Worked(outcome, tuple((key, dump(folder.explanation(key))) for key in keys))
    )


def row(worked: tuple[Outcome, object]) -> int:
    return worked[0].task.row


def ended(items: Iterable[Worked | Doing]) -> list[Worked]:
    return [each for each in items if isinstance(each, Worked)]


def outcomes_of(found: Iterable[Worked | Doing]) -> dict[Task, Outcome]:
    """Outcomes by their tasks; none may come twice."""
    outcomes = [each.outcome for each in ended(found)]
    by_task = {each.task: each for each in outcomes}
    assert len(by_task) == len(outcomes)
    return by_task


def test_a_worker_that_is_killed_leaves_the_files_of_a_study_as_they_would_be(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By the command, from its data set to its files, on Ray and without."""
    rows, data, model = ROWS[:6], tmp_path / "capitals.txt", tmp_path / "model"
    data.write_text("".join(f"{row.prompt}\n" for row in rows))
    tiny_model("llama").save_pretrained(model)
    byte_level().save_pretrained(model)
    killed = threading.Event()

    def kill() -> bool:
        at_work = replicas("Replica.work")
        for process in at_work[:1]:
            process.kill()
            killed.set()
        return killed.is_set()

    def kill_in_the_middle() -> None:
        until(lambda: (tmp_path / "ray" / "outcomes.jsonl").exists(), 300)
        until(kill, 300)

    def run(name: str, *options: str) -> tuple[list[Found], pd.DataFrame]:
        """What a study left in the folder of this name."""
        result = CliRunner().invoke(
            app, ["study", str(data), "--out", str(tmp_path / name), "--model", str(model),
                  "--methods", "reagent,leave_one_out", "--preset", "quick", "--draws", "1",
                  "--max-new-tokens", "4", *options],
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        folder = StudyFolder.open(tmp_path / name)
        lines = (folder.path / "outcomes.jsonl").read_text("utf-8").splitlines()
        assert len(lines) == len(rows), "no row twice"
        found = [kept(folder, Outcome.model_validate_json(line)) for line in lines]
        folder.close()
        table = pd.read_csv(folder.path / "results.csv").drop(columns="seconds")
        return sorted(found, key=row), table

    thread = threading.Thread(target=kill_in_the_middle, daemon=True)
    thread.start()
    on_ray, table = run("ray", "--engine", "ray", "--ray-address", address)
    assert killed.is_set(), "the study had ended before"
    (lost,) = (each for each in caplog.messages if each.startswith("A worker was lost"))
    assert "while it worked on row " in lost
    expected, its_table = run("local")
    assert [outcome.status for outcome, _ in expected] == ["done"] * len(rows)
    assert on_ray == expected
    pd.testing.assert_frame_equal(table, its_table)


def test_what_goes_wrong_costs_its_own_rows_alone(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray_engine, "Replica", ray_replicas.Troubled)
    study = study_of("./nowhere", "tiny server", "tiny")
    nowhere, _, well, deadly = tasks = [
        Task(model="./nowhere", row=0), Task(model="tiny server", row=0),
        Task(model="tiny", row=0), Task(model="tiny", row=1),
    ]  # fmt: skip
    found = []
    with pytest.raises(Interrupted, match="The server is lost"):
        for each in ray_engine.run(tasks, study, address=address):
            found.append(each)
    outcomes = outcomes_of(found)
    assert {task: each.status for task, each in outcomes.items()} == {
        nowhere: "failed", well: "done", deadly: "failed",
    }  # fmt: skip
    with pytest.raises(UnknownModelError) as unknown:
        models.resolve("./nowhere")
    assert outcomes[nowhere].reason == str(unknown.value)
    assert (outcomes[deadly].reason or "").startswith("This row ended its worker 3 times.")
    lost = "A worker was lost while it worked on row 1 with tiny; the row is given to another."
    assert caplog.messages == [lost, lost]


def test_an_idle_worker_that_dies_is_no_fault_of_the_next_row(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray_engine, "Replica", ray_replicas.Tiny)
    study = study_of("tiny", rows=ROWS[:6])
    found = []
    for each in ray_engine.run(study.tasks, study, address=address):
        found.append(each)
        if isinstance(each, Worked) and len(ended(found)) == 1:
            # The one that has found it has nothing to do until this loop goes on.
            idle = until(lambda: [one for one in replicas("Tiny") if "." not in one.cmdline()[0]])
            for process in idle:
                process.kill()
            psutil.wait_procs(idle)
    assert [each.status for each in outcomes_of(found).values()] == ["done"] * 6
    lost = "A worker was lost while it was idle, with tiny; another takes its place."
    assert set(caplog.messages) == {lost}


def test_a_study_that_was_stopped_goes_on(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study = study_of("tiny", rows=ROWS[:5])
    folder = StudyFolder.create(tmp_path / "study", study)
    engine = partial(ray_engine.run, address=address)
    monkeypatch.setattr(ray_engine, "Replica", ray_replicas.Slow)
    *_, last = run_study(folder, engine, lambda: len(folder.done()) >= 2)
    assert (last.doing, last.done, last.total) == ("Paused", 2, 5)
    folder.close()
    until(lambda: not replicas("Slow"))

    folder = StudyFolder.open(tmp_path / "study")
    monkeypatch.setattr(ray_engine, "Replica", ray_replicas.Tiny)
    *_, last = run_study(folder, engine)
    assert (last.doing, last.done, last.total) == ("Done", 5, 5)
    outcomes = folder.outcomes()
    assert sorted((each.task.row, each.status) for each in outcomes) == [
        (i, "done") for i in range(5)
    ]
    for each in outcomes:
        assert kept(folder, each) == without_times(work_on(each.task, study, TinyScorer()))
    folder.close()


def test_a_worker_with_other_weights_leaves_the_work_to_the_first(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(ray_engine, "Replica", ray_replicas.OtherWeights)
    study = study_of(str(tmp_path), rows=ROWS[:3])
    found = outcomes_of(ray_engine.run(study.tasks, study, address=address))
    assert [each.status for each in found.values()] == ["done"] * 3
    assert len(caplog.messages) == 1
    assert "A worker has another state of" in caplog.messages[0]


def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    study = study_of("tiny")
    with pytest.raises(InputError, match=r"pip install \"reagent-dashboard\[ray\]\""):
        list(ray_engine.run(study.tasks, study))


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("nonsense", "is no address of a Ray cluster"),
        ("head:70000", "is no address of a Ray cluster"),
        ("ray://head:10001", "one of Ray's client"),
        ("127.0.0.1:1", "No Ray cluster answers"),
    ],
)
def test_an_address_where_no_cluster_is_says_so(address: str, sentence: str) -> None:
    study = study_of("tiny")
    with pytest.raises(InputError, match=sentence):
        list(ray_engine.run(study.tasks, study, address=address))


def test_something_else_that_answers_is_no_cluster() -> None:
    study = study_of("tiny")
    with socketserver.TCPServer(("127.0.0.1", 0), BadRequest) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(InputError, match="what answers there is something else"):
            list(
                ray_engine.run(study.tasks, study, address=f"127.0.0.1:{server.server_address[1]}")
            )


class BadRequest(socketserver.BaseRequestHandler):
    """What a web server says to Ray."""

    def handle(self) -> None:
        self.request.recv(1024)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_machine_outside_the_cluster_says_so(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "process_iter", lambda: iter(()))
    study = study_of("tiny")
    with pytest.raises(InputError, match="This machine belongs to no Ray cluster"):
        list(ray_engine.run(study.tasks, study, address=address))


@pytest.mark.parametrize(
    ("machines", "expected"),
    [
        ([], Share(cpus=1, gpus=0, replicas=1)),
        ([{"CPU": 0}, {"CPU": 1}, {"CPU": 1}], Share(cpus=1, gpus=0, replicas=2)),
        ([{"CPU": 2}], Share(cpus=2, gpus=0, replicas=1)),
        ([{"CPU": 16}, {"CPU": 32}], Share(cpus=4, gpus=0, replicas=12)),
        ([{"CPU": 6}, {"CPU": 16}], Share(cpus=6, gpus=0, replicas=3)),
        ([{"CPU": 64}, {"CPU": 32, "GPU": 8}, {"CPU": 8, "GPU": 1}], Share(1, 1, 9)),
        ([{"CPU": 4, "GPU": 8}], Share(cpus=0, gpus=1, replicas=8)),
    ],
)
def test_replicas_share_the_machines(machines: list[dict[str, float]], expected: Share) -> None:
    assert share(machines) == expected
