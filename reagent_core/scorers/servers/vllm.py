"""vLLM, and whoever speaks its dialect: prompts as token ids, and `prompt_logprobs`.

One request gives the exact log-probability and rank of every token of a prompt, so the answer is
sent as the end of the prompt, whatever its length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from reagent_core.errors import Interrupted
from reagent_core.explanation import Alternative
from reagent_core.scorers.base import BoolArray, GeneratedToken, IntArray, Predictions, never
from reagent_core.scorers.servers.answers import Answer, Answers
from reagent_core.scorers.servers.base import (
    OPENING,
    PROMPTS_A_REQUEST,
    Candidates,
    Keep,
    ServerScorer,
    asked_in_groups,
    candidates,
    words_first,
)
from reagent_core.scorers.servers.client import Session

# What a server gives unless it was started with another --max-logprobs.
MOST_TOP = 20
_RIVALS = 5
_ID = "token_id:"


class _Token(TypedDict):
    logprob: float
    rank: int


class _Logprobs(TypedDict, total=False):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]


class Choice(TypedDict, total=False):
    """What came of one prompt. `prompt_logprobs`: for each token, its id and the likeliest ones."""

    index: int
    finish_reason: str | None
    prompt_logprobs: list[dict[int, _Token] | None] | None
    logprobs: _Logprobs | None


class _Completions(TypedDict):
    choices: list[Choice]


_COMPLETIONS = TypeAdapter(_Completions)


def choices(
    session: Session,
    model: str,
    prompts: Sequence[Sequence[int]],
    each: Callable[[int, Choice], None] | None = None,
    **options: Any,
) -> list[Choice]:
    """What came of each prompt, `PROMPTS_A_REQUEST` of them in each request.

    `each` is called with the number of a prompt and what came of it, as it comes.

    Raises:
        Cancelled, Interrupted, ModelError: see `Session.ask_all`.
    """
    body = {"model": model, "max_tokens": 1, "temperature": 0, **options}

    def several(reply: _Completions) -> list[Choice]:
        return sorted(reply["choices"], key=lambda choice: choice.get("index", 0))

    return asked_in_groups(session, "/v1/completions", body, prompts, _COMPLETIONS, several, each)


@dataclass(eq=False)
class VLLMScorer(ServerScorer):
    """A model behind vLLM.

    `model`: the name the server knows it by. `listed`: likeliest tokens it lists where asked to;
    ranks and probabilities of given tokens are exact without.
    """

    model: str = ""
    listed: int = MOST_TOP

    def requests_for(self, sequences: int, reads: int) -> int:
        """All places of a sequence are read at once."""
        return math.ceil(sequences / PROMPTS_A_REQUEST)

    def requests_to_prepare(self, length: int) -> int:
        """One for the answer, and one for the candidates of all places."""
        return 2

    def read(self, inputs: IntArray, targets: Sequence[int]) -> list[Answer]:
        """One prompt a sequence, where it holds the targets; else one for each target."""
        rows, count = inputs.tolist(), len(targets)
        if all(row[len(row) - count + 1 :] == list(targets[:-1]) for row in rows):
            return self._ends([[*row, targets[-1]] for row in rows], count)
        columns = [
            self._ends([[*row[: len(row) - count + m + 1], target] for row in rows], 1)
            for m, target in enumerate(targets)
        ]
        return [tuple(answer for (answer,) in row) for row in zip(*columns, strict=True)]

    def _ends(self, prompts: list[list[int]], count: int) -> list[Answer]:
        """What is said of the last `count` tokens of each prompt."""

        def ask(missing: list[int], keep: Keep) -> None:
            wanted = [prompts[place] for place in missing]

            def take(number: int, choice: Choice) -> None:
                told = told_of(wanted[number], choice)
                keep(number, tuple((each.logprob, each.rank, False) for each in told[-count:]))

            choices(self.session, self.model, wanted, take, prompt_logprobs=0)

        return self.remembered([Answers.key(prompt, count) for prompt in prompts], ask)

    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        """One request gives the candidates of every place but the first."""
        top = min(self.listed, 2 * k)
        # Candidates are listed where a token stands: after the opening that is "A".
        opening = self.tokenizer.encode(OPENING + "A", add_special_tokens=True).token_ids
        first, whole = (
            choice.get("prompt_logprobs") or []
            for choice in choices(
                self.session, self.model, [opening, token_ids], prompt_logprobs=top
            )
        )
        rows = [words_first(_listed(first[-1] if first else None), self.tokenizer.decode)]
        rows += [_listed(place) for place in whole[1:]]
        return candidates(rows, k, allowed, token_ids)

    def generate(
        self,
        token_ids: Sequence[int],
        max_new_tokens: int,
        cancelled: Callable[[], bool] = never,
    ) -> tuple[GeneratedToken, ...]:
        """Greedy, with what was listed at each place."""
        choice = choices(
            self.session,
            self.model,
            [token_ids],
            max_tokens=max_new_tokens,
            logprobs=_RIVALS + 1,
            return_tokens_as_token_ids=True,
        )[0]
        listed = choice.get("logprobs") or _Logprobs()
        ids = [int(text.removeprefix(_ID)) for text in listed.get("tokens", [])]
        made = []
        for token_id, value, top in zip(
            ids,
            listed.get("token_logprobs", []),
            listed.get("top_logprobs", []),
            strict=False,
        ):
            if token_id in self.tokenizer.special_ids:
                break
            rivals = [
                Alternative(
                    text=self.tokenizer.decode([int(text.removeprefix(_ID))]),
                    probability=math.exp(min(other, 0.0)),
                )
                for text, other in (top or {}).items()
                if text != f"{_ID}{token_id}"
            ]
            made.append(
                GeneratedToken(token_id, math.exp(min(value or 0.0, 0.0)), tuple(rivals[:_RIVALS]))
            )
        return tuple(made)


@dataclass(frozen=True)
class Told:
    """Log-probability (nats) and rank of one token of a prompt."""

    logprob: float
    rank: int


def told_of(prompt: Sequence[int], choice: Choice) -> list[Told]:
    """What the reply says of each token of the prompt but the first.

    Raises:
        Interrupted: it says nothing, or speaks of other tokens.
    """
    places = choice.get("prompt_logprobs")
    if not places:
        raise Interrupted("The server gives no log-probabilities of prompts. Start vLLM anew.")
    if len(places) != len(prompt):
        raise Interrupted(
            f"The server read {len(places)} tokens where {len(prompt)} were sent. Check that the "
            "tokenizer named in models.toml is this model's."
        )
    told = []
    for token_id, place in zip(prompt[1:], places[1:], strict=True):
        if place is None or token_id not in place:
            raise Interrupted(
                f"The server says nothing of token {token_id}. Check that the tokenizer named in "
                "models.toml is this model's."
            )
        told.append(Told(min(place[token_id]["logprob"], 0.0), place[token_id]["rank"]))
    return told


def _listed(place: dict[int, _Token] | None) -> Candidates:
    tokens = sorted((place or {}).items(), key=lambda item: -item[1]["logprob"])
    return [(token_id, math.exp(min(token["logprob"], 0.0))) for token_id, token in tokens]
