"""Alembic runs on the connection that the store hands over, inside the store's transaction."""

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlmodel import AutoString

from service.store import tables


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
context.configure(
    connection=connection,
    target_metadata=tables.metadata,
    transactional_ddl=True,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
    render_item=render,
    include_object=tables.is_compared(connection.dialect.name),
)
with context.begin_transaction():
    context.run_migrations()
