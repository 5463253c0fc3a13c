"""What a citizen typed, brought to one form: simplified, half-width, without markup or blanks."""

import html
import re
import unicodedata
from functools import cache
from itertools import groupby, pairwise

from opencc import OpenCC

_UNSEEN = re.compile(r"<(?:(?P<script>script)|(?P<style>style))\b", re.IGNORECASE)
_UNSEEN_END = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in ("script", "style")}
_TAG = re.compile(r"</?[a-zA-Z!][^<>]*>")
_BLANK = re.compile(r"[\s\u200b-\u200f\ufeff]+")
_BREAK = re.compile(r"</p>|<br\s*/?>|</div>|\n", re.IGNORECASE)


# So long a stretch without a letter of ordinary writing may be combining marks alone.
_FOREIGN = re.compile(r"[^\x00-\x7f\u4e00-\u9fff]{64,}")


# The full-width marks of ordinary writing, and what NFKC makes of them.
_MARKS = tuple(zip("，！？：；（）", ",!?:;()", strict=True))


@cache
def _traditional() -> tuple[OpenCC, frozenset[str]]:
    """Return the converter and every character that it changes."""
    converter = OpenCC("t2s")
    every = "".join(map(chr, range(0x4E00, 0xA000)))
    simple = converter.convert(every)
    changed = {a for a, b in zip(every, simple, strict=True) if a != b}
    # Characters that are simplified ones too, in names and surnames.
    return converter, frozenset(changed - set("乾著瞭薑於"))


@cache
def _unusual() -> re.Pattern[str]:
    """Return what finds a character that `_brought_to_form` might change."""
    _, traditional = _traditional()
    # From one traditional character to the next: eighteen thousand ranges of one take long to compile.
    between = pairwise([0x4DFF, *sorted(map(ord, traditional)), 0xA000])
    kept = "".join(f"{chr(a + 1)}-{chr(b - 1)}" for a, b in between if b - a > 1)
    return re.compile(f"[^{kept}。、“”,.!?:;()0-9a-z]")


def plain(text: str) -> str:
    """Return the text as rules see it: no markup, simplified, NFKC, lower case, no blanks."""
    if not text:
        return text
    for full, half in _MARKS:
        text = text.replace(full, half)
    # Most of what is typed is in form already, and to see that costs a tenth of bringing it there.
    return _brought_to_form(text) if _unusual().search(text) else text


def _brought_to_form(text: str) -> str:
    if "<" in text or "&" in text:
        text = _seen(text)
        text = _BREAK.sub("。", text)
        text = html.unescape(_TAG.sub("", text))
    text = unicodedata.normalize("NFKC", _FOREIGN.sub(_ordered, text)).lower()
    converter, traditional = _traditional()
    if not traditional.isdisjoint(text):
        text = converter.convert(text)
    return _BLANK.sub("", text)


def _ordered(stretch: re.Match[str]) -> str:
    """Return the stretch taken apart, with its combining marks in the order that NFKC gives them.

    `normalize` sorts them by moving each past the one before: a text of nothing else took it the
    square of its length. What is in order already it passes over, and the outcome is the same.
    """
    apart = "".join([unicodedata.normalize("NFKD", char) for char in stretch[0]])
    runs = groupby(apart, lambda char: unicodedata.combining(char) > 0)
    return "".join([char for _, run in runs for char in sorted(run, key=unicodedata.combining)])


def _seen(text: str) -> str:
    """Return the text without its scripts and styles; one that is never closed stays.

    Linear: once a name has no end ahead, no later opening of it is searched for one.
    """
    kept: list[str] = []
    at = 0
    unclosed: set[str] = set()
    for opening in _UNSEEN.finditer(text):
        name = opening.lastgroup or ""
        if opening.start() < at or name in unclosed:
            continue
        end = _UNSEEN_END[name].search(text, opening.end())
        if end is None:
            unclosed.add(name)
        else:
            kept.append(text[at : opening.start()])
            at = end.end()
    return "".join([*kept, text[at:]])
