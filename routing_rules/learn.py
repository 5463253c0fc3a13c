"""Learns which line (条线) a text sounds like, from texts whose answer is known.

A linear model over characters and their pairs: fitted by scikit-learn (the extra `learn`), served by
numpy alone, so that the running service carries neither the library nor its start-up time. What it
says is evidence of kind `model`: it can be asked which words spoke, and a rule that is sure counts
for more.
"""

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from routing_rules.text import plain

DECISION = "decision:"  # begins the label of a text that goes to no unit: `decision:manual`
_SAID = re.compile(r"[^\u4e00-\u9fffa-z0-9]+")
# A house or street named after a trade says where somebody is, not what the matter is.
_WHERE = re.compile(
    r"(?:税务|教育|电力|供电|公安|派出所|城管|法院|检察院?|工商|银行|医院|卫生|民政|水利|交通|国土|住建|财政|粮食|供销|邮政"
    r"|电信|移动|烟草|人社|劳动|司法|信访|环保|农业|林业|畜牧|气象|消防队?|学校)局?"
    r"(?=宾馆|酒店|花园|小区|新村|大厦|公寓|宿舍|家属院|[东南西北]?路|大道|街|巷|对面|旁边|后面|背后|门口|隔壁|附近|斜对面)"
)
_RUNS = (1, 2)
_LEVELS = 127  # a weight is kept in one signed byte


class Example(NamedTuple):
    """A text in `plain` form, the label it should get, and how much it counts."""

    text: str
    label: str
    weight: float = 1.0


class CasesError(ValueError):
    """A file of cases that cannot be learnt from; the message says why, in Chinese."""


def grams(text: str) -> set[str]:
    """Return the single characters and pairs of neighbours of a text in `plain` form."""
    parts = _SAID.sub(" ", _WHERE.sub(" ", text)).split()
    found: set[str] = set()
    for part in parts:
        for length in _RUNS:
            found.update([part[i : i + length] for i in range(len(part) - length + 1)])
    return found


class Heard(NamedTuple):
    """A text as a model heard it: the rows of the grams it knows, and the score of each label."""

    rows: list[int]
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """Fitted weights. `weights` has a row of bytes a gram, a column a label; a column's bytes times
    its `scale` are the weights. `rarity` is each gram's inverse document frequency."""

    labels: tuple[str, ...]
    vocabulary: Mapping[str, int]
    weights: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    rarity: npt.NDArray[np.float32]

    @cached_property
    def _grams(self) -> tuple[str, ...]:
        return tuple(self.vocabulary)

    def hear(self, text: str) -> "Heard":
        """Return what the model makes of a text in `plain` form."""
        known = self.vocabulary
        # Sorted: the same text gives the same words, whatever order a set has in this process.
        rows = sorted([known[gram] for gram in grams(text) if gram in known])
        if not rows:
            return Heard(rows, self.bias)
        rarity = self.rarity[rows]
        length = math.sqrt(float(rarity @ rarity))
        total = self.weights[rows].sum(axis=0, dtype=np.int32)
        return Heard(rows, total * (self.scale / np.float32(length)) + self.bias)

    def reasons(self, heard: "Heard", column: int, most: int = 4) -> tuple[str, ...]:
        """Return the words heard that spoke most for a label, each once."""
        weights = self.weights[heard.rows, column]
        words: list[str] = []
        for place in np.argsort(-weights.astype(np.int16), kind="stable")[: 8 * most].tolist():
            gram = self._grams[heard.rows[place]]
            if weights[place] <= 0 or len(words) == most:
                break
            if len(gram) > 1 and not any(gram in word or word in gram for word in words):
                words.append(gram)
        return tuple(words)

    def save(self, path: Path) -> None:
        """Write the model; the same model makes the same bytes."""
        np.savez_compressed(
            path,
            labels=np.array(self.labels),
            vocabulary=np.array("\n".join(self.vocabulary)),
            weights=self.weights,
            scale=self.scale,
            bias=self.bias,
            rarity=self.rarity,
        )


def load_model(path: Path) -> Model:
    """Return the model of a file. Raises OSError or ValueError for one that is none."""
    with np.load(path, allow_pickle=False) as stored:
        words = str(stored["vocabulary"]).split("\n")
        return Model(
            tuple(str(label) for label in stored["labels"]),
            {word: place for place, word in enumerate(words)},
            stored["weights"],
            stored["scale"],
            stored["bias"],
            stored["rarity"],
        )


