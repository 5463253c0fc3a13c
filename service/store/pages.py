"""Pages of lists that grow: from a place on, by an index, and never more rows than a page is worth.

No list is counted or sorted as a whole. Where few of many rows fit what was asked for, a page looks
at so many and no more: it may hold less than was asked for, and still goes on (ADR 0025).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

Item = TypeVar("Item")

# How many rows one page looks at before it tells how far it came.
LOOKED_AT = 4_000
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A page, and the id after which the next one begins: 0 at the end of the list."""

    items: list[Item]
    onward: int = 0


# The next ids of a list after one of them, 0 for the beginning, in the list's order: so many, fewer
# only at the end.
Stream = Callable[[int, int], Sequence[int]]
# Those of these ids that fit, in the list's order, so many at most; each has an `id`.
Fetch = Callable[[Sequence[int], int], Sequence[sa.Row[Any]]]


def walk(
    stream: Stream,
    fetch: Fetch,
    after: int,
    limit: int,
    looked_at: int = LOOKED_AT,
    one_in: int = 1,
) -> tuple[list[sa.Row[Any]], int]:
    """Return the first `limit` rows of a stream that fit, and where it goes on, 0 at the end. One in so
    many is likely to fit, at a guess."""
    found: list[sa.Row[Any]] = []
    looked, wanted = 0, one_in * (limit + 1)
    while True:
        ids = stream(after, wanted)
        found += fetch(ids, limit + 1 - len(found)) if ids else ()
        if len(found) > limit:
            return found[:limit], found[limit - 1].id
        if len(ids) < wanted:
            return found, 0
        after = ids[-1]
        looked += len(ids)
        if looked >= looked_at:
            return found, after
        wanted = min(4 * wanted, _AT_ONCE)


def merged(streams: Sequence[Stream], *, oldest_first: bool = False) -> Stream:
    """Return the stream of what is in any of several."""

    def ids(after: int, count: int) -> Sequence[int]:
        every = {each for stream in streams for each in stream(after, count)}
        return sorted(every, reverse=not oldest_first)[:count]

    return ids


def listed(ids: Sequence[int], *, oldest_first: bool = False) -> Stream:
    """Return the stream of a few ids that are known."""
    ordered = sorted(set(ids), reverse=not oldest_first)

    def some(after: int, count: int) -> Sequence[int]:
        ahead = (n for n in ordered if not after or (n > after if oldest_first else n < after))
        return list(ahead)[:count]

    return some


# The ids of tickets and deliveries that lie under pairs of values, by an index on (one, other, id):
# a few steps down it for each pair, then the first of all. PostgreSQL joins sideways for that, SQLite
# does not, but looks up a list for each row.
_UNDER = {
    "postgresql": """
        SELECT near.id
        FROM unnest(CAST(:one AS text[]), CAST(:other AS text[])) AS k (one, other)
        CROSS JOIN LATERAL (
            SELECT t.id FROM {table} t
            WHERE t.{one} = k.one AND t.{other} = k.other AND t.id {past} :after
            ORDER BY t.id {order} LIMIT :count
        ) near
        ORDER BY near.id {order} LIMIT :count
    """,
    "sqlite": """
        SELECT near.value AS id
        FROM (
            SELECT (
                SELECT json_group_array(id) FROM (
                    SELECT t.id FROM {table} t
                    WHERE t.{one} = json_extract(k.value, '$[0]')
                        AND t.{other} = json_extract(k.value, '$[1]') AND t.id {past} :after
                    ORDER BY t.id {order} LIMIT :count
                )
            ) AS ids
            FROM json_each(:pairs) k
        ) each, json_each(each.ids) near
        ORDER BY near.value {order} LIMIT :count
    """,
}
END = 2**62


def under(
    connection: sa.Connection,
    columns: tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]],
    pairs: Sequence[tuple[str, str]],
    *,
    oldest_first: bool = False,
) -> Stream:
    """Return the stream of a table's ids under pairs of values of two columns, which an index begins
    with and which `id` follows."""
    is_postgres = connection.dialect.name == "postgresql"
    order, past = ("ASC", ">") if oldest_first else ("DESC", "<")
    one, other = columns
    text = sa.text(
        _UNDER[connection.dialect.name].format(
            table=one.table.name,
            one=one.key,
            other=other.key,
            order=order,
            past=past,
        )
    )
    given: dict[str, Any]
    if is_postgres:
        given = {"one": [pair[0] for pair in pairs], "other": [pair[1] for pair in pairs]}
    else:
        given = {"pairs": json.dumps(pairs)}

    def ids(after: int, count: int) -> Sequence[int]:
        if not pairs:
            return []
        place = after if oldest_first or after else END
        values = {**given, "after": place, "count": count}
        return list(connection.execute(text, values).scalars())

    return ids


def every(
    connection: sa.Connection, column: sa.ColumnElement[int], *, oldest_first: bool = False
) -> Stream:
    """Return the stream of all ids of a table."""

    def ids(after: int, count: int) -> Sequence[int]:
        query = sa.select(column).order_by(column if oldest_first else column.desc())
        if after:
            query = query.where(column > after if oldest_first else column < after)
        return list(connection.execute(query.limit(count)).scalars())

    return ids


def distinct(
    connection: sa.Connection, column: sa.ColumnElement[str], low: str = "", high: str = ""
) -> list[str]:
    """Return the values that a column has, from `low` on and below `high`, by one look into an index
    that begins with it for each."""
    query = _each_once(column, bool(low), bool(high))
    return list(connection.execute(query, {"low": low, "high": high}).scalars())


# Made once: to make it takes longer than the database takes to answer.
@cache
def _each_once(column: sa.ColumnElement[str], from_low: bool, below_high: bool) -> sa.Select[Any]:
    bounds = [column >= sa.bindparam("low", type_=column.type)] if from_low else []
    bounds += [column < sa.bindparam("high", type_=column.type)] if below_high else []
    first = sa.select(sa.func.min(column).label("value")).where(*bounds)
    seen = first.cte("seen", recursive=True)
    further = sa.select(sa.func.min(column)).where(column > seen.c.value, *bounds).scalar_subquery()
    each = seen.union_all(sa.select(further).where(seen.c.value.is_not(None)))
    return sa.select(each.c.value).where(each.c.value.is_not(None))
