"""Words that speak for a rule: one pass over a text, and every rule's score with its words.

A rule says what people say when they mean it: `strong` words settle it nearly alone, `words` and
`weak` ones help, a `pairs` entry counts when words of each of its parts stand near each other
(`工地 吵`), a `not` word speaks against it. The parts may be concepts (concepts.yaml).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain, islice
from operator import itemgetter, or_
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

from routing_rules.text import plain
from routing_rules.yamlfile import Row, read

STRONG, WORD, WEAK, PAIR, AGAINST = 4.0, 1.6, 0.7, 4.2, 4.0
SIGNAL_KEYS = ("strong", "words", "weak", "pairs", "not")
SINGLE, SHORT = 0.65, 0.72
TITLE = 1.5  # a word in the title weighs more than one in a long story
DECAY = 0.62  # the second word of a rule says less than the first

# Behind an institution's word these make it the name of a road, a house, a bus stop.
_NAME_OF_A_PLACE = re.compile(
    r"路(?!线|灯|面|口|边|上|过|段|不|况|费|由|程|牌|堵|烂|坏|没|修|太|很|好|又|被)"
    r"|街(?!道|上|边|头)|巷|大道|宿舍|大厦|小区|家属院|家属楼|新村|花园|公寓|广场|苑|桥头"
)
# Behind a word these make it a landmark: where it is, not what it is about.
_LANDMARK = re.compile(
    r"门口|门前|对面|对过|旁|附近|后面|后门|隔壁|边上|斜对面|正对面|背后|那边|侧面|围墙外"
)
_BEHIND = re.compile(f"{_LANDMARK.pattern}|{_NAME_OF_A_PLACE.pattern}")
_AFTERWARDS = frozenset("路街巷大宿小家新花公广苑桥门对旁附后隔边斜正背那侧围")
# A clause that its own author sets aside.
_ASIDE_WORDS = (
    r"(?:先不说|另外再打|另外再说|暂且不提|先不提|不说了|就不提了|不用管|不是我要说的"
    r"|不是这次|不是本次|已经解决|已解决了|已经修好|另案)"
)
_ASIDE_MARK = re.compile(_ASIDE_WORDS)
# Tried at the beginning of a clause alone: tried at every character it would be quadratic.
_ASIDE = re.compile(rf"(?:^|(?<=[,。;!?:、.]))[^,。;!?:、.]*{_ASIDE_WORDS}[^,。;!?:.]*")
# A sincere text comes nowhere near these; past them a repeated word would only cost time, since
# every place of a word is held against every aside, and against every place of its pair's words.
MOST_SPANS = 16  # places of one word
MOST_ASIDES = 32
MOST_PART_SPANS = 48  # places of all words that may stand for one part of a pair


@dataclass(frozen=True, slots=True)
class Signals:
    """What speaks for a rule and against it; each text in the form of `plain`."""

    strong: tuple[str, ...]
    words: tuple[str, ...]
    weak: tuple[str, ...]
    pairs: tuple[tuple[tuple[str, ...], ...], ...]
    against: tuple[str, ...]


_Span: TypeAlias = tuple[int, int, float]  # start, end, what the word weighs there


class _Pair(NamedTuple):
    rule: int
    parts: tuple[tuple[int, ...], ...]  # the words that may stand for each
    single: float


class Hit(NamedTuple):
    """A rule (by its place in the list) that a text speaks for; `score` 0 where the words against
    it outweigh those for it."""

    rule: int
    score: float
    told: Sequence[tuple[float, str]]
    against: float = 0.0  # what the words against it took away

    @property
    def terms(self) -> tuple[str, ...]:
        """The words that spoke for it, the weightiest first, four at most."""
        if len(self.told) == 1:
            return (self.told[0][1],)
        return tuple(dict.fromkeys([word for _, word in self.told[:4]]))


_SCORE = itemgetter(Hit._fields.index("score"))


def split(row: Row, key: str) -> tuple[str, ...]:
    """Return the words of a key, parted by blanks, in `plain` form."""
    return tuple(plain(word) for part in row.texts(key) for word in part.split())


def read_concepts(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the surface forms of every concept. Raises RuleFileError."""
    concepts: dict[str, tuple[str, ...]] = {}
    for row in read(path):
        for name in row:
            if name in concepts:
                raise row.error(f"概念“{name}”重复", name)
            concepts[name] = split(row, name)
    return concepts


