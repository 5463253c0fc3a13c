"""The one door to rule files: YAML in, rows that know their file and line out.

Every scalar stays text, exactly as written: `no`, `360732` and `2021-04-03` are not turned into a
truth value, a number or a date behind the author's back. The reader of a row says what it wants
(`row.integer("items")`), and a row that cannot give it fails with file, line and reason.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TypeAlias

import yaml

Value: TypeAlias = "str | list[Value] | Row"


class RuleFileError(Exception):
    """A rule file does not load: where (`file`, `line`, counted from 1) and why, in Chinese."""

    def __init__(self, file: Path, line: int, reason: str) -> None:
        super().__init__(f"{file}:{line}: {reason}")
        self.file = file
        self.line = line
        self.reason = reason


class Row(Mapping[str, Value]):
    """One mapping of a rule file, with the line it starts on and the line of each key."""

    __slots__ = ("_fields", "_lines", "file", "line")

    def __init__(
        self, file: Path, line: int, fields: dict[str, Value], lines: dict[str, int]
    ) -> None:
        self.file = file
        self.line = line
        self._fields = fields
        self._lines = lines

    def __getitem__(self, key: str) -> Value:
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Row({self.file.name}:{self.line}, {self._fields!r})"

    def error(self, reason: str, key: str | None = None) -> RuleFileError:
        """Return (not raise) the error that points at this row, or at one of its keys."""
        line = self._lines.get(key, self.line) if key else self.line
        return RuleFileError(self.file, line, reason)

    def only(self, *keys: str) -> None:
        """Refuse a key that is none of these: a misspelt key must not be ignored in silence."""
        for key in self._fields:
            if key not in keys:
                raise self.error(f"不认识的键 {key},可用的键:{'、'.join(keys)}", key)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text; without a default the key must be there and not be empty."""
        value = self._fields.get(key)
        if value is None:
            if default is None:
                raise self.error(f"缺少 {key}")
            return default
        if not isinstance(value, str):
            raise self.error(f"{key} 应为一段文字", key)
        if not value and default is None:
            raise self.error(f"{key} 不能为空", key)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, () when the key is missing; one text is a list of one."""
        value = self._fields.get(key)
        if value is None:
            return ()
        parts = value if isinstance(value, list) else [value]
        texts = tuple(part for part in parts if isinstance(part, str) and part)
        if len(texts) != len(parts):
            raise self.error(f"{key} 应为文字列表,且每项不为空", key)
        return texts

    def rows(self, key: str) -> tuple["Row", ...]:
        """Return a list of nested mappings, () when the key is missing."""
        value = self._fields.get(key, [])
        parts = value if isinstance(value, list) else [value]
        rows = tuple(part for part in parts if isinstance(part, Row))
        if len(rows) != len(parts):
            raise self.error(f"{key} 应为映射列表", key)
        return rows

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a whole number."""
        text = self.text(key, None if default is None else str(default))
        try:
            return int(text)
        except ValueError:
            raise self.error(f"{key} 应为整数,现为“{text}”", key) from None

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number."""
        text = self.text(key, None if default is None else str(default))
        try:
            return float(text)
        except ValueError:
            raise self.error(f"{key} 应为数字,现为“{text}”", key) from None

    def flag(self, key: str, default: bool = False) -> bool:
        """Return a truth value, written `true` or `false` and nothing else."""
        return self.choice(key, ("true", "false"), "true" if default else "false") == "true"

    def choice(self, key: str, options: Sequence[str], default: str | None = None) -> str:
        """Return one of the options."""
        text = self.text(key, default)
        if text not in options:
            raise self.error(f"{key} 应为 {'、'.join(options)} 之一,现为“{text}”", key)
        return text

    def day(self, key: str) -> date | None:
        """Return a date written `2018-10-25`, or None when the key is missing."""
        if key not in self._fields:
            return None
        text = self.text(key)
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise self.error(f"{key} 应为日期(年-月-日),现为“{text}”", key) from None


def read(path: Path) -> list[Row]:
    """Return the rows of a file whose top level is a list of mappings; [] for an empty file.

    Raises RuleFileError for a file that is missing, is not UTF-8 or not YAML, and for a key that
    stands twice in one mapping, an alias, or a top level of another shape.
    """
    try:
        content = path.read_bytes()
    except OSError as failure:
        raise RuleFileError(path, 1, f"无法读取:{failure.strerror}") from failure
    return parse(path, content)


def parse(path: Path, content: bytes) -> list[Row]:
    """Return the rows of what stands, or would stand, in a file; raises as `read` does."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        line = content.count(b"\n", 0, failure.start) + 1
        raise RuleFileError(path, line, "不是 UTF-8 编码") from failure
    loader = yaml.CSafeLoader(text)
    try:
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark or failure.context_mark
        line = mark.line + 1 if mark else 1
        raise RuleFileError(path, line, f"不是正确的 YAML:{failure.problem}") from failure
    except yaml.YAMLError as failure:
        raise RuleFileError(path, 1, f"不是正确的 YAML:{failure}") from failure
    finally:
        loader.dispose()
    if root is None:
        return []
    rows = _value(path, root, set())
    if not isinstance(rows, list):
        raise RuleFileError(path, root.start_mark.line + 1, "文件最外层应为列表")
    found = []
    for row, node in zip(rows, root.value, strict=True):
        if not isinstance(row, Row):
            raise RuleFileError(path, node.start_mark.line + 1, "列表每项应为映射(键: 值)")
        found.append(row)
    return found


def overlaid(
    folders: Iterable[Path], name: str, key: str = "code", more: Sequence[Row] = ()
) -> dict[str, Row]:
    """Return the rows of `name` in each folder by their `key`; a later folder adds and replaces, and
    `more` rows do so last.

    The first folder must have the file, the others may. The same key twice in one file is refused:
    which of the two was meant cannot be known.
    """
    merged: dict[str, Row] = {}
    for place, folder in enumerate(folders):
        path = folder / name
        if place and not path.exists():
            continue
        here: dict[str, Row] = {}
        for row in read(path):
            code = row.text(key)
            if code in here:
                raise row.error(f"{key} {code} 重复,第 {here[code].line} 行已有", key)
            here[code] = row
        merged.update(here)
    merged.update((row.text(key), row) for row in more)
    return merged


def _value(path: Path, node: yaml.Node, seen: set[int]) -> Value:
    if id(node) in seen:
        raise RuleFileError(path, node.start_mark.line + 1, "不使用 YAML 别名(*)")
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_value(path, part, seen) for part in node.value]
    fields: dict[str, Value] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise RuleFileError(path, line, "键应为文字")
        key = str(key_node.value)
        if key in fields:
            raise RuleFileError(path, line, f"键 {key} 重复,第 {lines[key]} 行已有")
        lines[key] = line
        fields[key] = _value(path, value_node, seen)
    return Row(path, node.start_mark.line + 1, fields, lines)
