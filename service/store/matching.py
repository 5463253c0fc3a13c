"""What tickets are compared by, and what was found: rows in, values out."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from service.domain.access import Actor
from service.domain.lifecycle import FINISHED, State
from service.domain.personal import said
from service.domain.region import prefix
from service.domain.similar import Common, Print, Traits
from service.store import sealing
from service.store.bulk import given_among, insert_rows, update_rows
from service.store.lists import Due
from service.store.tables import (
    BodyRow,
    GroupRow,
    LikenessRow,
    MarkRow,
    SecretRow,
    TicketRow,
    TraitsRow,
    metadata,
)

_tickets = metadata.tables[TicketRow.__tablename__]
_bodies = metadata.tables[BodyRow.__tablename__]
_secrets = metadata.tables[SecretRow.__tablename__]
_groups = metadata.tables[GroupRow.__tablename__]
_traits = metadata.tables[TraitsRow.__tablename__]
_marks = metadata.tables[MarkRow.__tablename__]
_alike = metadata.tables[LikenessRow.__tablename__]

# How many others are looked at for one mark: a person who calls every day and a
# place that everybody names cost no more than this.
AT_MOST = 60


def take_turn(connection: sa.Connection) -> bytes | None:
    """Return the key of the persons' hashes, or None while another replica looks: two that looked
    at once would not see each other's tickets."""
    s = _secrets.c
    found = connection.execute(
        sa.select(s.secret).where(s.name == "person").with_for_update(skip_locked=True)
    ).scalar()
    return None if found is None else sealing.person_key(connection)


def unseen(connection: sa.Connection, limit: int, only: int = 0) -> list[int]:
    """Return the ids of tickets with a body that nobody looked at yet, or one of them alone."""
    b = _bodies.c
    query = sa.select(b.ticket_id).where(b.looked_at.is_(None))
    if only:
        query = query.where(b.ticket_id == only)
    rows = connection.execute(query.distinct().order_by(b.ticket_id).limit(limit))
    return list(rows.scalars())


def seen(connection: sa.Connection, ids: Collection[int], at: datetime) -> None:
    """Note that these tickets were looked at."""
    b = _bodies.c
    connection.execute(
        _bodies.update()
        .where(b.ticket_id.in_(list(ids)), b.looked_at.is_(None))
        .values(looked_at=at)
    )


def forget(connection: sa.Connection, ids: Collection[int]) -> dict[int, int]:
    """Drop the traits and marks of tickets that are looked at again; return their groups."""
    rows = connection.execute(
        sa.select(_traits.c.ticket_id, _traits.c.group_id).where(_traits.c.ticket_id.in_(list(ids)))
    )
    known = {row.ticket_id: row.group_id for row in rows}
    if known:
        connection.execute(_marks.delete().where(_marks.c.ticket_id.in_(list(known))))
        connection.execute(_traits.delete().where(_traits.c.ticket_id.in_(list(known))))
    return {ticket: group for ticket, group in known.items() if group is not None}


def forget_people(connection: sa.Connection, ids: Collection[int]) -> None:
    """Drop by what the people of these tickets would be found again."""
    connection.execute(_traits.update().where(_traits.c.ticket_id.in_(list(ids))).values(person=""))
    m = _marks.c
    connection.execute(_marks.delete().where(m.ticket_id.in_(list(ids)), m.mark.startswith("p:")))


@dataclass(frozen=True, slots=True)
class Kept:
    """A ticket that was looked at before, with the group that it is of, 0 for none."""

    traits: Traits
    group: int
    state: State


def keep(connection: sa.Connection, rows: Sequence[tuple[Traits, Sequence[str], int]]) -> None:
    """Write what tickets are compared by, each with its marks and its group (0 for none)."""
    insert_rows(
        connection,
        _traits,
        [
            {
                "ticket_id": t.ticket_id,
                "person": t.person,
                "region": t.region,
                "line": t.line,
                "spots": list(t.spots),
                "towns": list(t.towns),
                "pairs": t.text.pairs,
                "least": list(t.text.least),
                "at": t.at,
                "group_id": group or None,
            }
            for t, _, group in rows
        ],
    )
    insert_rows(
        connection,
        _marks,
        [
            {"mark": mark, "at": t.at, "ticket_id": t.ticket_id}
            for t, marks, _ in rows
            for mark in marks
        ],
    )


# Each walk is a few steps down an index. Both want it written so: PostgreSQL joins sideways,
# SQLite does not, but looks up a list for each row.
_WALKS = {
    "postgresql": sa.text("""
        SELECT DISTINCT w.ticket, near.ticket_id AS other
        FROM json_to_recordset(CAST(:walks AS json))
            AS w (ticket bigint, mark text, low timestamp, high timestamp)
        CROSS JOIN LATERAL (
            SELECT m.ticket_id FROM marks m
            WHERE m.mark = w.mark
                AND m.at BETWEEN (w.low AT TIME ZONE 'UTC') AND (w.high AT TIME ZONE 'UTC')
            ORDER BY m.at DESC LIMIT :most
        ) near
    """),
    "sqlite": sa.text("""
        SELECT DISTINCT w.ticket, near.value AS other
        FROM (
            SELECT json_extract(each.value, '$.ticket') AS ticket, (
                SELECT json_group_array(ticket_id) FROM (
                    SELECT m.ticket_id FROM marks m
                    WHERE m.mark = json_extract(each.value, '$.mark')
                        AND m.at BETWEEN json_extract(each.value, '$.low')
                            AND json_extract(each.value, '$.high')
                    ORDER BY m.at DESC LIMIT :most
                )
            ) AS found
            FROM json_each(:walks) each
        ) w, json_each(w.found) near
    """),
}


