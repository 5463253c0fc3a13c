"""Around every request: how large it may be, how long it took, that no answer is kept, and what is said
when all fails.

Pure ASGI: BaseHTTPMiddleware costs most of the request rate (ADR 0008).
"""

import asyncio
import time
import traceback
from dataclasses import dataclass

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import FAILED, NO_ROOM, TOO_LARGE, TOO_SLOW, response, untaken
from service.metrics import Metrics

_MIB = 1024 * 1024
# What a refused sender may still send before the line is cut: a client that gets an answer while it
# is sending often sees a broken pipe in place of the answer.
_DRAIN = 64 * _MIB
_TELLING = (b"content-length", b"expect")
_DIGITS = 19
# What the bodies of all requests may take, for whoever claims to sign is believed until the body is
# there. Short ones always find room: those who send long ones keep no ordinary push out.
_ROOM = 128 * _MIB
_SHORT = 64 * 1024
# The longest body over a line of 2 Mbit/s, with some to spare.
_BODY_S = 120.0

_STREAM = b"text/event-stream; charset=utf-8"
# What is told is of citizens, or of a moment: no browser or proxy keeps it, unless the answer says so.
_KEPT_NOWHERE = (b"cache-control", b"no-store")

# Counted, never sent: the sender went away before its body was whole. As nginx counts it.
_LEFT = 499

log = structlog.get_logger()


class Untaken(HTTPException):
    """A body that is too large, too slow, or finds no room.

    An HTTPException, for FastAPI turns any other error while it reads a body into a 400.
    """


class Edge:
    """Limits bodies, times requests by route, and answers for errors that nobody foresaw."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, room: int = _ROOM, body_s: float = _BODY_S
    ) -> None:
        """Take `room` bytes of all bodies at once, and of each what comes within `body_s` seconds."""
        self._app = app
        self._metrics = metrics
        self._room = _Room(room)
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status: int | None = None
        answered: float | None = None
        body = _Body(scope, receive, self._room, self._body_s)

        async def noted(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                if (b"content-type", _STREAM) in headers:
                    answered = time.perf_counter()  # how long somebody follows is no answer's time
                if not any(name == _KEPT_NOWHERE[0] for name, _ in headers):
                    message = {**message, "headers": [*headers, _KEPT_NOWHERE]}
            await send(message)

        try:
            await self._app(scope, body.next, noted)
        except Untaken as error:
            await untaken(error)(scope, receive, noted)
        except ClientDisconnect:
            status = status or _LEFT
        except Exception as error:  # noqa: BLE001 nothing unforeseen may leave with its message
            # An error's message may quote what somebody sent; its type and place never do.
            log.error("request.failed", error=type(error).__name__, at=places(error))
            if status is None:
                await response(FAILED)(scope, receive, noted)
        finally:
            body.let_go()
            route = getattr(scope.get("route"), "path", "unmatched")
            seconds = (answered or time.perf_counter()) - began
            self._metrics.request(route, scope["method"], status or 500, seconds)


@dataclass(slots=True)
class _Room:
    """What the bodies of all requests may still take, in bytes."""

    left: int


class _Body:
    """The body of one request as it comes in, as far as it is taken."""

    def __init__(self, scope: Scope, receive: Receive, room: _Room, body_s: float) -> None:
        self._receive = receive
        self._room = room
        self._ends = asyncio.get_running_loop().time() + body_s
        path: str = scope["path"]
        batch = path.startswith("/v1/intake/") and path.endswith("/batch")
        self._most = 16 * _MIB if batch else _MIB
        self._sent = self._held = 0
        self._coming = True
        headers = {name: value for name, value in scope["headers"] if name in _TELLING}
        said = headers.get(b"content-length", b"")
        length = int(said[:_DIGITS]) if said.isdigit() else 0
        # Who waits to be told to go on has sent nothing yet; who sends without end is not waited for.
        self._hopeless = length > self._most and (b"expect" in headers or length > _DRAIN)

    async def next(self) -> Message:
        """Return the next piece, or raise Untaken."""
        if self._hopeless:
            raise self._too_large()
        if not self._coming:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._ends):
                return await self._taken()
        except TimeoutError:
            # Whoever is that slow would go on sending for long.
            raise Untaken(TOO_SLOW.status, headers={"Connection": "close"}) from None

    async def _taken(self) -> Message:
        message = await self._more()
        if self._sent > _SHORT:
            size = len(message.get("body", b""))
            self._held += size
            self._room.left -= size
        if self._sent > self._most or self._room.left < 0:
            self.let_go()
            while message.get("more_body") and self._sent < _DRAIN:
                message = await self._more()
            raise self._too_large() if self._sent > self._most else Untaken(NO_ROOM.status)
        self._coming = message.get("more_body", False)
        return message

    async def _more(self) -> Message:
        message = await self._receive()
        self._sent += len(message.get("body", b""))
        return message

    def _too_large(self) -> Untaken:
        return Untaken(TOO_LARGE.status, f"此地址的报文不能超过 {self._most // _MIB} MiB。")

    def let_go(self) -> None:
        """Give back the room that it took."""
        self._room.left += self._held
        self._held = 0


def places(error: Exception) -> list[str]:
    """Return where an error passed through, innermost last."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]
