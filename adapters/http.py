"""The one place where this service asks another for something over HTTP.

Every request has an end (a time for the whole of it, and a size), a redirect leads nowhere but to the
same host, and what goes wrong is one of two kinds: worth another try, or not.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import httpx

TOTAL_S = 30.0
CONNECT_S = 5.0
MOST_BYTES = 16 * 1024 * 1024
_REDIRECTS = 3


class Unreachable(Exception):
    """Nobody answered, or with “not now”: try again. Says why in Chinese; `wait` is how long the other
    side asked for."""

    def __init__(self, reason: str, wait: timedelta | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class Refused(Exception):
    """The other side understood and does not want to, or answers what cannot be used: a person must
    look. Says why in Chinese."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Answer:
    """A 200 with its body, or a 304 without one."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """A client with bounds. Close it when done."""

    def __init__(self, total_s: float = TOTAL_S, most_bytes: int = MOST_BYTES) -> None:
        self._total_s = total_s
        self._most_bytes = most_bytes
        # Unpacked, a small answer may be any size: none is asked for.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(total_s, connect=CONNECT_S),
            headers={"Accept-Encoding": "identity", "User-Agent": "banjie"},
        )

    async def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Return the answer to a GET, or raise Unreachable or Refused."""
        try:
            async with asyncio.timeout(self._total_s):
                return await self._get(httpx.URL(url).copy_merge_params(params), headers)
        except TimeoutError:
            raise Unreachable(f"{self._total_s:g} 秒内没有答复完") from None
        except httpx.TimeoutException:
            raise Unreachable("连接或答复超时") from None
        except httpx.TransportError as error:
            raise Unreachable(f"连接失败（{type(error).__name__}）") from None
        except (httpx.InvalidURL, httpx.DecodingError, ValueError) as error:
            raise Refused(f"答复不符合 HTTP（{type(error).__name__}）") from None

    async def _get(self, url: httpx.URL, headers: Mapping[str, str]) -> Answer:
        for _ in range(_REDIRECTS + 1):
            async with self._client.stream("GET", url, headers=headers) as answer:
                if not answer.has_redirect_location:
                    return await self._read(answer)
                there = url.join(answer.headers["location"])
                if _origin(there) != _origin(url):
                    raise Refused("被重定向到另一台主机，没有跟随")
                url = there
        raise Refused(f"重定向超过 {_REDIRECTS} 次")

    async def _read(self, answer: httpx.Response) -> Answer:
        if answer.status_code in {429, 503}:
            raise Unreachable(f"对方暂时不受理（{answer.status_code}）", _asked(answer))
        if answer.status_code >= 500 or answer.status_code == 408:
            raise Unreachable(f"对方出错（{answer.status_code}）")
        if answer.status_code in {401, 403}:
            raise Refused(f"对方不认可令牌（{answer.status_code}）")
        if answer.status_code not in {200, 304}:
            raise Refused(f"对方拒绝了请求（{answer.status_code}）")
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise Refused("对方压缩了答复，而请求不接受压缩")
        body = bytearray()
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > self._most_bytes:
                raise Refused(f"答复超过 {self._most_bytes // (1024 * 1024)} MiB")
        return Answer(answer.status_code, answer.headers, bytes(body))

    async def close(self) -> None:
        """Let go of every connection."""
        await self._client.aclose()


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _asked(answer: httpx.Response) -> timedelta | None:
    """Return how long a Retry-After in seconds asks for; a date is left to our own pace."""
    said = answer.headers.get("retry-after", "")
    return timedelta(seconds=int(said)) if said.isdecimal() and len(said) <= 6 else None
