"""What waits for manual sorting (人工派单), each with its candidates one press away."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from service.desk import offered
from service.domain.lifecycle import Act
from service.store.tickets import Filter
from service.web.sessions import Signed
from service.web.words import left

router = APIRouter()

_PAGE = 20

After = Annotated[int, Query(ge=0, le=2**62)]


@router.get("/desk/sorting")
async def sorting(visit: Signed, after: After = 0) -> Response:
    """Show what the router would not decide or a unit sent back, what has waited longest first."""
    app, by = visit.app, visit.by
    found, sent_back = await app.desk.sorting(by, Filter(after=after, limit=_PAGE + 1))
    shown = await app.matching.linked(by, found[:_PAGE])
    now = app.now()
    return visit.page(
        "sorting.html",
        tickets=shown,
        may_merge=lambda t: Act.MERGE in offered(by, t),
        sent_back=sent_back,
        suggested=lambda event: app.router.unit(event.content.get("suggested_unit") or ""),
        unit_name=visit.unit_name,
        onward=found[_PAGE - 1].id if len(found) > _PAGE else 0,
        may_dispatch=lambda t: Act.DISPATCH in offered(by, t),
        left=lambda m, t: left(app.times.calendar_of(t.region), now, m.due_at, m.limit),
        region_name=app.gazetteer.name,
    )
