"""Every finished explanation, by the key of its request: an equal request is answered from disk.

A cache: whatever goes wrong with the disk, the worst that happens is that an explanation is
computed again. So no error leaves this module; what cannot be kept is logged.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import platformdirs
from sqlalchemy import (
    URL,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateTable

from reagent_core.errors import InputError
from reagent_core.explanation import Explanation, dump, load

log = logging.getLogger(__name__)

DEFAULT_MAX_BYTES = 512 * 1024 * 1024
# Another process holds the write lock for milliseconds; more than this means it hangs.
_BUSY_SECONDS = 10.0

# Much faster than the default, and on these long rows of digits only a tenth larger.
_LEVEL = 1

_T = TypeVar("_T")

# `payload` comes last: SQLite reads the columns before a large value without touching it.
# `last_used` counts uses, larger is later; a clock that is set back cannot disturb it.
_entries = Table(
    "explanations",
    MetaData(),
    Column("key", String(64), primary_key=True),
    Column("last_used", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("payload", LargeBinary, nullable=False),
)
_next_use = select(func.coalesce(func.max(_entries.c.last_used), 0) + 1).scalar_subquery()


# What an operation can raise because of the disk; the last, where SQLite's message quotes garbage.
_FAILURES = (DBAPIError, OSError, UnicodeDecodeError)


class _Entry(NamedTuple):
    sha256: str
    payload: bytes


class Store:
    """Explanations in one SQLite file, safe for several threads and processes at once.

    `path`: the database file, made with its folder when missing; by default
    `explanations.sqlite3` in the folder named by REAGENT_CACHE_DIR, else in the user's cache
    folder. `max_bytes`: bound on the sum of the (compressed) entries.

    A database file that is damaged is renamed to `<name>.damaged-<time>` and a new one started.
    Where the folder cannot be written the store keeps nothing: `get` finds nothing, `put` does
    nothing, and the log says so. No method raises because of the disk.
    """

    def __init__(self, path: Path | None = None, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._path = path or _default_path()
        self._max_bytes = max_bytes
        self._rescue = threading.Lock()
        # A connection for each operation (a fraction of a millisecond): nothing stays open on
        # a file that another process may have moved aside.
        self._engine = create_engine(
            URL.create("sqlite", database=str(self._path)),
            poolclass=NullPool,
            connect_args={"timeout": _BUSY_SECONDS},
        )
        event.listen(self._engine, "connect", _prepare)

    def get(self, key: str) -> Explanation | None:
        """The explanation kept under `key` (64 hex digits), or None.

        An entry that is corrupt, or of a version this program does not read, is deleted.
        """
        entry = self._attempt("read", lambda connection: _read(connection, key))
        if entry is None:
            return None
        explanation = _decode(key, entry)
        if explanation is None:
            log.warning("The stored explanation %s is corrupt; it will be computed again.", key)
            # The checksum in the condition spares what another process has put there meanwhile.
            broken = delete(_entries).where(
                _entries.c.key == key, _entries.c.sha256 == entry.sha256
            )
            self._attempt("cleaned", lambda connection: connection.execute(broken))
            return None
        touch = update(_entries).where(_entries.c.key == key).values(last_used=_next_use)
        self._attempt("updated", lambda connection: connection.execute(touch))
        return explanation

    def put(self, key: str, explanation: Explanation) -> None:
        """Keep `explanation` under `key` (64 hex digits) in place of what is there.

        Then the least recently used entries go until all fit into `max_bytes`. An explanation
        that is larger than that by itself is not kept.

        Raises:
            ValueError: the explanation is not complete.
        """
        if explanation.status != "complete":
            raise ValueError(f"only complete explanations are stored, not {explanation.status!r}")
        payload = zlib.compress(dump(explanation).encode(), _LEVEL)
        if len(payload) > self._max_bytes:
            log.warning("The explanation %s is too large to be stored.", key)
            return
        entry = _Entry(_checksum(key, payload), payload)
        self._attempt("written", lambda connection: self._write(connection, key, entry))

    def close(self) -> None:
        """Let go of the file. The store can be used again afterwards."""
        self._engine.dispose()

    def _write(self, connection: Connection, key: str, entry: _Entry) -> None:
        connection.execute(delete(_entries).where(_entries.c.key == key))
        connection.execute(
            insert(_entries).values(
                key=key,
                last_used=_next_use,
                size=len(entry.payload),
                sha256=entry.sha256,
                payload=entry.payload,
            )
        )
        newest_first = func.sum(_entries.c.size).over(
            order_by=(_entries.c.last_used.desc(), _entries.c.key)
        )
        totals = select(_entries.c.key, newest_first.label("total")).subquery()
        over = select(totals.c.key).where(totals.c.total > self._max_bytes)
        connection.execute(delete(_entries).where(_entries.c.key.in_(over)))

    def _attempt(self, verb: str, operation: Callable[[Connection], _T]) -> _T | None:
        """`operation` in one transaction; None, and a line in the log, where the disk refuses."""
        try:
            try:
                return self._transact(operation)
            except _FAILURES as error:
                if not _means_damage(error):
                    raise
                self._set_aside()
                return self._transact(operation)
        except _FAILURES as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            log.warning("The store %s could not be %s: %s", self._path, verb, reason)
            return None

    def _transact(self, operation: Callable[[Connection], _T]) -> _T:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._engine.begin() as connection:
            connection.execute(CreateTable(_entries, if_not_exists=True))
            return operation(connection)

    def _set_aside(self) -> None:
        """Move the file out of the way if it is damaged, and nobody else has done it already."""
        with self._rescue:
            try:
                intact = self._transact(
                    lambda connection: connection.exec_driver_sql("PRAGMA integrity_check").scalar()
                )
                if intact == "ok":
                    return
            except _FAILURES as error:
                if not _means_damage(error):
                    raise
            stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**9:09}"
            aside = f"{self._path}.damaged-{stamp}"
            # The write-ahead log goes first: left behind, it would be replayed into the new file.
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(f"{self._path}{suffix}", f"{aside}{suffix}")
            log.warning("The store %s was damaged; it is now %s.", self._path, aside)


def _default_path() -> Path:
    folder = os.environ.get("REAGENT_CACHE_DIR")
    return Path(folder or platformdirs.user_cache_dir("reagent")) / "explanations.sqlite3"


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    # Readers do not wait for a writer, and a killed writer leaves the last commit intact.
    connection.execute("PRAGMA journal_mode=WAL").close()
    # In WAL mode this risks the last commits on power loss, never the file.
    connection.execute("PRAGMA synchronous=NORMAL").close()


def _read(connection: Connection, key: str) -> _Entry | None:
    row = connection.execute(
        select(_entries.c.sha256, _entries.c.payload).where(_entries.c.key == key)
    ).one_or_none()
    if row is None:
        return None
    # In a damaged file any column can hold any type; no bytes are as corrupt as wrong ones.
    return _Entry(row.sha256, row.payload if isinstance(row.payload, bytes) else b"")


def _checksum(key: str, payload: bytes) -> str:
    # The key is part of it: a damaged index can lead to another request's entry.
    return hashlib.sha256(key.encode() + payload).hexdigest()


def _decode(key: str, entry: _Entry) -> Explanation | None:
    """The explanation in `entry`; None where checksum, compression or JSON are not right."""
    if _checksum(key, entry.payload) != entry.sha256:
        return None
    try:
        return load(zlib.decompress(entry.payload))
    except (zlib.error, InputError):
        return None


def _means_damage(error: Exception) -> bool:
    """Whether the file may be no (sound) database; busy, full or read-only is no damage."""
    if isinstance(error, UnicodeDecodeError):
        return True
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
