"""Bytes from outside become JSON objects here, and an object gets its fingerprint."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any, TypeVar

BATCH_ITEMS = 1_000
ITEM_BYTES = 1024 * 1024  # of a batch; the edge holds a single payload to the same
PARTS = 10_000  # values in one payload, those inside lists and objects too
# Commas and opening brackets: no value comes without one, so that they bound a text's values before
# it is parsed. A text of a citizen has them too, hence so many more than values.
_MARKS = 100_000
_BATCH_MARKS = 1_000_000
_DEPTH = 16
_INTEGER_DIGITS = 32
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE | re.ASCII)
# GB18030 is what GBK and GB2312 grew into, so it reads them all.
_CODECS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "gb18030": "gb18030",
    "gbk": "gb18030",
    "gb2312": "gb18030",
}
_UTF8_BOM = b"\xef\xbb\xbf"
_GB18030_BOM = "\ufeff".encode("gb18030")
_JSON_SPACE = " \t\r\n\ufeff"
_SPACE = re.compile(r"[ \t\r\n]*")
# Left out of a fingerprint: the moment of the push, not of the matter.
_OF_THE_PUSH = frozenset({"syncTime"})
_TOO_DEEP = f"JSON 嵌套超过 {_DEPTH} 层"
_TOO_MANY = f"一条中的值超过 {PARTS} 个"
_TOO_LARGE = "一条超过 1 MiB"
_TOO_MANY_IN_ALL = "一批中的值过多，请分批发送"

_Item = TypeVar("_Item")


class Undecodable(Exception):
    """Bytes that are no JSON object we can read; `detail` is a sentence in Chinese."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def decode(body: bytes, content_type: str = "") -> dict[str, Any]:
    """Return the one JSON object in a request's body, or raise Undecodable.

    Text is UTF-8 or GB18030, as `content_type` declares; undeclared, it is UTF-8 if it can be, and
    GB18030 if it reads as that and is not merely damaged UTF-8. Refused are duplicate names, NaN
    and infinities, integers of more than 32 digits and nesting of more than 16 levels: another
    reader of the same bytes could see something else in them. So are more than 10,000 values.
    """
    return _read(_text(body, _declared(content_type)))


def decode_batch(body: bytes, content_type: str = "") -> list[dict[str, Any] | Undecodable]:
    """Return the items of a JSON array or of NDJSON in order, 1,000 at most, each of 1 MiB at most.

    An item that cannot be read is an Undecodable in its place and harms no other; blank lines do
    not count. Raise Undecodable if the body as a whole cannot be read, is empty or too long.
    """
    codec = _declared(content_type)
    if body.removeprefix(_UTF8_BOM).removeprefix(_GB18030_BOM).lstrip().startswith(b"["):
        return [_or_fault(_sound, item) for item in _items(_text(body, codec))]
    # No byte of a UTF-8 or GB18030 character but the line feed or the comma itself is its byte.
    if body.count(b",") > _BATCH_MARKS:
        raise Undecodable(_TOO_MANY_IN_ALL)
    lines = _counted([line for line in body.split(b"\n") if line.strip()])
    return [_or_fault(lambda line: _read(_text(_small(line), codec)), line) for line in lines]


