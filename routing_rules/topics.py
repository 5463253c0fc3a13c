"""What a clause is about, in short words (2–8 characters), for the router to meet in complaints.

First the matters (事项) that complaints are about, then quoted terms and runs of nouns. Function
words, the verbs of every work plan and the slogans of this campaign (“五型”) stay out. Nothing is
learned: the same text gives the same words.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path

import rjieba
import yaml
from ahocorasick_rs import AhoCorasick, MatchKind

MIN_CHARS, MAX_CHARS = 2, 8
MIN_PHRASE = 4  # two characters alone (指标, 窗口) are in every clause of every plan
MAX_TOPICS = 20

# A word of more than a quarter of the clauses tells none of them from the others.
COMMON_SHARE = 0.25
COMMON_FROM_CLAUSES = 8

_WORDS: dict[str, str] = yaml.safe_load(
    (Path(__file__).parent / "data" / "topic_words.yaml").read_text(encoding="utf-8")
)
MATTERS = tuple(_WORDS["matters"].split())
_BREAKERS = frozenset(_WORDS["breakers"].split())
_SLOGANS = tuple(_WORDS["slogans"].split())

_NO_TOPIC = re.compile(
    r"^[不敢让要为从对在把以][\u4e00-\u9fff]{3,}|^[个各]|[^\w+]|^[\d.+]+$|^[一二两三四五六七八九十\d]+[个项条大]"
)
_QUOTED = re.compile(r"[“‘]([^“”‘’\n]{2,40})[”’]")
_PART = re.compile(r"[、，,；;。·]")
_TITLE = re.compile(r"^([^。；;]{2,40})。")

_NOUNS = ("n", "vn", "j", "eng", "l", "b")
_NO_WORD = re.compile(r"[^\w+]+|\d+")

# Instances of our own: words that others add to the shared one would change our cuts.
_CUTTER = rjieba.Jieba()
_MATTERS = AhoCorasick([*MATTERS, *_WORDS["decoys"].split()], matchkind=MatchKind.LeftmostLongest)


def topics(clauses: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the topic words of every clause, given the clauses' texts without their units."""
    found = [list(dict.fromkeys(_candidates(clause))) for clause in clauses]
    if len(found) >= COMMON_FROM_CLAUSES:
        spread = Counter(chain.from_iterable(found))
        most = COMMON_SHARE * len(found)
        found = [[word for word in words if spread[word] <= most] for words in found]
    return [tuple(words[:MAX_TOPICS]) for words in found]


def _candidates(clause: str) -> Iterator[str]:
    matters = list(_matters(clause))
    yield from matters
    yield from _quoted(clause)
    title = _TITLE.match(clause)
    for text in (title[1] if title else "", clause):
        for phrase in _runs(_QUOTED.sub("，", text)):
            # 力戒形式主义 says no more than the matter 形式主义 it holds.
            if not any(len(matter) >= MIN_PHRASE and matter in phrase for matter in matters):
                yield phrase


def _matters(clause: str) -> Iterator[str]:
    text = re.sub(r"[“”‘’]", "", clause)  # they stand inside matters too: “互联网+”监管
    borders = {0, *accumulate(map(len, _CUTTER.cut(text)))}
    for word, start, end in _MATTERS.find_matches_as_indexes(text):
        # A short word must begin one of the sentence: 交通 is none in 上海交通大学.
        whole = end - start > 3 or start in borders
        if word < len(MATTERS) and whole:
            yield MATTERS[word]


def _quoted(clause: str) -> Iterator[str]:
    for quoted in _QUOTED.finditer(clause):
        for part in _PART.split(quoted[1]):
            word = part.strip()
            slogan = any(phrase in word for phrase in _SLOGANS) or word in _BREAKERS
            if MIN_CHARS <= len(word) <= MAX_CHARS and not slogan and not _NO_TOPIC.search(word):
                yield word


def _runs(text: str) -> Iterator[str]:
    for stretch in _NO_WORD.split(text):
        run: list[tuple[str, str]] = []
        for word, kind in _CUTTER.tag(stretch) if stretch else ():
            follows = kind == "v" and run  # 社保 + 登记, but not 提供 + 全程
            if word not in _BREAKERS and (kind.startswith(_NOUNS) or follows):
                run.append((word, kind))
            else:
                yield from _phrases(run)
                run = []
        yield from _phrases(run)


def _phrases(run: list[tuple[str, str]]) -> Iterator[str]:
    """Yield a run as one phrase, or as several where it is longer than a topic may be."""
    phrase = ""
    for word, _ in [*run, ("", "")]:
        if word and len(phrase) + len(word) <= MAX_CHARS:
            phrase += word
            continue
        slogan = any(part in phrase for part in _SLOGANS)
        if len(phrase) >= MIN_PHRASE and not slogan and not _NO_TOPIC.search(phrase):
            yield phrase
        phrase = word if len(word) <= MAX_CHARS else ""
