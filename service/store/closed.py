"""Tickets that ended long ago: their documents and what was delivered of them are kept apart, by the
month of their end (ADR 0026). The row of the ticket stays where it is, and so do its clocks: lists,
numbers, rates and references know of no difference.

Whoever reads tickets gets them whole (`documents`); whoever locks one to change it finds it as it was
before (`bring_back`).
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from service.domain.lifecycle import FINISHED
from service.domain.ticket import DeliveryState
from service.store import months, sealing
from service.store.bulk import insert_rows, update_rows
from service.store.tables import (
    ClosedRow,
    ClosedTurnRow,
    DeliveryRow,
    EventRow,
    Instant,
    MilestoneRow,
    TicketRow,
    metadata,
)

_tickets = metadata.tables[TicketRow.__tablename__]
_closed = metadata.tables[ClosedRow.__tablename__]
_turns = metadata.tables[ClosedTurnRow.__tablename__]
_deliveries = metadata.tables[DeliveryRow.__tablename__]
_t, _c, _d = _tickets.c, _closed.c, _deliveries.c
_e = metadata.tables[EventRow.__tablename__].c
_m = metadata.tables[MilestoneRow.__tablename__].c

KEPT = ("complaint", "route", "extensions", "pauses", "supervision")
# What is over of a delivery; one that failed is left to whoever looks at the list.
_SETTLED = (DeliveryState.DELIVERED.value, DeliveryState.UNADDRESSED.value)
# Plain text: the writer of JSON takes nothing that only behaves like it.
_COLUMNS = [str(column.name) for column in _deliveries.columns]
_TIMES = [column.name for column in _deliveries.columns if isinstance(column.type, Instant)]
_LOOKED_AT = 500
# Any number will do as long as every replica uses the same.
_CLOSED_LOCK = 0x62616E6A636C


def documents(
    connection: sa.Connection, where: Mapping[int, int | None]
) -> dict[int, Mapping[str, Any]]:
    """Return the documents that are kept apart, by ticket id, of tickets with where they are kept."""
    of = {ticket_id: month for ticket_id, month in where.items() if month is not None}
    if not of:
        return {}
    rows = connection.execute(
        sa.select(_c.ticket_id, _c.kept).where(
            _c.month.in_(sorted(set(of.values()))), _c.ticket_id.in_(list(of))
        )
    )
    found = {row.ticket_id: row.kept for row in rows}
    if missing := of.keys() - found.keys():
        msg = f"tickets without their documents: {sorted(missing)}"
        raise LookupError(msg)
    return found


def deliveries(connection: sa.Connection, ticket_id: int) -> list[dict[str, Any]]:
    """Return the rows of `deliveries` that are kept apart of a ticket."""
    month = connection.execute(sa.select(_t.kept_in).where(_t.id == ticket_id)).scalar()
    if month is None:
        return []
    rows = connection.execute(
        sa.select(_c.deliveries).where(_c.month == month, _c.ticket_id == ticket_id)
    ).scalar_one()
    return [_as_row(row) for row in rows]


def settled(connection: sa.Connection) -> dict[str, int]:
    """Return how many deliveries are kept apart, by state."""
    counts = connection.execute(
        sa.select(*(sa.func.coalesce(sa.func.sum(_c[state]), 0) for state in _SETTLED))
    ).one()
    return {state: int(n) for state, n in zip(_SETTLED, counts, strict=True) if n}


def bring_back(connection: sa.Connection, where: Mapping[int, int | None]) -> bool:
    """Put tickets that the transaction has locked back as they were; return whether there was one.

    Raises months.Detached if their history is not there any more: what is done to them now would be
    counted without it.
    """
    of = {ticket_id: month for ticket_id, month in where.items() if month is not None}
    if not of:
        return False
    for ticket_id in of:
        months.check(connection, ticket_id)
    chosen = _c.month.in_(sorted(set(of.values()))) & _c.ticket_id.in_(list(of))
    rows = connection.execute(sa.select(_closed).where(chosen)).all()
    update_rows(
        connection,
        _tickets,
        [{"id": row.ticket_id, "kept_in": None, **row.kept} for row in rows],
    )
    insert_rows(connection, _deliveries, [_as_row(each) for row in rows for each in row.deliveries])
    connection.execute(_closed.delete().where(chosen))
    return True


def seal(
    connection: sa.Connection, documents: Sequence[tuple[int, int, Mapping[str, Any]]]
) -> None:
    """Put masked documents in the place of those that are kept apart, each with its month and ticket,
    and seal what their deliveries say."""
    this = (_c.month == sa.bindparam("of_month")) & (_c.ticket_id == sa.bindparam("of_ticket"))
    for month, ticket_id, document in documents:
        here = {"of_month": month, "of_ticket": ticket_id}
        sent = connection.execute(sa.select(_c.deliveries).where(this), here).scalar_one()
        parts = [part for each in sent if (part := sealing.hide(each))]
        sealing.put(connection, parts)
        values = {"kept": dict(document), "deliveries": sent}
        connection.execute(_closed.update().where(this).values(**values), here)


def keep(connection: sa.Connection, before: datetime, at: datetime) -> int:
    """Go on through the tickets for those that ended before a time, and keep them apart; return how
    many were looked at, 0 if all have been for this month, another replica is at it, or the next one
    waits to be sealed: what people told leaves `tickets` masked or not at all (ADR 0030)."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL lock_timeout = '500ms'"))
        held = connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_CLOSED_LOCK)))
        if not held.scalar():
            return 0
    turn = connection.execute(sa.select(_turns)).one()
    month = months.month_of(at)
    # What had not ended when it was passed is looked at again, with the next month.
    after = turn.after if turn.month == month else 0
    rows = connection.execute(
        sa.select(_t.id, _t.state, _t.stored_at, _t.kept_in)
        .where(_t.id > after)
        .order_by(_t.id)
        .limit(_LOOKED_AT)
    ).all()
    if not any(row.stored_at < before for row in rows):
        return 0
    ripe = [
        row.id
        for row in rows
        if row.kept_in is None and row.stored_at < before and row.state in FINISHED
    ]
    plain = set(ripe) - sealing.is_sealed(connection, ripe)
    if plain:
        rows = [row for row in rows if row.id < min(plain)]
        ripe = [each for each in ripe if each < min(plain)]
    if not rows:
        return 0
    if ripe:
        _keep(connection, ripe, before)
    connection.execute(_turns.update().values(after=rows[-1].id, month=month))
    return len(rows)


