"""How a revision changes a table that is big and in use. Every revision after 0008 goes by these.

On PostgreSQL each step takes a lock that writers can live with, or one that is held for a moment:
`env.py` gives every transaction a `lock_timeout`, so that a step which cannot get its lock fails
instead of stopping everybody who comes after it, and the store tries again. SQLite has one writer, and
nobody who waits.

`tests/test_migrations.py` reads the revisions and refuses what goes by a shorter way.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

# Tables that grow with the tickets. The others are small for ever, or read by nobody meanwhile.
BIG = frozenset(
    {
        "assists",
        "bodies",
        "closed_tickets",
        "deliveries",
        "events",
        "feed",
        "idempotency_keys",
        "likenesses",
        "marks",
        "messages",
        "milestones",
        "tallies",
        "tally_entries",
        "tally_sums",
        "tickets",
        "traits",
    }
)


def on_postgresql() -> bool:
    """Whether the revision runs on PostgreSQL."""
    return op.get_bind().dialect.name == "postgresql"


def create_index(
    name: str, table: str, columns: Sequence[str | sa.TextClause], *, where: str = "", **more: Any
) -> None:
    """Make an index while others write: CONCURRENTLY on PostgreSQL, outside any transaction.

    What stood in the revision before it is committed then, and a revision that fails later is run
    again from its beginning: what it does must bear that. One that was left half-made is made anew. A
    partitioned table takes no such index: make it on each partition, then on the table.
    """
    condition = sa.text(where) if where else None
    if not on_postgresql():
        op.create_index(name, table, list(columns), if_not_exists=True, sqlite_where=condition)
        return
    with op.get_context().autocommit_block():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(
            name,
            table,
            list(columns),
            postgresql_concurrently=True,
            postgresql_where=condition,
            **more,
        )


def drop_index(name: str, table: str) -> None:
    """Take an index away while others read and write."""
    if not on_postgresql():
        op.drop_index(name, table, if_exists=True)
        return
    with op.get_context().autocommit_block():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column without writing the table anew: one that may be null, or has a default that is the
    same for every row. An older program must be able to leave it out."""
    default = column.server_default
    constant = isinstance(default, sa.DefaultClause) and isinstance(default.arg, str)
    if not column.nullable and not constant:
        msg = f"{table}.{column.name} must be nullable or have a constant default"
        raise ValueError(msg)
    if default is not None and not constant:
        msg = f"{table}.{column.name} has a default that may differ from row to row"
        raise ValueError(msg)
    op.add_column(table, column)


def add_check(name: str, table: str, condition: str) -> None:
    """Add a condition that every row meets: the lock lasts a moment, and the rows are read under one
    that lets others write. On SQLite, which cannot add one without writing the table anew, nothing."""
    if not on_postgresql():
        return
    with op.get_context().autocommit_block():
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID")
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def support(oldest: str) -> None:
    """Say which revision's program is the oldest that works with the schema from here on. A replica
    that is older than that is told so and stops serving; the others go on."""
    op.execute(sa.text("UPDATE schema_support SET oldest = :oldest").bindparams(oldest=oldest))
