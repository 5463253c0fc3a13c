"""The desk: one method for each act, one transaction for each method.

How a ticket moves: `receive` makes it from a complaint; an act reads it under a lock, asks
`domain.acts` what it becomes, writes the difference with an event, commits, and only then answers.
`enforce` moves the stages of what falls due. Decisions are pure and live in `service.domain`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
import structlog

from service import timekeeping
from service.domain import acts
from service.domain.access import (
    ASSIST_ACTS,
    SYSTEM,
    Actor,
    Forbidden,
    Role,
    check_act,
    sees,
)
from service.domain.calendar import SHANGHAI
from service.domain.complaint import Complaint, Contact, Kind, UnitRef, Urgency, veiled
from service.domain.confidence import withheld
from service.domain.deadline import parse_limit
from service.domain.lifecycle import ASSISTS, FINISHED, MOVES, Act, State, move
from service.domain.limits import Timetable
from service.domain.personal import OF_THE_PERSON, Sort, masked
from service.domain.ports import Router
from service.domain.region import covers
from service.domain.ticket import Clock, Delivery, Event, Level, MilestoneKind, Recipient, Ticket
from service.mishaps import findable, outcome
from service.store import Store, tickets
from service.store.figures import UnitLoad, unit_loads
from service.store.tickets import Filter, Stale, Which
from service.timekeeping import Moved


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


@dataclass(frozen=True, slots=True)
class Recalculated:
    """What a recalculation does to a batch of tickets. `last` is where the next batch goes on, None
    at the end."""

    last: int | None
    tickets: int
    moved: Sequence[Moved]


_RECALCULATED_AT_ONCE = 100
# How long a ticket rests that a job cannot do: what is wrong with it is looked at by a person.
_SET_ASIDE = timedelta(minutes=10)

log = structlog.get_logger()

# What an act makes of a ticket, done by an assisting unit or, for "", by whom it belongs to.
Change = Callable[[Ticket, str], Ticket]
# What an act writes besides, from the ticket before and after it; returns more for its event.
Also = Callable[[sa.Connection, Ticket, Ticket], dict[str, Any]]


class Desk:
    """Every change to a ticket goes through here."""

    def __init__(self, store: Store, router: Router, times: Timetable) -> None:
        self._store = store
        self._router = router
        self._times = times
        self._aside: dict[int, datetime] = {}

    # What comes in

    async def receive(
        self, complaint: Complaint, fingerprint: str, at: datetime, by: Actor = SYSTEM
    ) -> Receipt:
        """Store a complaint and say what became of it.

        The same source number again is the same ticket: the same body is a duplicate and changes
        nothing, another one is a supplement (补充) with an event of its own. Raises Forbidden for a
        sender whose region the complaint, or the ticket it belongs to, does not lie in.
        """
        if not covers(by.region, complaint.region):
            raise Forbidden(by.role, "intake")
        # Routed before the transaction: a pure function has no business under a lock.
        route = self._router.route(complaint)
        coordinator = self._router.coordinator(complaint.region).code

        def work(connection: sa.Connection) -> Receipt:
            known = tickets.find(connection, complaint.source, complaint.source_no)
            if known is not None:
                if not _sees(by, known):
                    raise Forbidden(by.role, "intake")
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
        current = timekeeping.caught_up(connection, ticket, at, self._times, self._router)
        changed_ticket = acts.supplement(current, complaint, at, self._times)
        after = replace(changed_ticket, version=current.version + 1)
        stored = tickets.save(connection, ticket, after)
        fields = ("title", "content", "place", "kind", "urgency", "sender_due_at", "clock_from")
        changed = {
            name: _plain(getattr(complaint, name))
            for name in fields
            if getattr(complaint, name) != getattr(old, name)
        }
        # What took effect at once: a new number to call, a wish to stay unnamed.
        changed |= {
            name: getattr(changed_ticket.complaint, name)
            for name in ("confidential", "anonymous")
            if getattr(changed_ticket.complaint, name) != getattr(old, name)
        }
        if changed_ticket.complaint.contact != old.contact:
            before, now = old.contact.masked(), changed_ticket.complaint.contact.masked()
            changed |= {"contact_before": before.phone, "contact_now": now.phone}
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
            lambda t, _: acts.dispatch(
                t, lead, helping, self._coordinator(t), order.at, self._times
            ),
        )

    async def sign(self, order: Order) -> Ticket:
        """签收: the lead takes the ticket on, or an assisting unit its part."""
        return await self._perform(
            order, Act.SIGN, {}, lambda t, unit: acts.sign(t, unit, order.at, self._times)
        )

    async def send_back(
        self, order: Order, *, reason: str, basis: str, suggested_unit: str = ""
    ) -> Ticket:
        """退单: the lead gives the ticket back to be sorted, with a reason and where it belongs.

        Raises RuleForbids after the policy's window.
        """
        if suggested_unit:
            self._unit("/suggested_unit", suggested_unit)
        content = {"reason": reason, "basis": basis, "suggested_unit": suggested_unit}
        return await self._perform(
            order,
            Act.SEND_BACK,
            content,
            lambda t, _: acts.send_back(t, self._coordinator(t), order.by, order.at, self._times),
        )

    async def rule(self, order: Order, *, unit: str, reason: str, document: str) -> Ticket:
        """裁定: decide which unit a ticket belongs to that was sent back; a precedent from now on."""
        lead = self._unit("/unit", unit)

        def kept(connection: sa.Connection, _before: Ticket, after: Ticket) -> dict[str, Any]:
            words = acts.ruling_words(after)
            tickets.keep_ruling(connection, after, words, document, reason, order.by.name, order.at)
            return {"words": list(words)}

        return await self._perform(
            order,
            Act.RULE,
            {"unit": unit, "reason": reason, "document": document},
            lambda t, _: acts.rule(t, lead, self._coordinator(t), order.at, self._times),
            kept,
        )

    async def contact(self, order: Order, *, text: str) -> Ticket:
        """首次联系: the lead has spoken to the citizen."""
        return await self._perform(
            order, Act.CONTACT, {"text": text}, lambda t, _: acts.contact(t, order.at)
        )

    async def request_extension(self, order: Order, *, amount: str, reason: str) -> Ticket:
        """申请延期: ask for more time, before the time is over. Raises LimitError or RuleForbids."""
        asked = parse_limit(amount)
        return await self._perform(
            order,
            Act.REQUEST_EXTENSION,
            {"amount": str(asked), "reason": reason},
            lambda t, _: acts.request_extension(t, asked, reason, order.by, order.at, self._times),
        )

    async def decide_extension(self, order: Order, *, granted: bool, reason: str) -> Ticket:
        """审批延期: grant what was asked for or refuse it; never one's own. The citizen is told."""

        def tell(connection: sa.Connection, before: Ticket, after: Ticket) -> dict[str, Any]:
            asked = after.extensions[-1]
            said: dict[str, Any] = {"amount": asked.amount}
            if granted:
                # The sender's limit is nothing that anybody granted the citizen.
                owed = after.owed(MilestoneKind.RESOLVE)
                ends = _plain(next(m.due_at for m in owed if m.clock is Clock.OWN))
                said["due_at"] = ends
                word = Delivery("extension", Recipient.CITIZEN, "", {"due_at": ends})
                self._deliver(connection, after, order.at, word)
            return said

        return await self._perform(
            order,
            Act.DECIDE_EXTENSION,
            {"granted": granted, "reason": reason},
            lambda t, _: acts.decide_extension(t, order.by, order.at, self._times, granted=granted),
            tell,
        )

    async def pause(self, order: Order, *, reason: str) -> Ticket:
        """挂起: let the clocks stand still, for one of the reasons that the policy allows; it ends by
        itself after the longest time that the policy allows."""

        def tell(_connection: sa.Connection, _before: Ticket, after: Ticket) -> dict[str, Any]:
            label = acts.policy_of(after, self._times).pauses.reasons[reason]
            return {"reason": label, "until": _plain(after.pauses[-1].until)}

        return await self._perform(
            order,
            Act.PAUSE,
            {"code": reason},
            lambda t, _: acts.pause(t, reason, order.at, self._times),
            tell,
        )

    async def resume(self, order: Order) -> Ticket:
        """恢复办理: let the clocks run on, the time that they stood still given back."""
        return await self._perform(
            order, Act.RESUME, {}, lambda t, _: acts.resume(t, order.at, self._times)
        )

    async def resolve(
        self, order: Order, *, public_reply: str, internal_finding: str, solved: bool
    ) -> Ticket:
        """办结: the lead answers; the public reply is for the citizen, the finding stays inside. An
        assisting unit's answer (反馈) is for the lead."""
        content = {
            "public_reply": public_reply,
            "internal_finding": internal_finding,
            "solved": solved,
        }

        def resolved(ticket: Ticket, assisting: str) -> Ticket:
            if assisting:
                return acts.feed_back(ticket, assisting, order.at)
            return acts.resolve(ticket, self._coordinator(ticket), order.at, self._times)

        return await self._perform(order, Act.RESOLVE, content, resolved)

    async def call_back(
        self, order: Order, *, reached: bool, solved: bool | None, grade: int | None, text: str
    ) -> Ticket:
        """回访: ask the citizen whether it is solved and how good it was, 1 to 5."""
        content = {"reached": reached, "solved": solved, "grade": grade, "text": text}
        return await self._perform(
            order, Act.CALL_BACK, content, lambda t, _: acts.call_back(t, order.at)
        )

    async def close(self, order: Order) -> Ticket:
        """结案. Raises CallBackOwed while a citizen who left a number has not been called back."""

        def closed(ticket: Ticket, _assisting: str) -> Ticket:
            if not acts.may_close(ticket):
                raise CallBackOwed
            return ticket

        return await self._perform(order, Act.CLOSE, {}, closed)

    async def reopen(self, order: Order, *, reason: str) -> Ticket:
        """重办: the same unit does it again; it counts against the unit that answered first."""
        return await self._perform(
            order,
            Act.REOPEN,
            {"reason": reason},
            lambda t, _: acts.reopen(t, self._coordinator(t), order.at, self._times),
            lambda _connection, before, _after: {"counts_against": acts.first_handler(before)},
        )

    async def merge(self, order: Order, *, into: str, reason: str) -> Ticket:
        """并单: make a ticket part of another one. Raises UnknownTicket for one not to be seen."""
        other: list[Ticket] = []

        def joined(ticket: Ticket, _assisting: str) -> Ticket:
            return acts.merge(ticket, other[0], order.at)

        def tell(connection: sa.Connection, before: Ticket, _after: Ticket) -> dict[str, Any]:
            content = {"from": before.no, "reason": reason}
            event = _event("merged_here", other[0], order.by, order.at, content)
            tickets.append(connection, other[0], event)
            return {}

        def both(connection: sa.Connection) -> None:
            tickets.lock(connection, order.no, into)
            other[:] = [_visible(connection, into, order.by)]

        return await self._perform(
            order, Act.MERGE, {"into": into, "reason": reason}, joined, tell, first=both
        )

    async def supervise(self, order: Order, *, level: Level, text: str) -> Ticket:
        """督办: press the unit for its answer, with a card or without."""

        def tell(connection: sa.Connection, _before: Ticket, after: Ticket) -> dict[str, Any]:
            unit = after.lead.unit if after.lead else self._coordinator(after)
            word = Delivery("supervision", Recipient.UNIT, unit, {"level": level, "text": text})
            self._deliver(connection, after, order.at, word)
            return {}

        return await self._perform(
            order,
            Act.SUPERVISE,
            {"level": level, "text": text},
            lambda t, _: acts.supervise(t, level, text, order.by, order.at),
            tell,
        )

    async def reclassify(
        self, order: Order, *, kind: Kind | None, urgency: Urgency | None, reason: str
    ) -> Ticket:
        """更正分类: put right what sort of demand it is, or how urgent; None leaves it."""

        def told(_connection: sa.Connection, before: Ticket, after: Ticket) -> dict[str, Any]:
            return {"kind": after.complaint.kind, "urgency": after.complaint.urgency} | {
                f"{name}_before": getattr(before.complaint, name) for name in ("kind", "urgency")
            }

        return await self._perform(
            order,
            Act.RECLASSIFY,
            {"reason": reason},
            lambda t, _: acts.reclassify(
                t, kind or t.complaint.kind, urgency or t.complaint.urgency
            ),
            told,
        )

    async def note(self, order: Order, *, text: str) -> Ticket:
        """备注: write something into the history."""
        return await self._perform(order, Act.NOTE, {"text": text}, lambda t, _: t)

    async def _perform(
        self,
        order: Order,
        act: Act,
        content: dict[str, Any],
        change: Change,
        also: Also | None = None,
        first: Callable[[sa.Connection], None] | None = None,
    ) -> Ticket:
        """Do one act in one transaction: check who and when, bring the ticket up to now, change,
        write, remember the key.

        Raises UnknownTicket, Forbidden, Stale, IllegalMove, RuleForbids or KeyReused; then nothing
        is written.
        """

        def work(connection: sa.Connection) -> Ticket:
            if first:
                first(connection)
            ticket = tickets.get(connection, order.no, lock=True)
            replay = tickets.find_key(connection, order.by.id, order.key) if order.key else None
            if replay and (replay.request, replay.ticket_no) != (order.request, order.no):
                raise KeyReused
            # Who gave a ticket away may not see it any more, but gets the answer again that he got:
            # the ticket as his act left it, and nothing that others did since.
            as_answered = replay is not None and ticket and ticket.version == replay.version
            if ticket is None or not (as_answered or _sees(order.by, ticket)):
                raise UnknownTicket(order.no)
            if replay:
                return ticket
            _check_may(order.by, act, ticket)
            if ticket.version != order.version:
                raise Stale(ticket.version)
            current = timekeeping.caught_up(connection, ticket, order.at, self._times, self._router)
            assisting = _assisting(order.by, act, current)
            state = move(current.state, act, assisting=bool(assisting))
            after = replace(change(current, assisting), state=state, version=current.version + 1)
            stored = tickets.save(connection, ticket, after)
            more = also(connection, current, stored) if also else {}
            # Whom the act concerns: the unit that had the ticket when it happened.
            had = current.lead or stored.lead
            unit = assisting or (had.unit if had else "")
            event = _event(act, stored, order.by, order.at, content | more, unit=unit)
            tickets.append(connection, stored, event)
            if order.key:
                tickets.keep_key(
                    connection, order.by.id, order.key, order.request, stored, order.at
                )
            return stored

        try:
            return await self._store.run(work)
        except tickets.Raced:
            raise KeyReused from None

    def _deliver(
        self, connection: sa.Connection, ticket: Ticket, at: datetime, delivery: Delivery
    ) -> None:
        tickets.deliver_all(connection, [(ticket.id, ticket.no, ticket.region, delivery)], at)

    def _coordinator(self, ticket: Ticket) -> str:
        return self._router.coordinator(ticket.region).code

    async def read_contact(self, no: str, by: Actor, at: datetime, *, reason: str) -> Contact:
        """Return a citizen's name and number, and write down who read them and why.

        Raises UnknownTicket, or Forbidden for who has no call to speak to the citizen.
        """

        def work(connection: sa.Connection) -> Contact:
            ticket = _visible(connection, no, by)
            _check_may(by, _calling(by), ticket)
            if not may_read_contact(by, ticket):
                raise Forbidden(by.role, "read_contact")
            event = _event("read_contact", ticket, by, at, {"reason": reason})
            tickets.append(connection, ticket, event)
            return ticket.complaint.contact

        return await self._store.run(work)

    # What time does

    async def enforce(self, at: datetime, batch: int = 500) -> int:
        """Take the steps that have come by `at` for a batch of milestones, after ending the pauses
        that are over; return how many milestones and pauses there were.

        As many as a batch or more mean that there may be more. Each step leaves one event, on
        whichever replica it happens: the rows are claimed, changed and told of in one transaction.
        """

        def work(which: Which, connection: sa.Connection) -> int:
            woken = timekeeping.wake(connection, at, self._times, which)
            return woken + timekeeping.enforce(connection, at, batch, self._router, which)

        return await self._in_batches(
            "enforce", at, work, lambda c, which: tickets.due_ids(c, at, batch, which)
        )

    async def settle(self, at: datetime, batch: int = 200) -> int:
        """Work out a batch of clocks anew that were provisional and whose days are published by
        now; return how many tickets there were."""
        return await self._in_batches(
            "settle",
            at,
            lambda which, c: timekeeping.settle(c, at, batch, self._times, self._router, which),
            lambda c, which: timekeeping.provisional(c, batch, self._times, which),
        )

    async def _in_batches(
        self,
        job: str,
        at: datetime,
        work: Callable[[Which, sa.Connection], int],
        ids: Callable[[sa.Connection, Which], list[int]],
    ) -> int:
        """Do a batch of a job in one transaction, or if that fails ticket by ticket; return how many
        it did. A ticket that fails alone is left for a while, so that it holds up no other."""
        self._aside = {no: until for no, until in self._aside.items() if until > at}
        rest = Which(but=self._aside)
        found = await outcome(self._store.run(partial(work, rest)))
        if isinstance(found, int):
            return found
        done = 0
        for ticket_id in await self._store.read(lambda connection: ids(connection, rest)):
            one = partial(work, Which(only=ticket_id))
            found = await outcome(self._store.run(one))
            if isinstance(found, int):
                done += found
                continue
            self._aside[ticket_id] = at + _SET_ASIDE
            log.error("ticket.set_aside", job=job, ticket_id=ticket_id, **findable(found))
        return done

    async def recalculate(
        self, by: Actor, at: datetime, after: int, *, region: str = "", apply: bool = False
    ) -> Recalculated:
        """Work out the open clocks of the next batch of tickets anew, by the calendar and limits of
        today, and return what moves; nothing is written unless it is applied.

        `after` is the last ticket of the batch before, 0 at first. What was applied before is found
        unchanged: whoever was interrupted begins anew.
        """

        def shown(connection: sa.Connection) -> Recalculated:
            found = tickets.claim_open(connection, after, _RECALCULATED_AT_ONCE, region=region)
            moved = [
                change
                for ticket in found
                for change in timekeeping.moved(ticket, acts.recalculated(ticket, at, self._times))
            ]
            return Recalculated(found[-1].id if found else None, len(found), moved)

        def applied(connection: sa.Connection) -> Recalculated:
            found = tickets.claim_open(
                connection, after, _RECALCULATED_AT_ONCE, region=region, lock=True
            )
            moved = timekeeping.recalculate(
                connection, found, by, at, self._times, self._router, limits_too=True
            )
            return Recalculated(found[-1].id if found else None, len(found), moved)

        return await (self._store.run(applied) if apply else self._store.read(shown))

    # What people look at

    async def ticket(self, no: str, by: Actor) -> Ticket:
        """Return a ticket, or raise UnknownTicket."""

        def work(connection: sa.Connection) -> Ticket:
            return shown(by, _visible(connection, no, by))

        return await self._store.read(work)

    async def history(self, no: str, by: Actor) -> list[Event]:
        """Return a ticket's events, oldest first, or raise UnknownTicket."""

        def work(connection: sa.Connection) -> list[Event]:
            ticket = _visible(connection, no, by)
            return [_event_shown(by, ticket, each) for each in tickets.events(connection, ticket)]

        return await self._store.read(work)

    async def page(self, by: Actor, wanted: Filter) -> list[Ticket]:
        """Return a page of the tickets that the caller may see, newest first unless asked otherwise."""
        found = await self._store.read(lambda connection: tickets.page(connection, by, wanted))
        return [shown(by, ticket) for ticket in found]

    async def sorting(self, by: Actor, wanted: Filter) -> tuple[list[Ticket], dict[int, Event]]:
        """Return a page of what waits for manual sorting, oldest first, and by ticket id the sending back
        (退单) of what a unit sent back. Raises Forbidden for handlers and sources."""
        if by.role in {Role.HANDLER, Role.SOURCE}:
            raise Forbidden(by.role, "queue")

        def work(connection: sa.Connection) -> tuple[list[Ticket], dict[int, Event]]:
            waiting = replace(wanted, state=State.SORTING, oldest_first=True)
            found = tickets.page(connection, by, waiting)
            back = tickets.latest(connection, found, Act.SEND_BACK)
            return (
                [shown(by, ticket) for ticket in found],
                {t.id: _event_shown(by, t, back[t.id]) for t in found if t.id in back},
            )

        return await self._store.read(work)

    async def queue(
        self, unit: str, by: Actor, limit: int = 200, *, state: str = "", stage: str = ""
    ) -> list[Ticket]:
        """Return what a unit owes, what falls due first on top: all, or of one state, or with a
        clock of the unit in one stage. Raises Forbidden for a handler of another unit and for a
        source."""
        if by.role is Role.SOURCE or (by.role is Role.HANDLER and unit not in by.units):
            raise Forbidden(by.role, "queue")
        found = await self._store.read(
            lambda connection: tickets.queue(connection, by, unit, limit, state=state, stage=stage)
        )
        return [shown(by, ticket) for ticket in found]

    async def loads(
        self, by: Actor, at: datetime, since: datetime, until: datetime
    ) -> Sequence[UnitLoad]:
        """Return what each unit of the caller's region owes at `at`, and how punctual it was since `since`;
        `until` ends the day of what is due today. Raises Forbidden for handlers and sources."""
        if by.role in {Role.HANDLER, Role.SOURCE}:
            raise Forbidden(by.role, "overview")
        return await self._store.read(
            lambda connection: unit_loads(connection, by.region, at, since, until)
        )

    def _unit(self, pointer: str, code: str) -> UnitRef:
        unit = self._router.unit(code)
        if unit is None:
            raise UnknownUnit(pointer, code)
        return UnitRef(unit.code, unit.name)


