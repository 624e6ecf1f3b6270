"""The JSON form: a round trip, and sentences for what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reagent_core.config import PRESETS, Config, make_config, preset_of
from reagent_core.errors import InputError
from reagent_core.explain import explain_now
from reagent_core.explanation import dump, load
from reagent_core.request import AnswerTokens, Request
from tests.tiny import TinyScorer

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="module")
def text() -> str:
    request = Request(
        prompt="the capital of france is",
        target=AnswerTokens(),
        max_new_tokens=2,
        config=Config(probes=2, min_steps=10, max_steps=20),
    )
    return dump(explain_now(request, TinyScorer()))


def test_what_is_written_is_read_again(text: str) -> None:
    assert dump(load(text)) == text
    assert load(text.encode()) == load(text)


def test_the_top_level_has_what_readers_rely_on(text: str) -> None:
    data = json.loads(text)
    assert data["schema_version"] == 2
    assert data["prompt"] == "the capital of france is"
    assert data["target"]["text"] == " paris" and data["target"]["probability"] == 0.8
    for unit in data["units"]:
        assert data["prompt"][unit["start"] : unit["end"]] == unit["text"]
        assert unit["effect_low"] <= unit["effect"] <= unit["effect_high"]
    assert sum(unit["score"] for unit in data["units"]) == pytest.approx(1)
    assert set(data["counts"]) >= {"forwards", "sequences", "tokens"}
    assert data["model"] == {"id": "tiny", "revision_or_sha256": "0"}
    assert data["config"]["seed"] == 0 and data["seconds"] >= 0
    assert "transformers" in data["versions"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data.update(schema_version=3), "schema version 3; this program reads"),
        (lambda data: data.update(schema_version=True), "schema version True"),
        (lambda data: data.update(schema_version=0), "schema version 0"),
        (lambda data: data.pop("schema_version"), "no 'schema_version'"),
        (lambda data: data.update(surprise=1), "at 'surprise'"),
        (lambda data: data["units"][0].update(start="x"), "at 'units.0.start'"),
        (lambda data: data["config"].update(ratio=2), "at 'config.ratio'"),
        (lambda data: data.pop("verdict"), "at 'verdict'"),
        (lambda data: data["units"][0].update(effect=float("nan")), "at 'units.0.effect'"),
        (lambda data: data["facts"][0].update(unit=99), "unit 99"),
        (lambda data: data["trace"][0].update(replaced=[77], replacements=["x"]), "not there"),
        (lambda data: data["units"][0].update(start=1), "are not 'the'"),
    ],
)
def test_what_is_not_known_is_refused_with_the_place(text: str, change, reason: str) -> None:
    data = json.loads(text)
    change(data)
    with pytest.raises(InputError, match="file") as caught:
        load(json.dumps(data))
    assert reason in str(caught.value) and caught.value.field == "file"


def test_what_was_asked_for_is_kept(text: str) -> None:
    found = load(text)
    assert found.source == "reagent"
    assert found.request is not None and found.request.prompt == "the capital of france is"
    assert explain_now(found.request, TinyScorer()).units == found.units


def test_a_file_of_version_1_is_read(text: str) -> None:
    """As written by the first versions of this program: it says nothing of request and source."""
    old = (FIXTURES / "explanation-v1.json").read_bytes()
    found = load(old)
    assert found.schema_version == 2 and found.request is None
    assert found.answer == " paris paris" and len(found.explanations or ()) == 2
    assert load(dump(found)) == found


def test_a_file_of_version_1_advises_no_steps_that_nobody_can_add() -> None:
    old = json.loads((FIXTURES / "explanation-v1.json").read_text("utf-8"))
    old["verdict"]["text"] = "Not settled: no effect stands out; run 64 more steps."
    old["explanations"][0]["verdict"]["text"] = old["verdict"]["text"]
    found = load(json.dumps(old))
    told = "Not settled: no effect stands out."
    assert found.verdict.text == found.explanations[0].verdict.text == told


@pytest.mark.parametrize("broken", ["", "{", "[1]", "null", '"x"', "{" * 10_000, b"\xff\xfe\x00"])
def test_no_json_is_refused(broken: str | bytes) -> None:
    with pytest.raises(InputError):
        load(broken)


def test_settings_out_of_range_are_a_sentence() -> None:
    for options, word in [
        ({"ratio": 1.5}, "ratio"),
        ({"probes": 0}, "probes"),
        ({"min_steps": 9, "max_steps": 3}, "smaller than min_steps"),
        ({"colour": "red"}, "colour"),
        ({"selection": "all"}, "selection"),
    ]:
        with pytest.raises(InputError, match=word) as caught:
            make_config(**options)
        assert caught.value.field == "settings"


def test_a_preset_is_known_by_its_options() -> None:
    assert preset_of(PRESETS["paper"].model_copy(update={"seed": 9})) == "paper"
    assert preset_of(Config(ratio=0.31)) is None
    # The published procedure has no limit: gone on with it is the same, cut short it is not.
    paper = PRESETS["paper"]
    assert preset_of(paper.model_copy(update={"max_steps": paper.max_steps + 64})) == "paper"
    assert preset_of(paper.model_copy(update={"max_steps": 64})) is None
    assert preset_of(PRESETS["quick"].model_copy(update={"max_steps": 99})) is None


def test_equal_requests_have_equal_keys_and_any_change_another() -> None:
    model = TinyScorer.info
    request = Request(prompt="a", config=Config())
    assert request.key(model) == Request(prompt="a", config=Config()).key(model)
    changed = [
        Request(prompt="b"),
        Request(prompt="a", config=Config(seed=1)),
        Request(prompt="a", max_new_tokens=3),
        Request(prompt="a", target=AnswerTokens(start=1, stop=2)),
    ]
    keys = {r.key(model) for r in [request, *changed]}
    keys.add(request.key(model.model_copy(update={"revision_or_sha256": "1"})))
    assert len(keys) == 6


def test_the_replacer_model_decides_the_key_only_where_it_is_used() -> None:
    model = TinyScorer.info
    plain = Request(prompt="a").key(model)
    assert Request(prompt="a", config=Config(replacer_model="bert-base")).key(model) == plain
    masked = Request(prompt="a", config=Config(replacer="masked_lm"))
    keys = {masked.key(model, model.model_copy(update={"revision_or_sha256": sha}))
            for sha in ("1", "2")}  # fmt: skip
    assert len(keys | {plain}) == 3


def test_files_from_before_there_was_a_replacer_model_are_read(text: str) -> None:
    data = json.loads(text)
    assert data.pop("replacer_model") is None
    del data["config"]["replacer_model"]
    assert load(json.dumps(data)).replacer_model is None
