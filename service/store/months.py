"""Months: how events are kept by month on PostgreSQL, and what was there before (ADR 0026).

An event's id tells the month in which it was written: 2026120000000042 is the forty-second of December
2026. A partition holds a range of ids, so an id is unique, stays the primary key, and grows with time
as it always did. When a month begins the sequence is moved on to it, once and by one replica.
`event_months` says from which id a month's events are and which ticket was the last before it: a
ticket with a greater id has no events in earlier months, whatever any clock says.

On SQLite, which has no partitions, ids go on as they are, and the months are noted all the same.
"""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from service.domain.calendar import SHANGHAI
from service.store.tables import EventRow, MonthRow, TicketRow, metadata

_events = metadata.tables[EventRow.__tablename__]
_tickets = metadata.tables[TicketRow.__tablename__]
_months = metadata.tables[MonthRow.__tablename__]
_m = _months.c

# Ten thousand million events a month, and 64-bit floating point, as JavaScript has it, keeps every id.
IDS = 10**10
_AHEAD = 3
# Any number will do as long as every replica uses the same.
_MONTH_LOCK = 0x62616E6A6D6F
_REST = "events_rest"


class Detached(Exception):
    """What is asked for lies in a month whose events were taken off; `until` is the last such month."""

    def __init__(self, until: int) -> None:
        super().__init__(until)
        self.until = until


def month_of(at: datetime) -> int:
    """Return the month of a time in Asia/Shanghai: 202612."""
    local = at.astimezone(SHANGHAI)
    return local.year * 100 + local.month


def following(month: int) -> int:
    """Return the month after a month."""
    return month + 89 if month % 100 == 12 else month + 1


def began(connection: sa.Connection) -> datetime:
    """Return when events began to be kept by month."""
    at: datetime = connection.execute(sa.select(sa.func.min(_m.began_at))).scalar_one()
    return at


def clock(connection: sa.Connection, at: datetime) -> datetime:
    """Return the earlier of a time and the database's: a replica whose clock is ahead begins no month."""
    if connection.dialect.name != "postgresql":
        return at
    theirs: datetime = connection.execute(sa.select(sa.func.now())).scalar_one()
    return min(at, theirs)


def prepare(connection: sa.Connection, at: datetime) -> int:
    """Make the partitions of the month of `at` and of the three after it that are missing; return how
    many, 0 where there are none or while another replica is at it. Whoever holds a lock for long lets
    it fail: what has no partition yet goes into the default one, and is moved when it gets its own."""
    if not alone(connection):
        return 0
    there = partitions(connection, "events")
    month, made = month_of(at), 0
    for _ in range(_AHEAD + 1):
        if f"events_{month}" not in there and month >= _last(connection):
            _make(connection, month)
            made += 1
        month = following(month)
    return made


def begin(connection: sa.Connection, at: datetime) -> bool:
    """Begin the month of `at` if it has not begun; return whether it was. Ids only grow: no month is
    begun twice, nor after a later one."""
    partitioned = connection.dialect.name == "postgresql"
    month = month_of(at)
    if month <= _last(connection) or (partitioned and not alone(connection)):
        return False
    if month <= _last(connection):
        return False
    if partitioned:
        first = month * IDS
        sequence = "pg_get_serial_sequence('events', 'id')"
        # The sequence knows no transaction: a turn that was rolled back has moved it, and it must not
        # go back. It is moved before the tickets are looked at: whoever gets a ticket's id after that
        # gets its events' ids from the new month.
        connection.execute(
            sa.text(
                f"SELECT setval({sequence}, :first)"
                f" WHERE coalesce(pg_sequence_last_value({sequence}), 0) < :first"
            ),
            {"first": first},
        )
        # What takes over a history chooses ids, and tells the sequence when it is done.
        ticket_id = connection.execute(
            sa.text(
                "SELECT greatest(pg_sequence_last_value(pg_get_serial_sequence('tickets', 'id')),"
                " (SELECT max(id) FROM tickets), 0)"
            )
        ).scalar_one()
    else:
        first = (connection.execute(sa.select(sa.func.max(_events.c.id))).scalar() or 0) + 1
        ticket_id = connection.execute(sa.select(sa.func.max(_tickets.c.id))).scalar() or 0
    connection.execute(
        _months.insert().values(
            month=month, first_event=first, ticket_id=ticket_id, began_at=at, feed_mark=""
        )
    )
    return True


