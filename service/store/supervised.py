"""What a supervisor (督办) looks at: what falls due today, what is late, what has a card, and requests
for more time. All of it lies in indexes of what is still owed, and none in the history."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from service.domain.kpi import WARNED
from service.domain.region import prefix
from service.domain.ticket import Stage, Ticket
from service.store.lists import Due
from service.store.tables import MilestoneRow, TicketRow, metadata
from service.store.tickets import by_ids, whole

_milestones = metadata.tables[MilestoneRow.__tablename__]
_tickets = metadata.tables[TicketRow.__tablename__]
_t = _tickets.c

# Written out, so that the condition is seen to be that of the index.
_NORMAL: sa.ColumnElement[str] = sa.literal_column(f"'{Stage.NORMAL}'")


class Pressing(StrEnum):
    """Why a ticket is on a supervisor's table."""

    DUE_TODAY = "due_today"  # 今日到期
    OVERDUE = "overdue"  # 超期, whatever card it has
    YELLOW = "yellow"  # 黄牌
    RED = "red"  # 红牌


# The stages that a clock may be in for it. The ticker puts a late one into one of the three within
# its tick; a card may be given to one that is not late.
_STAGES: Mapping[Pressing, Sequence[Stage]] = {
    Pressing.OVERDUE: (Stage.OVERDUE, Stage.YELLOW, Stage.RED),
    Pressing.YELLOW: (Stage.YELLOW,),
    Pressing.RED: (Stage.RED,),
}


@dataclass(frozen=True, slots=True)
class Times:
    """From when to when a day's due times lie: now, and the next midnight."""

    now: datetime
    tomorrow: datetime


def _stage(m: sa.FromClause, stage: Stage) -> sa.ColumnElement[bool]:
    """Return whether a clock is in a stage, said so that the index of these is seen to fit."""
    c = m.c
    return (c.stage == stage) & (c.stage != _NORMAL) & c.outcome.is_(None)


def _fits(m: sa.FromClause, why: Pressing, times: Times) -> sa.ColumnElement[bool]:
    """Return whether an open clock is on the table for this, of those that count."""
    c = m.c
    counts = c.outcome.is_(None) & c.governing & ~c.assisting
    if why is Pressing.DUE_TODAY:
        # One that stands still (挂起) has no next step, and does not fall due. Of every other the next
        # step comes no later than its due time.
        ahead = (c.next_at < times.tomorrow) & c.next_at.is_not(None)
        return counts & ahead & (c.due_at >= times.now) & (c.due_at < times.tomorrow)
    staged = c.stage.in_(_STAGES[why])
    if why is not Pressing.OVERDUE:
        return counts & staged
    stands_still = c.next_at.is_(None) & (c.done <= WARNED)
    return counts & staged & (c.due_at < times.now) & ~stands_still


def _of_region(column: sa.ColumnElement[str], region: str) -> list[sa.ColumnElement[bool]]:
    return [column.startswith(prefix(region), autoescape=True)] if prefix(region) else []


Board = Mapping[str, Mapping[Pressing, int]]


def board(connection: sa.Connection, region: str, times: Times) -> Board:
    """Return how many tickets of a region each unit has on the table, by what for; under "" of all
    units together, where a ticket of two units is one."""
    c = _milestones.c
    found: dict[str, dict[Pressing, int]] = {"": dict.fromkeys(Pressing, 0)}
    not_normal = c.outcome.is_(None) & (c.stage != _NORMAL)
    for whys, where in (
        ((Pressing.DUE_TODAY,), _fits(_milestones, Pressing.DUE_TODAY, times)),
        (tuple(_STAGES), not_normal & c.stage.in_(_STAGES[Pressing.OVERDUE])),
    ):
        held = [
            sa.func.max(sa.case((_fits(_milestones, why, times), 1), else_=0)).label(why)
            for why in whys
        ]
        # Each is read once, for its unit and for all.
        owed = (
            sa.select(c.unit, c.ticket_id, *held)
            .where(where, *_of_region(c.region, region))
            .group_by(c.unit, c.ticket_id)
            .cte("owed")
        )
        by_unit = sa.select(owed.c.unit, *(sa.func.sum(owed.c[why]) for why in whys))
        of_all = [
            sa.func.count(sa.distinct(sa.case((owed.c[why] == 1, owed.c.ticket_id))))
            for why in whys
        ]
        both = by_unit.group_by(owed.c.unit).union_all(sa.select(sa.literal(""), *of_all))
        for unit, *numbers in connection.execute(both):
            counts = found.setdefault(unit, dict.fromkeys(Pressing, 0))
            counts.update(zip(whys, map(int, numbers), strict=True))
    return {unit: numbers for unit, numbers in found.items() if not unit or any(numbers.values())}


