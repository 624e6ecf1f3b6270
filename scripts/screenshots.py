"""Take the pictures of the README from the running app.

    python scripts/screenshots.py

Starts the app on a free port and writes docs/explain-THEME-WIDTH.png.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parent.parent
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
SIZES = ((1280, 860), (390, 844))
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main() -> None:
    """Serve, look, stop."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT)
    try:
        _wait(f"http://localhost:{port}/_stcore/health")
        with sync_playwright() as playwright:
            found = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
            for theme in THEMES:
                for width, height in SIZES:
                    _take(browser, f"http://localhost:{port}", theme, width, height)
            browser.close()
    finally:
        server.terminate()
        server.wait(30)


def _wait(address: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(address, timeout=2)
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("The app did not start within a minute.")


def _take(browser: Browser, address: str, theme: Theme, width: int, height: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
    page.goto(address)
    page.get_by_text("What was tried").wait_for(timeout=60_000)
    page.wait_for_timeout(3000)  # charts and fonts
    # The page scrolls inside a box of its own: as tall as its content, it is all in the picture.
    content = page.get_by_test_id("stMain").evaluate("box => box.scrollHeight")
    page.set_viewport_size({"width": width, "height": int(content)})
    page.wait_for_timeout(1500)
    page.screenshot(path=ROOT / "docs" / f"explain-{theme}-{width}.png")
    page.close()


if __name__ == "__main__":
    main()
