"""One server that speaks the OpenAI API, asked through the official client.

Requests are retried when the server is busy, several go out at a time, and every failure ends in a
sentence. The key comes from the environment and stays in here: nothing a server says is passed on
before the key is taken out of it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openai
import tenacity
from pydantic import TypeAdapter, ValidationError

from reagent_core.catalogue import ServerEntry
from reagent_core.errors import Cancelled, Interrupted, ModelError, ReagentError
from reagent_core.scorers.base import never
from reagent_core.scorers.servers.failures import (
    LONGEST_WAIT_S,
    BadReply,
    asked_to_wait,
    may_pass,
    told,
    wait,
)

CONNECT_S = 5.0  # to be told soon that nobody is there
REPLY_S = 120.0  # a slow machine reads a long prompt
# A silent server is given up a little before a reply is overdue, so that it can be asked again.
_SILENT = 0.9
ATTEMPTS = 5
_POLL_S = 0.05
_SHOWN = 200  # characters of what a server said

Reply = TypeVar("Reply")


@dataclass(frozen=True)
class Ask:
    """One request: POST `body` to `path`, or GET it where there is none.

    A path that begins with "/v1/" is looked for where the server's address says its API is.
    """

    path: str
    body: dict[str, Any] | None = None


class Server:
    """The connection to one server. Safe to share between threads.

    Raises:
        ModelError: the environment variable of the key is not set.
    """

    def __init__(self, entry: ServerEntry) -> None:
        self.entry = entry
        self._key = os.environ.get(entry.key_env, "").strip() if entry.key_env else ""
        if not (self._key.isascii() and self._key.isprintable()):  # no header may hold it
            raise ModelError(
                f"The key in the environment variable {entry.key_env} holds characters that no key "
                "has. Set it again."
            )
        if entry.key_env and not self._key:
            raise ModelError(
                f"The server {entry.name} needs a key. Set the environment variable "
                f"{entry.key_env} to it and start this program again."
            )
        self._client = openai.OpenAI(
            base_url=entry.url,
            api_key=self._key or "none",
            max_retries=0,  # `Session` waits, so that a cancel ends the waiting
            # Prompts go to the address that is configured and to no other.
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )
        # Read from the environment, and meant for OpenAI alone.
        self._client.organization = self._client.project = None
        self._client._custom_headers = {}

    def send(self, ask: Ask, reply: TypeAdapter[Reply], silence_s: float) -> Reply:
        """One attempt, given up after `silence_s` seconds in which nothing came.

        Raises:
            openai.APIError, BadReply: what went wrong, for `Session` to judge.
        """
        path = self._address(ask.path)
        limit = openai.Timeout(silence_s, connect=CONNECT_S)
        client = self._client
        try:
            raw: object = (
                client.get(path, cast_to=object, options={"timeout": limit})
                if ask.body is None
                else client.post(path, cast_to=object, body=ask.body, options={"timeout": limit})
            )
        except ValueError as error:  # not JSON, or cut short
            raise BadReply(str(error)) from None
        try:
            return reply.validate_python(raw)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BadReply(f"{where}: {first['msg']}" if where else first["msg"]) from None

    def clean(self, text: str) -> str:
        """What a server said, short, on one line, and without the key."""
        if self._key:
            text = text.replace(self._key, "***")
        text = " ".join(text.split())
        return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"

    def _address(self, path: str) -> str:
        """Where `path` is: an API under "/v1" unless the address names another place for it."""
        own = urlsplit(self.entry.url).path.rstrip("/")
        root = self.entry.url.removesuffix("/v1")
        if path.startswith("/v1/") and own and not own.endswith("/v1"):
            return self.entry.url + path.removeprefix("/v1")
        return root + path


@dataclass
class Session:
    """What one run asks of a server: how much it has asked, how much it may, when it must stop.

    `requests`: sent so far, those that failed included. `budget`: how many may be sent.
    `patience_s`: how long one reply may take.
    """

    server: Server
    cancelled: Callable[[], bool] = never
    budget: int | None = None
    requests: int = 0
    patience_s: float = REPLY_S
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, ask: Ask, reply: TypeAdapter[Reply]) -> Reply:
        """The reply to one request; see `ask_all`."""
        return self.ask_all([ask], reply)[0]

    def ask_all(
        self,
        asks: Sequence[Ask],
        reply: TypeAdapter[Reply],
        each: Callable[[int, Reply], None] | None = None,
    ) -> list[Reply]:
        """The replies to several requests, as many at a time as the server's entry says.

        `each` is called with the number of a request and its reply, those included that came while
        another failed.

        Raises:
            Cancelled: `cancelled()` became true; nothing is sent after that.
            Interrupted: the server is lost or stays busy, or the budget is spent.
            ModelError: the server refuses what was asked.
        """
        replies: list[Reply] = []
        size = self.server.entry.concurrency
        for start in range(0, len(asks), size):
            over = threading.Event()
            tries = [_Try(self, ask, reply, over) for ask in asks[start : start + size]]
            for attempt in tries:
                attempt.start()
            failed: list[ReagentError] = []
            for number, attempt in enumerate(tries, start):
                try:
                    replies.append(attempt.result())
                except Cancelled:
                    raise
                except ReagentError as error:
                    over.set()  # the others finish what is on its way, and ask no more
                    failed.append(error)
                    continue
                if each is not None:
                    each(number, replies[-1])
            if failed:
                raise failed[0]
        return replies

    def count(self) -> None:
        """One more request is about to be sent."""
        with self._lock:
            if self.cancelled():
                raise Cancelled("Stopped.")
            if self.budget is not None and self.requests >= self.budget:
                raise Interrupted(
                    f"The budget of {self.budget:,} requests is spent. Raise budget_requests of "
                    "this server in models.toml to go on from here."
                )
            self.requests += 1

    def pause(self, seconds: float) -> None:
        """Wait, unless cancelled."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.cancelled():
                raise Cancelled("Stopped.")
            time.sleep(min(_POLL_S, seconds))


