"""Which limit (时限) holds for a ticket, and the clocks that follow: the most specific row wins and
says so."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from service.domain.calendar import Calendar
from service.domain.complaint import Complaint
from service.domain.deadline import (
    CountFrom,
    Limit,
    LimitError,
    due,
    parse_limit,
    point_between,
)
from service.domain.policy import Policies, Policy
from service.domain.region import parents
from service.domain.scope import Kept, Origin, Scope, fitting
from service.domain.ticket import Clock, Milestone, MilestoneKind
from service.domain.values import replace


class Starts(StrEnum):
    """From what a limit is counted. An event that has not come yet is stood in for by the one
    before it, so that a clock always runs."""

    RECEIPT = "receipt"  # 受理, or the moment that the source names in its place (a 督办)
    SUPERVISE = "supervise"  # 督办
    DISPATCH = "dispatch"  # 派单
    SIGN = "sign"  # 签收
    RESOLVE = "resolve"  # 办结


# What each milestone can start with: a unit cannot owe before it has the ticket.
MAY_START: Mapping[MilestoneKind, frozenset[Starts]] = {
    MilestoneKind.SIGN: frozenset({Starts.RECEIPT, Starts.DISPATCH}),
    MilestoneKind.CONTACT: frozenset({Starts.RECEIPT, Starts.DISPATCH, Starts.SIGN}),
    MilestoneKind.RESOLVE: frozenset(
        {Starts.RECEIPT, Starts.SUPERVISE, Starts.DISPATCH, Starts.SIGN}
    ),
    MilestoneKind.CALL_BACK: frozenset({Starts.RESOLVE}),
}


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A row of limits.yaml: what it grants, for what it holds, and where it comes from.

    `warn_share` is how much of the time goes by before the warning (临期), 0 to 1.
    """

    milestone: MilestoneKind
    limit: Limit
    count_from: CountFrom
    warn_share: float
    origin: Origin
    starts: Starts = Starts.RECEIPT

    @property
    def basis(self) -> str:
        """Return where the limit comes from, in Chinese."""
        return self.origin.basis


@dataclass(frozen=True, slots=True)
class Choice:
    """The row that won, and those that it won over, the most specific first."""

    rule: LimitRule
    over: tuple[LimitRule, ...] = ()

    @property
    def basis(self) -> str:
        """Return where the limit comes from and over what it prevails, in Chinese."""
        rule = self.rule
        if not self.over:
            return rule.basis
        others = "、".join(f"“{other.origin.source}”" for other in self.over)
        return f"{rule.basis}；{rule.origin.scope.named_by}适用，优先于{others}"


