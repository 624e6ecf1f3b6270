"""A server of language models that does what a test tells it and no real one can be made to do.

It speaks the chat dialect over the rule of `tests.tiny`, and every reply may be replaced on its way
out by one that is late, broken or refused.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from reagent_core.catalogue import ServerEntry
from tests.tiny import WORDS, capital


@dataclass
class Reply:
    """What goes over the wire. `drip`: seconds between one byte and the next."""

    body: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drip: float = 0.0


def spoiled(status: int, message: str = "no", **headers: str) -> Reply:
    """An error as OpenAI words it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps({"error": {"message": message}}), status, named)


@dataclass
class FakeServer:
    """`spoil`: given the number of a chat request, counted from 0, what to reply instead (None: the
    real thing). `top`: alternatives it lists at most. `asked`: bodies of the chat requests.
    `keys`: what stood in the Authorization headers. `seen`: paths asked for. `completions`: answers
    `/v1/completions`, where it has that. `served`: what it lists as its model."""

    url: str = ""
    spoil: Callable[[int], Reply | None] = lambda number: None
    top: int = 20
    completions: Callable[[dict[str, Any]], Reply] | None = None
    served: dict[str, Any] = field(default_factory=lambda: {"id": "tiny", "owned_by": "test"})
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def entry(self, **options: Any) -> ServerEntry:
        """It, as `models.toml` would list it."""
        given = {"id": "fake", "name": "Fake", "url": self.url, "dialect": "chat", **options}
        return ServerEntry(**given)

    def chat(self, body: dict[str, Any]) -> Reply:
        """The likeliest words after the last turn, as chat completions list them."""
        with self.lock:
            number = len(self.asked)
            self.asked.append(body)
        instead = self.spoil(number)
        if instead is not None:
            return instead
        words = re.findall(r"\w+", body["messages"][-1]["content"].lower())
        given = capital(words)
        rest = (1 - sum(given.values())) / (len(WORDS) - len(given))
        likely = sorted(WORDS, key=lambda word: -given.get(word, rest))
        listed = [{"token": word.title(), "logprob": math.log(given.get(word, rest))}
                  for word in likely]  # fmt: skip
        top = listed[: min(self.top, body["top_logprobs"])]
        place = {**listed[0], "top_logprobs": top}
        return Reply(json.dumps({"choices": [{"logprobs": {"content": [place]}}]}))


@contextmanager
def fake_server(**options: Any) -> Iterator[FakeServer]:
    """It, on a free port, until the block ends."""
    fake = FakeServer(**options)

    class Handler(BaseHTTPRequestHandler):
        def _send(self, reply: Reply) -> None:
            data = reply.body.encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            try:
                for byte in range(len(data)) if reply.drip else ():
                    self.wfile.write(data[byte : byte + 1])
                    time.sleep(reply.drip)
                if not reply.drip:
                    self.wfile.write(data)
            except OSError:
                pass  # nobody waits any more

        def do_GET(self) -> None:
            fake.seen.append(self.path)
            self._send(Reply(json.dumps({"data": [fake.served]})))

        def do_POST(self) -> None:
            fake.seen.append(self.path)
            fake.headers.append(str(self.headers))
            fake.keys.append(self.headers.get("Authorization", ""))
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/v1/chat/completions":
                self._send(fake.chat(body))
            elif self.path == "/v1/completions" and fake.completions:
                self._send(fake.completions(body))
            else:
                self._send(spoiled(404, "no such path"))

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{http.server_port}"
    try:
        yield fake
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
