"""Invented years, for tests of what a new year's calendar does."""

from datetime import date

from service.domain.calendar import Calendar, YearTable
from service.domain.limits import Timetable


def with_year(times: Timetable) -> Timetable:
    """Return the timetable with an invented 2027, whose first three working days are off."""
    off = {date(2027, 1, day): "元旦" for day in (1, 2, 3, 4, 5, 6)}
    year = YearTable(2027, True, "虚构", off, frozenset())
    return times.with_years_of(Calendar([*times.calendar.years.values(), year]))
