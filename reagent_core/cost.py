"""What a run will cost, said before it starts: sequences through the model, and seconds.

A run's steps are known but for where it may stop, and how many of its replaced prompts are equal
and so scored once. The speed is measured on the machine.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from reagent_core.coarse import FINE_UNITS, OPENED, WINDOWS, goes_coarse_to_fine
from reagent_core.config import Config
from reagent_core.facts import FACT_DRAWS, FACT_UNITS, INNER_UNITS
from reagent_core.masks import round_steps
from reagent_core.prompt import Prompt
from reagent_core.reagent import chunk_size, times_larger
from reagent_core.replacers.reranked import FOLLOWING, LOOKED_AT
from reagent_core.request import AnswerTokens, Request, WholeAnswer
from reagent_core.scorers.base import Scorer

# How likely each of the model's ten proposals for a place is drawn, the likeliest first: means over
# all places of benchmarks/prompts.py, bundled model. They decide how soon a proposal comes again.
_PROPOSALS = np.array([0.434, 0.178, 0.105, 0.072, 0.055, 0.043, 0.036, 0.03, 0.026, 0.023])


@dataclass(frozen=True)
class Speed:
    """A scorer on this machine: seconds every forward takes, and tokens a second on top."""

    forward_seconds: float
    tokens_per_second: float


@dataclass(frozen=True)
class Cost:
    """`sequences`: forward passes in the everyday sense, each over one prompt.

    `seconds`: None for a server, whose speed is not known. `requests`: sent to it, 0 for a local
    model; `tokens`: in all these prompts, answer and replacements included.
    """

    seconds: float | None
    sequences: int
    requests: int
    tokens: int


def measure_speed(scorer: Scorer) -> Speed:
    """Two small forwards and two large ones, of which the faster count; about two seconds."""
    ids = np.asarray(scorer.tokenizer.ordinary_ids, np.int64)

    def seconds(batch: int, length: int) -> float:
        inputs = np.resize(ids, (batch, length))
        taken = []
        for _ in range(2):
            started = time.perf_counter()
            scorer.score(inputs, [int(ids[0])])
            taken.append(time.perf_counter() - started)
        return min(taken)

    small, large = seconds(1, 16), seconds(8, 64)
    rate = (8 * 64 - 16) / max(large - small, 1e-6)
    return Speed(max(small - 16 / rate, 0.0), rate)


def estimate(prompt: Prompt, request: Request, scorer: Scorer, speed: Speed | None) -> Cost:
    """The cost of `request`, whose prompt is `prompt`, if its answer is as long as it may be.

    A run that may stop early is taken to make the geometric mean of its fewest and most steps;
    the published stop test is taken never to pass. A masked model that makes the replacements is
    taken to be as fast as the explained one.
    """
    config, length, n = request.config, len(prompt.token_ids), len(prompt.free_units)
    whole = isinstance(request.target, WholeAnswer)
    answer = request.max_new_tokens if whole else 1
    if isinstance(request.target, AnswerTokens):
        answer = min(request.target.stop, request.max_new_tokens)
    targets = 1 + answer if whole and answer > 1 else 1
    first = prompt.units[prompt.free_units[0]].positions[0]
    # An encoder reads every token in the light of those behind it, so nothing is shared.
    shared = first if first >= 16 and not prompt.closed else 0
    sequences, tokens, forwards = 1.0, 0.0, 0.0
    if goes_coarse_to_fine(n, config):  # a sequence shares half of the prompt on average
        sequences += WINDOWS + OPENED * max(1, n // WINDOWS // 20)
        shared, n = 0 if prompt.closed else (first + length) // 2, FINE_UNITS
    width = length - shared + answer - 1
    size = scorer.batch_size(length + answer - 1, answer, shared)
    all_of_it = length + answer - 1
    larger = times_larger(scorer, scorer.batch_size(all_of_it, answer), all_of_it)
    distinct = _distinct_share(n, config)
    steps = _steps(n, config)
    # The prompt itself is read first.
    requests = scorer.requests_to_prepare(length) + scorer.requests_for(1, answer)
    start = 0
    while start < steps:
        made = min(chunk_size(start, config, larger), steps - start)
        fresh = made * config.probes * distinct
        forwards += math.ceil(fresh / size)
        requests += scorer.requests_for(math.ceil(fresh), answer)
        start += made
    sequences += config.probes * steps * distinct
    tests = config.probes * (min(targets, steps) if config.until == "settled" else steps / 2)
    asked = FACT_UNITS + (min(INNER_UNITS, answer) if whole else 0)
    draws = config.probes * steps / round_steps(n, config) if n / round_steps(n, config) < 2 else 0
    extra = tests * (n > 1) + asked * max(0.0, FACT_DRAWS - draws)
    sequences += extra
    requests += scorer.requests_for(math.ceil(extra), answer)
    forwards += extra / size + 2
    tokens += sequences * width
    # Before the steps: the prompt is read to answer it, and to predict replacements.
    forwards += request.max_new_tokens + 2
    tokens += 2 * length + request.max_new_tokens
    if config.replacer == "masked_lm":
        forwards, tokens = 2 * forwards, tokens + sequences * length
    elif config.replacer == "causal_lm_reranked":
        places = len(prompt.free_positions)
        forwards += places
        tokens += places * LOOKED_AT * FOLLOWING
        behind = (min(FOLLOWING, length - 1 - place) for place in prompt.free_positions)
        requests += sum(scorer.requests_for(LOOKED_AT, reads) for reads in behind if reads)
    seconds = None
    if speed is not None:
        seconds = forwards * speed.forward_seconds + tokens / speed.tokens_per_second
    return Cost(seconds, round(sequences), requests, round(tokens))


def _steps(n: int, config: Config) -> int:
    """Steps of every probe."""
    if n == 1:
        return config.min_steps
    if config.until == "settled":
        return round(math.sqrt(config.min_steps * config.max_steps))
    return config.max_steps


def _distinct_share(n: int, config: Config) -> float:
    """The share of a run's replaced prompts that are unlike all before."""
    rounds = round_steps(n, config)
    if config.selection != "balanced" or n / rounds >= 2 or config.replacer != "causal_lm":
        return 1.0
    draws = config.probes * _steps(n, config) / rounds
    return float(min(1.0, np.minimum(1.0, draws * _PROPOSALS).sum() / draws))
