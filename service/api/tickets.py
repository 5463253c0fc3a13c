"""Tickets: lists, one with its history, and what people do to it."""

import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import StringConstraints, TypeAdapter
from starlette.requests import ClientDisconnect

from service.api.callers import Caller, bearer, caller
from service.api.problems import REFUSALS, UnknownQueue, UnknownRegion, VersionMissing
from service.api.schemas import (
    ContactAnswer,
    EventList,
    EventOut,
    GroupList,
    GroupOut,
    OwnWords,
    PersonIn,
    TicketAnswer,
    TicketList,
    UnitList,
    UnitOut,
    list_answer,
    ticket_answer,
)
from service.cursors import List, cursor_due, cursor_of, read_cursor, read_due
from service.desk import shown
from service.domain.access import Ask, check_act
from service.domain.complaint import Kind
from service.domain.lifecycle import State
from service.domain.ticket import Stage, Ticket
from service.orders import ActIn, ContactReading, NotSame, checked_no, perform
from service.parts import Parts, wiring
from service.store.lists import Filter
from service.store.pages import Page
from service.wiring import Wiring

router = APIRouter(prefix="/v1", tags=["tickets"], responses=REFUSALS)

_VERSION = re.compile(r'(?:W/)?"?([0-9]{1,9})"?')

_NO_CHARS = 64
No = Annotated[str, Path(max_length=_NO_CHARS)]
# As every text that reaches a query: PostgreSQL refuses NUL, nobody types the others.
Asked = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00-\x1F\x7F]*$")]
PageSize = Annotated[int, Query(ge=1, le=200)]


@router.get("/tickets", response_model=TicketList, summary="List tickets, newest first")
async def tickets(
    app: Parts,
    by: Caller,
    region: Asked = "",
    unit: Asked = "",
    state: State | None = None,
    stage: Stage | None = None,
    channel: Asked = "",
    kind: Kind | None = None,
    q: Asked = "",
    group: Annotated[int, Query(ge=0, le=2**62)] = 0,
    cursor: Asked = "",
    limit: PageSize = 50,
) -> Response:
    """List the tickets that the caller may see; `q` looks for words in title and text, or numbers."""
    check_region(app, region)
    wanted = Filter(
        region=region,
        unit=unit,
        state=state or "",
        stage=stage or "",
        channel=channel,
        kind=kind or "",
        q=q,
        group=group,
        after=read_cursor(List.TICKETS, cursor),
        limit=limit,
    )
    return _page(await app.desk.page(by, wanted), List.TICKETS)


@router.get("/tickets/{no}", response_model=TicketAnswer, summary="One ticket")
async def ticket(no: No, app: Parts, by: Caller) -> Response:
    """Return one ticket; its version is the ETag."""
    return _answer(await app.desk.ticket(checked_no(no), by))


@router.get("/tickets/{no}/events", summary="A ticket's history")
async def events(
    no: No, app: Parts, by: Caller, cursor: Asked = "", limit: PageSize = 200
) -> EventList:
    """Return what happened to a ticket, oldest first. Not for sources: findings stay inside."""
    after = read_cursor(List.HISTORY, cursor)
    history = await app.desk.history(checked_no(no), by, after, limit + 1)
    page = history[:limit]
    return EventList(
        items=[EventOut.of(event) for event in page],
        next=cursor_of(List.HISTORY, page[-1].id if len(history) > limit else 0),
    )


async def act(
    no: No,
    wanted: ActIn,
    app: Parts,
    by: Caller,
    if_match: Annotated[str | None, Header(description="The version that was read")] = None,
    idempotency_key: Annotated[Asked, Header(description="Makes a retry safe")] = "",
) -> Response:
    """Do one act on the version of the ticket that the caller has read."""
    after = await perform(
        app.desk, wanted, checked_no(no), by, _version(if_match), app.now(), key=idempotency_key
    )
    return _answer(after)


_ACT = TypeAdapter[Any](ActIn)
_ASKED = TypeAdapter(Asked)


