"""What the monthly bulletin (通报) reads beside the rates: rows in, values out.

Nothing here is asked often: a month is told once or twice. Two questions go through a whole table
(`late` through the clocks, `matters` through what tickets are compared by); `bench.bulletin` says what
that costs with a million tickets.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import reduce
from operator import add
from typing import Any

import sqlalchemy as sa

from service.domain.complaint import Contact
from service.domain.lifecycle import Act, State
from service.domain.region import prefix
from service.domain.ticket import Event, Milestone, Outcome, Stage
from service.store import closed, months, tallies, tickets
from service.store.tables import (
    BodyRow,
    EventRow,
    GroupRow,
    MarkRow,
    MilestoneRow,
    TallyEntryRow,
    TallyRow,
    TallySumRow,
    TicketRow,
    TraitsRow,
    metadata,
)

_tickets = metadata.tables[TicketRow.__tablename__]
_milestones = metadata.tables[MilestoneRow.__tablename__]
_events = metadata.tables[EventRow.__tablename__]
_traits = metadata.tables[TraitsRow.__tablename__]
_marks = metadata.tables[MarkRow.__tablename__].c
_groups = metadata.tables[GroupRow.__tablename__].c
_entries = metadata.tables[TallyEntryRow.__tablename__].c
_tallies = metadata.tables[TallyRow.__tablename__].c
_sums = metadata.tables[TallySumRow.__tablename__].c

_AT_ONCE = 500


def _in(region: str, column: sa.ColumnElement[Any]) -> Sequence[sa.ColumnElement[bool]]:
    inside = prefix(region)
    return [column.startswith(inside, autoescape=True)] if inside else []


# Counts

DECISIONS = ("auto", "manual", "not_accepted", "emergency_line", "counted", "imported")
RECEIVED = tuple(f"received_{decision}" for decision in DECISIONS)
# Still to be answered: what waits for its call-back is not.
IN_HAND = tuple(
    f"stand_{state}"
    for state in (State.RECEIVED, State.SORTING, State.DISPATCHED, State.SIGNED, State.PAUSED)
)


def first_day(connection: sa.Connection, region: str) -> date | None:
    """Return the first day on which a ticket of a region was received, None if there is none."""
    # A ticket counts as it stands on the day of its receipt, whatever becomes of it.
    rows = connection.execute(
        sa.select(_sums.since, _sums.counts)
        .where(_sums.view == "day-class-stand", *_in(region, _sums.region))
        .order_by(_sums.since)
    )
    found = [next((row.since for row in rows if row.counts), None)]
    rows.close()
    for entry in connection.execute(
        sa.select(_entries.counts).where(*_in(region, _entries.region))
    ):
        found += [day for day, _, measure, _ in entry.counts if measure.startswith("stand_")]
    days = [day for day in found if day]
    return date.fromisoformat(min(days)) if days else None


def in_hand(connection: sa.Connection, region: str, on: date) -> int | None:
    """Return how many tickets waited for an answer at the end of a day, as it was known then; None
    for a day before anything was counted.

    What there is now, less what was learnt since: the day's own end is never added up from the first
    day on.
    """
    since = tallies.known_since(connection)
    if since and on < since:
        return None
    day = on.isoformat()

    def waiting(counts: Any) -> sa.ColumnElement[int]:
        parts = (sa.func.coalesce(counts[state].as_integer(), 0) for state in IN_HAND)
        return sa.func.coalesce(sa.func.sum(reduce(add, parts)), 0)

    now = connection.execute(
        sa.select(waiting(_sums.counts)).where(
            _sums.view == "ever-unit", *_in(region, _sums.region)
        )
    ).scalar_one()
    learnt = connection.execute(
        sa.select(waiting(_tallies.counts)).where(
            _tallies.known_on > day, *_in(region, _tallies.region)
        )
    ).scalar_one()
    found = int(now) - int(learnt)
    for entry in connection.execute(
        sa.select(_entries.counts).where(_entries.known_on <= day, *_in(region, _entries.region))
    ):
        found += sum(n for _, _, measure, n in entry.counts if measure in IN_HAND)
    return found


# What was late


@dataclass(frozen=True, slots=True)
class Suspect:
    """A ticket that may have been late in a month, with its clocks and what happened to it."""

    ticket: int
    lead: str
    milestones: Sequence[Milestone]
    events: Sequence[Event]


def late(connection: sa.Connection, region: str, since: datetime, until: datetime) -> list[Suspect]:
    """Return the tickets that were overdue at `until` or carded from `since` on, and some more: which
    of them were, their history says (`domain.bulletin`). Raises months.Detached.

    One way through the clocks. Those that ended without having been met have no time of their end:
    of them only the few that were late are asked of the history, by its index.
    """
    m, e, t = _milestones.c, _events.c, _tickets.c
    last = (
        sa.select(sa.func.max(e.at))
        .where(e.ticket_id == m.ticket_id, months.since(m.ticket_id))
        .correlate(_milestones)
        .scalar_subquery()
    )
    unmet = m.outcome.in_((Outcome.MISSED, Outcome.WITHDRAWN))
    was_late = m.stage.in_((Stage.OVERDUE, Stage.YELLOW, Stage.RED))
    overdue = (m.due_at < until) & (
        m.outcome.is_(None) | (m.met_at >= until) | (unmet & was_late & (last >= until))
    )
    carded = m.stage.in_((Stage.YELLOW, Stage.RED)) & (
        m.outcome.is_(None) | (m.met_at >= since) | (unmet & (last >= since))
    )
    found = connection.execute(
        sa.select(m.ticket_id)
        .where(m.governing, (~m.assisting & overdue) | carded, *_in(region, m.region))
        .distinct()
    )
    ids = sorted(found.scalars())
    if ids:
        months.check(connection, ids[0])
    suspects: list[Suspect] = []
    for first in range(0, len(ids), _AT_ONCE):
        batch = ids[first : first + _AT_ONCE]
        told = _told(connection, batch)
        clocks = tickets.milestones_of(connection, batch)
        leads = connection.execute(sa.select(t.id, t.lead_unit).where(t.id.in_(batch)))
        suspects += [Suspect(id_, unit, clocks[id_], told[id_]) for id_, unit in leads]
    return suspects


@dataclass(frozen=True, slots=True)
class Shown:
    """What a list may say of a ticket; `coordinator` as in a complaint."""

    no: str
    region: str
    kind: str
    title: str
    contact: Contact
    confidential: bool
    coordinator: str


def shown(connection: sa.Connection, ids: Collection[int]) -> dict[int, Shown]:
    """Return these tickets by id."""
    t = _tickets.c
    query = sa.select(t.id, t.no, t.region, t.received_kind, t.title, t.complaint, t.kept_in)
    rows = connection.execute(query.where(t.id.in_(list(ids)))).all()
    kept = closed.documents(connection, {r.id: r.kept_in for r in rows})
    said = {r.id: kept[r.id]["complaint"] if r.id in kept else r.complaint for r in rows}
    return {
        r.id: Shown(
            r.no,
            r.region,
            r.received_kind,
            r.title,
            Contact(**said[r.id]["contact"]),
            said[r.id]["confidential"],
            said[r.id]["coordinator"],
        )
        for r in rows
    }


_TOLD = ("stage", Act.SUPERVISE, Act.DISPATCH, Act.RULE, Act.SEND_BACK, Act.RESOLVE, Act.MERGE)


def _told(connection: sa.Connection, ids: Collection[int]) -> dict[int, list[Event]]:
    e = _events.c
    rows = connection.execute(
        sa.select(e.id, e.ticket_id, e.act, e.at, e.unit, e.content)
        .where(e.ticket_id.in_(ids), months.since(min(ids, default=0)))
        .where(e.act.in_((*_TOLD, Act.REOPEN, Act.CLOSE)))
        .order_by(e.id)
    )
    found: dict[int, list[Event]] = {each: [] for each in ids}
    for row in rows:
        event = Event(row.act, row.at, "", "", row.content, unit=row.unit, id=row.id)
        found[row.ticket_id].append(event)
    return found


# Matters


def unread(connection: sa.Connection) -> int:
    """Return how many tickets nobody has looked at yet to say what they are about."""
    b = metadata.tables[BodyRow.__tablename__].c
    return connection.execute(
        sa.select(sa.func.count(sa.distinct(b.ticket_id))).where(b.looked_at.is_(None))
    ).scalar_one()


_PLACES_AT_MOST = 300
_LOOKED_AT = 200


@dataclass(frozen=True, slots=True, order=True)
class Matter:
    """What tickets are counted by: the functional line (条线) `line`, the place `spot` or the town
    `town` that they name. A place is one of a county."""

    sort: str  # line, spot, town
    county: str  # "" for a line
    name: str


ByMonth = dict[Matter, Counter[str]]  # tickets by month, `2026-10`


def matters(
    connection: sa.Connection,
    region: str,
    since: datetime,
    month: tuple[datetime, datetime],
    least: int,
    stored_before: datetime | None = None,
) -> ByMonth:
    """Return how many tickets each matter had, by month from `since` on: lines and towns, and of the
    places the 300 most named that have `least` tickets in the `month`.

    `stored_before` leaves out what came to be known later.
    """
    x = _traits.c
    until = month[1]
    found: ByMonth = {}
    within = [x.at >= since, x.at < until, *_known(x.ticket_id, stored_before)]
    here = [*within, *_in(region, x.region)]
    when = _month(connection, x.at)
    lines = sa.select(x.line, when, sa.func.count()).where(x.line != "", *here)
    for line, in_month, n in connection.execute(lines.group_by(x.line, when)):
        found.setdefault(Matter("line", "", line), Counter())[in_month] += n
    county = sa.func.substr(x.region, 1, 6)
    named = _each(connection, x.towns)
    towns = (
        sa.select(county, named, when, sa.func.count())
        .select_from(_traits)
        .join(named.table, sa.true())
        .where(*here)
        .group_by(county, named, when)
    )
    for code, town, in_month, n in connection.execute(towns):
        found.setdefault(Matter("town", code, town), Counter())[in_month] += n
    named = _each(connection, x.spots)
    count = sa.func.count()
    spots = (
        sa.select(county, named)
        .select_from(_traits)
        .join(named.table, sa.true())
        .where(x.at >= month[0], *here)
        .group_by(county, named)
        .having(count >= least)
        .order_by(count.desc(), county, named)
        .limit(_PLACES_AT_MOST)
    )
    places = {
        f"s:{code}:{spot}": Matter("spot", code, spot) for code, spot in connection.execute(spots)
    }
    when = _month(connection, _marks.at)
    by_place = (
        sa.select(_marks.mark, when, sa.func.count())
        .where(
            _marks.mark.in_(sorted(places)),
            _marks.at >= since,
            _marks.at < until,
            *_known(_marks.ticket_id, stored_before),
        )
        .group_by(_marks.mark, when)
    )
    for mark, in_month, n in connection.execute(by_place) if places else ():
        found.setdefault(places[mark], Counter())[in_month] += n
    return found


def _known(
    ticket: sa.ColumnElement[Any], stored_before: datetime | None
) -> Sequence[sa.ColumnElement[bool]]:
    if stored_before is None:
        return []
    t = _tickets.c
    return [sa.exists().where(t.id == ticket, t.stored_at < stored_before)]


def _month(connection: sa.Connection, at: sa.ColumnElement[datetime]) -> sa.ColumnElement[str]:
    """Return the month of a time in Asia/Shanghai; it has had no other offset since 1991."""
    if connection.dialect.name == "sqlite":
        return sa.func.strftime("%Y-%m", at, "+8 hours", type_=sa.String)
    local = sa.func.timezone("Asia/Shanghai", at)
    return sa.func.to_char(local, sa.literal_column("'YYYY-MM'"), type_=sa.String)


def _each(connection: sa.Connection, column: sa.ColumnElement[Any]) -> Any:
    """Return the texts of a list in a column, as a column of a table to be joined."""
    if connection.dialect.name == "sqlite":
        listed = sa.func.json_each(column).table_valued("value")
    else:
        listed = sa.func.jsonb_array_elements_text(column).table_valued("value")
    return listed.c.value


@dataclass(frozen=True, slots=True)
class Seen:
    """A ticket of a matter: its number, what it is about, and the words by which it was routed."""

    no: str
    line: str
    spots: Sequence[str]
    words: Sequence[str]


def of_matter(
    connection: sa.Connection,
    region: str,
    matter: Matter,
    month: tuple[datetime, datetime],
    stored_before: datetime | None = None,
) -> list[Seen]:
    """Return the latest 200 tickets of a matter in a month, those of a group matter (群体性诉求) first."""
    x, t = _traits.c, _tickets.c
    query = (
        sa.select(t.id, t.no, t.route, t.kept_in, x.line, x.spots)
        .join(_traits, x.ticket_id == t.id)
        .where(x.at >= month[0], x.at < month[1])
        .order_by(x.group_id.is_(None), x.at.desc(), t.id.desc())
        .limit(_LOOKED_AT)
    )
    if stored_before:
        query = query.where(t.stored_at < stored_before)
    if matter.sort == "line":
        query = query.where(x.line == matter.name, *_in(region, x.region))
    elif matter.sort == "spot":
        marked = sa.select(_marks.ticket_id).where(
            _marks.mark == f"s:{matter.county}:{matter.name}",
            _marks.at >= month[0],
            _marks.at < month[1],
        )
        query = query.where(t.id.in_(marked))
    else:
        listed = _each(connection, x.towns)
        here = sa.select(sa.literal(1)).select_from(listed.table).where(listed == matter.name)
        query = query.where(sa.exists(here), x.region.startswith(matter.county, autoescape=True))
    rows = connection.execute(query).all()
    kept = closed.documents(connection, {row.id: row.kept_in for row in rows})
    return [
        Seen(
            row.no,
            row.line,
            row.spots,
            _words(kept[row.id]["route"] if row.id in kept else row.route),
        )
        for row in rows
    ]


def _words(route: Mapping[str, Any]) -> list[str]:
    """Return the words of the rules that spoke for the first candidate; none of them is a name."""
    first = route.get("candidates", [])[:1]
    return [
        word
        for candidate in first
        for evidence in candidate["evidence"]
        if evidence["kind"] in {"clause", "duty"}
        for word in evidence["terms"]
    ]


@dataclass(frozen=True, slots=True)
class Crowd:
    """A group matter (群体性诉求) as it had become by the end of a month: at least so many `people`,
    `tickets` in all, `new` of them in the month; `no` is its first ticket."""

    region: str
    line: str
    place: str
    people: int
    tickets: int
    new: int
    first_at: datetime
    no: str


def crowds(
    connection: sa.Connection, region: str, month: tuple[datetime, datetime], most: int
) -> list[Crowd]:
    """Return the group matters that grew in a month, the largest first."""
    x, t = _traits.c, _tickets.c
    new = sa.func.count(sa.case((x.at >= month[0], 1)))
    total = sa.func.count()
    people = sa.func.count(sa.distinct(x.person))
    first = sa.func.min(x.ticket_id)
    grown = (
        sa.select(
            _groups.id,
            people.label("people"),
            total.label("tickets"),
            new.label("new"),
            sa.func.min(x.at).label("first_at"),
            first.label("first"),
        )
        .join(_traits, x.group_id == _groups.id)
        # The groups by their index, however many ended long ago.
        .where(_groups.last_at >= month[0] - timedelta(days=1), *_in(region, _groups.region))
        .where(x.at < month[1], x.group_id.is_not(None))
        .group_by(_groups.id)
        .having(new > 0)
        .order_by(people.desc(), total.desc(), _groups.id)
        .limit(most)
        .subquery()
    )
    g = grown.c
    rows = connection.execute(
        sa.select(grown, _groups.region, _groups.line, _groups.place, t.no)
        .join(_groups.id.table, _groups.id == g.id)
        .join(_tickets, t.id == g.first)
        .order_by(g.people.desc(), g.tickets.desc(), g.id)
    )
    return [
        Crowd(r.region, r.line, r.place, r.people, r.tickets, r.new, r.first_at, r.no) for r in rows
    ]