class NoLimit(LookupError):
    """No row holds for a milestone; the rules are incomplete."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The whole table, with the digest that tickets keep."""

    rules: tuple[LimitRule, ...]
    digest: str
    _found: Mapping[MilestoneKind, Kept[Choice]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep what was found: every clock asks, and tickets of one sort find the same row."""
        found = {kind: Kept(partial(self._choose, kind)) for kind in MilestoneKind}
        object.__setattr__(self, "_found", found)

    def rule(
        self,
        milestone: MilestoneKind,
        complaint: Complaint,
        clauses: Collection[tuple[str, str]] = (),
    ) -> LimitRule:
        """Return the most specific row. Raises NoLimit."""
        return self.choose(milestone, complaint, clauses).rule

    def choose(
        self,
        milestone: MilestoneKind,
        complaint: Complaint,
        clauses: Collection[tuple[str, str]] = (),
    ) -> Choice:
        """Return the most specific row and what it prevails over. Raises NoLimit."""
        return self._found[milestone](complaint, clauses)

    def _choose(
        self,
        milestone: MilestoneKind,
        complaint: Complaint,
        clauses: Collection[tuple[str, str]],
    ) -> Choice:
        rows = (r for r in self.rules if r.milestone is milestone)
        found = fitting(rows, complaint, clauses)
        if not found:
            msg = f"no limit for {milestone} of {complaint.channel}/{complaint.kind}"
            raise NoLimit(msg)
        return Choice(found[0], tuple(found[1:]))


def shadowed(rules: Iterable[LimitRule]) -> list[tuple[LimitRule, LimitRule]]:
    """Return the pairs of rows that hold for exactly the same, of which the first can never win."""
    seen: dict[tuple[str, Scope], LimitRule] = {}
    pairs = []
    for r in rules:
        key = (r.milestone, r.origin.scope)
        if key in seen:
            pairs.append((seen[key], r))
        seen[key] = r
    return pairs


@dataclass(frozen=True, slots=True)
class Timetable:
    """The calendars, the limits and the policies together: what turns a ticket into clocks.

    `calendar` is the country's; `local` has those of the regions whose offices keep other hours or
    were closed on days of their own.
    """

    calendar: Calendar
    limits: Limits
    policies: Policies
    local: Mapping[str, Calendar] = field(default_factory=dict)

    def calendar_of(self, region: str) -> Calendar:
        """Return the calendar by which a region counts: its own, or that of the nearest region
        around it that has one, or the country's."""
        if self.local:
            for code in parents(region):
                if code in self.local:
                    return self.local[code]
        return self.calendar

    def with_years_of(self, country: Calendar) -> "Timetable":
        """Return the timetable by the years of another calendar, all else as it is."""
        return replace(
            self,
            calendar=self.calendar.with_years_of(country),
            local={code: local.with_years_of(country) for code, local in self.local.items()},
        )

    def policy(self, complaint: Complaint, clauses: Collection[tuple[str, str]] = ()) -> Policy:
        """Return what may be done to the clocks of a complaint routed by these clauses."""
        return self.policies.policy(complaint, clauses)

    def milestone(
        self,
        kind: MilestoneKind,
        unit: str,
        complaint: Complaint,
        start: datetime,
        *,
        clauses: Collection[tuple[str, str]] = (),
        redo: int = 0,
    ) -> Milestone:
        """Return a new clock of ours that starts at `start`.

        A redo to resolve runs by the limit for redos where that ends earlier than the ordinary one.
        """
        choice = self.limits.choose(kind, complaint, clauses)
        ordinary = self._clock(choice.rule, choice.basis, unit, complaint, start, redo)
        if not redo or kind is not MilestoneKind.RESOLVE:
            return ordinary
        shorter = self.policy(complaint, clauses).redo
        rule = replace(
            choice.rule,
            limit=shorter.limit,
            count_from=shorter.count_from,
            origin=shorter.origin,
        )
        again = self._clock(rule, rule.basis, unit, complaint, start, redo)
        return again if again.due_at < ordinary.due_at else ordinary

    def assisting(
        self,
        kind: MilestoneKind,
        unit: str,
        complaint: Complaint,
        start: datetime,
        *,
        no_later_than: datetime | None = None,
        clauses: Collection[tuple[str, str]] = (),
        redo: int = 0,
    ) -> Milestone | None:
        """Return the clock of an assisting unit (协办), or None where the policy gives it none.

        It ends no later than the lead's, which the lead could not keep otherwise.
        """
        owed = self.policy(complaint, clauses).assisting
        limit = {MilestoneKind.SIGN: owed.sign, MilestoneKind.RESOLVE: owed.resolve}.get(kind)
        if limit is None:
            return None
        rule = replace(
            self.limits.rule(kind, complaint, clauses),
            limit=limit,
            count_from=owed.count_from,
            origin=owed.origin,
        )
        clock = self._clock(rule, rule.basis, unit, complaint, start, redo)
        if no_later_than is None or clock.due_at <= no_later_than:
            return clock
        calendar = self.calendar_of(complaint.region)
        end = max(start, no_later_than)
        warn_at = _warning(calendar, start, end, rule)
        return replace(
            clock,
            basis=f"{clock.basis}；不晚于主办单位的期限",
            due_at=end,
            original_due_at=end,
            provisional=clock.provisional and not calendar.covers(start.date(), end.date()),
            warn_at=warn_at,
            next_at=warn_at,
        )

    def starts(
        self,
        kind: MilestoneKind,
        complaint: Complaint,
        *,
        dispatched_at: datetime | None = None,
        signed_at: datetime | None = None,
        resolved_at: datetime | None = None,
        clauses: Collection[tuple[str, str]] = (),
    ) -> datetime:
        """Return when a clock starts, of the events that have come so far: the one that its row
        names, or the last that came before that one."""
        received = complaint.clock_from or complaint.accepted_at
        named = self.limits.rule(kind, complaint, clauses).starts
        if named in {Starts.RECEIPT, Starts.SUPERVISE}:
            return received
        if named is Starts.DISPATCH:
            return dispatched_at or received
        if named is Starts.SIGN:
            return signed_at or dispatched_at or received
        return resolved_at or signed_at or dispatched_at or received

    def _clock(
        self,
        rule: LimitRule,
        basis: str,
        unit: str,
        complaint: Complaint,
        start: datetime,
        redo: int,
    ) -> Milestone:
        calendar = self.calendar_of(complaint.region)
        ends = due(calendar, start, rule.limit, rule.count_from)
        warn_at = _warning(calendar, start, ends.due_at, rule)
        return Milestone(
            kind=rule.milestone,
            unit=unit,
            clock=Clock.OWN,
            governing=True,
            limit=str(rule.limit),
            basis=basis,
            started_at=start,
            due_at=ends.due_at,
            original_due_at=ends.due_at,
            provisional=ends.provisional,
            warn_at=warn_at,
            next_at=warn_at,
            redo=redo,
            count_from=rule.count_from,
        )

    def sender_milestone(
        self, unit: str, complaint: Complaint, start: datetime
    ) -> Milestone | None:
        """Return the sender's own limit as a second clock for resolving, or None if it set none."""
        due_at = complaint.sender_due_at
        if due_at is None:
            return None
        warn_at = max(
            start,
            point_between(
                self.calendar_of(complaint.region), start, due_at, 0.75, in_working_time=True
            ),
        )
        return Milestone(
            kind=MilestoneKind.RESOLVE,
            unit=unit,
            clock=Clock.SENDER,
            governing=True,
            limit="来件时限",
            basis="来件平台随工单给定",
            started_at=start,
            due_at=due_at,
            original_due_at=due_at,
            provisional=False,
            warn_at=min(warn_at, due_at),
            next_at=min(warn_at, due_at),
        )


def _warning(calendar: Calendar, start: datetime, end: datetime, rule: LimitRule) -> datetime:
    return point_between(
        calendar, start, end, rule.warn_share, in_working_time=rule.limit.in_working_time
    )


def lengthened(
    calendar: Calendar, milestone: Milestone, *, by: Limit | None = None, paused_s: int = 0
) -> Milestone:
    """Return a clock that ends later by an extension (延期), a pause (挂起) or both, on top of what
    it was given before.

    Working days are added to the original due date and end with the office hours of their last day.
    `paused_s` is what a pause gives back: working seconds where the limit runs in working time
    (`Calendar.working_seconds`), else seconds. The warning keeps its distance from the end, the
    original due date stays; what has come and what comes next is `clock`'s to say. Raises LimitError
    for an extension in another unit than the last.
    """
    text = milestone.extended
    if by is not None:
        former = parse_limit(text) if text else None
        if former and former.measure is not by.measure:
            msg = f"延期的时限单位应与上次一致：上次为“{former}”，本次为“{by}”"
            raise LimitError(msg)
        text = str(
            parse_limit(str(Limit(by.amount + (former.amount if former else 0), by.measure)))
        )
    return _retimed(
        calendar,
        replace(milestone, extended=text, paused_s=milestone.paused_s + paused_s),
        distance_of=milestone,
    )


def recalculated(
    milestone: Milestone,
    complaint: Complaint,
    new: Timetable,
    *,
    clauses: Collection[tuple[str, str]] = (),
    assisting: bool = False,
    no_later_than: datetime | None = None,
) -> Milestone | None:
    """Return an open clock of ours as a new timetable has it, or None if nothing about it changes.

    It starts when it started; its extensions and pauses are given again. An ended clock never
    changes, nor does a sender's. What has come of it stays for `clock.kept_up` to settle, and which
    clock governs for `clock.governed`.
    """
    if not milestone.is_open or milestone.clock is not Clock.OWN:
        return None
    start, redo, unit = milestone.started_at, milestone.redo, milestone.unit
    fresh: Milestone | None
    if assisting:
        fresh = new.assisting(
            milestone.kind,
            unit,
            complaint,
            start,
            no_later_than=no_later_than,
            clauses=clauses,
            redo=redo,
        )
    else:
        fresh = new.milestone(milestone.kind, unit, complaint, start, clauses=clauses, redo=redo)
    if fresh is None:
        return None
    again = replace(
        milestone,
        limit=fresh.limit,
        basis=fresh.basis,
        original_due_at=fresh.due_at,
        provisional=fresh.provisional,
    )
    again = _retimed(new.calendar_of(complaint.region), again, distance_of=fresh)
    same = (
        milestone.limit,
        milestone.due_at,
        milestone.original_due_at,
        milestone.provisional,
    ) == (again.limit, again.due_at, again.original_due_at, again.provisional)
    return None if same else again


def _retimed(calendar: Calendar, milestone: Milestone, *, distance_of: Milestone) -> Milestone:
    """Return a clock with due date and warning worked out from its original due date, what was
    added to it, and how far before the end another clock is warned of."""
    works = parse_limit(milestone.limit).in_working_time
    end, provisional = milestone.original_due_at, milestone.provisional
    if milestone.extended:
        added = due(calendar, end, parse_limit(milestone.extended))
        end, provisional = added.due_at, provisional or added.provisional
    if milestone.paused_s:
        end = _later(calendar, end, milestone.paused_s, works=works)
    if works:
        provisional = provisional or not calendar.covers(milestone.started_at.date(), end.date())
        ahead = calendar.working_seconds(distance_of.warn_at, distance_of.due_at)
    else:
        ahead = int((distance_of.due_at - distance_of.warn_at) / timedelta(seconds=1))
    warn_at = max(milestone.started_at, _later(calendar, end, -ahead, works=works))
    return replace(milestone, due_at=end, provisional=provisional, warn_at=warn_at)


def _later(calendar: Calendar, at: datetime, seconds: int, *, works: bool) -> datetime:
    if works:
        return calendar.after_working_seconds(at, seconds) if seconds else at
    return at + timedelta(seconds=seconds)
