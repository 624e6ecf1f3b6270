"""The command line on a model behind a server: what is told before and after, and one that is lost.

The server is vLLM's dialect over a tiny model (see test_vllm_dialect.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reagent_core.cli import app
from reagent_core.explanation import load
from tests.fake_server import FakeServer, fake_server, spoiled
from tests.test_vllm_dialect import vllm_over
from tests.tiny_models import tiny_scorer
from tests.trained_tokenizers import byte_level


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """It, and a store of the test's own."""
    monkeypatch.setenv("REAGENT_CACHE_DIR", str(tmp_path / "cache"))
    byte_level().save_pretrained(tmp_path / "tokenizer")
    served = {"id": "tiny", "owned_by": "vllm", "root": str(tmp_path / "tokenizer")}
    with fake_server(served=served, completions=vllm_over(tiny_scorer("llama"))) as fake:
        yield fake


def explain(server: FakeServer, file: Path) -> Result:
    arguments = ["explain", "The capital of France is", "--model", server.url, "--preset", "quick",
                 "--max-new-tokens", "1", "--json", str(file)]  # fmt: skip
    return CliRunner().invoke(app, arguments)


def test_what_a_server_is_asked_is_told_before_and_after(
    server: FakeServer, tmp_path: Path
) -> None:
    result = explain(server, tmp_path / "a.json")
    assert result.exit_code == 0, result.stderr
    before = re.search(r"About ([\d,]+) requests to the server, [\d,]+ tokens\.", result.stderr)
    assert before is not None
    counts = load((tmp_path / "a.json").read_bytes()).counts
    assert 0.5 < int(before[1].replace(",", "")) / counts.requests < 2
    assert f", {counts.requests:,} requests, {counts.tokens:,} tokens" in result.stdout


def test_a_lost_server_ends_with_1_and_what_was_found_is_saved(
    server: FakeServer, tmp_path: Path
) -> None:
    honest, asked = server.completions, []

    def lost(body: dict[str, object]) -> object:
        asked.append(body)
        return honest(body) if len(asked) < 6 else spoiled(500, "no cats", Retry_After="0")

    server.completions = lost
    result = explain(server, tmp_path / "a.json")
    assert result.exit_code == 1
    assert "(HTTP 500): no cats. Try again later. This is what was found until then." in (
        result.stdout
    )
    found = load((tmp_path / "a.json").read_bytes())
    assert found.status == "interrupted" and found.trace
    # Nothing of it is in the library: the same command goes on with the run.
    server.completions = honest
    assert explain(server, tmp_path / "b.json").exit_code == 0
    assert load((tmp_path / "b.json").read_bytes()).trace[: len(found.trace)] == found.trace
