"""Years of history from a file: each row becomes a complaint and what came of it, or its faults.

The complaint is the channel's adapter's to read, under the same canonical names as a push. What a
push never carries, how it ended, stands in `FIELDS` here. A column is known by the name that the
operator or the source gives it, by a canonical name, by its Chinese label, or by another that exports
use (`ALSO`): one table for each channel, beside its fields.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from adapters.fields import BROKEN, CONTENT_CHARS, NAME_CHARS, NUMBER_CHARS, Fields
from adapters.payload import fingerprint
from adapters.plausible import CLOCK_SKEW, implausible
from adapters.sheets import Line, Sheet, open_sheet
from adapters.sources import ADAPTERS
from service.domain.calendar import SHANGHAI
from service.domain.complaint import Complaint
from service.domain.history import History, Past, Standing
from service.domain.ports import Adapter, FieldProblem, PayloadRejected, Source

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "orderStatus": "工单状态",
        "acceptDeptName": "承办单位",
        "assistDeptName": "协办单位",
        "dispatchTime": "派单时间",
        "signTime": "签收时间",
        "finishTime": "办结时间",
        "handleResult": "答复内容",
        "callbackTime": "回访时间",
        "callbackGrade": "是否满意",
        "callbackSolved": "是否解决",
        "closeTime": "结案时间",
    }
)
ALSO: Mapping[str, str] = MappingProxyType(
    {
        "orderStatus": "办理状态 处理状态 当前状态 状态",
        "acceptDeptName": "主办单位 责任单位 承办部门 主办部门 办理单位 办理部门 处理单位 处理部门 经办单位",
        "assistDeptName": "协办部门 配合单位",
        "dispatchTime": "交办时间 转办时间 分派时间 派发时间 下派时间 转派时间",
        "signTime": "接收时间 接单时间",
        "finishTime": "办理完成时间 办理时间 处理完成时间 处理时间 完成时间 反馈时间 答复时间 回复时间 办结日期",
        "handleResult": "办理结果 处理结果 回复内容 反馈内容 办结意见 办理情况 处理意见 答复意见 公开答复",
        "callbackTime": "评价时间 回访日期",
        "callbackGrade": "满意度 满意情况 满意度评价 办理满意度 回访结果 评价结果 满意与否",
        "callbackSolved": "解决情况 问题是否解决 是否已解决",
        "closeTime": "归档时间 关闭时间 结案日期 归档日期",
    }
)
_TIMES = ("dispatchTime", "signTime", "finishTime", "callbackTime", "closeTime")
# A cell of a sheet is one text; what a push sends as a list stays with the other columns.
_LISTS = frozenset({"attachments"})

_Meaning = TypeVar("_Meaning")


def _all(words: str, meaning: _Meaning) -> dict[str, _Meaning]:
    return dict.fromkeys(words.split(), meaning)


_STANDING: Mapping[str, Standing] = MappingProxyType(
    {
        **_all(
            "已结案 结案 已归档 归档 已关闭 关闭 已完成 完成 办理完成 已完结 完结 已办结 办结 已办理 已处理 "
            "已答复 已回复 已反馈 已回访 已评价 办结归档",
            Standing.CLOSED,
        ),
        **_all("待回访 办结待回访 已办结待回访 待评价", Standing.RESOLVED),
        **_all("不予受理 不受理", Standing.NOT_ACCEPTED),
        **_all(
            "待受理 已受理 受理中 待派单 待分派 派单中 已派单 已派发 已分派 已交办 已转办 待签收 已签收 待办 待办理 "
            "办理中 处理中 在办 未办结 待处理 待反馈 延期 延期中 已延期 挂起 超期 退单 已退单 重办 重办中 转办中",
            Standing.OPEN,
        ),
    }
)
_GRADES: Mapping[str, int] = MappingProxyType(
    {
        **_all("非常满意 很满意 5", 5),
        **_all("满意 是 4", 4),
        **_all("基本满意 一般 3", 3),
        **_all("不满意 否 2", 2),
        **_all("非常不满意 很不满意 1", 1),
    }
)
_SOLVED: Mapping[str, bool] = MappingProxyType(
    {
        **_all("是 已解决 解决 1 true", True),
        **_all("否 未解决 没解决 没有解决 0 false", False),
    }
)
# Nobody's opinion: nobody was reached, nobody asked, or the system filled it in.
_UNREACHED = frozenset(
    _all("未接通 无法接通 未联系上 无法联系 联系不上 空号 停机 关机 无人接听 拒访", None)
)
_UNASKED = frozenset(_all("未评价 未回访 无 默认满意 系统默认 未知 不需回访 无需回访", None))

_NOTHING = frozenset({"", "-", "--", "—", "——", "/", "无", "空", "null", "NULL", "None", "N/A"})
_SEPARATORS = re.compile(r"[,，、;；\n]+")
_DECORATION = re.compile(r"[\s*＊:：]|[（(][^（()）]*[)）]")
# What a push may write: that is the reader's to judge.
_PUSHED = re.compile(
    r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}[T ][0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?:\D.*)?|[0-9]{14}"
)
_CHINESE = re.compile(
    r"(?P<y>[0-9]{4})[年./-](?P<m>[0-9]{1,2})[月./-](?P<d>[0-9]{1,2})日?"
    r"(?:[T ]*(?P<h>[0-9]{1,2})[时点:](?P<min>[0-9]{1,2})分?(?::?(?P<s>[0-9]{1,2})秒?)?)?"
)
_EIGHT = re.compile(r"(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})")
_SERIAL = re.compile(r"[0-9]{5}(?:\.[0-9]+)?")
_SCIENTIFIC = re.compile(r"[0-9](?:\.[0-9]+)?[Ee]\+[0-9]+")
_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - Excel's day 0, of no zone
_SERIALS = (36_526, 73_050)  # 2000 to 2099
# Excel keeps fifteen digits of a number; the rest of a longer one is gone.
_EXACT = 10**15
# The system before us cut its times to minutes here and there.
_SAME_MINUTE = timedelta(seconds=59)


class BadMapping(Exception):
    """A `--map` that cannot be: no such field, or no such column; `detail` says it in Chinese."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Faulty:
    """A row that cannot be imported: its source number as far as it is known, and (column, reason)
    of each fault, the column "" where it is the row's."""

    row: int
    number: str
    faults: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which column means which canonical field, also as the source that a push would name so."""

    fields: Mapping[str, str]
    source: Source


class HistoryFile:
    """A file of a source, opened: `sheet` has its rows, `read` makes of one what it tells."""

    def __init__(
        self,
        path: Path,
        source: Source,
        adapter: Adapter,
        mapping: Mapping[str, str],
        *,
        sheet: str = "",
        closed_only: bool = False,
    ) -> None:
        """Open a file; `mapping` has the operator's names of columns. With `closed_only` what was not
        finished is a fault.

        Raises BadMapping, or Unreadable for a file that gives no rows.
        """
        self._source = source
        self._adapter = adapter
        self._closed_only = closed_only
        channel = ADAPTERS[source.adapter]
        self._times = {*channel.TIMES.values(), *_TIMES}
        self._begins = {
            channel.TIMES[name] for name in ("accepted_at", "clock_from") if name in channel.TIMES
        }
        self._needed = channel.NEEDED
        self._number = channel.NUMBER
        self._labels = {**FIELDS, **channel.FIELDS}
        unknown = [field for field in mapping.values() if field not in self._labels]
        if unknown:
            fields = " ".join(f"{name}（{label}）" for name, label in self._labels.items())
            raise BadMapping(f"没有字段“{unknown[0]}”，可用的是 {fields}")
        self._mapping = dict(mapping)
        # By how surely a name means a field: the first one that a column has wins.
        self._names: list[tuple[Callable[[str], str], Mapping[str, str]]] = [
            (str, self._mapping),
            (str, source.field_map),
            (str, {name: name for name in self._labels}),
            (_core, {_core(label): name for name, label in reversed(self._labels.items())}),
            (
                _core,
                {
                    name: field
                    for words in (ALSO, channel.ALSO)
                    for field, names in words.items()
                    for name in names.split()
                },
            ),
        ]
        self._known: dict[tuple[str, ...], _Columns] = {}
        self.sheet: Sheet = open_sheet(path, lambda name: bool(self._field(name)), sheet)
        if self.sheet.columns:
            self._check_columns()

    @property
    def fields(self) -> Mapping[str, str]:
        """Return the canonical field of each column that is known, in the file's order."""
        return self._read_as(self.sheet.columns).fields

    def label(self, field: str) -> str:
        """Return what a canonical field is called in Chinese."""
        return self._labels[field]

    def _check_columns(self) -> None:
        absent = [name for name in self._mapping if name not in self.sheet.columns]
        if absent:
            raise BadMapping(f"文件里没有列“{absent[0]}”，有的是 {'、'.join(self.sheet.columns)}")

    def missing(self) -> list[str]:
        """Return the labels of what no column of the file tells and every row must have."""
        if not self.sheet.columns:
            return []
        found = set(self.fields.values())
        return [
            "或".join(self._labels[name] for name in names)
            for names in self._needed
            if found.isdisjoint(names) and not (self._source.region and "areaName" in names)
        ]

    # -- columns ---------------------------------------------------------------------------------

    def _field(self, name: str) -> str:
        """Return the canonical field that a column means by itself, "" for none."""
        found = (table.get(spelt(name)) for spelt, table in self._names)
        return next((field for field in found if field), "")

    def _read_as(self, columns: tuple[str, ...]) -> "_Columns":
        """Return what columns mean; of several that mean the same field the surest one does, and
        the others are kept beside the complaint."""
        if columns not in self._known:
            if len(self._known) > 1_000:  # lines of NDJSON may name other fields each
                self._known.clear()
            chosen: dict[str, str] = {}
            for spelt, table in self._names:
                for column in columns:
                    field = table.get(spelt(column), "")
                    if field and column not in chosen and field not in chosen.values():
                        chosen[column] = field
            if self.sheet.columns:
                chosen = {c: f for c, f in chosen.items() if f not in _LISTS}
            fields = {column: chosen[column] for column in columns if column in chosen}
            names = {column: field for column, field in fields.items() if column != field}
            self._known[columns] = _Columns(fields, replace(self._source, field_map=names))
        return self._known[columns]

    # -- rows ------------------------------------------------------------------------------------

    def number(self, line: Line) -> str:
        """Return the source number of a row as it stands there, "" if it has none; what no store or
        report could take of it is `�`."""
        fields = self._read_as(tuple(line.cells)).fields
        raw = next((line.cells[c] for c, field in fields.items() if field == self._number), "")
        return BROKEN.sub("\ufffd", str(_plain_cell(raw) or "").strip()[:NUMBER_CHARS])

    def read(self, line: Line, now: datetime) -> Past | Faulty:
        """Return what a row tells, or all that is wrong with it at `now`."""
        number = self.number(line)
        if line.fault:
            return Faulty(line.row, number, (("", line.fault),))
        columns = self._read_as(tuple(line.cells))
        fields, source = columns.fields, columns.source
        faults: dict[str, str] = {}
        findings: list[str] = []
        cells = {
            column: self._cell(column, fields.get(column, ""), cell, now, faults, findings)
            for column, cell in line.cells.items()
        }
        # The channel's adapter gets what is the channel's, and what nobody knows.
        told = {c: cell for c, cell in cells.items() if fields.get(c) not in FIELDS}
        ours = {c: cell for c, cell in cells.items() if c not in told}
        complaint: Complaint | None = None
        try:
            complaint = self._adapter.complaint(told, source)
            _note(faults, implausible(complaint, now, source))
        except PayloadRejected as error:
            _note(faults, error.problems)
        reading = _Reading(Fields(ours, source, FIELDS, {}), complaint, now)
        try:
            found = reading.history(closed_only=self._closed_only)
        except PayloadRejected as error:
            _note(faults, error.problems)
        if faults or complaint is None:
            return Faulty(line.row, number, tuple(faults.items()))
        canonical = {fields.get(column, column): cell for column, cell in cells.items()}
        own = complaint.extra.get("finding")
        kept = {**complaint.extra, **reading.written}
        return Past(
            row=line.row,
            complaint=replace(complaint, extra=kept),
            history=found,
            fingerprint=fingerprint(canonical),
            findings=(*((own,) if own else ()), *findings, *reading.findings),
        )

    def _cell(
        self,
        column: str,
        field: str,
        cell: Any,
        now: datetime,
        faults: dict[str, str],
        findings: list[str],
    ) -> Any:
        """Return a cell as a push would have it: text, times in full."""
        if field in self._times:
            text, is_day = _moment(cell, begins=field in self._begins, now=now)
            if is_day:
                ends = "00:00:00" if field in self._begins else "23:59:59"
                findings.append(f"{self._labels[field]}只有日期，按当日 {ends} 记")
            return text
        if field:
            is_long = isinstance(cell, float | int) and abs(cell) >= _EXACT
            if is_long and self.sheet.columns:
                faults[column] = (
                    "以数字存放且超过 15 位，末几位已被 Excel 改掉，请以文本格式重新导出"
                )
            elif isinstance(cell, bool) and field in FIELDS:
                return "是" if cell else "否"
            elif isinstance(cell, str) and _SCIENTIFIC.fullmatch(cell.strip()):
                faults[column] = "成了科学计数法，末几位已丢失，请以文本格式重新导出"
        return _plain_cell(cell)


