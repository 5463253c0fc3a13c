"""The rates of a region as a page and as a workbook of the same tables."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Query
from pydantic import BeforeValidator
from starlette.responses import Response

from service.domain.kpi import RATES, day_of
from service.paper import book, figures
from service.paper.figures import BY
from service.paper.page import drawings, head, heat_maps, looks, shown
from service.paper.tables import Paper
from service.reports import FIRST, Asked, By, read_day
from service.web.queue import Asked as Text
from service.web.sessions import Signed, Visit

router = APIRouter()

# What the calendars show, whatever the period of the rates is.
_WEEKS = 26

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

_OneBy = Annotated[By, BeforeValidator(lambda value: value or By.UNIT)]


@dataclass(frozen=True, slots=True)
class Wish:
    """Which figures a page is asked for, as in its address."""

    since: date
    until: date
    by: By
    rate: str

    @property
    def address(self) -> str:
        """Return it as a query."""
        told = {"from": self.since, "to": self.until, "by": self.by.value, "rate": self.rate}
        return urlencode({name: str(value) for name, value in told.items() if value})


def wish(
    visit: Signed,
    since: Annotated[Text, Query(alias="from")] = "",
    until: Annotated[Text, Query(alias="to")] = "",
    by: _OneBy = By.UNIT,
    rate: Text = "",
) -> Wish:
    """Return what is asked for; without days this month so far. Raises BadPeriod."""
    today = day_of(visit.app.now())
    return Wish(
        read_day("/from", since) if since else today.replace(day=1),
        read_day("/to", until) if until else today,
        by,
        rate,
    )


Wished = Annotated[Wish, Depends(wish)]


@router.get("/desk/figures")
async def page(visit: Signed, wished: Wished) -> Response:
    """Show the main rates side by side, or one rate with all that makes it up."""
    of = await _paper(visit, wished)
    app, at = visit.app, visit.app.now()
    today = day_of(at)
    last = min(wished.until, today)
    first = max(last - timedelta(7 * _WEEKS - 1), FIRST)
    by_day = await app.reports.kpis(Asked(first, last, By.DAY), visit.by, at)
    return visit.page(
        "figures.html",
        of=of,
        wish=wished,
        rates={each.id: each.name for each in RATES.values()},
        by_names=BY,
        periods=[(name, Wish(a, b, wished.by, wished.rate)) for name, a, b in _periods(today)],
        alone=lambda rate: replace(wished, rate=rate).address,
        calendars=heat_maps(by_day, first, last),
        day_by_day=Wish(first, last, By.DAY, "on_time").address,
        drawings=drawings,
        head=head,
        shown=shown,
        looks=looks,
    )


@router.get("/desk/figures.xlsx")
async def workbook(visit: Signed, wished: Wished) -> Response:
    """Return what the page shows as a workbook."""
    of = await _paper(visit, wished)
    name = f"figures-{wished.since}-{wished.until}.xlsx"
    told = f"attachment; filename=\"{name}\"; filename*=UTF-8''{quote(of.title)}.xlsx"
    return Response(book(of), media_type=XLSX, headers={"Content-Disposition": told})


async def _paper(visit: Visit, wished: Wish) -> Paper:
    app = visit.app
    asked = Asked(wished.since, wished.until, wished.by, rate=wished.rate)
    at = app.now()
    return figures(await app.reports.kpis(asked, visit.by, at), at, app.bulletins.version)


def _periods(today: date) -> list[tuple[str, date, date]]:
    month = today.replace(day=1)
    last = month - timedelta(1)
    return [
        ("本月", month, today),
        ("上月", last.replace(day=1), last),
        ("今年", today.replace(month=1, day=1), today),
        ("近 30 天", today - timedelta(29), today),
    ]
