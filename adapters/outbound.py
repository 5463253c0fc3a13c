"""HTTP to the outside: the one module that knows httpx. Signed as Standard Webhooks has it."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from service.domain.ports import Letter, Receiver, Refused, Unreachable

TIMEOUT_S = 10.0
# What is read of an answer, and thrown away: enough to use the connection again.
_ANSWER_BYTES = 64 * 1024
_SECRET_BYTES = 16
# Answers of 400 to 499 that mean "not now".
_NOT_NOW = frozenset({408, 409, 425, 429})
_DIGESTS = {"v1": "sha256", "v1sm3": "sm3"}


class SecretMissing(Exception):
    """An environment variable that a receiver's entry names is not there or is of no use."""


@dataclass(frozen=True, slots=True)
class _Known:
    url: str
    secrets: tuple[bytes, ...]
    token: str


def secrets_of(text: str) -> tuple[bytes, ...]:
    """Return the secrets of a variable's text, several apart by white space while one replaces the
    other: `whsec_` and base64, or the bytes as they are. Raises ValueError for one too short."""
    found = []
    for word in text.split():
        secret = word.encode()
        if word.startswith("whsec_"):
            try:
                secret = base64.b64decode(word.removeprefix("whsec_"), validate=True)
            except binascii.Error as error:
                msg = "whsec_ 之后应为 base64"
                raise ValueError(msg) from error
        if len(secret) < _SECRET_BYTES:
            msg = f"密钥至少 {_SECRET_BYTES} 字节"
            raise ValueError(msg)
        found.append(secret)
    return tuple(found)


def signatures(secrets: Sequence[bytes], message: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: for each secret HMAC-SHA256 (`v1`), and HMAC-SM3
    (`v1sm3`) where this machine's OpenSSL has it."""
    signed = f"{message}.{timestamp}.".encode() + body
    return " ".join(
        f"{version},{base64.b64encode(hmac.digest(secret, signed, digest)).decode()}"
        for secret in secrets
        for version, digest in _DIGESTS.items()
        if digest in hashlib.algorithms_available
    )


class Outbound:
    """A Post over HTTP. Goes to configured addresses alone: no redirect, no proxy or password of the
    environment is followed."""

    def __init__(
        self,
        receivers: Mapping[str, Receiver],
        variables: Mapping[str, str],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Read the secrets; raise SecretMissing for one that cannot be had."""
        self._known = {name: _known(each, variables) for name, each in receivers.items()}
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                # Trust what the machine trusts: offices have certificate authorities of their own.
                verify=ssl.create_default_context(),
                follow_redirects=False,
                trust_env=False,
                # TCP and TLS end by themselves before the whole does: cut off from outside in a
                # handshake, the library leaves the socket open until it is collected.
                timeout=httpx.Timeout(self._timeout_s, connect=self._timeout_s * 0.45),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
                headers={"User-Agent": "banjie", "Content-Type": "application/json"},
            )
        return self._client

    async def send(self, letter: Letter) -> None:
        """See Post. Takes no longer than the timeout, whatever trickles in."""
        known = self._known[letter.destination]
        timestamp = int(letter.at.timestamp())
        headers = {
            "webhook-id": letter.message,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signatures(known.secrets, letter.message, timestamp, letter.body),
        }
        if known.token:
            headers["Authorization"] = f"Bearer {known.token}"
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._connected().stream(
                    "POST", known.url, content=letter.body, headers=headers
                ) as answer,
            ):
                taken = 0
                async for chunk in answer.aiter_raw():
                    taken += len(chunk)
                    if taken > _ANSWER_BYTES:
                        break
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Unreachable("timeout") from error
        except httpx.ConnectError as error:
            tls = isinstance(_root(error), ssl.SSLError)
            raise Unreachable("tls" if tls else "no-connection") from error
        except httpx.TransportError as error:
            raise Unreachable("broken-off") from error
        _judge(answer, letter.at)

    async def close(self) -> None:
        """See Post."""
        if self._client:
            await self._client.aclose()


def _judge(answer: httpx.Response, at: datetime) -> None:
    status = answer.status_code
    if 200 <= status < 300:
        return
    if 400 <= status < 500 and status not in _NOT_NOW:
        raise Refused(f"http-{status}")
    raise Unreachable(f"http-{status}", _wait_s(answer.headers.get("retry-after", ""), at))


def _wait_s(retry_after: str, at: datetime) -> float | None:
    """Return the seconds of a Retry-After, None if there is none or it says nothing."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        until = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - at).total_seconds())


def _root(error: BaseException) -> BaseException:
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def _known(receiver: Receiver, variables: Mapping[str, str]) -> _Known:
    def variable(name: str) -> str:
        text = variables.get(name, "").strip()
        if not text:
            msg = f"环境变量 {name} 没有设置（{receiver.destination} 的推送需要它）"
            raise SecretMissing(msg)
        return text

    try:
        secrets = secrets_of(variable(receiver.secret))
    except ValueError as error:
        raise SecretMissing(f"环境变量 {receiver.secret} 无法使用：{error}") from error
    token = variable(receiver.token) if receiver.token else ""
    if not (token.isascii() and token.isprintable()):
        raise SecretMissing(f"环境变量 {receiver.token} 不是可用的令牌")
    return _Known(receiver.url, secrets, token)
