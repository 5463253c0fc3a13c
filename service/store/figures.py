"""Counts for the metrics and the rates, all from what is stored."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

import sqlalchemy as sa

from service.domain import kpi
from service.domain.kpi import BOUNDS_S, RECTIFY, STEPS, WARNED
from service.domain.lifecycle import State
from service.domain.region import prefix
from service.domain.ticket import DeliveryState, MilestoneKind, Outcome, Stage
from service.store import chain, polls
from service.store.tables import DeliveryRow, MilestoneRow, metadata
from service.store.tallies import CLOSED, Total, totals

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


Counted = Mapping[Labels, int]


@dataclass(frozen=True, eq=False)
class Part:
    """What one document of counts says: counters and what is open, by the names of the series without
    prefix, `totals` under labels that no other part has, `added` under labels that others add to.
    While a document stays as it is so does its part: whoever writes it may keep what was written."""

    totals: Mapping[str, Counted]
    added: Mapping[str, Counted]
    worked: tuple[Labels, Worked] | None


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts by label values, in the order of the labels in service.metrics, from one snapshot.

    `added` are the totals that the parts have together, by name.
    """

    parts: Sequence[Part] = ()
    added: Mapping[str, Counted] = field(default_factory=dict)
    milestones_open: Counted = field(default_factory=dict)
    oldest_overdue: Mapping[Labels, datetime] = field(default_factory=dict)
    next_step: datetime | None = None
    oldest_delivery: datetime | None = None
    caught_up: Sequence[tuple[Labels, datetime]] = ()
    poll_failures: Sequence[tuple[Labels, int]] = ()
    rejected: Sequence[tuple[Labels, int]] = ()
    unchained: int = 0

    def total(self, name: str) -> Counted:
        """Return a total by its labels."""
        held = (part.totals.get(name, {}) for part in self.parts)
        both = (self.added.get(name, {}), *held)
        return dict(itertools.chain.from_iterable(each.items() for each in both))

    def worked(self) -> list[tuple[Labels, Worked]]:
        """Return by region and channel how long resolutions took."""
        return [part.worked for part in self.parts if part.worked]

    def units(self) -> set[tuple[str, str]]:
        """Return region and unit of all that have or had something to do."""
        labels = itertools.chain(
            self.milestones_open,
            *(part.totals.get("dispatches", ()) for part in self.parts),
            *(part.totals.get("tickets_open", ()) for part in self.parts),
        )
        return {(each[0], each[1]) for each in labels if each[1]}


def figures(connection: sa.Connection, at: datetime) -> Figures:
    """Return what /metrics shows of the tickets as of `at`."""
    milestones, oldest = _owed(connection, at)
    read = polls.states(connection)
    parts = [_part(total) for total in totals(connection)]
    return Figures(
        parts=parts,
        added=_added(parts),
        milestones_open=milestones,
        oldest_overdue=oldest,
        next_step=connection.execute(
            sa.select(sa.func.min(_m.next_at)).where(_m.next_at.is_not(None))
        ).scalar(),
        oldest_delivery=connection.execute(
            sa.select(sa.func.min(_d.created_at)).where(
                _d.state == sa.literal_column(f"'{DeliveryState.PENDING}'")
            )
        ).scalar(),
        caught_up=[((s.source,), s.caught_up_at) for s in read if s.caught_up_at],
        poll_failures=[((s.source,), s.failures) for s in read],
        rejected=[((source,), n) for source, n in polls.rejected_counts(connection).items()],
        unchained=chain.waiting(connection),
    )


# How a measure is told: in which totals, under which labels. Closures are by the event and not by the
# state, and by the kind as received: no total falls when a ticket is reopened or classified anew.
_Told = tuple[str, Callable[[Total], Labels]]


def _of_unit(*more: str) -> Callable[[Total], Labels]:
    return lambda total: (total.region, total.unit, *more)


def _of_region(total: Total) -> Labels:
    return (total.region,)


def _of_channel(*more: str) -> Callable[[Total], Labels]:
    return lambda total: (total.region, total.channel, *more)


def _of_class(*more: str) -> Callable[[Total], Labels]:
    return lambda total: (total.region, total.channel, total.kind, *more)


