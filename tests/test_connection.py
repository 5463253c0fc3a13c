"""Requests as bytes, as clients of all sorts send them."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from service.connection import Connection

HEAD = b"POST /a?b=1 HTTP/1.1\r\nHost: x\r\n"
# As Java's HttpClient sends it with its first request to an http:// address.
OFFER = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    said = f"<{scope['path']} {request.query_params} {(await request.body()).decode()}>"
    await PlainTextResponse(said)(scope, receive, send)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(echo, http=Connection, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    thread.start()
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join()


def answer(port: int, *pieces: bytes, count: int = 1) -> bytes:
    """Return what comes back until there are so many answers, or the line is cut."""
    found = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        try:
            for piece in pieces:
                line.sendall(piece)
            while found.count(b">") < count and (more := line.recv(65536)):
                found += more
        except ConnectionError:
            pass
    return found


def body(text: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%s" % (len(text), text)


@pytest.mark.parametrize("offer", [OFFER, OFFER.replace(b"h2c", b"websocket"), b""])
def test_a_body_arrives_whatever_protocol_is_offered_with_it(port: int, offer: bytes) -> None:
    whole = HEAD + offer + body(b"one")
    assert answer(port, whole).endswith(b"</a b=1 one>")
    for cut in range(1, len(whole)):
        if cut % 7 == 0 or cut > len(whole) - 6:
            assert answer(port, whole[:cut], whole[cut:]).endswith(b"</a b=1 one>"), cut
    chunked = HEAD + offer + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n"
    assert answer(port, chunked).endswith(b"</a b=1 one>")
    found = answer(port, whole + HEAD + body(b"two") + whole, count=3)
    assert [part.split(b"<")[-1] for part in found.split(b">")[:3]] == [
        b"/a b=1 one",
        b"/a b=1 two",
        b"/a b=1 one",
    ]


@pytest.mark.parametrize(
    "asked", [b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\r\n"]
)
def test_what_is_no_request_of_ours_is_refused(port: int, asked: bytes) -> None:
    assert answer(port, asked).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("piece", [b"a: b\r\n" * 10_000, b"a" * 60_000, b"\r\n" * 30_000])
def test_a_head_without_end_is_not_taken(port: int, piece: bytes) -> None:
    found = answer(port, HEAD if piece[:1] == b"a" else b"", *[piece] * 200)
    assert found == b"" or found.startswith(b"HTTP/1.1 400 ")
    assert b"<" not in found
    assert answer(port, HEAD + b"x: " + b"y" * 40_000 + b"\r\n" + body(b"one")).endswith(b"one>")
