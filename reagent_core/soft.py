"""Soft sufficiency and comprehensiveness: elements of token embeddings are zeroed at random.

Zhao & Aletras 2023 ("Incorporating attribution importance for improving faithfulness metrics",
ACL 2023), as Zhao & Shan 2024 (ReAGent, arXiv 2402.00794) took them over for generation: every
element of token i's embedding is kept with probability s_i (sufficiency) or 1 - s_i
(comprehensiveness); s_i in [0, 1] is the token's importance. Where the first paper takes the drop
of the predicted class's probability, the second takes the Hellinger distance H between the
next-token distributions, H(p, q) = ||sqrt(p) - sqrt(q)||_2 / sqrt(2) in [0, 1]. With H_0 for the
fully zeroed input:

    Soft-S  = 1 - H              Soft-NS = max(0, Soft-S - (1 - H_0)) / H_0 = max(0, H_0 - H) / H_0
    Soft-C  = H                  Soft-NC = H / H_0

Both are reported as they are (the higher the better) and as the logarithm of their ratio to those
of random scores, as in the second paper. Where the papers are silent or their code differs:

- A score is made an importance by setting what is below 0 to 0 and dividing by the largest. (The
  ReAGent code takes softmax scores as they are: of n tokens one on average is then kept.)
- Random scores are the same scores dealt out to the units at random. (The code draws a softmax of
  uniform numbers; but then flatter or sharper scores win by how much they zero: Huang & Chan 2026,
  arXiv 2601.03089.)
- What may not be replaced (template, system turn) is never zeroed, the "fully zeroed" input
  included. Every token of a unit has the unit's score.
- Of a target of several tokens the distances at all its places are averaged, each read after the
  tokens before it.
- The ReAGent code takes the squared norm for Soft-C and the Kullback-Leibler divergence for H_0 in
  some of its versions; here it is H throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from reagent_core.check import SoftMeasures
from reagent_core.errors import Cancelled, OutOfMemory
from reagent_core.faithfulness import estimate
from reagent_core.masks import Purpose, generator
from reagent_core.prompt import Prompt
from reagent_core.scorers.base import BoolArray, FloatArray, never
from reagent_core.target import LEAST_LOG_PROBABILITY, Targets

DRAWS = 5

# How much the target's value may differ between token ids and embeddings, in nats: more than
# rounding of half precision does is another computation.
_SAME = 0.1

# Why there are no soft measures: the model computes something else from embeddings than from token
# ids; it predicts the same when all is zeroed; no score is above 0.
NoSoft = Literal["other_from_embeddings", "same_when_zeroed", "nothing_important"]


@runtime_checkable
class EmbeddingScorer(Protocol):
    """A model in memory whose token embeddings can be changed."""

    @property
    def embedding_width(self) -> int:
        """Elements E of a token's embedding."""

    def batch_size(self, length: int, reads: int, shared: int = 0) -> int:
        """See `Scorer`."""

    def next_tokens(self, token_ids: Sequence[int], reads: int, kept: BoolArray) -> FloatArray:
        """Next-token distributions [B, reads, V] at the last `reads` places of one sequence.

        `kept` [B, S, E]: elements of the S tokens' embeddings that are kept; others are zero.

        Raises:
            OutOfMemory: there is no room for so many at once.
        """


def importance(scores: FloatArray) -> FloatArray:
    """Scores [n], in any unit, as importance [n] in [0, 1]: negative ones are 0, the largest is 1;
    all are 0 where none is above 0. Our own scale: the papers name none."""
    positive = np.maximum(scores, 0.0)
    largest = float(positive.max())
    return np.asarray(positive / largest) if largest > 0 else positive


def hellinger(p: FloatArray, q: FloatArray) -> FloatArray:
    """Hellinger distance [...] between distributions [..., V], in [0, 1] (Hellinger 1909; of next
    tokens Zhao & Shan 2024)."""
    difference = np.sqrt(p) - np.sqrt(q)
    return np.asarray(np.sqrt((difference**2).sum(-1) / 2))


def soft_measures(
    prompt: Prompt,
    targets: Targets,
    scores: FloatArray,
    scorer: EmbeddingScorer,
    value: float,
    seed: int,
    draws: int = DRAWS,
    cancelled: Callable[[], bool] = never,
) -> SoftMeasures | NoSoft:
    """Soft measures of scores [n] of the prompt's free units, or why there are none.

    `value`: the target's log-probability (nats) under the original prompt, from its token ids.

    What does not fit into memory is halved, and all later batches are as small.

    Raises:
        Cancelled: `cancelled()` became true between two forwards.
        OutOfMemory: not even one sequence fits.
    """
    start = targets.first
    read = targets.continuation[start:]
    ids = (*prompt.token_ids, *(() if targets.in_context else targets.continuation[:-1]))
    own = importance(scores)
    size = scorer.batch_size(len(ids), len(read))

    def distributions(kept: Sequence[tuple[FloatArray, int]]) -> Iterator[FloatArray]:
        """[B, reads, V] for a few at a time: elements kept at these probabilities [n] of the
        units, with the random numbers of a draw."""
        nonlocal size
        done = 0
        while done < len(kept):
            if cancelled():
                raise Cancelled("Stopped.")
            masks = np.stack([elements(*each) for each in kept[done : done + size]])
            try:
                found = scorer.next_tokens(ids, len(read), masks)
            except OutOfMemory:
                if len(masks) == 1:
                    raise
                size = len(masks) // 2
                continue
            done += len(masks)
            yield found

    def distances(kept: Sequence[tuple[FloatArray, int]]) -> FloatArray:
        """Distance [B] to the distributions of the whole input, mean over the places."""
        return np.concatenate([hellinger(full, part).mean(1) for part in distributions(kept)])

    def elements(kept: FloatArray, draw: int) -> BoolArray:
        shares = np.ones(len(ids))
        for column, unit in enumerate(prompt.free_units):
            shares[list(prompt.units[unit].positions)] = kept[column]
        shape = (len(ids), scorer.embedding_width)
        uniforms = generator(seed, Purpose.SOFT, draw).random(shape)
        return np.asarray(uniforms < shares[:, None])

    everything, nothing = np.ones(len(own)), np.zeros(len(own))
    full = next(distributions([(everything, 0)]))[0]
    with np.errstate(divide="ignore"):
        logs = np.log(full[np.arange(len(read)), read]).clip(LEAST_LOG_PROBABILITY)
    zeroed = float(distances([(nothing, 0)])[0])
    if abs(float(logs.sum()) - value) > _SAME * len(read):
        return "other_from_embeddings"
    if zeroed == 0:
        return "same_when_zeroed"
    if not own.any():
        return "nothing_important"
    measured = np.empty((draws, 4))
    for draw in range(draws):
        random = generator(seed, Purpose.SOFT_ORDER, draw).permutation(own)
        kept = [(own, draw), (1 - own, draw), (random, draw), (1 - random, draw)]
        measured[draw] = distances(kept) / zeroed
    measured[:, [0, 2]] = np.maximum(0.0, 1 - measured[:, [0, 2]])
    means = measured.mean(0).tolist()
    return SoftMeasures(
        sufficiency=estimate(measured[:, 0], 0.0, 1.0),
        comprehensiveness=estimate(measured[:, 1], 0.0),
        random_sufficiency=means[2],
        random_comprehensiveness=means[3],
        log_ratio_sufficiency=_log_ratio(means[0], means[2]),
        log_ratio_comprehensiveness=_log_ratio(means[1], means[3]),
        draws=draws,
    )


def _log_ratio(own: float, random: float) -> float | None:
    return math.log(own / random) if own > 0 and random > 0 else None
