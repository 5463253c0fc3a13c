"""The words by which a ticket is found: cut from what was written, and from what is asked for, by one
function (ADR 0025).

A word of the dictionary is found wherever it stands, also within a longer one. What the dictionary
does not know, such as the name of a road or a person, is found by its pairs of characters. Telephone,
identity card, bank card and e-mail are none of the words.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from operator import add

from routing_rules.text import plain
from service.domain.personal import OF_THE_PERSON, parts

_HAN = "\u3400-\u9fff\U00020000-\U0003ffff"
_RUN = re.compile(rf"([{_HAN}]+)|([^\W_{_HAN}]+)")
# Blanks that stand in the middle of Chinese part nothing, those between other words do.
_BLANK_WITHIN = re.compile(rf"(?<=[{_HAN}])\s+(?=[{_HAN}])")
# Personal data has an @ or seven digits near each other, masked it has asterisks: to see that a text
# has none of these is cheap.
_SIGNS = ("@", "＠", "****")
_DIGITS = re.compile(r"[0-9０-９](?:[^0-9０-９\n]{0,3}[0-9０-９]){6}")
_LONGEST = 64
# A tsvector ends at a megabyte. What is longer than this is no complaint, and found by its beginning.
_TEXT_MOST = 50_000


def words(*texts: str) -> tuple[str, ...]:
    """Return the words of texts, each once: Chinese as it is written, the rest in lower case."""
    found: list[str] = []
    for text in texts:
        told = _unnamed(text[:_TEXT_MOST])
        pieces = told.split()
        if len(pieces) > 1:
            pieces = _BLANK_WITHIN.sub("", told).split()
        for piece in pieces:
            for han, other in _RUN.findall(plain(piece)):
                if han:
                    _cut(han, found)
                else:
                    found.append(other[:_LONGEST])
    return tuple(dict.fromkeys(found))


def _unnamed(text: str) -> str:
    """Return the text without what says who a person is."""
    if not any(sign in text for sign in _SIGNS) and not _DIGITS.search(text):
        return text
    return " ".join(piece for piece, sort in parts(text) if sort not in OF_THE_PERSON)


@cache
def _cutter() -> Callable[[str], Sequence[str]]:
    """Return what cuts a run of Chinese into all its words. It is the package's own instance, to which
    nobody here adds words: a second one would take as long, and as much memory, again."""
    # The import reads the dictionary, a fifth of a second, and most commands cut nothing.
    import rjieba  # noqa: PLC0415

    cut: Callable[[str], Sequence[str]] = rjieba.cut_all
    return cut


def _cut(run: str, found: list[str]) -> None:
    """Add every word of the dictionary that stands in a run of Chinese, and the pairs of characters
    within long ones and around each character that no word covers. A character alone is no word."""
    bare: list[str] = []
    words_before = covered = 0
    cuts = _cutter()(run)
    # Each character in turn, and after it the words that begin with it. Two thirds are characters: no
    # more than the test is done for them, since what stands before a word tells where it begins.
    for place, word in enumerate(cuts):
        size = len(word)
        if size == 1:
            continue
        words_before += 1
        at = place - words_before
        found.append(word)
        if size > 2:
            found += map(add, word, word[1:])
        if at > covered:
            bare += _pairs_around(run, covered, at)
        covered = max(covered, at + size)
    chars = len(cuts) - words_before
    if chars > covered:
        bare += _pairs_around(run, covered, chars)
    found += bare


def _pairs_around(run: str, start: int, end: int) -> Iterator[str]:
    """Return the pairs of neighbours of which one at least stands from `start` to `end`."""
    around = run[max(start - 1, 0) : end + 1]
    return map(add, around, around[1:])


class Unsearchable(Exception):
    """What was typed cannot be looked for; the message says why, in Chinese."""


@dataclass(frozen=True, slots=True)
class Term:
    """One of the words that a person typed: as typed, and cut. Without `words` it can only be a
    number."""

    text: str
    words: tuple[str, ...]

    @property
    def why_not(self) -> str:
        """Return why it cannot be looked for, in Chinese."""
        if any(sort in OF_THE_PERSON for _, sort in parts(self.text)):
            return "电话号码、证件号码等个人信息不在此检索；按电话查找请用“按电话查找”（POST /v1/tickets/search）"
        return "每个检索词至少两个字，也可以是完整的工单编号或来源编号"


def terms(asked: str) -> Sequence[Term]:
    """Return what was typed, word by word, as far as blanks part it; nothing for blanks alone."""
    return [Term(text, words(text)) for text in dict.fromkeys(asked.split())]
