"""The library on both databases: listing, naming, tagging, deleting, and who may write at once."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from reagent_core import migrations
from reagent_core.database import Database, LibraryError
from reagent_core.errors import InputError
from reagent_core.explanation import Explanation, load
from reagent_core.library import Entry, Filter, columns_of
from reagent_core.request import ModelInfo, Turn
from reagent_core.store import Store
from tests.examples import make_explanation

A, B, C = "a" * 64, "b" * 64, "c" * 64
FIXTURES = Path(__file__).parent / "fixtures"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def about(
    prompt: str, answer: str = " Bangkok", model: str = "bundled", settled: bool = True
) -> Explanation:
    """A finished explanation with this prompt, which is one unit."""
    made = make_explanation([(prompt, (1.0, 0.5, 1.5))], (answer,), steps=2, fact=None)
    verdict = made.verdict.model_copy(update={"settled": settled})
    info = ModelInfo(id=model, revision_or_sha256="0")
    return made.model_copy(update={"verdict": verdict, "model": info})


def emptied(address: str) -> str:
    """The address of the PostgreSQL database without tables."""
    address = address.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return address


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'library.sqlite3'}"
    return emptied(request.getfixturevalue("postgresql"))


@pytest.fixture
def store(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("REAGENT_DATABASE_URL", address)
    store = Store()
    yield store
    store.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the time of what is written."""
    return lambda now: monkeypatch.setattr("reagent_core.store.time.time", now.timestamp)


def keys(entries: list[Entry]) -> str:
    return "".join(entry.key[0] for entry in entries)


def execute(address: str, *statements: str) -> None:
    """Tamper with the database, past the store."""
    engine = create_engine(address)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_what_was_put_is_listed_newest_first(
    store: Store, clock: Callable[[datetime], None]
) -> None:
    clock(NOON)
    store.put(A, about("first", settled=False))
    clock(NOON + timedelta(minutes=1))
    store.put(B, about("second", " Rome", model="org/other"))
    second, first = store.entries()
    assert (first.prompt, first.answer, first.model) == ("first", " Bangkok", "bundled")
    assert (second.target, second.source, second.status) == (" Rome", "reagent", "complete")
    assert (first.settled, second.settled) == (False, True)
    assert (first.units, first.steps, first.created) == (1, 1, NOON)
    assert first.name is None and first.tags == () and first.deleted is None
    assert first.readable and first.size > 100
    assert store.models() == ["bundled", "org/other"]
    totals = store.totals()
    assert (totals.entries, totals.size) == (2, first.size + second.size)
    assert store.get(B) == about("second", " Rome", model="org/other")


def test_a_restart_keeps_everything(store: Store) -> None:
    store.put(A, about("a prompt"))
    store.rename(A, "mine")
    store.tag([A], ["demo"])
    store.close()
    (entry,) = Store().entries()
    assert (entry.name, entry.tags, Store().get(A)) == ("mine", ("demo",), about("a prompt"))


def test_a_chat_is_listed_as_it_was_typed() -> None:
    turns = (Turn(role="system", content="Be brief."), Turn(role="user", content="Capital?"))
    columns = columns_of(about("<bos>Be brief.<user>Capital?").model_copy(
        update={"messages": turns}
    ))  # fmt: skip
    assert columns["prompt"] == "Capital?\nBe brief."


SEARCHES = [
    ("", "abc"),
    ("EIFFEL", "a"),
    ("tower paris", "a"),  # any order, any place
    ("tower madrid", ""),
    ("straße", "b"),
    ("STRASSE", "b"),
    ("ÉTÉ", "b"),
    ("e\u0301te\u0301", "b"),  # e and its accent as two characters
    ("100%", "c"),
    ("0%9", ""),  # the signs of LIKE are characters like any other
    ("a_b", "c"),
    ("axb", ""),
    ("\\", "c"),
    ("'; DROP TABLE explanations; --", ""),
    ("NUL\0", ""),
    ("my favourite", "a"),  # the name
]


def test_search(store: Store) -> None:
    store.put(A, about("Where is the Eiffel Tower?", " Paris"))
    store.put(B, about("Die Straße im été"))
    store.put(C, about("Is 100% of a_b \\ 5 to 0?", " Berlin"))
    store.rename(A, "My FAVOURITE")
    for search, found in SEARCHES:
        wanted = Filter(search=search)
        assert "".join(sorted(keys(store.entries(wanted)))) == found, search
        assert store.count(wanted) == len(found)


