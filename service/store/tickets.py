"""Tickets, their clocks and their history: rows in, values out."""

import re
from collections import Counter, namedtuple
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, lru_cache, partial
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.dialects import postgresql

from service.domain.complaint import Complaint, Route, UnitRef
from service.domain.deadline import CountFrom
from service.domain.history import IMPORTED, Place
from service.domain.lifecycle import FINISHED, State
from service.domain.personal import FREE_TEXTS, hidden, said
from service.domain.policy import Measures
from service.domain.region import prefix
from service.domain.ticket import (
    Clock,
    Event,
    Extension,
    Milestone,
    MilestoneKind,
    Outcome,
    Pause,
    Stage,
    Step,
    Supervision,
    Ticket,
)
from service.domain.values import built, replace
from service.store import closed, deliveries, months, sealing, search, tallies
from service.store.bulk import (
    Change,
    Row,
    among,
    document,
    given_among,
    insert_rows,
    insert_together,
    rows_given,
    update_rows,
    upsert,
    upserting,
    write_together,
)
from service.store.engine import begin_by
from service.store.sealing import Part
from service.store.search import Words
from service.store.tables import (
    AssistRow,
    BodyRow,
    CounterRow,
    EventRow,
    IdempotencyRow,
    MilestoneRow,
    RulingRow,
    TicketRow,
    metadata,
)

_COMPLAINT = TypeAdapter(Complaint)
_ROUTE = TypeAdapter(Route)
_EXTENSIONS = TypeAdapter(tuple[Extension, ...])
_PAUSES = TypeAdapter(tuple[Pause, ...])
_SUPERVISION = TypeAdapter(tuple[Supervision, ...])

_tickets = metadata.tables[TicketRow.__tablename__]
_assists = metadata.tables[AssistRow.__tablename__]
_bodies = metadata.tables[BodyRow.__tablename__]
_milestones = metadata.tables[MilestoneRow.__tablename__]
_events = metadata.tables[EventRow.__tablename__]
_rulings = metadata.tables[RulingRow.__tablename__]
_counters = metadata.tables[CounterRow.__tablename__]
_keys = metadata.tables[IdempotencyRow.__tablename__]
# Where an event's own words are that were hidden.
_SEALED_AS = "sealed"
# Tickets from before channels had coordinators of their own name none.
_coordinator = _tickets.c.complaint["coordinator"].as_string()


class Stale(Exception):
    """The ticket has changed since the caller read it; nothing was written."""

    def __init__(self, current: int) -> None:
        super().__init__(f"the ticket is at version {current}")
        self.current = current


class Raced(Exception):
    """Another transaction stored the same number or key in between; nothing was written."""


def take_numbers(
    connection: sa.Connection, days: Sequence[tuple[str, str]]
) -> list[tuple[str, int]]:
    """Return the next numbers for tickets of these regions and days (`20261118`), in the order asked
    for, each with an id. The numbers have no gaps: the counters grow in the tickets' own transaction.

    The counters are taken in one order by everybody who takes several: nobody waits in a circle.
    """
    if not days:
        return []
    asked = dict(sorted(Counter(days).items()))
    counts = [{"region": r, "day": day, "last": count} for (r, day), count in asked.items()]
    given = document(counts) | {"many": len(days)}
    rows = connection.execute(_counting(connection.dialect.name), given).all()
    used = {(row.region, row.day): row.last - asked[row.region, row.day] for row in rows}
    numbers = []
    for region, day in days:
        used[region, day] += 1
        numbers.append(f"{region}-{day}-{used[region, day]:05}")
    last = rows[0].ids
    ids = last if isinstance(last, list) else range(last + 1, last + 1 + len(days))
    return list(zip(numbers, ids, strict=True))


@cache
def _counting(dialect: str) -> Any:
    """Return what adds to counters, in the order in which they are given, and tells what they are, and
    beside each the same ids: on PostgreSQL a list of new ones, on SQLite the last that there is, for
    nobody else writes there."""
    names = ("region", "day", "last")
    source, given = rows_given(dialect, _counters, names)
    # Without a condition SQLite takes ON CONFLICT for the condition of a join.
    query = sa.select(*given.values()).select_from(source).where(sa.true())
    insert = upserting(dialect, _counters).from_select(names, query)
    if dialect == "postgresql":
        sequence = sa.cast(_sequence(), postgresql.REGCLASS)
        each = sa.func.generate_series(1, sa.bindparam("many", type_=sa.Integer())).alias()
        ids = sa.select(sa.func.array_agg(sa.func.nextval(sequence))).select_from(each)
    else:
        ids = sa.select(sa.func.coalesce(sa.func.max(_tickets.c.id), 0))
    return insert.on_conflict_do_update(
        index_elements=["region", "day"], set_={"last": _counters.c.last + insert.excluded.last}
    ).returning(
        _counters.c.region,
        _counters.c.day,
        _counters.c.last,
        ids.scalar_subquery().label("ids"),
    )


def _sequence() -> sa.ColumnElement[str]:
    """Return the name of what counts the ids of tickets, on PostgreSQL."""
    return sa.func.pg_get_serial_sequence(_tickets.name, "id")


def get(connection: sa.Connection, no: str, *, lock: bool = False) -> Ticket | None:
    """Return the ticket with this number, or None; `lock` keeps it from others until the commit, and
    opens it: who changes a ticket has all of it, who looks at it has what everybody may see."""
    if lock:
        held = hold(connection, no)
        return held.ticket if held else None
    found = whole(connection, connection.execute(_by_no(lock=False), {"no": no}).all())
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Held:
    """A ticket that is kept from others until the commit, opened. `is_alone` says that no other has to
    do with it; where it is False, that is to be looked at."""

    ticket: Ticket
    is_alone: bool


def hold(connection: sa.Connection, no: str) -> Held | None:
    """Lock the ticket with this number and return it, or None."""
    if connection.dialect.name == "postgresql":
        row = _held(connection, no)
        if row is None:
            return None
        # What is kept apart, or not sealed yet, is as rare as it is much to do.
        if row.kept_in is None and row.sealed is not None:
            return Held(_ticket_held(connection, row), row.is_alone)
    found = _locked(connection, _by_no(lock=True), {"no": no})
    return Held(found[0], is_alone=False) if found else None


_NO = re.compile(r"[0-9A-Z-]+")


