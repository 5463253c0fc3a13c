"""The desk: one method for each act, one transaction for each method.

How a ticket moves: `receive` makes it from a complaint; an act reads it under a lock, asks
`domain.acts` what it becomes, writes the difference with an event, commits, and only then answers.
`enforce` moves the stages of what falls due. Decisions are pure and live in `service.domain`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from service.domain import acts
from service.domain.access import SYSTEM, Actor, Forbidden, Role, check_act, sees
from service.domain.calendar import SHANGHAI
from service.domain.complaint import Complaint, Contact, UnitRef
from service.domain.lifecycle import Act, IllegalMove, State, allowed, move
from service.domain.limits import Timetable, advance
from service.domain.ports import Router
from service.domain.ticket import Event, Milestone, Ticket
from service.store import Store, tickets
from service.store.figures import UnitLoad, unit_loads
from service.store.tickets import Filter, Stale


class UnknownTicket(Exception):
    """There is no such ticket, or none that the caller may see."""

    def __init__(self, no: str) -> None:
        super().__init__(no)
        self.no = no


class UnknownUnit(Exception):
    """The unit table has no such unit."""

    def __init__(self, pointer: str, unit: str) -> None:
        super().__init__(unit)
        self.pointer = pointer
        self.unit = unit


class CallBackOwed(Exception):
    """The citizen has not been called back; 回访 comes before 结案."""


class KeyReused(Exception):
    """The Idempotency-Key was used for something else before."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a payload: a new ticket, or a repeat of or a supplement to one."""

    ticket: Ticket
    duplicate: bool = False
    supplemented: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """Who acts on which version of which ticket, when. `key` is the Idempotency-Key, "" for none,
    and `request` a digest of what was asked, so that a key is not used for two things."""

    no: str
    by: Actor
    version: int
    at: datetime
    key: str = ""
    request: str = ""


Change = Callable[[Ticket], Ticket]


