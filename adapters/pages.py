"""Lists that other systems offer: a page is asked for and becomes its rows, each as the text that it
was, so that one that is wrong harms no other."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from adapters.http import Answer, Client, token, wait_s
from adapters.payload import read_object
from adapters.wire_text import BATCH_ITEMS, ITEM_BYTES, TOO_LARGE, Undecodable, declared, text_of
from service.domain.ports import Refused, Source, Unreachable

TIMEOUT_S = 30.0
MOST_BYTES = 16 * 1024 * 1024
_REDIRECTS = 3
_BROKEN = "\ufffd"
_INDEX = re.compile(r"0|[1-9][0-9]*")


class Lists:
    """Asks for pages of the lists of sources."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        variables: Mapping[str, str],
        timeout_s: float = TIMEOUT_S,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Read the tokens; raise SecretMissing for one that cannot be had."""
        self._known = {
            name: (source.poll.url, token(variables, source.poll.token, f"读取 {name} 的列表"))
            for name, source in sources.items()
            if source.poll
        }
        self._most_bytes = most_bytes
        # A small answer may be any size once it is unpacked: none that is packed is asked for.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        self._client = Client(timeout_s, headers)

    async def page(
        self, source: str, params: Mapping[str, str], etag: str, modified: str, at: datetime
    ) -> Answer:
        """Return a page as a 200 with its body, or a 304 where the validators of the last time, "" for
        none, still hold. Raise Unreachable or Refused."""
        # Whoever reads no list starts without it, as in `Client`.
        import httpx  # noqa: PLC0415

        address, bearer = self._known[source]
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        if etag:
            headers["If-None-Match"] = etag
        elif modified:
            headers["If-Modified-Since"] = modified
        url = httpx.URL(address).copy_merge_params(dict(params))
        for _ in range(_REDIRECTS + 1):
            answer = await self._client.exchange("GET", str(url), headers, self._most_bytes)
            if answer.status not in {301, 302, 303, 307, 308}:
                return _page(answer, at)
            try:
                there = url.join(answer.headers.get("location", ""))
            except httpx.InvalidURL:
                raise Refused("redirected") from None
            # To another host the token would go with it.
            if (there.scheme, there.host, there.port) != (url.scheme, url.host, url.port):
                raise Refused("redirected")
            url = there
        raise Refused("redirected")

    async def close(self) -> None:
        """Let go of every connection."""
        await self._client.close()


def _page(answer: Answer, at: datetime) -> Answer:
    status = answer.status
    if status in {408, 425, 429} or status >= 500:
        raise Unreachable(f"http-{status}", wait_s(answer, at))
    if status not in {200, 304}:
        raise Refused(f"http-{status}")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise Refused("packed")
    if answer.cut:
        raise Refused("too-long")
    return answer


def page_rows(body: bytes, content_type: str, pointer: str) -> list[str]:
    """Return the rows of a list's answer, at most 1,000, each as JSON text.

    `pointer` (RFC 6901) leads to the array. What was no character in the page's encoding is U+FFFD in
    its row. Raise Undecodable if there is no such array.
    """
    try:
        text = text_of(body, declared(content_type))
    except Undecodable:
        # One row that is damaged is that row's fault alone; what is no text at all is no JSON either.
        text = body.decode("utf-8", "replace")
    try:
        found = json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=_Object,
            parse_int=_Word,
            parse_float=_Word,
            parse_constant=_Word,
        )
        for part in pointer.split("/")[1:]:
            found = _inside(found, part.replace("~1", "/").replace("~0", "~"))
        if not isinstance(found, list):
            raise Undecodable(f"答复中“{pointer or '/'}”处不是列表，请核对 poll.items")
        if len(found) > BATCH_ITEMS:
            raise Undecodable(f"一页超过 {BATCH_ITEMS} 条")
        return ["".join(_written(row)) for row in found]
    except json.JSONDecodeError as error:
        raise Undecodable(f"答复不是合法的 JSON：第 {error.pos + 1} 个字符处有误") from None
    except RecursionError:
        raise Undecodable("答复嵌套过深") from None


def row_payload(text: str) -> dict[str, Any]:
    """Return the object of a row, held to what a pushed payload is, or raise Undecodable."""
    if _BROKEN in text:
        raise Undecodable("含有残缺的字符")
    if len(text.encode()) > ITEM_BYTES:
        raise Undecodable(TOO_LARGE)
    return read_object(text)


class _Object:
    """An object as its pairs: of a name that comes twice both are kept."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


class _Word(str):
    """A number as it was written."""

    __slots__ = ()


def _inside(value: object, part: str) -> Any:
    if isinstance(value, _Object):
        return next((inner for name, inner in value.pairs if name == part), None)
    if isinstance(value, list) and _INDEX.fullmatch(part) and int(part) < len(value):
        return value[int(part)]
    return None


def _written(value: Any) -> list[str]:
    if isinstance(value, _Word):
        return [str(value)]
    if isinstance(value, _Object):
        parts = ["{"]
        for n, (name, inner) in enumerate(value.pairs):
            parts += [", " * bool(n), _quoted(name), ": ", *_written(inner)]
        return [*parts, "}"]
    if isinstance(value, list):
        parts = ["["]
        for n, inner in enumerate(value):
            parts += [", " * bool(n), *_written(inner)]
        return [*parts, "]"]
    return [_quoted(value)]


def _quoted(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # Half a character cannot be stored, nor could it be sent on; its escape can.
    return text if text.isascii() or text.isprintable() else json.dumps(value)