def _held(connection: sa.Connection, no: str) -> Any:
    """Return the row of a ticket that is locked, with all that is to be read of it."""
    if not _NO.fullmatch(no):
        return None
    # Locked by one statement and read by the next: whoever waits for a lock gets what is beside the
    # row as it was before the wait.
    begin_by(connection, f"SELECT FROM tickets WHERE no = '{no}' FOR NO KEY UPDATE")
    row = connection.exec_driver_sql(_holding(), (no,)).first()
    return row and _HeldRow(*row[0], row[1])


_OF_TICKET = [str(column.name) for column in _tickets.columns]
_named: Any = namedtuple  # of columns, which no type checker knows
_HeldRow = _named("_HeldRow", [*_OF_TICKET, "sealed", "is_alone", "clocks"])


@cache
def _holding() -> str:
    # Two columns, for SQLAlchemy looks at each of them anew. Each look for others is a lookup, whatever
    # the planner thinks of how many there are (`looked_up`).
    clock = ", ".join(f'm."{n}"::text' if n == "steps" else f'm."{n}"' for n in _clock_names)
    return f"""
        SELECT
            ROW(
                {", ".join(f't."{name}"' for name in _OF_TICKET)},
                (SELECT s.document FROM sealed s WHERE s.ticket_id = t.id AND s.part = ''),
                (SELECT 1 FROM likenesses a
                    WHERE a.later_id = t.id AND a.rejected_at IS NULL LIMIT 1) IS NULL
                AND
                (SELECT 1 FROM likenesses a
                    WHERE a.earlier_id = t.id AND a.rejected_at IS NULL LIMIT 1) IS NULL
                AND
                (SELECT 1 FROM tickets o
                    WHERE o.merged_into = t.no AND o.merged_into <> '' LIMIT 1) IS NULL
                AND
                (SELECT 1 FROM traits x
                    WHERE x.ticket_id = t.id AND x.group_id IS NOT NULL LIMIT 1) IS NULL
            ),
            ARRAY(
                SELECT ROW({clock})
                FROM milestones m WHERE m.ticket_id = t.id ORDER BY m.id
            )
        FROM tickets t WHERE t.no = $1
    """  # noqa: S608 ours


def _ticket_held(connection: sa.Connection, row: Any) -> Ticket:
    kept = {name: getattr(row, name) for name in closed.KEPT}
    told = sealing.open_part(connection, row.sealed, row.id, "")
    clocks = [_milestone(clock) for clock in row.clocks]
    return _ticket(row, kept, clocks, _plain(row, kept, told))


@cache
def _by_no(*, lock: bool) -> sa.Select[Any]:
    query = sa.select(_tickets).where(_tickets.c.no == sa.bindparam("no"))
    return _locking(query) if lock else query


def by_ids(connection: sa.Connection, ids: Sequence[int], *, opened: bool = False) -> list[Ticket]:
    """Return tickets by their ids, in the order of the ids; `opened` with what is sealed of them."""
    if not ids:
        return []
    rows = connection.execute(
        sa.select(_tickets).where(_tickets.c.id.in_(ids)).order_by(_tickets.c.id)
    ).all()
    return _opened(connection, rows) if opened else whole(connection, rows)


def find_all(
    connection: sa.Connection, sent: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Ticket]:
    """Return the tickets that there are of sources and source numbers, by these, locked."""
    ids: list[int] = []
    query = _ids_of_sent(connection.dialect.name)
    for source, numbers in _by_source(sent).items():
        given = {"source": source, "numbers": numbers}
        ids += [found for found in connection.execute(query, given).scalars() if found]
    if not ids:  # as nearly always
        return {}
    these = sa.select(_tickets).where(among(connection, _tickets.c.id, ids))
    found = _locked(connection, _locking(these.order_by(_tickets.c.id)))
    return {(each.complaint.source, each.complaint.source_no): each for each in found}


@cache
def _ids_of_sent(dialect: str) -> sa.Select[Any]:
    t = _tickets.c
    from_source = sa.select(t.id).where(t.source == sa.bindparam("source"))
    if dialect != "postgresql":
        return from_source.where(given_among(dialect, t.source_no, "numbers"))
    # A lookup for each: a plan that was made while the table was small holds when it is not.
    array = sa.bindparam("numbers", type_=postgresql.ARRAY(t.source_no.type))
    each = sa.func.unnest(array).table_valued("number").render_derived("given")
    its = from_source.where(t.source_no == each.c.number).correlate(each).limit(1)
    return sa.select(its.scalar_subquery()).select_from(each)


def touching(connection: sa.Connection, units: Iterable[str], ids: Collection[int]) -> list[int]:
    """Return which of these tickets one of the units leads, assists, or owes something for."""
    codes = list(units)
    owing = sa.select(_milestones.c.ticket_id).where(
        _milestones.c.ticket_id.in_(ids),
        _milestones.c.unit.in_(codes),
        _milestones.c.outcome.is_(None),
    )
    concerned = of_units(codes) | _tickets.c.id.in_(owing.scalar_subquery())
    return list(
        connection.execute(
            sa.select(_tickets.c.id).where(_tickets.c.id.in_(ids), concerned)
        ).scalars()
    )


class Prints:
    """Fingerprints of bodies as they are kept: hashed with a key, for from a bare one and what is not
    sealed the rest of a body could be guessed. Those of before are bare until they are sealed."""

    def __init__(self, connection: sa.Connection, kept: Iterable[str] = ()) -> None:
        self._kept = set(kept)
        self._keyed = partial(sealing.keyed, connection)

    def __contains__(self, fingerprint: str) -> bool:
        return fingerprint in self._kept or self._keyed(fingerprint) in self._kept

    def add(self, fingerprint: str) -> None:
        """Add one."""
        self._kept.add(self._keyed(fingerprint))


def fingerprints(connection: sa.Connection, ids: Collection[int]) -> dict[int, Prints]:
    """Return the fingerprints of the bodies of tickets."""
    found: dict[int, list[str]] = {ticket_id: [] for ticket_id in ids}
    for body in connection.execute(
        sa.select(_bodies).where(among(connection, _bodies.c.ticket_id, ids))
    ):
        found[body.ticket_id].append(body.fingerprint)
    return {ticket_id: Prints(connection, kept) for ticket_id, kept in found.items()}


