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
from functools import cache
from typing import Any, NamedTuple, TypeVar

import orjson
import sqlalchemy as sa

from service.domain.complaint import Review
from service.domain.history import IMPORTED
from service.domain.kpi import (
    ALONE,
    COUNTED,
    MEASURES,
    RECTIFY,
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
    block,
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
from service.store import closed, months
from service.store.bulk import Row, among, find_rows, insert_rows, put_rows
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
FOLDED_AT_ONCE = 500
_COUNTED_AT_ONCE = 2_000


# Writing, in the transaction of what is counted


def counted_new(
    came: Iterable[tuple[Ticket, str, Sequence[Told]]], at: datetime
) -> tuple[sa.Table, list[Row]]:
    """Return the rows that count new tickets, each with the decision that it is stored under, and their
    events, which are not written yet."""
    return _entries, _noted(
        at,
        (
            (ticket, _sum(stands(case) + arrived(case, decision), _counted(events, [])))
            for ticket, decision, events in came
            for case in (Case.of(ticket),)
        ),
    )


def note_change(connection: sa.Connection, before: Ticket, after: Ticket, at: datetime) -> None:
    """Count what a change of a ticket changes."""
    _note(connection, at, [(after, _changed(before, after))])


def note_events(
    connection: sa.Connection, ticket: Ticket, events: Sequence[Told], at: datetime
) -> None:
    """Count events of a ticket, which are not written yet."""
    _note(connection, at, [(ticket, _added(connection, ticket, events))])


def counted_act(
    connection: sa.Connection, before: Ticket, after: Ticket, event: Told, at: datetime
) -> tuple[sa.Table, Sequence[Row]]:
    """Return the rows that count what an act changes of a ticket and its event, neither written yet."""
    counts = _sum(_changed(before, after), _added(connection, after, [event]))
    return _entries, _noted(at, [(after, counts)])


def _changed(before: Ticket, after: Ticket) -> Counts:
    return difference(stands(Case.of(after)), stands(Case.of(before)))


def _added(connection: sa.Connection, ticket: Ticket, events: Sequence[Told]) -> Counts:
    counted = [event for event in events if event.act in COUNTED]
    looks_back = any(event.act not in ALONE for event in counted)
    return _counted(counted, _history(connection, ticket.id) if looks_back else [])


def _counted(events: Iterable[Told], before: Sequence[Told]) -> Counts:
    """Return what events count for, after those of their ticket that count and came before."""
    found: Counts = Counter()
    past = list(before)
    for event in events:
        if event.act in COUNTED:
            found = _sum(found, happened(event, past))
            past.append(event)
    return found


class Past(NamedTuple):
    """What was learnt of tickets whose whole history is written at once: tallies, sums, names."""

    exact: "_Held[_Known]"
    sums: "_Held[_Sum]"
    named: Mapping[tuple[str, str], str]


def past(told: Iterable[tuple[Ticket, Mapping[date, Counts]]]) -> Past:
    """Return all that was learnt of tickets, each with what was learnt of it on which day."""
    # Of days and plain tuples until all are added up: there are a hundred counts a ticket.
    exact: dict[tuple[date, str, str, str, str, str], dict[str, int]] = {}
    named: dict[tuple[str, str], str] = {}
    for ticket, learnt in told:
        where = (ticket.complaint.channel, ticket.received_kind or ticket.complaint.kind)
        for day, counts in learnt.items():
            on = day.isoformat()
            for (of, unit, measure), n in counts.items():
                there = exact.get(known := (of, ticket.region, unit, *where, on))
                if there is None:
                    exact[known] = there = {}
                there[measure] = there.get(measure, 0) + n
        if ticket.lead and learnt:
            name, since = (ticket.lead.unit, ticket.lead.name), min(learnt).isoformat()
            named[name] = min(since, named.get(name, since))
    known_as = {_Known(of.isoformat(), *rest): n for (of, *rest), n in exact.items()}
    return Past(known_as, _sums_of(_without_known_on(known_as)), named)


def note_past(connection: sa.Connection, past: Past) -> None:
    """Count it straight into the tallies: for whoever alone has the regions."""
    _merge(connection, _tallies, past.exact)
    _merge(connection, _sums, past.sums)
    _name(connection, past.named)


# Deliveries are counted as they stand and belong to no day, region or unit.
_NO_DAY = "2001-01-01"
_DELIVERY = "delivery_"


def note_deliveries(connection: sa.Connection, changed: Mapping[str, int], at: datetime) -> None:
    """Count by how many the deliveries in each state have changed."""
    insert_rows(connection, *counted_deliveries(changed, at))


def counted_deliveries(changed: Mapping[str, int], at: datetime) -> tuple[sa.Table, list[Row]]:
    """Return the row that `note_deliveries` writes, none where nothing has changed."""
    counts = [[_NO_DAY, "", f"{_DELIVERY}{state}", n] for state, n in sorted(changed.items()) if n]
    entry = {"known_on": day_of(at).isoformat(), "counts": counts, "names": {}}
    return _entries, [entry | dict.fromkeys(_CLASS, "")] if counts else []


_CLASS = ("region", "channel", "kind")


def _history(connection: sa.Connection, ticket_id: int) -> list[Told]:
    rows = connection.execute(_counted_of(), {"of": ticket_id})
    return [_Past(row.act, row.at, row.unit, row.content) for row in rows]


@cache
def _counted_of() -> sa.Select[Any]:
    ticket_id: sa.BindParameter[int] = sa.bindparam("of", type_=_e.ticket_id.type)
    return (
        sa.select(_e.act, _e.at, _e.unit, _e.content)
        .where(_e.ticket_id == ticket_id, _e.act.in_(sorted(COUNTED)), months.since(ticket_id))
        .order_by(_e.id)
    )


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
    insert_rows(connection, _entries, _noted(at, noted))


def _noted(at: datetime, noted: Iterable[tuple[Ticket, Counts]]) -> list[Row]:
    """Return one entry for all tickets of a class: a flood has few classes and many tickets."""
    together: dict[tuple[str, str, str], tuple[Counts, dict[str, str]]] = {}
    more: list[tuple[tuple[str, str, str], tuple[Counts, dict[str, str]]]] = []
    for ticket, found in noted:
        if not found:
            continue
        kind = ticket.received_kind or ticket.complaint.kind
        of = (ticket.region, ticket.complaint.channel, kind)
        lead = ticket.lead
        if of in together and lead and together[of][1].get(lead.unit, lead.name) != lead.name:
            more.append((of, together.pop(of)))  # an entry knows one name of each unit
        counts, names = together.setdefault(of, (Counter(), {}))
        counts.update(found)
        if lead:
            names[lead.unit] = lead.name
    known_on = day_of(at).isoformat()
    return [
        {
            "known_on": known_on,
            "region": region,
            "channel": channel,
            "kind": kind,
            "counts": [
                [c.day.isoformat(), c.unit, c.measure, n] for c, n in sorted(counts.items()) if n
            ],
            "names": names,
        }
        for (region, channel, kind), (counts, names) in (*more, *together.items())
    ]


# Folding


class _Cell(NamedTuple):
    """Where something is tallied, whenever it was known."""

    day: str
    region: str
    unit: str
    channel: str
    kind: str


class _Sum(NamedTuple):
    """What is added up: columns that the view does not keep are ""."""

    view: str
    since: str
    region: str
    unit: str
    channel: str
    kind: str


class _Known(NamedTuple):
    """A tally: where, and on which day it was known."""

    day: str
    region: str
    unit: str
    channel: str
    kind: str
    known_on: str


_Where = TypeVar("_Where", _Cell, _Sum, _Known)
_Held = dict[_Where, dict[str, int]]
_BY_UNIT, _BY_CLASS = ("region", "unit"), ("region", "channel", "kind")
# The views by which a period is asked for; each is kept by every grain and theme.
_VIEWS = {"unit": _BY_UNIT, "class": _BY_CLASS}
# The views of all times, which /metrics shows: which columns, and of which measures.
CLOSED = "closed"
_ENDS = (Outcome.ON_TIME, Outcome.LATE, Outcome.MISSED)
EVER: Mapping[str, tuple[tuple[str, ...], Collection[str]]] = {
    "ever-unit": (
        _BY_UNIT,
        frozenset(
            (
                *(f"{_DELIVERY}{state}" for state in DeliveryState),
                *(f"{kind}_{end}" for kind in (*MilestoneKind, RECTIFY) for end in _ENDS),
                *(f"stand_{state}" for state in State if state not in FINISHED),
                "stand_merged",
                "dispatched",
                "first_right",
                "first_wrong",
                "sent_back",
                "back_upheld",
                "back_refused",
                "redispatched",
                "extension_granted",
                "extension_refused",
                "resolved",
                "resolved_moved",
                "resolved_extended",
                "redone",
                CLOSED,
                *(f"call_{s}_{g}" for s in ("yes", "no", "none") for g in range(6)),
            )
        ),
    ),
    "ever-channel": (
        ("region", "channel"),
        frozenset((*STEPS, WORKED_S, *(f"{MilestoneKind.RESOLVE}_{end}" for end in _ENDS))),
    ),
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
}


def _sums_of(tallied: _Held[_Cell]) -> _Held[_Sum]:
    """Return the sums that tallies are part of."""
    sums = _ever_of(tallied)
    rated = {
        cell: counts
        for cell, all_of_it in tallied.items()
        if (counts := {m: n for m, n in all_of_it.items() if m in MEASURES})
    }
    for view, kept in _VIEWS.items():
        seen = _seen(rated, kept)
        # Each grain from the next shorter one: there are fewer of its blocks than of days.
        for grain in reversed(Grain):
            longer: _Held[_Cell] = {}
            for (since, *where), counts in seen.items():
                _add(longer, _Cell(block(grain, since), *where), counts)
            seen = longer
            for (since, *where), counts in seen.items():
                for theme, themed in _by_theme(counts).items():
                    sums[_Sum(f"{grain}-{view}-{theme}", since, *where)] = themed
    return sums


@cache
def _theme(measure: str) -> str:
    """Return what a measure is about: one rate asks for a few measures of a theme or two, and reads
    no document that holds all of them."""
    return measure.partition("_")[0]


def _by_theme(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for measure, n in counts.items():
        found.setdefault(_theme(measure), {})[measure] = n
    return found


def _ever_of(tallied: _Held[_Cell]) -> _Held[_Sum]:
    sums: _Held[_Sum] = {}
    for view, (kept, measures) in EVER.items():
        picked = {
            cell: told
            for cell, counts in tallied.items()
            if (told := {_in_full(m, cell): n for m, n in counts.items() if m in measures})
        }
        for cell, counts in _seen(picked, kept, by_day=False).items():
            sums[_Sum(view, "", *cell[1:])] = counts
    return sums


def _in_full(measure: str, cell: _Cell) -> str:
    """Return the name under which a measure is kept for ever. Closures are told by unit, channel and
    kind: with the last two in the name there is a document for each unit, and not for each of all."""
    return f"{CLOSED} {cell.channel} {cell.kind}" if measure == CLOSED else measure


def _seen(tallied: _Held[_Cell], kept: tuple[str, ...], *, by_day: bool = True) -> _Held[_Cell]:
    """Return tallies added up over the columns that are not kept."""
    found: _Held[_Cell] = {}
    keeps = [by_day, *(name in kept for name in _Cell._fields[1:])]
    for cell, counts in tallied.items():
        columns = [value if keep else "" for value, keep in zip(cell, keeps, strict=True)]
        _add(found, _Cell(*columns), counts)
    return found


def _add(held: _Held[_Where], where: _Where, counts: Mapping[str, int]) -> None:
    # Plain dictionaries, here and wherever a flood is added up: to make a Counter takes ten times as
    # long, and most hold a measure or two.
    there = held.get(where)
    if there is None:
        held[where] = dict(counts)
        return
    for measure, n in counts.items():
        there[measure] = there.get(measure, 0) + n


def waiting(connection: sa.Connection) -> bool:
    """Whether there is anything to fold."""
    return _has(connection, _entries)


def fold(connection: sa.Connection, most: int = FOLDED_AT_ONCE) -> int:
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
    exact: _Held[_Known] = {}
    for row in rows:
        for cell, counts in _cells(row).items():
            _add(exact, _Known(*cell, row.known_on), counts)
    _write(connection, exact)
    named = {
        (unit, name): row.known_on for row in reversed(rows) for unit, name in row.names.items()
    }
    _name(connection, named)
    taken = among(connection, _entries.c.id, [row.id for row in rows])
    connection.execute(_entries.delete().where(taken))
    return len(rows)


def _cells(entry: sa.Row[Any]) -> _Held[_Cell]:
    by_place: dict[tuple[str, str], dict[str, int]] = {}
    for day, unit, measure, n in entry.counts:
        there = by_place.setdefault((day, unit), {})
        there[measure] = there.get(measure, 0) + n
    region, channel, kind = entry.region, entry.channel, entry.kind
    return {
        _Cell(day, region, unit, channel, kind): counts for (day, unit), counts in by_place.items()
    }


def _write(connection: sa.Connection, exact: _Held[_Known]) -> None:
    """Add to the tallies and their sums. Nobody else adds to the same rows meanwhile: whoever does so
    holds the lock of those who fold, or alone has the regions."""
    _merge(connection, _tallies, exact)
    _merge(connection, _sums, _sums_of(_without_known_on(exact)))


def _without_known_on(exact: _Held[_Known]) -> _Held[_Cell]:
    tallied: _Held[_Cell] = {}
    for known, counts in exact.items():
        _add(tallied, _Cell(*known[:-1]), counts)
    return tallied


def _merge(connection: sa.Connection, table: sa.Table, more: _Held[_Where]) -> None:
    rows: list[dict[str, Any]] = [where._asdict() for where in more]
    there = {tuple(row)[:-1]: row.counts for row in find_rows(connection, table, rows)}
    for row, (where, counts) in zip(rows, more.items(), strict=True):
        held = there.get(tuple(where))
        if held:
            for measure, n in counts.items():
                held[measure] = held.get(measure, 0) + n
        row["counts"] = {m: n for m, n in (held or counts).items() if n}
    put_rows(connection, table, rows, replace=True)


def _name(connection: sa.Connection, named: Mapping[tuple[str, str], str]) -> None:
    rows = [{"unit": unit, "name": name, "since": on} for (unit, name), on in sorted(named.items())]
    put_rows(connection, _names, rows, replace=False)


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
    for elapsed in (True, False):
        spans = [span for span in wanted.spans if span.elapsed is elapsed]
        if not spans:
            continue
        told = {measure: read_as(measure, elapsed=elapsed) for measure in wanted.measures}
        for name, counts in _summed(connection.execute(_documents(wanted, spans))):
            held = found.setdefault(name, Counter())
            held.update({told[measure]: n for measure, n in counts.items() if measure in told})
    _add_rest(connection, wanted, found)
    return {name: held for name, held in found.items() if held}


def _summed(rows: Iterable[Any]) -> Iterator[tuple[str, dict[str, int]]]:
    """Give what documents hold together, by key; a key may come again."""
    for name, documents in rows:
        counts: dict[str, int] = {}
        get = counts.get
        for document in orjson.loads(f"[{documents}]"):
            # A year by unit is some 10,000 documents: nothing is done here that can be done after.
            for measure, n in document.items():
                counts[measure] = get(measure, 0) + n
        yield name, counts


def _documents(wanted: Wanted, spans: Sequence[Span]) -> sa.Select[tuple[str, str]]:
    """Return what asks for documents by key, as text with commas between. The sums are put together by
    the database: a row for each key and one text to decode. Adding them up there costs ten times as
    much, for it looks at every number of every document as text."""
    exact = wanted.as_of is not None or (
        wanted.units is not None and wanted.by in {"channel", "kind"}
    )
    table, day = (_tallies, _tallies.c.day) if exact else (_sums, _sums.c.since)
    key = {"day": day, "month": sa.func.substr(day, 1, 7)}.get(wanted.by)
    key = table.c[wanted.by] if key is None else key
    text: sa.ColumnElement[str] = sa.cast(table.c.counts, sa.Text())
    if exact:
        # There may be a gigabyte of these.
        days = (day.between(span.first.isoformat(), span.last.isoformat()) for span in spans)
        query = sa.select(key, text).where(sa.or_(*days))
    else:
        blocks = (_blocks(span, wanted) for span in spans)
        together = sa.func.aggregate_strings(text, ",")
        query = sa.select(key, together).where(sa.or_(*blocks)).group_by(key)
    if wanted.as_of:
        query = query.where(_tallies.c.known_on <= wanted.as_of.isoformat())
    if prefix(wanted.region):
        query = query.where(table.c.region.startswith(prefix(wanted.region), autoescape=True))
    if wanted.units is not None:
        query = query.where(table.c.unit.in_(list(wanted.units)))
    return query


def _blocks(span: Span, wanted: Wanted) -> sa.ColumnElement[bool]:
    view = "class" if wanted.by in {"channel", "kind"} else "unit"
    views = sorted({f"{span.grain}-{view}-{_theme(measure)}" for measure in wanted.measures})
    first, last = (block(span.grain, day.isoformat()) for day in (span.first, span.last))
    return _sums.c.view.in_(views) & _sums.c.since.between(first, last)


def _add_rest(connection: sa.Connection, wanted: Wanted, found: Found) -> None:
    """Add what is not folded yet."""
    for entry in connection.execute(sa.select(_entries)):
        if wanted.as_of and entry.known_on > wanted.as_of.isoformat():
            continue
        for cell, counts in _cells(entry).items():
            on = date.fromisoformat(cell.day)
            span = next((s for s in wanted.spans if s.first <= on <= s.last), None)
            if (
                span is None
                or not cell.region.startswith(prefix(wanted.region))
                or (wanted.units is not None and cell.unit not in wanted.units)
            ):
                continue
            by = {"day": cell.day, "month": cell.day[:7]}.get(wanted.by) or getattr(cell, wanted.by)
            for measure in counts.keys() & wanted.measures:
                told = read_as(measure, elapsed=span.elapsed)
                found.setdefault(by, Counter())[told] += counts[measure]


class Total(NamedTuple):
    """What is counted for ever of a unit, a channel of a region, or a class; the columns that its
    view does not keep are "". `document` is what is folded, as JSON, `fresh` what is not yet."""

    view: str
    region: str
    unit: str
    channel: str
    kind: str
    document: str
    fresh: Mapping[str, int]

    @property
    def counts(self) -> Mapping[str, int]:
        """Return how many there are, by measure."""
        counts: Counter[str] = Counter(orjson.loads(self.document))
        counts.update(self.fresh)
        return counts


def totals(connection: sa.Connection) -> list[Total]:
    """Return what is counted for ever. Closures are `CLOSED CHANNEL KIND`."""
    fresh: _Held[_Cell] = {}
    for entry in connection.execute(sa.select(_entries)):
        for cell, counts in _cells(entry).items():
            _add(fresh, cell._replace(day=""), counts)
    more = {(s.view, s.region, s.unit, s.channel, s.kind): n for s, n in _ever_of(fresh).items()}
    nothing: dict[str, int] = {}
    there = [
        Total._make((*where, document, more.pop(tuple(where), nothing)))
        for *where, document in connection.execute(_EVER_SUMS)
    ]
    return there + [Total(*where, document="{}", fresh=counts) for where, counts in more.items()]


_EVER_SUMS = sa.select(
    *(_sums.c[name] for name in ("view", "region", "unit", "channel", "kind")),
    sa.cast(_sums.c.counts, sa.Text()),
).where(_sums.c.view.in_(list(EVER)))


def names(connection: sa.Connection, units: Collection[str]) -> dict[str, list[tuple[str, date]]]:
    """Return what these units were called on tickets, each name with its first day, in order."""
    found: dict[str, dict[str, str]] = {}
    for row in connection.execute(sa.select(_names).where(among(connection, _names.c.unit, units))):
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


class Count(NamedTuple):
    """A count in the tallies."""

    day: str
    region: str
    unit: str
    channel: str
    kind: str
    measure: str


class CountedSum(NamedTuple):
    """A count in the sums."""

    view: str
    since: str
    region: str
    unit: str
    channel: str
    kind: str
    measure: str


@dataclass(frozen=True, slots=True)
class Recount:
    """What a count from scratch found: how many tickets, how many counts, and where the tallies
    differ, (day, region, unit, channel, kind, measure) with what is tallied and what there is.

    `sums` are the differences of the sums from the tallies that they add up. `number` is that of
    the next recount to be applied.
    """

    tickets: int
    counts: int
    wrong: Sequence[tuple[Count, int, int]]
    sums: Sequence[tuple[CountedSum, int, int]]
    number: int
    names: Mapping[tuple[str, str], str]
    blank: bool  # nothing is tallied

    @property
    def agrees(self) -> bool:
        """Whether the tallies are what the events and tickets say."""
        return not self.wrong and not self.sums


def recount(connection: sa.Connection) -> Recount:
    """Count from scratch what the tickets, their clocks and their events say, and compare; all of it
    in one snapshot, so that it may run beside everything else.

    Raises months.Detached where events were taken off: what is not there cannot be counted.
    """
    is_postgres = connection.dialect.name == "postgresql"
    if is_postgres and connection.get_isolation_level() != "REPEATABLE READ":
        # Between two statements somebody folds, and what was counted would seem wrong.
        msg = "a recount is of one snapshot: Store.read"
        raise RuntimeError(msg)
    months.check(connection, 1)
    true: _Held[_Cell] = {}
    called: dict[tuple[str, str], str] = {}
    tickets, last = 0, 0
    while batch := _cases(connection, last):
        for row, case, events in batch:
            counts = _sum(stands(case), arrived(case, row.decision))
            for n, event in enumerate(events):
                counts = _sum(counts, happened(event, events[:n]))
            for (day, unit, measure), count in counts.items():
                where = _Cell(day.isoformat(), row.region, unit, row.channel, row.received_kind)
                _add(true, where, {measure: count})
            if row.lead_unit:
                on = day_of(row.received_at).isoformat()
                name = (row.lead_unit, row.lead_name)
                called[name] = min(on, called.get(name, on))
        tickets += len(batch)
        last = batch[-1][0].id
    there = connection.execute(sa.select(_d.state, sa.func.count()).group_by(_d.state))
    apart = closed.settled(connection)
    for state, n in (*((row.state, row[1]) for row in there), *apart.items()):
        _add(true, _Cell(_NO_DAY, "", "", "", ""), {f"{_DELIVERY}{state}": n})
    tallied: _Held[_Cell] = {}
    for *columns, _, told in connection.execute(sa.select(_tallies)):
        _add(tallied, _Cell(*columns), told)
    summed = _sums_of(tallied)
    kept: _Held[_Sum] = {_Sum(*columns): n for *columns, n in connection.execute(sa.select(_sums))}
    blank = not tallied
    for entry in connection.execute(sa.select(_entries)):
        for cell, more in _cells(entry).items():
            _add(tallied, cell, more)
    done = connection.execute(sa.select(sa.func.max(_recounts.c.id))).scalar()
    return Recount(
        tickets,
        # Seconds of work are no counts.
        sum(abs(n) for counts in true.values() for m, n in counts.items() if m != WORKED_S),
        [(Count(*cell, m), is_, n) for cell, m, is_, n in _differing(tallied, true)],
        [(CountedSum(*each, m), is_, n) for each, m, is_, n in _differing(kept, summed)],
        (done or 0) + 1,
        called,
        blank,
    )


def _differing(is_: _Held[_Where], should: _Held[_Where]) -> Iterator[tuple[_Where, str, int, int]]:
    """Give where, which measure, how many there are and how many there should be."""
    for where in sorted(is_.keys() | should.keys()):
        there, counted = is_.get(where, {}), should.get(where, {})
        for measure in sorted(there.keys() | counted.keys()):
            if (n := there.get(measure, 0)) != (true := counted.get(measure, 0)):
                yield where, measure, n, true


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
        .where(_e.ticket_id.between(*ids), _e.act.in_(sorted(COUNTED)), months.since(ids[0]))
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
    if connection.dialect.name == "postgresql":
        # Whoever folds is waited for.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_FOLD_LOCK)))
    exact: _Held[_Known] = {}
    for count, is_, should in found.wrong:
        _add(exact, _Known(*count[:-1], on), {count.measure: should - is_})
    _write(connection, exact)
    sums: _Held[_Sum] = {}
    for counted, is_, should in found.sums:
        _add(sums, _Sum(*counted[:-1]), {counted.measure: should - is_})
    _merge(connection, _sums, sums)
    _name(connection, found.names)


def is_blank(connection: sa.Connection) -> bool:
    """Whether there are tickets and nothing was ever counted of them."""
    if _has(connection, _tallies) or _has(connection, _entries):
        return False
    return _has(connection, metadata.tables[TicketRow.__tablename__])


def _has(connection: sa.Connection, table: sa.Table) -> bool:
    found = connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1))
    return found.first() is not None
