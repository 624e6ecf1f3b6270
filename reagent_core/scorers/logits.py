"""What is read off a model's logits: scores of given tokens, and the likeliest ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from reagent_core.scorers.base import BoolArray, FloatArray, IntArray, TokenScores


def scores_of(logits: torch.Tensor, targets: Sequence[int]) -> TokenScores:
    """Scores of M tokens, target m at place m of each of B sequences; `logits` [B, M, V] fp32."""
    wanted = torch.tensor(list(targets), device=logits.device)
    chosen = logits.gather(2, wanted.expand(len(logits), -1).unsqueeze(2))  # [B, M, 1]
    log_probabilities = chosen.squeeze(2) - logits.logsumexp(2)
    ranks = (logits > chosen).sum(2) + 1  # a count, not a sort
    return TokenScores(log_probabilities.cpu().double().numpy(), ranks.cpu().numpy())


def log_probabilities_of(logits: torch.Tensor, targets: Sequence[int]) -> torch.Tensor:
    """Log-probabilities [B, M] (nats) of M tokens from logits [B, M, V], with their gradient."""
    wanted = torch.tensor(list(targets), device=logits.device).expand(len(logits), -1)
    told: torch.Tensor = logits.log_softmax(2).gather(2, wanted.unsqueeze(2)).squeeze(2)
    return told


def best(logits: torch.Tensor, k: int, allowed: BoolArray) -> tuple[IntArray, FloatArray]:
    """Ids and probabilities [P, k] of the likeliest allowed tokens, from logits [P, V]."""
    mask = torch.zeros(logits.shape[-1], dtype=torch.bool)
    mask[: len(allowed)] = torch.from_numpy(allowed[: len(mask)])
    top = logits.masked_fill(~mask.to(logits.device), -torch.inf).topk(k, dim=-1)
    probabilities = (top.values - logits.logsumexp(-1, keepdim=True)).exp()
    return top.indices.cpu().numpy(), probabilities.cpu().double().numpy()


def distributions(logits: torch.Tensor) -> FloatArray:
    """Probabilities [..., V] of the whole vocabulary, from logits [..., V] fp32."""
    return logits.softmax(-1).cpu().double().numpy()