def test_a_long_search(store: Store) -> None:
    store.put(A, about("a page of words " + "x" * 60_000))
    few = [f"page{number}" for number in range(31)]
    assert keys(store.entries(Filter(search="page " * 1_100 + "of words"))) == "a"
    assert keys(store.entries(Filter(search=" ".join(f"w{n}" for n in range(1_100))))) == ""
    assert keys(store.entries(Filter(search="x" * 60_000))) == "a"
    assert keys(store.entries(Filter(search="x" * 199 + "y"))) == ""
    store.put(B, about(" ".join(["page", *few])))
    # The first 32 words count.
    assert keys(store.entries(Filter(search=" ".join(["page", *few, "nowhere"])))) == "b"


def test_a_statement_that_sqlite_refuses_says_nothing_about_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "library.sqlite3")
    store.put(A, about("prompt"))
    tried: list[Path] = []
    monkeypatch.setattr(Database, "_set_aside", lambda self, engine, path: tried.append(path))
    monkeypatch.setattr("reagent_core.library._MOST_WORDS", 2_000)
    with pytest.raises(LibraryError, match="too large"):
        store.entries(Filter(search=" ".join(f"w{n}" for n in range(1_100))))
    assert tried == [] and store.count() == 1
    execute(f"sqlite:///{store.name}", "ALTER TABLE explanations RENAME COLUMN prompt TO prom")
    with pytest.raises(LibraryError, match="no such column"):
        store.entries()
    assert tried == [tmp_path / "library.sqlite3"]


def test_the_filter_by_verdict_goes_by_the_verdict_that_is_shown(
    store: Store, address: str
) -> None:
    store.put(A, about("settled"))
    store.put(B, about("not settled", settled=False))
    store.put(C, about("another method").model_copy(update={"method": "gradient_norm"}))
    store.put("d" * 64, about("stopped"))
    store.put("e" * 64, about("stopped", settled=False))
    store.put("f" * 64, about("from a notebook").model_copy(update={"source": "notebook"}))
    # The store itself takes complete ones alone.
    execute(address, "UPDATE explanations SET status = 'cancelled' WHERE prompt = 'stopped'")
    assert {entry.key[0]: entry.verdict for entry in store.entries()} == {
        "a": "Settled", "b": "Not settled", "c": "Takes no steps", "d": "Stopped early",
        "e": "Stopped early", "f": "Settled",
    }  # fmt: skip
    assert keys(store.entries(Filter(settled=True))) == "fa"
    assert keys(store.entries(Filter(settled=False))) == "b"
    execute(address, "UPDATE explanations SET schema_version = 99")
    assert store.count(Filter(settled=True)) == store.count(Filter(settled=False)) == 0


def test_filters_by_model_verdict_date_and_tag(
    store: Store, clock: Callable[[datetime], None]
) -> None:
    for place, key in enumerate((A, B, C)):
        clock(NOON + timedelta(days=place))
        model = "org/other" if key == C else "bundled"
        store.put(key, about(f"prompt {key}", model=model, settled=key != B))
    store.tag([A], ["Demo", "two words"])
    store.tag([B], ["demo"])
    store.tag([C], ["demo 2", "o"])
    assert keys(store.entries(Filter(model="bundled"))) == "ba"
    assert keys(store.entries(Filter(settled=True))) == "ca"
    assert keys(store.entries(Filter(settled=False))) == "b"
    assert keys(store.entries(Filter(tag="demo"))) == "b"
    assert keys(store.entries(Filter(tag="o"))) == "c"
    assert keys(store.entries(Filter(tag="%"))) == ""
    day = timedelta(days=1)
    assert keys(store.entries(Filter(since=NOON + day))) == "cb"
    assert keys(store.entries(Filter(until=NOON + day))) == "a"
    assert keys(store.entries(Filter(since=NOON + day, until=NOON + 2 * day))) == "b"
    assert keys(store.entries(Filter(model="bundled", settled=True, search="PROMPT"))) == "a"
    assert store.tags() == ["Demo", "demo", "demo 2", "o", "two words"]


