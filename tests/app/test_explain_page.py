"""The logic of the page Explain, on the tiny model and without a browser."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from components import loaded_models, runs
from components.examples import examples, explanation_of
from components.plain import unformatted
from reagent_core import models
from reagent_core.config import PRESETS, Config
from reagent_core.cost import Speed
from reagent_core.errors import InputError
from reagent_core.explain import explain_now
from reagent_core.request import AnswerTokens, Request
from reagent_core.store import Store
from tests.test_library import execute
from tests.tiny import TinyScorer, capital
from tests.waiting import until

MODEL_INFO = models.model_info  # the fixture puts another one in its place
PAGE = str(Path(__file__).parent.parent.parent / "pages" / "explain.py")


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


def test_of_many_tokens_it_says_how_many_are_left_out(scorer: TinyScorer) -> None:
    request = Request(
        prompt="a big red " * 22 + "france is", target=AnswerTokens(), max_new_tokens=1,
        config=Config(probes=1, min_steps=8, max_steps=8),
    )  # fmt: skip
    explanation = explain_now(request, TinyScorer())
    assert len(explanation.units) == 68
    key = "a" * 64
    runs.explanation_store().put(key, explanation)
    captions = [caption.value for caption in page(run=key).caption]
    known = sum(unit.effect is not None for unit in explanation.units)
    assert "The 3 weakest of 68 tokens are left out. What is clicked is always drawn." in captions
    assert f"The {known - 12} weakest of {known} tokens are left out." in captions


def test_the_cost_is_said_before_the_run(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def costs(test: AppTest) -> list[str]:
        return [caption.value for caption in test.caption if "forward passes" in caption.value]

    test = page()
    assert not costs(test)  # no model, no promise
    monkeypatch.setattr(loaded_models, "_speeds", {"bundled": Speed(0.1, 500.0)})
    assert not costs(test.run())  # the model has left the memory since
    monkeypatch.setattr(models, "in_memory", lambda _: scorer)
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


def choose_masked_model(test: AppTest, name: str) -> AppTest:
    test.segmented_control(key="preset").set_value("custom").run()
    test.text_input(key="custom_replacer_model").set_value(name).run()
    return test.selectbox(key="custom_replacer").set_value("masked_lm").run()


def test_a_masked_model_that_is_not_to_be_had_explains_itself_and_is_not_chosen(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        models, "model_info", lambda name: scorer.info if name == "bundled" else MODEL_INFO(name)
    )
    st.cache_data.clear()
    test = page()
    test.text_area(key="prompt").set_value("the capital of france is")
    choose_masked_model(test, str(tmp_path))
    (said,) = [warning.value for warning in test.warning]
    assert "has no config" in said
    assert test.selectbox(key="custom_replacer").value == "causal_lm"
    press(test, "Explain")
    done = runs.job_queue().get(job_of(test)).wait(30)
    assert done.progress.explanation.config.replacer == "causal_lm"


def test_the_masked_model_typed_is_the_one_of_the_run(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    st.cache_data.clear()
    (tmp_path / "bert").mkdir()
    test = page()
    choose_masked_model(test, f" {tmp_path / 'bert'} ")
    assert not test.warning  # the fixture knows every model
    test.segmented_control(key="preset").set_value("quick").run()
    test.segmented_control(key="preset").set_value("custom").run()
    assert test.text_input(key="custom_replacer_model").value.strip() == str(tmp_path / "bert")
    test.text_area(key="prompt").set_value("the capital of france is")
    started: list[Request] = []
    monkeypatch.setattr(runs, "start", lambda asked: started.append(asked) or "0" * 64)
    press(test, "Explain")
    config = started[0].config
    assert (config.replacer, config.replacer_model) == ("masked_lm", str(tmp_path / "bert"))


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


def test_a_result_that_cannot_be_kept_says_why(scorer: TinyScorer) -> None:
    store = runs.explanation_store()
    assert store.problem() is None
    execute(f"sqlite:///{store.name}", "UPDATE reagent_schema SET version_num = '9999'")
    test = page()
    test.text_area(key="prompt").set_value("the capital of france is")
    press(test, "Explain")
    runs.job_queue().get(job_of(test)).wait(30)
    test.run()
    assert not test.exception
    assert "Not kept: The library" in test.warning[0].value
    assert "newer version of this program" in test.warning[0].value
    assert "newer version of this program" in page(run="0" * 64).warning[0].value


def test_a_run_goes_on_where_it_ended(scorer: TinyScorer) -> None:
    scorer.rule = lambda words: {"paris": 0.6}  # whatever the prompt: nothing to find
    test = page()
    test.text_area(key="prompt").set_value("a big red city in spain is")
    press(test, "Explain")
    first = runs.job_queue().get(job_of(test)).wait(30).progress.explanation
    assert not first.verdict.settled
    known = job_of(test)

    # Another session, that only has the link.
    other = page(run=known)
    press(other, "Run 64 more steps")
    assert job_of(other) != known
    longer = runs.job_queue().get(job_of(other)).wait(30).progress.explanation
    assert longer.config.max_steps == longer.config.min_steps == first.config.max_steps + 64
    assert longer.seconds > first.seconds
    made = {(step.probe, step.step): step for step in longer.trace}
    for step in first.trace:
        assert made[step.probe, step.step].scores == step.scores
    assert "Run 64 more steps" in [button.label for button in other.run().button]


def test_what_came_in_as_a_file_is_computed_here_before_it_goes_on(scorer: TinyScorer) -> None:
    config = Config(probes=2, min_steps=4, max_steps=4)
    request = Request(prompt="the capital of france is", target=AnswerTokens(), config=config)
    honest = explain_now(request, scorer)
    doctored = tuple(step.model_copy(update={"value": -9.0}) for step in honest.trace)
    imported = "f" * 64  # no key of a request
    runs.explanation_store().put(imported, honest.model_copy(update={"trace": doctored}))
    test = page(run=imported)
    press(test, "Run 64 more steps")
    longer = runs.job_queue().get(job_of(test)).wait(30).progress.explanation
    assert -9.0 not in [step.value for step in longer.trace]


def test_while_a_run_goes_on_what_it_had_found_stays_in_sight(scorer: TinyScorer) -> None:
    test = page()
    test.text_area(key="prompt").set_value("the capital of france is")
    press(test, "Explain")
    runs.job_queue().get(job_of(test)).wait(30)
    test.run()
    busy, started = threading.Event(), threading.Event()

    def wait(cancelled: Callable[[], bool]) -> Iterator[None]:
        started.set()
        busy.wait(30)
        yield None

    runs.job_queue().submit("another", wait, "somebody")
    started.wait(30)
    press(test, "Run 64 more steps")
    queued = runs.peek(job_of(test))
    assert queued.state == "queued" and queued.progress.done > 0
    assert queued.progress.explanation.status == "running"
    press(test, "Cancel")
    stopped = runs.found_by(runs.peek(job_of(test)))
    assert stopped.status == "cancelled" and stopped.explanations[0].status == "cancelled"
    press(test, "Go on")
    busy.set()
    assert runs.job_queue().get(job_of(test)).wait(30).state == "done"


def test_a_run_that_was_cancelled_goes_on_when_it_is_asked_for_again(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its speed is known: every call is one of the run.
    monkeypatch.setattr(loaded_models, "_speeds", {"bundled": None})
    gate = threading.Event()

    def rule(words: Sequence[str]) -> dict[str, float]:
        if len(scorer.calls) > 4:
            gate.wait(30)
        return capital(words)

    scorer.rule = rule
    test = page()
    test.text_area(key="prompt").set_value("the capital of france is")
    press(test, "Explain")
    key = job_of(test)
    until(lambda: runs.peek(key).progress and runs.peek(key).progress.done)
    runs.job_queue().cancel(key, test.session_state["owner"])
    gate.set()
    part = runs.job_queue().get(key).wait(30)
    assert part.state == "cancelled"
    before = len(scorer.calls)
    press(test, "Explain")
    whole = runs.job_queue().get(key).wait(30).progress.explanation
    assert whole.status == "complete"
    assert whole.counts.forwards > len(scorer.calls) - before  # with those of the first part


def test_what_cannot_go_on_says_why(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = page()
    (button,) = [button for button in test.button if button.label == "Run 64 more steps"]
    (example,) = [each for each in examples() if each.id == "travel"]
    assert button.disabled is (explanation_of(example.id).request is None)
    test.text_area(key="prompt").set_value("the capital of france is")
    press(test, "Explain")
    runs.job_queue().get(job_of(test)).wait(30)
    test.run()

    def refuse(*_: object, **__: object) -> None:
        raise InputError("There is no **model** of this name.", "model")

    monkeypatch.setattr(models, "resolve", refuse)
    press(test, "Run 64 more steps")
    (said,) = [error.value for error in test.error]
    assert said == unformatted("There is no **model** of this name.")
    assert not test.run().error


def test_user_text_in_an_error_is_not_markdown(scorer: TinyScorer) -> None:
    test = page()
    test.text_area(key="prompt").set_value("the capital")
    test.text_input(key="target_text").set_value("x" * 3 + " ![i](http://evil/a.png) **b**")
    scorer.context_length = 4
    press(test, "Explain")
    runs.job_queue().get(job_of(test)).wait(30)
    test.run()
    assert "](" not in test.error[0].value and "**" not in test.error[0].value
