"""What crosses the wire: requests as they must be, answers as they are."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, Field, PlainSerializer, StringConstraints

from service.bulletin import Bulletin, HotMatter
from service.domain.bulletin import Ground, Why
from service.domain.calendar import SHANGHAI
from service.domain.complaint import (
    Attachment,
    Complaint,
    Contact,
    Kind,
    Review,
    Route,
    UnitRef,
    Urgency,
)
from service.domain.deadline import CountFrom
from service.domain.kpi import RATES, Better, Rate, Row
from service.domain.lifecycle import Act, State, allowed
from service.domain.personal import Sort, find_masked, hidden
from service.domain.policy import Measures
from service.domain.similar import InGroup, Link, Relation
from service.domain.ticket import (
    Clock,
    Decided,
    DeliveryState,
    Event,
    Level,
    Milestone,
    MilestoneKind,
    Outcome,
    Recipient,
    Stage,
    Ticket,
    Word,
)
from service.orders import PRINTABLE, Code, Given, Line
from service.reports import By, Report
from service.store.deliveries import Stored


@lru_cache(4096)
def moment(at: datetime) -> str:
    """Return a time as the wire shows it. Kept: the clocks of a ticket share theirs, and a day's
    tickets fall due together."""
    return at.astimezone(SHANGHAI).isoformat(timespec="seconds")


Moment = Annotated[datetime, PlainSerializer(moment, return_type=str)]

# Explanations


class RoutingIn(Given):
    """A complaint to try the router with; nothing is stored."""

    channel: Code = "hotline-12345"
    region: Code
    kind: Line = Kind.HELP
    urgency: Line = Urgency.NORMAL
    title: Line = ""
    content: Annotated[str, StringConstraints(max_length=20_000, pattern=PRINTABLE)] = ""
    place: Annotated[str, StringConstraints(max_length=500, pattern=PRINTABLE)] | None = None
    evaluated_unit: Line | None = None
    task_name: Line | None = None
    rating: Line | int | None = None


class DeadlineIn(Given):
    """A start and a limit to try the calendar with. A time without zone is Asia/Shanghai; a region
    (code or name) counts by its own office hours and closures."""

    from_: Annotated[datetime, Field(alias="from")]
    limit: Annotated[str, StringConstraints(max_length=40)]
    count_from: CountFrom = CountFrom.NEXT_DAY
    region: Annotated[str, StringConstraints(max_length=64, pattern=PRINTABLE)] = ""


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
    assisting: Annotated[bool, Field(description="Owed by an assisting unit 协办")]
    answers: Annotated[str, Field(description="The unit that it counts against; empty while open")]


def _clock(m: Milestone) -> dict[str, Any]:
    """Return the fields of a `MilestoneOut`."""
    return {
        "kind": m.kind,
        "unit": m.unit,
        "clock": m.clock,
        "governing": m.governing,
        "limit": m.limit,
        "basis": m.basis,
        "started_at": moment(m.started_at),
        "due_at": moment(m.due_at),
        "original_due_at": moment(m.original_due_at),
        "provisional": m.provisional,
        "stage": m.stage,
        "met_at": moment(m.met_at) if m.met_at else None,
        "outcome": m.outcome,
        "redo": m.redo,
        "assisting": m.assisting,
        "answers": m.answers,
    }


class RelatedLink(BaseModel):
    """Another ticket that this one names, by the source's number."""

    rel: Literal["related"] = "related"
    source_no: str


class MergedLink(BaseModel):
    """The ticket that this one was merged into (并单)."""

    rel: Literal["into"] = "into"
    no: str


class LikeLink(BaseModel):
    """Another ticket of the same matter: proposed for 并单, answered before (重复诉求), or merged into
    this one. `later` says whether this ticket came after the other."""

    rel: Relation
    no: str
    title: str
    state: State
    version: int
    later: bool
    score: Annotated[float, Field(description="0 to 1; orders several")]
    reason: str


