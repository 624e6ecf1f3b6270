"""A chat server that lists a few alternatives for each token: all that some services give.

Nobody tells how such a model cuts text into tokens, so prompts are cut by the tokenizer of a local
model (the bundled one), which also proposes the replacements; what is sent is text again. Only the
first token of an answer can be explained: what comes later cannot be prescribed to a chat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from reagent_core.errors import InputError, ModelError
from reagent_core.explanation import Alternative
from reagent_core.prompt import Encoding, Tokenizer
from reagent_core.request import Turn
from reagent_core.scorers.base import (
    BoolArray,
    GeneratedToken,
    IntArray,
    Predictions,
    never,
)
from reagent_core.scorers.servers.answers import Answer, Answers
from reagent_core.scorers.servers.base import Keep, ServerScorer
from reagent_core.scorers.servers.client import Ask, Session

MOST_TOP = 20  # what OpenAI gives
_START, _END = "<|im_start|>", "<|im_end|>"
_RIVALS = 5


class Listed(TypedDict):
    """One token's text with its log-probability (nats)."""

    token: str
    logprob: float


class Place(Listed):
    """The token chosen at one place, and those listed there."""

    top_logprobs: list[Listed]


class _Logprobs(TypedDict):
    content: list[Place] | None


class _Choice(TypedDict):
    logprobs: _Logprobs | None


class _Chat(TypedDict):
    choices: list[_Choice]


_CHAT = TypeAdapter(_Chat)


class ChatTokenizer:
    """A local model's tokenizer, and the server's own tokens by their text.

    The latter get the ids after the vocabulary, in the order they turn up.
    """

    def __init__(self, local: Tokenizer) -> None:
        self._local = local
        start, end = (local.encode(t, add_special_tokens=False).token_ids for t in (_START, _END))
        if len(start) != 1 or len(end) != 1:
            raise ModelError("The bundled model has no chat tokens. Install it again.")
        self.start_id, self.end_id = start[0], end[0]
        self._first = max([*local.ordinary_ids, *local.special_ids]) + 1
        self._texts: list[str] = []
        self._ids: dict[str, int] = {}

    @property
    def special_ids(self) -> frozenset[int]:
        """Those of the local model."""
        return self._local.special_ids

    @property
    def ordinary_ids(self) -> Sequence[int]:
        """Those of the local model."""
        return self._local.ordinary_ids

    def encode(self, text: str, *, add_special_tokens: bool) -> Encoding:
        """Tokens of the local model."""
        return self._local.encode(text, add_special_tokens=False)

    def own(self, text: str) -> int:
        """The id of one of the server's tokens."""
        token_id = self._ids.setdefault(text, self._first + len(self._texts))
        if token_id == self._first + len(self._texts):
            self._texts.append(text)
        return token_id

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of local tokens and of the server's own."""
        text, local = "", []
        for token_id in token_ids:
            if token_id < self._first:
                local.append(token_id)
                continue
            text += (self._local.decode(local) if local else "") + self._texts[
                token_id - self._first
            ]
            local = []
        return text + (self._local.decode(local) if local else "")

    def render_chat(self, turns: Sequence[Turn]) -> str:
        """The turns with marks between them, which `messages` reads back.

        Raises:
            InputError: a turn holds such a mark.
        """
        for turn in turns:
            if _START in turn.content or _END in turn.content:
                raise InputError(
                    f"A chat server cannot be sent the marks {_START} and {_END}. Delete them.",
                    "prompt",
                )
        return "".join(f"{_START}{turn.role}\n{turn.content}{_END}" for turn in turns)

    def messages(self, token_ids: Sequence[int]) -> list[dict[str, str]]:
        """The turns of a rendered chat; a plain prompt is one turn of the user."""
        if self.start_id not in token_ids:
            return [{"role": "user", "content": self.decode(token_ids)}]
        found, turn = [], list[int]()
        for token_id in token_ids:
            if token_id == self.start_id:
                turn = []
            elif token_id == self.end_id:
                role, _, content = self.decode(turn).partition("\n")
                found.append({"role": role, "content": content})
            else:
                turn.append(token_id)
        return found


