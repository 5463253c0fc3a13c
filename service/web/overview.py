"""How the units of a region stand: what they owe, and how punctual they were."""

from datetime import datetime, time, timedelta

from fastapi import APIRouter
from starlette.responses import Response

from service.domain.access import Ask, reach
from service.domain.bulletin import Month
from service.domain.calendar import SHANGHAI
from service.web.sessions import Signed

router = APIRouter()

DAYS = 30


@router.get("/desk/overview")
async def overview(visit: Signed) -> Response:
    """Show each unit's load and its rate of punctual resolving in the last thirty days."""
    app = visit.app
    now = app.now()
    today = now.astimezone(SHANGHAI).date()
    tomorrow = datetime.combine(today + timedelta(days=1), time(), SHANGHAI)
    loads = await app.desk.loads(visit.by, now, now - timedelta(days=DAYS), tomorrow)

    return visit.page(
        "overview.html",
        loads=loads,
        unit_name=visit.unit_name,
        days=DAYS,
        region=app.gazetteer.name(visit.by.region) if visit.by.region else "全省",
        now=now,
        # Where what is late is counted as here; a dispatcher has no such list.
        may_press=reach(visit.by.role, Ask.SUPERVISION) is not None,
        months=(Month.of(today), Month.of(today).back(1)),
        total={
            name: sum(getattr(load, name) for load in loads)
            for name in ("open", "warn", "overdue", "due_today", "resolved", "on_time")
        },
    )