def sharing(
    connection: sa.Connection, wanted: Sequence[tuple[Traits, Sequence[str]]], back: timedelta
) -> dict[int, list[Kept]]:
    """Return by ticket id what shares a mark with it, the latest first: of each mark the 60 nearest
    below the end of the time that reaches `back` to either side of the ticket."""
    walks = [
        {"ticket": t.ticket_id, "mark": mark, "low": _utc(t.at - back), "high": _utc(t.at + back)}
        for t, marks in wanted
        for mark in marks
    ]
    if not walks:
        return {}
    rows = connection.execute(
        _WALKS[connection.dialect.name],
        {"walks": json.dumps(walks, ensure_ascii=False), "most": AT_MOST},
    )
    near: dict[int, set[int]] = {}
    for asked, other in rows:
        if other != asked:
            near.setdefault(asked, set()).add(other)
    kept = _kept(connection, set().union(*near.values()))
    return {
        asked: [each for each in kept if each.traits.ticket_id in ids]
        for asked, ids in near.items()
    }


def _utc(at: datetime) -> str:
    """Return a time as SQLite keeps it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


def _kept(connection: sa.Connection, ids: Collection[int]) -> list[Kept]:
    """Return what is kept of these tickets, the latest first."""
    t = _traits.c
    query = sa.select(_traits, _tickets.c.state).join(_tickets, _tickets.c.id == t.ticket_id)
    found = connection.execute(query.where(t.ticket_id.in_(sorted(ids)))) if ids else ()
    rows = sorted(found, key=lambda row: (row.at, row.ticket_id), reverse=True)
    return [
        Kept(
            Traits(
                row.ticket_id,
                row.person,
                row.region,
                row.line,
                tuple(row.spots),
                tuple(row.towns),
                Print(row.pairs, tuple(row.least)),
                row.at,
            ),
            row.group_id or 0,
            State(row.state),
        )
        for row in rows
    ]


def note_alike(
    connection: sa.Connection, found: Mapping[tuple[int, int], Common], at: datetime
) -> None:
    """Write which tickets are of the same matter, the later id first, or what they have in common by
    now. What somebody rejected stays rejected."""
    if not found:
        return
    insert = {"postgresql": postgresql, "sqlite": sqlite}[connection.dialect.name].insert(_alike)
    rows = [
        {
            "later_id": later,
            "earlier_id": earlier,
            "person": common.person,
            "spot": common.spot,
            "town": common.town,
            "text": common.text,
            "score": common.score,
            "found_at": at,
        }
        for (later, earlier), common in found.items()
    ]
    now = {name: insert.excluded[name] for name in ("person", "spot", "town", "text", "score")}
    connection.execute(
        insert.on_conflict_do_update(index_elements=list(_alike.primary_key), set_=now), rows
    )


def reject(connection: sa.Connection, one: int, other: int, at: datetime) -> bool:
    """Note that two tickets are not of the same matter; return False if nobody had said so."""
    a = _alike.c
    pair = ((a.later_id == one) & (a.earlier_id == other)) | (
        (a.later_id == other) & (a.earlier_id == one)
    )
    done = connection.execute(
        _alike.update().where(pair, a.rejected_at.is_(None)).values(rejected_at=at)
    )
    return bool(done.rowcount)


def is_linked(connection: sa.Connection, ids: Collection[int], numbers: Collection[str]) -> bool:
    """Whether any of these tickets has to do with another: one look, for most have not."""
    given = {"ids": list(ids), "nos": list(numbers)}
    found = connection.execute(_linked(connection.dialect.name), given)
    return bool(found.scalar())


@cache
def _linked(dialect: str) -> sa.Select[Any]:
    a, t, x = _alike.c, _tickets.c, _traits.c
    return sa.select(
        sa.or_(
            *(
                sa.exists().where(given_among(dialect, column, name), condition)
                for column, name, condition in (
                    (a.later_id, "ids", a.rejected_at.is_(None)),
                    (a.earlier_id, "ids", a.rejected_at.is_(None)),
                    (t.merged_into, "nos", t.merged_into != sa.literal_column("''")),
                    (x.ticket_id, "ids", x.group_id.is_not(None)),
                )
            )
        )
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """Two tickets of the same matter, by id: `other` is the one that was not asked for."""

    asked: int
    other: int
    asked_is_later: bool
    common: Common


def pairs(connection: sa.Connection, ids: Collection[int]) -> list[Pair]:
    """Return what tickets have in common with others, the most alike first, unless rejected."""
    a = _alike.c
    wanted = list(ids)
    found = []
    for asked, other, is_later in (
        (a.later_id, a.earlier_id, True),
        (a.earlier_id, a.later_id, False),
    ):
        rows = connection.execute(
            sa.select(_alike)
            .where(asked.in_(wanted), a.rejected_at.is_(None))
            .order_by(a.score.desc(), other.desc())
            .limit(20 * len(wanted))
        )
        for row in rows:
            common = Common(row.person, row.spot, row.town, row.text, row.score)
            one, two = (
                (row.later_id, row.earlier_id) if is_later else (row.earlier_id, row.later_id)
            )
            found.append(Pair(one, two, is_later, common))
    return found


def merged_into(connection: sa.Connection, numbers: Collection[str]) -> list[tuple[str, int]]:
    """Return the tickets that were merged into these, as (number of the one it is in, its id)."""
    t = _tickets.c
    rows = connection.execute(
        sa.select(t.merged_into, t.id)
        .where(t.merged_into.in_(list(numbers)), t.merged_into != sa.literal_column("''"))
        .order_by(t.id)
        .limit(200)
    )
    return [(row.merged_into, row.id) for row in rows]


# Group matters


@dataclass(frozen=True, slots=True)
class GroupMatter:
    """A group matter (群体性诉求): at least so many `people`, and how many `tickets`, of them `open`;
    `title` is the first one's."""

    id: int
    region: str
    line: str
    place: str
    people: int
    tickets: int
    first_at: datetime
    last_at: datetime
    open: int = 0
    title: str = ""


