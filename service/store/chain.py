"""The chain of events: links added behind the feed, heads of each day, and reading it all again.

The feed gives every event its place after the commit; the chain follows it, in its order, and nobody
who writes events knows of it (ADR 0031).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa

from service.domain.chain import Fault, Finding, Head, Link, Placed, Tail, link_after
from service.domain.region import prefix
from service.domain.ticket import Event
from service.store import feed
from service.store.bulk import find_rows, insert_rows, put_rows, upsert
from service.store.tables import EventRow, HeadRow, LinkRow, TailRow, metadata
from service.store.tickets import event_of

_events = metadata.tables[EventRow.__tablename__]
_chain = metadata.tables[LinkRow.__tablename__]
_tails = metadata.tables[TailRow.__tablename__]
_heads = metadata.tables[HeadRow.__tablename__]

# Any number will do as long as every replica uses the same.
_CHAIN_LOCK = 0x62616E6A6368
# Some milliseconds of the loop, or of SQLite's writer.
_LINKED_AT_ONCE = 200
_READ_AT_ONCE = 2_000
# Of what stands among the chained events without a link, so much is told.
_TOLD_MOST = 1_000

Sign = Callable[[Head], Head]


# Adding


def waiting(connection: sa.Connection) -> int:
    """Return how many places of the feed lie behind the last link."""
    return max(0, feed.tail(connection) - _last(connection))


def extend(connection: sa.Connection, most: int = _LINKED_AT_ONCE) -> int:
    """Add the links of the next events that have a place; return how many, 0 while another replica is
    at it."""
    if connection.dialect.name == "postgresql":
        mine = sa.select(sa.func.pg_try_advisory_xact_lock(_CHAIN_LOCK))
        if not connection.execute(mine).scalar():
            return 0
    # From here on statements see all that the holder of the lock before has committed.
    events = [_placed(row) for row in feed.placed_after(connection, _last(connection), most)]
    regions = sorted({each.region for each in events})
    found = find_rows(connection, _tails, [{"region": region} for region in regions])
    tails = {row.region: Tail(row.sequence, row.hash) for row in found}
    links = []
    for each in events:
        link = link_after(tails.get(each.region, Tail()), each)
        tails[each.region] = Tail(link.sequence, link.hash)
        links.append(link)
    insert_rows(connection, _chain, [_link_values(link) for link in links])
    ends = [
        {"region": region, "sequence": tail.sequence, "hash": tail.hash}
        for region, tail in tails.items()
    ]
    put_rows(connection, _tails, ends, replace=True)
    return len(links)


def _last(connection: sa.Connection) -> int:
    return connection.execute(sa.select(sa.func.max(_chain.c.place))).scalar() or 0


def _link_values(link: Link) -> dict[str, Any]:
    return {
        "place": link.place,
        "region": link.region,
        "sequence": link.sequence,
        "event_id": link.event_id,
        "ticket_no": link.ticket_no,
        "hash": link.hash,
    }


def _placed(row: sa.Row[Any]) -> Placed:
    # What is chained is what stands there, with the name of what is sealed of it.
    event = replace(event_of(row), content=row.content)
    return Placed(row.position or 0, row.ticket_id, row.ticket_no, row.region, event)


# Heads


def _headless(day: date) -> sa.Select[Any]:
    done = sa.exists().where(_heads.c.region == _tails.c.region, _heads.c.day == day.isoformat())
    return sa.select(_tails).where(~done).order_by(_tails.c.region)


def lacks_heads(connection: sa.Connection, day: date) -> bool:
    """Whether the chain of some region has no head of a day."""
    return connection.execute(_headless(day).limit(1)).first() is not None


def make_heads(connection: sa.Connection, day: date, at: datetime, sign: Sign) -> int:
    """Write the heads of a day that are not there yet; return how many. Of two who do it at once one
    does."""
    tails = connection.execute(_headless(day)).all()
    latest = (
        sa.select(_heads.c.region, sa.func.max(_heads.c.sequence).label("sequence"))
        .where(_heads.c.region.in_([row.region for row in tails]))
        .group_by(_heads.c.region)
    )
    before = {row.region: row.sequence for row in connection.execute(latest)}
    made = [
        sign(
            Head(
                region=row.region,
                date=day,
                sequence=row.sequence,
                hash=row.hash,
                events=row.sequence - before.get(row.region, 0),
                made_at=at,
            )
        )
        for row in tails
    ]
    if not made:
        return 0
    values = [
        {
            "region": head.region,
            "day": head.date.isoformat(),
            "sequence": head.sequence,
            "hash": head.hash,
            "events": head.events,
            "made_at": head.made_at,
            "key": head.key,
            "signature": head.signature,
        }
        for head in made
    ]
    written = upsert(connection, _heads).values(values)
    done = connection.execute(
        written.on_conflict_do_nothing(index_elements=["region", "day"]).returning(_heads.c.id)
    )
    return len(done.all())


def heads(
    connection: sa.Connection,
    *,
    since: date | None = None,
    regions: Sequence[str] = (),
    after: int = 0,
    limit: int | None = None,
) -> list[Head]:
    """Return heads of regions that lie in each of these, in the order of writing, after one of them."""
    query = sa.select(_heads).where(_heads.c.id > after)
    if since:
        query = query.where(_heads.c.day >= since.isoformat())
    query = query.where(*_inside(_heads.c.region, *regions))
    rows = connection.execute(query.order_by(_heads.c.id).limit(limit))
    return [_head(row) for row in rows]


def last_heads(connection: sa.Connection, before: date) -> dict[str, Head]:
    """Return each region's last head of a day before another."""
    h = _heads.c
    days = (
        sa.select(h.region, sa.func.max(h.day).label("day"))
        .where(h.day < before.isoformat())
        .group_by(h.region)
        .subquery()
    )
    same = (h.region == days.c.region) & (h.day == days.c.day)
    rows = connection.execute(sa.select(_heads).join(days, same))
    return {row.region: _head(row) for row in rows}


