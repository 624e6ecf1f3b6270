"""What axe-core finds on every page, and what the keyboard reaches."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from scripts.served_app import View, views, wait_for_content, wait_until_drawn

Open = Callable[..., Page]

SERIOUS = ("serious", "critical")
# A change of theme changes colours alone, so that the other rules need not be looked at again.
LOOKS = (("light", 1280, None), ("dark", 1280, "color-contrast"), ("dark", 390, None),
         ("light", 390, "color-contrast"))  # fmt: skip


def opened(open_page: Open, address: str, view: View) -> Page:
    """The page, drawn to its end."""
    page = open_page(address + view.path)
    wait_for_content(page, view)
    wait_until_drawn(page)
    return page


def violations(page: Page, rule: str | None = None) -> list[str]:
    """What is serious, one line each place; of one rule alone if it is named."""
    options: dict[str, object] = {"resultTypes": ["violations"]}
    if rule:
        options["runOnly"] = [rule]
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{violation['id']}: {node['html'][:200]} {node['failureSummary']}"
        for violation in found
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("view", views(), ids=lambda view: view.page)
def test_axe_finds_nothing_serious(server: str, open_page: Open, view: View) -> None:
    page = opened(open_page, server, view)
    found = {}
    for theme, width, rule in LOOKS:
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(500)  # colours and the sidebar move there
        wait_until_drawn(page)
        found[theme, width] = violations(page, rule)
    assert found == {(theme, width): [] for theme, width, _ in LOOKS}


FOCUSED = """() => {
  let focused = document.activeElement;
  while (focused.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement;
  const seen = [focused, focused.querySelector(".ink")].filter(Boolean).some((element) => {
    const style = getComputedStyle(element);
    if (style.outlineStyle !== "none" || style.boxShadow !== "none") return true;
    // A part of a date turns blue.
    return element.role === "spinbutton" && style.backgroundColor !== "rgba(0, 0, 0, 0)";
  });
  const name = focused.getAttribute("aria-label") || focused.innerText || "";
  return {tag: focused.tagName, name: name.trim(), seen};
}"""


class Walk(NamedTuple):
    """What a page offers to those who do not see it or have no mouse: how the labels of its
    charts begin, and some of the names that Tab comes to."""

    page: str
    charts: tuple[str, ...]
    names: tuple[str, ...]


WALKS = (
    Walk(
        "explain",
        ("Line.*“Thailand”", "Bar.*“Thailand”", "Line.*random orders", "Line.*random orders"),
        ("Your prompt", "Plain text", "Explain", "Advanced", "A hidden fact",
         "“When”. Without it", "“Bangkok”. The model gave it", "Save picture of",
         "When my flight", "Copy as Python", "Link", "See how it settled", "Run 64 more steps"),
    ),
    Walk(
        "convergence",
        ("Line", "Dot", "Dot", "Dot", "Heatmap", "Line", "Line", "Bar", "Bar"),
        ("Explanation", "“When”. Without it", "“Bangkok”. The model gave it", "Effect",
         "Save picture of curves", "Play", "Step", "Agreement of each two probes", "After step",
         "Save picture of softmax scores", "Download", "See what it found", "Run 64 more steps"),
    ),
    Walk(
        "compare",
        (),
        ("Prompts", "Each its own answer", "Prompt A", "Prompt B", "Model", "Add a column",
         "Compare", "Advanced", "“The”. Without it", "“She”. Without it",
         "“Paris”. The model gave it 10%", "Words and their effects", "CSV", "Copy as Python"),
    ),
    Walk(
        "library",
        (),
        ("Import a file", "Search", "Model", "Verdict", "Tag", "year, Kept from, to start date",
         "Download as CSV: The explanations that are kept"),
    ),
)  # fmt: skip


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.page)
def test_charts_say_what_they_show_and_the_keyboard_reaches_everything_and_shows_where_it_is(
    server: str, open_page: Open, walk: Walk
) -> None:
    (view,) = [view for view in views() if view.page == walk.page]
    page = opened(open_page, server, view)
    labels = page.get_by_test_id("stVegaLiteChart").evaluate_all(
        "charts => charts.map(chart => chart.getAttribute('aria-label'))"
    )
    assert len(labels) == len(walk.charts)
    for label, wanted in zip(labels, walk.charts, strict=True):
        assert re.match(wanted, label), label
    stops = []
    for _ in range(100):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUSED))
        if stops[-1]["tag"] == "BODY":
            break
    assert stops[-1]["tag"] == "BODY"  # and it leads out again
    names = [stop["name"] for stop in stops]
    for wanted in walk.names:
        assert any(wanted in name for name in names), wanted
    # Text fields show it by their frame, a table paints the cell, and the main part is there to
    # be scrolled.
    own = ("INPUT", "TEXTAREA", "CANVAS", "TD", "MAIN", "BODY")
    hidden = [stop["name"] for stop in stops if not stop["seen"] and stop["tag"] not in own]
    assert hidden == []


def test_a_row_of_the_library_is_chosen_without_a_mouse(server: str, open_page: Open) -> None:
    (view,) = [view for view in views() if view.page == "library"]
    page = opened(open_page, server, view)
    page.get_by_role("button", name="Fullscreen: The explanations that are kept").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Space")
    expect(page.get_by_test_id("stMain").get_by_role("button", name="Export")).to_be_visible()
    assert violations(page) == []
