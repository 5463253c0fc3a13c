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

from service.store.engine import as_json
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
    connection.exec_driver_sql(text, tuple(_document(*part) for part in some))


@cache
def _postgres_inserts(parts: tuple[tuple[sa.Table, tuple[str, ...]], ...]) -> str:
    return f"WITH {', '.join(_postgres_parts(parts))} SELECT 1"


def _postgres_parts(parts: Sequence[tuple[sa.Table, tuple[str, ...]]]) -> list[str]:
    return [
        f"part{n} AS ({_postgres_insert(*part).replace('$1', f'${n}')})"
        for n, part in enumerate(parts, 1)
    ]


class Change(NamedTuple):
    """Rows to be changed, found by their id, that have their owner in the column `of`; all of them name
    the same columns. Where `was` names columns, a row that is not as its `was_` with their names says
    any more stays as it is."""

    table: sa.Table
    of: str
    rows: Sequence[Row]
    was: tuple[str, ...] = ()


class Written(NamedTuple):
    """How many rows of each change were changed, and the ids of what is new."""

    changed: tuple[int, ...]
    ids: list[int]


def write_together(
    connection: sa.Connection,
    owner: int,
    changes: Sequence[Change],
    new: tuple[sa.Table, Sequence[Row]],
    of: str,
    *besides: tuple[sa.Table, Sequence[Row]],
) -> Written:
    """Change rows of one owner, and insert rows of which none refers to another that is new, on
    PostgreSQL in one statement; those of one table name the same columns. Of what is `new`, which
    has the owner in the column `of`, the ids are told, on SQLite with those of all that the owner has."""
    if connection.dialect.name != "postgresql":
        changed = tuple(_sqlite_change(connection, each) for each in changes)
        insert_together(connection, new, *besides)
        # SQLite tells no ids of many rows that go in together.
        theirs = sa.select(new[0].c.id).where(new[0].c[of] == owner)
        ids = list(connection.execute(theirs).scalars()) if new[1] else []
        return Written(changed, ids)
    by_table: dict[sa.Table, list[Row]] = {}
    for table, rows in besides:
        if rows:
            by_table.setdefault(table, []).extend(rows)
    text = _postgres_writes(
        tuple(_Shape(c.table, c.of, tuple(c.rows[0]), c.was) if c.rows else None for c in changes),
        (new[0], tuple(new[1][0])) if new[1] else None,
        tuple((table, tuple(rows[0])) for table, rows in by_table.items()),
    )
    every = (*((each.table, each.rows) for each in changes), new, *by_table.items())
    given = (owner, *(_document(table, rows) for table, rows in every if rows))
    *counts, ids = connection.exec_driver_sql(text, given).one()
    return Written(tuple(counts), ids)


class _Shape(NamedTuple):
    table: sa.Table
    of: str
    names: tuple[str, ...]
    was: tuple[str, ...]


@cache
def _postgres_writes(
    changes: tuple[_Shape | None, ...],
    new: tuple[sa.Table, tuple[str, ...]] | None,
    besides: tuple[tuple[sa.Table, tuple[str, ...]], ...],
) -> str:
    """Return what writes documents, from $2 on, for the owner that is $1."""
    parts, told = [], []
    for change in changes:
        if change:
            parts.append(f"{_postgres_change(change)} RETURNING 1")
        told.append(f"(SELECT count(*) FROM part{len(parts)})" if change else "0")  # noqa: S608 ours
    if new:
        parts.append(f"{_postgres_insert(*new)} RETURNING id")
    ids = f"ARRAY(SELECT id FROM part{len(parts)})"  # noqa: S608 ours
    told.append(ids if new else "ARRAY[]::bigint[]")
    parts += [_postgres_insert(*part) for part in besides]
    written = (
        f"part{n} AS ({each.replace('$1', f'${n + 1}').replace(_OWNER, '$1')})"
        for n, each in enumerate(parts, 1)
    )
    return f"WITH {', '.join(written)} SELECT {', '.join(told)}"


_OWNER = "$owner"


def _postgres_change(change: _Shape) -> str:
    table, of, names, was = change
    before = {f"was_{name}": table.c[name] for name in was}
    given = _given(table, names, before)
    still = (column.is_not_distinct_from(given.c[name]) for name, column in before.items())
    # The owner is what the rows are found by: of a document PostgreSQL takes a hundred rows for
    # granted, and where the plan was made for an empty table it would read all of a full one.
    owned = table.c[of] == sa.literal_column(_OWNER, table.c[of].type)
    return _text(
        table.update()
        .where(owned, table.c.id == given.c.id, *still)
        .values({name: given.c[name] for name in names if name != "id" and name not in before})
    )


def _sqlite_change(connection: sa.Connection, change: Change) -> int:
    table, _, rows, was = change
    if not rows:
        return 0
    return connection.execute(
        _sqlite_changes(table, tuple(rows[0]), was), [{**row, "row": row["id"]} for row in rows]
    ).rowcount


@cache
def _sqlite_changes(table: sa.Table, names: tuple[str, ...], was: tuple[str, ...]) -> sa.Update:
    before = {f"was_{name}": table.c[name] for name in was}
    still = (c.is_not_distinct_from(sa.bindparam(n, type_=c.type)) for n, c in before.items())
    return (
        table.update()
        .where(table.c.id == sa.bindparam("row"), *still)
        .values({name: sa.bindparam(name) for name in names if name != "id" and name not in before})
    )


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
        return Ready(table, names, _document(table, rows))
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
        (place, _instant if isinstance(kind, Instant) else as_json)
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
        raise ValueError(_NO_ZONE)
    return value.astimezone(UTC).isoformat(" ", "microseconds")[:26]


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
    connection.exec_driver_sql(
        _postgres_update(table, tuple(names), key), (_document(table, rows),)
    )


def _given(
    table: sa.Table, names: Sequence[str], more: Mapping[str, sa.Column[Any]] | None = None
) -> Any:
    """Return a document's rows as something to select from; `more` are columns under other names."""
    columns = {name: table.c[name] for name in names if name not in (more or {})} | dict(more or {})
    document = sa.cast(sa.bindparam("rows", type_=sa.Text()), sa.JSON())
    return (
        sa.func.json_to_recordset(document)
        .table_valued(*(sa.column(name, c.type) for name, c in columns.items()), name="given")
        .render_derived(with_types=True)
    )


def _document(table: sa.Table, rows: Sequence[Row]) -> str:
    for name in _instants(table, tuple(rows[0])):
        for row in rows:
            if (at := row[name]) is not None and at.tzinfo is None:
                raise ValueError(_NO_ZONE)
    return orjson.dumps(rows).decode()


_NO_ZONE = "a time without zone reached the store"


@cache
def _instants(table: sa.Table, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of these columns are times."""
    return tuple(
        name for name in names if name in table.c and isinstance(table.c[name].type, Instant)
    )


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
        return connection.exec_driver_sql(text, (_document(table, rows),)).rowcount
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
    return {"rows": orjson.dumps(rows).decode()}
