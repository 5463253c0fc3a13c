"""Tickets of the same matter, whatever channel brought them: found behind the intake, proposed to
people, and never merged but by the act.

A body that came in is looked at by the ticker, not by the intake: whoever pushes waits for none of
it, and what an import or a pull brought is found like everything else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

import sqlalchemy as sa
import structlog

from service.desk import UnknownTicket
from service.domain.access import Actor, Ask, Role, check_act, sees
from service.domain.confidence import is_shielded
from service.domain.lifecycle import FINISHED
from service.domain.ports import Source
from service.domain.similar import (
    Common,
    InGroup,
    Likeness,
    Link,
    Relation,
    Traits,
    compare,
    marks,
    one_topic,
    people,
    place_of,
    reason,
    relation,
    traits,
)
from service.domain.ticket import Event, Ticket
from service.mishaps import findable, outcome
from service.store import Store, matching, tickets
from service.store.lists import Due
from service.store.matching import GroupMatter, Kept

log = structlog.get_logger()


class Matching:
    """Finds tickets of the same matter, and tells of them to who may see both."""

    def __init__(self, store: Store, likeness: Likeness, sources: Mapping[str, Source]) -> None:
        self._store = store
        self._likeness = likeness
        self._sources = sources

    # What is found

    async def look(self, at: datetime, batch: int = 25) -> int:
        """Look at a batch of tickets that came in or were added to; return how many there were, 0
        while another replica looks.

        A ticket that fails is told of and left: it holds up no other, and the next body of it is
        looked at again.
        """
        # Who takes the turn locks a row, which a disk is waited for.
        if not await self._store.read(lambda c: matching.unseen(c, 1)):
            return 0
        found = await outcome(self._store.run(partial(self._look, at=at, limit=batch)))
        if isinstance(found, int):
            return found
        waiting = await self._store.read(lambda c: matching.unseen(c, batch))
        for ticket_id in waiting:
            one = partial(self._look, at=at, limit=1, only=ticket_id)
            failed = await outcome(self._store.run(one))
            if not isinstance(failed, int):
                log.error("matching.failed", ticket_id=ticket_id, **findable(failed))
                await self._store.run(partial(matching.seen, ids=[ticket_id], at=at))
        return len(waiting)

    def _look(self, connection: sa.Connection, *, at: datetime, limit: int, only: int = 0) -> int:
        key = matching.take_turn(connection)
        if key is None:
            return 0
        ids = matching.unseen(connection, limit, only)
        if not ids:
            return 0
        groups = matching.forget(connection, ids)
        opened = tickets.by_ids(connection, ids, opened=True)
        found = [t for t in opened if not t.is_counted_only]
        new = [(made, marks(made)) for made in (_traits(ticket, key) for ticket in found)]
        matching.keep(connection, [(made, by, groups.get(made.ticket_id, 0)) for made, by in new])
        near = matching.sharing(connection, new, self._likeness.back)
        over = {ticket.id: ticket.state in FINISHED for ticket in found}
        common: dict[tuple[int, int], Common] = {}
        for made, _ in new:
            for other in near.get(made.ticket_id, ()):
                # History against history is nobody's to merge.
                if over[made.ticket_id] and other.state in FINISHED:
                    continue
                later, earlier = _in_order(made, other.traits)
                if same := compare(later, earlier, self._likeness):
                    common[later.ticket_id, earlier.ticket_id] = same
        matching.note_alike(connection, common, at)
        self._gather(connection, [made for made, _ in new], near, groups)
        matching.seen(connection, ids, at)
        return len(ids)

    def _gather(
        self,
        connection: sa.Connection,
        new: Sequence[Traits],
        near: Mapping[int, Sequence[Kept]],
        before: Mapping[int, int],
    ) -> None:
        """Put tickets into the group matters that they belong to, and make one where the last that
        was missing has come. `before` are the groups of those that are looked at again."""
        rule = self._likeness.group
        groups = dict(before)
        joining: dict[int, int] = {}
        changed = set(before.values())
        for one in new:
            if one.ticket_id in groups or not one.spots:
                continue
            alike = [
                each for each in near.get(one.ticket_id, ()) if one_topic(one, each.traits, rule)
            ]
            groups |= {each.traits.ticket_id: each.group for each in alike if each.group}
            together = [one, *(each.traits for each in alike)]
            group = next((groups[t.ticket_id] for t in together if t.ticket_id in groups), 0)
            if not group:
                if people(together) < rule.people:
                    continue
                place = place_of(together)
                group = matching.make_group(connection, one.region, one.line, place, one.at)
            new_here = {t.ticket_id: group for t in together if t.ticket_id not in groups}
            groups |= new_here
            joining |= new_here
            changed.add(group)
        matching.join_groups(connection, joining)
        if changed:
            matching.count_groups(connection, changed)

    # What people see and say

    def told(self, connection: sa.Connection, by: Actor, found: Sequence[Ticket]) -> list[Ticket]:
        """Return tickets with what the caller may know of others of the same matter.

        Nobody is told of a ticket that he may not see. A source is told of none, and a unit of none
        where either side is to be kept unnamed: that the same person made both says who it is.
        """
        if by.role is Role.SOURCE or not found:
            return list(found)
        by_id = {ticket.id: ticket for ticket in found}
        if not matching.is_linked(connection, by_id, [ticket.no for ticket in found]):
            known = ((t, _into(connection, by, t)) for t in found)
            return [t if no == t.into else replace(t, into=no) for t, no in known]
        pairs = matching.pairs(connection, by_id)
        merged = matching.merged_into(connection, [ticket.no for ticket in found])
        numbers = {ticket.no: ticket.id for ticket in found}
        wanted = {pair.other for pair in pairs} | {other for _, other in merged}
        others = {t.id: t for t in tickets.by_ids(connection, sorted(wanted))}
        links: dict[int, list[Link]] = {}
        for pair in pairs:
            this, other = by_id[pair.asked], others[pair.other]
            later, earlier = (this, other) if pair.asked_is_later else (other, this)
            is_now = relation(later.state, earlier.state, pair.common)
            if is_now and _may_know(by, this, other, same_person=pair.common.person):
                why = reason(pair.common, this.received_at, other.received_at, self._label(other))
                links.setdefault(this.id, []).append(
                    _link(is_now, other, pair.asked_is_later, pair.common.score, why)
                )
        for into, other_id in merged:
            this, other = by_id[numbers[into]], others[other_id]
            if _may_know(by, this, other, same_person=True):
                links.setdefault(this.id, []).append(_link(Relation.MERGED, other, False))
        groups = matching.groups_of(connection, by_id)
        return [
            replace(
                ticket,
                links=tuple(links.get(ticket.id, ())),
                group=_in(groups.get(ticket.id)),
                into=_into(connection, by, ticket),
            )
            for ticket in found
        ]

    def _label(self, ticket: Ticket) -> str:
        source = self._sources.get(ticket.complaint.source)
        return source.label if source else ticket.complaint.source

    async def reject(
        self, no: str, other_no: str, by: Actor, at: datetime, *, reason: str
    ) -> Ticket:
        """Say that two tickets are not of the same matter (不并单): they are not proposed again. Both
        histories tell of it, once.

        Raises UnknownTicket for one not to be seen, Forbidden for who may not merge.
        """
        check_act(by, Ask.NOT_SAME)

        def work(connection: sa.Connection) -> Ticket:
            found = [tickets.get(connection, each) for each in (no, other_no)]
            for number, ticket in zip((no, other_no), found, strict=True):
                if ticket is None or not _sees(by, ticket):
                    raise UnknownTicket(number)
            this, other = [ticket for ticket in found if ticket]
            if matching.reject(connection, this.id, other.id, at):
                for one, two in ((this, other), (other, this)):
                    unit = one.lead.unit if one.lead else ""
                    content = {"with": two.no, "reason": reason}
                    event = Event("not_same", at, by.name, by.role, content, one.version, unit)
                    tickets.append(connection, one, event)
            return self.told(connection, by, [this])[0]

        return await self._store.run(work)

    async def groups(
        self, by: Actor, after: Due | None, limit: int
    ) -> tuple[list[GroupMatter], Due | None]:
        """Return a page of the group matters (群体性诉求) of the caller's region, those that grew last
        first, and where the next one begins, None at the end. Raises Forbidden for handlers and
        sources."""
        check_act(by, Ask.GROUPS)
        found = await self._store.read(lambda c: matching.groups(c, by, after, limit + 1))
        page = found[:limit]
        return page, Due(page[-1].last_at, page[-1].id) if len(found) > limit else None


def _traits(ticket: Ticket, key: bytes) -> Traits:
    line = ticket.route.candidates[0].line if ticket.route.candidates else ""
    return traits(ticket.id, ticket.complaint, line, ticket.received_at, key)


def _in_order(one: Traits, other: Traits) -> tuple[Traits, Traits]:
    """Return the later and the earlier one."""
    first, last = sorted((one, other), key=lambda each: (each.at, each.ticket_id))
    return last, first


def _link(is_now: Relation, other: Ticket, later: bool, score: float = 0.0, why: str = "") -> Link:
    told = other.complaint
    return Link(is_now, other.no, told.title, other.state, other.version, later, score, why)


def _in(group: GroupMatter | None) -> InGroup | None:
    return InGroup(group.id, group.place, group.people, group.tickets) if group else None


def _sees(by: Actor, ticket: Ticket) -> bool:
    return sees(by, region=ticket.region, units=ticket.units, source=ticket.complaint.source)


def _into(connection: sa.Connection, by: Actor, ticket: Ticket) -> str:
    """Return the number of the ticket that this one was merged into, "" for a unit that may not know
    whose it is. It may know of one that it does not see: that tells it no name."""
    if by.role is not Role.HANDLER or not ticket.into:
        return ticket.into
    other = tickets.get(connection, ticket.into)
    hidden = other and _sees(by, other) and not _may_know(by, ticket, other, same_person=True)
    return "" if hidden else ticket.into


def _may_know(by: Actor, this: Ticket, other: Ticket, *, same_person: bool) -> bool:
    """Whether the caller may know that two tickets have to do with each other."""
    if not _sees(by, other):
        return False
    if by.role is not Role.HANDLER or not same_person:
        return True
    return not any(_unnamed(ticket) for ticket in (this, other))


def _unnamed(ticket: Ticket) -> bool:
    return is_shielded(ticket.complaint, ticket.route)