class GroupLink(BaseModel):
    """The group matter (群体性诉求) that the ticket is of: at least so many people, one place."""

    rel: Literal["group"] = "group"
    group: int
    place: str
    people: int
    tickets: int


class PersonalOut(BaseModel):
    """Personal data that is masked in free text, by the field's JSON pointer and the characters'
    positions in the text as it is shown; of a number the sort is the likeliest."""

    pointer: str
    sort: Sort
    start: int
    end: int

    @classmethod
    def of(cls, told: Complaint) -> "list[PersonalOut]":
        """Return what is masked in the texts of a complaint that is hidden."""
        return [
            cls(pointer=pointer, sort=each.sort, start=each.start, end=each.end)
            for pointer, text in (
                ("/title", told.title),
                ("/content", told.content),
                ("/place", told.place),
            )
            for each in find_masked(text)
        ]


class SupervisionOut(BaseModel):
    """A 督办 of the ticket: a person's, or a step that time brought (`auto`)."""

    level: Annotated[
        Level | Literal["bulletin"], Field(description="`bulletin` 通报 is brought by time alone")
    ]
    at: Moment
    unit: Annotated[str, Field(description="Whose clock ran out; empty for a person's")]
    text: str
    auto: bool

    @classmethod
    def of(cls, ticket: Ticket) -> "list[SupervisionOut]":
        """Return every supervision of a ticket, the first one first."""
        return [
            cls(level=_LEVELS[s.measure], at=s.at, unit=s.unit, text=s.text, auto=not s.by)
            for s in ticket.supervised
        ]


_LEVELS: dict[Measures, Level | Literal["bulletin"]] = {
    Measures.SUPERVISE: Level.ORDINARY,
    Measures.YELLOW: Level.YELLOW,
    Measures.RED: Level.RED,
    Measures.BULLETIN: "bulletin",
}


class ExtensionOut(BaseModel):
    """A request for more time (延期) and what became of it."""

    amount: str
    reason: str
    unit: str
    by: str
    at: Moment
    decided: Decided
    decided_by: str
    decided_at: Moment | None


class PauseOut(BaseModel):
    """A time in which the clocks stand still (挂起)."""

    reason: str
    at: Moment
    until: Moment
    ended_at: Moment | None


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
    assist: tuple[UnitRef, ...]
    route: Route
    milestones: tuple[MilestoneOut, ...]
    supervision: tuple[SupervisionOut, ...]
    extensions: tuple[ExtensionOut, ...]
    pauses: tuple[PauseOut, ...]
    links: tuple[RelatedLink | MergedLink | LikeLink | GroupLink, ...]
    personal: Annotated[tuple[PersonalOut, ...], Field(description="Personal data in the texts")]
    contact: Contact
    anonymous: bool
    confidential: bool
    category: tuple[str, ...]
    attachments: tuple[Attachment, ...]
    review: Review | None
    redo: int
    findings: Annotated[
        tuple[str, ...], Field(description="What could not be read for sure when it came in")
    ]
    acts: Annotated[tuple[Act, ...], Field(description="What the state allows now")]


def _shown(ticket: Ticket) -> dict[str, Any]:
    """Return the fields of a `TicketOut`."""
    # Whatever came this far: nobody gets more than everybody may see.
    complaint = hidden(ticket.complaint)
    related = complaint.related_no
    return {
        "no": ticket.no,
        "channel": complaint.channel,
        "source": complaint.source,
        "source_no": complaint.source_no,
        "kind": complaint.kind,
        "urgency": complaint.urgency,
        "title": complaint.title,
        "content": complaint.content,
        "region": complaint.region,
        "place": complaint.place,
        "state": ticket.state,
        "stage": ticket.stage,
        "version": ticket.version,
        "received_at": ticket.received_at,
        "lead": ticket.lead,
        "assist": ticket.assist,
        "route": ticket.route,
        "milestones": [_clock(milestone) for milestone in ticket.milestones],
        "supervision": SupervisionOut.of(ticket),
        "extensions": [
            ExtensionOut.model_validate(each, from_attributes=True) for each in ticket.extensions
        ],
        "pauses": [PauseOut.model_validate(each, from_attributes=True) for each in ticket.pauses],
        "links": [
            *([RelatedLink(source_no=related)] if related else []),
            *([MergedLink(no=ticket.into)] if ticket.into else []),
            *(_like(link) for link in ticket.links),
            *([_group(ticket.group)] if ticket.group else []),
        ],
        "personal": PersonalOut.of(complaint),
        "contact": complaint.contact,
        "anonymous": complaint.anonymous,
        "confidential": complaint.confidential,
        "category": complaint.category,
        "attachments": complaint.attachments,
        "review": complaint.review,
        "redo": ticket.redo,
        "findings": complaint.findings,
        "acts": allowed(ticket.state),
    }


