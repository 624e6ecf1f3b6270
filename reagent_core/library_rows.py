"""Rows of the library's table: how an explanation gets into one and out again."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from reagent_core.check_rows import checks
from reagent_core.errors import InputError
from reagent_core.explanation import SCHEMA_VERSION, Explanation, load
from reagent_core.library import columns_of, explanations, folded

# How long a deletion can be undone.
DELETED_DAYS: Final = 7

# Much faster than the default, and on these long rows of digits only a tenth larger.
_LEVEL = 1

_t = explanations.c


class Payload(NamedTuple):
    """The explanation in a row, compressed, and what tells whether it can be read."""

    sha256: str
    payload: bytes
    schema_version: object


def row_of(key: str, explanation: Explanation, text: str) -> dict[str, Any]:
    """The row of an explanation and `text`, its JSON form."""
    payload = zlib.compress(text.encode(), _LEVEL)
    return {
        "key": key,
        **columns_of(explanation),
        "size": len(payload),
        "sha256": _checksum(key, payload),
        "payload": payload,
        "deleted": None,
    }


def keep(connection: Connection, row: dict[str, Any], name: str | None = None) -> None:
    """Write a row. Name, tags and date of an equal one stay, and so does all of one that a newer
    version of the program wrote."""
    first = {
        "name": name,
        "searched_name": None if name is None else folded(name),
        "tags": "",
        "created": time.time(),
    }
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = make(explanations).values(**first, **row)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[_t.key],
            set_={
                **{column: statement.excluded[column] for column in row},
                "name": func.coalesce(_t.name, statement.excluded.name),
                "searched_name": func.coalesce(_t.searched_name, statement.excluded.searched_name),
            },
            where=_t.schema_version <= SCHEMA_VERSION,
        )
    )


def restore(connection: Connection, keys: Collection[str]) -> int:
    """Bring deleted rows back, and say how many there were."""
    query = update(explanations).where(_t.key.in_(keys), _t.deleted.is_not(None))
    return connection.execute(query.values(deleted=None)).rowcount


def remove_deleted(connection: Connection) -> None:
    """Remove what was deleted more than a week ago, and its checks."""
    oldest = time.time() - DELETED_DAYS * 86_400
    gone = select(_t.key).where(_t.deleted < oldest)
    connection.execute(delete(checks).where(checks.c.explanation_key.in_(gone)))
    connection.execute(delete(explanations).where(_t.deleted < oldest))


def is_newer(found: Payload) -> bool:
    """Whether a newer version of the program wrote it."""
    return isinstance(found.schema_version, int) and found.schema_version > SCHEMA_VERSION


def read(connection: Connection, key: str, *, deleted: bool = False) -> Payload | None:
    """What the row of `key` holds; `deleted`: also if it was deleted."""
    query = select(_t.sha256, _t.payload, _t.schema_version).where(_t.key == key)
    if not deleted:
        query = query.where(_t.deleted.is_(None))
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    # In a damaged file any column can hold any type; no bytes are as corrupt as wrong ones.
    payload = row.payload if isinstance(row.payload, bytes) else b""
    return Payload(row.sha256, payload, row.schema_version)


def checksum(connection: Connection, key: str) -> str | None:
    """The checksum in the row of `key`, None where there is none or it was deleted."""
    query = select(_t.sha256).where(_t.key == key, _t.deleted.is_(None))
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def _checksum(key: str, payload: bytes) -> str:
    # The key is part of it: a damaged index can lead to another request's entry.
    return hashlib.sha256(key.encode() + payload).hexdigest()


def is_sound(key: str, found: Payload) -> bool:
    """Whether a row holds the bytes that were written under its key."""
    return _checksum(key, found.payload) == found.sha256


def decode(key: str, found: Payload) -> Explanation | None:
    """The explanation in a row; None where checksum, compression or JSON are not right."""
    if not is_sound(key, found):
        return None
    try:
        return load(zlib.decompress(found.payload))
    except (zlib.error, InputError):
        return None