class _Straight(APIRoute):
    """The route of acts: an act that is asked for as it should be is done straight from the request,
    for what FastAPI does about parameters costs as much as a part of the act. What is not is left to
    FastAPI, which says what is wrong."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        asked = super().get_route_handler()

        async def straight(request: Request) -> Response:
            headers, no = request.headers, request.path_params["no"]
            if headers.get("content-type") != "application/json" or len(no) > _NO_CHARS:
                return await asked(request)
            try:
                wanted = _ACT.validate_python(orjson.loads(await request.body()))
                key = _ASKED.validate_python(headers.get("idempotency-key", ""))
            except (ValueError, ClientDisconnect):
                return await asked(request)
            app = await wiring(request)
            by = await caller(app, await bearer(request))
            return await act(no, wanted, app, by, headers.get("if-match"), key)

        return straight


router.add_api_route(
    "/tickets/{no}/acts",
    act,
    methods=["POST"],
    response_model=TicketAnswer,
    summary="Do something to a ticket",
    route_class_override=_Straight,
)


@router.post(
    "/tickets/search",
    response_model=TicketList,
    summary="List somebody's tickets by telephone number",
)
async def of_person(wanted: PersonIn, app: Parts, by: Caller) -> Response:
    """List the tickets of whoever complained from this number, newest first."""
    after = read_cursor(List.PERSON, wanted.cursor)
    found = await app.desk.of_person(by, wanted.phone, after, wanted.limit)
    return _page(found, List.PERSON)


@router.post("/tickets/{no}/contact-readings", summary="Read what is masked of a ticket")
async def read_contact(no: No, wanted: ContactReading, app: Parts, by: Caller) -> ContactAnswer:
    """Return the citizen's name and number, and the texts in which something is masked, to who says
    why; the reading becomes an event."""
    found = await app.desk.read_contact(checked_no(no), by, app.now(), reason=wanted.reason)
    return ContactAnswer(
        contact=found.contact,
        title=found.title,
        content=found.content,
        place=found.place,
        history=[OwnWords(event=n, texts=texts) for n, texts in found.history.items()],
    )


@router.post(
    "/tickets/{no}/not-same",
    response_model=TicketAnswer,
    summary="Say that another ticket is not the same matter",
)
async def not_same(no: No, wanted: NotSame, app: Parts, by: Caller) -> Response:
    """Reject what was proposed for merging (不并单): it is not proposed again."""
    after = await app.matching.reject(
        checked_no(no), checked_no(wanted.no), by, app.now(), reason=wanted.reason
    )
    return _answer(shown(by, after))


@router.get("/groups", summary="Group matters (群体性诉求), those that grew last first")
async def groups(app: Parts, by: Caller, cursor: Asked = "", limit: PageSize = 200) -> GroupList:
    """List what many people complained about in one place; not for handlers and sources."""
    found, onward = await app.matching.groups(by, read_due(List.GROUPS, cursor), limit)
    return GroupList(
        items=[GroupOut.model_validate(each, from_attributes=True) for each in found],
        next=cursor_due(List.GROUPS, onward),
    )


@router.get(
    "/sorting",
    response_model=TicketList,
    summary="What waits for manual sorting (人工派单), oldest first",
)
async def sorting(
    app: Parts, by: Caller, region: Asked = "", cursor: Asked = "", limit: PageSize = 50
) -> Response:
    """List what the router would not decide or a unit sent back, each with its candidates."""
    check_region(app, region)
    wanted = Filter(region=region, after=read_cursor(List.SORTING, cursor), limit=limit)
    found, _sent_back = await app.desk.sorting(by, wanted)
    return _page(found, List.SORTING)


@router.get("/units", summary="The responsible-unit table (责任单位)")
async def units(app: Parts, by: Caller, region: Asked = "") -> UnitList:
    """List the units of a region and those below it, or all; not for sources."""
    check_act(by, Ask.UNITS)
    return UnitList(
        items=[
            UnitOut.model_validate(unit, from_attributes=True)
            for unit in app.router.units(region or None)
        ]
    )


@router.get(
    "/units/{code}/queue",
    response_model=TicketList,
    summary="What a unit owes, what falls due first on top",
)
async def queue(
    code: Annotated[str, Path(max_length=64)],
    app: Parts,
    by: Caller,
    cursor: Asked = "",
    limit: PageSize = 200,
) -> Response:
    """List the tickets for which a unit still owes something."""
    if app.router.unit(code) is None:
        raise UnknownQueue(code)
    found = await app.desk.queue(code, by, limit, after=read_due(List.QUEUE, cursor))
    return _listed(found.items, cursor_due(List.QUEUE, found.onward))


def check_region(app: Wiring, region: str) -> None:
    """Raise UnknownRegion for a code that no region has; "" is everywhere."""
    if region and app.gazetteer.find(region) != region:
        raise UnknownRegion


def _page(found: Page[Ticket], of: List) -> Response:
    return _listed(found.items, cursor_of(of, found.onward))


def _listed(page: Sequence[Ticket], onward: str | None) -> Response:
    return Response(list_answer(page, onward), media_type="application/json")


def _answer(ticket: Ticket) -> Response:
    headers = {"ETag": f'"{ticket.version}"'}
    return Response(ticket_answer(ticket), headers=headers, media_type="application/json")


def _version(if_match: str | None) -> int:
    found = _VERSION.fullmatch((if_match or "").strip())
    if not found:
        raise VersionMissing
    return int(found[1])
