"""What axe-core finds on every page, and what the keyboard reaches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

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
    return style.outlineStyle !== "none" || style.boxShadow !== "none";
  });
  const name = focused.getAttribute("aria-label") || focused.innerText || "";
  return {tag: focused.tagName, name: name.trim(), seen};
}"""


def labels_of_charts(page: Page) -> list[str]:
    labels: list[str] = page.get_by_test_id("stVegaLiteChart").evaluate_all(
        "charts => charts.map(chart => chart.getAttribute('aria-label'))"
    )
    return labels


def test_charts_of_convergence_say_what_they_show(server: str, open_page: Open) -> None:
    (view,) = [view for view in views() if view.page == "convergence"]
    labels = labels_of_charts(opened(open_page, server, view))
    assert [label.split()[0].strip(":") for label in labels] == [
        "Line", "Dot", "Dot", "Dot", "Heatmap", "Line", "Line", "Bar", "Bar",
    ]  # fmt: skip


def test_charts_say_what_they_show_and_the_keyboard_reaches_everything_and_shows_where_it_is(
    server: str, open_page: Open
) -> None:
    page = opened(open_page, server, views()[0])
    labels = labels_of_charts(page)
    assert [label.split()[0].strip(":") for label in labels] == ["Line", "Bar", "Line", "Line"]
    assert all("“Thailand”" in label for label in labels[:2])
    assert all("random orders" in label for label in labels[2:])  # those of the check
    stops = []
    for _ in range(100):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUSED))
        if stops[-1]["tag"] == "BODY":
            break
    names = [stop["name"] for stop in stops]
    for wanted in (
        "Your prompt", "Plain text", "Explain", "Advanced", "A hidden fact", "“When”. Without it",
        "“Bangkok”. The model gave it", "Save picture of", "When my flight", "Copy as Python",
        "Link", "See how it settled", "Run 64 more steps",
    ):  # fmt: skip
        assert any(wanted in name for name in names), wanted
    # Text fields show it by their frame, and the main part is there to be scrolled.
    hidden = [
        stop["name"]
        for stop in stops
        if not stop["seen"] and stop["tag"] not in ("INPUT", "TEXTAREA", "MAIN", "BODY")
    ]
    assert hidden == []
