"""The running app and a browser for it: for the browser tests, the pictures and the benchmark."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import psutil
from playwright.sync_api import Browser, Page, Playwright, expect

from components.examples import examples, explanation_of
from components.navigation import page_names
from reagent_core import bundled
from reagent_core.store import Store

ROOT = Path(__file__).parent.parent
START_S = 60
_STARTS = 3  # another program may take the port that was free
PATIENCE_MS = 60_000
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


class View(NamedTuple):
    """One page as it is looked at. `content`: a text that stands in its first real content, or
    nothing for its title."""

    page: str
    query: str = ""
    content: str = ""

    @property
    def path(self) -> str:
        """Path and query of its address."""
        return f"/{self.page}{self.query}"


# What a page shows at first, where its title alone does not tell that it is there.
_VIEWS = {
    "explain": View("explain", "?example=travel", "mattered most for"),
    "convergence": View("convergence", "?example=travel", "Settled: "),
    "compare": View("compare", "?runs=capital,capital-distracted", "makes the model answer"),
    "methods": View("methods", "?example=travel", "Do they agree?"),
    "library": View("library", "", "Kept in "),
    "study": View("study", "", "Start the study"),
    "method": View("method", "", "Before the first step"),
}


def views() -> list[View]:
    """Every page of the sidebar, in its order."""
    return [_VIEWS.get(name, View(name)) for name in page_names()]


def filled_cache(folder: Path) -> Path:
    """A cache folder with the bundled model of this machine and the examples as a library."""
    link_model(folder)
    fill_library(folder)
    return folder


def link_model(folder: Path) -> None:
    """Put the bundled model of this machine, which is converted once, into a cache folder."""
    model = bundled.prepared_folder()
    (folder / model.name).symlink_to(model, target_is_directory=True)


def fill_library(folder: Path) -> None:
    """Put the examples into the library of a cache folder."""
    store = Store(folder / "explanations.sqlite3")
    for example in examples():
        store.put(sha256(example.id.encode()).hexdigest(), explanation_of(example.id))
    store.close()


def serve(environment: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], str]:
    """Start the app on a free port: the process and the address. Returns once it answers, before
    any page was asked for.

    Raises:
        RuntimeError: it ends again and again, or does not answer within a minute.
    """
    for _ in range(_STARTS):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)],
            cwd=ROOT,
            env=environment,
        )
        deadline = time.monotonic() + START_S
        while process.poll() is None:
            if answers(process, port):
                return process, f"http://localhost:{port}"
            if time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"the app did not start within {START_S} s")
            time.sleep(0.1)
    raise RuntimeError("the app ended as soon as it was started")


def answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the app answers; not so another program that has taken the port meanwhile."""
    try:
        listening = psutil.Process(process.pid).net_connections("tcp")
        if not any(each.status == "LISTEN" and each.laddr.port == port for each in listening):
            return False
        urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=2)
        return True
    except (OSError, psutil.Error):
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the app and wait for it."""
    process.terminate()
    process.wait(30)


def launch(playwright: Playwright) -> Browser:
    """Chromium from the PATH; else Playwright's own (see get_chromium.py)."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    return playwright.chromium.launch(executable_path=found, args=FLAGS)


def wait_for_content(page: Page, view: View) -> None:
    """Until the first real content of the view is visible."""
    if view.content:
        place = page.get_by_test_id("stMain").get_by_text(view.content)
    else:
        place = page.get_by_role("heading", level=1)
    place.first.wait_for(timeout=PATIENCE_MS)


def wait_until_drawn(page: Page) -> None:
    """Until the script has run to its end and every chart is drawn."""
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=PATIENCE_MS)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=PATIENCE_MS)
    charts = page.get_by_test_id("stVegaLiteChart")
    drawn = page.locator("[data-testid=stVegaLiteChart]:has(svg.marks, canvas.marks)")
    expect(drawn).to_have_count(charts.count(), timeout=PATIENCE_MS)