class Desk:
    """Every change to a ticket goes through here."""

    def __init__(self, store: Store, router: Router, times: Timetable) -> None:
        self._store = store
        self._router = router
        self._times = times

    # What comes in

    async def receive(self, complaint: Complaint, fingerprint: str, at: datetime) -> Receipt:
        """Store a complaint and say what became of it.

        The same source number again is the same ticket: the same body is a duplicate and changes
        nothing, another one is a supplement (补充) with an event of its own.
        """
        # Routed before the transaction: a pure function has no business under a lock.
        route = self._router.route(complaint)
        coordinator = self._router.coordinator(complaint.region).code

        def work(connection: sa.Connection) -> Receipt:
            known = tickets.find(connection, complaint.source, complaint.source_no)
            if known is not None:
                if not tickets.add_body(connection, known, fingerprint, at):
                    return Receipt(known, duplicate=True)
                return Receipt(
                    self._supplement(connection, known, complaint, at), supplemented=True
                )
            no = tickets.next_no(connection, complaint.region, f"{at.astimezone(SHANGHAI):%Y%m%d}")
            made = acts.receive(no, complaint, route, coordinator, at, self._times)
            ticket = tickets.insert(connection, made, fingerprint, at)
            content = {
                "decision": route.decision,
                "confidence": round(route.confidence, 4),
                "rulebook": route.rulebook,
                "reason": route.reason,
                "hotline": route.hotline,
            }
            tickets.append(connection, ticket, _event("received", ticket, SYSTEM, at, content))
            if ticket.state is State.DISPATCHED:
                auto = {"unit": ticket.lead and ticket.lead.unit, "auto": True}
                tickets.append(connection, ticket, _event(Act.DISPATCH, ticket, SYSTEM, at, auto))
            return Receipt(ticket)

        try:
            return await self._store.run(work)
        except tickets.Raced:
            # The same number came twice at once and the other was first: now it is there.
            return await self._store.run(work)

    def _supplement(
        self, connection: sa.Connection, ticket: Ticket, complaint: Complaint, at: datetime
    ) -> Ticket:
        """Write what a changed body adds, and what it says otherwise than the first one."""
        old = ticket.complaint
        changed_ticket = acts.supplement(ticket, complaint, self._times)
        after = replace(changed_ticket, version=ticket.version + 1)
        stored = tickets.save(connection, ticket, after)
        fields = ("title", "content", "place", "kind", "urgency", "sender_due_at", "clock_from")
        changed = {
            name: _plain(getattr(complaint, name))
            for name in fields
            if getattr(complaint, name) != getattr(old, name)
        }
        tickets.append(connection, stored, _event("supplemented", stored, SYSTEM, at, changed))
        return stored

    # What people do

    async def dispatch(
        self, order: Order, *, unit: str, assist: Sequence[str] = (), reason: str
    ) -> Ticket:
        """派单 or 改派: give the ticket to a unit, with others to assist."""
        lead = self._unit("/unit", unit)
        helping = tuple(
            self._unit(f"/assist/{n}", code)
            for n, code in enumerate(dict.fromkeys(assist))
            if code != unit
        )
        content = {"unit": unit, "assist": [ref.unit for ref in helping], "reason": reason}
        return await self._perform(
            order,
            Act.DISPATCH,
            content,
            lambda t: acts.dispatch(t, lead, helping, order.at, self._times),
        )

    async def sign(self, order: Order) -> Ticket:
        """签收: the lead takes the ticket on."""
        return await self._perform(order, Act.SIGN, {}, lambda t: acts.sign(t, order.at))

    async def send_back(
        self, order: Order, *, reason: str, basis: str, suggested_unit: str = ""
    ) -> Ticket:
        """退单: the lead gives the ticket back to be sorted, with a reason and where it belongs."""
        if suggested_unit:
            self._unit("/suggested_unit", suggested_unit)
        content = {"reason": reason, "basis": basis, "suggested_unit": suggested_unit}
        return await self._perform(
            order,
            Act.SEND_BACK,
            content,
            lambda t: acts.send_back(t, self._router.coordinator(t.region).code),
        )

    async def contact(self, order: Order, *, text: str) -> Ticket:
        """首次联系: the lead has spoken to the citizen."""
        return await self._perform(
            order, Act.CONTACT, {"text": text}, lambda t: acts.contact(t, order.at)
        )

    async def resolve(
        self, order: Order, *, public_reply: str, internal_finding: str, solved: bool
    ) -> Ticket:
        """办结: the lead answers; the public reply is for the citizen, the finding stays inside."""
        content = {
            "public_reply": public_reply,
            "internal_finding": internal_finding,
            "solved": solved,
        }
        return await self._perform(
            order,
            Act.RESOLVE,
            content,
            lambda t: acts.resolve(
                t, self._router.coordinator(t.region).code, order.at, self._times
            ),
        )

    async def call_back(
        self, order: Order, *, reached: bool, solved: bool | None, grade: int | None, text: str
    ) -> Ticket:
        """回访: ask the citizen whether it is solved and how good it was, 1 to 5."""
        content = {"reached": reached, "solved": solved, "grade": grade, "text": text}
        return await self._perform(
            order, Act.CALL_BACK, content, lambda t: acts.call_back(t, order.at)
        )

    async def close(self, order: Order) -> Ticket:
        """结案. Raises CallBackOwed while a citizen who left a number has not been called back."""

        def closed(ticket: Ticket) -> Ticket:
            if not acts.may_close(ticket):
                raise CallBackOwed
            return ticket

        return await self._perform(order, Act.CLOSE, {}, closed)

    async def reopen(self, order: Order, *, reason: str) -> Ticket:
        """重办: the same unit does it again."""

        def reopened(ticket: Ticket) -> Ticket:
            # A review that was only counted was never anybody's to do, and so not to redo.
            if ticket.is_counted_only:
                raise IllegalMove(ticket.state, Act.REOPEN)
            return acts.reopen(ticket, order.at, self._times)

        return await self._perform(order, Act.REOPEN, {"reason": reason}, reopened)

    async def note(self, order: Order, *, text: str) -> Ticket:
        """备注: write something into the history."""
        return await self._perform(order, Act.NOTE, {"text": text}, lambda t: t)

    async def _perform(
        self, order: Order, act: Act, content: dict[str, Any], change: Change
    ) -> Ticket:
        """Do one act in one transaction: check who and when, change, write, remember the key.

        Raises UnknownTicket, Forbidden, Stale, IllegalMove or KeyReused; then nothing is written.
        """

        def work(connection: sa.Connection) -> Ticket:
            ticket = tickets.get(connection, order.no, lock=True)
            if ticket is None or not _sees(order.by, ticket):
                raise UnknownTicket(order.no)
            if order.key:
                replay = tickets.find_key(connection, order.by.id, order.key)
                if replay and (replay.request, replay.ticket_no) != (order.request, order.no):
                    raise KeyReused
                if replay:
                    return ticket
            _check_may(order.by, act, ticket)
            if ticket.version != order.version:
                raise Stale(ticket.version)
            state = move(ticket.state, act)
            after = replace(change(ticket), state=state, version=ticket.version + 1)
            stored = tickets.save(connection, ticket, after)
            # Whom the act concerns: the unit that had the ticket when it happened.
            had = ticket.lead or stored.lead
            event = _event(act, stored, order.by, order.at, content, unit=had.unit if had else "")
            tickets.append(connection, stored, event)
            if order.key:
                tickets.keep_key(
                    connection, order.by.id, order.key, order.request, stored, order.at
                )
            return stored

        return await self._store.run(work)

    async def read_contact(self, no: str, by: Actor, at: datetime, *, reason: str) -> Contact:
        """Return a citizen's name and number, and write down who read them and why.

        Raises UnknownTicket, or Forbidden for who has no call to speak to the citizen.
        """

        def work(connection: sa.Connection) -> Contact:
            ticket = _visible(connection, no, by)
            _check_may(by, _calling(by), ticket)
            event = _event("read_contact", ticket, by, at, {"reason": reason})
            tickets.append(connection, ticket, event)
            return ticket.complaint.contact

        return await self._store.run(work)

    # What time does

    async def enforce(self, at: datetime, batch: int = 500) -> int:
        """Bring the stages of a batch of due milestones up to `at`; return how many there were.

        A full batch means that there may be more. Each step leaves one event, on whichever replica
        it happens: the rows are claimed, changed and told of in one transaction.
        """

        def work(connection: sa.Connection) -> int:
            due = tickets.claim_due(connection, at, batch)
            changed: list[Milestone] = []
            told: list[tuple[int, str, str, Event]] = []
            for no, region, ticket_id, milestone in due:
                steps = advance(milestone, at)
                changed.extend(steps[-1:])
                told.extend((ticket_id, no, region, _stage_event(step, at)) for step in steps)
            tickets.save_milestones(connection, changed)
            tickets.append_all(connection, told)
            return len(due)

        return await self._store.run(work)

    # What people look at

    async def ticket(self, no: str, by: Actor) -> Ticket:
        """Return a ticket, or raise UnknownTicket."""

        def work(connection: sa.Connection) -> Ticket:
            return _visible(connection, no, by)

        return await self._store.read(work)

    async def history(self, no: str, by: Actor) -> list[Event]:
        """Return a ticket's events, oldest first, or raise UnknownTicket."""

        def work(connection: sa.Connection) -> list[Event]:
            return tickets.events(connection, _visible(connection, no, by))

        return await self._store.read(work)

    async def page(self, by: Actor, wanted: Filter) -> list[Ticket]:
        """Return a page of the tickets that the caller may see, newest first."""
        return await self._store.read(lambda connection: tickets.page(connection, by, wanted))

    async def sorting(self, by: Actor, wanted: Filter) -> tuple[list[Ticket], dict[int, Event]]:
        """Return a page of what waits for manual sorting, and by ticket id the sending back
        (退单) of what a unit sent back. Raises Forbidden for handlers and sources."""
        if by.role in {Role.HANDLER, Role.SOURCE}:
            raise Forbidden(by.role, "queue")

        def work(connection: sa.Connection) -> tuple[list[Ticket], dict[int, Event]]:
            found = tickets.page(connection, by, replace(wanted, state=State.SORTING))
            return found, tickets.latest(connection, found, Act.SEND_BACK)

        return await self._store.read(work)

    async def queue(
        self, unit: str, by: Actor, limit: int = 200, *, state: str = "", stage: str = ""
    ) -> list[Ticket]:
        """Return what a unit owes, what falls due first on top: all, or of one state, or with a
        clock of the unit in one stage. Raises Forbidden for a handler of another unit and for a
        source."""
        if by.role is Role.SOURCE or (by.role is Role.HANDLER and unit not in by.units):
            raise Forbidden(by.role, "queue")
        return await self._store.read(
            lambda connection: tickets.queue(connection, by, unit, limit, state=state, stage=stage)
        )

    async def loads(self, by: Actor, since: datetime, until: datetime) -> Sequence[UnitLoad]:
        """Return what each unit of the caller's region owes, and how punctual it was since `since`;
        `until` ends the day of what is due today. Raises Forbidden for handlers and sources."""
        if by.role in {Role.HANDLER, Role.SOURCE}:
            raise Forbidden(by.role, "overview")
        return await self._store.read(
            lambda connection: unit_loads(connection, by.region, since, until)
        )

    def _unit(self, pointer: str, code: str) -> UnitRef:
        unit = self._router.unit(code)
        if unit is None:
            raise UnknownUnit(pointer, code)
        return UnitRef(unit.code, unit.name)


