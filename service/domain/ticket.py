"""A ticket (工单) and its clocks as values."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from service.domain.complaint import Complaint, Route, UnitRef
from service.domain.deadline import CountFrom
from service.domain.lifecycle import State
from service.domain.policy import Measures
from service.domain.similar import InGroup, Link


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
class Step:
    """What comes at a time, if the milestone is still open then. `measure` is None where being
    overdue alone is noted and nothing is done yet."""

    measure: Measures | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Milestone:
    """One clock of a ticket: what `unit` owes by `due_at`.

    `limit` and `basis` are Chinese text: the limit as the rules write it, and where it comes from.
    Of an own and a sender's clock for the same thing the one that ends first is `governing`; it
    alone counts in the rates. `steps` follow the warning, `done` of them (the warning counted) are
    behind it, and `next_at` is when the next one comes, None when none will: it ended, or stands
    still with its ticket (挂起). `redo` counts the redos (重办). An ended milestone never changes
    again.

    `answers` is the unit against which it counts. Where the days that an earlier unit used up are
    that unit's (`HandOver`), `bearer` is that unit, and answers for a late end up to `bearer_until`.

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
    id: int = 0  # 0 until it is read from the store
    assisting: bool = False  # an assisting unit's (协办)
    count_from: CountFrom = CountFrom.NEXT_DAY
    steps: tuple[Step, ...] = ()
    done: int = 0
    answers: str = ""  # "" while it is open: `unit`, unless the end says otherwise
    bearer: str = ""
    bearer_until: datetime | None = None

    @property
    def course(self) -> tuple[Step, ...]:
        """Return the warning and all that follows; being overdue is noted whatever the policy."""
        after = self.steps or (Step(None, self.due_at),)
        return (Step(Measures.REMIND, self.warn_at), *after)

    @property
    def is_open(self) -> bool:
        """Whether the unit still owes it."""
        return self.outcome is None


class Decided(StrEnum):
    """What became of a request for an extension (延期)."""

    PENDING = "pending"  # 待批
    GRANTED = "granted"  # 同意
    REFUSED = "refused"  # 不同意
    LAPSED = "lapsed"  # 失效: the ticket went on before anybody decided


@dataclass(frozen=True, slots=True)
class Extension:
    """A request for more time (延期): `amount` as the rules write it, who asked, what was decided."""

    amount: str
    reason: str
    by: str
    by_id: str
    unit: str
    at: datetime
    decided: Decided = Decided.PENDING
    decided_by: str = ""
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which the clocks stand still (挂起); it ends by itself at `until`. `reason` is one of
    the policy's codes."""

    reason: str
    at: datetime
    until: datetime
    ended_at: datetime | None = None


class Level(StrEnum):
    """How sharply a ticket is supervised (督办)."""

    ORDINARY = "ordinary"  # 普通督办
    YELLOW = "yellow"  # 黄牌
    RED = "red"  # 红牌


@dataclass(frozen=True, slots=True)
class Supervision:
    """A supervision (督办) that a person began; those that time brings are steps of a milestone."""

    level: Level
    at: datetime
    text: str
    by: str


_ORDER = {stage: n for n, stage in enumerate(Stage)}
# What each level is among the measures that time brings.
_LEVEL_IS = {
    Level.ORDINARY: Measures.SUPERVISE,
    Level.YELLOW: Measures.YELLOW,
    Level.RED: Measures.RED,
}


