"""llama.cpp's own server: its tokenizer, and next-token probabilities by its `/completion`.

The server lists the N likeliest tokens with the model's own log-probabilities, whatever sampling
is asked for. A token that is forced by a bias of its own is listed, too, with its log-probability
before the bias: so every probability is exact, and only ranks beyond N are not known. Whether a
server does this is tried once (`forces`); one that does not gives bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from reagent_core.errors import Interrupted, ModelError
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
from reagent_core.scorers.servers.llama_tokenizer import LlamaCppTokenizer

# Listed alternatives where nothing is configured: ten kilobytes a prompt.
DEFAULT_TOP = 100
_FORCED = 1e6  # more than any two log-probabilities differ
_OPENING_CANDIDATES = 200
_RIVALS = 5


class Listed(TypedDict):
    """One token with its log-probability (nats)."""

    id: int
    token: str
    logprob: float


class Place(Listed):
    """The token chosen at one place, and those listed there."""

    top_logprobs: list[Listed]


class Completion(TypedDict, total=False):
    """A reply of `/completion`; a token that completes no character has no place in it."""

    tokens: list[int]
    stop_type: str
    completion_probabilities: list[Place]


# Several prompts are answered by a list, a single one is not.
_COMPLETIONS: TypeAdapter[list[Completion] | Completion] = TypeAdapter(
    list[Completion] | Completion
)


def completions(
    session: Session,
    prompts: Sequence[Sequence[int]],
    each: Callable[[int, Completion], None] | None = None,
    **options: Any,
) -> list[Completion]:
    """One greedy completion a prompt, `PROMPTS_A_REQUEST` prompts in each request.

    `each` is called with the number of a prompt and its completion, as it comes.

    Raises:
        Cancelled, Interrupted, ModelError: see `Session.ask_all`.
    """
    body = {
        "temperature": 0,
        "return_tokens": True,
        "cache_prompt": True,
        "response_fields": ["tokens", "stop_type", "completion_probabilities"],
        **options,
    }

    def several(reply: list[Completion] | Completion) -> list[Completion]:
        return reply if isinstance(reply, list) else [reply]

    return asked_in_groups(session, "/completion", body, prompts, _COMPLETIONS, several, each)


def forces(session: Session) -> bool:
    """Whether a token that is made certain by a bias shows the model's own log-probability."""
    free = completions(session, [[0]], n_predict=1, n_probs=20)[0]
    listed = _place(free)
    if listed is None or len(listed["top_logprobs"]) < 2:
        raise ModelError(
            "The server gives no log-probabilities, so there is nothing to explain from. Start it "
            "without restrictions on n_probs."
        )
    other = listed["top_logprobs"][-1]
    forced = completions(
        session, [[0]], n_predict=1, n_probs=1, logit_bias=[[other["id"], _FORCED]]
    )[0]
    place = _place(forced)
    return (
        place is not None
        and place["id"] == other["id"]
        and math.isclose(place["logprob"], other["logprob"], abs_tol=1e-2)
    )


def _place(completion: Completion, number: int = 0) -> Place | None:
    places = completion.get("completion_probabilities") or []
    return places[number] if number < len(places) else None


