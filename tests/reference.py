"""The method as a plain loop: one probe, one step, one sequence at a time, nothing shared.

Follows DESIGN section 3 line by line. The fast core must give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from reagent_core.config import Config
from reagent_core.masks import initial_scores, replacement_draws, stop_test_draws, unit_mask
from reagent_core.prompt import Prompt
from reagent_core.replacers.base import Substitute
from reagent_core.scorers.base import Scorer, TokenScores


class Plain:
    """A model asked for one token after one context, all of its logits made and read.

    `logits` gives those [V] of what follows some tokens.
    """

    def __init__(self, logits: Callable[[list[int]], Any]) -> None:
        self.logits = logits

    def score(self, inputs: np.ndarray, targets: Sequence[int]) -> TokenScores:
        (context,), (target,) = inputs.tolist(), targets
        row = np.asarray(self.logits(context), np.float64)
        log_probability = row[target] - logsumexp(row)
        rank = 1 + int((row > row[target]).sum())
        return TokenScores(np.array([[log_probability]]), np.array([[rank]]))


@dataclass
class ReferenceStep:
    probe: int
    step: int
    replaced: list[int]
    token_ids: list[int]
    probability: float
    change: float
    scores: list[float]
    rank: int | None
    stopped: bool


def probability_and_rank(
    scorer: Scorer | Plain, ids: Sequence[int], target: Sequence[int]
) -> tuple[float, int]:
    """Joint probability of the target's tokens, in seven digits, and the worst of their ranks."""
    probability, worst = 1.0, 1
    for i, token in enumerate(target):
        context = np.array([[*ids, *target[:i]]], np.int64)
        scores = scorer.score(context, [token])
        probability *= math.exp(scores.log_probabilities[0, 0])
        worst = max(worst, int(scores.ranks[0, 0]))
    return float(f"{probability:.7g}"), worst


def replaced_ids(
    prompt: Prompt, substitute: Substitute, units: set[int], draws: np.ndarray
) -> list[int]:
    mask = np.zeros((1, len(prompt.token_ids)), bool)
    for unit in units:
        mask[0, list(prompt.units[unit].positions)] = True
    return substitute(mask, draws[None])[0].tolist()


def reference(
    scorer: Scorer | Plain,
    prompt: Prompt,
    substitute: Substitute,
    target: Sequence[int],
    config: Config,
) -> list[ReferenceStep]:
    """All steps of all probes, probe after probe."""
    free = list(prompt.free_units)
    n, length = len(free), len(prompt.token_ids)
    p_o, _ = probability_and_rank(scorer, prompt.token_ids, target)
    steps = []
    for probe in range(config.probes):
        scores = initial_scores(n, config, probe).tolist()
        for step in range(config.max_steps if n > 1 else config.min_steps):
            mask = unit_mask(n, config, probe, step)
            chosen = {free[i] for i in range(n) if mask[i]}
            draws = replacement_draws(n, length, config, probe, step)
            tried = replaced_ids(prompt, substitute, chosen, draws)
            p_r, _ = probability_and_rank(scorer, tried, target)
            d = p_o - p_r
            for i in range(n):
                change = d if mask[i] else -d
                odds = min(max((change + 1) / 2, 1e-6), 1 - 1e-6)
                weight = 1.0
                if config.weights == "centered":
                    weight = 1 - config.ratio if mask[i] else config.ratio
                scores[i] += weight * math.log(odds / (1 - odds))
            rank, stopped = None, False
            if n > 1 and step + 1 >= config.min_steps:
                kept = max(1, round(0.3 * n))
                order = sorted(range(n), key=lambda i: (-scores[i], i))
                rest = {free[i] for i in order[kept:]}
                ids = replaced_ids(prompt, substitute, rest, stop_test_draws(length, config, probe))
                _, rank = probability_and_rank(scorer, ids, target)
                stopped = rank <= config.top_k
            steps.append(
                ReferenceStep(
                    probe, step, sorted(chosen), tried, p_r, d, list(scores), rank, stopped
                )
            )
            if stopped:
                break
    return steps
