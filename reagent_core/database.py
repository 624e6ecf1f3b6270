"""Where the library is kept: an SQLite file, or a PostgreSQL database.

Every operation is one transaction on a database of the newest schema; an older one is brought
there first, by one process while the others wait.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import platformdirs
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from reagent_core import migrations
from reagent_core.errors import ReagentError
from reagent_core.library import explanations

log = logging.getLogger(__name__)

URL_VARIABLE: Final = "REAGENT_DATABASE_URL"

# Another process holds the write lock for milliseconds; more than this means it hangs, or brings
# a large library to a new schema.
_BUSY_SECONDS = 10.0
_CONNECT_SECONDS = 5
# PostgreSQL's advisory locks have numbers; this one is ours (the letters "ReAG").
_LOCK = 0x52654147

# A shorter password is part of too many words and numbers to be told from them in a message.
_SHORTEST_MASKED = 4

# What an operation can raise because of the disk or the server; the last, where SQLite's message
# quotes garbage.
_FAILURES = (DBAPIError, OSError, UnicodeDecodeError)

_T = TypeVar("_T")


class LibraryError(ReagentError):
    """The library cannot be read or changed; the sentence says why and what to do."""


class Database:
    """One SQLite file or PostgreSQL database, safe for several threads and processes at once.

    `path`: the SQLite file; without one, what REAGENT_DATABASE_URL names, else
    `explanations.sqlite3` in the folder named by REAGENT_CACHE_DIR, else in the user's cache
    folder. Nothing is opened before it is used, and a wrong address is said then. `name` is
    for people, and holds no password.

    An SQLite file that is damaged is renamed to `<name>.damaged-<time>` and a new one started.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._refusal: str | None = None
        self._engine: Engine | None = None
        self._path: Path | None = None
        self._passwords: list[str] = []
        self._rescue = threading.Lock()
        address = os.environ.get(URL_VARIABLE, "").strip()
        try:
            url = _named(address) if address and path is None else None
        except LibraryError as error:
            self.name, self._refusal = f"at {URL_VARIABLE}", str(error)
            return
        if isinstance(url, URL):
            self._open_postgresql(url)
        else:
            self._open_sqlite(path or url or _default_path())

    def run(self, operation: Callable[[Connection], _T], *, write: bool = False) -> _T:
        """`operation` in one transaction; `write`: it changes something.

        Raises:
            LibraryError: the database refuses, is another program's, or was written by a newer
                version of this program.
        """
        if self._engine is None:
            raise LibraryError(self._refusal or "")
        try:
            try:
                return self._transact(self._engine, operation, write)
            except (*_FAILURES, migrations.BrokenSchema) as error:
                if self._path is None or not _means_damage(error):
                    raise
                if _is_of_a_statement(error) and _has_our_table(self._engine):
                    raise
                self._set_aside(self._engine, self._path)
                return self._transact(self._engine, operation, write)
        except _FAILURES as error:
            raise LibraryError(self._sentence(error)) from error
        except migrations.NewerSchema:
            raise LibraryError(
                f"The library {self.name} was written by a newer version of this program, and is "
                "left as it is. Update this program to use it."
            ) from None
        except migrations.BrokenSchema:
            raise LibraryError(
                f"The tables of the library {self.name} are not as this program makes them, and "
                "are left as they are. Put a backup in its place, or choose another place for the "
                "library."
            ) from None
        except migrations.ForeignTable:
            raise LibraryError(
                f"The database {self.name} has a table “explanations” of another program, and is "
                "left as it is. Choose another place for the library."
            ) from None

    def close(self) -> None:
        """Let go of file and server. The database can be used again afterwards."""
        if self._engine is not None:
            self._engine.dispose()

    def _open_sqlite(self, path: Path) -> None:
        self.name, self._path = str(path), path
        # A connection for each operation (a fraction of a millisecond): nothing stays open on
        # a file that another process may have moved aside.
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)),
            poolclass=NullPool,
            connect_args={"timeout": _BUSY_SECONDS},
        )
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)

    def _open_postgresql(self, url: URL) -> None:
        hosts = ", ".join(_values(url, "host"))
        port = f":{url.port}" if url.port else ""
        place = f"{url.host or hosts or 'this machine'}{port}"
        self.name = f"{url.database or 'the default database'} (PostgreSQL on {place})"
        self._passwords = [*([url.password] if url.password else []), *_values(url, "password")]
        limits = {} if "connect_timeout" in url.query else {"connect_timeout": _CONNECT_SECONDS}
        try:
            self._engine = create_engine(url, pool_pre_ping=True, connect_args=limits)
        except ImportError:
            self._refusal = (
                f"{URL_VARIABLE} names a PostgreSQL database, for which the package psycopg is "
                "needed. Install it: pip install 'psycopg[binary]'."
            )

    def _transact(self, engine: Engine, operation: Callable[[Connection], _T], write: bool) -> _T:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        with _transaction(engine, write) as connection:
            if migrations.is_current(connection):
                return operation(connection)
        with _transaction(engine, write=True, alone=True) as connection:
            migrations.upgrade(connection)
        with _transaction(engine, write) as connection:
            migrations.is_current(connection)
            return operation(connection)

    def _sentence(self, error: Exception) -> str:
        reason = str(getattr(error, "orig", None) or error).strip().split("\n")[0].rstrip(".")
        if self._path is None:
            for password in self._passwords:
                reason = reason.replace(password, "***")
            if any(len(password) < _SHORTEST_MASKED for password in self._passwords):
                reason = ""
            advice = (
                f"Check that the server runs, that {URL_VARIABLE} is right, and that its user may "
                "create tables."
            )
        elif _is_busy(getattr(error, "orig", None)):
            advice = "Another program is at work in it; try again in a moment."
        else:
            advice = "Check that its folder can be written and that the disk is not full."
        because = f": {reason}" if reason else ""
        return f"The library {self.name} cannot be used{because}. {advice}"

    def _set_aside(self, engine: Engine, path: Path) -> None:
        """Move the file out of the way if it is damaged, and nobody else has done it already."""
        with self._rescue:
            try:
                with _transaction(engine) as connection:
                    if connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok":
                        return
            except _FAILURES as error:
                if not _means_damage(error):
                    raise
            stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**9:09}"
            aside = f"{path}.damaged-{stamp}"
            # The write-ahead log goes first: left behind, it would be replayed into the new file.
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(f"{path}{suffix}", f"{aside}{suffix}")
            log.warning("The store %s was damaged; it is now %s.", path, aside)


