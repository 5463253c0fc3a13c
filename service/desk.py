"""The desk: one method for each act, one transaction for each method.

How a ticket moves: `receive` makes it from a complaint; an act reads it under a lock, asks
`domain.acts` what it becomes, writes the difference with an event, commits, and only then answers.
`enforce` moves the stages of what falls due. Decisions are pure and live in `service.domain`.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cache, partial
from typing import Any

import sqlalchemy as sa
import structlog

from service import timekeeping
from service.domain import acts, deeds, history
from service.domain import delivery as leaving
from service.domain.access import (
    SYSTEM,
    Actor,
    Ask,
    Forbidden,
    Reach,
    Role,
    check_act,
    reach,
    sees,
)
from service.domain.calendar import SHANGHAI
from service.domain.complaint import Complaint, Contact, Decision, Kind, Route, UnitRef, Urgency
from service.domain.confidence import unnamed, withheld
from service.domain.deeds import MET_BY, Deed, Deeds, check_may
from service.domain.flow import Bucket, Rate, take
from service.domain.history import IMPORTED, Past, Place, Standing
from service.domain.lifecycle import ASSISTS, FINISHED, MOVES, Act, State
from service.domain.limits import Timetable
from service.domain.personal import FREE_TEXTS, hidden, masked, said
from service.domain.ports import Router, Unit
from service.domain.region import covers
from service.domain.sample import CheckedBy, Finding
from service.domain.similar import number
from service.domain.ticket import (
    Delivery,
    Event,
    Level,
    MilestoneKind,
    Ticket,
    Word,
)
from service.domain.values import replace
from service.mishaps import findable, outcome
from service.store import (
    Store,
    StoreUnavailable,
    deliveries,
    lists,
    messages,
    samples,
    search,
    tickets,
)
from service.store.bulk import Row
from service.store.deliveries import Receivers
from service.store.engine import NotPrepared, refused
from service.store.figures import UnitLoad, unit_loads
from service.store.leases import LeaseLost
from service.store.lists import ALL, Due, Filter, Owed, Queue
from service.store.messages import Message
from service.store.pages import Page
from service.store.search import Words
from service.store.tickets import Known, Stale, Which
from service.store.words import words as cut
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


@dataclass(frozen=True, slots=True)
class Told:
    """What people told of themselves, unmasked. `history` is what is masked of events, by their id and
    field."""

    contact: Contact
    title: str
    content: str
    place: str
    history: Mapping[int, Mapping[str, str]]


class ReadsTooMuch(Exception):
    """Somebody reads more contacts than anybody can ring up; `wait_s` says when the next may be read."""

    def __init__(self, wait_s: int) -> None:
        super().__init__()
        self.wait_s = wait_s


class MadeAnonymous(Exception):
    """The ticket was made anonymous: nothing is left to be read."""


class NoNumber(Exception):
    """What was asked for is no telephone number."""


class KeyReused(Exception):
    """The Idempotency-Key was used for something else before."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a payload: a new ticket, or a repeat of or a supplement to one."""

    ticket: Ticket
    duplicate: bool = False
    supplemented: bool = False


Sent = tuple[str, str]  # a source and its number


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came in: a complaint, its body's fingerprint, when, from whom, and of a signed push which
    one it is."""

    complaint: Complaint
    fingerprint: str
    at: datetime
    by: Actor = SYSTEM
    message: Message | None = None


@dataclass(frozen=True, slots=True)
class Routed:
    """An arrival with the ticket that it makes if it is new, which has no number yet, and the words by
    which that is found."""

    arrival: Arrival
    ticket: Ticket
    words: Words

    @property
    def sent(self) -> Sent:
        """Return by what its source knows it."""
        return self.arrival.complaint.source, self.arrival.complaint.source_no


def _nothing_else(_connection: sa.Connection, _found: Sequence[Receipt | Exception]) -> None:
    pass


class Fate(StrEnum):
    """What becomes of a row of a file."""

    TAKEN = "taken"  # 导入
    KNOWN = "known"  # 已在库中
    REFUSED = "refused"  # 退回


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a row: `why` says what a person should know, in Chinese. `ticket` is None if
    there is none of this row; `is_late` is what the next tick will supervise."""

    past: Past
    fate: Fate
    why: tuple[str, ...] = ()
    ticket: Ticket | None = None
    is_late: bool = False


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


@dataclass(frozen=True, slots=True)
class Settled:
    """What settling did to a batch of tickets. `last` is where the next batch goes on, None at the
    end."""

    last: int | None
    tickets: int


_RECALCULATED_AT_ONCE = 100
_RACES = 3
# As fast as somebody can ring people up, on each replica; who copies numbers is told to wait.
_READINGS = Rate(per_minute=6, burst=30)
_READERS_MOST = 10_000
# How long a ticket rests that a job cannot do: what is wrong with it is looked at by a person.
_SET_ASIDE = timedelta(minutes=10)

log = structlog.get_logger()

_NO_SUCH_UNIT = "所写承办单位不在责任单位表中，请核对"
_NO_SUCH_ASSIST = "所写协办单位有的不在责任单位表中，请核对"
_NOT_ROUTED = "历史导入，由原系统派单"

# The unit that a name means, written in a region on a day.
Named = Callable[[str, str, date], Unit | None]
# Tickets with what a caller may know of others.
Linked = Callable[[sa.Connection, Actor, Sequence[Ticket]], list[Ticket]]
# What an act writes besides, from the ticket before and after it; returns more for its event.
Also = Callable[[sa.Connection, Ticket, Ticket], dict[str, Any]]


