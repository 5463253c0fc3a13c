"""Working days against two libraries that were made by others."""

from datetime import date, time, timedelta

import chinese_calendar
import holidays
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_rules.clocks import load_calendar
from service.domain.calendar import SHANGHAI, Calendar, Closure, OfficeHours, YearTable
from tests.worlds import at

CALENDAR = load_calendar()
DAYS = [date(2024, 1, 1) + timedelta(days=n) for n in range(366 + 365 + 365)]


def test_every_day_of_2024_to_2026_is_worked_as_chinesecalendar_says() -> None:
    assert DAYS[-1] == date(2026, 12, 31)
    wrong = [d for d in DAYS if CALENDAR.is_working(d) != chinese_calendar.is_workday(d)]
    assert wrong == []


def test_every_holiday_on_a_weekday_is_one_to_the_holidays_package_too() -> None:
    china = holidays.country_holidays("CN", years=[2024, 2025, 2026])
    theirs = {d for d in china if d.weekday() < 5}
    ours = {d for d in DAYS if d.weekday() < 5 and not CALENDAR.is_working(d)}
    assert ours == theirs


@pytest.mark.parametrize(
    ("day", "name"),
    [
        (date(2025, 10, 1), "国庆节、中秋节"),
        (date(2025, 10, 11), "调休上班"),
        (date(2025, 10, 12), "周日"),
        (date(2025, 10, 13), "工作日"),
    ],
)
def test_a_day_says_why_it_is_off_or_on(day: date, name: str) -> None:
    assert CALENDAR.name(day) == name


@given(st.sampled_from(DAYS), st.integers(1, 200))
def test_the_nth_working_day_is_the_nth_when_counted_one_by_one(day: date, n: int) -> None:
    found = CALENDAR.nth_working_day(day, n)
    counted = sum(
        CALENDAR.is_working(day + timedelta(days=k + 1)) for k in range((found - day).days)
    )
    assert counted == n
    assert CALENDAR.is_working(found)


FLOOD = Closure("360732", date(2026, 6, 22), date(2026, 6, 24), "防汛停办", "通告")


def test_a_region_without_closures_shares_the_arrays_of_the_country() -> None:
    hours = OfficeHours(((time(9), time(12)), (time(15), time(18))))
    local = CALENDAR.local(hours)
    assert local._days is CALENDAR._days
    assert local.hours is hours
    assert CALENDAR.hours == OfficeHours()


def test_a_closure_shuts_its_days_and_no_other() -> None:
    local = CALENDAR.local(OfficeHours(), [FLOOD])
    changed = [d for d in DAYS if local.is_working(d) != CALENDAR.is_working(d)]
    assert changed == [date(2026, 6, n) for n in (22, 23, 24)]
    assert local.closed == frozenset(changed)
    assert local.name(changed[0]) == "防汛停办"
    assert local.working_days(date(2026, 6, 18), date(2026, 6, 26)) == 2
    assert CALENDAR.is_working(changed[0])


def test_a_closure_shuts_a_worked_saturday_too() -> None:
    day = date(2025, 10, 11)
    local = CALENDAR.local(OfficeHours(), [Closure("360700", day, day, "停电停办", "通告")])
    assert not local.is_working(day)
    assert local.name(day) == "停电停办"


@pytest.mark.parametrize(
    ("spans", "cut_off", "reason"),
    [
        ((), None, "办公时间"),
        (((time(9), time(9)),), None, "由早到晚"),
        (((time(17), time(9)),), None, "由早到晚"),
        (((time(9), time(13)), (time(12), time(17))), None, "由早到晚"),
        (((time(9), time(12)), (time(12), time(17))), None, "不相接"),
        (((time(9), time(17, 0, 0, 1)),), None, "整秒"),
        (((time(9), time(17)),), time(8), "截止"),
        (((time(9), time(17)),), time(18), "截止"),
    ],
)
def test_hours_that_are_no_hours_are_refused(spans, cut_off, reason) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=reason):
        OfficeHours(spans, cut_off)


MOMENTS = st.datetimes(
    at("2024-01-02 00:00").replace(tzinfo=None), at("2026-11-30 00:00").replace(tzinfo=None)
).map(lambda moment: moment.replace(tzinfo=SHANGHAI, microsecond=0))


@given(MOMENTS, st.integers(1, 60 * 3600))
def test_adding_working_seconds_and_measuring_them_are_each_others_inverse(moment, seconds) -> None:  # type: ignore[no-untyped-def]
    end = CALENDAR.after_working_seconds(moment, seconds)
    assert CALENDAR.working_seconds(moment, end) == seconds
    assert CALENDAR.is_working(end.date())


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("2026-11-18 08:30", "2026-11-18 17:30", 7),
        ("2026-11-18 12:00", "2026-11-18 14:00", 0),
        ("2026-11-20 17:00", "2026-11-23 09:00", 1),  # over a weekend
        ("2025-09-30 16:30", "2025-10-09 09:30", 2),  # over National Day
        ("2025-10-11 08:30", "2025-10-12 20:00", 7),  # a worked Saturday, a free Sunday
    ],
)
def test_working_time_between(start: str, end: str, hours: float) -> None:
    assert CALENDAR.working_seconds(at(start), at(end)) == hours * 3600


def _year(year: int, *, official: bool = True) -> YearTable:
    return YearTable(year, official, "test", {}, frozenset())


@pytest.mark.parametrize(
    "years", [[], [_year(2024), _year(2026)], [_year(2024, official=False)]], ids=repr
)
def test_a_calendar_with_a_hole_or_without_a_published_year_is_refused(
    years: list[YearTable],
) -> None:
    with pytest.raises(ValueError, match="year"):
        Calendar(years)


def test_a_forecast_counts_its_days_but_does_not_count_as_published() -> None:
    calendar = Calendar([_year(2026), _year(2027, official=False)])
    assert calendar.last == date(2026, 12, 31)
    assert calendar.days_left(date(2026, 11, 21)) == 40
    assert calendar.covers(date(2026, 1, 1), date(2026, 12, 31))
    assert not calendar.covers(date(2026, 12, 31), date(2027, 1, 1))
