"""A small server that speaks the hub's API for one model, on this computer."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

SHA = "c0ffee" * 6 + "c0ff"


class HubServer(ThreadingHTTPServer):
    """Serves the files of `folder` as the model "owner/tiny" at its only commit.

    `gated`: files need the token "let-me-in". `asked`: method and path of every request.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.gated = False
        self.status: int | None = None
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        if self.server.status is not None:
            self._send(self.server.status, b"", {}, body)
        elif parts[:3] == ["api", "models", "owner"] and parts[3:5] == ["tiny", "revision"]:
            self._send_info("/".join(parts[5:]), body)
        elif parts[:3] == ["owner", "tiny", "resolve"]:
            self._send_file(parts[3], "/".join(parts[4:]), body)
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, body)

    def _send_info(self, revision: str, body: bool) -> None:
        if revision not in ("main", "v2", SHA):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"}, body)
            return
        files = sorted(file for file in self.server.folder.rglob("*") if file.is_file())
        info = {
            "id": "owner/tiny",
            "sha": SHA,
            "gated": "manual" if self.server.gated else False,
            "siblings": [
                {
                    "rfilename": str(file.relative_to(self.server.folder)),
                    "size": file.stat().st_size,
                    "blobId": hashlib.sha1(file.read_bytes()).hexdigest(),
                }
                for file in files
            ],
            "safetensors": {"parameters": {"F32": 4000}, "total": 4000},
        }
        headers = {"Content-Type": "application/json"}
        self._send(200, json.dumps(info).encode(), headers, body)

    def _send_file(self, revision: str, name: str, body: bool) -> None:
        file = self.server.folder / name
        if self.server.gated and self.headers.get("Authorization") != "Bearer let-me-in":
            status = 403 if self.headers.get("Authorization") else 401
            self._send(status, b"", {"X-Error-Code": "GatedRepo"}, body)
        elif not file.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
        else:
            content = file.read_bytes()
            etag = hashlib.sha256(content).hexdigest()
            self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": SHA}, body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@contextmanager
def silence() -> Iterator[str]:
    """The address of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def trickle() -> Iterator[str]:
    """The address of a server whose answer comes one byte a second, so that no read times out."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not done.wait(0.2):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            done.set()
            thread.join(5)


@contextmanager
def serving(folder: Path) -> Iterator[HubServer]:
    """A running `HubServer`."""
    server = HubServer(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def refusing() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    time.sleep(0.01)
    return f"http://127.0.0.1:{port}"
