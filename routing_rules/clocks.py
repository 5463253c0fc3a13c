"""Reads the calendars and the limits into a Timetable, refusing what does not add up."""

import hashlib
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from service.domain.access import Role
from service.domain.calendar import Calendar, OfficeHours, YearTable
from service.domain.complaint import Kind, Urgency
from service.domain.deadline import CountFrom, Limit, parse_limit
from service.domain.limits import LimitRule, Limits, Timetable, shadowed
from service.domain.policy import (
    SECTIONS,
    Assisting,
    Bears,
    Escalation,
    Extensions,
    HandOver,
    Measures,
    Pauses,
    Policies,
    Redo,
    Section,
    SendBacks,
)
from service.domain.scope import Origin, Scope, Status
from service.domain.ticket import MilestoneKind

DATA = Path(__file__).parent / "data"


class ClockFileError(Exception):
    """A calendar or limits file that cannot be used; the message names file, row and reason."""


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Off(_Row):
    name: Annotated[str, Field(min_length=1, max_length=20)]
    first: Annotated[str, Field(alias="from", pattern=r"^\d\d-\d\d$")]
    last: Annotated[str, Field(alias="to", pattern=r"^\d\d-\d\d$")]


class _Year(_Row):
    year: Annotated[int, Field(ge=2000, le=2100)]
    status: Literal["official", "forecast"]
    source: Annotated[str, Field(min_length=1)]
    days_off: list[_Off]
    worked: list[Annotated[str, Field(pattern=r"^\d\d-\d\d$")]]

    def table(self) -> YearTable:
        """Return the year, or raise ValueError where it contradicts itself."""
        off: dict[date, str] = {}
        for span in self.days_off:
            first, last = self._day(span.first), self._day(span.last)
            if last < first:
                msg = f"{span.name}: {span.last} 早于 {span.first}"
                raise ValueError(msg)
            for n in range((last - first).days + 1):
                day = first + timedelta(days=n)
                if day in off:
                    msg = f"{day} 同时属于{off[day]}和{span.name}"
                    raise ValueError(msg)
                off[day] = span.name
        worked = {self._day(text) for text in self.worked}
        for day in sorted(worked):
            if day in off:
                msg = f"{day} 既放假（{off[day]}）又上班"
                raise ValueError(msg)
            if day.weekday() < 5:
                msg = f"{day} 不是周末，无需列为调休上班"
                raise ValueError(msg)
        return YearTable(self.year, self.status == "official", self.source, off, frozenset(worked))

    def _day(self, text: str) -> date:
        return date.fromisoformat(f"{self.year}-{text}")


class _Match(_Row):
    channel: str = ""
    kind: Kind | Literal[""] = ""
    urgency: Urgency | Literal[""] = ""
    region: Annotated[str, Field(pattern=r"^(\d{6}|)$")] = ""
    document: str = ""
    item: str = ""

    @model_validator(mode="after")
    def _a_clause_is_whole(self) -> "_Match":
        if bool(self.document) != bool(self.item):
            msg = "document 与 item 应同时给出"
            raise ValueError(msg)
        return self


LimitText = Annotated[Limit, BeforeValidator(lambda text: parse_limit(str(text)))]


class _Sourced(_Row):
    match: _Match = _Match()
    status: Status
    source: Annotated[str, Field(min_length=1)]

    @property
    def origin(self) -> Origin:
        """Return for what the row holds, and where it comes from."""
        return Origin(self.status, self.source, Scope(**self.match.model_dump()))


class _Limit(_Sourced):
    milestone: MilestoneKind
    limit: LimitText
    count_from: CountFrom
    warn_share: Annotated[float, Field(gt=0, lt=1)]

    def rule(self) -> LimitRule:
        """Return the row as the domain's value."""
        return LimitRule(self.milestone, self.limit, self.count_from, self.warn_share, self.origin)


Roles = Annotated[frozenset[Role], Field(min_length=1)]
Times = Annotated[int, Field(ge=0, le=20)]


class _Extensions(_Sourced):
    section: Literal["extensions"]
    times: Times
    total: LimitText
    approvers: Roles

    def row(self) -> Section:
        return Extensions(self.times, self.total, self.approvers, self.origin)


class _Pauses(_Sourced):
    section: Literal["pauses"]
    reasons: Annotated[
        dict[
            Annotated[str, Field(pattern=r"^[a-z][a-z_]{1,31}$")],
            Annotated[str, Field(min_length=1, max_length=40)],
        ],
        Field(min_length=1),
    ]
    longest: LimitText
    times: Times

    def row(self) -> Section:
        return Pauses(self.reasons, self.longest, self.times, self.origin)


class _SendBacks(_Sourced):
    section: Literal["send_backs"]
    window: LimitText
    waived_by: Roles

    def row(self) -> Section:
        return SendBacks(self.window, self.waived_by, self.origin)


class _Redo(_Sourced):
    section: Literal["redo"]
    limit: LimitText
    count_from: CountFrom

    def row(self) -> Section:
        return Redo(self.limit, self.count_from, self.origin)


class _HandOver(_Sourced):
    section: Literal["hand_over"]
    send_back: Bears
    redispatch: Bears

    def row(self) -> Section:
        return HandOver(self.send_back, self.redispatch, self.origin)


class _Assisting(_Sourced):
    section: Literal["assisting"]
    sign: LimitText | None
    resolve: LimitText | None
    count_from: CountFrom
    awaited: bool = False

    def row(self) -> Section:
        return Assisting(self.sign, self.resolve, self.count_from, self.origin, self.awaited)


