"""A real llama.cpp server with the bundled model, against the same weights in transformers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import spearmanr

from reagent_core.bundled import installed_gguf
from reagent_core.catalogue import ServerEntry
from reagent_core.checker import check_now
from reagent_core.config import Config
from reagent_core.cost import estimate
from reagent_core.explain import explain, explain_now
from reagent_core.explanation import Explanation
from reagent_core.prompt import build_prompt
from reagent_core.replacers.causal_lm import CausalLMReplacer
from reagent_core.request import AnswerTokens, GivenText, Request, Turn, WholeAnswer
from reagent_core.scorers.base import Capabilities
from reagent_core.scorers.servers import llama_cpp
from reagent_core.scorers.servers.connect import connect
from reagent_core.scorers.servers.llama_cpp import LlamaCppScorer
from reagent_core.scorers.transformers_lm import TransformersScorer
from reagent_core.sentences import ranking
from tests.llama_server import KEY, KEY_ENV, llama_server

pytestmark = pytest.mark.model

PROMPT = "The capital city of Thailand is called"
CONFIG = Config(selection="balanced", ratio=0.02, probes=2, min_steps=28, max_steps=28)


@pytest.fixture(scope="module")
def running() -> Iterator[str]:
    with llama_server(installed_gguf()) as (address, _):
        yield address


@pytest.fixture
def entry(running: str, monkeypatch: pytest.MonkeyPatch) -> ServerEntry:
    monkeypatch.setenv(KEY_ENV, KEY)
    return ServerEntry(id="llama", name="llama.cpp", url=running, key_env=KEY_ENV)


@pytest.fixture
def scorer(entry: ServerEntry) -> LlamaCppScorer:
    found = connect(entry)
    assert isinstance(found, LlamaCppScorer)
    return found


def request(**options: object) -> Request:
    given = {"prompt": PROMPT, "target": AnswerTokens(), "max_new_tokens": 2, "config": CONFIG}
    return Request.model_validate({**given, **options})


@pytest.mark.parametrize(
    "text",
    [
        PROMPT,
        "  Two  blanks\n\nand 1234 digits",
        "naïve café 🫠👍🏽 日本語 مرحبا",
        "<|im_start|>user\nHi<|im_end|>",
    ],
)
def test_it_cuts_text_as_the_model_does(
    scorer: LlamaCppScorer, bundled: TransformersScorer, text: str
) -> None:
    ours, theirs = (
        each.tokenizer.encode(text, add_special_tokens=True) for each in (scorer, bundled)
    )
    assert ours == theirs
    assert scorer.tokenizer.decode(ours.token_ids) == text
    assert scorer.tokenizer.special_ids == bundled.tokenizer.special_ids
    # A space before a control character, or the like, may be readable to one and not the other.
    both = set(scorer.tokenizer.ordinary_ids) ^ set(bundled.tokenizer.ordinary_ids)
    assert len(both) < 100


def test_probabilities_and_ranks_are_the_models_own(
    scorer: LlamaCppScorer, bundled: TransformersScorer
) -> None:
    """The server computes with four bits where transformers has the same weights in full."""
    prompt = build_prompt(PROMPT, bundled.tokenizer)
    likely = bundled.predict([*prompt.token_ids, 0], 200, np.ones(49_000, bool)).token_ids[-1]
    targets = [int(likely[i]) for i in (0, 1, 5, 30, 150)]
    rows = np.array([prompt.token_ids] * len(targets))
    ours = [scorer.score(rows[:1], [target]) for target in targets]
    theirs = [bundled.score(rows[:1], [target]) for target in targets]
    values = [each.log_probabilities[0, 0] for each in ours]
    assert values == pytest.approx([each.log_probabilities[0, 0] for each in theirs], abs=0.7)
    assert not any(each.bounded.any() for each in ours if each.bounded is not None)
    assert ours[0].ranks[0, 0] == theirs[0].ranks[0, 0] == 1
    assert ours[4].ranks[0, 0] > 60


def test_a_server_that_cannot_force_a_token_gives_bounds(
    entry: ServerEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp, "forces", lambda session: False)
    scorer = connect(entry.model_copy(update={"top": 5}))
    ids = build_prompt(PROMPT, scorer.tokenizer).token_ids
    exact = connect(entry.model_copy(update={"top": 6})).score(np.array([ids]), [28])
    assert str(scorer.capabilities).startswith("Tells the probability of the 5 likeliest tokens")
    found = scorer.score(np.array([ids]), [28])
    assert found.bounded is not None
    assert found.bounded[0, 0]
    assert found.ranks[0, 0] >= 6
    assert exact.log_probabilities[0, 0] <= found.log_probabilities[0, 0]


def test_it_agrees_with_the_local_model_on_what_mattered(
    scorer: LlamaCppScorer, bundled: TransformersScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same replacements; each would propose a few others."""
    monkeypatch.setattr(
        "reagent_core.explain.make_replacer", lambda *_: CausalLMReplacer(bundled)
    )
    there, here = (explain_now(request(), each) for each in (scorer, bundled))
    tried = [[(step.replaced, step.replacements) for step in each.trace] for each in (there, here)]
    assert tried[0] == tried[1]
    assert there.answer.split()[0] == here.answer.split()[0] == "Bangkok"
    assert ranking(there)[0] == ranking(here)[0]
    effects = [[unit.effect for unit in each.units] for each in (there, here)]
    assert spearmanr(*effects).statistic >= 0.9
    assert there.counts.requests > 0
    assert here.counts.requests == 0
    assert there.verdict.text == here.verdict.text

    # And on how faithful that is: the server is asked for the curves.
    ours, theirs = (
        check_now(there, each, replacer=None if each is scorer else "uniform", draws=1)
        for each in (scorer, bundled)
    )
    assert (ours.replacer, ours.order) == ("uniform", theirs.order)
    assert ours.standing == theirs.standing == "better"
    assert ours.deletion.left == pytest.approx(theirs.deletion.left, abs=0.15)
    assert ours.insertion.area == pytest.approx(theirs.insertion.area, abs=0.1)
    assert ours.counts.requests > 0 and ours.soft is None and ours.notes == ()