def _keep(connection: sa.Connection, ripe: Collection[int], before: datetime) -> None:
    rows = connection.execute(
        sa.select(_tickets)
        .where(_t.id.in_(ripe), _t.kept_in.is_(None), _t.state.in_(FINISHED))
        .order_by(_t.id)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    ids = [row.id for row in rows]
    if not ids:
        return
    last = connection.execute(
        sa.select(_e.ticket_id, sa.func.max(_e.at).label("at"))
        .where(_e.ticket_id.in_(ids), months.since(min(ids)))
        .group_by(_e.ticket_id)
    )
    ended = {row.ticket_id: row.at for row in last if row.at < before}
    owing = sa.select(_m.ticket_id).where(_m.ticket_id.in_(ids), _m.outcome.is_(None))
    waiting = sa.select(_d.ticket_id).where(
        _d.ticket_id.in_(ids), _d.state == DeliveryState.PENDING
    )
    busy = set(connection.execute(owing.union(waiting)).scalars())
    chosen = [row for row in rows if row.id in ended and row.id not in busy]
    if not chosen:
        return
    where = {row.id: months.month_of(ended[row.id]) for row in chosen}
    months.prepare_closed(connection, where.values())
    over = _d.state.in_(_SETTLED) & _d.ticket_id.in_(list(where))
    sent: dict[int, list[dict[str, Any]]] = {ticket_id: [] for ticket_id in where}
    for row in connection.execute(sa.select(_deliveries).where(over).order_by(_d.id)):
        sent[row.ticket_id].append(_as_document(row))
    insert_rows(
        connection,
        _closed,
        [
            {
                "month": where[row.id],
                "ticket_id": row.id,
                "kept": {name: getattr(row, name) for name in KEPT},
                "deliveries": sent[row.id],
                **{
                    state: sum(each["state"] == state for each in sent[row.id])
                    for state in _SETTLED
                },
            }
            for row in chosen
        ],
    )
    connection.execute(_deliveries.delete().where(over))
    update_rows(
        connection,
        _tickets,
        [
            {
                "id": row.id,
                "kept_in": where[row.id],
                # The one thing of a complaint that rates are counted by, and that SQL asks for.
                "complaint": {"review": row.complaint.get("review")},
                "route": {},
                "extensions": [],
                "pauses": [],
                "supervision": [],
            }
            for row in chosen
        ],
    )


def _as_document(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in zip(_COLUMNS, row, strict=True)
    }


def _as_row(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **document,
        **{
            name: datetime.fromisoformat(document[name]) if document[name] else None
            for name in _TIMES
        },
    }
