"""Counts for the metrics and the rates, all from what is stored."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from service.domain.lifecycle import FINISHED, Act
from service.domain.region import prefix
from service.domain.ticket import DeliveryState, MilestoneKind, Outcome, Stage
from service.store.tables import DeliveryRow, EventRow, MilestoneRow, TicketRow, metadata

_t = metadata.tables[TicketRow.__tablename__].c
_m = metadata.tables[MilestoneRow.__tablename__].c
_events = metadata.tables[EventRow.__tablename__]
_e = _events.c
_d = metadata.tables[DeliveryRow.__tablename__].c

# Of each thing that is owed for a ticket one clock counts: the governing one, and of the lead. What
# an assisting unit does is part of the same thing.
_COUNTS = _m.governing & ~_m.assisting


# A running clock that nothing more is to come of has its warning and a step after it behind it.
_WARNED = 1


def _late(at: datetime) -> sa.ColumnElement[bool]:
    """Return whether an open clock is past its due time. Its stage does not say so: a card that a
    person gave comes before. One that stands still (挂起) has time ahead of it."""
    stands_still = _m.next_at.is_(None) & (_m.done <= _WARNED)
    return (_m.due_at < at) & ~stands_still


Labels = tuple[str, ...]


# Working seconds to a resolution, as the histogram parts them: hours, then days of seven hours.
WORKED_S = (3_600, 7_200, 12_600, *(25_200 * days for days in (1, 2, 3, 5, 7, 10, 15, 30)))


@dataclass(frozen=True, slots=True)
class Worked:
    """How long resolutions took in working seconds: how many, all together, and how many took no
    longer than each of WORKED_S."""

    count: int
    sum_s: int
    up_to: Sequence[int]


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts by label values, in the order of the labels in service.metrics, from one snapshot."""

    received: Sequence[tuple[Labels, int]]
    open: Sequence[tuple[Labels, int]]
    milestones_open: Sequence[tuple[Labels, int]]
    milestones_met: Sequence[tuple[Labels, int]]
    closed: Sequence[tuple[Labels, int]]
    callbacks: Sequence[tuple[Labels, int]]
    oldest_overdue: Sequence[tuple[Labels, datetime]]
    next_step: datetime | None
    send_backs: Sequence[tuple[Labels, int]] = ()
    extensions: Sequence[tuple[Labels, int]] = ()
    redispatches: Sequence[tuple[Labels, int]] = ()
    worked: Sequence[tuple[Labels, Worked]] = ()
    deliveries: Sequence[tuple[Labels, int]] = ()
    oldest_delivery: datetime | None = None


def figures(connection: sa.Connection, at: datetime) -> Figures:
    """Return what /metrics shows of the tickets as of `at`."""
    counted_open = _m.outcome.is_(None) & _COUNTS
    send_backs = _send_backs(connection)
    return Figures(
        received=_count(connection, _t.region, _t.channel, _t.received_kind, _t.decision),
        open=_count(connection, _t.region, _t.lead_unit, _t.state, where=_t.state.not_in(FINISHED)),
        milestones_open=_count(
            connection, _m.region, _m.unit, _m.kind, _m.stage, where=counted_open
        ),
        milestones_met=_count(
            connection,
            _m.region,
            _m.answers,  # whom it counts against
            _m.kind,
            _m.outcome,
            where=_COUNTS & _m.outcome.is_not(None) & (_m.outcome != Outcome.WITHDRAWN),
        ),
        # By the event, not by the state, and by the kind as received: a total never falls when a
        # ticket is reopened or classified anew.
        closed=_count(
            connection,
            _e.region,
            _e.unit,
            _t.channel,
            _t.received_kind,
            where=(_e.act == Act.CLOSE) & (_e.ticket_id == _t.id),
        ),
        callbacks=_count(
            connection,
            _e.region,
            _e.unit,
            _e.content["solved"].as_boolean(),
            _e.content["grade"].as_string(),
            where=_e.act == Act.CALL_BACK,
        ),
        oldest_overdue=[
            ((row.region, row.unit), row.due_at)
            for row in connection.execute(
                sa.select(_m.region, _m.unit, sa.func.min(_m.due_at).label("due_at"))
                .where(counted_open, _late(at))
                .group_by(_m.region, _m.unit)
            )
        ],
        next_step=connection.execute(
            sa.select(sa.func.min(_m.next_at)).where(_m.next_at.is_not(None))
        ).scalar(),
        send_backs=send_backs,
        extensions=[
            ((region, unit, "granted" if granted == "true" else "refused"), count)
            for (region, unit, granted), count in _count(
                connection,
                _e.region,
                _e.unit,
                _e.content["granted"].as_boolean(),
                where=_e.act == Act.DECIDE_EXTENSION,
            )
        ],
        redispatches=_redispatches(connection, send_backs),
        worked=_worked(connection),
        deliveries=_count(connection, _d.state),
        oldest_delivery=connection.execute(
            sa.select(sa.func.min(_d.created_at)).where(
                _d.state == sa.literal_column(f"'{DeliveryState.PENDING}'")
            )
        ).scalar(),
    )


