"""Comparisons of methods in the library: kept beside their explanations, whole or not at all."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reagent_core.baselines.compared import MethodsCompared, comparison_key
from reagent_core.comparison_rows import KeptComparison, KeptComparisons
from reagent_core.database import LibraryError
from reagent_core.explanation import SCHEMA_VERSION
from reagent_core.request import ModelInfo
from reagent_core.store import Store
from tests.test_library import emptied, execute
from tests.test_methods_compared import LONG, Homely, asked, compared

KEY, OTHER = "1" * 64, "2" * 64
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
INFO = ModelInfo(id="tiny", revision_or_sha256="0")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "library.sqlite3")
    yield store
    store.close()


@pytest.fixture(scope="module")
def found() -> MethodsCompared:
    return compared(["leave_one_out", "random", "attention"], Homely(), draws=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The address of an empty database, which the environment names."""
    address = (
        f"sqlite:///{tmp_path / 'library.sqlite3'}"
        if request.param == "sqlite"
        else emptied(request.getfixturevalue("postgresql"))
    )
    monkeypatch.setenv("REAGENT_DATABASE_URL", address)
    return address


@pytest.fixture
def anywhere(library: str) -> Iterator[Store]:
    """The store in that database."""
    store = Store()
    yield store
    store.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the time of what is written."""
    return lambda now: monkeypatch.setattr("reagent_core.store.time.time", now.timestamp)


def keep(store: Store, found: MethodsCompared, key: str = KEY) -> None:
    for result in found.results:
        store.put(result.key, result.explanation)
    store.put_comparison(key, found)


def listed(store: Store, limit: int = 9) -> KeptComparisons:
    return store.comparisons(limit=limit, longest=400)


def keys(store: Store, limit: int = 9) -> list[str]:
    return [each.key for each in listed(store, limit).newest]


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


# --- The list -------------------------------------------------------------------------------------


def test_the_list_shows_the_newest_comparison_first(
    anywhere: Store, found: MethodsCompared, clock: Callable[[datetime], None]
) -> None:
    assert listed(anywhere) == KeptComparisons((), 0)
    clock(NOON)
    keep(anywhere, found)
    # Fewer methods on the same prompt: what it is made of was there before, and it is newer.
    clock(NOON + timedelta(hours=1))
    keep(anywhere, found.model_copy(update={"results": found.results[:1]}), OTHER)
    shown = listed(anywhere)
    assert [each.key for each in shown.newest] == [OTHER, KEY] and shown.total == 2
    target = found.results[0].explanation.target.text
    assert shown.newest[1] == KeptComparison(
        KEY, LONG, target, "tiny", ("leave_one_out", "random"), NOON
    )
    assert shown.newest[0].kept == NOON + timedelta(hours=1)
    assert shown.newest[0].methods == ("leave_one_out",)
    assert anywhere.comparisons(limit=1, longest=5).newest[0].prompt == LONG[:5]
    assert (keys(anywhere, limit=1), listed(anywhere, limit=1).total) == ([OTHER], 2)


def test_only_what_can_be_opened_is_listed(
    anywhere: Store, found: MethodsCompared, library: str
) -> None:
    keep(anywhere, found)
    one, two = (result.key for result in found.results)
    anywhere.delete([two])
    assert keys(anywhere) == [] and anywhere.comparison(KEY) is None
    anywhere.restore([two])
    assert keys(anywhere) == [KEY] and anywhere.comparison(KEY) == found
    newer = f"UPDATE explanations SET schema_version = {SCHEMA_VERSION + 1} WHERE key = '{one}'"
    execute(library, newer)
    assert keys(anywhere) == [] and anywhere.comparison(KEY) is None
    execute(library, f"DELETE FROM explanations WHERE key = '{one}'")
    assert keys(anywhere) == [] and anywhere.comparison(KEY) is None


def test_what_another_process_has_compared_is_listed(
    anywhere: Store, found: MethodsCompared, tmp_path: Path
) -> None:
    assert keys(anywhere) == []
    (tmp_path / "found.json").write_text(found.model_dump_json(), "utf-8")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from reagent_core.baselines.compared import MethodsCompared\n"
        "from reagent_core.store import Store\n"
        "found = MethodsCompared.model_validate_json(Path(sys.argv[1]).read_bytes())\n"
        "store = Store()\n"
        "for result in found.results:\n"
        "    store.put(result.key, result.explanation)\n"
        "store.put_comparison(sys.argv[2], found)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "found.json"), KEY]
    subprocess.run(command, check=True, cwd=Path(__file__).parent.parent)
    assert keys(anywhere) == [KEY]


def test_of_an_older_one_the_newest_explanation_says_when_it_was(
    anywhere: Store, found: MethodsCompared, library: str, clock: Callable[[datetime], None]
) -> None:
    clock(NOON)
    keep(anywhere, found)
    before = found.model_dump_json(exclude={"results": {"__all__": {"explanation"}}})
    clock(NOON + timedelta(hours=1))
    anywhere.put_comparison(KEY, found)
    execute(library, f"UPDATE comparisons SET payload = '{before}'".replace(":", "\\:"))
    assert [each.kept for each in listed(anywhere).newest] == [NOON]
    assert anywhere.comparison(KEY) == found


@pytest.mark.parametrize("payload", ["{}", "[]", "no JSON", '{"results": [{"key": 1}]}', "null"])
def test_one_that_cannot_be_read_does_not_hide_the_others(
    store: Store, found: MethodsCompared, tmp_path: Path, payload: str
) -> None:
    keep(store, found)
    keep(store, found, OTHER)
    with sqlite3.connect(tmp_path / "library.sqlite3") as connection:
        connection.execute("UPDATE comparisons SET payload = ? WHERE key = ?", [payload, KEY])
    assert keys(store) == [OTHER] and listed(store).total == 1


def test_the_list_says_why_the_library_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LibraryError, match="cannot be used"):
        listed(Store(tmp_path / "file" / "library.sqlite3"))