def offered(by: Actor, ticket: Ticket) -> tuple[Act, ...]:
    """Return the acts that the ticket as it stands allows this caller, in a ticket's order."""
    return tuple(act for act in Act if _may(by, act, ticket) and _allows(act, ticket, by))


def may_read_contact(by: Actor, ticket: Ticket) -> bool:
    """Whether `read_contact` would answer this caller.

    From whom it is kept who complained has no number to call: the coordinator rings. A unit has no
    call to ring anybody about what is over either.
    """
    if by.role is Role.HANDLER and (is_withheld(by, ticket) or ticket.state in FINISHED):
        return False
    return _may(by, _calling(by), ticket)


# What a ticket must have besides its state for an act to be worth offering.
_FITS: dict[Act, Callable[[Ticket], bool]] = {
    Act.CLOSE: acts.may_close,
    Act.REOPEN: lambda t: not t.is_counted_only,
    Act.RULE: lambda t: t.sent_back > 0,
    Act.REQUEST_EXTENSION: lambda t: t.pending is None,
    Act.DECIDE_EXTENSION: lambda t: t.pending is not None,
}
_MET_BY = {Act.SIGN: MilestoneKind.SIGN, Act.RESOLVE: MilestoneKind.RESOLVE}


def _assisting(by: Actor, act: Act, ticket: Ticket) -> str:
    """Return the assisting unit for which a handler does an act, "" where it is the lead's to do.

    Who works for both signs as the lead first and answers as the lead last.
    """
    if by.role is not Role.HANDLER or act not in _MET_BY:
        return ""
    helping = [ref.unit for ref in ticket.assist if ref.unit in by.units]
    owing = [unit for unit in helping if ticket.owed(_MET_BY[act], by=unit)]
    if _leads(by, ticket):
        first = act is Act.SIGN and ticket.owed(MilestoneKind.SIGN)
        return owing[0] if owing and not first else ""
    return (owing or helping or [""])[0]


