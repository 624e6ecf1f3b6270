"""What is explained: an answer token, a span, the whole answer, or "this rather than that"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from reagent_core.errors import ModelError
from reagent_core.explanation import AnswerToken
from reagent_core.prompt import Span
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray, Prefix, Scorer, TokenScores

# Stands for the log-probability (nats) of a token whose probability is zero.
LEAST_LOG_PROBABILITY = -1e4


@dataclass(frozen=True)
class Targets:
    """T targets that are read from the same forwards.

    `continuation`: the tokens that follow every prompt. `spans`: T ranges of it, one a target.
    With a `foil` (the other text's tokens) there is one span, the whole continuation.
    `in_context`: the prompts already end with the continuation but its last token, perhaps with
    other tokens in its places, because what was said earlier is context, too.
    """

    continuation: tuple[int, ...]
    spans: tuple[Span, ...]
    foil: tuple[int, ...] | None = None
    in_context: bool = False

    def parts(self) -> tuple[tuple[int, ...], ...]:
        """What is read after every prompt, each in a forward of its own."""
        return (self.continuation,) if self.foil is None else (self.continuation, self.foil)

    def passing_rank(self, top_k: int) -> int:
        """The worst rank that passes the stop test; a target must beat its foil."""
        return 1 if self.foil else top_k

    @property
    def first(self) -> int:
        """The first token of the continuation that is read."""
        return min(start for start, _ in self.spans)

    def reads(self, part: tuple[int, ...]) -> int:
        """Places that are read in a sequence for `part`; all spans lie in the continuation."""
        return len(part) - (self.first if part is self.continuation else 0)

    def width(self, length: int, part: tuple[int, ...] = ()) -> int:
        """Tokens of a sequence that reads `part` (the longest one) after `length` tokens."""
        longest = len(part) or max(map(len, self.parts()))
        return length if self.in_context else length + longest - 1


@dataclass(frozen=True)
class Readings:
    """What T targets look like after B prompts.

    `values` [B, T] in nats: log-probability of the span's tokens one after the other, or the
    log-odds log p(this) - log p(that) against a foil. `probabilities` [B, T] in [0, 1]: exp of
    the value, or p(this) / (p(this) + p(that)). `ranks` [B, T]: the worst rank of the span's
    tokens (1 = most likely in the vocabulary); against a foil 1 if this is as likely, else 2.
    `bounded` [B, T]: True where some token's probability is only known to be at most what was taken
    for it, so that the value is an upper bound (against a foil: an approximation).
    """

    values: FloatArray
    probabilities: FloatArray
    ranks: IntArray
    bounded: BoolArray


def short(number: float) -> float:
    """Seven significant digits: what single precision gives, and a file of half the size."""
    return float(f"{number:.7g}")


def measure(
    scorer: Scorer, contexts: IntArray, targets: Targets, prefix: Prefix | None = None
) -> Readings:
    """Score prompts of equal length, `contexts` [B, L], in one forward (two with a foil).

    Values and probabilities have the digits that a trace keeps: a run that is gone on with from its
    trace then has the very numbers it had.
    """
    start = targets.first
    inputs = contexts if targets.in_context else _followed(contexts, targets.continuation)
    scores = _finite(scorer.score(inputs, targets.continuation[start:], prefix))
    spans = [slice(low - start, high - start) for low, high in targets.spans]
    values = np.stack([scores.log_probabilities[:, span].sum(1) for span in spans], axis=1)
    ranks = np.stack([scores.ranks[:, span].max(1) for span in spans], axis=1)
    bounded = np.stack([_bounded(scores)[:, span].any(1) for span in spans], axis=1)
    if targets.foil is None:
        return Readings(_shortened(values), _shortened(np.exp(values)), ranks, bounded)
    foil = _finite(scorer.score(_followed(contexts, targets.foil), targets.foil, prefix))
    other = foil.log_probabilities.sum(1, keepdims=True)
    log_odds = values - other
    bounded |= _bounded(foil).any(1, keepdims=True)
    ranks = np.where(log_odds >= 0, 1, 2)
    return Readings(_shortened(log_odds), _shortened(expit(log_odds)), ranks, bounded)


def _shortened(numbers: FloatArray) -> FloatArray:
    return np.array([short(number) for number in numbers.flat]).reshape(numbers.shape)


def _bounded(scores: TokenScores) -> BoolArray:
    exact = np.zeros(scores.ranks.shape, bool)
    return exact if scores.bounded is None else scores.bounded


def _followed(contexts: IntArray, continuation: Sequence[int]) -> IntArray:
    """Prompts [B, L] with all of the continuation that is needed to predict its last token."""
    given = np.tile(np.asarray(continuation[:-1], np.int64), (len(contexts), 1))
    return np.concatenate([contexts, given], axis=1)


def _finite(scores: TokenScores) -> TokenScores:
    """Impossible becomes very unlikely, so that differences stay numbers; NaN is an error."""
    if np.isnan(scores.log_probabilities).any():
        raise ModelError(
            "The model returned no number for a probability. Its weights may be damaged, or too "
            "coarse (half precision on a processor without it)."
        )
    floored = np.maximum(scores.log_probabilities, LEAST_LOG_PROBABILITY)
    return TokenScores(floored, scores.ranks, scores.bounded)


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
