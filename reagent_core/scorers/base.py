"""What the method asks of a model: probabilities of given tokens after given contexts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from reagent_core.explanation import Alternative, ModelInfo
from reagent_core.prompt import Tokenizer

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def never() -> bool:
    """The `cancelled` of a call nobody cancels."""
    return False


@dataclass(frozen=True)
class TokenScores:
    """Scores of M continuation tokens after each of B contexts.

    `log_probabilities` [B, M]: nats. `ranks` [B, M]: 1 = the most likely token of the vocabulary.
    """

    log_probabilities: FloatArray
    ranks: IntArray


@dataclass(frozen=True)
class Predictions:
    """The K most likely tokens at each of L positions, most likely first.

    `token_ids` [L, K]; `probabilities` [L, K] of the whole vocabulary, in [0, 1].
    """

    token_ids: IntArray
    probabilities: FloatArray


@dataclass(frozen=True)
class GeneratedToken:
    """One greedily chosen token, its probability and the most likely others."""

    token_id: int
    probability: float
    alternatives: tuple[Alternative, ...]


class Scorer(Protocol):
    """A generative model, seen through its next-token probabilities."""

    @property
    def info(self) -> ModelInfo:
        """Which model this is."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""

    @property
    def context_length(self) -> int:
        """The longest sequence it reads, in tokens."""

    def batch_size(self, length: int) -> int:
        """How many sequences of `length` tokens to hand to one `score` call."""

    def score(self, contexts: IntArray, continuation: Sequence[int], start: int) -> TokenScores:
        """Scores of `continuation[start:]`, each token given the context and those before it.

        `contexts` [B, L]: token ids, all of one length, one forward call.
        """

    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        """The k most likely tokens for each position of `token_ids`, from its left context.

        `allowed` [vocabulary]: the ids that count. The first position, which has no left context,
        is predicted as the beginning of a text.
        """

    def generate(
        self,
        token_ids: Sequence[int],
        max_new_tokens: int,
        cancelled: Callable[[], bool] = never,
    ) -> tuple[GeneratedToken, ...]:
        """Greedy continuation, without the end-of-text token.

        Raises:
            Cancelled: `cancelled()` became true meanwhile.
        """
