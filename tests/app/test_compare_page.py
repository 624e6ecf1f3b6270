"""The logic of the page Compare, on the tiny model and without a browser."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from components import compare_downloads, compare_view, runs
from components.examples import comparisons, examples, explanation_of, is_example
from reagent_core import models
from reagent_core.comparison import MOST, Comparison
from reagent_core.config import PRESETS, Config
from reagent_core.errors import UnknownModelError
from reagent_core.explanation import load
from reagent_core.request import GivenText, ModelInfo, Request, Turn, WholeAnswer
from tests.examples import make_explanation
from tests.tiny import TinyScorer, capital

PAGE = str(Path(__file__).parent.parent.parent / "pages" / "compare.py")
PROMPTS = ("the capital of france is", "the big capital of france is", "a city in spain is")


@pytest.fixture(autouse=True)
def several_models(scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every id is a model, the same one."""
    monkeypatch.setattr(
        models, "model_info", lambda name: ModelInfo(id=name, revision_or_sha256="0")
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Comparison]:
    """The comparisons whose table was drawn."""
    found: list[Comparison] = []
    draw = compare_view.difference_table

    def record(comparison: Comparison, *, key: str, chosen: set[int]) -> None:
        found.append(comparison)
        draw(comparison, key=key, chosen=chosen)

    monkeypatch.setattr(compare_view, "difference_table", record)
    return found


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What was asked for; nothing runs."""
    found: list[Request] = []
    monkeypatch.setattr(runs, "start", lambda asked: found.append(asked) or f"{len(found):064x}")
    return found


@pytest.fixture
def held(scorer: TinyScorer) -> Iterator[threading.Event]:
    """The model answers once this is set, as it is in the end."""
    go = threading.Event()

    def rule(words: Sequence[str]) -> dict[str, float]:
        go.wait(30)
        return capital(words)

    scorer.rule = rule
    yield go
    go.set()


def page(**query: str) -> AppTest:
    test = AppTest.from_file(PAGE, default_timeout=30)
    for name, value in query.items():
        test.query_params[name] = value
    return test.run()


def empty_page() -> AppTest:
    """The page without an example's prompts in its form."""
    return page(runs="0" * 64)


def press(test: AppTest, label: str, place: int = 0) -> AppTest:
    return [button for button in test.button if button.label == label][place].click().run()


def typed(*prompts: str) -> AppTest:
    """A page with one column for each prompt."""
    test = empty_page()
    for _ in prompts[2:]:
        press(test, "Add a column")
    for i, prompt in enumerate(prompts):
        test.text_area(key=f"compare_prompt_{i}").set_value(prompt)
    return test


def references(test: AppTest) -> list[str]:
    return str(test.query_params["runs"]).split(",")


def errors(test: AppTest) -> list[str]:
    return [error.value for error in test.error]


def wait(test: AppTest) -> AppTest:
    for key in references(test):
        runs.job_queue().get(key).wait(30)
    return test.run()


def test_it_opens_on_a_finished_comparison(scorer: TinyScorer, drawn: list[Comparison]) -> None:
    test = page()
    assert not test.exception and not test.error
    assert len(drawn[-1].explanations) == 3
    assert [box.value for box in test.text_area] == [each.prompt for each in drawn[-1].explanations]
    assert scorer.calls == [] and "runs" not in test.query_params


def test_every_comparison_that_ships_can_be_chosen(
    scorer: TinyScorer, drawn: list[Comparison]
) -> None:
    test = page()
    first = test.session_state["compare_example"]
    test.button_group(key="compare_example").set_value("capital,capital-seed").run()
    assert not test.exception
    assert references(test) == ["capital", "capital-seed"]
    assert {each.prompt for each in drawn[-1].explanations} == {"The capital of France is"}
    # The form was not typed into, so it follows.
    assert test.session_state["compare_what"] == "seeds"
    assert first != test.session_state["compare_example"]


def test_what_ships_to_be_compared_says_what_was_asked_for() -> None:
    for each in comparisons():
        assert 2 <= len(each.examples) <= MOST
        for example in each.examples:
            explanation = explanation_of(example)
            assert is_example(example) and explanation.request is not None
            assert explanation.verdict.settled
    listed = {example.id for example in examples()}
    assert listed and "capital-seed" not in listed  # it is there for Compare alone


