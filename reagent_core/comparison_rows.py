"""Rows of the library's table of comparisons of methods: agreement, faithfulness, refusals.

The explanations that were compared are in the library, each under its own key, and are not kept
twice. A row holds no text of a prompt or an answer, so it may outlive them; without one of them,
as when it was deleted, there is no comparison. One that is lost is made again: a row that cannot
be read is as good as none.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Column, Connection, MetaData, String, Table, Text, delete, select

from reagent_core import library_rows as rows
from reagent_core.baselines.compared import MethodsCompared
from reagent_core.explanation import Explanation

comparisons = Table(
    "comparisons",
    MetaData(),
    Column("key", String(64), primary_key=True),
    Column("payload", Text, nullable=False),
)


def read_comparison(connection: Connection, key: str) -> MethodsCompared | None:
    """The comparison kept under `key`, None where there is none that can be read whole."""
    payload = connection.execute(
        select(comparisons.c.payload).where(comparisons.c.key == key)
    ).scalar_one_or_none()
    try:
        data: Any = json.loads(payload or "{}")
        for result in data["results"]:
            result["explanation"] = _explanation(connection, str(result["key"]))
        return MethodsCompared.model_validate(data)
    except (ValueError, LookupError, TypeError, ValidationError):
        return None


def keep_comparison(connection: Connection, key: str, compared: MethodsCompared) -> None:
    """Write a comparison in place of what is there. Its explanations are kept by the caller."""
    payload = compared.model_dump_json(exclude={"results": {"__all__": {"explanation"}}})
    connection.execute(delete(comparisons).where(comparisons.c.key == key))
    connection.execute(comparisons.insert().values(key=key, payload=payload))


def _explanation(connection: Connection, key: str) -> Explanation:
    found = rows.read(connection, key)
    explanation = None if found is None or rows.is_newer(found) else rows.decode(key, found)
    if explanation is None:
        raise LookupError(key)
    return explanation
