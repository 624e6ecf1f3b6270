"""The job tray and what stays across pages: the whole app on the tiny model, without a browser."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from components import keep, navigation, runs, tray
from reagent_core.errors import ModelError
from tests.tiny import TinyScorer, capital

ROOT = Path(__file__).parent.parent.parent
SHELL = str(ROOT / "components" / "shell.py")
PROMPT = "the capital of france is"
QUOTED = f"“{PROMPT}”"


@pytest.fixture(autouse=True)
def other_pages(scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Beside Explain stand pages that show nothing."""
    (tmp_path / "explain.py").write_text((ROOT / "pages" / "explain.py").read_text("utf-8"))
    others = ("other", "convergence", "method", "methods")
    for name in others:
        (tmp_path / f"{name}.py").write_text("import streamlit as st\n\nst.title('Another page')\n")
    monkeypatch.setattr(navigation, "_FOLDER", tmp_path)
    entry = navigation._PAGES["explain"]
    monkeypatch.setattr(navigation, "_PAGES", {name: entry for name in ("explain", *others)})


@pytest.fixture
def gate(scorer: TinyScorer) -> Iterator[threading.Event]:
    """The model answers nothing until this is set."""
    opened = threading.Event()

    def rule(words: Sequence[str]) -> dict[str, float]:
        opened.wait(30)
        return capital(words)

    scorer.rule = rule
    yield opened
    opened.set()


def app() -> AppTest:
    return AppTest.from_file(SHELL, default_timeout=30).run()


def explain(test: AppTest, prompt: str = PROMPT) -> str:
    """Start a run; its key."""
    test.text_area(key="prompt").set_value(prompt)
    (button,) = [button for button in test.button if button.label == "Explain"]
    button.click().run()
    return str(test.query_params["run"])


def go(test: AppTest, name: str) -> AppTest:
    """Follow a link of the sidebar: it names nothing but the page."""
    test.query_params.clear()
    return test.switch_page(str(navigation._FOLDER / f"{name}.py")).run()


def names(test: AppTest) -> list[str]:
    """The prompts in the tray, as they are named there."""
    shown = [element.proto for element in test.sidebar if element.type == "bidi_component"]
    return [json.loads(text.json)["text"] for text in shown if "plain" in text.component_name]


def links(test: AppTest) -> list[tuple[str, str]]:
    """Page and query of every link in the tray; what is on the page in view has a button."""
    found = [element.proto for element in test.sidebar if element.type == "page_link"]
    return [(link.page, link.query_string) for link in found if link.label == "Open"]


def buttons(test: AppTest) -> list[str]:
    """What can be pressed in the tray."""
    return [button.label for button in test.sidebar.button]


def ended(test: AppTest, key: str) -> AppTest:
    """Draw the page again once this run has ended."""
    runs.job_queue().get(key).wait(30)
    return test.run()


def test_with_no_run_the_tray_says_so(scorer: TinyScorer) -> None:
    assert "Nothing is running." in [caption.value for caption in app().sidebar.caption]


def test_a_run_is_listed_while_it_lasts_and_afterwards(
    scorer: TinyScorer, gate: threading.Event
) -> None:
    test = app()
    key = explain(test)
    assert names(test) == [QUOTED] and buttons(test) == ["Open", "Cancel"]
    gate.set()
    ended(test, key)
    assert names(test) == [QUOTED] and buttons(test) == ["Open"]
    go(test, "other")
    assert links(test) == [("explain", f"run={key}")]
    go(test, "explain")
    assert not test.toast  # its result is what the page shows


def test_a_run_that_ends_while_another_page_is_in_view_is_announced_once(
    scorer: TinyScorer, gate: threading.Event
) -> None:
    test = app()
    key = explain(test)
    go(test, "other")
    gate.set()
    ended(test, key)
    assert test.title[0].value == "Another page"
    (toast,) = test.toast
    assert toast.value == f"{QUOTED} is explained. Open it under Runs."
    assert not test.run().toast


