"""Gradients against plain autograd and Captum's own LLM classes; attention against its formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import (
    FeatureAblation,
    LayerIntegratedGradients,
    LLMAttribution,
    LLMGradientAttribution,
    TextTokenInput,
)

from reagent_core.baselines import gradients
from reagent_core.baselines.attribute import attribute
from reagent_core.baselines.case import unit_sums
from reagent_core.baselines.methods import METHODS, method_named
from reagent_core.config import Config
from reagent_core.errors import Cancelled, InputError, OutOfMemory
from reagent_core.explanation import Explanation, dump, load
from reagent_core.masks import Purpose, generator
from reagent_core.prompt import build_prompt
from reagent_core.request import AnswerTokens, GivenText, Request
from tests.tiny_models import tiny_encoder_decoder_scorer, tiny_scorer

PROMPT = "the quick brown fox"
INSIDE = [method for method in METHODS if method.needs in ("gradients", "attention")]
GRADIENTS = [method.name for method in METHODS if method.needs == "gradients"]
TWO = AnswerTokens(start=1, stop=3)


def scorer_of(family: str) -> Any:
    return tiny_encoder_decoder_scorer(family) if family in ("t5", "bart") else tiny_scorer(family)


def by(method: str, scorer: Any, **options: Any) -> Explanation:
    given = {"target": TWO, "max_new_tokens": 3, **options}
    return attribute(method_named(method), Request(prompt=PROMPT, **given), scorer)


def numbers(explanation: Explanation) -> np.ndarray:
    return np.array([unit.attribution for unit in explanation.units if not unit.protected])


def ids_of(scorer: Any, explanation: Explanation) -> tuple[list[int], list[int]]:
    prompt = list(scorer.tokenizer.encode(PROMPT, add_special_tokens=True).token_ids)
    return prompt, [token.token_id for token in explanation.answer_tokens]


def direct(scorer: Any, embedded: torch.Tensor, answer: list[int]) -> torch.Tensor:
    """The value of answer tokens 1 and 2 in one forward of the model itself."""
    table = scorer._model.get_input_embeddings()
    given = torch.cat([embedded, table(torch.tensor([answer[:2]]))], dim=1)
    logs = scorer._model(inputs_embeds=given, use_cache=False).logits[0, -2:].log_softmax(-1)
    return logs[0, answer[1]] + logs[1, answer[2]]


# --- Gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_gradient_norm_and_input_x_gradient_are_those_of_autograd(family: str) -> None:
    scorer = scorer_of(family)
    norm, product = by("gradient_norm", scorer), by("input_x_gradient", scorer)
    prompt, answer = ids_of(scorer, norm)
    embedded = scorer._model.get_input_embeddings()(torch.tensor([prompt])).detach()
    value = direct(scorer, embedded.requires_grad_(), answer)
    assert norm.target.value == pytest.approx(value.item(), abs=1e-4)
    (gradient,) = torch.autograd.grad(value, embedded)
    assert numbers(norm) == pytest.approx(gradient[0].norm(dim=1).numpy(), rel=1e-3)
    expected = (gradient * embedded)[0].sum(1).detach().numpy()
    assert numbers(product) == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert norm.counts.backwards == 1 and norm.counts.sequences == 2
    assert all(parameter.grad is None for parameter in scorer._model.parameters())


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_integrated_gradients_add_up(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Completeness: value(prompt) - value(unknown tokens); random weights need many points."""
    scorer = scorer_of(family)
    monkeypatch.setattr(gradients, "STEPS", 400)
    found = by("integrated_gradients", scorer)
    prompt, answer = ids_of(scorer, found)
    ids = np.array(prompt)
    ids[list(build_prompt(PROMPT, scorer.tokenizer).free_positions)] = scorer.reference_id
    said = [*ids.tolist(), *answer[:2]]
    gained = (
        found.target.value - scorer.score(np.array([said]), answer[1:3]).log_probabilities.sum()
    )
    assert numbers(found).sum() == pytest.approx(gained, abs=0.05)
    assert f"{gained:.2f} nats are gained" in found.verdict.text
    assert not found.verdict.warnings


def test_where_they_do_not_add_up_it_is_said() -> None:
    """Random weights are steep; with 1,600 points these, too, come to 0.79."""
    found = by("integrated_gradients", scorer_of("llama"))
    assert found.counts.backwards == 50
    assert found.verdict.warnings == (
        "The numbers should add up to 0.79 nats and add up to -0.29: 50 points are too few for so "
        "steep a model.",
    )


