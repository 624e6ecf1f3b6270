"""Files from elsewhere: every version ever written, and whatever else a person may pick."""

from __future__ import annotations

import copy
import gzip
import io
import json
import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from reagent_core import importing
from reagent_core.cli import app
from reagent_core.config import Config
from reagent_core.errors import InputError
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation, dump
from reagent_core.importing import read_explanation, read_file
from reagent_core.notebook import notebook_json
from reagent_core.report import html_report
from reagent_core.request import GivenText, Request
from reagent_core.store import Store
from reagent_core.strip import answer_strip
from tests.tiny import TinyScorer

FIXTURES = Path(__file__).parent / "fixtures"
EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"
NOTEBOOK = (FIXTURES / "iterations_data.json").read_bytes()
# Never deleted, one for each version: what was exported once can be opened for ever.
OLD = sorted(FIXTURES.glob("explanation-v*.json"))
V2 = (FIXTURES / "explanation-v2.json").read_bytes()


def refusal(data: bytes, name: str = "file.json") -> str:
    with pytest.raises(InputError) as refused:
        read_explanation(data, name)
    assert refused.value.field == "file"
    return str(refused.value)


def changed(change: Callable[[dict[str, Any]], object], data: bytes = V2) -> bytes:
    parsed = json.loads(data)
    change(parsed)
    return json.dumps(parsed).encode()


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_every_version_ever_written_is_read(path: Path) -> None:
    explanation = read_explanation(path.read_bytes(), path.name)
    assert explanation.source == "reagent" and explanation.trace
    assert html_report(explanation)
    assert read_explanation(dump(explanation).encode(), path.name) == explanation


def test_the_second_version_holds_a_chat_with_a_foil_and_several_probes() -> None:
    explanation = read_explanation(V2, "v2")
    assert explanation.messages is not None and explanation.target.instead_of is not None
    assert {step.probe for step in explanation.trace} == {0, 1, 2}
    assert explanation.request is not None and explanation.request.prompt == explanation.messages


@pytest.mark.parametrize(
    "path", sorted(set(EXAMPLES.glob("*.json")) - {EXAMPLES / "index.json"}), ids=lambda p: p.stem
)
def test_the_examples_can_be_imported(path: Path) -> None:
    assert read_file(path).units


def test_the_content_says_what_a_file_is() -> None:
    assert read_explanation(NOTEBOOK, "report.txt").source == "notebook"
    assert read_explanation(b"\xef\xbb\xbf \n" + V2, "iterations_data.json").source == "reagent"


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("explanation.json", data)
    return file.getvalue()


