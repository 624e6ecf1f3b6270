"""Which server at a port is the one that was started: several workers start theirs at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.served_app import answers

# Says its port, and that it is well, whatever it is asked for.
_WELL = """
import http.server
class Well(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
server = http.server.HTTPServer(("localhost", 0), Well)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def well() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A server's process and its port."""
    with subprocess.Popen([sys.executable, "-c", _WELL], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


def test_only_what_a_process_itself_serves_is_its_answer() -> None:
    with well() as (first, port), well() as (second, other_port):
        assert answers(first, port) and answers(second, other_port)
        assert not answers(first, other_port) and not answers(second, port)
    assert not answers(first, port)  # it has ended