def offered(by: Actor, ticket: Ticket) -> tuple[Act, ...]:
    """Return the acts that the ticket as it stands allows this caller, in a ticket's order."""
    return tuple(
        act for act in allowed(ticket.state) if _may(by, act, ticket) and _fits(act, ticket)
    )


def may_read_contact(by: Actor, ticket: Ticket) -> bool:
    """Whether `read_contact` would answer this caller."""
    return _may(by, _calling(by), ticket)


def _fits(act: Act, ticket: Ticket) -> bool:
    if act is Act.CLOSE:
        return acts.may_close(ticket)
    return not (act is Act.REOPEN and ticket.is_counted_only)


def _may(by: Actor, act: Act, ticket: Ticket) -> bool:
    try:
        _check_may(by, act, ticket)
    except Forbidden:
        return False
    return True


def _calling(by: Actor) -> Act:
    """Return the act for which this caller would ring the citizen up."""
    return Act.CONTACT if by.role is Role.HANDLER else Act.CALL_BACK


def _visible(connection: sa.Connection, no: str, by: Actor) -> Ticket:
    ticket = tickets.get(connection, no)
    if ticket is None or not _sees(by, ticket):
        raise UnknownTicket(no)
    return ticket


def _sees(by: Actor, ticket: Ticket) -> bool:
    return sees(by, region=ticket.region, units=ticket.units, source=ticket.complaint.source)


def _check_may(by: Actor, act: Act, ticket: Ticket) -> None:
    """Raise Forbidden where the role may not act, or the unit is only assisting."""
    check_act(by, act)
    leads = ticket.lead is not None and ticket.lead.unit in by.units
    if by.role is Role.HANDLER and not leads and act is not Act.NOTE:
        raise Forbidden(by.role, act)


def _event(
    act: str,
    ticket: Ticket,
    by: Actor,
    at: datetime,
    content: dict[str, Any],
    *,
    unit: str | None = None,
) -> Event:
    if unit is None:
        unit = ticket.lead.unit if ticket.lead else ""
    return Event(str(act), at, by.name, by.role, content, ticket.version, unit)


def _stage_event(milestone: Milestone, at: datetime) -> Event:
    content = {
        "milestone": milestone.kind,
        "clock": milestone.clock,
        "stage": milestone.stage,
        "due_at": milestone.due_at.astimezone(SHANGHAI).isoformat(),
    }
    return Event("stage", at, SYSTEM.name, SYSTEM.role, content, unit=milestone.unit)


def _plain(value: Any) -> Any:
    return value.astimezone(SHANGHAI).isoformat() if isinstance(value, datetime) else value
