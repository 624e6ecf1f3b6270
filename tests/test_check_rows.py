"""Checks in the library: kept beside their explanation, and gone with it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.examples import check_of
from reagent_core.check import Check, check_key
from reagent_core.library_rows import DELETED_DAYS
from reagent_core.store import Store
from tests.test_store import explain

KEY, OTHER = "1" * 64, "2" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "library.sqlite3")
    yield store
    store.close()


@pytest.fixture
def check() -> Check:
    found = check_of("travel")
    assert found is not None
    return found


def test_a_check_is_kept_in_place_of_the_one_before(store: Store, check: Check) -> None:
    assert store.check(KEY) is None
    store.put_check(KEY, OTHER, check)
    assert store.check(KEY) == check
    later = check.model_copy(update={"seed": 7})
    store.put_check(KEY, OTHER, later)
    assert store.check(KEY) == later


def test_it_goes_for_good_with_its_explanation(
    store: Store, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    explanation = store.add(explain())
    store.put_check(KEY, explanation, check)
    store.put_check(OTHER, OTHER, check)
    store.delete([explanation])
    store.put_check(OTHER, OTHER, check)
    assert store.check(KEY) == check, "the deletion can be undone"
    later = time.time() + (DELETED_DAYS + 1) * 86_400
    monkeypatch.setattr("reagent_core.library_rows.time.time", lambda: later)
    store.put_check(OTHER, OTHER, check)
    assert store.check(KEY) is None and store.check(OTHER) == check


def test_what_cannot_be_read_is_as_good_as_none(store: Store, check: Check, tmp_path: Path) -> None:
    store.put_check(KEY, OTHER, check)
    with sqlite3.connect(tmp_path / "library.sqlite3") as connection:
        connection.execute("UPDATE checks SET payload = '{}'")
    assert store.check(KEY) is None


def test_every_part_of_a_check_is_in_its_key(check: Check) -> None:
    first = check_key(KEY, check.target, None)
    assert first == check_key(KEY, check.target, None) and len(first) == 64
    word = check.target.model_copy(update={"token_ids": (1,)})
    others = [
        check_key(OTHER, check.target, None), check_key(KEY, word, None),
        check_key(KEY, check.target, "uniform"), check_key(KEY, check.target, None, draws=4),
        check_key(KEY, check.target, None, seed=1),
    ]  # fmt: skip
    assert len({first, *others}) == 6
