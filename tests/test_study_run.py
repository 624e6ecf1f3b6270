"""A study from its prompts to what is on disk: tasks, engine, folder, pause, kill and resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from reagent_core import models
from reagent_core.config import Config
from reagent_core.errors import Cancelled, InputError, Interrupted, ModelError
from reagent_core.explanation import load
from reagent_core.request import AnswerTokens, GivenText
from reagent_core.scorers.base import GeneratedToken, Scorer
from reagent_core.store import Store
from reagent_core.study.folder import StudyBusy, StudyFolder
from reagent_core.study.local import run
from reagent_core.study.plan import Maker, Outcome, Row, Study, Task, made_before
from reagent_core.study.run import StudyProgress, run_study
from reagent_core.study.words import again_words
from reagent_core.study.work import Doing, Worked, failed, request_of, work_on
from tests.tiny import Homely
from tests.waiting import until

FRANCE, SPAIN = "the capital of france is a red city", "the capital of spain is a big green one"
ROWS = (
    Row(index=0, prompt=FRANCE, target="paris", key="france"),
    Row(index=1, prompt=SPAIN, target="madrid", key="spain"),
    Row(index=2, prompt="  ", target="paris"),
    Row(index=3, prompt=FRANCE, key="blue"),
)
QUICK = Config(probes=2, min_steps=20, max_steps=30)
STUDY = Study(
    name="capitals",
    rows=ROWS,
    models=("tiny",),
    methods=("reagent", "leave_one_out", "gradient_norm", "random"),
    config=QUICK,
    max_new_tokens=2,
    budget=40,
    draws=1,
)
FIRST = STUDY.tasks[0]


@pytest.fixture(autouse=True)
def scorer(monkeypatch: pytest.MonkeyPatch) -> Homely:
    """What `models.load` gives, whatever it is asked for."""
    tiny = Homely()
    monkeypatch.setattr(models, "load", lambda model_id: tiny)
    return tiny


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[StudyFolder]:
    made = StudyFolder.create(tmp_path / "study", STUDY)
    yield made
    made.close()


def without_seconds(outcome: Outcome) -> dict[str, object]:
    """What two runs of a task have in common."""
    return outcome.model_dump(exclude={"seconds": True, "found": {"__all__": {"seconds"}}})


def lines_of(folder: StudyFolder) -> list[str]:
    return (folder.path / "outcomes.jsonl").read_text("utf-8").splitlines()


# --- A task ---------------------------------------------------------------------------------------


def test_a_task_is_explained_by_all_methods_and_compared() -> None:
    worked = work_on(FIRST, STUDY, Homely())
    outcome = worked.outcome
    assert (outcome.status, outcome.reason, outcome.target) == ("done", None, " paris")
    assert [found.method for found in outcome.found] == ["reagent", "leave_one_out", "random"]
    reagent, one_out, _ = outcome.found
    assert reagent.top[0] == one_out.top[0] == "france"
    assert reagent.key_rank == one_out.key_rank == 1 and reagent.units == 8
    assert reagent.mean is not None and reagent.standing == "weak"
    assert reagent.soft_missing == "not_measurable", "nobody sees the embeddings of this model"
    assert reagent.mean.comprehensiveness.mean == pytest.approx(2.0794, abs=1e-3)  # log 8
    assert outcome.refused[0][0] == "gradient_norm" and "looks inside" in outcome.refused[0][1]
    assert [key for key, _ in worked.explanations] == [each.explanation for each in outcome.found]
    first = load(worked.explanations[0][1])
    assert first.method == "reagent" and first.target.text == " paris"
    assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome


def test_what_a_method_warns_of_is_noted_with_its_name() -> None:
    """A row whose notes the comparison has none of: leave-one-out needs 8 sequences, Shapley 16."""
    study = STUDY.model_copy(update={"methods": ("shapley", "leave_one_out"), "budget": 5})
    noted = work_on(FIRST, study, Homely()).outcome.notes
    lead = "More than the budget of 5 sequences was used: there are 8 tokens, and "
    assert [note.partition(lead)[0] for note in noted] == [
        "Shapley value sampling: ", "Leave-one-out: ",
    ]  # fmt: skip
    assert [note[-9:] for note in noted] == ["takes 16.", " takes 8."]
    assert work_on(FIRST, STUDY, Homely()).outcome.notes == ()


def test_without_a_target_the_whole_answer_is_explained_as_one() -> None:
    own, given = STUDY.rows[3], STUDY.rows[0]
    asked, answered = request_of(own, Task(model="tiny", row=3), STUDY, Homely())
    assert len(answered) == 2 and asked.target == AnswerTokens(start=0, stop=2)
    asked, answered = request_of(given, FIRST, STUDY, Homely())
    assert (asked.target, answered) == (GivenText(text="paris"), ())
    outcome = work_on(Task(model="tiny", row=3), STUDY, Homely()).outcome
    assert outcome.target == outcome.answer == " paris paris"
    assert {found.key_rank for found in outcome.found} == {None}, "“blue” is not in the prompt"


@pytest.mark.parametrize("methods", [("reagent", "random"), ("random", "reagent", "leave_one_out")])
@pytest.mark.parametrize("row", [0, 3])
def test_the_model_answers_a_prompt_once(methods: tuple[str, ...], row: int) -> None:
    class Counting(Homely):
        answers = 0

        def generate(self, *arguments: object, **options: object) -> tuple[GeneratedToken, ...]:  # type: ignore[override]
            self.answers += 1
            return super().generate(*arguments, **options)  # type: ignore[arg-type]

    scorer = Counting()
    study = STUDY.model_copy(update={"methods": methods})
    assert work_on(study.tasks[row], study, scorer).outcome.status == "done"
    assert scorer.answers == 1


def test_a_chat() -> None:
    study = STUDY.model_copy(update={"chat": True, "methods": ("random",)})
    worked = work_on(FIRST, study, Homely())
    explanation = load(worked.explanations[0][1])
    assert explanation.messages is not None and explanation.messages[0].content == FRANCE


def test_what_a_row_is_to_blame_for_is_its_outcome() -> None:
    outcome = work_on(STUDY.tasks[2], STUDY, Homely()).outcome
    assert outcome.status == "failed" and outcome.found == ()
    assert outcome.reason is not None and outcome.reason.startswith("This is empty")
    none = STUDY.model_copy(update={"methods": ("gradient_norm",)})
    assert "Gradient norm looks inside" in str(work_on(FIRST, none, Homely()).outcome.reason)


def test_a_defect_of_the_model_costs_one_row(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Homely):
        def score(self, *arguments: object, **options: object) -> object:  # type: ignore[override]
            raise RuntimeError("shapes differ")

    outcome = work_on(FIRST, STUDY, Broken()).outcome
    assert outcome.reason == "The program failed (RuntimeError: shapes differ)."
    assert "Row 0 of the study failed" in caplog.text


def test_a_lost_server_and_a_cancel_are_no_outcomes() -> None:
    class Lost(Homely):
        def score(self, *arguments: object, **options: object) -> object:  # type: ignore[override]
            raise Interrupted("The server is gone.")

    with pytest.raises(Interrupted):
        work_on(FIRST, STUDY, Lost())
    with pytest.raises(Cancelled):
        work_on(FIRST, STUDY, Homely(), cancelled=lambda: True)


# --- The engine -----------------------------------------------------------------------------------


def test_a_model_that_cannot_be_loaded_costs_its_own_tasks(
    scorer: Homely, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = STUDY.model_copy(update={"models": ("none", "tiny"), "methods": ("random",)})

    def loaded(model_id: str) -> Scorer:
        if model_id == "none":
            raise ModelError("There is no such model.")
        return scorer

    monkeypatch.setattr(models, "load", loaded)
    steps = list(run(study.tasks, study))
    ended = [step.outcome for step in steps if isinstance(step, Worked)]
    assert [(each.task.model, each.status) for each in ended] == [
        *[("none", "failed")] * 4, ("tiny", "done"), ("tiny", "done"), ("tiny", "failed"),
        ("tiny", "done"),
    ]  # fmt: skip
    assert {each.reason for each in ended[:4]} == {"There is no such model."}
    assert [step.what for step in steps if isinstance(step, Doing) and step.task is None] == [
        "Loading none", "Loading tiny",
    ]  # fmt: skip


def test_a_lost_server_is_told_after_the_other_models(
    scorer: Homely, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = STUDY.model_copy(update={"models": ("lost", "tiny"), "methods": ("random",)})

    def loaded(model_id: str) -> Scorer:
        if model_id == "lost":
            raise Interrupted("The server is gone.")
        return scorer

    monkeypatch.setattr(models, "load", loaded)
    kept: list[str] = []
    with pytest.raises(Interrupted, match="gone"):
        for step in run(study.tasks, study):
            kept += [step.outcome.task.model] if isinstance(step, Worked) else []
    assert kept == ["tiny"] * 4


# --- The folder -----------------------------------------------------------------------------------


def test_a_study_is_done_and_kept(folder: StudyFolder) -> None:
    seen = list(run_study(folder))
    assert (seen[0].done, seen[0].total, seen[0].left_s) == (0, 4, None)
    assert [step.last.task.row for step in seen if step.last] == [0, 1, 2, 3]
    assert "Row 1: ReAGent" in [step.doing for step in seen]
    last = seen[-1]
    assert (last.done, last.failed, last.total, last.left_s) == (4, 1, 4, 0.0)
    assert len(lines_of(folder)) == 4 and folder.done() == set(STUDY.tasks)
    outcome = folder.outcomes()[0]
    kept = folder.explanation(outcome.found[0].explanation)
    assert kept.target.text == " paris" and kept.trace
    assert list(run_study(folder))[-1] == StudyProgress(4, 1, 4, "Done", pytest.approx(0, abs=1))
    assert len(lines_of(folder)) == 4


def test_the_time_left_is_told_at_the_pace_of_the_rows_that_came_out(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    clock = SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr("reagent_core.study.work.time", clock)

    def engine(tasks: Sequence[Task], *_: object) -> Iterator[Worked | Doing]:
        """Two rows of 10 s, one that fails after 1 s, one of 40 s."""
        for task, seconds in zip(tasks, (10, 10, 1, 40), strict=True):
            yield Doing("ReAGent", task)
            now[0] += seconds
            well = Worked(Outcome(task=task, status="done", seconds=seconds))
            yield failed(task, "It is empty.") if seconds == 1 else well

    seen = []
    for step in run_study(folder, engine):
        seen.append((step.done, step.left_s))
        now[0] += 1000  # whoever looks at it takes his time, which does not count
    assert seen == [
        (0, None), (0, None),  # the start, and the first row
        (1, 30.0), (1, 30.0),  # three more at 10 s each
        (2, 20.0), (2, 20.0),
        (3, 10.5), (3, 10.5),  # what failed says nothing of the pace, but took its time
        (4, 0.0),
    ]  # fmt: skip


def test_it_goes_on_where_it_was_paused(folder: StudyFolder, scorer: Homely) -> None:
    stop: list[bool] = []
    for step in run_study(folder, cancelled=lambda: bool(stop)):
        if step.done == 2:
            stop.append(True)
    assert (step.done, step.doing) == (2, "Paused")
    calls = len(scorer.calls)
    again = StudyFolder.create(folder.path, STUDY.model_copy(update={"name": "renamed"}))
    rows = [step.last.task.row for step in run_study(again) if step.last]
    assert rows == [2, 3] and len(scorer.calls) > calls
    assert len(lines_of(folder)) == 4


def test_a_task_that_was_being_done_is_done_again_to_the_same_end(folder: StudyFolder) -> None:
    list(run_study(folder))
    whole = [without_seconds(outcome) for outcome in folder.outcomes()]
    file = folder.path / "outcomes.jsonl"
    content = file.read_bytes()
    file.write_bytes(content[: content.rindex(b'"status"')])  # killed in the middle of a line
    assert len(folder.outcomes()) == 3
    list(run_study(folder))
    assert [without_seconds(outcome) for outcome in folder.outcomes()] == whole
    assert len(lines_of(folder)) == 4


def test_nothing_is_kept_twice(folder: StudyFolder) -> None:
    worked = failed(FIRST, "No.")
    assert folder.keep(worked) and not folder.keep(worked)
    assert len(lines_of(folder)) == 1
    assert StudyFolder.open(folder.path).study == STUDY


def test_what_failed_is_done_again_if_wanted(folder: StudyFolder) -> None:
    folder.keep(failed(FIRST, "The model was not there."))
    list(run_study(folder))
    assert [outcome.status for outcome in folder.outcomes()].count("failed") == 2
    last = list(run_study(folder, retry_failed=True))[-1]
    assert (last.done, last.failed) == (4, 1)
    assert len(lines_of(folder)) == 4


def by_another_version(folder: StudyFolder, tasks: Collection[Task], **other: object) -> None:
    """Say of tasks that something else made them."""
    lines = []
    for outcome in folder.outcomes():
        maker = outcome.made_by
        assert maker is not None
        if outcome.task in tasks:
            maker = maker.model_copy(update=other)
        lines.append(outcome.model_copy(update={"made_by": maker}).model_dump_json() + "\n")
    (folder.path / "outcomes.jsonl").write_text("".join(lines), "utf-8")


def test_what_another_version_did_is_done_again_with_the_rest(folder: StudyFolder) -> None:
    list(run_study(folder))
    by_another_version(folder, set(STUDY.tasks), method=0)
    old = lines_of(folder)
    assert made_before(STUDY, folder.outcomes()) == set(), "all by one version, and nothing is left"
    list(run_study(folder))
    assert lines_of(folder) == old

    (folder.path / "outcomes.jsonl").write_text("".join(line + "\n" for line in old[:2]), "utf-8")
    again = made_before(STUDY, folder.outcomes())
    assert again == set(STUDY.tasks[:2])
    assert again_words(len(again)).startswith("2 were done by another version")
    first, *_, last = run_study(folder)
    assert (first.done, first.failed, last.done, last.failed) == (0, 0, 4, 1)
    assert {each.made_by for each in folder.outcomes()} == {Maker.now("0")}
    assert (folder.path / "replaced.jsonl").read_text("utf-8").splitlines() == old[:2]


def test_what_the_model_did_with_other_weights_is_done_again(
    folder: StudyFolder, caplog: pytest.LogCaptureFixture
) -> None:
    list(run_study(folder))
    by_another_version(folder, set(STUDY.tasks), model="1")
    (folder.path / "outcomes.jsonl").write_text(
        "".join(line + "\n" for line in lines_of(folder)[:3]), "utf-8"
    )
    seen = list(run_study(folder))
    assert [step.last.task.row for step in seen if step.last] == [3, 0, 1, 2]
    assert [step.done for step in seen if step.last] == [1, 2, 3, 4]
    assert (seen[0].failed, seen[-1].failed, seen[-1].doing) == (1, 1, "Done")
    assert {each.made_by for each in folder.outcomes()} == {Maker.now("0")}
    assert caplog.messages == ["tiny has other weights: 3 rows are done again."]


def test_one_at_a_time_writes(folder: StudyFolder) -> None:
    steps = run_study(folder)
    next(steps)
    other = StudyFolder.open(folder.path)
    with pytest.raises(StudyBusy, match="is being run already"):  # in another thread, say
        list(run_study(folder))
    with pytest.raises(StudyBusy, match="is being run already"):
        list(run_study(other))
    with pytest.raises(StudyBusy):
        other.keep(failed(FIRST, "No."))
    assert other.outcomes() == []  # reading is free
    steps.close()
    assert list(run_study(other))[-1].done == 4


def test_another_study_in_the_same_folder_is_refused(folder: StudyFolder, tmp_path: Path) -> None:
    other = STUDY.model_copy(update={"draws": 2})
    with pytest.raises(InputError, match="holds another study, “capitals” of 4 prompts"):
        StudyFolder.create(folder.path, other)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="not empty and holds no study"):
        StudyFolder.create(tmp_path, STUDY)
    with pytest.raises(InputError, match="cannot be used"):
        StudyFolder.create(tmp_path / "file", STUDY)
    with pytest.raises(InputError, match="There is no study in"):
        StudyFolder.open(tmp_path)
    (folder.path / "study.json").write_text('{"schema_version": 2}')
    with pytest.raises(InputError, match="newer version"):
        StudyFolder.open(folder.path)


def test_a_damaged_line_is_told(folder: StudyFolder) -> None:
    folder.keep(failed(FIRST, "No."))
    with (folder.path / "outcomes.jsonl").open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(InputError, match=r"Line 2 of .*outcomes.jsonl is damaged"):
        folder.outcomes()


def test_explanations_that_cannot_be_kept_stop_the_study(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "put", lambda self, key, explanation: None)  # says nothing
    with pytest.raises(Exception, match="not in the library"):
        list(run_study(folder))
    assert folder.outcomes() == []


def test_a_study_has_nothing_twice() -> None:
    with pytest.raises(ValueError, match="a method is there twice"):
        Study(name="x", rows=ROWS, methods=("random", "random"))
    assert "problem" not in STUDY.model_dump_json(), "a study of before it keeps its id"
    assert STUDY.id == STUDY.model_copy(update={"name": "y"}).id != Study(name="x", rows=ROWS).id


def test_a_copy_has_an_id_of_its_own() -> None:
    fresh = STUDY.model_copy(deep=True)
    plain = fresh.model_dump_json()
    assert fresh.id == STUDY.id == fresh.model_copy().id
    assert fresh.model_copy(update={"draws": 2}).id != fresh.id
    assert fresh.model_dump_json() == plain and Study.model_validate_json(plain) == fresh
    assert fresh == STUDY.model_copy() and hash(fresh) == hash(STUDY)


def test_what_others_do_meanwhile_takes_no_time_of_the_study(folder: StudyFolder) -> None:
    started = time.perf_counter()
    steps = []
    for step in run_study(folder):
        steps.append(step)
        time.sleep(0.1)  # other runs that go first
    elapsed = time.perf_counter() - started
    own = sum(outcome.seconds for outcome in folder.outcomes())
    assert own <= steps[-1].seconds + 0.01
    assert steps[-1].seconds < elapsed - 0.1 * len(steps) + 0.01


# --- Killed ---------------------------------------------------------------------------------------

_SLOW = """
import sys, time
from pathlib import Path
from reagent_core import models
from reagent_core.study.folder import StudyFolder
from reagent_core.study.run import run_study
from tests.tiny import Homely

