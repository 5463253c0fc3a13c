"""Many rows in one statement: on PostgreSQL as column arrays (`unnest`), on SQLite row by row.

A row a statement costs a round trip or a plan each; an array of a thousand costs one of both.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

Row = Mapping[str, Any]


def insert_rows(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert rows that all name the same columns."""
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        connection.execute(table.insert(), list(rows))
        return
    names = list(rows[0])
    given = _arrays(table, names, rows)
    connection.execute(
        table.insert().from_select(names, sa.select(*(given.c[name] for name in names)))
    )


def update_rows(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Update rows by their `id`; all of them name the same columns."""
    if not rows:
        return
    names = [name for name in rows[0] if name != "id"]
    if connection.dialect.name != "postgresql":
        connection.execute(
            table.update()
            .where(table.c.id == sa.bindparam("row"))
            .values({name: sa.bindparam(name) for name in names}),
            [{**row, "row": row["id"]} for row in rows],
        )
        return
    given = _arrays(table, ["id", *names], rows)
    connection.execute(
        table.update()
        .where(table.c.id == given.c.id)
        .values({name: given.c[name] for name in names})
    )


def _arrays(table: sa.Table, names: Sequence[str], rows: Sequence[Row]) -> Any:
    columns = [
        sa.bindparam(
            f"{name}_s",
            [row[name] for row in rows],
            postgresql.ARRAY(table.c[name].type, dimensions=1),
            unique=True,
        )
        for name in names
    ]
    return (
        sa.func.unnest(*columns)
        .table_valued(*(sa.column(name, table.c[name].type) for name in names), name="given")
        .render_derived()
    )
