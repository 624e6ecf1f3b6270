"""Rows of the library's table of checks: what a check found, beside the explanation it is of.

A check is made again where it is lost: a row that cannot be read is as good as none.
"""

from __future__ import annotations

from pydantic import ValidationError
from sqlalchemy import Column, Connection, MetaData, String, Table, Text, delete, select

from reagent_core.check import Check

# `explanation_key`: what the library keeps the explanation under. Of a check of something else,
# such as a shipped example, it leads nowhere.
checks = Table(
    "checks",
    MetaData(),
    Column("key", String(64), primary_key=True),
    Column("explanation_key", String(64), nullable=False),
    Column("payload", Text, nullable=False),
)


def read_check(connection: Connection, key: str) -> Check | None:
    """The check kept under `key`, None where there is none that can be read."""
    payload = connection.execute(
        select(checks.c.payload).where(checks.c.key == key)
    ).scalar_one_or_none()
    try:
        return None if payload is None else Check.model_validate_json(payload)
    except ValidationError:
        return None


def keep_check(connection: Connection, key: str, explanation_key: str, check: Check) -> None:
    """Write a check in place of what is there."""
    connection.execute(delete(checks).where(checks.c.key == key))
    row = {"key": key, "explanation_key": explanation_key, "payload": check.model_dump_json()}
    connection.execute(checks.insert().values(row))
