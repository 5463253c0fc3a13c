"""Words that speak for a rule: one pass over a text, and every rule's score with its words.

A rule says what people say when they mean it: `strong` words settle it nearly alone, `words` and
`weak` ones help, a `pairs` entry counts when words of each of its parts stand near each other
(`工地 吵`), a `not` word speaks against it. The parts may be concepts (concepts.yaml).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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
_AFTERWARDS = frozenset("路街巷大宿小家新花公广苑桥门对旁附后隔边斜正背那侧围")
# A clause that its own author sets aside.
_ASIDE = re.compile(
    r"[^,。;!?:、.]*(?:先不说|另外再打|另外再说|暂且不提|先不提|不说了|就不提了|不用管|不是我要说的"
    r"|不是这次|不是本次|已经解决|已解决了|已经修好|另案)[^,。;!?:.]*"
)


@dataclass(frozen=True, slots=True)
class Signals:
    """What speaks for a rule and against it; each text in the form of `plain`."""

    strong: tuple[str, ...]
    words: tuple[str, ...]
    weak: tuple[str, ...]
    pairs: tuple[tuple[tuple[str, ...], ...], ...]
    against: tuple[str, ...]


class Hit(NamedTuple):
    """A rule (by its place in the list) that a text speaks for."""

    rule: int
    score: float
    terms: tuple[str, ...]


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
                raise row.error(f"pairs 中有空词:“{token}”", "pairs")
            forms.extend(concepts.get(name, (plain(name),)))
        return tuple(dict.fromkeys(forms))

    pairs = []
    for written in row.texts("pairs"):
        parts = tuple(part(token) for token in written.split())
        if len(parts) < 2:
            raise row.error(f"pairs 每项至少两部分,现为“{written}”", "pairs")
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
        self,
        rules: Sequence[Signals],
        landmarks: Sequence[str] = (),
        *,
        doubt_short: bool = False,
    ) -> None:
        """`landmarks` are houses (派出所, 银行): 派出所门口 says where, not what it is about.

        With `doubt_short` a short word weighs less, for where it is one of thousands.
        """
        self._doubt_short = doubt_short
        surfaces: dict[str, int] = {}
        groups: dict[tuple[str, ...], int] = {}
        weights: dict[int, dict[int, float]] = {}
        self._against: dict[int, list[int]] = {}
        pairs: list[tuple[int, tuple[int, ...]]] = []
        for rule, signals in enumerate(rules):
            for weight, words in (
                (WEAK, signals.weak),
                (WORD, signals.words),
                (STRONG, signals.strong),
            ):
                for word in words:
                    term = surfaces.setdefault(word, len(surfaces))
                    share = SHORT if doubt_short and weight == STRONG and len(word) < 3 else 1.0
                    weights.setdefault(term, {})[rule] = weight * share
            for word in signals.against:
                term = surfaces.setdefault(word, len(surfaces))
                self._against.setdefault(term, []).append(rule)
            for parts in signals.pairs:
                ids = tuple(groups.setdefault(part, len(groups)) for part in parts)
                pairs.append((rule, ids))
        groups_of: dict[int, list[int]] = {}
        for part, group in groups.items():
            for word in part:
                term = surfaces.setdefault(word, len(surfaces))
                groups_of.setdefault(term, []).append(group)
        self._landmarks = frozenset(surfaces.setdefault(word, len(surfaces)) for word in landmarks)
        # A word that many rules claim says little for each of them.
        self._effects = {
            term: tuple((rule, w / max(1.0, len(by) / 2) ** 0.5) for rule, w in by.items())
            for term, by in weights.items()
        }
        self._groups_of = {term: tuple(ids) for term, ids in groups_of.items()}
        self._pairs = pairs
        self._pairs_of: list[list[int]] = [[] for _ in groups]
        for number, (_, ids) in enumerate(pairs):
            self._pairs_of[ids[0]].append(number)
        self._terms = tuple(surfaces)
        self._automaton = AhoCorasick(
            list(surfaces), MatchKind.Standard, False, Implementation.ContiguousNFA
        )

    @property
    def terms(self) -> tuple[str, ...]:
        """Every word that some rule listens for."""
        return self._terms

    def hits(self, text: str, title_chars: int = 0) -> list[Hit]:
        """Return the rules that a text in `plain` form speaks for, best first.

        The first `title_chars` characters are its title.
        """
        found: dict[int, list[tuple[int, int, float]]] = {}
        asides = [(*match.span(), 0.1) for match in _ASIDE.finditer(text)]
        matches = self._automaton.find_matches_as_indexes(text, overlapping=True)
        for term, start, end in matches:
            if (
                term in self._landmarks
                and text[end : end + 1] in _AFTERWARDS
                and (_LANDMARK.match(text, end) or _NAME_OF_A_PLACE.match(text, end))
            ):
                asides.append((start, end, 0.25))
        for term, start, end in matches:
            factor = TITLE if start < title_chars else 1.0
            if text[end : end + 1] in _AFTERWARDS:
                if _NAME_OF_A_PLACE.match(text, end):
                    continue
                if _LANDMARK.match(text, end):
                    factor *= 0.4
            for left, right, share in asides:
                if left <= start and end <= right:
                    factor *= share
            found.setdefault(term, []).append((start, end, factor))
        values: dict[int, list[tuple[float, str]]] = {}
        minus: dict[int, float] = {}
        places: dict[int, list[tuple[int, int, float]]] = {}
        terms = self._terms
        for term, spans in found.items():
            effects = self._effects.get(term)
            if effects:
                factor = max(span[2] for span in spans)
                for rule, weight in effects:
                    values.setdefault(rule, []).append((weight * factor, terms[term]))
            for rule in self._against.get(term, ()):
                minus[rule] = minus.get(rule, 0.0) + AGAINST * min(1.0, spans[0][2])
            groups = self._groups_of.get(term, ())
            if (
                groups and self._doubt_short and len(terms[term]) == 1
            ):  # 地, 水, 分 stand in many other words
                spans = [(start, end, factor * SINGLE) for start, end, factor in spans]
            for group in groups:
                there = places.get(group)
                if there is None:
                    places[group] = spans
                else:
                    places[group] = there + spans
        for group in places:
            for number in self._pairs_of[group]:
                rule, ids = self._pairs[number]
                for other in ids[1:]:
                    if other not in places:
                        break
                else:
                    value, words = _near([places[one] for one in ids], text)
                    if value > 0:
                        values.setdefault(rule, []).append((value, words))
        hits = []
        for rule, parts in values.items():
            parts.sort(reverse=True)
            score, share = -minus.get(rule, 0.0), 1.0
            for value, _ in parts:
                score += value * share
                share *= DECAY
            if score > 0:
                hits.append(Hit(rule, score, tuple(dict.fromkeys(word for _, word in parts[:4]))))
        hits.sort(key=lambda hit: -hit.score)
        return hits


def _near(parts: Sequence[Sequence[tuple[int, int, float]]], text: str) -> tuple[float, str]:
    """Return what words near each other are worth, and the words; 0 if they only overlap."""
    first = parts[0]
    worth, words = 0.0, ""
    for a in first:
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
            nearness = 1.0 if gap <= 12 else 0.8 if gap <= 30 else 0.5 if gap <= 60 else 0.2
            value = PAIR * nearness * min(span[2] for span in spans) * (1 + 0.2 * (len(parts) - 2))
            if value > worth:
                worth = value
                words = "…".join(text[s:e] for s, e, _ in sorted(spans))
    return worth, words
