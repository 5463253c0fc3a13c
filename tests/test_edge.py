"""What bodies may take of the memory and of the time, before anybody knows who sends them."""

import asyncio
import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from service.api.edge import Edge
from service.metrics import Metrics

LONG = b"x" * 100_000


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    size = len(await Request(scope, receive).body())
    await PlainTextResponse(str(size))(scope, receive, send)


class Sender:
    """A request whose body comes piece by piece, when it is given."""

    def __init__(self, edge: Edge) -> None:
        self.pieces: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        scope = {"type": "http", "method": "POST", "path": "/v1/intake/a", "headers": []}
        self.answered = asyncio.create_task(edge(scope, self.pieces.get, self._send))

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    def give(self, body: bytes, *, more: bool = True) -> None:
        self.pieces.put_nowait({"type": "http.request", "body": body, "more_body": more})

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        await self.answered
        headers = {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}
        return self.sent[0]["status"], headers, json.loads(self.sent[1]["body"])


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_long_bodies_have_a_bound_together_and_short_ones_always_find_room() -> None:
    async def scenario() -> None:
        edge = Edge(echo, Metrics(), room=250_000)
        first, second, third = Sender(edge), Sender(edge), Sender(edge)
        first.give(LONG)
        second.give(LONG)
        await settled()
        third.give(LONG, more=False)
        status, headers, problem = await third.answer()
        assert (status, problem["type"]) == (503, "urn:banjie:problem:overloaded")
        assert headers["retry-after"] == "1"
        short = Sender(edge)
        short.give(b"x" * 1_000, more=False)
        assert await short.answer() == (200, short_headers("4"), 1_000)
        first.give(b"", more=False)
        assert (await first.answer())[::2] == (200, 100_000)
        third = Sender(edge)
        third.give(LONG, more=False)
        assert (await third.answer())[::2] == (200, 100_000)
        # One that goes away in the middle gives its room back too.
        second.answered.cancel()
        await asyncio.gather(second.answered, return_exceptions=True)
        again = [Sender(edge) for _ in range(2)]
        for sender in again:
            sender.give(LONG)
        await settled()
        for sender in again:
            sender.give(b"", more=False)
            assert (await sender.answer())[::2] == (200, 100_000)

    asyncio.run(scenario())


def test_no_answer_is_kept_unless_it_says_so() -> None:
    async def told(app: Any) -> str:
        sender = Sender(Edge(app, Metrics()))
        sender.give(b"", more=False)
        return (await sender.answer())[1]["cache-control"]

    async def scenario() -> None:
        assert await told(echo) == "no-store"
        assert (
            await told(PlainTextResponse("1", headers={"Cache-Control": "no-cache"})) == "no-cache"
        )

        async def failing(*_: Any) -> None:
            raise OSError

        assert await told(failing) == "no-store"

    asyncio.run(scenario())


def short_headers(length: str) -> dict[str, str]:
    return {
        "content-length": length,
        "content-type": "text/plain; charset=utf-8",
        "cache-control": "no-store",
    }


def test_a_body_that_never_ends_is_not_waited_for() -> None:
    async def scenario() -> None:
        sender = Sender(Edge(echo, Metrics(), body_s=0.05))
        sender.give(b"x")
        status, headers, problem = await sender.answer()
        assert (status, problem["type"]) == (408, "urn:banjie:problem:too-slow")
        assert headers["connection"] == "close"
        assert "重发" in problem["detail"]

    asyncio.run(scenario())


def test_who_goes_away_is_no_failure_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        metrics = Metrics()
        sender = Sender(Edge(echo, metrics))
        sender.give(b"x")
        sender.pieces.put_nowait({"type": "http.disconnect"})
        await sender.answered
        assert sender.sent == []
        statuses = {
            sample.labels["status"]
            for series in metrics._registry.collect()
            for sample in series.samples
            if "status" in sample.labels
        }
        assert statuses == {"499"}

    asyncio.run(scenario())
    assert "request.failed" not in caplog.text


def test_who_waits_for_the_answer_has_all_the_time() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        assert await receive() == {"type": "http.disconnect"}
        await PlainTextResponse("0")(scope, receive, send)

    async def scenario() -> None:
        sender = Sender(Edge(slow, Metrics(), body_s=0.05))
        sender.give(b"x", more=False)
        await asyncio.sleep(0.1)
        sender.pieces.put_nowait({"type": "http.disconnect"})
        assert (await sender.answer())[0] == 200

    asyncio.run(scenario())
