"""What a file of earlier years tells of a complaint (历史工单), and the ticket that it makes.

Nothing that happened before the import is judged by limits of ours (ADR 0017): a closed ticket has
the one clock whose end the file tells, met at its own time, or none. What is still open gets the
clocks of a ticket that comes today, its time to resolve counted from its own receipt.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from service.domain import acts
from service.domain.access import Actor, Role
from service.domain.clock import met
from service.domain.complaint import Complaint, Decision, Route, UnitRef
from service.domain.lifecycle import Act, State
from service.domain.limits import Timetable
from service.domain.ticket import Event, Milestone, MilestoneKind, Outcome, Ticket

IMPORTED = "imported"
# Who stands in the history for what was done before and elsewhere.
IMPORTER = Actor("历史导入", Role.ADMIN)


class Standing(StrEnum):
    """How far a complaint had come when the file was written."""

    OPEN = "open"  # 在办
    RESOLVED = "resolved"  # 已办结待回访
    CLOSED = "closed"  # 已办结
    NOT_ACCEPTED = "not_accepted"  # 不予受理


@dataclass(frozen=True, slots=True)
class History:
    """What became of a complaint before it came here.

    `unit` and `assist` are names as written, "" where the file names none. Times that the file does
    not tell are None; what is finished has `closed_at`, and `resolved_at` unless it was not accepted.
    """

    standing: Standing
    unit: str = ""
    assist: tuple[str, ...] = ()
    dispatched_at: datetime | None = None
    signed_at: datetime | None = None
    resolved_at: datetime | None = None
    called_back_at: datetime | None = None
    closed_at: datetime | None = None
    reply: str = ""
    reached: bool | None = None
    solved: bool | None = None
    grade: int | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """A row of a file: the complaint, what became of it, and what a person should look at."""

    row: int
    complaint: Complaint
    history: History
    fingerprint: str
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ticket came from: SHA-256 of the file, its sheet ("" if it has none), the row."""

    file: str
    sheet: str
    row: int


def taken_over(
    past: Past,
    route: Route,
    lead: UnitRef | None,
    assist: tuple[UnitRef, ...],
    coordinator: str,
    at: datetime,
    times: Timetable,
) -> Ticket:
    """Return the ticket of a row, still without a number.

    `route` says who answers for an open one that names no unit of the table, `lead` is the unit that
    it names, under the name that it bore then if it is closed.
    """
    complaint, told = past.complaint, past.history
    if past.findings:
        extra = {**complaint.extra, "finding": "；".join(past.findings)}
        complaint = replace(complaint, extra=extra)
    if told.standing is Standing.OPEN and lead is None:
        return acts.receive("", complaint, route, coordinator, at, times)
    ticket = Ticket(
        "",
        complaint,
        route,
        State.CLOSED,
        1,
        complaint.accepted_at,
        received_kind=complaint.kind,
    )
    if told.standing is Standing.OPEN and lead is not None and not ticket.is_counted_only:
        given = replace(ticket, state=State.DISPATCHED, limits=times.limits.digest)
        return _in_hand(given, told, lead, assist, coordinator, at, times)
    ticket = replace(ticket, lead=lead, assist=assist)
    if told.standing is Standing.NOT_ACCEPTED:
        return replace(ticket, state=State.NOT_ACCEPTED)
    ticket = replace(ticket, milestones=_judged(ticket, told, times))
    if told.standing is not Standing.RESOLVED:
        return ticket
    ticket = replace(ticket, state=State.RESOLVED, limits=times.limits.digest)
    if not complaint.contact.phone or told.resolved_at is None:
        return ticket
    owed = acts.made(ticket, MilestoneKind.CALL_BACK, coordinator, told.resolved_at, times)
    return replace(ticket, milestones=(*ticket.milestones, owed))


def _judged(ticket: Ticket, told: History, times: Timetable) -> tuple[Milestone, ...]:
    """Return the clock whose end the file tells, if it tells whose it was and when it was met."""
    lead, complaint = ticket.lead, ticket.complaint
    if lead is None or told.resolved_at is None:
        return ()
    start = complaint.clock_from or complaint.accepted_at
    given = times.sender_milestone(lead.unit, complaint, start)
    return (met(given, told.resolved_at),) if given else ()


