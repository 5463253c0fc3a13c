"""What a unit owes, what falls due first on top; and the first page of each role."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter
from pydantic import BeforeValidator, StringConstraints
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.cursors import List, cursor_due, read_due
from service.domain.access import Role
from service.domain.lifecycle import FINISHED, State
from service.domain.ticket import Stage
from service.orders import PRINTABLE
from service.store.lists import Queue
from service.web.sessions import Signed, Visit, go
from service.web.words import left

router = APIRouter()

_PAGE = 50

# What a list's form sends for “all” is an empty text.
_Blank = BeforeValidator(lambda value: value or None)
OneState = Annotated[State | None, _Blank]
OneStage = Annotated[Stage | None, _Blank]
Asked = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100, pattern=PRINTABLE)]

_FIRST_PAGE = {
    Role.HANDLER: "/desk/queue",
    Role.DISPATCHER: "/desk/sorting",
    Role.SUPERVISOR: "/desk/overview",
    Role.AUDITOR: "/desk/overview",
    Role.ADMIN: "/desk/overview",
}


@router.get("/desk")
@router.get("/desk/")
async def first_page(visit: Signed) -> Response:
    """Lead to the page that a role begins its day with."""
    return go(_FIRST_PAGE[visit.by.role])


@router.get("/desk/queue")
async def queue(
    visit: Signed,
    unit: Asked = "",
    state: OneState = None,
    stage: OneStage = None,
    after: Asked = "",
) -> Response:
    """Show what a unit owes; without one, the caller's first, or the office that runs the hotline
    of the caller's region."""
    app, by = visit.app, visit.by
    code = unit or _own_unit(visit)
    shown = app.router.unit(code) if code else None
    if code and shown is None:
        raise HTTPException(404)
    place = read_due(List.QUEUE, after)
    found = (
        await app.desk.queue(code, by, _PAGE, state=state or "", stage=stage or "", after=place)
        if code
        else Queue([])
    )
    shown_now = await app.matching.linked(by, found.items)
    asked = {"unit": code, "stage": stage, "state": state}
    onward = {
        **{k: v for k, v in asked.items() if v},
        "after": cursor_due(List.QUEUE, found.onward),
    }
    now = app.now()
    return visit.page(
        "queue.html",
        unit=shown,
        units=[app.router.unit(own) for own in by.units],
        tickets=shown_now,
        is_first=place is None,
        onward=f"/desk/queue?{urlencode(onward)}" if onward["after"] else "",
        state=state,
        stage=stage,
        states=[each for each in State if each not in FINISHED],
        stages=list(Stage),
        left=lambda m, t: left(app.times.calendar_of(t.region), now, m.due_at, m.limit),
    )


def _own_unit(visit: Visit) -> str:
    by = visit.by
    if by.role is Role.HANDLER:
        return by.units[0] if by.units else ""
    return visit.app.router.coordinator(by.region).code if by.region else ""
