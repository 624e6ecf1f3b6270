"""What all pages share, in a real browser: addresses, the tray, and what stays across pages."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from scripts.served_app import View, views, wait_for_content, wait_until_drawn
from tests.browser.conftest import PHONE
from tests.browser.test_explain_in_browser import (
    RIVER,
    finished,
    press_explain,
    type_prompt,
    unasked,
)

Open = Callable[..., Page]

VIEWS = views()
# Where to when any other page will do: the one that draws least.
OTHER = next(view for view in VIEWS if view.page == "library")


def ready(page: Page, view: View) -> None:
    """The content is there, and nothing is wrong with it."""
    wait_for_content(page, view)
    wait_until_drawn(page)
    expect(page.get_by_text("Page not found")).to_have_count(0)
    expect(page.get_by_test_id("stException")).to_have_count(0)


def sidebar(page: Page) -> Locator:
    return page.get_by_test_id("stSidebar")


def go(page: Page, view: View) -> None:
    """By the navigation of the sidebar."""
    page.get_by_test_id("stSidebarNav").get_by_role("link").nth(VIEWS.index(view)).click()
    page.wait_for_url(re.compile(rf"/{view.page}(\?|$)"))


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.page)
def test_a_page_opens_by_its_link_on_a_fresh_server(
    fresh_server: str, open_page: Open, view: View
) -> None:
    page = open_page(fresh_server + view.path)
    ready(page, view)
    expect(sidebar(page).get_by_text("How it works")).to_be_visible()  # the shell is around it


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.page)
def test_a_page_opens_again_by_reload_and_back_and_on_a_phone(
    server: str, open_page: Open, view: View
) -> None:
    page = open_page(server + view.path)
    ready(page, view)
    page.reload()
    ready(page, view)
    assert page.url.endswith(view.path)
    other = VIEWS[0] if view != VIEWS[0] else OTHER
    go(page, other)
    ready(page, View(other.page))
    page.go_back()
    page.wait_for_url(re.compile(re.escape(view.path) + "$"))
    ready(page, view)
    phone = open_page(server + view.path, viewport=PHONE)  # a session of its own, beside the other
    ready(phone, view)
    assert phone.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
    expect(sidebar(phone)).to_have_attribute("data-collapsed", "true")


def test_what_was_typed_and_shown_survives_a_visit_to_another_page(
    server: str, open_page: Open
) -> None:
    explain, other = VIEWS[0], OTHER
    page = open_page(f"{server}/explain?example=arithmetic")
    ready(page, explain)
    page.get_by_label("Your prompt").fill("The opposite of hot is")
    page.get_by_text("Advanced").click()
    page.get_by_role("radio", name="Quick").click()
    page.get_by_role("spinbutton", name="Seed").fill("5")
    page.keyboard.press("Enter")
    go(page, other)
    ready(page, View(other.page))
    go(page, explain)
    expect(page).to_have_url(re.compile("example=arithmetic"))
    expect(page.get_by_label("Your prompt")).to_have_value("The opposite of hot is")
    expect(page.get_by_text("Two plus three equals").first).to_be_visible()
    page.get_by_text("Advanced").click()
    expect(page.get_by_role("spinbutton", name="Seed")).to_have_value("5")
    expect(page.get_by_role("radio", name="Quick")).to_be_checked()


def test_a_run_that_ends_on_another_page_is_announced_and_opened_from_the_tray(
    server: str, open_page: Open
) -> None:
    # Long enough not to end before the page is left.
    prompt = unasked(RIVER * 2)
    page = open_page(server)
    type_prompt(page, prompt, length=1)
    page.get_by_role("radio", name="Standard").click()
    press_explain(page)
    page.wait_for_url(re.compile("run="))
    go(page, OTHER)
    toast = page.get_by_test_id("stToast")
    told = re.compile(f"“{re.escape(prompt[:20])}.*” is explained")
    expect(toast).to_contain_text(told, timeout=120_000)
    expect(sidebar(page).get_by_role("button", name="Cancel")).to_have_count(0)
    sidebar(page).get_by_role("link", name="Open").first.click()
    finished(page, prompt)
    expect(page.get_by_label("Your prompt")).to_have_value(prompt)


def test_a_run_goes_on_over_a_reload_and_can_still_be_cancelled(
    server: str, open_page: Open
) -> None:
    page = open_page(server)
    # Long enough to be running still, however fast the machine.
    type_prompt(page, unasked(RIVER * 12))
    page.get_by_role("radio", name="Thorough").click()
    press_explain(page)
    page.wait_for_url(re.compile("run="))
    expect(sidebar(page).get_by_role("button", name="Cancel")).to_be_visible()
    page.reload()
    expect(sidebar(page).get_by_role("button", name="Cancel")).to_be_visible()
    # The page it was before waits for it no more: it stops at once.
    sidebar(page).get_by_role("button", name="Cancel").click()
    expect(sidebar(page).get_by_text("Nothing is running.")).to_be_visible()
    expect(page.get_by_text(re.compile("^Stopped "))).to_be_visible(timeout=60_000)