def test_captums_own_classes_agree_without_their_cache() -> None:
    scorer = scorer_of("gpt2")
    found = by("integrated_gradients", scorer, target=AnswerTokens(start=0, stop=3))
    prompt, answer = ids_of(scorer, found)
    model, tokenizer = scorer._model, scorer.tokenizer._tokenizer
    target, unknown = torch.tensor(answer), scorer.reference_id
    theirs = LLMGradientAttribution(
        LayerIntegratedGradients(model, model.get_input_embeddings()), tokenizer
    ).attribute(TextTokenInput(PROMPT, tokenizer, baselines=unknown), target=target)
    assert numbers(found) == pytest.approx(theirs.seq_attr.numpy(), abs=2e-3)

    def lost(ids: list[int]) -> np.ndarray:
        inputs = np.array([prompt + answer[:-1], ids + answer[:-1]])
        before, after = scorer.score(inputs, answer).log_probabilities
        return before - after

    ablated = [lost([*prompt[:i], unknown, *prompt[i + 1 :]]) for i in range(len(prompt))]

    def by_captum(cached: bool) -> np.ndarray:
        told = LLMAttribution(FeatureAblation(model), tokenizer).attribute(
            TextTokenInput(PROMPT, tokenizer, baselines=unknown), target=target,
            use_cached_outputs=cached,
        )  # fmt: skip
        return told.token_attr.T.numpy()

    assert by_captum(cached=False) == pytest.approx(np.array(ablated), abs=1e-3)
    wrong = np.abs(by_captum(cached=True) - np.array(ablated)).max(0)
    assert wrong[0] < 1e-3 < 0.01 < wrong[1:].min(), "why Captum's LLM path is not used here"


def test_gradient_shap_leaves_the_random_numbers_of_others_alone() -> None:
    scorer = scorer_of("llama")
    np.random.seed(5)
    torch.manual_seed(5)
    expected = np.random.random(), float(torch.rand(1))
    np.random.seed(5)
    torch.manual_seed(5)
    found = by("gradient_shap", scorer)
    assert (np.random.random(), float(torch.rand(1))) == expected
    assert (numbers(found) == numbers(by("gradient_shap", scorer))).all()
    other = by("gradient_shap", scorer, config=Config(seed=1))
    assert (numbers(found) != numbers(other)).any()
    assert found.counts.backwards == 50


def random_starts(scorer: Any) -> list[tuple[torch.Tensor, float]]:
    """The embeddings that the samples of seed 0 start at, and how far along each looks."""
    prompt, ordinary = build_prompt(PROMPT, scorer.tokenizer), scorer.tokenizer.ordinary_ids
    places, drawn = list(prompt.free_positions), []
    for sample in range(gradients.SAMPLES):
        ids = np.array(prompt.token_ids)
        draw = generator(0, Purpose.GRADIENT, sample).integers(len(ordinary), size=len(places))
        ids[places] = np.array(ordinary)[draw]
        drawn.append((scorer.embedded(ids.tolist()),
                      generator(0, Purpose.GRADIENT, sample, 1).random()))  # fmt: skip
    return drawn


def test_gradient_shap_is_the_definition_written_out() -> None:
    scorer = scorer_of("gpt2")
    found = by("gradient_shap", scorer)
    prompt, answer = ids_of(scorer, found)
    own, total = scorer.embedded(prompt), torch.zeros(len(prompt))
    for start, share in random_starts(scorer):
        point = (start + share * (own - start)).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(direct(scorer, point, answer), point)
        total += ((own - start) * gradient)[0].sum(1)
    assert numbers(found) == pytest.approx((total / gradients.SAMPLES).numpy(), abs=1e-4)


