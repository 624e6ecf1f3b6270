"""What is explained: an answer token, a span, the whole answer, or "this rather than that"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from reagent_core.errors import ModelError
from reagent_core.explanation import AnswerToken
from reagent_core.prompt import Span
from reagent_core.scorers.base import FloatArray, IntArray, Scorer, TokenScores

# Stands for the log-probability (nats) of a token whose probability is zero.
LEAST_LOG_PROBABILITY = -1e4


@dataclass(frozen=True)
class Targets:
    """T targets that are read from the same forwards.

    `continuation`: the tokens that follow every prompt. `spans`: T ranges of it, one a target.
    With a `foil` (the other text's tokens) there is one span, the whole continuation.
    """

    continuation: tuple[int, ...]
    spans: tuple[Span, ...]
    foil: tuple[int, ...] | None = None

    def passing_rank(self, top_k: int) -> int:
        """The worst rank that passes the stop test; a target must beat its foil."""
        return 1 if self.foil else top_k


@dataclass(frozen=True)
class Readings:
    """What T targets look like after B prompts.

    `values` [B, T] in nats: log-probability of the span's tokens one after the other, or the
    log-odds log p(this) - log p(that) against a foil. `probabilities` [B, T] in [0, 1]: exp of
    the value, or p(this) / (p(this) + p(that)). `ranks` [B, T]: the worst rank of the span's
    tokens (1 = most likely in the vocabulary); against a foil 1 if this is as likely, else 2.
    """

    values: FloatArray
    probabilities: FloatArray
    ranks: IntArray


def measure(scorer: Scorer, contexts: IntArray, targets: Targets) -> Readings:
    """Score prompts of equal length, `contexts` [B, L], in one forward (two with a foil)."""
    start = min(low for low, _ in targets.spans)
    scores = _finite(scorer.score(contexts, targets.continuation, start))
    spans = [slice(low - start, high - start) for low, high in targets.spans]
    values = np.stack([scores.log_probabilities[:, span].sum(1) for span in spans], axis=1)
    ranks = np.stack([scores.ranks[:, span].max(1) for span in spans], axis=1)
    if targets.foil is None:
        return Readings(values, np.exp(values), ranks)
    foil = _finite(scorer.score(contexts, targets.foil, 0))
    other = foil.log_probabilities.sum(1, keepdims=True)
    log_odds = values - other
    return Readings(log_odds, expit(log_odds), np.where(log_odds >= 0, 1, 2))


def _finite(scores: TokenScores) -> TokenScores:
    """Impossible becomes very unlikely, so that differences stay numbers; NaN is an error."""
    if np.isnan(scores.log_probabilities).any():
        raise ModelError(
            "The model returned no number for a probability. Its weights may be damaged, or too "
            "coarse (half precision on a processor without it)."
        )
    floored = np.maximum(scores.log_probabilities, LEAST_LOG_PROBABILITY)
    return TokenScores(floored, scores.ranks)


def answer_targets(tokens: Sequence[AnswerToken], start: int, stop: int) -> Targets:
    """Answer tokens `start` to `stop` as one target; the answer before them stays as it is."""
    ids = tuple(token.token_id for token in tokens[:stop])
    return Targets(ids, ((start, stop),))


def whole_answer_targets(tokens: Sequence[AnswerToken], words: Sequence[Span]) -> Targets:
    """The answer as one span, then each token, then each word of several tokens.

    A word that is the whole answer is explained by the first.
    """
    count = len(tokens)
    longer = [span for span in words if 1 < span[1] - span[0] < count]
    spans = ((0, count), *((i, i + 1) for i in range(count)), *longer)
    return Targets(tuple(token.token_id for token in tokens), spans)
