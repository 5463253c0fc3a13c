"""When limits end."""

import random
from datetime import datetime, timedelta

import chinese_calendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_rules.clocks import load_calendar
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
        ("2026-11-20 16:00", "4 工作小时", NEXT, "2026-11-23 11:00"),
        ("2026-11-20 23:50", "30 分钟", NEXT, "2026-11-21 00:20"),
        ("2026-11-20 23:50", "24 小时", RECEIPT, "2026-11-21 23:50"),
    ],
)
def test_a_limit_ends(start: str, limit: str, count_from: CountFrom, end: str) -> None:
    found = due(CALENDAR, at(start), parse_limit(limit), count_from)
    assert found.due_at == at(end)
    assert not found.provisional


def test_ten_thousand_limits_end_as_chinesecalendar_counts_them() -> None:
    rng = random.Random(20261118)
    last = at("2026-12-31 17:30")
    checked = 0
    while checked < 10_000:
        start = at("2024-01-01 00:00") + timedelta(minutes=rng.randrange(3 * 365 * 1440))
        amount = rng.randint(1, 30)
        count_from = rng.choice(list(CountFrom))
        found = due(CALENDAR, start, Limit(amount, Measure.WORKING_DAYS), count_from)
        if found.due_at > last:
            continue
        assert found.due_at == _counted(start, amount, count_from), (start, amount, count_from)
        checked += 1


def _counted(start: datetime, amount: int, count_from: CountFrom) -> datetime:
    """Count day by day with another's calendar."""
    day = start.date()
    left = amount
    if (
        count_from is RECEIPT
        and chinese_calendar.is_workday(day)
        and (start.hour, start.minute) < (17, 30)
    ):
        left -= 1
    while left:
        day += timedelta(days=1)
        left -= chinese_calendar.is_workday(day)
    return at(f"{day} 17:30")


def test_the_reasoning_names_the_holiday_and_the_worked_saturday() -> None:
    found = due(CALENDAR, at("2025-09-30 10:00"), parse_limit("5 工作日"))
    assert "10-01 至 10-08 国庆节、中秋节，不计" in found.reasoning
    assert "10-11 调休上班，计入" in found.reasoning
    assert found.reasoning[-1] == "到期时间 2025-10-14 17:30"


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
