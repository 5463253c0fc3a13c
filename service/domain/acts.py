"""What each act makes of a ticket: a ticket in, the next ticket out.

Each function assumes that the state and the role allow the act (lifecycle, access), refuses with
RuleForbids what a policy forbids, and gives back the whole ticket with its clocks; the desk writes
what changed. The overall clock of a ticket never restarts: when it passes from one unit to the
next, the next one takes over what is left of it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from service.domain.access import Actor
from service.domain.calendar import SHANGHAI, Calendar
from service.domain.clock import (
    Came,
    advance,
    ended,
    extended,
    governed,
    kept_up,
    met,
    planned,
    resumed,
    stood_s,
    stopped,
    worse,
)
from service.domain.complaint import (
    Complaint,
    Decision,
    EvidenceKind,
    Kind,
    Route,
    UnitRef,
    Urgency,
)
from service.domain.confidence import withheld
from service.domain.deadline import Limit, due, parse_limit
from service.domain.lifecycle import Act, IllegalMove, State
from service.domain.limits import Starts, Timetable, lengthened
from service.domain.limits import recalculated as worked_out_anew
from service.domain.policy import Bears, Policy
from service.domain.scope import Origin
from service.domain.similar import number
from service.domain.ticket import (
    Clock,
    Decided,
    Extension,
    Level,
    Milestone,
    MilestoneKind,
    Outcome,
    Pause,
    Stage,
    Supervision,
    Ticket,
)
from service.domain.values import replace

_RECEIVED_AS: dict[Decision, State] = {
    Decision.AUTO: State.DISPATCHED,
    Decision.MANUAL: State.SORTING,
    Decision.NOT_ACCEPTED: State.NOT_ACCEPTED,
    Decision.EMERGENCY_LINE: State.REFERRED,
}
_UNIT_OWES = (MilestoneKind.SIGN, MilestoneKind.CONTACT)
_CARD: Mapping[Level, Stage] = {
    Level.ORDINARY: Stage.NORMAL,
    Level.YELLOW: Stage.YELLOW,
    Level.RED: Stage.RED,
}


class RuleForbids(Exception):
    """A policy forbids the act. `rule` names it in ASCII, `detail` says it in Chinese with its
    source."""

    def __init__(self, rule: str, detail: str, origin: Origin | None = None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.detail = f"{detail}（依据：{origin.basis}）" if origin else detail


# What comes in


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
        received_kind=complaint.kind,
    )
    if ticket.is_counted_only:
        return replace(ticket, state=State.CLOSED, lead=route.lead)
    if state is State.SORTING:
        return replace(ticket, milestones=_resolve_clocks(ticket, coordinator, times))
    if state is State.DISPATCHED and route.lead:
        return dispatch(ticket, route.lead, route.assist, coordinator, at, times)
    return ticket


def supplement(ticket: Ticket, complaint: Complaint, at: datetime, times: Timetable) -> Ticket:
    """Return the ticket with what a changed body of its source says.

    Its text goes to the history and never over the first one. A wish for confidence holds from now
    on, a new number to call replaces the old. Another limit of the sender's moves the sender's
    clock alone; a 督办 that was not there before works ours out anew as well, with the extensions
    and pauses that it was given. A redo keeps its own.
    """
    old = ticket.complaint
    contact, extra = old.contact, old.extra
    if complaint.contact.phone and complaint.contact != old.contact:
        # The number it came with is never lost: a call-back to another phone can be looked into.
        contact = complaint.contact
        extra = {
            **extra,
            f"contact_before_{ticket.version + 1}": f"{old.contact.name} {old.contact.phone}",
        }
    merged = replace(
        old,
        confidential=old.confidential or complaint.confidential,
        anonymous=old.anonymous or complaint.anonymous,
        contact=contact,
        extra=extra,
        clock_from=complaint.clock_from or old.clock_from,
        sender_due_at=complaint.sender_due_at or old.sender_due_at,
    )
    after = replace(ticket, complaint=merged)
    same = (merged.clock_from, merged.sender_due_at) == (old.clock_from, old.sender_due_at)
    if same or not ticket.owed(MilestoneKind.RESOLVE) or ticket.redo:
        return after
    restarts = merged.clock_from != old.clock_from
    return replace(after, milestones=_supplemented(after, at, times, restarts=restarts))


def _supplemented(
    ticket: Ticket, at: datetime, times: Timetable, *, restarts: bool
) -> tuple[Milestone, ...]:
    """Return the milestones with the clocks to resolve as the complaint now has them; ours only if
    it restarts. What has come of them stays."""
    owed = ticket.owed(MilestoneKind.RESOLVE)
    received = ticket.complaint.clock_from or ticket.received_at
    sender = times.sender_milestone(owed[0].unit, ticket.complaint, received)

    def anew(m: Milestone) -> Milestone:
        if m.clock is Clock.OWN:
            return _restarted(ticket, m, times) if restarts else m
        return replace(sender, bearer=m.bearer, bearer_until=m.bearer_until) if sender else m

    changed = _each(ticket.milestones, anew, owed)
    before: tuple[Milestone | None, ...] = ticket.milestones
    if sender and all(m.clock is Clock.OWN for m in owed):
        changed, before = (*changed, sender), (*before, None)
    escalation, calendar = policy_of(ticket, times).escalation, times.calendar_of(ticket.region)

    def settled(m: Milestone, was: Milestone | None) -> Milestone:
        if m == was:
            return m
        fresh = planned(m, escalation, calendar)
        kept = kept_up(fresh, was, at) if was else fresh
        return stopped(kept, ticket.pause.at) if ticket.pause else kept

    # Which one governs says which one has the cards, and so comes before what follows it.
    return tuple(settled(m, was) for m, was in zip(governed(changed), before, strict=True))


def _restarted(ticket: Ticket, own: Milestone, times: Timetable) -> Milestone:
    """Return our clock counted from the start that the source names now, if it counts from there
    and not from when a unit got the ticket."""
    with_unit = any(m.kind is MilestoneKind.SIGN for m in ticket.milestones)
    # A clock that counts from the dispatch or the signing began there and stays.
    begun = own.started_at if with_unit else None
    start = _start(ticket, MilestoneKind.RESOLVE, times, begun)
    moved = replace(own, started_at=start)
    clauses = _clauses(ticket.route, own.unit)
    return worked_out_anew(moved, ticket.complaint, times, clauses=clauses) or moved


# What time does


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """A ticket with everything that time has brought, each step once, and what that was.

    `woken` is the ticket after its pause ended by itself, None if it did not.
    """

    ticket: Ticket
    came: tuple[Came, ...]
    woken: Ticket | None


def catch_up(ticket: Ticket, at: datetime, times: Timetable) -> CaughtUp:
    """Return the ticket as the ticker would have left it at `at`: an act finds what was due before
    it done, or a step would be lost with the clock that the act ends."""
    woken = None
    if ticket.pause and ticket.pause.until <= at:
        woken = resume(ticket, ticket.pause.until, times)
        ticket = woken = replace(woken, state=State.SIGNED, version=woken.version + 1)
    came = {id(m): advance(m, at) for m in ticket.milestones}
    after = tuple(came[id(m)][-1].milestone if came[id(m)] else m for m in ticket.milestones)
    in_order = sorted((c for steps in came.values() for c in steps), key=lambda c: c.step.at)
    return CaughtUp(replace(ticket, milestones=after), tuple(in_order), woken)


# What people do


def dispatch(
    ticket: Ticket,
    lead: UnitRef,
    assist: tuple[UnitRef, ...],
    coordinator: str,
    at: datetime,
    times: Timetable,
) -> Ticket:
    """Return the ticket with a (new) lead: it signs and contacts anew, but what is left of the time
    to resolve is what it gets. Assisting units get clocks of their own; one that assisted before
    keeps its own."""
    before = ticket.lead
    policy = policy_of(ticket, times)
    helping = {ref.unit for ref in assist}
    # An imported ticket that is done again has no clock of the first time.
    first = not ticket.redo and all(m.kind is not MilestoneKind.SIGN for m in ticket.milestones)
    over = tuple(
        m for m in ticket.open() if (m.unit not in helping if m.assisting else m.kind in _UNIT_OWES)
    )
    kept = _each(ticket.milestones, lambda m: ended(m, Outcome.WITHDRAWN), over)
    ticket = replace(_lapsed(ticket, at), lead=lead, assist=assist, milestones=kept)
    held = ticket.owed(MilestoneKind.RESOLVE)
    if held and not (first and _starts(ticket, MilestoneKind.RESOLVE, times) in _WITH_THE_UNIT):
        full = made(ticket, MilestoneKind.RESOLVE, lead.unit, at, times)

        def bearing(m: Milestone) -> Milestone:
            bears = policy.hand_over.redispatch
            bearer = _bearer(bears, before.unit, coordinator) if before else m.bearer
            if not bearer or bearer == lead.unit:
                return replace(m, bearer="", bearer_until=None)
            return replace(m, bearer=bearer, bearer_until=full.due_at)

        milestones = _hand_over(kept, lead.unit, bearing)
    else:
        rest = _each(kept, lambda m: ended(m, Outcome.WITHDRAWN), held)
        milestones = (*rest, *_resolve_clocks(ticket, lead.unit, times, dispatched_at=at))
    # Whom a unit may not ring it need not ring: the coordinator speaks to who asked for confidence.
    may_ring = ticket.complaint.contact.phone and not withheld(
        ticket.complaint, ticket.route, [lead.name]
    )
    owes = _UNIT_OWES if may_ring else (MilestoneKind.SIGN,)
    started = [
        made(ticket, kind, lead.unit, _start(ticket, kind, times, at) if first else at, times)
        for kind in owes
    ]
    ends = min(
        (m.due_at for m in replace(ticket, milestones=milestones).owed(MilestoneKind.RESOLVE)),
        default=None,
    )
    there = {m.unit for m in milestones if m.is_open and m.assisting}
    for ref in assist:
        if ref.unit not in there:
            started += _made_assisting(ticket, ref.unit, at, ends, times)
    return replace(ticket, milestones=(*milestones, *started))


def sign(ticket: Ticket, assisting: str, at: datetime, times: Timetable) -> Ticket:
    """Return the ticket signed for by its lead, or by an assisting unit. A clock whose limit counts
    from the signing ran from the dispatch until now and begins here, the first time."""
    signed = _meet(ticket, MilestoneKind.SIGN, Act.SIGN, at, by=assisting)
    before = any(
        m.kind is MilestoneKind.SIGN and m.met_at and not m.assisting for m in ticket.milestones
    )
    if assisting or (before and not ticket.redo):
        return signed

    def begun(m: Milestone) -> Milestone:
        if m.redo != ticket.redo or _starts(ticket, m.kind, times) is not Starts.SIGN:
            return m
        fresh = made(ticket, m.kind, m.unit, at, times, governing=m.governing)
        return kept_up(fresh, m, at)

    kinds = (
        (MilestoneKind.CONTACT,) if ticket.redo else (MilestoneKind.CONTACT, MilestoneKind.RESOLVE)
    )
    ours = tuple(m for m in signed.open(*kinds) if not m.assisting and m.clock is Clock.OWN)
    return _governed(replace(signed, milestones=_each(signed.milestones, begun, ours)), at, times)


def send_back(
    ticket: Ticket, coordinator: str, by: Actor, at: datetime, times: Timetable
) -> Ticket:
    """Return the ticket without a lead, back with the coordinator, its time to resolve running on.

    Refused after the policy's window, and to the unit that a ruling gave it to, unless the caller's
    role may set that aside.
    """
    if ticket.lead is None:
        raise IllegalMove(ticket.state, Act.SEND_BACK)
    if refused := why_kept(ticket, by, at, times):
        raise refused
    policy = policy_of(ticket, times)
    bearer = _bearer(policy.hand_over.send_back, ticket.lead.unit, coordinator)
    over = tuple(m for m in ticket.open() if m.assisting or m.kind in _UNIT_OWES)
    kept = _each(ticket.milestones, lambda m: ended(m, Outcome.WITHDRAWN), over)
    milestones = _hand_over(
        kept, coordinator, lambda m: replace(m, bearer=bearer, bearer_until=None)
    )
    return replace(
        _lapsed(ticket, at),
        lead=None,
        assist=(),
        milestones=milestones,
        sent_back=ticket.sent_back + 1,
    )


def why_kept(ticket: Ticket, by: Actor, at: datetime, times: Timetable) -> RuleForbids | None:
    """Return why the caller may not send a ticket back that has a lead, None if nothing is against it."""
    policy = policy_of(ticket, times)
    if ticket.lead is None or by.role in policy.send_backs.waived_by:
        return None
    if ticket.ruled == ticket.lead.unit:
        return RuleForbids("send-back-ruled", "工单已经裁定由本单位办理，不能再退单")
    # Whoever leads was given it by `dispatch`, which starts a clock to sign: of what is imported or
    # done again as well.
    given = max(
        m.started_at
        for m in ticket.milestones
        if m.kind is MilestoneKind.SIGN and m.unit == ticket.lead.unit and not m.assisting
    )
    window = due(times.calendar_of(ticket.region), given, policy.send_backs.window).due_at
    if at <= window:
        return None
    return RuleForbids(
        "send-back-window",
        f"退单应在派单后 {policy.send_backs.window} 内（{_said(window)} 前）提出，现已超过",
        policy.send_backs.origin,
    )


def rule(ticket: Ticket, lead: UnitRef, coordinator: str, at: datetime, times: Timetable) -> Ticket:
    """Return the ticket given to a unit by a ruling (裁定), which only a dispute has: a ticket that
    was sent back before."""
    if not ticket.sent_back:
        raise RuleForbids("ruling-without-dispute", "工单没有被退回过，没有争议可裁定，请直接派单")
    return replace(dispatch(ticket, lead, (), coordinator, at, times), ruled=lead.unit)


def contact(ticket: Ticket, at: datetime) -> Ticket:
    """Return the ticket after the citizen was first spoken to; later talks change nothing."""
    owed = ticket.owed(MilestoneKind.CONTACT)
    return replace(ticket, milestones=_each(ticket.milestones, lambda m: met(m, at), owed))


def request_extension(
    ticket: Ticket, amount: Limit, reason: str, by: Actor, at: datetime, times: Timetable
) -> Ticket:
    """Return the ticket with a request for more time (延期), made before the time is over."""
    _check_extension(ticket, amount, at, times)
    if ticket.pending:
        raise RuleForbids("extension-pending", "已有延期申请待批")
    asked = Extension(
        str(amount), reason, by.name, by.id, ticket.lead.unit if ticket.lead else "", at
    )
    return replace(ticket, extensions=(*ticket.extensions, asked))


def decide_extension(
    ticket: Ticket, by: Actor, at: datetime, times: Timetable, *, granted: bool
) -> Ticket:
    """Return the ticket with the request decided: if granted the due time moves, counted from what
    it was, and the first one is kept. Nobody decides on what he asked for himself."""
    asked = ticket.pending
    if asked is None:
        raise RuleForbids("extension-none-pending", "没有待批的延期申请")
    policy = policy_of(ticket, times).extensions
    if by.name == asked.by or (by.id and by.id == asked.by_id):
        raise RuleForbids("extension-own-request", "申请人不能审批自己的延期申请", policy.origin)
    if by.role not in policy.approvers:
        raise RuleForbids("extension-approver", "延期不由此角色审批", policy.origin)
    decided = replace(
        asked,
        decided=Decided.GRANTED if granted else Decided.REFUSED,
        decided_by=by.name,
        decided_at=at,
    )
    after = replace(ticket, extensions=(*ticket.extensions[:-1], decided))
    if not granted:
        return after
    waiting_aside = replace(ticket, extensions=ticket.extensions[:-1])
    amount = parse_limit(asked.amount)
    own = _check_extension(waiting_aside, amount, at, times)
    escalation, calendar = policy_of(ticket, times).escalation, times.calendar_of(ticket.region)
    moved = _each(
        ticket.milestones, lambda m: extended(m, amount, escalation, at, calendar), (own,)
    )
    return _governed(replace(after, milestones=moved), at, times)


def pause(ticket: Ticket, reason: str, at: datetime, times: Timetable) -> Ticket:
    """Return the ticket with its clocks standing still (挂起), for one of the policy's reasons and
    before the time to resolve is over. The sender's clock runs on."""
    policy = policy_of(ticket, times).pauses
    if reason not in policy.reasons:
        reasons = "、".join(f"{code}（{label}）" for code, label in policy.reasons.items())
        raise RuleForbids("pause-reason", f"不是允许的挂起事由；允许的有：{reasons}", policy.origin)
    if len(ticket.pauses) >= policy.times:
        raise RuleForbids("pause-times", f"最多挂起 {policy.times} 次", policy.origin)
    if any(at > m.due_at for m in _own(ticket)):
        raise RuleForbids("pause-expired", "办结时限已过，不能再挂起", policy.origin)
    until = due(times.calendar_of(ticket.region), at, policy.longest).due_at
    return replace(
        ticket,
        pauses=(*ticket.pauses, Pause(reason, at, until)),
        milestones=_each(ticket.milestones, lambda m: stopped(m, at), ticket.open()),
    )


