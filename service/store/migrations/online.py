"""How a revision changes a table that is big and in use. Every revision from 0009 on goes by these.

On PostgreSQL each step takes a lock that writers can live with, or one that is held for a moment:
`env.py` gives every transaction a `lock_timeout`, so that a step which cannot get its lock fails
instead of stopping everybody who comes after it, and the store tries again. SQLite has one writer, and
nobody who waits.

`tests/test_migrations.py` reads the revisions and refuses what goes by a shorter way.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
        "sealed",
        "tallies",
        "tally_entries",
        "tally_sums",
        "ticket_words",
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
        op.drop_index(name, table, if_exists=True)
        op.create_index(name, table, list(columns), sqlite_where=condition)
        return
    with _outside():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(
            name,
            table,
            list(columns),
            postgresql_concurrently=True,
            postgresql_where=condition,
            **more,
        )


@contextmanager
def _outside() -> Iterator[None]:
    """Outside any transaction, and as long as it takes: what serves bounds its statements. What is
    done here must take no lock that stops writers, for none is let go of in time."""
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        try:
            yield
        finally:
            op.execute("RESET statement_timeout")


def drop_index(name: str, table: str) -> None:
    """Take an index away while others read and write."""
    if not on_postgresql():
        op.drop_index(name, table, if_exists=True)
        return
    with _outside():
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
    that lets others write, after a commit as in `create_index`. On SQLite, which cannot add one without
    writing the table anew, nothing."""
    if not on_postgresql():
        return
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID")
    with _outside():
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
