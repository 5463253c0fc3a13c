"""The systems that send complaints, from sources.yaml. Adding a city is a row there, not code."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import yaml

from adapters.haochaping import Haochaping
from adapters.hotline_12345 import Hotline12345
from adapters.wenzheng_jiangxi import WenzhengJiangxi
from service.domain.complaint import Kind, Urgency
from service.domain.delivery import RECEIVER_KEYS, BadReceiver, receiver
from service.domain.ports import Receiver, Source
from service.domain.ticket import of_source

ADAPTERS: Mapping[str, type[Hotline12345 | WenzhengJiangxi | Haochaping]] = MappingProxyType(
    {
        "hotline_12345": Hotline12345,
        "wenzheng_jiangxi": WenzhengJiangxi,
        "haochaping": Haochaping,
    }
)
SHIPPED = Path(__file__).with_name("sources.yaml")

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_REGION = re.compile(r"[0-9]{6}")
_REQUIRED = ("adapter", "channel", "label")
_TEXTS = (*_REQUIRED, "region")
_KEYS = (*_TEXTS, "field_map", "kinds", "urgencies", "callback")

_Word = TypeVar("_Word", bound=StrEnum)


class SourceFileError(Exception):
    """A sources file that must stop the start: which file, which line (0 for the whole), why."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


def load_sources(path: Path | None = None) -> dict[str, Source]:
    """Return the sources of a file by name, or those shipped if there is none.

    A file replaces the shipped one as a whole. Raise SourceFileError at the first thing that is
    wrong: an unknown or repeated key, an unknown adapter, a field or word that means nothing.
    """
    file = _File(path or SHIPPED)
    return {
        name.value: _source(file, name, node) for name, node in file.entries(file.root()).values()
    }


def _source(file: "_File", name: yaml.Node, node: yaml.Node) -> Source:
    if not _NAME.fullmatch(name.value):
        raise file.error(name, "来源名只能用小写字母、数字和连字符")
    entries = file.entries(node)
    for key, (key_node, _) in entries.items():
        if key not in _KEYS:
            raise file.error(key_node, f"不认识的键 {key}，可用的是 {' '.join(_KEYS)}")
    texts = {key: file.text(entries[key][1]) for key in _TEXTS if key in entries}
    for key in _REQUIRED:
        if not texts.get(key):
            raise file.error(name, f"缺少 {key}")
    if texts["adapter"] not in ADAPTERS:
        known = " ".join(ADAPTERS)
        raise file.error(entries["adapter"][1], f"没有这个适配器，可用的是 {known}")
    if not _REGION.fullmatch(texts.get("region", "000000")):
        raise file.error(entries["region"][1], "region 应为六位行政区划代码")
    return Source(
        name=name.value,
        adapter=texts["adapter"],
        channel=texts["channel"],
        label=texts["label"],
        region=texts.get("region", ""),
        field_map=_field_map(file, entries, ADAPTERS[texts["adapter"]].FIELDS),
        kinds=_words(file, entries, "kinds", Kind),
        urgencies=_words(file, entries, "urgencies", Urgency),
        callback=_callback(file, name.value, entries["callback"][1])
        if "callback" in entries
        else None,
    )


def _callback(file: "_File", source: str, node: yaml.Node) -> Receiver:
    """Return the system that is told what became of a source's tickets."""
    entries = file.entries(node)
    for key, (key_node, _) in entries.items():
        if key not in RECEIVER_KEYS:
            raise file.error(key_node, f"不认识的键 {key}，可用的是 {' '.join(RECEIVER_KEYS)}")
    texts = {key: file.text(value) for key, (_, value) in entries.items() if key != "events"}
    events = file.texts(entries["events"][1]) if "events" in entries else []
    try:
        return receiver(of_source(source), texts, events)
    except BadReceiver as error:
        where = entries[error.key][1] if error.key in entries else node
        raise file.error(where, f"callback：{error.reason}") from error


def _field_map(
    file: "_File", entries: "_Entries", canonical: Mapping[str, str]
) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for written, (_, node) in file.inner(entries, "field_map").items():
        canon = file.text(node)
        if canon not in canonical:
            raise file.error(node, f"通道没有字段 {canon}，可用的是 {' '.join(canonical)}")
        if canon in found.values():
            raise file.error(node, f"两个字段都对应 {canon}")
        found[written] = canon
    return MappingProxyType(found)


def _words(
    file: "_File", entries: "_Entries", key: str, meanings: type[_Word]
) -> Mapping[str, _Word]:
    found: dict[str, _Word] = {}
    for word, (_, node) in file.inner(entries, key).items():
        meaning = file.text(node)
        if meaning not in set(meanings):
            raise file.error(node, f"{key} 的值只能是 {' '.join(meanings)}")
        found[word] = meanings(meaning)
    return MappingProxyType(found)


_Entries = dict[str, tuple[yaml.Node, yaml.Node]]


class _File:
    """A YAML file as nodes: each knows its line, and a word stays the word that was written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def root(self) -> yaml.Node:
        try:
            root = yaml.compose(self._path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except OSError as error:
            raise SourceFileError(self._path, 0, f"读不了文件：{error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SourceFileError(self._path, 0, "文件不是 UTF-8") from error
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            raise SourceFileError(self._path, line, f"不是合法的 YAML：{error.problem}") from error
        except yaml.YAMLError as error:
            raise SourceFileError(self._path, 0, f"不是合法的 YAML：{error}") from error
        if root is None or root.value == []:
            raise SourceFileError(self._path, 0, "文件里没有来源")
        return root

    def error(self, node: yaml.Node, reason: str) -> SourceFileError:
        return SourceFileError(self._path, node.start_mark.line + 1, reason)

    def text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(node, "应为文字")
        return str(node.value).strip()

    def texts(self, node: yaml.Node) -> list[str]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(node, "应为列表")
        return [self.text(part) for part in node.value]

    def entries(self, node: yaml.Node) -> _Entries:
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, "应为键值表")
        found: _Entries = {}
        for key_node, value_node in node.value:
            key = self.text(key_node)
            if not key or key in found:
                raise self.error(key_node, f"键 {key} 重复了" if key else "键是空的")
            found[key] = (key_node, value_node)
        return found

    def inner(self, entries: _Entries, key: str) -> _Entries:
        return self.entries(entries[key][1]) if key in entries else {}
