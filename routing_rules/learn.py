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
from operator import add
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from routing_rules.text import plain

DECISION = "decision:"  # begins the label of a text that goes to no unit: `decision:manual`
_NOT_SAID = re.compile(r"[^\u4e00-\u9fffa-z0-9]")
# A house or street named after a trade says where somebody is, not what the matter is.
_WHERE = re.compile(
    r"(?:税务|教育|电力|供电|公安|派出所|城管|法院|检察院?|工商|银行|医院|卫生|民政|水利|交通|国土|住建|财政|粮食|供销|邮政"
    r"|电信|移动|烟草|人社|劳动|司法|信访|环保|农业|林业|畜牧|气象|消防队?|学校)局?"
    r"(?=宾馆|酒店|花园|小区|新村|大厦|公寓|宿舍|家属院|[东南西北]?路|大道|街|巷|对面|旁边|后面|背后|门口|隔壁|附近|斜对面)"
)
_LEVELS = 127  # a weight is kept in one signed byte


class Example(NamedTuple):
    """A text in `plain` form, the label it should get, and how much it counts."""

    text: str
    label: str
    weight: float = 1.0


class CasesError(ValueError):
    """A file of cases that cannot be learnt from; the message says why, in Chinese."""


def grams(text: str) -> list[str]:
    """Return the single characters and pairs of neighbours of a text in `plain` form, sorted."""
    text = _WHERE.sub(" ", text)
    found = {*text, *map(add, text, text[1:])}
    return sorted(gram for gram in found if not _NOT_SAID.search(gram))


class _Vocabulary:
    """Finds the rows of a text's grams with a few array operations: a look-up of each in a dict
    of all would cost more than all else that the model does.

    A gram's key is the number that its UTF-16 makes: so those of all pairs of a text are its bytes,
    read four at a time from every second one on. What the vocabulary lacks, marks and rare
    characters too, simply has no row.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        keys = [int.from_bytes(gram.encode("utf-16-be"), "big") for gram in vocabulary]
        order = np.argsort(keys)
        self._keys = np.array(keys, np.uint32)[order]
        self._row = np.fromiter(vocabulary.values(), np.intp)[order]

    def rows(self, text: str) -> npt.NDArray[np.intp]:
        """Return the rows of the grams of a text, each once, in an order that is always the same."""
        said = _WHERE.sub(" ", text).encode("utf-16-be")
        count = len(said) // 2
        if not count:
            return self._row[:0]
        # The first key is 0, no gram's: each other is asked whether it is its neighbour's double.
        keys = np.empty(2 * count, np.uint32)
        keys[0] = 0
        keys[1 : count + 1] = np.frombuffer(said, ">u2")
        keys[count + 1 :] = np.ndarray((count - 1,), ">u4", said, strides=(2,))
        keys.sort()
        keys = keys[1:].compress(keys[1:] != keys[:-1])
        places = self._keys.searchsorted(keys)
        rows: npt.NDArray[np.intp] = self._row.take(
            places.compress(self._keys.take(places, mode="clip") == keys)
        )
        return rows


class Heard(NamedTuple):
    """A text as a model heard it: the rows of the grams it knows, their weights, and the score of
    each label."""

    rows: npt.NDArray[np.intp]
    weights: npt.NDArray[np.int8]
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
    def _index(self) -> _Vocabulary:
        return _Vocabulary(self.vocabulary)

    @cached_property
    def _grams(self) -> tuple[str, ...]:
        return tuple(self.vocabulary)

    def hear(self, text: str) -> "Heard":
        """Return what the model makes of a text in `plain` form."""
        rows = self._index.rows(text)
        if not len(rows):
            return Heard(rows, self.weights[:0], self.bias)
        rarity = self.rarity.take(rows)
        length = math.sqrt(rarity.dot(rarity))
        weights = self.weights.take(rows, axis=0)
        # Half as wide a sum takes less time, where it cannot overflow.
        wide = np.int16 if len(rows) * _LEVELS < 1 << 15 else np.int32
        scores = np.add.reduce(weights, axis=0, dtype=wide) * self.scale
        scores /= length
        scores += self.bias
        return Heard(rows, weights, scores)

    def reasons(self, heard: "Heard", column: int, most: int = 4) -> tuple[str, ...]:
        """Return the pairs of characters heard that spoke most for a label."""
        weights = heard.weights[:, column]
        order = weights.argsort(kind="stable")[: -4 * most - 1 : -1]
        words: list[str] = []
        for row, weight in zip(
            heard.rows.take(order).tolist(), weights.take(order).tolist(), strict=True
        ):
            if weight <= 0 or len(words) == most:
                break
            gram = self._grams[row]
            if len(gram) > 1:
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
    vectors = TfidfVectorizer(analyzer=grams, binary=True, min_df=least)
    try:
        matrix = vectors.fit_transform([example.text for example in examples])
    except ValueError as error:  # no gram stands in as many examples
        msg = "例子太少，没有反复出现的字词可学"
        raise CasesError(msg) from error
    machine = LinearSVC(C=penalty, random_state=0)
    machine.fit(
        matrix,
        [example.label for example in examples],
        sample_weight=[example.weight for example in examples],
    )
    return _compact(vectors, machine)


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
