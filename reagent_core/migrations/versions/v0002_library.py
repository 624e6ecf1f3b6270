"""A library: what a list of explanations shows has columns of its own, filled from the payloads.

Reads the JSON itself and calls nothing of the rest of the program, which will have changed by the
time that an old database is opened.
"""

from __future__ import annotations

import hashlib
import json
import logging
import unicodedata
import zlib
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

log = logging.getLogger(__name__)


def upgrade() -> None:
    op.rename_table("explanations", "explanations_0001")
    new = op.create_table(
        "explanations",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("settled", sa.Boolean, nullable=False),
        sa.Column("steps", sa.Integer, nullable=False),
        sa.Column("units", sa.Integer, nullable=False),
        sa.Column("created", sa.Double),
        sa.Column("deleted", sa.Double),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("searched", sa.Text, nullable=False),
        sa.Column("searched_name", sa.Text),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_explanations_created", "explanations", ["created"])
    connection = op.get_bind()
    old = sa.table("explanations_0001", *(sa.column(name) for name in ("key", "sha256", "payload")))
    # One at a time: together they need not fit into memory.
    for key in connection.execute(sa.select(old.c.key)).scalars().all():
        row = connection.execute(sa.select(old).where(old.c.key == key)).one()
        try:
            values = _columns(row.key, row.sha256, row.payload)
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
            # The cache would have deleted it when it was asked for.
            log.warning("The stored explanation %s is corrupt; it is left behind.", key)
            continue
        connection.execute(new.insert().values(**values))
    op.drop_table("explanations_0001")


def _columns(key: str, sha256: str, payload: bytes) -> dict[str, Any]:
    if hashlib.sha256(key.encode() + payload).hexdigest() != sha256:
        raise ValueError("checksum")
    data = json.loads(zlib.decompress(payload))
    texts = [data["prompt"]]
    if data["messages"] is not None:
        turns = sorted(data["messages"], key=lambda turn: turn["role"] == "system")
        texts = [turn["content"] for turn in turns]
    prompt, answer = _storable("\n".join(texts)), _storable(data["answer"])
    return {
        "key": key,
        "tags": "",
        "prompt": prompt,
        "answer": answer,
        "target": _storable(data["target"]["text"]),
        "model": data["model"]["id"],
        "source": data.get("source", "reagent"),
        "status": data["status"],
        "settled": data["verdict"]["settled"],
        "steps": data["verdict"]["steps"],
        "units": len(data["units"]),
        "schema_version": data["schema_version"],
        "size": len(payload),
        "searched": unicodedata.normalize("NFKC", f"{prompt}\n{answer}").casefold(),
        "sha256": sha256,
        "payload": payload,
    }


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd")