_ENDS = (Outcome.ON_TIME, Outcome.LATE, Outcome.MISSED)
_SOLVED = {"yes": "true", "no": "false", "none": ""}
_BY_UNIT: Mapping[str, Sequence[_Told]] = {
    **{f"stand_{state}": [("tickets_open", _of_unit(state))] for state in State},
    "stand_merged": [("tickets_merged", _of_region)],
    **{
        f"{kind}_{end}": [("milestones_met", _of_unit(kind, end))]
        for kind in MilestoneKind
        for end in _ENDS
    },
    **{f"{RECTIFY}_{end}": [("rectifications", _of_unit(end))] for end in _ENDS},
    **{
        f"call_{said}_{grade}": [("callbacks", _of_unit(solved, str(grade) if grade else ""))]
        for said, solved in _SOLVED.items()
        for grade in range(6)
    },
    "dispatched": [("dispatches", _of_unit())],
    "first_right": [("first_dispatches", _of_unit())],
    "first_wrong": [("first_dispatches", _of_unit()), ("first_dispatches_wrong", _of_unit())],
    "sent_back": [("sent_back", _of_unit())],
    "back_upheld": [("sendbacks", _of_unit("true"))],
    "back_refused": [("sendbacks", _of_unit("false"))],
    "redispatched": [("redispatches", _of_region)],
    "extension_granted": [("extensions", _of_unit("granted"))],
    "extension_refused": [("extensions", _of_unit("refused"))],
    "resolved": [("resolutions", _of_unit())],
    "resolved_moved": [("resolutions_moved", _of_unit())],
    "resolved_extended": [("resolutions_extended", _of_unit())],
    "redone": [("redone", _of_unit())],
    **{
        f"delivery_{state}": [("deliveries", lambda _, s=state: (s,))]  # type: ignore[misc]
        for state in DeliveryState
    },
}
_BY_CHANNEL: Mapping[str, Sequence[_Told]] = {
    f"{MilestoneKind.RESOLVE}_{end}": [("resolutions_due", _of_channel(end))] for end in _ENDS
}


@cache
def _told(view: str, measure: str) -> Sequence[_Told]:
    """Return how a measure of a view of all times is told; the steps of working times are not."""
    if measure.startswith(f"{CLOSED} "):
        channel, _, kind = measure.removeprefix(f"{CLOSED} ").rpartition(" ")
        return [("tickets_closed", _of_unit(channel, kind))]
    if view == "ever-class":
        return [("tickets_received", _of_class(measure.removeprefix("received_")))]
    return (_BY_CHANNEL if view == "ever-channel" else _BY_UNIT).get(measure, ())


# The same documents are read at every scrape, and few have changed since the one before. One is kept
# of each, which is what it was made of and the part.
_parts: dict[tuple[str, ...], tuple[str, Part]] = {}
# Of these a region has one, whichever of its units it was.
_ADDED = frozenset(("tickets_merged", "redispatches", "deliveries"))


def _part(total: Total) -> Part:
    if total.fresh:
        return _parted(total)
    where = total[:5]
    known = _parts.get(where)
    if known is None or known[0] != total.document:
        _parts[where] = known = (total.document, _parted(total))
    return known[1]


def _added(parts: Iterable[Part]) -> dict[str, dict[Labels, int]]:
    found: dict[str, dict[Labels, int]] = {}
    for part in parts:
        for name, counted in part.added.items():
            held = found.setdefault(name, {})
            for labels, n in counted.items():
                held[labels] = held.get(labels, 0) + n
    return found


def _parted(total: Total) -> Part:
    counts = total.counts
    found: dict[str, dict[Labels, int]] = {}
    added: dict[str, dict[Labels, int]] = {}
    for measure, n in counts.items():
        for name, labelled in _told(total.view, measure):
            held = (added if name in _ADDED else found).setdefault(name, {})
            labels = labelled(total)
            held[labels] = held.get(labels, 0) + n
    by_channel = total.view == "ever-channel"
    worked = ((total.region, total.channel), _worked(counts)) if by_channel else None
    return Part(found, added, worked)


def _worked(counts: Mapping[str, int]) -> Worked:
    held = [counts.get(step, 0) for step in STEPS]
    up_to = tuple(sum(held[: BOUNDS_S.index(most) + 1]) for most in WORKED_S)
    return Worked(sum(held), counts.get(kpi.WORKED_S, 0), up_to)


