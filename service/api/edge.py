"""Around every request: how large it may be, and how long it took. Pure ASGI (ADR 0008)."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import Problem, response
from service.metrics import Metrics

_MIB = 1024 * 1024
# What a refused sender may still send before the line is cut: a client that gets an answer while it
# is sending often sees a broken pipe in place of the answer.
_DRAIN = 64 * _MIB


class TooLarge(Exception):
    """The body is larger than this address takes."""


class Edge:
    """Limits bodies and times requests by route, so that no address becomes a label."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500
        most = 16 * _MIB if scope["path"].endswith("/batch") else _MIB
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                while message.get("more_body") and taken < _DRAIN:
                    message = await receive()
                    taken += len(message.get("body", b""))
                raise TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, limited, noted)
        except TooLarge:
            problem = Problem(
                413, "too-large", "报文过大", lambda _: f"此地址的报文不能超过 {most // _MIB} MiB。"
            )
            await response(problem, TooLarge())(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.request(route, scope["method"], status, time.perf_counter() - began)
