"""The check of an explanation in a real browser: an example comes with its own."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from components.examples import check_of
from reagent_core.check import Check
from tests.browser.conftest import PHONE
from tests.browser.test_downloads_in_browser import downloaded

Open = Callable[..., Page]


def test_an_example_shows_its_check_and_gives_it_away(server: str, open_page: Open) -> None:
    page = open_page(f"{server}/?example=travel")
    shipped = check_of("travel")
    assert shipped is not None
    expect(page.get_by_text(shipped.text)).to_be_visible()
    expect(page.get_by_text("replaced by causal_lm_reranked, which ")).to_be_visible()
    expect(page.get_by_role("button", name="Check this explanation")).to_have_count(0)
    expect(page.get_by_test_id("stTable").get_by_text("5% (1)")).to_be_visible()
    expect(page.get_by_role("button", name="Save picture of deletion")).to_be_visible()
    found = downloaded(page, "Check, JSON").read_text("utf-8")
    assert Check.model_validate_json(found) == shipped

    page.set_viewport_size(PHONE)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
