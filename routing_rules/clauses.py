"""The clauses (条目) that the table rests on, as `banjie rules derive` wrote them, and their editions."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from routing_rules.yamlfile import RuleFileError

_DIGITS = "零一二三四五六七八九"
_CHINESE = re.compile(f"[{_DIGITS}]|[{_DIGITS}]?十[{_DIGITS}]?")
_NUMBER = re.compile(r"[()（）\s、.．]")


@dataclass(frozen=True, slots=True)
class Clause:
    """One item of a policy document. `key` is its number in one form (`37`, `四(二)`)."""

    region: str
    document: str
    item: str
    key: str
    lead_units: tuple[str, ...]
    responsible_units: tuple[str, ...]
    groups: tuple[str, ...]
    topics: tuple[str, ...]
    limits: tuple[str, ...]
    sha256: str

    @property
    def units(self) -> tuple[str, ...]:
        """Every single unit it names, those that lead first; a group is none."""
        return tuple(u for u in (*self.lead_units, *self.responsible_units) if u not in self.groups)


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between two editions of a document at one item, in Chinese."""

    item: str
    what: str


def number(item: str) -> str:
    """Return an item's number in one form: `1.` → `1`, `(三十七)` → `37`; others as they are."""
    bare = _NUMBER.sub("", item)
    if bare.isdecimal():
        return str(int(bare))
    if not _CHINESE.fullmatch(bare):
        return item
    tens, ten, ones = bare.partition("十")
    value = (_DIGITS.index(tens) if tens else 1) * 10 if ten else _DIGITS.index(tens)
    return str(value + (_DIGITS.index(ones) if ones else 0))


def read_clauses(path: Path) -> list[Clause]:
    """Return the clauses of a file that `banjie rules derive` wrote. Raises RuleFileError."""
    try:
        return parse_clauses(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as failure:
        raise RuleFileError(path, 1, f"无法读取：{failure}") from failure
    except (KeyError, TypeError) as failure:
        raise RuleFileError(path, 1, f"不是条目文件，缺少 {failure}") from failure


def parse_clauses(text: str) -> list[Clause]:
    """Return the clauses in the text of a clause file. Raises YAMLError, KeyError or TypeError."""
    content = yaml.load(text, Loader=yaml.CSafeLoader)
    document: Mapping[str, Any] = content["document"]
    name = str(document["number"] or document["title"])
    region = str(document["region"])
    return [_clause(row, name, region) for row in content["clauses"]]


def _clause(row: Mapping[str, Any], document: str, region: str) -> Clause:
    item = str(row["item"])
    headings = [str(part) for part in row["heading_path"]]
    key = number(item)
    # 宜春 numbers four paragraphs (一)-(四) again, under 四.
    if item != key and headings and not item.isdecimal() and region != "360000":
        inside = _NUMBER.sub("", item)
        key = f"{_NUMBER.sub('', headings[0])}({inside})"
    return Clause(
        region,
        document,
        item,
        key,
        tuple(row["lead_units"]),
        tuple(row["responsible_units"]),
        tuple(row["groups"]),
        tuple(row["topics"]),
        tuple(str(limit) for limit in row["limits"]),
        str(row["sha256"]),
    )


def diff(old: Sequence[Clause], new: Sequence[Clause]) -> list[Change]:
    """Return what changed from one edition of a document to the next, in the order of the items."""
    before = {clause.key: clause for clause in old}
    after = {clause.key: clause for clause in new}
    changes: list[Change] = []
    for key in dict.fromkeys([*before, *after]):
        a, b = before.get(key), after.get(key)
        if a is None:
            assert b is not None
            changes.append(Change(key, f"新增，单位：{_names(b.units)}"))
        elif b is None:
            changes.append(Change(key, f"删去，原单位：{_names(a.units)}"))
        else:
            changes.extend(Change(key, what) for what in _differences(a, b))
    return changes


def _differences(old: Clause, new: Clause) -> Iterable[str]:
    for label, before, after in (
        ("牵头单位", old.lead_units, new.lead_units),
        ("责任单位", old.responsible_units, new.responsible_units),
        ("时限", old.limits, new.limits),
        ("主题词", old.topics, new.topics),
    ):
        if before != after:
            yield f"{label}由{_names(before)}改为{_names(after)}"
    same_words = (old.lead_units, old.responsible_units) == (new.lead_units, new.responsible_units)
    if same_words and old.sha256 != new.sha256 and old.topics == new.topics:
        yield "文字有改动，单位未变"


def _names(names: Sequence[str]) -> str:
    return "、".join(names) or "（无）"
