"""Proposals (提议) to the responsible-unit table, and what was decided of them."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from service.domain.proposal import Decision, Proposal, Sort, Standing
from service.domain.region import prefix
from service.domain.ticket import Ticket
from service.store.tables import ProposalDecisionRow, ProposalRow, TicketRow, metadata
from service.store.tickets import by_ids

_proposals = metadata.tables[ProposalRow.__tablename__]
_decisions = metadata.tables[ProposalDecisionRow.__tablename__]
_p, _d = _proposals.c, _decisions.c
_t = metadata.tables[TicketRow.__tablename__].c

# Any number will do as long as every replica uses the same.
_DECIDE_LOCK = 0x62616E6B7072


def lock(connection: sa.Connection) -> None:
    """Let nobody else propose or decide until the commit: of two at once neither would see what the
    other brings. On SQLite there is one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_DECIDE_LOCK)))


def mark(connection: sa.Connection) -> tuple[int, int]:
    """Return what differs whenever there are other decisions."""
    query = sa.select(sa.func.count(), sa.func.max(_d.id)).select_from(_decisions)
    count, last = connection.execute(query).one()
    return count, last or 0


def keep(connection: sa.Connection, proposal: Proposal) -> int:
    """Write a proposal that waits; return its id."""
    made = connection.execute(
        _proposals.insert()
        .values(
            kind=proposal.sort,
            unit=proposal.unit,
            region=proposal.region,
            name=proposal.name,
            words=list(proposal.words),
            pairs=list(proposal.pairs),
            examples=list(proposal.examples),
            reason=proposal.reason,
            author=proposal.author,
            at=proposal.at,
            state=Standing.WAITING,
        )
        .returning(_p.id)
    )
    return int(made.scalar_one())


def decide(
    connection: sa.Connection, proposal_id: int, before: Standing, decision: Decision
) -> bool:
    """Write a decision down; False if the proposal does not stand as it did, and nothing is written."""
    changed = connection.execute(
        _proposals.update()
        .where(_p.id == proposal_id, _p.state == before)
        .values(state=decision.standing)
    )
    if not changed.rowcount:
        return False
    connection.execute(
        _decisions.insert().values(
            proposal_id=proposal_id,
            state=decision.standing,
            actor=decision.by,
            at=decision.at,
            reason=decision.reason,
        )
    )
    return True


def get(connection: sa.Connection, proposal_id: int) -> Proposal | None:
    """Return a proposal, or None."""
    return next(iter(_whole(connection, sa.select(_proposals).where(_p.id == proposal_id))), None)


def accepted(connection: sa.Connection) -> list[Proposal]:
    """Return every proposal that counts, the first first."""
    query = sa.select(_proposals).where(_p.state == Standing.ACCEPTED).order_by(_p.id)
    return _whole(connection, query)


def same(connection: sa.Connection, proposal: Proposal) -> int:
    """Return the number of one that waits or counts and proposes the same, 0 for none."""
    query = (
        sa.select(_proposals)
        .where(
            _p.state.in_([Standing.WAITING, Standing.ACCEPTED]),
            _p.kind == proposal.sort,
            _p.unit == proposal.unit,
            _p.region == proposal.region,
        )
        .order_by(_p.id)
    )
    return next((e.id for e in _whole(connection, query) if _said(e) == _said(proposal)), 0)


def _said(proposal: Proposal) -> tuple[Any, ...]:
    if proposal.sort is Sort.ALIAS:
        return (proposal.name,)
    return (frozenset(proposal.words), frozenset(proposal.pairs))


def listed(
    connection: sa.Connection,
    region: str,
    units: Collection[str],
    standing: Standing,
    before: int,
    limit: int,
) -> list[Proposal]:
    """Return the proposals of a region, and of these units if there are any, the newest first, with a
    lower number than `before` (0 for all)."""
    query = sa.select(_proposals).where(_p.state == standing).order_by(_p.id.desc()).limit(limit)
    if prefix(region):
        query = query.where(_p.region.startswith(prefix(region), autoescape=True))
    if units:
        query = query.where(_p.unit.in_(list(units)))
    if before:
        query = query.where(_p.id < before)
    return _whole(connection, query)


def waiting(connection: sa.Connection, region: str, most: int) -> int:
    """Return how many proposals of a region wait for a decision: `most` for as many and more."""
    query = sa.select(_p.id).where(_p.state == Standing.WAITING)
    if prefix(region):
        query = query.where(_p.region.startswith(prefix(region), autoescape=True))
    some = query.limit(most).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


def newest_tickets(connection: sa.Connection, region: str, limit: int) -> list[Ticket]:
    """Return the tickets of a region that came last, finished or not."""
    query = sa.select(_t.id).order_by(_t.id.desc()).limit(limit)
    if prefix(region):
        query = query.where(_t.region.startswith(prefix(region), autoescape=True))
    return by_ids(connection, list(connection.execute(query).scalars()))


def _whole(connection: sa.Connection, query: sa.Select[Any]) -> list[Proposal]:
    rows = connection.execute(query).all()
    made: dict[int, list[Decision]] = {row.id: [] for row in rows}
    decisions = sa.select(_decisions).where(_d.proposal_id.in_(list(made))).order_by(_d.id)
    for each in connection.execute(decisions) if made else ():
        made[each.proposal_id].append(
            Decision(Standing(each.state), each.actor, each.at, each.reason)
        )
    return [
        Proposal(
            sort=Sort(row.kind),
            unit=row.unit,
            region=row.region,
            name=row.name,
            reason=row.reason,
            author=row.author,
            at=row.at,
            words=tuple(row.words),
            pairs=tuple(row.pairs),
            examples=tuple(row.examples),
            standing=Standing(row.state),
            decisions=tuple(made[row.id]),
            id=row.id,
        )
        for row in rows
    ]
