"""What the method finds on the real bundled model."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.needle import AFTER, BEFORE, NEEDLE
from reagent_core.config import PRESETS
from reagent_core.cost import Speed, estimate
from reagent_core.explain import explain, explain_now
from reagent_core.explanation import Explanation
from reagent_core.prompt import build_prompt
from reagent_core.request import AnswerTokens, GivenText, Request, Turn, WholeAnswer
from reagent_core.sentences import ranking
from reagent_core.target import Targets, measure

if TYPE_CHECKING:
    from reagent_core.scorers.transformers_lm import TransformersScorer

pytestmark = pytest.mark.model

Explained = Callable[[Request], Explanation]

FRANCE = "The capital of France is"
THAILAND = (
    "When my flight landed in Thailand, I converted my currency and slowly fell asleep. "
    "I was staying in the capital city of"
)


@pytest.fixture(scope="module")
def explained(bundled: TransformersScorer) -> Explained:
    """Explains a request, once for all tests that look at it."""
    return cache(partial(explain_now, scorer=bundled))


def strongest(explanation: Explanation, count: int) -> list[str]:
    return [explanation.units[i].text.strip() for i in ranking(explanation)[:count]]


def quick(prompt: str | tuple[Turn, ...], seed: int = 0, **options: object) -> Request:
    config = PRESETS["quick"].model_copy(update={"seed": seed})
    given = {"target": AnswerTokens(), "max_new_tokens": 2, "config": config, **options}
    return Request(prompt=prompt, **given)


@pytest.mark.parametrize("seed", [0, 1])
def test_france_is_why_it_says_paris(explained: Explained, seed: int) -> None:
    explanation = explained(quick(FRANCE, seed))
    assert explanation.answer_tokens[0].text == " Paris"
    assert strongest(explanation, 1) == ["France"]
    assert explanation.units[3].effect_low > 0


@pytest.mark.parametrize("seed", [0, 1])
def test_thailand_is_why_it_says_bangkok(explained: Explained, seed: int) -> None:
    explanation = explained(quick(THAILAND, seed))
    assert explanation.answer.startswith(" Bang")
    assert "Thailand" in strongest(explanation, 2)


def test_two_seeds_agree_on_the_strongest_unit(explained: Explained) -> None:
    for prompt in (FRANCE, THAILAND, "The opposite of hot is"):
        found = {strongest(explained(quick(prompt, seed)), 1)[0] for seed in (0, 1)}
        assert len(found) == 1, prompt


def test_the_same_seed_gives_the_same_bits(
    bundled: TransformersScorer, explained: Explained
) -> None:
    request = quick(FRANCE, target=WholeAnswer(), max_new_tokens=6)
    first, second = explained(request), explain_now(request, bundled)
    skip = {"seconds", "explanations", "words"}
    for one, two in zip(first.every(), second.every(), strict=True):
        assert one.model_dump(exclude=skip) == two.model_dump(exclude=skip)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_batch_size_changes_nothing_but_rounding(
    bundled: TransformersScorer, explained: Explained, batch_size: int
) -> None:
    config = PRESETS["quick"].model_copy(update={"min_steps": 6, "max_steps": 6})
    usual = explained(quick(FRANCE, config=config))
    *_, other = explain(quick(FRANCE, config=config), bundled, batch_size=batch_size)
    steps = zip(usual.trace, other.explanation.trace, strict=True)
    for one, two in steps:
        assert (one.replaced, one.replacements, one.rank) == (
            two.replaced, two.replacements, two.rank
        )  # fmt: skip
        assert two.scores == pytest.approx(one.scores, abs=1e-4)
        assert two.value == pytest.approx(one.value, abs=1e-4)


def test_a_whole_answer_reads_what_one_token_reads(bundled: TransformersScorer) -> None:
    """[prompt | answer] in one forward gives each token what it has alone."""
    ids = bundled.tokenizer.encode(FRANCE, add_special_tokens=True).token_ids
    answer = tuple(token.token_id for token in bundled.generate(ids, 3))
    context = np.array([ids])
    together = measure(bundled, context, Targets(answer, ((0, 3), (0, 1), (1, 2), (2, 3))))
    alone = [
        measure(bundled, context, Targets(answer[: i + 1], ((i, i + 1),))).values[0, 0]
        for i in range(3)
    ]
    assert together.values[0, 1:] == pytest.approx(alone, abs=1e-4)
    assert together.values[0, 0] == pytest.approx(sum(alone), abs=1e-4)


def test_generation_and_scoring_agree(bundled: TransformersScorer) -> None:
    ids = bundled.tokenizer.encode(FRANCE, add_special_tokens=True).token_ids
    (token,) = bundled.generate(ids, 1)
    scores = bundled.score(np.array([ids]), [token.token_id])
    assert np.exp(scores.log_probabilities[0, 0]) == pytest.approx(token.probability, rel=1e-4)
    assert scores.ranks[0, 0] == 1
    assert token.probability >= max(other.probability for other in token.alternatives)
    assert len(token.alternatives) == 5


def test_paris_rather_than_london(bundled: TransformersScorer) -> None:
    choice = GivenText(text="Paris", instead_of="London")
    explanation = explain_now(quick(FRANCE, target=choice), bundled)
    assert explanation.target.text == " Paris" and explanation.target.instead_of.text == " London"
    assert strongest(explanation, 1) == ["France"]


def test_a_chat_turn(bundled: TransformersScorer) -> None:
    turns = (
        Turn(role="system", content="You are a helpful assistant."),
        Turn(role="user", content="What is the capital of Japan?"),
    )
    request = quick(turns, target=WholeAnswer(), max_new_tokens=8)
    explanation = explain_now(request, bundled)
    assert "Tokyo" in explanation.answer
    assert explanation.prompt.count("<|im_start|>") == 3  # system, user, assistant: once each
    free = "".join(unit.text for unit in explanation.units if not unit.protected)
    assert free == "What is the capital of Japan?"
    assert "Japan" in strongest(explanation, 2)


@pytest.mark.parametrize(
    ("prompt", "target", "length"),
    [(FRANCE, AnswerTokens(), 2), (THAILAND, AnswerTokens(), 2), (FRANCE, WholeAnswer(), 6)],
)
def test_the_cost_is_known_before(
    bundled: TransformersScorer, explained: Explained, prompt: str, target: object, length: int
) -> None:
    request = quick(prompt, target=target, max_new_tokens=length)
    built = build_prompt(prompt, bundled.tokenizer)
    said = estimate(built, request, bundled, Speed(0.1, 500.0)).sequences
    done = explained(request).counts.sequences
    assert 1 / 1.5 < said / done < 1.5


def test_a_sentence_in_a_long_text_is_found(bundled: TransformersScorer) -> None:
    text = f"{BEFORE[-700:]} {NEEDLE} {AFTER[-600:]}"
    explanation = explain_now(quick(text, max_new_tokens=1), bundled)
    coarse = [unit for unit in explanation.units if unit.coarse]
    assert explanation.answer == " te" and len(coarse) > 5
    inside = range(text.index(NEEDLE), text.index(NEEDLE) + len(NEEDLE))
    top = [explanation.units[i] for i in ranking(explanation)[:3]]
    assert top[0].start in inside and sum(unit.start in inside for unit in top) >= 2
    # Half of the prompt on average is not run again.
    width = len(bundled.tokenizer.encode(text, add_special_tokens=True).token_ids)
    assert explanation.counts.tokens < 0.8 * explanation.counts.sequences * width


def test_the_word_before_counts_where_it_is_asked_for(bundled: TransformersScorer) -> None:
    request = quick(THAILAND, target=AnswerTokens(start=1, stop=2), attribute_answer=True)
    explanation = explain_now(request, bundled)
    assert explanation.target.text == "kok"
    assert explanation.units[ranking(explanation)[0]].text == " Bang"


@pytest.mark.parametrize("granularity", ["word", "sentence"])
def test_larger_units_are_replaced_as_one(bundled: TransformersScorer, granularity: str) -> None:
    config = PRESETS["quick"].model_copy(update={"granularity": granularity})
    explanation = explain_now(quick(THAILAND, config=config), bundled)
    best = explanation.units[ranking(explanation)[0]].text
    assert best == {
        "word": " Thailand",
        "sentence": " I was staying in the capital city of",
    }[granularity]


def test_answers_are_greedy_whatever_the_model_ships(bundled: TransformersScorer) -> None:
    """Probabilities explain an answer only if it is made of the likeliest tokens."""
    ids = bundled.tokenizer.encode("one two three one two three", add_special_tokens=True).token_ids
    for token in bundled.generate(ids, 4):
        assert token.probability >= max(other.probability for other in token.alternatives)
