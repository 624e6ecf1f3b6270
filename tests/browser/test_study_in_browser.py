"""The page Study in a real browser, on the real model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.test_explain_in_browser import RIVER, unasked

Open = Callable[..., Page]
RUN_MS = 240_000  # for a study on a machine that has to load the model first
# A study is told by its rows: that of a test which is run again would be done already. The third
# is long enough for the study to be paused before it is over, however fast the machine.
TABLE = """prompt,answer,clue
The capital of France is,Paris,France
The capital of Spain is,Madrid,Spain
{river},Amazon,Brazil
,,nothing
"""


def upload(page: Page, file: Path) -> None:
    page.locator("input[type=file]").set_input_files(file)


def test_a_file_is_refused_another_is_studied_paused_resumed_and_opened(
    server: str, open_page: Open, tmp_path: Path
) -> None:
    bad, good = tmp_path / "bad.jsonl", tmp_path / "Three facts.csv"
    bad.write_text('{"prompt": "a"}\n{"prompt":\n')
    good.write_text(TABLE.format(river=unasked(RIVER)))
    page = open_page(f"{server}/study")
    main = page.get_by_test_id("stMain")
    expect(main.get_by_text("Start the study")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("Capitals and opposites")
    page.get_by_label("Name", exact=True).press("Enter")
    upload(page, bad)
    expect(main.get_by_text(re.compile("Line 2 is not valid JSON"))).to_be_visible()
    upload(page, good)
    expect(main.get_by_text("Three facts: 4 rows")).to_have_count(1)
    expect(main.get_by_text("is not valid JSON")).to_have_count(0)
    expect(page.get_by_label("Name", exact=True)).to_have_value("Capitals and opposites")
    main.get_by_role("radio", name="Quick").click()
    main.get_by_text("Advanced", exact=True).click()
    draws = main.get_by_role("spinbutton", name="Draws of the faithfulness")
    draws.fill("1")
    draws.press("Enter")
    main.get_by_role("button", name="Start the study").click()

    page.wait_for_url(re.compile(r"study\?study=[0-9a-f]{16}$"))
    expect(main.get_by_text("Capitals and opposites")).to_have_count(1)
    main.get_by_role("button", name="Pause").click()
    expect(main.get_by_text(re.compile("Paused · [0-3] of 4 done"))).to_be_visible(timeout=RUN_MS)
    main.get_by_role("button", name="Resume").click()
    done = main.get_by_text(re.compile("4 of 4 done · 1 failed"))
    expect(done).to_be_visible(timeout=RUN_MS)
    expect(main.get_by_role("button", name="Retry failed")).to_be_visible()
    expect(main.get_by_text("too few to tell it from the others")).to_have_count(1)

    with page.expect_download() as download:
        main.get_by_role("button", name="Report, HTML").click()
    assert "Capitals and opposites" in Path(download.value.path()).read_text("utf-8")
    page.get_by_test_id("stDataFrame").nth(1).click(position={"x": 20, "y": 52})
    strip = page.get_by_role("toolbar", name="The prompt, coloured by ReAGent")
    expect(strip).to_contain_text("The capital of France is")
    main.get_by_role("button", name="Open in Explain").first.click()
    page.wait_for_url(re.compile(r"explain\?run=[0-9a-f]{64}$"))
    expect(page.get_by_text(re.compile("mattered most for “Paris”"))).to_have_count(1)

    # The list of studies knows it, for whoever comes later.
    other = open_page(f"{server}/study")
    expect(other.get_by_text("Studies on this machine")).to_be_visible()
    other.get_by_test_id("stDataFrame").first.click(position={"x": 20, "y": 52})
    other.wait_for_url(re.compile(r"study\?study=[0-9a-f]{16}$"))
    expect(other.get_by_text("Capitals and opposites")).to_have_count(1)


def test_it_fits_a_phone(server: str, open_page: Open) -> None:
    page = open_page(f"{server}/study")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.get_by_text("Start the study")).to_be_visible()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