def test_pages_of_many(store: Store, clock: Callable[[datetime], None]) -> None:
    for number in range(7):
        clock(NOON + timedelta(seconds=number))
        store.put(f"{number}" * 64, about(f"prompt {number}"))
    assert keys(store.entries(limit=3)) == "654"
    assert keys(store.entries(limit=3, offset=3)) == "321"
    assert keys(store.entries(limit=3, offset=6)) == "0"
    assert store.count() == 7


def test_a_list_can_cut_long_texts(store: Store) -> None:
    prompt, answer = "é" * 900, " \U0001f642" * 300
    store.put(A, about(prompt, answer))
    (cut,) = store.entries(longest=400)
    assert (cut.prompt, cut.answer, cut.target) == (prompt[:400], answer[:400], answer[:400])
    (whole,) = store.entries()
    assert (whole.prompt, whole.answer, whole.target) == (prompt, answer, answer)
    assert store.entry(A) == whole and replace(
        cut, prompt=prompt, answer=answer, target=answer
    ) == whole  # fmt: skip
    assert store.entries(Filter(search="é" * 200 + " \U0001f642"), longest=4) == [
        replace(cut, prompt="éééé", answer=answer[:4], target=answer[:4])
    ]


def test_names_and_tags(store: Store) -> None:
    store.put(A, about("one"))
    store.put(B, about("two"))
    store.rename(A, "  <b>a</b>\n name ")
    store.tag([A, B], [" red ", "blue", "red"])
    store.tag([A], ["green"], remove=["red", "not there"])
    entries = {entry.key: entry for entry in store.entries()}
    assert entries[A].name == "<b>a</b> name"
    assert entries[A].tags == ("blue", "green")
    assert entries[B].tags == ("blue", "red")
    store.rename(A, " ")
    assert store.entry(A).name is None
    with pytest.raises(InputError, match="201 characters"):
        store.rename(A, "x" * 201)
    for tag in ("", " ", "x" * 51):
        with pytest.raises(InputError, match="1 to 50 characters"):
            store.tag([A], [tag])
    with pytest.raises(LibraryError, match="not in the library any more"):
        store.rename(C, "nobody")


def test_the_same_run_again_keeps_name_tags_and_date(
    store: Store, clock: Callable[[datetime], None]
) -> None:
    clock(NOON)
    store.put(A, about("prompt"))
    store.rename(A, "mine")
    store.tag([A], ["demo"])
    clock(NOON + timedelta(days=1))
    store.put(A, about("prompt", " Rome"))
    (entry,) = store.entries(Filter(search="rome mine"))
    assert (entry.name, entry.tags, entry.created) == ("mine", ("demo",), NOON)
    assert store.get(A) == about("prompt", " Rome")


def test_a_deletion_can_be_undone(store: Store) -> None:
    for key in (A, B, C):
        store.put(key, about(key[0]))
    store.rename(A, "mine")
    assert store.delete([A, B]) == 2
    assert store.delete([A, B]) == 0
    assert keys(store.entries()) == "c"
    assert store.get(A) is None
    gone = store.entries(Filter(deleted=True))
    assert {entry.key for entry in gone} == {A, B} and all(entry.deleted for entry in gone)
    totals = store.totals()
    assert (totals.entries, totals.deleted_entries) == (1, 2)
    assert totals.deleted_size == sum(entry.size for entry in gone)
    assert store.restore([A, B]) == 2
    assert store.entry(A).name == "mine" and store.get(B) == about("b")


def test_what_is_asked_for_again_comes_back(store: Store) -> None:
    store.put(A, about("prompt"))
    store.tag([A], ["demo"])
    store.delete([A])
    store.revive(A)
    assert store.get(A) == about("prompt")
    assert store.entry(A).tags == ("demo",) and store.entry(A).deleted is None
    store.delete([A])
    store.put(A, about("prompt"))
    assert keys(store.entries()) == "a"
    store.revive(B)
    assert store.get(B) is None