def test_a_check_is_listed_as_one(scorer: TinyScorer, gate: threading.Event) -> None:
    test = app()
    key = explain(test)
    gate.set()
    ended(test, key)
    gate.clear()
    (check,) = [b for b in test.main.button if b.label == "Check this explanation"]
    check.click().run()
    told = f"Check of {QUOTED}"
    assert names(test) == [told, QUOTED]
    assert buttons(test) == ["Open", "Cancel", "Open"]
    go(test, "other")
    assert links(test) == [("explain", f"run={key}")] * 2
    gate.set()
    jobs = runs.job_queue().jobs_of(test.session_state["owner"])
    (job,) = [job for job in jobs if job.key != key]
    ended(test, job.key)
    assert [toast.value for toast in test.toast] == [f"{told} is finished. Open it under Runs."]
    assert names(test) == [told, QUOTED] and not test.sidebar.button


def test_a_run_that_ended_before_the_tray_ever_saw_it_is_listed(scorer: TinyScorer) -> None:
    test = app()
    key = explain(test)
    runs.job_queue().get(key).wait(30)
    assert names(test.run()) == [QUOTED]


def test_a_failed_run_says_why_in_plain_text(scorer: TinyScorer, gate: threading.Event) -> None:
    def fail(words: Sequence[str]) -> dict[str, float]:
        gate.wait(30)
        raise ModelError("No *such* model.")

    scorer.rule = fail
    test = app()
    key = explain(test, "the **big** [red](http://evil) city")
    go(test, "other")
    gate.set()
    ended(test, key)
    (toast,) = test.toast
    assert "\\*\\*big\\*\\* \\[red\\]\\(http" in toast.value  # signs of Markdown are escaped
    assert "](" not in toast.value and toast.value.endswith("No \\*such\\* model.")
    (why,) = [c.value for c in test.sidebar.caption if "such" in c.value]
    assert why.endswith("No \\*such\\* model.")
    assert links(test) == [("explain", f"run={key}")]


def test_a_cancelled_run_leaves_the_tray(scorer: TinyScorer, gate: threading.Event) -> None:
    test = app()
    explain(test)
    _, cancel = test.sidebar.button
    cancel.click().run()
    assert names(test) == [] and not test.toast
    gate.set()
    assert names(test.run()) == []


def test_few_ended_runs_are_listed_the_newest_first(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tray, "MOST_ENDED", 2)
    test = app()
    prompts = [f"the capital of {name}" for name in ("spain", "france", "london")]
    for prompt in prompts:
        ended(test, explain(test, prompt))
    assert names(test) == [f"“{prompt}”" for prompt in prompts[:0:-1]]


def test_after_a_reload_the_session_goes_on_as_the_one_before(
    scorer: TinyScorer, gate: threading.Event
) -> None:
    before = app()
    first, second = explain(before), explain(before, "the capital of spain is")
    owner = before.session_state["owner"]
    (navigation._FOLDER / "other.py").write_text(
        "import streamlit as st\n"
        "from components import runs\n\n"
        f"st.button('Adopt', on_click=runs.adopt, args=('{owner}',))\n"
        "st.button('Nonsense', on_click=runs.adopt, args=({'x': 1},))\n"
    )
    after = app()
    after.query_params["run"] = first
    assert names(after.run()) == ["A run"]  # looking at it is waiting for it
    go(after, "other")
    after.main.button[1].click().run()
    assert names(after) == ["A run"]
    after.main.button[0].click().run()
    assert names(after) == ["A run", "A run"]
    assert runs.job_queue().get(first).snapshot().owners == 1
    cancel = next(b for b in after.sidebar.button if b.key == f"stop {second}")
    cancel.click().run()
    gate.set()
    assert runs.job_queue().get(second).wait(30).state == "cancelled"
    ended(after, first)
    assert names(after) == [QUOTED] and len(after.toast) == 1


