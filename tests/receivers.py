"""Small receivers for tests: real HTTP servers that keep what they got, and fail as they are told."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

SECRET = b"sixteen-bytes-and-more"


@dataclass(frozen=True)
class Got:
    """One request as it came in, and what was answered."""

    headers: Mapping[str, str]
    body: bytes
    status: int

    @property
    def message(self) -> str:
        return self.headers["webhook-id"]

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["data"]
        return found


Answer = tuple[int, Mapping[str, str]]


class Receiver:
    """An HTTP server on a port of its own. `answers` is asked for each request; it may block."""

    def __init__(self, answers: Callable[[Got], Answer | int] = lambda _: 204) -> None:
        self.got: list[Got] = []
        self.answers = answers
        self.extra = b""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = receiver.answers(Got(headers, body, 0))
                status, more = (answer, {}) if isinstance(answer, int) else answer
                receiver.got.append(Got(headers, body, status))
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                content = b"" if status == 204 else receiver.extra
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A sender that is gone is what some tests are about."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/told"

    def __enter__(self) -> "Receiver":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def taken(self) -> list[Got]:
        """Return what was answered with 2xx."""
        return [each for each in self.got if 200 <= each.status < 300]


def expected(got: Got, secret: bytes = SECRET) -> set[str]:
    """Return the signatures that a message must carry, worked out from the definitions of HMAC
    (RFC 2104) and of Standard Webhooks, without the service's code."""
    signed = b".".join([got.message.encode(), got.headers["webhook-timestamp"].encode(), got.body])

    def mac(name: str) -> str:
        key = secret.ljust(64, b"\0")
        inner = hashlib.new(name, bytes(b ^ 0x36 for b in key) + signed).digest()
        outer = hashlib.new(name, bytes(b ^ 0x5C for b in key) + inner).digest()
        return base64.b64encode(outer).decode()

    assert mac("sha256") == base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
    found = {f"v1,{mac('sha256')}"}
    return found | ({f"v1sm3,{mac('sm3')}"} if "sm3" in hashlib.algorithms_available else set())