@dataclass(frozen=True, slots=True)
class Dues:
    """A page of tickets by a time, and the place after which the next one begins, None at the end."""

    items: list[Ticket]
    onward: Due | None = None


def page(
    connection: sa.Connection,
    region: str,
    why: Pressing,
    times: Times,
    *,
    unit: str = "",
    after: Due | None = None,
    limit: int = 50,
) -> Dues:
    """Return a page of the tickets that `board` counts for a unit, or for all of them (""), the
    longest due first."""
    places = sorted(set(_places(connection, region, why, times, unit, after, limit + 1)))
    shown = places[:limit]
    tickets = {t.id: t for t in by_ids(connection, [ticket_id for _, ticket_id in shown])}
    items = [tickets[ticket_id] for _, ticket_id in shown]
    return Dues(items, Due(*shown[-1]) if len(places) > limit else None)


def _places(
    connection: sa.Connection,
    region: str,
    why: Pressing,
    times: Times,
    unit: str,
    after: Due | None,
    limit: int,
) -> Iterable[tuple[datetime, int]]:
    """Give times and tickets, so many of each stage at least if there are as many."""
    m, other = _milestones.c, _milestones.alias("other")
    o = other.c
    # Of several clocks of a ticket the first to fall due is its place.
    sooner = sa.exists().where(
        o.ticket_id == m.ticket_id,
        *([o.unit == m.unit] if unit else []),
        _fits(other, why, times),
        sa.tuple_(o.due_at, o.id) < sa.tuple_(m.due_at, m.id),
    )
    query = sa.select(m.due_at, m.ticket_id).where(
        _fits(_milestones, why, times), ~sooner, *_of_region(m.region, region)
    )
    if unit:
        query = query.where(m.unit == unit)
    if after:
        place = sa.tuple_(
            sa.literal(after.at, m.due_at.type), sa.literal(after.id, m.ticket_id.type)
        )
        query = query.where(sa.tuple_(m.due_at, m.ticket_id) > place)
    in_order = query.order_by(m.due_at, m.ticket_id).limit(limit)
    if unit:
        # Along what the unit owes, by due time.
        queries = [in_order]
    elif why is Pressing.DUE_TODAY:
        # What falls due in one day is few enough to be put in order here.
        queries = [query]
    else:
        queries = [in_order.where(_stage(_milestones, stage)) for stage in _STAGES[why]]
    for each in queries:
        yield from ((row.due_at, row.ticket_id) for row in connection.execute(each))


def extensions(
    connection: sa.Connection, region: str, *, after: Due | None = None, limit: int = 50
) -> Dues:
    """Return a page of the tickets of a region for which more time was asked for (延期) and nobody has
    decided, the longest waiting first."""
    query = (
        sa.select(_tickets)
        .where(_t.extension_asked_at.is_not(None), *_of_region(_t.region, region))
        .order_by(_t.extension_asked_at, _t.id)
        .limit(limit + 1)
    )
    if after:
        place = sa.tuple_(
            sa.literal(after.at, _t.extension_asked_at.type), sa.literal(after.id, _t.id.type)
        )
        query = query.where(sa.tuple_(_t.extension_asked_at, _t.id) > place)
    rows = connection.execute(query).all()
    shown = rows[:limit]
    last = shown[-1] if len(rows) > limit else None
    # During an upgrade a replica of the version before may have decided without this note of it.
    items = [ticket for ticket in whole(connection, shown) if ticket.pending]
    return Dues(items, Due(last.extension_asked_at, last.id) if last else None)


def extensions_waiting(connection: sa.Connection, region: str, most: int) -> int:
    """Return for how many tickets of a region a request for more time waits: `most` for as many and
    more."""
    asked = sa.select(_t.id).where(
        _t.extension_asked_at.is_not(None), *_of_region(_t.region, region)
    )
    some = asked.limit(most).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())
