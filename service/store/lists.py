"""The lists of tickets: which of them somebody may see and asked for, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from service.domain.access import Actor, Role
from service.domain.lifecycle import FINISHED, State
from service.domain.region import covers, prefix
from service.domain.ticket import Stage, Ticket
from service.store import pages, sealing, search
from service.store.bulk import given_among
from service.store.pages import Fetch, Page, Stream
from service.store.tables import AssistRow, MilestoneRow, TicketRow, TraitsRow, metadata
from service.store.tickets import looked_up, of_units, whole
from service.store.words import Term, Unsearchable, terms

_tickets = metadata.tables[TicketRow.__tablename__]
_assists = metadata.tables[AssistRow.__tablename__]
_milestones = metadata.tables[MilestoneRow.__tablename__]
_other = _milestones.alias("other")
_traits = metadata.tables[TraitsRow.__tablename__]

# Of more regions than these a list is most of all there is, and read along the key.
_REGIONS_MOST = 40
_EVERY_STATE = tuple(State)
_OPEN_STATES = tuple(state for state in State if state not in FINISHED)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tickets a list holds; empty fields hold all. `region` includes what lies in it, `unit`
    is the lead or an assisting one, `after` the id of the last ticket on the page before."""

    region: str = ""
    unit: str = ""
    state: str = ""
    stage: str = ""
    channel: str = ""
    kind: str = ""
    q: str = ""
    group: int = 0  # a group matter (群体性诉求)
    after: int = 0
    limit: int = 50
    oldest_first: bool = False


def page(connection: sa.Connection, actor: Actor, wanted: Filter) -> Page[Ticket]:
    """Return a page of the tickets that the actor may see, newest first or oldest first.

    Raises Unsearchable for words that cannot be looked for.
    """
    region = _narrower(actor.region, wanted.region)
    if region is None:
        return Page([])
    asked = _Asked(connection, terms(wanted.q)) if wanted.q.strip() else None
    stream = _stream(connection, actor, wanted, region, asked)
    fits = _fitting(connection, actor, wanted, asked)
    fetch = _fetching(connection, fits, oldest_first=wanted.oldest_first)
    # No stream goes by kind, of which there are some four.
    one_in = 4 if wanted.kind else 1
    rows, onward = pages.walk(stream, fetch, wanted.after, wanted.limit, one_in=one_in)
    return Page(whole(connection, rows), onward)


def of_person(
    connection: sa.Connection, actor: Actor, phone: str, after: int, limit: int
) -> Page[Ticket]:
    """Return a page of the tickets of whoever has this number that the actor may see, newest first."""
    fits = _fitting(connection, actor, Filter(), None)

    def stream(after: int, count: int) -> Sequence[int]:
        return sealing.of_person(connection, phone, after, count)

    rows, onward = pages.walk(stream, _fetching(connection, fits), after, limit)
    return Page(whole(connection, rows), onward)


def _fetching(
    connection: sa.Connection, fits: Sequence[sa.ColumnElement[bool]], *, oldest_first: bool = False
) -> Fetch:
    """Return what reads those of some tickets that fit, by a statement that is made once for all of a
    page's."""
    column = _tickets.c.id
    order = column if oldest_first else column.desc()
    these = given_among(connection.dialect.name, column, "ids")
    most_of_them = sa.bindparam("most", type_=sa.Integer)
    query = sa.select(_tickets).where(these, *fits).order_by(order).limit(most_of_them)

    def fetch(ids: Sequence[int], most: int) -> Sequence[sa.Row[Any]]:
        return connection.execute(query, {"ids": list(ids), "most": most}).all()

    return fetch


def _narrower(one: str, other: str) -> str | None:
    """Return the inner one of two regions, "" for everywhere, None if they have nothing in common."""
    if not one or (other and covers(one, other)):
        return other
    return one if not other or covers(other, one) else None