def test_prompts_are_compared(scorer: TinyScorer, drawn: list[Comparison]) -> None:
    test = press(typed(*PROMPTS), "Compare")
    assert len(references(test)) == 3
    wait(test)
    assert not test.exception and not test.error
    assert [each.prompt for each in drawn[-1].explanations] == list(PROMPTS)
    # The answer's first word is what is explained.
    targets = [each.target.text.strip() for each in drawn[-1].explanations]
    assert targets == ["paris", "paris", "madrid"]

    # The link shows the same to another session, without a forward.
    before = len(scorer.calls)
    other = page(runs=str(test.query_params["runs"]))
    assert not other.exception and len(scorer.calls) == before
    assert [each.prompt for each in drawn[-1].explanations] == list(PROMPTS)


def test_a_link_selects_words(scorer: TinyScorer, drawn: list[Comparison]) -> None:
    test = wait(press(typed(*PROMPTS), "Compare"))
    link = {"runs": str(test.query_params["runs"])}
    page(**link, words="1,,x")
    shown = [each.target for each in drawn[-1].explanations]
    assert [target.answer_start for target in shown] == [1, 0, 0]
    page(**link, words="99,-1")  # no such words: the answer as a whole, and the first
    assert drawn[-1].explanations[0].target.answer_stop != 1


def test_an_empty_prompt_is_said_at_its_box_and_nothing_starts(
    scorer: TinyScorer, started: list[Request]
) -> None:
    test = press(typed(PROMPTS[0], " ", PROMPTS[2]), "Compare")
    assert errors(test) == ["This is empty. Type some text for the model to read."]
    assert test.session_state["compare_problems"].keys() == {1}
    assert started == []
    assert [box.value for box in test.text_area] == [PROMPTS[0], " ", PROMPTS[2]]
    press(test, "Remove", 1)
    press(test, "Compare")
    assert not test.error and [asked.prompt for asked in started] == [PROMPTS[0], PROMPTS[2]]


def test_the_same_twice_is_said(scorer: TinyScorer, started: list[Request]) -> None:
    test = press(typed(PROMPTS[0], PROMPTS[1], PROMPTS[0]), "Compare")
    assert errors(test) == ["This asks for the same as A. Change one of the two."]
    assert test.session_state["compare_problems"].keys() == {2} and started == []


def test_two_to_four_columns(scorer: TinyScorer) -> None:
    test = empty_page()
    labels = [button.label for button in test.button]
    assert "Remove" not in labels and len(test.text_area) == 2
    press(press(test, "Add a column"), "Add a column")
    assert "Add a column" not in [button.label for button in test.button]
    for i in range(4):
        test.text_area(key=f"compare_prompt_{i}").set_value(f"prompt {i}")
    press(test, "Remove", 0)
    assert [box.value for box in test.text_area] == ["prompt 1", "prompt 2", "prompt 3"]


def test_one_prompt_under_several_seeds(scorer: TinyScorer, started: list[Request]) -> None:
    test = typed(PROMPTS[0], "kept meanwhile")
    test.segmented_control(key="compare_what").set_value("seeds").run()
    assert len(test.text_area) == 1
    test.number_input(key="compare_seed_1").set_value(11)
    press(test, "Compare")
    assert [(asked.prompt, asked.config.seed) for asked in started] == [
        (PROMPTS[0], 0), (PROMPTS[0], 11),
    ]  # fmt: skip
    test.segmented_control(key="compare_what").set_value("prompts").run()
    assert test.text_area(key="compare_prompt_1").value == "kept meanwhile"


def test_one_prompt_under_several_settings(scorer: TinyScorer, started: list[Request]) -> None:
    test = typed(PROMPTS[0], "")
    test.segmented_control(key="compare_what").set_value("settings").run()
    test.selectbox(key="compare_preset_1").set_value("paper")
    press(test, "Compare")
    assert [asked.config.init for asked in started] == ["zeros", "uniform"]


def test_a_model_that_is_none_is_said_at_its_column(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Request] = []

    def start(asked: Request) -> str:
        if asked.model != "bundled":
            raise UnknownModelError("There is no such model.")
        started.append(asked)
        return "0" * 64

    monkeypatch.setattr(runs, "start", start)
    test = typed(PROMPTS[0], "")
    test.segmented_control(key="compare_what").set_value("models").run()
    test.selectbox(key="compare_model_1").select_index(1).run()
    press(test, "Compare")
    assert errors(test) == ["There is no such model."]
    assert test.session_state["compare_problems"].keys() == {1}
    assert test.text_area(key="compare_prompt_0").value == PROMPTS[0]
    assert references(test) == ["0" * 64]  # the address is what it was


