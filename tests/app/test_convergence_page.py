"""The logic of the page Convergence, on the tiny model and without a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from components import convergence_view, picked, runs
from components.chart_parts import MOST_PICKED
from reagent_core import longer
from reagent_core.config import PRESETS, Config
from reagent_core.explain import Progress, explain_now
from reagent_core.explanation import Explanation
from reagent_core.importing import read_file
from reagent_core.jobs import JobSnapshot
from reagent_core.request import AnswerTokens, Request
from tests.light import run_without
from tests.tiny import TinyScorer

ROOT = Path(__file__).parent.parent.parent
PAGE = str(ROOT / "pages" / "convergence.py")
KEY = "a" * 64
CHARTS = ["Line chart", *["Dot chart"] * 3, "Heatmap", *["Line chart"] * 2, *["Bar chart"] * 2]
ASKED = Request(
    prompt="the capital of france is", target=AnswerTokens(), max_new_tokens=1,
    config=PRESETS["quick"],
)  # fmt: skip


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The sentences of the page by their key; AppTest cannot look into components."""
    sentences: dict[str, str] = {}

    def plain_text(sentence: str, *, key: str, size: str = "body") -> None:
        sentences[key] = sentence

    monkeypatch.setattr(convergence_view, "plain_text", plain_text)
    return sentences


def page(**query: str) -> AppTest:
    test = AppTest.from_file(PAGE, default_timeout=30)
    for name, value in query.items():
        test.query_params[name] = value
    return test.run()


def kept(config: Config | None = None) -> Explanation:
    """A finished explanation in the store, under KEY."""
    request = ASKED if config is None else ASKED.model_copy(update={"config": config})
    explanation = explain_now(request, TinyScorer())
    runs.explanation_store().put(KEY, explanation)
    return explanation


def test_without_an_address_it_shows_the_first_example(
    scorer: TinyScorer, said: dict[str, str]
) -> None:
    test = page()
    assert not test.exception and not test.error and not test.warning
    assert said["settled travel"].startswith("Settled: the five strongest tokens")
    assert test.selectbox(key="looked at").value == "travel"
    assert scorer.calls == []


def test_its_modules_wait_for_no_large_library() -> None:
    run_without(
        {"torch", "transformers", "scipy", "sqlalchemy"},
        "import components.convergence_view, components.run_view",
    )


def test_an_example_of_the_address_and_one_that_is_not_there(
    scorer: TinyScorer, said: dict[str, str]
) -> None:
    assert not page(example="chat").exception and "settled chat" in said
    assert not page(example="nothing").exception and "settled travel" in said


def test_the_selector_puts_its_choice_into_the_address(scorer: TinyScorer) -> None:
    test = page()
    test.selectbox(key="looked at").set_value("arithmetic").run()
    assert test.query_params == {"example": "arithmetic"}
    kept()
    # Equal prompts are told apart: a choice goes by what it reads.
    test.session_state["requests"] = {"b" * 64: ASKED, KEY: ASKED}
    test.run()
    assert test.selectbox(key="looked at").options[:2] == [
        "“the capital of france is”", "“the capital of france is” · bbbbbb",
    ]  # fmt: skip
    test.selectbox(key="looked at").set_value(KEY).run()
    assert test.query_params == {"run": KEY}
    assert not test.exception and not test.warning


def test_a_kept_explanation_opens_by_its_key(scorer: TinyScorer, said: dict[str, str]) -> None:
    explanation = kept()
    test = page(run=KEY)
    assert not test.exception
    settled = "Settled" if explanation.verdict.settled else "Not settled"
    assert said[f"settled {KEY}"].startswith(settled)
    assert test.selectbox(key="looked at").options[0] == "“the capital of france is”"
    assert scorer.calls == []


def test_what_is_not_kept_is_said(scorer: TinyScorer) -> None:
    test = page(run="0" * 64)
    assert not test.exception
    assert "not kept here any more" in test.warning[0].value


def test_every_kind_of_curve(scorer: TinyScorer, said: dict[str, str]) -> None:
    explanation = kept()
    test = page(run=KEY)
    best = explanation.units[3].text.strip()  # france
    for shown, start in [
        ("score", f"The ReAGent score of “{best}”"), ("raw", f"The raw score of “{best}”"),
    ]:  # fmt: skip
        test.segmented_control(key="curves by effect").set_value(shown).run()
        assert not test.exception
        assert said[f"curve of 3 {KEY}"].startswith(start)


def test_of_many_tokens_it_says_how_many_are_left_out(
    scorer: TinyScorer, said: dict[str, str]
) -> None:
    long = ASKED.model_copy(update={"prompt": "a big red " * 42 + "france is"})  # 128 tokens
    config = Config(probes=1, min_steps=2, max_steps=2)
    explanation = explain_now(long.model_copy(update={"config": config}), TinyScorer())
    runs.explanation_store().put(KEY, explanation)
    captions = " ".join(caption.value for caption in page(run=KEY).caption)
    # Of the curves and of the heatmap, and of the scores of one step.
    assert captions.count("The 8 weakest of 128 tokens are left out") == 2
    assert "The 98 lowest of 128 tokens are left out" in captions


def test_the_scores_of_one_step(scorer: TinyScorer, said: dict[str, str]) -> None:
    kept()
    test = page(run=KEY)
    (slider,) = test.slider
    before = said[f"one {KEY} 0-1"]
    slider.set_value(1).run()
    assert said[f"one {KEY} 0-1"] != before and "stands highest" in said[f"one {KEY} 0-1"]