def test_after_a_week_a_deletion_is_final(store: Store, clock: Callable[[datetime], None]) -> None:
    clock(NOON)
    store.put(A, about("prompt"))
    store.delete([A])
    clock(NOON + timedelta(days=6.9))
    store.put(B, about("another"))
    assert keys(store.entries(Filter(deleted=True))) == "a"
    clock(NOON + timedelta(days=7.1))
    store.put(C, about("a third"))
    assert store.entries(Filter(deleted=True)) == [] and store.restore([A]) == 0
    store.revive(A)
    assert store.get(A) is None and store.get(B) is not None


def test_an_import_is_one_entry_however_often(store: Store) -> None:
    imported = about("from elsewhere").model_copy(update={"source": "notebook"})
    key = store.add(imported, "a name")
    store.rename(key, "a better name")
    assert store.add(imported, "a name") == key
    (entry,) = store.entries()
    assert (entry.key, entry.name, entry.source) == (key, "a better name", "notebook")
    assert store.get(key) == imported
    store.delete([key])
    assert store.add(imported) == key and keys(store.entries()) == key[0]
    stopped = imported.model_copy(update={"status": "cancelled"})
    assert store.entry(store.add(stopped)).status == "cancelled"
    with pytest.raises(ValueError, match="running"):
        store.add(imported.model_copy(update={"status": "running"}))
    with pytest.raises(InputError, match="201 characters"):
        store.add(imported, "x" * 201)


def test_an_entry_is_found_by_the_start_of_its_key(store: Store) -> None:
    store.put(A, about("one"))
    store.put("ab" + "0" * 62, about("two"))
    assert store.entry("ab").prompt == "two"
    with pytest.raises(InputError, match="Several explanations"):
        store.entry("a")
    for start in ("c", "%"):
        with pytest.raises(InputError, match="No explanation"):
            store.entry(start)


def test_texts_of_every_kind(store: Store) -> None:
    prompt = "<img src=x onerror=alert(1)> =1+1 **b** \U0001f642 \u202e \n\ttab"
    store.put(A, about(prompt, answer=" \0"))
    (entry,) = store.entries()
    assert (entry.prompt, entry.answer) == (prompt, " \ufffd")  # PostgreSQL takes no NUL
    assert store.get(A) == about(prompt, answer=" \0")


def test_text_that_no_database_takes(store: Store) -> None:
    store.put(A, about("prompt"))
    for bad in ("\ud800", "\0"):
        store.rename(A, bad)
        store.tag([A], [bad])
        assert (store.entry(A).name, store.entry(A).tags) == ("\ufffd", ("\ufffd",))
        assert keys(store.entries(Filter(search=bad, tag=bad))) == "a"
        assert store.entries(Filter(model=bad)) == []
        with pytest.raises(InputError, match="No explanation"):
            store.entry(bad)
        assert store.get(bad) is None and store.delete([bad]) == 0 == store.restore([bad])
        store.revive(bad)


