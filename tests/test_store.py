from __future__ import annotations

import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reagent_core.config import Config
from reagent_core.explanation import Counts, Explanation, Step, TargetInfo, UnitScore, Verdict, dump
from reagent_core.request import ModelInfo
from reagent_core.store import Store

A, B, C = "a" * 64, "b" * 64, "c" * 64


def explain(answer: str = "Paris", steps: int = 2, units: int = 3, inner: int = 0) -> Explanation:
    """A finished explanation of the given size; its numbers depend on `answer` alone."""
    rng = random.Random(answer)
    return Explanation(
        prompt="word " * units,
        answer=answer,
        target=TargetInfo(text=answer, token_ids=(7,), probability=0.5, value=-0.693),
        units=tuple(
            UnitScore(text="word ", start=5 * n, end=5 * n + 5, protected=False, score=1 / units)
            for n in range(units)
        ),
        verdict=Verdict(
            settled=True, text="Settled.", top=3, steps=steps, unchanged_steps=1, probes=1,
            probes_agreeing=1, probes_stopped=1, more_steps=0,
        ),
        config=Config(),
        model=ModelInfo(id="bundled", revision_or_sha256="0" * 64),
        versions={"reagent": "1"},
        counts=Counts(forwards=1, sequences=steps, tokens=steps * units),
        seconds=1.5,
        trace=tuple(
            Step(
                probe=0, step=step, replaced=(0,), replacements=("x",), probability=rng.random(),
                value=-rng.random(), change=rng.uniform(-1, 1),
                scores=tuple(rng.gauss(0, 3) for _ in range(units)),
            )
            for step in range(steps)
        ),
        explanations=tuple(explain(f"{answer}{n}", steps, units) for n in range(inner)) or None,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "explanations.sqlite3"


def rows(path: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Look into the file, or tamper with it, past the store."""
    connection = sqlite3.connect(path)
    found = connection.execute(sql, values).fetchall()
    connection.commit()
    connection.close()
    return found


def sizes(path: Path) -> dict[object, int]:
    return dict(rows(path, "SELECT key, length(payload) FROM explanations"))  # type: ignore


def damaged(path: Path) -> list[Path]:
    return [
        file for file in path.parent.glob("*.damaged-*") if not file.name.endswith(("wal", "shm"))
    ]


def child(program: str, path: Path) -> subprocess.Popen[str]:
    """Another process, with `store`, the store at `path`, and `explain` at hand."""
    head = (
        "import os, signal, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from test_store import explain\n"
        "from reagent_core.store import Store\n"
        f"store = Store(Path({str(path)!r}))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + program],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=Path(__file__).parent.parent,
    )


def test_what_was_put_comes_back_equal_after_a_restart(path: Path) -> None:
    store = Store(path)
    assert store.get(A) is None
    store.put(A, explain("Paris", inner=2))
    store.put(B, explain("Rome"))
    store.close()
    again = Store(path)
    assert again.get(A) == explain("Paris", inner=2)
    assert again.get(B) == explain("Rome")
    assert again.get(C) is None


def test_an_equal_key_is_replaced(path: Path) -> None:
    store = Store(path)
    store.put(A, explain("Paris"))
    store.put(A, explain("Lyon"))
    assert store.get(A) == explain("Lyon")
    assert list(sizes(path)) == [A]


@pytest.mark.parametrize("status", ["cancelled", "running"])
def test_only_complete_explanations_are_accepted(path: Path, status: str) -> None:
    store = Store(path)
    with pytest.raises(ValueError, match=status):
        store.put(A, explain().model_copy(update={"status": status}))
    assert store.get(A) is None


def test_the_default_folder_can_be_chosen_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REAGENT_CACHE_DIR", str(tmp_path / "mine"))
    Store().put(A, explain())
    assert Store(tmp_path / "mine" / "explanations.sqlite3").get(A) == explain()
    monkeypatch.delenv("REAGENT_CACHE_DIR")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    assert Store().get(A) is None
    assert (tmp_path / "reagent" / "explanations.sqlite3").exists()


def test_a_path_with_the_signs_of_a_url_is_taken_literally(tmp_path: Path) -> None:
    path = tmp_path / "50% of? #me" / "é.sqlite3"
    Store(path).put(A, explain())
    assert path.exists()
    assert Store(path).get(A) == explain()


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE explanations SET payload = substr(payload, 1, length(payload) - 9)",
        "UPDATE explanations SET payload = CAST('no zlib' AS BLOB)",
        "UPDATE explanations SET payload = 'a text'",
        "UPDATE explanations SET payload = 5",
        "UPDATE explanations SET sha256 = 'ff'",
        f"UPDATE explanations SET key = '{A}'",  # the entry of another request
    ],
)
def test_a_corrupt_entry_is_deleted_and_never_shown(
    path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(path)
    store.put(B if "key =" in harm else A, explain())
    rows(path, harm)
    assert list(sizes(path)) == [A]
    assert store.get(A) is None
    assert sizes(path) == {}
    assert "corrupt" in caplog.text
    store.put(A, explain())
    assert store.get(A) == explain()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema_version": 99}', dump(explain())[:-1] + ',"unheard_of":1}']
)
def test_an_entry_with_a_right_checksum_but_no_readable_explanation_is_deleted(
    path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(path)
    with monkeypatch.context() as patch:
        patch.setattr("reagent_core.store.dump", lambda explanation: text)
        store.put(A, explain())
    assert list(sizes(path)) == [A]
    assert store.get(A) is None
    assert sizes(path) == {}


@pytest.mark.parametrize("first", ["get", "put"])
@pytest.mark.parametrize("garbage", ["all of it", "the header", "the pages"])
def test_a_damaged_file_is_moved_aside_and_a_new_one_started(
    path: Path, garbage: str, first: str
) -> None:
    store = Store(path)
    store.put(A, explain(steps=200))
    store.put(B, explain())
    noise = random.Random(0).randbytes
    good = path.read_bytes()
    bad = {
        "all of it": noise(3000),
        "the header": noise(100) + good[100:],
        "the pages": good[:100] + noise(len(good) - 100),
    }[garbage]
    path.write_bytes(bad)
    if first == "get":
        assert store.get(A) is None
    store.put(B, explain("Rome"))
    assert store.get(B) == explain("Rome")
    assert store.get(A) is None
    (aside,) = damaged(path)
    assert aside.read_bytes() == bad
    assert store.get(B) == explain("Rome")
    assert damaged(path) == [aside]


def test_random_damage_never_raises_and_never_changes_an_answer(tmp_path: Path) -> None:
    keys = {key: explain(key, steps=10) for key in (A, B, C)}
    healthy = tmp_path / "healthy.sqlite3"
    for key, explanation in keys.items():
        Store(healthy).put(key, explanation)
    good = healthy.read_bytes()
    rng = random.Random(0)
    lost = 0
    for n in range(20):
        bad = bytearray(good)
        for _ in range(rng.choice([1, 3, 30])):
            # The heads of the pages are where damage is hardest to notice.
            page, offset = rng.randrange(len(bad) // 4096), rng.randrange(120)
            bad[4096 * page + offset] = rng.randrange(256)
        path = tmp_path / f"{n}.sqlite3"
        path.write_bytes(bad)
        store = Store(path)
        for key, explanation in keys.items():
            found = store.get(key)
            assert found in (None, explanation)
            lost += found is None
            store.put(key, explanation)
    assert lost > 0


def test_a_file_of_another_program_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    rows(path, "CREATE TABLE explanations (title TEXT)")
    rows(path, "INSERT INTO explanations VALUES ('mine')")
    store = Store(path)
    store.put(A, explain())
    assert store.get(A) is None
    assert rows(path, "SELECT * FROM explanations") == [("mine",)]
    assert damaged(path) == []


def test_a_deleted_file_is_made_again(path: Path) -> None:
    store = Store(path)
    store.put(A, explain())
    path.unlink()
    assert store.get(A) is None
    store.put(A, explain())
    assert store.get(A) == explain()


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Permissions do not bind root, whom containers like to run as."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("filled", [False, True])
def test_in_a_read_only_folder_the_store_keeps_nothing_and_says_so(
    filled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        path = Path(name) / "explanations.sqlite3"
        if filled:
            Store(path).put(A, explain())
        os.chmod(name, 0o555)
        try:
            with ordinary_user(), caplog.at_level(logging.WARNING):
                store = Store(path)
                store.put(B, explain("Rome"))
                assert "could not be written" in caplog.text
                assert store.get(B) is None
                store.close()
        finally:
            os.chmod(name, 0o755)
        assert path.exists() == filled
        if filled:
            assert list(sizes(path)) == [A]


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file" / "explanations.sqlite3")
    store.put(A, explain())
    assert store.get(A) is None


def test_a_write_that_is_killed_before_its_commit_leaves_the_old_entry(path: Path) -> None:
    Store(path).put(A, explain("Paris"))
    process = child(
        "from sqlalchemy import event\n"
        "def die(connection):\n"
        "    print('in the transaction', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "event.listen(store._database._engine, 'commit', die)\n"
        # With a small page cache the larger part of the entry is in the log by then.
        "small = lambda connection, _: connection.execute('PRAGMA cache_size = 10').close()\n"
        "event.listen(store._database._engine, 'connect', small)\n"
        f"store.put({A!r}, explain('Lyon', steps=1000, units=30))\n",
        path,
    )
    out, _ = process.communicate(timeout=60)
    assert (out, process.returncode) == ("in the transaction\n", -signal.SIGKILL)
    assert path.with_name(path.name + "-wal").stat().st_size > 200_000
    store = Store(path)
    assert store.get(A) == explain("Paris")
    store.put(B, explain("Rome"))
    assert store.get(B) == explain("Rome")
    assert damaged(path) == []


def test_a_process_killed_at_any_moment_leaves_a_sound_store(path: Path) -> None:
    expected = {f"{n:064x}": explain(str(n), steps=300) for n in range(4)}
    rng = random.Random(0)
    for _ in range(4):
        process = child(
            "print('ready', flush=True)\n"
            "while True:\n"
            "    for n in range(4):\n"
            "        store.put(f'{n:064x}', explain(str(n), steps=300))\n",
            path,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.02, 0.4))  # any moment will do
        process.kill()
        process.communicate(timeout=60)
        store = Store(path)
        assert all(store.get(key) in (None, entry) for key, entry in expected.items())
        assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    for key, entry in expected.items():
        store.put(key, entry)
        assert store.get(key) == entry
    assert damaged(path) == []


def test_who_opens_a_new_file_waits_for_another_that_does(path: Path) -> None:
    path.parent.mkdir()
    rows(path, "CREATE TABLE another (x)")  # not in WAL mode yet
    writer = sqlite3.connect(path, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    later = threading.Timer(0.5, writer.rollback)
    later.start()
    Store(path).put(A, explain())
    later.join()
    writer.close()
    assert Store(path).get(A) == explain()


def test_a_large_answer_comes_back_in_well_under_a_second(path: Path) -> None:
    large = explain(steps=200, units=30, inner=10)
    store = Store(path)
    store.put(A, large)
    start = time.perf_counter()
    found = store.get(A)
    seconds = time.perf_counter() - start
    assert found == large
    assert seconds < 1.0
    (payload,) = rows(path, "SELECT payload FROM explanations")[0]
    assert isinstance(payload, bytes)
    assert len(payload) < 0.6 * len(zlib.decompress(payload))