class Desk:
    """Every change to a ticket goes through here."""

    def __init__(
        self,
        store: Store,
        router: Router,
        times: Timetable,
        receivers: Receivers | None = None,
        committed: Callable[[], None] = lambda: None,
        linked: Linked = lambda _connection, _by, found: list(found),
    ) -> None:
        """`receivers` are the outside systems that are told, by destination; `committed` is called
        after each transaction, for whoever sends what it wrote; `linked` adds to a ticket that is
        answered what the caller may know of others of the same matter."""
        self._store = store
        self._router = router
        self._times = times
        self._receivers = receivers or {}
        self._committed = committed
        self._linked = linked
        self._aside: dict[int, datetime] = {}
        self._readings: dict[str, Bucket] = {}

    @property
    def router(self) -> Router:
        """Return who routes now."""
        return self._router

    @property
    def _deeds(self) -> Deeds:
        return Deeds(self._times, self._coordinator)

    @property
    def times(self) -> Timetable:
        """Return the calendars, limits and policies by which it decides now."""
        return self._times

    def go_by(self, router: Router | None = None, times: Timetable | None = None) -> None:
        """Decide by other rules from now on; what was decided stays.

        An act that is under way may end by either. What it counted by a calendar without the year
        that has come since is provisional, and found when it is settled again.
        """
        self._router = router or self._router
        self._times = times or self._times

    # What comes in

    async def receive(
        self,
        complaint: Complaint,
        fingerprint: str,
        at: datetime,
        by: Actor = SYSTEM,
        message: Message | None = None,
    ) -> Receipt:
        """Store a complaint and say what became of it.

        The same source number again is the same ticket: the same body is a duplicate and changes
        nothing, another one is a supplement (补充) with an event of its own. Raises Forbidden for a
        sender whose region the complaint, or the ticket it belongs to, does not lie in, and
        MessageReused for a signed push whose id came before with another body.
        """
        arrival = self.routed(Arrival(complaint, fingerprint, at, by, message))
        (receipt,) = await self.receive_together([arrival])
        if isinstance(receipt, Exception):
            raise receipt
        return receipt

    def routed(self, arrival: Arrival) -> Routed:
        """Route what came in, set its clocks and cut its words, before any transaction: a pure function
        has no business under a lock."""
        complaint = arrival.complaint
        route = self._router.route(complaint)
        coordinator = self._router.coordinator(complaint.region, complaint.coordinator).code
        ticket = acts.receive("", complaint, route, coordinator, arrival.at, self._times)
        return Routed(arrival, ticket, searched(complaint))

    async def receive_all(
        self,
        arrivals: Sequence[Arrival],
        also: Callable[[sa.Connection, Sequence[Receipt | Exception]], None],
    ) -> Sequence[Receipt | Exception]:
        """Route and store complaints as `receive_together` does."""
        routed: list[Routed | Exception] = []
        for arrival in arrivals:
            try:
                routed.append(self.routed(arrival))
            except Exception as error:  # noqa: BLE001 it is told in its place
                routed.append(error)
            await asyncio.sleep(0)
        return await self.receive_together(routed, also)

    async def receive_together(
        self,
        arrivals: Sequence[Routed | Exception],
        also: Callable[[sa.Connection, Sequence[Receipt | Exception]], None] = _nothing_else,
    ) -> Sequence[Receipt | Exception]:
        """Store complaints and what `also` writes in one transaction, and say what became of each, as
        `receive` does; an error that is in place of one stays there.

        One that fails for a reason that nobody foresaw leaves nothing, is its error in its place, and
        harms no other.
        """

        def work(connection: sa.Connection, *, apart: bool) -> Sequence[Receipt | Exception]:
            found = self._received(connection, arrivals, apart=apart)
            also(connection, found)
            return found

        apart = False
        for races in range(_RACES):
            try:
                found = await self._store.run(partial(work, apart=apart))
            except tickets.Raced:
                # Another was first with one of them: now it is there. Where it goes on being first,
                # as with a sender that tells two replicas everything, the others do not wait for it.
                apart = apart or races > 0
            except (StoreUnavailable, LeaseLost):
                raise
            except Exception as error:
                if apart:
                    raise
                # One of them did it, and the others are well.
                log.error("page.failed", **findable(error))
                apart = True
            else:
                self._committed()
                return found
        raise StoreUnavailable("raced")

    def _received(
        self, connection: sa.Connection, arrivals: Sequence[Routed | Exception], *, apart: bool
    ) -> list[Receipt | Exception]:
        """Store what came in, in somebody's transaction; `apart` each by itself, so that one that fails
        takes no other with it."""
        found: dict[int, Receipt | Exception] = {}
        well: dict[int, Routed] = {}
        for n, arrival in enumerate(arrivals):
            if isinstance(arrival, Routed):
                well[n] = arrival
            else:
                found[n] = arrival
        if apart:
            tickets.lock_sent(connection, [each.sent for each in well.values()])
            # In the order in which a page takes the counters: nobody waits in a circle.
            for n, each in sorted(well.items(), key=lambda one: _counted_by(one[1].arrival)):
                found[n] = _apart(connection, partial(self._page, {n: each}), n)
        else:
            found |= self._page(well, connection)
        return [found[n] for n in range(len(arrivals))]

    def _page(
        self, arrivals: Mapping[int, Routed], connection: sa.Connection
    ) -> dict[int, Receipt | Exception]:
        """Store complaints with as few statements for many as for one."""
        if not arrivals:
            return {}
        found: dict[int, Receipt | Exception] = {}
        known = tickets.find_all(connection, {each.sent for each in arrivals.values()})
        for n, each in arrivals.items():
            by, there = each.arrival.by, known.get(each.sent)
            region = each.arrival.complaint.region
            if not covers(by.region, region) or (there and not sees_ticket(by, there)):
                found[n] = Forbidden(by.role, Ask.INTAKE)
        at = max(each.arrival.at for each in arrivals.values())
        signed = {
            n: m for n, each in arrivals.items() if n not in found and (m := each.arrival.message)
        }
        for n in messages.keep(connection, signed, at):
            found[n] = messages.MessageReused()
        first: dict[Sent, int] = {}
        again: list[int] = []
        for n, each in arrivals.items():
            if n in found:
                continue
            if each.sent in known or each.sent in first:
                again.append(n)
            else:
                first[each.sent] = n
        new = self._new(connection, [arrivals[n] for n in first.values()], at)
        for n, ticket in zip(first.values(), new, strict=True):
            found[n] = Receipt(ticket)
            known[arrivals[n].sent] = ticket
        repeats: dict[int, Routed] = {}
        for n in again:
            # What came first among these has a region of its own too.
            by = arrivals[n].arrival.by
            if sees_ticket(by, known[arrivals[n].sent]):
                repeats[n] = arrivals[n]
            else:
                found[n] = Forbidden(by.role, Ask.INTAKE)
        if repeats:
            found |= self._again(connection, repeats, known)
        return found

    def _new(
        self, connection: sa.Connection, arrivals: Sequence[Routed], at: datetime
    ) -> list[Ticket]:
        """Write new tickets with all that belongs to them."""
        if not arrivals:
            return []
        days = [_counted_by(each.arrival) for each in arrivals]
        made = [
            replace(each.ticket, no=no, id=ticket_id)
            for each, (no, ticket_id) in zip(
                arrivals, tickets.take_numbers(connection, days), strict=True
            )
        ]
        new = [
            tickets.New(
                ticket,
                each.arrival.fingerprint,
                ticket.route.decision,
                each.words,
                list(deeds.arrived(ticket, each.arrival.at)),
            )
            for ticket, each in zip(made, arrivals, strict=True)
        ]
        leave = self._leaving((t, word) for t in made for word in leaving.on_arrival(t))
        parts = deliveries.new_rows(connection, leave, at, self._receivers)
        tickets.insert_all(connection, new, at, *parts)
        return made

    def _again(
        self,
        connection: sa.Connection,
        arrivals: Mapping[int, Routed],
        known: Mapping[Sent, Ticket],
    ) -> dict[int, Receipt | Exception]:
        """Take repeats and supplements of tickets that are there."""
        found: dict[int, Receipt | Exception] = {}
        ids = {known[each.sent].id for each in arrivals.values()}
        bodies = tickets.fingerprints(connection, ids)
        current = dict(known)
        for n, each in arrivals.items():
            arrival, ticket = each.arrival, current[each.sent]
            if arrival.fingerprint in bodies[ticket.id]:
                found[n] = Receipt(ticket, duplicate=True)
                continue
            bodies[ticket.id].add(arrival.fingerprint)
            stored = tickets.get(connection, ticket.no, lock=True)
            assert stored is not None
            tickets.add_body(connection, stored, arrival.fingerprint, arrival.at)
            current[each.sent] = self._supplement(connection, stored, arrival.complaint, arrival.at)
            found[n] = Receipt(current[each.sent], supplemented=True)
        return found

    async def imported(
        self, source: str, file: str, sheet: str, rows: Mapping[int, str]
    ) -> dict[int, str]:
        """Return which rows of a file, given with their source numbers, are tickets already, each
        with what there was to look at."""
        found = await self._store.read(lambda c: tickets.known(c, source, set(rows.values())))
        return {
            row: known.finding
            for row, number in rows.items()
            if (known := found.get(number)) and known.place == Place(file, sheet, row)
        }

    async def take_over(
        self, pasts: Sequence[Past], file: str, sheet: str, at: datetime, *, apply: bool
    ) -> list[Taken]:
        """Store rows of one source of a file of earlier years, and say of each what became of it;
        nothing is written unless it is applied.

        All of them or none: tickets, clocks and events are one transaction, and the events say which
        row each came from. So the tickets themselves are how far an import has come, and whoever is
        interrupted begins anew. What is there already is never changed.
        """
        # A file writes few names many times.
        named = cache(self._router.named)
        made = [self._taken_over(past, at, named) for past in pasts]
        words = {past.row: searched(past.complaint) for past in pasts} if apply else {}

        def look(connection: sa.Connection) -> list[Taken]:
            source = pasts[0].complaint.source if pasts else ""
            there = tickets.known(connection, source, [p.complaint.source_no for p in pasts])
            first: dict[str, int] = {}
            return [_fate(taken, file, sheet, there, first) for taken in made]

        def work(connection: sa.Connection) -> list[Taken]:
            found = look(connection)
            new = [(n, t.ticket) for n, t in enumerate(found) if t.fate is Fate.TAKEN and t.ticket]
            days = [(t.region, f"{t.received_at.astimezone(SHANGHAI):%Y%m%d}") for _, t in new]
            numbers = tickets.take_numbers(connection, days)
            for (n, ticket), (no, ticket_id) in zip(new, numbers, strict=True):
                found[n] = replace(found[n], ticket=replace(ticket, no=no, id=ticket_id))
            rows = [(t.ticket, t.past) for t in found if t.fate is Fate.TAKEN and t.ticket]
            told = [
                tickets.New(
                    ticket,
                    past.fingerprint,
                    IMPORTED,
                    words[past.row],
                    history.events(ticket, past, Place(file, sheet, past.row), at),
                )
                for ticket, past in rows
            ]
            tickets.insert_all(connection, told, at)
            return found

        if not apply:
            return await self._store.read(look)
        try:
            return await self._store.run(work)
        except tickets.Raced:
            # One of the numbers was pushed meanwhile: now it is there.
            return await self._store.run(work)

    def _taken_over(self, past: Past, at: datetime, named: Named) -> Taken:
        """Return a row with the ticket that it would make."""
        complaint, told, findings = past.complaint, past.history, past.findings
        is_open = told.standing is Standing.OPEN
        on = complaint.accepted_at.astimezone(SHANGHAI).date()

        def unit(name: str) -> UnitRef | None:
            """Return the unit of a name; what is over keeps the name that the unit bore."""
            found = named(name, complaint.region, on.replace(day=1)) if name else None
            return UnitRef(found.code, found.name if is_open else name) if found else None

        lead = unit(told.unit)
        helping = {ref.unit: ref for name in told.assist if (ref := unit(name))}
        assist = tuple(ref for ref in helping.values() if lead is None or ref.unit != lead.unit)
        if told.unit and lead is None:
            findings = (*findings, _NO_SUCH_UNIT)
        if any(unit(name) is None for name in told.assist):
            findings = (*findings, _NO_SUCH_ASSIST)
        if not is_open or lead:
            route = Route(Decision.MANUAL, None, (), 0.0, (), self._router.digest, _NOT_ROUTED)
        else:
            route = self._router.route(complaint)
            if told.unit:
                # Somebody has it: who, is for a person to find out.
                route = replace(
                    route, decision=Decision.MANUAL, lead=None, assist=(), reason=_NO_SUCH_UNIT
                )
        past = replace(past, findings=findings)
        coordinator = self._router.coordinator(complaint.region, complaint.coordinator).code
        ticket = history.taken_over(past, route, lead, assist, coordinator, at, self._times)
        late = any(m.due_at < at for m in ticket.owed(MilestoneKind.RESOLVE))
        return Taken(past, Fate.TAKEN, findings, ticket, late)

    def _supplement(
        self, connection: sa.Connection, ticket: Ticket, complaint: Complaint, at: datetime
    ) -> Ticket:
        """Write what a changed body adds, and what it says otherwise than the first one."""
        old = ticket.complaint
        current = self._caught_up(connection, ticket, at)
        changed_ticket = acts.supplement(current, complaint, at, self._times)
        after = replace(changed_ticket, version=current.version + 1)
        stored = tickets.save(connection, ticket, after, at)
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
        tickets.append(connection, stored, deeds.event("supplemented", stored, SYSTEM, at, changed))
        now_told = hidden(replace(complaint, contact=changed_ticket.complaint.contact))
        more = cut(
            *(str(getattr(now_told, name)) for name in search.SUPPLEMENTED if name in changed)
        )
        search.add(connection, stored.id, stored.region, more)
        if self._receivers:
            words = leaving.for_units("supplemented", current, stored, {})
            self._deliver(connection, stored, at, *words)
        # Only who sent it knows what it added: a merged ticket's source is not told of another's.
        own = leaving.for_source(Word.SUPPLEMENTED, leaving.addressee(stored), stored, {})
        self._deliver(connection, stored, at, own)
        return stored

    def _caught_up(self, connection: sa.Connection, ticket: Ticket, at: datetime) -> Ticket:
        return timekeeping.caught_up(
            connection, ticket, at, self._times, self._router, self._receivers
        )

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
        return await self._perform(order, self._deeds.dispatch(order.at, lead, helping, reason))

    async def sign(self, order: Order) -> Ticket:
        """签收: the lead takes the ticket on, or an assisting unit its part."""
        return await self._perform(order, self._deeds.sign(order.at))

    async def send_back(
        self, order: Order, *, reason: str, basis: str, suggested_unit: str = ""
    ) -> Ticket:
        """退单: the lead gives the ticket back to be sorted, with a reason and where it belongs.

        Raises RuleForbids after the policy's window.
        """
        if suggested_unit:
            self._unit("/suggested_unit", suggested_unit)
        deed = self._deeds.send_back(
            order.at, order.by, reason=reason, basis=basis, suggested_unit=suggested_unit
        )
        return await self._perform(order, deed)

    async def rule(self, order: Order, *, unit: str, reason: str, document: str) -> Ticket:
        """裁定: decide which unit a ticket belongs to that was sent back; a precedent from now on."""
        lead = self._unit("/unit", unit)

        def kept(connection: sa.Connection, _before: Ticket, after: Ticket) -> dict[str, Any]:
            words = self._router.ruling_words(after.complaint)
            tickets.keep_ruling(connection, after, words, document, reason, order.by.name, order.at)
            return {"words": list(words)}

        deed = self._deeds.rule(order.at, lead, reason=reason, document=document)
        return await self._perform(order, deed, kept)

    async def contact(self, order: Order, *, text: str) -> Ticket:
        """首次联系: the lead has spoken to the citizen."""
        return await self._perform(order, self._deeds.contact(order.at, text))

    async def request_extension(self, order: Order, *, amount: str, reason: str) -> Ticket:
        """申请延期: ask for more time, before the time is over. Raises LimitError or RuleForbids."""
        deed = self._deeds.request_extension(order.at, order.by, amount=amount, reason=reason)
        return await self._perform(order, deed)

    async def decide_extension(self, order: Order, *, granted: bool, reason: str) -> Ticket:
        """审批延期: grant what was asked for or refuse it; never one's own. The citizen is told."""
        deed = self._deeds.decide_extension(order.at, order.by, granted=granted, reason=reason)
        return await self._perform(order, deed)

    async def pause(self, order: Order, *, reason: str) -> Ticket:
        """挂起: let the clocks stand still, for one of the reasons that the policy allows; it ends by
        itself after the longest time that the policy allows."""
        return await self._perform(order, self._deeds.pause(order.at, reason))

    async def resume(self, order: Order) -> Ticket:
        """恢复办理: let the clocks run on, the time that they stood still given back."""
        return await self._perform(order, self._deeds.resume(order.at))

    async def resolve(
        self, order: Order, *, public_reply: str, internal_finding: str, solved: bool
    ) -> Ticket:
        """办结: the lead answers; the public reply is for the citizen, the finding stays inside. An
        assisting unit's answer (反馈) is for the lead."""
        deed = self._deeds.resolve(
            order.at, public_reply=public_reply, internal_finding=internal_finding, solved=solved
        )
        return await self._perform(order, deed)

    async def call_back(
        self, order: Order, *, reached: bool, solved: bool | None, grade: int | None, text: str
    ) -> Ticket:
        """回访: ask the citizen whether it is solved and how good it was, 1 to 5."""
        deed = self._deeds.call_back(
            order.at, reached=reached, solved=solved, grade=grade, text=text
        )
        return await self._perform(order, deed)

    async def close(self, order: Order) -> Ticket:
        """结案. Raises CallBackOwed while a citizen who left a number has not been called back."""
        return await self._perform(order, self._deeds.close())

    async def reopen(self, order: Order, *, reason: str) -> Ticket:
        """重办: the same unit does it again; it counts against the unit that answered first."""
        return await self._perform(order, self._deeds.reopen(order.at, reason))

    async def merge(self, order: Order, *, into: str, reason: str) -> Ticket:
        """并单: make a ticket part of another one. Raises UnknownTicket for one not to be seen."""
        other: list[Ticket] = []

        def tell(connection: sa.Connection, before: Ticket, after: Ticket) -> dict[str, Any]:
            stands = other[0]
            if (carried := deeds.carried(stands, before)) is not stands:
                stands = tickets.save(connection, stands, carried, order.at)
            event = deeds.joined(stands, before, order.by, order.at, reason)
            tickets.append(connection, stands, event)
            rows = self._for_sources(Word.MERGED, connection, after, {}, stands=stands)
            deliveries.deliver_all(connection, rows, order.at, self._receivers)
            return {}

        def both(connection: sa.Connection) -> None:
            tickets.lock(connection, order.no, into)
            other[:] = [_visible(connection, into, order.by, lock=True)]

        deed = self._deeds.merge(order.at, lambda: other[0], no=into, reason=reason)
        return await self._perform(order, deed, tell, first=both)

    async def supervise(self, order: Order, *, level: Level, text: str) -> Ticket:
        """督办: press the unit for its answer, with a card or without."""
        return await self._perform(order, self._deeds.supervise(order.at, order.by, level, text))

    async def reclassify(
        self, order: Order, *, kind: Kind | None, urgency: Urgency | None, reason: str
    ) -> Ticket:
        """更正分类: put right what sort of demand it is, or how urgent; None leaves it."""
        return await self._perform(order, self._deeds.reclassify(kind, urgency, reason))

    async def note(self, order: Order, *, text: str) -> Ticket:
        """备注: write something into the history."""
        return await self._perform(order, self._deeds.note(text))

    async def check(
        self,
        order: Order,
        *,
        way: CheckedBy,
        reached: bool,
        solved: bool | None,
        truthful: bool | None,
        text: str,
    ) -> Ticket:
        """抽查: write down what a second look found; where the ticket was drawn, its draw is settled."""
        finding = Finding(way, reached, solved, truthful)

        def settled(connection: sa.Connection, before: Ticket, _after: Ticket) -> dict[str, Any]:
            samples.settle(connection, before, finding, order.by.name, order.at)
            return {}

        return await self._perform(order, self._deeds.check(finding, text), settled)

    async def _perform(
        self,
        order: Order,
        deed: Deed,
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
            held = tickets.hold(connection, order.no)
            ticket = held.ticket if held else None
            replay = tickets.find_key(connection, order.by.id, order.key) if order.key else None
            if replay and (replay.request, replay.ticket_no) != (order.request, order.no):
                raise KeyReused
            # Who gave a ticket away may not see it any more, but gets the answer again that he got:
            # the ticket as his act left it, and nothing that others did since.
            as_answered = replay is not None and ticket and ticket.version == replay.version
            if held is None or ticket is None or not (as_answered or sees_ticket(order.by, ticket)):
                raise UnknownTicket(order.no)
            if replay:
                return self._linked(connection, order.by, [ticket])[0]
            check_may(order.by, deed.act, ticket)
            if ticket.version != order.version:
                raise Stale(ticket.version)
            current = self._caught_up(connection, ticket, order.at)
            done = deeds.do(deed, current, order.by)

            def told(known: Ticket) -> tuple[Event, Sequence[tuple[sa.Table, Sequence[Row]]]]:
                more = also(connection, current, known) if also else {}
                event = done.event(order.at, known, more)
                rows = self._leaving((known, word) for word in deed.words(known))
                if word := leaving.source_word(deed.act, known, event.content):
                    rows += self._for_sources(
                        word[0], connection, known, word[1], is_alone=held.is_alone
                    )
                if self._receivers:
                    words = leaving.for_units(deed.act, current, known, event.content)
                    rows += self._leaving((known, word) for word in words)
                return event, deliveries.new_rows(connection, rows, order.at, self._receivers)

            stored = tickets.save_act(connection, ticket, done.after, order.at, told)
            if order.key:
                tickets.keep_key(
                    connection, order.by.id, order.key, order.request, stored, order.at
                )
            if held.is_alone and not stored.into:
                return stored
            return self._linked(connection, order.by, [stored])[0]

        try:
            after = await self._store.run(work)
        except tickets.Raced:
            raise KeyReused from None
        self._committed()
        return after

    def _deliver(
        self, connection: sa.Connection, ticket: Ticket, at: datetime, *words: Delivery
    ) -> None:
        leave = self._leaving((ticket, word) for word in words)
        deliveries.deliver_all(connection, leave, at, self._receivers)

    def _leaving(
        self, words: Iterable[tuple[Ticket, Delivery]]
    ) -> list[tuple[int, str, str, Delivery]]:
        """Return what is to leave of tickets. What is owed to somebody always is; what keeps a system in
        step only where there is one that wants it (ADR 0014)."""
        return [
            (ticket.id, ticket.no, ticket.region, word)
            for ticket, word in words
            if leaving.is_owed(word) or self._wanted(word)
        ]

    def _wanted(self, word: Delivery) -> bool:
        receiver = self._receivers.get(word.destination)
        return receiver is not None and receiver.wants(word.kind)

    def _for_sources(
        self,
        word: Word,
        connection: sa.Connection,
        ticket: Ticket,
        facts: dict[str, Any],
        *,
        stands: Ticket | None = None,
        is_alone: bool = False,
    ) -> list[tuple[int, str, str, Delivery]]:
        """Return what tells the ticket's source, and unless it is alone those of all that was merged
        into it, where it `stands`."""
        if not self._receivers:
            return []
        to = [leaving.addressee(ticket)]
        if not is_alone:
            to += deliveries.addressees(connection, ticket.no)
        words = [(a, leaving.for_source(word, a, stands or ticket, facts)) for a in to]
        return [(a.ticket_id, a.no, a.region, told) for a, told in words if self._wanted(told)]

    def _coordinator(self, ticket: Ticket) -> str:
        return self._router.coordinator(ticket.region, ticket.complaint.coordinator).code

    async def read_contact(self, no: str, by: Actor, at: datetime, *, reason: str) -> Told:
        """Return what is masked of a ticket everywhere else, and write down who read it and why.

        Raises UnknownTicket, Forbidden for who has no call to speak to the citizen, ReadsTooMuch, and
        MadeAnonymous where nothing is left.
        """

        def work(connection: sa.Connection) -> Told:
            ticket = _visible(connection, no, by, lock=True)
            check_may(by, _calling(by), ticket)
            if not may_read_contact(by, ticket):
                raise Forbidden(by.role, Ask.READ_CONTACT)
            if tickets.is_anonymous(connection, ticket.id):
                raise MadeAnonymous
            event = deeds.event("read_contact", ticket, by, at, {"reason": reason})
            own = tickets.own_words(connection, ticket)
            tickets.append(connection, ticket, event)
            told = ticket.complaint
            return Told(told.contact, told.title, told.content, told.place, own)

        bucket, wait_s = take(_READINGS, self._readings.get(by.id), 1, at)
        if wait_s:
            raise ReadsTooMuch(wait_s)
        found = await self._store.run(work)
        if len(self._readings) > _READERS_MOST:
            self._readings.clear()
        self._readings[by.id] = bucket
        return found

    async def of_person(self, by: Actor, phone: str, after: int, limit: int) -> Page[Ticket]:
        """Return a page of the tickets of whoever complained from this number, newest first, of the
        caller's region. Raises Forbidden, and NoNumber for what is none."""
        check_act(by, Ask.BY_PHONE)
        if not number(phone):
            raise NoNumber

        def work(connection: sa.Connection) -> Page[Ticket]:
            found = lists.of_person(connection, by, phone, after, limit)
            return replace(found, items=self._shown(connection, by, found.items))

        return await self._store.read(work)

    # What time does

    async def enforce(self, at: datetime, batch: int = 500) -> int:
        """Take the steps that have come by `at` for a batch of milestones, after ending the pauses
        that are over; return how many milestones and pauses there were.

        As many as a batch or more mean that there may be more. Each step leaves one event, on
        whichever replica it happens: the rows are claimed, changed and told of in one transaction.
        """

        def work(which: Which, connection: sa.Connection) -> int:
            woken = timekeeping.wake(connection, at, self._times, which)
            return woken + timekeeping.enforce(
                connection, at, batch, self._router, self._receivers, which
            )

        self._aside = {no: until for no, until in self._aside.items() if until > at}
        rest = Which(but=self._aside)
        done = await outcome(self._store.run(partial(work, rest)))
        if not isinstance(done, int):
            ids = await self._store.read(
                lambda connection: tickets.due_ids(connection, at, batch, rest)
            )
            done = await self._one_by_one(
                "enforce", at, ids, lambda each: partial(work, Which(only=each))
            )
        if done:
            self._committed()
        return done

    async def settle(self, at: datetime, after: int = 0, batch: int = 200) -> Settled:
        """Work out a batch of clocks anew that were provisional and whose days are published by
        now, of tickets by id from `after` on; a ticket that fails is told of in the log."""
        ids = await self._store.read(
            lambda connection: timekeeping.provisional(connection, after, batch, self._times)
        )

        def work(some: Sequence[int], connection: sa.Connection) -> int:
            return timekeeping.settle(
                connection, some, at, self._times, self._router, self._receivers
            )

        done = await outcome(self._store.run(partial(work, ids))) if ids else 0
        if not isinstance(done, int):
            done = await self._one_by_one("settle", at, ids, lambda each: partial(work, [each]))
        return Settled(ids[-1] if ids else None, done)

    async def _one_by_one(
        self,
        job: str,
        at: datetime,
        ids: Sequence[int],
        work: Callable[[int], Callable[[sa.Connection], int]],
    ) -> int:
        """Do a job ticket by ticket, after a batch failed; return how much it did. A ticket that fails
        alone is left for a while, so that it holds up no other."""
        done = 0
        for ticket_id in ids:
            found = await outcome(self._store.run(work(ticket_id)))
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
                connection,
                found,
                by,
                at,
                self._times,
                self._router,
                self._receivers,
                limits_too=True,
            )
            return Recalculated(found[-1].id if found else None, len(found), moved)

        return await (self._store.run(applied) if apply else self._store.read(shown))

    # What people look at

    async def ticket(self, no: str, by: Actor) -> Ticket:
        """Return a ticket, or raise UnknownTicket; Forbidden for who reads none at all."""
        check_act(by, Ask.TICKETS)

        def work(connection: sa.Connection) -> Ticket:
            return self._shown(connection, by, [_visible(connection, no, by)])[0]

        return await self._store.read(work)

    async def history(
        self, no: str, by: Actor, after: int = 0, limit: int | None = None
    ) -> list[Event]:
        """Return a ticket's events, oldest first, all or so many after one. Raises UnknownTicket, and
        Forbidden for sources."""
        check_act(by, Ask.HISTORY)

        def work(connection: sa.Connection) -> list[Event]:
            ticket = _visible(connection, no, by)
            found = tickets.events(connection, ticket, after, limit)
            return [event_shown(by, ticket, each) for each in found]

        return await self._store.read(work)

    async def page(self, by: Actor, wanted: Filter) -> Page[Ticket]:
        """Return a page of the tickets that the caller may see, newest first unless asked otherwise.
        It may hold fewer than were asked for, and still go on. Raises Unsearchable."""
        check_act(by, Ask.TICKETS)

        def work(connection: sa.Connection) -> Page[Ticket]:
            found = lists.page(connection, by, wanted)
            return replace(found, items=self._shown(connection, by, found.items))

        return await self._store.read(work)

    async def sorting(
        self, by: Actor, wanted: Filter
    ) -> tuple[Page[Ticket], dict[int, list[Event]]]:
        """Return a page of what waits for manual sorting, oldest first, and by ticket id how units sent it
        back (退单), oldest first. Raises Forbidden for handlers and sources."""
        check_act(by, Ask.SORTING)

        def work(connection: sa.Connection) -> tuple[Page[Ticket], dict[int, list[Event]]]:
            waiting = replace(wanted, state=State.SORTING, oldest_first=True)
            found = lists.page(connection, by, waiting)
            back = tickets.events_of(connection, found.items, Act.SEND_BACK)
            return (
                replace(found, items=self._shown(connection, by, found.items)),
                {
                    t.id: [event_shown(by, t, event) for event in back[t.id]]
                    for t in found.items
                    if t.id in back
                },
            )

        return await self._store.read(work)

    async def queue(
        self,
        unit: str,
        by: Actor,
        limit: int = 200,
        wanted: Owed = ALL,
        after: Due | None = None,
        *,
        alone: bool = False,
    ) -> Queue:
        """Return a page of what a unit owes and is wanted, what falls due first on top; `alone` without
        what each ticket has to do with others. Raises Forbidden for a handler of another unit and for
        a source."""
        check_act(by, Ask.QUEUE)
        if reach(by.role, Ask.QUEUE) is Reach.UNITS and unit not in by.units:
            raise Forbidden(by.role, Ask.QUEUE)

        def work(connection: sa.Connection) -> Queue:
            found = lists.queue(connection, by, unit, limit, wanted, after)
            if alone:
                return replace(found, items=[shown(by, ticket) for ticket in found.items])
            return replace(found, items=self._shown(connection, by, found.items))

        return await self._store.read(work)

    def _shown(self, connection: sa.Connection, by: Actor, found: Sequence[Ticket]) -> list[Ticket]:
        """Return tickets as a role sees them, with what the caller may know of others of the same
        matter: in the transaction that read them, and by one look for all."""
        return [shown(by, ticket) for ticket in self._linked(connection, by, found)]

    async def loads(self, by: Actor, at: datetime, until: datetime) -> Sequence[UnitLoad]:
        """Return what each unit of the caller's region owes at `at`; `until` ends the day of what is due
        today. Raises Forbidden for handlers and sources."""
        check_act(by, Ask.OVERVIEW)
        return await self._store.read(
            lambda connection: unit_loads(connection, by.region, at, until)
        )

    def _unit(self, pointer: str, code: str) -> UnitRef:
        unit = self._router.unit(code)
        if unit is None:
            raise UnknownUnit(pointer, code)
        return UnitRef(unit.code, unit.name)


