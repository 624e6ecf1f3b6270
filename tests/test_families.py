"""Every family and every kind of tokenizer through the whole of `explain`, against the method as a
plain loop over plain forwards: one probe, one step, one sequence, all logits at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import exp, log

import pytest
import torch

from reagent_core.answer import with_answer
from reagent_core.config import Config
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation, dump, load
from reagent_core.prompt import Prompt, build_prompt
from reagent_core.replacers.causal_lm import CausalLMReplacer
from reagent_core.request import AnswerTokens, GivenText, Request, WholeAnswer
from reagent_core.scorers.encoder_decoder import EncoderDecoderScorer
from reagent_core.scorers.transformers_lm import TransformersScorer
from tests.reference import Plain, ReferenceStep, reference
from tests.tiny_models import (
    ENCODER_DECODERS,
    FAMILIES,
    tiny_encoder_decoder_scorer,
    tiny_scorer,
)
from tests.trained_tokenizers import byte_level, chat, sentencepiece, unigram, wordpiece

TOKENIZERS = {
    "byte-level": byte_level,
    "bos": chat,
    "sentencepiece": sentencepiece,
    "unigram": unigram,
    "wordpiece": wordpiece,
}
# Two families with each; the source of the others ends with a token.
MIXED = [f"{family}, {name}" for family in ("llama", "gpt2") for name in TOKENIZERS]
FEW = [*MIXED, *ENCODER_DECODERS]

FRANCE = "The capital of France is"
# Never replaced, and long enough to be run once and kept.
FRONT = "In the middle of the city, at the end of the street, the capital of Spain is."
CONFIG = Config(probes=2, min_steps=3, max_steps=3, selection="balanced")


@cache
def scorer_of(case: str) -> TransformersScorer | EncoderDecoderScorer:
    if case in ENCODER_DECODERS:
        return tiny_encoder_decoder_scorer(case)
    family, _, name = case.partition(", ")
    return tiny_scorer(family, tokenizer=TOKENIZERS[name or "byte-level"]())


@torch.inference_mode()
def logits_behind(case: str, ids: list[int]) -> torch.Tensor:
    """All of the model's logits, of which the last are those of the token behind `ids`."""
    model = scorer_of(case)._model
    if case not in ENCODER_DECODERS:
        return model(input_ids=torch.tensor([ids])).logits[0, -1].float()
    # BART's answers are made to begin with its <s>, behind the </s> that starts its decoder.
    closing, start = (2, [2, 0]) if case == "bart" else (1, [0])
    length = len(ids) - ids[::-1].index(closing)
    return model(
        input_ids=torch.tensor([ids[:length]]),
        decoder_input_ids=torch.tensor([[*start, *ids[length:]]]),
    ).logits[0, -1].float()  # fmt: skip


def explained(case: str, **options: object) -> tuple[Explanation, Prompt]:
    """What `explain` says, and the prompt it was about."""
    scorer = scorer_of(case)
    given = {"prompt": FRANCE, "max_new_tokens": 3, "config": CONFIG, **options}
    request = Request(**given)
    prompt = build_prompt(request.prompt, scorer.tokenizer, "token", request.protected)
    return explain_now(request, scorer), prompt


def plainly(
    case: str, prompt: Prompt, target: Sequence[int], config: Config = CONFIG
) -> list[ReferenceStep]:
    substitute = CausalLMReplacer(scorer_of(case)).prepare(prompt)
    model = Plain(lambda ids: logits_behind(case, ids))
    return reference(model, prompt, substitute, target, config)


def assert_equal(explanation: Explanation, expected: list[ReferenceStep]) -> None:
    trace = sorted(explanation.trace, key=lambda step: step.probe)  # the plain loop's order
    assert len(trace) == len(expected)
    for step, plain in zip(trace, expected, strict=True):
        assert (step.probe, step.step) == (plain.probe, plain.step)
        assert list(step.replaced) == plain.replaced
        assert step.probability == pytest.approx(plain.probability, abs=1e-5)
        assert step.value == pytest.approx(log(plain.probability), abs=1e-3)
        assert step.scores == pytest.approx(plain.scores, abs=1e-4)
        assert (step.rank, step.stopped) == (plain.rank, plain.stopped)


@pytest.mark.parametrize("case", [*FAMILIES, *FEW])
def test_one_answer_token_gets_what_the_plain_loop_gives_it(case: str) -> None:
    """With prefix, batches and chunks, until the stop test passes or the steps are made."""
    config = Config(probes=2, min_steps=3, max_steps=9, selection="balanced")
    text, front = f"{FRONT} {FRANCE}", ((0, len(FRONT)),)
    found, prompt = explained(
        case, prompt=text, protected=front, target=AnswerTokens(), config=config
    )
    assert_equal(found, plainly(case, prompt, found.target.token_ids, config))
    assert found.status == "complete" and found.facts
    assert load(dump(found)) == found