def read_signals(row: Row, concepts: Mapping[str, tuple[str, ...]]) -> Signals:
    """Return the signals of a rule's row. Raises RuleFileError for a part that is no pair."""

    def part(token: str) -> tuple[str, ...]:
        forms: list[str] = []
        for name in token.split("|"):
            if not name:
                raise row.error(f"pairs 中有空词：“{token}”", "pairs")
            forms.extend(concepts.get(name, (plain(name),)))
        return tuple(dict.fromkeys(forms))

    pairs = []
    for written in row.texts("pairs"):
        parts = tuple(part(token) for token in written.split())
        if len(parts) < 2:
            raise row.error(f"pairs 每项至少两部分，现为“{written}”", "pairs")
        pairs.append(parts)
    signals = Signals(
        split(row, "strong"),
        split(row, "words"),
        split(row, "weak"),
        tuple(pairs),
        tuple(form for word in split(row, "not") for form in concepts.get(word, (word,))),
    )
    if not (signals.strong or signals.words or signals.weak or signals.pairs):
        raise row.error("规则没有任何用词(strong、words、weak、pairs)")
    return signals


class Matcher:
    """All rules' words in one automaton."""

    def __init__(
        self, rules: Sequence[Signals], landmarks: Sequence[str] = (), doubted: int = 0
    ) -> None:
        """`landmarks` are houses (派出所, 银行): 派出所门口 says where, not what it is about.

        For the first `doubted` rules a short word weighs less, being one of thousands there.
        """
        # The words that speak by themselves have the first numbers, those of pairs alone the rest.
        surfaces: dict[str, int] = {}
        weights: dict[int, dict[int, float]] = {}
        against: dict[int, list[int]] = {}
        for rule, signals in enumerate(rules):
            doubt = rule < doubted
            for weight, words in (
                (WEAK, signals.weak),
                (WORD, signals.words),
                (STRONG, signals.strong),
            ):
                for word in words:
                    term = surfaces.setdefault(word, len(surfaces))
                    share = SHORT if doubt and weight == STRONG and len(word) < 3 else 1.0
                    weights.setdefault(term, {})[rule] = weight * share
            for word in signals.against:
                against.setdefault(surfaces.setdefault(word, len(surfaces)), []).append(rule)
        self._speaking = len(surfaces)
        # A word that many rules claim says little for each of them.
        self._effects = [
            tuple(
                (rule, weight / max(1.0, len(weights[term]) / 2) ** 0.5)
                for rule, weight in weights.get(term, {}).items()
            )
            for term in range(self._speaking)
        ]
        self._against = {term: tuple(spoken) for term, spoken in against.items()}
        self._pairs = [
            _Pair(
                rule,
                tuple(
                    tuple(surfaces.setdefault(word, len(surfaces)) for word in part)
                    for part in written
                ),
                SINGLE if rule < doubted else 1.0,
            )
            for rule, signals in enumerate(rules)
            for written in signals.pairs
        ]
        self._landmarks = frozenset(surfaces.setdefault(word, len(surfaces)) for word in landmarks)
        self._halves = _halves(self._pairs, len(surfaces))
        self._terms = tuple(surfaces)
        self._automaton = AhoCorasick(
            list(surfaces), MatchKind.Standard, False, Implementation.ContiguousNFA
        )

    @property
    def terms(self) -> tuple[str, ...]:
        """Every word that some rule listens for."""
        return self._terms

    def places(self, text: str) -> dict[str, list[tuple[int, int]]]:
        """Return where the words stand in a text in `plain` form that some rule listens for."""
        found = self._found(text, 0)
        return {
            self._terms[term]: [(start, end) for start, end, _ in spans]
            for term in found.terms
            if (spans := found.spans(term))
        }

    def hits(self, text: str, title_chars: int = 0) -> list[Hit]:
        """Return the rules that a text in `plain` form speaks for, best first.

        The first `title_chars` characters are its title.
        """
        found = self._found(text, title_chars)
        values: dict[int, list[tuple[float, str]]] = {}
        minus: dict[int, float] = {}
        # Of a text's fifty words five speak by themselves: `filter` and `map` pass over the others
        # without a step of the interpreter's for each.
        for term in filter(self._speaking.__gt__, found.terms):
            spans = found.spans(term)
            if not spans:
                continue
            factor = spans[0][2] if len(spans) == 1 else max([span[2] for span in spans])
            for rule, weight in self._effects[term]:
                told = (weight * factor, self._terms[term])
                if rule in values:
                    values[rule].append(told)
                else:
                    values[rule] = [told]
            for rule in self._against.get(term, ()):
                minus[rule] = minus.get(rule, 0.0) + AGAINST * min(1.0, spans[0][2])
        seen = reduce(or_, map(self._halves.__getitem__, found.terms), 0)
        whole = seen & seen >> len(self._pairs)
        while whole:
            pair = self._pairs[whole.bit_length() - 1]
            whole ^= 1 << whole.bit_length() - 1
            near = _near([found.of_any(part) for part in pair.parts], text, pair.single)
            if near[0] > 0:
                values.setdefault(pair.rule, []).append(near)
        return _ranked(values, minus)

    def _found(self, text: str, title_chars: int) -> "_Found":
        terms: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for match in self._automaton.find_matches_as_indexes(text, overlapping=True):
            terms[match[0]].append(match)
        asides = []
        if _ASIDE_MARK.search(text):
            every = _ASIDE.finditer(text)
            asides = [(*match.span(), 0.1) for match in islice(every, MOST_ASIDES)]
        if not self._landmarks.isdisjoint(terms):
            for term in sorted(terms.keys() & self._landmarks):
                for _, start, end in terms[term][:MOST_SPANS]:
                    if len(asides) < MOST_ASIDES and _BEHIND.match(text, end):
                        asides.append((start, end, 0.25))
        return _Found(text, title_chars, terms, asides)