def _counted_by(arrival: Arrival) -> tuple[str, str]:
    """Return the region and the day (`20261118`) whose counter numbers a new ticket."""
    return arrival.complaint.region, f"{arrival.at.astimezone(SHANGHAI):%Y%m%d}"


def searched(complaint: Complaint) -> Words:
    """Return the words by which a complaint is found: of what everybody may see of it."""
    shut = hidden(complaint)
    return cut(shut.title, shut.content, shut.place)


def _apart(
    connection: sa.Connection,
    work: Callable[[sa.Connection], dict[int, Receipt | Exception]],
    n: int,
) -> Receipt | Exception:
    """Return what became of one of several, which leaves the transaction whole if it fails."""
    for _ in range(_RACES):
        nested = connection.begin_nested()
        try:
            receipt = work(connection)[n]
        except tickets.Raced:
            nested.rollback()  # another was first with it: now it is there
        except Exception as error:
            if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | NotPrepared):
                raise  # the connection itself is in trouble, or the store does all of it again
            nested.rollback()
            # Who lost a deadlock is told to come again, as if it had been alone.
            return refused(error) if isinstance(error, sa.exc.DBAPIError) else error
        else:
            nested.commit()
            return receipt
    return StoreUnavailable("raced")


def offered(by: Actor, ticket: Ticket) -> tuple[Act, ...]:
    """Return the acts that the ticket as it stands allows this caller, in a ticket's order."""
    return tuple(act for act in Act if is_offered(by, act, ticket))


