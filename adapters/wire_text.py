"""Bytes from outside as text, by the charset that is declared or can be told, and their bounds."""

import re

BATCH_ITEMS = 1_000
ITEM_BYTES = 1024 * 1024  # of a batch; the edge holds a single payload to the same
PARTS = 10_000  # values in one payload, those inside lists and objects too
# What begins a value, and so bounds a text's values before it is parsed: commas and opening brackets
# of JSON, angle brackets and equals signs of XML. A text of a citizen has them too, hence so many more
# than values.
MARKS = 100_000
BATCH_MARKS = 1_000_000
DEPTH = 16
TOO_DEEP = f"嵌套超过 {DEPTH} 层"
TOO_MANY = f"一条中的值超过 {PARTS} 个"
TOO_LARGE = "一条超过 1 MiB"
TOO_MANY_IN_ALL = "一批中的值过多，请分批发送"
TOO_LONG = f"一批最多 {BATCH_ITEMS} 条"

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
UTF8_BOM = b"\xef\xbb\xbf"
GB18030_BOM = "\ufeff".encode("gb18030")


class Undecodable(Exception):
    """Bytes that are no object we can read; `detail` is a sentence in Chinese."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class WrongMedia(Undecodable):
    """A content type that this address does not read."""


def declared(content_type: str) -> str | None:
    """Return the codec a content type declares, or None if it declares none."""
    found = _CHARSET.search(content_type)
    return codec(found[1]) if found else None


def codec(charset: str) -> str:
    """Return the codec that reads a charset of this name, or raise Undecodable."""
    known = _CODECS.get(charset.lower())
    if known is None:
        raise Undecodable("不支持所声明的字符集，请用 UTF-8 或 GB18030")
    return known


def codec_of(body: bytes, declared: str | None) -> str:
    """Return the codec that a body is in; undeclared it is UTF-8 if it can be, or GB18030 if it reads
    as that and is not merely damaged UTF-8. Raise Undecodable if it is in neither."""
    try:
        body.decode(declared or "utf-8")
        return declared or "utf-8"
    except UnicodeDecodeError:
        if declared is not None:
            raise Undecodable(f"内容不是所声明的字符集 {declared.upper()}") from None
    if is_damaged_utf8(body):
        raise Undecodable("内容是 UTF-8，但有残缺的字符，请检查是否按字节截断了文字")
    try:
        body.decode("gb18030")
    except UnicodeDecodeError:
        raise Undecodable("内容既不是 UTF-8 也不是 GB18030") from None
    return "gb18030"


def is_damaged_utf8(body: bytes) -> bool:
    """Whether bytes that are not UTF-8 were meant as such.

    A character cut in two leaves UTF-8 that GB18030 reads as other characters. In real GB18030
    hardly a byte pair is valid UTF-8, in damaged UTF-8 nearly every sequence is.
    """
    mended = body.decode("utf-8", "replace")
    broken = mended.count("\ufffd")
    return sum(not char.isascii() for char in mended) > 2 * broken


def text_of(body: bytes, declared: str | None) -> str:
    """Return a body as text, by the codec that `codec_of` finds. Raise Undecodable."""
    return body.decode(codec_of(body, declared))
