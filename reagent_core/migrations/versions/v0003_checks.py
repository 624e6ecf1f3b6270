"""What checks of explanations found, by the explanation they are of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "checks",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("explanation_key", sa.String(64), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
    )
    op.create_index("ix_checks_explanation_key", "checks", ["explanation_key"])