def _default_path() -> Path:
    folder = os.environ.get("REAGENT_CACHE_DIR")
    return Path(folder or platformdirs.user_cache_dir("reagent")) / "explanations.sqlite3"


def _named(address: str) -> URL | Path:
    """What an address names: a PostgreSQL database, or an SQLite file.

    Raises:
        LibraryError: neither. The sentence does not quote it: it may hold a password.
    """
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        url = None
    if url is not None and url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if (
        url is not None
        and url.drivername == "sqlite"
        and url.database not in (None, "", ":memory:")
    ):
        return Path(str(url.database))
    raise LibraryError(
        f"{URL_VARIABLE} is not the address of a database. Write it as "
        "postgresql://user:password@host:5432/database, or leave it out to keep the library in a "
        "file."
    )


def _values(url: URL, option: str) -> tuple[str, ...]:
    """What the address says behind its question mark for an option, which may stand there twice."""
    return tuple(url.normalized_query.get(option, ()))


@contextlib.contextmanager
def _transaction(engine: Engine, write: bool = False, alone: bool = False) -> Iterator[Connection]:
    """One transaction; `alone`: the only one of all processes, for a change of the schema."""
    with engine.execution_options(write=write).begin() as connection:
        if engine.dialect.name == "postgresql":
            lock = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
            connection.execute(text(f"SELECT {lock}(:number)"), {"number": _LOCK})
        yield connection


def _has_our_table(engine: Engine) -> bool:
    """Whether the table can be read with all of its columns; reads no row of it."""
    try:
        with _transaction(engine) as connection:
            connection.execute(select(explanations).limit(0)).close()
    except _FAILURES:
        return False
    return True


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    # Transactions begin where `_begin` says, and hold changes of the schema, too.
    connection.isolation_level = None
    # Readers do not wait for a writer, and a killed writer leaves the last commit intact. Of two
    # that open a new file at once one is refused, without the patience SQLite has elsewhere.
    for attempt in Retrying(
        retry=retry_if_exception(_is_busy),
        stop=stop_after_delay(_BUSY_SECONDS),
        wait=wait_random(0.005, 0.05),
        reraise=True,
    ):
        with attempt:
            connection.execute("PRAGMA journal_mode=WAL").close()
    # In WAL mode this risks the last commits on power loss, never the file.
    connection.execute("PRAGMA synchronous=NORMAL").close()


def _begin(connection: Connection) -> None:
    # A writer waits for its turn at once: one that has read before cannot wait any more.
    write = connection.get_execution_options().get("write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _is_busy(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _means_damage(error: Exception) -> bool:
    """Whether the file may be no (sound) database; busy, full or read-only is no damage."""
    if isinstance(error, (UnicodeDecodeError, migrations.BrokenSchema)):
        return True
    damaged = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return _code(error) in damaged or _is_of_a_statement(error)


def _is_of_a_statement(error: Exception) -> bool:
    """Whether SQLite does not understand a statement: it asks for too much, or for a table or
    column that damage has taken away."""
    return _code(error) == sqlite3.SQLITE_ERROR


def _code(error: Exception) -> int:
    return int(getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)) & 0xFF
