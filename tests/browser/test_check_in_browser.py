"""The check of an explanation in a real browser: an example comes with its own, or is checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from components.examples import check_of, explanation_of
from reagent_core.check import Check
from reagent_core.store import Store
from tests.browser.conftest import PHONE
from tests.browser.test_downloads_in_browser import downloaded

Open = Callable[..., Page]
RUN_MS = 180_000  # for a check on a machine that has to load the model first


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


def test_a_click_checks_an_explanation_on_the_real_model(
    server: str, environment: dict[str, str], open_page: Open
) -> None:
    key = "c" * 64
    store = Store(Path(environment["REAGENT_CACHE_DIR"]) / "explanations.sqlite3")
    store.put(key, explanation_of("capital-distracted"))  # it ships without a check
    store.close()
    page = open_page(f"{server}/explain?run={key}")
    button = page.get_by_role("button", name="Check this explanation")
    button.click()
    sentence = page.locator(".headline", has_text="random order")
    expect(sentence).to_be_visible(timeout=RUN_MS)
    expect(button).to_have_count(0)
    expect(page.get_by_test_id("stTable").get_by_text("Mean", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile(r"Soft-NC \d\.\d+.*; Soft-NS \d\.\d+"))).to_be_visible()
    found = Check.model_validate_json(downloaded(page, "Check, JSON").read_text("utf-8"))
    expect(sentence).to_have_text(found.text)
    assert found.soft is not None
    assert found.replacer == "causal_lm_reranked" and found.model.id.startswith("SmolLM2")

    other = open_page(page.url)  # a session of its own
    expect(other.get_by_text(found.text)).to_be_visible()