class Slow(Homely):
    def score(self, *arguments, **options):
        time.sleep(0.002)
        return super().score(*arguments, **options)

models.load = lambda model_id: Slow()
for step in run_study(StudyFolder.open(Path(sys.argv[1]))):
    pass
"""


def test_killed_in_the_middle_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    rows = tuple(Row(index=i, prompt=f"{FRANCE}{' red' * i}", target="paris") for i in range(6))
    study = STUDY.model_copy(update={"rows": rows, "methods": ("reagent", "leave_one_out")})
    folder = StudyFolder.create(tmp_path / "killed", study)
    child = subprocess.Popen([sys.executable, "-c", _SLOW, folder.path], env=os.environ)
    until(lambda: len(folder.outcomes()) >= 2 or child.poll() is not None, seconds=60)
    assert child.poll() is None, "it ended before it could be killed"
    child.send_signal(signal.SIGKILL)
    child.wait()
    told = [step.last.task.row for step in run_study(folder) if step.last]
    outcomes = folder.outcomes()
    assert [outcome.task.row for outcome in outcomes] == list(range(6))
    assert 0 < len(told) <= 4
    whole = StudyFolder.create(tmp_path / "whole", study)
    list(run_study(whole))
    assert list(map(without_seconds, outcomes)) == list(map(without_seconds, whole.outcomes()))
    for outcome in outcomes:
        for found in outcome.found:
            assert folder.explanation(found.explanation).method == found.method
    assert all(json.loads(line) for line in lines_of(folder))
