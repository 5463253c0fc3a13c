"""Tickets, their clocks and their history: rows in, values out."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from pydantic import TypeAdapter

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
from service.store import closed, deliveries, months, sealing, search, tallies
from service.store.bulk import (
    Row,
    among,
    document,
    given_among,
    insert_returning,
    insert_rows,
    insert_together,
    rows_given,
    update_rows,
    upsert,
    upserting,
)
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


def take_nos(connection: sa.Connection, days: Sequence[tuple[str, str]]) -> list[str]:
    """Return the next numbers for tickets of these regions and days (`20261118`), in the order asked
    for, without gaps: the counters grow in the tickets' own transaction.

    The counters are taken in one order by everybody who takes several: nobody waits in a circle.
    """
    if not days:
        return []
    asked = dict(sorted(Counter(days).items()))
    counts = [{"region": r, "day": day, "last": count} for (r, day), count in asked.items()]
    rows = connection.execute(_counting(connection.dialect.name), document(counts))
    used = {(row.region, row.day): row.last - asked[row.region, row.day] for row in rows}
    numbers = []
    for region, day in days:
        used[region, day] += 1
        numbers.append(f"{region}-{day}-{used[region, day]:05}")
    return numbers


@cache
def _counting(dialect: str) -> Any:
    """Return what adds to counters, in the order in which they are given, and tells what they are."""
    names = ("region", "day", "last")
    source, given = rows_given(dialect, _counters, names)
    # Without a condition SQLite takes ON CONFLICT for the condition of a join.
    query = sa.select(*given.values()).select_from(source).where(sa.true())
    insert = upserting(dialect, _counters).from_select(names, query)
    return insert.on_conflict_do_update(
        index_elements=["region", "day"], set_={"last": _counters.c.last + insert.excluded.last}
    ).returning(_counters.c.region, _counters.c.day, _counters.c.last)


def get(connection: sa.Connection, no: str, *, lock: bool = False) -> Ticket | None:
    """Return the ticket with this number, or None; `lock` keeps it from others until the commit, and
    opens it: who changes a ticket has all of it, who looks at it has what everybody may see."""
    given = {"no": no}
    found = (
        _locked(connection, _by_no(lock=True), given)
        if lock
        else whole(connection, connection.execute(_by_no(lock=False), given).all())
    )
    return found[0] if found else None


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
        ids += connection.execute(query, {"source": source, "numbers": numbers}).scalars()
    if not ids:  # as nearly always
        return {}
    these = sa.select(_tickets).where(among(connection, _tickets.c.id, ids))
    found = _locked(connection, _locking(these.order_by(_tickets.c.id)))
    return {(each.complaint.source, each.complaint.source_no): each for each in found}


@cache
def _ids_of_sent(dialect: str) -> sa.Select[Any]:
    t = _tickets.c
    return sa.select(t.id).where(
        t.source == sa.bindparam("source"), given_among(dialect, t.source_no, "numbers")
    )


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


def insert_all(
    connection: sa.Connection, rows: Sequence[tuple[Ticket, str, str, Words]], at: datetime
) -> list[Ticket]:
    """Write many new tickets, each with its first body's fingerprint, the decision that it is counted
    under and the words by which it is found, their clocks and assisting units; return them as
    stored, in the same order. Nothing counts them before `append_first`.

    Raises Raced if a source number is there by now.
    """
    values = [_new_values(ticket, decision, at) for ticket, _, decision, _ in rows]
    try:
        found = insert_returning(connection, (_tickets, values), ("no", "id"), "no")
    except sa.exc.IntegrityError:
        raise Raced from None
    ids: dict[str, int] = {row.no: row.id for row in found}
    clocks: dict[int, list[int]] = {ticket_id: [] for ticket_id in ids.values()}
    new = [
        (ticket, sealing.keyed(connection, fingerprint), decision, at)
        for ticket, fingerprint, decision, _ in rows
    ]
    *others, milestones = _parts(ids, new)
    told = insert_returning(
        connection,
        milestones,
        ("ticket_id", "id"),
        "ticket_id",
        *others,
        sealing.new_rows(connection, [_part(ids[t.no], t.complaint) for t, *_ in rows]),
        search.new_rows(connection, [(ids[t.no], t.region, words) for t, _, _, words in rows]),
    )
    for ticket_id, clock_id in sorted((row.ticket_id, row.id) for row in told):
        clocks[ticket_id].append(clock_id)
    return [_as_stored(ticket, ids[ticket.no], clocks[ids[ticket.no]]) for ticket, *_ in rows]


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
        sequence = sa.func.pg_get_serial_sequence(_tickets.name, "id")
        connection.execute(sa.select(sa.func.setval(sequence, last)).where(last.is_not(None)))


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


def _as_stored(ticket: Ticket, ticket_id: int, clocks: Sequence[int]) -> Ticket:
    milestones = _numbered(ticket.milestones, clocks)
    kind = ticket.complaint.kind
    return replace(ticket, id=ticket_id, milestones=milestones, received_kind=kind)


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
    told: Callable[[Ticket], Event],
) -> tuple[Ticket, Event]:
    """Write what an act changed, as `save` does, and what is `told` of the ticket as stored, as `append`
    does: both are counted together."""
    stored = _save_uncounted(connection, before, after)
    event = told(stored)
    counted = tallies.counted_act(connection, before, stored, event, at)
    _append_hidden(connection, [(stored, event)], counted)
    return stored, event


def _save_uncounted(connection: sa.Connection, before: Ticket, after: Ticket) -> Ticket:
    values = _ticket_values(after, hidden(after.complaint))
    this = {"of_id": before.id, "of_version": before.version}
    if connection.execute(_saving(), this | values).rowcount != 1:
        raise Stale(before.version)
    if _sealed_of(before.complaint) != _sealed_of(after.complaint):
        sealing.put(connection, [_part(before.id, after.complaint)])
    if before.assist != after.assist:
        connection.execute(_assists.delete().where(_assists.c.ticket_id == before.id))
        _write_assists(connection, before.id, after.assist)
    known = {m.id: m for m in before.milestones}
    new = [m for m in after.milestones if not m.id]
    changed = [m for m in after.milestones if m.id and known[m.id] != m]
    save_milestones(connection, changed)
    if new:
        rows = [_milestone_values(before.id, after.region, m) for m in new]
        ids = insert_returning(connection, (_milestones, rows), ("id",), "ticket_id")
        numbered = _numbered(new, sorted(row.id for row in ids if row.id not in known))
        kept = [m for m in after.milestones if m.id]
        after = replace(after, milestones=(*kept, *numbered))
    return _as_written(after)


@cache
def _saving() -> sa.Update:
    """Return what writes the columns that it is given of a ticket."""
    t = _tickets.c
    # Whoever locked it has brought it back.
    return _tickets.update().where(
        t.id == sa.bindparam("of_id"), t.version == sa.bindparam("of_version"), t.kept_in.is_(None)
    )


def _as_written(ticket: Ticket) -> Ticket:
    """Return a ticket as reading it again would: what was written about it as everybody may see it."""
    return replace(
        ticket,
        extensions=tuple(replace(each, reason=said(each.reason)) for each in ticket.extensions),
        supervision=tuple(replace(each, text=said(each.text)) for each in ticket.supervision),
    )


def save_milestones(connection: sa.Connection, changed: Sequence[Milestone]) -> None:
    """Write the changed milestones, of tickets that the transaction has locked."""
    update_rows(
        connection,
        _milestones,
        [
            {
                "id": m.id,
                "governing": m.governing,
                "limit": m.limit,
                "basis": m.basis,
                "started_at": m.started_at,
                "due_at": m.due_at,
                "original_due_at": m.original_due_at,
                "provisional": m.provisional,
                "warn_at": m.warn_at,
                "extended": m.extended,
                "paused_s": m.paused_s,
                "count_from": m.count_from,
                "steps": _steps(m.steps),
                **_progress(m),
                "met_at": m.met_at,
                "outcome": m.outcome,
                "answers": m.answers,
                "bearer": m.bearer,
                "bearer_until": m.bearer_until,
            }
            for m in changed
        ],
    )


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


def append_first(
    connection: sa.Connection, came: Sequence[tuple[Ticket, str, Sequence[Event]]], at: datetime
) -> None:
    """Add the first events of new tickets, each with the decision that it is counted under, and count
    both."""
    new = [(ticket, _decision(ticket, decided), told) for ticket, decided, told in came]
    first = [(ticket, event) for ticket, _, told in came for event in told]
    _append_hidden(connection, first, tallies.counted_new(new, at))


def _append_hidden(
    connection: sa.Connection,
    rows: Sequence[tuple[Ticket, Event]],
    *besides: tuple[sa.Table, Sequence[Row]],
) -> None:
    """Add events, and seal what is hidden of them: an event is never changed, and what seals it is.
    `besides` are rows that are written with them."""
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
    insert_together(connection, event_rows(plain), sealing.new_rows(connection, parts), *besides)


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
        sa.select(_milestones, _tickets.c.no.label("ticket_no"), _coordinator.label("named"))
        .join(_tickets, _tickets.c.id == m.ticket_id)
        .where(m.next_at <= at, which.of(m.ticket_id))
        .order_by(m.next_at)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    return [
        (row.ticket_no, row.region, row.named or "", row.ticket_id, _milestone(row)) for row in rows
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
        "route": _ROUTE.dump_python(ticket.route, mode="json"),
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
            _EXTENSIONS.dump_python(ticket.extensions, mode="json"),
            _SUPERVISION.dump_python(ticket.supervision, mode="json"),
        ),
        "pauses": _PAUSES.dump_python(ticket.pauses, mode="json"),
        "resume_at": ticket.pause.until if ticket.pause else None,
        "extension_asked_at": ticket.pending.at if ticket.pending else None,
        "sent_back": ticket.sent_back,
        "ruled": ticket.ruled,
        "merged_into": ticket.into,
    }


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
        "redo": m.redo,
        "assisting": m.assisting,
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
        for row in connection.execute(query, {"ids": list(by_ticket)}):
            by_ticket[row.ticket_id].append(_milestone(row))
    return by_ticket


@cache
def _clocks_of(dialect: str) -> sa.Select[Any]:
    m = _milestones.c
    return sa.select(_milestones).where(given_among(dialect, m.ticket_id, "ids")).order_by(m.id)


def whole(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Ticket]:
    """Return the tickets of rows of their table, with their milestones by one more query, and what is
    kept apart of those that ended long ago by another: of each complaint what everybody may see."""
    by_ticket = milestones_of(connection, [row.id for row in rows])
    documents = _documents(connection, rows)
    # Those from before anything was sealed are as they came.
    return [
        _ticket(row, documents[row.id], by_ticket[row.id], hidden(_plain(row, documents[row.id])))
        for row in rows
    ]


def _opened(
    connection: sa.Connection, rows: Sequence[sa.Row[Any]], *, lock: bool = False
) -> list[Ticket]:
    """Return the tickets of rows of their table with all of their complaints. What stands there as it
    came is sealed now if the rows are locked: so whoever changes a ticket finds it sealed."""
    ids = [row.id for row in rows]
    by_ticket = milestones_of(connection, ids)
    documents = _documents(connection, rows)
    sealed = sealing.opened(connection, ids) if ids else {}
    if lock:
        _seal(connection, [row for row in rows if row.id not in sealed], documents)
    return [
        _ticket(
            row,
            documents[row.id],
            by_ticket[row.id],
            _plain(row, documents[row.id], sealed.get(row.id)),
        )
        for row in rows
    ]


def _documents(
    connection: sa.Connection, rows: Sequence[sa.Row[Any]]
) -> dict[int, Mapping[str, Any]]:
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
    rows = connection.execute(query.order_by(_tickets.c.id).with_for_update(key_share=True)).all()
    sealed = sealing.is_sealed(connection, [row.id for row in rows])
    old = [row for row in rows if row.id not in sealed]
    _seal(connection, old, _documents(connection, old))


def _seal(
    connection: sa.Connection,
    rows: Sequence[sa.Row[Any]],
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
    row: sa.Row[Any], kept: Mapping[str, Any], sealed: Mapping[str, Any] | None = None
) -> Complaint:
    told = {**kept["complaint"], "title": row.title, "content": row.content, **(sealed or {})}
    return _COMPLAINT.validate_python(told)


def _complaint_values(shut: Complaint) -> dict[str, Any]:
    found: dict[str, Any] = _COMPLAINT.dump_python(shut, mode="json", exclude={"title", "content"})
    return found


def _ticket(
    row: sa.Row[Any], kept: Mapping[str, Any], milestones: Sequence[Milestone], complaint: Complaint
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


def _milestone(row: sa.Row[Any]) -> Milestone:
    return Milestone(
        kind=MilestoneKind(row.kind),
        unit=row.unit,
        clock=Clock(row.clock),
        governing=row.governing,
        limit=row.limit,
        basis=row.basis,
        started_at=row.started_at,
        due_at=row.due_at,
        original_due_at=row.original_due_at,
        provisional=row.provisional,
        warn_at=row.warn_at,
        stage=Stage(row.stage),
        next_at=row.next_at,
        met_at=row.met_at,
        outcome=Outcome(row.outcome) if row.outcome else None,
        redo=row.redo,
        id=row.id,
        assisting=row.assisting,
        count_from=CountFrom(row.count_from),
        extended=row.extended,
        paused_s=row.paused_s,
        steps=tuple(
            Step(Measures(measure) if measure else None, datetime.fromisoformat(at))
            for measure, at in row.steps
        ),
        done=row.done,
        answers=row.answers,
        bearer=row.bearer,
        bearer_until=row.bearer_until,
    )