class Bomb:
    """A pickle that says so if it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("the pickle was opened",))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "This file is empty"),
        (b" \n", "This file is empty"),
        (gzip.compress(V2), "compressed with gzip. Unpack it first"),
        (zipped(V2), "a zip archive. Unpack it first"),
        (pickle.dumps(Bomb()), "a pickle, which could run code"),
        (pickle.dumps(Bomb(), protocol=0), "not valid JSON"),
        (b"PAR1" + V2, "a Parquet file"),
        (V2.decode().encode("utf-16"), "UTF-16 text. Save it as UTF-8"),
        (V2.decode().encode("utf-16-le"), "not UTF-8 text: byte 2 is 0"),
        (b'{"a": "\xff"}', r"not UTF-8 text: byte 8 (in line 1) is part of no character"),
        (b"<html></html>", "not valid JSON: expecting value (line 1, column 1)"),
        (V2[: len(V2) // 2], "The file seems to be cut off"),
        (NOTEBOOK[:-3], "expecting ',' delimiter (line 7, column "),
        (b'{"schema_version": 2,}', "(line 1, column 2"),
        (b'{"schema_version": 2', "cut off"),
        (b"[" * 100_000, "nested 100,000 levels deep"),
        (b'{"a":' * 33, "nested 33 levels deep"),
        (b'{"\\\\": "[[",\n"a":' + b"[" * 40, "32 at most (line 2, column 36)"),
        (b'{"x": NaN}', "not an explanation"),
        (b"[-Infinity]", "entry 1 of the list: it is no object"),
        (b"[" + b"9" * 5_000 + b"]", "a number of more than 4,300 digits (line 1, column 2)"),
        (
            b'["' + b"1" * 5_000 + b'", 0.' + b"2" * 5_000 + b",\n-" + b"9" * 5_000 + b"]",
            "4,300 digits (line 2, column 2)",
        ),
        (b'{"a": 1, "a": 2}', "the field “a” twice (it ends in line 1, column 16)"),
        (
            '[{"a": "}ä\\"}"},\n{"ö": {}, "b": 1, "b": 2}]'.encode(),
            "the field “b” twice (it ends in line 2, column 25)",
        ),
        (b"3", "not an explanation"),
        (b'{"cells": [], "nbformat": 4}', "a notebook itself"),
        (b"{}", "no 'schema_version'"),
        (b"[]", "holds no iterations"),
        (json.dumps(json.loads(NOTEBOOK)[0]).encode(), "put it in square brackets"),
        (changed(lambda e: e.update(schema_version=9)), "schema version 9; this program reads"),
    ],
)
def test_what_is_no_explanation_is_refused_in_words(data: bytes, reason: str) -> None:
    told = refusal(data, "data.json")
    assert told.startswith("“data.json”: ") and reason in told


def test_a_pair_of_escapes_is_one_character() -> None:
    data = changed(lambda e: e["model"].update(id="🙂 \\ud800"))
    assert b'"\\ud83d\\ude42 \\\\ud800"' in data
    assert read_explanation(data, "x").model.id == "🙂 \\ud800"


def test_brackets_inside_a_text_are_no_nesting() -> None:
    def deep(explanation: dict[str, Any]) -> None:
        explanation["verdict"]["text"] = '[{"\\' * 1_000

    assert read_explanation(changed(deep), "x").verdict.text.startswith('[{"')


def test_what_is_too_large_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", None)
    monkeypatch.setattr(importing, "MAX_VALUES", 1_000)
    assert "more than 1,000 values" in refusal(b"[" + b"[]," * 600 + b"1]")
    monkeypatch.setattr(importing, "MAX_BYTES", 2**20)
    assert "more than 1 MB" in refusal(b" " * (2**20 + 1))


def test_an_object_of_many_fields_is_none_of_ours() -> None:
    many = {f"field {i}": i for i in range(300)}
    told = refusal(changed(lambda e: e.update(versions=many)))
    assert "an object with 300 fields" in told and "(it ends in line 1, column " in told


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_no_number_in_a_notebook_is_refused_with_its_iteration(number: str) -> None:
    rows = json.loads(NOTEBOOK)
    rows[3]["logit_scores_before_softmax"][2] = float(number.replace("Infinity", "inf"))
    data = json.dumps(rows)
    assert number in data
    assert (
        "iteration 3, logit_scores_before_softmax[2]: Input should be a finite number"
        in refusal(data.encode())
    )


def set_in(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set e.g. "trace.0.probability"."""

    def change(data: Any) -> None:
        *above, last = path.split(".")
        for part in above:
            data = data[int(part) if part.isdigit() else part]
        data[int(last) if last.isdigit() else last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("status", "running", "a run that had not ended"),
        ("trace.0.probability", 1.5, "trace[0].probability: 1.5 is not between 0 and 1"),
        ("trace.0.probability", 1e999, "trace.0.probability"),
        ("trace.0.probability", math.nan, "at 'trace.0.probability': Input should be a finite"),
        ("units.8.effect", math.nan, "at 'units.8.effect': Input should be a finite number"),
        ("verdict.steps", math.nan, "at 'verdict.steps': Input should be a finite number"),
        ("schema_version", math.nan, "schema version nan, which never was one"),
        ("trace.1.change", -2, "trace[1].change: -2 is not between -1 and 1"),
        ("trace.0.scores", [0.0], "trace[0].scores: there are 1, and "),
        ("trace.1.replaced", [0], "trace[1].replaced: a unit is protected, or named twice"),
        ("trace.0.replaced", [99], "step 0 replaces a unit that is not there"),
        ("trace.0.step", 5, "trace: its steps are not in order"),
        ("trace.0.probe", 3, "trace[0]: there is no such step, or no such probe"),
        ("trace.0.value", 1e300, "trace[0].value"),
        ("target.value", -1e300, "target.value"),
        ("target.answer_start", 0, "one of answer_start and answer_stop is missing"),
        ("answer_tokens.0.end", 999, "answer_tokens[0]: its characters are not the next"),
        ("units.1.start", -3, "characters -3"),
        ("units.8.effect", 1e9, "units[8].effect: 1e+09 is out of range"),
        ("units.8.effect_low", 900, "units[8]: its interval from 900"),
        ("units.8.score", 3, "units[8].score"),
        ("verdict.text", "x" * 20_000, "verdict.text: it is longer than 10,000 characters"),
        ("model.id", "a\x00b", "model.id: it holds a NUL character"),
        ("replacer_model", {"id": "x" * 10_001, "revision_or_sha256": ""}, "replacer_model.id: it"),
        ("model.revision_or_sha256", "x" * 10_001, "model.revision: it is longer"),
        ("target.text", "x" * 10_001, "target.text: it is longer than 10,000 characters"),
        ("target.instead_of.text", "x" * 10_001, "target.instead_of.text: it is longer"),
        ("answer_tokens.0.text", "x" * 10_001, "answer_tokens[0]: a token is longer than 10,000"),
        (
            "answer_tokens.0.alternatives",
            [{"text": "x" * 10_001, "probability": 0.1}],
            "answer_tokens[0]: a token is longer than 10,000 characters",
        ),
        ("trace.2.replacements.0", "x" * 10_000, "trace[2].replacements[0]: it is longer than 1,"),
        ("messages.0.content", "x" * 1_000_001, "messages: they are longer than 1,000,000"),
        ("request.prompt.0.content", "x" * 1_000_001, "request.prompt: it is longer than 1,000,0"),
        (
            "request.target",
            {"kind": "given_text", "text": "x", "instead_of": "x" * 10_001},
            "request.target: it is longer than 10,000 characters",
        ),
        ("request.model", "x" * 10_001, "request.model: it is longer than 10,000 characters"),
        ("counts.tokens", -1, "tokens: it is out of range"),
        ("verdict.steps", 10**4000, "steps: it is out of range"),
        ("trace.0.step", 10**4000, "trace[0]: there is no such step"),
        ("trace.0.probability", 10**4000, "trace.0.probability"),
        ("model.id", "a\ud800b", "half of a Unicode pair (a lone surrogate) in line 1, char"),
        ("config.ratio", 2, "config.ratio"),
        ("surprise", 1, "surprise"),
        ("explanations", [{}] * 2_000, "holds 2,000 explanations; at most 1,024"),
    ],
)
def test_an_explanation_that_cannot_be_is_refused_with_its_place(
    path: str, value: Any, told: str
) -> None:
    data = changed(set_in(path, value)).replace(b"Infinity", b"1e999")
    assert told in refusal(data)


