"""The page Convergence in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from reagent_core.config import PRESETS
from tests.browser.test_explain_in_browser import MARKED, press_explain, type_prompt

Open = Callable[..., Page]
PICTURES = 9


def tokens(page: Page) -> Locator:
    return page.get_by_role("toolbar", name="The prompt: tokens to follow").get_by_role("button")


def pictures(page: Page) -> Locator:
    return page.locator("[data-testid=stVegaLiteChart] svg.marks")


def settled(page: Page, text: str) -> None:
    """Wait until the headline and all pictures of the explanation with this text are there."""
    expect(page.get_by_role("toolbar", name="The prompt: tokens to follow")).to_contain_text(text)
    expect(page.get_by_text(re.compile("^(Settled|Not settled yet): "))).to_have_count(1)
    expect(page.get_by_text("Scores of one step")).to_have_count(1)
    expect(pictures(page)).to_have_count(PICTURES)


def picked(page: Page) -> Locator:
    return page.get_by_role("toolbar", name="The prompt: tokens to follow").locator(
        "[aria-pressed=true]"
    )


def choose(page: Page, option: str) -> None:
    page.get_by_test_id("stMain").get_by_role("combobox", name="Explanation").click()
    page.get_by_role("option", name=option).click()


def test_a_click_follows_a_token_in_every_picture_and_back_goes_to_the_explanation_before(
    server: str, open_page: Open
) -> None:
    page = open_page(f"{server}/convergence")
    settled(page, "my flight landed")
    choose(page, "Example: Arithmetic")
    page.wait_for_url(re.compile("example=arithmetic"))
    settled(page, "Two plus three")
    heatmap = pictures(page).nth(4)
    # Cells of what is not picked turn grey; by a click on one of them it is picked, too.
    grey = heatmap.locator("path[fill='#8a8f98']")
    expect(grey).to_have_count(0)
    tokens(page).filter(has_text="plus").click()
    expect(page.get_by_text(re.compile("“plus” has clearly|effect of “plus”"))).to_be_visible()
    expect(grey.first).to_be_visible()
    grey.first.click()
    expect(picked(page)).to_have_count(2)
    tokens(page).filter(has_text="plus").click()
    expect(picked(page)).to_have_count(1)
    # In the player, too; and a bar is as good to click as a cell.
    expect(page.locator(".player .bar.followed")).to_have_count(1)
    pictures(page).nth(7).locator("path[fill='#8a8f98']").first.click()
    expect(picked(page)).to_have_count(2)
    expect(page.locator(".player .bar.followed")).to_have_count(2)
    # The choice is this session's own.
    page.reload()
    settled(page, "Two plus three")
    expect(picked(page)).to_have_count(0)
    page.go_back()
    settled(page, "my flight landed")


def test_the_link_from_explain_shows_how_a_word_came_about(server: str, open_page: Open) -> None:
    page = open_page(f"{server}/explain?example=arithmetic")
    page.get_by_role("link", name="See how it settled").click()
    page.wait_for_url(re.compile("convergence.*example=arithmetic"))
    settled(page, "Two plus three")
    page.get_by_role("toolbar", name="The model's answer").get_by_role("button").filter(
        has_text="."
    ).click()
    expect(page.get_by_text("the chance of “.”")).to_be_visible()
    page.get_by_role("link", name="See what it found").click()
    page.wait_for_url(re.compile("explain.*example=arithmetic"))
    expect(page.get_by_text("What was tried")).to_be_visible()


def test_a_run_settles_before_the_eyes_and_its_text_is_no_markup(
    server: str, open_page: Open
) -> None:
    page = open_page(server)
    type_prompt(page, MARKED, length=1)
    press_explain(page)
    page.wait_for_url(re.compile("run="))
    key = re.search("run=([0-9a-f]{64})", page.url)
    assert key is not None
    page.goto(f"{server}/convergence?run={key[1]}")
    expect(page.get_by_text(re.compile("^(Settled|Not settled yet): "))).to_have_count(
        1, timeout=120_000
    )
    settled(page, MARKED)
    expect(page.get_by_test_id("stMain").get_by_role("combobox", name="Explanation")
           ).to_have_value(f"“{MARKED}”")  # fmt: skip
    count = page.locator(".player .count")
    expect(count).to_have_count(1)  # while the page is drawn again there may be two
    made = re.search(r" of (\d+)$", count.text_content() or "")
    assert made is not None
    page.get_by_role("button", name="Run 64 more steps").click()
    page.wait_for_url(lambda address: "run=" in address and key[1] not in address)
    # To its end: the headline is of a finished run, and every probe has made 64 steps more.
    longer = int(made[1]) + 64 * PRESETS["quick"].probes
    expect(count).to_have_text(re.compile(rf" of {longer}$"), timeout=120_000)
    settled(page, MARKED)
    expect(page.get_by_text(re.compile("^Still running"))).to_have_count(0)