def _send_backs(connection: sa.Connection) -> list[tuple[Labels, int]]:
    """Return the send-backs (退单) that were decided on: upheld where another unit got the ticket
    next, and not where the same one did. One that waits to be decided would leave a total."""
    back, then = _events.alias("back"), _events.alias("then")
    unit = (
        sa.select(then.c.content["unit"].as_string())
        .where(
            then.c.ticket_id == back.c.ticket_id,
            then.c.id > back.c.id,
            then.c.act.in_((Act.DISPATCH, Act.RULE)),
        )
        .order_by(then.c.id)
        .limit(1)
        .scalar_subquery()
    )
    each = (
        sa.select(back.c.region, back.c.unit, unit.label("given_to"))
        .where(back.c.act == Act.SEND_BACK)
        .subquery()
    )
    upheld = each.c.given_to != each.c.unit
    return _count(
        connection, each.c.region, each.c.unit, upheld, where=each.c.given_to.is_not(None)
    )


def _redispatches(
    connection: sa.Connection, send_backs: Sequence[tuple[Labels, int]]
) -> list[tuple[Labels, int]]:
    """Return how often a ticket went from one unit to another (改派), straight or after it was sent
    back. The event of a dispatch is of the unit that had the ticket before, if one had."""
    given_to = _e.content["unit"].as_string()
    found = Counter(
        dict(
            _count(connection, _e.region, where=(_e.act == Act.DISPATCH) & (given_to != _e.unit)),
        )
    )
    for (region, _unit, upheld), count in send_backs:
        if upheld == "true":
            found[(region,)] += count
    return sorted(found.items())


def _worked(connection: sa.Connection) -> list[tuple[Labels, Worked]]:
    """Return by region and channel how long resolutions took, as each one's event says."""
    each = (
        sa.select(_e.region, _t.channel, _e.content["working_s"].as_integer().label("worked_s"))
        .join(metadata.tables[TicketRow.__tablename__], _t.id == _e.ticket_id)
        .where(_e.act == Act.RESOLVE)
        .subquery()
        .c
    )
    up_to = [sa.func.count(sa.case((each.worked_s <= most, 1))) for most in WORKED_S]
    rows = connection.execute(
        sa.select(each.region, each.channel, sa.func.count(), sa.func.sum(each.worked_s), *up_to)
        .where(each.worked_s.is_not(None))
        .group_by(each.region, each.channel)
        .order_by(each.region, each.channel)
    )
    return [((row[0], row[1]), Worked(row[2], int(row[3]), tuple(row[4:]))) for row in rows]


@dataclass(frozen=True, slots=True)
class UnitLoad:
    """What a unit owes now, in tickets by its governing clocks, and of what it resolved since a
    time how much was on time. A ticket with two overdue clocks is one ticket."""

    unit: str
    open: int
    warn: int
    overdue: int
    due_today: int
    resolved: int
    on_time: int


def unit_loads(
    connection: sa.Connection, region: str, at: datetime, since: datetime, until: datetime
) -> list[UnitLoad]:
    """Return the load of every unit of a region that has one, as of `at`, most overdue first.
    `due_today` is what falls due before `until` and is not overdue; `resolved` counts from `since`."""

    def tickets_where(where: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.count(sa.distinct(sa.case((where, _m.ticket_id))))

    is_open = _m.outcome.is_(None)
    late = _late(at)
    ended = (
        (_m.kind == MilestoneKind.RESOLVE)
        & _m.outcome.in_((Outcome.ON_TIME, Outcome.LATE, Outcome.MISSED))
        & (_m.met_at >= since)
    )
    open_count = tickets_where(is_open)
    overdue = tickets_where(is_open & late)
    query = (
        sa.select(
            _m.unit,
            open_count,
            tickets_where(is_open & ~late & (_m.stage == Stage.WARN)),
            overdue,
            tickets_where(is_open & ~late & (_m.due_at < until)),
            sa.func.count(sa.case((ended, 1))),
            sa.func.count(sa.case((ended & (_m.outcome == Outcome.ON_TIME), 1))),
        )
        .where(_COUNTS, is_open | ended)
        .group_by(_m.unit)
        .order_by(overdue.desc(), open_count.desc(), _m.unit)
    )
    if prefix(region):
        query = query.where(_m.region.startswith(prefix(region), autoescape=True))
    return [UnitLoad(*row) for row in connection.execute(query)]


def _label(value: object) -> str:
    """Return a label's value: what was not asked or answered is empty."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _count(
    connection: sa.Connection,
    *columns: sa.ColumnElement[Any],
    where: sa.ColumnElement[bool] | None = None,
) -> list[tuple[Labels, int]]:
    query = sa.select(*columns, sa.func.count()).group_by(*columns).order_by(*columns)
    if where is not None:
        query = query.where(where)
    return [
        (tuple(_label(value) for value in row[:-1]), int(row[-1]))
        for row in connection.execute(query)
    ]