def make_group(connection: sa.Connection, region: str, line: str, place: str, at: datetime) -> int:
    """Write a group matter and return its id; who is in it comes after."""
    values = {"region": region, "line": line, "place": place, "people": 0, "tickets": 0}
    made = connection.execute(
        _groups.insert().values(**values, first_at=at, last_at=at).returning(_groups.c.id)
    )
    return int(made.scalar_one())


def join_groups(connection: sa.Connection, joining: Mapping[int, int]) -> None:
    """Put tickets into group matters, by ticket id."""
    rows = [{"ticket_id": ticket, "group_id": group} for ticket, group in joining.items()]
    update_rows(connection, _traits, rows, key="ticket_id")


def count_groups(connection: sa.Connection, groups: Collection[int]) -> None:
    """Count group matters anew. All that left no number may be one person."""
    t = _traits.c
    rows = connection.execute(
        sa.select(
            t.group_id.label("id"),
            sa.func.count(sa.distinct(t.person)).label("people"),
            sa.func.count().label("tickets"),
            sa.func.min(t.at).label("first_at"),
            sa.func.max(t.at).label("last_at"),
        )
        .where(t.group_id.in_(list(groups)))
        .group_by(t.group_id)
    )
    update_rows(connection, _groups, [dict(row) for row in rows.mappings()])


def groups_of(connection: sa.Connection, ids: Collection[int]) -> dict[int, GroupMatter]:
    """Return the group matters of these tickets, by ticket id."""
    rows = connection.execute(
        sa.select(_traits.c.ticket_id, _groups)
        .join(_groups, _groups.c.id == _traits.c.group_id)
        .where(_traits.c.ticket_id.in_(list(ids)))
    )
    return {row.ticket_id: _group(row) for row in rows}


def groups(
    connection: sa.Connection, by: Actor, after: Due | None, limit: int
) -> list[GroupMatter]:
    """Return the group matters of the caller's region, those that grew last first."""
    g, t, x = _groups.c, _tickets.c, _traits.c
    query = sa.select(_groups).order_by(g.last_at.desc(), g.id.desc()).limit(limit)
    if after:
        place = sa.tuple_(sa.literal(after.at, g.last_at.type), sa.literal(after.id, g.id.type))
        query = query.where(sa.tuple_(g.last_at, g.id) < place)
    if prefix(by.region):
        query = query.where(g.region.startswith(prefix(by.region), autoescape=True))
    found = [_group(row) for row in connection.execute(query)]
    ids = [group.id for group in found]
    still = connection.execute(
        sa.select(
            x.group_id, sa.func.count(sa.case((t.state.not_in(FINISHED), 1))), sa.func.min(t.id)
        )
        .join(_tickets, t.id == x.ticket_id)
        .where(x.group_id.in_(ids))
        .group_by(x.group_id)
    ).all()
    first = {row[2]: row[0] for row in still}
    titles = connection.execute(sa.select(t.id, t.title).where(t.id.in_(list(first))))
    title = {first[row.id]: row.title for row in titles}
    is_open = {row[0]: row[1] for row in still}
    return [
        GroupMatter(
            group.id,
            group.region,
            group.line,
            group.place,
            group.people,
            group.tickets,
            group.first_at,
            group.last_at,
            is_open.get(group.id, 0),
            said(title.get(group.id, "")),
        )
        for group in found
    ]


def _group(row: sa.Row[Any]) -> GroupMatter:
    return GroupMatter(
        row.id,
        row.region,
        row.line,
        row.place,
        row.people,
        row.tickets,
        row.first_at,
        row.last_at,
    )
