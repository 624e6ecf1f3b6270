"""`reagent explain` on the real bundled model; what it is to start it, as a process of its own."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from typer.testing import CliRunner

from reagent_core import models
from reagent_core.bundled import MODEL_NAME
from reagent_core.cli import app
from reagent_core.explanation import load

if TYPE_CHECKING:
    from reagent_core.scorers.transformers_lm import TransformersScorer

pytestmark = pytest.mark.model

PATIENCE_S = 120  # for a machine that loads the model slowly
COMMAND = [sys.executable, "-m", "reagent_core.cli"]
FRANCE = ("explain", "The capital of France is", "--preset", "quick", "--max-new-tokens", "2")


def test_france_is_why_it_says_paris(tmp_path: Path, environment: dict[str, str]) -> None:
    json, csv, html = (tmp_path / name for name in ("a.json", "a.csv", "a.html"))
    done = subprocess.run(
        [*COMMAND, *FRANCE, "--json", json, "--csv", csv, "--html", html],
        env=environment, capture_output=True, encoding="utf-8", check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == "", "no progress bar in a pipe, and no chatter of libraries"
    assert "“France” mattered most for “Paris”" in done.stdout
    assert "With only “France” replaced, “Paris” falls from" in done.stdout

    explanation = load(json.read_bytes())
    assert explanation.status == "complete" and explanation.model.id == MODEL_NAME
    assert explanation.verdict.text in done.stdout
    strongest = max(explanation.units, key=lambda unit: unit.effect or 0.0)
    assert strongest.text == " France"

    table = pd.read_csv(csv)
    assert table.loc[table["effect"].idxmax(), "text"] == " France"
    assert len(table) == len(explanation.units) == 5
    assert "https://" not in html.read_text("utf-8"), "the page needs no network"

    # The same again: from the store, and without what takes long to import.
    code = (
        "import sys; from reagent_core.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "slow = {'torch', 'transformers', 'scipy'} & sys.modules.keys()\n"
        "print(*slow, file=sys.stderr)"
    )
    again = subprocess.run(
        [sys.executable, "-c", code, *FRANCE, "--json", "-"],
        env=environment, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert load(again.stdout) == explanation
    assert again.stderr.splitlines()[-1] == ""


@pytest.fixture
def loaded(
    bundled: TransformersScorer, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line finds the model in memory, for what takes no process of its own."""
    monkeypatch.setattr(models, "load", lambda model_id: bundled)
    monkeypatch.setenv("REAGENT_CACHE_DIR", environment["REAGENT_CACHE_DIR"])


@pytest.mark.usefixtures("loaded")
def test_the_whole_answer_of_a_chat() -> None:
    done = CliRunner().invoke(app, [
        "explain", "What is the capital of France?", "--chat", "--system",
        "Answer in one word.", "--whole-answer", "--preset", "quick", "--max-new-tokens", "4",
        "--granularity", "word", "--seed", "3", "--json", "-",
    ])  # fmt: skip
    assert done.exit_code == 0, done.stderr
    explanation = load(done.stdout)
    assert (explanation.config.seed, explanation.config.granularity) == (3, "word")
    assert len(explanation.explanations or ()) == len(explanation.answer_tokens)
    free = "".join(unit.text for unit in explanation.units if not unit.protected)
    assert free == "What is the capital of France?"
    assert "‹system turn›" in done.stderr and "Strongest for it" in done.stderr


@pytest.mark.usefixtures("loaded")
def test_a_prompt_that_is_too_long() -> None:
    long = CliRunner().invoke(app, ["explain", "word " * 3000])
    assert (long.exit_code, long.stdout) == (2, "")
    assert re.search(r"This prompt has 3,\d\d\d tokens; .* 2,048", long.stderr)


def test_bytes_that_are_no_text(environment: dict[str, str]) -> None:
    broken = subprocess.run(
        [*(os.fsencode(part) for part in COMMAND), b"explain", b"caf\xe9"],
        env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert (broken.returncode, broken.stdout) == (2, b"")
    assert b"Error in the prompt: Character 4 is not valid UTF-8" in broken.stderr


def test_progress_and_ctrl_c_in_a_terminal(tmp_path: Path, environment: dict[str, str]) -> None:
    file = tmp_path / "a.json"
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*COMMAND, "explain", "The capital of France is", "--preset", "thorough", "--json", file],
        env={**environment, "TERM": "xterm-256color", "COLUMNS": "120"},
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen, pressed_at, deadline = b"", 0.0, time.monotonic() + PATIENCE_S
    while select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux says so when the child has closed its end
            break
        if not chunk:
            break
        seen += chunk
        if not pressed_at and re.search(rb"step [1-9]\d* of", seen):
            child.send_signal(signal.SIGINT)
            pressed_at = time.monotonic()
    else:
        child.kill()
        pytest.fail(f"It did not end within {PATIENCE_S} seconds, after {seen[-500:]!r}")
    os.close(ours)
    assert child.wait(timeout=60) == 130
    assert time.monotonic() - pressed_at < 10
    screen = seen.decode()
    assert "Loading the model" in screen and "Cancelled: this is what was found" in screen
    found = load(file.read_bytes())
    assert found.status == "cancelled" and found.trace
