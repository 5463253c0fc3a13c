"""The feed: every event at a place that never changes, in an order that the commits allow.

SQLite has one writer: the order of ids is the order of commits, and an event's id is its place. On
PostgreSQL ids are taken before the commit and overtake each other. There one sequencer at a time
gives places to what has become visible since its last turn (ADR 0022).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.domain.region import prefix
from service.domain.ticket import Event
from service.store.tables import EventRow, FeedRow, FeedTurnRow, MonthRow, metadata
from service.store.tickets import event_of

_events = metadata.tables[EventRow.__tablename__]
_feed = metadata.tables[FeedRow.__tablename__]
_turns = metadata.tables[FeedTurnRow.__tablename__]

# Any number will do as long as every replica uses the same.
_ORDER_LOCK = 0x62616E6A6665
PLACED_AT_ONCE = 50_000
# How many places one page looks at, for a caller to whom most of them say nothing.
_LOOKED_AT = 5_000
# After so many transactions that wrote no event the sequencer notes that it has seen them.
_UNSEEN_MOST = 100_000


# Giving places, on PostgreSQL


class _Turn(NamedTuple):
    """Where the next turn begins: the last place, and the snapshot in which all was placed, None
    if nothing is sure. Of a backlog also the snapshot that it is of, and the id up to which it is
    placed."""

    base: int
    last: int
    since: str | None
    until: str | None
    passed: int | None


def _turn(connection: sa.Connection) -> _Turn:
    # A row's xmin is the transaction that wrote it. In a dump that was loaded it is another one
    # than the row says, and the row speaks of transactions that this database never saw.
    row = connection.execute(
        sa.text(
            "SELECT base, last, since, until, passed,"
            " tx % 4294967296 = CAST(CAST(xmin AS text) AS bigint) AS ours"
            " FROM feed_turns WHERE id = 1"
        )
    ).one()
    if not row.ours:
        return _Turn(row.base, row.last, None, None, None)
    return _Turn(row.base, row.last, row.since, row.until, row.passed)


_NOW_FROM = "CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)"
# Two ways into the index instead of one condition. The upper end leaves out rows of a loaded dump,
# which may name transactions that are still to come here.
_SINCE = f"""
    SELECT id FROM events WHERE tx >= :unseen AND tx < (SELECT {_NOW_FROM})
    UNION ALL
    SELECT id FROM events WHERE tx = ANY(CAST(:under_way AS bigint[]))