def _like(link: Link) -> LikeLink:
    return LikeLink(
        rel=link.relation,
        no=link.no,
        title=link.title,
        state=link.state,
        version=link.version,
        later=link.later,
        score=link.score,
        reason=link.reason,
    )


def _group(group: InGroup) -> GroupLink:
    return GroupLink(group=group.id, place=group.place, people=group.people, tickets=group.tickets)


class TicketAnswer(BaseModel):
    """One ticket."""

    ticket: TicketOut


def ticket_answer(ticket: Ticket) -> bytes:
    """Return a `TicketAnswer` as JSON, straight from the values: nothing in it needs to be checked,
    and checking takes three times as long."""
    return _json({"ticket": _shown(ticket)})


class IntakeAnswer(BaseModel):
    """What became of a payload."""

    ticket: TicketOut
    duplicate: bool = False
    supplemented: bool = False


def intake_answer(ticket: Ticket, *, duplicate: bool, supplemented: bool) -> bytes:
    """Return an `IntakeAnswer` as JSON, as `ticket_answer` does."""
    answer = {"ticket": _shown(ticket), "duplicate": duplicate, "supplemented": supplemented}
    return _json(answer)


def _json(answer: Mapping[str, Any]) -> bytes:
    return orjson.dumps(answer, _written, orjson.OPT_PASSTHROUGH_DATETIME)


def _written(value: object) -> Any:
    """Return what orjson does not know, as pydantic writes it."""
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, BaseModel):
        return dict(value)
    raise TypeError


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


class BatchStopped(BaseModel):
    """A problem (RFC 9457) that tells of each line of a batch what became of it."""

    type: str
    title: str
    status: int
    detail: str
    errors: Sequence[LineProblem]
    items: Sequence[BatchLine]


class TicketList(BaseModel):
    """A page of tickets."""

    items: Sequence[TicketOut]
    next: str | None = None


def list_answer(page: Sequence[Ticket], onward: str | None) -> bytes:
    """Return a `TicketList` as JSON, as `ticket_answer` does."""
    return _json({"items": [_shown(ticket) for ticket in page], "next": onward})


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


class FeedEventOut(EventOut):
    """Something that happened, in its place in the feed."""

    cursor: Annotated[str, Field(description="`after` this event; the `id` of a stream")]
    no: str
    region: str


class FeedPage(BaseModel):
    """A page of the feed. It has no end: `next` is never null, and names where to go on."""

    items: Sequence[FeedEventOut]
    next: str
    more: Annotated[bool, Field(description="Whether there is more by now; if not, ask later")]


class EventList(BaseModel):
    """A ticket's history."""

    items: Sequence[EventOut]
    next: str | None = None


class GroupOut(BaseModel):
    """A group matter (群体性诉求): at least so many `people` about one topic in one place."""

    id: int
    region: str
    line: str
    place: str
    title: Annotated[str, Field(description="Of the first ticket")]
    people: int
    tickets: int
    open: int
    first_at: Moment
    last_at: Moment


class GroupList(BaseModel):
    """Group matters, those that grew last first."""

    items: Sequence[GroupOut]
    next: str | None = None


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


