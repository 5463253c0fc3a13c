"""What a person at a page is told when something is refused: one table.

The routes have a table of their own for programs (service.api.problems): one tells of headers and
fields, the other of what to press next.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from routing_rules.proposed import FilesChanged
from service.cursors import BadCursor
from service.desk import (
    KeyReused,
    MadeAnonymous,
    NoNumber,
    ReadsTooMuch,
    UnknownTicket,
    UnknownUnit,
)
from service.domain.access import Forbidden
from service.domain.acts import RuleForbids
from service.domain.deadline import LimitError
from service.domain.deeds import CallBackOwed
from service.domain.lifecycle import IllegalMove
from service.domain.ports import FieldProblem
from service.doors import Busy, HeldOff
from service.feed import StreamsFull
from service.findings import field_problem
from service.labels import ACTS, DELIVERY_STATES, PROPOSAL_STATES, ROLES, STATES
from service.outbox import NoReceiver, NotGivenUp, UnknownDelivery
from service.proposals import BadProposal, NotSoAnyMore, OwnProposal, UnknownProposal
from service.reports import BadPeriod
from service.seal import KeyFault, Tampered
from service.store import OutcomeUnknown, StoreFull, StoreUnavailable
from service.store.months import Detached
from service.store.tickets import Stale
from service.supervision import BadDraw
from service.web.sessions import ForeignForm, OldForm


@dataclass(frozen=True, slots=True)
class Refusal:
    """What went wrong in Chinese, what now, and which fields of the form are to be mended."""

    status: int
    title: str
    detail: str
    fields: tuple[FieldProblem, ...] = ()

    def of(self, field: str) -> str:
        """Return what is wrong with a field, "" if nothing."""
        return "；".join(f.detail for f in self.fields if f.pointer.split("/")[1:2] == [field])


def _not_allowed(error: IllegalMove) -> str:
    return f"工单现在是“{STATES[error.state]}”，不能{ACTS[error.act]}。"


_Said = Callable[[Any], str]

# Error → status, title, what now.
_REFUSALS: dict[type[Exception], tuple[int, str, _Said]] = {
    UnknownTicket: (
        404,
        "没有这张工单",
        lambda _: "请核对工单编号；也可能这张工单已不在您的单位。",
    ),
    Forbidden: (
        403,
        "没有权限",
        lambda e: f"“{ROLES.get(e.role, e.role)}”不能对此进行“{ACTS.get(e.act, e.act)}”操作。",
    ),
    ForeignForm: (
        403,
        "没有提交",
        lambda _: "这次提交不是从本系统的页面发出的。请回到页面重新操作。",
    ),
    OldForm: (
        403,
        "没有提交",
        lambda _: (
            "打开这个页面以后您重新登录过，它已失效。"
            "填写的内容如列在下面，请先复制，再打开页面重新提交。"
        ),
    ),
    Stale: (
        412,
        "工单已被他人更新",
        lambda e: (
            f"您打开页面之后，工单有了新的变化（现为第 {e.current} 版），没有提交。"
            "下面已是最新内容，您填写的内容仍在，请核对后再提交。"
        ),
    ),
    IllegalMove: (409, "当前状态不允许此操作", _not_allowed),
    RuleForbids: (409, "规定不允许此操作", lambda e: f"{e.detail}。"),
    CallBackOwed: (409, "尚未回访", lambda _: "诉求人留有电话，结案前应先回访。"),
    ReadsTooMuch: (
        429,
        "查看过快",
        lambda e: f"短时间内查看的联系方式过多，请在 {e.wait_s} 秒后再试。",
    ),
    MadeAnonymous: (410, "已匿名化", lambda _: "按保存期限，诉求人的信息已不再保存。"),
    NoNumber: (422, "不是电话号码", lambda _: "请输入完整的电话号码，固定电话请带区号。"),
    KeyFault: (503, "密钥不全", lambda _: "封存个人信息的密钥不全，请联系系统管理员核对密钥文件。"),
    Tampered: (
        500,
        "封存的内容被改动",
        lambda _: "封存的个人信息被改动过，无法打开，请联系系统管理员从备份核对。",
    ),
    KeyReused: (
        409,
        "这张表已经提交过",
        lambda _: "同一页面上的表只能提交一次。下面是最新内容，如需再次操作请重新填写。",
    ),
    UnknownUnit: (422, "没有这个单位", lambda _: "请从列表中选择单位。"),
    UnknownDelivery: (404, "没有这条投递", lambda _: "请回到投递列表查看。"),
    NotGivenUp: (
        409,
        "不能重新投递",
        lambda e: f"它现在是“{DELIVERY_STATES[e.state]}”，可能已有人重新投递。请回到列表查看。",
    ),
    NoReceiver: (
        409,
        "没有配置接收方",
        lambda _: "请联系管理员配置接收系统的地址，之后再重新投递。",
    ),
    HeldOff: (
        429,
        "失败次数过多",
        lambda e: (
            f"失败次数过多，请 {-(-e.seconds // 60)} 分钟后再试。"
            "急用的，可请系统管理员发一次性登录链接。"
        ),
    ),
    Busy: (503, "登录的人太多", lambda _: "现在登录的人太多，请稍等片刻再试。"),
    StreamsFull: (503, "打开的页面过多", lambda _: "列表不再自动更新，页面照常使用。"),
    BadCursor: (400, "这一页已打不开", lambda _: "请回到列表，从第一页开始翻页。"),
    BadPeriod: (422, "无法按此统计", lambda e: f"{e}。"),
    Detached: (
        410,
        "办件历史已归档",
        lambda e: (
            f"{e.until // 100} 年 {e.until % 100} 月及以前的办件历史已取下归档，请联系管理员接回。"
        ),
    ),
    StoreFull: (503, "系统磁盘已满", lambda _: "没有保存任何内容，请联系管理员腾出空间后重试。"),
    BadDraw: (422, "没有抽取", lambda e: f"{e}。"),
    UnknownProposal: (404, "没有这条提议", lambda _: "请回到提议列表查看。"),
    OwnProposal: (409, "不能同意自己的提议", lambda _: "请由本地区另一位督办人员或管理员决定。"),
    NotSoAnyMore: (
        409,
        "没有提交",
        lambda e: (
            f"它现在是“{PROPOSAL_STATES[e.standing]}”，或规则刚有变化。请看最新内容后再决定。"
        ),
    ),
    FilesChanged: (
        503,
        "规则正在更换",
        lambda _: "规则文件夹在启动后有改动，没有保存任何内容。请管理员重启服务后再提交。",
    ),
    BadProposal: (422, "有内容需要更正", lambda e: f"{e}。"),
    OutcomeUnknown: (
        503,
        "系统暂时不可用",
        lambda _: (
            "数据库在确认保存时中断，不能确定是否已保存。请稍后回到页面，看到最新内容后再操作。"
        ),
    ),
    StoreUnavailable: (503, "系统暂时不可用", lambda _: "没有保存任何内容，请稍后重试。"),
    RequestValidationError: (
        400,
        "地址有误",
        lambda _: "地址中的查询条件无法识别，请从页面上选择。",
    ),
}
# What an act may be refused for, by a person's mending or by nobody's fault.
OF_ACTS = (
    ValidationError,
    Forbidden,
    Stale,
    IllegalMove,
    RuleForbids,
    CallBackOwed,
    KeyReused,
    UnknownUnit,
    LimitError,
)
_HTTP: dict[int, tuple[str, str]] = {
    400: ("提交的内容无法识别", "没有保存任何内容，请回到页面重新填写。"),
    404: ("没有这个页面", "请核对地址，或回到工作台。"),
    405: ("不能这样打开此地址", "请回到页面重新操作。"),
    413: ("提交的内容过大", "没有保存任何内容，请精简后再提交。"),
}
_BROKEN = Refusal(500, "系统出现错误", "没有完成操作，错误已记录。请稍后重试，仍不行请联系管理员。")


def refusal(error: Exception) -> Refusal:
    """Return what a person is told about an error; of an unforeseen one nothing but that it was."""
    if isinstance(error, ValidationError):
        return Refusal(
            422, "有内容需要更正", "没有提交，请更正标出的各项。", _fields(error.errors())
        )
    if isinstance(error, HTTPException):
        title, detail = _HTTP.get(error.status_code, ("无法处理", "请回到页面重新操作。"))
        return Refusal(error.status_code, title, detail)
    for kind in type(error).__mro__:
        if kind in _REFUSALS:
            status, title, said = _REFUSALS[kind]
            if isinstance(error, BadProposal):
                return Refusal(status, title, said(error), error.problems)
            at_field = FieldProblem(getattr(error, "pointer", ""), title)
            return Refusal(status, title, said(error), (at_field,) if at_field.pointer else ())
    return _BROKEN


def _fields(faults: Sequence[Any]) -> tuple[FieldProblem, ...]:
    return tuple(field_problem(fault) for fault in faults)