def is_offered(by: Actor, act: Act, ticket: Ticket) -> bool:
    """Whether `offered` has the act; a list asks for one of each ticket."""
    return _may(by, act, ticket) and _allows(act, ticket, by)


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
    Act.REOPEN: lambda t: not t.is_counted_only and t.lead is not None,
    Act.RULE: lambda t: t.sent_back > 0,
    Act.REQUEST_EXTENSION: lambda t: t.pending is None,
    Act.DECIDE_EXTENSION: lambda t: t.pending is not None,
}


def _allows(act: Act, ticket: Ticket, by: Actor) -> bool:
    """Whether the ticket as it stands lets the caller do the act."""
    helping = deeds.assisting(by, act, ticket)
    if helping:
        return (ticket.state, act) in ASSISTS and bool(ticket.owed(MET_BY[act], by=helping))
    fits = _FITS.get(act)
    return (ticket.state, act) in MOVES and (fits is None or fits(ticket))


def _may(by: Actor, act: Act, ticket: Ticket) -> bool:
    try:
        check_may(by, act, ticket)
    except Forbidden:
        return False
    return True


def _calling(by: Actor) -> Act:
    """Return the act for which this caller would ring the citizen up."""
    return Act.CONTACT if by.role is Role.HANDLER else Act.CALL_BACK


