"""The uploader of files from elsewhere, without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from components import import_file, runs
from components.plain import unformatted
from reagent_core.explanation import Explanation

FIXTURES = Path(__file__).parent.parent / "fixtures"
NOTEBOOK = (FIXTURES / "iterations_data.json").read_bytes()
KEY = "c0ffee" * 10 + "c0ff"


class Library:
    """What the uploader needs of the store."""

    def __init__(self) -> None:
        self.kept: list[Explanation] = []

    def add(self, explanation: Explanation) -> str:
        self.kept.append(explanation)
        return KEY


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setattr(runs, "explanation_store", lambda: made)
    return made


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str]]]:
    """The pages that were opened, with their queries."""
    went: list[tuple[str, dict[str, str]]] = []

    def switch(name: str, query_params: dict[str, str]) -> None:
        went.append((name, query_params))
        st.rerun()

    monkeypatch.setattr(import_file, "page", lambda name: name)
    monkeypatch.setattr(st, "switch_page", switch)
    return went


def page() -> AppTest:
    def script() -> None:
        from components.import_file import draw_import

        draw_import()

    return AppTest.from_function(script, default_timeout=30).run()


def upload(test: AppTest, name: str, data: bytes) -> AppTest:
    return test.file_uploader[0].upload(name, data, "application/json").run()


def test_a_file_is_kept_once_and_opened(
    library: Library, opened: list[tuple[str, dict[str, str]]]
) -> None:
    test = upload(page(), "iterations_data.json", NOTEBOOK)
    assert not test.exception and not test.error
    assert opened == [("convergence", {"run": KEY})]
    assert test.file_uploader[0].value is None  # a fresh one: nothing is imported again
    assert [each.source for each in library.kept] == ["notebook"]
    test.run()
    assert len(library.kept) == 1 and len(opened) == 1


def test_what_is_refused_is_told_beside_it_and_not_kept(
    library: Library,
    opened: list[tuple[str, dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    test = upload(page(), "*my* file.json", NOTEBOOK[:900])
    (error,) = test.error
    assert error.value.startswith(unformatted("“*my* file.json”: This file is not valid JSON"))
    assert library.kept == [] and opened == []
    monkeypatch.setattr("reagent_core.importing.read_explanation", None)
    assert [each.value for each in test.run().error] == [error.value]  # and not read again


def test_a_better_file_after_a_bad_one_is_imported(
    library: Library, opened: list[tuple[str, dict[str, str]]]
) -> None:
    test = upload(page(), "bad.json", b"{")
    assert test.error
    test = upload(test, "good.json", NOTEBOOK)
    assert not test.error and len(library.kept) == 1 and len(opened) == 1
