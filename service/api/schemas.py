"""What crosses the wire: requests as they must be, answers as they are."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints

from service.domain.calendar import SHANGHAI
from service.domain.complaint import (
    Attachment,
    Contact,
    Kind,
    Review,
    Route,
    UnitRef,
    Urgency,
)
from service.domain.deadline import CountFrom
from service.domain.lifecycle import Act, State, allowed
from service.domain.ticket import (
    Clock,
    Event,
    Milestone,
    MilestoneKind,
    Outcome,
    Stage,
    Ticket,
)

# Control characters other than tab and newline: nobody types them, and PostgreSQL refuses NUL.
_PRINTABLE = r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F]*$"

Moment = Annotated[
    datetime,
    PlainSerializer(
        lambda at: at.astimezone(SHANGHAI).isoformat(timespec="seconds"), return_type=str
    ),
]
Line = Annotated[str, StringConstraints(max_length=200, pattern=_PRINTABLE)]
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=5000, pattern=_PRINTABLE),
]
OptionalText = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=5000, pattern=_PRINTABLE)
]
Code = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_PRINTABLE)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


# Acts


class Dispatch(_In):
    """派单, 改派."""

    act: Literal["dispatch"]
    unit: Code
    assist: Annotated[list[Code], Field(max_length=20)] = []
    reason: OptionalText = ""


class Sign(_In):
    """签收."""

    act: Literal["sign"]


class SendBack(_In):
    """退单."""

    act: Literal["send_back"]
    reason: Text
    basis: Text
    suggested_unit: Code | None = None


class ContactCitizen(_In):
    """首次联系."""

    act: Literal["contact"]
    text: Text


class Resolve(_In):
    """办结."""

    act: Literal["resolve"]
    public_reply: Text
    internal_finding: OptionalText = ""
    solved: bool


class CallBack(_In):
    """回访. `solved` and `grade` are for a citizen who was reached."""

    act: Literal["call_back"]
    reached: bool
    solved: bool | None = None
    grade: Annotated[int, Field(ge=1, le=5)] | None = None
    text: OptionalText = ""


class Close(_In):
    """结案."""

    act: Literal["close"]


class Reopen(_In):
    """重办."""

    act: Literal["reopen"]
    reason: Text


class Note(_In):
    """备注."""

    act: Literal["note"]
    text: Text


ActIn = Annotated[
    Dispatch | Sign | SendBack | ContactCitizen | Resolve | CallBack | Close | Reopen | Note,
    Field(discriminator="act"),
]


class ContactReading(_In):
    """Why somebody needs a citizen's name and number; it becomes an event."""

    reason: Text


# Explanations


class RoutingIn(_In):
    """A complaint to try the router with; nothing is stored."""

    channel: Code = "hotline-12345"
    region: Code
    kind: Line = Kind.HELP
    urgency: Line = Urgency.NORMAL
    title: Line = ""
    content: Annotated[str, StringConstraints(max_length=20_000, pattern=_PRINTABLE)] = ""
    place: Annotated[str, StringConstraints(max_length=500, pattern=_PRINTABLE)] | None = None
    evaluated_unit: Line | None = None
    task_name: Line | None = None
    rating: Line | int | None = None


class DeadlineIn(_In):
    """A start and a limit to try the calendar with. A time without zone is Asia/Shanghai."""

    from_: Annotated[datetime, Field(alias="from")]
    limit: Annotated[str, StringConstraints(max_length=40)]
    count_from: CountFrom = CountFrom.NEXT_DAY


class DeadlineOut(BaseModel):
    """When a limit ends and how that was counted."""

    due_at: Moment
    provisional: bool
    reasoning: Sequence[str]


# Tickets


class MilestoneOut(BaseModel):
    """One clock of a ticket."""

    kind: MilestoneKind
    unit: str
    clock: Clock
    governing: bool
    limit: str
    basis: str
    started_at: Moment
    due_at: Moment
    original_due_at: Moment
    provisional: bool
    stage: Stage
    met_at: Moment | None
    outcome: Outcome | None
    redo: int

    @classmethod
    def of(cls, milestone: Milestone) -> "MilestoneOut":
        """Return the milestone as the wire shows it."""
        return cls.model_validate(milestone, from_attributes=True)


class Link(BaseModel):
    """Another ticket that this one names, by the source's number."""

    rel: Literal["related"]
    source_no: str


