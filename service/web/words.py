"""What the pages say in Chinese about times, limits and events: plain functions over values."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from service.domain.access import Ask, Role
from service.domain.calendar import SHANGHAI, Calendar
from service.domain.deadline import LimitError, parse_limit
from service.domain.lifecycle import Act
from service.domain.sign_in import PERSONS
from service.domain.ticket import Clock, Event, Milestone, Stage
from service.labels import (
    ACTS,
    DECISIONS,
    KINDS,
    LEVELS,
    MEASURES,
    MILESTONES,
    STAGES,
    URGENCIES,
    WAYS_OF_CHECKING,
)

# What is seen before it is read, and by who does not tell colours apart.
SYMBOLS: dict[str, str] = {
    Stage.NORMAL: "●",
    Stage.WARN: "▲",
    Stage.OVERDUE: "■",
    Stage.YELLOW: "◆",
    Stage.RED: "◆",
}
_ALL = frozenset(PERSONS)
_DESK = _ALL - {Role.HANDLER}
_WATCH = _DESK - {Role.DISPATCHER}
# The pages of the menu: the address, what it is called, what is pressed after `g` to go there, and
# who has it.
MENU: tuple[tuple[str, str, str, frozenset[Role]], ...] = (
    ("/desk/queue", "单位队列", "q", _ALL),
    ("/desk/sorting", "待派单", "s", _DESK),
    ("/desk/tickets", "工单查询", "t", _ALL),
    ("/desk/groups", "群体性诉求", "m", _DESK),
    ("/desk/overview", "总览", "o", _DESK),
    ("/desk/supervision", "督办", "p", _WATCH),
    ("/desk/samples", "抽查", "c", _WATCH),
    ("/desk/figures", "指标", "f", _ALL),
    ("/desk/rules", "责任单位", "r", _ALL),
    ("/desk/sources", "来源", "i", _DESK),
    ("/desk/deliveries", "投递", "d", _DESK),
)
# What is pressed on a ticket's page to fill in the form of an act.
ACT_KEYS: dict[str, str] = {
    Act.SIGN: "s",
    Act.CONTACT: "c",
    Act.RESOLVE: "r",
    Act.SEND_BACK: "b",
    Act.REQUEST_EXTENSION: "e",
    Act.DISPATCH: "d",
    Act.RULE: "u",
    Act.CALL_BACK: "v",
    Act.CLOSE: "f",
    Act.SUPERVISE: "w",
    Act.NOTE: "n",
    Act.CHECK: "a",
}
_DAY = 86_400
_NO = re.compile(r"[0-9K-]{10,32}")


def moment(at: datetime | None) -> str:
    """Return a time as an office writes it, in Shanghai: `2026-11-18 09:12`; "" for none."""
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}" if at else ""


# As `service.api.schemas.moment` is kept: what a list shows falls due together.
@lru_cache(4096)
def brief(at: datetime) -> str:
    """Return a time without its year: `11-18 09:12`."""
    return f"{at.astimezone(SHANGHAI):%m-%d %H:%M}"


def amount(seconds: int, day: int) -> str:
    """Return a length of time in its two largest units, `day` seconds being a day: `1 天 3 小时`.

    Minutes are rounded down: nobody is promised a minute that is not there.
    """
    days, rest = divmod(seconds, day)
    hours, rest = divmod(rest, 3600)
    minutes = rest // 60
    parts = [(days, "天"), (hours, "小时"), (minutes, "分钟")]
    while parts and not parts[0][0]:
        parts.pop(0)
    said = [f"{count} {unit}" for count, unit in parts[:2] if count]
    return " ".join(said) or "不到 1 分钟"


def left(calendar: Calendar, now: datetime, due_at: datetime, limit: str = "") -> str:
    """Return how long there is until `due_at`, or how long ago it was.

    Working time, in which a day is as long as an office works: `剩 1 天 3 小时（工作时间）`. Where no
    working time lies between, or the limit itself runs day and night, the time on the clock, and it
    says so.
    """
    ahead = due_at >= now
    first, last = (now, due_at) if ahead else (due_at, now)
    word = "剩" if ahead else "已超"
    try:
        seconds = 0 if _runs_day_and_night(limit) else calendar.working_seconds(first, last)
    except OverflowError:  # a sender's date far beyond any calendar
        seconds = 0
    if seconds:
        return f"{word} {amount(seconds, calendar.hours.seconds)}（工作时间）"
    return f"{word} {amount(int((last - first) / timedelta(seconds=1)), _DAY)}（自然时间）"


@lru_cache(1024)
def _runs_day_and_night(limit: str) -> bool:
    try:
        return not parse_limit(limit).in_working_time
    except LimitError:  # a sender's limit is a date and no amount
        return False


def next_owed(milestones: tuple[Milestone, ...], unit: str = "") -> Milestone | None:
    """Return what falls due first of what is still owed, by one unit or by anybody."""
    owed = [m for m in milestones if m.is_open and unit in {"", m.unit}]
    return min(owed, key=lambda m: (m.due_at, m.id), default=None)


# What an event carries, in the order in which it is told.
_CONTENT: dict[str, str] = {
    "decision": "路由结论",
    "unit": "主办单位",
    "assist": "协办单位",
    "auto": "方式",
    "reason": "理由",
    "basis": "依据",
    "suggested_unit": "建议改派",
    "text": "内容",
    "public_reply": "公开答复",
    "internal_finding": "内部调查情况",
    "way": "方式",
    "reached": "是否联系上",
    "solved": "是否解决",
    "truthful": "答复是否属实",
    "working_s": "用时（工作时间）",
    "grade": "满意度",
    "hotline": "紧急专线",
    "findings": "请核对",
    "confidence": "把握",
    "milestone": "事项",
    "clock": "时钟",
    "stage": "阶段",
    "due_at": "到期",
    "rulebook": "规则版本",
    "title": "标题",
    "content": "内容",
    "place": "地点",
    "kind": "类型",
    "urgency": "紧急程度",
    "amount": "延长",
    "granted": "审批",
    "until": "最迟恢复",
    "code": "事由代码",
    "level": "级别",
    "document": "依据文件",
    "words": "裁定用词",
    "into": "并入",
    "from": "并入的工单",
    "with": "不同于工单",
    "measure": "措施",
    "noticed_at": "记录于",
    "counts_against": "计入",
    "moved": "时限变动",
    "sender_due_at": "来件时限",
    "clock_from": "起算时间",
    "unit_written": "来件所写单位",
    "file": "文件摘要",
    "sheet": "工作表",
    "row": "行号",
    "finding": "请核对",
}
CLOCKS: dict[str, str] = {Clock.OWN: "本级时限", Clock.SENDER: "来件时限"}
GRADES = {5: "5 非常满意", 4: "4 满意", 3: "3 基本满意", 2: "2 不满意", 1: "1 非常不满意"}
_TIMES = {"due_at", "until", "noticed_at", "sender_due_at", "clock_from"}
_UNITS = {"unit", "suggested_unit", "counts_against"}
_LABELLED: dict[str, dict[Any, str]] = {
    "decision": DECISIONS,
    "milestone": MILESTONES,
    "stage": STAGES,
    "clock": CLOCKS,
    "grade": GRADES,
    "auto": {True: "自动"},
    "granted": {True: "同意", False: "不同意"},
    "measure": MEASURES,
    "level": LEVELS,
    "kind": KINDS,
    "urgency": URGENCIES,
    "reached": {True: "是", False: "否"},
    "solved": {True: "已解决", False: "未解决"},
    "truthful": {True: "属实", False: "不属实"},
    "way": WAYS_OF_CHECKING,
}

UnitName = Callable[[str], str]


def told(event: Event, unit_name: UnitName) -> list[tuple[str, str]]:
    """Return what an event carries as (label, text) pairs; what is empty is left out.

    A part that has no label yet is told by its own name: nothing of the history is hidden.
    """
    known = [key for key in _CONTENT if key in event.content]
    if event.act == "stage":
        # The rest is in the event's name; whose limit it is matters where it is not our own.
        known = [key for key in ("clock", "due_at") if event.content[key] != Clock.OWN]
        return [(_CONTENT[key], _text(key, event.content[key], unit_name)) for key in known]
    others = [key for key in event.content if key not in _CONTENT]
    pairs = (
        (_CONTENT.get(key, key), _text(key, event.content[key], unit_name))
        for key in known + others
    )
    return [(label, text) for label, text in pairs if text]


def _text(key: str, value: Any, unit_name: UnitName) -> str:
    if value is None:
        return ""
    if key in _LABELLED and value in _LABELLED[key]:
        return _LABELLED[key][value]
    if key in _TIMES:
        return moment(datetime.fromisoformat(value))
    if key in _UNITS:
        return unit_name(value)
    if key == "moved":
        return "；".join(
            f"{unit_name(each['unit'])}{MILESTONES[each['milestone']]}："
            + " 改为 ".join(moment(datetime.fromisoformat(at)) for at in each["due_at"])
            for each in value
        )
    if isinstance(value, list):
        return "、".join(unit_name(part) if key == "assist" else str(part) for part in value)
    if key == "working_s":
        return amount(value, _DAY * 10_000)  # in hours: a working day is not as long everywhere
    if key == "confidence":
        return f"{value:.0%}"
    if key in {"rulebook", "file"}:
        return str(value)[:12]
    return str(value)


def event_name(event: Event) -> str:
    """Return what an event is called; a clock's step says of what, and what is done: a card and the
    bulletin (通报) after it leave it in the same stage."""
    name = ACTS.get(event.act, event.act)
    if event.act == "stage":
        content = event.content
        step = MEASURES.get(content.get("measure") or "", STAGES[content["stage"]])
        return f"{name}：{MILESTONES[content['milestone']]}{step}"
    return name


_DECIDED = {
    Ask.PROPOSE.value: "已提交第 {} 号提议，等督办人员决定",
    "accepted": "已同意第 {} 号提议，约十秒后按它派单",
    "refused": "没有同意第 {} 号提议",
    "withdrawn": "已撤回第 {} 号提议，约十秒后不再按它派单",
}


PASSWORD_CHANGED = "password"  # noqa: S105 a notice's name


def notice(left_behind: str) -> str:
    """Return what the page after an act says, of `act.number`; "" for anything else."""
    if left_behind == PASSWORD_CHANGED:
        return "密码已更换，您在别处的登录已全部失效"
    act, _, no = left_behind.partition(".")
    if act == Ask.DRAW and no.isascii() and no.isdigit():
        return f"已抽取 {no} 件，在下面逐件抽查"
    if act in _DECIDED and no.isascii() and no.isdigit():
        return _DECIDED[act].format(no)
    if act == Ask.REDELIVER and no.isascii() and no.isdigit():
        return f"已安排重新投递 {no} 件" if int(no) else "没有可以重新投递的，可能已有人重新投递"
    if act == Ask.REDELIVER and _NO.fullmatch(no):
        return f"已安排重新投递：工单 {no}"  # whether it arrives is seen later
    return f"{ACTS[act]}成功：工单 {no}" if act in ACTS and _NO.fullmatch(no) else ""


def share(part: int, whole: int) -> str:
    """Return a rate as it is published: `90.05 %（3112/3456）`, or a dash where nothing was counted."""
    return f"{part / whole:.2%}（{part}/{whole}）".replace("%", " %") if whole else "—"


_UNDELIVERED = {
    "": "—",
    "timeout": "对方没有按时应答",
    "no-connection": "连接不上对方",
    "tls": "对方的证书无法验证",
    "broken-off": "连接中断",
    "expired": "超过期限仍未送达",
    "no-receiver": "没有配置接收方",
}


def undelivered(reason: str) -> str:
    """Return why a delivery failed; a status of HTTP keeps its number, by which systems are mended."""
    said = _UNDELIVERED.get(reason)
    if said is None:
        sort, _, status = reason.rpartition("-")
        said = f"对方应答 {status}" if sort == "http" else reason
    return said