def test_an_entry_of_a_newer_version_is_listed_and_left_alone(
    store: Store, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.put(A, about("prompt"))
    execute(address, "UPDATE explanations SET schema_version = 99")
    assert store.get(A) is None
    assert "newer version" in caplog.text
    store.put(A, about("prompt", " Rome"))
    (entry,) = store.entries()
    assert not entry.readable and entry.answer == " Bangkok"


def test_a_database_of_a_newer_version_is_neither_read_nor_altered(
    store: Store, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.put(A, about("prompt"))
    execute(
        address,
        "ALTER TABLE explanations RENAME COLUMN prompt TO question",
        "UPDATE reagent_schema SET version_num = '9999'",
    )
    for newer in (store, Store()):  # also one that was open before
        assert newer.get(A) is None
        newer.put(B, about("another"))
        assert "newer version of this program" in (newer.problem() or "")
        with pytest.raises(LibraryError, match="newer version of this program"):
            newer.entries()
        with pytest.raises(LibraryError, match="newer version of this program"):
            newer.delete([A])
        with pytest.raises(LibraryError, match="newer version of this program"):
            newer.add(about("another"))
    assert "could not be written" in caplog.text
    engine = create_engine(address)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT question FROM explanations")).scalars().all()
    engine.dispose()
    assert found == ["prompt"]


def test_a_table_of_another_program_is_left_alone(store: Store, address: str) -> None:
    execute(address, "CREATE TABLE explanations (title TEXT)")
    with pytest.raises(LibraryError, match="of another program"):
        store.entries()


def upgraded(connection: Connection, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring the database to this version, as the program of that time did."""
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "HEAD", version)
        migrations.upgrade(connection)


def first_schema(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tables of version 0001 and copy the old file's rows into them, unversioned."""
    file = FIXTURES / "library-of-the-first-schema.sqlite3"
    old = sqlite3.connect(f"file:{file}?immutable=1", uri=True)
    rows = old.execute("SELECT key, last_used, size, sha256, payload FROM explanations").fetchall()
    old.close()
    engine = create_engine(address)
    with engine.begin() as connection:
        upgraded(connection, "0001", monkeypatch)
        connection.exec_driver_sql("DROP TABLE reagent_schema")
        names = ("key", "last_used", "size", "sha256", "payload")
        statement = text(
            "INSERT INTO explanations VALUES (:key, :last_used, :size, :sha256, :payload)"
        )
        for row in rows:
            connection.execute(statement, dict(zip(names, row, strict=True)))
    engine.dispose()


def check_migrated(store: Store) -> None:
    """What the old file held is listed as if it were kept now; the corrupt entry is gone."""
    entries = {entry.key[0]: entry for entry in store.entries()}
    assert entries.keys() == {"1", "2", "3"}
    for entry in entries.values():
        kept = store.get(entry.key)
        assert kept is not None
        again = store.entry(store.add(kept))
        same = {"key", "size", "created", "schema_version"}
        assert {k: v for k, v in vars(again).items() if k not in same} == {
            k: v for k, v in vars(entry).items() if k not in same
        }
        assert entry.created is None
    assert store.get("1" * 64) == load((FIXTURES / "explanation-v1.json").read_bytes())
    assert not entries["2"].settled and entries["3"].prompt.startswith("Ἀθῆναι <b>?\n")
    assert keys(store.entries(Filter(search="ἀθῆναι")))


def test_an_old_database_is_brought_forward(
    store: Store, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_schema(address, monkeypatch)
    check_migrated(store)


@pytest.mark.parametrize("version", migrations.VERSIONS[1:-1])
def test_a_database_of_every_version_since_is_brought_forward(
    store: Store, address: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_schema(address, monkeypatch)
    engine = create_engine(address)
    with engine.begin() as connection:
        upgraded(connection, version, monkeypatch)
        if version >= "0003":
            connection.exec_driver_sql("INSERT INTO checks VALUES ('kept', 'x', '{}')")
    check_migrated(store)
    with engine.begin() as connection:
        found = connection.exec_driver_sql("SELECT key FROM checks").scalars().all()
    engine.dispose()
    assert found == (["kept"] if version >= "0003" else [])


def test_an_old_file_is_brought_forward(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "library-of-the-first-schema.sqlite3", tmp_path / "old.sqlite3")
    check_migrated(Store(tmp_path / "old.sqlite3"))


def test_an_upgrade_that_fails_leaves_the_old_database(
    store: Store, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_schema(address, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("alembic.op.drop_table", lambda name: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.entries()
    check_migrated(store)


TAMPERINGS = {
    "two versions": ["INSERT INTO reagent_schema VALUES ('0001')"],
    "no version": ["DELETE FROM reagent_schema"],
    "no table": ["DROP TABLE explanations"],
    "an older version than it is": ["UPDATE reagent_schema SET version_num = '0001'"],
    "a newer version than it is": [
        "UPDATE reagent_schema SET version_num = '0002'", "DROP TABLE explanations",
        "CREATE TABLE explanations (key TEXT, last_used INT, size INT, sha256 TEXT, payload TEXT)",
    ],
    "a table in between": ["DROP TABLE reagent_schema",
                           "ALTER TABLE explanations RENAME TO explanations_0001"],
}  # fmt: skip


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_tables_that_do_not_fit_their_version_are_said(
    store: Store, address: str, tampering: str
) -> None:
    store.put(A, about("prompt"))
    execute(address, *TAMPERINGS[tampering])
    with pytest.raises(LibraryError, match="are not as this program makes them") as raised:
        store.entries()
    assert "disk" not in str(raised.value) and store.problem() == str(raised.value)
    assert store.get(A) is None
    if address.startswith("sqlite"):  # sound, if strange: not set aside
        assert [file.name for file in Path(store.name).parent.glob("*damaged*")] == []


def test_the_versions_known_are_those_of_the_scripts() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    known = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(known)) == migrations.VERSIONS
    assert scripts.get_current_head() == migrations.HEAD


def test_processes_upgrade_and_write_at_once(
    store: Store, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_schema(address, monkeypatch)
    program = (
        "import logging, sys\n"
        "logging.basicConfig()\n"
        "from reagent_core.store import Store\n"
        "from tests.examples import make_explanation\n"
        "about = lambda text: make_explanation(answer=(text,), steps=2)\n"
        "store, start = Store(), int(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for n in range(start, start + 3):\n"
        "    store.put(f'{n:064x}', about(str(n)))\n"
        "    assert store.get(f'{n:064x}') == about(str(n))\n"
        "    store.put('f' * 64, about('shared'))\n"
        "    store.tag(['f' * 64], [str(n)])\n"
        "    store.delete(['f' * 64])\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(start)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=Path(__file__).parent.parent,
        )
        for start in (10, 20, 30)
    ]  # fmt: skip
    for process in processes:  # all are there before any begins
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, [line for line in errors.splitlines() if "corrupt" not in line]
                ) == (0, [])  # fmt: skip
    assert store.count() == 3 + 9 and store.count(Filter(deleted=True)) == 1
    assert len(store.entry("f" * 64).tags) == 9


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:s3cret@127.0.0.1:1/library",
        "postgres://user:s3cret@localhost:notaport/library",
        "mysql://user:s3cret@localhost/library",
        "user:s3cret",
        "sqlite://",
    ],
)
def test_a_database_that_cannot_be_had_is_said_without_its_password(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("REAGENT_DATABASE_URL", address)
    store = Store()
    with caplog.at_level(logging.WARNING):
        assert store.get(A) is None
        store.put(A, about("prompt"))
    with pytest.raises(LibraryError) as raised:
        store.entries()
    sentence = str(raised.value)
    assert "REAGENT_DATABASE_URL" in sentence and sentence == store.problem()
    assert "s3cret" not in sentence + store.name + caplog.text
    if ":1/" in address:
        assert "PostgreSQL on 127.0.0.1:1" in sentence and "refused" in sentence


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("postgresql://localhost", "the default database (PostgreSQL on localhost)"),
        ("postgresql://localhost/", "the default database (PostgreSQL on localhost)"),
        ("postgresql:///mine", "mine (PostgreSQL on this machine)"),
        ("postgresql:///mine?host=a&host=b", "mine (PostgreSQL on a, b)"),
        ("postgresql:///mine?host=/run/db", "mine (PostgreSQL on /run/db)"),
    ],
)
def test_the_name_of_a_server(address: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAGENT_DATABASE_URL", address)
    assert Store().name == name


@pytest.mark.parametrize(
    "address",
    ["postgresql://user:1@127.0.0.1:1/library", "postgresql://user@127.0.0.1:1/library?password=1"],
)
def test_a_short_password_does_not_garble_the_sentence(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REAGENT_DATABASE_URL", address)
    sentence = Store().problem() or ""
    assert "***" not in sentence
    assert "The library library (PostgreSQL on 127.0.0.1:1) cannot be used. Check that" in sentence


def test_a_path_given_is_not_the_database_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REAGENT_DATABASE_URL", "nonsense")
    store = Store(tmp_path / "mine.sqlite3")
    store.put(A, about("prompt"))
    assert store.problem() is None and (tmp_path / "mine.sqlite3").exists()


def test_a_program_that_blocks_the_library_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reagent_core.database._BUSY_SECONDS", 0.1)
    store = Store(tmp_path / "library.sqlite3")
    store.put(A, about("prompt"))
    other = sqlite3.connect(store.name)
    other.execute("BEGIN IMMEDIATE")
    assert store.count() == 1  # readers do not wait
    with pytest.raises(LibraryError, match="Another program is at work in it"):
        store.delete([A])
    other.close()
    assert store.delete([A]) == 1


def test_a_folder_that_cannot_be_had_is_said_to_a_person(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file" / "library.sqlite3")
    store.put(A, about("prompt"))
    with pytest.raises(LibraryError, match="Check that its folder can be written"):
        store.entries()
    with pytest.raises(LibraryError):
        store.add(about("prompt"))