class New(NamedTuple):
    """A new ticket with its number and id: its first body's fingerprint, the decision that it is counted
    under, the words by which it is found and its first events."""

    ticket: Ticket
    fingerprint: str
    decision: str
    words: Words
    events: Sequence[Event]


def insert_all(
    connection: sa.Connection,
    new: Sequence[New],
    at: datetime,
    *besides: tuple[sa.Table, Sequence[Row]],
) -> None:
    """Write new tickets with all that belongs to them, and count them; `besides` are rows that are
    written with them.

    Raises Raced if a source number is there by now.
    """
    ids = {each.ticket.no: each.ticket.id for each in new}
    rows = [
        (each.ticket, sealing.keyed(connection, each.fingerprint), each.decision, at)
        for each in new
    ]
    told = [(each.ticket, _decision(each.ticket, each.decision), each.events) for each in new]
    first = [(each.ticket, event) for each in new for event in each.events]
    told_of = [_part(each.ticket.id, each.ticket.complaint) for each in new]
    found_by = [(each.ticket.id, each.ticket.region, each.words) for each in new]
    parts: tuple[tuple[sa.Table, Sequence[Row]], ...] = (
        *new_rows(ids, rows),
        sealing.new_rows(connection, told_of),
        search.new_rows(connection, found_by),
        *_hidden_rows(connection, first),
        tallies.counted_new(told, at),
        *besides,
    )
    try:
        insert_together(connection, *parts)
    except sa.exc.IntegrityError as error:
        if _tickets.c.source_no.name in str(error.orig):
            raise Raced from None
        raise


def seal_new(connection: sa.Connection, rows: Sequence[tuple[int, Complaint]]) -> None:
    """Seal the complaints of new tickets, each with its ticket's id."""
    sealing.keep(connection, [_part(ticket_id, complaint) for ticket_id, complaint in rows])


def _part(ticket_id: int, complaint: Complaint) -> Part:
    return Part(ticket_id, "", _sealed_of(complaint), complaint.contact.phone)


def _sealed_of(complaint: Complaint) -> dict[str, Any]:
    """Return what is sealed of a complaint, written out: pydantic takes ten times as long for it."""
    contact = complaint.contact
    return {
        "title": complaint.title,
        "content": complaint.content,
        "place": complaint.place,
        "contact": {"name": contact.name, "phone": contact.phone, "gender": contact.gender},
        "attachments": [
            {"name": each.name, "url": each.url, "size": each.size}
            for each in complaint.attachments
        ],
        "extra": dict(complaint.extra),
    }


_New = tuple[Ticket, str, str, datetime]


def new_rows(ids: Mapping[str, int], rows: Sequence[_New]) -> list[tuple[sa.Table, list[Row]]]:
    """Return the rows that `insert_all` would write of tickets whose ids, by number, are chosen
    beforehand, by table. Whoever chooses them has the database alone, and tells it afterwards
    (`ids_chosen`)."""
    tickets: list[Row] = [
        {"id": ids[ticket.no], **_new_values(ticket, decision, at)}
        for ticket, _, decision, at in rows
    ]
    return [(_tickets, tickets), *_parts(ids, rows)]


def ids_chosen(connection: sa.Connection) -> None:
    """Let the database go on after the ids that are there."""
    if connection.dialect.name == "postgresql":
        last = sa.select(sa.func.max(_tickets.c.id)).scalar_subquery()
        connection.execute(sa.select(sa.func.setval(_sequence(), last)).where(last.is_not(None)))


def _parts(ids: Mapping[str, int], rows: Sequence[_New]) -> list[tuple[sa.Table, list[Row]]]:
    made = [ticket for ticket, *_ in rows]
    return [
        (
            _bodies,
            [
                {"ticket_id": ids[ticket.no], "fingerprint": fingerprint, "received_at": at}
                for ticket, fingerprint, _, at in rows
            ],
        ),
        (
            _assists,
            [
                {"ticket_id": ids[ticket.no], "unit": unit}
                for ticket in made
                for unit in dict.fromkeys(ref.unit for ref in ticket.assist)
            ],
        ),
        (
            _milestones,
            [_milestone_values(ids[t.no], t.region, m) for t in made for m in t.milestones],
        ),
    ]


def _numbered(milestones: Sequence[Milestone], ids: Sequence[int]) -> tuple[Milestone, ...]:
    return tuple(replace(each, id=n) for each, n in zip(milestones, ids, strict=True))


@dataclass(frozen=True, slots=True)
class Known:
    """A ticket that is there: its number, the fingerprints of its bodies, and where it was imported
    from with what there was to look at, None and "" if it came otherwise."""

    no: str
    fingerprints: Prints
    place: Place | None
    finding: str


def known(connection: sa.Connection, source: str, source_nos: Collection[str]) -> dict[str, Known]:
    """Return which of a source's numbers are there, with where each came from."""
    rows = connection.execute(
        sa.select(_tickets.c.id, _tickets.c.no, _tickets.c.source_no).where(
            _tickets.c.source == source, _tickets.c.source_no.in_(list(source_nos))
        )
    ).all()
    ids = [row.id for row in rows]
    if not ids:
        return {}
    months.check(connection, min(ids))
    prints = fingerprints(connection, ids)
    e = _events.c
    came: dict[int, dict[str, Any]] = {
        event.ticket_id: event.content
        for event in connection.execute(
            sa.select(e.ticket_id, e.content).where(
                e.ticket_id.in_(ids), e.act == IMPORTED, months.since(min(ids))
            )
        )
    }
    return {
        row.source_no: Known(
            row.no,
            prints[row.id],
            _place(came[row.id]) if row.id in came else None,
            came.get(row.id, {}).get("finding", ""),
        )
        for row in rows
    }


def _place(content: Mapping[str, Any]) -> Place:
    return Place(content["file"], content.get("sheet", ""), content["row"])


def add_body(connection: sa.Connection, ticket: Ticket, fingerprint: str, at: datetime) -> bool:
    """Remember a body of a ticket; return False if the very same was there before."""
    result = connection.execute(
        upsert(connection, _bodies)
        .values(
            ticket_id=ticket.id, fingerprint=sealing.keyed(connection, fingerprint), received_at=at
        )
        .on_conflict_do_nothing()
    )
    return bool(result.rowcount)


