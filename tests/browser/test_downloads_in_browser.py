"""What is taken away from a page, and a run that goes on, in a real browser."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE
from tests.browser.test_explain_in_browser import (
    MARKED,
    finished,
    press_explain,
    prompt_strip,
    type_prompt,
)

Open = Callable[..., Page]


def downloaded(page: Page, name: str) -> Path:
    """The file behind the button of this name."""
    with page.expect_download() as download:
        page.get_by_role("button", name=name, exact=True).click()
    return Path(download.value.path())


def test_pictures_tables_and_menus(server: str, open_page: Open) -> None:
    page = open_page(f"{server}/?example=travel")
    page.get_by_role("button", name="Save picture of effects").click()
    with Image.open(downloaded(page, "PNG, light")) as image:
        assert image.format == "PNG" and image.width > 1000
    assert ">Thailand</text>" in downloaded(page, "SVG, dark").read_text("utf-8")
    page.keyboard.press("Escape")

    page.set_viewport_size(PHONE)
    expect(page.get_by_role("button", name="Link", exact=True)).to_be_visible()
    # Measured in one go: charts that are still being drawn move what stands below them.
    tops = page.evaluate(
        """names => names.map(name => [...document.querySelectorAll('button')]
            .find(button => button.innerText.startsWith(name)).getBoundingClientRect().top)""",
        ["Download", "Copy as Python", "Link"],
    )
    assert len(set(tops)) == 1
    page.get_by_role("button", name="Download", exact=True).click()
    steps = pd.read_parquet(io.BytesIO(downloaded(page, "Steps, Parquet").read_bytes()))
    scores = pd.read_csv(downloaded(page, "Scores, CSV"))
    assert len(steps) and set(scores["target_index"]) == set(steps["target_index"])
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]


def test_a_run_goes_on_and_can_be_copied(server: str, open_page: Open) -> None:
    page = open_page(server)
    type_prompt(page, MARKED, length=1)
    press_explain(page)
    finished(page, MARKED)
    first = page.url
    page.get_by_role("button", name="Run 64 more steps").click()
    page.wait_for_url(lambda url: "run=" in url and url != first)
    # Before the new steps are made, while they are made and after: the prompt is there.
    expect(prompt_strip(page)).to_contain_text(MARKED)
    finished(page, MARKED)
    page.get_by_role("button", name="Copy as Python", exact=True).click()
    shown = page.get_by_test_id("stCode").filter(has_text="explain_now(request")
    expect(shown).to_be_visible()
    steps = {int(told) for told in re.findall(r"_steps=(\d+)", shown.inner_text())}
    assert len(steps) == 1 and steps.pop() >= 16 + 64
