"""The command line on the tiny model: options, files, exit codes, the store, Ctrl-C."""

from __future__ import annotations

import errno
import io
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from reagent_core import models
from reagent_core.catalogue import shipped
from reagent_core.cli import app
from reagent_core.config import PRESETS
from reagent_core.errors import ModelError
from reagent_core.explanation import Explanation, load
from reagent_core.request import Turn
from reagent_core.store import Store
from tests.light import run_without
from tests.tiny import TinyScorer

FRANCE = "the capital of france is"

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("REAGENT_CACHE_DIR", str(folder))
    monkeypatch.delenv("REAGENT_DEBUG", raising=False)
    return folder


@pytest.fixture(autouse=True)
def scorer(monkeypatch: pytest.MonkeyPatch) -> TinyScorer:
    """What `models.load` gives in place of the bundled model."""
    tiny = TinyScorer()
    monkeypatch.setattr(models, "load", lambda model_id: tiny)
    return tiny


def reagent(*arguments: str | Path, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


def explained(*arguments: str, stdin: bytes = b"") -> Explanation:
    """Run `reagent explain` quickly and read the JSON it prints."""
    result = reagent(
        "explain", *arguments, "--preset", "quick", "--max-new-tokens", "3", "--json", "-",
        stdin=stdin,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return load(result.stdout)


def refused(*arguments: str | Path, stdin: bytes = b"") -> str:
    """The one sentence on standard error of a call that ends with exit code 2."""
    result = reagent("explain", *arguments, stdin=stdin)
    assert (result.exit_code, result.stdout) == (2, "")
    (sentence,) = result.stderr.splitlines()
    return sentence


def no_model(model_id: str) -> TinyScorer:
    raise AssertionError("the model was loaded")


def test_without_a_command_it_prints_help() -> None:
    result = reagent()
    assert result.exit_code == 0
    assert "explain" in result.stdout and "--version" in result.stdout


def test_its_version() -> None:
    result = reagent("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("reagent ") and result.stdout.count(".") == 2


def test_help_imports_nothing_heavy() -> None:
    printed = run_without(
        {"torch", "transformers", "scipy", "pandas", "sqlalchemy"},
        "from reagent_core.cli import app\napp(['explain', '--help'], standalone_mode=False)",
    )
    assert "--whole-answer" in printed


def test_the_sentences_the_table_and_the_verdict_are_printed() -> None:
    result = reagent("explain", FRANCE, "--preset", "quick")
    assert result.exit_code == 0
    assert "“france” mattered most for “paris”" in result.stdout
    assert "With only “france” replaced, “paris” falls from 80% to" in result.stdout
    assert "ettled: " in result.stdout
    assert "\x1b" not in result.stdout, "no colours where there is no terminal"
    assert result.stderr == ""


def test_the_first_answer_token_is_explained_by_default() -> None:
    target = explained(FRANCE).target
    assert (target.answer_start, target.answer_stop, target.text) == (0, 1, " paris")


def test_another_answer_token() -> None:
    target = explained(FRANCE, "--answer-token", "2").target
    assert (target.answer_start, target.answer_stop) == (2, 3)


def test_the_whole_answer() -> None:
    result = reagent(
        "explain", FRANCE, "--whole-answer", "--preset", "quick", "--max-new-tokens", "3",
        "--json", "-",
    )  # fmt: skip
    explanation = load(result.stdout)
    assert len(explanation.explanations or ()) == len(explanation.answer_tokens) == 3
    assert "mattered most for the answer “paris" in result.stderr
    assert "Strongest for it" in result.stderr


def test_a_text_of_ones_own_rather_than_another() -> None:
    target = explained(FRANCE, "--target", "paris", "--instead-of", "london").target
    assert target.instead_of is not None
    assert (target.text, target.instead_of.text) == (" paris", " london")


def test_a_chat_with_a_system_turn() -> None:
    explanation = explained(FRANCE, "--chat", "--system", "a city")
    assert explanation.messages == (
        Turn(role="system", content="a city"),
        Turn(role="user", content=FRANCE),
    )
    protected = "".join(unit.text for unit in explanation.units if unit.protected)
    assert "a city" in protected and "france" not in protected


def test_the_standard_preset_is_the_default() -> None:
    result = reagent("explain", FRANCE, "--json", "-")
    assert load(result.stdout).config == PRESETS["standard"]


def test_granularity_and_seed_replace_those_of_the_preset() -> None:
    config = explained(FRANCE, "--granularity", "word", "--seed", "7").config
    assert config == PRESETS["quick"].model_copy(update={"granularity": "word", "seed": 7})


def test_another_replacer() -> None:
    config = explained(FRANCE, "--replacer", "causal_lm_reranked").config
    assert config == PRESETS["quick"].model_copy(update={"replacer": "causal_lm_reranked"})


def test_a_masked_model_that_is_not_to_be_had_is_said_before_any_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load", no_model)
    said = refused(FRANCE, "--replacer", "masked_lm", "--replacer-model", tmp_path)
    assert said.startswith(f"Error in the settings: The folder {tmp_path} has no config.json")


def test_the_three_files(tmp_path: Path) -> None:
    json, csv, html = tmp_path / "a.json", tmp_path / "ä.csv", tmp_path / "a.html"
    result = reagent(
        "explain", FRANCE, "--preset", "quick", "--json", json, "--csv", csv, "--html", html
    )
    assert result.exit_code == 0
    explanation = load(json.read_bytes())
    table = pd.read_csv(csv)
    assert [round(e, 4) for e in table["effect"]] == [
        round(unit.effect or 0.0, 4) for unit in explanation.units
    ]
    assert html.read_text("utf-8").lower().startswith("<!doctype html>")
    assert {file.name for file in tmp_path.iterdir()} == {"a.json", "ä.csv", "a.html", "cache"}


@pytest.mark.parametrize("name", ["steps.csv", "steps.PARQUET", "-"])
def test_the_trace_in_the_format_its_name_says(tmp_path: Path, name: str) -> None:
    path = name if name == "-" else tmp_path / name
    result = reagent("explain", FRANCE, "--preset", "quick", "--trace", path)
    assert result.exit_code == 0
    if name.endswith("PARQUET"):
        table = pd.read_parquet(path)
    else:
        table = pd.read_csv(io.StringIO(result.stdout) if name == "-" else path)
    assert set(table["probe"]) == {0, 1} and table["step"].max() >= 15
    assert {"replaced", "replacements", "value", "scores"} <= set(table.columns)


def test_csv_on_standard_output_leaves_the_sentences_to_standard_error() -> None:
    result = reagent("explain", FRANCE, "--preset", "quick", "--csv", "-")
    assert list(pd.read_csv(io.StringIO(result.stdout))["start"]) == [0, 3, 11, 14, 21]
    assert "mattered most" in result.stderr


def test_a_file_that_is_there_is_replaced_and_a_link_stays_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "real.json", tmp_path / "link.json"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)
    assert reagent("explain", FRANCE, "--preset", "quick", "--json", link).exit_code == 0
    assert load(file.read_bytes()).prompt == FRANCE
    assert link.is_symlink() and file.stat().st_mode & 0o777 == 0o640


def test_a_full_disk_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as stream:
            stream.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    result = reagent("explain", FRANCE, "--preset", "quick", "--json", file)
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert "mattered most" in result.stdout, "what was found is shown all the same"
    assert file.read_text() == "old"
    assert {file.name for file in tmp_path.iterdir()} == {"a.json", "cache"}


def test_exactly_one_line_end_of_standard_input_goes() -> None:
    assert explained("-", stdin=FRANCE.encode()).prompt == FRANCE
    assert explained("-", stdin=FRANCE.encode() + b"\n").prompt == FRANCE
    assert explained("-", stdin=FRANCE.encode() + b"\r\n").prompt == FRANCE
    assert explained("-", stdin=FRANCE.encode() + b"\n\n").prompt == FRANCE + "\n"


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (b"", "Error in the prompt: This is empty"),
        (b"\n", "Error in the prompt: This is empty"),
        (b"caf\xe9", "Error in the prompt: Standard input is not valid UTF-8 at byte 4"),
        (b"a\x00b", "Error in the prompt: Character 2 is a NUL byte"),
    ],
)
def test_standard_input_that_is_no_text(
    stdin: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load", no_model)
    assert refused("-", stdin=stdin).startswith(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([""], "Error in the prompt: This is empty"),
        ([" \t"], "Error in the prompt: This is empty"),
        (["caf\udce9"], "Error in the prompt: Character 4 is not valid UTF-8"),
        (["half \ud83d"], "Error in the prompt: Character 6 is half of a Unicode pair"),
        ([FRANCE, "--system", "be brief"], "Error in the system turn: --system needs --chat"),
        ([FRANCE, "--chat", "--system", ""], "Error in the system turn: This is empty"),
        ([FRANCE, "--target", ""], "Error in the target: This is empty"),
        ([FRANCE, "--target", "\udcff"], "Error in the target: Character 1 is not valid UTF-8"),
        ([FRANCE, "--instead-of", "x"], "Error in the target: --instead-of needs --target"),
        ([FRANCE, "--whole-answer", "--answer-token", "0"], "exclude each other"),
        ([FRANCE, "--whole-answer", "--target", "paris"], "exclude each other"),
        ([FRANCE, "--answer-token", "0", "--target", "paris"], "exclude each other"),
        ([FRANCE, "--model", "gpt-9"], "Error in the model: There is no model 'gpt-9' here"),
        ([FRANCE, "--seed", "-1"], "Error in the settings: Setting 'seed'"),
        (
            [FRANCE, "--replacer-model", "x"],
            "Error in the settings: --replacer-model needs --replacer masked_lm",
        ),
        ([FRANCE, "--seed", str(2**63)], "Error in the settings: Setting 'seed'"),
        ([FRANCE, "--json", "-", "--csv", "-"], "Error in the output file: Two of"),
        ([FRANCE, "--trace", "steps.txt"], "'steps.txt' of the trace must end in .csv or .parquet"),
    ],
)
def test_bad_input_is_one_sentence_before_any_model_is_loaded(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load", no_model)
    assert said in refused(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [FRANCE, "--seed", "x"],
        [FRANCE, "--preset", "best"],
        [FRANCE, "--granularity", "letter"],
        [FRANCE, "--max-new-tokens", "0"],
        [FRANCE, "--max-new-tokens", "257"],
        [FRANCE, "--answer-token", "-1"],
        [FRANCE, "--what"],
    ],
)
def test_options_out_of_range_end_with_2(arguments: list[str]) -> None:
    result = reagent("explain", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--answer-token", "3", "--max-new-tokens", "3"], "there is no token 3"),
        (["--target", "paris", "--instead-of", "paris"], "are the same text"),
    ],
)
def test_what_only_the_model_can_refuse(arguments: list[str], said: str) -> None:
    assert said in refused(FRANCE, *arguments)