def _last(connection: sa.Connection) -> int:
    """Return the month that began last."""
    return connection.execute(sa.select(sa.func.max(_m.month))).scalar() or 0


def alone(connection: sa.Connection) -> bool:
    """Whether this transaction is the one that may change partitions, on PostgreSQL. It waits for no
    lock long enough to be noticed by those who wait behind it."""
    if connection.dialect.name != "postgresql":
        return False
    connection.execute(sa.text("SET LOCAL lock_timeout = '500ms'"))
    held = connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_MONTH_LOCK)))
    return bool(held.scalar())


def _make(connection: sa.Connection, month: int) -> None:
    """Make the partition of a month, with what of it came into the default one."""
    name, since, until = f"events_{month}", month * IDS, following(month) * IDS
    # LIKE and ATTACH instead of PARTITION OF: writers of the other months go on.
    connection.execute(
        sa.text(f"CREATE TABLE {name} (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    )
    within = f"id >= {since} AND id < {until}"
    connection.execute(sa.text(f"LOCK TABLE {_REST} IN ACCESS EXCLUSIVE MODE"))
    connection.execute(
        sa.text(
            f"WITH moved AS (DELETE FROM {_REST} WHERE {within} RETURNING *)"  # noqa: S608 ours
            f" INSERT INTO {name} SELECT * FROM moved"
        )
    )
    connection.execute(
        sa.text(
            f"ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ({since}) TO ({until})"
        )
    )


def prepare_closed(connection: sa.Connection, wanted: Collection[int]) -> None:
    """Make the partitions of tickets that ended in these months. The caller is alone."""
    if connection.dialect.name != "postgresql":
        return
    there = partitions(connection, "closed_tickets")
    for month in sorted(set(wanted)):
        name = f"closed_tickets_{month}"
        if name in there:
            continue
        connection.execute(sa.text(f"CREATE TABLE {name} (LIKE closed_tickets INCLUDING DEFAULTS)"))
        connection.execute(
            sa.text(
                f"ALTER TABLE closed_tickets ATTACH PARTITION {name}"
                f" FOR VALUES FROM ({month}) TO ({following(month)})"
            )
        )


def partitions(connection: sa.Connection, table: str) -> set[str]:
    """Return the names of the partitions of a table."""
    return set(
        connection.execute(
            sa.text(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
                " WHERE i.inhparent = CAST(:table AS regclass)"
            ),
            {"table": table},
        ).scalars()
    )


# Reading the events of tickets


def since(ticket_id: int | sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Return the condition that leaves out the months before a ticket, or before the first of
    several, was there; the database reads no partition of theirs."""
    first = sa.select(sa.func.max(_m.first_event)).where(_m.ticket_id < ticket_id)
    return _events.c.id >= sa.func.coalesce(first.scalar_subquery(), 0)


def check(connection: sa.Connection, ticket_id: int) -> None:
    """Raise Detached if a ticket, or one that came after it, may have events in a month that was
    taken off."""
    last, until = _taken_off(connection)
    if last and ticket_id <= until:
        raise Detached(last)


def _taken_off(connection: sa.Connection) -> tuple[int, int]:
    """Return the last month that was taken off, 0 if none was, and the last ticket that may have
    events there."""
    last = connection.execute(
        sa.select(sa.func.max(_m.month)).where(_m.detached_at.is_not(None))
    ).scalar()
    if last is None:
        return 0, 0
    until = connection.execute(
        sa.select(_m.ticket_id).where(_m.month > last).order_by(_m.month).limit(1)
    ).scalar_one()
    return last, until


def table_of(month: int) -> str:
    """Return the name of the table that holds a month's events."""
    return f"events_{month}" if month else "events_before"
