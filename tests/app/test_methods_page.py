"""The logic of the page Methods, on the tiny model and without a browser."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from components import loaded_models, methods_jobs, methods_list, runs
from components.examples import (
    MethodsExample,
    examples,
    explanation_of,
    methods_compared,
    methods_examples,
)
from reagent_core import models
from reagent_core.baselines import comparison
from reagent_core.baselines.compared_words import headline
from reagent_core.baselines.methods import METHODS, Method, label_of
from reagent_core.config import PRESETS
from reagent_core.errors import ModelError
from reagent_core.explain import explain
from reagent_core.request import AnswerTokens, Request, Turn
from reagent_core.scorers.base import Scorer
from reagent_core.store import Store
from tests.tiny import Homely
from tests.tiny_models import tiny_scorer

pytestmark = pytest.mark.usefixtures("homely")

PAGES = Path(__file__).parent.parent.parent / "pages"
LONG = "a big red city in a green city is one capital of france in a blue city"
INSIDE = [method.name for method in METHODS if method.needs in ("gradients", "attention")]


def page(name: str = "methods", **query: str) -> AppTest:
    test = AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=30)
    for key, value in query.items():
        test.query_params[key] = value
    return test.run()


def texts(test: AppTest) -> list[str]:
    """What is shown as plain text."""
    protos = [element.proto for element in test.main if element.type == "bidi_component"]
    return [json.loads(each.json)["text"] for each in protos if "plain" in each.component_name]


def strips(test: AppTest) -> list[str]:
    """The names of the strips of tokens."""
    protos = [element.proto for element in test.main if element.type == "bidi_component"]
    data = [json.loads(each.json) for each in protos if "token_strip" in each.component_name]
    return [each["label"] for each in data if each["tokens"]]


def pick_model(test: AppTest, typed: str) -> AppTest:
    """Choose a model or type one."""
    (field,) = [field for field in test.selectbox if field.key == "methods_model"]
    field.options.append(typed)
    return field.set_value(typed).run()


def compare(test: AppTest, *methods: str, prompt: str = LONG) -> AppTest:
    """Fill the form for a quick comparison and press the button."""
    test.text_area(key="methods_prompt").set_value(prompt)
    for name in methods_jobs.ALL:
        if name not in methods:
            test.checkbox(key=f"methods_use_{name}").uncheck()
    test.selectbox(key="methods_preset").set_value("quick")
    test.number_input(key="methods_budget").set_value(40)
    test.number_input(key="methods_draws").set_value(1)
    return test.button(key="methods_compare").click().run()


def ended(test: AppTest) -> AppTest:
    """The page when its comparison is over."""
    job = runs.job_queue().get(test.query_params["run"])
    assert job is not None
    job.wait(60)
    return test.run()


# --- What ships -----------------------------------------------------------------------------------


@pytest.mark.parametrize("example", methods_examples(), ids=lambda example: example.id)
def test_an_example_is_there_at_once(store: Store, example: MethodsExample) -> None:
    test = page(example=example.id)
    compared = methods_compared(example.id)
    assert not test.exception and not test.error
    assert texts(test)[0] == headline(compared)
    assert not compared.refused and [each.method for each in compared.results] == [
        *methods_jobs.ALL
    ]
    assert len(strips(test)) == len(methods_jobs.ALL)
    (table,) = test.dataframe
    ratios = ["Soft-NS, log ratio", "Soft-NC, log ratio"]
    assert set(ratios) < set(table.value.columns)
    told = " ".join(caption.value for caption in test.caption).replace("\\", "")
    assert "which weighs the proposals that made the explanations (of the methods" in told
    assert "compare by the log ratio to the same scores shuffled" in told
    (which,) = [radio for radio in test.radio if radio.label == "Faithfulness by"]
    assert which.options == ["Area", "Comprehensiveness", "Sufficiency", *ratios]
    which.set_value("soft_sufficiency_log_ratio").run()
    lacking = [each.label for each in compared.results if each.faithful and each.faithful.soft
               and each.faithful.soft.log_ratio_sufficiency is None]  # fmt: skip
    (shown,) = [each.value for each in test.caption if "dashed line" in each.value]
    assert ("Without a value here" in shown) == bool(lacking)
    assert all(label in shown for label in lacking) and not test.exception
    (focus,) = [each.focus for each in examples() if each.id == example.id]
    assert compared.results[0].explanation.target.text.strip() == focus
    # Each of its explanations has a page of its own, though no library keeps it.
    other = page("explain", run=compared.results[8].key)
    assert not other.exception and not other.warning
    assert compared.results[8].method == "leave_one_out"
    labels = [button.label for button in other.button]
    assert "Check this explanation" in labels and "Run 64 more steps" not in labels


# --- A comparison ---------------------------------------------------------------------------------


def test_a_comparison_lands_in_the_library_and_outlives_the_server(store: Store) -> None:
    test = compare(page(), "reagent", "leave_one_out", "random")
    assert test.query_params["run"] and not test.error
    ended(test)
    assert not test.exception and not test.error and not test.warning
    assert "is the most faithful here" in texts(test)[0]
    names = ("reagent", "leave_one_out", "random")
    assert set(strips(test)) == {f"The prompt by {label_of(name)}" for name in names}
    key = test.query_params["run"]
    compared = store.comparison(key)
    assert compared is not None and compared.budget == 40 and compared.draws == 1
    assert store.count() == 3
    assert all(store.get(each.key) == each.explanation for each in compared.results)

    # What was deleted is made again when it is asked for.
    store.delete([compared.results[1].key])
    assert "one of its explanations was deleted" in page(run=key).warning[0].value
    ended(compare(page(), "reagent", "leave_one_out", "random"))
    again = store.comparison(key)
    assert again is not None and again.agreement == compared.agreement

    # Another server on the same library, and a session that has typed nothing.
    st.cache_resource.clear()
    runs.job_queue().shutdown()
    again = page(run=key)
    assert texts(again)[0] == texts(test)[0] and not again.warning
    assert again.text_area(key="methods_prompt").value == LONG
    assert again.number_input(key="methods_budget").value == 40
    boxes = {name: again.checkbox(key=f"methods_use_{name}").value for name in methods_jobs.ALL}
    assert [name for name, ticked in boxes.items() if ticked] == [
        "reagent", "leave_one_out", "random"
    ]  # fmt: skip

    # An equal one is answered from there.
    assert compare(page(), "reagent", "leave_one_out", "random").query_params["run"] == key
    assert runs.job_queue().get(key) is None or runs.job_queue().get(key).snapshot().state == "done"


def test_it_can_be_cancelled(store: Store, gate: threading.Event) -> None:
    gate.clear()
    test = compare(page(), "leave_one_out", "shapley")
    (cancel,) = [button for button in test.button if button.key == "methods cancel"]
    cancel.click().run()
    gate.set()
    ended(test)
    assert [info.value for info in test.info] == ["Stopped before the first method had ended."]
    assert store.count() == 0 and not test.exception


def test_what_has_landed_is_drawn_while_the_rest_runs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed, more, score = threading.Event(), threading.Event(), Homely.score

    def slow(self: Homely, *arguments: object) -> object:
        if not landed.is_set() and store.count():
            landed.set()
            more.wait(30)
        return score(self, *arguments)

    monkeypatch.setattr(Homely, "score", slow)
    test = compare(page(), "leave_one_out", "shapley")
    assert landed.wait(30)
    test.run()
    assert strips(test) == ["The prompt by Leave-one-out"] and not test.exception
    assert "methods cancel" in [button.key for button in test.button]
    more.set()
    ended(test)
    assert len(strips(test)) == 2 and "is the most faithful here" in texts(test)[0]


def test_what_was_judged_is_drawn_while_the_rest_is_judged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, more = threading.Event(), threading.Event()
    judge, calls = comparison.soft_if_it_fits, []

    def slow(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            judged.set()
            more.wait(30)
        return judge(*arguments, **options)

    monkeypatch.setattr(comparison, "soft_if_it_fits", slow)
    test = compare(page(), "leave_one_out", "shapley", "random")
    assert judged.wait(30)
    test.run()
    assert len(strips(test)) == 3 and not test.exception
    (table,) = test.dataframe
    assert table.value["Method"].tolist() == ["Leave-one-out"]
    assert table.value["Area"].notna().all()
    told = [caption.value for caption in test.caption]
    assert any(each.startswith("Faithfulness is known of 1 of these 3.") for each in told)
    assert [radio.label for radio in test.radio if "Faithfulness" in radio.label]

    # What is known when it is stopped stays; the one that is being judged comes to its end.
    (cancel,) = [button for button in test.button if button.key == "methods cancel"]
    cancel.click().run()
    more.set()
    ended(test)
    assert test.info[0].value.startswith("Stopped when 3 methods had ended.")
    assert test.info[0].value.endswith("how faithful it is was told for 2 of them only.")
    (table,) = test.dataframe
    assert set(table.value["Method"]) == {"Leave-one-out", "Shapley value sampling"}
    assert not test.exception


def test_the_tray_lists_it_on_every_page(store: Store, gate: threading.Event) -> None:
    gate.clear()
    asked = Request(prompt=LONG, target=AnswerTokens(), config=PRESETS["quick"])
    key = methods_jobs.comparison_key(("random",), asked, 40, 1, Homely.info)

    def work(cancelled: Callable[[], bool]) -> Iterator[methods_jobs.Comparing]:
        gate.wait(30)
        yield methods_jobs.Comparing(methods_jobs.Asked(asked, ("random",)), "Random", 0, 2)

    shell = AppTest.from_file(str(PAGES.parent / "components" / "shell.py"), default_timeout=30)
    shell.session_state["owner"] = "0" * 32
    begun = methods_jobs.Comparing(methods_jobs.Asked(asked, ("random",)))
    runs.job_queue().submit(key, work, "0" * 32, begun)
    shell.run()
    shown = [each.proto for each in shell.sidebar if each.type == "bidi_component"]
    names = [json.loads(each.json).get("text") for each in shown]
    assert f"Methods on “{LONG[:39]}…”" in names
    links = [each.proto for each in shell.sidebar if each.type == "page_link"]
    assert ("methods", f"run={key}") in [(each.page, each.query_string) for each in links]
    gate.set()


def test_a_target_of_ones_own(store: Store) -> None:
    test = page()
    test.segmented_control(key="methods_target").set_value("A text of mine").run()
    test.text_input(key="methods_text").set_value("paris")
    test.text_input(key="methods_foil").set_value("madrid")
    ended(compare(test, "leave_one_out"))
    assert not test.exception and not test.error
    compared = store.comparison(test.query_params["run"])
    assert compared is not None
    target = compared.results[0].explanation.target
    assert target.text.strip() == "paris" and target.instead_of is not None


# --- Those that are kept --------------------------------------------------------------------------


def listed(test: AppTest) -> list[dict[str, str]]:
    """The rows of the comparisons that are kept, without their times."""
    tables = [table.value for table in test.dataframe if "Kept" in table.value.columns]
    return tables[0].drop(columns="Kept").to_dict("records") if tables else []


def test_a_finished_comparison_is_listed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed(page()) == []
    row = {"Prompt": LONG, "Target": "paris", "Model": "tiny",
           "Methods": "Leave-one-out, Random"}  # fmt: skip
    test = ended(compare(page(), "leave_one_out", "random"))
    assert not test.exception and listed(test) == [row]
    ended(compare(page(), "random"))
    assert listed(page()) == [{**row, "Methods": "Random"}, row]
    monkeypatch.setattr(methods_list, "MOST", 1)
    short = page()
    assert listed(short) == [{**row, "Methods": "Random"}]
    assert any("left out: 1." in each.value for each in short.caption)
    compared = store.comparison(test.query_params["run"])
    assert compared is not None
    store.delete([compared.results[0].key])
    assert listed(page()) == [{**row, "Methods": "Random"}]


@pytest.mark.parametrize(("rows", "address"), [([1], {"run": "b"}), ([], {})])
def test_a_row_that_is_chosen_opens_its_comparison(
    rows: list[int], address: dict[str, str]
) -> None:
    def choose(rows: list[int]) -> None:
        import streamlit as st

        from components.methods_list import open_selected

        st.session_state["table"] = {"selection": {"rows": rows}}
        open_selected("table", ("a", "b"))

    test = AppTest.from_function(choose, kwargs={"rows": rows}).run()
    assert not test.exception and dict(test.query_params) == address


def test_the_list_waits_until_the_browser_has_drawn_the_rest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(compare(page(), "random"))
    monkeypatch.setattr(runs, "library_is_imported", lambda: False)
    test = page()
    drawn = [each.proto.component_name for each in test.main if each.type == "bidi_component"]
    assert "reagent_methods_list" in drawn[-1] and listed(test) == []


def test_a_library_that_cannot_be_read_is_said_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    broken = Store(tmp_path / "file" / "store.sqlite3")
    monkeypatch.setattr(runs, "explanation_store", lambda: broken)
    for test in (page(), page(run="0" * 64)):
        assert not test.exception
        assert [each.value.count("cannot be used") for each in test.warning] == [1]
    assert strips(page())


# --- What cannot be -------------------------------------------------------------------------------


def test_a_server_gives_no_gradients_and_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded_models, "get_in_touch", lambda _: "a server")
    test = page()
    pick_model(test, "http://localhost:9/v1")
    for name in INSIDE:
        box = test.checkbox(key=f"methods_without_{name}")
        assert box.disabled and not box.value
    told = [caption.value for caption in test.caption if ":material/block:" in caption.value]
    assert any("Attention looks inside a model" in text for text in told)
    assert not test.checkbox(key="methods_use_shapley").disabled
    # With another model the choice is there again.
    pick_model(test, "bundled")
    assert test.checkbox(key="methods_use_attention").value


def test_what_a_model_in_a_folder_does_not_allow_is_known_before_it_is_loaded(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    test = pick_model(page(), str(tmp_path))
    for name in ("attention", "attention_last", "attention_rollout"):
        assert test.checkbox(key=f"methods_without_{name}").disabled
    assert test.checkbox(key="methods_use_gradient_norm").value
    told = [caption.value for caption in test.caption if ":material/block:" in caption.value]
    assert told == [":material/block: This model has layers without attention, so there is nothing "
                    "to read."]  # fmt: skip


def test_a_model_in_memory_is_asked_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, can = [], Method.can

    def counted(method: Method, scorer: Scorer) -> str | None:
        asked.append(method.name)
        return can(method, scorer)

    class OtherWeights(Homely):
        info = Homely.info.model_copy(update={"revision_or_sha256": "1"})

    monkeypatch.setattr(Method, "can", counted)
    monkeypatch.setattr(loaded_models, "_speeds", {"bundled": None})
    monkeypatch.setattr(models, "in_memory", lambda _: Homely())
    for _ in range(3):
        assert set(methods_jobs.refusals("bundled")) == set(INSIDE)
    every = [method.name for method in METHODS]
    assert asked == every
    monkeypatch.setattr(models, "in_memory", lambda _: OtherWeights())
    assert set(methods_jobs.refusals("bundled")) == set(INSIDE)
    assert asked == every * 2


def test_a_method_that_does_not_fit_is_left_out_with_the_reason(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded_models, "load_model", lambda _: tiny_scorer("gpt2"))
    monkeypatch.setattr("reagent_core.scorers.eager.free_bytes", lambda device: 10_000)
    test = page()
    ended(compare(test, "attention", "random", prompt="the quick brown fox jumps over"))
    assert not test.exception and not test.error
    assert strips(test) == ["The prompt by Random"]
    told = [caption.value for caption in test.caption if ":material/block:" in caption.value]
    assert any("Attention is left out. There is not enough memory" in text for text in told)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"prompt": ""}, "This is empty."),
        ({"methods": ()}, "Choose at least one method."),
        ({"first": 3, "last": 2}, "The last token comes before the first."),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    store: Store, change: dict[str, object], complaint: str
) -> None:
    test = page()
    for name in ("first", "last"):
        if name in change:
            test.number_input(key=f"methods_{name}").set_value(change[name])
    methods = change.get("methods", ("random",))
    compare(test, *methods, prompt=str(change.get("prompt", LONG)))
    assert complaint in test.error[0].value and "run" not in test.query_params


def test_what_fails_later_is_said_at_its_input(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = page()
    test.number_input(key="methods_first").set_value(9)
    test.number_input(key="methods_last").set_value(9)
    ended(compare(test, "leave_one_out"))
    assert "there is no token" in test.error[0].value.lower()

    def load(model_id: str) -> Homely:
        raise ModelError("There is *no* room for it.")

    monkeypatch.setattr(loaded_models, "load_model", load)
    test = page()
    ended(compare(test, "random"))
    assert [error.value for error in test.error] == ["There is \\*no\\* room for it."]
    assert test.text_area(key="methods_prompt").value == LONG


def test_what_is_not_kept_is_said(store: Store) -> None:
    test = page(run="0" * 64)
    assert "is not kept here any more" in test.warning[0].value


# --- From and to the other pages ------------------------------------------------------------------


def test_the_form_is_filled_from_an_explanation(store: Store) -> None:
    test = page(of="travel")
    explanation = explanation_of("travel")
    assert test.text_area(key="methods_prompt").value == explanation.prompt
    target = [test.number_input(key=f"methods_{name}").value for name in ("first", "last")]
    assert target == [1, 2], "the first word of the answer has two tokens"
    assert test.number_input(key="methods_length").value == explanation.request.max_new_tokens
    assert test.info[0].value.startswith("The form has the prompt")
    # The word that is chosen on Explain is the target.
    chosen = AppTest.from_file(str(PAGES / "methods.py"), default_timeout=30)
    chosen.session_state["chosen tokens"] = {"answer sentiment": 1}
    chosen.query_params["of"] = "sentiment"
    chosen.run()
    assert chosen.number_input(key="methods_first").value == 2
    # What somebody has typed stays.
    typed = page()
    typed.text_area(key="methods_prompt").set_value("of mine").run()
    typed.query_params["of"] = "travel"
    assert typed.run().text_area(key="methods_prompt").value == "of mine"


def test_what_the_form_does_not_show_is_compared_all_the_same(store: Store) -> None:
    """A chat of several turns, with settings of its own, is compared as it was explained."""
    turns = (Turn(role="user", content="one two"), Turn(role="assistant", content="three"),
             Turn(role="user", content=LONG))  # fmt: skip
    config = PRESETS["quick"].model_copy(update={"top_k": 7, "probes": 1})
    asked = Request(
        prompt=turns, target=AnswerTokens(), max_new_tokens=2, config=config,
        attribute_answer=True, protected=((0, 5),),
    )  # fmt: skip
    *_, last = explain(asked, Homely())
    store.put("a" * 64, last.explanation)

    def hidden(test: AppTest) -> list[str]:
        return [each.value for each in test.caption if "more_horiz" in each.value]

    test = page(of="a" * 64)
    preset = test.selectbox(key="methods_preset")
    assert preset.value is None and preset.options[0] == "As in the explanation"
    (told,) = hidden(test)
    assert "Taken over" in told and "2 earlier turns, 1 protected part, the answer before" in told
    for name in methods_jobs.ALL:
        if name != "random":
            test.checkbox(key=f"methods_use_{name}").uncheck()
    test.number_input(key="methods_draws").set_value(1)
    ended(test.button(key="methods_compare").click().run())
    assert not test.exception and not test.error
    compared = store.comparison(test.query_params["run"])
    assert compared is not None and compared.results[0].explanation.request == asked

    test = page(of="a" * 64)
    test.text_area(key="methods_prompt").set_value("of mine").run()
    (told,) = hidden(test)
    assert told.startswith(":material/more_horiz: Left out, because this is another prompt")
    other = compare(test, "random", prompt="a big red city")
    ended(other)
    compared = store.comparison(other.query_params["run"])
    assert compared is not None
    request = compared.results[0].explanation.request
    assert request is not None and request.prompt == (Turn(role="user", content="a big red city"),)
    assert (request.protected, request.attribute_answer) == ((), False)
    assert request.config == PRESETS["quick"]


def test_other_pages_show_what_another_method_found(store: Store) -> None:
    test = ended(compare(page(), "leave_one_out", "random"))
    compared = store.comparison(test.query_params["run"])
    assert compared is not None
    one, noise = (result.key for result in compared.results)
    assert compared.results[0].explanation.request.target == AnswerTokens()

    explain = page("explain", run=one)
    assert not explain.exception and "“france”" in texts(explain)[0]
    assert any("Leave-one-out takes no steps" in each.value for each in explain.caption)
    labels = [button.label for button in explain.button]
    assert "Check this explanation" in labels and "Run 64 more steps" not in labels

    random = page("explain", run=noise)
    protos = [each.proto for each in random.main if each.type == "bidi_component"]
    legends = [json.loads(each.json).get("legend") for each in protos]
    assert [each["high"] for each in legends if each] == ["higher share by random"]

    convergence = page("convergence", run=one)
    assert not convergence.exception
    assert texts(convergence)[0].startswith("Leave-one-out takes no steps")
    assert "Run 64 more steps" not in [button.label for button in convergence.button]

    library = page("library")
    (table,) = library.dataframe
    assert set(table.value["Method"]) == {"Leave-one-out", "Random"}
    assert set(table.value["Verdict"]) == {"Takes no steps"}
