"""By when: a limit (时限) and a start make a due time, and say how.

The counting follows 民法典 201-204: the day on which a term in days begins is not counted, a term
in hours runs from its moment, and a term ends with the office hours of its last day.
"""

import re
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from itertools import groupby

from service.domain.calendar import SHANGHAI, Calendar


class Measure(StrEnum):
    """What a limit is counted in."""

    WORKING_DAYS = "working_days"  # 工作日
    DAYS = "days"  # 日, calendar days
    WORKING_HOURS = "working_hours"  # 工作小时
    HOURS = "hours"  # 小时
    MINUTES = "minutes"  # 分钟


class CountFrom(StrEnum):
    """Which day is the first of a limit in days."""

    NEXT_DAY = "next_day"  # 次日起算
    RECEIPT = "receipt"  # 当日起算


_WORDS = {
    Measure.WORKING_DAYS: "工作日",
    Measure.DAYS: "日",
    Measure.WORKING_HOURS: "工作小时",
    Measure.HOURS: "小时",
    Measure.MINUTES: "分钟",
}
_MEASURES = {
    "工作日": Measure.WORKING_DAYS,
    "日": Measure.DAYS,
    "天": Measure.DAYS,
    "自然日": Measure.DAYS,
    "工作小时": Measure.WORKING_HOURS,
    "小时": Measure.HOURS,
    "分钟": Measure.MINUTES,
}
# A longer limit than these is a slip of the pen: four years of days, a year of hours.
_MOST = {
    Measure.WORKING_DAYS: 1000,
    Measure.DAYS: 1500,
    Measure.WORKING_HOURS: 2000,
    Measure.HOURS: 8760,
    Measure.MINUTES: 525_600,
}
_LIMIT = re.compile(
    r"\s*(-?[0-9]{1,9}|[一二两三四五六七八九](?!十)|[一二三四五六七八九]?十[一二三四五六七八九]?)"
    r"\s*个?\s*(\S{1,4}?)\s*内?\s*"
)
_DIGITS = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"两": 2}


class LimitError(ValueError):
    """A text that is no limit; the message says why, in Chinese."""


@dataclass(frozen=True, slots=True)
class Limit:
    """An amount of time that somebody has. Written `5 工作日`."""

    amount: int
    measure: Measure

    def __str__(self) -> str:
        """Return the limit as the rules write it; `parse_limit` reads it back."""
        return f"{self.amount} {_WORDS[self.measure]}"

    @property
    def in_working_time(self) -> bool:
        """Whether the limit runs in working time alone."""
        return self.measure in {Measure.WORKING_DAYS, Measure.WORKING_HOURS}


def parse_limit(text: str) -> Limit:
    """Return the limit that a text states: `5 工作日`, `一个工作日内`, `30分钟`.

    Raises LimitError for anything else, and for an amount below 1 or beyond all sense.
    """
    found = _LIMIT.fullmatch(text)
    if not found or found[2] not in _MEASURES:
        msg = f"看不懂的时限“{text[:40]}”：应为数量加单位，单位是{'、'.join(_WORDS.values())}，例如“5 工作日”"
        raise LimitError(msg)
    measure = _MEASURES[found[2]]
    amount = _number(found[1])
    if not 1 <= amount <= _MOST[measure]:
        msg = f"时限“{text[:40]}”超出范围：{_WORDS[measure]}应在 1 到 {_MOST[measure]} 之间"
        raise LimitError(msg)
    return Limit(amount, measure)


def _number(text: str) -> int:
    if text.lstrip("-").isascii():
        return int(text)
    tens, ten, ones = text.rpartition("十")
    if not ten:
        return _DIGITS[text]
    return _DIGITS[tens or "一"] * 10 + _DIGITS[ones or "零"]