class OwnWords(BaseModel):
    """The texts of an event as they were written, by field."""

    event: int
    texts: Mapping[str, str]


class ContactAnswer(BaseModel):
    """What is masked of a ticket everywhere else, for one who said why. `history` has of each event
    the texts in which something is masked."""

    contact: Contact
    title: str
    content: str
    place: str
    history: Sequence[OwnWords]


class PersonIn(Given):
    """A telephone number to look for: in the body, so that no address and no log has it."""

    phone: Annotated[str, StringConstraints(min_length=7, max_length=40, pattern=PRINTABLE)]
    cursor: Annotated[str, StringConstraints(max_length=100, pattern=PRINTABLE)] = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class DeliveryOut(BaseModel):
    """A delivery (投递), without what it says."""

    id: int
    message: Annotated[str, Field(description="The `webhook-id` under which it is sent")]
    ticket_no: str
    region: str
    kind: Word
    recipient: Recipient
    destination: Annotated[str, Field(description="`source:NAME`, `unit:CODE` or `citizen`")]
    state: DeliveryState
    attempts: int
    reason: Annotated[str, Field(description="Why the last attempt failed, as `http-400`")]
    created_at: Moment
    next_at: Moment | None
    settled_at: Moment | None

    @classmethod
    def of(cls, stored: Stored) -> "DeliveryOut":
        """Return the delivery as the wire shows it."""
        return cls.model_validate(stored, from_attributes=True)


class DeliveryAnswer(BaseModel):
    """One delivery."""

    delivery: DeliveryOut


class DeliveryList(BaseModel):
    """A page of deliveries."""

    items: Sequence[DeliveryOut]
    next: str | None = None


class HeadOut(BaseModel):
    """What a region's chain of events came to on a day, for keeping elsewhere (审计链头)."""

    region: str
    date: Annotated[date, Field(description="The last day that was over when it was made")]
    sequence: Annotated[int, Field(description="How many events the chain has")]
    hash: Annotated[str, Field(description="Of the last link, 64 hexadecimal digits")]
    events: Annotated[int, Field(description="How many of them since the head before")]
    made_at: Annotated[str, Field(description="UTC, with microseconds: signed as it stands")]
    key: Annotated[str, Field(description="Public key (Ed25519), base64; empty if not signed")]
    signature: Annotated[str, Field(description="base64; docs/audit.md says of what")]


class HeadList(BaseModel):
    """A page of heads, in the order in which they were made."""

    items: Sequence[HeadOut]
    next: str | None = None