@dataclass(frozen=True, slots=True)
class Supervised:
    """A supervision (督办) of a ticket, whoever or whatever began it. `measure` is no reminder; `unit`
    is whom it presses, `by` who began it, "" for time, which did for the clock of `kind`."""

    measure: Measures
    at: datetime
    unit: str = ""
    text: str = ""
    by: str = ""
    kind: MilestoneKind | None = None
    clock: Clock = Clock.OWN


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
    extensions: tuple[Extension, ...] = ()
    pauses: tuple[Pause, ...] = ()
    supervision: tuple[Supervision, ...] = ()
    sent_back: int = 0  # how often
    ruled: str = ""  # the unit that a ruling (裁定) gave it to: that unit cannot send it back
    into: str = ""  # the number of the ticket that it was merged into
    received_kind: str = ""  # before anybody put it right: counts are by it
    # What somebody may see of its surroundings; no part of the ticket as stored.
    links: tuple[Link, ...] = ()
    group: InGroup | None = None

    @property
    def pause(self) -> Pause | None:
        """Return the pause that it is in, or None."""
        last = self.pauses[-1] if self.pauses else None
        return last if last and last.ended_at is None else None

    @property
    def pending(self) -> Extension | None:
        """Return the request for an extension that waits to be decided, or None."""
        last = self.extensions[-1] if self.extensions else None
        return last if last and last.decided is Decided.PENDING else None

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

    def owed(self, kind: MilestoneKind, *, by: str = "") -> tuple[Milestone, ...]:
        """Return the open milestones of a kind of an assisting unit, or the ticket's own for ""."""
        return tuple(
            m for m in self.open(kind) if (m.assisting and m.unit == by if by else not m.assisting)
        )

    @property
    def supervised(self) -> tuple[Supervised, ...]:
        """Return every supervision (督办) that a person or time began, a bulletin (通报) too, the first
        one first."""
        people = [Supervised(_LEVEL_IS[s.level], s.at, "", s.text, s.by) for s in self.supervision]
        time: dict[tuple[object, ...], Supervised] = {}
        for m in self.milestones:
            if m.done < 2:  # the warning alone, if anything
                continue
            for step in m.course[: m.done]:
                if step.measure in {None, Measures.REMIND}:
                    continue
                # A clock that was handed on has behind it what came to the unit before.
                which = (m.kind, m.clock, m.redo, m.unit if m.assisting else "")
                pressed = Supervised(step.measure, step.at, m.unit, kind=m.kind, clock=m.clock)
                time.setdefault((which, step.measure, step.at), pressed)
        return tuple(sorted((*people, *time.values()), key=lambda each: each.at))

    @property
    def stage(self) -> Stage:
        """Return the worst stage among what is still owed."""
        return max((m.stage for m in self.open()), key=_ORDER.__getitem__, default=Stage.NORMAL)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a ticket; never changed, never deleted.

    `act` is an Act's name or one of: received, supplemented, stage, recalculated, merged_here,
    read_contact, imported, not_same, anonymised. `at` is when it happened: for a stage the time at which it was
    due;
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


class Recipient(StrEnum):
    """To whom a delivery goes."""

    SOURCE = "source"  # the system that sent the complaint
    UNIT = "unit"
    SUPERVISOR = "supervisor"  # the unit that runs the region's hotline
    CITIZEN = "citizen"


class Word(StrEnum):
    """What a delivery tells of."""

    ACCEPTED = "accepted"  # 受理
    DISPATCHED = "dispatched"  # 派单: to the source, and to the units that have it now
    WITHDRAWN = "withdrawn"  # 收回: to a unit that has it no longer
    EXTENDED = "extended"  # 延期 was granted
    RESOLVED = "resolved"  # 办结, with the public reply
    CLOSED = "closed"  # 结案
    REOPENED = "reopened"  # 重办
    NOT_ACCEPTED = "not_accepted"  # 不予受理, with the reason
    REFERRED = "referred"  # 转紧急专线
    MERGED = "merged"  # 并单
    SUPPLEMENTED = "supplemented"  # 补充
    STAGE = "stage"  # 催办 and what follows it
    SUPERVISION = "supervision"  # 督办 by a person


class DeliveryState(StrEnum):
    """How far a delivery came."""

    PENDING = "pending"  # 待投递
    DELIVERED = "delivered"  # 已送达
    DEAD = "dead"  # 投递失败: given up, until a person retries it
    UNADDRESSED = "unaddressed"  # 无接收方: no system takes it, people do


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something that is to leave (投递): written in the transaction that causes it, sent by the
    outbox. `unit` is the code of the recipient's unit or `source` the name of a source; both are ""
    for the citizen, whose name and number never stand here."""

    kind: Word
    recipient: Recipient
    unit: str
    payload: dict[str, Any]
    source: str = ""

    @property
    def destination(self) -> str:
        """Return the name under which receivers are configured."""
        if self.recipient is Recipient.CITIZEN:
            return CITIZEN
        return of_source(self.source) if self.recipient is Recipient.SOURCE else of_unit(self.unit)


CITIZEN = "citizen"


def of_source(name: str) -> str:
    """Return the destination that a source's system is."""
    return f"source:{name}"


def of_unit(code: str) -> str:
    """Return the destination that a unit's own system is."""
    return f"unit:{code}"
