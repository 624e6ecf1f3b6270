"""The schema of the library's database, version by version.

`versions/` holds one Alembic script a version. A database written by a newer version of this
program names a version that is not here: it is neither read nor altered.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

# A name of its own: a PostgreSQL database may be shared with programs that use Alembic, too.
VERSION_TABLE: Final = "reagent_schema"
VERSIONS: Final = ("0001", "0002", "0003", "0004")
HEAD: Final = VERSIONS[-1]

_TABLE = "explanations"
# What the script of version 0002 calls the old table while it works; never seen afterwards.
_IN_BETWEEN = "explanations_0001"

# What the only table looked like before versions were written down.
_FIRST_COLUMNS = {"key", "last_used", "size", "sha256", "payload"}

_version = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32)))

# Alembic's scripts act on a connection that is a global of the process.
_one_at_a_time = threading.Lock()


class NewerSchema(Exception):
    """The database names a version that this program does not know."""


class BrokenSchema(Exception):
    """What the database says of its version and what it holds do not fit together."""


class ForeignTable(Exception):
    """The database has a table of our name that another program made."""


def is_current(connection: Connection) -> bool:
    """Whether the database has the newest schema that this program knows.

    Raises:
        NewerSchema: it has a newer one.
        BrokenSchema: it does not name exactly one version, or lacks the table of it.
    """
    return _version_of(connection) == HEAD


def upgrade(connection: Connection) -> None:
    """Bring the database to the newest schema, inside the caller's transaction.

    The caller keeps other processes out meanwhile (see database.py); where one of them was
    first there is nothing left to do.

    Raises:
        NewerSchema: it has a newer schema.
        BrokenSchema: it does not name exactly one version, or its tables are not those of it.
        ForeignTable: the table `explanations` is not ours.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    # `%` is special in a configuration file, which this is to Alembic.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _one_at_a_time:
        if is_current(connection):
            return
        version, found = _version_of(connection), inspect(connection)
        if found.has_table(_IN_BETWEEN):
            raise BrokenSchema
        if found.has_table(_TABLE):
            columns = {column["name"] for column in found.get_columns(_TABLE)}
            is_first, said_first = columns == _FIRST_COLUMNS, version in (None, VERSIONS[0])
            if is_first != said_first:
                raise ForeignTable if version is None else BrokenSchema
            if version is None:
                command.stamp(config, VERSIONS[0])
        command.upgrade(config, HEAD)


def _version_of(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    versions = connection.execute(select(_version.c.version_num)).scalars().all()
    if len(versions) != 1:
        raise BrokenSchema
    if versions[0] not in VERSIONS:
        raise NewerSchema
    if not inspect(connection).has_table(_TABLE):
        raise BrokenSchema
    return versions[0]