def _in_hand(
    ticket: Ticket,
    told: History,
    lead: UnitRef,
    assist: tuple[UnitRef, ...],
    coordinator: str,
    at: datetime,
    times: Timetable,
) -> Ticket:
    """Return an open ticket with the unit that has it: what the unit owes first (签收, 首次联系) it
    owes from now on, its time to resolve runs from the receipt or dispatch that the file tells."""
    given = acts.dispatch(ticket, lead, assist, coordinator, at, times)
    if told.dispatched_at:
        since = acts.dispatch(ticket, lead, (), coordinator, told.dispatched_at, times)
        owed = given.owed(MilestoneKind.RESOLVE)
        rest = tuple(m for m in given.milestones if m not in owed)
        given = replace(given, milestones=(*since.owed(MilestoneKind.RESOLVE), *rest))
    if told.signed_at is None:
        return given
    signed = acts.sign(given, "", told.signed_at, times)

    def unjudged(m: Milestone) -> Milestone:
        # It signed elsewhere, under limits that nobody here knows: counts for nobody.
        return replace(m, outcome=Outcome.WITHDRAWN) if m.met_at else m

    milestones = tuple(unjudged(m) for m in signed.milestones)
    return replace(signed, state=State.SIGNED, milestones=milestones)


def events(ticket: Ticket, past: Past, place: Place, at: datetime) -> tuple[Event, ...]:
    """Return the history of an imported ticket: what the file tells, each at its own time, and last
    that and from where it was imported."""
    lead = ticket.lead.unit if ticket.lead else ""
    told = [
        Event(act, when, IMPORTER.name, IMPORTER.role, content, ticket.version, lead)
        for act, when, content in _told(ticket, past, at)
    ]
    origin: dict[str, Any] = {"file": place.file, "row": place.row}
    if place.sheet:
        origin["sheet"] = place.sheet
    if past.findings:
        origin["finding"] = "；".join(past.findings)
    last = Event(IMPORTED, at, IMPORTER.name, IMPORTER.role, origin, ticket.version, lead)
    return (*told, last)


def _told(
    ticket: Ticket, past: Past, at: datetime
) -> Iterator[tuple[str, datetime, dict[str, Any]]]:
    told, route = past.history, ticket.route
    received: dict[str, Any] = {}
    if told.standing is Standing.OPEN and not told.unit:
        received = {"decision": route.decision, "confidence": round(route.confidence, 4)}
        received |= {"rulebook": route.rulebook, "reason": route.reason, "hotline": route.hotline}
    elif told.standing is Standing.NOT_ACCEPTED:
        received = {"decision": Decision.NOT_ACCEPTED, "reason": told.reply}
    yield "received", ticket.complaint.accepted_at, received
    dispatched_at = told.dispatched_at
    if dispatched_at is None and ticket.state is State.DISPATCHED:
        dispatched_at = at
    if dispatched_at:
        given: dict[str, Any] = {"unit": ticket.lead.unit if ticket.lead else ""}
        given["assist"] = [ref.unit for ref in ticket.assist]
        given |= {"unit_written": told.unit} if told.unit else {"auto": True}
        yield Act.DISPATCH, dispatched_at, given
    if told.signed_at:
        yield Act.SIGN, told.signed_at, {}
    if told.resolved_at and told.standing is not Standing.NOT_ACCEPTED:
        yield Act.RESOLVE, told.resolved_at, {"public_reply": told.reply, "unit_written": told.unit}
    asked = told.called_back_at or told.closed_at
    if asked and (told.reached, told.solved, told.grade) != (None, None, None):
        answer = {"reached": told.reached, "solved": told.solved, "grade": told.grade}
        yield Act.CALL_BACK, asked, answer
    if told.closed_at and told.standing is Standing.CLOSED and not ticket.is_counted_only:
        yield Act.CLOSE, told.closed_at, {}