def resume(ticket: Ticket, at: datetime, times: Timetable) -> Ticket:
    """Return the ticket with its clocks running again, the time that they stood still given back
    exactly."""
    pause = ticket.pause
    if pause is None:
        raise IllegalMove(ticket.state, Act.RESUME)
    # A replica whose clock is behind may resume before it paused: then no time went by.
    ends = min(max(at, pause.at), pause.until)
    escalation, calendar = policy_of(ticket, times).escalation, times.calendar_of(ticket.region)
    running = _each(
        ticket.milestones,
        lambda m: resumed(m, pause.at, ends, escalation, calendar),
        ticket.open(),
    )
    pauses = (*ticket.pauses[:-1], replace(pause, ended_at=ends))
    return _governed(replace(ticket, pauses=pauses, milestones=running), ends, times)


def resolve(ticket: Ticket, coordinator: str, at: datetime, times: Timetable) -> Ticket:
    """Return the ticket resolved by its lead. A first contact that never was is missed, and so is
    what an assisting unit should have answered by now; from now the coordinator owes a call-back to
    whoever left a number."""
    policy = policy_of(ticket, times).assisting
    helping = tuple(m for m in ticket.open() if m.assisting)
    if policy.awaited and any(m.kind is MilestoneKind.RESOLVE for m in helping):
        raise RuleForbids("assist-awaited", "协办单位尚未反馈，主办单位不能办结", policy.origin)
    milestones = _each(ticket.milestones, lambda m: met(m, at), ticket.owed(MilestoneKind.RESOLVE))
    left = (*ticket.owed(MilestoneKind.CONTACT), *helping)

    def leave(m: Milestone) -> Milestone:
        missed = not m.assisting or at > m.due_at
        return ended(m, Outcome.MISSED if missed else Outcome.WITHDRAWN)

    milestones = _each(milestones, leave, left)
    if ticket.complaint.contact.phone:
        owed = made(ticket, MilestoneKind.CALL_BACK, coordinator, at, times)
        milestones = (*milestones, owed)
    return replace(_lapsed(ticket, at), milestones=milestones)


