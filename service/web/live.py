"""Pages that follow what happens: a stream that says when a list has changed, and nothing of what."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from service.store import StoreUnavailable
from service.streams import BEAT_S, LOOKS_S, Stream
from service.web.queue import Asked, Wished, listed, mark_of, unit_of
from service.web.sessions import Visit, Watching

router = APIRouter()

_RETRY_MS = 5_000
# However much happens, a list is not fetched more often.
_GAP_S = 2.0
_CHARS = 64
_NEVER = 2**63

log = structlog.get_logger()


@router.get("/desk/queue/changes")
async def queue_changes(
    request: Request, visit: Watching, wished: Wished, mark: Asked = ""
) -> Response:
    """Say when a queue is another than the one with this mark, until the session ends."""
    code = unit_of(visit, wished)

    async def look() -> str:
        return mark_of((await listed(visit, code, wished, alone=True)).items)

    # Refused before it begins, as the page itself would be.
    now = await look()
    before = request.headers.get("last-event-id", "")[:_CHARS] or mark
    return Stream(visit.app.feed.watch(visit.by), _told(visit, before or now, now, look))


async def _told(
    visit: Visit, before: str, now: str, look: Callable[[], Awaitable[str]]
) -> AsyncIterator[str]:
    yield f"retry: {_RETRY_MS}\n\n"
    feed, doors = visit.app.feed, visit.app.doors
    clock = asyncio.get_running_loop().time
    spoke = clock()
    try:
        while not feed.ending:
            seen = feed.tail
            if now != before:
                yield f"id: {now}\nevent: changed\ndata: \n\n"
                before, spoke = now, clock()
                await feed.grown(_NEVER, _GAP_S)
            elif clock() - spoke >= BEAT_S:
                yield ": \n\n"
                spoke = clock()
            await feed.grown(seen, LOOKS_S)
            # Nobody need sit there: it does not keep the session alive.
            if await doors.session(visit.token, attended=False) is None:
                yield "event: over\ndata: \n\n"
                return
            if feed.tail != seen:
                async with feed.turn:
                    now = await look()
    except StoreUnavailable as error:
        log.warning("desk.store_unavailable", error=str(error))