def test_open_leads_to_the_page_that_named_the_run_first(
    scorer: TinyScorer, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Compare, whose address names several."""
    page = navigation._FOLDER / "other.py"
    page.write_text(
        "import streamlit as st\n"
        "from components import keep, runs\n"
        "from reagent_core.request import Request\n\n"
        "def start():\n"
        "    key = runs.start(Request(prompt='the capital of spain is'))\n"
        "    keep.show({'runs': f'travel,{key}'})\n\n"
        "st.button('Compare', on_click=start)\n"
    )
    test = go(app(), "other")
    test.main.button[0].click().run()
    shown = str(test.query_params["runs"])
    go(test, "explain")
    assert links(test) == [("other", f"runs={shown.replace(',', '%2C')}")]
    gate.set()
    ended(test, shown.partition(",")[2])
    assert len(test.toast) == 1
    assert links(test) == [("other", f"runs={shown.replace(',', '%2C')}")]


def test_what_was_typed_and_shown_is_there_again_after_a_look_at_another_page(
    scorer: TinyScorer,
) -> None:
    test = app()
    test.segmented_control(key="mode").set_value("Chat").run()
    test.text_input(key="system").set_value("big red")
    test.segmented_control(key="preset").set_value("custom").run()
    test.number_input(key="custom_top_k").set_value(5)
    test.selectbox(key="custom_weights").set_value("centered")
    test.number_input(key="option_seed").set_value(11)
    test.number_input(key="max_new_tokens").set_value(3)
    test.text_input(key="target_text").set_value("paris")
    test.checkbox(key="attribute_answer").set_value(True)
    key = explain(test)
    go(test, "other")
    assert not test.text_area
    go(test, "explain")
    assert test.query_params["run"] == key
    assert test.text_area(key="prompt").value == PROMPT
    assert test.segmented_control(key="mode").value == "Chat"
    assert test.text_input(key="system").value == "big red"
    assert test.segmented_control(key="preset").value == "custom"
    assert test.number_input(key="custom_top_k").value == 5
    assert test.selectbox(key="custom_weights").value == "centered"
    assert test.number_input(key="option_seed").value == 11
    assert test.number_input(key="max_new_tokens").value == 3
    assert test.text_input(key="target_text").value == "paris"
    assert test.checkbox(key="attribute_answer").value is True


def test_a_link_that_names_something_shows_that(scorer: TinyScorer) -> None:
    test = app()
    key = explain(test)
    go(test, "other")
    test.query_params["example"] = "arithmetic"
    test.switch_page(str(navigation._FOLDER / "explain.py")).run()
    assert "run" not in test.query_params and key
    assert test.button_group(key="example").value == "arithmetic"


def test_a_run_of_the_page_in_view_is_opened_in_place(scorer: TinyScorer) -> None:
    test = app()
    first, second = explain(test), explain(test, "the capital of spain is")
    ended(test, first)
    ended(test, second)
    for place, key in ((1, first), (0, second)):  # the newest one comes first
        test.sidebar.button[place].click().run()
        assert test.query_params["run"] == key


def test_a_late_request_undoes_no_click(scorer: TinyScorer) -> None:
    """One that the browser sent before it had heard of the address that the click has led to."""
    test = app()
    test.button_group(key="example").set_value("arithmetic").run()
    key = explain(test)
    for late in ({}, {"example": "arithmetic"}):
        test.query_params.clear()
        test.query_params.update(late)
        test.run()
        assert test.query_params == {"run": key} and test.session_state["example"] is None


def test_going_back_in_the_browser_is_no_late_request(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = app()
    key = explain(test)
    test.button_group(key="example").set_value("arithmetic").run()
    test.query_params.clear()
    test.query_params["run"] = key
    with monkeypatch.context() as back:
        back.setattr(keep, "_through_history", lambda: True)
        test.run()
    assert test.query_params == {"run": key} and test.session_state["example"] is None
    assert test.run().query_params == {"run": key}


def test_what_is_chosen_is_told_the_browser_only_if_it_does_not_know(scorer: TinyScorer) -> None:
    """A value that is told would undo a click that came in the meantime."""
    test = app()
    assert test.button_group(key="example").proto.set_value
    test.button_group(key="example").set_value("arithmetic").run()
    assert not test.button_group(key="example").proto.set_value
    explain(test)
    assert test.button_group(key="example").proto.set_value