def test_gradient_shap_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Completeness: the value minus the mean value of the starts, exactly where it is linear."""
    scorer = scorer_of("gpt2")
    weights = torch.linspace(-1, 1, scorer.embedded([1]).shape[-1])
    monkeypatch.setattr(
        scorer, "log_probabilities",
        lambda embedded, said, targets: (embedded @ weights).sum(1, keepdim=True),
    )  # fmt: skip
    found = by("gradient_shap", scorer)
    own = scorer.embedded(list(build_prompt(PROMPT, scorer.tokenizer).token_ids))
    gained = [float(((own - start) @ weights).sum()) for start, _ in random_starts(scorer)]
    assert numbers(found).sum() == pytest.approx(np.mean(gained), abs=1e-4)
    assert abs(np.mean(gained)) > 0.01


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient_shap"])
def test_what_does_not_fit_is_halved(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, scorer = numbers(by(method, scorer_of("gpt2"))), scorer_of("gpt2")
    whole = scorer.log_probabilities
    refused = []

    def cramped(embedded: torch.Tensor, said: Any, targets: Any) -> torch.Tensor:
        if len(embedded) > 3:
            refused.append(len(embedded))
            raise OutOfMemory("There is not enough memory.")
        return whole(embedded, said, targets)

    monkeypatch.setattr(scorer, "log_probabilities", cramped)
    found = by(method, scorer)
    assert refused
    assert numbers(found) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("method", GRADIENTS)
def test_against_a_foil_the_difference_is_explained(method: str) -> None:
    scorer = scorer_of("gpt2")
    foil = by(method, scorer, target=GivenText(text=" dog", instead_of=" cat"))
    if method == "input_x_gradient":
        one, other = (by(method, scorer, target=GivenText(text=t)) for t in (" dog", " cat"))
        assert numbers(foil) == pytest.approx(numbers(one) - numbers(other), abs=1e-4)
    assert foil.target.instead_of is not None


def test_it_stops_when_nobody_waits() -> None:
    scorer = scorer_of("gpt2")
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 8

    request = Request(prompt=PROMPT, target=TWO, max_new_tokens=3)
    with pytest.raises(Cancelled):
        attribute(method_named("integrated_gradients"), request, scorer, cancelled)


# --- Attention ------------------------------------------------------------------------------------


def eager(scorer: Any, ids: list[int]) -> np.ndarray:
    """Attention [layers, heads, S, S] of a fresh model that was made eager."""
    model = tiny_scorer(scorer.info.id.removeprefix("tiny "))._model
    model.set_attn_implementation("eager")
    with torch.no_grad():
        output = model(input_ids=torch.tensor([ids]), output_attentions=True, use_cache=False)
    return torch.stack([layer[0] for layer in output.attentions]).double().numpy()


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3"])
def test_attention_is_read_where_the_target_is_predicted(family: str) -> None:
    scorer = scorer_of(family)
    found = {name: by(name, scorer) for name in ("attention", "attention_last")}
    prompt, answer = ids_of(scorer, found["attention"])
    read = eager(scorer, prompt + answer[:2])
    rows, length = slice(-2, None), len(prompt)  # they predict answer tokens 1 and 2
    everywhere = read.mean((0, 1))[rows, :length].mean(0)
    assert numbers(found["attention"]) == pytest.approx(everywhere, abs=1e-5)
    last = read[-1].mean(0)[rows, :length].mean(0)
    assert numbers(found["attention_last"]) == pytest.approx(last, abs=1e-5)
    assert scorer._model.config._attn_implementation != "eager", "the model is left as it was"


def test_rollout_multiplies_attention_and_the_residual_stream() -> None:
    scorer = scorer_of("llama")
    found = by("attention_rollout", scorer)
    prompt, answer = ids_of(scorer, found)
    first, second = eager(scorer, prompt + answer[:2]).mean(1)
    identity = np.eye(len(first))
    rolled = (0.5 * second + 0.5 * identity) @ (0.5 * first + 0.5 * identity)
    expected = rolled[-2:, : len(prompt)].mean(0)
    assert numbers(found) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_of_an_encoder_decoder_cross_attention_is_read(family: str) -> None:
    scorer = scorer_of(family)
    found = by("attention", scorer)
    prompt, answer = ids_of(scorer, found)
    model = scorer_of(family)._model
    model.set_attn_implementation("eager")
    with torch.no_grad():
        output = model(
            input_ids=torch.tensor([prompt]),
            decoder_input_ids=torch.tensor([[*scorer._opening, *answer[:2]]]),
            output_attentions=True,
        )
    read = torch.stack([layer[0] for layer in output.cross_attentions]).double().numpy()
    expected = read.mean((0, 1))[-2:].mean(0)
    free = unit_sums(build_prompt(PROMPT, scorer.tokenizer), expected)
    assert numbers(found) == pytest.approx(free, abs=1e-5)


# --- What a model cannot give ---------------------------------------------------------------------


def test_every_model_says_what_it_cannot_give() -> None:
    without = {
        "gpt2": set(),
        "mamba": {"attention", "attention_last", "attention_rollout"},
        "t5": {"attention_rollout"},
    }
    for family, names in without.items():
        scorer = scorer_of(family)
        assert {method.name for method in METHODS if method.can(scorer)} == names
    assert "layers without attention" in str(method_named("attention").can(scorer_of("mamba")))
    assert "two, an encoder and a decoder" in str(method_named("attention_rollout").can(scorer))


def test_too_long_for_all_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = scorer_of("gpt2")
    monkeypatch.setattr("reagent_core.scorers.eager.free_bytes", lambda device: 10_000)
    with pytest.raises(OutOfMemory, match="Shorten the prompt"):
        by("attention", scorer)


@pytest.mark.parametrize("method", [method.name for method in INSIDE])
def test_words_are_the_sums_of_their_tokens(method: str) -> None:
    scorer = scorer_of("gpt2")
    tokens = by(method, scorer)
    words = by(method, scorer, config=Config(granularity="word"))
    assert load(dump(words)) == words
    assert 1 < len(words.units) < len(tokens.units)
    for word in words.units:
        parts = [u.attribution for u in tokens.units if word.start <= u.start < word.end]
        assert word.attribution == pytest.approx(sum(parts), abs=1e-5)
    assert sum(unit.score for unit in words.units) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("method", ["input_x_gradient", "attention"])
def test_what_was_answered_before_can_be_context(method: str) -> None:
    found = by(method, scorer_of("gpt2"), attribute_answer=True)
    alone = by(method, scorer_of("gpt2"))
    assert len(found.units) == len(alone.units) + 1
    assert numbers(found)[:-1] == pytest.approx(numbers(alone), abs=1e-4)
    with pytest.raises(InputError, match="Leave the answer out of the context"):
        by(method, scorer_of("t5"), attribute_answer=True)
