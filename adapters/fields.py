"""Reads one native payload field by field, and collects every fault instead of stopping at one."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from math import isfinite
from types import MappingProxyType
from typing import Any

from adapters import prose
from adapters.payload import Undecodable, read_object
from service.domain.calendar import SHANGHAI
from service.domain.complaint import Attachment, Kind, Urgency
from service.domain.ports import Clocks, FieldProblem, Gazetteer, PayloadRejected, Source
from service.domain.region import covers

TITLE_CHARS = 200
CONTENT_CHARS = 20_000
PLACE_CHARS = 500
NAME_CHARS = 100
PHONE_CHARS = 50
NUMBER_CHARS = 64

_RAW_CHARS = 60_000  # any text before it is cleaned: bounds the HTML parser's work
_FIELD_NAME_CHARS = 100
_FIELDS = 200
_DEPTH = 8
_INTEGER_BITS = 128
_EXTRA_CHARS = 2_000
_LIST_ITEMS = 50
_DERIVED_TITLE_CHARS = 40

KIND_WORDS: Mapping[str, Kind] = MappingProxyType(
    {
        "咨询": Kind.CONSULTATION,
        "求助": Kind.HELP,
        "投诉": Kind.COMPLAINT,
        "举报": Kind.REPORT,
        "建议": Kind.SUGGESTION,
        "表扬": Kind.PRAISE,
    }
)
URGENCY_WORDS: Mapping[str, Urgency] = MappingProxyType(
    {"一般": Urgency.NORMAL, "次紧急": Urgency.URGENT, "紧急": Urgency.EMERGENCY}
)
_YES = frozenset({"是", "1", "true"})
_NO = frozenset({"否", "0", "false"})

# Words of our own in Complaint.extra; a sender's field of the same name gets a prefix.
_OUR_EXTRA = frozenset({"kind_raw", "urgency_raw", "rating_raw", "finding"})

# What a field_map may call the parts of an attachment.
ITEM = "[]."
ATTACHMENTS = "attachments"
ATTACHMENT_PARTS = ("url", "name", "size")
_BAD_RATING = 2

# What no store or page can take.
BROKEN = re.compile("[\x00\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER = re.compile(r"[0-9]{1,18}")
# A development zone's code has a K in it: it is the project's own, GB/T 2260 has none for it.
_REGION_CODE = re.compile(r"[0-9K]{6}(?:[0-9K]{3}){0,2}")
_SCHEME = re.compile(r"([a-z][a-z0-9+.\-]*):", re.IGNORECASE)
_MOMENT = re.compile(
    r"(?P<year>[0-9]{4})[-/](?P<month>[0-9]{1,2})[-/](?P<day>[0-9]{1,2})[T ]"
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r" ?(?P<zone>Z|[+-][0-9]{2}:?[0-5][0-9])?",
    re.IGNORECASE,
)
_DIGITS_14 = re.compile(
    r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"
    r"(?P<hour>[0-9]{2})(?P<minute>[0-9]{2})(?P<second>[0-9]{2})(?P<fraction>)(?P<zone>)"
)


def parse_moment(text: str) -> datetime | None:
    """Return an aware time in Asia/Shanghai, or None if the text is none of the known forms.

    Known are `yyyy-MM-dd HH:mm[:ss]`, the same with slashes or a `T`, each with or without a zone,
    and 14 digits. Without zone it is Asia/Shanghai. A bare date and a count of seconds or
    milliseconds are refused: nobody can tell which moment or unit is meant.
    """
    found = _MOMENT.fullmatch(text) or _DIGITS_14.fullmatch(text)
    # A year outside these cannot be shifted to UTC and back at every offset.
    if found is None or not "1000" <= found["year"] <= "2999":
        return None
    year, month, day, hour, minute, second = (
        int(found[part] or 0) for part in ("year", "month", "day", "hour", "minute", "second")
    )
    micros = int((found["fraction"] or "0").ljust(6, "0")[:6])
    try:
        moment = datetime(
            year, month, day, hour, minute, second, micros, tzinfo=_zone(found["zone"])
        )
        return moment.astimezone(SHANGHAI)
    except ValueError:  # the 30th of February, hour 25, an offset of a whole day
        return None


def _zone(written: str | None) -> timezone:
    if not written:
        return SHANGHAI
    if written in "Zz":
        return timezone(timedelta())
    shift = timedelta(hours=int(written[1:3]), minutes=int(written[-2:]))
    return timezone(-shift if written[0] == "-" else shift)


def clock_fields(source: Source, usual: Mapping[str, str]) -> Mapping[str, str]:
    """Return which field each of a complaint's times is read from, by attribute: the adapter's
    usual ones, but for those that the source names for its clocks."""
    named = dict(usual)
    limit, starts = source.clocks.limit, source.clocks.starts
    if limit:
        named["sender_due_at"] = source.field_map.get(limit, limit)
    if starts == Clocks.RECEIPT:
        named.pop("clock_from", None)
    elif starts:
        named["clock_from"] = source.field_map.get(starts, starts)
    return named


def sender_pointer(source: Source, canon: str, payload: Collection[str] = ()) -> str:
    """Return the JSON pointer of a canonical field as its sender spells it; `payload` has the names
    that came, for one of them may have a full stop in it that leads nowhere."""
    written = next((name for name, known in source.field_map.items() if known == canon), canon)
    return "".join(map(pointer, (written,) if written in payload else written.split(".")))


def value_at(payload: Mapping[str, Any], written: str) -> Any:
    """Return what a payload holds under a sender's name or path, as a field_map finds it; None if
    there is nothing."""
    if written in payload:
        return payload[written]
    return _taken(dict(payload), written.split("."))[1]


class Fields:
    """One payload under its channel's canonical names.

    Each reading method returns the value, or the type's empty value after noting what is wrong;
    `extra` returns what nobody read. Call `settle` before any value is used: it raises
    PayloadRejected if anything was noted. A field is noted once, under the name its sender uses.

    `labels` maps each canonical name of the channel to its Chinese label, `times` each time of a
    complaint to the field it is usually read from. A canonical name that the source's field_map
    gives to another field is no longer read under its own spelling.
    """

    def __init__(
        self,
        payload: Mapping[str, Any],
        source: Source,
        labels: Mapping[str, str],
        times: Mapping[str, str],
    ) -> None:
        self._source = source
        self._labels = labels
        self._times = clock_fields(source, times)
        self._mapped = frozenset(source.field_map.values())
        self._payload = payload
        self._values: dict[str, Any] = {}
        self._read: set[str] = set()
        self._faulty: set[str] = set()
        self._problems: list[FieldProblem] = []
        self._findings: list[str] = []
        self._raw_words: dict[str, str] = {}
        self._lift()

    def _lift(self) -> None:
        payload, names = self._payload, self._source.field_map
        if len(payload) > _FIELDS or max(map(len, payload), default=0) > _FIELD_NAME_CHARS:
            limit = f"最多 {_FIELDS} 个字段，字段名不超过 {_FIELD_NAME_CHARS} 字"
            raise PayloadRejected([FieldProblem("", limit)])
        rest = dict(payload)
        clocks = (self._source.clocks.limit, self._source.clocks.starts)
        paths = [name for name in {*names, *clocks} if "." in name and ITEM not in name]
        # The longest first: what lies inside is taken before what lies around it.
        for path in sorted(paths, key=len, reverse=True):
            if path not in payload:
                steps = path.split(".")
                found, value = _taken(rest, steps)
                if found:
                    self._keep(names.get(path, path), value, steps)
        # All names at once: each by itself took as long as the values.
        broken = _fault("".join(rest), 0)
        for written, value in rest.items():
            name = names.get(written, written)
            if name == written and written in self._mapped:
                name = f"sender_{written}"
            self._keep(name, value, (written,), _fault(written, 0) if broken else None)

    def _keep(
        self, name: str, value: object, steps: Sequence[str], fault: FieldProblem | None = None
    ) -> None:
        while name in self._values:
            name = f"sender_{name}"
        self._values[name] = value
        fault = fault or _fault(value, 0)
        if fault is not None:
            self._faulty.add(name)
            at = "".join(map(pointer, steps))
            self._problems.append(FieldProblem(at + fault.pointer, fault.detail))

    # -- what is wrong ---------------------------------------------------------------------------

    def problem(self, name: str, detail: str, within: str = "") -> None:
        """Note that a field is wrong; only the first fault of a field is kept."""
        if name not in self._faulty:
            self._faulty.add(name)
            at = sender_pointer(self._source, name, self._payload) + within
            self._problems.append(FieldProblem(at, detail))

    def is_faulty(self, *names: str) -> bool:
        """Whether something is already wrong with one of these fields."""
        return not self._faulty.isdisjoint(names)

    def finding(self, sentence: str) -> None:
        """Note what a person should know about a payload that is accepted all the same."""
        self._findings.append(sentence)

    def settle(self) -> None:
        """Raise PayloadRejected with every fault noted, or return if there is none."""
        if self._problems:
            raise PayloadRejected(self._problems)

    def _missing(self, name: str) -> None:
        self.problem(name, f"缺少{self._label(name)}")

    def _label(self, name: str) -> str:
        # A field that the source alone knows, for its clocks, has no label but its name.
        return self._labels.get(name, name)

    # -- values ----------------------------------------------------------------------------------

    def code(self, name: str, limit: int = NUMBER_CHARS, *, required: bool = False) -> str:
        """Return a number or code as one line of text; a JSON integer is fine too."""
        value = self._take(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        return self._bounded(name, value, limit, prose.plain, required=required)

    def text(self, name: str, limit: int, *, required: bool = False) -> str:
        """Return a short text in one line, at most `limit` characters."""
        return self._bounded(name, self._take(name), limit, prose.plain, required=required)

    def content(self, name: str) -> str:
        """Return what the citizen wrote, in lines, free of HTML."""
        return self._bounded(name, self._take(name), CONTENT_CHARS, prose.lines)

    def title_and_content(self, title: str, content: str) -> tuple[str, str]:
        """Return both, free of HTML; an empty one is taken from the other, two are a fault."""
        head = self._bounded(title, self._take(title), TITLE_CHARS, prose.line)
        body = self.content(content)
        if not head and not body and not self.is_faulty(title, content):
            labels = f"{self._label(title)}和{self._label(content)}"
            self.problem(content, f"{labels}至少要有一项")
        first = body.split("\n", 1)[0]
        cut = first[:_DERIVED_TITLE_CHARS] + "…" * (len(first) > _DERIVED_TITLE_CHARS)
        return head or cut, body or head

    def moment(self, name: str, *, required: bool = False) -> datetime | None:
        """Return an aware time, or None if there is none; see `parse_moment`."""
        value = self._take(name)
        if value is None:
            if required:
                self._missing(name)
            return None
        found = parse_moment(value.strip()) if isinstance(value, str) else None
        if found is None:
            form = "应为 yyyy-MM-dd HH:mm:ss 或带时区的 ISO 8601 时间"
            self.problem(name, f"{self._label(name)}{form}")
        return found

    def clock(self, attribute: str, *, required: bool = False) -> datetime | None:
        """Return one of a complaint's times from the field that the source or the adapter names for
        it, or None if there is no such field or nothing in it."""
        name = self._times.get(attribute)
        return self.moment(name, required=required) if name else None

    def flag(self, name: str) -> bool:
        """Return a boolean, also from 是/否, 1/0, true/false; absent is False."""
        value = self._take(name)
        if value is None:
            return False
        word = _written(value).strip().lower()
        if word not in _YES and word not in _NO:
            self.problem(name, f"{self._label(name)}应为 true/false、是/否 或 1/0")
        return word in _YES

    def whole(self, name: str, least: int, most: int, *, required: bool = False) -> int | None:
        """Return a whole number in a closed range, also from its digits; None if absent."""
        value = self._take(name)
        if value is None:
            if required:
                self._missing(name)
            return None
        number = _integer(value)
        if number is None or not least <= number <= most:
            self.problem(name, f"{self._label(name)}应为 {least} 至 {most} 的整数")
            return None
        return number

    def rating(self, name: str) -> int | None:
        """Return a grade of 1 to 5, by the source's own scale if it has one, else from the digits.

        A word that the scale lacks counts as a bad mark, so that somebody looks, and leaves a
        finding: as a good one it would be closed unread.
        """
        if not self._source.ratings:
            return self.whole(name, 1, 5, required=True)
        word = self.code(name, NAME_CHARS, required=True)
        known = self._source.ratings.get(word)
        if not word or known:
            return known
        self._raw_words["rating_raw"] = word
        self.finding(f"{self._label(name)}的写法不在对照表中，按差评受理，请核对")
        return _BAD_RATING

    def words(self, name: str) -> tuple[str, ...]:
        """Return a list of short texts, outermost category first; a bare text is a list of one."""
        value = self._take(name)
        if value is None:
            return ()
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            self.problem(name, f"{self._label(name)}应为文字列表")
            return ()
        shown = [prose.plain(item) for item in items]
        if len(shown) > _LIST_ITEMS or any(len(item) > NAME_CHARS for item in shown):
            limit = f"最多 {_LIST_ITEMS} 项，每项不超过 {NAME_CHARS} 字"
            self.problem(name, f"{self._label(name)}{limit}")
            return ()
        return tuple(item for item in shown if item)

    def attachments(self, name: str) -> tuple[Attachment, ...]:
        """Return the files the source keeps: objects with `url`, and `name` and `size` if known, or
        links alone; a single one needs no list, for forms and XML have none.

        A link stays text, wherever it points, and is never fetched. One with a scheme other than
        http or https is a fault, so that nobody is ever shown a `javascript:` link.
        """
        value = self._take(name)
        if value is None:
            return ()
        items = [value] if isinstance(value, str | dict) else value
        if not isinstance(items, list) or len(items) > _LIST_ITEMS:
            self.problem(name, f"{self._label(name)}应为列表，最多 {_LIST_ITEMS} 个")
            return ()
        parts = {
            canon.partition(ITEM)[2]: written.partition(ITEM)[2]
            for written, canon in self._source.field_map.items()
            if canon.startswith(name + ITEM)
        }
        found = [self._attachment(name, index, item, parts) for index, item in enumerate(items)]
        return tuple(attachment for attachment in found if attachment is not None)

    def _attachment(
        self, name: str, index: int, item: object, parts: Mapping[str, str]
    ) -> Attachment | None:
        fields = item if isinstance(item, dict) else {"url": item} if isinstance(item, str) else {}
        if isinstance(item, str):
            parts = {}
        at = {part: parts.get(part, part) for part in ATTACHMENT_PARTS}
        url, title, size = (fields.get(at[part]) for part in ATTACHMENT_PARTS)
        url = prose.plain(url) if isinstance(url, str) else ""
        scheme, size_bytes = _SCHEME.match(url), _integer(size)
        where = {part: f"/{index}{pointer(at[part])}" for part in ATTACHMENT_PARTS}
        if not url or len(url) > _EXTRA_CHARS:
            self.problem(name, f"附件缺少 {at['url']}，或超过 {_EXTRA_CHARS} 字", where["url"])
        elif scheme and scheme[1].lower() not in {"http", "https"}:
            self.problem(name, "附件地址只能是 http 或 https 链接", where["url"])
        elif not isinstance(title, str | None) or len(title or "") > PLACE_CHARS:
            self.problem(name, f"附件名应为文字，不超过 {PLACE_CHARS} 字", where["name"])
        elif size not in (None, "") and (size_bytes is None or not 0 <= size_bytes < 2**63):
            self.problem(name, "附件大小应为字节数", where["size"])
        else:
            return Attachment(prose.plain(title or ""), url, size_bytes)
        return None

    def kind(self, name: str, usual: Kind | None = None) -> Kind:
        """Return the kind of demand, or the channel's usual one, or 求助, which blames nobody.

        The source's `kind` is the usual one of its channel. An unknown word leaves a finding; so
        does none at all where the channel has no usual kind.
        """
        usual = self._source.kind or usual
        word = self.text(name, NAME_CHARS)
        known = self._source.kinds.get(word) or KIND_WORDS.get(word)
        if word and known is None:
            self._raw_words["kind_raw"] = word
            self.finding(f"{self._label(name)}的写法不在对照表中，按默认类型受理，请核对")
        elif not word and usual is None:
            self.finding(f"来件没有{self._label(name)}，按求助受理，请核对")
        return known or usual or Kind.HELP

    def urgency(self, name: str) -> Urgency:
        """Return the urgency; an unknown word gives the ordinary one and leaves a finding."""
        word = self.text(name, NAME_CHARS)
        known = self._source.urgencies.get(word) or URGENCY_WORDS.get(word)
        if word and known is None:
            self._raw_words["urgency_raw"] = word
            self.finding(f"{self._label(name)}的写法不在对照表中，按一般件受理，请核对")
        return known or Urgency.NORMAL

    def region(self, code: str, name: str, gazetteer: Gazetteer, *, asked: str) -> str:
        """Return the code of a region that the gazetteer knows; `asked` is the field to ask for.

        A statistical code of 9 or 12 digits is read by its region part if it is not known itself.
        If code and name are both known, the narrower of the two counts, and two that do not contain
        each other are a fault: neither is a better guess than the other. If one alone is known it
        counts, with a finding. `Source.region` stands in only where the payload names none, or, with a
        finding, for a code that the source's table of regions lacks.
        """
        written_code, written_name = self.code(code), self.text(name, NAME_CHARS)
        if not written_code and not written_name:
            if not self._source.region and not self.is_faulty(code, name):
                self._missing(asked)
            return self._source.region
        theirs = self._source.regions
        by_code = _region_of_code(theirs.get(written_code, written_code), gazetteer)
        if by_code and written_name and gazetteer.name(by_code).endswith(written_name):
            return by_code
        said = theirs.get(written_name, written_name)
        by_name = gazetteer.find(said) if said else None
        if by_code and written_name and by_name is None:
            # Many counties have a 太平镇, many cities a 高新区: the code says whose is meant.
            by_name = gazetteer.find(gazetteer.name(by_code) + written_name)
        if by_code and by_name:
            if covers(by_code, by_name):
                return by_name
            if covers(by_name, by_code):
                return by_code
            both = f"{self._label(code)}与{self._label(name)}指的不是同一个地区，请核对"
            self.problem(code, both)
        elif by_code is None and by_name is None and theirs and self._source.region:
            self._read -= {code, name}  # kept as written, in extra
            self.finding(
                f"{self._label(code)}、{self._label(name)}不在来源的地区对照表中，"
                "按来源所在地区受理，请核对"
            )
            return self._source.region
        elif by_code is None and by_name is None:
            wrong = code if written_code else name
            hint = (
                "应为本省行政区划代码"
                if written_code
                else "应为全称，重名的带上级，如“南昌市高新区”"
            )
            self.problem(wrong, f"没有这个地区：{self._label(wrong)}{hint}")
        elif written_code and written_name:
            unknown, known = (name, code) if by_code else (code, name)
            self._read.discard(unknown)  # kept as written, in extra
            told = f"{self._label(unknown)}不在区划表中，按{self._label(known)}认定"
            self.finding(told)
        return by_code or by_name or ""

    def extra(self) -> dict[str, str]:
        """Return the fields nobody read as text, raw words of unknown meaning, and the findings.

        Empty ones are left out. One too long to keep is left out with a finding. Keys are canonical
        names where the channel has one, else the sender's; lists and objects are JSON.
        """
        kept: dict[str, str] = {}
        for name, value in self._values.items():
            if name in self._read or value in (None, "", [], {}):
                continue
            text = _written(value)
            # Before it is cleaned: nobody asked for these, there may be 200 of them.
            text = prose.rough(text) if len(text) <= _EXTRA_CHARS else text
            if len(text) > _EXTRA_CHARS:
                self.finding(f"字段 {name} 超过 {_EXTRA_CHARS} 字，没有保存")
            elif text:
                kept[f"sender_{name}" if name in _OUR_EXTRA else name] = text
        kept.update(self._raw_words)
        if self._findings:
            kept["finding"] = "；".join(self._findings)
        return kept

    def _take(self, name: str) -> Any:
        """Return a field's raw value, None where it is absent, blank or already known to be bad."""
        self._read.add(name)
        value = self._values.get(name)
        blank = isinstance(value, str) and not value.strip()
        return None if blank or name in self._faulty else value

    def _bounded(
        self,
        name: str,
        value: Any,
        limit: int,
        clean: Callable[[str], str],
        *,
        required: bool = False,
    ) -> str:
        if value is not None and not isinstance(value, str):
            self.problem(name, f"{self._label(name)}应为文字")
            return ""
        # HTML is longer than its text, but the parser's work has a bound too.
        fits = value is None or len(value) <= max(limit, _RAW_CHARS)
        text = clean(value) if value and fits else ""
        if not fits or len(text) > limit:
            self.problem(name, f"{self._label(name)}超过 {limit} 字")
            return ""
        if required and not text:
            self._missing(name)
        return text


