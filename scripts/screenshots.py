"""Take the pictures of the README from the running app.

    python -m scripts.screenshots [PAGE ...]

Starts the app on a free port, with the finished examples as its library, and writes
docs/PAGE-THEME-WIDTH.png for every page of the sidebar, or for those named, and docs/pages.md,
which shows them all.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

from scripts.served_app import (
    ROOT,
    View,
    filled_cache,
    launch,
    serve,
    stop,
    views,
    wait_for_content,
    wait_until_drawn,
)

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
SIZES = ((1280, 860), (390, 844))


def main(wanted: list[str]) -> None:
    """Serve, look, stop."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        environment = {**os.environ, "REAGENT_CACHE_DIR": str(filled_cache(Path(folder)))}
        server, address = serve(environment)
        try:
            browser = launch(playwright)
            for view in views():
                if not wanted or view.page in wanted:
                    for theme in THEMES:
                        for width, height in SIZES:
                            _take(browser, address, view, theme, width, height)
            browser.close()
        finally:
            stop(server)
    (ROOT / "docs" / "pages.md").write_text(_gallery(), "utf-8")


def _take(
    browser: Browser, address: str, view: View, theme: Theme, width: int, height: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
    page.goto(address + view.path)
    wait_for_content(page, view)
    wait_until_drawn(page)
    page.wait_for_timeout(1500)  # fonts, and what moves
    # The page scrolls inside a box of its own: as tall as its content, it is all in the picture.
    content = page.get_by_test_id("stMain").evaluate("box => box.scrollHeight")
    page.set_viewport_size({"width": width, "height": int(content)})
    page.wait_for_timeout(1500)
    file = ROOT / "docs" / f"{view.page}-{theme}-{width}.png"
    page.screenshot(path=file)
    print(file.relative_to(ROOT))
    page.close()


def _gallery() -> str:
    """Every page in every picture, as Markdown; the narrow ones stand beside the wide ones."""
    parts = ["# The pages", "Made by `python -m scripts.screenshots`."]
    for view in views():
        parts.append(f"## {view.page.capitalize()}")
        for theme in THEMES:
            parts += [
                f'<img src="{view.page}-{theme}-{width}.png" width="{width // 2}" valign="top" '
                f'alt="The page {view.page.capitalize()}, {theme}, {width} pixels wide">'
                for width, _ in SIZES
            ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
