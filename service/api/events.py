"""The event feed (事件流): everything that happened, by pages or as server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Query, Request, Response

from service.api.callers import Bearer, Caller
from service.api.problems import REFUSALS
from service.api.schemas import EventOut, FeedEventOut, FeedPage
from service.api.tickets import Asked, check_region
from service.cursors import cursor_at, read_place
from service.domain.access import Actor
from service.feed import Happened, Lost, Page, TakenOff
from service.parts import Parts
from service.store import StoreUnavailable
from service.streams import BEAT_S, HEADERS, LOOKS_S, MEDIA_TYPE, Stream
from service.wiring import Unauthenticated, Wiring

router = APIRouter(prefix="/v1", tags=["events"], responses=REFUSALS)

_NOW = "now"
_RETRY_MS = 3_000
_AT_ONCE = 200
# A page is sent in pieces of some such size: one a write would be as many calls as events.
_PIECE_CHARS = 32 * 1024

log = structlog.get_logger()


@router.get(
    "/events",
    summary="Everything that happened, in order, for whoever follows along",
    response_model=FeedPage,
    responses={
        200: {
            "description": "A page; with `Accept: text/event-stream` a stream",
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
        }
    },
)
async def events(
    request: Request,
    response: Response,
    app: Parts,
    by: Caller,
    token: Bearer,
    after: Annotated[
        Asked,
        Query(description="Where to go on; empty is the beginning, `now` leaves out what was"),
    ] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = _AT_ONCE,
    region: Asked = "",
    last_event_id: Annotated[
        Asked, Header(description="Where a stream goes on; goes before `after`")
    ] = "",
) -> FeedPage | Response:
    """Return the events that the caller may see, in the order in which they became visible.

    No event is left out and none comes twice, whoever writes meanwhile. Go on with `next`; where
    `more` is false, ask again later, or follow the stream. Not for sources: findings stay inside.
    """
    check_region(app, region)
    streamed = _wants_stream(request)
    if streamed and last_event_id:
        place = read_place(last_event_id, "/header/last-event-id")
    elif after == _NOW:
        place = await app.feed.newest(by)
    else:
        place = read_place(after, "/query/after")
    # The first page of a stream too: what is refused is refused before it begins.
    page = await app.feed.page(by, place, limit, region)
    if streamed:
        return Stream(app.feed.stream(by), _told(app, by, token, page, region))
    response.headers["Cache-Control"] = HEADERS["Cache-Control"]
    return FeedPage(
        items=[_item(each) for each in page.items], next=cursor_at(page.end), more=page.more
    )


def _wants_stream(request: Request) -> bool:
    return any(
        part.partition(";")[0].strip().lower() == MEDIA_TYPE
        for header in request.headers.getlist("accept")
        for part in header.split(",")
    )


def _item(each: Happened) -> FeedEventOut:
    return FeedEventOut(
        **EventOut.of(each.event).model_dump(exclude={"at"}),
        at=each.event.at,
        cursor=cursor_at(each.place),
        no=each.ticket_no,
        region=each.region,
    )


def _written(items: Iterable[Happened]) -> Iterator[str]:
    """Give events as they are sent, some to a piece."""
    piece, size = [], 0
    for each in items:
        piece.append(f"id: {cursor_at(each.place)}\ndata: {_item(each).model_dump_json()}\n\n")
        size += len(piece[-1])
        if size >= _PIECE_CHARS:
            yield "".join(piece)
            piece, size = [], 0
    if piece:
        yield "".join(piece)


async def _told(app: Wiring, by: Actor, token: str, page: Page, region: str) -> AsyncIterator[str]:
    """Yield what happens until the token ends, the database goes, or the server stops. The caller
    comes again with the last id and misses nothing."""
    yield f"retry: {_RETRY_MS}\n\n"
    clock = asyncio.get_running_loop().time
    named, spoke = page.end, clock()
    try:
        while True:
            for piece in _written(page.items):
                yield piece
            if page.items:
                named, spoke = page.items[-1].place, clock()
            if app.feed.ending:
                return
            if clock() - spoke >= BEAT_S:
                # An id without data is no event, and a follower still comes again from there.
                passed = "" if named == page.end else f"id: {cursor_at(page.end)}\n"
                named, spoke = page.end, clock()
                yield f": \n{passed}\n"
            if not page.more:
                await app.feed.grown(page.end.position, LOOKS_S)
            await app.callers.find(token, app.now())
            async with app.feed.turn:
                page = await app.feed.page(by, page.end, _AT_ONCE, region)
    except Unauthenticated:
        return
    except (Lost, TakenOff):
        log.warning("feed.lost")
    except StoreUnavailable as error:
        log.warning("feed.store_unavailable", error=str(error))
