"""Every finished explanation: an equal request is answered from here, and nothing is lost.

To a run this is a cache: whatever goes wrong with disk or server, the worst that happens is that
an explanation is computed again, so `get`, `revive`, `put` and those for checks and comparisons
raise nothing, and what cannot be kept is logged. To a person it is the library: what was asked for
is done, or a sentence says why not.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, case, delete, func, select, update

from reagent_core import library_rows as rows
from reagent_core.baselines.compared import MethodsCompared
from reagent_core.check import Check
from reagent_core.check_rows import keep_check, read_check
from reagent_core.comparison_rows import (
    KeptComparisons,
    keep_comparison,
    list_comparisons,
    read_comparison,
)
from reagent_core.database import Database, LibraryError
from reagent_core.errors import InputError
from reagent_core.explanation import Explanation, dump
from reagent_core.library import (
    EVERYTHING,
    Entry,
    Filter,
    Totals,
    checked_name,
    checked_tags,
    conditions,
    entry_of,
    explanations,
    folded,
    join_tags,
    listed,
    split_tags,
    storable,
)

log = logging.getLogger(__name__)

_GONE = "This explanation is not in the library any more."
_NEWER = (
    "This explanation was written by a newer version of this program. Update this program to "
    "open it."
)
_DAMAGED = "This explanation is damaged in the library. Ask for it again."

_T = TypeVar("_T")
_t = explanations.c


class Store:
    """Explanations in a database (see `Database`), for several threads and processes at once.

    `path`: an SQLite file, made with its folder when missing; without one, the database that
    the environment names. Nothing is evicted. What is deleted comes back when it is asked for
    again within a week; at the first write after that it is removed for good.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._database = Database(path)

    @property
    def name(self) -> str:
        """The place, for people; without a password."""
        return self._database.name

    def problem(self) -> str | None:
        """Why nothing can be read or kept, in a sentence; None where all is well."""
        try:
            self._database.run(lambda connection: None)
        except LibraryError as error:
            return str(error)
        return None

    # What a run asks of it.

    def get(self, key: str) -> Explanation | None:
        """The explanation kept under `key` (64 hex digits), None where there is none or it was
        deleted.

        An entry that is corrupt is removed; one that a newer version wrote is left alone.
        """
        found = self._attempt("read", lambda connection: rows.read(connection, key))
        if found is None:
            return None
        if rows.is_newer(found):
            log.warning("The explanation %s was written by a newer version of this program.", key)
            return None
        explanation = rows.decode(key, found)
        if explanation is None:
            log.warning("The stored explanation %s is corrupt; it will be computed again.", key)
            # The checksum in the condition spares what another process has put there meanwhile.
            broken = delete(explanations).where(_t.key == key, _t.sha256 == found.sha256)
            self._attempt("cleaned", lambda connection: connection.execute(broken), write=True)
        return explanation

    def checksum(self, key: str) -> str | None:
        """What tells the explanation kept under `key` from any other, without reading it; None
        where there is none or it was deleted."""
        return self._attempt("read", lambda connection: rows.checksum(connection, key))

    def revive(self, key: str) -> None:
        """Bring back what was deleted under `key`: a request asks for it again."""
        self._attempt("updated", lambda connection: rows.restore(connection, [key]), write=True)

    def put(self, key: str, explanation: Explanation) -> None:
        """Keep `explanation` under `key` (64 hex digits) in place of what is there.

        Raises:
            ValueError: the explanation is not complete.
        """
        if explanation.status != "complete":
            raise ValueError(f"only complete explanations are stored, not {explanation.status!r}")
        row = rows.row_of(key, explanation, dump(explanation))
        self._attempt("written", lambda c: rows.keep(c, row), write=True)

    def check(self, key: str) -> Check | None:
        """The check kept under `key` (see `check.check_key`), None where there is none."""
        return self._attempt("read", lambda connection: read_check(connection, key))

    def put_check(self, key: str, explanation_key: str, check: Check) -> None:
        """Keep a check under `key`. It is removed with the explanation of `explanation_key`."""
        self._attempt(
            "written", lambda c: keep_check(c, key, explanation_key, check), write=True
        )

    def comparison(self, key: str) -> MethodsCompared | None:
        """The comparison of methods kept under `key` (see `compared.comparison_key`), None where
        there is none, or one of its explanations is there no more."""
        return self._attempt("read", lambda connection: read_comparison(connection, key))

    def put_comparison(self, key: str, compared: MethodsCompared) -> None:
        """Keep a comparison under `key`, after its explanations were `put` under their keys."""
        self._attempt("written", lambda c: keep_comparison(c, key, compared), write=True)

    # What a person asks of it. All of it raises LibraryError where the database refuses.

    def add(self, explanation: Explanation, name: str | None = None) -> str:
        """Keep an explanation that no request names, an import; returns its key.

        The key is the SHA-256 of its JSON form: added twice, it is one entry, with the first name.

        Raises:
            ValueError: the explanation is still running.
            InputError: the name is too long.
        """
        if explanation.status == "running":
            raise ValueError("a running explanation is not stored")
        name = checked_name(name)
        text = dump(explanation)
        key = hashlib.sha256(text.encode()).hexdigest()
        row = rows.row_of(key, explanation, text)
        self._change(lambda c: rows.keep(c, row, name))
        return key

    def entries(
        self,
        wanted: Filter = EVERYTHING,
        *,
        limit: int | None = None,
        offset: int = 0,
        longest: int | None = None,
    ) -> list[Entry]:
        """The entries that are meant, newest first; from place `offset` on, at most `limit`.

        `longest`: so many characters of prompt, answer and target, from the start; all without it.
        """
        query = (
            select(*listed(longest))
            .where(*conditions(wanted))
            .order_by(_t.created.desc().nulls_last(), _t.key)
            .limit(limit)
            .offset(offset)
        )
        return self._database.run(lambda c: [entry_of(row) for row in c.execute(query)])

    def count(self, wanted: Filter = EVERYTHING) -> int:
        """How many entries are meant."""
        query = select(func.count()).select_from(explanations).where(*conditions(wanted))
        return self._database.run(lambda c: c.execute(query).scalar_one())

    def comparisons(self, *, limit: int, longest: int) -> KeptComparisons:
        """The newest comparisons that `comparison` would open, at most `limit`, and how many there
        are; `longest` is that of `entries`."""
        return self._database.run(lambda c: list_comparisons(c, limit, longest))

    def entry(self, start: str) -> Entry:
        """The entry whose key starts so, deleted or not.

        Raises:
            InputError: there is none, or more than one.
        """
        query = select(*listed()).where(_t.key.startswith(start, autoescape=True)).limit(2)
        found = self._database.run(lambda c: [entry_of(row) for row in c.execute(query)])
        if len(found) != 1:
            raise InputError(
                f"Several explanations have ids that start with {start!r}. Type more of it."
                if found
                else f"No explanation has an id that starts with {start!r}. `reagent list` shows "
                "those that are kept.",
                "id",
            )
        return found[0]

    def open(self, key: str) -> Explanation:
        """The explanation kept under `key`, deleted or not.

        Raises:
            LibraryError: it is not there any more, was written by a newer version of this
                program, or is corrupt.
        """
        found = self._database.run(lambda c: rows.read(c, key, deleted=True))
        if found is None:
            raise LibraryError(_GONE)
        if rows.is_newer(found):
            raise LibraryError(_NEWER)
        explanation = rows.decode(key, found)
        if explanation is None:
            raise LibraryError(_DAMAGED)
        return explanation

    def cannot_open(self, keys: Collection[str]) -> dict[str, str]:
        """Those of `keys` that `open` would refuse, each with the sentence why.

        Looks at checksums alone, a small part of the work of `open`.
        """

        def why(connection: Connection, key: str) -> str | None:
            found = rows.read(connection, key, deleted=True)
            if found is None:
                return _GONE
            if rows.is_newer(found):
                return _NEWER
            return None if rows.is_sound(key, found) else _DAMAGED

        return self._database.run(
            lambda c: {key: problem for key in keys if (problem := why(c, key)) is not None}
        )

    def models(self) -> list[str]:
        """The models of all entries that were not deleted."""
        query = select(_t.model).where(_t.deleted.is_(None)).distinct().order_by(_t.model)
        return self._database.run(lambda c: list(c.execute(query).scalars()))

    def tags(self) -> list[str]:
        """The tags of all entries that were not deleted."""
        query = select(_t.tags).where(_t.deleted.is_(None), _t.tags != "").distinct()
        stored = self._database.run(lambda c: list(c.execute(query).scalars()))
        return sorted({tag for tags in stored for tag in split_tags(tags)})

    def totals(self) -> Totals:
        """How many entries there are, and what they take."""
        gone = _t.deleted.is_not(None)
        sums = [func.coalesce(func.sum(case((c, n), else_=0)), 0)
                for c in (~gone, gone) for n in (1, _t.size)]  # fmt: skip
        return self._database.run(lambda c: Totals(*c.execute(select(*sums)).one()))

    def rename(self, key: str, name: str | None) -> None:
        """Give an entry a name, or none.

        Raises:
            InputError: the name is too long (field "name").
        """
        line = checked_name(name)
        values = {"name": line, "searched_name": None if line is None else folded(line)}
        query = update(explanations).where(_t.key == key).values(**values)
        if not self._change(lambda c: c.execute(query).rowcount):
            raise LibraryError(_GONE)

    def tag(
        self, keys: Collection[str], add: Iterable[str] = (), remove: Iterable[str] = ()
    ) -> None:
        """Add tags to entries, and remove others from them.

        Raises:
            InputError: a tag is empty or too long (field "tags").
        """
        more, less = checked_tags(add), {storable(tag) for tag in remove}
        query = select(_t.key, _t.tags).where(_t.key.in_(keys)).with_for_update()

        def change(connection: Connection) -> None:
            for key, stored in connection.execute(query).all():
                tags = join_tags((set(split_tags(stored)) | more) - less)
                connection.execute(update(explanations).where(_t.key == key).values(tags=tags))

        self._change(change)

    def delete(self, keys: Collection[str]) -> int:
        """Delete entries, and say how many there were. `restore` undoes it for a week."""
        query = (
            update(explanations)
            .where(_t.key.in_(keys), _t.deleted.is_(None))
            .values(deleted=time.time())
        )
        return self._change(lambda c: c.execute(query).rowcount)

    def restore(self, keys: Collection[str]) -> int:
        """Bring deleted entries back, and say how many were still there."""
        return self._change(lambda connection: rows.restore(connection, keys))

    def close(self) -> None:
        """Let go of file and server. The store can be used again afterwards."""
        self._database.close()

    def _change(self, operation: Callable[[Connection], _T]) -> _T:
        def both(connection: Connection) -> _T:
            rows.remove_deleted(connection)
            return operation(connection)

        return self._database.run(both, write=True)

    def _attempt(
        self, verb: str, operation: Callable[[Connection], _T], *, write: bool = False
    ) -> _T | None:
        """`operation` in one transaction; None, and a line in the log, where it cannot be had."""
        try:
            return self._change(operation) if write else self._database.run(operation)
        except LibraryError as error:
            log.warning("The store could not be %s. %s", verb, error)
            return None