def worked_s(ticket: Ticket, at: datetime, times: Timetable) -> int:
    """Return how many working seconds have gone by since the clock to resolve began, without those in
    which it stood still (挂起)."""
    calendar = times.calendar_of(ticket.region)
    start = min((m.started_at for m in _own(ticket)), default=ticket.received_at)
    stood = sum(
        max(0, calendar.working_seconds(max(pause.at, start), pause.ended_at))
        for pause in ticket.pauses
        if pause.ended_at
    )
    return max(0, calendar.working_seconds(start, at) - stood)


def feed_back(ticket: Ticket, assisting: str, at: datetime) -> Ticket:
    """Return the ticket with an assisting unit's part done (反馈); with it the unit has signed."""
    signed = ticket.owed(MilestoneKind.SIGN, by=assisting)
    ticket = replace(ticket, milestones=_each(ticket.milestones, lambda m: met(m, at), signed))
    return _meet(ticket, MilestoneKind.RESOLVE, Act.RESOLVE, at, by=assisting)


def call_back(ticket: Ticket, at: datetime) -> Ticket:
    """Return the ticket after a call-back; one that nobody answered counts as made, and the rates
    tell it apart by its event."""
    owed = ticket.open(MilestoneKind.CALL_BACK)
    return replace(ticket, milestones=_each(ticket.milestones, lambda m: met(m, at), owed))


