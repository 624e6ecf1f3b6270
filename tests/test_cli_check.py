"""`reagent check` on the tiny model: files, options, exit codes."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reagent_core import models
from reagent_core.check import Check
from reagent_core.cli import app
from reagent_core.config import Config
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation, dump
from reagent_core.request import AnswerTokens, Request, WholeAnswer
from tests.test_checker import LONG, Homely


@pytest.fixture(autouse=True)
def scorer(monkeypatch: pytest.MonkeyPatch) -> Homely:
    """What `models.load` gives, whatever it is asked for."""
    tiny = Homely()
    monkeypatch.setattr(models, "load", lambda model_id: tiny)
    monkeypatch.delenv("REAGENT_DEBUG", raising=False)
    return tiny


@pytest.fixture(scope="module")
def whole_answer() -> Explanation:
    config = Config(probes=2, min_steps=20, max_steps=30)
    request = Request(prompt=LONG, target=WholeAnswer(), max_new_tokens=2, config=config)
    return explain_now(request, Homely())


@pytest.fixture
def file(tmp_path: Path, whole_answer: Explanation) -> Path:
    """An explanation of the first token of the answer."""
    config = whole_answer.config
    request = Request(prompt=LONG, target=AnswerTokens(), max_new_tokens=2, config=config)
    path = tmp_path / "france.json"
    path.write_text(dump(explain_now(request, Homely())), encoding="utf-8")
    return path


def reagent_check(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def refused(*arguments: str | Path) -> str:
    """The one sentence on standard error of a call that ends with exit code 2."""
    result = reagent_check(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (sentence,) = result.stderr.splitlines()
    return sentence


def test_the_sentence_the_table_and_the_replacer_are_printed(file: Path) -> None:
    result = reagent_check(file, "--key", "capital of france")
    assert result.exit_code == 0, result.stderr
    assert "Replacing its top token first destroys “paris” about" in result.stdout
    assert "random orders): trust it." in result.stdout
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    # ln 8 = 2.08 and 7/8 are lost at every share, and without the others nothing.
    for share in ("5% (1)", "30% (5)"):
        assert {f"{share} 2.08 {lost} 0.00 0%" for lost in ("87%", "88%")} & set(rows)
    assert any(row.startswith("Mean 2.08 ") for row in rows)
    assert "Deletion area" in result.stdout and "Insertion area" in result.stdout
    assert "Key “capital of france”: number 1 of 17." in result.stdout
    assert "causal_lm_reranked, which weighs the proposals that made the expl" in result.stdout
    assert "\x1b" not in result.stdout, "no colours where there is no terminal"


def test_everything_as_json(file: Path) -> None:
    result = reagent_check(file, "--json", "--draws", "2", "--seed", "5", "--replacer", "causal_lm")
    assert result.exit_code == 0 and result.stderr == ""
    found = Check.model_validate_json(result.stdout)
    assert (found.draws, found.seed, found.replacer) == (2, 5, "causal_lm")
    assert found.same_replacer and found.target.text == " paris"


def test_a_token_of_a_whole_answer(tmp_path: Path, whole_answer: Explanation) -> None:
    path = tmp_path / "whole.json"
    path.write_text(dump(whole_answer), encoding="utf-8")
    token = reagent_check(path, "--answer-token", "1", "--json")
    target = Check.model_validate_json(token.stdout).target
    assert (target.answer_start, target.answer_stop) == (1, 2)
    assert Check.model_validate_json(reagent_check(path, "--json").stdout).target.answer_stop == 2
    assert "has 2 tokens, counted from 0; there is no token 2" in refused(
        path, "--answer-token", "2"
    )


def test_it_asks_the_model_that_was_explained_or_another(
    file: Path, scorer: Homely, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(models, "load", lambda model_id: asked.append(model_id) or scorer)
    assert reagent_check(file).exit_code == 0
    assert reagent_check(file, "--model", "/a/folder").exit_code == 0
    assert asked == ["bundled", "/a/folder"]


def test_what_is_no_explanation_is_bad_input(file: Path, tmp_path: Path) -> None:
    assert "Error in the explanation: " in refused(tmp_path / "none.json")
    assert "cannot be read: No such file or directory" in refused(tmp_path / "none.json")
    assert "cannot be read" in refused(tmp_path)
    other = tmp_path / "other.json"
    other.write_text("{", encoding="utf-8")
    assert "not valid JSON" in refused(other)
    other.write_text(json.dumps({"a": 1}), encoding="utf-8")
    assert "not an explanation" in refused(other)
    other.write_bytes(b"\xff\xfe")
    assert "not valid JSON" in refused(other)
    assert "Leave out --answer-token" in refused(file, "--answer-token", "0")


def test_numbers_out_of_range_are_bad_input(file: Path) -> None:
    for option, number in (("--draws", "0"), ("--draws", "101"), ("--seed", "-1")):
        assert reagent_check(file, option, number).exit_code == 2


def test_ctrl_c_ends_it(file: Path, scorer: Homely, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*arguments: object, **options: object) -> None:
        signal.raise_signal(signal.SIGINT)
        return Homely.score(scorer, *arguments, **options)

    monkeypatch.setattr(scorer, "score", pressed)
    result = reagent_check(file)
    assert result.exit_code == 130
    assert result.stdout == "" and "Cancelled" in result.stderr
