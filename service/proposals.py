"""Proposals (提议) to the responsible-unit table: who may make and decide them, what the rules say to
them, and which tickets they would send elsewhere. The rulebook itself is `service.refresh`'s."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa

from routing_rules.proposed import FilesChanged, Proposed
from routing_rules.rulebook import Precedent, Rulebook
from service.desk import shown
from service.domain.access import Actor, Ask, Forbidden, Reach, check_act, reach
from service.domain.complaint import Route
from service.domain.personal import masked
from service.domain.ports import FieldProblem
from service.domain.proposal import (
    FOLLOWS,
    Decision,
    Proposal,
    Sort,
    Standing,
    one_line,
    reason_faults,
)
from service.domain.region import covers
from service.domain.ticket import Ticket
from service.store import Store, proposals, tickets
from service.store.tickets import Ruling

T = TypeVar("T")

LOOKED_AT = 500  # of the tickets that came last
MOST_MOVED = 50  # that are told one by one
_FILES_CHANGED = "规则文件夹在服务启动后有改动，请管理员重启服务后再看、再同意"


class BadProposal(Exception):
    """What was proposed, or the reason of a decision, cannot stand so; carries every fault."""

    def __init__(self, *problems: FieldProblem) -> None:
        super().__init__("；".join(problem.detail for problem in problems))
        self.problems = problems


class UnknownProposal(Exception):
    """There is no such proposal, or not for the caller."""


class NotSoAnyMore(Exception):
    """The proposal stands otherwise by now; nothing was written."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(standing)
        self.standing = standing


class OwnProposal(Exception):
    """Who proposed does not agree."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A ticket that would be routed otherwise today: by the rules in use, and with the proposal."""

    ticket: Ticket
    before: Route
    after: Route


@dataclass(frozen=True, slots=True)
class Trial:
    """What the rules say against a proposal, and what it would change of the `looked_at` tickets of
    its region that came last: `moved` of them, of which MOST_MOVED are told."""

    problems: Sequence[FieldProblem]
    looked_at: int
    moved: int
    told: Sequence[Moved]


def precedent_of(ruling: Ruling) -> Precedent:
    """Return a ruling as a precedent: by its number and not its title, in which a citizen may be
    named."""
    name = f"工单 {ruling.ticket_no} 的裁定"
    return Precedent(
        ruling.ticket_no, name, ruling.region, ruling.unit, ruling.words, ruling.document
    )


