"""A transformers causal language model as a `Scorer`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import (
    DynamicCache,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from reagent_core.errors import Cancelled, OutOfMemory
from reagent_core.explanation import Alternative, ModelInfo
from reagent_core.scorers.base import (
    LEAST_SHARED,
    BoolArray,
    FloatArray,
    GeneratedToken,
    IntArray,
    Predictions,
    Prefix,
    TokenScores,
    never,
)
from reagent_core.scorers.hf_tokenizer import HFTokenizer
from reagent_core.scorers.memory import is_out_of_memory, positions_at_once, sequences_at_once
from reagent_core.scorers.shared_prefix import continued, croppable, goes_on, run_prefix

# What stands before a prompt's first token when a replacement for it is predicted, and how many
# predictions are looked through for words.
_OPENING = "The end.\n\n"
_OPENING_CANDIDATES = 200


class TransformersScorer:
    """A causal LM in eval mode with its fast tokenizer. Safe to share between threads."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, info: ModelInfo
    ) -> None:
        self._model = model.eval()
        self._tokenizer = HFTokenizer(tokenizer)
        self._info = info
        eos = model.generation_config.eos_token_id if model.generation_config else None
        named = eos if isinstance(eos, list) else [eos]
        self._end_ids = sorted({i for i in (*named, tokenizer.eos_token_id) if i is not None})
        self._shares_prefix: bool | None = None  # found out when it is first wanted
        self._openings: dict[tuple[int, bytes], tuple[IntArray, FloatArray]] = {}  # no prompt's own
        self._pad_id = self._end_ids[0] if self._end_ids else 0
        # Plain greedy decoding: what a call leaves open is filled in from here, and a model's own
        # penalties would choose tokens that its probabilities do not explain.
        model.generation_config = GenerationConfig()

    @property
    def info(self) -> ModelInfo:
        """Which model this is."""
        return self._info

    @property
    def tokenizer(self) -> HFTokenizer:
        """Its tokenizer."""
        return self._tokenizer

    @property
    def context_length(self) -> int:
        """Longest sequence in tokens, as its config says; very large where it names none."""
        return int(getattr(self._model.config, "max_position_embeddings", None) or 2**20)

    def batch_size(self, length: int, reads: int, shared: int = 0) -> int:
        """Sequences of `length` tokens that make one forward call and fit into memory."""
        return sequences_at_once(self._model, length, reads, shared)

    @torch.inference_mode()
    def prefix(self, token_ids: Sequence[int], frozen: int) -> Prefix | None:
        """The cache after `token_ids`, or after the frozen ones where no cache can be cut."""
        if len(token_ids) < LEAST_SHARED:
            return None
        if not self._goes_on(token_ids):
            return None
        cache = run_prefix(self._model, token_ids)
        if croppable(cache):
            return Prefix(tuple(token_ids), cache, True)
        if frozen < LEAST_SHARED:
            return None
        return Prefix(tuple(token_ids[:frozen]), run_prefix(self._model, token_ids[:frozen]), False)

    @torch.inference_mode()
    def score(
        self, inputs: IntArray, targets: Sequence[int], prefix: Prefix | None = None
    ) -> TokenScores:
        """One forward; only the read positions meet the head, in fp32 whatever the weights are."""
        places = inputs.shape[1] - len(targets)
        if not targets or places < 0:
            raise ValueError("every target needs a place of its own")
        skipped = prefix.usable(int(prefix.shared_with(inputs).min()), places) if prefix else 0
        wanted = torch.tensor(list(targets), device=self._model.device)
        try:
            cache = continued(prefix.state, len(inputs), skipped) if prefix and skipped else None
            logits = self._logits(torch.from_numpy(inputs[:, skipped:]), len(targets), cache)
            chosen = logits.gather(2, wanted.expand(len(inputs), -1).unsqueeze(2))  # [B, M, 1]
            log_probabilities = chosen.squeeze(2) - logits.logsumexp(2)
            ranks = (logits > chosen).sum(2) + 1  # a count, not a sort
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(
                "There is not enough memory for this prompt. Shorten it, or close other programs."
            ) from None  # the traceback would keep what has to be freed
        return TokenScores(log_probabilities.cpu().double().numpy(), ranks.cpu().numpy())

    @torch.inference_mode()
    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        """Left-context predictions; the first position is predicted as a paragraph's first word."""
        tops = [self._first_words(k, allowed)]
        size = positions_at_once(self._model)
        ids, cache = list(token_ids[:-1]), None
        if len(ids) > size and self._goes_on(ids):
            cache = DynamicCache(config=self._model.config)  # each part goes on from the last
        for low in range(0, len(ids), size):
            high = min(low + size, len(ids))
            begin = 0 if cache is None else low
            places = torch.arange(low - begin, high - begin)
            logits = self._logits(torch.tensor([ids[begin:high]]), places, cache)[0]
            tops.append(_best(logits, k, allowed))
        return Predictions(
            np.concatenate([ids for ids, _ in tops]), np.concatenate([p for _, p in tops])
        )

    def _goes_on(self, token_ids: Sequence[int]) -> bool:
        """Whether this model goes on from a cache as it would from the text; tried once."""
        if self._shares_prefix is None:
            self._shares_prefix = goes_on(self._model, token_ids[: 4 * LEAST_SHARED])
        return self._shares_prefix

    def _first_words(self, k: int, allowed: BoolArray) -> tuple[IntArray, FloatArray]:
        """Words that begin a paragraph. Without any context models predict debris ("-", "#")."""
        known = self._openings.get((k, allowed.tobytes()))
        if known is not None:
            return known
        # The word after it decides how the blank line is tokenized, so one is there, and dropped.
        opening = self._tokenizer.encode(_OPENING + "A", add_special_tokens=True).token_ids[:-1]
        count = min(_OPENING_CANDIDATES, int(allowed.sum()))
        logits = self._logits(torch.tensor([list(opening)]), 1)[0]
        ids, probabilities = _best(logits, count, allowed)
        words = [self._tokenizer.decode([i]).isalpha() for i in ids[0].tolist()]
        order = np.argsort(~np.array(words), kind="stable")[:k]  # words first, then the rest
        found = (ids[:, order], probabilities[:, order])
        self._openings[k, allowed.tobytes()] = found
        return found

    @torch.inference_mode()
    def generate(
        self,
        token_ids: Sequence[int],
        max_new_tokens: int,
        cancelled: Callable[[], bool] = never,
    ) -> tuple[GeneratedToken, ...]:
        """Greedy decoding with each token's probability and its five strongest rivals."""

        class StopWhenCancelled(StoppingCriteria):
            def __call__(
                self, input_ids: torch.Tensor, scores: object, **_: object
            ) -> torch.Tensor:
                return torch.full((len(input_ids),), cancelled(), device=input_ids.device)

        input_ids = torch.tensor([list(token_ids)], device=self._model.device)
        output = self._model.generate(
            input_ids,
            attention_mask=torch.ones_like(input_ids),
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=max_new_tokens,
                eos_token_id=self._end_ids or None,
                pad_token_id=self._pad_id,
                output_logits=True,
                return_dict_in_generate=True,
            ),
            stopping_criteria=StoppingCriteriaList([StopWhenCancelled()]),
        )
        if cancelled():
            raise Cancelled("Stopped before the model had answered.")
        tokens = []
        new_ids = output.sequences[0, len(token_ids) :].tolist()
        for token_id, logits in zip(new_ids, output.logits, strict=True):
            if token_id in self._end_ids:
                break
            probabilities = logits[0].float().softmax(-1)
            top = probabilities.topk(6)
            rivals = [
                Alternative(text=self._tokenizer.decode([i]), probability=p)
                for i, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)
                if i != token_id
            ]
            tokens.append(
                GeneratedToken(token_id, float(probabilities[token_id]), tuple(rivals[:5]))
            )
        return tuple(tokens)

    def _logits(
        self, input_ids: torch.Tensor, keep: int | torch.Tensor, cache: Any = None
    ) -> torch.Tensor:
        """Logits [B, kept positions, vocabulary] in fp32."""
        device = self._model.device
        if isinstance(keep, torch.Tensor):
            keep = keep.to(device)
        shared = {} if cache is None else {"past_key_values": cache}
        output = self._model(
            input_ids=input_ids.to(device),
            use_cache=cache is not None,
            logits_to_keep=keep,
            **shared,
        )
        logits: torch.Tensor = output.logits.float()
        return logits


def _best(logits: torch.Tensor, k: int, allowed: BoolArray) -> tuple[IntArray, FloatArray]:
    """Ids and probabilities [P, k] of the likeliest allowed tokens, from logits [P, V]."""
    mask = torch.zeros(logits.shape[-1], dtype=torch.bool)
    mask[: len(allowed)] = torch.from_numpy(allowed[: len(mask)])
    top = logits.masked_fill(~mask.to(logits.device), -torch.inf).topk(k, dim=-1)
    probabilities = (top.values - logits.logsumexp(-1, keepdim=True)).exp()
    return top.indices.cpu().numpy(), probabilities.cpu().double().numpy()
