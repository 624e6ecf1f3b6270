"""llama.cpp's own server, from the package `xllamacpp`, with the bundled model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEY = "a-key-for-tests"
KEY_ENV = "LLAMA_TEST_KEY"

# A process of its own: it logs past Python, and its threads never end. It ends when its standard
# input does.
_CHILD = """
import sys, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.port, p.api_keys = sys.argv[1], int(sys.argv[2]), [sys.argv[3]]
p.n_parallel, p.n_ctx = 4, 4 * 1024
p.ui, p.verbosity = False, 1
# More threads than idle cores make it many times slower.
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def llama_server(gguf: Path, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Its address and its process, until the block ends."""
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(gguf), str(port), KEY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        address = child.stdout.readline().strip()
        assert address, f"llama.cpp's server ended with {child.wait()}"
        yield address, child
    finally:
        child.stdin.close()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
        child.stdout.close()
