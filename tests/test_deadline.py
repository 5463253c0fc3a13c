"""When limits end."""

import random
from datetime import date, datetime, time, timedelta

import chinese_calendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_rules.clocks import load_calendar
from service.domain.calendar import SHANGHAI, Calendar, Closure, OfficeHours
from service.domain.deadline import (
    CountFrom,
    Limit,
    LimitError,
    Measure,
    due,
    parse_limit,
    point_between,
)
from tests.worlds import at

CALENDAR = load_calendar()
NEXT, RECEIPT = CountFrom.NEXT_DAY, CountFrom.RECEIPT


@pytest.mark.parametrize(
    ("start", "limit", "count_from", "end"),
    [
        # Five working days over National Day 2025 with its worked Saturday.
        ("2025-09-30 10:00", "5 工作日", NEXT, "2025-10-14 17:30"),
        ("2025-09-30 10:00", "5 工作日", RECEIPT, "2025-10-13 17:30"),
        ("2026-11-18 09:12", "5 工作日", NEXT, "2026-11-25 17:30"),
        ("2026-11-18 09:12", "1 工作日", NEXT, "2026-11-19 17:30"),
        ("2026-11-18 09:12", "1 工作日", RECEIPT, "2026-11-18 17:30"),
        # After the day's cut-off the day is over, on a free day it never began.
        ("2026-11-18 18:00", "1 工作日", RECEIPT, "2026-11-19 17:30"),
        ("2026-11-21 10:00", "1 工作日", RECEIPT, "2026-11-23 17:30"),
        ("2026-02-13 10:00", "1 工作日", NEXT, "2026-02-14 17:30"),  # a worked Saturday
        ("2026-02-14 10:00", "1 工作日", NEXT, "2026-02-24 17:30"),  # then Spring Festival
        ("2026-11-18 09:12", "15 日", NEXT, "2026-12-03 17:30"),
        ("2026-11-18 09:12", "15 日", RECEIPT, "2026-12-02 17:30"),
        # A day that is over cannot be the first, or the limit would end before it begins.
        ("2026-11-18 18:00", "1 日", RECEIPT, "2026-11-19 17:30"),
        ("2026-11-21 10:00", "1 日", RECEIPT, "2026-11-21 17:30"),
        ("2026-11-20 16:00", "4 工作小时", NEXT, "2026-11-23 11:00"),
        ("2026-11-20 23:50", "30 分钟", NEXT, "2026-11-21 00:20"),
        ("2026-11-20 23:50", "24 小时", RECEIPT, "2026-11-21 23:50"),
    ],
)
def test_a_limit_ends(start: str, limit: str, count_from: CountFrom, end: str) -> None:
    found = due(CALENDAR, at(start), parse_limit(limit), count_from)
    assert found.due_at == at(end)
    assert not found.provisional


FLOOD = Closure("360732", date(2025, 6, 18), date(2025, 6, 20), "防汛停办", "通告")
FAIR = Closure("360700", date(2026, 10, 10), date(2026, 10, 12), "承办大型活动停办", "通告")
LOCAL = CALENDAR.local(OfficeHours(), (FLOOD, FAIR))
CLOSED = {FLOOD.first + timedelta(days=n) for n in range(3)}
CLOSED |= {FAIR.first + timedelta(days=n) for n in range(3)}


@pytest.mark.parametrize("count_from", list(CountFrom))
@pytest.mark.parametrize(
    ("calendar", "closed"), [(CALENDAR, set()), (LOCAL, CLOSED)], ids=["country", "closures"]
)
def test_ten_thousand_limits_end_as_chinesecalendar_counts_them(
    calendar: Calendar, closed: set[date], count_from: CountFrom
) -> None:
    worked = {
        day
        for n in range(366 + 365 + 365)
        if chinese_calendar.is_workday(day := date(2024, 1, 1) + timedelta(days=n))
        and day not in closed
    }
    rng = random.Random(20261118)
    last = at("2026-12-31 17:30")
    checked = 0
    while checked < 10_000:
        start = at("2024-01-01 00:00") + timedelta(minutes=rng.randrange(3 * 365 * 1440))
        amount = rng.randint(1, 30)
        found = due(calendar, start, Limit(amount, Measure.WORKING_DAYS), count_from)
        if found.due_at > last:
            continue
        assert not found.provisional
        assert found.due_at == _counted(start, amount, count_from, worked), (start, amount)
        checked += 1


