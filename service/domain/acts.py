"""What each act makes of a ticket: a ticket in, the next ticket out.

Each function assumes that the act is allowed (lifecycle, access) and gives back the whole ticket
with its clocks; the desk writes what changed. The overall clock of a ticket never restarts: when
it passes from one unit to the next, the next one takes over what is left of it.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from service.domain.complaint import Complaint, Decision, EvidenceKind, Route, UnitRef
from service.domain.lifecycle import State
from service.domain.limits import Timetable, govern
from service.domain.ticket import Milestone, MilestoneKind, Outcome, Ticket

_RECEIVED_AS: dict[Decision, State] = {
    Decision.AUTO: State.DISPATCHED,
    Decision.MANUAL: State.SORTING,
    Decision.NOT_ACCEPTED: State.NOT_ACCEPTED,
    Decision.EMERGENCY_LINE: State.REFERRED,
}
_UNIT_OWES = (MilestoneKind.SIGN, MilestoneKind.CONTACT)


def receive(
    no: str, complaint: Complaint, route: Route, coordinator: str, at: datetime, times: Timetable
) -> Ticket:
    """Return the new ticket of a complaint.

    A review that nobody complains in (系统默认, 好评) is counted for the unit and closed at once. What
    waits for manual sorting is on the coordinator's clock: the citizen's time is already running.
    """
    state = _RECEIVED_AS[route.decision]
    ticket = Ticket(
        no=no,
        complaint=complaint,
        route=route,
        state=state,
        version=1,
        received_at=complaint.accepted_at,
        limits=times.limits.digest,
    )
    if ticket.is_counted_only:
        return replace(ticket, state=State.CLOSED, lead=route.lead)
    if state is State.SORTING:
        return replace(ticket, milestones=_resolve_clocks(ticket, coordinator, times))
    if state is State.DISPATCHED and route.lead:
        return dispatch(ticket, route.lead, route.assist, at, times)
    return ticket


def supplement(ticket: Ticket, complaint: Complaint, times: Timetable) -> Ticket:
    """Return the ticket with what a changed body of its source says.

    Its text goes to the history and never over the first one. A wish for confidence holds from now
    on, a new number to call replaces the old. A 督办 or a limit of the sender's that was not there
    before sets the clocks to resolve anew; a redo keeps its own.
    """
    old = ticket.complaint
    merged = replace(
        old,
        confidential=old.confidential or complaint.confidential,
        anonymous=old.anonymous or complaint.anonymous,
        contact=complaint.contact if complaint.contact.phone else old.contact,
        clock_from=complaint.clock_from or old.clock_from,
        sender_due_at=complaint.sender_due_at or old.sender_due_at,
    )
    after = replace(ticket, complaint=merged)
    owed = ticket.open(MilestoneKind.RESOLVE)
    same = (merged.clock_from, merged.sender_due_at) == (old.clock_from, old.sender_due_at)
    if same or not owed or ticket.redo:
        return after
    ended = _end(ticket.milestones, (MilestoneKind.RESOLVE,), Outcome.WITHDRAWN)
    return replace(after, milestones=(*ended, *_resolve_clocks(after, owed[0].unit, times)))


def dispatch(
    ticket: Ticket, lead: UnitRef, assist: tuple[UnitRef, ...], at: datetime, times: Timetable
) -> Ticket:
    """Return the ticket with a (new) lead: it signs and contacts anew, but what is left of the time
    to resolve is what it gets."""
    ended = _end(ticket.milestones, _UNIT_OWES, Outcome.WITHDRAWN)
    ticket = replace(ticket, lead=lead, assist=assist, milestones=ended)
    clauses = _clauses(ticket.route, lead.unit)
    owed = _UNIT_OWES if ticket.complaint.contact.phone else (MilestoneKind.SIGN,)
    started = tuple(
        times.milestone(kind, lead.unit, ticket.complaint, at, clauses=clauses, redo=ticket.redo)
        for kind in owed
    )
    if ticket.open(MilestoneKind.RESOLVE):
        milestones = _hand_over(ticket.milestones, lead.unit)
    else:
        milestones = (*ticket.milestones, *_resolve_clocks(ticket, lead.unit, times))
    return replace(ticket, milestones=(*milestones, *started))


def sign(ticket: Ticket, at: datetime) -> Ticket:
    """Return the ticket signed for."""
    return replace(ticket, milestones=_meet(ticket.milestones, (MilestoneKind.SIGN,), at))


def send_back(ticket: Ticket, coordinator: str) -> Ticket:
    """Return the ticket without a lead, back with the coordinator, its time to resolve running on."""
    ended = _end(ticket.milestones, _UNIT_OWES, Outcome.WITHDRAWN)
    return replace(ticket, lead=None, assist=(), milestones=_hand_over(ended, coordinator))


def contact(ticket: Ticket, at: datetime) -> Ticket:
    """Return the ticket after the citizen was first spoken to; later talks change nothing."""
    return replace(ticket, milestones=_meet(ticket.milestones, (MilestoneKind.CONTACT,), at))


def resolve(ticket: Ticket, coordinator: str, at: datetime, times: Timetable) -> Ticket:
    """Return the ticket resolved. A first contact that never was is missed, and from now the
    coordinator owes a call-back to whoever left a number."""
    milestones = _meet(ticket.milestones, (MilestoneKind.RESOLVE,), at)
    milestones = _end(milestones, (MilestoneKind.CONTACT,), Outcome.MISSED)
    if ticket.complaint.contact.phone:
        owed = times.milestone(
            MilestoneKind.CALL_BACK, coordinator, ticket.complaint, at, redo=ticket.redo
        )
        milestones = (*milestones, owed)
    return replace(ticket, milestones=milestones)


def call_back(ticket: Ticket, at: datetime) -> Ticket:
    """Return the ticket after a call-back; one that nobody answered counts as made, and the rates
    tell it apart by its event."""
    return replace(ticket, milestones=_meet(ticket.milestones, (MilestoneKind.CALL_BACK,), at))


def may_close(ticket: Ticket) -> bool:
    """Whether nothing is owed any more: a citizen who left a number has been called back."""
    return not ticket.open(MilestoneKind.CALL_BACK)


def reopen(ticket: Ticket, at: datetime, times: Timetable) -> Ticket:
    """Return the ticket back with its unit for a redo (重办), with new clocks from now."""
    ended = _end(ticket.milestones, tuple(MilestoneKind), Outcome.WITHDRAWN)
    lead, redo = ticket.lead, ticket.redo + 1
    if lead is None:
        msg = f"{ticket.no} has nobody to redo it"
        raise ValueError(msg)
    clauses = _clauses(ticket.route, lead.unit)
    owed = times.milestone(
        MilestoneKind.RESOLVE, lead.unit, ticket.complaint, at, clauses=clauses, redo=redo
    )
    again = replace(ticket, milestones=(*ended, owed), redo=redo)
    return dispatch(again, lead, again.assist, at, times)


def _clauses(route: Route, unit: str) -> frozenset[tuple[str, str]]:
    """Return (document, item) of each clause that speaks for this unit."""
    return frozenset(
        (evidence.document, evidence.item)
        for candidate in route.candidates
        if candidate.unit == unit
        for evidence in candidate.evidence
        if evidence.kind is EvidenceKind.CLAUSE
    )


def _resolve_clocks(ticket: Ticket, unit: str, times: Timetable) -> tuple[Milestone, ...]:
    complaint = ticket.complaint
    start = complaint.clock_from or ticket.received_at
    clauses = _clauses(ticket.route, unit)
    own = times.milestone(MilestoneKind.RESOLVE, unit, complaint, start, clauses=clauses)
    return govern(own, times.sender_milestone(unit, complaint, start))


def _meet(
    milestones: Iterable[Milestone], kinds: Iterable[MilestoneKind], at: datetime
) -> tuple[Milestone, ...]:
    return tuple(
        replace(
            m,
            met_at=at,
            outcome=Outcome.ON_TIME if at <= m.due_at else Outcome.LATE,
            next_at=None,
        )
        if m.is_open and m.kind in kinds
        else m
        for m in milestones
    )


def _end(
    milestones: Iterable[Milestone],
    kinds: Iterable[MilestoneKind],
    outcome: Outcome,
) -> tuple[Milestone, ...]:
    return tuple(
        replace(m, outcome=outcome, next_at=None) if m.is_open and m.kind in kinds else m
        for m in milestones
    )


def _hand_over(milestones: Iterable[Milestone], unit: str) -> tuple[Milestone, ...]:
    """Return the milestones with the open resolve clocks passed on to another unit, unchanged in
    start, due time and stage."""
    kept: list[Milestone] = []
    for m in milestones:
        if m.is_open and m.kind is MilestoneKind.RESOLVE and m.unit != unit:
            kept.append(replace(m, outcome=Outcome.WITHDRAWN, next_at=None))
            kept.append(replace(m, id=0, unit=unit))
        else:
            kept.append(m)
    return tuple(kept)