def may_close(ticket: Ticket) -> bool:
    """Whether nothing is owed any more: a citizen who left a number has been called back."""
    return not ticket.open(MilestoneKind.CALL_BACK)


def first_handler(ticket: Ticket) -> str:
    """Return the unit that resolved the ticket first: every redo (重办) counts against it."""
    answered = (
        m
        for m in ticket.milestones
        if m.kind is MilestoneKind.RESOLVE and not m.assisting and m.met_at and not m.redo
    )
    first = min(answered, key=lambda m: (m.met_at, m.id), default=None)
    return first.unit if first else ticket.lead.unit if ticket.lead else ""


def reopen(ticket: Ticket, coordinator: str, at: datetime, times: Timetable) -> Ticket:
    """Return the ticket back with its unit for a redo (重办), with new and shorter clocks from now."""
    lead, redo = ticket.lead, ticket.redo + 1
    # A review that was only counted was never anybody's to do, and so not to redo.
    if lead is None or ticket.is_counted_only:
        raise IllegalMove(ticket.state, Act.REOPEN)
    over = _each(ticket.milestones, lambda m: ended(m, Outcome.WITHDRAWN), ticket.open())
    ticket = replace(ticket, redo=redo)
    owed = made(ticket, MilestoneKind.RESOLVE, lead.unit, at, times)
    again = replace(ticket, milestones=(*over, owed))
    return dispatch(again, lead, again.assist, coordinator, at, times)


