"""The server and its connections, where uvicorn's own would lose a push, take without end, or wait
for a stream that has none."""

import socket
from collections.abc import Callable

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# As much as nginx takes by default, and more than any token, signature and address.
_HEAD_BYTES = 64 * 1024


class Server(uvicorn.Server):
    """uvicorn's, but it says that it stops before it waits for the requests that are under way: the
    application's own end comes after them, and streams would wait for it."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking requests, and end when those under way are done."""
        self._stopping()
        await super().shutdown(sockets)


class NoOffer(Exception):
    """The parser stopped at a request that offers no other protocol."""


class Connection(HttpToolsProtocol):
    """uvicorn's, but for two things: an offer to go on with another protocol is passed over, and the
    head of a request has an end.

    Java's HttpClient offers HTTP/2 (`Upgrade: h2c`) with its first request. A server need not take
    it up (RFC 9110, 7.8), but the parser then takes the body for the other protocol's.
    """

    _offers = False
    _in_head = True
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Take what came in."""
        self._unset_keepalive_if_required()
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    break
                except httptools.HttpParserUpgrade as offered:
                    data = self._passed_over() + data[offered.args[0] :]
        # CONNECT offers nothing and asks for a tunnel.
        except (httptools.HttpParserError, NoOffer):
            self._refuse()
            return
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        if self._head_bytes > _HEAD_BYTES:
            self._refuse()

    def _refuse(self) -> None:
        msg = "Invalid HTTP request received."
        self.logger.warning(msg)
        self.send_400_response(msg)

    def _passed_over(self) -> bytes:
        """Return the head of the request without the offer, for a parser that knows nothing of it."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        kept = [(name, value) for name, value in self.headers if name != b"upgrade"]
        if len(kept) == len(self.headers):
            raise NoOffer
        self.parser = httptools.HttpRequestParser(self)
        head = [b"%s %s HTTP/%s" % (method, self.url, version)]
        return b"\r\n".join([*head, *(b"%s: %s" % header for header in kept), b"", b""])

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._in_head, self._offers = True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to work on the request, unless its head is to be read again."""
        self._in_head = False
        self._offers = self.parser.should_upgrade()
        if not self._offers:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request."""
        if not self._offers:
            super().on_message_complete()


def configured(app: ASGIApp) -> uvicorn.Config:
    """Return the settings of the server around an application."""
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        access_log=False,
        server_header=False,
        log_config=None,
        timeout_graceful_shutdown=10,
    )
