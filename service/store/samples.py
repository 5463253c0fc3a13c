"""Second looks at closed tickets (抽查): draws, what waits to be looked at, and what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from service.domain.kpi import day_of
from service.domain.lifecycle import State
from service.domain.region import prefix
from service.domain.sample import CheckedBy, Closed, Finding, Standing
from service.domain.ticket import MilestoneKind, Ticket
from service.store.bulk import insert_rows
from service.store.pages import Page, walk
from service.store.tables import CheckRow, MilestoneRow, SampleRow, TicketRow, metadata
from service.store.tickets import by_ids, looked_up

_samples = metadata.tables[SampleRow.__tablename__]
_checks = metadata.tables[CheckRow.__tablename__]
_s, _c = _samples.c, _checks.c
_t = metadata.tables[TicketRow.__tablename__].c
_m = metadata.tables[MilestoneRow.__tablename__].c

# Any number will do as long as every replica uses the same.
_DRAW_LOCK = 0x62616E6B6472
# Written out, so that the condition is seen to be that of the index.
_RESOLVE: sa.ColumnElement[str] = sa.literal_column(f"'{MilestoneKind.RESOLVE}'")


@dataclass(frozen=True, slots=True)
class Stratum:
    """Of a unit: how many of its closed tickets there were, and how many were drawn."""

    unit: str
    closed: int
    drawn: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A draw: of which region and unit ("" for all), of what was resolved from `since` to `until`, of
    how many, how many of each unit, by whom. `percent` is the share that was asked for, 0 for a size.
    With the seed it can be drawn again."""

    region: str
    unit: str
    since: date
    until: date
    size: int
    percent: int
    seed: str
    population: int
    strata: tuple[Stratum, ...]
    by: str
    at: datetime
    id: int = 0  # 0 until stored

    @property
    def drawn(self) -> int:
        """Return how many tickets were drawn."""
        return sum(each.drawn for each in self.strata)


@dataclass(frozen=True, slots=True)
class Check:
    """A ticket that was drawn: the unit that answered for it then, and what was found, None while it
    waits."""

    id: int
    sample: int
    ticket: Ticket
    unit: str
    drawn_at: datetime
    standing: Standing
    finding: Finding | None
    checked_on: date | None
    checked_by: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What second looks found of a unit in a month (`2026-11`): how many there were, how many reached
    nobody and told nothing; of those who said whether it is solved, how many said no, and of the
    replies that could be told true or not, how many were not."""

    month: str
    unit: str
    looks: int
    unreached: int
    answered: int
    unsolved: int
    judged: int
    untruthful: int


def lock(connection: sa.Connection) -> None:
    """Let nobody else draw until the commit: of two at once each would draw what the other does. On
    SQLite there is one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_DRAW_LOCK)))


def closed(
    connection: sa.Connection,
    region: str,
    unit: str,
    since: datetime,
    until: datetime,
    most: int,
) -> list[Closed]:
    """Return the closed tickets of a region and unit ("" for any) that were resolved from `since` on
    and before `until`, so many at most; without those that were drawn since they were resolved, or
    wait from an earlier draw."""
    drawn = sa.select(_c.id).where(
        _c.ticket_id == _t.id, (_c.drawn_at >= _m.met_at) | (_c.state != Standing.CHECKED)
    )
    query = (
        sa.select(_t.id, _t.no, _t.region, _t.lead_unit)
        .select_from(_m.id.table.join(_t.id.table, _t.id == _m.ticket_id))
        .where(
            _m.kind == _RESOLVE,
            _m.outcome.is_not(None),
            _m.met_at >= since,
            _m.met_at < until,
            _m.governing,
            ~_m.assisting,
            # What was done again (重办) is asked about as it was resolved last.
            _m.redo == _t.redo,
            _t.state == State.CLOSED,
            ~looked_up(drawn),
        )
        .limit(most)
    )
    if prefix(region):
        query = query.where(_t.region.startswith(prefix(region), autoescape=True))
    if unit:
        query = query.where(_t.lead_unit == unit)
    rows = connection.execute(query).all()
    return [Closed(row.id, row.no, row.region, row.lead_unit) for row in rows]


def keep(connection: sa.Connection, sample: Sample, drawn: Sequence[Closed]) -> int:
    """Write a draw and the tickets that wait for a second look; return its id."""
    sample_id = connection.execute(
        _samples.insert()
        .values(
            region=sample.region,
            unit=sample.unit,
            since=sample.since.isoformat(),
            until=sample.until.isoformat(),
            size=sample.size,
            percent=sample.percent,
            seed=sample.seed,
            population=sample.population,
            strata=[[each.unit, each.closed, each.drawn] for each in sample.strata],
            actor=sample.by,
            at=sample.at,
        )
        .returning(_s.id)
    ).scalar_one()
    nothing = {"way": "", "reached": None, "solved": None, "truthful": None}
    insert_rows(
        connection,
        _checks,
        [
            {
                "sample_id": sample_id,
                "ticket_id": each.id,
                "region": each.region,
                "unit": each.unit,
                "drawn_at": sample.at,
                "state": Standing.WAITING,
                **nothing,
                "checked_on": "",
                "checked_by": "",
            }
            for each in drawn
        ],
    )
    return int(sample_id)


