"""A ticket (工单) and its clocks as values."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from service.domain.complaint import Complaint, Route, UnitRef
from service.domain.lifecycle import State


class MilestoneKind(StrEnum):
    """What a unit owes by a certain time."""

    SIGN = "sign"  # 签收
    CONTACT = "contact"  # 首次联系
    RESOLVE = "resolve"  # 办结
    CALL_BACK = "call_back"  # 回访


class Clock(StrEnum):
    """Whose limit a milestone runs by."""

    OWN = "own"  # our limits
    SENDER = "sender"  # the limit that the source set (来件时限), a second clock


class Stage(StrEnum):
    """How near or past its due time a milestone is. Yellow and red cards are supervision (督办)."""

    NORMAL = "normal"  # 正常
    WARN = "warn"  # 临期
    OVERDUE = "overdue"  # 超期
    YELLOW = "yellow"  # 黄牌
    RED = "red"  # 红牌


class Outcome(StrEnum):
    """How a milestone ended."""

    ON_TIME = "on_time"  # 按时
    LATE = "late"  # 超时
    MISSED = "missed"  # 未做: the ticket went on without it
    WITHDRAWN = "withdrawn"  # 撤销: the unit owes it no longer; counts for nobody


@dataclass(frozen=True, slots=True)
class Milestone:
    """One clock of a ticket: what `unit` owes by `due_at`.

    `limit` and `basis` are Chinese text: the limit as the rules write it, and where it comes from.
    Of an own and a sender's clock for the same thing the one that ends first is `governing`; it
    alone counts in the rates. `next_at` is when the stage changes next, None when it never will.
    `redo` counts the redos (重办). An ended milestone never changes again.

    `extended` is how much extensions (延期) added, as a limit is written (`5 工作日`), and `paused_s`
    what pauses (挂起) gave back: in working seconds where the limit runs in working time. The due
    date is the original one with both added.
    """

    kind: MilestoneKind
    unit: str
    clock: Clock
    governing: bool
    limit: str
    basis: str
    started_at: datetime
    due_at: datetime
    original_due_at: datetime
    provisional: bool
    warn_at: datetime
    stage: Stage = Stage.NORMAL
    next_at: datetime | None = None
    met_at: datetime | None = None
    outcome: Outcome | None = None
    redo: int = 0
    extended: str = ""
    paused_s: int = 0
    id: int = 0  # 0 until stored

    @property
    def is_open(self) -> bool:
        """Whether the unit still owes it."""
        return self.outcome is None


@dataclass(frozen=True, slots=True)
class Ticket:
    """A complaint that was received, where it stands and what is owed.

    `version` grows with every act and supplement and is what `If-Match` names. `received_at` is
    when the source accepted it, the time from which its clocks are counted.
    """

    no: str
    complaint: Complaint
    route: Route
    state: State
    version: int
    received_at: datetime
    lead: UnitRef | None = None
    assist: tuple[UnitRef, ...] = ()
    milestones: tuple[Milestone, ...] = ()
    redo: int = 0
    limits: str = ""  # digest of the limits it was decided under
    id: int = 0  # 0 until stored

    @property
    def is_counted_only(self) -> bool:
        """Whether it is a review that nobody complains in: counted for its unit, never worked."""
        review = self.complaint.review
        return review is not None and not review.is_bad

    @property
    def region(self) -> str:
        """Return the GB/T 2260 code of its region."""
        return self.complaint.region

    @property
    def units(self) -> tuple[str, ...]:
        """Return the codes of the lead and assisting units."""
        return tuple(ref.unit for ref in ((self.lead,) if self.lead else ()) + self.assist)

    def open(self, *kinds: MilestoneKind) -> tuple[Milestone, ...]:
        """Return the open milestones of these kinds, or all open ones."""
        return tuple(m for m in self.milestones if m.is_open and (not kinds or m.kind in kinds))

    @property
    def stage(self) -> Stage:
        """Return the worst stage among what is still owed."""
        order = list(Stage)
        return max((m.stage for m in self.open()), key=order.index, default=Stage.NORMAL)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a ticket; never changed, never deleted.

    `act` is an Act's name or one of: received, supplemented, stage. `at` is when it happened;
    `content` is what the act carried, JSON-able, without personal data of the citizen other than
    what an official wrote.
    """

    act: str
    at: datetime
    actor: str
    role: str
    content: dict[str, Any] = field(default_factory=dict)
    version: int = 0
    unit: str = ""
    id: int = 0  # 0 until stored; grows in the order of writing
