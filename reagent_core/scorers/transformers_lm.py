"""A transformers causal language model as a `Scorer`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from reagent_core.errors import Cancelled
from reagent_core.explanation import Alternative, ModelInfo
from reagent_core.scorers.base import (
    BoolArray,
    FloatArray,
    GeneratedToken,
    IntArray,
    Predictions,
    TokenScores,
    never,
)
from reagent_core.scorers.hf_tokenizer import HFTokenizer

# One forward call takes about this many tokens: enough to fill two cores, and short enough
# (about a second on them) that a cancel or a picture never waits long.
TOKENS_PER_FORWARD = 1024

# Positions whose vocabulary-wide logits are held at once when predicting replacements.
_POSITIONS_AT_ONCE = 512

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

    def batch_size(self, length: int) -> int:
        """Sequences of `length` tokens that make one forward call."""
        return max(1, TOKENS_PER_FORWARD // length)

    @torch.inference_mode()
    def score(self, contexts: IntArray, continuation: Sequence[int], start: int) -> TokenScores:
        """One forward over [context | continuation]; only the read positions meet the head."""
        batch = len(contexts)
        read = len(continuation) - start
        given = np.tile(np.asarray(continuation[:-1], np.int64), (batch, 1))
        input_ids = torch.from_numpy(np.concatenate([contexts, given], axis=1))
        logits = self._logits(input_ids, read).float()  # [B, M, V], fp32 whatever the weights are
        targets = torch.tensor(list(continuation[start:]), device=logits.device)
        chosen = logits.gather(2, targets.expand(batch, read).unsqueeze(2))  # [B, M, 1]
        log_probabilities = chosen.squeeze(2) - logits.logsumexp(2)
        ranks = (logits > chosen).sum(2) + 1  # a count, not a sort
        return TokenScores(
            log_probabilities.double().cpu().numpy(), ranks.to(torch.int64).cpu().numpy()
        )

    @torch.inference_mode()
    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        """Left-context predictions; the first position is predicted as a paragraph's first word."""
        first = self._first_words(k, allowed)
        tops = [first]
        for low in range(0, len(token_ids) - 1, _POSITIONS_AT_ONCE):
            high = min(low + _POSITIONS_AT_ONCE, len(token_ids) - 1)
            tops.append(self._top(token_ids[:high], list(range(low, high)), k, allowed))
        return Predictions(
            np.concatenate([ids for ids, _ in tops]), np.concatenate([p for _, p in tops])
        )

    def _first_words(self, k: int, allowed: BoolArray) -> tuple[IntArray, FloatArray]:
        """Words that begin a paragraph. Without any context models predict debris ("-", "#")."""
        # The word after it decides how the blank line is tokenized, so one is there, and dropped.
        opening = self._tokenizer.encode(_OPENING + "A", add_special_tokens=True).token_ids[:-1]
        count = min(_OPENING_CANDIDATES, int(allowed.sum()))
        ids, probabilities = self._top(opening, [len(opening) - 1], count, allowed)
        words = [self._tokenizer.decode([i]).isalpha() for i in ids[0].tolist()]
        order = np.argsort(~np.array(words), kind="stable")[:k]  # words first, then the rest
        return ids[:, order], probabilities[:, order]

    def _top(
        self, token_ids: Sequence[int], positions: list[int], k: int, allowed: BoolArray
    ) -> tuple[IntArray, FloatArray]:
        logits = self._logits(torch.tensor([list(token_ids)]), torch.tensor(positions))[0].float()
        probabilities = logits.softmax(-1)
        mask = torch.zeros(logits.shape[-1], dtype=torch.bool)
        mask[: len(allowed)] = torch.from_numpy(allowed[: len(mask)])
        top = probabilities.masked_fill(~mask.to(logits.device), -1.0).topk(k, dim=-1)
        return top.indices.cpu().numpy(), top.values.clamp(min=0.0).double().cpu().numpy()

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

    def _logits(self, input_ids: torch.Tensor, keep: int | torch.Tensor) -> torch.Tensor:
        device = self._model.device
        if isinstance(keep, torch.Tensor):
            keep = keep.to(device)
        return self._model(
            input_ids=input_ids.to(device), use_cache=False, logits_to_keep=keep
        ).logits
