"""What the method asks of a model: probabilities of given tokens after given contexts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from reagent_core.explanation import Alternative
from reagent_core.prompt import Tokenizer
from reagent_core.request import ModelInfo

# Tokens that a processor takes in one forward; other devices take more.
FORWARD_TOKENS = 1024

# Fewer tokens shared are not worth a cache of their own.
LEAST_SHARED = 16

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
    `bounded` [B, M]: True where a server did not list the token, so that its log-probability is no
    more than the one given, and its rank no better; None where all are exact.
    """

    log_probabilities: FloatArray
    ranks: IntArray
    bounded: BoolArray | None = None


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


@dataclass(frozen=True)
class Capabilities:
    """What a scorer can tell.

    `exact`: the probability of any token, not only of those it lists. `top`: ranks are known up to
    this one, None for all. `first_only`: of an answer only the first token can be explained.
    """

    exact: bool = True
    top: int | None = None
    first_only: bool = False

    def __str__(self) -> str:
        """In words, for people."""
        of = "any token" if self.exact else f"the {self.top} likeliest tokens"
        ranks = f", ranks up to {self.top}" if self.exact and self.top else ""
        what = "the first token of an answer" if self.first_only else "whole answers"
        return f"Tells the probability of {of}{ranks}; explains {what}."


@dataclass(frozen=True)
class Prefix:
    """What sequences of a run begin with, as the scorer that made it has it in memory.

    `croppable`: sequences that share only a part of it can go on from that part.
    """

    token_ids: tuple[int, ...]
    state: object
    croppable: bool

    def shared_with(self, inputs: IntArray) -> IntArray:
        """How many leading tokens each sequence of `inputs` [B, S] shares with it: [B]."""
        width = min(len(self.token_ids), inputs.shape[1])
        own = np.asarray(self.token_ids[:width], np.int64)
        differs = inputs[:, :width] != own
        return np.where(differs.any(1), differs.argmax(1), width).astype(np.int64)

    def usable(self, shared: int, places: int) -> int:
        """Tokens that need not be run again where a batch shares `shared` and may skip the first
        `places` places, those before the first one that is read; 0 where it does not pay."""
        usable = min(shared, places) if self.croppable else len(self.token_ids)
        fits = usable <= min(shared, places)
        return usable if fits and usable >= LEAST_SHARED else 0


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

    @property
    def capabilities(self) -> Capabilities:
        """What it can tell."""

    @property
    def requests(self) -> int:
        """Requests it has sent to a server in this run, 0 where there is none."""

    def requests_for(self, sequences: int, reads: int) -> int:
        """Requests it will send to score so many sequences, each at `reads` places."""

    def requests_to_prepare(self, length: int) -> int:
        """Requests it will send to answer a prompt of `length` tokens and to propose replacements
        for it."""

    def for_run(self, cancelled: Callable[[], bool] = never) -> Self:
        """The scorer as one run uses it: what it does for long ends when `cancelled()`."""

    def batch_size(self, length: int, reads: int, shared: int = 0) -> int:
        """How many sequences of `length` tokens, read at `reads` places, one `score` call takes.

        The first `shared` of them are run already (see `prefix`).
        """

    def prefix(self, token_ids: Sequence[int], frozen: int) -> Prefix | None:
        """Run once what sequences begin with: `token_ids`, of which all share the first `frozen`.

        None where the model cannot go on from it, or it does not pay. What is returned belongs to
        the caller: the scorer keeps nothing.
        """

    def score(
        self, inputs: IntArray, targets: Sequence[int], prefix: Prefix | None = None
    ) -> TokenScores:
        """Scores of M target tokens, read at the last M places of each sequence, in one forward.

        `inputs` [B, S]: token ids. `targets` [M]: target m is scored as the token that follows
        the first S - M + m + 1 tokens; what the sequence holds there is another matter. What
        all sequences share with the `prefix` is not run again.

        Raises:
            OutOfMemory: there is no room for so many sequences at once.
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
