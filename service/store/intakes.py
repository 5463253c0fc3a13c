"""How each source fares: what it pushed by day, what it sent last, what waits for it or never came."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa

from service.domain.kpi import day_of
from service.domain.ticket import DeliveryState
from service.store import deliveries, polls
from service.store.bulk import upsert
from service.store.polls import PollState
from service.store.tables import PushDayRow, TicketRow, metadata

_pushes = metadata.tables[PushDayRow.__tablename__]
_p = _pushes.c
_t = metadata.tables[TicketRow.__tablename__].c

# Of what came in last, how much is looked at for each source's last ticket.
LOOKED_AT = 5_000
_KEPT = timedelta(days=62)


class Fate(StrEnum):
    """What became of a push."""

    TAKEN = "taken"  # 已接收: a request; a batch is one
    REJECTED = "rejected"  # 内容被退回: it could not become a ticket
    UNPROVEN = "unproven"  # 身份不符: a wrong signature, token or sender
    TOO_FAST = "too_fast"  # 超过限速


@dataclass(frozen=True, slots=True)
class Pushed:
    """How many pushes of a day came to the same, and when the last one did."""

    on: date
    fate: Fate
    count: int
    last_at: datetime


# By source and fate, how many there were since the last time and when the last one was.
Noted = Mapping[tuple[str, Fate], tuple[int, datetime]]


def note(connection: sa.Connection, noted: Noted) -> None:
    """Add pushes to the counts of their days, in one order for all who do so."""
    for (source, fate), (count, last_at) in sorted(noted.items()):
        insert = upsert(connection, _pushes).values(
            source=source,
            day=day_of(last_at).isoformat(),
            fate=fate,
            pushes=count,
            last_at=last_at,
        )
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=["source", "day", "fate"],
                set_={
                    "pushes": _p.pushes + insert.excluded.pushes,
                    "last_at": insert.excluded.last_at,
                },
            )
        )


def pushes(connection: sa.Connection, source: str, since: date) -> list[Pushed]:
    """Return what became of a source's pushes day by day since a day, the latest day first."""
    query = sa.select(_pushes).where(_p.source == source, _p.day >= since.isoformat())
    rows = connection.execute(query.order_by(_p.day.desc(), _p.fate))
    return [
        Pushed(date.fromisoformat(row.day), Fate(row.fate), row.pushes, row.last_at) for row in rows
    ]


def purge(connection: sa.Connection, at: datetime) -> int:
    """Delete what is too old to tell how a source fares; return how many rows."""
    first = (day_of(at) - _KEPT).isoformat()
    return connection.execute(_pushes.delete().where(_p.day < first)).rowcount


@dataclass(frozen=True, slots=True)
class Latest:
    """When each source's last ticket came; of a source that is not there none has come since
    `since`, None where all tickets were looked at."""

    at: Mapping[str, datetime]
    since: datetime | None


def latest(connection: sa.Connection) -> Latest:
    """Return when each source's last ticket came, as far as the newest tickets tell: a source has no
    index of its own, which every push would pay for."""
    newest = (
        sa.select(_t.id, _t.source, _t.stored_at).order_by(_t.id.desc()).limit(LOOKED_AT).subquery()
    )
    n = newest.c
    rows = connection.execute(
        sa.select(
            n.source, sa.func.max(n.stored_at), sa.func.min(n.stored_at), sa.func.count()
        ).group_by(n.source)
    ).all()
    at = {source: last for source, last, _, _ in rows}
    looked_at = sum(count for *_, count in rows)
    first = min((first for _, _, first, _ in rows), default=None)
    return Latest(at, first if looked_at >= LOOKED_AT else None)


@dataclass(frozen=True, slots=True)
class Seen:
    """All that tells how sources fare: their last tickets, pushes of late, reading, rows that wait, and
    deliveries by destination that `wait` or are `dead`."""

    latest: Latest
    pushes: Mapping[str, Sequence[Pushed]]
    readings: Mapping[str, PollState]
    rejected: Mapping[str, int]
    waits: Mapping[str, int]
    dead: Mapping[str, int]


def seen(connection: sa.Connection, region: str, sources: Iterable[str], since: date) -> Seen:
    """Return how these sources fare: pushes since a day, deliveries of a region."""
    return Seen(
        latest(connection),
        {source: pushes(connection, source, since) for source in sources},
        {each.source: each for each in polls.states(connection)},
        polls.rejected_counts(connection),
        deliveries.by_destination(connection, region, DeliveryState.PENDING),
        deliveries.by_destination(connection, region, DeliveryState.DEAD),
    )


def merged(days: Sequence[Pushed], fate: Fate) -> tuple[int, datetime | None]:
    """Return how many pushes came to this, and when the last one did."""
    fitting = [each for each in days if each.fate is fate]
    return sum(each.count for each in fitting), max((e.last_at for e in fitting), default=None)
