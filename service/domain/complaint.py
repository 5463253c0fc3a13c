"""What a citizen asks for (诉求), and where the router sends it.

These are the values that cross every seam: an adapter makes a `Complaint`, a router makes a `Route`
of it, the desk makes a ticket (工单) of both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """What sort of demand it is (诉求类型)."""

    CONSULTATION = "consultation"  # 咨询
    HELP = "help"  # 求助
    COMPLAINT = "complaint"  # 投诉
    REPORT = "report"  # 举报
    SUGGESTION = "suggestion"  # 建议
    PRAISE = "praise"  # 表扬


class Urgency(StrEnum):
    """How urgent the source calls it (紧急程度)."""

    NORMAL = "normal"  # 一般
    URGENT = "urgent"  # 次紧急
    EMERGENCY = "emergency"  # 紧急


class Decision(StrEnum):
    """What the router decided."""

    AUTO = "auto"  # 自动派单
    MANUAL = "manual"  # 人工派单
    NOT_ACCEPTED = "not_accepted"  # 不予受理
    EMERGENCY_LINE = "emergency_line"  # 转紧急专线 110/119/120/122


class EvidenceKind(StrEnum):
    """What spoke for a unit."""

    CLAUSE = "clause"  # a clause of a policy document
    DUTY = "duty"  # an ordinary duty of a functional line (条线)
    PRECEDENT = "precedent"  # an earlier ruling (裁定)
    MODEL = "model"  # weights learned from corrections
    PLACE = "place"  # the territory's own government (属地)
    REVIEW = "review"  # the unit that was reviewed (谁办理谁负责)


class Basis(StrEnum):
    """What a row of the responsible-unit table (责任单位) rests on."""

    DOCUMENT = "document"
    LINE = "line"
    DEFAULT = "default"


# Those that answers show as they are, and lists read by the hundred, have no slots: orjson writes them
# in a fifth of the time, and pydantic reads them in two thirds.


@dataclass(frozen=True)
class Contact:
    """Who may be called back. Personal data: never in a log, a label or an address."""

    name: str = ""
    phone: str = ""
    gender: str = ""

    def masked(self) -> "Contact":
        """Return the name's first character and the number's first three and last four digits."""
        hidden = (
            f"{self.phone[:3]}****{self.phone[-4:]}"
            if len(self.phone) >= 11
            else "*" * len(self.phone)
        )
        return Contact(self.name[:1] + "*" * max(0, len(self.name) - 1), hidden, self.gender)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file the source keeps; the link is text to us and is never fetched."""

    name: str
    url: str
    size: int | None = None


@dataclass(frozen=True)
class Review:
    """A review of a service (好差评): who was rated, for what, and how.

    `rating` is 1 (very dissatisfied) to 5 (very satisfied); 1 and 2 are 差评. A `system_default`
    rating is nobody's opinion: it is counted and never handled.
    """

    rating: int
    evaluated_unit: str
    unit_code: str = ""  # 统一社会信用代码, 18 characters
    task_name: str = ""
    task_code: str = ""
    project_no: str = ""
    system_default: bool = False
    named: bool = False

    @property
    def is_bad(self) -> bool:
        """Whether this is a 差评 that somebody gave, the only sort of review that is worked."""
        return self.rating <= 2 and not self.system_default


@dataclass(frozen=True, slots=True)
class Complaint:
    """One demand as the router and the clocks see it, whatever channel brought it.

    `region` is a GB/T 2260 code (`360732`). All times are aware. `accepted_at` is when the source
    took it in; `clock_from` is when the clock starts if the source names another moment (a 督办),
    and `sender_due_at` the source's own limit. `place` is as written, "" when none was given.
    `coordinator` is the line or unit that the channel belongs to, "" for the hotline's own.
    """

    source: str
    source_no: str
    channel: str
    region: str
    kind: Kind
    urgency: Urgency
    title: str
    content: str
    accepted_at: datetime
    place: str = ""
    clock_from: datetime | None = None
    sender_due_at: datetime | None = None
    contact: Contact = Contact()
    anonymous: bool = False
    confidential: bool = False
    category: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    related_no: str = ""
    review: Review | None = None
    coordinator: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)  # the source's other fields, as text

    @property
    def findings(self) -> tuple[str, ...]:
        """Return what an adapter could not read for sure, in sentences for whoever sorts it."""
        said = self.extra.get("finding", "")
        return tuple(said.split("；")) if said else ()


@dataclass(frozen=True)
class UnitRef:
    """A responsible unit (责任单位) by its code in the unit table and its full name."""

    unit: str
    name: str


@dataclass(frozen=True)
class Evidence:
    """One reason for a candidate, in the terms of the complaint and of the table.

    `document` is the 文号 or title of a policy document ("" for a line or default), `item` its
    number as written, `terms` the words found in the complaint, `note` a Chinese sentence that a
    handler understands.
    """

    kind: EvidenceKind
    document: str
    item: str
    terms: tuple[str, ...]
    basis: Basis
    note: str


@dataclass(frozen=True)
class Candidate:
    """A unit that might answer, with what speaks for it. `score` is comparable within one route."""

    unit: str
    name: str
    line: str
    score: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Route:
    """Where a complaint goes and why.

    Exactly one `lead` (主办) when the decision is auto, else None, or an advisory one for an
    emergency line. `assist` (协办) may be empty. `confidence` is the probability that the lead is
    right. `candidates` has the best first, three at most. `reason` says in Chinese why a complaint
    is not routed to a unit, "" otherwise; `hotline` is the emergency line to ring (`119`).
    `rulebook` is the digest of the data it was decided under.
    """

    decision: Decision
    lead: UnitRef | None
    assist: tuple[UnitRef, ...]
    confidence: float
    candidates: tuple[Candidate, ...]
    rulebook: str
    reason: str = ""
    hotline: str = ""
