"""Which limit (时限) holds for a ticket: the most specific row wins and says so."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from service.domain.calendar import Calendar
from service.domain.complaint import Complaint
from service.domain.deadline import CountFrom, Limit, due, point_between
from service.domain.policy import Policies, Policy
from service.domain.scope import Origin, Scope, fitting
from service.domain.ticket import Clock, Milestone, MilestoneKind


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

    @property
    def basis(self) -> str:
        """Return where the limit comes from, in Chinese."""
        return self.origin.basis


class NoLimit(LookupError):
    """No row holds for a milestone; the rules are incomplete."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The whole table, with the digest that tickets keep."""

    rules: tuple[LimitRule, ...]
    digest: str

    def rule(
        self,
        milestone: MilestoneKind,
        complaint: Complaint,
        clauses: Collection[tuple[str, str]] = (),
    ) -> LimitRule:
        """Return the most specific row. Raises NoLimit."""
        rows = (r for r in self.rules if r.milestone is milestone)
        found = fitting(rows, complaint, clauses)
        if not found:
            msg = f"no limit for {milestone} of {complaint.channel}/{complaint.kind}"
            raise NoLimit(msg)
        return found[0]


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
    """The calendar, the limits and the policies together: what turns a ticket into clocks."""

    calendar: Calendar
    limits: Limits
    policies: Policies

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
        """Return a new clock of ours that starts at `start`."""
        rule = self.limits.rule(kind, complaint, clauses)
        ends = due(self.calendar, start, rule.limit, rule.count_from)
        warn_at = point_between(
            self.calendar,
            start,
            ends.due_at,
            rule.warn_share,
            in_working_time=rule.limit.in_working_time,
        )
        return Milestone(
            kind=kind,
            unit=unit,
            clock=Clock.OWN,
            governing=True,
            limit=str(rule.limit),
            basis=rule.basis,
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
            start, point_between(self.calendar, start, due_at, 0.75, in_working_time=True)
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
