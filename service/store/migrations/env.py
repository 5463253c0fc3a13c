"""Alembic runs on the connection that the store hands over: on SQLite inside the store's transaction,
on PostgreSQL with one for each revision."""

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlmodel import AutoString

from service.store import tables

# How long a step waits for its lock before it lets those behind it go first. Below the time after
# which PostgreSQL looks for deadlocks: we step back, not they.
_LOCK_TIMEOUT = "800ms"


def render(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write our own types as the plain ones they stand for: a migration outlives the code."""
    if kind == "type" and isinstance(item, tables.Instant):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, AutoString):
        return f"sa.String({item.length or ''})"
    if kind == "type" and isinstance(item, sa.JSON):
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
        return 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")'
    return False


connection: sa.Connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql" and not connection.in_transaction():

    @sa.event.listens_for(connection, "begin")
    def _impatient(begun: sa.Connection) -> None:
        # Of the transaction alone: a pooler may give the connection to somebody else after it. The
        # bounds of who serves are not for rows that are read through.
        begun.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        for bound in ("statement_timeout", "idle_in_transaction_session_timeout"):
            begun.exec_driver_sql(f"SET LOCAL {bound} = 0")


context.configure(
    connection=connection,
    target_metadata=tables.metadata,
    transactional_ddl=True,
    transaction_per_migration=True,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
    render_item=render,
    include_object=tables.is_compared(connection.dialect.name),
)
with context.begin_transaction():
    context.run_migrations()
