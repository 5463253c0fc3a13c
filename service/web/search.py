"""Every ticket that the caller may see, by words, state, stage, channel and kind."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from pydantic import BeforeValidator
from starlette.responses import Response

from service.cursors import List, cursor_of, read_cursor
from service.desk import NoNumber
from service.domain.access import Ask, reach
from service.domain.complaint import Kind
from service.domain.lifecycle import State
from service.domain.ticket import Stage, Ticket
from service.store.lists import Filter
from service.store.pages import Page
from service.store.words import Unsearchable
from service.web.queue import Asked, OneStage, OneState
from service.web.refusals import refusal
from service.web.sessions import Signed, SignedForm, Visit
from service.web.words import left

router = APIRouter()

_PAGE = 50
_ASKED = ("q", "state", "stage", "channel", "kind", "unit", "group")

OneKind = Annotated[Kind | None, BeforeValidator(lambda value: value or None)]


@router.get("/desk/tickets")
async def search(
    visit: Signed,
    q: Asked = "",
    state: OneState = None,
    stage: OneStage = None,
    channel: Asked = "",
    kind: OneKind = None,
    unit: Asked = "",
    group: Annotated[int, Query(ge=0, le=2**62)] = 0,
    after: Asked = "",
) -> Response:
    """List tickets, newest first."""
    app = visit.app
    wanted = Filter(
        unit=unit,
        state=state or "",
        stage=stage or "",
        channel=channel,
        kind=kind or "",
        q=q,
        group=group,
        after=read_cursor(List.TICKETS, after),
        limit=_PAGE,
    )
    why_not = ""
    try:
        found = await app.desk.page(visit.by, wanted)
    except Unsearchable as error:
        found, why_not = Page([]), str(error)
    asked = {
        "q": q,
        "state": state,
        "stage": stage,
        "channel": channel,
        "kind": kind,
        "unit": unit,
        "group": group or "",
    }
    onward = {
        **{k: v for k, v in asked.items() if v},
        "after": cursor_of(List.TICKETS, found.onward),
    }
    there = f"/desk/tickets?{urlencode(onward)}" if onward["after"] else ""
    return await _listed(visit, found, asked, why_not, there)


@router.post("/desk/tickets/by-phone")
async def by_phone(visit: Signed, form: SignedForm) -> Response:
    """List the newest tickets of whoever complained from a number, which no address has."""
    why_not = ""
    found: Page[Ticket] = Page([])
    try:
        found = await visit.app.desk.of_person(visit.by, form.one("phone")[:40], 0, _PAGE)
    except NoNumber as error:
        why_not = refusal(error).detail.rstrip("。")
    return await _listed(visit, found, dict.fromkeys(_ASKED, ""), why_not, "")


async def _listed(
    visit: Visit, found: Page[Ticket], asked: dict[str, Any], why_not: str, onward: str
) -> Response:
    app, unit = visit.app, asked.get("unit", "")
    now = app.now()
    return visit.page(
        "search.html",
        422 if why_not else 200,
        tickets=found.items,
        why_not=why_not,
        is_short=len(found.items) < _PAGE,
        onward=onward,
        may_ask_phone=reach(visit.by.role, Ask.BY_PHONE) is not None,
        asked=asked,
        filtered=any(asked.values()),
        states=list(State),
        stages=list(Stage),
        kinds=list(Kind),
        channels={source.channel: source.label for source in app.sources.values()},
        unit_name=visit.unit_name(unit),
        left=lambda m, t: left(app.times.calendar_of(t.region), now, m.due_at, m.limit),
    )