def pointer(name: str) -> str:
    """Return the JSON pointer (RFC 6901) of a top-level field; what UTF-8 cannot carry is `�`."""
    return "/" + _SURROGATE.sub("\ufffd", name).replace("~", "~0").replace("/", "~1")


def _taken(container: dict[str, Any], steps: Sequence[str]) -> tuple[bool, Any]:
    """Take what lies at the end of a path out of an object that may be changed, and return whether
    it was there. What holds it is copied; an object in text, as some forms send it, is read."""
    head, *further = steps
    if head not in container:
        return False, None
    if not further:
        return True, container.pop(head)
    inner = container[head]
    if isinstance(inner, str):
        try:
            inner = read_object(inner)
        except Undecodable:
            return False, None
    if not isinstance(inner, dict):
        return False, None
    inner = dict(inner)
    found, value = _taken(inner, further)
    if found:
        container[head] = inner
        if not inner:
            del container[head]
    return found, value


def _fault(value: object, depth: int) -> FieldProblem | None:
    """Return the first part of a JSON value that no store or page could take, or None.

    The pointer is relative to the value, put together on the way back from the fault alone: a long
    name above ten thousand values would be copied for each of them.
    """
    detail = ""
    if isinstance(value, str):
        if BROKEN.search(value):
            detail = "含有空字符（NUL）或不成对的代理字符，请去掉后重发"
    elif isinstance(value, float):
        detail = "" if isfinite(value) else "不是有限的数"
    elif isinstance(value, int):
        detail = "数字过大，请改用文字" if value.bit_length() > _INTEGER_BITS else ""
    elif isinstance(value, dict | list):
        if depth < _DEPTH:
            for below, part in _parts(value):
                fault = _fault(part, depth + 1)
                if fault is not None:
                    return FieldProblem(below + fault.pointer, fault.detail)
            return None
        detail = f"嵌套超过 {_DEPTH} 层"
    return FieldProblem("", detail) if detail else None


def _parts(value: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield each name and value inside with its pointer, relative to the container."""
    if isinstance(value, list):
        yield from ((f"/{index}", item) for index, item in enumerate(value))
    else:
        for name, item in value.items():
            yield pointer(name), name
            yield pointer(name), item


def _integer(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    return None


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _region_of_code(code: str, gazetteer: Gazetteer) -> str | None:
    """Return the region of a code of 6, 9 or 12 digits, the narrowest that is known."""
    if not _REGION_CODE.fullmatch(code):
        return None
    tries = dict.fromkeys((code, code[:9], code[:6]))
    return next((found for part in tries if (found := gazetteer.find(part))), None)
