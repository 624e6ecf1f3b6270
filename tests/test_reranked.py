"""The explained model's own proposals, weighed by how well the next tokens follow them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from reagent_core.errors import Cancelled
from reagent_core.prompt import build_prompt
from reagent_core.replacers.candidates import CANDIDATES
from reagent_core.replacers.causal_lm import CausalLMReplacer
from reagent_core.replacers.reranked import FOLLOWING, LOOKED_AT, RerankedCausalLMReplacer
from reagent_core.scorers.base import BoolArray, Predictions
from tests.tiny import WORDS, TinyScorer
from tests.tiny_models import tiny_scorer

COLOURS = {"red": "one", "green": "two", "blue": "three"}


def counting(words: Sequence[str]) -> dict[str, float]:
    """After a colour its number is likely, but no other word says anything."""
    last = words[-1] if words else ""
    return {COLOURS[last]: 0.9, "<end>": 0.0} if last in COLOURS else {}


class Ranked(TinyScorer):
    """Proposes every allowed word, the less likely the later it stands in the vocabulary."""

    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        ids = np.flatnonzero(allowed)[:k]
        shape = (len(token_ids), len(ids))
        return Predictions(np.broadcast_to(ids, shape).copy(),
                           np.broadcast_to(0.9 ** np.arange(len(ids)), shape) / 10)  # fmt: skip


def shares(replacer, text: str, place: int, draws: int = 1000) -> dict[str, float]:
    """How often each word is drawn at one place of a prompt."""
    prompt = build_prompt(text, replacer._scorer.tokenizer)
    mask = np.zeros((draws, len(prompt.token_ids)), bool)
    mask[:, place] = True
    uniforms = np.tile((np.arange(draws)[:, None] + 0.5) / draws, (1, mask.shape[1]))
    drawn, counts = np.unique(replacer.prepare(prompt)(mask, uniforms)[:, place],
                              return_counts=True)  # fmt: skip
    return {WORDS[i]: count / draws for i, count in zip(drawn, counts, strict=True)}


def test_a_proposal_that_the_next_word_follows_is_drawn_as_bayes_says() -> None:
    found = shares(RerankedCausalLMReplacer(Ranked(counting)), "a big city two", 2)
    # Candidates are words 2 to 22 without "city": 0.9^i on the left; on the right 0.9 after
    # "green", 0.1 / 21 after the other colours, 1 / 23 after the rest.
    ids = [i for i in range(2, len(WORDS)) if WORDS[i] != "city"][:LOOKED_AT]
    left = {WORDS[i]: 0.9 ** (i - 2) for i in ids}
    right = {word: 0.9 if word == "green" else 0.1 / 21 if word in COLOURS else 1 / 23
             for word in left}  # fmt: skip
    best = sorted(left, key=lambda word: -left[word] * right[word])[:CANDIDATES]
    whole = sum(left[word] * right[word] for word in best)
    assert found == pytest.approx(
        {word: left[word] * right[word] / whole for word in best}, abs=2e-3
    )
    assert max(found, key=found.__getitem__) == "green"
    # From the left alone it is not even among the ten.
    assert "green" not in shares(CausalLMReplacer(Ranked(counting)), "a big city two", 2)


def test_the_last_word_is_what_the_left_says() -> None:
    reranked = shares(RerankedCausalLMReplacer(Ranked(counting)), "a big city", 2)
    assert reranked == pytest.approx(
        shares(CausalLMReplacer(Ranked(counting)), "a big city", 2), abs=2e-3
    )


def test_only_what_may_be_replaced_is_weighed() -> None:
    def work(protected: list[tuple[int, int]]) -> int:
        scorer = Ranked(counting)
        prompt = build_prompt("one two three four five", scorer.tokenizer, "word", protected)
        RerankedCausalLMReplacer(scorer).prepare(prompt)
        return sum(scorer.calls)

    assert work([]) == 4 * LOOKED_AT  # nothing follows the last word
    assert work([(0, 7)]) == 2 * LOOKED_AT


def test_a_cached_left_context_gives_what_the_whole_text_gives() -> None:
    scorer = tiny_scorer("llama")
    text = "The capital of France is Paris. The capital of Spain is Madrid. He isn't in Germany."
    prompt = build_prompt(text, scorer.tokenizer)
    assert len(prompt.token_ids) >= 20  # the last places go on from the cache

    class Uncached(type(scorer)):
        def prefix(self, *_: object) -> None:
            return None

    mask = np.ones((50, len(prompt.token_ids)), bool)
    uniforms = np.random.default_rng(0).random(mask.shape)
    cached = RerankedCausalLMReplacer(scorer).prepare(prompt)(mask, uniforms)
    scorer.__class__ = Uncached
    assert (RerankedCausalLMReplacer(scorer).prepare(prompt)(mask, uniforms) == cached).all()
    assert (cached != np.array(prompt.token_ids)).all()
    assert not scorer.tokenizer.special_ids.intersection(cached.ravel().tolist())


def test_no_more_than_the_next_few_tokens_are_read() -> None:
    widths = []

    class Watched(Ranked):
        def score(self, inputs, targets, prefix=None):
            widths.append((inputs.shape[1], len(targets)))
            return super().score(inputs, targets, prefix)

    scorer = Watched(counting)
    prompt = build_prompt("one two three four five one two three four five", scorer.tokenizer)
    RerankedCausalLMReplacer(scorer).prepare(prompt)
    assert max(count for _, count in widths) == FOLLOWING
    # At the first place one proposal and what follows it but for the last, which is only scored.
    assert widths[0] == (FOLLOWING, FOLLOWING)


def test_it_stops_when_nobody_waits() -> None:
    scorer = Ranked(counting)
    replacer = RerankedCausalLMReplacer(scorer, cancelled=lambda: len(scorer.calls) > 1)
    with pytest.raises(Cancelled):
        replacer.prepare(build_prompt("one two three four five", scorer.tokenizer))
    assert len(scorer.calls) == 2
