"""Months of events that are taken off, so that they can be put away, and put back (ADR 0026). On
PostgreSQL alone."""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import sqlalchemy as sa

from service.store import feed, search
from service.store.months import IDS, alone, following, partitions, table_of
from service.store.tables import FeedRow, FeedTurnRow, MonthRow, TicketRow, metadata

_tickets = metadata.tables[TicketRow.__tablename__]
_feed = metadata.tables[FeedRow.__tablename__]
_turns = metadata.tables[FeedTurnRow.__tablename__]
_months = metadata.tables[MonthRow.__tablename__]
_m = _months.c


class NotOver(Exception):
    """A month cannot be taken off; the message says why."""


@dataclass(frozen=True, slots=True)
class Month:
    """A month of events; 0 is what was there before they were kept by month. `events` is the
    database's own estimate."""

    month: int
    began_at: datetime
    events: int
    bytes: int
    detached_at: datetime | None


def months(connection: sa.Connection) -> list[Month]:
    """Return the months that have begun, the oldest first."""
    rows = connection.execute(sa.select(_months).order_by(_m.month)).all()
    sizes: dict[str, tuple[int, int]] = {}
    if connection.dialect.name == "postgresql":
        found = connection.execute(
            sa.text(
                "SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes,"
                " greatest(c.reltuples, s.n_live_tup, 0) AS events"
                " FROM pg_class c LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid"
                " WHERE c.relkind = 'r' AND c.relname LIKE 'events\\_%'"
            )
        )
        sizes = {row.name: (int(row.events), row.bytes) for row in found}
    return [
        Month(row.month, row.began_at, *sizes.get(table_of(row.month), (0, 0)), row.detached_at)
        for row in rows
    ]


def detach(connection: sa.Connection, until: int, at: datetime) -> list[str]:
    """Take the events of all months up to one off; return the names of the tables that hold them now.

    Raises NotOver while a month is not over, or a ticket that may have events there has not ended
    long ago (`closed.keep`): its history is still needed.
    """
    _require_alone(connection)
    rows = connection.execute(sa.select(_months).order_by(_m.month)).all()
    # All of them from the first on: the feed has a beginning and no holes.
    chosen = [row for row in rows if row.month <= until and row.detached_at is None]
    kept = [row for row in rows if row.month > until]
    if not kept:
        msg = "本月及以后的月份还在写入，不能取下"
        raise NotOver(msg)
    if not chosen:
        return []
    still = connection.execute(
        sa.select(sa.func.count())
        .select_from(_tickets)
        .where(_tickets.c.id <= kept[0].ticket_id, _tickets.c.kept_in.is_(None))
    ).scalar_one()
    if still:
        msg = f"还有 {still} 张工单未办结或办结未满归档期限，其历史可能在这些月份里，不能取下"
        raise NotOver(msg)
    if search.cut_before(connection):
        msg = "以前的工单还没有全部建好检索用词，其历史还要用到，请稍后再试"
        raise NotOver(msg)
    there = partitions(connection, "events")
    names = [table_of(row.month) for row in chosen if table_of(row.month) in there]
    for row in chosen:
        end = next(later.first_event for later in rows if later.month > row.month)
        of_month = sa.select(sa.func.max(_feed.c.position)).where(
            _feed.c.event_id >= row.first_event, _feed.c.event_id < end
        )
        last = connection.execute(of_month).scalar() or 0
        if row.month == 0:
            # Before the feed had places an event's id was its place.
            last = max(last, connection.execute(sa.select(_turns.c.base)).scalar_one())
        place = feed.place_at(connection, last) if last else None
        mark = place.mark if place else ""
        connection.execute(
            _months.update()
            .where(_m.month == row.month)
            .values(detached_at=at, feed_to=last, feed_mark=mark)
        )
    for name in names:
        connection.execute(sa.text(f"ALTER TABLE events DETACH PARTITION {name}"))
    return names


def attach(connection: sa.Connection, since_month: int) -> list[str]:
    """Put the events of all months from one on back that were taken off; return the tables' names.

    Raises NotOver if one of the tables is gone.
    """
    _require_alone(connection)
    rows = connection.execute(sa.select(_months).order_by(_m.month)).all()
    names = []
    for row, later in pairwise(rows):
        if row.month < since_month or row.detached_at is None:
            continue
        name = table_of(row.month)
        if connection.execute(sa.select(sa.func.to_regclass(name))).scalar() is None:
            msg = f"表 {name} 不在库中，请先从归档恢复它"
            raise NotOver(msg)
        since_id = "MINVALUE" if row.month == 0 else str(row.month * IDS)
        until_id = (later.month if row.month == 0 else following(row.month)) * IDS
        # Nobody reads the table: it is looked through before the others are locked, and not after.
        connection.execute(sa.text(f"ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {name}_within"))
        low = "" if row.month == 0 else f"id >= {since_id} AND "
        connection.execute(
            sa.text(f"ALTER TABLE {name} ADD CONSTRAINT {name}_within CHECK ({low}id < {until_id})")
        )
        connection.execute(
            sa.text(
                f"ALTER TABLE events ATTACH PARTITION {name}"
                f" FOR VALUES FROM ({since_id}) TO ({until_id})"
            )
        )
        connection.execute(sa.text(f"ALTER TABLE {name} DROP CONSTRAINT {name}_within"))
        connection.execute(
            _months.update()
            .where(_m.month == row.month)
            .values(detached_at=None, feed_to=None, feed_mark="")
        )
        names.append(name)
    return names


def _require_alone(connection: sa.Connection) -> None:
    if connection.dialect.name != "postgresql":
        msg = "SQLite 不按月分表，没有可以取下的月份"
        raise NotOver(msg)
    if not alone(connection):
        msg = "另一个进程正在整理月份，请稍后再试"
        raise NotOver(msg)
