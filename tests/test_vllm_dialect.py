"""vLLM's dialect over a tiny model in this process: what is asked, and what is made of the replies.

That a real vLLM gives the same is seen by `make test-vllm` (test_vllm_server.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from reagent_core.checker import check_now
from reagent_core.config import Config
from reagent_core.cost import estimate
from reagent_core.errors import ModelError
from reagent_core.explain import explain_now
from reagent_core.prompt import build_prompt
from reagent_core.request import AnswerTokens, GivenText, Request, WholeAnswer
from reagent_core.scorers.servers.connect import connect
from reagent_core.scorers.servers.vllm import VLLMScorer
from reagent_core.scorers.transformers_lm import TransformersScorer
from tests.fake_server import FakeServer, Reply, fake_server
from tests.tiny_models import tiny_scorer
from tests.trained_tokenizers import byte_level

CONFIG = Config(selection="balanced", ratio=0.1, probes=2, min_steps=8, max_steps=8)
PROMPT = "The capital of France is"


def vllm_over(scorer: TransformersScorer) -> Callable[[dict[str, Any]], Reply]:
    """`/v1/completions` as vLLM answers it, computed from all logits of one sequence at a time."""

    def listed(row: torch.Tensor, token: int, top: int) -> dict[str, Any]:
        ids = {token, *row.topk(top).indices.tolist()} if top else {token}
        return {
            str(i): {"logprob": float(row[i]), "rank": int((row > row[i]).sum()) + 1} for i in ids
        }

    def choice(number: int, prompt: list[int], body: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": []}
        ids = list(prompt)
        with torch.inference_mode():
            rows = scorer._model(torch.tensor([prompt])).logits[0].log_softmax(-1)
            top = body.get("prompt_logprobs")
            places = None if top is None else [
                None, *(listed(rows[i], prompt[i + 1], top) for i in range(len(prompt) - 1))
            ]  # fmt: skip
            for _ in range(body["max_tokens"]):
                row = scorer._model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
                best = row.topk(body.get("logprobs") or 1)
                ids.append(int(best.indices[0]))
                made["tokens"].append(f"token_id:{ids[-1]}")
                made["token_logprobs"].append(float(best.values[0]))
                made["top_logprobs"].append(
                    {f"token_id:{i}": float(row[i]) for i in best.indices.tolist()}
                )
        return {"index": number, "prompt_logprobs": places, "logprobs": made, "text": ""}

    def completions(body: dict[str, Any]) -> Reply:
        prompts = list(enumerate(body["prompt"]))
        # In no particular order: the index tells which is which.
        found = [choice(number, prompt, body) for number, prompt in reversed(prompts)]
        return Reply(json.dumps({"choices": found}))

    return completions


@pytest.fixture(scope="module")
def local() -> TransformersScorer:
    return tiny_scorer("llama")


@pytest.fixture
def server(local: TransformersScorer, tmp_path: Path) -> Iterator[FakeServer]:
    byte_level().save_pretrained(tmp_path / "tokenizer")
    served = {"id": "tiny", "owned_by": "somebody", "root": str(tmp_path / "tokenizer"),
              "max_model_len": 512}  # fmt: skip
    with fake_server(served=served, completions=vllm_over(local)) as fake:
        yield fake


def connected(server: FakeServer) -> VLLMScorer:
    scorer = connect(server.entry(dialect="auto"))
    assert isinstance(scorer, VLLMScorer)  # found out by asking: the list names another owner
    return scorer


@pytest.mark.parametrize(
    "options",
    [
        {"target": AnswerTokens(start=1, stop=3)},
        {"target": WholeAnswer()},
        {"target": WholeAnswer(), "attribute_answer": True},
        {"target": GivenText(text=" Paris", instead_of=" Madrid")},
        {"target": WholeAnswer(), "config": CONFIG.model_copy(update={"replacer": "uniform"})},
    ],
)
def test_it_gives_what_the_model_itself_gives(
    server: FakeServer, local: TransformersScorer, options: dict[str, Any]
) -> None:
    # The first word is left alone: it is replaced by words of a longer list than a server gives.
    given = {"prompt": PROMPT, "protected": ((0, 3),), "max_new_tokens": 3, "config": CONFIG}
    request = Request(**{**given, **options})
    there, here = (explain_now(request, each) for each in (connected(server), local))
    assert there.answer == here.answer
    for ours, theirs in zip(there.every(), here.every(), strict=True):
        assert [step.replacements for step in ours.trace] == [s.replacements for s in theirs.trace]
        assert [step.value for step in ours.trace] == pytest.approx(
            [step.value for step in theirs.trace], abs=1e-3
        )
        assert [step.rank for step in ours.trace] == [step.rank for step in theirs.trace]
        assert not any(step.bounded for step in ours.trace)
    assert there.counts.requests > 0


@pytest.mark.parametrize("replacer", ["causal_lm", "causal_lm_reranked"])
def test_the_requests_said_before_are_about_those_made(server: FakeServer, replacer: str) -> None:
    scorer = connected(server)
    config = CONFIG.model_copy(update={"replacer": replacer})
    request = Request(prompt=PROMPT, max_new_tokens=1, config=config)
    cost = estimate(build_prompt(PROMPT, scorer.tokenizer), request, scorer, None)
    made = explain_now(request, scorer).counts
    assert 0.7 < cost.requests / made.requests < 1.5


def test_a_check_gives_what_it_gives_on_the_model_itself(
    server: FakeServer, local: TransformersScorer
) -> None:
    request = Request(prompt=PROMPT, target=AnswerTokens(), max_new_tokens=1, config=CONFIG)
    scorer = connected(server)
    explanation = explain_now(request, scorer)
    there = check_now(explanation, scorer, draws=1)
    here = check_now(explanation, local, replacer="uniform", draws=1)
    assert (there.replacer, there.order, there.beaten) == ("uniform", here.order, here.beaten)
    for ours, theirs in ((there.deletion, here.deletion), (there.insertion, here.insertion)):
        assert ours.nats == pytest.approx(theirs.nats, abs=1e-3)
        assert ours.random_mean == pytest.approx(theirs.random_mean, abs=1e-3)
    assert max(map(abs, there.deletion.nats)) > 0.1, "something was lost"
    assert there.counts.requests > 0 and there.notes == ()
    assert there.soft is None and here.soft is not None, "a server shows no embeddings"


def spoil(server: FakeServer, change: Callable[[dict[str, Any]], None]) -> None:
    """From now on every reply about a prompt's own tokens is changed on its way out."""
    honest = server.completions
    assert honest is not None

    def changed(body: dict[str, Any]) -> Reply:
        reply = json.loads(honest(body).body)
        if reply["choices"][0]["prompt_logprobs"]:
            change(reply)
        return Reply(json.dumps(reply))

    server.completions = changed


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda reply: reply["choices"][0]["prompt_logprobs"].pop(), r"read \d+ tokens where \d+"),
        (lambda reply: reply["choices"][0].pop("prompt_logprobs"), "no log-probabilities of prom"),
        (lambda reply: reply["choices"].pop(), r"answered \d+ of \d+ prompts"),
        (
            lambda reply: reply["choices"][0]["prompt_logprobs"].__setitem__(-1, {}),
            r"says nothing of token \d+",
        ),
    ],
)
def test_replies_about_something_else_are_refused(
    server: FakeServer, change: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    scorer = connected(server)
    request = Request(prompt=PROMPT, max_new_tokens=1, config=CONFIG)
    spoil(server, change)
    with pytest.raises(ModelError, match=sentence):
        explain_now(request, scorer)


def test_a_tokenizer_that_is_not_to_be_had_is_asked_for(server: FakeServer) -> None:
    server.served["root"] = "/models/on/another/machine"
    with pytest.raises(ModelError, match="Name a folder or a hub id as tokenizer"):
        connect(server.entry(dialect="vllm"))
