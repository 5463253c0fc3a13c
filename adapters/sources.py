"""The systems that send complaints, from sources.yaml. Adding a city is a row there, not code."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import urlsplit

import yaml

from adapters.fields import parse_moment
from adapters.haochaping import Haochaping
from adapters.hotline_12345 import Hotline12345
from adapters.wenzheng_jiangxi import WenzhengJiangxi
from service.domain.complaint import Kind, Urgency
from service.domain.delivery import RECEIVER_KEYS, BadReceiver, receiver
from service.domain.ports import Adapter, Poll, Receiver, Source
from service.domain.ticket import of_source

ADAPTERS: Mapping[str, type[Adapter]] = MappingProxyType(
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
_KEYS = (*_TEXTS, "field_map", "kinds", "urgencies", "poll", "callback")

_POLL = (
    "url",
    "every",
    "page_size",
    "overlap",
    "order",
    "items",
    "changed",
    "params",
    "token",
    "from",
)
_PARAMS = ("since", "page", "size")
_ORDERS = ("oldest_first", "newest_first")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_SPAN = re.compile(r"([0-9]{1,6}) ?(s|min|h|d)")
_UNITS = {
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_SPANS = (
    ("every", timedelta(seconds=1), timedelta(days=1), "1 秒至 1 天"),
    ("overlap", timedelta(0), timedelta(days=30), "不超过 30 天"),
)

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
    adapter = ADAPTERS[texts["adapter"]]
    field_map = _field_map(file, entries, adapter.FIELDS)
    return Source(
        name=name.value,
        adapter=texts["adapter"],
        channel=texts["channel"],
        label=texts["label"],
        region=texts.get("region", ""),
        field_map=field_map,
        kinds=_words(file, entries, "kinds", Kind),
        urgencies=_words(file, entries, "urgencies", Urgency),
        poll=_poll(file, entries, adapter.TIMES["accepted_at"], field_map),
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


def _poll(
    file: "_File", source: "_Entries", received: str, field_map: Mapping[str, str]
) -> Poll | None:
    """Return how a source's list is read; without `changed` by the time at which a row was received,
    under the name that the source has for it."""
    if "poll" not in source:
        return None
    entries = file.inner(source, "poll")
    for key, (node, _) in entries.items():
        if key not in _POLL:
            raise file.error(node, f"poll 没有键 {key}，可用的是 {' '.join(_POLL)}")
    for key in ("url", "every"):
        if key not in entries:
            raise file.error(source["poll"][0], f"poll 缺少 {key}")
    read = {key: file.text(node) for key, (_, node) in entries.items() if key != "params"}

    def held(key: str, right: object, reason: str) -> None:
        if not right:
            raise file.error(entries[key][1], f"{key} {reason}")

    held("url", _is_address(read["url"]), "应为 http 或 https 地址，不带用户名、密码和 #")
    spans: dict[str, timedelta] = {}
    for key, least, most, said in _SPANS:
        if key in read:
            found = _SPAN.fullmatch(read[key])
            spans[key] = int(found[1]) * _UNITS[found[2]] if found else timedelta(-1)
            held(key, least <= spans[key] <= most, f"应为时长，如 60s、10min、2h，{said}")
    if "page_size" in read:
        digits = read["page_size"]
        held(
            "page_size",
            digits.isascii() and digits.isdecimal() and 1 <= int(digits[:9]) <= 500,
            "应为 1 至 500 的整数",
        )
    if "order" in read:
        held("order", read["order"] in _ORDERS, f"只能是 {' '.join(_ORDERS)}")
    newest_first = read.get("order") == _ORDERS[1]
    if "items" in read:
        held(
            "items",
            not read["items"] or read["items"].startswith("/"),
            "应为 JSON 指针，如 /data/list",
        )
    if "token" in read:
        held("token", _VARIABLE.fullmatch(read["token"]), "应为环境变量名，不能直接写令牌")
    start = parse_moment(read["from"]) if "from" in read else None
    if "from" in read:
        held("from", start, "应为时间，如 2026-11-01 00:00:00")
    if "changed" in read:
        held("changed", read["changed"], "应为来件中的字段名")
    params = {}
    for key, (key_node, node) in file.inner(entries, "params").items():
        if key not in _PARAMS:
            raise file.error(key_node, f"params 没有键 {key}，可用的是 {' '.join(_PARAMS)}")
        params[key] = file.text(node)
        if not params[key] and not (key == "since" and newest_first):
            raise file.error(node, f"params 的 {key} 不能为空")
    if len(set(params.values())) < len(params):
        raise file.error(entries["params"][0], "params 中有重复的参数名")
    written = {canon: name for name, canon in field_map.items()}
    usual = Poll(url=read["url"], changed=written.get(received, received), every=spans["every"])
    return replace(
        usual,
        changed=read.get("changed", usual.changed),
        page_size=int(read.get("page_size", usual.page_size)),
        overlap=spans.get("overlap", usual.overlap),
        newest_first=newest_first,
        items=read.get("items", usual.items),
        since=params.get("since", usual.since),
        page=params.get("page", usual.page),
        size=params.get("size", usual.size),
        token=read.get("token", ""),
        start=start,
    )


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(
            parts.scheme in {"http", "https"}
            and parts.hostname
            and (parts.port is None or parts.port)
            and text.isascii()
            and text.isprintable()
            and " " not in text
            and parts.username is None
            and not parts.fragment
        )
    except ValueError:
        return False


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