@pytest.mark.parametrize(
    ("place", "name"), [(0, "target.text: it"), (1, "answer_tokens[0]: a token")]
)
def test_a_token_of_the_notebook_is_bounded_too(place: int, name: str) -> None:
    rows = json.loads(NOTEBOOK)
    rows[0]["original_probs"][0][place]["token"] = "x" * 10_001
    told = refusal(json.dumps(rows).encode())
    assert f"{name} is longer than 10,000 characters" in told


def test_the_longest_given_text_comes_back() -> None:
    """As ours, and as the notebook's, where all of it is one token."""
    request = Request(
        prompt="the capital of spain is",
        target=GivenText(text=" madrid" * 256, instead_of=" paris" * 256),
        config=Config(probes=1, min_steps=2, max_steps=2),
    )
    explanation = explain_now(request, TinyScorer())
    assert read_explanation(dump(explanation).encode(), "x") == explanation
    again = read_explanation(notebook_json(explanation).encode(), "x")
    assert again.target.text == explanation.target.text


def test_an_explanation_within_the_inner_ones_is_checked_too() -> None:
    example = (EXAMPLES / "chat.json").read_bytes()
    assert "explanations[1].trace[2].probability: 7" in refusal(
        changed(set_in("explanations.1.trace.2.probability", 7), example)
    )


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def usable(data: bytes) -> None:
    """Imported and fit to be drawn, or refused in words; nothing else may happen."""
    try:
        explanation = read_explanation(data, "fuzzed.json")
    except InputError as error:
        assert str(error).startswith("“fuzzed.json”: ") and len(str(error)) < 2_000
        return
    assert isinstance(explanation, Explanation)
    dump(explanation).encode()
    html_report(explanation)
    answer_strip(explanation)


