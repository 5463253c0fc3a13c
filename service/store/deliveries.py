"""What is to leave, and what has left: rows in, values out."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from operator import itemgetter
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from service.domain.delivery import Addressee, Due, Verdict
from service.domain.kpi import day_of
from service.domain.ports import Receiver
from service.domain.region import prefix
from service.domain.ticket import Delivery, DeliveryState, Recipient, Ticket, Word
from service.store import closed, sealing
from service.store.bulk import Row, among, insert_together, update_rows
from service.store.pages import Page, walk
from service.store.tables import DeliveryRow, TicketRow, metadata
from service.store.tallies import counted_deliveries, note_deliveries

_deliveries = metadata.tables[DeliveryRow.__tablename__]
_tickets = metadata.tables[TicketRow.__tablename__]
_d, _t = _deliveries.c, _tickets.c

# Written out: a partial index is not found by a value that is only known when the query runs.
_PENDING = _d.state == sa.literal_column("'pending'")

Receivers = Mapping[str, Receiver]

# Of deliveries in one state, how many are counted by destination.
COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class Stored:
    """A delivery as people look at it; what it says stays out of lists."""

    id: int
    message: str
    ticket_id: int
    ticket_no: str
    region: str
    kind: Word
    recipient: Recipient
    destination: str
    state: DeliveryState
    attempts: int
    reason: str
    created_at: datetime
    next_at: datetime | None
    settled_at: datetime | None


def deliver_all(
    connection: sa.Connection,
    rows: Sequence[tuple[int, str, str, Delivery]],
    at: datetime,
    receivers: Receivers,
) -> None:
    """Write what is to leave, each with its ticket's id, number and region. What no receiver takes
    is settled at once: people see to it."""
    insert_together(connection, *new_rows(connection, rows, at, receivers))


def new_rows(
    connection: sa.Connection,
    rows: Sequence[tuple[int, str, str, Delivery]],
    at: datetime,
    receivers: Receivers,
) -> tuple[tuple[sa.Table, Sequence[Row]], ...]:
    """Return the rows that `deliver_all` writes, by table."""
    new: list[Row] = []
    parts = []
    for row in rows:
        values = _new(row, at, receivers)
        if part := sealing.hide(values):
            parts.append(part)
        new.append(values)
    return (
        (_deliveries, new),
        sealing.new_rows(connection, parts),
        counted_deliveries(Counter(row["state"] for row in new), at),
    )


def seal(connection: sa.Connection, ids: Collection[int]) -> None:
    """Seal what was written in deliveries of these tickets before anything was sealed."""
    rows = connection.execute(
        sa.select(_d.id, _d.ticket_id, _d.message, _d.payload)
        .where(among(connection, _d.ticket_id, list(ids)))
        .order_by(_d.id)
        .with_for_update(key_share=True)
    ).mappings()
    old = [dict(row) for row in rows]
    parts = [(row, part) for row in old if (part := sealing.hide(row))]
    sealing.put(connection, [part for _, part in parts])
    changed = [{"id": row["id"], "payload": row["payload"]} for row, _ in parts]
    update_rows(connection, _deliveries, changed)


Told = tuple[int, str, str, Delivery, datetime]


def unaddressed_rows(rows: Sequence[Told]) -> tuple[sa.Table, list[Row]]:
    """Return the rows of what was told at a time where no system takes anything."""
    return _deliveries, [_new(row[:4], row[4], {}) for row in rows]


def note_unaddressed(connection: sa.Connection, times: Iterable[datetime]) -> None:
    """Count what was told at these times, in any order of days."""
    by_day: dict[date, list[datetime]] = {}
    for at in times:
        by_day.setdefault(day_of(at), []).append(at)
    for all_of_it in by_day.values():
        note_deliveries(connection, {DeliveryState.UNADDRESSED: len(all_of_it)}, all_of_it[0])


def _new(row: tuple[int, str, str, Delivery], at: datetime, receivers: Receivers) -> dict[str, Any]:
    ticket_id, no, region, delivery = row
    receiver = receivers.get(delivery.destination)
    taken = receiver is not None and receiver.wants(delivery.kind)
    life = timedelta(hours=receiver.hours) if receiver else timedelta()
    return {
        "ticket_id": ticket_id,
        "ticket_no": no,
        "region": region,
        "kind": delivery.kind,
        "recipient": delivery.recipient,
        "unit": delivery.unit,
        "destination": delivery.destination,
        "message": f"msg_{uuid4().hex}",
        "payload": delivery.payload,
        "state": DeliveryState.PENDING if taken else DeliveryState.UNADDRESSED,
        "attempts": 0,
        "reason": "",
        "created_at": at,
        "next_at": at if taken else None,
        "expires_at": at + life if taken else None,
        "settled_at": None if taken else at,
    }


def deliveries(connection: sa.Connection, ticket: Ticket) -> list[Delivery]:
    """Return what is to leave or has left of a ticket, in the order it was written."""
    stored = connection.execute(
        sa.select(_deliveries).where(_d.ticket_id == ticket.id).order_by(_d.id)
    )
    rows = [dict(row) for row in stored.mappings()] + closed.deliveries(connection, ticket.id)
    return [
        Delivery(
            Word(r["kind"]),
            Recipient(r["recipient"]),
            r["unit"],
            r["payload"],
            r["destination"].partition(":")[2] if r["recipient"] == Recipient.SOURCE else "",
        )
        for r in sorted(rows, key=itemgetter("id"))
    ]


def addressees(connection: sa.Connection, no: str) -> list[Addressee]:
    """Return the tickets that were merged into this one, and into those, and so on."""
    found: list[Addressee] = []
    wanted = [no]
    while wanted:
        rows = connection.execute(_merged_into(), {"nos": wanted}).all()
        found += [Addressee(*row) for row in rows]
        wanted = [row.no for row in rows]
    return found


@cache
def _merged_into() -> sa.Select[Any]:
    these = _t.merged_into.in_(sa.bindparam("nos", expanding=True))
    # So it is found by an index of those that were merged.
    merged = _t.merged_into != sa.literal_column("''")
    return (
        sa.select(_t.id, _t.no, _t.region, _t.source, _t.source_no)
        .where(these, merged)
        .order_by(_t.id)
    )


# Sending


def destinations(connection: sa.Connection) -> list[str]:
    """Return where something waits to go to: one look into the index for each, however much waits."""
    return list(connection.execute(_destinations()).scalars())


@cache
def _destinations() -> sa.Select[Any]:
    first = sa.select(sa.func.min(_d.destination).label("name")).where(_PENDING)
    waiting = first.cte("waiting", recursive=True)
    further = (
        sa.select(sa.func.min(_d.destination))
        .where(_PENDING, _d.destination > waiting.c.name)
        .scalar_subquery()
    )
    each = waiting.union_all(sa.select(further).where(waiting.c.name.is_not(None)))
    return sa.select(each.c.name).where(each.c.name.is_not(None))


def claim(
    connection: sa.Connection,
    destination: str,
    limit: int,
    at: datetime,
    until: datetime,
    *,
    probing: bool = False,
) -> list[Due]:
    """Return deliveries that are this replica's until a time: of each ticket the earliest that is
    not settled, what has waited longest first; a probe takes what is not due yet as well. What has
    outlived itself is given up and not returned."""
    claimed: list[Due] = []
    while len(claimed) < limit:
        rows = connection.execute(
            _heads(destination, at, probing=probing)
            .limit(limit - len(claimed))
            .with_for_update(skip_locked=True, key_share=True, of=_deliveries)
        ).all()
        if not rows:
            break
        stale = [row.id for row in rows if row.expires_at <= at]
        fresh = [row for row in rows if row.expires_at > at]
        if stale:
            said = sa.case((_d.reason == "", "expired"), else_=_d.reason)
            _settled(connection, _d.id.in_(stale), DeliveryState.DEAD, said, at)
        if fresh:
            connection.execute(
                _deliveries.update()
                .where(_d.id.in_([row.id for row in fresh]))
                .values(attempts=_d.attempts + 1, claimed_until=until)
            )
        claimed += [_due(row, _payload(connection, row)) for row in fresh]
    return claimed


def is_due(connection: sa.Connection, destination: str, at: datetime, *, probing: bool) -> bool:
    """Whether `claim` would find anything."""
    heads = _heads(destination, at, probing=probing).limit(1)
    return connection.execute(heads).first() is not None


def _heads(destination: str, at: datetime, *, probing: bool) -> sa.Select[Any]:
    before = _deliveries.alias("before")
    b = before.c
    earlier = sa.exists().where(
        b.ticket_id == _d.ticket_id,
        b.destination == _d.destination,
        b.state == sa.literal_column("'pending'"),
        b.id < _d.id,
    )
    query = sa.select(_deliveries).where(
        _d.destination == destination,
        _PENDING,
        _d.claimed_until.is_(None) | (_d.claimed_until <= at),
        ~earlier,
    )
    if not probing:
        query = query.where(_d.next_at <= at)
    return query.order_by(_d.next_at, _d.id)


def _payload(connection: sa.Connection, row: sa.Row[Any]) -> dict[str, Any]:
    """Return what a delivery says, in the words in which it was written."""
    payload = dict(row.payload)
    if payload.pop(sealing.HIDDEN, None):
        payload |= sealing.opened(connection, [row.ticket_id], row.message)[row.ticket_id] or {}
    return payload


def _due(row: sa.Row[Any], payload: dict[str, Any]) -> Due:
    return Due(
        id=row.id,
        message=row.message,
        ticket_id=row.ticket_id,
        ticket_no=row.ticket_no,
        kind=Word(row.kind),
        recipient=Recipient(row.recipient),
        unit=row.unit,
        destination=row.destination,
        payload=payload,
        attempts=row.attempts + 1,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


def settle(connection: sa.Connection, came: Sequence[tuple[Due, Verdict]], at: datetime) -> None:
    """Write what became of attempts; one whose claim has passed to another settles nothing."""
    if not came:
        return
    claims = connection.execute(
        sa.select(_d.id, _d.attempts)
        .where(_PENDING, _d.id.in_([due.id for due, _ in came]))
        .order_by(_d.id)
        .with_for_update(key_share=True)
    )
    held = {(row.id, row.attempts) for row in claims}
    ends: Counter[str] = Counter(v.state for due, v in came if (due.id, due.attempts) in held)
    ends[DeliveryState.PENDING] -= ends.total()
    note_deliveries(connection, ends, at)
    connection.execute(
        _deliveries.update()
        .where(_PENDING, _d.id == sa.bindparam("row"), _d.attempts == sa.bindparam("term"))
        .values(
            state=sa.bindparam("new_state"),
            reason=sa.bindparam("new_reason"),
            next_at=sa.bindparam("new_next_at"),
            settled_at=sa.bindparam("new_settled_at"),
            claimed_until=None,
        ),
        [
            {
                "row": due.id,
                "term": due.attempts,
                "new_state": verdict.state,
                "new_reason": verdict.reason,
                "new_next_at": verdict.next_at,
                "new_settled_at": None if verdict.next_at else at,
            }
            for due, verdict in came
        ],
    )


def waken(connection: sa.Connection, destination: str, at: datetime) -> None:
    """Make everything due that waits for a destination which answers again."""
    connection.execute(
        _deliveries.update()
        .where(_d.destination == destination, _PENDING, _d.next_at > at)
        .values(next_at=at)
    )


def unaddress(connection: sa.Connection, destination: str, at: datetime) -> None:
    """Settle what waits for a destination that nobody receives at any more."""
    _settled(
        connection,
        (_d.destination == destination)
        & _PENDING
        & (_d.claimed_until.is_(None) | (_d.claimed_until <= at)),
        DeliveryState.UNADDRESSED,
        sa.literal("no-receiver"),
        at,
    )


def _settled(
    connection: sa.Connection,
    which: sa.ColumnElement[bool],
    state: DeliveryState,
    reason: sa.ColumnElement[str],
    at: datetime,
) -> None:
    settled = connection.execute(
        _deliveries.update()
        .where(which)
        .values(state=state, reason=reason, next_at=None, claimed_until=None, settled_at=at)
    ).rowcount
    note_deliveries(connection, {DeliveryState.PENDING: -settled, state: settled}, at)


def waiting(connection: sa.Connection, ids: Iterable[int]) -> set[int]:
    """Return which of these tickets something still waits to leave of."""
    query = sa.select(_d.ticket_id).where(_PENDING, among(connection, _d.ticket_id, list(ids)))
    return set(connection.execute(query).scalars())


# Looking, and trying again


def page(
    connection: sa.Connection,
    region: str,
    *,
    state: str = "",
    destination: str = "",
    after: int = 0,
    limit: int = 50,
) -> Page[Stored]:
    """Return a page of the deliveries of a region and those below it, newest first; "" is all,
    `after` the id of the last one on the page before."""
    fits: list[sa.ColumnElement[bool]] = []
    if prefix(region):
        fits.append(_d.region.startswith(prefix(region), autoescape=True))
    if destination:
        fits.append(_d.destination == destination)

    def stream(after: int, count: int) -> Sequence[int]:
        query = sa.select(_d.id).order_by(_d.id.desc()).limit(count)
        if state:
            query = query.where(_d.state == state).order_by(None)
            query = query.order_by(_d.state.desc(), _d.id.desc())
        if after:
            query = query.where(_d.id < after)
        return list(connection.execute(query).scalars())

    def fetch(ids: Sequence[int], most: int) -> Sequence[sa.Row[Any]]:
        these = sa.select(_deliveries).where(among(connection, _d.id, ids), *fits)
        return connection.execute(these.order_by(_d.id.desc()).limit(most)).all()

    rows, onward = walk(stream, fetch, after, limit)
    return Page([_stored(row) for row in rows], onward)


def get(connection: sa.Connection, delivery_id: int, *, lock: bool = False) -> Stored | None:
    """Return a delivery, or None."""
    query = sa.select(_deliveries).where(_d.id == delivery_id)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return _stored(row) if row else None


def revive(
    connection: sa.Connection, delivery_id: int, at: datetime, expires_at: datetime
) -> Stored:
    """Make a delivery that was given up due again, under its old number; return it."""
    was = connection.execute(sa.select(_d.state).where(_d.id == delivery_id)).scalar_one()
    note_deliveries(connection, {was: -1, DeliveryState.PENDING: 1}, at)
    row = connection.execute(
        _deliveries.update()
        .where(_d.id == delivery_id)
        .values(**_revived(at, expires_at))
        .returning(*_deliveries.c)
    ).one()
    return _stored(row)


def by_destination(connection: sa.Connection, region: str, state: DeliveryState) -> dict[str, int]:
    """Return how many deliveries of a region in one state there are by destination, of the newest
    COUNTED of them."""
    query = sa.select(_d.destination).where(_d.state == state)
    if prefix(region):
        query = query.where(_d.region.startswith(prefix(region), autoescape=True))
    newest = query.order_by(_d.state.desc(), _d.id.desc()).limit(COUNTED).subquery()
    counted = sa.select(newest.c.destination, sa.func.count()).group_by(newest.c.destination)
    return {destination: int(count) for destination, count in connection.execute(counted)}


def revive_all(
    connection: sa.Connection,
    region: str,
    destination: str,
    at: datetime,
    expires_at: datetime,
    most: int,
) -> list[Stored]:
    """Make deliveries of a region to one destination due again that were given up, the oldest first,
    so many at most; return them."""
    here = [_d.state == DeliveryState.DEAD, _d.destination == destination]
    if prefix(region):
        here.append(_d.region.startswith(prefix(region), autoescape=True))
    ids = list(
        connection.execute(
            sa.select(_d.id)
            .where(*here)
            .order_by(_d.state, _d.id)
            .limit(most)
            .with_for_update(key_share=True, skip_locked=True)
        ).scalars()
    )
    note_deliveries(
        connection, {DeliveryState.DEAD: -len(ids), DeliveryState.PENDING: len(ids)}, at
    )
    rows = connection.execute(
        _deliveries.update()
        .where(among(connection, _d.id, ids))
        .values(**_revived(at, expires_at))
        .returning(*_deliveries.c)
    )
    return [_stored(row) for row in rows]


def _revived(at: datetime, expires_at: datetime) -> dict[str, Any]:
    return {
        "state": DeliveryState.PENDING,
        "next_at": at,
        "expires_at": expires_at,
        "claimed_until": None,
        "settled_at": None,
    }


def _stored(row: sa.Row[Any]) -> Stored:
    return Stored(
        id=row.id,
        message=row.message,
        ticket_id=row.ticket_id,
        ticket_no=row.ticket_no,
        region=row.region,
        kind=Word(row.kind),
        recipient=Recipient(row.recipient),
        destination=row.destination,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        reason=row.reason,
        created_at=row.created_at,
        next_at=row.next_at,
        settled_at=row.settled_at,
    )
