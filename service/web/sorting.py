"""What waits for manual sorting (人工派单), each with its candidates one press away."""

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.responses import Response

from service.cursors import List, cursor_of, read_cursor
from service.desk import is_offered
from service.domain.lifecycle import Act
from service.domain.ports import Unit
from service.domain.ticket import Event, Ticket
from service.store.lists import Filter
from service.web.queue import Asked
from service.web.sessions import Signed, Visit
from service.web.words import left

router = APIRouter()

_PAGE = 20


@router.get("/desk/sorting")
async def sorting(visit: Signed, after: Asked = "") -> Response:
    """Show what the router would not decide or a unit sent back, what has waited longest first."""
    app, by = visit.app, visit.by
    place = read_cursor(List.SORTING, after)
    found, sent_back = await app.desk.sorting(by, Filter(after=place, limit=_PAGE))
    now = app.now()
    return visit.page(
        "sorting.html",
        tickets=found.items,
        may_merge=lambda t: is_offered(by, Act.MERGE, t),
        sent_back=sent_back,
        parties=lambda t: _parties(visit, t, sent_back.get(t.id, ())),
        may_rule=lambda t: is_offered(by, Act.RULE, t),
        unit_name=visit.unit_name,
        onward=cursor_of(List.SORTING, found.onward),
        may_dispatch=lambda t: is_offered(by, Act.DISPATCH, t),
        left=lambda m, t: left(app.times.calendar_of(t.region), now, m.due_at, m.limit),
        region_name=app.gazetteer.name,
    )


def _parties(
    visit: Visit, ticket: Ticket, sent_back: Sequence[Event]
) -> Sequence[tuple[Unit, str]]:
    """Return the units that a dispute is between, each with what it has to do with it: that which
    was suggested last first."""
    why: dict[str, str] = {}
    for event in reversed(sent_back):
        if code := event.content.get("suggested_unit") or "":
            why.setdefault(code, "退单单位建议")
    for event in sent_back:
        why[event.unit] = "已退单"
    for candidate in ticket.route.candidates:
        why.setdefault(candidate.unit, "推荐")
    router = visit.app.router
    return [(unit, said) for code, said in why.items() if (unit := router.unit(code))]