class _Reading:
    """What a row tells of how its matter went, with what is wrong about it."""

    def __init__(self, fields: Fields, complaint: Complaint | None, now: datetime) -> None:
        self._fields = fields
        self._received = complaint.accepted_at if complaint else None
        self._is_counted_only = bool(complaint and complaint.review and not complaint.review.is_bad)
        self._latest = now + CLOCK_SKEW
        self.findings: list[str] = []
        self.written: dict[str, str] = {}

    def history(self, *, closed_only: bool) -> History:
        """Return what became of it, or raise PayloadRejected."""
        fields = self._fields
        word = fields.text("orderStatus", NAME_CHARS)
        unit = fields.text("acceptDeptName", NAME_CHARS)
        assist = fields.text("assistDeptName", CONTENT_CHARS)
        reply = fields.content("handleResult")
        dispatched, signed, finished, called, closed = (self._moment(name) for name in _TIMES)
        if finished and closed and closed < finished - _SAME_MINUTE:
            fields.problem("closeTime", "结案时间早于办结时间")
        reached, grade = self._grade()
        solved = self._solved()
        asked = called is not None or (grade, solved) != (None, None)
        standing = self._standing(word, finished, closed, is_asked=asked, closed_only=closed_only)
        fields.settle()
        if word:
            self.written["orderStatus"] = word
        if unit:
            self.written["acceptDeptName"] = unit
        finished = finished or closed
        is_over = standing in {Standing.CLOSED, Standing.NOT_ACCEPTED}
        return History(
            standing=standing,
            unit=unit,
            assist=tuple(name.strip() for name in _SEPARATORS.split(assist) if name.strip()),
            dispatched_at=dispatched,
            signed_at=signed,
            resolved_at=finished,
            called_back_at=called,
            closed_at=(closed or max(filter(None, (called, finished)), default=None))
            if is_over
            else None,
            reply=reply,
            reached=True if asked and reached is None else reached,
            solved=solved,
            grade=grade,
        )

    def _moment(self, name: str) -> datetime | None:
        found = self._fields.moment(name)
        if found and found > self._latest:
            self._fields.problem(name, f"{FIELDS[name]}晚于现在")
        if found and self._received and found < self._received - _SAME_MINUTE:
            self._fields.problem(name, f"{FIELDS[name]}早于受理时间")
        return found

    def _grade(self) -> tuple[bool | None, int | None]:
        """Return whether the citizen was reached, None if the column does not say, and the grade."""
        word = self._fields.code("callbackGrade", NAME_CHARS)
        grade = _GRADES.get(word)
        if not word or word in _UNASKED or grade:
            return None, grade
        self.written["callbackGrade"] = word
        if word in _UNREACHED:
            return False, None
        self.findings.append("满意度的写法不在对照表中，未计入，请核对")
        return None, None

    def _solved(self) -> bool | None:
        word = self._fields.code("callbackSolved", NAME_CHARS)
        if not word or word in _UNASKED or word.lower() in _SOLVED:
            return _SOLVED.get(word.lower())
        self.written["callbackSolved"] = word
        if word not in _UNREACHED:
            self.findings.append("是否解决的写法不在对照表中，未计入，请核对")
        return None

    def _standing(
        self,
        word: str,
        finished: datetime | None,
        closed: datetime | None,
        *,
        is_asked: bool,
        closed_only: bool,
    ) -> Standing:
        """Return how far it had come, by its status and by its times, which must not contradict each
        other: what is wrongly open would be supervised today for what ended years ago."""
        fields = self._fields
        is_faulty = fields.is_faulty("finishTime", "closeTime", "orderStatus")
        standing = _STANDING.get(word)
        if self._is_counted_only:
            return Standing.CLOSED
        if word and standing is None:
            if finished or closed or is_faulty:
                standing = Standing.CLOSED
                self.findings.append("工单状态的写法不在对照表中，按有办结时间认定为已办结，请核对")
            else:
                detail = "工单状态的写法不在对照表中，又没有办结时间，无法判断是否办结"
                fields.problem("orderStatus", detail)
        if standing is None:
            standing = Standing.CLOSED if finished or closed or is_faulty else Standing.OPEN
        if standing is Standing.RESOLVED and (closed or is_asked):
            standing = Standing.CLOSED
        if standing is Standing.OPEN and (finished or closed):
            fields.problem("orderStatus", "工单状态为未办结，却有办结时间或结案时间")
        if standing in {Standing.CLOSED, Standing.RESOLVED} and not (
            finished or closed or is_faulty
        ):
            fields.problem("finishTime", "工单状态为已办结，却没有办结时间")
        if standing is Standing.OPEN and closed_only:
            fields.problem("orderStatus", "没有办结，按 --closed-only 不导入")
        return standing


