"""Soft sufficiency and comprehensiveness, against their definition written out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from reagent_core.check import SoftMeasures
from reagent_core.errors import Cancelled, OutOfMemory
from reagent_core.masks import Purpose, generator
from reagent_core.prompt import Prompt, build_prompt
from reagent_core.scorers.encoder_decoder import EncoderDecoderScorer
from reagent_core.scorers.transformers_lm import TransformersScorer
from reagent_core.soft import EmbeddingScorer, NoSoft, hellinger, importance, soft_measures
from reagent_core.target import Targets, measure
from tests.tiny import TinyScorer
from tests.tiny_models import tiny_encoder_decoder_scorer, tiny_scorer

TEXT = "the quick brown fox"
SEED = 3


def target_of(prompt: Prompt, scorer: TransformersScorer | EncoderDecoderScorer) -> Targets:
    """The last two of three answer tokens."""
    answer = tuple(token.token_id for token in scorer.generate(prompt.token_ids, 3))
    assert len(answer) == 3
    return Targets(answer, ((1, 3),))


def soft(
    prompt: Prompt,
    targets: Targets,
    scores: np.ndarray,
    scorer: TransformersScorer | EncoderDecoderScorer,
    draws: int = 3,
) -> SoftMeasures | NoSoft:
    value = float(measure(scorer, np.array([prompt.token_ids]), targets).values[0, 0])
    return soft_measures(prompt, targets, scores, scorer, value, SEED, draws)


# What the decoders of the released models begin with: T5 with <pad>, BART with </s> and then <s>.
OPENINGS = {"t5": (0,), "bart": (2, 0)}


def plainly(
    prompt: Prompt, targets: Targets, shares: np.ndarray, model: torch.nn.Module, draws: int,
    opening: tuple[int, ...] | None = None,
) -> tuple[float, float]:  # fmt: skip
    """Soft-NS and Soft-NC, element by element as the papers define them.

    `shares` [draws, L]: the importance of each free unit in each draw. `opening`: what the decoder
    of an encoder-decoder begins with; None for a causal model.
    """
    said = targets.continuation[:-1]
    ids = [*prompt.token_ids, *(said if opening is None else ())]
    embeddings = model.get_input_embeddings().weight.detach()
    width = embeddings.shape[1]
    heard = {} if opening is None else {"decoder_input_ids": torch.tensor([[*opening, *said]])}
    column = {
        place: i for i, unit in enumerate(prompt.free_units)
        for place in prompt.units[unit].positions
    }  # fmt: skip

    def after(kept: list[list[bool]]) -> list[torch.Tensor]:
        """Next-token distributions where the two tokens of the target are predicted."""
        rows = [[float(embeddings[i, e]) if kept[t][e] else 0.0 for e in range(width)]
                for t, i in enumerate(ids)]  # fmt: skip
        with torch.no_grad():
            logits = model(inputs_embeds=torch.tensor([rows]), **heard).logits[0]
        return [torch.softmax(logits[place].double(), 0) for place in (-2, -1)]

    def distance(kept: list[list[bool]]) -> float:
        pairs = list(zip(after(kept), whole, strict=True))
        return sum(float((p.sqrt() - q.sqrt()).norm()) / math.sqrt(2) for p, q in pairs) / 2

    whole = after([[True] * width for _ in ids])
    zeroed = distance([[t not in column] * width for t in range(len(ids))])
    sufficiency, comprehensiveness = [], []
    for draw in range(draws):
        # Random numbers are drawn for the answer's tokens, too, wherever these are.
        u = generator(SEED, Purpose.SOFT, draw).random((len(prompt.token_ids) + len(said), width))
        s = [shares[draw, column[t]] if t in column else None for t in range(len(ids))]
        kept = [[bool(s[t] is None or u[t, e] < s[t]) for e in range(width)]
                for t in range(len(ids))]  # fmt: skip
        left = [[bool(s[t] is None or u[t, e] < 1 - s[t]) for e in range(width)]
                for t in range(len(ids))]  # fmt: skip
        sufficient = 1 - distance(kept)
        sufficiency.append(max(0.0, sufficient - (1 - zeroed)) / (1 - (1 - zeroed)))
        comprehensiveness.append(distance(left) / (1 - (1 - zeroed)))
    return float(np.mean(sufficiency)), float(np.mean(comprehensiveness))


@pytest.mark.parametrize("family", ["gpt2", "t5", "bart"])
def test_it_is_the_definition_written_out(family: str) -> None:
    opening = OPENINGS.get(family)
    scorer = tiny_encoder_decoder_scorer(family) if opening else tiny_scorer(family)
    prompt = build_prompt(TEXT, scorer.tokenizer)
    targets = target_of(prompt, scorer)
    # The first ones are zero, the last one is 1.
    scores = np.linspace(-0.5, 2.0, len(prompt.free_units))
    own = np.maximum(scores, 0) / 2
    random = np.stack([generator(SEED, Purpose.SOFT_ORDER, d).permutation(own) for d in range(3)])
    found = soft(prompt, targets, scores, scorer)
    assert isinstance(found, SoftMeasures)
    expected = plainly(prompt, targets, np.tile(own, (3, 1)), scorer._model, 3, opening)
    chance = plainly(prompt, targets, random, scorer._model, 3, opening)
    assert (found.sufficiency.mean, found.comprehensiveness.mean) == pytest.approx(expected, 1e-4)
    assert (found.random_sufficiency, found.random_comprehensiveness) == pytest.approx(chance, 1e-4)
    assert found.log_ratio_comprehensiveness == pytest.approx(
        math.log(expected[1] / chance[1]), abs=1e-3
    )
    assert expected[1] > 0 and expected != pytest.approx(chance, 1e-2)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "t5", "bart"])
def test_all_important_keeps_all_and_loses_all(family: str) -> None:
    causal = family in ("gpt2", "gemma2")
    scorer = tiny_scorer(family) if causal else tiny_encoder_decoder_scorer(family)
    assert isinstance(scorer, EmbeddingScorer)
    prompt = build_prompt(TEXT, scorer.tokenizer)
    found = soft(prompt, target_of(prompt, scorer), np.ones(len(prompt.free_units)), scorer)
    assert isinstance(found, SoftMeasures)
    assert found.sufficiency.mean == pytest.approx(1, abs=1e-4)
    assert found.comprehensiveness.mean == pytest.approx(1, abs=1e-4)
    assert found.log_ratio_sufficiency == pytest.approx(0, abs=1e-4)


def test_what_is_protected_is_never_zeroed() -> None:
    scorer = tiny_scorer("gpt2")
    prompt = build_prompt(TEXT, scorer.tokenizer, protected=[(0, len(TEXT) - 4)])
    asked: list[np.ndarray] = []

    class Watched(TransformersScorer):
        def next_tokens(self, token_ids, reads, kept):
            asked.append(kept)
            return super().next_tokens(token_ids, reads, kept)

    watched = Watched(scorer._model, scorer.tokenizer._tokenizer, scorer.info)
    found = soft(prompt, target_of(prompt, scorer), np.ones(len(prompt.free_units)), watched)
    assert isinstance(found, SoftMeasures)
    kept = np.concatenate(asked)
    free = sorted(prompt.free_positions)
    always = np.delete(np.arange(kept.shape[1]), free)
    assert len(free) and kept[:, always].all() and not kept[:, free].all()


def test_where_there_is_nothing_to_tell_the_reason_is(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = tiny_scorer("gpt2")
    prompt = build_prompt(TEXT, scorer.tokenizer)
    targets = target_of(prompt, scorer)
    against, scores = -np.ones(len(prompt.units)), np.ones(len(prompt.units))
    assert soft(prompt, targets, against, scorer) == "nothing_important"
    # Embeddings that tell the model something else than the token ids do.
    value = float(measure(scorer, np.array([prompt.token_ids]), targets).values[0, 0])
    for each in (scores, against):
        told = soft_measures(prompt, targets, each, scorer, value - 1, SEED)
        assert told == "other_from_embeddings"
    monkeypatch.setattr("reagent_core.soft.hellinger", lambda p, q: np.zeros(q.shape[:2]))
    assert soft(prompt, targets, scores, scorer) == "same_when_zeroed"
    assert not isinstance(TinyScorer(), EmbeddingScorer)


class Cramped(TransformersScorer):
    """Not more than `most` sequences fit."""

    most = 3

    def next_tokens(self, token_ids, reads, kept):
        if len(kept) > self.most:
            raise OutOfMemory("There is not enough memory.")
        return super().next_tokens(token_ids, reads, kept)


def test_what_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = tiny_scorer("gpt2")
    prompt = build_prompt(TEXT, scorer.tokenizer)
    targets, scores = target_of(prompt, scorer), np.linspace(0, 1, len(prompt.units))
    cramped = Cramped(scorer._model, scorer.tokenizer._tokenizer, scorer.info)
    expected, found = (soft(prompt, targets, scores, each) for each in (scorer, cramped))
    assert isinstance(expected, SoftMeasures) and isinstance(found, SoftMeasures)
    assert found.sufficiency.mean == pytest.approx(expected.sufficiency.mean, abs=1e-4)
    assert found.comprehensiveness.mean == pytest.approx(expected.comprehensiveness.mean, abs=1e-4)
    monkeypatch.setattr(Cramped, "most", 0)
    with pytest.raises(OutOfMemory):
        soft(prompt, targets, scores, cramped)


def test_it_stops_when_nobody_waits() -> None:
    scorer = tiny_scorer("gpt2")
    prompt = build_prompt(TEXT, scorer.tokenizer)
    targets = replace(target_of(prompt, scorer), spans=((0, 3),))
    with pytest.raises(Cancelled):
        soft_measures(
            prompt, targets, np.ones(len(prompt.units)), scorer, 0.0, SEED, cancelled=lambda: True
        )


def test_importance_is_nothing_below_zero_and_one_at_most() -> None:
    assert importance(np.array([-3.0, 0.0, 1.0, 4.0])).tolist() == [0, 0, 0.25, 1]
    assert importance(np.array([-1.0, 0.0])).tolist() == [0, 0]


def test_hellinger_distance() -> None:
    even, sure, other = np.array([0.5, 0.5]), np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert hellinger(sure, other) == pytest.approx(1)
    assert hellinger(even, even) == 0
    assert hellinger(even, sure) == pytest.approx(math.sqrt(1 - math.sqrt(0.5)))