def test_whole_answers_chats_and_given_texts_work(scorer: LlamaCppScorer) -> None:
    few = CONFIG.model_copy(update={"min_steps": 4, "max_steps": 4, "probes": 1})
    whole = explain_now(
        request(target=WholeAnswer(), max_new_tokens=4, attribute_answer=True, config=few), scorer
    )
    assert whole.explanations is not None
    assert len(whole.explanations) == len(whole.answer_tokens) == 4
    assert "".join(token.text for token in whole.answer_tokens) == whole.answer
    turns = (Turn(role="system", content="Be brief."), Turn(role="user", content="Say hello."))
    chat = explain_now(request(prompt=turns, config=few), scorer)
    assert all(unit.protected for unit in chat.units if "brief" in unit.text)
    given = explain_now(
        request(target=GivenText(text=" Bangkok", instead_of=" Paris"), config=few), scorer
    )
    assert given.target.value > 3


def test_its_chat_endpoint_tells_the_first_token_of_an_answer(entry: ServerEntry) -> None:
    scorer = connect(entry.model_copy(update={"dialect": "chat"}))
    assert scorer.capabilities == Capabilities(exact=False, top=20, first_only=True)
    question = "Which city is the capital of France? Name the city and nothing else."
    few = CONFIG.model_copy(update={"min_steps": 12, "max_steps": 12, "probes": 1})
    found = explain_now(request(prompt=question, max_new_tokens=1, config=few), scorer)
    assert found.status == "complete"
    assert found.target.probability == pytest.approx(found.answer_tokens[0].probability)
    assert len(found.trace) == 12
    assert found.counts.requests > 6
    # The same through the completion endpoint, with the model's template and exact numbers.
    turn = (Turn(role="user", content=question),)
    one = CONFIG.model_copy(update={"probes": 1, "min_steps": 1, "max_steps": 1})
    exact = explain_now(request(prompt=turn, max_new_tokens=1, config=one), connect(entry))
    assert found.answer == exact.answer
    assert found.target.probability == pytest.approx(exact.target.probability, abs=1e-3)


def test_tokens_that_are_parts_of_characters_have_probabilities_too(
    scorer: LlamaCppScorer, bundled: TransformersScorer
) -> None:
    ids = bundled.tokenizer.encode("A melting face: 🫠", add_special_tokens=True).token_ids
    assert bundled.tokenizer.decode(ids[-3:]) == " 🫠"  # three tokens, a blank and one character
    there, here = (
        each.score(np.array([ids[:-1]]), ids[-3:]).log_probabilities for each in (scorer, bundled)
    )
    assert there == pytest.approx(here, abs=1.5)


def test_the_requests_said_before_are_about_those_made(scorer: LlamaCppScorer) -> None:
    asked = request(config=CONFIG, max_new_tokens=1)
    prompt = build_prompt(PROMPT, scorer.tokenizer)
    cost = estimate(prompt, asked, scorer, None)
    made = explain_now(asked, scorer).counts
    assert cost.seconds is None
    assert 0.5 < cost.requests / made.requests < 2
    assert 0.5 < cost.tokens / made.tokens < 2


def test_a_server_that_is_killed_leaves_a_sentence_and_what_was_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    with llama_server(installed_gguf()) as (address, child):
        scorer = connect(ServerEntry(id="llama", name="llama", url=address, key_env=KEY_ENV))
        found: list[Explanation] = []
        for progress in explain(request(), scorer):
            found.append(progress.explanation)
            if progress.done > 10:
                _kill(child)
    assert found[-1].status == "interrupted"
    assert f"The server at {address} cannot be reached" in (found[-1].interruption or "")
    assert len(found[-1].trace) > 10


def _kill(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
