"""What older systems send instead of JSON: forms and XML, as the same nested objects of text."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

from adapters.wire_text import (
    BATCH_ITEMS,
    BATCH_MARKS,
    DEPTH,
    ITEM_BYTES,
    MARKS,
    PARTS,
    TOO_DEEP,
    TOO_LARGE,
    TOO_LONG,
    TOO_MANY,
    TOO_MANY_IN_ALL,
    Undecodable,
    codec,
    codec_of,
    text_of,
)

_ENCODING = re.compile(rb"<\?xml[^>]{0,100}?\bencoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_XML_SPACE = " \t\r\n\ufeff"
# Of one start tag, and of the text behind it: more than any text that is taken has.
_EQUALS = 20_000
_NO_FIELDS = "XML 的元素下应有字段"
_UNLIKE = "请让 Content-Type 与内容一致（JSON 为 application/json）"

Found = dict[str, list[Any]]


def form(body: bytes, declared: str | None) -> dict[str, Any]:
    """Return the fields of an `application/x-www-form-urlencoded` body, or raise Undecodable.

    A name that comes more than once is a list.
    """
    body = body.strip()
    if not body:
        raise Undecodable("内容为空")
    # A form writes these as %7B, %5B and %3C.
    if body[:1] in {b"{", b"[", b"<"}:
        raise Undecodable(f"Content-Type 说是表单，内容却像 JSON 或 XML：{_UNLIKE}")
    # Each begins a value: one in a text is written %26.
    if body.count(b"&") >= PARTS:
        raise Undecodable(TOO_MANY)
    pairs = [
        [unquote_to_bytes(part.replace(b"+", b" ")) for part in pair.split(b"=", 1)]
        for pair in body.split(b"&")
        if pair
    ]
    if any(len(pair) < 2 or not pair[0].strip() for pair in pairs) or not pairs:
        raise Undecodable("不是合法的表单：应为“名称=值”，以 & 分开")
    # Told from the whole: one short value alone can read as either charset.
    charset = codec_of(b"\n".join(part for pair in pairs for part in pair), declared)
    found: Found = {}
    for name, value in pairs:
        found.setdefault(text_of(name, charset).strip(), []).append(text_of(value, charset))
    return _single(found)


def xml(body: bytes, declared: str | None) -> dict[str, Any]:
    """Return what the root element of an XML document holds, or raise Undecodable.

    An element is a field: its text, or an object of the elements in it and of its attributes; one
    that comes more than once is a list. Namespaces make no difference. A DOCTYPE is refused, and
    with it every entity but XML's own five: no document can grow, or reach for another.
    """
    text = _xml_text(body, declared)
    if _marks(text) > MARKS:
        raise Undecodable(TOO_MANY)
    value = _Reader().read(text)
    if not isinstance(value, dict):
        raise Undecodable(_NO_FIELDS)
    return value


def xml_items(body: bytes, declared: str | None) -> list[Any]:
    """Return each element below the root of an XML document, an Undecodable in the place of one that
    is too large; the first too many ends the reading. Raise Undecodable."""
    text = _xml_text(body, declared)
    if _marks(text) > BATCH_MARKS:
        raise Undecodable(TOO_MANY_IN_ALL)
    reader = _Reader(items=[])
    reader.read(text)
    return reader.items or []


def _xml_text(body: bytes, declared: str | None) -> str:
    named = None if declared else _ENCODING.search(body[:200])
    charset = codec(named[1].decode("ascii")) if named else declared
    text = text_of(body, charset).strip(_XML_SPACE)
    if not text:
        raise Undecodable("内容为空")
    if not text.startswith("<"):
        raise Undecodable(f"Content-Type 说是 XML，内容却不以 < 开头：{_UNLIKE}")
    # The parser takes a tag with all its attributes at once, and nothing else runs meanwhile.
    if text.count("=") > _EQUALS and max(tag.count("=") for tag in text.split("<")) > _EQUALS:
        raise Undecodable(TOO_MANY)
    return text


def _marks(text: str) -> int:
    return text.count("<") + text.count("=")


def _single(found: Found) -> dict[str, Any]:
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


@dataclass
class _Element:
    """An element that is not closed yet; `at` is the byte where it begins."""

    at: int
    attributes: dict[str, str]
    inside: Found = field(default_factory=dict)
    text: list[str] = field(default_factory=list)


class _Reader:
    """Builds objects while expat reads; `items` collects those below the root one by one."""

    def __init__(self, items: list[Any] | None = None) -> None:
        self.items = items
        self._open: list[_Element] = []
        self._root: Any = None
        # The text is UTF-8 by now, whatever its declaration says.
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def read(self, text: str) -> Any:
        """Return what the root element holds."""
        try:
            self._parser.Parse(text.encode(), True)
        except expat.ExpatError as error:
            at = f"第 {error.lineno} 行第 {error.offset + 1} 列"
            raise Undecodable(f"不是合法的 XML：{at}处有误") from None
        return self._root

    def _doctype(self, *_: object) -> None:
        raise Undecodable("XML 中不能有 DOCTYPE 或实体定义")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) > DEPTH:
            raise Undecodable(TOO_DEEP)
        # What has a prefix is XML's own: xmlns, xsi:nil, xml:lang.
        own = {key: value for key, value in attributes.items() if ":" not in key and key != "xmlns"}
        self._open.append(_Element(self._parser.CurrentByteIndex, own))

    def _characters(self, text: str) -> None:
        self._open[-1].text.append(text)

    def _end(self, name: str) -> None:
        done = self._open.pop()
        local = name.rpartition(":")[2]
        text = "".join(done.text).strip(_XML_SPACE)
        inside = done.inside
        # Beside a text they tell about it (`<no type="string">`); where there is none they are it.
        beside = bool(text) and not inside
        if not beside:
            for key, attribute in done.attributes.items():
                inside.setdefault(key, []).append(attribute)
            if text:
                inside.setdefault("text", []).append(text)
        value: Any = _single(inside) if inside else text
        if len(self._open) == 1 and self.items is not None:
            size = self._parser.CurrentByteIndex - done.at
            wrong = (
                TOO_LARGE if size > ITEM_BYTES else "" if isinstance(value, dict) else _NO_FIELDS
            )
            self.items.append(Undecodable(wrong) if wrong else value)
            if len(self.items) > BATCH_ITEMS:
                raise Undecodable(TOO_LONG)
            return
        if not self._open:
            self._root = value
            return
        outer = self._open[-1].inside
        outer.setdefault(local, []).append(value)
        for key, attribute in done.attributes.items() if beside else ():
            outer.setdefault(f"{local}.{key}", []).append(attribute)
