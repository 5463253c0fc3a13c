"""The systems that send complaints, from sources.yaml. Adding a city is a row there, not code."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import urlsplit

import yaml

from adapters.fields import ATTACHMENT_PARTS, ATTACHMENTS, BROKEN, ITEM, parse_moment
from adapters.haochaping import Haochaping
from adapters.hotline_12345 import Hotline12345
from adapters.wenzheng_jiangxi import WenzhengJiangxi
from service.domain.complaint import Kind, Urgency
from service.domain.delivery import RECEIVER_KEYS, BadReceiver, receiver
from service.domain.flow import Rate
from service.domain.ports import Adapter, Auth, Clocks, Poll, Receiver, Source
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
_NAME_CHARS = 64
# A functional zone's code has a K in it, a town's has nine digits.
_REGION = re.compile(r"[0-9K]{6}(?:[0-9K]{3})?")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,99}")
_NUMBER = re.compile(r"[0-9]{1,7}")
_REQUIRED = ("adapter", "channel", "label")
_TEXTS = (*_REQUIRED, "region", "kind", "coordinator", "auth")
_WORDS = ("kinds", "urgencies", "regions", "ratings")
_KEYS = (*_TEXTS, "field_map", *_WORDS, "clocks", "rate_limit", "secrets", "poll", "callback")
_SECRETS = 2
# What a key says something about: the field that its adapter must read.
_ABOUT = MappingProxyType(
    {
        "kind": "appealTypeName",
        "kinds": "appealTypeName",
        "urgencies": "urgency",
        "ratings": "satisfaction",
    }
)

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
_Meaning = TypeVar("_Meaning")


class SourceFileError(Exception):
    """A sources file that must stop the start: which file, which line (0 for the whole), why."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SourceFile:
    """What a file defines: the sources that can be read, what is wrong with the others, and the line
    of each source and of each of its keys (`name`, `name/region`)."""

    path: Path
    sources: Mapping[str, Source]
    faults: Sequence[SourceFileError]
    lines: Mapping[str, int]


def load_sources(path: Path | None = None) -> dict[str, Source]:
    """Return the sources of a file by name, or those shipped if there is none.

    A file replaces the shipped one as a whole. Raise SourceFileError at the first thing that is
    wrong: an unknown or repeated key, an unknown adapter, a field or word that means nothing.
    """
    found = read_sources(path)
    if found.faults:
        raise found.faults[0]
    return dict(found.sources)


def read_sources(path: Path | None = None) -> SourceFile:
    """Return what a file defines with the first fault of each source; raise SourceFileError where
    the file as a whole cannot be read."""
    file = _File(path or SHIPPED)
    sources: dict[str, Source] = {}
    faults: list[SourceFileError] = []
    lines: dict[str, int] = {}
    for name, node in file.entries(file.root()).values():
        lines[name.value] = name.start_mark.line + 1
        try:
            for key, (key_node, _) in file.entries(node).items():
                lines[f"{name.value}/{key}"] = key_node.start_mark.line + 1
            sources[name.value] = _source(file, name, node)
        except SourceFileError as fault:
            faults.append(fault)
    return SourceFile(path or SHIPPED, sources, faults, lines)


