"""Working days and office hours as China keeps them, worked weekends (调休) included.

A calendar is built from one table a year. Beyond the published years it goes on by Monday to
Friday, and whatever rests on such days is provisional: the State Council's notice for a year comes
out late in the year before, and no library knows it earlier.
"""

import copy
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from itertools import pairwise, takewhile

# Mainland China has kept UTC+8 without summer time since 1991; a fixed offset needs no zone files.
SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")

_FIRST = date(2000, 1, 1).toordinal()
_YEARS_GUESSED = 12


@dataclass(frozen=True, slots=True)
class YearTable:
    """The published days of one year: `off` maps each day off to its holiday, `worked` holds the
    weekend days that are worked. `official` is False for a forecast (预测)."""

    year: int
    official: bool
    source: str
    off: Mapping[date, str]
    worked: frozenset[date]


@dataclass(frozen=True, slots=True)
class OfficeHours:
    """When an office works on a working day, as spans in order that do not touch.

    What comes in at `cut_off` or later has missed the day: it is not the first of a term that
    counts from the day of receipt. Without one the day is cut off when the office closes.
    """

    spans: tuple[tuple[time, time], ...] = ((time(8, 30), time(12)), (time(14), time(17, 30)))
    cut_off: time | None = None
    seconds: int = field(init=False, compare=False)  # of work in a day
    _marks: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse hours that are no hours. What every count needs is worked out once."""
        marks = [mark for span in self.spans for mark in span]
        if not marks or any(later <= earlier for earlier, later in pairwise(marks)):
            msg = "办公时间应由早到晚，各段不相接"
            raise ValueError(msg)
        if any(mark.microsecond or mark.tzinfo for mark in marks):
            msg = "办公时间应为整秒"
            raise ValueError(msg)
        if self.cut_off is not None and not marks[0] < self.cut_off <= marks[-1]:
            msg = "当日截止时间应在办公时间之内"
            raise ValueError(msg)
        spans = tuple((_seconds(start), _seconds(end)) for start, end in self.spans)
        object.__setattr__(self, "_marks", spans)
        object.__setattr__(self, "seconds", sum(end - start for start, end in spans))

    @property
    def closes_at(self) -> time:
        """Return when a day's terms end. 民法典 204: where there are office hours, a term ends with
        them."""
        return self.spans[-1][1]

    @property
    def cuts_off_at(self) -> time:
        """Return from when on what comes in belongs to the next day."""
        return self.cut_off or self.closes_at

    def elapsed(self, at: time) -> int:
        """Return the working seconds of a day that have gone by at a time of day."""
        now, found = _seconds(at), 0
        for start, end in self._marks:
            if now <= start:
                break
            found += (min(end, now)) - start
        return found

    def at(self, elapsed: int) -> time:
        """Return the earliest time of day at which that many working seconds have gone by."""
        for start, end in self._marks:
            length = end - start
            if elapsed <= length:
                total = start + elapsed
                return time(total // 3600, total // 60 % 60, total % 60)
            elapsed -= length
        msg = f"a day has {self.seconds} working seconds"
        raise ValueError(msg)


def _seconds(at: time) -> int:
    return at.hour * 3600 + at.minute * 60 + at.second


@dataclass(frozen=True, slots=True)
class Closure:
    """Days on which the offices of one region are closed, whatever the country does: a flood, a
    festival of its own. `region` is a GB/T 2260 code, `name` what people are told."""

    region: str
    first: date
    last: date
    name: str
    source: str


def _days_of(closures: Iterable[Closure]) -> dict[date, str]:
    return {
        date.fromordinal(ordinal): closure.name
        for closure in closures
        for ordinal in range(closure.first.toordinal(), closure.last.toordinal() + 1)
    }


class Calendar:
    """Which days are worked, and how working time adds up.

    Prefix arrays make each question a look-up: `_worked_by[d]` counts the working days up to and
    including day d, `_days` lists them.
    """

    def __init__(
        self,
        years: Iterable[YearTable],
        hours: OfficeHours | None = None,
        closures: Iterable[Closure] = (),
    ) -> None:
        """Build from year tables that follow each other without a gap; ValueError otherwise."""
        tables = sorted(years, key=lambda table: table.year)
        if not tables:
            msg = "a calendar needs at least one year"
            raise ValueError(msg)
        for before, after in pairwise(tables):
            if after.year != before.year + 1:
                msg = f"the calendar has {before.year} and {after.year}, the years between are missing"
                raise ValueError(msg)
        self.hours = hours or OfficeHours()
        self.years = {table.year: table for table in tables}
        self.first = date(tables[0].year, 1, 1)
        official = list(takewhile(lambda table: table.official, tables))
        if not official:
            msg = f"the calendar's first year, {tables[0].year}, is a forecast"
            raise ValueError(msg)
        self.last = date(official[-1].year, 12, 31)
        self._names: dict[date, str] = {}
        worked: set[date] = set()
        for table in tables:
            self._names.update(table.off)
            worked |= table.worked
        self._worked = frozenset(worked)
        self._end = date(tables[-1].year + _YEARS_GUESSED, 12, 31)
        self._fill(_days_of(closures))

    def _fill(self, closed: Mapping[date, str]) -> None:
        self._closed = closed
        days: list[date] = []
        worked_by = array("i")
        for ordinal in range(_FIRST, self._end.toordinal() + 1):
            day = date.fromordinal(ordinal)
            if day not in self._closed and (
                day in self._worked or (day.weekday() < 5 and day not in self._names)
            ):
                days.append(day)
            worked_by.append(len(days))
        self._days, self._worked_by = days, worked_by

    def local(self, hours: OfficeHours, closures: Iterable[Closure] = ()) -> "Calendar":
        """Return this calendar with the office hours and the closures of one region. Without
        closures it shares the arrays, so that a region more costs nothing."""
        other = copy.copy(self)
        other.hours = hours
        found = _days_of(closures)
        if found:
            other._fill(found)
        return other

    def with_years_of(self, country: "Calendar") -> "Calendar":
        """Return this calendar with the years of another one, which has no closures; office hours and
        closures stay."""
        other = country.local(self.hours)
        if self._closed:
            other._fill(self._closed)
        return other

    def covers(self, first: date, last: date) -> bool:
        """Whether every day from `first` to `last` is officially published."""
        return self.first <= first and last <= self.last

    def days_left(self, on: date) -> int:
        """Return how many days after `on` are published; negative once the data has ended."""
        return (self.last - on).days

    def is_working(self, day: date) -> bool:
        """Whether the day is worked."""
        offset = day.toordinal() - _FIRST
        return self._count(day) > (self._worked_by[offset - 1] if offset else 0)

    @property
    def closed(self) -> frozenset[date]:
        """Return the days on which a local closure shuts the offices, worked otherwise or not."""
        return frozenset(self._closed)

    def working_days(self, after: date, until: date) -> int:
        """Return how many days are worked after one day, up to and including another."""
        return self._count(until) - self._count(after)

    def name(self, day: date) -> str:
        """Return why a day is off or on in Chinese: the closure, the holiday, 周六, 周日, 调休上班, or
        工作日."""
        if day in self._closed:
            return self._closed[day]
        if day in self._worked:
            return "调休上班"
        if day in self._names:
            return self._names[day]
        return {5: "周六", 6: "周日"}.get(day.weekday(), "工作日")

    def nth_working_day(self, after: date, count: int) -> date:
        """Return the `count`-th working day after a day (1 is the next one; 0 or less goes back:
        0 is the last one up to and including the day itself)."""
        # Two look-ups, written out: every due date is worked out here.
        offset = after.toordinal() - _FIRST
        if 0 <= offset < len(self._worked_by):
            index = self._worked_by[offset] + count - 1
            if 0 <= index < len(self._days):
                return self._days[index]
        msg = f"the calendar does not reach {count} working days from {after}"
        raise OverflowError(msg)

    def working_seconds(self, start: datetime, end: datetime) -> int:
        """Return the working time between two aware times in seconds, negative if end is first."""
        return self._worked_until(end) - self._worked_until(start)

    def after_working_seconds(self, start: datetime, seconds: int) -> datetime:
        """Return the earliest time at which so much working time has gone by since `start`."""
        target = self._worked_until(start) + seconds
        # The day that contains the target: with the remainder in 1..seconds of a day, so that a
        # target on a day's end stays on that day and does not slip to the next morning.
        days, within = divmod(target - 1, self.hours.seconds)
        if not 0 <= days < len(self._days):
            msg = f"the calendar does not reach {seconds} working seconds from {start}"
            raise OverflowError(msg)
        return datetime.combine(self._days[days], self.hours.at(within + 1), SHANGHAI)

    def _count(self, day: date) -> int:
        offset = day.toordinal() - _FIRST
        if not 0 <= offset < len(self._worked_by):
            msg = f"the calendar does not reach {day}"
            raise OverflowError(msg)
        return self._worked_by[offset]

    def _worked_until(self, at: datetime) -> int:
        # Written out, like nth_working_day: every clock asks a dozen times.
        local = at if at.tzinfo is SHANGHAI else at.astimezone(SHANGHAI)
        until = self._count(local)
        offset = local.toordinal() - _FIRST
        before = self._worked_by[offset - 1] if offset else 0
        if until == before:
            return until * self.hours.seconds
        return before * self.hours.seconds + self.hours.elapsed(local.time())