class ProblemOut(BaseModel):
    """A refusal, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: Sequence[LineProblem]


# Rates


class LeftOutOut(BaseModel):
    """What a rate leaves out, and why."""

    reason: str
    label: str
    count: int


class RateOut(BaseModel):
    """A rate as counted. `value`, `low` and `high` are shares of 1, null where nothing counts; `rank`
    is null below the floor, and where nothing is ranked."""

    numerator: int
    denominator: int
    value: float | None
    low: float | None
    high: float | None
    rank: int | None
    left_out: list[LeftOutOut]

    @classmethod
    def of(cls, rate: Rate) -> "RateOut":
        """Return it as it crosses the wire."""
        low, high = rate.interval or (None, None)
        return cls(
            numerator=rate.numerator,
            denominator=rate.denominator,
            value=_share(rate.value),
            low=_share(low),
            high=_share(high),
            rank=rate.rank,
            left_out=[
                LeftOutOut(reason=each.reason, label=each.label, count=count)
                for each, count in rate.left_out
            ],
        )


def _share(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


class PercentileOut(BaseModel):
    """A percentile in working seconds: about this, above that, within the other (null: no bound)."""

    about_s: int
    above_s: int
    within_s: int | None


class WorkedOut(BaseModel):
    """How long resolutions took in working time, without pauses."""

    count: int
    mean_s: int | None
    median: PercentileOut | None
    p90: PercentileOut | None


class KpiRow(BaseModel):
    """The figures of a unit, channel, kind, region, day or month. `former_names` are what a unit was called
    before, and units that became part of it."""

    key: str
    name: str
    former_names: list[str]
    rates: dict[str, RateOut]
    worked: WorkedOut
    score: float | None
    score_rank: int | None

    @classmethod
    def of(cls, row: Row) -> "KpiRow":
        """Return it as it crosses the wire."""
        return cls(
            key=row.key,
            name=row.name,
            former_names=list(row.names),
            rates={name: RateOut.of(rate) for name, rate in row.rates.items()},
            worked=WorkedOut.model_validate(row.worked, from_attributes=True),
            score=_share(row.score),
            score_rank=row.score_rank,
        )


class DefinitionOut(BaseModel):
    """What a rate is, in Chinese."""

    id: str
    name: str
    numerator: str
    denominator: str
    day: str
    better: Better
    source: str


class WeightsOut(BaseModel):
    """How the 三率 score weighs."""

    response: float
    satisfied: float
    solved: float
    basically: float


class KpisOut(BaseModel):
    """The rates of a period. `as_of` is null for what is known now; `provisional` says why figures
    may still change, null if the period is over."""

    since: Annotated[str, Field(serialization_alias="from")]
    until: Annotated[str, Field(serialization_alias="to")]
    region: str
    region_name: str
    by: By
    as_of: str | None
    provisional: str | None
    floor: int
    weights: WeightsOut
    definitions: list[DefinitionOut]
    total: KpiRow
    items: list[KpiRow]

    @classmethod
    def of(cls, report: Report) -> "KpisOut":
        """Return it as it crosses the wire."""
        asked = report.asked
        return cls(
            since=asked.since.isoformat(),
            until=asked.until.isoformat(),
            region=asked.region,
            region_name=report.region_name,
            by=asked.by,
            as_of=asked.as_of.isoformat() if asked.as_of else None,
            provisional=report.provisional or None,
            floor=report.floor,
            weights=WeightsOut.model_validate(report.weights, from_attributes=True),
            definitions=[
                DefinitionOut.model_validate(RATES[name], from_attributes=True)
                for name in report.total.rates
            ],
            total=KpiRow.of(report.total),
            items=[KpiRow.of(row) for row in report.items],
        )


# Bulletins


class BulletinFigure(BaseModel):
    """A count of the month, of the month before and of the same month a year before; null where there
    are no data of that whole month. `group`: total, state, channel, kind, decision."""

    group: str
    key: str
    name: str
    now: int | None
    before: int | None
    year_before: int | None


class CardOut(BaseModel):
    """A yellow or red card."""

    level: Level
    at: Moment
    unit: str


class LateOut(BaseModel):
    """Something that was overdue at the end (`why` overdue), or a ticket that was carded in the month
    and overdue no longer (carded). `stage` is the worst by then."""

    no: str
    title: str
    kind: str
    unit: str
    unit_name: str
    owed: MilestoneKind
    assisting: bool
    why: Why
    due_at: Moment | None
    stage: Stage
    cards: list[CardOut]


class ReasonOut(BaseModel):
    """Why a unit is on a list: the rule as it is set, and the figures, in Chinese."""

    ground: Ground
    rule: str
    figures: str


class NamedOut(BaseModel):
    """A unit that is praised or criticised."""

    unit: str
    name: str
    names: Annotated[list[str], Field(serialization_alias="former_names")]
    reasons: list[ReasonOut]


class HotOut(BaseModel):
    """A matter. `sort` is line (a topic), spot or town; `expected`, `ratio` and `score` are null where
    there is too little to compare with."""

    sort: str
    name: str
    count: int
    before: int | None
    expected: float | None
    ratio: float | None
    score: float | None
    about: str
    words: list[str]
    examples: list[str]

    @classmethod
    def of(cls, matter: HotMatter) -> "HotOut":
        """Return it as it crosses the wire."""
        grew = matter.growth
        return cls(
            sort=matter.sort,
            name=matter.name,
            count=matter.count,
            before=matter.before,
            expected=round(grew.expected, 3) if grew else None,
            ratio=round(grew.ratio, 3) if grew and grew.ratio else None,
            score=round(grew.score, 3) if grew else None,
            about=matter.about,
            words=list(matter.words),
            examples=list(matter.examples),
        )


class CrowdOut(BaseModel):
    """A group matter (群体性诉求) that grew in the month, as it had become by its end."""

    topic: str
    place: str
    people: int
    tickets: int
    new: int
    first_at: Moment
    no: str


class BulletinRulesOut(BaseModel):
    """By which figures units are praised and criticised."""

    praise_on_time: float
    praise_satisfied: float
    praise_cases: int
    criticise_on_time: float
    criticise_cases: int
    criticise_red: int
    criticise_back_refused: int


class DayCount(BaseModel):
    """How many tickets a day received."""

    day: str
    received: int


class MonthCount(BaseModel):
    """How many tickets a month received, and its rate of punctual resolving."""

    month: str
    received: int
    on_time: RateOut


class BulletinOut(BaseModel):
    """The bulletin (通报) of a month. `units`, `channels` and `kinds` are what `/v1/kpis` answers for the
    month, `units_before` for the month before, null without data. `until` is the end of what it tells
    of, `rulebook` the digest of the rules at the time of making."""

    month: str
    region: str
    region_name: str
    as_of: str | None
    made_at: Moment
    until: Moment
    provisional: str | None
    empty: bool
    data_since: str | None
    version: str
    rulebook: str
    rules: BulletinRulesOut
    figures: list[BulletinFigure]
    units: KpisOut
    units_before: KpisOut | None
    channels: KpisOut
    kinds: KpisOut
    by_day: list[DayCount]
    by_month: list[MonthCount]
    late_count: int
    late: list[LateOut]
    praised: list[NamedOut]
    criticised: list[NamedOut]
    compared_months: int
    hot: list[HotOut]
    frequent: list[HotOut]
    groups: list[CrowdOut]

    @classmethod
    def of(cls, made: Bulletin) -> "BulletinOut":
        """Return it as it crosses the wire."""
        wish = made.wish
        return cls(
            month=str(wish.month),
            region=wish.region,
            region_name=made.region_name,
            as_of=wish.as_of.isoformat() if wish.as_of else None,
            made_at=made.made_at,
            until=made.until,
            provisional=made.provisional or None,
            empty=made.empty,
            data_since=made.begun.isoformat() if made.begun else None,
            version=made.version,
            rulebook=made.rulebook,
            rules=BulletinRulesOut.model_validate(made.rules, from_attributes=True),
            figures=[
                BulletinFigure.model_validate(each, from_attributes=True) for each in made.figures
            ],
            units=KpisOut.of(made.units),
            units_before=KpisOut.of(made.units_before) if made.units_before else None,
            channels=KpisOut.of(made.channels),
            kinds=KpisOut.of(made.kinds),
            by_day=[DayCount(day=day.isoformat(), received=n) for day, n in made.by_day],
            by_month=[
                MonthCount(month=str(month), received=n, on_time=RateOut.of(row.rates["on_time"]))
                for month, n, row in made.by_month
            ],
            late_count=made.late_count,
            late=[LateOut.model_validate(each, from_attributes=True) for each in made.late],
            praised=[NamedOut.model_validate(each, from_attributes=True) for each in made.praised],
            criticised=[
                NamedOut.model_validate(each, from_attributes=True) for each in made.criticised
            ],
            compared_months=made.compared,
            hot=[HotOut.of(each) for each in made.hot],
            frequent=[HotOut.of(each) for each in made.frequent],
            groups=[
                CrowdOut(
                    topic=each.topic,
                    place=each.place,
                    people=each.crowd.people,
                    tickets=each.crowd.tickets,
                    new=each.crowd.new,
                    first_at=each.crowd.first_at,
                    no=each.crowd.no,
                )
                for each in made.crowds
            ],
        )