def merge(ticket: Ticket, into: Ticket, at: datetime) -> Ticket:
    """Return the ticket as part of another one (并单), which is still being worked: nothing is owed
    for this one any more."""
    if into.id == ticket.id or into.state not in _MERGED_INTO:
        raise RuleForbids("merge-into", "只能并入另一张正在办理的工单")
    over = _each(ticket.milestones, lambda m: ended(m, Outcome.WITHDRAWN), ticket.open())
    return replace(_lapsed(ticket, at), milestones=over, into=into.no)


def wish_carried(into: Ticket, merged: Ticket) -> Ticket:
    """Return the ticket that another one was merged into, with that one's wish to stay unnamed where
    it is the same person's: what a unit gets of the one it would else know of the other."""
    here, there = into.complaint, merged.complaint
    if not (theirs := number(there.contact.phone)) or number(here.contact.phone) != theirs:
        return into
    confidential = here.confidential or there.confidential
    anonymous = here.anonymous or there.anonymous
    return replace(into, complaint=replace(here, confidential=confidential, anonymous=anonymous))


_MERGED_INTO = frozenset({State.SORTING, State.DISPATCHED, State.SIGNED, State.PAUSED})


def supervise(ticket: Ticket, level: Level, text: str, by: Actor, at: datetime) -> Ticket:
    """Return the ticket under supervision (督办); a card shows on its clock to resolve."""
    carded = tuple(m for m in ticket.owed(MilestoneKind.RESOLVE) if m.governing)
    return replace(
        ticket,
        supervision=(*ticket.supervision, Supervision(level, at, text, by.name)),
        milestones=_each(
            ticket.milestones, lambda m: replace(m, stage=worse(m.stage, _CARD[level])), carded
        ),
    )


