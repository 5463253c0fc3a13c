"""Counts for the metrics and the rates, all from what is stored."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from service.domain import kpi
from service.domain.kpi import BOUNDS_S, STEPS, WARNED
from service.domain.region import prefix
from service.domain.ticket import DeliveryState, MilestoneKind, Outcome, Stage
from service.store import polls
from service.store.tables import DeliveryRow, MilestoneRow, metadata
from service.store.tallies import Part, totals

_m = metadata.tables[MilestoneRow.__tablename__].c
_d = metadata.tables[DeliveryRow.__tablename__].c

# Of each thing that is owed for a ticket one clock counts: the governing one, and of the lead. What
# an assisting unit does is part of the same thing.
_COUNTS = _m.governing & ~_m.assisting


def _late(at: datetime) -> sa.ColumnElement[bool]:
    """Return whether an open clock is past its due time. Its stage does not say so: a card that a
    person gave comes before. One that stands still (挂起) has time ahead of it."""
    stands_still = _m.next_at.is_(None) & (_m.done <= WARNED)
    return (_m.due_at < at) & ~stands_still


Labels = tuple[str, ...]


# Working seconds to a resolution, as the histogram parts them: hours, then days of seven hours. Each
# is a bound of the tallies too.
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
    caught_up: Sequence[tuple[Labels, datetime]] = ()
    poll_failures: Sequence[tuple[Labels, int]] = ()
    rejected: Sequence[tuple[Labels, int]] = ()


def figures(connection: sa.Connection, at: datetime) -> Figures:
    """Return what /metrics shows of the tickets as of `at`."""
    counted_open = _m.outcome.is_(None) & _COUNTS
    counted = totals(connection)
    read = polls.states(connection)
    return Figures(
        received=_of(counted, "received_", lambda t, decision: (*_class(t), decision)),
        open=_of(counted, "stand_", lambda t, state: (t.region, t.unit, state)),
        milestones_open=_count(
            connection, _m.region, _m.unit, _m.kind, _m.stage, where=counted_open
        ),
        milestones_met=[
            row
            for kind in MilestoneKind
            for row in _of(counted, f"{kind}_", lambda t, end, k=kind: (t.region, t.unit, k, end))  # type: ignore[misc]
        ],
        # By the event, not by the state, and by the kind as received: a total never falls when a
        # ticket is reopened or classified anew.
        closed=_of(counted, "closed", lambda t, _: (t.region, t.unit, t.channel, t.kind)),
        callbacks=_of(counted, "call_yes_", partial(_call, "true"))
        + _of(counted, "call_no_", partial(_call, "false"))
        + _of(counted, "call_none_", partial(_call, "")),
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
        send_backs=_of(
            counted, "back_", lambda t, end: (t.region, t.unit, _label(end == "upheld"))
        ),
        extensions=_of(counted, "extension_", lambda t, end: (t.region, t.unit, end)),
        redispatches=_of(counted, "redispatched", lambda t, _: (t.region,)),
        worked=_worked(counted),
        deliveries=_of(counted, "delivery_", lambda _, state: (state,)),
        oldest_delivery=connection.execute(
            sa.select(sa.func.min(_d.created_at)).where(
                _d.state == sa.literal_column(f"'{DeliveryState.PENDING}'")
            )
        ).scalar(),
        caught_up=[((s.source,), s.caught_up_at) for s in read if s.caught_up_at],
        poll_failures=[((s.source,), s.failures) for s in read],
        rejected=[((source,), n) for source, n in polls.rejected_counts(connection).items()],
    )


_Totals = Mapping[str, Sequence[Part]]


def _of(
    counted: _Totals, begins: str, labelled: Callable[[Part, str], Labels]
) -> list[tuple[Labels, int]]:
    """Return the totals of the measures that begin so, by labels made of each and of its rest."""
    found: dict[Labels, int] = {}
    for measure, parts in counted.items():
        if measure.startswith(begins):
            rest = measure.removeprefix(begins)
            for part in parts:
                labels = labelled(part, rest)
                found[labels] = found.get(labels, 0) + part.n
    return sorted((labels, n) for labels, n in found.items() if n)


def _class(part: Part) -> Labels:
    return part.region, part.channel, part.kind


def _call(solved: str, part: Part, grade: str) -> Labels:
    return part.region, part.unit, solved, "" if grade == "0" else grade


def _worked(counted: _Totals) -> list[tuple[Labels, Worked]]:
    """Return by region and channel how long resolutions took, as each one's event says."""
    steps: dict[Labels, Counter[str]] = {}
    for measure in (*STEPS, kpi.WORKED_S):
        for part in counted.get(measure, ()):
            steps.setdefault((part.region, part.channel), Counter())[measure] += part.n

    def worked(found: Counter[str]) -> Worked:
        held = [found[step] for step in STEPS]
        up_to = tuple(sum(held[: BOUNDS_S.index(most) + 1]) for most in WORKED_S)
        return Worked(sum(held), found[kpi.WORKED_S], up_to)

    return [(labels, worked(found)) for labels, found in sorted(steps.items())]


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
