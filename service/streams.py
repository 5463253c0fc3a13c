"""Answers that go on: server-sent events, each in a place that it holds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

import structlog
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
# Proxies cut what says nothing for a minute.
BEAT_S = 15.0
# A session or token that has ended, and a database that has gone, end a stream no later than this.
LOOKS_S = 3.0
# Who takes nothing for so long holds a place that others wait for, and is sent away.
TAKES_S = 30.0

log = structlog.get_logger()


class _Unread(Exception):
    """The caller takes nothing of what is sent."""


class Stream(StreamingResponse):
    """An answer that goes on, in one of the places for streams."""

    def __init__(self, place: AbstractContextManager[None], content: AsyncIterator[str]) -> None:
        super().__init__(content, headers=HEADERS, media_type=MEDIA_TYPE)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as long as the caller stays and reads; raise what taking the place raises before
        anything is sent."""

        async def taken(message: Message) -> None:
            try:
                async with asyncio.timeout(TAKES_S):
                    await send(message)
            except TimeoutError:
                raise _Unread from None

        with self._place:
            try:
                await super().__call__(scope, receive, taken)
            except _Unread:
                log.warning("feed.unread")