@dataclass(eq=False)
class LlamaCppScorer(ServerScorer):
    """A model behind llama.cpp's server. `vocabulary`: how many tokens it has."""

    vocabulary: int = 0

    @property
    def _top(self) -> int:
        return self.capabilities.top or DEFAULT_TOP

    def requests_for(self, sequences: int, reads: int) -> int:
        """Every place is read for itself."""
        return math.ceil(sequences / PROMPTS_A_REQUEST) * reads

    def requests_to_prepare(self, length: int) -> int:
        """One for the answer, and every beginning of the prompt with an opening."""
        return 2 + math.ceil(length / PROMPTS_A_REQUEST)

    def for_run(self, cancelled: Callable[[], bool] = never) -> Self:
        """With a tokenizer that ends when the run does."""
        scorer = super().for_run(cancelled)
        if isinstance(scorer.tokenizer, LlamaCppTokenizer):
            scorer.tokenizer = scorer.tokenizer.of(scorer.session)
        return scorer

    def batch_size(self, length: int, reads: int, shared: int = 0) -> int:
        """One wave of requests, as far as the places of one sequence go into one."""
        return max(1, super().batch_size(length, reads) // reads)

    def read(self, inputs: IntArray, targets: Sequence[int]) -> list[Answer]:
        """Each place of each sequence is the end of a prompt of its own."""
        rows = inputs.tolist()
        columns = []
        for m, target in enumerate(targets):
            length = inputs.shape[1] - len(targets) + m + 1
            columns.append(self._next([row[:length] for row in rows], target))
        return list(zip(*columns, strict=True))

    def _next(self, prompts: list[list[int]], target: int) -> list[tuple[float, int, bool]]:
        """Log-probability, rank, and whether these are bounds, of one token after each prompt."""
        bias = {"logit_bias": [[target, _FORCED]]} if self.capabilities.exact else {}

        def ask(missing: list[int], keep: Keep) -> None:
            wanted = [prompts[place] for place in missing]
            unlisted: list[int] = []

            def take(number: int, reply: Completion) -> None:
                place = _place(reply)
                if place is None:
                    unlisted.append(number)
                else:
                    keep(number, (_judged(place, target),))

            completions(self.session, wanted, take, n_predict=1, n_probs=self._top, **bias)
            for number in unlisted:
                keep(number, (_judged(self._everything(wanted[number]), target),))

        keys = [Answers.key(prompt, target) for prompt in prompts]
        return [answer[0] for answer in self.remembered(keys, ask)]

    def _everything(self, prompt: Sequence[int]) -> Place:
        """The whole vocabulary after a prompt: a forced part of a character is not listed alone."""
        reply = completions(self.session, [prompt], n_predict=1, n_probs=self.vocabulary)
        place = _place(reply[0])
        if place is None:
            raise Interrupted(
                "The server gave no log-probabilities where the likeliest token is a part of a "
                "character. Explain another token."
            )
        return place

    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        """One prompt for each beginning of the text; the server has most of each in its cache."""
        opening = self.tokenizer.encode(OPENING + "A", add_special_tokens=True).token_ids[:-1]
        first = completions(self.session, [opening], n_predict=1, n_probs=_OPENING_CANDIDATES)
        rest = completions(
            self.session,
            [list(token_ids[:stop]) for stop in range(1, len(token_ids))],
            n_predict=1,
            n_probs=4 * k,
        )
        rows = [words_first(self._listed(first[0], allowed), self.tokenizer.decode)]
        rows += [self._listed(reply, allowed) for reply in rest]
        return candidates(rows, k, allowed, token_ids)

    def _listed(self, reply: Completion, allowed: BoolArray) -> Candidates:
        place = _place(reply)
        listed = place["top_logprobs"] if place else []
        return [
            (each["id"], math.exp(min(each["logprob"], 0.0)))
            for each in listed
            if each["id"] < len(allowed) and allowed[each["id"]]
        ]

    def generate(
        self,
        token_ids: Sequence[int],
        max_new_tokens: int,
        cancelled: Callable[[], bool] = never,
    ) -> tuple[GeneratedToken, ...]:
        """Greedy, with what was listed at each place."""
        reply = completions(
            self.session, [token_ids], n_predict=max_new_tokens, n_probs=_RIVALS + 1
        )[0]
        ids = reply.get("tokens", [])
        if reply.get("stop_type") == "eos":
            ids = ids[:-1]
        waiting = list(reply.get("completion_probabilities") or [])
        made = []
        for number, token_id in enumerate(ids):
            if waiting and waiting[0]["id"] == token_id:
                place = waiting.pop(0)
            else:  # a part of a character is left out of the list
                place = self._everything([*token_ids, *ids[:number]])
            value, _, _ = _judged(place, token_id)
            rivals = [
                Alternative(
                    text=self.tokenizer.decode([each["id"]]),
                    probability=math.exp(min(each["logprob"], 0.0)),
                )
                for each in place["top_logprobs"][: _RIVALS + 1]
                if each["id"] != token_id
            ]
            made.append(GeneratedToken(token_id, math.exp(value), tuple(rivals[:_RIVALS])))
        return tuple(made)


def _judged(place: Place, target: int) -> tuple[float, int, bool]:
    """Log-probability and rank of a token from a place's list, or what they are at most.

    Probabilities of this server add up to a little more than 1, so that one may exceed it.
    """
    listed = place["top_logprobs"]
    own = [each["logprob"] for each in (*listed, place) if each["id"] == target]
    if own:
        rank = 1 + sum(each["logprob"] > own[0] for each in listed)
        return min(own[0], 0.0), rank, False
    least = min(each["logprob"] for each in (*listed, place))
    return min(least, 0.0), len(listed) + 1, True
