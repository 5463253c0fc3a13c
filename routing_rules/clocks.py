"""Reads calendars, limits and policies into a Timetable, refusing what does not add up."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from routing_rules.calendars import (
    DATA,
    ClockFileError,
    FileRow,
    RegionCode,
    Text,
    load_calendar,
    load_country,
    load_local,
    load_year,
    rows,
    why,
    year_table,
)
from service.domain.access import Role
from service.domain.complaint import Kind, Urgency
from service.domain.deadline import CountFrom, Limit, parse_limit
from service.domain.limits import MAY_START, LimitRule, Limits, Starts, Timetable, shadowed
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

__all__ = [
    "ClockFileError",
    "load_calendar",
    "load_country",
    "load_limits",
    "load_policies",
    "load_timetable",
    "load_year",
    "year_table",
]

# Where a row does not say from what it counts.
_USUALLY_STARTS = {
    MilestoneKind.SIGN: Starts.DISPATCH,
    MilestoneKind.CONTACT: Starts.DISPATCH,
    MilestoneKind.RESOLVE: Starts.RECEIPT,
    MilestoneKind.CALL_BACK: Starts.RESOLVE,
}


class _Match(FileRow):
    channel: str = ""
    kind: Kind | Literal[""] = ""
    urgency: Urgency | Literal[""] = ""
    region: RegionCode = ""
    document: str = ""
    item: str = ""

    @model_validator(mode="after")
    def _a_clause_is_whole(self) -> "_Match":
        if bool(self.document) != bool(self.item):
            msg = "document 与 item 应同时给出"
            raise ValueError(msg)
        return self


LimitText = Annotated[Limit, BeforeValidator(lambda text: parse_limit(str(text)))]


class _Sourced(FileRow):
    match: _Match = _Match()
    status: Status
    source: Text

    @property
    def origin(self) -> Origin:
        """Return for what the row holds, and where it comes from."""
        return Origin(self.status, self.source, Scope(**self.match.model_dump()))


class _Limit(_Sourced):
    milestone: MilestoneKind
    limit: LimitText
    count_from: CountFrom
    starts: Starts | None = None
    warn_share: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _can_start(self) -> "_Limit":
        if self.starts and self.starts not in MAY_START[self.milestone]:
            msg = f"{self.milestone} 不能自 {self.starts} 起算"
            raise ValueError(msg)
        return self

    def rule(self) -> LimitRule:
        """Return the row as the domain's value."""
        return LimitRule(
            self.milestone,
            self.limit,
            self.count_from,
            self.warn_share,
            self.origin,
            self.starts or _USUALLY_STARTS[self.milestone],
        )


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


class _Step(FileRow):
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


def load_limits(path: Path = DATA / "limits.yaml") -> Limits:
    """Return the limits with their digest, or raise ClockFileError.

    Refused besides a broken row: two rows that hold for exactly the same, and a milestone without a
    row that holds for everything, so that every ticket has a limit.
    """
    rules: list[LimitRule] = []
    for number, row in enumerate(rows(path), 1):
        try:
            rules.append(_Limit.model_validate(row).rule())
        except ValidationError as error:
            raise ClockFileError(f"{path}: 第 {number} 行规则：{why(error)}") from error
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
    found: list[Section] = []
    for number, row in enumerate(rows(path), 1):
        try:
            found.append(_SECTION.validate_python(row).row())
        except ValidationError as error:
            raise ClockFileError(f"{path}: 第 {number} 行规则：{why(error)}") from error
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
    """Return the calendars, limits and policies, or raise ClockFileError.

    In the overlay a limits.yaml, policies.yaml or office_hours.yaml replaces ours, a closures.yaml
    adds to ours, and a file in calendars/ adds its year or replaces ours of the same year.
    """
    limits = _laid_over("limits.yaml", overlay)
    policies = _laid_over("policies.yaml", overlay)
    closures = [DATA / "closures.yaml"]
    if overlay and (overlay / "closures.yaml").is_file():
        closures.append(overlay / "closures.yaml")
    country, local = load_local(
        load_country(overlay), _laid_over("office_hours.yaml", overlay), *closures
    )
    return Timetable(
        country,
        replace(load_limits(limits), digest=_digest((limits, policies))),
        load_policies(policies),
        local,
    )


def _laid_over(name: str, overlay: Path | None) -> Path:
    return overlay / name if overlay and (overlay / name).is_file() else DATA / name


def _digest(paths: Sequence[Path]) -> str:
    parts = (hashlib.sha256(path.read_bytes()).digest() for path in paths)
    return hashlib.sha256(b"".join(parts)).hexdigest()
