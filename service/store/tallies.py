"""The tallies: what is counted, in rows that grow with days and units and never with tickets.

Every transaction that changes a ticket writes what it changed in the counts (`tally_entries`), one
row and no row of anybody else's: writers never wait for each other. Folding takes these entries away
and adds them to the tallies and their sums, in one transaction. Whoever asks adds to the sums what
is not folded yet, from the same snapshot, so that no answer depends on when the last folding was
(ADR 0021).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.domain.complaint import Review
from service.domain.history import IMPORTED
from service.domain.kpi import (
    ALONE,
    COUNTED,
    MEASURES,
    STEPS,
    WARNED,
    WORKED_S,
    Case,
    Counts,
    Grain,
    Owed,
    Span,
    Told,
    arrived,
    day_of,
    difference,
    graded,
    happened,
    read_as,
    stands,
)
from service.domain.lifecycle import FINISHED, State
from service.domain.region import prefix
from service.domain.ticket import DeliveryState, MilestoneKind, Outcome, Ticket
from service.store.bulk import add_rows, insert_rows
from service.store.tables import (
    DeliveryRow,
    EventRow,
    MilestoneRow,
    RecountRow,
    TallyEntryRow,
    TallyRow,
    TallySumRow,
    TicketRow,
    UnitNameRow,
    metadata,
)

_entries = metadata.tables[TallyEntryRow.__tablename__]
_tallies = metadata.tables[TallyRow.__tablename__]
_sums = metadata.tables[TallySumRow.__tablename__]
_names = metadata.tables[UnitNameRow.__tablename__]
_recounts = metadata.tables[RecountRow.__tablename__]
_t = metadata.tables[TicketRow.__tablename__].c
_m = metadata.tables[MilestoneRow.__tablename__].c
_e = metadata.tables[EventRow.__tablename__].c
_d = metadata.tables[DeliveryRow.__tablename__].c

# Any number will do as long as every replica uses the same.
_FOLD_LOCK = 0x62616E6B7069
_FOLDED_AT_ONCE = 500
_COUNTED_AT_ONCE = 2_000


# Writing, in the transaction of what is counted


def note_new(
    connection: sa.Connection, tickets: Iterable[tuple[Ticket, str]], at: datetime
) -> None:
    """Count new tickets, each with the decision that it is stored under."""
    _note(
        connection,
        at,
        (
            (ticket, stands(case) + arrived(case, decision))
            for ticket, decision in tickets
            for case in (Case.of(ticket),)
        ),
    )


def note_change(connection: sa.Connection, before: Ticket, after: Ticket, at: datetime) -> None:
    """Count what a change of a ticket changes."""
    changed = difference(stands(Case.of(after)), stands(Case.of(before)))
    _note(connection, at, [(after, changed)])


def note_events(
    connection: sa.Connection,
    told: Sequence[tuple[Ticket, Sequence[Told]]],
    at: datetime,
    *,
    new: bool = False,
) -> None:
    """Count events of tickets, which are not written yet; `new` tickets have none before these."""
    noted: list[tuple[Ticket, Counts]] = []
    for ticket, events in told:
        counted = [event for event in events if event.act in COUNTED]
        if not counted:
            continue
        looks_back = not new and any(event.act not in ALONE for event in counted)
        before: list[Told] = _history(connection, ticket.id) if looks_back else []
        found: Counts = Counter()
        for event in counted:
            found = _sum(found, happened(event, before))
            before.append(event)
        noted.append((ticket, found))
    _note(connection, at, noted)


def note_past(
    connection: sa.Connection, told: Iterable[tuple[Ticket, Mapping[date, Counts]]]
) -> None:
    """Count at once all that was learnt of tickets, each with what was learnt of it on which day,
    straight into the tallies: for whoever writes whole histories, and alone has their regions."""
    exact: Counter[tuple[str, _Key]] = Counter()
    named: dict[tuple[str, str], str] = {}
    for ticket, learnt in told:
        where = (ticket.complaint.channel, ticket.received_kind or ticket.complaint.kind)
        for day, counts in learnt.items():
            on = day.isoformat()
            for cell, n in counts.items():
                key = _Key(cell.day.isoformat(), ticket.region, cell.unit, *where, cell.measure)
                exact[on, key] += n
        if ticket.lead and learnt:
            name, since = (ticket.lead.unit, ticket.lead.name), min(learnt).isoformat()
            named[name] = min(since, named.get(name, since))
    _add(connection, exact)
    rows = [{"unit": unit, "name": name, "since": on} for (unit, name), on in sorted(named.items())]
    add_rows(connection, _names, rows)


# Deliveries are counted as they stand and belong to no day, region or unit.
_NO_DAY = "2001-01-01"
_DELIVERY = "delivery_"


def note_deliveries(connection: sa.Connection, changed: Mapping[str, int], at: datetime) -> None:
    """Count by how many the deliveries in each state have changed."""
    counts = [[_NO_DAY, "", f"{_DELIVERY}{state}", n] for state, n in sorted(changed.items()) if n]
    if counts:
        entry = {"known_on": day_of(at).isoformat(), "counts": counts, "names": {}}
        insert_rows(connection, _entries, [entry | dict.fromkeys(_CLASS, "")])


_CLASS = ("region", "channel", "kind")


def _history(connection: sa.Connection, ticket_id: int) -> list[Told]:
    rows = connection.execute(
        sa.select(_e.act, _e.at, _e.unit, _e.content)
        .where(_e.ticket_id == ticket_id, _e.act.in_(sorted(COUNTED)))
        .order_by(_e.id)
    )
    return [_Past(row.act, row.at, row.unit, row.content) for row in rows]


class _Past(NamedTuple):
    act: str
    at: datetime
    unit: str
    content: Mapping[str, Any]


def _sum(one: Counts, other: Counts) -> Counts:
    total = Counter(one)
    total.update(other)
    return Counter({cell: n for cell, n in total.items() if n})


def _note(connection: sa.Connection, at: datetime, noted: Iterable[tuple[Ticket, Counts]]) -> None:
    known_on = day_of(at).isoformat()
    rows = [
        {
            "known_on": known_on,
            "region": ticket.region,
            "channel": ticket.complaint.channel,
            "kind": ticket.received_kind or ticket.complaint.kind,
            "counts": [[c.day.isoformat(), c.unit, c.measure, n] for c, n in sorted(found.items())],
            "names": {ticket.lead.unit: ticket.lead.name} if ticket.lead else {},
        }
        for ticket, found in noted
        if found
    ]
    insert_rows(connection, _entries, rows)


# Folding


class _Key(NamedTuple):
    """A tally's key without the day on which it was known."""

    day: str
    region: str
    unit: str
    channel: str
    kind: str
    measure: str