def test_the_stop_test_has_its_pictures_where_it_ends_a_run(
    scorer: TinyScorer, said: dict[str, str]
) -> None:
    kept()
    test = page(run=KEY)
    captions = [caption.value for caption in test.caption]
    assert any("not by the stop test" in caption for caption in captions)
    assert any(caption.startswith("Rank of the target") for caption in captions)  # made at the end
    kept(Config(probes=2, min_steps=4, max_steps=8))
    st.cache_resource.clear()
    test = page(run=KEY)
    assert not test.exception
    captions = [caption.value for caption in test.caption]
    assert "Share of the probes that the stop test has ended." in captions
    assert not any("not by the stop test" in caption for caption in captions)


def test_a_notebook_says_how_its_tokens_were_rebuilt_and_nothing_of_stop_tests(
    scorer: TinyScorer, said: dict[str, str]
) -> None:
    imported = read_file(ROOT / "tests" / "fixtures" / "iterations_data.json")
    key = runs.explanation_store().add(imported)
    test = page(run=key)
    assert not test.exception
    notes = [told for key, told in said.items() if key.startswith("note ")]
    assert notes == [f"Note: {warning}" for warning in imported.verdict.warnings]
    assert notes[0].startswith("Note: Token boundaries were rebuilt")
    assert said[f"stop {key} 0-1"].startswith("The file does not say")
    captions = " ".join(caption.value for caption in test.caption)
    assert "Share of the probes" not in captions and "Rank of the target" not in captions


def test_a_run_can_go_on_from_its_link_alone(scorer: TinyScorer, said: dict[str, str]) -> None:
    first = kept()
    test = page(run=KEY)
    (button,) = [button for button in test.button if button.label == "Run 64 more steps"]
    button.click().run()
    key = test.query_params["run"]
    assert key != KEY
    longer = runs.job_queue().get(key).wait(30).progress.explanation
    assert longer.verdict.steps == first.verdict.steps + 64
    test.run()
    assert f"settled {key}" in said and not test.exception


def test_where_every_probe_has_passed_the_published_test_nothing_is_left_to_run(
    scorer: TinyScorer, said: dict[str, str]
) -> None:
    explanation = kept(PRESETS["paper"])
    assert explanation.verdict.probes_stopped == explanation.verdict.probes == 5
    test = page(run=KEY)
    (button,) = [button for button in test.button if button.label == "Run 64 more steps"]
    assert button.disabled and "nothing is left to run" in button.help


def test_more_steps_than_there_can_be_cannot_be_asked_for(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(longer, "MOST_STEPS", 20)
    runs.explanation_store().put(KEY, kept())
    test = page(run=KEY)
    (button,) = [button for button in test.button if button.label == "Run 64 more steps"]
    assert button.disabled and button.help == "A run makes at most 20 steps."


@pytest.mark.parametrize("state", ["running", "failed", "cancelled"])
def test_what_is_not_finished(
    state: str, scorer: TinyScorer, said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status = "running" if state == "running" else "cancelled"
    part = explain_now(ASKED, TinyScorer()).model_copy(update={"status": status})
    why = "It broke at **this**." if state == "failed" else None
    job = JobSnapshot(KEY, state, 0, 1, Progress(4, 32, part), why, None, 1.0)
    monkeypatch.setattr(runs, "snapshot", lambda key: job)
    test = page(run=KEY)
    assert not test.exception
    started = "Still running: " if state == "running" else "Stopped after "
    assert said[f"settled {KEY}"].startswith(started)
    assert [error.value for error in test.error] == (
        ["It broke at \\*\\*this\\*\\*."] if state == "failed" else []
    )
    assert not [button for button in test.button if button.label.startswith("Run ")]


def test_while_a_run_goes_on_its_order_and_intervals_are_spoken_of(
    scorer: TinyScorer, said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = explain_now(ASKED, TinyScorer()).model_copy(update={"status": "running"})
    job = JobSnapshot(KEY, "running", 0, 1, Progress(4, 32, part), None, None, 1.0)
    monkeypatch.setattr(runs, "snapshot", lambda key: job)
    test = page(run=KEY)
    assert not test.exception
    assert said[f"stable {KEY} 0-1"].startswith("The top 30% ")
    assert said[f"width {KEY} 0-1"].startswith("The widest interval ")
    captions = [caption.value for caption in test.caption]
    assert captions[-1].startswith("The pictures of both, and the scores of single steps, follow")
    assert not test.expander


def test_every_chart_has_words_for_a_screen_reader(
    scorer: TinyScorer, said: dict[str, str]
) -> None:
    charts = [json.loads(chart.proto.spec) for chart in page().get("vega_lite_chart")]
    assert [chart["description"].partition(":")[0] for chart in charts] == CHARTS


def test_a_click_in_a_chart_picks_and_a_second_one_lets_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state: dict[str, object] = {}
    monkeypatch.setattr(picked.st, "session_state", state)

    def chart_says(*units: int) -> list[int]:
        state["curves"] = {"selection": {"pick": [{"unit": unit} for unit in units]}}
        picked.follow_chart("name", "curves")
        return picked.picked("name")

    assert chart_says(4) == [4]
    assert chart_says(4, 2) == [4, 2]
    picked.pick("name", [4])  # the strip lets 2 go
    assert chart_says(4) == [4, 2]  # a click on 2 again: the chart's own list drops it
    assert chart_says() == [2]
    assert picked.picked("another") == []


def test_more_are_picked_than_there_are_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picked.st, "session_state", {})
    picked.pick("name", list(range(MOST_PICKED + 2)))
    assert picked.picked("name") == list(range(2, MOST_PICKED + 2))