def _head(row: sa.Row[Any]) -> Head:
    return Head(
        row.region,
        date.fromisoformat(row.day),
        row.sequence,
        row.hash,
        row.events,
        row.made_at,
        row.key,
        row.signature,
        row.id,
    )


def _inside(column: sa.ColumnElement[str], *regions: str) -> list[sa.ColumnElement[bool]]:
    within = [prefix(region) for region in regions if prefix(region)]
    return [column.startswith(each, autoescape=True) for each in within]


# Reading it again


def tails(connection: sa.Connection, region: str = "") -> dict[str, Tail]:
    """Return how far the chains of regions go."""
    query = sa.select(_tails).where(*_inside(_tails.c.region, region))
    return {row.region: Tail(row.sequence, row.hash) for row in connection.execute(query)}


def start_of(connection: sa.Connection, starts: Mapping[str, Tail], region: str = "") -> int:
    """Return the place before the first link that a walk with these starts has to look at: chains of
    other regions begin at their beginning, which is what is left of it."""
    places = []
    for name in tails(connection, region):
        sequence = starts[name].sequence if name in starts else 0
        following = (
            sa.select(_chain.c.place)
            .where(_chain.c.region == name, _chain.c.sequence > sequence)
            .order_by(_chain.c.sequence)
            .limit(1)
        )
        place = connection.execute(following).scalar()
        if place is not None:
            places.append(place)
    return min(places) - 1 if places else _last(connection)


def links(
    connection: sa.Connection, after: int = 0, region: str = ""
) -> Iterator[tuple[Link, Placed | None]]:
    """Give every link after a place, in the order of places, with the event that it names, None if that
    is not there. It is read page by page: however many there are, no more are in memory."""
    both = _chain.outerjoin(_events, _events.c.id == _chain.c.event_id)
    position, source = feed.with_positions(connection, both)
    query = (
        sa.select(
            _chain.c.place,
            _chain.c.region.label("of"),
            _chain.c.sequence,
            _chain.c.event_id,
            _chain.c.ticket_no.label("no"),
            _chain.c.hash,
            position.label("position"),
            _events,
        )
        .select_from(source)
        .where(_chain.c.place > sa.bindparam("after"), *_inside(_chain.c.region, region))
        .order_by(_chain.c.place)
        .limit(_READ_AT_ONCE)
    )
    alone = query.where(_chain.c.place == sa.bindparam("place"))
    while True:
        try:
            read = [_with_event(r) for r in connection.execute(query, {"after": after})]
        except ValueError:
            # SQLite keeps anything in any column: what is no time or no JSON is as good as changed.
            places = sa.select(_chain).where(_chain.c.place > after).order_by(_chain.c.place)
            places = places.where(*_inside(_chain.c.region, region)).limit(_READ_AT_ONCE)
            read = [_read_alone(connection, alone, row) for row in connection.execute(places).all()]
        if not read:
            return
        yield from read
        after = read[-1][0].place


def _with_event(row: sa.Row[Any]) -> tuple[Link, Placed | None]:
    link = Link(row.place, row.of, row.sequence, row.event_id, row.no, row.hash)
    return link, None if row.id is None else _placed(row)


def _read_alone(
    connection: sa.Connection, alone: sa.Select[Any], row: sa.Row[Any]
) -> tuple[Link, Placed | None]:
    try:
        found = connection.execute(alone, {"place": row.place, "after": 0}).one()
    except ValueError:
        link = Link(row.place, row.region, row.sequence, row.event_id, row.ticket_no, row.hash)
        nothing = Event("", datetime.min.replace(tzinfo=UTC), "", "")
        return link, Placed(row.place, 0, "", row.region, nothing)
    return _with_event(found)


@dataclass(frozen=True, slots=True)
class Unchained:
    """Events without a link: how many follow the chain and will get one, and what is wrong."""

    waiting: int
    wrong: Sequence[Finding]


def unchained(connection: sa.Connection, after: int = 0, region: str = "") -> Unchained:
    """Return what has no link, and what is wrong with places after one. What stands among the events that have one was put there by somebody
    else than the service; a place of the feed without its event was emptied."""
    last = _last(connection)
    both = _events.outerjoin(_chain, _chain.c.event_id == _events.c.id)
    position, alone = feed.with_positions(connection, both)
    without = [_chain.c.place.is_(None), *_inside(_events.c.region, region)]
    total = connection.execute(
        sa.select(sa.func.count()).select_from(alone).where(*without)
    ).scalar_one()
    among = (position <= last) | feed.passed_over(connection)
    rows = connection.execute(
        sa.select(_events.c.id, _events.c.region, _events.c.ticket_no)
        .select_from(alone)
        .where(*without, among)
        .order_by(_events.c.id)
        .limit(_TOLD_MOST)
    ).all()
    wrong = [
        Finding(Fault.INSERTED, row.region, ticket_no=row.ticket_no, event_id=row.id)
        for row in rows
    ]
    if not region:
        emptied = feed.emptied(connection, after, last, _TOLD_MOST)
        known = sa.select(_chain.c.place).where(_chain.c.place.in_(emptied))
        chained = set(connection.execute(known).scalars()) if emptied else set()
        wrong += [
            Finding(Fault.MISSING, "", told=str(place)) for place in emptied if place not in chained
        ]
    return Unchained(total - len(rows), wrong)