_BY_UNIT, _BY_CLASS, _FULL = (
    ("region", "unit"),
    ("region", "channel", "kind"),
    (
        "region",
        "unit",
        "channel",
        "kind",
    ),
)
# The views that are kept: which columns, and of which measures. /metrics asks for ever.
_ENDED = tuple(
    f"{kind}_{end}"
    for kind in MilestoneKind
    for end in (Outcome.ON_TIME, Outcome.LATE, Outcome.MISSED)
)
_HELD = tuple(f"stand_{state}" for state in State if state not in FINISHED)
EVER: Mapping[str, tuple[tuple[str, ...], Collection[str]]] = {
    "ever-unit": (
        _BY_UNIT,
        frozenset(
            (
                *(f"{_DELIVERY}{state}" for state in DeliveryState),
                *_ENDED,
                *_HELD,
                "back_upheld",
                "back_refused",
                "extension_granted",
                "extension_refused",
                "redispatched",
                *(f"call_{s}_{g}" for s in ("yes", "no", "none") for g in range(6)),
            )
        ),
    ),
    "ever-channel": (("region", "channel"), frozenset((*STEPS, WORKED_S))),
    "ever-class": (
        _BY_CLASS,
        frozenset(
            f"received_{decision}"
            for decision in (
                "auto",
                "manual",
                "not_accepted",
                "emergency_line",
                "counted",
                IMPORTED,
            )
        ),
    ),
    "ever": (_FULL, frozenset({"closed"})),
}
_VIEWS = {"unit": _BY_UNIT, "class": _BY_CLASS}
_SINCE = {Grain.DAY: 10, Grain.MONTH: 7}