def next_level(ticket: Ticket) -> Level:
    """Return how sharply to press a unit next (督办): one step beyond what came before, whether a
    person or time began it."""
    owed = ticket.owed(MilestoneKind.RESOLVE)
    if any(m.governing and m.stage in {Stage.YELLOW, Stage.RED} for m in owed):
        return Level.RED
    return Level.YELLOW if ticket.supervised else Level.ORDINARY


def reclassify(ticket: Ticket, kind: Kind, urgency: Urgency) -> Ticket:
    """Return the ticket with another kind and urgency. Its clocks stay: those that begin from now
    on follow the new ones, and a recalculation brings the open ones along."""
    return replace(ticket, complaint=replace(ticket.complaint, kind=kind, urgency=urgency))


# Working out anew


def recalculated(
    ticket: Ticket, at: datetime, times: Timetable, *, limits_too: bool = True
) -> Ticket:
    """Return the ticket with its open clocks as the calendar and the limits now have it: extensions
    and pauses are given again, what ended stays. Without `limits_too` each keeps the limit that it
    was given and only the days are counted anew."""
    calendar = times.calendar_of(ticket.region)

    def anew(m: Milestone, ceiling: datetime | None = None) -> Milestone:
        clauses = _clauses(ticket.route, m.unit)
        found: Milestone | None
        if limits_too:
            found = worked_out_anew(
                m,
                ticket.complaint,
                times,
                clauses=clauses,
                assisting=m.assisting,
                no_later_than=ceiling,
            )
        else:
            ends = due(calendar, m.started_at, parse_limit(m.limit), m.count_from)
            first_end = min(ends.due_at, ceiling) if ceiling else ends.due_at
            found = lengthened(
                calendar,
                replace(
                    m,
                    original_due_at=first_end,
                    provisional=ends.provisional
                    and not calendar.covers(m.started_at.date(), first_end.date()),
                ),
            )
        if found is None:
            return m
        fresh = planned(found, times.policy(ticket.complaint, clauses).escalation, calendar)
        kept = kept_up(fresh, m, at)
        return stopped(kept, ticket.pause.at) if ticket.pause else kept

    open_ones = tuple(m for m in ticket.open() if m.clock is Clock.OWN)
    # The lead's first: what assists it ends no later.
    leading = tuple(m for m in open_ones if not m.assisting)
    led = replace(ticket, milestones=_each(ticket.milestones, anew, leading))
    helping = tuple(m for m in open_ones if m.assisting)
    both = _each(led.milestones, lambda m: anew(m, _ceiling(led, m, calendar)), helping)
    after = _governed(replace(led, milestones=both), at, times)
    before = zip(ticket.milestones, after.milestones, strict=True)
    if all(_times(m) == _times(n) for m, n in before):
        return ticket
    return replace(after, limits=times.limits.digest if limits_too else ticket.limits)


