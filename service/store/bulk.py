"""Many rows in one statement: on PostgreSQL as one JSON document, on SQLite row by row.

A statement a row costs a round trip each. Arrays by column (`unnest`) are slower than one document:
the driver looks at every element of every array in Python, a document is written and read in C.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from service.store.tables import Instant

Row = Mapping[str, Any]


def upsert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT that knows ON CONFLICT on either database."""
    return upserting(connection.dialect.name, table)


def upserting(dialect: str, table: sa.Table) -> Any:
    """Return what `upsert` does, for statements that are made once."""
    return {"postgresql": postgresql, "sqlite": sqlite}[dialect].insert(table)


def among(
    connection: sa.Connection, column: sa.ColumnElement[Any], values: Iterable[Any]
) -> sa.ColumnElement[bool]:
    """Return the condition that a column is one of these values. On PostgreSQL its text is the same
    however many there are: a statement is prepared once, and not for each size of a batch."""
    if connection.dialect.name != "postgresql":
        return column.in_(list(values))
    array = postgresql.ARRAY(column.type)
    return column == sa.any_(sa.bindparam(None, list(values), type_=array, unique=True))


def given_among(dialect: str, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """Return the condition that a column is one of the values that are given as `name`: for statements
    that are made once, which costs more than running them."""
    if dialect != "postgresql":
        return column.in_(sa.bindparam(name, expanding=True))
    return column == sa.any_(sa.bindparam(name, type_=postgresql.ARRAY(column.type)))


def insert_rows(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert rows that all name the same columns."""
    insert_ready(connection, ready(connection.dialect.name, table, rows))


def insert_together(connection: sa.Connection, *parts: tuple[sa.Table, Sequence[Row]]) -> None:
    """Insert rows into several tables as `insert_rows` does into one; none may refer to another. On
    PostgreSQL it is one statement: what an act leaves is a row or two in each of some tables."""
    some = [part for part in parts if part[1]]
    if connection.dialect.name != "postgresql" or len(some) < 2:
        for table, rows in some:
            insert_rows(connection, table, rows)
        return
    text = _postgres_inserts(tuple((table, tuple(rows[0])) for table, rows in some))
    connection.exec_driver_sql(text, tuple(_document(rows) for _, rows in some))


def insert_returning(
    connection: sa.Connection,
    part: tuple[sa.Table, Sequence[Row]],
    wanted: tuple[str, ...],
    by: str,
    *besides: tuple[sa.Table, Sequence[Row]],
) -> Sequence[sa.Row[Any]]:
    """Insert rows as `insert_together` does, and return these columns of those of `part` as they are
    stored; `by` is a column by whose values those, and no others, are found: SQLite returns none of
    many."""
    table, rows = part
    if not rows:
        insert_together(connection, *besides)
        return []
    if connection.dialect.name != "postgresql":
        insert_together(connection, part, *besides)
        values = {"values": list({row[by] for row in rows})}
        return connection.execute(_stored(table, wanted, by), values).all()
    some = [(table, rows), *(each for each in besides if each[1])]
    text = _postgres_returning(tuple((of, tuple(new[0])) for of, new in some), wanted)
    return connection.exec_driver_sql(text, tuple(_document(new) for _, new in some)).all()


@cache
def _stored(table: sa.Table, wanted: tuple[str, ...], by: str) -> sa.Select[Any]:
    columns = (table.c[name] for name in wanted)
    return sa.select(*columns).where(given_among("sqlite", table.c[by], "values"))


@cache
def _postgres_returning(
    parts: tuple[tuple[sa.Table, tuple[str, ...]], ...], wanted: tuple[str, ...]
) -> str:
    inserts = ", ".join(_postgres_parts(parts)[1:])
    before = f"WITH {inserts} " if inserts else ""
    return f"{before}{_postgres_insert(*parts[0])} RETURNING {', '.join(wanted)}"


@cache
def _postgres_inserts(parts: tuple[tuple[sa.Table, tuple[str, ...]], ...]) -> str:
    return f"WITH {', '.join(_postgres_parts(parts))} SELECT 1"


def _postgres_parts(parts: Sequence[tuple[sa.Table, tuple[str, ...]]]) -> list[str]:
    return [
        f"part{n} AS ({_postgres_insert(*part).replace('$1', f'${n}')})"
        for n, part in enumerate(parts, 1)
    ]


class Ready(NamedTuple):
    """Rows as a database takes them. Making them is most of the work, and needs no transaction."""

    table: sa.Table
    names: tuple[str, ...]
    values: Any


def ready(dialect: str, table: sa.Table, rows: Sequence[Row]) -> Ready:
    """Return rows that all name the same columns, ready for `insert_ready`."""
    if not rows:
        return Ready(table, (), ())
    names = tuple(rows[0])
    if dialect == "postgresql":
        return Ready(table, names, _document(rows))
    return Ready(table, names, list(map(_sqlite_values(table, names), rows)))


def insert_ready(connection: sa.Connection, rows: Ready) -> None:
    """Insert rows that are ready."""
    table, names, values = rows
    if not names:
        return
    if connection.dialect.name != "postgresql":
        connection.exec_driver_sql(_sqlite_insert(table, names), values)
        return
    connection.exec_driver_sql(_postgres_insert(table, names), (values,))


@cache
def _sqlite_insert(table: sa.Table, names: tuple[str, ...], replace: bool | None = None) -> str:
    insert = sqlite.insert(table)
    return str(
        _compiled(
            insert if replace is None else _settled(insert, table, names, replace=replace), names
        )
    )


def _compiled(insert: Any, names: tuple[str, ...]) -> Any:
    return insert.compile(dialect=sqlite.dialect(), column_keys=names)


@cache
def _postgres_insert(table: sa.Table, names: tuple[str, ...], replace: bool | None = None) -> str:
    """Return an INSERT of one document, built once: building it takes longer than a row. `replace` is
    what is done with a row of the same key, None for nothing."""
    given = _given(table, names)
    columns = sa.select(*(given.c[name] for name in names))
    insert = postgresql.insert(table).from_select(names, columns)
    return _text(insert if replace is None else _settled(insert, table, names, replace=replace))


@cache
def _postgres_update(table: sa.Table, names: tuple[str, ...], key: str) -> str:
    given = _given(table, [key, *names])
    return _text(
        table.update()
        .where(table.c[key] == given.c[key])
        .values({name: given.c[name] for name in names})
    )


def _text(statement: sa.UpdateBase) -> str:
    dialect = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]
    return str(statement.compile(dialect=dialect))


def _settled(insert: Any, table: sa.Table, names: Sequence[str], *, replace: bool) -> Any:
    """Return an INSERT that says what is done where a row of the key is there already."""
    key = [column.name for column in table.primary_key]
    if not replace:
        return insert.on_conflict_do_nothing(index_elements=key)
    others = {name: insert.excluded[name] for name in names if name not in key}
    return insert.on_conflict_do_update(index_elements=key, set_=others)


@cache
def _sqlite_values(table: sa.Table, names: tuple[str, ...]) -> Callable[[Row], tuple[Any, ...]]:
    """Return what makes the values of an INSERT of a row, as SQLAlchemy would have written them: it
    looks at every value of every row in Python, and a year has tens of millions."""
    compiled = _compiled(table.insert(), names)
    order = compiled.positiontup or []
    read = itemgetter(*order)
    kinds = ((place, table.c[name].type) for place, name in enumerate(order))
    written = [
        (place, _instant if isinstance(kind, Instant) else _json)
        for place, kind in kinds
        if isinstance(kind, Instant | sa.JSON)
    ]

    def write(row: Row) -> tuple[Any, ...]:
        values = list(read(row))
        for place, how in written:
            values[place] = how(values[place])
        return tuple(values)

    return write


# The same times come again: a clock's end is its first end, an act's time is a clock's too.
@lru_cache(maxsize=65_536)
def _instant(value: datetime | None) -> str | None:
    if value is None:
        return None
    if value.tzinfo is None:
        msg = "a time without zone reached the store"
        raise ValueError(msg)
    return value.astimezone(UTC).isoformat(" ", "microseconds")[:26]


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def update_rows(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Row], key: str = "id"
) -> None:
    """Update rows by their `key`; all of them name the same columns."""
    if not rows:
        return
    names = [name for name in rows[0] if name != key]
    if connection.dialect.name != "postgresql":
        connection.execute(
            table.update()
            .where(table.c[key] == sa.bindparam("row"))
            .values({name: sa.bindparam(name) for name in names}),
            [{**row, "row": row[key]} for row in rows],
        )
        return
    connection.exec_driver_sql(_postgres_update(table, tuple(names), key), (_document(rows),))


def _given(table: sa.Table, names: Sequence[str]) -> Any:
    document = sa.cast(sa.bindparam("rows", type_=sa.Text()), sa.JSON())
    return (
        sa.func.json_to_recordset(document)
        .table_valued(*(sa.column(name, table.c[name].type) for name in names), name="given")
        .render_derived(with_types=True)
    )


def _document(rows: Sequence[Row]) -> str:
    return orjson.dumps(rows, _moment, orjson.OPT_PASSTHROUGH_DATETIME).decode()


def _moment(value: Any) -> str:
    if not isinstance(value, datetime) or value.tzinfo is None:
        msg = f"{type(value).__name__} reached the store, or a time without zone"
        raise ValueError(msg)
    return value.isoformat()


def put_rows(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Row], *, replace: bool
) -> int:
    """Insert rows that all name the same columns, no key twice; where a row of the key is there
    already, replace it or leave it as it is. Return how many were written."""
    if not rows:
        return 0
    names = tuple(rows[0])
    if connection.dialect.name == "postgresql":
        text = _postgres_insert(table, names, replace)
        return connection.exec_driver_sql(text, (_document(rows),)).rowcount
    _, given, values = ready("sqlite", table, rows)
    return connection.exec_driver_sql(_sqlite_insert(table, given, replace), values).rowcount


def find_rows(connection: sa.Connection, table: sa.Table, keys: Sequence[Row]) -> list[Any]:
    """Return the rows that are there of the given primary keys, each named by its columns."""
    if not keys:
        return []
    return list(connection.execute(_finding(connection.dialect.name, table), document(keys)))


@cache
def _finding(dialect: str, table: sa.Table) -> sa.Select[Any]:
    source, given = rows_given(dialect, table, [column.name for column in table.primary_key])
    same = sa.and_(*(table.c[name] == value for name, value in given.items()))
    return sa.select(table).select_from(source.join(table, same))


def rows_given(
    dialect: str, table: sa.Table, names: Sequence[str]
) -> tuple[sa.FromClause, dict[str, sa.ColumnElement[Any]]]:
    """Return the rows that a statement is run with (`document`) as something to select from, and their
    columns of these names."""
    if dialect == "postgresql":
        given = _given(table, names)
        return given, {name: given.c[name] for name in names}
    each = sa.func.json_each(sa.bindparam("rows", type_=sa.Text())).table_valued("value")
    return each, {name: sa.func.json_extract(each.c.value, f"$.{name}") for name in names}


def document(rows: Sequence[Row]) -> dict[str, str]:
    """Return what a statement of `rows_given` is run with."""
    return {"rows": _document(rows)}