class _Sum(NamedTuple):
    """What is added up: columns that the view does not keep are ""."""

    view: str
    measure: str
    since: str
    region: str
    unit: str
    channel: str
    kind: str


def _viewed(key: _Key) -> Iterator[_Sum]:
    """Return each sum that a tally is part of."""

    def seen(view: str, since: str, kept: tuple[str, ...]) -> _Sum:
        columns = (getattr(key, name) if name in kept else "" for name in _FULL)
        return _Sum(view, key.measure, since, *columns)

    if key.measure in MEASURES:
        for view, kept in _VIEWS.items():
            for grain, length in _SINCE.items():
                yield seen(f"{grain}-{view}", key.day[:length], kept)
    for view, (kept, measures) in EVER.items():
        if key.measure in measures:
            yield seen(view, "", kept)


def waiting(connection: sa.Connection) -> bool:
    """Whether there is anything to fold."""
    return _has(connection, _entries)


def fold(connection: sa.Connection, most: int = _FOLDED_AT_ONCE) -> int:
    """Add some entries to the tallies and take them away; return how many, 0 while another replica
    is at it."""
    if (
        connection.dialect.name == "postgresql"
        and not connection.execute(
            sa.select(sa.func.pg_try_advisory_xact_lock(_FOLD_LOCK))
        ).scalar()
    ):
        return 0
    rows = connection.execute(sa.select(_entries).order_by(_entries.c.id).limit(most)).all()
    if not rows:
        return 0
    exact: Counter[tuple[str, _Key]] = Counter()
    for row in rows:
        for key, n in _keys(row):
            exact[row.known_on, key] += n
    _add(connection, exact)
    named = {
        (unit, name): row.known_on for row in reversed(rows) for unit, name in row.names.items()
    }
    add_rows(
        connection,
        _names,
        [{"unit": unit, "name": name, "since": on} for (unit, name), on in sorted(named.items())],
    )
    connection.execute(_entries.delete().where(_entries.c.id.in_([row.id for row in rows])))
    return len(rows)


def _keys(entry: sa.Row[Any]) -> Iterator[tuple[_Key, int]]:
    for day, unit, measure, n in entry.counts:
        yield _Key(day, entry.region, unit, entry.channel, entry.kind, measure), n


def _add(connection: sa.Connection, exact: Mapping[tuple[str, _Key], int]) -> None:
    # In one order whoever writes, so that nobody waits in a circle.
    rows = [
        {**key._asdict(), "known_on": on, "n": n} for (on, key), n in sorted(exact.items()) if n
    ]
    add_rows(connection, _tallies, rows)
    sums: Counter[_Sum] = Counter()
    for (_, key), n in exact.items():
        for viewed in _viewed(key):
            sums[viewed] += n
    add_rows(connection, _sums, [{**key._asdict(), "n": n} for key, n in sorted(sums.items()) if n])


