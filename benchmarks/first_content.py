"""How soon a page is there on a fresh server: `python -m benchmarks.first_content`.

Every load is the first request of a server that has just been started and a browser that has seen
nothing of it. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, sync_playwright

from benchmarks.record import Row, save
from scripts.served_app import (
    View,
    filled_cache,
    launch,
    serve,
    stop,
    views,
    wait_for_content,
    wait_until_drawn,
)


def timed(browser: Browser, view: View, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds from the start of the navigation to the first real content, and to the last chart."""
    server, address = serve(environment)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        page = context.new_page()
        started = time.perf_counter()
        page.goto(address + view.path, wait_until="commit")
        wait_for_content(page, view)
        content = time.perf_counter() - started
        wait_until_drawn(page)
        return content, time.perf_counter() - started
    finally:
        context.close()
        stop(server)


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        environment = {**os.environ, "REAGENT_CACHE_DIR": str(filled_cache(Path(folder)))}
        browser = launch(playwright)
        version = browser.version
        for view in views():
            loads = [timed(browser, view, environment) for _ in range(runs)]
            contents, wholes = zip(*loads, strict=True)
            rows.append(
                {
                    "page": view.path,
                    "first content (s)": round(median(contents), 2),
                    "fastest to slowest": f"{min(contents):.2f} to {max(contents):.2f}",
                    "all charts drawn (s)": round(median(wholes), 2),
                }
            )
        browser.close()
    notes = [
        f"Medians over {runs} fresh servers a page; browser (Chromium {version}) and server on the "
        "same machine. First content: the first finding or, where a page has none, its title."
    ]
    save("first-content", rows, notes)


if __name__ == "__main__":
    main()