def _visible(connection: sa.Connection, no: str, by: Actor, *, lock: bool = False) -> Ticket:
    ticket = tickets.get(connection, no, lock=lock)
    if ticket is None or not sees_ticket(by, ticket):
        raise UnknownTicket(no)
    return ticket


def sees_ticket(by: Actor, ticket: Ticket) -> bool:
    """Whether the ticket exists for the caller."""
    # A unit that owes something sees what it owes it for, lead or not: the coordinator's list too.
    units = (*ticket.units, *(milestone.unit for milestone in ticket.open()))
    return sees(by, region=ticket.region, units=units, source=ticket.complaint.source)


def is_withheld(by: Actor, ticket: Ticket) -> bool:
    """Whether it is kept from the caller's units who complained (保密, 匿名, 举报)."""
    if by.role is not Role.HANDLER:
        return False
    refs = (*((ticket.lead,) if ticket.lead else ()), *ticket.assist)
    return withheld(
        ticket.complaint, ticket.route, [ref.name for ref in refs if ref.unit in by.units]
    )


def shown(by: Actor, ticket: Ticket) -> Ticket:
    """Return the ticket as a role sees it.

    Personal data is masked for everybody, for an auditor plates as well. A unit from which it is kept
    who complained sees no name and no number at all, in the text neither.
    """
    told = hidden(ticket.complaint)
    if told is not ticket.complaint:
        ticket = replace(ticket, complaint=told)
    say = _saying(by, ticket)
    if say is None:
        return ticket
    less = replace(
        told,
        title=say(told.title),
        content=say(told.content),
        place=say(told.place),
        attachments=tuple(replace(each, name=say(each.name)) for each in told.attachments),
    )
    if is_withheld(by, ticket):
        less = replace(less, contact=Contact(), extra={})
    return replace(ticket, complaint=less)


