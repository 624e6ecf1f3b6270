"""A real vLLM server with the bundled model in float32, against the same weights in transformers.

Not part of the suite: `make test-vllm` installs vLLM beside it and runs this.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reagent_core.bundled import prepared_folder
from reagent_core.catalogue import ServerEntry
from reagent_core.config import PRESETS, Config
from reagent_core.explain import explain_now
from reagent_core.prompt import build_prompt
from reagent_core.request import AnswerTokens, GivenText, Request, WholeAnswer
from reagent_core.scorers.servers.connect import connect
from reagent_core.scorers.servers.vllm import VLLMScorer
from reagent_core.scorers.transformers_lm import TransformersScorer

pytestmark = pytest.mark.vllm

VENV = Path(__file__).parents[1] / ".venv-vllm"
PROMPT = "The capital city of Thailand is called"
START_S = 300


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerEntry]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log"
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_API_KEY": "a-key-for-tests",
    }
    command = [
        VENV / "bin" / "vllm", "serve", prepared_folder(), "--host", "127.0.0.1",
        "--port", str(port), "--served-model-name", "smollm2", "--dtype", "float32",
        "--enforce-eager", "--max-model-len", "1024",
    ]  # fmt: skip
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    url = f"http://127.0.0.1:{port}"
    os.environ["VLLM_TEST_KEY"] = "a-key-for-tests"
    try:
        _wait(url, server, log)
        yield ServerEntry(id="vllm", name="vLLM", url=url, key_env="VLLM_TEST_KEY")
    finally:
        del os.environ["VLLM_TEST_KEY"]
        server.terminate()
        server.wait(60)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5)
            return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"vLLM did not start:\n{log.read_text()[-4000:]}")


@pytest.fixture(scope="module")
def scorer(entry: ServerEntry) -> VLLMScorer:
    found = connect(entry)
    assert isinstance(found, VLLMScorer)
    return found


def request(config: Config = PRESETS["quick"], **options: object) -> Request:
    given = {"prompt": PROMPT, "target": AnswerTokens(), "max_new_tokens": 4, "config": config}
    return Request.model_validate({**given, **options})


def test_probabilities_and_ranks_are_exact_at_any_length(
    scorer: VLLMScorer, bundled: TransformersScorer
) -> None:
    ids = build_prompt(PROMPT, bundled.tokenizer).token_ids
    rng = np.random.default_rng(0)
    rows = np.array([ids] * 9)
    rows[1:, 2:4] = rng.integers(100, 40_000, (8, 2))
    targets = rng.integers(100, 40_000, 5).tolist()
    inputs = np.concatenate([rows, np.tile(targets[:-1], (9, 1))], axis=1)
    there, here = (each.score(inputs, targets) for each in (scorer, bundled))
    assert there.log_probabilities == pytest.approx(here.log_probabilities, abs=0.01)
    # A rank among 49,152 moves with the last digit.
    assert there.ranks == pytest.approx(here.ranks, rel=0.01, abs=3)
    # Where a sequence holds other tokens than the targets, each is asked for by itself.
    inputs[3, -2:] = inputs[4, -2:] = 500
    there, here = (each.score(inputs, targets) for each in (scorer, bundled))
    assert there.log_probabilities == pytest.approx(here.log_probabilities, abs=0.01)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"target": WholeAnswer()},
        {"target": WholeAnswer(), "attribute_answer": True},
        {"target": GivenText(text=" Bangkok", instead_of=" Phuket")},
    ],
)
def test_effects_equal_the_local_ones(
    scorer: VLLMScorer, bundled: TransformersScorer, options: dict[str, object]
) -> None:
    asked = request(**options)
    there, here = (explain_now(asked, each) for each in (scorer, bundled))
    assert there.answer == here.answer
    same = [a.replacements == b.replacements for a, b in zip(there.trace, here.trace, strict=True)]
    assert all(same)
    for ours, theirs in zip(there.every(), here.every(), strict=True):
        effects = [[unit.effect for unit in each.units] for each in (ours, theirs)]
        assert effects[0] == pytest.approx(effects[1], abs=0.01)
    assert there.counts.requests > 0


def test_alternatives_of_the_answer_are_those_of_the_model(
    scorer: VLLMScorer, bundled: TransformersScorer
) -> None:
    ids = build_prompt(PROMPT, bundled.tokenizer).token_ids
    for ours, theirs in zip(scorer.generate(ids, 6), bundled.generate(ids, 6), strict=True):
        assert ours.token_id == theirs.token_id
        assert ours.probability == pytest.approx(theirs.probability, abs=1e-3)
        assert [each.text for each in ours.alternatives] == [
            each.text for each in theirs.alternatives
        ]
