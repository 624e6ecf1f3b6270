"""Comparisons of methods in the library: kept beside their explanations, whole or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from reagent_core.baselines.compared import MethodsCompared, comparison_key
from reagent_core.request import ModelInfo
from reagent_core.store import Store
from tests.test_methods_compared import Homely, asked, compared

KEY = "1" * 64
INFO = ModelInfo(id="tiny", revision_or_sha256="0")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "library.sqlite3")
    yield store
    store.close()


@pytest.fixture(scope="module")
def found() -> MethodsCompared:
    return compared(["leave_one_out", "random", "attention"], Homely(), draws=1)


def keep(store: Store, found: MethodsCompared) -> None:
    for result in found.results:
        store.put(result.key, result.explanation)
    store.put_comparison(KEY, found)


def test_a_comparison_comes_back_as_it_was(store: Store, found: MethodsCompared) -> None:
    assert store.comparison(KEY) is None
    keep(store, found)
    assert store.comparison(KEY) == found and found.refused and found.budget == 60
    keep(store, found.model_copy(update={"draws": 7}))
    again = store.comparison(KEY)
    assert again is not None and again.draws == 7


def test_its_row_holds_no_text_of_the_prompt(
    store: Store, found: MethodsCompared, tmp_path: Path
) -> None:
    keep(store, found)
    with sqlite3.connect(tmp_path / "library.sqlite3") as connection:
        ((payload,),) = connection.execute("SELECT payload FROM comparisons").fetchall()
    assert "leave_one_out" in payload and "france" not in payload and "paris" not in payload


def test_without_one_of_its_explanations_it_is_not_there(
    store: Store, found: MethodsCompared
) -> None:
    keep(store, found)
    store.delete([found.results[0].key])
    assert store.comparison(KEY) is None
    store.restore([found.results[0].key])
    assert store.comparison(KEY) == found


@pytest.mark.parametrize("payload", ["{}", "[]", "no JSON", '{"results": [{"key": 1}]}', "null"])
def test_what_cannot_be_read_is_as_good_as_none(
    store: Store, found: MethodsCompared, tmp_path: Path, payload: str
) -> None:
    keep(store, found)
    with sqlite3.connect(tmp_path / "library.sqlite3") as connection:
        connection.execute("UPDATE comparisons SET payload = ?", [payload])
    assert store.comparison(KEY) is None


def test_every_part_of_a_comparison_is_in_its_key() -> None:
    first = comparison_key(["random"], asked(), None, 3, INFO)
    other = INFO.model_copy(update={"id": "other"})
    keys = {
        first,
        comparison_key(["random", "shapley"], asked(), None, 3, INFO),
        comparison_key(["random"], asked("another"), None, 3, INFO),
        comparison_key(["random"], asked(), 60, 3, INFO),
        comparison_key(["random"], asked(), None, 4, INFO),
        comparison_key(["random"], asked(), None, 3, other),
        comparison_key(["random"], asked(), None, 3, INFO, other),
    }
    assert len(keys) == 7 and first == comparison_key(["random"], asked(), None, 3, INFO)