def test_a_column_that_is_refused_stops_what_it_began_and_nothing_else(
    scorer: TinyScorer, held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def info(name: str) -> ModelInfo:
        if name != "bundled":
            raise UnknownModelError("There is no such model.")
        return ModelInfo(id=name, revision_or_sha256="0")

    monkeypatch.setattr(models, "model_info", info)
    test = press(typed(*PROMPTS[:2]), "Compare")
    queue, going = runs.job_queue(), references(test)
    test.segmented_control(key="compare_what").set_value("models").run()
    test.selectbox(key="compare_model_1").select_index(1).run()
    press(test, "Compare")  # A is the run of the first prompt, which goes on
    assert errors(test) == ["There is no such model."]
    assert [queue.get(key).snapshot().owners for key in going] == [1, 1]
    assert [bar.proto.text[:2] for bar in test.get("progress")] == ["A:", "B:"]

    test.text_area(key="compare_prompt_0").set_value(PROMPTS[2])
    press(test, "Compare")  # now A is a new one, which nothing would show
    assert errors(test) == ["There is no such model."]
    owner = test.session_state["owner"]
    assert [job.key for job in queue.jobs_of(owner)] == going
    held.set()
    assert [queue.get(key).wait(30).state for key in going] == ["done", "done"]


def test_one_target_for_all(scorer: TinyScorer, started: list[Request]) -> None:
    test = typed(*PROMPTS[:2])
    test.segmented_control(key="compare_target").set_value("same").run()
    press(test, "Compare")
    assert errors(test) == ["This is empty. Type some text for the model to read."]
    test.text_input(key="compare_target_text").set_value("london")
    press(test, "Compare")
    assert {asked.target for asked in started} == {GivenText(text="london")}


def test_the_first_answer_is_suggested_as_the_target(scorer: TinyScorer) -> None:
    test = page()
    test.segmented_control(key="compare_target").set_value("same").run()
    assert test.text_input(key="compare_target_text").value == "positive"


def test_chats_share_a_system_turn(scorer: TinyScorer, started: list[Request]) -> None:
    test = typed(*PROMPTS[:2])
    test.segmented_control(key="compare_mode").set_value("Chat").run()
    test.text_input(key="compare_system").set_value("big red")
    press(test, "Compare")
    system = Turn(role="system", content="big red")
    assert [asked.prompt for asked in started] == [
        (system, Turn(role="user", content=prompt)) for prompt in PROMPTS[:2]
    ]


def test_what_is_typed_survives_another_comparison(scorer: TinyScorer) -> None:
    test = typed("my own", "words")
    test.button_group(key="compare_example").set_value("capital,capital-seed").run()
    assert [box.value for box in test.text_area] == ["my own", "words"]


def test_a_run_that_fails_is_said_at_its_column_and_the_other_is_shown(
    scorer: TinyScorer, drawn: list[Comparison]
) -> None:
    scorer.context_length = 16
    test = wait(press(typed(PROMPTS[0], "big " * 20), "Compare"))
    (said,) = errors(test)
    assert "20 tokens; this model reads 16" in said
    assert drawn == []  # there is nothing to compare with
    assert test.text_area(key="compare_prompt_1").value == "big " * 20


def test_runs_wait_in_a_queue_with_a_line_each(
    scorer: TinyScorer, held: threading.Event, drawn: list[Comparison]
) -> None:
    test = press(typed(*PROMPTS), "Compare")
    lines = [bar.proto.text for bar in test.get("progress")]
    assert [line[:2] for line in lines] == ["A:", "B:", "C:"]
    assert lines[1:] == ["B: waiting, place 1 in the queue", "C: waiting, place 2 in the queue"]
    press(test, "Cancel", 1)
    assert "B: " not in " ".join(bar.proto.text for bar in test.get("progress"))
    assert "Stopped before the model had answered." in [info.value for info in test.info]
    held.set()
    wait(test)
    assert drawn[-1].letters == "AC"
    assert [each.prompt for each in drawn[-1].explanations] == [PROMPTS[0], PROMPTS[2]]
    assert [each.target.text.strip() for each in drawn[-1].explanations] == ["paris", "madrid"]


def test_a_run_that_is_cancelled_stops_or_goes_on_for_another_session(
    scorer: TinyScorer, held: threading.Event
) -> None:
    test = press(typed(*PROMPTS[:2]), "Compare")
    other = page(runs=str(test.query_params["runs"]))
    press(test, "Cancel")
    assert "Cancelled here; another session still waits for it." in captions(test)
    assert "Stopping" not in captions(test)
    press(other, "Cancel")
    assert "Stopping …" in captions(other) and "Stopping …" in captions(test.run())


def test_what_is_not_kept_any_more_leaves_the_others(
    scorer: TinyScorer, drawn: list[Comparison]
) -> None:
    test = page(runs=f"{'0' * 64},capital,capital-seed")
    assert not test.exception
    assert "not kept here any more" in test.warning[0].value
    assert drawn[-1].letters == "BC"


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("capital", "The link names one run"),
        (",".join(["capital"] * 5), "The link names 5 runs; the first 4 are compared here."),
    ],
)
def test_links_of_too_few_and_too_many(scorer: TinyScorer, link: str, said: str) -> None:
    test = page(runs=link)
    assert not test.exception and test.info[0].value.startswith(said)


