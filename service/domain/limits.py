"""Which limit (时限) holds for a ticket: the most specific row wins and says so."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from service.domain.calendar import Calendar
from service.domain.complaint import Complaint
from service.domain.deadline import CountFrom, Limit, due, point_between
from service.domain.region import covers, prefix
from service.domain.ticket import Clock, Milestone, MilestoneKind, Stage


class Status(StrEnum):
    """How surely a limit is known (DOMAIN: read, second-hand, default)."""

    READ = "read"  # 文件原文
    SECOND_HAND = "second_hand"  # 转引
    DEFAULT = "default"  # 缺省设定, no rule


_STATUS_WORDS = {Status.READ: "文件", Status.SECOND_HAND: "转引", Status.DEFAULT: "缺省设定"}


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A row of limits.yaml: for what it holds, what it grants, and where it comes from.

    Empty match fields hold for everything. `document` and `item` name the clause a ticket was
    routed by. `warn_share` is how much of the time goes by before the warning (临期), 0 to 1.
    """

    milestone: MilestoneKind
    limit: Limit
    count_from: CountFrom
    warn_share: float
    status: Status
    source: str
    channel: str = ""
    kind: str = ""
    urgency: str = ""
    region: str = ""
    document: str = ""
    item: str = ""

    def matches(self, complaint: Complaint, clauses: Collection[tuple[str, str]]) -> bool:
        """Whether the row holds for a complaint that was routed by these (document, item) pairs."""
        return (
            self.channel in {"", complaint.channel}
            and self.kind in {"", complaint.kind}
            and self.urgency in {"", complaint.urgency}
            and (not self.region or covers(self.region, complaint.region))
            and (not self.document or (self.document, self.item) in clauses)
        )

    @property
    def rank(self) -> tuple[int, ...]:
        """Return how specific the row is: a clause before an urgency, before a kind, before a
        channel, before a region, and among regions the smaller first."""
        return (
            bool(self.document),
            bool(self.urgency),
            bool(self.kind),
            bool(self.channel),
            len(prefix(self.region)) if self.region else 0,
        )

    @property
    def basis(self) -> str:
        """Return where the limit comes from, in Chinese."""
        clause = f"第{self.item}项，" if self.item else ""
        return f"{self.source}，{clause}{_STATUS_WORDS[self.status]}"


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
        """Return the most specific row; the later one among equals. Raises NoLimit."""
        fitting = [
            r for r in self.rules if r.milestone is milestone and r.matches(complaint, clauses)
        ]
        if not fitting:
            msg = f"no limit for {milestone} of {complaint.channel}/{complaint.kind}"
            raise NoLimit(msg)
        return max(reversed(fitting), key=lambda rule: rule.rank)


def shadowed(rules: Iterable[LimitRule]) -> list[tuple[LimitRule, LimitRule]]:
    """Return the pairs of rows that hold for exactly the same, of which the first can never win."""
    seen: dict[tuple[str, ...], LimitRule] = {}
    pairs = []
    for r in rules:
        key = (r.milestone, r.channel, r.kind, r.urgency, r.region, r.document, r.item)
        if key in seen:
            pairs.append((seen[key], r))
        seen[key] = r
    return pairs


@dataclass(frozen=True, slots=True)
class Timetable:
    """The calendar and the limits together: what turns a ticket into clocks."""

    calendar: Calendar
    limits: Limits

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


def govern(own: Milestone, sender: Milestone | None) -> tuple[Milestone, ...]:
    """Return both clocks, the one that ends first marked as governing; our own on a tie."""
    if sender is None:
        return (own,)
    ours = own.due_at <= sender.due_at
    return replace(own, governing=ours), replace(sender, governing=not ours)


# After a stage, the next one and which of a milestone's times brings it.
NEXT_STAGE: Mapping[Stage, Stage] = {Stage.NORMAL: Stage.WARN, Stage.WARN: Stage.OVERDUE}


def advance(milestone: Milestone, at: datetime) -> tuple[Milestone, ...]:
    """Return the milestone after each stage that has come by `at`, in order; () if none has.

    An overdue milestone that was never looked at in between passes through its warning: every
    step leaves its event.
    """
    steps: list[Milestone] = []
    current = milestone
    while current.is_open and current.next_at is not None and current.next_at <= at:
        stage = NEXT_STAGE[current.stage]
        current = replace(
            current, stage=stage, next_at=current.due_at if stage is Stage.WARN else None
        )
        steps.append(current)
    return tuple(steps)
