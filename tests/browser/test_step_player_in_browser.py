"""The step player in a real browser: on the page Method, and by itself while a run grows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

from components.examples import explanation_of
from components.step_player import player_data
from reagent_core.explanation import Explanation
from reagent_core.stepping import points, step_through
from reagent_core.wording import percent, visible
from scripts.served_app import ROOT
from tests.browser.conftest import PHONE
from tests.examples import make_explanation

Open = Callable[..., Page]


def slider(page: Page) -> Locator:
    return page.get_by_role("slider", name="Step", exact=True)


def count(page: Page) -> Locator:
    return page.locator(".player .count")


def go_to(page: Page, step: int) -> None:
    slider(page).fill(str(step))
    expect(count(page)).to_have_text(re.compile(f"^Step {step} of"))


def drawer(open_page: Open) -> Callable[..., Page]:
    """Draws an explanation, again and again in the same place, as a growing run does."""
    page = open_page("about:blank")
    page.evaluate(
        """async (source) => {
            const made = await import("data:text/javascript," + encodeURIComponent(source));
            window.draw = made.default;
        }""",
        (ROOT / "assets" / "step_player.js").read_text("utf-8"),
    )

    def draw(explanation: Explanation, followed: dict[int, str] | None = None) -> Page:
        steps = step_through(explanation)
        assert steps is not None
        data: dict[str, Any] = player_data(explanation, steps, followed)
        page.evaluate("(data) => draw({ parentElement: document.body, data })", data)
        return page

    return draw


def growing(made: int) -> Explanation:
    explanation = make_explanation(steps=40, status="running")
    return explanation.model_copy(update={"trace": explanation.trace[:made]})


def test_the_page_leads_to_a_prompt_of_ones_own_and_back(server: str, open_page: Open) -> None:
    page = open_page(f"{server}/method")
    expect(page.get_by_text("Before the first step the model gives “Bangkok” 33%")).to_be_visible()
    # All from the title to the last thing that a score is not, without scrolling.
    title = page.get_by_role("heading", name="How do we know which words mattered?")
    for part in (title, page.get_by_text("give other scores"), page.get_by_text("may matter, too")):
        expect(part).to_be_in_viewport(ratio=1)
    page.get_by_role("link", name="Try it on your own prompt").click()
    expect(page.get_by_label("Your prompt")).to_be_visible()
    page.go_back()
    expect(page.get_by_text("What a score is not")).to_be_visible()
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_it_plays_pauses_and_goes_by_hand(server: str, open_page: Open) -> None:
    steps = step_through(explanation_of("travel"))
    assert steps is not None
    # The first time that “Thailand” became something else.
    place = next(i for i, f in enumerate(steps.frames, 1) if "“Thailand” became" in f.sentence)
    frame, last = steps.frames[place - 1], len(steps.frames)
    page = open_page(f"{server}/method")
    sentence = page.locator(".player .sentence")
    page.get_by_label("Speed").select_option("Fast")
    page.get_by_role("button", name="Play").click()
    expect(sentence).to_have_attribute("aria-live", "off")
    expect(count(page)).to_have_text(re.compile(r"^Step [1-9]\d+ of "))
    page.get_by_role("button", name="Pause").click()
    expect(sentence).to_have_attribute("aria-live", "polite")

    go_to(page, place)
    expect(sentence).to_have_text(frame.sentence)
    expect(page.locator(".player del")).to_have_text("Thailand")
    expect(page.locator(".player ins")).to_have_text(visible(frame.replacements[0]))
    expect(page.locator(".player .now")).to_have_text(percent(frame.probability))
    expect(page.locator(".player .points")).to_have_text(points(frame.change))
    bar = page.locator(".player .replaced")
    expect(bar.locator(".name")).to_have_text("Thailand")
    expect(bar.locator(".moved")).to_have_class("moved gain")

    # By keyboard: the slider and the buttons are the browser's own.
    slider(page).focus()
    page.keyboard.press("ArrowRight")
    expect(count(page)).to_have_text(f"Step {place + 1} of {last}")
    page.get_by_role("button", name="One step back").press("Enter")
    expect(count(page)).to_have_text(f"Step {place} of {last}")
    slider(page).focus()
    page.keyboard.press("End")
    expect(page.get_by_role("button", name="One step on")).to_be_disabled()
    expect(page.get_by_text(f"After {last} steps")).to_be_visible()
    page.keyboard.press("Home")
    expect(page.locator(".player del, .player ins")).to_have_count(0)


def test_it_fits_a_phone_and_stands_still_where_motion_is_unwanted(
    server: str, open_page: Open
) -> None:
    page = open_page(f"{server}/method", viewport=PHONE)
    page.emulate_media(reduced_motion="reduce")
    go_to(page, 2)
    overflow = page.get_by_test_id("stMain").evaluate("box => box.scrollWidth - box.clientWidth")
    assert overflow <= 0
    assert page.locator(".player .fill").first.evaluate(
        "bar => getComputedStyle(bar).transitionDuration"
    ) in ("0s", "")


def test_a_growing_run_is_followed_until_somebody_chooses_a_step(open_page: Open) -> None:
    draw = drawer(open_page)
    page = draw(growing(5))
    expect(count(page)).to_have_text("Step 5 of 5")
    draw(growing(8))
    expect(count(page)).to_have_text("Step 8 of 8")
    go_to(page, 3)
    sentence = page.locator(".sentence").text_content()
    draw(growing(20))
    expect(count(page)).to_have_text("Step 3 of 20")
    draw(make_explanation(steps=40))
    expect(count(page)).to_have_text("Step 3 of 40")
    expect(page.locator(".sentence")).to_have_text(sentence or "")
    # Another explanation begins anew.
    draw(make_explanation([(" one", (0.5, 0, 1)), (" two", (1.5, 1, 2))]))
    expect(count(page)).to_have_text("Step 0 of 40")


def test_token_text_is_never_parsed(open_page: Open) -> None:
    nasty = " <img src=x onerror=alert(1)>"
    explanation = make_explanation([(nasty, (1.0, 0.5, 1.5)), (" b", (0.1, 0, 0.2))], steps=4)
    explanation = explanation.model_copy(
        update={
            "trace": tuple(
                step.model_copy(update={"replacements": ("</ins><b>x</b>",) * len(step.replaced)})
                for step in explanation.trace
            )
        }
    )
    page = drawer(open_page)(explanation)
    go_to(page, 1)
    expect(page.locator("img, b")).to_have_count(0)
    expect(page.locator("ins").first).to_have_text("</ins><b>x</b>")
    expect(page.locator(".prompt")).to_contain_text("<img src=x onerror=alert(1)>")


def test_what_is_followed_stands_out_and_the_step_stays(open_page: Open) -> None:
    draw = drawer(open_page)
    explanation = make_explanation(steps=40)
    page = draw(explanation)
    go_to(page, 3)
    expect(page.locator(".player .followed")).to_have_count(0)
    lowest = 6  # the comma, of the lowest effect, has no bar of its own
    draw(explanation, {lowest: "#e0479e"})
    expect(count(page)).to_have_text("Step 3 of 40")
    token = page.locator(".prompt .followed")
    expect(token).to_contain_text(",")
    expect(token).to_have_attribute("style", "--own: #e0479e;")
    expect(page.locator(".bar.followed .name")).to_have_text([","])
    draw(explanation)
    expect(page.locator(".player .followed")).to_have_count(0)
