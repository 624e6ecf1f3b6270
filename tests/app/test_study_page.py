"""The logic of the page Study, on the tiny model and without a browser."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from components import (
    loaded_models,
    runs,
    study_cost,
    study_data,
    study_downloads,
    study_jobs,
)
from components.plain import unformatted
from components.study_data import Data
from reagent_core import hub, models
from reagent_core.config import PRESETS
from reagent_core.converted import cache_root
from reagent_core.cost import Speed
from reagent_core.errors import ModelError
from reagent_core.jobs import JobQueue
from reagent_core.study import loaders
from reagent_core.study.folder import StudyFolder
from reagent_core.study.plan import Row
from tests.tiny import TinyScorer, capital
from tests.waiting import until

ROOT = Path(__file__).parent.parent.parent
PAGE = str(ROOT / "pages" / "study.py")
PROMPTS = ["the capital of france is", "a big red city in spain is", ""]


@pytest.fixture(autouse=True)
def _studies_of_its_own(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REAGENT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def gate(scorer: TinyScorer) -> threading.Event:
    """The model does not answer the second prompt before this is set."""
    event = threading.Event()

    def rule(words: Sequence[str]) -> dict[str, float]:
        if list(words) == PROMPTS[1].split():
            event.wait(30)
        return capital(words)

    scorer.rule = rule
    return event


def page(**query: str) -> AppTest:
    test = AppTest.from_file(PAGE, default_timeout=30)
    for name, value in query.items():
        test.query_params[name] = value
    return test.run()


def with_data(frame: pd.DataFrame | None = None) -> AppTest:
    """The page with an uploaded table; AppTest has no uploader."""
    if frame is None:
        frame = pd.DataFrame({"prompt": PROMPTS, "clue": ["france", "spain", ""]})
    test = AppTest.from_file(PAGE, default_timeout=30)
    test.session_state["study data"] = {"upload": Data("1", "Capitals", frame)}
    test.run()
    test.segmented_control(key="study preset").set_value("quick")
    test.multiselect(key="study methods").set_value(["reagent", "random"])
    return test


def press(test: AppTest, label: str) -> AppTest:
    (button,) = [button for button in test.button if button.label == label]
    return button.click().run()


def wait(study_id: str) -> None:
    assert runs.job_queue().get(study_id).wait(60).state in ("done", "cancelled")


def started(test: AppTest) -> str:
    """The id of the study that the form starts."""
    press(test, "Start the study")
    assert not test.exception and not test.error
    return str(test.query_params["study"])


def folder(study_id: str) -> Path:
    return cache_root() / "studies" / study_id


def labels(test: AppTest) -> list[str]:
    return [button.label for button in test.button]


def test_it_opens_on_an_empty_form_and_says_what_is_missing(scorer: TinyScorer) -> None:
    test = press(page(), "Start the study")
    assert not test.exception
    assert "Upload a file" in test.error[0].value
    test = with_data()
    test.multiselect(key="study methods").set_value([])
    press(test, "Start the study")
    assert test.error[0].value == "Choose at least one method."
    test.multiselect(key="study methods").set_value(["random"])
    test.multiselect(key="study models").set_value([])
    press(test, "Start the study")
    assert test.error[0].value == "Choose at least one model."
    assert test.multiselect(key="study methods").value == ["random"]


def test_columns_are_guessed_and_what_is_chosen_is_what_is_done(scorer: TinyScorer) -> None:
    test = with_data()
    assert test.selectbox(key="study prompt of 1").value == "prompt"
    assert test.selectbox(key="study key of 1").value == "clue"
    test.selectbox(key="study key of 1").select_index(0)
    test.number_input(key="study limit of 1").set_value(2)
    test.number_input(key="study seed").set_value(7)
    test.text_input(key="study name").set_value("  Two   capitals ")
    test.number_input(key="study length").set_value(1)
    test.number_input(key="study budget").set_value(30)
    study = study_jobs.study_of(started(test))
    config = PRESETS["quick"].model_copy(update={"seed": 7})
    assert (study.name, study.config, study.max_new_tokens) == ("Two capitals", config, 1)
    assert study.budget == 30
    assert study.rows == (Row(index=0, prompt=PROMPTS[0]), Row(index=1, prompt=PROMPTS[1]))
    assert study.methods == ("reagent", "random") and study.models == ("bundled",)


def test_an_equal_study_of_another_name_is_told(scorer: TinyScorer) -> None:
    def told(name: str) -> list[str]:
        test = with_data()
        test.text_input(key="study name").set_value(name)
        test.number_input(key="study limit of 1").set_value(1)
        wait(started(test))
        captions = [caption.value for caption in test.run().caption]
        return [each for each in captions if "was here already" in each]

    assert told("First") == []
    assert told("Second") == [
        ":material/label: This study was here already, under this name and not as “Second”."
    ]


def test_what_a_model_leaves_out_is_said_before_the_start(scorer: TinyScorer) -> None:
    test = with_data()
    test.multiselect(key="study models").set_value(["bundled", "http://localhost:9/v1"]).run()
    blocked = ":material/block:"
    assert not [each for each in test.caption if each.value.startswith(blocked)]
    test.multiselect(key="study methods").set_value(["random", "attention"]).run()
    (told,) = [each.value for each in test.caption if each.value.startswith(blocked)]
    assert "leaves out Attention. Attention looks inside a model" in told


def test_the_papers_data_sets_are_known_by_their_columns(scorer: TinyScorer) -> None:
    story = {"narrative": "a big red city is in spain", "question": "is the capital big"}
    frame = pd.DataFrame([{**story, "answer": answer} for answer in ("one", "two")])
    test = with_data(frame)
    assert test.segmented_control(key="study form of 1").value == "tellmewhy"
    study = study_jobs.study_of(started(test))
    prompt = "a big red city is in spain is the capital big"
    assert study.rows == (Row(index=0, prompt=prompt),)

    test = with_data(frame)
    # Both in one request: the fields of the columns have not been there.
    test.segmented_control(key="study form of 1").set_value("table")
    study = study_jobs.study_of(started(test))
    assert [row.prompt for row in study.rows] == [story["question"]] * 2
    assert [row.target for row in study.rows] == ["one", "two"]


def test_a_set_that_comes_with_the_program_is_picked(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "word-pairs.jsonl").write_text('{"prompt": "big red", "target": "city"}\n')
    monkeypatch.setattr(loaders, "SHIPPED_FOLDER", tmp_path)
    test = with_data()
    test.segmented_control(key="study source").set_value("shipped").run()
    assert test.selectbox(key="study set").value == "word-pairs"
    study = study_jobs.study_of(started(test))
    assert study.name == "Word pairs"
    assert study.rows == (Row(index=0, prompt="big red", target="city"),)


def test_a_study_runs_and_a_row_that_fails_is_kept_with_its_reason(scorer: TinyScorer) -> None:
    test = with_data()
    study_id = started(test)
    wait(study_id)
    test.run()
    assert not test.exception and not test.error
    outcomes = study_jobs.outcomes_of(study_id)
    assert [each.status for each in outcomes] == ["done", "done", "failed"]
    table = test.dataframe[-1].value
    assert list(table["Status"]) == ["done", "done", "failed"]
    assert "empty" in table["Why it failed"][2]
    assert table["Key's place, ReAGent"][0] == 1
    judged = "judged with replacements by causal_lm_reranked, which weighs the proposals that made "
    (told,) = [caption.value for caption in test.caption if "is judged with" in caption.value]
    assert unformatted(judged) in told
    assert labels(test).count("Retry failed") == 1


def test_it_is_paused_and_goes_on_after_the_server_was_started_anew(
    scorer: TinyScorer, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = with_data()
    test.session_state["study pausing"] = "one whose end nobody saw"
    study_id = started(test)
    until(lambda: len(study_jobs.outcomes_of(study_id)) == 1)
    test.run()
    assert test.session_state["study pausing"] is None
    assert "Pause" in labels(test) and "Resume" not in labels(test)
    assert list(test.dataframe[-1].value["Row"]) == [1]
    press(test, "Pause")
    assert "Stopping …" in [caption.value for caption in test.caption]
    gate.set()
    wait(study_id)
    assert len(study_jobs.outcomes_of(study_id)) == 1

    # Another server, another session: all that is left of the study is its folder.
    queue = JobQueue()
    monkeypatch.setattr(runs, "job_queue", lambda: queue)
    st.cache_resource.clear()
    test = page()
    (table,) = [each.value for each in test.dataframe]
    assert list(table["Name"]) == ["Capitals"] and list(table["Done"]) == ["1 of 3"]
    test = page(study=study_id)
    before = (folder(study_id) / "outcomes.jsonl").read_text("utf-8")
    press(test, "Resume")
    wait(study_id)
    test.run()
    after = (folder(study_id) / "outcomes.jsonl").read_text("utf-8")
    assert after.startswith(before) and len(after.splitlines()) == 3
    assert "Pause" not in labels(test) and "Resume" not in labels(test)
    queue.shutdown()


def test_what_failed_is_tried_again(scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> TinyScorer:
        raise ModelError("The *model* is not to be had.")

    monkeypatch.setattr(loaded_models, "load_model", refuse)
    test = with_data()
    study_id = started(test)
    wait(study_id)
    test.run()
    assert list(test.dataframe[-1].value["Status"]) == ["failed"] * 3
    test.segmented_control(key="study rows shown").set_value("done").run()
    assert "No row is like that." in [caption.value for caption in test.caption]
    monkeypatch.setattr(loaded_models, "load_model", lambda _: scorer)
    press(test, "Retry failed")
    wait(study_id)
    assert [each.status for each in study_jobs.outcomes_of(study_id)] == ["done", "done", "failed"]


def test_links_that_lead_nowhere_and_damaged_studies_are_said(
    scorer: TinyScorer, caplog: pytest.LogCaptureFixture
) -> None:
    for nothing in ("0" * 16, "../../x"):
        assert "no such study" in page(study=nothing).error[0].value
    damaged = folder("0" * 16)
    damaged.mkdir(parents=True)
    (damaged / "study.json").write_text("{")
    told = page(study="0" * 16).error[0].value
    assert "cannot be read" in told and str(damaged) not in told
    assert f"The study in {damaged} cannot be read" in caplog.text
    study_id = started(with_data())
    wait(study_id)
    with (folder(study_id) / "outcomes.jsonl").open("a") as file:
        file.write("nonsense\n")
    told = page(study=study_id).error[0].value
    assert told.startswith(unformatted("Line 4 of outcomes.jsonl is damaged."))
    test = page()
    assert not test.exception
    assert list(test.dataframe[0].value["Done"]) == ["Damaged", "Damaged"]
    assert list(test.dataframe[0].value["Name"]) == ["Capitals", f"Study {'0' * 16}"]


def test_a_study_that_runs_elsewhere_is_said_without_its_path(scorer: TinyScorer) -> None:
    study_id = started(with_data())
    wait(study_id)
    path = folder(study_id)
    (path / "outcomes.jsonl").unlink()
    test = page(study=study_id)
    with StudyFolder.open(path).run():
        press(test, "Resume")
        assert runs.job_queue().get(study_id).wait(30).state == "failed"
    (told,) = [error.value for error in test.run().error]
    assert f"The study in {study_id} is being run already" in told and str(path) not in told


def test_a_row_shows_what_every_method_found_and_opens_in_explain(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_id = started(with_data())
    wait(study_id)
    test = page(study=study_id)
    test.session_state[f"study rows {study_id} all"] = {
        "selection": {"rows": [0], "columns": [], "cells": []}
    }
    test.run()
    assert not test.exception
    open_buttons = [button for button in test.button if button.label == "Open in Explain"]
    assert len(open_buttons) == 2
    found = study_jobs.outcomes_of(study_id)[0].found[1]
    assert runs.stored(found.explanation) is None
    open_buttons[1].click().run()
    kept = runs.explanation_store().get(found.explanation)
    assert kept is not None and kept.method == "random"

    def refuse(*_: str) -> None:
        raise ModelError("It is not there.")

    monkeypatch.setattr(study_jobs, "explanation_of", refuse)
    test = page(study=study_id)
    test.session_state[f"study rows {study_id} all"] = {
        "selection": {"rows": [0], "columns": [], "cells": []}
    }
    test.run()
    assert not test.exception and "Open in Explain" not in labels(test)
    assert [caption.value for caption in test.caption].count("It is not there.") == 2


def test_the_files_hold_what_was_found(scorer: TinyScorer) -> None:
    study_id = started(with_data())
    wait(study_id)
    parquet, csv, report = (file.make(study_id) for file in study_downloads._FILES)
    table = pd.read_parquet(io.BytesIO(parquet))
    assert list(table["status"]) == ["done"] * 4 + ["failed"]
    assert len(pd.read_csv(io.StringIO(csv))) == 5
    assert report.startswith("<!doctype html>") and "Capitals" in report


def test_the_cost_is_said_before_the_start(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def costs(test: AppTest) -> list[str]:
        return [caption.value for caption in test.caption if "sequences" in caption.value]

    test = with_data()
    assert not costs(test.run()) and "Load to estimate" in labels(test)
    monkeypatch.setattr(loaded_models, "_speeds", {"bundled": Speed(0.1, 500.0)})
    monkeypatch.setattr(models, "in_memory", lambda _: scorer)
    (told,) = costs(test.run())
    assert told.startswith("About ") and "3 tasks" in told and "1 of the prompts" in told
    test.number_input(key="study limit of 1").set_value(2)
    (less,) = costs(test.run())
    assert "2 tasks" in less and "cannot be explained" not in less
    assert scorer.calls == []  # nothing is run to say it


def test_no_model_is_downloaded_for_an_estimate(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(loaded_models, "get_in_touch", loaded.append)
    monkeypatch.setattr(hub, "on_disk", lambda repo, revision: None)
    test = with_data()
    test.multiselect(key="study models").set_value(["bundled", "someone/other"]).run()
    (told,) = [caption.value for caption in test.caption if "someone/other" in caption.value]
    assert "not on this machine yet" in told and "The study downloads it" in told
    press(test, "Load to estimate")
    test.run()
    assert set(loaded) == {"bundled"}
    test.multiselect(key="study models").set_value(["someone/other"]).run()
    assert "Load to estimate" not in labels(test)
    assert set(loaded) == {"bundled"}


def test_a_model_is_loaded_to_know_its_cost_or_says_why_it_cannot(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded_models, "_speeds", {})
    monkeypatch.setattr(loaded_models, "_unreachable", {})
    monkeypatch.setattr(models, "in_memory", lambda _: scorer)
    monkeypatch.setattr(hub, "on_disk", lambda repo, revision: ROOT)
    test = with_data()
    press(test, "Load to estimate")
    until(lambda: "bundled" in loaded_models._speeds)
    assert any("3 tasks" in caption.value for caption in test.run().caption)

    def refuse(_: str) -> TinyScorer:
        raise ModelError("There is no *room* for it.")

    monkeypatch.setattr(loaded_models, "load_model", refuse)
    test.multiselect(key="study models").set_value(["bundled", "someone/other"]).run()
    assert any("1 of 2 models not counted" in caption.value for caption in test.caption)
    press(test, "Load to estimate")
    until(lambda: "someone/other" in loaded_models._unreachable)
    told = [caption.value for caption in test.run().caption]
    assert unformatted("someone/other: There is no *room* for it.") in told
    assert "Load to estimate" in labels(test)


def test_models_that_do_not_fit_beside_each_other_are_each_loaded_once(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, loaded = [""], []

    def get_in_touch(model: str) -> None:
        loaded.append(model)
        held[0] = model

    def measured(model: str) -> tuple[TinyScorer, Speed] | None:
        return (scorer, Speed(0.1, 500.0)) if model == held[0] else None

    monkeypatch.setattr(loaded_models, "get_in_touch", get_in_touch)
    monkeypatch.setattr(loaded_models, "measured", measured)
    monkeypatch.setattr(hub, "on_disk", lambda repo, revision: ROOT)
    test = with_data()
    test.multiselect(key="study models").set_value(["bundled", "someone/other"]).run()
    press(test, "Load to estimate")
    for _ in range(4):
        test.run()
    assert loaded == ["bundled", "someone/other"]
    (told,) = [caption.value for caption in test.caption if "sequences" in caption.value]
    assert "6 tasks" in told and "not counted" not in told
    assert "Load to estimate" not in labels(test)


def test_a_file_is_read_though_the_page_was_interrupted(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []

    def read() -> None:
        reads.append(1)
        if len(reads) == 1:
            st.stop()  # as by another request

    monkeypatch.setattr(study_data, "_read", read)
    test = with_data()
    test.session_state["study file is new"] = True
    for _ in range(3):
        test.run()
    assert len(reads) == 2


def test_the_tray_lists_a_study_and_pauses_it(scorer: TinyScorer, gate: threading.Event) -> None:
    study_id = started(with_data())
    until(lambda: len(study_jobs.outcomes_of(study_id)) == 1)
    app = AppTest.from_file(str(ROOT / "components" / "shell.py"), default_timeout=30)
    app.query_params["study"] = study_id  # looking at it is waiting for it
    app.run()
    (pause,) = [button for button in app.sidebar.button if button.label == "Pause"]
    assert not app.exception
    pause.click().run()
    gate.set()
    wait(study_id)
    assert runs.job_queue().get(study_id).snapshot().state == "cancelled"
    assert not app.run().sidebar.button


def test_other_runs_need_not_wait_for_a_study_to_end(
    scorer: TinyScorer, gate: threading.Event
) -> None:
    study_id = started(with_data())
    until(lambda: len(study_jobs.outcomes_of(study_id)) == 1)

    looked_at = threading.Event()

    def short(cancelled: Callable[[], bool]) -> Iterator[int]:
        looked_at.wait(30)
        yield len(study_jobs.outcomes_of(study_id))

    job = runs.job_queue().submit("short", short, "somebody")
    gate.set()
    until(lambda: job.snapshot().state == "running")
    work = study_jobs.job_of(study_id)
    assert work is not None and work.state == "running"
    assert study_jobs.progress_words(work) == (1 / 3, "Waiting for a shorter run · 1 of 3 done")
    looked_at.set()
    assert job.wait(30).progress == 1  # the second prompt is not done
    wait(study_id)
    assert len(study_jobs.outcomes_of(study_id)) == 3


def test_on_a_shared_server_no_address_is_asked(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_jobs, "local_mode", lambda: False)
    monkeypatch.setattr(study_cost, "local_mode", lambda: False)
    reached: list[str] = []
    monkeypatch.setattr(loaded_models, "get_in_touch", reached.append)
    test = with_data()
    test.multiselect(key="study models").set_value(["http://10.0.0.1:8000/v1"])
    press(test, "Start the study")
    assert len(test.error) == 1 and "study" not in test.query_params
    assert not study_jobs.all_studies()
    assert test.multiselect(key="study models").value == ["http://10.0.0.1:8000/v1"]
    press(test, "Load to estimate")
    test.run()
    assert not test.exception and reached == []