def save(connection: sa.Connection, before: Ticket, after: Ticket, at: datetime) -> Ticket:
    """Write what an act changed at `at` and return the ticket as stored. Both are opened: so reads
    everything that locks a ticket.

    Raises Stale if somebody else wrote the ticket since `before` was read.
    """
    stored = _save_uncounted(connection, before, after)
    tallies.note_change(connection, before, stored, at)
    return stored


def save_act(
    connection: sa.Connection,
    before: Ticket,
    after: Ticket,
    at: datetime,
    told: Callable[[Ticket], tuple[Event, Sequence[tuple[sa.Table, Sequence[Row]]]]],
) -> Ticket:
    """Write what an act changed, as `save` does, and what is `told` of the ticket as it will be stored,
    but for the ids of clocks that are new: an event, as `append` does, and rows that are written with
    it. All of it is counted together."""
    known = _as_written(after)
    event, leaving = told(known)
    counted = tallies.counted_act(connection, before, known, event, at)
    hidden_rows = _hidden_rows(connection, [(known, event)])
    return _save_uncounted(connection, before, after, *hidden_rows, counted, *leaving)


def _save_uncounted(
    connection: sa.Connection,
    before: Ticket,
    after: Ticket,
    *besides: tuple[sa.Table, Sequence[Row]],
) -> Ticket:
    """Write what was changed of a ticket, with rows that are written `besides`."""
    known = {m.id: m for m in before.milestones}
    new = [m for m in after.milestones if not m.id]
    changed = [m for m in after.milestones if m.id and known[m.id] != m]
    # Whoever locked it has brought it back.
    this = {"id": before.id, "was_version": before.version, "was_kept_in": None}
    values = this | _ticket_values(after, hidden(after.complaint))
    written = write_together(
        connection,
        before.id,
        (
            Change(_tickets, "id", [values], ("version", "kept_in")),
            Change(_milestones, "ticket_id", _milestone_changes(changed)),
        ),
        (_milestones, [_milestone_values(before.id, after.region, m) for m in new]),
        "ticket_id",
        *besides,
    )
    if written.changed[0] != 1:
        raise Stale(before.version)
    if _sealed_of(before.complaint) != _sealed_of(after.complaint):
        sealing.put(connection, [_part(before.id, after.complaint)])
    if before.assist != after.assist:
        connection.execute(_assists.delete().where(_assists.c.ticket_id == before.id))
        _write_assists(connection, before.id, after.assist)
    if new:
        numbered = _numbered(new, sorted(n for n in written.ids if n not in known))
        kept = [m for m in after.milestones if m.id]
        after = replace(after, milestones=(*kept, *numbered))
    return _as_written(after)


def _as_written(ticket: Ticket) -> Ticket:
    """Return a ticket as reading it again would: what was written about it as everybody may see it."""
    if not (ticket.extensions or ticket.supervision):
        return ticket
    return replace(
        ticket,
        extensions=tuple(replace(each, reason=said(each.reason)) for each in ticket.extensions),
        supervision=tuple(replace(each, text=said(each.text)) for each in ticket.supervision),
    )


def _milestone_changes(changed: Sequence[Milestone]) -> list[Row]:
    """Return what is written of milestones that were changed."""
    return [{"id": m.id, **_changing(m)} for m in changed]


def save_steps(connection: sa.Connection, changed: Sequence[Milestone]) -> None:
    """Write what the ticker changes of milestones, and nothing else."""
    update_rows(connection, _milestones, [{"id": m.id, **_progress(m)} for m in changed])


def _progress(m: Milestone) -> dict[str, Any]:
    return {"stage": m.stage, "done": m.done, "next_at": m.next_at}


def _steps(steps: Sequence[Step]) -> list[list[str]]:
    return [[step.measure or "", step.at.astimezone(UTC).isoformat()] for step in steps]


def append(connection: sa.Connection, ticket: Ticket, event: Event) -> None:
    """Add an event to a ticket's history, which happened when it is written."""
    tallies.note_events(connection, ticket, [event], event.at)
    _append_hidden(connection, [(ticket, event)])


def _append_hidden(
    connection: sa.Connection,
    rows: Sequence[tuple[Ticket, Event]],
    *besides: tuple[sa.Table, Sequence[Row]],
) -> None:
    """Add events as `_hidden_rows` has them; `besides` are rows that are written with them."""
    insert_together(connection, *_hidden_rows(connection, rows), *besides)


def _hidden_rows(
    connection: sa.Connection, rows: Sequence[tuple[Ticket, Event]]
) -> tuple[tuple[sa.Table, Sequence[Row]], ...]:
    """Return the rows of events, and of what seals what is hidden of them: an event is never changed,
    and what seals it is."""
    plain, parts = [], []
    for ticket, event in rows:
        contact = ticket.complaint.contact
        texts = {name: event.content[name] for name in FREE_TEXTS if name in event.content}
        told = {name: said(text, contact) for name, text in texts.items() if isinstance(text, str)}
        own = {name: texts[name] for name, text in told.items() if text != texts[name]}
        shown = event
        if own:
            part = f"event:{uuid4().hex}"
            parts.append(Part(ticket.id, part, own))
            shown = replace(event, content={**event.content, **told, _SEALED_AS: part})
        plain.append((ticket.id, ticket.no, ticket.region, shown))
    return event_rows(plain), sealing.new_rows(connection, parts)


def append_all(connection: sa.Connection, rows: Sequence[tuple[int, str, str, Event]]) -> None:
    """Add events, each with its ticket's id, number and region. Nothing counts them: whoever writes
    one that counts notes it (`tallies.note_events`)."""
    insert_rows(connection, *event_rows(rows))


def event_rows(rows: Sequence[tuple[int, str, str, Event]]) -> tuple[sa.Table, list[Row]]:
    """Return what `append_all` writes."""
    return _events, [
        {
            "ticket_id": ticket_id,
            "ticket_no": no,
            "region": region,
            "act": event.act,
            "at": event.at,
            "actor": event.actor,
            "role": event.role,
            "unit": event.unit,
            "version": event.version,
            "content": event.content,
        }
        for ticket_id, no, region, event in rows
    ]


