"""What a citizen typed, brought to one form: simplified, half-width, without markup or blanks."""

import html
import re
import unicodedata
from functools import cache

from opencc import OpenCC

_UNSEEN = re.compile(r"<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"</?[a-zA-Z!][^<>]*>")
_BLANK = re.compile(r"[\s\u200b-\u200f\ufeff]+")
_BREAK = re.compile(r"</p>|<br\s*/?>|</div>|\n", re.IGNORECASE)


@cache
def _traditional() -> tuple[OpenCC, frozenset[str]]:
    """Return the converter and every character that it changes."""
    converter = OpenCC("t2s")
    every = "".join(map(chr, range(0x4E00, 0xA000)))
    simple = converter.convert(every)
    changed = {a for a, b in zip(every, simple, strict=True) if a != b}
    # Characters that are simplified ones too, in names and surnames.
    return converter, frozenset(changed - set("乾著瞭薑於"))


def plain(text: str) -> str:
    """Return the text as rules see it: no markup, simplified, NFKC, lower case, no blanks."""
    if "<" in text or "&" in text:
        text = _UNSEEN.sub("", text)
        text = _BREAK.sub("。", text)
        text = html.unescape(_TAG.sub("", text))
    text = unicodedata.normalize("NFKC", text).lower()
    converter, traditional = _traditional()
    if not traditional.isdisjoint(text):
        text = converter.convert(text)
    return _BLANK.sub("", text)
