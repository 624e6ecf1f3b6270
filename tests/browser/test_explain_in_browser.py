"""The page Explain in a real browser, on the real model."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count

from playwright.sync_api import Locator, Page, expect

Open = Callable[..., Page]

# Asked for in several tests, with the quickest settings: an equal run is computed once a server.
MARKED = "Two **plus** <b>three</b> is"
# Said many times it makes a prompt whose runs take long on any machine.
RIVER = "The longest river that flows through Brazil is called "
HOSTILE = "<img src=http://localhost:9/x onerror=alert(1)> **bold** [a](http://localhost:9/y)"
_NUMBERS = count(2)


def unasked(prompt: str) -> str:
    """The prompt as no test has asked for it, nor this one where it is run again: what is known
    already does not run."""
    return f"{next(_NUMBERS)} years ago. {prompt}".strip()


def prompt_strip(page: Page) -> Locator:
    return page.get_by_role("toolbar", name="The prompt, coloured by importance")


def answer_strip(page: Page) -> Locator:
    return page.get_by_role("toolbar", name="The model's answer")


def type_prompt(page: Page, text: str, *, length: int | None = None) -> None:
    """Fill the form; the Quick preset keeps the tests short."""
    page.get_by_label("Your prompt").fill(text)
    page.get_by_text("Advanced").click()
    page.get_by_role("radio", name="Quick").click()
    if length is not None:
        page.get_by_role("spinbutton", name="Length of the answer").fill(str(length))
        page.keyboard.press("Enter")


def press_explain(page: Page) -> None:
    page.get_by_role("button", name="Explain", exact=True).click()


def finished(page: Page, prompt: str) -> None:
    """Wait until the run of this prompt shows its verdict and nothing moves any more."""
    page.wait_for_url(re.compile("run="))
    expect(prompt_strip(page)).to_contain_text(prompt)  # what stood there before is gone
    expect(page.get_by_text(re.compile("^(Settled|Not settled): "))).to_be_visible(timeout=120_000)
    expect(page.get_by_test_id("stMain").get_by_test_id("stProgress")).to_have_count(0)


def test_it_opens_on_a_finished_example_whose_tokens_can_be_clicked(
    server: str, open_page: Open
) -> None:
    page = open_page(server)
    expect(page.get_by_text("“Thailand” mattered most for")).to_be_visible()
    expect(page.get_by_text("With only “Thailand” replaced")).to_be_visible()
    expect(prompt_strip(page)).to_contain_text("When my flight landed in Thailand")
    expect(answer_strip(page)).to_contain_text("Bangkok")
    expect(page.get_by_text("What was tried")).to_be_visible()
    expect(page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg")
           ).to_have_count(4)  # fmt: skip
    # A click selects, a second one lets go.
    token = prompt_strip(page).get_by_role("button").filter(has_text="Thailand")
    token.click()
    expect(token).to_have_attribute("aria-pressed", "true")
    token.click()
    expect(token).to_have_attribute("aria-pressed", "false")


def test_every_example_opens(server: str, open_page: Open) -> None:
    page = open_page(server)
    for title, text in [
        ("why", "Anna was hungry"),
        ("Arithmetic", "Two plus three"),
        ("Sentiment", "The food was delicious"),
        ("One sentence", "under the red flowerpot"),
        ("chat turn", "the capital of Japan"),
        ("hidden fact", "When my flight landed"),
    ]:
        page.get_by_role("radio", name=re.compile(title)).click()
        page.wait_for_url(re.compile("example="))
        expect(prompt_strip(page)).to_contain_text(text)
        expect(page.locator(".headline").first).to_contain_text("mattered most for")


def test_the_strip_works_by_keyboard(server: str, open_page: Open) -> None:
    page = open_page(f"{server}/?example=chat")
    words = answer_strip(page).get_by_role("button")
    words.filter(has_text="Tokyo").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("for the word “is”|for “is”"))).to_be_visible()


def test_two_sessions_explain_a_new_prompt_to_the_end_by_one_run(
    server: str, open_page: Open
) -> None:
    page, second = open_page(server), open_page(server)
    for each in (page, second):
        type_prompt(each, "The capital of France is", length=2)
        press_explain(each)
        each.wait_for_url(re.compile("run="))
    # A widget that is touched restarts nothing.
    page.get_by_label("Your prompt").fill("something else meanwhile")
    page.get_by_label("Your prompt").press("Control+Enter")
    finished(page, "The capital of France is")
    finished(second, "The capital of France is")
    assert page.url == second.url
    expect(page.get_by_label("Your prompt")).to_have_value("something else meanwhile")
    answer_strip(page).get_by_role("button").filter(has_text="Paris").click()
    expect(page.get_by_text("“France” mattered most for “Paris”")).to_be_visible()

    # The link opens the same explanation again, without a new run.
    second.reload()
    expect(prompt_strip(second)).to_contain_text("The capital of France is")
    expect(second.get_by_text(re.compile("^(Settled|Not settled): "))).to_be_visible()

    page.get_by_role("button", name="Download", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    assert '"schema_version":2' in download.value.path().read_text("utf-8")
    with page.expect_download() as download:
        page.get_by_role("button", name="HTML").click()
    assert "France" in download.value.path().read_text("utf-8")


def test_cancel_keeps_what_was_found(server: str, open_page: Open) -> None:
    page = open_page(server)
    # Long enough to be running still, however fast the machine.
    page.get_by_label("Your prompt").fill(unasked(RIVER * 5))
    page.get_by_text("Advanced").click()
    page.get_by_role("radio", name="Thorough").click()
    press_explain(page)
    main = page.get_by_test_id("stMain")
    expect(main.get_by_text(re.compile(r"^[1-9]\d* of up to"))).to_be_visible(timeout=90_000)
    main.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text(re.compile(r"Stopped after \d+ of up to 1000 steps"))).to_be_visible()
    expect(prompt_strip(page)).to_contain_text("longest river")
    expect(page.get_by_label("Your prompt")).to_have_value(re.compile("longest river"))


def test_a_link_to_nothing_says_so(server: str, open_page: Open) -> None:
    page = open_page(f"{server}/?run={'0' * 64}")
    expect(page.get_by_text("not kept here any more")).to_be_visible()


def test_hostile_text_stays_text(server: str, open_page: Open) -> None:
    page = open_page(server)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(dialog.message))
    type_prompt(page, HOSTILE, length=1)
    press_explain(page)
    finished(page, "onerror=alert(1)> **bold** [a](http")
    assert page.locator("img[src*='localhost:9']").count() == 0
    assert not [request for request in asked if "localhost:9/" in request or request == "1"]


def test_bad_input_is_a_sentence_and_nothing_typed_is_lost(server: str, open_page: Open) -> None:
    page = open_page(server)
    page.get_by_label("Your prompt").fill("   ")
    press_explain(page)
    expect(page.get_by_text("This is empty. Type some text")).to_be_visible()

    page.get_by_label("Your prompt").fill("word " * 3000)
    press_explain(page)
    said = page.get_by_test_id("stAlertContentError")
    expect(said).to_contain_text(
        re.compile(r"This prompt has 3,\d+ tokens; this program explains"), timeout=90_000
    )
    expect(page.get_by_label("Your prompt")).to_have_value("word " * 3000)
    expect(page.get_by_text("Traceback")).to_have_count(0)
