"""A running server and a browser for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect, sync_playwright

from scripts.served_app import fill_library, launch, serve, stop

PATIENCE_S = 60  # machines that run tests are slow and shared
DESKTOP = {"width": 1280, "height": 900}
AT_HOME = ("http://localhost:", "data:", "blob:", "file:")
PHONE = {"width": 390, "height": 844}

expect.set_options(timeout=PATIENCE_S * 1000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here drives a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def server(environment: dict[str, str]) -> Iterator[str]:
    """The address of a server all tests share, with the examples in its library."""
    fill_library(Path(environment["REAGENT_CACHE_DIR"]))
    process, address = serve(environment)
    yield address
    stop(process)


@pytest.fixture
def fresh_server(environment: dict[str, str]) -> Iterator[str]:
    """The address of a server nobody has asked for anything yet."""
    process, address = serve(environment)
    yield address
    stop(process)


@pytest.fixture(scope="session")
def browser() -> Iterator[BrowserContext]:
    """One browser for all tests: what a server sends is read and compiled once."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser.new_context(viewport=DESKTOP)
        browser.close()


@pytest.fixture
def open_page(browser: BrowserContext) -> Iterator[Callable[..., Page]]:
    """Opens an address in a tab, which is a session of its own; a script error on the page fails
    the test, and so does anything that is asked of another machine."""
    pages, errors, strangers = [], [], []

    def asked(request: Request) -> None:
        if not request.url.startswith(AT_HOME):
            strangers.append(request.url)

    def open_(address: str, *, viewport: dict[str, int] | None = None) -> Page:
        page = browser.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", asked)
        page.set_default_timeout(PATIENCE_S * 1000)
        if viewport:
            page.set_viewport_size(viewport)
        page.goto(address)
        return page

    yield open_
    for page in pages:
        if page.url.startswith("http"):
            page.evaluate("localStorage.clear()")  # where the sidebar was, for one
        page.close()
    assert errors == []
    assert strangers == []