def _core(name: str) -> str:
    """Return a column's name without what exports add to it: stars, spaces, notes in brackets."""
    return _DECORATION.sub("", name)


def _note(faults: dict[str, str], problems: Sequence[FieldProblem]) -> None:
    for problem in problems:
        column = problem.pointer.removeprefix("/").replace("~1", "/").replace("~0", "~")
        faults.setdefault(column, problem.detail)


def _plain_cell(cell: Any) -> Any:
    """Return a cell without what only a sheet has: whole numbers are digits, times are text."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 10**18:
        return str(int(cell))
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M:%S}"
    if isinstance(cell, date | time | timedelta):
        return str(cell)
    return cell


def _moment(cell: Any, *, begins: bool, now: datetime) -> tuple[Any, bool]:
    """Return a time as a push writes it, and whether the cell has only the day.

    A day is its first second for what begins with it and its last one for what ends, or now if that
    is still to come. What is no time stays as it is, for the reader to refuse.
    """
    if isinstance(cell, str):
        text = cell.strip()
        if text in _NOTHING or text.startswith("0000-00-00"):
            return "", False
        if _PUSHED.fullmatch(text):
            return text, False
        read: datetime | date | None = _written(text)
    elif isinstance(cell, int | float) and not isinstance(cell, bool):
        read = _serial(float(cell))
    else:
        read = cell if isinstance(cell, datetime | date) else None
    if read is None:
        return _plain_cell(cell), False
    if isinstance(read, datetime):
        return f"{read:%Y-%m-%d %H:%M:%S}", False
    local = now.astimezone(SHANGHAI)
    if not begins and read == local.date():
        return f"{local:%Y-%m-%d %H:%M:%S}", True
    return f"{read} {'00:00:00' if begins else '23:59:59'}", True


def _written(text: str) -> datetime | date | None:
    if _SERIAL.fullmatch(text):
        return _serial(float(text))
    found = _CHINESE.fullmatch(text) or _EIGHT.fullmatch(text)
    if found is None:
        return None
    parts = found.groupdict()
    try:
        day = date(int(parts["y"]), int(parts["m"]), int(parts["d"]))
        if parts.get("h") is None:
            return day
        clock = time(int(parts["h"]), int(parts["min"]), int(parts["s"] or 0))
    except ValueError:
        return None
    return datetime.combine(day, clock)


def _serial(number: float) -> datetime | date | None:
    """Return what a number means as Excel counts days, None for one that is no day of ours."""
    if not _SERIALS[0] <= number <= _SERIALS[1]:
        return None
    if number.is_integer():
        return (_EPOCH + timedelta(days=number)).date()
    return _EPOCH + timedelta(seconds=round(number * 86_400))


def rows(file: HistoryFile, size: int) -> Iterator[list[Line]]:
    """Yield the rows of a file in batches."""
    batch: list[Line] = []
    for line in file.sheet.lines():
        batch.append(line)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