def _owed(
    connection: sa.Connection, at: datetime
) -> tuple[dict[Labels, int], dict[Labels, datetime]]:
    """Return how many clocks are open, and since when the oldest late one of each unit is."""
    keys = (_m.region, _m.unit, _m.kind, _m.stage)
    since = sa.func.min(_m.due_at).filter(_late(at))
    query = sa.select(*keys, sa.func.count(), since).group_by(*keys)
    open_: dict[Labels, int] = {}
    oldest: dict[Labels, datetime] = {}
    for *labels, count, due_at in connection.execute(query.where(_m.outcome.is_(None) & _COUNTS)):
        open_[tuple(labels)] = count
        unit = (labels[0], labels[1])
        if due_at and due_at < oldest.get(unit, at):
            oldest[unit] = due_at
    return open_, oldest


_ENDED = (Outcome.ON_TIME, Outcome.LATE, Outcome.MISSED)
# Written out, so that the condition is seen to be that of the index.
_RESOLVE: sa.ColumnElement[str] = sa.literal_column(f"'{MilestoneKind.RESOLVE}'")


@dataclass(frozen=True, slots=True)
class UnitLoad:
    """What a unit owes now, in tickets by its governing clocks. A ticket with two overdue clocks is one
    ticket."""

    unit: str
    open: int = 0
    warn: int = 0
    overdue: int = 0
    due_today: int = 0


def with_idle(loads: Sequence[UnitLoad], units: Iterable[str]) -> list[UnitLoad]:
    """Return loads and after them, in order, those of these units that owe nothing now."""
    idle = set(units) - {load.unit for load in loads}
    return [*loads, *map(UnitLoad, sorted(idle))]


def unit_loads(
    connection: sa.Connection, region: str, at: datetime, until: datetime
) -> list[UnitLoad]:
    """Return the load of every unit of a region that has one, as of `at`, most overdue first.
    `due_today` is what falls due before `until` and is not overdue."""
    # Of each ticket first: to count what is distinct the database would sort all of it, four times. Of
    # its clocks the late ones, those about to be late and those due are in one sum, as digits of a
    # number, and no ticket has so many: with one sum for each PostgreSQL sorts instead of hashing.
    about, due = 1 << 10, 1 << 20
    digits = sa.case((_m.stage == Stage.WARN, about), else_=0) + sa.case(
        (_m.due_at < until, due), else_=0
    )
    each = (
        sa.select(_m.unit, sa.func.sum(sa.case((_late(at), 1), else_=digits)).label("clocks"))
        .where(_m.outcome.is_(None), *_here(region))
        .group_by(_m.ticket_id, _m.unit)  # a number first, should it sort: texts take twice as long
        .subquery()
        .c
    )

    def tickets(having: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.sum(sa.case((having, 1), else_=0))

    owed = sa.select(
        each.unit,
        sa.func.count(),
        tickets(each.clocks % due >= about),
        tickets(each.clocks % about > 0),
        tickets(each.clocks >= due),
    )
    rows = connection.execute(owed.group_by(each.unit))
    loads = [UnitLoad(*row) for row in rows]
    return sorted(loads, key=lambda load: (-load.overdue, -load.open, load.unit))


def resolved(connection: sa.Connection, region: str, since: datetime) -> dict[str, tuple[int, int]]:
    """Return how many tickets each unit of a region resolved since a time, and how many of them in time:
    it reads each of them."""
    ended = sa.func.count(sa.case((_m.outcome.in_(_ENDED), 1)))
    query = sa.select(
        _m.unit, ended, sa.func.count(sa.case((_m.outcome == Outcome.ON_TIME, 1)))
    ).where(_m.kind == _RESOLVE, _m.outcome.is_not(None), _m.met_at >= since, *_here(region))
    rows = connection.execute(query.group_by(_m.unit).having(ended > 0))
    return {unit: (done, on_time) for unit, done, on_time in rows}


def _here(region: str) -> list[sa.ColumnElement[bool]]:
    inside = prefix(region)
    return [_COUNTS, *([_m.region.startswith(inside, autoescape=True)] if inside else [])]