class Proposals:
    """What people propose to the table, and what is decided of it."""

    def __init__(self, store: Store, rules: Proposed, unit_region: Callable[[str], str]) -> None:
        """`unit_region` returns the region of a unit by its code, "" for none."""
        self._store = store
        self._rules = rules
        self._unit_region = unit_region
        # A rulebook takes a second of a processor, a trial two: whoever asks for many, beside one
        # another they would leave the service none.
        self._one_at_a_time = asyncio.Lock()

    async def propose(self, by: Actor, wanted: Proposal) -> Proposal:
        """Keep a proposal until it is decided. An alias holds in its unit's region. Raises Forbidden,
        also for what is not of the caller's region or unit, and BadProposal."""
        check_act(by, Ask.PROPOSE)
        made = _clean(wanted)
        there = self._unit_region(made.unit)
        if made.sort is Sort.ALIAS:
            made = replace(made, region=there)
        # A region that there is not is a slip of the pen, told at its field, and nobody's.
        if there and made.region and not _reaches(by, made):
            raise Forbidden(by.role, Ask.PROPOSE)
        accepted = await self._store.read(proposals.accepted)
        problems = await self._beside(self._faults, accepted, made)
        if problems:
            raise BadProposal(*problems)

        def work(connection: sa.Connection) -> int:
            proposals.lock(connection)
            if other := proposals.same(connection, made):
                at = "/name" if made.sort is Sort.ALIAS else "/words"
                raise BadProposal(FieldProblem(at, f"与第 {other} 号提议相同，不用再提"))
            return proposals.keep(connection, made)

        return replace(made, id=await self._store.run(work))

    async def decide(
        self, by: Actor, proposal_id: int, standing: Standing, reason: str, at: datetime
    ) -> Proposal:
        """Agree to a proposal, refuse it, or withdraw one that counts. Raises Forbidden,
        UnknownProposal, OwnProposal, NotSoAnyMore, and BadProposal for one that the rules of today do
        not bear."""
        check_act(by, Ask.DECIDE_PROPOSAL)
        before = FOLLOWS[standing]
        given = one_line(reason)
        if problems := reason_faults(given):
            raise BadProposal(*problems)
        found = await self.one(by, proposal_id)
        if not covers(by.region, found.region):
            raise Forbidden(by.role, Ask.DECIDE_PROPOSAL)
        if found.standing is not before:
            raise NotSoAnyMore(found.standing)
        seen = (0, 0)
        if standing is Standing.ACCEPTED:
            if not may_agree(by, found):
                raise OwnProposal
            seen, accepted = await self._store.read(_in_use)
            if problems := await self._beside(self._faults, accepted, found):
                raise BadProposal(*problems)
        decision = Decision(standing, by.name, at, given)

        def work(connection: sa.Connection) -> None:
            proposals.lock(connection)
            if standing is Standing.ACCEPTED and proposals.mark(connection) != seen:
                # Somebody decided of another meanwhile, and the two may not go together.
                raise NotSoAnyMore(found.standing)
            if not proposals.decide(connection, proposal_id, before, decision):
                current = proposals.get(connection, proposal_id)
                raise NotSoAnyMore(current.standing if current else found.standing)

        await self._store.run(work)
        return replace(found, standing=standing, decisions=(*found.decisions, decision))

    async def listed(
        self, by: Actor, standing: Standing, before: int = 0, limit: int = 50
    ) -> Sequence[Proposal]:
        """Return proposals of the caller's region, of a handler's units, the newest first. Raises
        Forbidden."""
        check_act(by, Ask.PROPOSALS)
        units = by.units if reach(by.role, Ask.PROPOSALS) is Reach.UNITS else ()
        found = await self._store.read(
            lambda c: proposals.listed(c, by.region, units, standing, before, limit)
        )
        return [_shown(by, each) for each in found]

    async def one(self, by: Actor, proposal_id: int) -> Proposal:
        """Return a proposal. Raises Forbidden and UnknownProposal."""
        check_act(by, Ask.PROPOSALS)
        found = await self._store.read(lambda c: proposals.get(c, proposal_id))
        if found is None or not _reaches(by, found):
            raise UnknownProposal
        return _shown(by, found)

    async def trial(self, by: Actor, proposal: Proposal) -> Trial:
        """Return what accepting a proposal would change, some seconds' work beside the loop. Raises
        Forbidden for who may not decide."""
        check_act(by, Ask.DECIDE_PROPOSAL)
        region = proposal.region if covers(by.region, proposal.region) else by.region

        def work(
            connection: sa.Connection,
        ) -> tuple[Sequence[Proposal], Sequence[Ruling], Sequence[Ticket]]:
            return (
                proposals.accepted(connection),
                tickets.rulings(connection),
                proposals.newest_tickets(connection, region, LOOKED_AT),
            )

        try:
            async with self._one_at_a_time:  # 500 tickets that are read are opened, too
                accepted, rulings, newest = await self._store.read(work)
                trial = await asyncio.to_thread(self._trial, accepted, rulings, newest, proposal)
        except FilesChanged:
            # It can be read and refused all the same.
            return Trial((FieldProblem("", _FILES_CHANGED),), 0, 0, ())
        told = [replace(each, ticket=shown(by, each.ticket)) for each in trial.told]
        return replace(trial, told=told)

    async def _beside(self, work: Callable[..., T], *given: object) -> T:
        """Return what `work` returns, done beside the loop, one at a time."""
        async with self._one_at_a_time:
            return await asyncio.to_thread(work, *given)

    def _faults(self, accepted: Sequence[Proposal], proposal: Proposal) -> list[FieldProblem]:
        book, taken, _ = self._rules.usable(accepted)
        return self._rules.tried(book, taken, proposal)[1]

    def _trial(
        self,
        accepted: Sequence[Proposal],
        rulings: Sequence[Ruling],
        newest: Sequence[Ticket],
        proposal: Proposal,
    ) -> Trial:
        book, taken, _ = self._rules.usable(accepted)
        proposed, problems = self._rules.tried(book, taken, proposal)
        if problems:
            return Trial(problems, 0, 0, ())
        before = _with(book, rulings)
        after = _with(proposed, rulings)
        moved = []
        for ticket in reversed(newest):
            routes = before.route(ticket.complaint), after.route(ticket.complaint)
            if _goes(routes[0]) != _goes(routes[1]):
                moved.append(Moved(ticket, *routes))
        return Trial((), len(newest), len(moved), moved[:MOST_MOVED])


def may_agree(by: Actor, proposal: Proposal) -> bool:
    """Whether somebody may say yes: nobody to their own."""
    return reach(by.role, Ask.DECIDE_PROPOSAL) is not None and by.name != proposal.author


def _with(book: Rulebook, rulings: Sequence[Ruling]) -> Rulebook:
    precedents = (precedent_of(each) for each in rulings)
    return book.with_precedents([each for each in precedents if not book.refuses(each)])


def _goes(route: Route) -> tuple[str, str]:
    return route.decision, route.lead.unit if route.lead else ""


def _in_use(connection: sa.Connection) -> tuple[tuple[int, int], list[Proposal]]:
    return proposals.mark(connection), proposals.accepted(connection)


def _reaches(by: Actor, proposal: Proposal) -> bool:
    """Whether a proposal is of the caller's region, and a handler's of its unit."""
    if reach(by.role, Ask.PROPOSALS) is Reach.UNITS and proposal.unit not in by.units:
        return False
    return covers(by.region, proposal.region)


def _shown(by: Actor, proposal: Proposal) -> Proposal:
    if reach(by.role, Ask.PROPOSALS) is not Reach.MASKED:
        return proposal
    decisions = tuple(replace(each, reason=masked(each.reason)) for each in proposal.decisions)
    return replace(proposal, reason=masked(proposal.reason), decisions=decisions)


def _clean(wanted: Proposal) -> Proposal:
    """Return a proposal as it is kept: each text on one line, each word once."""

    def each_once(texts: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, map(one_line, texts))))

    return replace(
        wanted,
        name=one_line(wanted.name),
        reason=one_line(wanted.reason),
        words=each_once(wanted.words),
        pairs=each_once(wanted.pairs),
        examples=each_once(wanted.examples),
    )
