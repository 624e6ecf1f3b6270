"""A model behind llama.cpp's own server, picked and explained in a real browser."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from reagent_core.bundled import installed_gguf
from scripts.served_app import link_model, serve, stop
from tests.browser.test_explain_in_browser import (
    RIVER,
    finished,
    press_explain,
    prompt_strip,
    type_prompt,
)
from tests.llama_server import KEY, KEY_ENV, llama_server

Open = Callable[..., Page]

PROMPT = "The capital of France is"


@pytest.fixture
def with_llama(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of an app whose list of models holds the server, and the server's process. Its
    cache is its own: what a server has answered once is not asked for again."""
    link_model(tmp_path)
    with llama_server(installed_gguf()) as (address, llama):
        listed = tmp_path / "models.toml"
        listed.write_text(
            f'[[model]]\nid = "llama"\nkind = "server"\nname = "Our llama.cpp"\n'
            f'url = "{address}"\nkey_env = "{KEY_ENV}"\ngood_for = "Tests."\n'
        )
        own = {"REAGENT_CACHE_DIR": str(tmp_path), "REAGENT_MODELS": str(listed), KEY_ENV: KEY}
        app, url = serve({**os.environ, **own})
        try:
            yield url, llama
        finally:
            stop(app)


def pick_model(page: Page, name: str) -> None:
    """Choose from the list of models."""
    box = page.get_by_role("combobox", name=re.compile("Model"))
    box.click()
    box.fill(name)
    page.get_by_role("option", name=re.compile(name)).first.click()


def test_a_prompt_is_explained_by_a_server_and_a_lost_server_leaves_what_was_found(
    with_llama: tuple[str, subprocess.Popen[str]], open_page: Open
) -> None:
    url, llama = with_llama
    page = open_page(url)
    pick_model(page, "Our llama.cpp")
    type_prompt(page, PROMPT, length=1)
    expect(page.get_by_text("Tells the probability of any token, ranks up to 100")).to_be_visible()
    expect(page.get_by_text(re.compile(r"about \d+ requests, [\d,]+ tokens"))).to_be_visible()
    press_explain(page)
    finished(page, PROMPT)
    expect(page.get_by_text(re.compile("“France” mattered most for"))).to_have_count(1)

    # Long enough to be running still, however fast the machine.
    page.get_by_label("Your prompt").fill(RIVER * 5)
    page.get_by_role("radio", name="Thorough").click()
    press_explain(page)
    main = page.get_by_test_id("stMain")
    steps = main.get_by_text(re.compile(r"[1-9]\d* of up to \d+ steps"))
    expect(steps).to_be_visible(timeout=120_000)
    llama.kill()
    expect(main.get_by_text("cannot be reached")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("What you see was found until then.")).to_be_visible()
    expect(prompt_strip(page)).to_contain_text("longest river")
    assert KEY not in page.content() + page.url