def places(
    session: Session,
    model: str,
    chats: Sequence[Any],
    top: int,
    length: int = 1,
    each: Callable[[int, list[Place]], None] | None = None,
) -> list[list[Place]]:
    """What was listed at each place of the greedy answers to `chats`, one request each.

    `each` is called with the number of a chat and this list, as it comes.

    Raises:
        ModelError: no log-probabilities came back.
        Cancelled, Interrupted: see `Session.ask_all`.
    """
    asks = [
        Ask(
            "/v1/chat/completions",
            {
                "model": model,
                "messages": messages,
                "max_tokens": length,
                "temperature": 0,
                "logprobs": True,
                "top_logprobs": top,
            },
        )
        for messages in chats
    ]
    found: list[list[Place]] = []

    def take(number: int, reply: _Chat) -> None:
        logprobs = reply["choices"][0]["logprobs"] if reply["choices"] else None
        content = (logprobs or {"content": None})["content"]
        if content is None or any(not place["top_logprobs"] for place in content):
            raise ModelError(
                f"The server gives no log-probabilities for {model}, so there is nothing to "
                "explain from. Choose a model or a service that gives top_logprobs."
            )
        found.append(content)
        if each is not None:
            each(number, content)

    session.ask_all(asks, _CHAT, take)
    return found


@dataclass(eq=False)
class ChatScorer(ServerScorer):
    """A model behind a chat endpoint."""

    model: str = ""

    @property
    def _top(self) -> int:
        return self.capabilities.top or MOST_TOP

    @property
    def _chat(self) -> ChatTokenizer:
        assert isinstance(self.tokenizer, ChatTokenizer)
        return self.tokenizer

    def batch_size(self, length: int, reads: int, shared: int = 0) -> int:
        """One wave of requests: each holds one chat."""
        return self.session.server.entry.concurrency

    def requests_for(self, sequences: int, reads: int) -> int:
        """One each."""
        return sequences

    def requests_to_prepare(self, length: int) -> int:
        """One for the answer; replacements are proposed here."""
        return 1

    def read(self, inputs: IntArray, targets: Sequence[int]) -> list[Answer]:
        """Only the first token of an answer is seen."""
        if len(targets) != 1:
            raise InputError(
                "A chat server shows the first token of an answer only. Explain that one.",
                "target",
            )
        wanted = self.tokenizer.decode(targets)
        chats = [self._chat.messages(row) for row in inputs.tolist()]

        def ask(missing: list[int], keep: Keep) -> None:
            def take(number: int, content: list[Place]) -> None:
                # Where the answer ends at once, its end was at least as likely as the target.
                known = _judged(content[0], wanted) if content else (math.log(0.5), 2, True)
                keep(number, (known,))

            wanted_chats = [chats[place] for place in missing]
            places(self.session, self.model, wanted_chats, self._top, each=take)

        # Not by token ids: those of the server's own tokens are made up anew in every process.
        return self.remembered([Answers.key(chat, wanted) for chat in chats], ask)

    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        """What the bundled model would put there."""
        from reagent_core import models

        # Asked for anew in every run: a scorer that held it would keep it in memory.
        return models.load("bundled").predict(token_ids, k, allowed)

    def generate(
        self,
        token_ids: Sequence[int],
        max_new_tokens: int,
        cancelled: Callable[[], bool] = never,
    ) -> tuple[GeneratedToken, ...]:
        """Greedy, as far as the server is."""
        chat = self._chat.messages(token_ids)
        content = places(self.session, self.model, [chat], self._top, max_new_tokens)[0]
        return tuple(
            GeneratedToken(
                self._chat.own(place["token"]),
                math.exp(min(place["logprob"], 0.0)),
                tuple(
                    Alternative(text=each["token"], probability=math.exp(min(each["logprob"], 0.0)))
                    for each in place["top_logprobs"]
                    if each["token"] != place["token"]
                )[:_RIVALS],
            )
            for place in content
        )


def _judged(place: Place, wanted: str) -> tuple[float, int, bool]:
    """Log-probability and rank of the token `wanted`, or what they are at most."""
    listed = {each["token"]: each["logprob"] for each in (place, *place["top_logprobs"])}
    if wanted in listed:
        rank = 1 + sum(value > listed[wanted] for value in listed.values())
        return min(listed[wanted], 0.0), rank, False
    return min(min(listed.values()), 0.0), len(listed) + 1, True