def kept(requests: list[Request], **changes: object) -> str:
    """The part of an address that names made-up explanations of these requests."""
    store, keys = runs.explanation_store(), []
    for number, request in enumerate(requests):
        key = f"{number + 1:064x}"
        turns = None if isinstance(request.prompt, str) else request.prompt
        prompt = turns[-1].content if turns else str(request.prompt)
        made = make_explanation([(prompt, (1.0, 0.5, 1.5))], messages=turns, config=request.config)
        info = ModelInfo(id=request.model, revision_or_sha256="0")
        asked_for = {"request": request, "model": info}
        store.put(key, made.model_copy(update=asked_for | (changes if number else {})))
        keys.append(key)
    return ",".join(keys)


SPECIAL = Request(
    prompt=(
        Turn(role="system", content="be brief"),
        Turn(role="user", content="hello"),
        Turn(role="assistant", content="yes"),
        Turn(role="user", content="the capital of france is"),
    ),
    target=GivenText(text="paris", instead_of="london"),
    max_new_tokens=4,
    attribute_answer=True,
    protected=((0, 3),),
    config=Config(ratio=0.1, probes=2, seed=5),
)


def reworded(request: Request, last: str, **changes: object) -> Request:
    """The request with another last turn."""
    assert not isinstance(request.prompt, str)
    turns = (*request.prompt[:-1], request.prompt[-1].model_copy(update={"content": last}))
    return request.model_copy(update={"prompt": turns, **changes})


def captions(test: AppTest) -> str:
    return " ".join(caption.value for caption in test.caption)


def test_what_a_link_shows_is_asked_for_again_but_for_what_is_edited(
    scorer: TinyScorer, started: list[Request]
) -> None:
    second = reworded(SPECIAL, "the city is", target=GivenText(text="madrid", instead_of="paris"))
    test = press(page(runs=kept([SPECIAL, second])), "Compare")
    assert started == [SPECIAL, second]
    test.text_area(key="compare_prompt_1").set_value("the big city is")
    press(test, "Compare")
    # The protected places are those of the text that it was.
    assert started[2:] == [SPECIAL, reworded(second, "the big city is", protected=())]
    told = captions(test)
    assert "What is explained in each column stays" in told
    assert "The earlier turns of the chat stay" in told
    assert "Protected parts stay protected" in told
    assert "Earlier words of the answer count" in told
    assert "does not ask for all" not in told

    test.segmented_control(key="compare_target").set_value("own")
    test.selectbox(key="compare_preset").set_value("quick")
    press(test, "Compare")
    assert started[-2] == SPECIAL.model_copy(
        update={
            "target": WholeAnswer(),
            "config": PRESETS["quick"].model_copy(update={"seed": 5}),
        }
    )


def test_a_column_that_is_removed_or_added_takes_what_made_it_along(
    scorer: TinyScorer, started: list[Request]
) -> None:
    three = [
        SPECIAL.model_copy(update={"config": Config(ratio=ratio)}) for ratio in (0.1, 0.2, 0.4)
    ]
    test = press(page(runs=kept(three)), "Remove", 0)
    press(test, "Compare")
    assert started == three[1:]
    press(test, "Add a column")
    test.selectbox(key="compare_preset_2").set_value("custom")
    press(test, "Compare")
    assert errors(test) == ["This asks for the same as A. Change one of the two."]


