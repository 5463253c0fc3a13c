"""Acts from what is asked to what is told: who may, what becomes of the ticket, the event that stays.

Nothing here is written anywhere. The desk does a deed in a transaction of its own, the simulation on
a clock of its own; a ticket changes in no other way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.domain import acts
from service.domain.access import SYSTEM, Actor, Forbidden, Reach, Role, check_act, reach
from service.domain.calendar import SHANGHAI
from service.domain.clock import Came
from service.domain.complaint import Kind, UnitRef, Urgency
from service.domain.deadline import parse_limit
from service.domain.lifecycle import Act, State, move
from service.domain.limits import Timetable
from service.domain.sample import Finding
from service.domain.ticket import (
    Clock,
    Delivery,
    Event,
    Level,
    MilestoneKind,
    Recipient,
    Ticket,
    Word,
)
from service.domain.values import replace

Said = dict[str, Any]


class CallBackOwed(Exception):
    """The citizen has not been called back; 回访 comes before 结案."""


def _nothing(_before: Ticket, _after: Ticket) -> Said:
    return {}


def _nobody(_after: Ticket) -> Sequence[Delivery]:
    return ()


@dataclass(frozen=True, slots=True)
class Deed:
    """An act as it is asked for.

    `content` is what its event carries, with what `told` says of the ticket before and after it.
    `change` makes the next ticket, done by an assisting unit or, for "", by whom it belongs to.
    `words` are what somebody is told of it whether a system takes it or not.
    """

    act: Act
    content: Said
    change: Callable[[Ticket, str], Ticket]
    told: Callable[[Ticket, Ticket], Said] = _nothing
    words: Callable[[Ticket], Sequence[Delivery]] = _nobody


@dataclass(frozen=True, slots=True)
class Done:
    """A deed that was done: the ticket before it with all that time had brought, and after it; for
    which assisting unit, "" for none."""

    deed: Deed
    by: Actor
    before: Ticket
    after: Ticket
    assisting: str

    def event(self, at: datetime, stored: Ticket, more: Said | None = None) -> Event:
        """Return what stays of it; `stored` is the ticket after it as it was stored."""
        # Whom the act concerns: the unit that had the ticket when it happened.
        had = self.before.lead or stored.lead
        unit = self.assisting or (had.unit if had else "")
        content = self.deed.content | self.deed.told(self.before, stored) | (more or {})
        return event(self.deed.act, stored, self.by, at, content, unit=unit)


def do(deed: Deed, ticket: Ticket, by: Actor) -> Done:
    """Do a deed to a ticket that is up to now. Raises IllegalMove, RuleForbids, CallBackOwed."""
    helping = assisting(by, deed.act, ticket)
    state = move(ticket.state, deed.act, assisting=bool(helping))
    after = replace(deed.change(ticket, helping), state=state, version=ticket.version + 1)
    return Done(deed, by, ticket, after, helping)


def event(
    act: str, ticket: Ticket, by: Actor, at: datetime, content: Said, *, unit: str | None = None
) -> Event:
    """Return an event of a ticket as it stands after it; it concerns the lead unless told otherwise."""
    if unit is None:
        unit = ticket.lead.unit if ticket.lead else ""
    return Event(str(act), at, by.name, by.role, content, ticket.version, unit)


# Who may

MET_BY = {Act.SIGN: MilestoneKind.SIGN, Act.RESOLVE: MilestoneKind.RESOLVE}


def assisting(by: Actor, act: Act, ticket: Ticket) -> str:
    """Return the assisting unit for which a handler does an act, "" where it is the lead's to do.

    Who works for both signs as the lead first and answers as the lead last.
    """
    if by.role is not Role.HANDLER or act not in MET_BY:
        return ""
    helping = [ref.unit for ref in ticket.assist if ref.unit in by.units]
    owing = [unit for unit in helping if ticket.owed(MET_BY[act], by=unit)]
    if leads(by, ticket):
        first = act is Act.SIGN and ticket.owed(MilestoneKind.SIGN)
        return owing[0] if owing and not first else ""
    return (owing or helping or [""])[0]


def leads(by: Actor, ticket: Ticket) -> bool:
    """Whether the actor works for the unit that leads."""
    return ticket.lead is not None and ticket.lead.unit in by.units


def check_may(by: Actor, act: Act, ticket: Ticket) -> None:
    """Raise Forbidden where the role may not act, or the unit is only assisting."""
    check_act(by, act)
    if reach(by.role, act) is Reach.LED and not leads(by, ticket):
        raise Forbidden(by.role, act)


# What comes in, and what time does


def arrived(ticket: Ticket, at: datetime) -> Iterator[Event]:
    """Return the first events of a new ticket."""
    route = ticket.route
    content = {
        "decision": route.decision,
        "confidence": round(route.confidence, 4),
        "rulebook": route.rulebook,
        "reason": route.reason,
        "hotline": route.hotline,
    }
    if ticket.complaint.findings:
        content["findings"] = list(ticket.complaint.findings)
    yield event("received", ticket, SYSTEM, at, content)
    if ticket.state is State.DISPATCHED:
        auto = {"unit": ticket.lead and ticket.lead.unit, "auto": True}
        yield event(Act.DISPATCH, ticket, SYSTEM, at, auto)


def resumed(woken: Ticket) -> Event:
    """Return the event of a pause (挂起) that ended by itself."""
    ended_at = woken.pauses[-1].ended_at
    assert ended_at is not None
    return event(Act.RESUME, woken, SYSTEM, ended_at, {"auto": True})


def stage(came: Came, noticed_at: datetime) -> Event:
    """Return the event of a step of a clock, which happened when it was due."""
    m, step = came.milestone, came.step
    content = {
        **_stage(came),
        "noticed_at": noticed_at.astimezone(SHANGHAI).isoformat(),
    }
    return Event("stage", step.at, SYSTEM.name, SYSTEM.role, content, unit=m.unit)


def stage_words(came: Came, coordinator: str) -> Iterator[Delivery]:
    """Return what a step has told: the unit, and who supervises it. Being overdue alone is noted."""
    m, step = came.milestone, came.step
    if step.measure is None:
        return
    payload = {**_stage(came), "at": step.at.astimezone(SHANGHAI).isoformat(), "unit": m.unit}
    yield Delivery(Word.STAGE, Recipient.UNIT, m.unit, payload)
    yield Delivery(Word.STAGE, Recipient.SUPERVISOR, coordinator, payload)


def _stage(came: Came) -> Said:
    m = came.milestone
    return {
        "milestone": m.kind,
        "clock": m.clock,
        "stage": m.stage,
        "measure": came.step.measure,
        "due_at": m.due_at.astimezone(SHANGHAI).isoformat(),
    }


# What people do


@dataclass(frozen=True, slots=True)
class Deeds:
    """Each act as a deed, by these limits and policies; `coordinator` says who runs a ticket's
    channel."""

    times: Timetable
    coordinator: Callable[[Ticket], str] = field(compare=False)

    def dispatch(
        self, at: datetime, lead: UnitRef, assist: tuple[UnitRef, ...], reason: str
    ) -> Deed:
        """派单 or 改派."""
        content = {"unit": lead.unit, "assist": [ref.unit for ref in assist], "reason": reason}

        def given(ticket: Ticket, _assisting: str) -> Ticket:
            return acts.dispatch(ticket, lead, assist, self.coordinator(ticket), at, self.times)

        return Deed(Act.DISPATCH, content, given)

    def sign(self, at: datetime) -> Deed:
        """签收."""
        return Deed(Act.SIGN, {}, lambda t, unit: acts.sign(t, unit, at, self.times))

    def send_back(
        self, at: datetime, by: Actor, *, reason: str, basis: str, suggested_unit: str = ""
    ) -> Deed:
        """退单."""
        content = {"reason": reason, "basis": basis, "suggested_unit": suggested_unit}

        def returned(ticket: Ticket, _assisting: str) -> Ticket:
            return acts.send_back(ticket, self.coordinator(ticket), by, at, self.times)

        return Deed(Act.SEND_BACK, content, returned)

    def rule(self, at: datetime, lead: UnitRef, *, reason: str, document: str) -> Deed:
        """裁定."""
        content = {"unit": lead.unit, "reason": reason, "document": document}

        def ruled(ticket: Ticket, _assisting: str) -> Ticket:
            return acts.rule(ticket, lead, self.coordinator(ticket), at, self.times)

        return Deed(Act.RULE, content, ruled)

    def contact(self, at: datetime, text: str) -> Deed:
        """首次联系."""
        return Deed(Act.CONTACT, {"text": text}, lambda t, _: acts.contact(t, at))

    def request_extension(self, at: datetime, by: Actor, *, amount: str, reason: str) -> Deed:
        """申请延期. Raises LimitError."""
        asked = parse_limit(amount)
        return Deed(
            Act.REQUEST_EXTENSION,
            {"amount": str(asked), "reason": reason},
            lambda t, _: acts.request_extension(t, asked, reason, by, at, self.times),
        )

    def decide_extension(self, at: datetime, by: Actor, *, granted: bool, reason: str) -> Deed:
        """审批延期. The citizen is told."""

        def ends(ticket: Ticket) -> str:
            # The sender's limit is nothing that anybody granted the citizen.
            owed = ticket.owed(MilestoneKind.RESOLVE)
            due_at = next(m.due_at for m in owed if m.clock is Clock.OWN)
            return due_at.astimezone(SHANGHAI).isoformat()

        def told(_before: Ticket, after: Ticket) -> Said:
            said: Said = {"amount": after.extensions[-1].amount}
            return said | {"due_at": ends(after)} if granted else said

        def words(after: Ticket) -> Sequence[Delivery]:
            if not granted:
                return ()
            return (Delivery(Word.EXTENDED, Recipient.CITIZEN, "", {"due_at": ends(after)}),)

        return Deed(
            Act.DECIDE_EXTENSION,
            {"granted": granted, "reason": reason},
            lambda t, _: acts.decide_extension(t, by, at, self.times, granted=granted),
            told,
            words,
        )

    def pause(self, at: datetime, reason: str) -> Deed:
        """挂起."""

        def told(_before: Ticket, after: Ticket) -> Said:
            label = acts.policy_of(after, self.times).pauses.reasons[reason]
            until = after.pauses[-1].until.astimezone(SHANGHAI).isoformat()
            return {"reason": label, "until": until}

        return Deed(
            Act.PAUSE, {"code": reason}, lambda t, _: acts.pause(t, reason, at, self.times), told
        )

    def resume(self, at: datetime) -> Deed:
        """恢复办理."""
        return Deed(Act.RESUME, {}, lambda t, _: acts.resume(t, at, self.times))

    def resolve(
        self, at: datetime, *, public_reply: str, internal_finding: str, solved: bool
    ) -> Deed:
        """办结, or an assisting unit's answer (反馈)."""
        content = {
            "public_reply": public_reply,
            "internal_finding": internal_finding,
            "solved": solved,
        }

        def resolved(ticket: Ticket, helping: str) -> Ticket:
            if helping:
                return acts.feed_back(ticket, helping, at)
            return acts.resolve(ticket, self.coordinator(ticket), at, self.times)

        def told(before: Ticket, after: Ticket) -> Said:
            if after.state is not State.RESOLVED:
                return {}
            return {"working_s": acts.worked_s(before, at, self.times)}

        return Deed(Act.RESOLVE, content, resolved, told)

    def call_back(
        self, at: datetime, *, reached: bool, solved: bool | None, grade: int | None, text: str
    ) -> Deed:
        """回访."""
        content = {"reached": reached, "solved": solved, "grade": grade, "text": text}
        return Deed(Act.CALL_BACK, content, lambda t, _: acts.call_back(t, at))

    def close(self) -> Deed:
        """结案. Raises CallBackOwed when it is done too early."""

        def closed(ticket: Ticket, _assisting: str) -> Ticket:
            if not acts.may_close(ticket):
                raise CallBackOwed
            return ticket

        return Deed(Act.CLOSE, {}, closed)

    def reopen(self, at: datetime, reason: str) -> Deed:
        """重办."""
        return Deed(
            Act.REOPEN,
            {"reason": reason},
            lambda t, _: acts.reopen(t, self.coordinator(t), at, self.times),
            lambda before, _after: {"counts_against": acts.first_handler(before)},
        )

    def merge(self, at: datetime, into: Callable[[], Ticket], *, no: str, reason: str) -> Deed:
        """并单: `into` gives the other ticket as it is then, `no` is its number."""
        return Deed(
            Act.MERGE, {"into": no, "reason": reason}, lambda t, _: acts.merge(t, into(), at)
        )

    def supervise(self, at: datetime, by: Actor, level: Level, text: str) -> Deed:
        """督办."""

        def words(after: Ticket) -> Sequence[Delivery]:
            unit = after.lead.unit if after.lead else self.coordinator(after)
            said = {"level": level, "text": text}
            return (Delivery(Word.SUPERVISION, Recipient.UNIT, unit, said),)

        return Deed(
            Act.SUPERVISE,
            {"level": level, "text": text},
            lambda t, _: acts.supervise(t, level, text, by, at),
            words=words,
        )

    def reclassify(self, kind: Kind | None, urgency: Urgency | None, reason: str) -> Deed:
        """更正分类; None leaves it."""

        def told(before: Ticket, after: Ticket) -> Said:
            return {"kind": after.complaint.kind, "urgency": after.complaint.urgency} | {
                f"{name}_before": getattr(before.complaint, name) for name in ("kind", "urgency")
            }

        return Deed(
            Act.RECLASSIFY,
            {"reason": reason},
            lambda t, _: acts.reclassify(
                t, kind or t.complaint.kind, urgency or t.complaint.urgency
            ),
            told,
        )

    def note(self, text: str) -> Deed:
        """备注."""
        return Deed(Act.NOTE, {"text": text}, lambda t, _: t)

    def check(self, finding: Finding, text: str) -> Deed:
        """抽查: what a second look at a closed ticket found."""
        content = {
            "way": finding.way,
            "reached": finding.reached,
            "solved": finding.solved,
            "truthful": finding.truthful,
            "text": text,
        }
        return Deed(Act.CHECK, content, lambda t, _: t)


def joined(stands: Ticket, merged: Ticket, by: Actor, at: datetime, reason: str) -> Event:
    """Return what stays with a ticket that another one was merged into; `stands` as it is then."""
    return event("merged_here", stands, by, at, {"from": merged.no, "reason": reason})


def carried(stands: Ticket, merged: Ticket) -> Ticket:
    """Return the ticket that another one was merged into, a version on if a wish to stay unnamed came
    over with it, else the very same."""
    after = acts.wish_carried(stands, merged)
    return stands if after == stands else replace(after, version=stands.version + 1)
