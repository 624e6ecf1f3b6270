"""The logic of the page Explain, on the tiny model and without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from components import runs
from reagent_core import models
from reagent_core.config import PRESETS
from reagent_core.cost import Speed
from reagent_core.jobs import JobQueue
from reagent_core.store import Store
from tests.tiny import TinyScorer

PAGE = str(Path(__file__).parent.parent.parent / "pages" / "explain.py")


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TinyScorer]:
    """The page on the tiny model, with a queue and a store of its own."""
    tiny, queue, store = TinyScorer(), JobQueue(), Store(tmp_path / "store.sqlite3")
    monkeypatch.setattr(runs, "load_model", lambda _: tiny)
    monkeypatch.setattr(models, "model_info", lambda _: tiny.info)
    monkeypatch.setattr(runs, "job_queue", lambda: queue)
    monkeypatch.setattr(runs, "explanation_store", lambda: store)
    st.cache_resource.clear()
    yield tiny
    queue.shutdown()
    store.close()


def page(**query: str) -> AppTest:
    test = AppTest.from_file(PAGE, default_timeout=30)
    for name, value in query.items():
        test.query_params[name] = value
    return test.run()


def press(test: AppTest, label: str) -> AppTest:
    (button,) = [button for button in test.button if button.label == label]
    return button.click().run()


def job_of(test: AppTest) -> str:
    return str(test.query_params["run"])


def test_it_opens_on_the_first_example(scorer: TinyScorer) -> None:
    test = page()
    assert not test.exception and not test.error
    assert test.session_state["example"] == "travel"
    assert scorer.calls == []  # nothing is computed to look at an example


def test_the_cost_is_said_before_the_run(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def costs(test: AppTest) -> list[str]:
        return [caption.value for caption in test.caption if "forward passes" in caption.value]

    test = page()
    assert not costs(test)  # no model, no promise
    monkeypatch.setattr(runs, "_ready", {"bundled"})
    monkeypatch.setattr(runs, "speed_of", lambda _: Speed(0.1, 500.0))
    assert not costs(test.run())  # no prompt
    (told,) = costs(test.text_area(key="prompt").set_value("the capital of france is").run())
    assert re.fullmatch(r"about \d+ s, \d+ forward passes", told)
    (more,) = costs(test.segmented_control(key="preset").set_value("thorough").run())
    assert int(more.split()[3]) > int(told.split()[3])
    assert scorer.calls == []  # nothing is run to say it


def test_a_run_ends_in_the_store(scorer: TinyScorer) -> None:
    test = page()
    test.text_area(key="prompt").set_value("the capital of france is")
    press(test, "Explain")
    key = job_of(test)
    runs.job_queue().get(key).wait(30)
    test.run()
    assert not test.exception and not test.error
    kept = runs.explanation_store().get(key)
    assert kept.prompt == "the capital of france is" and kept.answer.startswith(" paris")

    # The same again is answered without a forward.
    before = len(scorer.calls)
    again = page()
    again.text_area(key="prompt").set_value("the capital of france is")
    press(again, "Explain")
    assert job_of(again) == key and len(scorer.calls) == before


def test_a_chat_with_a_system_turn_and_a_target(scorer: TinyScorer) -> None:
    test = page()
    test.text_area(key="prompt").set_value("the capital of france is")
    test.segmented_control(key="mode").set_value("Chat").run()
    test.text_input(key="system").set_value("big red")
    test.text_input(key="target_text").set_value("paris")
    test.text_input(key="target_foil").set_value("madrid")
    press(test, "Explain")
    done = runs.job_queue().get(job_of(test)).wait(30)
    explanation = done.progress.explanation
    assert [turn.role for turn in explanation.messages] == ["system", "user"]
    assert explanation.target.instead_of.text.strip() == "madrid"


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_prompt_is_said(scorer: TinyScorer, text: str) -> None:
    test = page()
    test.text_area(key="prompt").set_value(text)
    press(test, "Explain")
    assert [error.value for error in test.error] == [
        "This is empty. Type some text for the model to read."
    ]
    assert "run" not in test.query_params


def test_settings_out_of_range_are_said_and_kept(scorer: TinyScorer) -> None:
    test = page()
    test.text_area(key="prompt").set_value("the capital")
    test.segmented_control(key="preset").set_value("custom").run()
    test.number_input(key="custom_ratio").set_value(1.5)
    press(test, "Explain")
    assert "ratio" in test.error[0].value
    assert test.number_input(key="custom_ratio").value == 1.5
    assert test.text_area(key="prompt").value == "the capital"


def test_an_error_inside_the_run_is_shown_at_its_field(scorer: TinyScorer) -> None:
    scorer.context_length = 10
    test = page()
    test.text_area(key="prompt").set_value("big " * 20)
    press(test, "Explain")
    runs.job_queue().get(job_of(test)).wait(30)
    test.run()
    assert "20 tokens; this model reads 10" in test.error[0].value
    assert test.text_area(key="prompt").value == "big " * 20
    # A corrected prompt leaves the sentence behind.
    test.text_area(key="prompt").set_value("   ")
    press(test, "Explain")
    assert [error.value for error in test.error] == [
        "This is empty. Type some text for the model to read."
    ]


def test_a_preset_shows_its_options_and_custom_opens_them(scorer: TinyScorer) -> None:
    test = page()
    test.segmented_control(key="preset").set_value("paper").run()
    assert test.selectbox(key="paper_selection").value == "exact"
    assert test.selectbox(key="paper_init").value == "uniform"
    assert test.selectbox(key="paper_init").disabled
    test.segmented_control(key="preset").set_value("custom").run()
    test.number_input(key="custom_top_k").set_value(5).run()
    test.segmented_control(key="preset").set_value("quick").run()
    test.segmented_control(key="preset").set_value("custom").run()
    assert test.number_input(key="custom_top_k").value == 5


def test_the_options_of_the_form_are_those_of_the_run(scorer: TinyScorer) -> None:
    test = page()
    test.text_area(key="prompt").set_value("the capital of france is")
    test.segmented_control(key="preset").set_value("custom").run()
    test.number_input(key="custom_top_k").set_value(1)
    test.number_input(key="option_seed").set_value(11)
    test.selectbox(key="custom_weights").set_value("centered")
    test.selectbox(key="option_granularity").set_value("word")
    press(test, "Explain")
    config = runs.job_queue().get(job_of(test)).wait(30).progress.explanation.config
    expected = {"top_k": 1, "seed": 11, "weights": "centered", "granularity": "word"}
    assert config == PRESETS["standard"].model_copy(update=expected)


def test_an_unknown_link_is_said(scorer: TinyScorer) -> None:
    test = page(run="0" * 64)
    assert "not kept here any more" in test.warning[0].value


def test_an_unknown_example_opens_the_first(scorer: TinyScorer) -> None:
    test = page(example="nothing")
    assert not test.exception and test.session_state["example"] == "travel"


def test_a_result_the_store_did_not_keep_is_shown_all_the_same(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "put", lambda *_: None)
    test = page()
    test.text_area(key="prompt").set_value("the capital of france is")
    press(test, "Explain")
    runs.job_queue().get(job_of(test)).wait(30)
    test.run()
    assert not test.exception and not test.info and not test.warning


def test_what_has_not_settled_can_be_continued(scorer: TinyScorer) -> None:
    scorer.rule = lambda words: {"paris": 0.6}  # whatever the prompt: nothing to find
    test = page()
    test.text_area(key="prompt").set_value("a big red city in spain is")
    press(test, "Explain")
    first = runs.job_queue().get(job_of(test)).wait(30).progress.explanation
    assert not first.verdict.settled
    test.run()
    press(test, "Run 64 more steps")
    longer = runs.job_queue().get(job_of(test)).wait(30).progress.explanation
    assert longer.config.max_steps == first.config.max_steps + 64
    made = {(step.probe, step.step): step for step in longer.trace}
    for step in first.trace:  # the steps of the first run come again
        again = made[step.probe, step.step]
        assert (again.replaced, again.value) == (step.replaced, step.value)


def test_user_text_in_an_error_is_not_markdown(scorer: TinyScorer) -> None:
    test = page()
    test.text_area(key="prompt").set_value("the capital")
    test.text_input(key="target_text").set_value("x" * 3 + " ![i](http://evil/a.png) **b**")
    scorer.context_length = 4
    press(test, "Explain")
    runs.job_queue().get(job_of(test)).wait(30)
    test.run()
    assert "](" not in test.error[0].value and "**" not in test.error[0].value