def _source(file: "_File", name: yaml.Node, node: yaml.Node) -> Source:
    if not _NAME.fullmatch(name.value) or len(name.value) > _NAME_CHARS:
        raise file.error(name, f"来源名只能用小写字母、数字和连字符，不超过 {_NAME_CHARS} 个")
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
    adapter = ADAPTERS[texts["adapter"]]
    fields = adapter.FIELDS
    for key, about in _ABOUT.items():
        if key in entries and about not in fields:
            raise file.error(entries[key][0], f"适配器 {texts['adapter']} 不读 {key}")
    if len(texts["channel"]) > _NAME_CHARS or not _NAME.fullmatch(texts["channel"]):
        raise file.error(entries["channel"][1], "channel 只能用小写字母、数字和连字符")
    if "region" in texts and not _REGION.fullmatch(texts["region"]):
        raise file.error(entries["region"][1], "region 应为六位行政区划代码，乡镇为九位")
    field_map = _field_map(file, entries, fields)
    secrets = _secrets(file, entries)
    return Source(
        name=name.value,
        adapter=texts["adapter"],
        channel=texts["channel"],
        label=texts["label"],
        region=texts.get("region", ""),
        field_map=field_map,
        kinds=_words(file, entries, "kinds", _one_of(Kind)),
        urgencies=_words(file, entries, "urgencies", _one_of(Urgency)),
        regions=_words(file, entries, "regions", _region),
        ratings=_words(file, entries, "ratings", _rating),
        kind=_value(file, entries, "kind", _one_of(Kind)),
        clocks=_clocks(file, entries),
        coordinator=texts.get("coordinator", ""),
        rate=_rate(file, entries),
        auth=_auth(file, name, entries, secrets),
        secrets=secrets,
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
    parts = {f"{ATTACHMENTS}{ITEM}{part}" for part in ATTACHMENT_PARTS}
    known = [*canonical, *sorted(parts)] if ATTACHMENTS in canonical else [*canonical]
    found: dict[str, str] = {}
    for written, (key_node, node) in file.inner(entries, "field_map").items():
        canon = file.text(node)
        if canon not in known:
            raise file.error(node, f"通道没有字段 {canon}，可用的是 {' '.join(known)}")
        if canon in found.values():
            raise file.error(node, f"两个字段都对应 {canon}")
        if (ITEM in written) != (canon in parts):
            raise file.error(key_node, f"附件各项的写法是 fjlb{ITEM}dz: {ATTACHMENTS}{ITEM}url")
        if ITEM not in written and not all(written.split(".")):
            raise file.error(key_node, f"路径 {written} 中有空的一级")
        found[written] = canon
    held = {canon: written for written, canon in found.items()}.get(ATTACHMENTS, ATTACHMENTS)
    for written, canon in found.items():
        if canon in parts and written.partition(ITEM)[0] != held:
            raise file.error(
                entries["field_map"][0], f"{written} 不在附件列表 {held} 中，应为 {held}{ITEM}…"
            )
    return MappingProxyType(found)


def _clocks(file: "_File", entries: "_Entries") -> Clocks:
    inner = file.inner(entries, "clocks")
    for key, (key_node, _) in inner.items():
        if key not in {"limit", "starts"}:
            raise file.error(key_node, f"不认识的键 clocks.{key}，可用的是 limit starts")
    named = {key: file.text(node) for key, (_, node) in inner.items()}
    for key, (key_node, _) in inner.items():
        if not named[key] or ITEM in named[key] or not all(named[key].split(".")):
            raise file.error(key_node, f"clocks.{key} 应为字段名")
    if named.get("limit") == Clocks.RECEIPT:
        raise file.error(inner["limit"][1], "receipt 是受理，只能写在 starts")
    return Clocks(named.get("limit", ""), named.get("starts", ""))


def _rate(file: "_File", entries: "_Entries") -> Rate | None:
    if "rate_limit" not in entries:
        return None
    inner = file.inner(entries, "rate_limit")
    for key, (key_node, _) in inner.items():
        if key not in {"per_minute", "burst"}:
            raise file.error(key_node, f"不认识的键 rate_limit.{key}，可用的是 per_minute burst")
    if "per_minute" not in inner:
        raise file.error(entries["rate_limit"][0], "缺少 rate_limit.per_minute")
    numbers = {}
    for key, (_, node) in inner.items():
        text = file.text(node)
        if not _NUMBER.fullmatch(text) or not int(text):
            raise file.error(node, f"rate_limit.{key} 应为大于 0 的整数")
        numbers[key] = int(text)
    return Rate(numbers["per_minute"], numbers.get("burst", numbers["per_minute"]))


def _secrets(file: "_File", entries: "_Entries") -> tuple[str, ...]:
    if "secrets" not in entries:
        return ()
    node = entries["secrets"][1]
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    names = [file.text(each) for each in nodes]
    if not 1 <= len(names) <= _SECRETS or len({*names}) < len(names):
        raise file.error(node, f"secrets 应为一个或 {_SECRETS} 个不同的环境变量名")
    for each, name in zip(nodes, names, strict=True):
        if not _VARIABLE.fullmatch(name):
            # Not repeated: it may be the secret itself that somebody wrote here.
            raise file.error(
                each, "secrets 写环境变量的名字（大写字母、数字、下划线），密钥本身不能写在文件里"
            )
    return tuple(names)


def _auth(file: "_File", name: yaml.Node, entries: "_Entries", secrets: Sequence[str]) -> Auth:
    auth = _value(file, entries, "auth", _one_of(Auth))
    if auth in {Auth.SIGNATURE, Auth.EITHER} and not secrets:
        raise file.error(entries["auth"][1], f"auth: {auth} 需要 secrets 给出密钥的环境变量名")
    if auth is Auth.TOKEN and secrets:
        raise file.error(entries["auth"][1], "auth: token 用不到 secrets，请去掉其一")
    return auth or (Auth.EITHER if secrets else Auth.TOKEN)


# What a word may mean: its text as a value, or a reason why it is none.
_Read = Callable[[str], _Meaning]


def _one_of(meanings: type[_Word]) -> _Read[_Word]:
    def read(text: str) -> _Word:
        if text not in set(meanings):
            raise ValueError(f"只能是 {' '.join(meanings)}")
        return meanings(text)

    return read


def _region(text: str) -> str:
    if not _REGION.fullmatch(text):
        raise ValueError("应为行政区划代码")
    return text


def _rating(text: str) -> int:
    if text not in {"1", "2", "3", "4", "5"}:
        raise ValueError("应为 1（非常不满意）至 5（非常满意）")
    return int(text)


def _value(file: "_File", entries: "_Entries", key: str, read: _Read[_Meaning]) -> _Meaning | None:
    return _meaning(file, key, entries[key][1], read) if key in entries else None


def _words(
    file: "_File", entries: "_Entries", key: str, read: _Read[_Meaning]
) -> Mapping[str, _Meaning]:
    return MappingProxyType(
        {
            word: _meaning(file, key, node, read)
            for word, (_, node) in file.inner(entries, key).items()
        }
    )


def _meaning(file: "_File", key: str, node: yaml.Node, read: _Read[_Meaning]) -> _Meaning:
    try:
        return read(file.text(node))
    except ValueError as error:
        raise file.error(node, f"{key} 的值{error}") from None


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
        text = str(node.value).strip()
        if BROKEN.search(text):
            raise self.error(node, "含有空字符（NUL）或不成对的代理字符")
        return text

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