def _leads(by: Actor, ticket: Ticket) -> bool:
    return ticket.lead is not None and ticket.lead.unit in by.units


def _allows(act: Act, ticket: Ticket, by: Actor) -> bool:
    """Whether the ticket as it stands lets the caller do the act."""
    assisting = _assisting(by, act, ticket)
    if assisting:
        return (ticket.state, act) in ASSISTS and bool(ticket.owed(_MET_BY[act], by=assisting))
    fits = _FITS.get(act)
    return (ticket.state, act) in MOVES and (fits is None or fits(ticket))


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
    # A unit that owes something sees what it owes it for, lead or not: the coordinator's list too.
    units = (*ticket.units, *(milestone.unit for milestone in ticket.open()))
    return sees(by, region=ticket.region, units=units, source=ticket.complaint.source)


def is_withheld(by: Actor, ticket: Ticket) -> bool:
    """Whether it is kept from the caller's units who complained (保密, 匿名, 举报)."""
    if by.role is not Role.HANDLER:
        return False
    refs = (*((ticket.lead,) if ticket.lead else ()), *ticket.assist)
    return withheld(ticket.complaint, [ref.name for ref in refs if ref.unit in by.units])


def shown(by: Actor, ticket: Ticket) -> Ticket:
    """Return the ticket as a role sees it.

    All personal data in free text is masked for an auditor. A unit from which it is kept who
    complained sees no name and no number, and none in the text but plates, which may be the matter.
    """
    told = ticket.complaint
    if by.role is Role.AUDITOR:
        hidden = replace(
            told, title=veiled(told.title), content=veiled(told.content), place=veiled(told.place)
        )
    elif is_withheld(by, ticket):
        hidden = replace(
            told,
            title=masked(told.title, OF_THE_PERSON),
            content=masked(told.content, OF_THE_PERSON),
            place=masked(told.place, OF_THE_PERSON),
            contact=Contact(),
            extra={},
        )
    else:
        return ticket
    return replace(ticket, complaint=hidden)


_OF_THE_CITIZEN = frozenset({"contact_before", "contact_now"})


def _event_shown(by: Actor, ticket: Ticket, event: Event) -> Event:
    """Return an event as a role sees it, like its ticket."""
    kept = is_withheld(by, ticket)
    if by.role is not Role.AUDITOR and not kept:
        return event
    sorts = OF_THE_PERSON if kept else frozenset(Sort)
    content = {
        name: masked(value, sorts) if isinstance(value, str) else value
        for name, value in event.content.items()
        if not (kept and name in _OF_THE_CITIZEN)
    }
    return replace(event, content=content)


def _check_may(by: Actor, act: Act, ticket: Ticket) -> None:
    """Raise Forbidden where the role may not act, or the unit is only assisting."""
    check_act(by, act)
    if by.role is Role.HANDLER and not _leads(by, ticket) and act not in ASSIST_ACTS:
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


def _plain(value: Any) -> Any:
    return value.astimezone(SHANGHAI).isoformat() if isinstance(value, datetime) else value