def _counted(start: datetime, amount: int, count_from: CountFrom, worked: set[date]) -> datetime:
    """Count day by day with another's calendar."""
    day = start.date()
    left = amount
    if count_from is RECEIPT and day in worked and (start.hour, start.minute) < (17, 30):
        left -= 1
    while left:
        day += timedelta(days=1)
        left -= day in worked
    return at(f"{day} 17:30")


def test_ten_thousand_limits_in_calendar_days_end_as_the_days_go_by() -> None:
    rng = random.Random(20261121)
    for _ in range(10_000):
        start = at("2024-01-01 00:00") + timedelta(minutes=rng.randrange(3 * 365 * 1440))
        amount = rng.randint(1, 120)
        count_from = rng.choice(list(CountFrom))
        found = due(CALENDAR, start, Limit(amount, Measure.DAYS), count_from)
        counts_today = count_from is RECEIPT and (start.hour, start.minute) < (17, 30)
        last = start.date() + timedelta(days=amount - counts_today)
        assert found.due_at == at(f"{last} 17:30")


def test_the_reasoning_names_the_holiday_and_the_worked_saturday() -> None:
    found = due(CALENDAR, at("2025-09-30 10:00"), parse_limit("5 工作日"))
    assert "10-01 至 10-08 国庆节、中秋节，不计" in found.reasoning
    assert "10-11 调休上班，计入" in found.reasoning
    assert found.reasoning[-1] == "到期时间 2025-10-14 17:30"


def test_the_reasoning_tells_every_day_once_and_numbers_the_last_as_the_limit() -> None:
    found = due(CALENDAR, at("2025-09-30 10:00"), parse_limit("5 工作日"))
    assert found.reasoning == (
        "2025-09-30 10:00 起，时限 5 工作日",
        "次日起算，第 1 个工作日为 2025-10-09，第 5 个工作日为 2025-10-14",
        "09-30 次日起算，不计",
        "10-01 至 10-08 国庆节、中秋节，不计",
        "10-09 至 10-10 为第 1 至 2 个工作日",
        "10-11 调休上班，计入",
        "10-11 为第 3 个工作日",
        "10-12 周末，不计",
        "10-13 至 10-14 为第 4 至 5 个工作日",
        "到期时间 2025-10-14 17:30",
    )


@pytest.mark.parametrize(
    ("start", "limit", "count_from", "line"),
    [
        ("2026-11-18 18:00", "1 工作日", RECEIPT, "11-18 17:30 以后收到，不计"),
        ("2026-11-18 18:00", "1 日", RECEIPT, "11-18 17:30 以后收到，不计"),
        ("2026-11-18 09:00", "1 工作日", RECEIPT, "11-18 为第 1 个工作日"),
        ("2026-12-30 10:00", "5 工作日", NEXT, "12-31 至 2027-01-01 为第 1 至 2 个工作日"),
        ("2026-11-20 16:00", "4 工作小时", NEXT, "11-20 计 1 小时 30 分，累计 1 小时 30 分"),
        ("2026-11-20 16:00", "4 工作小时", NEXT, "11-21 至 11-22 周末，不计"),
        ("2026-11-20 16:00", "4 工作小时", NEXT, "11-23 计 2 小时 30 分，累计 4 小时"),
        ("2026-11-20 18:00", "1 工作小时", NEXT, "11-20 余下已无办公时间，不计"),
        ("2025-10-10 17:00", "1 工作小时", NEXT, "10-11 调休上班，计入"),
        ("2024-01-02 10:00", "600 工作日", NEXT, "2025-02-06 以后逐日从略"),
        ("2024-01-02 10:00", "900 工作小时", NEXT, "2024-02-01 以后逐日从略"),
        (
            "2023-12-28 10:00",
            "2 工作日",
            NEXT,
            "2024-01-01 以前的放假安排没有录入，按周一至周五推算",
        ),
    ],
)
def test_the_reasoning_says(start: str, limit: str, count_from: CountFrom, line: str) -> None:
    assert line in due(CALENDAR, at(start), parse_limit(limit), count_from).reasoning


