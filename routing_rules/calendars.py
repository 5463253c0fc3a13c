"""Reads what the calendars are made of: years, office hours, local closures; and takes in a new year."""

import os
from collections.abc import Hashable, Mapping
from datetime import date, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from routing_rules.faults import sentence
from service.domain.calendar import Calendar, Closure, OfficeHours, YearTable
from service.domain.region import covers, prefix
from service.domain.scope import Status

DATA = Path(__file__).parent / "data"


class ClockFileError(Exception):
    """A calendar, limits or policies file that cannot be used; the message names file, row and
    reason."""


class FileRow(BaseModel):
    """A row of a file: an unknown field is a misspelt one, and refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Text = Annotated[str, Field(min_length=1, max_length=200)]
RegionCode = Annotated[str, Field(pattern=r"^(\d{4}[0-9K]\d(\d{3}){0,2}|)$")]
MonthDay = Annotated[str, Field(pattern=r"^\d\d-\d\d$")]


class _Off(FileRow):
    name: Annotated[str, Field(min_length=1, max_length=20)]
    first: Annotated[MonthDay, Field(alias="from")]
    last: Annotated[MonthDay, Field(alias="to")]


class _Year(FileRow):
    year: Annotated[int, Field(ge=2000, le=2100)]
    status: Literal["official", "forecast"]
    source: Text
    days_off: Annotated[list[_Off], Field(max_length=60)]
    worked: Annotated[list[MonthDay], Field(max_length=60)]

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
        worked: set[date] = set()
        for day in map(self._day, self.worked):
            if day in worked:
                msg = f"{day} 列了两次"
                raise ValueError(msg)
            if day in off:
                msg = f"{day} 既放假（{off[day]}）又上班"
                raise ValueError(msg)
            if day.weekday() < 5:
                msg = f"{day} 不是周末，无需列为调休上班"
                raise ValueError(msg)
            worked.add(day)
        return YearTable(self.year, self.status == "official", self.source, off, frozenset(worked))

    def _day(self, text: str) -> date:
        try:
            return date.fromisoformat(f"{self.year}-{text}")
        except ValueError as error:
            msg = f"{self.year} 年没有 {text} 这一天（no such day）"
            raise ValueError(msg) from error


class _Closure(FileRow):
    region: Annotated[RegionCode, Field(min_length=6)]
    name: Annotated[str, Field(min_length=1, max_length=20)]
    first: Annotated[date, Field(alias="from")]
    last: Annotated[date, Field(alias="to")]
    source: Text

    @model_validator(mode="after")
    def _in_order(self) -> "_Closure":
        if self.last < self.first:
            msg = f"{self.last} 早于 {self.first}"
            raise ValueError(msg)
        if (self.last - self.first).days >= 60:
            msg = "停办超过 60 天，请分段录入并说明依据"
            raise ValueError(msg)
        return self


def _clock_time(text: object) -> object:
    # YAML 1.1 reads an unquoted 8:30 as the sixtieth-based number 510.
    if not isinstance(text, str):
        msg = "时间应加引号，如 '08:30'"
        raise ValueError(msg)
    return text


ClockTime = Annotated[time, BeforeValidator(_clock_time)]


class _Hours(FileRow):
    region: RegionCode = ""
    spans: Annotated[list[tuple[ClockTime, ClockTime]], Field(min_length=1, max_length=6)]
    cut_off: ClockTime | None = None
    status: Status
    source: Text

    def hours(self) -> OfficeHours:
        """Return the hours; ValueError where they are none."""
        return OfficeHours(tuple(self.spans), self.cut_off)


def load_years(folder: Path) -> dict[int, YearTable]:
    """Return the years of a folder's files, or raise ClockFileError: for a broken one, and for two
    of the same year."""
    years: dict[int, YearTable] = {}
    for path in sorted(folder.glob("*.yaml")):
        table = year_table(path)
        if table.year in years:
            msg = f"{folder}: {table.year} 年出现两次"
            raise ClockFileError(msg)
        years[table.year] = table
    return years


def load_calendar(
    folder: Path = DATA / "calendars", hours: OfficeHours | None = None, *, over: Path | None = None
) -> Calendar:
    """Return the calendar of all year files in a folder, or raise ClockFileError. A year in the
    folder `over` is added, or replaces the one of the same year."""
    years = load_years(folder) | (load_years(over) if over else {})
    try:
        return Calendar(years.values(), hours)
    except ValueError as error:
        msg = f"{over or folder}: {error}"
        raise ClockFileError(msg) from error


def load_country(overlay: Path | None = None) -> Calendar:
    """Return the calendar of the shipped years and those of an overlay, or raise ClockFileError."""
    over = overlay / "calendars" if overlay else None
    return load_calendar(over=over if over and over.is_dir() else None)


def year_table(path: Path) -> YearTable:
    """Return the year a calendar file describes, or raise ClockFileError."""
    try:
        return _Year.model_validate(read(path)).table()
    except (ValidationError, ValueError) as error:
        raise ClockFileError(f"{path}: {why(error)}") from error


def load_year(path: Path, overlay: Path) -> tuple[YearTable, Path | None]:
    """Take a year's file into the overlay and return its table and where it now stands: None if it
    was there already, the same.

    Refused with ClockFileError, nothing changed: a file that contradicts itself, a year that leaves
    a gap, and a year that is there already and says something else, unless that was a forecast
    (预测) and this is official (正式). The source of a year may be worded anew.
    """
    table = year_table(path)
    folder = overlay / "calendars"
    mine = load_years(folder)
    years = load_years(DATA / "calendars") | mine
    there = years.get(table.year)
    if there is not None:
        if (there.official, there.off, there.worked) == (table.official, table.off, table.worked):
            return table, None
        if there.official or not table.official:
            status = "正式" if there.official else "预测"
            msg = (
                f"{path}: {table.year} 年已有{status}安排（{there.source}），与本文件不同；"
                "同一年只能由预测改为正式"
            )
            raise ClockFileError(msg)
    if not min(years) - 1 <= table.year <= max(years) + 1:
        known = f"{min(years)} 至 {max(years)} 年"
        raise ClockFileError(f"{path}: {table.year} 年与已有的 {known}不相接，请先补齐中间的年份")
    try:
        Calendar((years | {table.year: table}).values())
    except ValueError as error:
        raise ClockFileError(f"{path}: {error}") from error
    target = _file_of(folder, table.year) if table.year in mine else folder / f"{table.year}.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Written beside and renamed: a reader sees the whole file or none.
        beside = target.with_suffix(".new")
        with beside.open("wb") as file:
            file.write(path.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        raise ClockFileError(f"{target}: 无法写入：{error.strerror}") from error
    return table, target


def _file_of(folder: Path, year: int) -> Path:
    return next(path for path in sorted(folder.glob("*.yaml")) if year_table(path).year == year)


def load_local(
    country: Calendar, hours: Path = DATA / "office_hours.yaml", *closures: Path
) -> tuple[Calendar, Mapping[str, Calendar]]:
    """Return the country's calendar with its office hours, and that of each region which has hours
    or closures of its own, by code. A region has the closures of those around it too, and the hours
    of the nearest. Raises ClockFileError."""
    kept: dict[str, OfficeHours] = {}
    for number, row in enumerate(rows(hours), 1):
        try:
            found = _Hours.model_validate(row)
            if found.region in kept:
                msg = f"{found.region or '全国'}出现两次"
                raise ValueError(msg)
            kept[found.region] = found.hours()
        except ValueError as error:
            raise ClockFileError(f"{hours}: 第 {number} 行规则：{why(error)}") from error
    if "" not in kept:
        msg = f"{hours}: 没有不限地区的办公时间"
        raise ClockFileError(msg)
    closed = [closure for path in closures for closure in load_closures(path)]
    everywhere = country.local(kept[""])
    local = {}
    for code in sorted({*kept, *(closure.region for closure in closed)} - {""}):
        nearest = max((r for r in kept if covers(r, code)), key=lambda r: len(prefix(r)))
        local[code] = everywhere.local(
            kept[nearest], [closure for closure in closed if covers(closure.region, code)]
        )
    return everywhere, local


def load_closures(path: Path) -> tuple[Closure, ...]:
    """Return the closures of a file, or raise ClockFileError; two of one region may not overlap."""
    found: list[Closure] = []
    for number, row in enumerate(rows(path), 1):
        try:
            read_row = _Closure.model_validate(row)
        except ValidationError as error:
            raise ClockFileError(f"{path}: 第 {number} 行规则：{why(error)}") from error
        closure = Closure(
            read_row.region, read_row.first, read_row.last, read_row.name, read_row.source
        )
        for other in found:
            apart = closure.last < other.first or other.last < closure.first
            if closure.region == other.region and not apart:
                msg = f"{path}: 第 {number} 行规则：{closure.name}与{other.name}的日期重叠"
                raise ClockFileError(msg)
        found.append(closure)
    return tuple(found)


def rows(path: Path) -> list[Any]:
    """Return the rows of a YAML file, or raise ClockFileError where it is no list."""
    found = read(path)
    if not isinstance(found, list):
        msg = f"{path}: 应为列表"
        raise ClockFileError(msg)
    return found


class _Loader(yaml.CSafeLoader):
    """Refuses a key that stands twice, of which YAML would keep the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            msg = f"第 {node.start_mark.line + 1} 行起“{'、'.join(twice)}”写了两次"
            raise yaml.YAMLError(msg)
        return super().construct_mapping(node, deep=deep)


def read(path: Path) -> Any:
    """Return what a YAML file holds, or raise ClockFileError."""
    try:
        return yaml.load(path.read_text("utf-8-sig"), Loader=_Loader)  # noqa: S506 - a safe loader
    except OSError as error:
        raise ClockFileError(f"{path}: 无法读取：{error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ClockFileError(f"{path}: 不是 UTF-8 编码") from error
    except (ValueError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"第 {mark.line + 1} 行：" if mark else ""
        said = getattr(error, "problem", None) or " ".join(str(error).split())
        raise ClockFileError(f"{path}: 不是正确的 YAML：{where}{said}") from error


def why(error: Exception) -> str:
    """Return why a row was refused, naming each field."""
    if isinstance(error, ValidationError):
        return "；".join(
            f"{'.'.join(str(part) for part in fault['loc'])} {sentence(fault)}".strip()
            for fault in error.errors()
        )
    return str(error)
