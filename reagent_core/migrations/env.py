"""Run by Alembic: the scripts act on the connection that `upgrade` was given."""

from __future__ import annotations

from alembic import context

from reagent_core.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
# No transaction of its own: the caller's holds the lock, and ends with everything or nothing.
context.run_migrations()
