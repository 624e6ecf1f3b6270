"""The JSON form: a round trip, and sentences for what cannot be read."""

from __future__ import annotations

import json

import pytest

from reagent_core.config import PRESETS, Config, make_config, preset_of
from reagent_core.errors import InputError
from reagent_core.explain import explain_now
from reagent_core.explanation import dump, load
from reagent_core.request import AnswerTokens, Request
from tests.tiny import TinyScorer


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
    assert data["schema_version"] == 1
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
        (lambda data: data.update(schema_version=2), "schema version 2; this program reads"),
        (lambda data: data.update(schema_version=True), "schema version True"),
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