def _saying(by: Actor, ticket: Ticket | None) -> Callable[[str], str] | None:
    """Return what free text becomes before a role reads it beside what is hidden from everybody, None
    for nothing. Only for a handler it depends on the ticket."""
    if by.role is not Role.HANDLER:
        return masked if reach(by.role, Ask.TICKETS) is Reach.MASKED else None
    assert ticket is not None
    return partial(unnamed, complaint=ticket.complaint) if is_withheld(by, ticket) else None


_OF_THE_CITIZEN = frozenset({"contact_before", "contact_now"})
# That two tickets are one person's says who made the other: a unit has it from a link, or not at all.
_OF_TWO = frozenset({Act.MERGE, "merged_here", "not_same"})


def event_shown(by: Actor, ticket: Ticket | None, event: Event) -> Event:
    """Return an event as a role sees it, like its ticket, which is needed for a handler alone."""
    if by.role is Role.HANDLER and event.act in _OF_TWO:
        return replace(event, content={})
    say = _saying(by, ticket)
    if say is None:
        # What was written before anything was sealed is hidden here.
        texts = {name: event.content[name] for name in FREE_TEXTS if name in event.content}
        told = {name: said(text) for name, text in texts.items() if isinstance(text, str)}
        return replace(event, content=event.content | told) if told != texts else event
    kept = ticket is not None and is_withheld(by, ticket)
    content = {
        name: say(value) if isinstance(value, str) else value
        for name, value in event.content.items()
        if not (kept and name in _OF_THE_CITIZEN)
    }
    return replace(event, content=content)


def _fate(
    taken: Taken, file: str, sheet: str, there: Mapping[str, Known], first: dict[str, int]
) -> Taken:
    """Return what becomes of a row, given what is in the store and where its number stood `first`
    among the rows before it."""
    past = taken.past
    number, place = past.complaint.source_no, Place(file, sheet, past.row)
    known = there.get(number)
    if known is None:
        row = first.setdefault(number, past.row)
        if row == past.row:
            return taken
        return Taken(past, Fate.REFUSED, (f"编号与第 {row} 行相同",))
    if known.place == place:
        return Taken(past, Fate.KNOWN)
    if known.place and (known.place.file, known.place.sheet) == (file, sheet):
        return Taken(past, Fate.REFUSED, (f"编号与第 {known.place.row} 行相同",))
    if past.fingerprint in known.fingerprints:
        return Taken(past, Fate.KNOWN)
    return Taken(past, Fate.REFUSED, (f"库中已有此编号的工单 {known.no}，内容不同，未作改动",))


def _plain(value: Any) -> Any:
    return value.astimezone(SHANGHAI).isoformat() if isinstance(value, datetime) else value