class _Step(_Row):
    step: Measures
    at: Literal["due"] | None = None
    after: LimitText | None = None

    @model_validator(mode="after")
    def _one_time(self) -> "_Step":
        if (self.at is None) == (self.after is None):
            msg = "at: due 与 after 应给出其中一个"
            raise ValueError(msg)
        if self.step is Measures.REMIND:
            msg = "催办随临期发出，不列为督办步骤"
            raise ValueError(msg)
        return self


class _Escalation(_Sourced):
    section: Literal["escalation"]
    steps: Annotated[list[_Step], Field(min_length=1)]

    @model_validator(mode="after")
    def _in_order(self) -> "_Escalation":
        order = [list(Measures).index(step.step) for step in self.steps]
        if order != sorted(set(order)):
            msg = "督办步骤应由轻到重，各一次"
            raise ValueError(msg)
        return self

    def row(self) -> Section:
        return Escalation(tuple((s.step, s.after) for s in self.steps), self.origin)


_SECTION: TypeAdapter[
    _Extensions | _Pauses | _SendBacks | _Redo | _HandOver | _Assisting | _Escalation
] = TypeAdapter(
    Annotated[
        _Extensions | _Pauses | _SendBacks | _Redo | _HandOver | _Assisting | _Escalation,
        Field(discriminator="section"),
    ]
)


def load_calendar(folder: Path = DATA / "calendars", hours: OfficeHours | None = None) -> Calendar:
    """Return the calendar of all year files in a folder, or raise ClockFileError."""
    years = [year_table(path) for path in sorted(folder.glob("*.yaml"))]
    seen: set[int] = set()
    for table in years:
        if table.year in seen:
            msg = f"{folder}: {table.year} 年出现两次"
            raise ClockFileError(msg)
        seen.add(table.year)
    try:
        return Calendar(years, hours)
    except ValueError as error:
        msg = f"{folder}: {error}"
        raise ClockFileError(msg) from error


def year_table(path: Path) -> YearTable:
    """Return the year a calendar file describes, or raise ClockFileError."""
    try:
        return _Year.model_validate(_read(path)).table()
    except (ValidationError, ValueError) as error:
        raise ClockFileError(f"{path}: {_why(error)}") from error


def load_limits(path: Path = DATA / "limits.yaml") -> Limits:
    """Return the limits with their digest, or raise ClockFileError.

    Refused besides a broken row: two rows that hold for exactly the same, and a milestone without a
    row that holds for everything, so that every ticket has a limit.
    """
    rows = _read(path)
    if not isinstance(rows, list):
        msg = f"{path}: 应为列表"
        raise ClockFileError(msg)
    rules: list[LimitRule] = []
    for number, row in enumerate(rows, 1):
        try:
            rules.append(_Limit.model_validate(row).rule())
        except ValidationError as error:
            raise ClockFileError(f"{path}: 第 {number} 行规则：{_why(error)}") from error
    for loser, winner in shadowed(rules):
        msg = f"{path}: “{loser.origin.source}”与“{winner.origin.source}”适用范围完全相同"
        raise ClockFileError(msg)
    for kind in MilestoneKind:
        if not any(r.milestone is kind and r.origin.scope.is_everything for r in rules):
            msg = f"{path}: {kind} 没有兜底时限"
            raise ClockFileError(msg)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Limits(tuple(rules), digest)


def load_policies(path: Path = DATA / "policies.yaml") -> Policies:
    """Return the policies, or raise ClockFileError; every section has a row for everything."""
    rows = _read(path)
    if not isinstance(rows, list):
        msg = f"{path}: 应为列表"
        raise ClockFileError(msg)
    found: list[Section] = []
    for number, row in enumerate(rows, 1):
        try:
            found.append(_SECTION.validate_python(row).row())
        except ValidationError as error:
            raise ClockFileError(f"{path}: 第 {number} 行规则：{_why(error)}") from error
    seen: set[tuple[str, Scope]] = set()
    for section in found:
        key = (type(section).__name__, section.origin.scope)
        if key in seen:
            msg = f"{path}: “{section.origin.source}”与另一行适用范围完全相同"
            raise ClockFileError(msg)
        seen.add(key)
    for name, kind in SECTIONS.items():
        if not any(isinstance(row, kind) and row.origin.scope.is_everything for row in found):
            msg = f"{path}: {name} 没有兜底规定"
            raise ClockFileError(msg)
    return Policies(tuple(found))


def load_timetable(overlay: Path | None = None) -> Timetable:
    """Return the calendar, limits and policies; a limits.yaml, policies.yaml or calendars/ in the
    overlay replaces ours."""
    folder = DATA / "calendars"
    if overlay and (overlay / "calendars").is_dir():
        folder = overlay / "calendars"
    return Timetable(
        load_calendar(folder),
        load_limits(_laid_over("limits.yaml", overlay)),
        load_policies(_laid_over("policies.yaml", overlay)),
    )


def _laid_over(name: str, overlay: Path | None) -> Path:
    return overlay / name if overlay and (overlay / name).is_file() else DATA / name


def _read(path: Path) -> Any:
    try:
        return yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ClockFileError(f"{path}: {error}") from error


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "；".join(
            f"{'.'.join(str(part) for part in fault['loc'])} {fault['msg']}"
            for fault in error.errors()
        )
    return str(error)