@pytest.mark.parametrize("case", FEW)
def test_a_whole_answer_is_its_tokens_together(case: str) -> None:
    found, prompt = explained(case, target=WholeAnswer())
    ids = [token.token_id for token in found.answer_tokens]
    assert len(ids) == 3
    assert_equal(found, plainly(case, prompt, ids))
    for steps in zip(found.trace, *(each.trace for each in found.explanations), strict=True):
        assert steps[0].value == pytest.approx(sum(step.value for step in steps[1:]), abs=1e-4)


@pytest.mark.parametrize("case", FEW)
def test_an_answer_is_shown_as_the_model_writes_it(case: str) -> None:
    found, prompt = explained(case, target=WholeAnswer(), max_new_tokens=12)
    decode = scorer_of(case).tokenizer.decode
    ids = [token.token_id for token in found.answer_tokens]
    if case in ENCODER_DECODERS:
        assert found.answer == decode(ids)
    else:
        assert decode(prompt.token_ids) + found.answer == decode([*prompt.token_ids, *ids])
    assert "".join(token.text for token in found.answer_tokens) == found.answer
    assert "##" not in found.answer and "▁" not in found.answer


@pytest.mark.parametrize("case", FEW)
def test_replacements_are_shown_as_they_read_in_the_prompt(case: str) -> None:
    """With their blanks, which the decoders of SentencePiece drop from a token alone, and
    without the signs that WordPiece puts into a word."""
    config = Config(probes=1, min_steps=12, max_steps=12, selection="exact", ratio=0.1)
    found, prompt = explained(case, target=AnswerTokens(), config=config)
    expected = plainly(case, prompt, found.target.token_ids, config)
    tokenizer, compared = scorer_of(case).tokenizer, 0
    for step, plain in zip(found.trace, expected, strict=True):
        texts = [unit.text for unit in found.units]
        for unit, text in zip(step.replaced, step.replacements, strict=True):
            texts[unit] = text
        ids = [i for i in plain.token_ids if i not in tokenizer.special_ids]
        read = tokenizer.decode(ids)
        if "\ufffd" not in read + "".join(texts):  # half a character has no text of its own
            assert "".join(texts).lower() == read.lower()  # this WordPiece knows no capitals
            compared += 1
    assert compared


@pytest.mark.parametrize("case", FEW)
def test_a_given_text_gets_what_the_plain_loop_gives_it(case: str) -> None:
    found, prompt = explained(case, target=GivenText(text="Paris!"))
    tokenizer = scorer_of(case).tokenizer
    assert found.target.text.strip() == "Paris!"
    assert tokenizer.decode(found.target.token_ids).strip().lower() == "paris!"
    assert not tokenizer.special_ids.intersection(found.target.token_ids)
    assert_equal(found, plainly(case, prompt, found.target.token_ids))


@pytest.mark.parametrize("case", FEW)
def test_this_rather_than_that_weighs_both(case: str) -> None:
    found, prompt = explained(case, target=GivenText(text=" Paris", instead_of=" France"))
    assert found.target.instead_of is not None
    this = plainly(case, prompt, found.target.token_ids)
    that = plainly(case, prompt, found.target.instead_of.token_ids)
    trace = sorted(found.trace, key=lambda step: step.probe)
    for step, one, other in zip(trace, this, that, strict=True):
        assert list(step.replaced) == one.replaced
        share = one.probability / (one.probability + other.probability)
        assert step.probability == pytest.approx(share, abs=1e-4)
        assert exp(step.value) == pytest.approx(one.probability / other.probability, rel=1e-3)


@pytest.mark.parametrize("case", FEW)
def test_an_earlier_answer_token_is_context_like_any_other(case: str) -> None:
    whole, prompt = explained(case, target=AnswerTokens(), max_new_tokens=8)
    tokens = whole.answer_tokens
    # The first one behind a whole character, where there is one: parts of one are no units.
    start = next((i for i in range(1, 8) if tokens[i - 1].end), 1)
    found, _ = explained(
        case,
        target=AnswerTokens(start=start, stop=start + 1),
        max_new_tokens=8,
        attribute_answer=True,
    )
    longer = with_answer(prompt, tokens[:start], start)
    assert len(longer.token_ids) == len(prompt.token_ids) + start
    assert [unit.text for unit in found.units] == [unit.text for unit in longer.units]
    assert_equal(found, plainly(case, longer, found.target.token_ids))
