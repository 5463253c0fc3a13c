"""HTTP to the outside: the one client, for what is sent and for lists that are read.

It goes to the address that it is given and nowhere else: no redirect, no proxy or password of the
environment is followed. A request has an end, whatever trickles in.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from service.domain.ports import Unreachable

if TYPE_CHECKING:
    import httpx


class SecretMissing(Exception):
    """An environment variable that a file names is not there or is of no use."""


def secret(variables: Mapping[str, str], name: str, asker: str) -> str:
    """Return what a variable holds, or raise SecretMissing; `asker` says what needs it."""
    text = variables.get(name, "").strip()
    if not text:
        raise SecretMissing(f"环境变量 {name} 没有设置（{asker}需要它）")
    return text


def token(variables: Mapping[str, str], name: str, asker: str) -> str:
    """Return the bearer token that a variable holds, "" if none is named, or raise SecretMissing."""
    text = secret(variables, name, asker) if name else ""
    if not (text.isascii() and text.isprintable()):
        raise SecretMissing(f"环境变量 {name} 不是可用的令牌")
    return text


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered. `cut` is whether the body is longer than was asked for; names of headers are
    in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool


class Client:
    """Connections that are kept. Each request takes `timeout_s` at most, all in all."""

    def __init__(self, timeout_s: float, headers: Mapping[str, str]) -> None:
        self._timeout_s = timeout_s
        self._headers = {"User-Agent": "banjie", **headers}
        self._client: httpx.AsyncClient | None = None

    def _connected(self) -> "httpx.AsyncClient":
        if self._client is None:
            # Whoever sends nothing starts without it: it takes a tenth of a second.
            import httpx  # noqa: PLC0415

            self._client = httpx.AsyncClient(
                # Trust what the machine trusts: offices have certificate authorities of their own.
                verify=ssl.create_default_context(),
                follow_redirects=False,
                trust_env=False,
                # TCP and TLS end by themselves before the whole does: cut off from outside in a
                # handshake, the library leaves the socket open until it is collected.
                timeout=httpx.Timeout(self._timeout_s, connect=self._timeout_s * 0.45),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
                headers=self._headers,
            )
        return self._client

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], most: int, content: bytes = b""
    ) -> Answer:
        """Return the answer with up to `most` bytes of its body as they came, or raise Unreachable."""
        # Before the time runs: the first one reads the machine's certificates.
        client = self._connected()
        import httpx  # noqa: PLC0415 as above

        try:
            async with (
                asyncio.timeout(self._timeout_s),
                client.stream(method, url, content=content or None, headers=headers) as answer,
            ):
                body = bytearray()
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > most:
                        break
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Unreachable("timeout") from error
        except httpx.ConnectError as error:
            tls = isinstance(_root(error), ssl.SSLError)
            raise Unreachable("tls" if tls else "no-connection") from error
        except httpx.TransportError as error:
            raise Unreachable("broken-off") from error
        return Answer(answer.status_code, answer.headers, bytes(body[:most]), len(body) > most)

    async def close(self) -> None:
        """Let go of every connection."""
        if self._client:
            await self._client.aclose()


def wait_s(answer: Answer, at: datetime) -> float | None:
    """Return the seconds of a Retry-After, None if there is none or it says nothing."""
    said = answer.headers.get("retry-after", "")
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        until = parsedate_to_datetime(said)
    except (ValueError, TypeError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - at).total_seconds())


def _root(error: BaseException) -> BaseException:
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error