class _Try(threading.Thread):
    """One request with its retries. A daemon: nobody waits for a server that never ends."""

    def __init__(
        self, session: Session, ask: Ask, reply: TypeAdapter[Any], over: threading.Event
    ) -> None:
        super().__init__(name="server-request", daemon=True)
        self._session, self._ask, self._reply, self._over = session, ask, reply, over
        self._sent = time.monotonic()
        self._waiting = 0.0  # before the next attempt
        self._outcome: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        retrying = tenacity.Retrying(
            stop=self._enough,
            retry=tenacity.retry_if_exception(may_pass),
            wait=wait,
            sleep=self._pause,
            reraise=True,
        )
        try:
            self._outcome = retrying(self._once)
        except BaseException as error:  # handed to the caller's thread, whatever it is
            self._error = error

    def _pause(self, seconds: float) -> None:
        self._waiting = time.monotonic() - self._sent + seconds
        self._session.pause(seconds)

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        """Five attempts; two where somebody waits for it or each takes minutes; one where the
        server asks for a longer rest."""
        error = state.outcome.exception() if state.outcome else None
        soon = self._session.patience_s < REPLY_S
        most = 2 if soon or isinstance(error, openai.APITimeoutError) else ATTEMPTS
        asked = asked_to_wait(error)
        too_long = asked is not None and asked > LONGEST_WAIT_S
        return self._over.is_set() or too_long or state.attempt_number >= most

    def _once(self) -> Any:
        self._session.count()
        self._sent, self._waiting = time.monotonic(), 0.0
        session = self._session
        return session.server.send(self._ask, self._reply, _SILENT * session.patience_s)

    def result(self) -> Any:
        """Wait for it, in the caller's thread, no longer than until cancelled or overdue."""
        server = self._session.server
        while self.is_alive():
            self.join(_POLL_S)
            if self._session.cancelled():
                raise Cancelled("Stopped.")
            # A server that sends a byte now and then never runs into the client's own limit.
            patience = self._session.patience_s
            if time.monotonic() - self._sent > patience + self._waiting:
                raise Interrupted(
                    f"The server at {server.entry.url} has not finished a reply within "
                    f"{patience:.0f} s. Try again when it is less busy."
                )
        if self._error is not None:
            raise told(self._error, server) from None
        return self._outcome
