"""The check of an explanation on the page Explain, on the tiny model and without a browser."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from components import checks, loaded_models, runs
from components.check_charts import erasure_chart
from components.check_view import share_table
from components.examples import Example, check_of, examples, explanation_of
from reagent_core.check import Check, another_replacer
from reagent_core.checker import check_now
from reagent_core.config import Config
from reagent_core.errors import ModelError
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation
from reagent_core.importing import read_explanation
from reagent_core.request import AnswerTokens, Request
from reagent_core.store import Store
from reagent_core.strip import answer_words
from tests.tiny import Homely

pytestmark = pytest.mark.usefixtures("homely")

ROOT = Path(__file__).parent.parent.parent
LONG = "a big red city in a green city is one capital of france in a blue city"
LABEL = "Check this explanation"


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    config = Config(probes=2, min_steps=20, max_steps=30)
    return explain_now(
        Request(prompt=LONG, config=config, max_new_tokens=3, target=AnswerTokens()), Homely()
    )


def page(**query: str) -> AppTest:
    test = AppTest.from_file(str(ROOT / "pages" / "explain.py"), default_timeout=30)
    for name, value in query.items():
        test.query_params[name] = value
    return test.run()


def button(test: AppTest) -> Button:
    (found,) = [button for button in test.button if button.label == LABEL]
    return found


def texts(test: AppTest) -> list[str]:
    """What is shown as plain text."""
    protos = [element.proto for element in test.main if element.type == "bidi_component"]
    return [json.loads(each.json)["text"] for each in protos if "plain" in each.component_name]


def finished(test: AppTest) -> AppTest:
    (job,) = runs.job_queue().jobs_of(test.session_state["owner"])
    job.wait(30)
    return test.run()


def test_a_click_checks_it_and_the_check_is_kept(store: Store, explanation: Explanation) -> None:
    key = store.add(explanation)
    test = page(run=key)
    assert not any("random order" in text for text in texts(test))
    finished(button(test).click().run())
    assert not test.exception and not test.error
    (verdict,) = [text for text in texts(test) if "random order" in text]
    assert verdict.startswith("Replacing its top token first") and verdict.endswith("trust it.")
    assert (
        "Checked on tiny, replaced by causal_lm_reranked, which weighs the proposals that made the "
        "explanation in another way."
    ) in texts(test)
    assert len(test.table) == 1 and LABEL not in [button.label for button in test.button]

    # Another session finds it, and asks no model.
    st.cache_resource.clear()
    runs.job_queue().shutdown()
    assert verdict in texts(page(run=key))


def test_the_replacer_that_made_it_only_if_one_asks(store: Store, explanation: Explanation) -> None:
    test = page(run=store.add(explanation))
    (select,) = [box for box in test.selectbox if box.label == "Check with the replacer"]
    assert select.options[0] == "causal_lm_reranked (same proposals, weighed in another way)"
    own = "causal_lm (made the explanation)"
    assert select.options.index(own) and len(select.options) == 4
    select.set_value("causal_lm").run()
    finished(button(test).click().run())
    assert "Checked on tiny, replaced by causal_lm, which made the explanation, too." in texts(test)
    (select,) = [box for box in test.selectbox if box.label == "Check with the replacer"]
    select.set_value(None).run()
    assert button(test) and not any("random order" in text for text in texts(test))


def test_it_says_how_far_it_is_and_can_be_cancelled(
    store: Store, explanation: Explanation, gate: threading.Event
) -> None:
    gate.clear()
    test = page(run=store.add(explanation))
    button(test).click().run()
    (cancel,) = [button for button in test.button if button.label == "Cancel"]
    assert LABEL not in [button.label for button in test.button]
    cancel.click().run()
    gate.set()
    (job,) = runs.job_queue()._jobs.values()
    assert job.wait(30).state == "cancelled"
    assert button(test.run())
    finished(button(test).click().run())
    assert any("trust it." in text for text in texts(test)), "asked for again, it is made"


def test_a_model_that_cannot_be_had_is_said(
    store: Store, explanation: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(model_id: str) -> Homely:
        raise ModelError("There is *no* room for it.")

    monkeypatch.setattr(loaded_models, "load_model", load)
    test = page(run=store.add(explanation))
    finished(button(test).click().run())
    assert [error.value for error in test.error] == ["There is \\*no\\* room for it."]
    assert not button(test).disabled


def test_an_import_that_names_no_model_says_so(store: Store) -> None:
    file = ROOT / "tests" / "fixtures" / "iterations_data.json"
    test = page(run=store.add(read_explanation(file.read_bytes(), file.name)))
    assert button(test).disabled
    assert any("does not say which model" in caption.value for caption in test.caption)


def test_a_model_that_is_not_here_is_said_before_the_click(
    store: Store, explanation: Explanation
) -> None:
    request = explanation.request.model_copy(update={"model": "/no/such/folder"})
    test = page(run=store.add(explanation.model_copy(update={"request": request})))
    assert button(test).disabled
    assert any("cannot be asked again" in caption.value for caption in test.caption)


# --- What ships -----------------------------------------------------------------------------------


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.id)
def test_an_example_shows_its_check_at_once(store: Store, example: Example) -> None:
    found = check_of(example.id)
    assert found is not None and not found.same_replacer and not found.notes
    test = page(example=example.id)
    assert not test.exception and found.text in texts(test)
    assert LABEL not in [button.label for button in test.button]
    explanation = explanation_of(example.id)
    focused = [w.explained for w in answer_words(explanation) if w.text.strip() == example.focus]
    assert found.target == focused[0].target
    assert found.replacer == another_replacer(explanation.config.replacer, plain=False)


# --- Pure parts -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checked(explanation: Explanation) -> Check:
    return check_now(explanation, Homely())


def test_the_curves_are_those_of_the_check(checked: Check) -> None:
    chart = erasure_chart(checked, "deletion")
    assert chart.rows["share"].tolist() == [point / 17 for point in checked.points]
    assert chart.rows["left"].tolist() == list(checked.deletion.left)
    assert (chart.rows["random_low"] <= chart.rows["random_high"]).all()
    assert "replaced, the strongest first; low is good" in chart.spec["description"]
    assert (
        "kept, the strongest first; high" in erasure_chart(checked, "insertion").spec["description"]
    )


def test_the_table_tells_each_share_and_the_mean(checked: Check) -> None:
    table = share_table(checked)
    assert table["Strongest"].tolist() == ["5% (1)", "10% (2)", "20% (3)", "30% (5)", "Mean"]
    # Without france Paris has an eighth: log(8) = 2.08 nats; 7/8 is 87.5%.
    assert set(table["Comprehensiveness"]) <= {f"2.08 nats; {p} lost" for p in ("87%", "88%")}
    assert table["Sufficiency"].iloc[0] == "0.00 nats; 0% lost"


def test_other_words_replacers_and_runs_have_other_keys(explanation: Explanation) -> None:
    def key(whole: Explanation, reference: str, replacer: str | None = None) -> str:
        return checks.Checked(whole, whole, reference).key(replacer)

    stopped = explanation.model_copy(update={"status": "cancelled"})
    target = explanation.target.model_copy(update={"answer_start": 1, "answer_stop": 2})
    other = explanation.model_copy(update={"target": target})
    keys = [key(explanation, "a" * 64), key(explanation, "b" * 64), key(stopped, "a" * 64),
            key(other, "a" * 64), key(explanation, "a" * 64, "uniform")]  # fmt: skip
    assert len(set(keys)) == len(keys)