@settings(max_examples=120, deadline=None)
@given(data=st.data(), original=st.sampled_from([NOTEBOOK, V2]))
def test_any_change_of_a_value_is_imported_or_refused(data: st.DataObject, original: bytes) -> None:
    root = copy.deepcopy(json.loads(original))
    at: Any = root
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        inside = at[key]
        if isinstance(inside, dict | list) and inside and data.draw(st.integers(0, 3)):
            at = inside
            continue
        if data.draw(st.booleans()):
            at[key] = data.draw(JSON_VALUES)
        else:
            del at[key]
        break
    usable(json.dumps(root).encode())


@settings(max_examples=120, deadline=None)
@given(
    original=st.sampled_from([NOTEBOOK, V2]),
    place=st.floats(0, 1),
    removed=st.integers(0, 40),
    put=st.binary(max_size=12)
    | st.sampled_from([b"[", b"}", b'"', b"\\", b"1e999", b"-", b"\x00"]),
)
def test_any_change_of_bytes_is_imported_or_refused(
    original: bytes, place: float, removed: int, put: bytes
) -> None:
    at = int(place * len(original))
    usable(original[:at] + put + original[at + removed :])


def reagent(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["import", *map(str, arguments)])


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Explanation, str | None]]:
    """What was put into the library."""
    kept: list[tuple[Explanation, str | None]] = []

    def add(store: Store, explanation: Explanation, name: str | None = None) -> str:
        kept.append((explanation, name))
        return "c0ffee" * 10 + "c0ff"

    monkeypatch.setattr(Store, "add", add, raising=False)
    return kept


def test_the_command_prints_the_id_and_the_top_five(
    added: list[tuple[Explanation, str | None]],
) -> None:
    result = reagent(FIXTURES / "iterations_data.json", "--name", "France")
    assert result.exit_code == 0, result.stderr
    id_line, size, *top = result.stdout.splitlines()[:7]
    assert id_line == f"Imported as {'c0ffee' * 10}c0ff"
    assert size == "6 steps, 5 units; target “Paris”"
    assert top[0].startswith("1. France: without it at least 11 times less likely")
    assert [line.split(":")[0] for line in top] == [
        "1. France", "2. is", "3. The", "4. of", "5. capital"
    ]  # fmt: skip
    assert "Token boundaries were rebuilt" in result.stdout
    assert [(e.source, name) for e, name in added] == [("notebook", "France")]


def test_the_command_prints_json_for_programs(
    added: list[tuple[Explanation, str | None]],
) -> None:
    result = reagent(FIXTURES / "explanation-v2.json", "--json")
    data = json.loads(result.stdout)
    assert data["id"] == "c0ffee" * 10 + "c0ff" and data["source"] == "reagent"
    assert data["units"] == len(added[0][0].units) and data["steps"] == added[0][0].verdict.steps
    assert data["top"][0]["text"].strip() == "france" and data["top"][0]["effect"] > 0


@pytest.mark.parametrize("kind", ["missing", "folder", "damaged"])
def test_the_command_refuses_with_exit_code_2(
    added: list[tuple[Explanation, str | None]], tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "data.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "damaged":
        path.write_bytes(NOTEBOOK[:1000])
    result = reagent(path)
    assert (result.exit_code, result.stdout, added) == (2, "", [])
    (sentence,) = result.stderr.splitlines()
    assert sentence.startswith("Error in the file to import: ")


def test_a_pickle_of_pandas_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_pickle(tmp_path / "frame.json")
    with pytest.raises(InputError, match="a pickle, which could run code"):
        read_file(tmp_path / "frame.json")