def events(
    connection: sa.Connection, ticket: Ticket, after: int = 0, limit: int | None = None
) -> list[Event]:
    """Return a ticket's history in the order it was written: all, or so many events after one.

    Raises months.Detached if some of it may lie in a month that was taken off.
    """
    months.check(connection, ticket.id)
    e = _events.c
    query = (
        sa.select(_events)
        .where(e.ticket_id == ticket.id, months.since(ticket.id), e.id > after)
        .order_by(e.id)
    )
    return [event_of(row) for row in connection.execute(query.limit(limit))]


def aged(connection: sa.Connection, before: datetime, after: int, limit: int) -> list[int]:
    """Return the ids of finished tickets, in order from `after` on, to which nothing has happened since
    a time but that somebody read who complained, and of which that is still known."""
    t, e = _tickets.c, _events.c
    later = sa.select(e.id).where(
        e.ticket_id == t.id, e.at > before, e.act != "read_contact", months.since(after)
    )
    known = sealing.is_known(t.id)
    query = (
        sa.select(t.id)
        .where(t.id > after, t.stored_at <= before, t.state.in_(FINISHED), known)
        .where(~later.exists())
        .order_by(t.id)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def is_anonymous(connection: sa.Connection, ticket_id: int) -> bool:
    """Whether what its people told was dropped."""
    return sealing.opened(connection, [ticket_id]).get(ticket_id, {}) is None


def own_words(connection: sa.Connection, ticket: Ticket) -> dict[int, dict[str, str]]:
    """Return what is hidden of a ticket's events, by event id and field."""
    parts = sealing.parts_of(connection, ticket.id)
    if not parts:
        return {}
    e = _events.c
    mine = (e.ticket_id == ticket.id) & months.since(ticket.id)
    rows = connection.execute(sa.select(e.id, e.content).where(mine))
    named = {row.id: row.content.get(_SEALED_AS, "") for row in rows}
    return {event: parts[part] for event, part in named.items() if part in parts}


def events_of(
    connection: sa.Connection, found: Sequence[Ticket], act: str
) -> dict[int, list[Event]]:
    """Return the events of one act of each of these tickets that has any, by ticket id, oldest
    first."""
    ids = [ticket.id for ticket in found]
    rows = connection.execute(
        sa.select(_events)
        .where(_events.c.ticket_id.in_(ids), _events.c.act == act)
        .where(months.since(min(ids, default=0)))
        .order_by(_events.c.id)
    )
    events: dict[int, list[Event]] = {}
    for row in rows:
        events.setdefault(row.ticket_id, []).append(event_of(row))
    return events


def lock(connection: sa.Connection, *numbers: str) -> None:
    """Lock tickets in the one order in which everybody locks several: by id."""
    connection.execute(
        sa.select(_tickets.c.id)
        .where(_tickets.c.no.in_(numbers))
        .order_by(_tickets.c.id)
        .with_for_update(key_share=True)
    ).all()


def _sent(connection: sa.Connection, sent: Collection[tuple[str, str]]) -> sa.ColumnElement[bool]:
    known = [
        (_tickets.c.source == source) & among(connection, _tickets.c.source_no, numbers)
        for source, numbers in _by_source(sent).items()
    ]
    return sa.or_(sa.false(), *known)


def _by_source(sent: Collection[tuple[str, str]]) -> dict[str, list[str]]:
    by_source: dict[str, list[str]] = {}
    for source, source_no in sent:
        by_source.setdefault(source, []).append(source_no)
    return by_source


def lock_sent(connection: sa.Connection, sent: Sequence[tuple[str, str]]) -> None:
    """Lock the tickets that there are of these sources and source numbers, in that same order."""
    connection.execute(
        sa.select(_tickets.c.id)
        .where(_sent(connection, sent))
        .order_by(_tickets.c.id)
        .with_for_update(key_share=True)
    ).all()


def keep_ruling(
    connection: sa.Connection,
    ticket: Ticket,
    words: Sequence[str],
    document: str,
    reason: str,
    actor: str,
    at: datetime,
) -> None:
    """Keep the ruling (裁定) that gave a ticket to its lead."""
    connection.execute(
        _rulings.insert().values(
            ticket_id=ticket.id,
            ticket_no=ticket.no,
            region=ticket.region,
            unit=ticket.ruled,
            title=hidden(ticket.complaint).title,
            words=list(words),
            document=document,
            reason=said(reason, ticket.complaint.contact),
            actor=actor,
            at=at,
        )
    )


@dataclass(frozen=True, slots=True)
class Ruling:
    """A ruling (裁定) as a precedent: where all `words` stand, `unit` answers."""

    ticket_no: str
    region: str
    unit: str
    title: str
    words: tuple[str, ...]
    document: str


def rulings(connection: sa.Connection) -> list[Ruling]:
    """Return every ruling, the latest of those that have the same words in a region."""
    r = _rulings.c
    latest: dict[tuple[str, ...], Ruling] = {}
    for row in connection.execute(sa.select(_rulings).order_by(r.id)):
        words = tuple(row.words)
        latest[row.region, *sorted(words)] = Ruling(
            row.ticket_no, row.region, row.unit, row.title, words, row.document
        )
    return list(latest.values())


def rulings_mark(connection: sa.Connection) -> tuple[int, int]:
    """Return what differs whenever there are other rulings. The last id alone would not: of two
    that are made at once the one with the lower id may be committed last."""
    r = _rulings.c
    row = connection.execute(sa.select(sa.func.count(), sa.func.max(r.id)).select_from(_rulings))
    count, last = row.one()
    return count, last or 0


@dataclass(frozen=True, slots=True)
class Which:
    """Which tickets a job takes: all but some, or one alone, by id."""

    but: Collection[int] = ()
    only: int = 0

    def of(self, column: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
        """Return the condition for a column of ticket ids."""
        if self.only:
            return column == self.only
        return column.not_in(list(self.but)) if self.but else sa.true()


EVERY = Which()


def due_ids(connection: sa.Connection, at: datetime, limit: int, which: Which) -> list[int]:
    """Return the ids of tickets that a step, or the end of a pause, has come for by `at`."""
    t, m = _tickets.c, _milestones.c
    asleep = sa.select(t.id).where(t.resume_at <= at, which.of(t.id)).order_by(t.resume_at)
    due = sa.select(m.ticket_id).where(m.next_at <= at, which.of(m.ticket_id)).order_by(m.next_at)
    rows = (connection.execute(query.limit(limit)).scalars() for query in (asleep, due))
    return list(dict.fromkeys(found for ids in rows for found in ids))


def claim_due(
    connection: sa.Connection, at: datetime, limit: int, which: Which = EVERY
) -> list[tuple[str, str, str, int, Milestone]]:
    """Return milestones that a step has come for by `at`, the longest due first, with ticket number,
    region, whom the channel names to coordinate ("" for nobody) and ticket id. What an act or
    another replica holds is left out.

    The ticket is locked as well: whoever changes a milestone holds its ticket, so that an act never
    writes over a step that it did not see, nor a step over an act.
    """
    m = _milestones.c
    rows = connection.execute(
        sa.select(_tickets.c.no, m.region, _coordinator, m.ticket_id, *_clock_columns)
        .select_from(_milestones.join(_tickets, _tickets.c.id == m.ticket_id))
        .where(m.next_at <= at, which.of(m.ticket_id))
        .order_by(m.next_at)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    return [
        (no, region, named or "", ticket_id, _milestone(clock))
        for no, region, named, ticket_id, *clock in rows
    ]


def claim_paused(
    connection: sa.Connection, at: datetime, limit: int, which: Which = EVERY
) -> list[Ticket]:
    """Return paused tickets whose pause has ended by itself by `at`, locked as by `claim_due`."""
    t = _tickets.c
    rows = connection.execute(
        sa.select(_tickets)
        .where(t.resume_at <= at, which.of(t.id))
        .order_by(t.resume_at)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    return _opened(connection, rows, lock=True)


def claim_open(
    connection: sa.Connection, after: int, limit: int, *, region: str = "", lock: bool = False
) -> list[Ticket]:
    """Return tickets with something owed, by id from `after` on; `lock` waits for who holds them."""
    t = _tickets.c
    query = sa.select(_tickets).where(t.id > after, t.state.not_in(FINISHED))
    if prefix(region):
        query = query.where(t.region.startswith(prefix(region), autoescape=True))
    query = query.order_by(t.id).limit(limit)
    rows = connection.execute(query.with_for_update(key_share=True) if lock else query).all()
    return _opened(connection, rows, lock=lock)


def provisional_ids(
    connection: sa.Connection, since: datetime, until: datetime, after: int, limit: int
) -> list[int]:
    """Return the ids of tickets, in order from `after` on, with an open clock that is provisional and
    lies between two times."""
    m = _milestones.c
    found = connection.execute(
        sa.select(m.ticket_id)
        .where(m.provisional, m.outcome.is_(None), m.started_at >= since, m.due_at <= until)
        .where(m.ticket_id > after)
        .distinct()
        .order_by(m.ticket_id)
        .limit(limit)
    )
    return list(found.scalars())


def claim(connection: sa.Connection, ids: Collection[int], *, lock: bool = True) -> list[Ticket]:
    """Return tickets by their ids, opened, and locked unless they are only looked at."""
    query = sa.select(_tickets).where(_tickets.c.id.in_(ids)).order_by(_tickets.c.id)
    if lock:
        return _locked(connection, _locking(query))
    return _opened(connection, connection.execute(query).all())


def open_citing(
    connection: sa.Connection, documents: Collection[str], items: Collection[str]
) -> list[str]:
    """Return the numbers of unfinished tickets that were routed by one of these items."""
    t = _tickets.c
    rows = connection.execute(
        sa.select(t.no, t.route)
        .where(t.state.not_in(FINISHED))
        .order_by(t.id)
        .execution_options(yield_per=500)
    )
    return [
        row.no
        for row in rows
        if any(
            evidence["document"] in documents and set(evidence["item"].split("、")) & set(items)
            for candidate in row.route["candidates"]
            for evidence in candidate["evidence"]
        )
    ]


@dataclass(frozen=True, slots=True)
class Replay:
    """What an Idempotency-Key was used for before."""

    request: str
    ticket_no: str
    version: int  # of the ticket after the act


def find_key(connection: sa.Connection, caller: str, key: str) -> Replay | None:
    """Return what a caller used a key for, or None."""
    row = connection.execute(
        sa.select(_keys.c.request, _keys.c.ticket_no, _keys.c.version).where(
            _keys.c.caller == caller, _keys.c.key == key
        )
    ).first()
    return Replay(row.request, row.ticket_no, row.version) if row else None


def keep_key(
    connection: sa.Connection, caller: str, key: str, request: str, ticket: Ticket, at: datetime
) -> None:
    """Remember the key of an act in the act's own transaction.

    Raises Raced if the same caller used it for another act in between.
    """
    kept = connection.execute(
        upsert(connection, _keys)
        .values(
            caller=caller,
            key=key,
            request=request,
            ticket_no=ticket.no,
            version=ticket.version,
            at=at,
        )
        .on_conflict_do_nothing()
    )
    if not kept.rowcount:
        raise Raced


def count(connection: sa.Connection) -> int:
    """Return how many tickets there are."""
    return connection.execute(sa.select(sa.func.count()).select_from(_tickets)).scalar_one()


def of_units(units: Iterable[str]) -> sa.ColumnElement[bool]:
    """Return the condition that one of the units leads a ticket or assists."""
    codes = list(units)
    a = _assists.c
    return _tickets.c.lead_unit.in_(codes) | looked_up(
        sa.select(a.unit).where(a.ticket_id == _tickets.c.id, a.unit.in_(codes))
    )


def looked_up(query: sa.Select[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a query finds something for a row: a lookup for each row, whatever the
    planner thinks of how many there are. Of EXISTS it may make one list of all that there is."""
    return query.limit(1).scalar_subquery().is_not(None)


def _new_values(ticket: Ticket, decision: str, at: datetime) -> dict[str, Any]:
    complaint = hidden(ticket.complaint)
    return {
        **_ticket_values(ticket, complaint),
        "no": ticket.no,
        "source": complaint.source,
        "source_no": complaint.source_no,
        "channel": complaint.channel,
        "received_kind": complaint.kind,
        "decision": _decision(ticket, decision),
        "title": complaint.title,
        "content": complaint.content,
        "route": ticket.route,  # written as it is
        "received_at": ticket.received_at,
        "stored_at": at,
    }


def _decision(ticket: Ticket, decision: str) -> str:
    return "counted" if ticket.is_counted_only else decision


def _ticket_values(ticket: Ticket, shut: Complaint) -> dict[str, Any]:
    """Return the values of a ticket's row, its complaint as everybody may see it."""
    return {
        "state": ticket.state,
        "version": ticket.version,
        "kind": ticket.complaint.kind,
        "urgency": ticket.complaint.urgency,
        "region": ticket.region,
        "complaint": _complaint_values(shut),
        "lead_unit": ticket.lead.unit if ticket.lead else "",
        "lead_name": ticket.lead.name if ticket.lead else "",
        "assist": [{"unit": ref.unit, "name": ref.name} for ref in ticket.assist],
        "redo": ticket.redo,
        "limits": ticket.limits,
        **_masked(
            _written(_EXTENSIONS, ticket.extensions), _written(_SUPERVISION, ticket.supervision)
        ),
        "pauses": _written(_PAUSES, ticket.pauses),
        "resume_at": ticket.pause.until if ticket.pause else None,
        "extension_asked_at": ticket.pending.at if ticket.pending else None,
        "sent_back": ticket.sent_back,
        "ruled": ticket.ruled,
        "merged_into": ticket.into,
    }


def _written(kind: TypeAdapter[Any], values: Sequence[Any]) -> list[Any]:
    """Return values as JSON has them; most tickets have none of them."""
    return kind.dump_python(values, mode="json") if values else []


def _write_assists(connection: sa.Connection, ticket_id: int, assist: Sequence[UnitRef]) -> None:
    if assist:
        connection.execute(
            _assists.insert(), [{"ticket_id": ticket_id, "unit": ref.unit} for ref in assist]
        )


def _milestone_values(ticket_id: int, region: str, m: Milestone) -> dict[str, Any]:
    return {
        "ticket_id": ticket_id,
        "region": region,
        "unit": m.unit,
        "kind": m.kind,
        "clock": m.clock,
        "redo": m.redo,
        "assisting": m.assisting,
        **_changing(m),
    }


def _changing(m: Milestone) -> dict[str, Any]:
    """Return the columns of a milestone that an act may change."""
    return {
        "governing": m.governing,
        "limit": m.limit,
        "basis": m.basis,
        "started_at": m.started_at,
        "due_at": m.due_at,
        "original_due_at": m.original_due_at,
        "provisional": m.provisional,
        "warn_at": m.warn_at,
        **_progress(m),
        "met_at": m.met_at,
        "outcome": m.outcome,
        "count_from": m.count_from,
        "extended": m.extended,
        "paused_s": m.paused_s,
        "steps": _steps(m.steps),
        "answers": m.answers,
        "bearer": m.bearer,
        "bearer_until": m.bearer_until,
    }


def _locking(query: sa.Select[Any]) -> sa.Select[Any]:
    """Return a query of tickets that keeps what it finds from others until the commit."""
    # NO KEY UPDATE: an event of somebody else's may refer to the ticket meanwhile.
    return query.with_for_update(key_share=True)


def _locked(
    connection: sa.Connection, query: sa.Select[Any], given: Mapping[str, Any] | None = None
) -> list[Ticket]:
    """Return the tickets of a query that locks them, which may be changed: what was kept apart of them
    is back."""
    rows = connection.execute(query, given).all()
    if closed.bring_back(connection, {row.id: row.kept_in for row in rows}):
        rows = connection.execute(query, given).all()
    return _opened(connection, rows, lock=True)


def milestones_of(connection: sa.Connection, ids: Collection[int]) -> dict[int, list[Milestone]]:
    """Return the milestones of these tickets in the order of their making, by ticket id."""
    by_ticket: dict[int, list[Milestone]] = {each: [] for each in ids}
    if by_ticket:
        query = _clocks_of(connection.dialect.name)
        for ticket_id, *clock in connection.execute(query, {"ids": list(by_ticket)}).all():
            by_ticket[ticket_id].append(_milestone(clock))
    return by_ticket


@cache
def _clocks_of(dialect: str) -> sa.Select[Any]:
    m = _milestones.c
    these = given_among(dialect, m.ticket_id, "ids")
    return sa.select(m.ticket_id, *_clock_columns).where(these).order_by(m.id)


def whole(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Ticket]:
    """Return the tickets of rows of their table, with their milestones by one more query, and what is
    kept apart of those that ended long ago by another: of each complaint what everybody may see."""
    read = _read(rows)
    by_ticket = milestones_of(connection, [row.id for row in read])
    documents = _documents(connection, read)
    # Those from before anything was sealed are as they came.
    return [
        _ticket(row, documents[row.id], by_ticket[row.id], hidden(_plain(row, documents[row.id])))
        for row in read
    ]


# A row of tickets: SQLAlchemy's own takes half a microsecond to find a column by its name, and twenty
# are asked for of each.
_Columns = SimpleNamespace


def _read(rows: Sequence[sa.Row[Any]]) -> list[_Columns]:
    names = tuple(rows[0]._fields) if rows else ()
    return [_Columns(**dict(zip(names, row, strict=True))) for row in rows]


def _opened(
    connection: sa.Connection, rows: Sequence[sa.Row[Any]], *, lock: bool = False
) -> list[Ticket]:
    """Return the tickets of rows of their table with all of their complaints. What stands there as it
    came is sealed now if the rows are locked: so whoever changes a ticket finds it sealed."""
    read = _read(rows)
    ids = [row.id for row in read]
    by_ticket = milestones_of(connection, ids)
    documents = _documents(connection, read)
    sealed = sealing.opened(connection, ids) if ids else {}
    if lock:
        _seal(connection, [row for row in read if row.id not in sealed], documents)
    return [
        _ticket(
            row,
            documents[row.id],
            by_ticket[row.id],
            _plain(row, documents[row.id], sealed.get(row.id)),
        )
        for row in read
    ]


def _documents(connection: sa.Connection, rows: Sequence[_Columns]) -> dict[int, Mapping[str, Any]]:
    kept = closed.documents(connection, {row.id: row.kept_in for row in rows})
    return {
        row.id: kept.get(row.id) or {name: getattr(row, name) for name in closed.KEPT}
        for row in rows
    }


def held(connection: sa.Connection, ids: Collection[int]) -> list[Ticket]:
    """Return tickets by their ids, locked, as everybody may see them and where they stand: for who
    changes nothing of them and writes beside."""
    query = sa.select(_tickets).where(among(connection, _tickets.c.id, ids))
    rows = connection.execute(query.order_by(_tickets.c.id).with_for_update(key_share=True)).all()
    return whole(connection, rows)


def seal(connection: sa.Connection, ids: Collection[int]) -> None:
    """Seal those of these tickets that are not, where they stand: what is kept apart stays there,
    whether its history is there or not."""
    query = sa.select(_tickets).where(among(connection, _tickets.c.id, ids))
    query = query.order_by(_tickets.c.id).with_for_update(key_share=True)
    rows = _read(connection.execute(query).all())
    sealed = sealing.is_sealed(connection, [row.id for row in rows])
    old = [row for row in rows if row.id not in sealed]
    _seal(connection, old, _documents(connection, old))


def _seal(
    connection: sa.Connection,
    rows: Sequence[_Columns],
    documents: Mapping[int, Mapping[str, Any]],
) -> None:
    """Seal tickets from before anything was sealed; they are locked."""
    if not rows:
        return
    came = {row.id: _plain(row, documents[row.id]) for row in rows}
    shut = {ticket_id: hidden(complaint) for ticket_id, complaint in came.items()}
    masked = {
        row.id: {
            "complaint": _complaint_values(shut[row.id]),
            **_masked(documents[row.id]["extensions"], documents[row.id]["supervision"]),
        }
        for row in rows
    }
    seal_new(connection, list(came.items()))
    update_rows(
        connection,
        _tickets,
        [
            {"id": row.id, "title": shut[row.id].title, "content": shut[row.id].content}
            for row in rows
        ],
    )
    here = [{"id": row.id, **masked[row.id]} for row in rows if row.kept_in is None]
    update_rows(connection, _tickets, here)
    apart = [row for row in rows if row.kept_in is not None]
    deliveries.seal(connection, [row.id for row in rows if row.kept_in is None])
    closed.seal(
        connection,
        [(row.kept_in, row.id, {**documents[row.id], **masked[row.id]}) for row in apart],
    )
    b = _bodies.c
    bodies = connection.execute(
        sa.select(_bodies).where(among(connection, b.ticket_id, came))
    ).all()
    for body in bodies:
        connection.execute(
            _bodies.update()
            .where(b.ticket_id == body.ticket_id, b.fingerprint == body.fingerprint)
            .values(fingerprint=sealing.keyed(connection, body.fingerprint))
        )


def _masked(
    extensions: Sequence[Mapping[str, Any]], supervision: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what was written about a ticket in its row, as everybody may see it: the events have it
    as it was written."""
    return {
        "extensions": [{**each, "reason": said(each["reason"])} for each in extensions],
        "supervision": [{**each, "text": said(each["text"])} for each in supervision],
    }


def _plain(
    row: _Columns, kept: Mapping[str, Any], sealed: Mapping[str, Any] | None = None
) -> Complaint:
    told = {**kept["complaint"], "title": row.title, "content": row.content, **(sealed or {})}
    return _COMPLAINT.validate_python(told)


def _complaint_values(shut: Complaint) -> dict[str, Any]:
    found: dict[str, Any] = _COMPLAINT.dump_python(shut, mode="json", exclude={"title", "content"})
    return found


def _ticket(
    row: _Columns, kept: Mapping[str, Any], milestones: Sequence[Milestone], complaint: Complaint
) -> Ticket:
    # Those from before anything was sealed are as they were written.
    written = _masked(kept["extensions"], kept["supervision"])
    return Ticket(
        no=row.no,
        complaint=complaint,
        route=_ROUTE.validate_python(kept["route"]),
        state=State(row.state),
        version=row.version,
        received_at=row.received_at,
        lead=UnitRef(row.lead_unit, row.lead_name) if row.lead_unit else None,
        assist=tuple(UnitRef(ref["unit"], ref["name"]) for ref in row.assist),
        milestones=tuple(milestones),
        redo=row.redo,
        limits=row.limits,
        id=row.id,
        extensions=_EXTENSIONS.validate_python(written["extensions"]),
        pauses=_PAUSES.validate_python(kept["pauses"]),
        supervision=_SUPERVISION.validate_python(written["supervision"]),
        sent_back=row.sent_back,
        ruled=row.ruled,
        into=row.merged_into,
        received_kind=row.received_kind,
    )


def event_of(row: sa.Row[Any]) -> Event:
    """Return the event that a row holds."""
    return Event(
        act=row.act,
        at=row.at,
        actor=row.actor,
        role=row.role,
        content={name: each for name, each in row.content.items() if name != _SEALED_AS},
        version=row.version,
        unit=row.unit,
        id=row.id,
    )


def _milestone(columns: Sequence[Any]) -> Milestone:
    """Return the clock that `_clock_columns` hold."""
    values = list(columns)
    for place, read in _CLOCK_READ:
        values[place] = read(values[place])
    return built(Milestone, values)


def _of(kind: type[StrEnum]) -> dict[str | None, StrEnum]:
    """Return the values of an enumeration by their names: to call the class takes ten times as long."""
    return {each.value: each for each in kind}


# Clocks that fall due together are followed by the same, and a list is read again and again.
@lru_cache(maxsize=2048)
def _read_steps(document: str) -> tuple[Step, ...]:
    return tuple(
        Step(Measures(measure) if measure else None, datetime.fromisoformat(at))
        for measure, at in orjson.loads(document)
    )


# A clock in the order of its fields: a list has hundreds, and to ask a row for a column by its name
# takes half a microsecond.
_clock_names = [each.name for each in fields(Milestone)]
_clock_columns = tuple(
    sa.cast(_milestones.c.steps, sa.Text) if name == "steps" else _milestones.c[name]
    for name in _clock_names
)
# What is made of a column, where that is not what it holds.
_CLOCK_READ: tuple[tuple[int, Callable[[Any], Any]], ...] = tuple(
    (_clock_names.index(name), read)
    for name, read in (
        ("kind", _of(MilestoneKind).__getitem__),
        ("clock", _of(Clock).__getitem__),
        ("stage", _of(Stage).__getitem__),
        ("outcome", {**_of(Outcome), None: None}.__getitem__),
        ("count_from", _of(CountFrom).__getitem__),
        ("steps", _read_steps),
    )
)