def test_a_file_that_cannot_be_written_is_found_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load", no_model)
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "missing" / "a.json", tmp_path / "file" / "a.json"):
        sentence = refused(FRANCE, "--json", path)
        assert "cannot be written" in sentence and "Choose another one" in sentence


def test_escape_sequences_in_an_error_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in refused(FRANCE, "--json", "\x1b[31m/a.json")


def test_an_equal_request_is_answered_from_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    first = explained(FRANCE)
    monkeypatch.setattr(models, "load", no_model)
    assert explained(FRANCE) == first
    again = reagent("explain", FRANCE, "--preset", "quick", "--max-new-tokens", "3")
    assert "from the store" in again.stdout


def test_a_model_that_cannot_be_loaded_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model_id: str) -> TinyScorer:
        raise ModelError("The weights are gone. Copy them again.")

    monkeypatch.setattr(models, "load", broken)
    result = reagent("explain", FRANCE)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: The weights are gone. Copy them again.\n"


def test_a_defect_is_one_sentence_and_a_traceback_only_on_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def defect(model_id: str) -> TinyScorer:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(models, "load", defect)
    result = reagent("explain", FRANCE)
    assert result.exit_code == 1
    (sentence,) = result.stderr.splitlines()
    assert "ZeroDivisionError: division by zero" in sentence and "REAGENT_DEBUG=1" in sentence
    monkeypatch.setenv("REAGENT_DEBUG", "1")
    result = reagent("explain", FRANCE)
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr


