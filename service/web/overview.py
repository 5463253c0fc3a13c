"""How the units of a region stand: what they owe, and how punctual they were."""

from datetime import datetime, time, timedelta

from fastapi import APIRouter
from starlette.responses import Response

from service.domain.access import Ask, reach
from service.domain.bulletin import Month
from service.domain.calendar import SHANGHAI
from service.reports import Asked
from service.store.figures import with_idle
from service.web.sessions import Signed

router = APIRouter()

DAYS = 30
RATE = "on_time"


@router.get("/desk/overview")
async def overview(visit: Signed) -> Response:
    """Show each unit's load and its rate of punctual resolving of what fell due in the last thirty days."""
    app = visit.app
    now = app.now()
    today = now.astimezone(SHANGHAI).date()
    tomorrow = datetime.combine(today + timedelta(days=1), time(), SHANGHAI)
    loads = await app.desk.loads(visit.by, now, tomorrow)
    # As the page of figures tells it, of sums: a province resolves a quarter of a million in that time.
    since = today - timedelta(days=DAYS - 1)
    report = await app.reports.kpis(Asked(since, today, rate=RATE), visit.by, now)
    rates = {row.key: row.rates[RATE] for row in report.items if row.key}

    return visit.page(
        "overview.html",
        loads=with_idle(loads, rates),
        rates=rates,
        whole=report.total.rates[RATE],
        unit_name=visit.unit_name,
        days=DAYS,
        region=app.gazetteer.name(visit.by.region) if visit.by.region else "全省",
        now=now,
        # Where what is late is counted as here; a dispatcher has no such list.
        may_press=reach(visit.by.role, Ask.SUPERVISION) is not None,
        months=(Month.of(today), Month.of(today).back(1)),
        total={
            name: sum(getattr(load, name) for load in loads)
            for name in ("open", "warn", "overdue", "due_today")
        },
    )