class _Asked:
    """What was typed, with the tickets that are known by it as a number."""

    def __init__(self, connection: sa.Connection, typed: Sequence[Term]) -> None:
        self.terms = typed
        self.by_number = search.numbered(connection, [term.text for term in typed])
        for term in typed:
            if not term.words and term.text not in self.by_number:
                raise Unsearchable(term.why_not)
        self.words = tuple(dict.fromkeys(word for term in typed for word in term.words))
        self.cut_before = search.cut_before(connection)

    @property
    def is_text(self) -> bool:
        """Whether every term has words: one that has none is a number and nothing else."""
        return all(term.words for term in self.terms)

    @property
    def is_promised(self) -> bool:
        """Whether all that the stream has fits."""
        return not self.by_number and not self.cut_before

    def fits(self, connection: sa.Connection) -> sa.ColumnElement[bool]:
        """Return the condition that a ticket has every term, as a word or as its number."""
        each = []
        for term in self.terms:
            ways: list[sa.ColumnElement[bool]] = []
            if ids := self.by_number.get(term.text):
                ways.append(_tickets.c.id.in_(sorted(ids)))
            if term.words:
                ways.append(search.having(connection, term.words))
            each.append(sa.or_(*ways))
        has_all = sa.and_(*each)
        if not self.cut_before:
            return has_all
        # Until all that was there before is cut, the rest of it is read through.
        return has_all | ((_tickets.c.id < self.cut_before) & search.read_through(self.terms))

    def stream(self, connection: sa.Connection, region: str) -> Stream:
        """Return the ids of tickets that may have every term, newest first."""
        known = pages.listed([n for ids in self.by_number.values() for n in ids])
        if not self.is_text:
            return known
        found: Stream = search.finder(connection, self.words, region)
        if self.cut_before:
            found = _then(found, pages.every(connection, _tickets.c.id), self.cut_before)
        return pages.merged([known, found]) if self.by_number else found


def _then(first: Stream, rest: Stream, border: int) -> Stream:
    """Return the stream of what the first has down to an id, and of all the rest below it."""

    def ids(after: int, count: int) -> Sequence[int]:
        found: list[int] = []
        if not after or after > border:
            found = [n for n in first(after, count) if n >= border]
            after = border
        return [*found, *rest(after, count - len(found))] if len(found) < count else found

    return ids


def _stream(
    connection: sa.Connection,
    actor: Actor,
    wanted: Filter,
    region: str,
    asked: _Asked | None,
) -> Stream:
    """Return the ids among which the list is, by the index that leaves the fewest of others."""
    t = _tickets.c
    older = wanted.oldest_first
    if wanted.group:
        of_group = sa.select(_traits.c.ticket_id).where(_traits.c.group_id == wanted.group)
        return pages.listed(list(connection.execute(of_group).scalars()), oldest_first=older)
    if asked:
        return asked.stream(connection, region)
    states = _states(wanted)
    units = (wanted.unit,) if wanted.unit else actor.units
    if wanted.unit or actor.role is Role.HANDLER:
        pairs = [(unit, state) for unit in units for state in states]
        leading = pages.under(connection, (t.lead_unit, t.state), pairs, oldest_first=older)
        helping = _assisting(connection, units, oldest_first=older)
        return pages.merged([leading, helping], oldest_first=older)
    if wanted.stage and wanted.stage != Stage.NORMAL:
        return _in_stage(connection, wanted.stage, oldest_first=older)
    low = prefix(region)
    # Digits come before letters: below the next code is all that begins with this one.
    high = f"{low[:-1]}{chr(ord(low[-1]) + 1)}" if low else ""
    regions = pages.distinct(connection, t.region, low, high) if low or wanted.state else []
    if wanted.state or (regions and len(regions) <= _REGIONS_MOST):
        pairs = [(code, state) for code in regions for state in states]
        return pages.under(connection, (t.region, t.state), pairs, oldest_first=older)
    return pages.every(connection, t.id, oldest_first=older)


def _states(wanted: Filter) -> Sequence[str]:
    if wanted.state:
        return (wanted.state,)
    # Nothing is owed for what is finished.
    return _OPEN_STATES if wanted.stage else _EVERY_STATE


def _assisting(connection: sa.Connection, units: Sequence[str], *, oldest_first: bool) -> Stream:
    def of(unit: str) -> Stream:
        column = _assists.c.ticket_id

        def ids(after: int, count: int) -> Sequence[int]:
            query = sa.select(column).where(_assists.c.unit == unit).limit(count)
            query = query.order_by(column if oldest_first else column.desc())
            if after:
                query = query.where(column > after if oldest_first else column < after)
            return list(connection.execute(query).scalars())

        return ids

    return pages.merged([of(unit) for unit in units], oldest_first=oldest_first)


def _in_stage(connection: sa.Connection, stage: str, *, oldest_first: bool) -> Stream:
    m = _milestones.c
    column = m.ticket_id
    owed = sa.select(column).where(
        m.stage == stage, m.outcome.is_(None), m.stage != sa.literal_column(f"'{Stage.NORMAL}'")
    )

    def ids(after: int, count: int) -> Sequence[int]:
        query = owed.distinct().order_by(column if oldest_first else column.desc()).limit(count)
        if after:
            query = query.where(column > after if oldest_first else column < after)
        return list(connection.execute(query).scalars())

    return ids