def test_what_the_form_cannot_take_over_is_named(
    scorer: TinyScorer, started: list[Request]
) -> None:
    second = reworded(
        SPECIAL, "the city is", max_new_tokens=9, config=Config(seed=5, granularity="word")
    )
    test = page(runs=kept([SPECIAL, second]))
    assert "all of this again: the length of the answer and the settings of B." in captions(test)
    press(test, "Compare")
    assert "does not ask for all" not in captions(test)


def test_all_files_and_scripts_can_be_taken_away(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: dict[str, bytes | str] = {}
    monkeypatch.setattr(
        compare_downloads.st, "download_button",
        lambda label, made, *_, **__: offered.update({label: made()}),
    )  # fmt: skip
    test = page(runs="capital,capital-seed")
    assert not test.exception
    archive = zipfile.ZipFile(io.BytesIO(offered["All files"]))  # type: ignore[arg-type]
    stems = [f"{number:03}-the-capital-of-france-is" for number in (1, 2)]
    assert archive.namelist() == [
        *(f"{stem}.{kind}" for stem in stems for kind in ("json", "csv")), "contents.json",
    ]  # fmt: skip
    assert load(archive.read(f"{stems[1]}.json")) == explanation_of("capital-seed")
    contents = json.loads(archive.read("contents.json"))
    assert [each["key"] for each in contents] == ["capital", "capital-seed"]
    scripts = [code.value for code in test.code if "explain_now" in code.value]
    assert len(scripts) == 2 and scripts[0] != scripts[1]


def test_no_word_is_compared_between_methods(scorer: TinyScorer, drawn: list[Comparison]) -> None:
    test = page(runs=kept([Request(prompt="a city")] * 2, method="gradient_norm"))
    assert not test.exception
    assert not any(any(row.differences) for row in drawn[-1].rows)
    # It is not this form that asks for other methods.
    assert [box.value for box in test.text_area] == ["", ""]
    (link,) = [button for button in test.get("page_link") if "methods" in button.proto.page]
    assert f"of={1:064x}" in link.proto.query_string
    assert "it asks for ReAGent alone, and B was found by another method." in captions(test)


def test_a_link_that_cannot_fill_the_form_leaves_nothing_of_the_one_before(
    scorer: TinyScorer, started: list[Request]
) -> None:
    links = kept([SPECIAL, reworded(SPECIAL, "the city is", max_new_tokens=9)])
    test = page(runs=links)
    assert "does not ask for all" in captions(test)
    test.number_input(key="compare_seed").set_value(7).run()
    store = runs.explanation_store()
    key = store.add(make_explanation([("a notebook", (1.0, 0.5, 1.5))]))
    test.query_params["runs"] = f"{links.split(',')[0]},{key}"
    test.run()
    assert not test.exception
    assert [box.value for box in test.text_area] == ["", ""]
    told = captions(test)
    assert "The form is left empty: B does not say what was asked for." in told
    assert "this again" not in told and "stays as in the runs" not in told
    assert "earlier turns" not in told and "Protected" not in told and "Earlier words" not in told
    for i in range(2):
        test.text_area(key=f"compare_prompt_{i}").set_value(PROMPTS[i])
    press(test, "Compare")
    # What was changed by hand stays; of the runs of before there is nothing.
    config = PRESETS["standard"].model_copy(update={"seed": 7})
    assert started == [
        Request(prompt=prompt, max_new_tokens=8, config=config) for prompt in PROMPTS[:2]
    ]
    assert "left empty" not in captions(test)


def test_a_link_that_cannot_fill_the_form_takes_nothing_that_was_typed(scorer: TinyScorer) -> None:
    test = page(runs=kept([SPECIAL, reworded(SPECIAL, "the city is")]))
    test.text_area(key="compare_prompt_1").set_value("my own").run()
    test.query_params["runs"] = "0" * 64
    test.run()
    assert [box.value for box in test.text_area] == ["the capital of france is", "my own"]
    assert "Protected parts stay" in captions(test)  # those of what is in the form


def test_hostile_references_and_prompts_are_text(scorer: TinyScorer) -> None:
    test = page(runs="<img src=x>,../../etc/passwd,' OR 1=1 --")
    assert not test.exception and len(test.warning) == 3
    assert not page(words="9" * 5000).exception
    hostile = "![i](http://evil/a.png) **b** <b>"
    test = wait(press(typed(hostile, "the capital"), "Compare"))
    assert not test.exception
    everything = [*test.markdown, *test.caption, *test.info, *test.warning, *test.error]
    assert not any("evil" in element.value for element in everything)
