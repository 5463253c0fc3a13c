"""A weak second opinion for tickets whose words no rule knows: pairs of characters and their lines.

The weights are data (fallback.yaml) that `fit` makes of the rules' own words and of cases whose
answer is known. They never overrule a rule that is sure, and their evidence says what it is.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from routing_rules.signals import Signals
from routing_rules.yamlfile import read

_SAID = re.compile(r"[^\u4e00-\u9fffa-z0-9]+")
_KNOWN_SHARE = 0.3  # what a rule's own word counts beside a word of a real case
_PART_SHARE = 0.1
_PRIOR = 120.0  # pairs of characters that every line is thought to have said already
_LEAST = 0.9


class Guess(NamedTuple):
    """A line, how strongly the characters speak for it, and the pairs that spoke most."""

    line: str
    score: float
    pairs: tuple[str, ...]


def pairs(text: str) -> set[str]:
    """Return the pairs of neighbouring characters of a text in `plain` form."""
    return {part[i : i + 2] for part in _SAID.sub(" ", text).split() for i in range(len(part) - 1)}


def fit(
    rules: Iterable[tuple[str, str, Signals]], cases: Iterable[tuple[str, str]]
) -> dict[str, dict[str, float]]:
    """Return each line's weights by pair of characters.

    `rules` are (line, name, signals), `cases` (line, text), all texts in `plain` form.
    """
    said: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for line, name, signals in rules:
        for word in (name, *signals.strong, *signals.words):
            for pair in pairs(word):
                said[line][pair] += _KNOWN_SHARE
        for entry in signals.pairs:
            for part in entry:
                for word in part[:12]:
                    for pair in pairs(word):
                        said[line][pair] += _PART_SHARE / len(part[:12])
    for line, text in cases:
        for pair in pairs(text):
            said[line][pair] += 1.0
    every: dict[str, float] = defaultdict(float)
    for counts in said.values():
        for pair, count in counts.items():
            every[pair] += count
    total = sum(every.values())
    weights: dict[str, dict[str, float]] = {}
    for line, counts in said.items():
        mass = sum(counts.values())
        found = {
            pair: math.log((count + _PRIOR * every[pair] / total) / (mass + _PRIOR))
            - math.log(every[pair] / total)
            for pair, count in counts.items()
        }
        weights[line] = {pair: round(w, 1) for pair, w in found.items() if w >= _LEAST}
    return weights


def read_weights(path: Path, lines: set[str]) -> dict[str, dict[str, float]]:
    """Return the weights of a file by line. Raises RuleFileError."""
    weights: dict[str, dict[str, float]] = {}
    for row in read(path):
        row.only("line", "weights")
        line = row.text("line")
        if line not in lines:
            raise row.error(f"条线 {line} 不存在", "line")
        found: dict[str, float] = {}
        for part in row.text("weights").split():
            try:
                found[part[:2]] = float(part[2:])
            except ValueError:
                raise row.error(f"权重应写作两个字加数字，现为“{part}”", "weights") from None
        weights[line] = found
    return weights


def written(weights: Mapping[str, Mapping[str, float]]) -> str:
    """Return the file's text, equal for equal weights."""
    rows = [
        "# Made by bench/fit_fallback.py of the rules' words and the invented cases. Do not edit."
    ]
    for line in sorted(weights):
        parts = " ".join(f"{pair}{w}" for pair, w in sorted(weights[line].items()))
        if parts:
            rows.append(f'- {{line: {line}, weights: "{parts}"}}')
    return "\n".join(rows) + "\n"


class Fallback:
    """Guesses a line by pairs of characters."""

    def __init__(self, weights: Mapping[str, Mapping[str, float]]) -> None:
        by_pair: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for line, of_line in weights.items():
            for pair, weight in of_line.items():
                by_pair[pair].append((line, weight))
        self._by_pair = {pair: tuple(by) for pair, by in by_pair.items()}

    def guesses(self, text: str, most: int = 6) -> list[Guess]:
        """Return the lines that a text in `plain` form sounds like, the likeliest first."""
        scores: dict[str, float] = {}
        known = self._by_pair
        said = [pair for pair in pairs(text) if pair in known]
        for pair in said:
            for line, weight in known[pair]:
                scores[line] = scores.get(line, 0.0) + weight
        best = sorted(scores, key=lambda line: (-scores[line], line))[:most]
        return [Guess(line, scores[line], self._loudest(line, said)) for line in best]

    def _loudest(self, line: str, said: Sequence[str]) -> tuple[str, ...]:
        told = [(w, pair) for pair in said for other, w in self._by_pair[pair] if other == line]
        return tuple(pair for _, pair in sorted(told, reverse=True)[:4])