def fingerprint(payload: Mapping[str, Any]) -> str:
    """Return 64 hex digits that stay the same as long as the payload says the same.

    Order of names, white space around values, and fields that are null or empty make no difference,
    and neither does `syncTime`, the moment of the push. Everything else does.
    """
    said = {name: value for name, value in payload.items() if name not in _OF_THE_PUSH}
    canonical = json.dumps(_trimmed(said), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _trimmed(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return [_trimmed(item) for item in value]
    if isinstance(value, Mapping):
        inner = {name: _trimmed(item) for name, item in value.items()}
        return {name: item for name, item in inner.items() if item not in (None, "", [], {})}
    return value


def _declared(content_type: str) -> str | None:
    """Return the codec a content type declares, or None if it declares none."""
    found = _CHARSET.search(content_type)
    if found is None:
        return None
    codec = _CODECS.get(found[1].lower())
    if codec is None:
        raise Undecodable("不支持所声明的字符集，请用 UTF-8 或 GB18030")
    return codec


def _text(body: bytes, codec: str | None) -> str:
    try:
        return body.decode(codec or "utf-8")
    except UnicodeDecodeError:
        if codec is not None:
            raise Undecodable(f"内容不是所声明的字符集 {codec.upper()}") from None
    if is_damaged_utf8(body):
        raise Undecodable("内容是 UTF-8，但有残缺的字符，请检查是否按字节截断了文字")
    try:
        return body.decode("gb18030")
    except UnicodeDecodeError:
        raise Undecodable("内容既不是 UTF-8 也不是 GB18030") from None


def is_damaged_utf8(body: bytes) -> bool:
    """Whether bytes that are not UTF-8 were meant as such.

    A character cut in two leaves UTF-8 that GB18030 reads as other characters. In real GB18030
    hardly a byte pair is valid UTF-8, in damaged UTF-8 nearly every sequence is.
    """
    mended = body.decode("utf-8", "replace")
    broken = mended.count("\ufffd")
    return sum(not char.isascii() for char in mended) > 2 * broken


def _read(text: str) -> dict[str, Any]:
    """Return the one object that a text is."""
    text = text.strip(_JSON_SPACE)
    if not text:
        raise Undecodable("内容为空")
    if _marks(text) > _MARKS:
        raise Undecodable(_TOO_MANY)
    value, end = _value(text, 0)
    if end < len(text):
        raise _wrong(end)
    return _sound(value)


def _items(text: str) -> list[Any]:
    """Return the values of an array; the first one too many ends the reading."""
    text = text.strip(_JSON_SPACE)
    if _marks(text) > _BATCH_MARKS:
        raise Undecodable(_TOO_MANY_IN_ALL)
    items: list[Any] = []
    at = _skipped(text, 1)
    more = not text.startswith("]", at)
    at += not more
    while more:
        value, end = _value(text, at)
        # Four bytes at most a character.
        long = end - at > ITEM_BYTES // 4 and len(text[at:end].encode()) > ITEM_BYTES
        items.append(Undecodable(_TOO_LARGE) if long else value)
        _counted(items)
        at = _skipped(text, end)
        more = text.startswith(",", at)
        if not more and not text.startswith("]", at):
            raise _wrong(at)
        at = _skipped(text, at + 1)
    if at < len(text):
        raise _wrong(at)
    return _counted(items)


def _marks(text: str) -> int:
    return sum(text.count(mark) for mark in ",[{")


def _small(line: bytes) -> bytes:
    if len(line) > ITEM_BYTES:
        raise Undecodable(_TOO_LARGE)
    return line


def _skipped(text: str, at: int) -> int:
    """Return where the white space of JSON that begins here ends."""
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _wrong(at: int) -> Undecodable:
    return Undecodable(f"不是合法的 JSON：第 {at + 1} 个字符处有误")


def _value(text: str, at: int) -> tuple[Any, int]:
    """Return the JSON value that begins here and where it ends, with an Undecodable in the place of
    whatever is to be refused."""
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise _wrong(error.pos) from None
    except RecursionError:
        raise Undecodable(_TOO_DEEP) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Undecodable:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Undecodable("同一对象中有重复的字段名")


def _constant(_: str) -> Undecodable:
    return Undecodable("JSON 中不能有 NaN 或 Infinity")


def _float(digits: str) -> float | Undecodable:
    found = float(digits)
    return found if isfinite(found) else Undecodable("数字超出范围")


def _integer(digits: str) -> int | Undecodable:
    return int(digits) if len(digits) <= _INTEGER_DIGITS else Undecodable("数字过大，请改用文字")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_integer
)


def _sound(value: Any) -> dict[str, Any]:
    """Return the object itself, or raise what `_value` left in it."""
    level = [value]
    seen = 0
    for _ in range(_DEPTH + 1):
        seen += len(level)
        if seen > PARTS:
            raise Undecodable(_TOO_MANY)
        for item in level:
            if isinstance(item, Undecodable):
                raise item
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            break
    else:
        raise Undecodable(_TOO_DEEP)
    if not isinstance(value, dict):
        raise Undecodable("应为 JSON 对象")
    return value


def _inside(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


def _counted(items: list[_Item]) -> list[_Item]:
    if not items:
        raise Undecodable("内容为空")
    if len(items) > BATCH_ITEMS:
        raise Undecodable(f"一批最多 {BATCH_ITEMS} 条")
    return items


def _or_fault(read: Callable[[_Item], dict[str, Any]], item: _Item) -> dict[str, Any] | Undecodable:
    try:
        return read(item)
    except Undecodable as fault:
        return fault
