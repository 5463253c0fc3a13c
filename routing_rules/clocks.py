"""Reads the calendars and the limits into a Timetable, refusing what does not add up."""

import hashlib
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from service.domain.calendar import Calendar, OfficeHours, YearTable
from service.domain.complaint import Kind, Urgency
from service.domain.deadline import CountFrom, Limit, parse_limit
from service.domain.limits import LimitRule, Limits, Status, Timetable, shadowed
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


class _Limit(_Row):
    milestone: MilestoneKind
    match: _Match = _Match()
    limit: Limit
    count_from: CountFrom
    warn_share: Annotated[float, Field(gt=0, lt=1)]
    status: Status
    source: Annotated[str, Field(min_length=1)]

    @field_validator("limit", mode="before")
    @classmethod
    def _parse(cls, text: object) -> Limit:
        return parse_limit(str(text))

    def rule(self) -> LimitRule:
        """Return the row as the domain's value."""
        return LimitRule(
            milestone=self.milestone,
            limit=self.limit,
            count_from=self.count_from,
            warn_share=self.warn_share,
            status=self.status,
            source=self.source,
            **self.match.model_dump(),
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
        msg = f"{path}: “{loser.source}”与“{winner.source}”适用范围完全相同"
        raise ClockFileError(msg)
    for kind in MilestoneKind:
        if not any(r.milestone is kind and not any(r.rank) for r in rules):
            msg = f"{path}: {kind} 没有兜底时限"
            raise ClockFileError(msg)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Limits(tuple(rules), digest)


def load_timetable(overlay: Path | None = None) -> Timetable:
    """Return the calendar and limits; a limits.yaml or calendars/ in the overlay replaces ours."""
    folder = DATA / "calendars"
    limits = DATA / "limits.yaml"
    if overlay and (overlay / "calendars").is_dir():
        folder = overlay / "calendars"
    if overlay and (overlay / "limits.yaml").is_file():
        limits = overlay / "limits.yaml"
    return Timetable(load_calendar(folder), load_limits(limits))


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
