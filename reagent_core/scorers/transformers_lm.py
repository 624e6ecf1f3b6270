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
)

from reagent_core.errors import OutOfMemory
from reagent_core.request import ModelInfo
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
from reagent_core.scorers.eager import check_room, eager_copy, mean_over_heads
from reagent_core.scorers.greedy import end_ids, greedy_answer
from reagent_core.scorers.hf_tokenizer import HFTokenizer
from reagent_core.scorers.local import LocalScorer
from reagent_core.scorers.logits import best, distributions, log_probabilities_of, scores_of
from reagent_core.scorers.memory import (
    lack_of_memory_told,
    positions_at_once,
    sequences_at_once,
)
from reagent_core.scorers.shared_prefix import continued, croppable, goes_on, run_prefix

# What stands before a prompt's first token when a replacement for it is predicted, and how many
# predictions are looked through for words.
_OPENING = "The end.\n\n"
_OPENING_CANDIDATES = 200


class TransformersScorer(LocalScorer):
    """A causal LM in eval mode with its fast tokenizer. Safe to share between threads."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, info: ModelInfo
    ) -> None:
        self._model = model.eval()
        self._tokenizer = HFTokenizer(tokenizer)
        self._info = info
        self._end_ids = end_ids(model, tokenizer)
        self._shares_prefix: bool | None = None  # found out when it is first wanted
        self._openings: dict[tuple[int, bytes], tuple[IntArray, FloatArray]] = {}  # no prompt's own
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
        """The cache after `token_ids`, or after the frozen ones where no cache can be cut; None
        where there is no room for it, either."""
        if len(token_ids) < LEAST_SHARED or not self._goes_on(token_ids):
            return None
        try:
            with lack_of_memory_told():
                cache = run_prefix(self._model, token_ids)
                if croppable(cache):
                    return Prefix(tuple(token_ids), cache, True)
                if frozen < LEAST_SHARED:
                    return None
                own = token_ids[:frozen]
                return Prefix(tuple(own), run_prefix(self._model, own), False)
        except OutOfMemory:
            return None

    @torch.inference_mode()
    def score(
        self, inputs: IntArray, targets: Sequence[int], prefix: Prefix | None = None
    ) -> TokenScores:
        """One forward; only the read positions meet the head, in fp32 whatever the weights are."""
        places = inputs.shape[1] - len(targets)
        if not targets or places < 0:
            raise ValueError("every target needs a place of its own")
        skipped = prefix.usable(int(prefix.shared_with(inputs).min()), places) if prefix else 0
        with lack_of_memory_told():
            cache = continued(prefix.state, len(inputs), skipped) if prefix and skipped else None
            logits = self._logits(torch.from_numpy(inputs[:, skipped:]), len(targets), cache)
            return scores_of(logits, targets)

    @torch.inference_mode()
    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        """Left-context predictions; the first position is predicted as a paragraph's first word."""
        size = positions_at_once(self._model)
        while True:
            try:
                with lack_of_memory_told():
                    tops = [self._first_words(k, allowed)]
                    tops += self._following(list(token_ids[:-1]), size, k, allowed)
                break
            except OutOfMemory:
                size = min(size, len(token_ids)) // 2
                if not size:
                    raise
        return Predictions(
            np.concatenate([ids for ids, _ in tops]), np.concatenate([p for _, p in tops])
        )

    def _following(
        self, ids: list[int], size: int, k: int, allowed: BoolArray
    ) -> list[tuple[IntArray, FloatArray]]:
        """What follows each of `ids`, for `size` of them at once."""
        tops, cache = [], None
        if len(ids) > size and self._goes_on(ids):
            cache = DynamicCache(config=self._model.config)  # each part goes on from the last
        for low in range(0, len(ids), size):
            high = min(low + size, len(ids))
            begin = 0 if cache is None else low
            places = torch.arange(low - begin, high - begin)
            logits = self._logits(torch.tensor([ids[begin:high]]), places, cache)[0]
            tops.append(best(logits, k, allowed))
        return tops

    def _goes_on(self, token_ids: Sequence[int]) -> bool:
        """Whether this model goes on from a cache as it would from the text; tried once, and again
        where there was no room to try it."""
        if self._shares_prefix is None:
            try:
                with lack_of_memory_told():
                    self._shares_prefix = goes_on(self._model, token_ids[: 4 * LEAST_SHARED])
            except OutOfMemory:
                return False
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
        ids, probabilities = best(logits, count, allowed)
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
        input_ids = torch.tensor([list(token_ids)], device=self._model.device)
        inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
        return greedy_answer(
            self._model, inputs, max_new_tokens, self._end_ids, self._tokenizer.decode, cancelled
        )

    @property
    def embedding_width(self) -> int:
        """Elements of a token's embedding."""
        return int(self._model.get_input_embeddings().weight.shape[1])

    @torch.inference_mode()
    def next_tokens(self, token_ids: Sequence[int], reads: int, kept: BoolArray) -> FloatArray:
        """Next-token distributions [B, reads, V] with elements of the embeddings zeroed."""
        ids = torch.tensor(list(token_ids), device=self._model.device)
        with lack_of_memory_told():
            mask = torch.from_numpy(kept).to(ids.device)
            embedded = self._model.get_input_embeddings()(ids) * mask
            output = self._model(inputs_embeds=embedded, use_cache=False, logits_to_keep=reads)
            return distributions(output.logits.float())

    @property
    def reference_id(self) -> int | None:
        """The token that stands for nothing known."""
        return self._tokenizer.reference_id

    def embedded(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Embeddings [1, S, E] of S tokens."""
        ids = torch.tensor([list(token_ids)], device=self._model.device)
        embeddings: torch.Tensor = self._model.get_input_embeddings()(ids)
        return embeddings.detach()

    def log_probabilities(
        self, embedded: torch.Tensor, said: Sequence[int], targets: Sequence[int]
    ) -> torch.Tensor:
        """Log-probabilities [B, M] of tokens read at the last M places, with their gradient.

        `embedded` [B, S, E]: the context; the tokens `said` follow it.
        """
        with lack_of_memory_told():
            if said:
                follows = self.embedded(said).expand(len(embedded), -1, -1)
                embedded = torch.cat([embedded, follows], dim=1)
            output = self._model(
                inputs_embeds=embedded.to(self._model.dtype),
                use_cache=False,
                logits_to_keep=len(targets),
            )
            return log_probabilities_of(output.logits.float(), targets)

    @torch.inference_mode()
    def attentions(self, token_ids: Sequence[int], said: Sequence[int]) -> FloatArray:
        """Attention [layers, S, S] over all tokens, S of them, the mean over heads.

        Raises:
            InputError: some layer has none.
            OutOfMemory: there is no room for all.
        """
        ids = torch.tensor([[*token_ids, *said]], device=self._model.device)
        check_room(self._model, ids.shape[1])
        with lack_of_memory_told():
            output = eager_copy(self._model)(
                input_ids=ids, use_cache=False, output_attentions=True, logits_to_keep=1
            )
            told = mean_over_heads(getattr(output, "attentions", None))
            return told.cpu().double().numpy()

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