def test_a_closure_is_not_counted_and_says_why() -> None:
    found = due(LOCAL, at("2025-06-17 10:00"), parse_limit("2 工作日"))
    assert found.due_at == at("2025-06-24 17:30")
    assert "06-18 至 06-20 防汛停办，不计" in found.reasoning
    # Calendar days and hours run on.
    assert due(LOCAL, at("2025-06-17 10:00"), parse_limit("2 日")).due_at == at("2025-06-19 17:30")


def test_a_cut_off_of_its_own_moves_the_first_day_and_not_the_end() -> None:
    early = CALENDAR.local(OfficeHours(cut_off=time(16)))
    one = parse_limit("1 工作日")
    for moment, end in [("15:59", "2026-11-18"), ("16:00", "2026-11-19")]:
        found = due(early, at(f"2026-11-18 {moment}"), one, RECEIPT)
        assert found.due_at == at(f"{end} 17:30")


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2026, 11, 1)),  # noqa: DTZ001
    st.integers(1, 40),
    st.sampled_from(list(Measure)),
    st.sampled_from(list(CountFrom)),
)
def test_more_time_never_ends_earlier_and_no_limit_ends_before_it_starts(
    start: datetime, amount: int, measure: Measure, count_from: CountFrom
) -> None:
    start = start.replace(tzinfo=SHANGHAI, microsecond=0)
    end = due(CALENDAR, start, Limit(amount, measure), count_from).due_at
    assert start <= end <= due(CALENDAR, start, Limit(amount + 1, measure), count_from).due_at


def test_a_limit_that_reaches_an_unpublished_year_is_provisional_and_says_so() -> None:
    found = due(CALENDAR, at("2026-12-30 10:00"), parse_limit("5 工作日"))
    assert found.provisional
    assert any("2026-12-31 以后" in line for line in found.reasoning)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("5 工作日", Limit(5, Measure.WORKING_DAYS)),
        ("5个工作日内", Limit(5, Measure.WORKING_DAYS)),
        ("一个工作日", Limit(1, Measure.WORKING_DAYS)),
        ("十五日", Limit(15, Measure.DAYS)),
        ("二十四小时", Limit(24, Measure.HOURS)),
        ("30分钟", Limit(30, Measure.MINUTES)),
        (" 4 工作小时 ", Limit(4, Measure.WORKING_HOURS)),
        ("60天", Limit(60, Measure.DAYS)),
    ],
)
def test_a_limit_is_read_as_people_write_it(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit
    assert parse_limit(str(limit)) == limit


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "工作日",
        "-1 工作日",
        "0 工作日",
        "1001 工作日",
        "5 周",
        "5.5 工作日",
        "十十 日",
        "三五天",
        "两十日",
        "9" * 50 + " 日",
        "\x00",
    ],
)
def test_what_is_no_limit_is_refused_in_chinese(text: str) -> None:
    with pytest.raises(LimitError, match="时限"):
        parse_limit(text)


@given(st.text(max_size=60))
def test_no_text_makes_the_reader_raise_anything_else(text: str) -> None:
    try:
        limit = parse_limit(text)
    except LimitError:
        return
    assert limit.amount >= 1


@pytest.mark.parametrize("share", [0.01, 0.5, 0.75, 0.99])
def test_a_warning_lies_between_start_and_end(share: float) -> None:
    start, end = at("2026-11-18 09:12"), at("2026-11-25 17:30")
    for working in (True, False):
        point = point_between(CALENDAR, start, end, share, in_working_time=working)
        assert start < point < end