def settle(
    connection: sa.Connection, ticket: Ticket, finding: Finding, by: str, at: datetime
) -> None:
    """Write down what was found of a ticket where it was drawn and waits, or nobody was reached
    before. One that was looked at without a draw counts for nothing: who chooses what to look at
    learns nothing of the rest."""
    connection.execute(
        _checks.update()
        .where(_c.ticket_id == ticket.id, _c.state != Standing.CHECKED)
        .values(
            state=finding.standing,
            way=finding.way,
            reached=finding.reached,
            solved=finding.solved,
            truthful=finding.truthful,
            checked_on=day_of(at).isoformat(),
            checked_by=by,
        )
    )


def samples(connection: sa.Connection, region: str, limit: int) -> list[Sample]:
    """Return the latest draws of a region and what lies in it, the newest first."""
    query = sa.select(_samples).order_by(_s.id.desc()).limit(limit)
    if prefix(region):
        query = query.where(_s.region.startswith(prefix(region), autoescape=True))
    return [_sample(row) for row in connection.execute(query)]


def page(
    connection: sa.Connection,
    region: str,
    standing: Standing,
    *,
    sample: int = 0,
    after: int = 0,
    limit: int = 50,
) -> Page[Check]:
    """Return a page of the drawn tickets of a region, of one draw or of all (0), the newest draw
    last for what waits, the last one first for what was looked at."""
    newest_first = standing is Standing.CHECKED
    order = _c.id.desc() if newest_first else _c.id

    def stream(after: int, count: int) -> Sequence[int]:
        query = sa.select(_c.id).where(_c.state == standing).order_by(order).limit(count)
        if sample:
            query = query.where(_c.sample_id == sample)
        if after:
            query = query.where(_c.id < after if newest_first else _c.id > after)
        return list(connection.execute(query).scalars())

    def fetch(ids: Sequence[int], most: int) -> Sequence[sa.Row[Any]]:
        query = sa.select(_checks).where(_c.id.in_(ids)).order_by(order).limit(most)
        if prefix(region):
            query = query.where(_c.region.startswith(prefix(region), autoescape=True))
        return connection.execute(query).all()

    rows, onward = walk(stream, fetch, after, limit)
    return Page(_whole(connection, rows), onward)


def latest(connection: sa.Connection, ticket: Ticket) -> Check | None:
    """Return the last draw of a ticket, or None."""
    query = sa.select(_checks).where(_c.ticket_id == ticket.id).order_by(_c.id.desc()).limit(1)
    row = connection.execute(query).first()
    return _check(row, ticket) if row else None


def waiting(connection: sa.Connection, region: str, most: int) -> int:
    """Return how many drawn tickets of a region wait for a second look, or reached nobody: `most` for
    as many and more."""
    open_ones = sa.select(_c.id).where(_c.state.in_([Standing.WAITING, Standing.UNREACHED]))
    if prefix(region):
        open_ones = open_ones.where(_c.region.startswith(prefix(region), autoescape=True))
    some = open_ones.limit(most).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


def tallies(connection: sa.Connection, region: str, since: date, until: date) -> list[Tally]:
    """Return what second looks from `since` to `until`, both counted, found, by month and unit, the
    latest month first."""
    month = sa.func.substr(_c.checked_on, 1, 7).label("month")

    def having(where: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.count(sa.case((where, 1)))

    query = (
        sa.select(
            month,
            _c.unit,
            sa.func.count(),
            having(_c.state == Standing.UNREACHED),
            having(_c.solved.is_not(None)),
            having(_c.solved.is_(False)),
            having(_c.truthful.is_not(None)),
            having(_c.truthful.is_(False)),
        )
        # An inequality that the partial index promises, written as it does.
        .where(_c.checked_on != sa.literal_column("''"))
        .where(_c.checked_on.between(since.isoformat(), until.isoformat()))
        .group_by(month, _c.unit)
    )
    if prefix(region):
        query = query.where(_c.region.startswith(prefix(region), autoescape=True))
    found = [Tally(*row) for row in connection.execute(query)]
    return sorted(found, key=lambda each: (_newest(each.month), each.unit))


def _newest(month: str) -> int:
    return -int(month.replace("-", ""))


def _whole(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Check]:
    tickets = {t.id: t for t in by_ids(connection, [row.ticket_id for row in rows])}
    return [_check(row, tickets[row.ticket_id]) for row in rows]


def _check(row: sa.Row[Any], ticket: Ticket) -> Check:
    found = row.state != Standing.WAITING
    return Check(
        id=row.id,
        sample=row.sample_id,
        ticket=ticket,
        unit=row.unit,
        drawn_at=row.drawn_at,
        standing=Standing(row.state),
        finding=Finding(CheckedBy(row.way), row.reached, row.solved, row.truthful)
        if found
        else None,
        checked_on=date.fromisoformat(row.checked_on) if row.checked_on else None,
        checked_by=row.checked_by,
    )


def _sample(row: sa.Row[Any]) -> Sample:
    return Sample(
        region=row.region,
        unit=row.unit,
        since=date.fromisoformat(row.since),
        until=date.fromisoformat(row.until),
        size=row.size,
        percent=row.percent,
        seed=row.seed,
        population=row.population,
        strata=tuple(Stratum(*each) for each in row.strata),
        by=row.actor,
        at=row.at,
        id=row.id,
    )
