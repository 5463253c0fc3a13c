"""Bytes from outside become objects here, and an object gets its fingerprint."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from types import MappingProxyType
from typing import Any, TypeVar

from adapters.older import form, xml, xml_items
from adapters.wire_text import (
    BATCH_ITEMS,
    BATCH_MARKS,
    DEPTH,
    GB18030_BOM,
    ITEM_BYTES,
    MARKS,
    PARTS,
    TOO_DEEP,
    TOO_LARGE,
    TOO_LONG,
    TOO_MANY,
    TOO_MANY_IN_ALL,
    UTF8_BOM,
    Undecodable,
    WrongMedia,
    declared,
    text_of,
)

__all__ = [
    "BATCH_ITEMS",
    "ITEM_BYTES",
    "PARTS",
    "Undecodable",
    "WrongMedia",
    "decode",
    "decode_batch",
    "fingerprint",
    "read_object",
]

_INTEGER_DIGITS = 32
_JSON_SPACE = " \t\r\n\ufeff"
_SPACE = re.compile(r"[ \t\r\n]*")
# Made once: `json.dumps` makes one for each call. No payload that was decoded holds itself.
_CANONICAL = json.JSONEncoder(check_circular=False, sort_keys=True, separators=(",", ":"))
# Left out of a fingerprint: the moment of the push, not of the matter.
_OF_THE_PUSH = frozenset({"syncTime"})

_HOLDERS = (dict, list)
_NOTHING: tuple[object, ...] = (None, "", [], {})

_Item = TypeVar("_Item")


# What each media type is read as. None at all is JSON, for many a sender sets none.
_MEDIA: Mapping[str, str] = MappingProxyType(
    {
        "": "json",
        "application/json": "json",
        "text/json": "json",
        "application/x-ndjson": "json",
        "application/ndjson": "json",
        "application/jsonl": "json",
        "application/xml": "xml",
        "text/xml": "xml",
        "application/x-www-form-urlencoded": "form",
    }
)
_READ = "application/json、application/xml 或 application/x-www-form-urlencoded"
_READ_IN_BATCHES = "application/json、application/x-ndjson 或 application/xml"
_FORM_LIKE = re.compile(r"[^\s{}\[\]\"=&<>]{1,100}=")


def decode(body: bytes, content_type: str = "") -> dict[str, Any]:
    """Return the one object in a request's body, or raise Undecodable.

    It is JSON, a form or XML, as `content_type` says; what it does not say it is not. WrongMedia is
    raised for any other type. Text is UTF-8 or GB18030, as declared; undeclared, it is UTF-8 if it
    can be, and GB18030 if it reads as that and is not merely damaged UTF-8. Refused are duplicate
    names in JSON, NaN and infinities, integers of more than 32 digits and nesting of more than 16
    levels: another reader of the same bytes could see something else in them. So are more than
    10,000 values, and an XML document with a DOCTYPE.
    """
    media, charset = _media(content_type, _READ), declared(content_type)
    if media == "form":
        return _sound(form(body, charset))
    if media == "xml":
        return _sound(xml(body, charset))
    return read_object(text_of(body, charset))


def decode_batch(body: bytes, content_type: str = "") -> list[dict[str, Any] | Undecodable]:
    """Return the items of a JSON array, of NDJSON, or of an XML document's root in order, 1,000 at
    most, each of 1 MiB at most.

    An item that cannot be read is an Undecodable in its place and harms no other; blank lines do
    not count. Raise Undecodable if the body as a whole cannot be read, is empty or too long, and
    WrongMedia for a type that has no items.
    """
    media, charset = _media(content_type, _READ_IN_BATCHES), declared(content_type)
    if media == "form":
        raise WrongMedia(f"表单只能逐条推送；批量推送请用 {_READ_IN_BATCHES}")
    if media == "xml":
        return [_or_fault(_sound, item) for item in _counted(xml_items(body, charset))]
    start = body.removeprefix(UTF8_BOM).removeprefix(GB18030_BOM).lstrip()[:1]
    if start == b"[":
        return [_or_fault(_sound, item) for item in _items(text_of(body, charset))]
    if start == b"<":
        raise _unlike(" XML")
    # No byte of a UTF-8 or GB18030 character but the line feed or the comma itself is its byte.
    if body.count(b",") > BATCH_MARKS:
        raise Undecodable(TOO_MANY_IN_ALL)
    lines = _counted([line for line in body.split(b"\n") if line.strip()])
    return [
        _or_fault(lambda line: read_object(text_of(_small(line), charset)), line) for line in lines
    ]


def _media(content_type: str, known: str) -> str:
    name = content_type.partition(";")[0].strip().lower()
    if name.endswith(("+json", "+xml")):
        return name.rpartition("+")[2]
    if name not in _MEDIA:
        raise WrongMedia(f"不支持所声明的 Content-Type，请用 {known}")
    return _MEDIA[name]


def _unlike(what: str) -> Undecodable:
    return Undecodable(
        f"应为 JSON，内容却像{what}：请让 Content-Type 与内容一致"
        "（XML 为 application/xml，表单为 application/x-www-form-urlencoded）"
    )


def fingerprint(payload: Mapping[str, Any]) -> str:
    """Return 64 hex digits that stay the same as long as the payload says the same.

    Order of names, white space around values, and fields that are null or empty make no difference,
    and neither does `syncTime`, the moment of the push. Everything else does.
    """
    said = {name: value for name, value in payload.items() if name not in _OF_THE_PUSH}
    return hashlib.sha256(_CANONICAL.encode(_trimmed(said)).encode()).hexdigest()


def _trimmed(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return [_trimmed(item) for item in value]
    if isinstance(value, Mapping):
        # Most values are texts: to call this function for each took as long as all else.
        inner = {
            name: item.strip() if isinstance(item, str) else _trimmed(item)
            for name, item in value.items()
        }
        return {name: item for name, item in inner.items() if item or item not in _NOTHING}
    return value


def read_object(text: str) -> dict[str, Any]:
    """Return the one JSON object that a text is, or raise Undecodable as `decode` does."""
    text = text.strip(_JSON_SPACE)
    if not text:
        raise Undecodable("内容为空")
    if text.startswith("<"):
        raise _unlike(" XML")
    if _FORM_LIKE.match(text):
        raise _unlike("表单")
    if _marks(text) > MARKS:
        raise Undecodable(TOO_MANY)
    value, end = _value(text, 0)
    if end < len(text):
        raise _wrong(end)
    return _sound(value)


def _items(text: str) -> list[Any]:
    """Return the values of an array; the first one too many ends the reading."""
    text = text.strip(_JSON_SPACE)
    if _marks(text) > BATCH_MARKS:
        raise Undecodable(TOO_MANY_IN_ALL)
    items: list[Any] = []
    at = _skipped(text, 1)
    more = not text.startswith("]", at)
    at += not more
    while more:
        value, end = _value(text, at)
        # Four bytes at most a character.
        long = end - at > ITEM_BYTES // 4 and len(text[at:end].encode()) > ITEM_BYTES
        items.append(Undecodable(TOO_LARGE) if long else value)
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
        raise Undecodable(TOO_LARGE)
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
        raise Undecodable(TOO_DEEP) from None


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
    for _ in range(DEPTH + 1):
        seen += len(level)
        if seen > PARTS:
            raise Undecodable(TOO_MANY)
        for item in level:
            if isinstance(item, Undecodable):
                raise item
        level = [inner for item in level if isinstance(item, _HOLDERS) for inner in _inside(item)]
        if not level:
            break
    else:
        raise Undecodable(TOO_DEEP)
    if not isinstance(value, dict):
        raise Undecodable("应为 JSON 对象")
    return value


def _inside(item: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return item.values() if isinstance(item, dict) else item


def _counted(items: list[_Item]) -> list[_Item]:
    if not items:
        raise Undecodable("内容为空")
    if len(items) > BATCH_ITEMS:
        raise Undecodable(TOO_LONG)
    return items


def _or_fault(read: Callable[[_Item], dict[str, Any]], item: _Item) -> dict[str, Any] | Undecodable:
    try:
        return read(item)
    except Undecodable as fault:
        return fault