def _ceiling(ticket: Ticket, helping: Milestone, calendar: Calendar) -> datetime | None:
    """Return by when the lead has to be done by what an assisting unit's clock knew when it began: an
    extension since then was the lead's alone, a pause since then is given to each of them."""
    granted = sum(
        parse_limit(e.amount).amount
        for e in ticket.extensions
        if e.decided_at and e.decided is Decided.GRANTED and e.decided_at >= helping.started_at
    )
    since = [p for p in ticket.pauses if p.ended_at and p.at >= helping.started_at]

    def known(m: Milestone) -> datetime:
        if m.clock is Clock.SENDER:
            return m.due_at
        given = sum(stood_s(m, p.at, p.ended_at, calendar) for p in since if p.ended_at)
        text = m.extended
        if text and granted:
            former = parse_limit(text)
            left = former.amount - granted
            text = str(replace(former, amount=left)) if left > 0 else ""
        then = replace(m, extended=text, paused_s=max(0, m.paused_s - given))
        return lengthened(calendar, then).due_at

    return min(map(known, ticket.owed(MilestoneKind.RESOLVE)), default=None)


def _times(m: Milestone) -> tuple[object, ...]:
    return m.limit, m.due_at, m.warn_at, m.steps, m.provisional, m.governing


# What all of these need


def policy_of(ticket: Ticket, times: Timetable) -> Policy:
    """Return what may be done to the ticket's clocks."""
    unit = ticket.lead.unit if ticket.lead else ""
    return times.policy(ticket.complaint, _clauses(ticket.route, unit))


def made(
    ticket: Ticket,
    kind: MilestoneKind,
    unit: str,
    start: datetime,
    times: Timetable,
    *,
    governing: bool = True,
) -> Milestone:
    """Return a new clock of ours for the unit that leads, or the one that runs the hotline."""
    clauses = _clauses(ticket.route, unit)
    found = times.milestone(kind, unit, ticket.complaint, start, clauses=clauses, redo=ticket.redo)
    if not governing:
        found = replace(found, governing=False)
    escalation = times.policy(ticket.complaint, clauses).escalation
    return planned(found, escalation, times.calendar_of(ticket.region))


def _governed(ticket: Ticket, at: datetime, times: Timetable) -> Ticket:
    """Return the ticket with the clock to resolve that ends first as governing. Where another one did
    before, the cards pass from that one to this."""
    escalation, calendar = policy_of(ticket, times).escalation, times.calendar_of(ticket.region)

    def settled(m: Milestone, was: Milestone) -> Milestone:
        if m.governing is was.governing:
            return m
        kept = kept_up(planned(m, escalation, calendar), m, at)
        return stopped(kept, ticket.pause.at) if ticket.pause else kept

    both = zip(governed(ticket.milestones), ticket.milestones, strict=True)
    return replace(ticket, milestones=tuple(settled(m, was) for m, was in both))


def _made_assisting(
    ticket: Ticket, unit: str, at: datetime, ends: datetime | None, times: Timetable
) -> tuple[Milestone, ...]:
    """Return what an assisting unit owes, none of it later than `ends`, the lead's due time."""
    clauses = _clauses(ticket.route, unit)
    escalation = times.policy(ticket.complaint, clauses).escalation
    owed = (
        times.assisting(
            kind,
            unit,
            ticket.complaint,
            at,
            no_later_than=ends,
            clauses=clauses,
            redo=ticket.redo,
        )
        for kind in (MilestoneKind.SIGN, MilestoneKind.RESOLVE)
    )
    calendar = times.calendar_of(ticket.region)
    return tuple(planned(replace(m, assisting=True), escalation, calendar) for m in owed if m)


def _clauses(route: Route, unit: str) -> frozenset[tuple[str, str]]:
    """Return (document, item) of each clause that speaks for this unit."""
    return frozenset(
        (evidence.document, evidence.item)
        for candidate in route.candidates
        if candidate.unit == unit
        for evidence in candidate.evidence
        if evidence.kind is EvidenceKind.CLAUSE
    )


def _resolve_clocks(
    ticket: Ticket, unit: str, times: Timetable, *, dispatched_at: datetime | None = None
) -> tuple[Milestone, ...]:
    """Return our clock to resolve and the sender's if it set one, each with what follows it."""
    complaint = ticket.complaint
    received = complaint.clock_from or ticket.received_at
    start = _start(ticket, MilestoneKind.RESOLVE, times, dispatched_at)
    own = made(ticket, MilestoneKind.RESOLVE, unit, start, times)
    sender = times.sender_milestone(unit, complaint, received)
    if sender is None:
        return (own,)
    escalation, calendar = policy_of(ticket, times).escalation, times.calendar_of(ticket.region)
    return tuple(planned(m, escalation, calendar) for m in governed((own, sender)))