@dataclass(frozen=True, slots=True)
class Due:
    """When a limit ends. `provisional` where it rests on days that are not published yet.

    It keeps what it was worked out from: the telling takes ten times as long as the count, and
    most are never told.
    """

    due_at: datetime
    provisional: bool
    calendar: Calendar = field(repr=False, compare=False)
    start: datetime
    limit: Limit
    count_from: CountFrom

    @property
    def reasoning(self) -> tuple[str, ...]:
        """Return the count in Chinese, line by line, day by day."""
        calendar, start, limit, due_at = self.calendar, self.start, self.limit, self.due_at
        rule = _COUNT_WORDS[self.count_from]
        if limit.measure is Measure.WORKING_DAYS:
            lines = _working_days(calendar, start, limit, self.count_from)
        elif limit.measure is Measure.DAYS:
            last = due_at.date()
            first = last - timedelta(days=limit.amount - 1)
            days = f"{first} 为第 1 日，{last} 为第 {limit.amount} 日"
            lines = [f"按自然日计算（{rule}），{days}，节假日不顺延"]
            if self.count_from is CountFrom.RECEIPT and first > start.date():
                lines.append(f"{start:%m-%d} {calendar.hours.cuts_off_at:%H:%M} 以后收到，不计")
        elif limit.measure is Measure.WORKING_HOURS:
            lines = ["只计办公时间，从起算时刻连续计算"]
            lines += _hours_by_day(calendar, start, due_at)
        else:
            lines = ["从起算时刻连续计算，不分昼夜和节假日"]
        if self.provisional and due_at.date() > calendar.last:
            lines.append(
                f"{calendar.last} 以后的放假安排尚未录入，暂按周一至周五推算，公布后重新计算"
            )
        elif self.provisional:
            lines.append(f"{calendar.first} 以前的放假安排没有录入，按周一至周五推算")
        began = f"{start:%Y-%m-%d %H:%M} 起，时限 {limit}"
        return (began, *lines, f"到期时间 {due_at:%Y-%m-%d %H:%M}")


_COUNT_WORDS = {CountFrom.NEXT_DAY: "次日起算", CountFrom.RECEIPT: "当日起算"}
_RUNS_ON = {Measure.HOURS: timedelta(hours=1), Measure.MINUTES: timedelta(minutes=1)}


def due(
    calendar: Calendar, start: datetime, limit: Limit, count_from: CountFrom = CountFrom.NEXT_DAY
) -> Due:
    """Return when a limit that starts at an aware time ends.

    Limits in days end with the office hours of their last day. With `receipt` the day of the start
    is the first day if it is not cut off yet and, for working days, worked.
    Limits in hours or minutes run from the moment itself, whichever `count_from` is given. Raises
    OverflowError for a start outside 2000 to some years after the calendar's end.
    """
    local = start.astimezone(SHANGHAI)
    if limit.measure is Measure.WORKING_DAYS:
        after = _day_before_the_first(calendar, local, limit, count_from)
        last = calendar.nth_working_day(after, limit.amount)
        due_at = datetime.combine(last, calendar.hours.closes_at, SHANGHAI)
    elif limit.measure is Measure.DAYS:
        last = _day_before_the_first(calendar, local, limit, count_from)
        last += timedelta(days=limit.amount)
        due_at = datetime.combine(last, calendar.hours.closes_at, SHANGHAI)
    elif limit.measure is Measure.WORKING_HOURS:
        due_at = calendar.after_working_seconds(local, limit.amount * 3600)
    else:
        due_at = local + _RUNS_ON[limit.measure] * limit.amount
    provisional = limit.in_working_time and not calendar.covers(local.date(), due_at.date())
    return Due(due_at, provisional, calendar, local, limit, count_from)


def _day_before_the_first(
    calendar: Calendar, start: datetime, limit: Limit, count_from: CountFrom
) -> date:
    day = start.date()
    counts_today = (
        count_from is CountFrom.RECEIPT
        and start.time() < calendar.hours.cuts_off_at
        and (limit.measure is Measure.DAYS or calendar.is_working(day))
    )
    return day - timedelta(days=1) if counts_today else day


