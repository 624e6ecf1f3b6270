"""What all scorers behind a server share: bookkeeping around `read`, which each dialect has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np
from pydantic import TypeAdapter

from reagent_core.errors import Interrupted, ModelError
from reagent_core.prompt import Tokenizer
from reagent_core.request import ModelInfo
from reagent_core.scorers.base import (
    BoolArray,
    Capabilities,
    GeneratedToken,
    IntArray,
    Predictions,
    Prefix,
    TokenScores,
    never,
)
from reagent_core.scorers.servers.answers import Answer, Answers
from reagent_core.scorers.servers.client import Ask, Session

# Prompts in one request: enough that sending costs little, few enough that a picture comes soon.
PROMPTS_A_REQUEST = 8

# What a prompt's first token is predicted after, as for local models.
OPENING = "The end.\n\n"

R = TypeVar("R")
T = TypeVar("T")

# What takes an answer as it comes: its number among those asked for.
Keep = Callable[[int, Answer], None]

# One place's candidates, the likeliest first: token id and probability.
Candidates = Sequence[tuple[int, float]]


@dataclass(eq=False)
class ServerScorer(ABC):
    """A generative model behind a server, as one run uses it.

    Everything but `session` is shared by all runs.
    """

    session: Session
    info: ModelInfo
    tokenizer: Tokenizer
    context_length: int
    capabilities: Capabilities
    answers: Answers

    def for_run(self, cancelled: Callable[[], bool] = never) -> Self:
        """The same server with counts, budget and cancelling of its own."""
        server = self.session.server
        return replace(self, session=Session(server, cancelled, server.entry.budget_requests))

    @property
    def requests(self) -> int:
        """Requests sent in this run."""
        return self.session.requests

    @abstractmethod
    def requests_for(self, sequences: int, reads: int) -> int:
        """How many requests it takes to score so many sequences at `reads` places each."""

    @abstractmethod
    def requests_to_prepare(self, length: int) -> int:
        """How many it takes to answer a prompt of `length` tokens and to propose replacements."""

    @abstractmethod
    def read(self, inputs: IntArray, targets: Sequence[int]) -> list[Answer]:
        """What the server says of the targets at the last places of each sequence (see `score`)."""

    def remembered(
        self, keys: Sequence[str], ask: Callable[[list[int], Keep], None]
    ) -> list[Answer]:
        """The answers of these names: those known from before, and `ask` for the others.

        `ask` is given the places of the others and what to call with each answer as it comes, so
        that one is kept even if the next request fails.
        """
        known = self.answers.get(keys)
        missing = [place for place, key in enumerate(keys) if key not in known]

        def keep(number: int, answer: Answer) -> None:
            key = keys[missing[number]]
            known[key] = answer
            self.answers.put({key: answer})

        if missing:
            ask(missing, keep)
        return [known[key] for key in keys]

    @abstractmethod
    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        """See `Scorer.predict`."""

    @abstractmethod
    def generate(
        self,
        token_ids: Sequence[int],
        max_new_tokens: int,
        cancelled: Callable[[], bool] = never,
    ) -> tuple[GeneratedToken, ...]:
        """See `Scorer.generate`."""

    def batch_size(self, length: int, reads: int, shared: int = 0) -> int:
        """As many as make one wave of requests: a cancel waits for no more than that."""
        return PROMPTS_A_REQUEST * self.session.server.entry.concurrency

    def prefix(self, token_ids: Sequence[int], frozen: int) -> Prefix | None:
        """None: servers keep caches of their own."""
        return None

    def score(
        self, inputs: IntArray, targets: Sequence[int], prefix: Prefix | None = None
    ) -> TokenScores:
        """See `Scorer.score`; what was asked before, by this run or one that broke off, is known.

        Raises:
            Cancelled, Interrupted, ModelError: see `Session.ask_all`.
        """
        rows = self.read(inputs, targets)
        return TokenScores(
            np.array([[each[0] for each in row] for row in rows]),
            np.array([[each[1] for each in row] for row in rows], np.int64),
            np.array([[each[2] for each in row] for row in rows], bool),
        )


def asked_in_groups(
    session: Session,
    path: str,
    body: dict[str, Any],
    prompts: Sequence[Sequence[int]],
    reply: TypeAdapter[R],
    several: Callable[[R], list[T]],
    each: Callable[[int, T], None] | None,
) -> list[T]:
    """What came of each prompt, `PROMPTS_A_REQUEST` of them in each request.

    `several`: what a reply says of its prompts, in their order. `each` is called with the number
    of a prompt and what came of it, as it comes.

    Raises:
        Cancelled, Interrupted, ModelError: see `Session.ask_all`.
    """
    groups = [
        [list(prompt) for prompt in prompts[start : start + PROMPTS_A_REQUEST]]
        for start in range(0, len(prompts), PROMPTS_A_REQUEST)
    ]
    found: list[T] = []

    def take(number: int, replied: R) -> None:
        answers = several(replied)
        if len(answers) != len(groups[number]):
            raise Interrupted(
                f"The server answered {len(answers)} of {len(groups[number])} prompts. Look at its "
                "log."
            )
        for place, answer in enumerate(answers):
            if each is not None:
                each(number * PROMPTS_A_REQUEST + place, answer)
        found.extend(answers)

    session.ask_all([Ask(path, {**body, "prompt": group}) for group in groups], reply, take)
    return found


def candidates(
    rows: Sequence[Candidates], k: int, allowed: BoolArray, token_ids: Sequence[int]
) -> Predictions:
    """The k likeliest allowed candidates of each place, from what a server listed there.

    Where it listed fewer, the last other than the token itself stands again, with probability 0.

    Raises:
        ModelError: it listed none that can stand there.
    """
    ids = np.zeros((len(rows), k), np.int64)
    probabilities = np.zeros((len(rows), k))
    for place, row in enumerate(rows):
        usable = [(i, p) for i, p in row if i < len(allowed) and allowed[i]][:k]
        others = [i for i, _ in usable if i != token_ids[place]]
        if not others:
            raise ModelError(
                "The server lists too few tokens to propose replacements. Choose the uniform "
                "replacer, or ask for more with top in models.toml."
            )
        filled = [*usable, *[(others[-1], 0.0)] * (k - len(usable))]
        ids[place] = [i for i, _ in filled]
        probabilities[place] = [p for _, p in filled]
    return Predictions(ids, probabilities)


def words_first(row: Candidates, decode: Callable[[Sequence[int]], str]) -> Candidates:
    """Candidates for the beginning of a text: words, then the rest."""
    return sorted(row, key=lambda candidate: not decode([candidate[0]]).isalpha())
