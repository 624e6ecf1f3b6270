"""The page Compare in a real browser, on the real model."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from playwright.sync_api import Error, Locator, Page, expect

from scripts.served_app import wait_until_drawn
from tests.browser.conftest import DESKTOP, PHONE
from tests.browser.test_accessibility_in_browser import violations
from tests.browser.test_explain_in_browser import HOSTILE

Open = Callable[..., Page]
RUN_MS = 180_000  # for a run on a machine that has to load the model first
EXAMPLE = "/compare?runs=capital,capital-distracted"


def prompt(page: Page, letter: str) -> Locator:
    return page.get_by_role("toolbar", name=f"Prompt {letter}, coloured by importance")


def box(page: Page, letter: str) -> Locator:
    return page.get_by_role("textbox", name=f"Prompt {letter}")


def answer(page: Page, letter: str) -> Locator:
    return page.get_by_role("toolbar", name=f"Answer {letter}")


def table(page: Page) -> Locator:
    return page.get_by_role("region", name="Words and their effects")


def type_prompts(page: Page, first: str, second: str, length: int = 1) -> None:
    """The quickest run of two prompts."""
    expect(table(page)).to_be_visible()  # what is typed while the page is drawn would be lost
    page.get_by_role("button", name="Remove").last.click()  # the example has three
    expect(box(page, "C")).to_have_count(0)
    box(page, "A").fill(first)
    box(page, "B").fill(second)
    page.get_by_text("Advanced").click()
    page.get_by_label("Length of the answer").fill(str(length))
    page.get_by_label("Length of the answer").press("Enter")
    choose(page, "Preset", "Quick")


def choose(page: Page, label: str, option: str) -> None:
    """Open a list and choose from it; again, where what was typed before has closed it."""
    for attempt in range(5):
        page.get_by_role("combobox", name=label).click()
        try:
            page.get_by_role("option", name=option).click(timeout=3_000 * (attempt + 1))
            return
        except Error:
            page.keyboard.press("Escape")
    raise AssertionError(f"{option} could not be chosen")


def press_compare(page: Page) -> None:
    page.get_by_test_id("stMain").get_by_role("button", name="Compare", exact=True).click()


def test_a_link_shows_a_comparison_again_and_back_goes_to_the_one_before(
    server: str, open_page: Open
) -> None:
    page = open_page(f"{server}{EXAMPLE}")
    told = page.get_by_text("makes the model answer “Paris” with 10% instead of 77%")
    expect(told).to_have_count(1)
    expect(prompt(page, "B")).to_contain_text("She lived in London")
    page.reload()
    expect(prompt(page, "B")).to_contain_text("She lived in London")
    expect(box(page, "B")).to_have_value(re.compile("She lived in London"))
    page.get_by_text("One prompt, two seeds").click()
    expect(prompt(page, "B")).to_have_text(re.compile("^The.capital.of.France.is$"))
    page.go_back()
    expect(prompt(page, "B")).to_contain_text("She lived in London")


def test_words_are_marked_and_the_noise_is_grey_and_says_so(server: str, open_page: Open) -> None:
    page = open_page(f"{server}/compare")
    expect(prompt(page, "B").locator(".changed")).to_have_text(["cold", "rude"])
    expect(prompt(page, "C").locator(".moved").first).to_have_text("The")
    cell = table(page).locator("td", has_text="within the noise").first
    clear = table(page).locator("td:not(.noise)").first
    colour = "element => getComputedStyle(element).color"
    assert cell.evaluate(colour) != clear.evaluate(colour)
    # A word that is clicked is found in the table.
    prompt(page, "A").get_by_role("button").filter(has_text="staff").click()
    expect(table(page).locator(".chosen th")).to_have_text("“staff”")
    # Another word of an answer is another target.
    answer(page, "A").get_by_role("button").nth(1).click()
    expect(page.get_by_role("meter", name="Chance of “.”")).to_be_visible()
    expect(page.get_by_text("What is shown differs")).to_be_visible()

    # On a phone the columns stack.
    page.set_viewport_size(PHONE)
    first, second = prompt(page, "A"), prompt(page, "B")
    page.wait_for_function(
        "([first, second]) => first.getBoundingClientRect().bottom"
        " < second.getBoundingClientRect().top",
        arg=[first.element_handle(), second.element_handle()],
    )
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]


def test_four_prompts_stand_side_by_side(server: str, open_page: Open) -> None:
    page = open_page(f"{server}{EXAMPLE},capital-reworded,capital-seed")
    strips = [prompt(page, letter) for letter in "ABCD"]
    expect(strips[-1]).to_have_text(re.compile("^The.capital.of.France.is$"))
    wait_until_drawn(page)
    boxes = [found for strip in strips if (found := strip.bounding_box())]
    assert len({each["y"] for each in boxes}) == 1
    for left, right in pairwise(boxes):
        assert left["x"] + left["width"] < right["x"]
    # Wide enough for the words: none is cut, and nothing stands outside the window.
    assert boxes[-1]["x"] + boxes[-1]["width"] < DESKTOP["width"]
    cut = "element => element.scrollWidth > element.clientWidth"
    assert not any(each.evaluate(cut) for each in (*strips, table(page)))
    assert page.evaluate("document.scrollingElement.scrollWidth") <= DESKTOP["width"]
    assert violations(page) == []


def test_two_sessions_compare_the_same_to_the_end(server: str, open_page: Open) -> None:
    first, second = open_page(f"{server}/compare"), open_page(f"{server}/compare")
    asked: list[str] = []
    first.on("request", lambda request: asked.append(request.url))
    first.on("dialog", lambda dialog: asked.append(dialog.message))
    for page in (first, second):
        type_prompts(page, "The opposite of hot is", HOSTILE)
        press_compare(page)
    for page in (first, second):
        expect(prompt(page, "B")).to_contain_text("onerror=alert(1)>", timeout=RUN_MS)
        expect(page.get_by_text(re.compile("^[AB]: "))).to_have_count(0)
        expect(table(page)).to_contain_text("onerror")
    assert first.url == second.url
    # What was typed is text: nothing of it was loaded or run.
    assert first.locator("img[src*='localhost:9']").count() == 0
    assert not [request for request in asked if "localhost:9/" in request or request == "1"]

    with first.expect_download() as download:
        first.get_by_test_id("stMain").get_by_role("button", name="CSV").click()
    assert download.value.path().read_text("utf-8").startswith('"word","prompt","text","kind",')

    # The link opens the same in another session, without a new run, and fills its form.
    other = open_page(first.url)
    expect(prompt(other, "B")).to_contain_text("onerror=alert(1)>")
    expect(box(other, "A")).to_have_value("The opposite of hot is")

    # What is typed survives another page, and the address brings the comparison back.
    box(first, "A").fill("not asked yet")
    box(first, "A").press("Control+Enter")
    first.get_by_test_id("stSidebarNav").get_by_role("link", name="Explain").click()
    expect(first.get_by_label("Your prompt")).to_be_visible()
    first.go_back()
    expect(prompt(first, "B")).to_contain_text("onerror=alert(1)>")
    expect(box(first, "A")).to_have_value("not asked yet")