def _working_days(
    calendar: Calendar, start: datetime, limit: Limit, count_from: CountFrom
) -> list[str]:
    day, amount = start.date(), limit.amount
    after = _day_before_the_first(calendar, start, limit, count_from)
    first = calendar.nth_working_day(after, 1)
    last = calendar.nth_working_day(after, amount)
    rule = _COUNT_WORDS[count_from]
    lines = [f"{rule}，第 1 个工作日为 {first}，第 {amount} 个工作日为 {last}"]
    if after == day and calendar.is_working(day):
        late = f"{calendar.hours.cuts_off_at:%H:%M} 以后收到"
        lines.append(f"{day:%m-%d} {late if count_from is CountFrom.RECEIPT else rule}，不计")
        day += timedelta(days=1)
    return lines + _day_by_day(calendar, day, last)


def _day_by_day(calendar: Calendar, first: date, last: date) -> list[str]:
    """Return a line for each run of days alike: which are off and why, which count and as which.

    A worked weekend has a line of its own. Told for 400 days at most.
    """
    days = [first + timedelta(days=n) for n in range(min((last - first).days, 400) + 1)]
    lines: list[str] = []
    counted = 0
    for (name, works), run in groupby(
        days, lambda d: (_span_name(calendar, d), calendar.is_working(d))
    ):
        span = list(run)
        which = _span(span[0], span[-1], first.year)
        if not works:
            lines.append(f"{which} {name}，不计")
            continue
        begin, counted = counted + 1, counted + len(span)
        if name == "调休上班":
            lines.append(f"{which} 调休上班，计入")
        number = f"第 {counted} 个" if begin == counted else f"第 {begin} 至 {counted} 个"
        lines.append(f"{which} 为{number}工作日")
    if days[-1] < last:
        lines.append(f"{days[-1]} 以后逐日从略")
    return lines


def _hours_by_day(calendar: Calendar, start: datetime, end: datetime) -> list[str]:
    """Return a line for each run of days off and for each worked day with the time it counts for,
    of 30 days at most; a worked weekend has one more."""
    lines: list[str] = []
    total = 0
    whole = (end.date() - start.date()).days
    days = [start.date() + timedelta(days=n) for n in range(min(whole, 30) + 1)]
    for (name, works), run in groupby(
        days, lambda d: (_span_name(calendar, d), calendar.is_working(d))
    ):
        span = list(run)
        which = _span(span[0], span[-1], start.year)
        if not works:
            lines.append(f"{which} {name}，不计")
            continue
        if name == "调休上班":
            lines.append(f"{which} 调休上班，计入")
        for day in span:
            morning = datetime.combine(day, time.min, SHANGHAI)
            begin = max(start, morning)
            until = min(end, morning + timedelta(days=1))
            counts = calendar.working_seconds(begin, until)
            total += counts
            if counts:
                lines.append(f"{day:%m-%d} 计 {_length(counts)}，累计 {_length(total)}")
            else:
                lines.append(f"{day:%m-%d} 余下已无办公时间，不计")
    if days[-1] < end.date():
        lines.append(f"{days[-1]} 以后逐日从略")
    return lines


def _length(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    parts = [(hours, "小时"), (rest // 60, "分"), (rest % 60, "秒")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def _span(first: date, last: date, year: int) -> str:
    told = [f"{day:%m-%d}" if day.year == year else f"{day:%Y-%m-%d}" for day in (first, last)]
    return told[0] if first == last else " 至 ".join(told)


def _span_name(calendar: Calendar, day: date) -> str:
    name = calendar.name(day)
    return "周末" if name in {"周六", "周日"} else name


def point_between(
    calendar: Calendar, start: datetime, end: datetime, share: float, *, in_working_time: bool
) -> datetime:
    """Return the time at which `share` (0 to 1) of the way from start to end has gone by."""
    if in_working_time and (whole := calendar.working_seconds(start, end)) > 0:
        return calendar.after_working_seconds(start, max(1, round(whole * share)))
    return start + (end - start) * share
