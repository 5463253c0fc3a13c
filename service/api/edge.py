"""Around every request: how large it may be, how long it took, and what is said when all fails.

Pure ASGI: BaseHTTPMiddleware costs most of the request rate (ADR 0008).
"""

import time
import traceback

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import FAILED, TOO_LARGE, response
from service.metrics import Metrics

_MIB = 1024 * 1024
# What a refused sender may still send before the line is cut: a client that gets an answer while it
# is sending often sees a broken pipe in place of the answer.
_DRAIN = 64 * _MIB
_TELLING = (b"content-length", b"expect")
_DIGITS = 19

log = structlog.get_logger()


class TooLarge(HTTPException):
    """The body is larger than this address takes.

    An HTTPException, for FastAPI turns any other error while it reads a body into a 400.
    """

    def __init__(self, most: int) -> None:
        super().__init__(413, f"此地址的报文不能超过 {most // _MIB} MiB。")


class Edge:
    """Limits bodies, times requests by route, and answers for errors that nobody foresaw."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status: int | None = None
        path: str = scope["path"]
        batch = path.startswith("/v1/intake/") and path.endswith("/batch")
        most = 16 * _MIB if batch else _MIB
        taken = 0

        headers = {name: value for name, value in scope["headers"] if name in _TELLING}
        said = headers.get(b"content-length", b"")
        length = int(said[:_DIGITS]) if said.isdigit() else 0
        # Who waits to be told to go on has sent nothing yet; who sends without end is not waited for.
        at_once = b"expect" in headers or length > _DRAIN

        async def limited() -> Message:
            nonlocal taken
            if length > most and at_once:
                raise TooLarge(most)
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                while message.get("more_body") and taken < _DRAIN:
                    message = await receive()
                    taken += len(message.get("body", b""))
                raise TooLarge(most)
            return message

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, limited, noted)
        except TooLarge as error:
            await response(TOO_LARGE, detail=error.detail)(scope, receive, noted)
        except Exception as error:  # noqa: BLE001 nothing unforeseen may leave with its message
            # An error's message may quote what somebody sent; its type and place never do.
            log.error("request.failed", error=type(error).__name__, at=places(error))
            if status is None:
                await response(FAILED)(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            seconds = time.perf_counter() - began
            self._metrics.request(route, scope["method"], status or 500, seconds)


def places(error: Exception) -> list[str]:
    """Return where an error passed through, innermost last."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]