def press_ctrl_c_at_call(scorer: TinyScorer, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user presses Ctrl-C while the model scores for the `number`-th time."""
    score = scorer.score

    def interrupted(*arguments: object) -> object:
        if len(scorer.calls) == number:
            signal.raise_signal(signal.SIGINT)
        return score(*arguments)

    monkeypatch.setattr(scorer, "score", interrupted)


def test_ctrl_c_keeps_what_was_found(
    tmp_path: Path, scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)
    press_ctrl_c_at_call(scorer, 3, monkeypatch)
    file = tmp_path / "a.json"
    result = reagent("explain", FRANCE, "--preset", "thorough", "--json", file)
    assert result.exit_code == 130
    assert result.stdout.startswith("Cancelled: this is what was found until then.")
    found = load(file.read_bytes())
    assert found.status == "cancelled"
    assert 0 < len(found.trace) < 5 * PRESETS["thorough"].min_steps
    assert signal.getsignal(signal.SIGINT) is before


def test_a_cancelled_run_is_not_stored(
    scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[str] = []
    monkeypatch.setattr(Store, "put", lambda self, key, explanation: kept.append(key))
    with monkeypatch.context() as patch:
        press_ctrl_c_at_call(scorer, 3, patch)
        assert reagent("explain", FRANCE, "--preset", "thorough").exit_code == 130
    assert kept == []
    assert reagent("explain", FRANCE, "--preset", "quick").exit_code == 0
    assert len(kept) == 1


def test_ctrl_c_before_the_answer_has_nothing_to_keep(
    tmp_path: Path, scorer: TinyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = scorer.generate

    def interrupted(*arguments: object) -> object:
        signal.raise_signal(signal.SIGINT)
        return generate(*arguments)

    monkeypatch.setattr(scorer, "generate", interrupted)
    file = tmp_path / "a.json"
    result = reagent("explain", FRANCE, "--json", file)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "Cancelled before there was anything to keep.\n"
    assert not file.exists()


def test_ctrl_c_while_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(model_id: str) -> TinyScorer:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("Ctrl-C did not end the loading")

    monkeypatch.setattr(models, "load", interrupted)
    assert reagent("explain", FRANCE).exit_code == 130


def test_the_models_on_offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    result = reagent("models")
    assert result.exit_code == 0, result.stderr
    rows = result.stdout.splitlines()
    assert rows[0].split()[:4] == ["Id", "Kind", "Parameters", "Here"]
    (medium,) = (row for row in rows if row.startswith("openai-community/gpt2-medium"))
    assert "hub" in medium and "355 M" in medium and "GPT-2 medium" in medium
    assert rows[1].startswith("bundled")


def test_the_models_on_offer_as_json() -> None:
    result = reagent("models", "--json")
    assert result.exit_code == 0, result.stderr
    listed = json.loads(result.stdout)
    assert [entry["id"] for entry in listed] == [entry.id for entry in shipped()]
    assert listed[0]["kind"] == "bundled" and listed[0]["size"] == 134_515_008
    told = listed[0]["availability"]
    assert told["needs_bytes"] > 4 * listed[0]["size"] and told["free_bytes"] > 0


def test_a_broken_list_of_models_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAGENT_MODELS", str(tmp_path / "none.toml"))
    result = reagent("models")
    assert result.exit_code == 1
    assert "none.toml cannot be read" in result.stderr and "REAGENT_MODELS" in result.stderr