def _fitting(
    connection: sa.Connection, actor: Actor, wanted: Filter, asked: _Asked | None
) -> list[sa.ColumnElement[bool]]:
    """Return all that a ticket must fulfil; what its stream promises already is asked again."""
    t, m = _tickets.c, _milestones.c
    fits = [
        t.region.startswith(prefix(region), autoescape=True)
        for region in (actor.region, wanted.region)
        if prefix(region)
    ]
    if actor.role is Role.SOURCE:
        fits.append(t.source == actor.source)
    if actor.role is Role.HANDLER:
        fits.append(of_units(actor.units))
    if wanted.unit:
        fits.append(of_units((wanted.unit,)))
    for column, value in (
        (t.state, wanted.state),
        (t.channel, wanted.channel),
        (t.kind, wanted.kind),
    ):
        if value:
            fits.append(column == value)
    if wanted.stage:
        owed = sa.select(m.id).where(m.ticket_id == t.id, m.outcome.is_(None))
        fits.append(looked_up(owed.where(m.stage == wanted.stage)))
    if asked and not asked.is_promised:
        fits.append(asked.fits(connection))
    return fits


@dataclass(frozen=True, slots=True)
class Due:
    """A place in a list that is ordered by times: a time, and the id of what has it."""

    at: datetime
    id: int


@dataclass(frozen=True, slots=True)
class Owed:
    """Which part of a queue; empty fields hold all. `since` and `until` are when what is owed falls
    due, `place` is words of where it is about."""

    state: str = ""
    stage: str = ""
    kind: str = ""
    place: str = ""
    confidential: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


ALL = Owed()


@dataclass(frozen=True, slots=True)
class Queue:
    """A page of a queue, and the place after which the next one begins, None at the end."""

    items: list[Ticket]
    onward: Due | None = None


def queue(
    connection: sa.Connection,
    actor: Actor,
    unit: str,
    limit: int,
    wanted: Owed = ALL,
    after: Due | None = None,
) -> Queue:
    """Return a page of what a unit still owes something for and is wanted, what falls due first on
    top."""
    given: dict[str, Any] = {"of": unit, "most": limit + 1}
    if after:
        given |= {"after": after.at, "after_id": after.id}
    # What somebody wants of it is hardly ever wanted again.
    made = _queue_of if wanted == ALL else _queue_of.__wrapped__
    query = made(prefix(actor.region), wanted, onward=after is not None)
    rows = connection.execute(query, given).all()
    shown = rows[:limit]
    last = shown[-1] if len(rows) > limit else None
    return Queue(whole(connection, shown), Due(last.owed_at, last.id) if last else None)


# Kept: to make the statement of a page takes longer than the database takes for the page.
@lru_cache(256)
def _queue_of(region: str, wanted: Owed, *, onward: bool) -> sa.Select[Any]:
    t, m, o = _tickets.c, _milestones.c, _other.c
    # Of several clocks of a ticket the first to fall due is its place.
    sooner = sa.exists().where(
        o.ticket_id == m.ticket_id,
        o.unit == m.unit,
        o.outcome.is_(None),
        sa.tuple_(o.due_at, o.id) < sa.tuple_(m.due_at, m.id),
        *_owed(o, wanted),
    )
    query = (
        sa.select(m.due_at.label("owed_at"), _tickets)
        .select_from(_milestones.join(_tickets, t.id == m.ticket_id))
        .where(
            m.unit == sa.bindparam("of", type_=m.unit.type),
            m.outcome.is_(None),
            ~sooner,
            *_owed(m, wanted),
            *_about(wanted),
        )
        .order_by(m.due_at, m.ticket_id)
        .limit(sa.bindparam("most", type_=sa.Integer))
    )
    if region:
        query = query.where(t.region.startswith(region, autoescape=True))
    if onward:
        place = sa.tuple_(
            sa.bindparam("after", type_=m.due_at.type),
            sa.bindparam("after_id", type_=m.ticket_id.type),
        )
        query = query.where(sa.tuple_(m.due_at, m.ticket_id) > place)
    return query


def _owed(m: Any, wanted: Owed) -> list[sa.ColumnElement[bool]]:
    """Return what is asked of the clock that makes a ticket's place."""
    fits: list[sa.ColumnElement[bool]] = []
    if wanted.stage:
        fits.append(m.stage == wanted.stage)
    if wanted.since:
        fits.append(m.due_at >= wanted.since)
    if wanted.until:
        fits.append(m.due_at < wanted.until)
    return fits


def _about(wanted: Owed) -> list[sa.ColumnElement[bool]]:
    """Return what is asked of the ticket itself."""
    t = _tickets.c
    fits = [
        column == value
        for column, value in ((t.state, wanted.state), (t.kind, wanted.kind))
        if value
    ]
    place = t.complaint["place"].as_string()
    fits += [place.contains(word, autoescape=True) for word in wanted.place.split()]
    if wanted.confidential is not None:
        fits.append(t.complaint["confidential"].as_boolean().is_(wanted.confidential))
    return fits
