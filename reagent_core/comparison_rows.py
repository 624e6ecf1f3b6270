"""Rows of the library's table of comparisons of methods: agreement, faithfulness, refusals.

The explanations that were compared are in the library, each under its own key, and are not kept
twice. A row holds no text of a prompt or an answer, so it may outlive them; without one of them,
as when it was deleted, there is no comparison. One that is lost is made again: a row that cannot
be read is as good as none.

The payload is the JSON form of the comparison without its explanations, and with the time when it
was kept ("kept", seconds since 1970).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Select,
    String,
    Table,
    Text,
    and_,
    case,
    cast,
    column,
    delete,
    func,
    select,
    true,
    type_coerce,
)

from reagent_core import library_rows as rows
from reagent_core.baselines.compared import MethodsCompared
from reagent_core.baselines.methods import METHODS, REAGENT
from reagent_core.explanation import SCHEMA_VERSION, Explanation
from reagent_core.library import explanations

comparisons = Table(
    "comparisons",
    MetaData(),
    Column("key", String(64), primary_key=True),
    Column("payload", Text, nullable=False),
)
_t = explanations.c
_METHODS: Final = (REAGENT, *(method.name for method in METHODS))


@dataclass(frozen=True)
class KeptComparison:
    """What a list shows of a comparison. `prompt`: as in `Entry`. `methods`: the names of those
    that found something. `kept`: when that was (UTC); of one kept before this was written down,
    when the newest of its explanations was, None where that is not known either."""

    key: str
    prompt: str
    target: str
    model: str
    methods: tuple[str, ...]
    kept: datetime | None


@dataclass(frozen=True)
class KeptComparisons:
    """The newest comparisons first, and how many there are in `total`."""

    newest: tuple[KeptComparison, ...]
    total: int


def read_comparison(connection: Connection, key: str) -> MethodsCompared | None:
    """The comparison kept under `key`, None where there is none that can be read whole."""
    payload = connection.execute(
        select(comparisons.c.payload).where(comparisons.c.key == key)
    ).scalar_one_or_none()
    try:
        data: Any = json.loads(payload or "{}")
        data.pop("kept", None)
        for result in data["results"]:
            result["explanation"] = _explanation(connection, str(result["key"]))
        return MethodsCompared.model_validate(data)
    except (ValueError, LookupError, TypeError, AttributeError, ValidationError):
        return None


def list_comparisons(connection: Connection, limit: int, longest: int) -> KeptComparisons:
    """The newest comparisons of which all explanations are there, at most `limit`; of prompt and
    target the first `longest` characters. Reads no explanation, and so does not see damage to one.
    """
    found = connection.execute(_listing(connection.dialect.name, limit, longest)).all()
    newest = tuple(
        KeptComparison(
            row.key, row.prompt, row.target, row.model, _in_order(row.methods.split("\n")),
            None if row.kept is None else datetime.fromtimestamp(row.kept, UTC),
        )
        for row in found
    )  # fmt: skip
    return KeptComparisons(newest, found[0].total if found else 0)


def _listing(dialect: str, limit: int, longest: int) -> Select[Any]:
    stored, t = comparisons.c.payload, _t
    payload: ColumnElement[Any]
    if dialect == "postgresql":
        payload = cast(stored, JSON)
        results = func.json_array_elements(payload["results"])
    else:
        # Of SQLite no JSON is an error, but NULL has no results.
        sound = case((func.json_valid(stored), stored))
        payload = type_coerce(sound, JSON)
        results = func.json_each(sound, "$.results")
    result = results.table_valued(column("value", JSON))
    there = and_(
        t.key == result.c.value["key"].as_string(),
        t.deleted.is_(None),
        t.schema_version <= SCHEMA_VERSION,
    )
    kept = func.coalesce(payload["kept"].as_float(), func.max(t.created)).label("kept")
    return (
        select(
            comparisons.c.key,
            # All of one comparison have the same.
            func.min(func.substr(t.prompt, 1, longest)).label("prompt"),
            func.min(func.substr(t.target, 1, longest)).label("target"),
            func.min(t.model).label("model"),
            func.aggregate_strings(result.c.value["method"].as_string(), "\n").label("methods"),
            kept,
            func.count().over().label("total"),
        )
        .select_from(comparisons.join(result, true()).outerjoin(explanations, there))
        .group_by(comparisons.c.key)
        .having(func.count(t.key) == func.count())
        .order_by(kept.desc().nulls_last(), comparisons.c.key)
        .limit(limit)
    )


def _in_order(names: list[str]) -> tuple[str, ...]:
    """Methods as they are always listed: databases gather them in any order."""
    known = [name for name in _METHODS if name in names]
    return (*known, *sorted(set(names) - set(known)))


def keep_comparison(connection: Connection, key: str, compared: MethodsCompared) -> None:
    """Write a comparison in place of what is there. Its explanations are kept by the caller."""
    data = compared.model_dump(mode="json", exclude={"results": {"__all__": {"explanation"}}})
    payload = json.dumps({"kept": time.time(), **data})
    connection.execute(delete(comparisons).where(comparisons.c.key == key))
    connection.execute(comparisons.insert().values(key=key, payload=payload))


def _explanation(connection: Connection, key: str) -> Explanation:
    found = rows.read(connection, key)
    explanation = None if found is None or rows.is_newer(found) else rows.decode(key, found)
    if explanation is None:
        raise LookupError(key)
    return explanation
