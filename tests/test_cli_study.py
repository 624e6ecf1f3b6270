"""`reagent study` on the tiny model: files, columns, pause and resume, exit codes."""

from __future__ import annotations

import gc
import json
import signal
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from reagent_core import models
from reagent_core.cli import app
from reagent_core.errors import Interrupted, ModelError
from reagent_core.scorers.base import Scorer
from reagent_core.study import local
from reagent_core.study.folder import StudyFolder
from reagent_core.study.plan import Study, Task
from reagent_core.study.work import Doing, Worked
from tests.tiny import Homely

LINES = [
    {"prompt": "the capital of france is", "target": "paris", "key": "france"},
    {"prompt": "the capital of spain is", "target": "madrid", "key": "spain"},
    {"prompt": "", "target": "paris", "key": None},
]
OPTIONS = ("--preset", "quick", "--methods", "leave_one_out,random", "--budget", "20",
           "--draws", "1", "--max-new-tokens", "2")  # fmt: skip


@pytest.fixture(autouse=True)
def scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Homely:
    """What `models.load` gives, whatever it is asked for."""
    tiny = Homely()
    monkeypatch.setattr(models, "load", lambda model_id: tiny)
    monkeypatch.setenv("REAGENT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("REAGENT_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return tiny


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "capitals.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return path


def study(file: Path | str, out: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["study", str(file), "--out", str(out), *OPTIONS, *arguments])


def refused(*arguments: Path | str) -> str:
    """The one sentence of a call that ends with 2."""
    result = study(*arguments)  # type: ignore[arg-type]
    assert (result.exit_code, result.stdout) == (2, ""), result.stdout
    (sentence,) = result.stderr.splitlines()
    return sentence


def test_a_data_set_becomes_tables_and_a_report(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    result = study(file, out)
    assert result.exit_code == 0, result.stderr
    columns, cost = result.stderr.splitlines()[:2]
    assert columns == "Prompts: column “prompt”. Targets: column “target”. Keys: column “key”."
    assert cost.startswith("About 1 s: 3 tasks,")
    assert "bundled: 2 prompts done, 1 failed" in result.stdout
    lines = result.stdout.splitlines()
    means, others = (i for i, line in enumerate(lines) if line.startswith("Leave-one-out  "))
    assert "0.79" in lines[means], "lost of paris 7 parts of 8, of madrid 5 of 7"
    assert "1.00" in lines[others] and "0.34 to 1.00" in lines[others + 1], "the key is first twice"
    assert "1 failed: This is empty" in result.stdout
    table = pd.read_csv(out / "results.csv")
    assert table["status"].tolist() == ["done"] * 4 + ["failed"]
    assert len(pd.read_parquet(out / "results.parquet")) == 5
    assert "capitals" in (out / "report.html").read_text("utf-8")

    again = study(file, out)
    assert again.exit_code == 0
    assert again.stderr == f"{columns}\n", "nothing is done twice, nothing announced"
    assert again.stdout == result.stdout


def test_the_estimate_holds_one_model_at_a_time_and_the_first_last(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    held: list[weakref.ref[Homely]] = []

    def load(model_id: str) -> Homely:
        if model_id == "nobody/none":
            raise ModelError("There is no such model.")
        gc.collect()
        assert [each() for each in held] == [None] * len(held), "there may be room for one"
        loaded.append(model_id)
        scorer = Homely()
        held.append(weakref.ref(scorer))
        return scorer

    monkeypatch.setattr(models, "load", load)
    chosen = "bundled,openai-community/gpt2,nobody/none"
    result = study(file, tmp_path / "out", "--model", chosen)
    assert "1 of 3 models not counted." in result.stderr
    assert loaded == ["openai-community/gpt2", "bundled", "bundled", "openai-community/gpt2"]


def test_for_a_cluster_the_work_is_told_and_no_weights_are_loaded(
    file: Path, tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a real model in a folder; the other one is not on this machine."""
    loaded: list[str] = []

    def load(name: str) -> Homely:
        loaded.append(name)
        return Homely()

    def engine(
        tasks: Sequence[Task], study: Study, cancelled: Callable[[], bool], address: str | None
    ) -> Iterator[Worked | Doing]:
        assert loaded == [] and address == "head:6379"
        yield from local.run(tasks, study, cancelled)

    monkeypatch.setattr(models, "load", load)
    monkeypatch.setattr("reagent_core.study.ray_engine.run", engine)
    cluster = ("--engine", "ray", "--ray-address", "head:6379", "--model")
    result = study(file, tmp_path / "out", *cluster, f"{saved},nobody/nothing")
    assert result.exit_code == 0, result.stderr
    told = result.stderr.splitlines()[1]
    assert told.startswith("3 prompts, 2 models, 2 methods. About 3 tasks, ")
    assert told.endswith("1 of 2 models not counted: not to be had on this machine.")
    result = study(file, tmp_path / "none", *cluster, "nobody/nothing")
    assert result.stderr.splitlines()[1] == (
        "3 prompts, 1 model, 2 methods. 1 of 1 models not counted: not to be had on this machine."
    )


def test_columns_by_name_and_only_the_first_rows(tmp_path: Path) -> None:
    file, out = tmp_path / "a.csv", tmp_path / "out"
    file.write_text("prompt,asked,why\nx,the capital of france is,france\ny,one two,two\n")
    result = study(
        file, out, "--prompt-column", "asked", "--key-column", "why", "--limit", "1",
        "--model", "bundled,openai-community/gpt2", "--model", "bundled", "--methods", "random",
        "--seed", "3", "--granularity", "word", "--replacer", "uniform", "--chat",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    found = StudyFolder.open(out).study
    assert [(row.prompt, row.target, row.key) for row in found.rows] == [
        ("the capital of france is", None, "france")
    ]
    assert found.models == ("bundled", "openai-community/gpt2")
    assert found.chat and found.max_new_tokens == 2
    assert (found.config.seed, found.config.granularity, found.config.replacer) == (
        3, "word", "uniform",
    )  # fmt: skip


def test_a_column_that_is_guessed_can_be_left_out(file: Path, tmp_path: Path) -> None:
    result = study(
        file, tmp_path / "out", "--target-column", "", "--key-column", "", "--limit", "1"
    )
    (row,) = StudyFolder.open(tmp_path / "out").study.rows
    assert (row.target, row.key) == (None, None)
    assert "Targets: the model's own answers. Keys: none." in result.stderr


def test_a_cell_that_is_no_text_is_a_row_that_failed(tmp_path: Path) -> None:
    file, out = tmp_path / "sums.jsonl", tmp_path / "out"
    lines = [{"prompt": "one two", "answer": 4}, {"prompt": "one two", "answer": [4]}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = study(file, out, "--methods", "random")
    assert result.exit_code == 0, result.stderr
    assert "1 of the prompts looked at cannot be explained." in result.stderr
    assert "1 failed: Row 2, column “answer”: this is no text but a list." in result.stdout
    assert StudyFolder.open(out).study.rows[0].target == "4"


def test_all_methods_and_another_format(tmp_path: Path) -> None:
    file = tmp_path / "test.jsonl"
    file.write_text(json.dumps({"narrative": "one red city.", "question": "why ?"}))
    result = study(file, tmp_path / "out", "--format", "tellmewhy", "--methods", "all")
    assert result.exit_code == 0, result.stderr
    found = StudyFolder.open(tmp_path / "out").study
    assert found.rows[0].prompt == "one red city. why ?"
    assert found.methods[0] == "reagent" and len(found.methods) > 10
    assert "left out: Gradient norm looks inside a model" in result.stdout


def test_ctrl_c_pauses_and_the_same_command_goes_on(
    file: Path, tmp_path: Path, scorer: Homely, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, score = tmp_path / "out", scorer.score

    def interrupted(*arguments: object, **options: object) -> object:
        if (out / "outcomes.jsonl").exists():
            signal.raise_signal(signal.SIGINT)
        return score(*arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(scorer, "score", interrupted)
        result = study(file, out)
    assert result.exit_code == 130
    assert "Paused: 1 of 3 tasks are done." in result.stderr
    assert "the same command goes on with the rest" in result.stderr
    assert "1 prompt done, 2 not done yet" in result.stdout
    assert len(pd.read_csv(out / "results.csv")) == 2
    assert study(file, out).exit_code == 0
    assert len(pd.read_csv(out / "results.csv")) == 5


def test_what_failed_is_done_again_if_wanted(
    file: Path, tmp_path: Path, scorer: Homely, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model_id: str) -> Scorer:
        raise ModelError("The weights are gone.")

    with monkeypatch.context() as patch:
        patch.setattr(models, "load", broken)
        result = study(file, tmp_path / "out")
    assert result.exit_code == 1, "nothing was found"
    assert "3 failed: The weights are gone." in result.stdout
    assert study(file, tmp_path / "out").exit_code == 1
    assert study(file, tmp_path / "out", "--retry-failed").exit_code == 0


def test_a_lost_server_ends_with_1_and_keeps_what_is_done(
    file: Path, tmp_path: Path, scorer: Homely, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, score = tmp_path / "out", scorer.score

    def lost(*arguments: object, **options: object) -> object:
        if (out / "outcomes.jsonl").exists():
            raise Interrupted("The server is gone.")
        return score(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(scorer, "score", lost)
    result = study(file, out)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: The server is gone. What is done is")
    assert len(pd.read_csv(out / "results.csv")) == 2


def test_bad_input_is_one_sentence(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "bad.csv").write_text("prompt,key\na\n")
    assert "Error in the data set: “bad.csv”: Line 2 has 1 cells" in refused(
        tmp_path / "bad.csv", out
    )
    assert "“none.csv”: This file cannot be read" in refused(tmp_path / "none.csv", out)
    assert "no column “x”" in refused(file, out, "--key-column", "x")
    assert "no columns can be named" in refused(
        file, out, "--format", "wikibio", "--key-column", "x"
    )
    assert "no method “magic”" in refused(file, out, "--methods", "magic")
    assert "no model 'gpt-9' here" in refused(file, out, "--model", "gpt-9")
    assert "--model names no model" in refused(file, out, "--model", ",")
    assert "--ray-address needs --engine ray" in refused(file, out, "--ray-address", "x:1")
    assert not out.exists(), "nothing is made before all is right"


def test_the_same_study_under_another_name_is_told(file: Path, tmp_path: Path) -> None:
    study(file, tmp_path / "out", "--limit", "1")
    result = study(file.rename(tmp_path / "cities.jsonl"), tmp_path / "out", "--limit", "1")
    assert result.exit_code == 0
    assert result.stderr.rstrip().endswith("out holds this study already, as “capitals”.")


def test_another_study_in_the_same_folder_is_refused(file: Path, tmp_path: Path) -> None:
    study(file, tmp_path / "out", "--limit", "1")
    said = refused(file, tmp_path / "out", "--limit", "2")
    assert "Error in the output folder: The folder" in said and "holds another study" in said