def _halves(pairs: Sequence[_Pair], terms: int) -> list[int]:
    """Return for each term a bit for every pair whose rarest part it may stand for, and higher up,
    behind as many bits as there are pairs, one for every pair whose second rarest part it may.

    Joined over the terms of a text they show both bits of few pairs: those are looked at.
    """
    bits = [0] * terms
    for place, pair in enumerate(pairs):
        rarest = sorted(pair.parts, key=len)
        for part, bit in ((rarest[0], 1 << place), (rarest[1], 1 << place + len(pairs))):
            for term in part:
                bits[term] |= bit
    same = {
        bit: bit for bit in bits
    }  # words of one concept share theirs, and so the processor's cache
    return [same[bit] for bit in bits]


class _Found:
    """Where the words of a text stand, and what each weighs there.

    A text has fifty of them and few of them decide: what one weighs is worked out when asked for.
    """

    __slots__ = ("_asides", "_spans", "_text", "_title_chars", "terms")

    def __init__(
        self,
        text: str,
        title_chars: int,
        terms: Mapping[int, Sequence[tuple[int, int, int]]],
        asides: Sequence[_Span],
    ) -> None:
        self.terms = terms
        self._text = text
        self._title_chars = title_chars
        self._asides = asides
        self._spans: dict[int, list[_Span]] = {}

    def spans(self, term: int) -> list[_Span]:
        """Return where a word stands; no place where it is but part of another's name."""
        spans = self._spans.get(term)
        if spans is None:
            text, asides = self._text, self._asides
            spans = self._spans[term] = []
            for _, start, end in self.terms[term][:MOST_SPANS]:
                factor = TITLE if start < self._title_chars else 1.0
                if text[end : end + 1] in _AFTERWARDS:
                    if _NAME_OF_A_PLACE.match(text, end):
                        continue
                    if _LANDMARK.match(text, end):
                        factor *= 0.4
                for left, right, share in asides:
                    if left <= start and end <= right:
                        factor *= share
                spans.append((start, end, factor))
        return spans

    def of_any(self, terms: Iterable[int]) -> list[_Span]:
        """Return where any of these words stands, 48 places at most."""
        there = [self.spans(term) for term in filter(self.terms.__contains__, terms)]
        if len(there) == 1:
            return there[0]
        return list(islice(chain.from_iterable(there), MOST_PART_SPANS))


def _ranked(values: Mapping[int, list[tuple[float, str]]], minus: Mapping[int, float]) -> list[Hit]:
    """Return the rules by score: the weightiest word in full, each further one for less."""
    hits = []
    for rule, told in values.items():
        against = minus.get(rule, 0.0)
        if len(told) == 1:
            score = told[0][0] - against
        else:
            told.sort(reverse=True)
            score, share = -against, 1.0
            for value, _ in told:
                score += value * share
                share *= DECAY
        if score > 0:
            hits.append(Hit(rule, score, told, against))
        elif against:
            hits.append(Hit(rule, 0.0, told, against))
    hits.sort(key=_SCORE, reverse=True)
    return hits


def _near(parts: Sequence[Sequence[_Span]], text: str, single: float) -> tuple[float, str]:
    """Return what words near each other are worth, and the words; 0 if they only overlap."""
    worth: float = 0.0
    chosen: Sequence[_Span] = ()
    for a in parts[0]:
        spans, gap = [a], 0
        for other in parts[1:]:
            best, distance = None, 1 << 30
            for b in other:
                away = b[0] - a[1] if b[0] >= a[1] else a[0] - b[1]
                if 0 <= away < distance:
                    best, distance = b, away
            if best is None:
                break
            spans.append(best)
            gap = max(gap, distance)
        else:
            value = PAIR * (1.0 if gap <= 12 else 0.8 if gap <= 30 else 0.5 if gap <= 60 else 0.2)
            least = 9.0
            for start, end, factor in spans:
                least = min(least, factor * single if end - start == 1 else factor)
            value *= least * (1 + 0.2 * (len(parts) - 2))
            if value > worth:
                worth, chosen = value, spans
    return worth, "…".join([text[start:end] for start, end, _ in sorted(chosen)])
