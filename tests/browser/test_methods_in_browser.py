"""The page Methods in a real browser, on the real model."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from components.examples import methods_compared
from reagent_core.baselines.compared import MethodsCompared
from reagent_core.baselines.compared_words import headline
from tests.browser.test_downloads_in_browser import downloaded

Open = Callable[..., Page]
RUN_MS = 180_000  # for a run on a machine that has to load the model first


def strip(page: Page, method: str) -> Locator:
    return page.get_by_role("toolbar", name=f"The prompt by {method}", exact=True)


def test_an_example_can_be_looked_at_from_all_sides(server: str, open_page: Open) -> None:
    page = open_page(f"{server}/methods?example=travel")
    compared = methods_compared("travel")
    expect(page.get_by_text(headline(compared))).to_be_visible()
    expect(strip(page, "Attention rollout")).to_contain_text("Thailand")

    # A token that is clicked in one strip is marked in all, and told.
    strip(page, "ReAGent").get_by_role("button").filter(has_text="Thailand").click()
    marked = strip(page, "Leave-one-out").locator("[aria-pressed=true]")
    expect(marked).to_have_text(re.compile("Thailand"))
    expect(page.get_by_text(re.compile("“Thailand”: place 1 by "))).to_be_visible()

    chart = page.get_by_test_id("stVegaLiteChart").nth(1)
    expect(chart).to_have_attribute("aria-label", re.compile("against seconds"))
    choices = page.get_by_test_id("stRadio")
    choices.get_by_text("Sufficiency", exact=True).click()
    choices.get_by_text("Forward calls", exact=True).click()
    expect(chart).to_have_attribute("aria-label", re.compile("sufficiency.* against forward calls"))
    found = downloaded(page, "JSON").read_text("utf-8")
    assert MethodsCompared.model_validate_json(found) == compared

    # The explanation of a method has a page of its own, and the way back is in the history.
    page.get_by_role("link", name="Leave-one-out").click()
    expect(page.get_by_text("Leave-one-out takes no steps")).to_be_visible()
    page.go_back()
    expect(strip(page, "Random")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390


def test_a_comparison_from_an_explanation_and_its_link(server: str, open_page: Open) -> None:
    page = open_page(f"{server}/explain?example=arithmetic")
    page.get_by_role("link", name="Compare methods").click()
    expect(page.get_by_label("Your prompt")).to_have_value("Two plus three equals")
    page.get_by_text("Methods", exact=True).last.click()
    # What is left is quick: of each kind one, and random numbers.
    for method in ("ReAGent", "ReAGent as published", "Shapley value sampling",
                   "Sparse linear surrogate", "Integrated gradients", "Input × gradient",
                   "Gradient SHAP", "Attention rollout", "Attention, last layer"):  # fmt: skip
        box = page.get_by_role("checkbox", name=method, exact=True)
        page.get_by_test_id("stCheckbox").filter(has=box).locator("label").click()
        expect(box).not_to_be_checked()
    page.get_by_text("Advanced", exact=True).last.click()
    draws = page.get_by_role("spinbutton", name="Draws of a faithfulness curve")
    draws.fill("1")
    draws.press("Enter")
    page.get_by_test_id("stMain").get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_url(re.compile("/methods.run="))
    told = page.locator(".headline")
    expect(told).to_contain_text(
        re.compile("random orders do|clearly better|cannot be told here"), timeout=RUN_MS
    )
    expect(strip(page, "Leave-one-out")).to_contain_text("three")
    expect(strip(page, "ReAGent")).to_have_count(0)
    sentence = told.text_content()

    other = open_page(page.url)  # a session of its own
    expect(other.get_by_text(sentence or "")).to_be_visible()
    expect(other.get_by_label("Your prompt")).to_have_value("Two plus three equals")
    other.get_by_role("link", name="Attention", exact=True).click()
    expect(other.get_by_text("Attention takes no steps")).to_be_visible()
    expect(other.get_by_role("button", name="Run 64 more steps")).to_have_count(0)
