"""The scorer on a tiny model of every family: with a shared prefix, in half precision, short of
memory, it gives what a plain forward over the whole sequence gives."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from reagent_core.config import Config
from reagent_core.errors import OutOfMemory
from reagent_core.explain import explain_now
from reagent_core.meter import Meter
from reagent_core.request import AnswerTokens, Request
from reagent_core.scorers import transformers_lm
from reagent_core.scorers.base import IntArray, TokenScores
from reagent_core.scorers.devices import best_device, weights_dtype
from reagent_core.scorers.memory import free_bytes, is_out_of_memory
from reagent_core.scorers.transformers_lm import TransformersScorer
from reagent_core.target import Targets
from tests.tiny_models import FAMILIES, VOCABULARY, tiny_scorer

LENGTH = 60
TARGETS = [7, 11, 13]


def sequences(frozen: int, count: int = 5) -> tuple[list[int], IntArray]:
    """A prompt, and sequences that share its first `frozen` tokens, or one more and one more."""
    rng = np.random.default_rng(1)
    prompt = rng.integers(1, VOCABULARY, LENGTH)
    rows = np.tile(prompt, (count, 1))
    for i in range(count):
        rows[i, frozen + i :] = rng.integers(1, VOCABULARY, LENGTH - frozen - i)
    return prompt.tolist(), rows


def plainly(scorer: TransformersScorer, rows: IntArray) -> np.ndarray:
    """Log-probabilities of TARGETS at the last places, from all logits of one row at a time."""
    with torch.inference_mode():
        logits = [scorer._model(torch.from_numpy(row[None])).logits[0].float() for row in rows]
    last = torch.stack(logits)[:, -len(TARGETS) :].log_softmax(-1)
    return last[:, range(len(TARGETS)), TARGETS].numpy()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("frozen", [30, 50, LENGTH - 3])
def test_a_shared_prefix_changes_nothing(family: str, frozen: int) -> None:
    scorer = tiny_scorer(family)
    prompt, rows = sequences(frozen, 3)
    prefix = scorer.prefix(prompt, frozen)
    found = scorer.score(rows, TARGETS, prefix)
    assert found.log_probabilities == pytest.approx(plainly(scorer, rows), abs=1e-4)
    # The prefix is nobody's in particular: a second batch finds it as it was.
    again = scorer.score(rows[:1], TARGETS, prefix)
    assert again.log_probabilities == pytest.approx(found.log_probabilities[:1], abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_with_attention_goes_on_from_a_prefix(family: str) -> None:
    """Full attention from any part of it, sliding windows from where it ends, Mamba not at all."""
    prefix = tiny_scorer(family).prefix(sequences(40)[0], 40)
    if family == "mamba":
        assert prefix is None
        return
    assert prefix is not None
    windowed = family in ("mistral", "gemma2", "gemma3")
    assert (prefix.croppable, len(prefix.token_ids)) == ((False, 40) if windowed else (True, 60))


def test_a_prefix_is_used_as_far_as_it_is_shared_and_never_past_what_is_read() -> None:
    prompt, rows = sequences(30)
    prefix = tiny_scorer("llama").prefix(prompt, 0)
    assert prefix is not None
    assert (prefix.shared_with(rows) >= 30 + np.arange(5)).all()
    assert prefix.shared_with(np.array([prompt]))[0] == LENGTH
    assert prefix.usable(60, 57) == 57
    assert prefix.usable(31, 57) == 31
    assert prefix.usable(15, 57) == 0  # not worth it


def test_a_long_prompt_gets_the_same_from_its_cache_and_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Coarse to fine, with every sequence going on from the part of the prompt it shares."""
    sentence = "The capital of France is Paris, and it is in the middle of the city. "
    request = Request(
        prompt=sentence * 15,
        target=AnswerTokens(),
        max_new_tokens=1,
        config=Config(selection="balanced", ratio=0.04, probes=2, min_steps=10, max_steps=10),
    )
    cached = explain_now(request, tiny_scorer("llama"))
    monkeypatch.setattr("reagent_core.explain.LONG_PROMPT", 10_000)
    plain = explain_now(request, tiny_scorer("llama"))
    assert any(unit.coarse for unit in plain.units)
    assert cached.counts.tokens < 0.7 * plain.counts.tokens
    assert [unit.text for unit in cached.units] == [unit.text for unit in plain.units]
    for one, other in zip(cached.trace, plain.trace, strict=True):
        assert one.replacements == other.replacements
        assert one.value == pytest.approx(other.value, abs=1e-4)
        assert one.scores == pytest.approx(other.scores, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_give_fp32_probabilities(dtype: torch.dtype) -> None:
    _, rows = sequences(30)
    found = tiny_scorer("llama", dtype).score(rows, TARGETS)
    exact = tiny_scorer("llama").score(rows, TARGETS)
    assert found.log_probabilities.dtype == np.float64
    assert found.log_probabilities == pytest.approx(exact.log_probabilities, abs=0.3)
    # Eight bits of bfloat16 would leave values of a coarse grid.
    assert len(np.unique(found.log_probabilities)) == found.log_probabilities.size


def test_half_precision_only_where_it_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights_dtype(torch.device("cpu")) == torch.float32
    assert weights_dtype(torch.device("mps")) == torch.float16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert weights_dtype(torch.device("cuda")) == torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert weights_dtype(torch.device("cuda")) == torch.float16


def test_a_gpu_is_taken_before_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert best_device().type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert best_device().type == "cuda"


class Narrow(TransformersScorer):
    """Has room for two sequences at once, whatever it believed."""

    widths: list[int]

    def batch_size(self, length: int, reads: int, shared: int = 0) -> int:
        return 16

    def score(self, inputs: IntArray, *arguments: object) -> TokenScores:
        self.widths.append(len(inputs))
        if len(inputs) > 2:
            raise OutOfMemory("Too many.")
        return super().score(inputs, *arguments)


def test_a_batch_that_does_not_fit_is_halved_and_the_run_goes_on() -> None:
    scorer, plain = tiny_scorer("llama"), tiny_scorer("llama")
    scorer.__class__ = Narrow
    scorer.widths = []
    _, rows = sequences(30, 16)
    targets = Targets(tuple(TARGETS), ((0, 3),))
    found = Meter(scorer, targets).read(rows)
    assert found.values == pytest.approx(Meter(plain, targets).read(rows).values, abs=1e-4)
    assert scorer.widths == [16, 8, 4] + [2] * 8  # found once, kept for the rest of the run


def test_one_sequence_that_does_not_fit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = tiny_scorer("llama")

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(scorer._model, "forward", full)
    with pytest.raises(OutOfMemory, match="not enough memory for this prompt"):
        Meter(scorer, Targets((7,), ((0, 1),))).read(sequences(30)[1])


def short_of_memory(
    scorer: TransformersScorer, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """From now on a forward over more than `most` places whose logits are made does not fit."""
    forward = scorer._model.forward

    @functools.wraps(forward)
    def narrow(*arguments: object, **named: Any) -> object:
        keep = named.get("logits_to_keep", 0)
        if (len(keep) if isinstance(keep, torch.Tensor) else keep or LENGTH) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(*arguments, **named)

    monkeypatch.setattr(scorer._model, "forward", narrow)


def test_without_room_for_a_prefix_there_is_none_this_time(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, _ = sequences(30)
    for tried_before in (False, True):
        scorer = tiny_scorer("llama")
        if tried_before:
            assert scorer.prefix(prompt, 30) is not None
        with monkeypatch.context() as patch:
            short_of_memory(scorer, patch, 0)
            assert scorer.prefix(prompt, 30) is None
        assert scorer.prefix(prompt, 30) is not None


def test_predictions_that_do_not_fit_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, (prompt, _) = tiny_scorer("llama"), sequences(30)
    allowed = np.arange(VOCABULARY) > 5
    whole = scorer.predict(prompt, 4, allowed)
    short_of_memory(scorer, monkeypatch, 10)
    parts = scorer.predict(prompt, 4, allowed)
    assert (parts.token_ids == whole.token_ids).all()
    assert parts.probabilities == pytest.approx(whole.probabilities, abs=1e-5)
    short_of_memory(scorer, monkeypatch, 0)
    with pytest.raises(OutOfMemory, match="not enough memory for this prompt"):
        scorer.predict(prompt, 4, allowed)


def test_an_answer_that_does_not_fit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = tiny_scorer("llama")
    short_of_memory(scorer, monkeypatch, 0)
    with pytest.raises(OutOfMemory, match="not enough memory for this prompt"):
        scorer.generate(sequences(30)[0], 3)


def test_what_torch_keeps_for_later_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2_000, 10_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 7_000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1_000)
    assert free_bytes(gpu) == 8_000


def test_other_errors_are_no_lack_of_memory() -> None:
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_little_memory_makes_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = tiny_scorer("llama")
    assert scorer.batch_size(32, 1) == 32  # 1,024 tokens
    assert scorer.batch_size(96, 1, shared=64) == 32  # what is in a cache costs no time
    assert scorer.batch_size(32, 256) < 32 * 4
    free = {"bytes": 10_000_000}
    monkeypatch.setattr("reagent_core.scorers.memory.free_bytes", lambda device: free["bytes"])
    few = scorer.batch_size(32, 32)
    free["bytes"] = 0
    assert 1 < few < 32 and scorer.batch_size(32, 32) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_replacements_are_predicted_part_by_part_as_at_once(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, (prompt, _) = tiny_scorer(family), sequences(30)
    allowed = np.arange(VOCABULARY) > 5
    whole = scorer.predict(prompt, 4, allowed)
    assert whole.token_ids.shape == (LENGTH, 4) and whole.token_ids.min() > 5
    monkeypatch.setattr(transformers_lm, "positions_at_once", lambda model: 17)
    parts = scorer.predict(prompt, 4, allowed)
    assert (parts.token_ids == whole.token_ids).all()
    assert parts.probabilities == pytest.approx(whole.probabilities, abs=1e-5)


def test_no_logits_but_those_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of size [batch, length, vocabulary] is ever made."""
    scorer = tiny_scorer("llama")
    sizes: list[torch.Size] = []
    head = scorer._model.get_output_embeddings()
    head.register_forward_hook(lambda module, given, made: sizes.append(made.shape))
    scorer.score(sequences(30)[1], TARGETS)
    monkeypatch.setattr(transformers_lm, "positions_at_once", lambda model: 8)
    scorer.predict(sequences(30)[0], 3, np.ones(VOCABULARY, bool))
    assert sizes[0] == (5, 3, VOCABULARY)
    assert max(size[0] * size[1] for size in sizes) == 15