def fit(examples: Sequence[Example], *, penalty: float = 0.5, least: int = 2) -> Model:
    """Return a model of the examples; deterministic. Needs scikit-learn (the extra `learn`).

    `penalty` is the inverse strength of regularisation, `least` in how many examples a gram must
    stand to count. Raises CasesError for examples of fewer than two labels.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415 the extra alone
    from sklearn.svm import LinearSVC  # noqa: PLC0415

    if len({example.label for example in examples}) < 2:
        msg = "至少要有两种不同的去向才能学习"
        raise CasesError(msg)
    vectors = TfidfVectorizer(analyzer=_sorted_grams, binary=True, min_df=least)
    matrix = vectors.fit_transform([example.text for example in examples])
    machine = LinearSVC(C=penalty, random_state=0)
    machine.fit(
        matrix,
        [example.label for example in examples],
        sample_weight=[example.weight for example in examples],
    )
    return _compact(vectors, machine)


def _sorted_grams(text: str) -> list[str]:
    return sorted(grams(text))


def _compact(vectors: Any, machine: Any) -> Model:
    """Fold the rarity into the weights and keep each in a byte."""
    rarity = vectors.idf_.astype(np.float32)
    weights = machine.coef_.T * rarity[:, None]
    labels = tuple(str(label) for label in machine.classes_)
    bias = machine.intercept_
    if len(labels) == 2:  # one column says both
        weights, bias = np.hstack([-weights, weights]), np.hstack([-bias, bias])
    scale = np.abs(weights).max(axis=0) / _LEVELS
    kept = np.rint(weights / scale).astype(np.int8)
    return Model(
        labels,
        dict(sorted(vectors.vocabulary_.items(), key=lambda pair: pair[1])),
        kept,
        scale.astype(np.float32),
        bias.astype(np.float32),
        rarity,
    )


def folds(examples: Sequence[Example], count: int) -> Iterable[tuple[list[int], list[int]]]:
    """Return (learn on, try on) places of the examples, `count` times; every example is tried once.

    By place modulo `count` within each label, so that each fold holds of all.
    """
    fold: list[int] = []
    seen: dict[str, int] = {}
    for example in examples:
        fold.append(seen.get(example.label, 0) % count)
        seen[example.label] = seen.get(example.label, 0) + 1
    for number in range(count):
        yield (
            [place for place, own in enumerate(fold) if own != number],
            [place for place, own in enumerate(fold) if own == number],
        )


def evaluate(examples: Sequence[Example], count: int = 5) -> dict[str, Any]:
    """Return how often a model is right on examples it has not seen, by cross-validation."""
    right: dict[str, list[bool]] = {}
    among_three = 0
    for learn_on, try_on in folds(examples, count):
        model = fit([examples[place] for place in learn_on])
        for place in try_on:
            example = examples[place]
            order = np.argsort(-model.hear(example.text).scores)[:3]
            named = [model.labels[place] for place in order]
            right.setdefault(example.label, []).append(named[0] == example.label)
            among_three += example.label in named
    n = sum(map(len, right.values()))
    return {
        "n": n,
        "folds": count,
        "accuracy": sum(map(sum, right.values())) / n,
        "among_three": among_three / n,
        "by_label": {
            label: {"n": len(found), "right": sum(found) / len(found)}
            for label, found in sorted(right.items())
        },
    }


def read_cases(path: Path) -> list[Example]:
    """Return the examples of a CSV file with the columns `text` and `label`. Raises CasesError.

    A label is a line's code, or `decision:` with manual, not_accepted or emergency_line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"text", "label"} <= set(rows.fieldnames or ()):
                msg = f"{path}：第一行应有 text 和 label 两列"
                raise CasesError(msg)
            examples = []
            for row in rows:
                text, label = (row["text"] or "").strip(), (row["label"] or "").strip()
                if not text or not label:
                    msg = f"{path}：第 {rows.line_num} 行缺少 text 或 label"
                    raise CasesError(msg)
                examples.append(Example(plain(text), label))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CasesError(f"{path}：{error}") from error
    return examples