class Supervision(BaseModel):
    """A 督办 of the ticket."""

    level: str
    at: Moment


class TicketOut(BaseModel):
    """A ticket. Name and number of the citizen are always masked here."""

    no: str
    channel: str
    source: str
    source_no: str
    kind: Kind
    urgency: Urgency
    title: str
    content: str
    region: str
    place: str
    state: State
    stage: Stage
    version: int
    received_at: Moment
    lead: UnitRef | None
    assist: Sequence[UnitRef]
    route: Route
    milestones: Sequence[MilestoneOut]
    supervision: Sequence[Supervision]
    links: Sequence[Link]
    contact: Contact
    anonymous: bool
    confidential: bool
    category: Sequence[str]
    attachments: Sequence[Attachment]
    review: Review | None
    redo: int
    acts: Annotated[Sequence[Act], Field(description="What the state allows now")]

    @classmethod
    def of(cls, ticket: Ticket) -> "TicketOut":
        """Return the ticket as the wire shows it."""
        complaint = ticket.complaint
        related = complaint.related_no
        return cls(
            no=ticket.no,
            channel=complaint.channel,
            source=complaint.source,
            source_no=complaint.source_no,
            kind=complaint.kind,
            urgency=complaint.urgency,
            title=complaint.title,
            content=complaint.content,
            region=complaint.region,
            place=complaint.place,
            state=ticket.state,
            stage=ticket.stage,
            version=ticket.version,
            received_at=ticket.received_at,
            lead=ticket.lead,
            assist=ticket.assist,
            route=ticket.route,
            milestones=[MilestoneOut.of(milestone) for milestone in ticket.milestones],
            supervision=[],
            links=[Link(rel="related", source_no=related)] if related else [],
            contact=masked(complaint.contact),
            anonymous=complaint.anonymous,
            confidential=complaint.confidential,
            category=complaint.category,
            attachments=complaint.attachments,
            review=complaint.review,
            redo=ticket.redo,
            acts=allowed(ticket.state),
        )


def masked(contact: Contact) -> Contact:
    """Return the contact with a name's first character and a number's first three and last four."""
    phone = contact.phone
    hidden = f"{phone[:3]}****{phone[-4:]}" if len(phone) >= 11 else "*" * len(phone)
    return Contact(
        name=contact.name[:1] + "*" * max(0, len(contact.name) - 1),
        phone=hidden,
        gender=contact.gender,
    )


class TicketAnswer(BaseModel):
    """One ticket."""

    ticket: TicketOut


class IntakeAnswer(BaseModel):
    """What became of a payload."""

    ticket: TicketOut
    duplicate: bool = False
    supplemented: bool = False


class LineProblem(BaseModel):
    """What is wrong with one field."""

    pointer: str
    detail: str


class BatchLine(BaseModel):
    """What became of one line of a batch: a ticket, or the reasons why not."""

    line: int
    status: Annotated[int, Field(description="The status that the line alone would have got")]
    ticket_no: str | None = None
    duplicate: bool = False
    supplemented: bool = False
    title: str | None = None
    errors: Sequence[LineProblem] = ()


class BatchAnswer(BaseModel):
    """One result for each line, in their order."""

    items: Sequence[BatchLine]
    next: None = None


class TicketList(BaseModel):
    """A page of tickets."""

    items: Sequence[TicketOut]
    next: str | None = None


class EventOut(BaseModel):
    """Something that happened to a ticket."""

    id: int
    act: str
    at: Moment
    actor: str
    role: str
    unit: str
    version: int
    content: dict[str, Any]

    @classmethod
    def of(cls, event: Event) -> "EventOut":
        """Return the event as the wire shows it."""
        return cls.model_validate(event, from_attributes=True)


class EventList(BaseModel):
    """A ticket's history."""

    items: Sequence[EventOut]
    next: None = None


class UnitOut(BaseModel):
    """A row of the responsible-unit table."""

    code: str
    name: str
    region: str
    line: str
    basis: str


class UnitList(BaseModel):
    """Rows of the responsible-unit table."""

    items: Sequence[UnitOut]
    next: None = None


class ContactAnswer(BaseModel):
    """Name and number of a citizen, for one who said why."""

    contact: Contact


class ProblemOut(BaseModel):
    """A refusal, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: Sequence[LineProblem]