# A limit that counts from here begins only when a unit has the ticket.
_WITH_THE_UNIT = frozenset({Starts.DISPATCH, Starts.SIGN})


def _starts(ticket: Ticket, kind: MilestoneKind, times: Timetable) -> Starts:
    unit = ticket.lead.unit if ticket.lead else ""
    return times.limits.rule(kind, ticket.complaint, _clauses(ticket.route, unit)).starts


def _start(
    ticket: Ticket, kind: MilestoneKind, times: Timetable, dispatched_at: datetime | None
) -> datetime:
    """Return when a clock starts that begins with a dispatch, or before there was one."""
    unit = ticket.lead.unit if ticket.lead else ""
    return times.starts(
        kind,
        ticket.complaint,
        dispatched_at=dispatched_at,
        clauses=_clauses(ticket.route, unit),
    )


def _own(ticket: Ticket) -> tuple[Milestone, ...]:
    return tuple(m for m in ticket.owed(MilestoneKind.RESOLVE) if m.clock is Clock.OWN)


def _check_extension(ticket: Ticket, amount: Limit, at: datetime, times: Timetable) -> Milestone:
    """Return the clock that more time is for, or raise RuleForbids."""
    policy = policy_of(ticket, times).extensions
    own = _own(ticket)
    if not own or at > own[0].due_at:
        when = f"（{_said(own[0].due_at)}）" if own else ""
        raise RuleForbids(
            "extension-expired", f"时限{when}已过，延期应在到期前申请和批准", policy.origin
        )
    granted = [parse_limit(e.amount) for e in ticket.extensions if e.decided is Decided.GRANTED]
    if len(granted) >= policy.times:
        said = f"最多延期 {policy.times} 次" if policy.times else "此类工单不能延期"
        raise RuleForbids("extension-times", said, policy.origin)
    if amount.measure is not policy.total.measure:
        said = f"延期应与上限 {policy.total} 用同一单位"
        raise RuleForbids("extension-measure", said, policy.origin)
    if sum(g.amount for g in granted) + amount.amount > policy.total.amount:
        raise RuleForbids("extension-total", f"延期合计不能超过 {policy.total}", policy.origin)
    return own[0]


def _lapsed(ticket: Ticket, at: datetime) -> Ticket:
    """Return the ticket with a request for more time that nobody decided on in time ended."""
    if ticket.pending is None:
        return ticket
    lapsed = replace(ticket.pending, decided=Decided.LAPSED, decided_at=at)
    return replace(ticket, extensions=(*ticket.extensions[:-1], lapsed))


def _bearer(bears: Bears, giver: str, coordinator: str) -> str:
    return {Bears.TAKER: "", Bears.GIVER: giver, Bears.COORDINATOR: coordinator}[bears]


def _meet(ticket: Ticket, kind: MilestoneKind, act: Act, at: datetime, *, by: str) -> Ticket:
    """Return the ticket with what is owed met; an assisting unit does so once."""
    owed = ticket.owed(kind, by=by)
    if by and not owed:
        raise IllegalMove(ticket.state, act)
    return replace(ticket, milestones=_each(ticket.milestones, lambda m: met(m, at), owed))


def _each(
    milestones: Iterable[Milestone],
    change: Callable[[Milestone], Milestone],
    which: tuple[Milestone, ...],
) -> tuple[Milestone, ...]:
    """Return the milestones with some of them changed."""
    chosen = {id(m) for m in which}
    return tuple(change(m) if id(m) in chosen else m for m in milestones)


def _hand_over(
    milestones: Iterable[Milestone], unit: str, bearing: Callable[[Milestone], Milestone]
) -> tuple[Milestone, ...]:
    """Return the milestones with the ticket's open clocks to resolve passed on to another unit,
    unchanged in start, due time and stage."""
    kept: list[Milestone] = []
    for m in milestones:
        ours = m.is_open and m.kind is MilestoneKind.RESOLVE and not m.assisting
        if ours and m.unit != unit:
            kept.append(ended(m, Outcome.WITHDRAWN))
            kept.append(bearing(replace(m, id=0, unit=unit)))
        else:
            kept.append(m)
    return tuple(kept)


def _said(at: datetime) -> str:
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