# Reading


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of the tallies: which days, which measures as `kpi.stored` has them, by which
    column (`day` and `month` too), of which region and what lies in it, of which units if not of
    all, and as known at the end of which day (None: now)."""

    spans: Sequence[Span]
    measures: Collection[str]
    by: str
    region: str = ""
    units: Sequence[str] | None = None
    as_of: date | None = None


Found = dict[str, Counter[str]]


def read(connection: sa.Connection, wanted: Wanted) -> Found:
    """Return the measures by key, those of open clocks as the days make them (`kpi.read_as`)."""
    found: Found = {}
    exact = wanted.as_of is not None or (
        wanted.units is not None and wanted.by in {"channel", "kind"}
    )
    for span in wanted.spans:
        table, conditions, day = _exactly(span, wanted.as_of) if exact else _summed(span, wanted.by)
        column = {"day": day, "month": sa.func.substr(day, 1, 7)}.get(wanted.by)
        key = table.c[wanted.by] if column is None else column
        query = (
            sa.select(key, table.c.measure, sa.func.sum(table.c.n))
            .where(table.c.measure.in_(sorted(wanted.measures)), *conditions)
            .group_by(key, table.c.measure)
        )
        if prefix(wanted.region):
            query = query.where(table.c.region.startswith(prefix(wanted.region), autoescape=True))
        if wanted.units is not None:
            query = query.where(table.c.unit.in_(list(wanted.units)))
        for name, measure, n in connection.execute(query):
            found.setdefault(name, Counter())[read_as(measure, elapsed=span.elapsed)] += int(n)
    _add_rest(connection, wanted, found)
    return found


_Part = tuple[sa.Table, list[sa.ColumnElement[bool]], sa.ColumnElement[Any]]


def _exactly(span: Span, as_of: date | None) -> _Part:
    day = _tallies.c.day
    conditions: list[sa.ColumnElement[bool]] = [
        day.between(span.first.isoformat(), span.last.isoformat())
    ]
    if as_of:
        conditions.append(_tallies.c.known_on <= as_of.isoformat())
    return _tallies, conditions, day


def _summed(span: Span, by: str) -> _Part:
    # By days there are no months to add up.
    grain = Grain.DAY if by == "day" else span.grain
    length = _SINCE[grain]
    since = _sums.c.since
    view = "class" if by in {"channel", "kind"} else "unit"
    first, last = span.first.isoformat()[:length], span.last.isoformat()[:length]
    return _sums, [_sums.c.view == f"{grain}-{view}", since.between(first, last)], since


def _add_rest(connection: sa.Connection, wanted: Wanted, found: Found) -> None:
    """Add what is not folded yet."""
    for entry in connection.execute(sa.select(_entries)):
        if wanted.as_of and entry.known_on > wanted.as_of.isoformat():
            continue
        for key, n in _keys(entry):
            on = date.fromisoformat(key.day)
            span = next((s for s in wanted.spans if s.first <= on <= s.last), None)
            if (
                span is None
                or key.measure not in wanted.measures
                or not key.region.startswith(prefix(wanted.region))
                or (wanted.units is not None and key.unit not in wanted.units)
            ):
                continue
            by = {"day": key.day, "month": key.day[:7]}.get(wanted.by) or getattr(key, wanted.by)
            found.setdefault(by, Counter())[read_as(key.measure, elapsed=span.elapsed)] += n


class Part(NamedTuple):
    """A part of a total of all times: what is folded, or what is not yet."""

    measure: str
    region: str
    unit: str
    channel: str
    kind: str
    n: int


def totals(connection: sa.Connection) -> dict[str, list[Part]]:
    """Return what is counted for ever, by measure, in parts."""
    found: dict[str, list[Part]] = {}
    columns = [_sums.c[name] for name in Part._fields]
    query = sa.select(*columns).where(_sums.c.view.in_(list(EVER)))
    # As the rows are: there may be tens of thousands.
    rows: Any = connection.execute(query).all()
    for row in rows:
        found.setdefault(row[0], []).append(row)
    for entry in connection.execute(sa.select(_entries)):
        for key, n in _keys(entry):
            for viewed in _viewed(key):
                if viewed.view in EVER:
                    found.setdefault(viewed.measure, []).append(
                        Part(
                            key.measure, viewed.region, viewed.unit, viewed.channel, viewed.kind, n
                        )
                    )
    return found


def names(connection: sa.Connection, units: Collection[str]) -> dict[str, list[tuple[str, date]]]:
    """Return what these units were called on tickets, each name with its first day, in order."""
    found: dict[str, dict[str, str]] = {}
    for row in connection.execute(sa.select(_names).where(_names.c.unit.in_(list(units)))):
        found.setdefault(row.unit, {})[row.name] = row.since
    for entry in connection.execute(sa.select(_entries.c.known_on, _entries.c.names)):
        for unit, name in entry.names.items():
            if unit in units:
                found.setdefault(unit, {}).setdefault(name, entry.known_on)
    return {
        unit: sorted(
            ((name, date.fromisoformat(since)) for name, since in called.items()),
            key=lambda each: (each[1], each[0]),
        )
        for unit, called in found.items()
    }


def known_since(connection: sa.Connection) -> date | None:
    """Return the day from whose end on figures can be told as they were known then; None if that is
    any day."""
    row = connection.execute(
        sa.select(sa.func.max(_recounts.c.known_on)).where(_recounts.c.first)
    ).scalar()
    return date.fromisoformat(row) if row else None


# Counting from scratch


@dataclass(frozen=True, slots=True)
class Recount:
    """What a count from scratch found: how many tickets, how many counts, and where the tallies
    differ, (day, region, unit, channel, kind, measure) with what is tallied and what there is.

    `sums` are the differences of the sums from the tallies that they add up. `number` is that of
    the next recount to be applied.
    """

    tickets: int
    counts: int
    wrong: Sequence[tuple[_Key, int, int]]
    sums: Sequence[tuple[_Sum, int, int]]
    number: int
    names: Mapping[tuple[str, str], str]
    blank: bool  # nothing is tallied

    @property
    def agrees(self) -> bool:
        """Whether the tallies are what the events and tickets say."""
        return not self.wrong and not self.sums


def recount(connection: sa.Connection) -> Recount:
    """Count from scratch what the tickets, their clocks and their events say, and compare; all of it
    in one snapshot, so that it may run beside everything else."""
    true: Counter[_Key] = Counter()
    called: dict[tuple[str, str], str] = {}
    tickets, last = 0, 0
    while batch := _cases(connection, last):
        for row, case, events in batch:
            counts = _sum(stands(case), arrived(case, row.decision))
            for n, event in enumerate(events):
                counts = _sum(counts, happened(event, events[:n]))
            for cell, count in counts.items():
                key = _Key(
                    cell.day.isoformat(),
                    row.region,
                    cell.unit,
                    row.channel,
                    row.received_kind,
                    cell.measure,
                )
                true[key] += count
            if row.lead_unit:
                on = day_of(row.received_at).isoformat()
                name = (row.lead_unit, row.lead_name)
                called[name] = min(on, called.get(name, on))
        tickets += len(batch)
        last = batch[-1][0].id
    for state, n in connection.execute(sa.select(_d.state, sa.func.count()).group_by(_d.state)):
        true[_Key(_NO_DAY, "", "", "", "", f"{_DELIVERY}{state}")] += n
    tallied: Counter[_Key] = Counter()
    columns = [_tallies.c[name] for name in _Key._fields]
    for *values, n in connection.execute(
        sa.select(*columns, sa.func.sum(_tallies.c.n)).group_by(*columns)
    ):
        tallied[_Key(*values)] += int(n)
    viewed: Counter[_Sum] = Counter()
    for key, n in tallied.items():
        for each in _viewed(key):
            viewed[each] += n
    kept: Counter[_Sum] = Counter()
    for *values, n in connection.execute(sa.select(_sums)):
        kept[_Sum(*values)] += n
    for entry in connection.execute(sa.select(_entries)):
        for key, n in _keys(entry):
            tallied[key] += n
    done = connection.execute(sa.select(sa.func.max(_recounts.c.id))).scalar()
    return Recount(
        tickets,
        sum(map(abs, true.values())),
        _differing(tallied, true),
        _differing(kept, viewed),
        (done or 0) + 1,
        called,
        not tallied,
    )


def _differing(is_: Counter[Any], should: Counter[Any]) -> list[tuple[Any, int, int]]:
    return [
        (k, is_[k], should[k]) for k in sorted(is_.keys() | should.keys()) if is_[k] != should[k]
    ]


_Counted = tuple[Any, Case, list[Told]]


def _cases(connection: sa.Connection, after: int) -> list[_Counted]:
    """Return the next tickets by id, each with what counts of it and its events that count."""
    rows = connection.execute(
        sa.select(
            _t.id,
            _t.region,
            _t.channel,
            _t.received_kind,
            _t.decision,
            _t.state,
            _t.received_at,
            _t.lead_unit,
            _t.lead_name,
            _t.complaint["review"].label("review"),
        )
        .where(_t.id > after)
        .order_by(_t.id)
        .limit(_COUNTED_AT_ONCE)
    ).all()
    if not rows:
        return []
    ids = (rows[0].id, rows[-1].id)
    owed: dict[int, list[Owed]] = {row.id: [] for row in rows}
    for m in connection.execute(
        sa.select(
            _m.ticket_id, _m.kind, _m.unit, _m.answers, _m.due_at, _m.outcome, _m.next_at, _m.done
        ).where(_m.ticket_id.between(*ids), _m.governing, ~_m.assisting)
    ):
        outcome = Outcome(m.outcome) if m.outcome else None
        held = outcome is None and m.next_at is None and m.done <= WARNED
        owed[m.ticket_id].append(
            Owed(MilestoneKind(m.kind), m.answers or m.unit, day_of(m.due_at), outcome, held)
        )
    events: dict[int, list[Told]] = {row.id: [] for row in rows}
    for e in connection.execute(
        sa.select(_e.ticket_id, _e.act, _e.at, _e.unit, _e.content)
        .where(_e.ticket_id.between(*ids), _e.act.in_(sorted(COUNTED)))
        .order_by(_e.ticket_id, _e.id)
    ):
        events[e.ticket_id].append(_Past(e.act, e.at, e.unit, e.content))
    return [(row, _case(row, tuple(owed[row.id])), events[row.id]) for row in rows]


def _case(row: Any, owed: tuple[Owed, ...]) -> Case:
    told = row.review
    review = (
        Review(told["rating"], "", system_default=bool(told.get("system_default")))
        if told
        else None
    )
    return Case(
        state=State(row.state),
        received_on=day_of(row.received_at),
        lead=row.lead_unit,
        review=graded(review),
        unworked=review is not None and not review.is_bad,
        owed=owed,
    )


class Recounted(Exception):
    """Somebody else applied a recount in between; nothing was written."""


def correct(connection: sa.Connection, found: Recount, at: datetime) -> None:
    """Write what is missing as known today; what earlier days have learnt stays. Raises Recounted."""
    on = day_of(at).isoformat()
    applied = {
        "id": found.number,
        "known_on": on,
        "cells": len(found.wrong) + len(found.sums),
        "first": found.blank and bool(found.tickets),
    }
    try:
        connection.execute(_recounts.insert().values(applied))
    except sa.exc.IntegrityError:
        raise Recounted from None
    exact = Counter({(on, key): should - is_ for key, is_, should in found.wrong})
    _add(connection, exact)
    add_rows(
        connection,
        _sums,
        [{**key._asdict(), "n": should - is_} for key, is_, should in found.sums],
    )
    add_rows(
        connection,
        _names,
        [
            {"unit": unit, "name": name, "since": since}
            for (unit, name), since in sorted(found.names.items())
        ],
    )


def is_blank(connection: sa.Connection) -> bool:
    """Whether there are tickets and nothing was ever counted of them."""
    if _has(connection, _tallies) or _has(connection, _entries):
        return False
    return _has(connection, metadata.tables[TicketRow.__tablename__])


def _has(connection: sa.Connection, table: sa.Table) -> bool:
    found = connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1))
    return found.first() is not None
