"""The page Library in a real browser, on a database that another process writes to."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from reagent_core.store import Store
from scripts.served_app import link_model, serve, stop
from tests.browser.test_convergence_in_browser import pictures
from tests.test_library import FIXTURES, A, B, C, about

Open = Callable[..., Page]
HOSTILE = "<img src=http://localhost:9/x onerror=alert(1)> **b** =1+1"

# Of such text Streamlit makes links, pictures and arrows where it reads Markdown.
TURNING = (
    "www.evil.example, https://evil.example/a, me@evil.example :smile: :material/home: "
    ":streamlit: a -> b -- **c**"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of these tests' own, with the bundled model."""
    folder = tmp_path_factory.mktemp("library")
    link_model(folder)
    return folder


@pytest.fixture(scope="module")
def app(cache: Path) -> Iterator[str]:
    process, address = serve({**os.environ, "REAGENT_CACHE_DIR": str(cache)})
    yield address
    stop(process)


@pytest.fixture
def library(cache: Path) -> Iterator[Store]:
    """Three entries, of which none is deleted, named or tagged, whatever a test before has done."""
    store = Store(cache / "explanations.sqlite3")
    store.put(A, about("The capital of France is", " Paris"))
    hostile = about(HOSTILE, " <b>")
    verdict = hostile.verdict.model_copy(update={"text": TURNING, "warnings": (f"Ask {TURNING}",)})
    store.put(B, hostile.model_copy(update={"verdict": verdict}))
    store.put(C, about("Über den Wolken", " muss"))
    for key in (A, B, C):
        store.rename(key, None)
        store.tag([key], remove=store.entry(key).tags)
    yield store
    store.close()


@pytest.fixture
def address(app: str, library: Store) -> str:
    return f"{app}/library"


def click_row(page: Page, number: int) -> None:
    """Tick the row, counted from 0; the table is drawn on a canvas."""
    page.get_by_test_id("stDataFrame").click(position={"x": 20, "y": 52 + 35 * number})


def rows(page: Page, count: int) -> None:
    """Wait until the table has so many rows."""
    expect(page.get_by_text(f"{count} found, newest first")).to_be_visible()
    page.wait_for_timeout(500)  # the canvas draws what the page has said


def test_find_name_tag_open_delete_and_undo(library: Store, address: str, open_page: Open) -> None:
    page = open_page(address)
    rows(page, 3)
    page.get_by_placeholder("Search in prompts").fill("ÜBER")
    rows(page, 1)
    click_row(page, 0)
    expect(page.get_by_text("“Über den Wolken”")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("Clouds")
    page.get_by_label("Name", exact=True).press("Enter")
    expect(page.locator(".plain", has_text=re.compile("^Clouds$"))).to_be_visible()
    page.get_by_role("combobox", name=re.compile("Tags")).fill("songs")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("stMultiSelect").get_by_text("songs")).to_be_visible()
    page.keyboard.press("Escape")  # the open list hides what is around it

    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Deleted 1 explanation")).to_be_visible()
    expect(page.get_by_text("No explanation is like that")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    rows(page, 1)
    assert (library.entry(C).name, library.entry(C).tags) == ("Clouds", ("songs",))

    click_row(page, 0)
    page.get_by_test_id("stMain").get_by_role("link", name="Open").click()
    page.wait_for_url(re.compile(f"run={C}"))
    expect(page.get_by_role("toolbar", name="The prompt, coloured by importance")).to_contain_text(
        "Über den Wolken"
    )


def test_several_are_exported_and_hostile_texts_stay_texts(address: str, open_page: Open) -> None:
    page = open_page(address)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(dialog.message))
    page.get_by_placeholder("Search in prompts").fill("of ONERROR")
    expect(page.get_by_text("No explanation is like that")).to_be_visible()
    page.get_by_placeholder("Search in prompts").fill("onerror")
    rows(page, 1)
    click_row(page, 0)
    expect(page.locator(".plain", has_text=HOSTILE)).to_be_visible()
    page.get_by_placeholder("Search in prompts").fill("")
    rows(page, 3)
    click_row(page, 1)
    click_row(page, 2)
    expect(page.get_by_text("2 explanations selected")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 5
    assert not [each for each in asked if "localhost:9/" in each or each == "1"]


def test_addresses_in_the_words_of_a_file_are_no_links(address: str, open_page: Open) -> None:
    page = open_page(f"{address.removesuffix('/library')}/explain?run={B}")
    told = page.get_by_test_id("stMain").get_by_test_id("stCaptionContainer")
    for caption in (told.filter(has_text="www").first, told.filter(has_text="Ask").first):
        expect(caption).to_be_visible()
        assert caption.text_content().replace("\N{WORD JOINER}", "").endswith(TURNING)
        assert caption.locator("a, img, strong").count() == 0
    assert page.locator("a[href*='evil.example']").count() == 0


def test_what_one_session_deletes_and_brings_back_another_sees(
    library: Store, address: str, open_page: Open
) -> None:
    first, second = open_page(address), open_page(address)
    for page in (first, second):
        rows(page, 3)
    click_row(second, 2)
    expect(second.get_by_text("“The capital of France is”")).to_be_visible()
    click_row(first, 2)
    first.get_by_role("button", name="Delete").click()
    rows(first, 2)

    # The other one still shows it, selected; what it does next shows that it is gone.
    second.get_by_placeholder("Search in prompts").fill("capital")
    expect(second.get_by_text("No explanation is like that")).to_be_visible()
    expect(second.get_by_text("“The capital of France is”")).to_have_count(0)
    second.get_by_placeholder("Search in prompts").fill("")
    rows(second, 2)
    second.get_by_text("Show what was deleted (1)").click()
    rows(second, 1)
    click_row(second, 0)
    second.get_by_role("button", name="Bring back 1 explanation").click()
    first.get_by_placeholder("Search in prompts").fill("capital")
    rows(first, 1)
    assert library.entry(A).deleted is None


def test_a_file_is_imported_and_opened_and_half_of_it_is_refused(
    server: str, open_page: Open, tmp_path: Path
) -> None:
    whole, half = FIXTURES / "iterations_data.json", tmp_path / "half.json"
    half.write_bytes(whole.read_bytes()[:1000])
    page = open_page(f"{server}/library")
    kept = page.get_by_text(re.compile(r"^[\d,]+ kept, "))
    before = kept.inner_text()
    page.get_by_test_id("stExpander").filter(has_text="Import a file").locator("summary").click()
    upload = page.locator("input[type=file]")
    upload.set_input_files(half)
    expect(page.get_by_text("“half.json”: This file is not valid JSON")).to_be_visible()
    expect(kept).to_have_text(before)
    upload.set_input_files(whole)
    page.wait_for_url(re.compile("/convergence.run=[0-9a-f]{64}$"))
    expect(page.get_by_text(re.compile("^(Settled|Not settled yet): "))).to_be_visible()
    expect(page.get_by_text("Token boundaries were rebuilt")).to_be_visible()
    expect(pictures(page)).to_have_count(8)
