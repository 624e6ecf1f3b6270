"""What must be done without large libraries, tried in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run_without(libraries: Collection[str], code: str, **environment: str) -> str:
    """Run the code, which must import none of these libraries; what it prints."""
    last = f"import sys; loaded = {set(libraries)} & sys.modules.keys(); assert not loaded, loaded"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{last}"], cwd=ROOT, capture_output=True, text=True,
        check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def open_without(libraries: Mapping[str, Collection[str]], **environment: str) -> None:
    """Open these pages, the first one on the app's first request and all in one process; up to
    each of them, none of its libraries may be imported."""
    code = (
        "import app, sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"for name, libraries in {libraries!r}.items():\n"
        "    page = AppTest.from_file(f'pages/{name}.py', default_timeout=60).run()\n"
        "    assert not page.exception, (name, page.exception)\n"
        "    assert not set(libraries) & sys.modules.keys(), (name, libraries)\n"
    )
    run_without((), code, **environment)