"""  # noqa: S608 nothing of a caller's
_EVERY = "SELECT id FROM events WHERE id > :base"
_NOW = "CAST(pg_current_snapshot() AS text)"
# A backlog in the order of ids, which is that of the table: as many rows are read as are placed, however
# many there are behind them.
_IN = (
    "pg_visible_in_snapshot(CAST(CAST(tx AS text) AS xid8), CAST(CAST(:{} AS text) AS pg_snapshot))"
)
_OF_BACKLOG = (
    f"SELECT id FROM events WHERE id > :passed"  # noqa: S608 nothing of a caller's
    f" AND {_IN.format('until')} AND NOT {_IN.format('since')}"
)
# A lookup for each row, whatever the planner thinks of how many there are.
_UNPLACED = "(SELECT f.position FROM feed f WHERE f.event_id = found.id) IS NULL"


def _found(turn: _Turn) -> tuple[str, dict[str, Any]]:
    """Return the query for the events that may have no place yet, with its values."""
    if turn.since is None:
        return _EVERY, {"base": turn.base}
    _, unseen, under_way = turn.since.split(":")
    return _SINCE, {
        "unseen": int(unseen),
        "under_way": [int(tx) for tx in under_way.split(",") if tx],
    }


def waiting(connection: sa.Connection) -> bool:
    """Whether the sequencer has anything to do."""
    if connection.dialect.name != "postgresql":
        return False
    turn = _turn(connection)
    if turn.since is None or turn.until is not None:
        return True
    query, values = _found(turn)
    return bool(
        connection.execute(
            sa.text(
                f"SELECT EXISTS (SELECT 1 FROM ({query}) found WHERE {_UNPLACED})"  # noqa: S608
                f" OR (SELECT {_NOW_FROM}) - :unseen > :most"
            ),
            {**values, "most": _UNSEEN_MOST},
        ).scalar()
    )


def order(connection: sa.Connection, most: int = PLACED_AT_ONCE) -> int:
    """Give places to some events that have none; return how many, less than `most` if that was all,
    and 0 while another replica is at it or where ids are places."""
    if connection.dialect.name != "postgresql":
        return 0
    if not connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_ORDER_LOCK))).scalar():
        return 0
    # From here on statements see all that the holder of the lock before has committed.
    turn = _turn(connection)
    if turn.until is None:
        return _placed(connection, turn, most)
    placed = _placed_of_backlog(connection, turn, most)
    if placed == most:
        return placed
    return placed + _placed(connection, _turn(connection), most - placed)


def _placed(connection: sa.Connection, turn: _Turn, most: int) -> int:
    """Place what has become visible since the last turn; where it is too much, note of which snapshot
    it is and how far it was placed."""
    query, values = _found(turn)
    # Numbers of a loaded dump say nothing of a snapshot: who looks through all does so at each turn.
    more = "NULL" if turn.since is None else _NOW
    return _place(
        connection,
        # Only so many are looked up as it takes: a backlog has none with a place at its beginning.
        f"SELECT id FROM (SELECT id FROM ({query}) every ORDER BY id OFFSET 0) found"  # noqa: S608
        f" WHERE {_UNPLACED} ORDER BY id LIMIT :most",
        {**values, "most": most, "last": turn.last, "since": turn.since},
        over=_NOW,
        more=more,
    )


def _placed_of_backlog(connection: sa.Connection, turn: _Turn, most: int) -> int:
    """Place the next part of a backlog: of the one snapshot in which it was found, whatever has become
    visible meanwhile, as if one turn had taken all of it."""
    values = {"since": turn.since, "until": turn.until, "passed": turn.passed}
    # Statistics that do not know of so much that is new would have all of it read and sorted.
    _along_ids(connection, "off")
    placed = _place(
        connection,
        # The limit is written out, or the planner would not know how few of them are wanted.
        f"SELECT id FROM ({_OF_BACKLOG}) found WHERE {_UNPLACED} ORDER BY id LIMIT {most:d}",  # noqa: S608
        {**values, "most": most, "last": turn.last},
        over="CAST(:until AS text)",
        more="CAST(:until AS text)",
    )
    _along_ids(connection, "on")
    return placed


def _along_ids(connection: sa.Connection, others: str) -> None:
    """Turn the ways of reading a table that are not along an index `off` or `on`, in this transaction."""
    for name in ("enable_sort", "enable_seqscan", "enable_bitmapscan"):
        connection.exec_driver_sql(f"SET LOCAL {name} = {others}")


def _place(
    connection: sa.Connection, query: str, values: dict[str, Any], *, over: str, more: str
) -> int:
    """Give the next places to what a query finds, at most `most`, and note how far the sequencer has
    come: `over` is the snapshot of which all is placed then, if that was all, `more` the one that what
    is left is of. Return how many it was."""
    placed = connection.execute(
        # One statement, so that what is found and what is noted as seen are of one snapshot.
        sa.text(
            f"""
            WITH next AS MATERIALIZED ({query}),
            placed AS (
                INSERT INTO feed (position, event_id)
                SELECT :last + row_number() OVER (ORDER BY id), id FROM next
            ),
            counted AS (SELECT count(*) AS n, max(id) AS greatest FROM next)
            UPDATE feed_turns SET
                last = last + n,
                since = CASE WHEN n < :most THEN {over} ELSE CAST(:since AS text) END,
                until = CASE WHEN n < :most THEN NULL ELSE {more} END,
                passed = CASE WHEN n < :most THEN NULL ELSE greatest END,
                tx = CAST(CAST(pg_current_xact_id() AS text) AS bigint)
            FROM counted WHERE feed_turns.id = 1
            RETURNING n
            """  # noqa: S608 nothing of a caller's
        ),
        values,
    ).scalar_one()
    return int(placed)


# Reading


class Lost(Exception):
    """A place that the feed does not have, or not with this event: the database is another one, or
    was put back to an earlier state."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the feed, 0 for its beginning. The mark tells the event that is there from any
    other that came there after a restore."""

    position: int = 0
    mark: str = ""


BEGINNING = Place()


class TakenOff(Exception):
    """What follows a place was taken off with its month; what is there follows `first`."""

    def __init__(self, first: Place) -> None:
        super().__init__(first)
        self.first = first


@dataclass(frozen=True, slots=True)
class Happened:
    """An event in its place."""

    place: Place
    ticket_id: int
    ticket_no: str
    region: str
    event: Event


@dataclass(frozen=True, slots=True)
class Stretch:
    """What the feed has from a place on, up to `end`; `more` says that it goes on there."""

    rows: Sequence[Happened]
    end: Place
    more: bool


def stretch(
    connection: sa.Connection, after: Place, limit: int, regions: Sequence[str] = ()
) -> Stretch:
    """Return at most `limit` events after a place, in order, of tickets that lie in each of these
    regions.

    Where few are wanted it looks at so many places and no more, and `end` lies behind those that
    were passed over. Raises Lost, and TakenOff.
    """
    first = _first(connection)
    if after.position < first.position:
        raise TakenOff(first)
    if after.position and after != first:
        _check(connection, after)
    within = [prefix(region) for region in regions if prefix(region)]
    conditions = [_events.c.region.startswith(each, autoescape=True) for each in within]
    looked_at = max(limit, _LOOKED_AT) if conditions else limit
    for part in _parts(connection):
        column = part.position
        ahead = sa.select(column).select_from(part.rows).where(column > after.position)
        if part.last is not None:
            ahead = ahead.where(column <= part.last)
        window = ahead.order_by(column).limit(looked_at).subquery()
        end, count = connection.execute(
            sa.select(sa.func.max(window.c[0]), sa.func.count()).select_from(window)
        ).one()
        if not count:
            continue
        rows = connection.execute(
            sa.select(column.label("position"), _events)
            .select_from(part.events)
            .where(column > after.position, column <= end)
            .where(sa.and_(sa.true(), *conditions) | (column == end))
            .order_by(column)
            .limit(limit + 1)
        ).all()
        cut = len(rows) > limit
        found = [_happened(row) for row in rows[:limit]]
        last = found[-1]
        if not all(last.region.startswith(each) for each in within):
            found.pop()  # it was read for its place alone
        # The first part always goes on: in the next one.
        more = cut or count == looked_at or part.last is not None
        return Stretch(found, last.place, more)
    return Stretch((), after, more=False)


def _first(connection: sa.Connection) -> Place:
    """Return the place that what is there begins after."""
    m = metadata.tables[MonthRow.__tablename__].c
    row = connection.execute(
        sa.select(m.feed_to, m.feed_mark)
        .where(m.detached_at.is_not(None), m.feed_to > 0)
        .order_by(m.month.desc())
        .limit(1)
    ).first()
    return Place(row.feed_to, row.feed_mark) if row else BEGINNING


def place_at(connection: sa.Connection, position: int) -> Place | None:
    """Return the place at a position, None if there is no event."""
    row = _at(connection, position)
    return _happened(row).place if row else None


def placed_after(connection: sa.Connection, position: int, limit: int) -> Sequence[sa.Row[Any]]:
    """Return the next events after a position, at most so many, in order: the rows of the events, each
    with its position. None only at the end."""
    for part in _parts(connection):
        if part.last is not None and position >= part.last:
            continue
        query = (
            sa.select(part.position.label("position"), _events)
            .select_from(part.events)
            .where(part.position > position)
        )
        if part.last is not None:
            query = query.where(part.position <= part.last)
        rows = connection.execute(query.order_by(part.position).limit(limit)).all()
        if rows:
            return rows
    return ()


def with_positions(
    connection: sa.Connection, source: sa.FromClause
) -> tuple[sa.ColumnElement[int | None], sa.FromClause]:
    """Return the position of an event as a column, None while it has none, and the source, which has
    `events` in it, with what is to be read for it."""
    if connection.dialect.name != "postgresql":
        return _events.c.id, source
    base = connection.execute(sa.select(_turns.c.base)).scalar_one()
    position = sa.case((_events.c.id <= base, _events.c.id), else_=_feed.c.position)
    return position, source.outerjoin(_feed, _feed.c.event_id == _events.c.id)


def emptied(connection: sa.Connection, after: int, until: int, limit: int) -> Sequence[int]:
    """Return positions after one, up to a last one, whose event is not there."""
    if connection.dialect.name != "postgresql":
        return ()
    query = (
        sa.select(_feed.c.position)
        .select_from(_feed.outerjoin(_events, _events.c.id == _feed.c.event_id))
        .where(_feed.c.position > after, _feed.c.position <= until, _events.c.id.is_(None))
    )
    return connection.execute(query.order_by(_feed.c.position).limit(limit)).scalars().all()


def passed_over(connection: sa.Connection) -> sa.ColumnElement[bool]:
    """Return the condition that an event which has no position will never get one: what wrote it was
    over when the sequencer last looked, or nobody knows what wrote it."""
    if connection.dialect.name != "postgresql":
        return sa.false()
    turn = _turn(connection)
    if turn.since is None:
        return sa.false()  # the next turn looks at every event
    seen = sa.text(
        "(events.tx IS NULL OR pg_visible_in_snapshot("
        "CAST(CAST(events.tx AS text) AS xid8), CAST(:since AS pg_snapshot)))"
    ).bindparams(since=turn.since)
    return sa.and_(_events.c.id > turn.base, _feed.c.position.is_(None), seen)


def newest(connection: sa.Connection) -> Place:
    """Return the last place there is, the beginning if nothing has happened yet."""
    last = tail(connection)
    row = _at(connection, last) if last else None
    return _happened(row).place if row else BEGINNING


def tail(connection: sa.Connection) -> int:
    """Return the last position there is, 0 if nothing has happened yet."""
    column = _turns.c.last if connection.dialect.name == "postgresql" else _events.c.id
    return connection.execute(sa.select(sa.func.max(column))).scalar() or 0


def _check(connection: sa.Connection, place: Place) -> None:
    row = _at(connection, place.position)
    if row is None or _happened(row).place != place:
        raise Lost


class _Part(NamedTuple):
    """A part of the feed: its positions, where they stand alone, where with their events, and the
    last of them if another part follows."""

    position: sa.ColumnElement[int]
    rows: sa.FromClause
    events: sa.FromClause
    last: int | None


def _parts(connection: sa.Connection) -> list[_Part]:
    by_id = _Part(_events.c.id, _events, _events, None)
    if connection.dialect.name != "postgresql":
        return [by_id]
    base = connection.execute(sa.select(_turns.c.base)).scalar_one()
    placed = _feed.join(_events, _events.c.id == _feed.c.event_id)
    return [by_id._replace(last=base), _Part(_feed.c.position, _feed, placed, None)]


def _at(connection: sa.Connection, position: int) -> sa.Row[Any] | None:
    for part in _parts(connection):
        if part.last is None or position <= part.last:
            return connection.execute(
                sa.select(part.position.label("position"), _events)
                .select_from(part.events)
                .where(part.position == position)
            ).first()
    raise AssertionError  # the last part has no end


def _happened(row: sa.Row[Any]) -> Happened:
    event = event_of(row)
    told = f"{event.id} {row.ticket_no} {event.act} {event.at.astimezone(UTC).isoformat()}"
    mark = hashlib.sha256(told.encode()).hexdigest()[:8]
    return Happened(Place(row.position, mark), row.ticket_id, row.ticket_no, row.region, event)
