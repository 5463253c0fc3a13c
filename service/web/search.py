"""Every ticket that the caller may see, by words, state, stage, channel and kind."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from pydantic import BeforeValidator
from starlette.responses import Response

from service.cursors import List, cursor_of, read_cursor
from service.domain.complaint import Kind
from service.domain.lifecycle import State
from service.domain.ticket import Stage
from service.store.lists import Filter
from service.store.pages import Page
from service.store.words import Unsearchable
from service.web.queue import Asked, OneStage, OneState
from service.web.sessions import Signed
from service.web.words import left

router = APIRouter()

_PAGE = 50

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
    shown = await app.matching.linked(visit.by, found.items)
    now = app.now()
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
    return visit.page(
        "search.html",
        422 if why_not else 200,
        tickets=shown,
        why_not=why_not,
        is_short=len(shown) < _PAGE,
        onward=f"/desk/tickets?{urlencode(onward)}" if onward["after"] else "",
        asked=asked,
        filtered=any(asked.values()),
        states=list(State),
        stages=list(Stage),
        kinds=list(Kind),
        channels={source.channel: source.label for source in app.sources.values()},
        unit_name=visit.unit_name(unit),
        left=lambda m, t: left(app.times.calendar_of(t.region), now, m.due_at, m.limit),
    )
