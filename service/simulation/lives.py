"""Tickets from their arrival to their end, walked in memory on a simulated clock.

Whatever happens to a ticket is a deed of `domain.deeds` or a step of `domain.clock`, the same that
the desk does and takes; here is only drawn who does what, and when. Time is kept to the second: a
step comes when it is due, as from a ticker that never sleeps.
"""

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from operator import attrgetter

from service.domain import acts, deeds
from service.domain.access import Actor, Role
from service.domain.acts import RuleForbids
from service.domain.calendar import SHANGHAI
from service.domain.complaint import UnitRef, Urgency
from service.domain.deadline import parse_limit
from service.domain.deeds import Deed, Deeds
from service.domain.kpi import (
    COUNTED,
    Case,
    Counts,
    arrived,
    day_of,
    difference,
    happened,
    stands,
)
from service.domain.lifecycle import FINISHED, State
from service.domain.limits import Timetable
from service.domain.ports import Router
from service.domain.ticket import Delivery, Event, Level, MilestoneKind, Ticket
from service.domain.values import replace
from service.simulation.place import Arrival


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How offices and citizens behave: shares of 0 to 1. `per_day` is how many tickets a unit can
    answer on a working day, 0 for as many as come."""

    late: float = 0.04  # of answers, given only after the time is over
    send_back: float = 0.03  # of tickets that a unit gets
    repeats: float = 0.03  # of calls, about what the caller said before
    solved: float = 0.88  # of citizens who are reached, say that it is
    per_day: int = 0


@dataclass(frozen=True, slots=True)
class _Temper:
    """How a unit differs from the usual one: factors to the shares of a behaviour."""

    weight: float
    late: float
    send_back: float
    delay: float


# The weighted means of `late` and `send_back` are one, so that the shares asked for come out.
_TEMPERS = (
    _Temper(0.30, 0.25, 0.5, 0.6),  # fast
    _Temper(0.48, 0.80, 0.7, 1.0),  # usual
    _Temper(0.12, 3.00, 0.8, 1.6),  # slow
    _Temper(0.06, 0.80, 6.5, 1.1),  # sends back a lot
    _Temper(0.04, 3.30, 0.7, 1.8),  # forgets
)
_NEVER_CONTACTED = 0.04
_FORGOTTEN = 0.004  # of tickets that a unit has, and nobody ever comes back to
_EXTENDED = 0.04
_PAUSED = 0.015
_SUPERVISED = 0.2  # of late tickets, by a person
_UNREACHED = 0.08
_REDONE = 0.4  # of those that are not solved
_REPLIES = (
    "已到现场核实并整改，感谢您的反映。",
    "经核查情况属实，已责令限期改正，结果将向您反馈。",
    "已安排维修人员处理完毕，欢迎继续监督。",
    "已向您解释有关政策，并告知所需材料和办理地点。",
)


@dataclass(slots=True, eq=False)
class Life:
    """A ticket with all that happened to it: events and words in the order in which they would have
    been written, and what was learnt for the counts on which day."""

    ticket: Ticket
    stored_at: datetime
    again: bool = False
    events: list[Event] = field(default_factory=list)
    words: list[tuple[datetime, Delivery]] = field(default_factory=list)
    counts: dict[date, Counts] = field(default_factory=dict)
    acts: int = 0
    patience: bool = True  # the unit will come back to it
    _counting: list[Event] = field(default_factory=list)
    _stood: Counts = field(default_factory=Counter)
    _changed_on: date | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.ticket.state in FINISHED

    def becomes(self, ticket: Ticket, at: datetime) -> None:
        """Go on as the ticket that something has made of it at `at`."""
        on = day_of(at)
        if on != self._changed_on:
            self.settle()
            self._changed_on = on
        self.ticket = _numbered(ticket)

    def settle(self) -> None:
        """Count what the ticket is at the end of the day on which it last changed."""
        if self._changed_on is None:
            return
        stood = stands(Case.of(self.ticket))
        self._learn(self._changed_on, difference(stood, self._stood))
        self._stood = stood

    def tell(self, event: Event) -> None:
        """Add an event."""
        self.events.append(event)
        if event.act in COUNTED:
            self._learn(day_of(event.at), happened(event, self._counting))
            self._counting.append(event)

    def receive(self, decision: str, at: datetime) -> None:
        """Count the arrival."""
        self._changed_on = day_of(at)
        self._learn(self._changed_on, arrived(Case.of(self.ticket), decision))

    def _learn(self, on: date, counts: Counts) -> None:
        known = self.counts.setdefault(on, Counter())
        for cell, n in counts.items():
            known[cell] += n


def _numbered(ticket: Ticket) -> Ticket:
    """Return the ticket as a store gives it back: its clocks in the order in which they came."""
    new = [m for m in ticket.milestones if not m.id]
    if not new:
        return ticket
    old = [m for m in ticket.milestones if m.id]
    last = max((m.id for m in old), default=0)
    numbered = [replace(m, id=last + n) for n, m in enumerate(new, 1)]
    return replace(ticket, milestones=(*sorted(old, key=attrgetter("id")), *numbered))


_Plan = Callable[[Life, datetime], None]


class Lives:
    """The tickets of one region from a day on, until `end`."""

    def __init__(
        self,
        arrivals: Iterable[Arrival],
        router: Router,
        times: Timetable,
        behaviour: Behaviour,
        region: str,
        end: datetime,
        seed: int,
    ) -> None:
        self._arrivals = iter(arrivals)
        self._router = router
        self._behaviour = behaviour
        self._end = end
        self._seed = seed
        self._times = times
        self._calendar = times.calendar_of(region)
        self._rng = random.Random(f"{seed}:{region}:lives")  # noqa: S311 a story, not a secret
        self._deeds = Deeds(times, self._coordinator)
        self._region = region
        self._dispatcher = Actor("分拨员", Role.DISPATCHER, region=region)
        self._supervisor = Actor("督办员", Role.SUPERVISOR, region=region)
        self._heap: list[tuple[datetime, int, Life, _Plan]] = []
        self._order = 0
        self._numbers: Counter[str] = Counter()
        self._open: dict[str, Life] = {}
        self._by_phone: dict[str, deque[Life]] = {}
        self._tempers: dict[str, _Temper] = {}
        self._free: dict[str, datetime] = {}

    def walk(self) -> Iterator[Life]:
        """Return each life when it is over, in that order, and at the end those that are not."""
        coming = next(self._arrivals, None)
        while True:
            heap = self._heap
            if coming and coming.at < self._end and not (heap and heap[0][0] <= coming.at):
                life = self._receive(coming)
                coming = next(self._arrivals, None)
            elif heap and heap[0][0] < self._end:
                at, _, life, plan = heapq.heappop(heap)
                if life.is_over:
                    continue
                self._catch_up(life, at)
                plan(life, at)
            else:
                break
            if life.is_over:
                self._forget(life)
                yield life
        for life in self._open.values():
            self._catch_up(life, self._end)
            life.settle()
            yield life

    def _forget(self, life: Life) -> None:
        life.settle()
        self._open.pop(life.ticket.no, None)
        phone = life.ticket.complaint.contact.phone
        if (same := self._by_phone.get(phone)) and life in same:
            same.remove(life)
            if not same:
                del self._by_phone[phone]

    # What moves a ticket

    def _receive(self, coming: Arrival) -> Life:
        complaint, at = coming.complaint, coming.at
        route = self._router.route(complaint)
        day = f"{at.astimezone(SHANGHAI):%Y%m%d}"
        self._numbers[day] += 1
        no = f"{complaint.region}-{day}-{self._numbers[day]:05}"
        coordinator = self._router.coordinator(complaint.region, complaint.coordinator).code
        made = acts.receive(no, complaint, route, coordinator, at, self._times)
        self._order += 1
        # As the store would give it: one ticket is not another.
        ticket = replace(made, id=self._order)
        life = Life(_numbered(ticket), at, coming.again)
        life.receive("counted" if ticket.is_counted_only else route.decision, at)
        for event in deeds.arrived(ticket, at):
            life.tell(event)
        self._open[no] = life
        if complaint.contact.phone:
            self._by_phone.setdefault(complaint.contact.phone, deque(maxlen=20)).append(life)
        self._follow(life, at)
        return life

    def _catch_up(self, life: Life, at: datetime) -> None:
        """Take the steps that have come by `at`, each when it was due."""
        while True:
            ticket = life.ticket
            steps = [m.next_at for m in ticket.milestones if m.next_at]
            if ticket.pause:
                steps.append(ticket.pause.until)
            due = min(steps, default=None)
            if due is None or due > at:
                return
            found = acts.catch_up(ticket, due, self._times)
            if found.woken:
                life.becomes(found.woken, due)
                life.tell(deeds.resumed(found.woken))
            coordinator = self._coordinator(ticket)
            for came in found.came:
                life.tell(deeds.stage(came, due))
                life.words += [(due, word) for word in deeds.stage_words(came, coordinator)]
            # A step changes nothing that counts.
            life.ticket = found.ticket

    def _do(self, life: Life, deed: Deed, by: Actor, at: datetime) -> bool:
        """Do a deed; False if a policy forbids it, and nothing happened."""
        deeds.check_may(by, deed.act, life.ticket)
        try:
            done = deeds.do(deed, life.ticket, by)
        except RuleForbids:
            return False
        life.becomes(done.after, at)
        life.tell(done.event(at, done.after))
        life.words += [(at, word) for word in deed.words(done.after)]
        life.acts += 1
        return True

    def _plan(self, at: datetime, life: Life, plan: _Plan) -> None:
        self._order += 1
        heapq.heappush(self._heap, (at, self._order, life, plan))

    def _in(self, at: datetime, low_hours: float, high_hours: float, factor: float = 1) -> datetime:
        """Return a time so many working hours on."""
        seconds = int(self._rng.uniform(low_hours, high_hours) * 3600 * factor)
        return self._calendar.after_working_seconds(at, max(60, seconds))

    def _soon(self, life: Life, at: datetime, low_hours: float, high_hours: float) -> datetime:
        """Return when a unit gets to something: an emergency waits for no office hours."""
        if life.ticket.complaint.urgency is Urgency.EMERGENCY:
            return at + timedelta(minutes=self._rng.uniform(3, 25))
        return self._in(at, low_hours, high_hours, self._temper(life).delay)

    def _coordinator(self, ticket: Ticket) -> str:
        return self._router.coordinator(ticket.region, ticket.complaint.coordinator).code

    def _temper(self, life: Life) -> _Temper:
        unit = life.ticket.lead.unit if life.ticket.lead else ""
        found = self._tempers.get(unit)
        if found is None:
            drawn = random.Random(f"{self._seed}:{unit}")  # noqa: S311 a story, not a secret
            weights = [temper.weight for temper in _TEMPERS]
            found = self._tempers[unit] = drawn.choices(_TEMPERS, weights)[0]
        return found

    def _handler(self, ref: UnitRef | None) -> Actor:
        assert ref is not None
        return Actor(f"{ref.name}承办员"[:100], Role.HANDLER, (ref.unit,), region=self._region)

    # Who does what next

    def _follow(self, life: Life, at: datetime) -> None:
        """Plan what somebody will do next."""
        ticket, rng = life.ticket, self._rng
        if life.again and not ticket.redo and ticket.state in {State.SORTING, State.DISPATCHED}:
            self._plan(self._in(at, 0.2, 2), life, self._merge)
        elif ticket.state is State.SORTING:
            hours = (0.1, 0.4) if ticket.complaint.urgency is Urgency.EMERGENCY else (0.3, 5)
            self._plan(self._in(at, *hours), life, self._dispatch)
        elif ticket.state is State.DISPATCHED:
            share = self._behaviour.send_back * self._temper(life).send_back
            normal = ticket.complaint.urgency is not Urgency.EMERGENCY
            if normal and ticket.sent_back < 2 and not ticket.redo and rng.random() < share:
                self._plan(self._in(at, 0.5, 8), life, self._send_back)
            else:
                late = rng.random() < self._behaviour.late * self._temper(life).late
                hours = (4.2, 12) if late else (0.05, 1.9)
                self._plan(self._soon(life, at, *hours), life, self._sign)
            for ref in ticket.assist:
                if rng.random() < 0.85:
                    self._plan(self._in(at, 1, 12), life, self._assisting(ref))
        elif ticket.state is State.RESOLVED:
            hours = (2, 40) if rng.random() < 0.01 else (1, 12)
            self._plan(self._in(at, *hours), life, self._call_back)

    def _dispatch(self, life: Life, at: datetime) -> None:
        ticket = life.ticket
        if ticket.state is not State.SORTING:
            return
        gave = {event.content["unit"] for event in life.events if event.act in {"dispatch", "rule"}}
        options = [c for c in ticket.route.candidates if c.unit not in gave]
        unit = self._router.unit(options[0].unit) if options else None
        unit = unit or self._router.coordinator(ticket.region, ticket.complaint.coordinator)
        lead = UnitRef(unit.code, unit.name)
        self._do(life, self._deeds.dispatch(at, lead, (), "按职责分工派单"), self._dispatcher, at)
        self._follow(life, at)

    def _merge(self, life: Life, at: datetime) -> None:
        ticket = life.ticket
        same = self._by_phone.get(ticket.complaint.contact.phone, ())
        into = next((o for o in same if o is not life and o.ticket.state in _WORKED), None)
        life.again = False
        if into is not None and ticket.state in _WORKED:
            other = into
            self._catch_up(other, at)
            reason = "同一诉求人反映同一问题"
            no = other.ticket.no
            deed = self._deeds.merge(at, lambda: other.ticket, no=no, reason=reason)
            if self._do(life, deed, self._dispatcher, at):
                stands = deeds.carried(other.ticket, ticket)
                if stands is not other.ticket:
                    other.becomes(stands, at)
                other.tell(deeds.joined(stands, ticket, self._dispatcher, at, reason))
                return
        self._follow(life, at)

    def _send_back(self, life: Life, at: datetime) -> None:
        if life.ticket.state is not State.DISPATCHED:
            return
        by = self._handler(life.ticket.lead)
        deed = self._deeds.send_back(
            at, by, reason="经核实不属于本单位职责", basis="本单位三定方案"
        )
        if not self._do(life, deed, by, at):
            self._plan(self._soon(life, at, 0.1, 1), life, self._sign)
            return
        self._follow(life, at)

    def _sign(self, life: Life, at: datetime) -> None:
        ticket, rng = life.ticket, self._rng
        if ticket.state is not State.DISPATCHED:
            return
        self._do(life, self._deeds.sign(at), self._handler(ticket.lead), at)
        next_at = at
        if life.ticket.owed(MilestoneKind.CONTACT) and rng.random() >= _NEVER_CONTACTED:
            next_at = self._soon(life, at, 0.2, 5)
            self._plan(next_at, life, self._contact)
        forgets = rng.random() < _FORGOTTEN * self._temper(life).late
        self._plan_answer(life, next_at, forgets=forgets)

    def _plan_answer(self, life: Life, at: datetime, *, forgets: bool) -> None:
        """Plan the answer, and what comes before it: people work towards the end of their time."""
        rng, temper = self._rng, self._temper(life)
        owed = life.ticket.owed(MilestoneKind.RESOLVE)
        due = min(m.due_at for m in owed)
        limit = parse_limit(next((m.limit for m in owed if m.limit != "来件时限"), "1 工作日"))
        late = rng.random() < self._behaviour.late * temper.late
        if due <= at:
            done = self._in(at, 0.5, 6, temper.delay)
        elif late:
            done = self._in(due, 1, 45, temper.delay)
        elif limit.in_working_time:
            left = self._calendar.working_seconds(at, due)
            share = min(0.97, rng.triangular(0.05, 0.9, 0.35) * temper.delay)
            done = self._calendar.after_working_seconds(at, max(60, int(left * share)))
        else:
            done = at + (due - at) * rng.uniform(0.1, 0.95)
        if rng.random() < _EXTENDED and due > at:
            self._plan(at + (min(done, due) - at) * 0.6, life, self._ask_for_more)
        if rng.random() < _PAUSED and due > at:
            self._plan(at + (min(done, due) - at) * 0.3, life, self._pause)
        if late and rng.random() < _SUPERVISED:
            self._plan(self._in(due, 0.5, 8), life, self._supervise)
        if not forgets:
            self._plan(done, life, self._ready)

    def _contact(self, life: Life, at: datetime) -> None:
        if life.ticket.state is State.SIGNED:
            deed = self._deeds.contact(at, "已电话联系诉求人，了解情况")
            self._do(life, deed, self._handler(life.ticket.lead), at)

    def _ask_for_more(self, life: Life, at: datetime) -> None:
        if life.ticket.state is not State.SIGNED or life.ticket.pending:
            return
        by = self._handler(life.ticket.lead)
        policy = acts.policy_of(life.ticket, self._times).extensions
        amount = str(replace(policy.total, amount=max(1, policy.total.amount // 2)))
        deed = self._deeds.request_extension(at, by, amount=amount, reason="情况复杂，需要会商")
        if self._do(life, deed, by, at):
            self._plan(self._in(at, 0.3, 4), life, self._decide)

    def _decide(self, life: Life, at: datetime) -> None:
        if life.ticket.state is not State.SIGNED or not life.ticket.pending:
            return
        approvers = acts.policy_of(life.ticket, self._times).extensions.approvers
        by = self._dispatcher if Role.DISPATCHER in approvers else self._supervisor
        granted = self._rng.random() < 0.85
        reason = "同意" if granted else "请按期办结"
        self._do(life, self._deeds.decide_extension(at, by, granted=granted, reason=reason), by, at)

    def _pause(self, life: Life, at: datetime) -> None:
        if life.ticket.state is not State.SIGNED:
            return
        by = self._handler(life.ticket.lead)
        reasons = acts.policy_of(life.ticket, self._times).pauses.reasons
        if self._do(life, self._deeds.pause(at, self._rng.choice([*reasons])), by, at):
            self._plan(self._in(at, 7, 63), life, self._resume)

    def _resume(self, life: Life, at: datetime) -> None:
        if life.ticket.state is State.PAUSED:
            self._do(life, self._deeds.resume(at), self._handler(life.ticket.lead), at)

    def _supervise(self, life: Life, at: datetime) -> None:
        if life.ticket.state in _WORKED:
            deed = self._deeds.supervise(at, self._supervisor, Level.ORDINARY, "已超期，请当日答复")
            self._do(life, deed, self._supervisor, at)

    def _assisting(self, ref: UnitRef) -> _Plan:
        def feed_back(life: Life, at: datetime) -> None:
            ticket = life.ticket
            held = ticket.state in {State.DISPATCHED, State.SIGNED}
            if held and ticket.owed(MilestoneKind.RESOLVE, by=ref.unit):
                self._resolve_for(life, ref, at)

        return feed_back

    def _resolve_for(self, life: Life, ref: UnitRef | None, at: datetime) -> bool:
        deed = self._deeds.resolve(
            at,
            public_reply=self._rng.choice(_REPLIES),
            internal_finding="",
            solved=self._rng.random() < 0.93,
        )
        return self._do(life, deed, self._handler(ref), at)

    def _ready(self, life: Life, at: datetime) -> None:
        """Answer, once the unit gets to it."""
        lead = life.ticket.lead
        if not self._behaviour.per_day or lead is None:
            self._resolve(life, at)
            return
        slot = self._calendar.hours.seconds // self._behaviour.per_day
        began = max(at, self._free.get(lead.unit, at))
        done = self._calendar.after_working_seconds(began, max(1, slot))
        self._free[lead.unit] = done
        self._plan(done, life, self._resolve)

    def _resolve(self, life: Life, at: datetime) -> None:
        if life.ticket.state is State.PAUSED:
            self._plan(self._in(at, 5, 20), life, self._resolve)
        elif life.ticket.state is State.SIGNED:
            if self._resolve_for(life, life.ticket.lead, at):
                self._follow(life, at)
            else:
                # What assists is awaited.
                self._plan(self._in(at, 3, 10), life, self._resolve)

    def _call_back(self, life: Life, at: datetime) -> None:
        rng = self._rng
        if life.ticket.state is not State.RESOLVED:
            return
        solved = True
        if life.ticket.complaint.contact.phone:
            reached = rng.random() >= _UNREACHED
            solved = not reached or rng.random() < self._behaviour.solved
            grades = ((5, 4, 3), (62, 28, 10)) if solved else ((1, 2, 3), (45, 35, 20))
            deed = self._deeds.call_back(
                at,
                reached=reached,
                solved=solved if reached else None,
                grade=rng.choices(*grades)[0] if reached else None,
                text="" if reached else "电话无人接听",
            )
            self._do(life, deed, self._dispatcher, at)
        again = not solved and not life.ticket.redo and rng.random() < _REDONE
        later = at + timedelta(minutes=rng.randint(2, 30))
        self._plan(later, life, self._reopen if again else self._close)

    def _reopen(self, life: Life, at: datetime) -> None:
        deed = self._deeds.reopen(at, "诉求人反映问题没有解决")
        self._do(life, deed, self._dispatcher, at)
        self._follow(life, at)

    def _close(self, life: Life, at: datetime) -> None:
        self._do(life, self._deeds.close(), self._dispatcher, at)


_WORKED = frozenset({State.SORTING, State.DISPATCHED, State.SIGNED})
