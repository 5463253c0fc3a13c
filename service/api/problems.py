"""Every refusal in one table: error → status → problem+json (RFC 9457), titles in Chinese."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from adapters.payload import Undecodable, WrongMedia
from adapters.signature import NotSigned
from routing_rules.faults import QUOTED_CHARS
from service.api.schemas import ProblemOut
from service.cursors import BadCursor, cursor_at
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
from service.domain.ports import FieldProblem, PayloadRejected
from service.feed import Lost, StreamsFull, TakenOff
from service.findings import field_problem
from service.labels import ACTS, DELIVERY_STATES, ROLES, STATES
from service.outbox import NoReceiver, NotGivenUp, UnknownDelivery
from service.reports import BadPeriod
from service.seal import KeyFault, Tampered
from service.store import OutcomeUnknown, StoreFull, StoreUnavailable
from service.store.messages import MessageReused
from service.store.months import Detached
from service.store.tickets import Stale
from service.store.words import Unsearchable
from service.wiring import Overloaded, TooFast, Unauthenticated

MEDIA_TYPE = "application/problem+json"
# What a route may answer besides its own, in the document.
REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "Refused; `errors` points at what is wrong",
        "content": {MEDIA_TYPE: {"schema": ProblemOut.model_json_schema()}},
    }
}
# More than anybody mends at once; without an end an answer could be larger than what was sent.
FAULTS_TOLD = 50


class UnknownSource(Exception):
    """sources.yaml has no such source."""


class VersionMissing(Exception):
    """A write to a ticket came without a readable If-Match."""


class UnknownRegion(Exception):
    """There is no region of this code: whoever follows it would wait for nothing."""


class UnknownQueue(Exception):
    """The unit table has no unit of this code, and so no queue."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal: its name is the last part of `type`, `title` says what sort, `detail` what now."""

    status: int
    name: str
    title: str
    detail: Callable[[Any], str] = lambda _error: ""
    errors: Callable[[Any], Sequence[FieldProblem]] = lambda _error: ()
    headers: Callable[[Any], Mapping[str, str]] = lambda _error: {}


def _not_allowed(error: IllegalMove) -> str:
    allowed = "、".join(f"{ACTS[act]} {act}" for act in error.allowed)
    return f"工单状态为“{STATES[error.state]}”，不能{ACTS[error.act]}；此时可以：{allowed}。"


RETRY_S = "5"
FULL_RETRY_S = "30"

PROBLEMS: dict[type[Exception], Problem] = {
    Undecodable: Problem(400, "undecodable", "报文无法解码", str),
    WrongMedia: Problem(
        415,
        "media-type",
        "不支持的报文类型",
        str,
        headers=lambda _: {
            "Accept": "application/json, application/xml, application/x-www-form-urlencoded"
        },
    ),
    PayloadRejected: Problem(
        422,
        "payload",
        "报文内容有误",
        lambda e: f"共 {len(e.problems)} 处需要更正，未保存任何内容。",
        lambda e: e.problems,
    ),
    Unauthenticated: Problem(
        401,
        "unauthenticated",
        "未通过身份验证",
        lambda e: str(e) or "请在 Authorization 头中以“Bearer 令牌”的形式提供有效令牌。",
        headers=lambda _: {"WWW-Authenticate": "Bearer"},
    ),
    NotSigned: Problem(
        401,
        "signature",
        "签名未通过验证",
        lambda e: f"{e.detail}。",
        headers=lambda _: {"WWW-Authenticate": "Bearer"},
    ),
    Forbidden: Problem(
        403,
        "forbidden",
        "没有权限",
        lambda e: f"“{ROLES.get(e.role, e.role)}”不能对此进行“{ACTS.get(e.act, e.act)}”操作。",
    ),
    UnknownTicket: Problem(404, "unknown-ticket", "没有这张工单", lambda _: "请核对工单编号。"),
    UnknownSource: Problem(
        404, "unknown-source", "没有这个来源", lambda e: f"sources.yaml 中没有“{str(e)[:64]}”。"
    ),
    UnknownUnit: Problem(
        422,
        "unknown-unit",
        "责任单位表中没有这个单位",
        lambda _: "请用 GET /v1/units 查询单位代码。",
        lambda e: (FieldProblem(e.pointer, f"没有代码为“{e.unit[:64]}”的单位"),),
    ),
    IllegalMove: Problem(409, "act-not-allowed", "当前状态不允许此操作", _not_allowed),
    RuleForbids: Problem(409, "rule-forbids", "规定不允许此操作", lambda e: f"{e.detail}。"),
    CallBackOwed: Problem(
        409, "call-back-owed", "尚未回访", lambda _: "诉求人留有电话，结案前应先回访（call_back）。"
    ),
    Stale: Problem(
        412,
        "stale",
        "工单已被他人更新",
        lambda e: f"当前版本为 {e.current}，请重新读取工单后再操作。",
    ),
    VersionMissing: Problem(
        428,
        "version-required",
        "缺少工单版本",
        lambda _: "请用 If-Match 头给出所读到的工单版本，例如 If-Match: 3。",
    ),
    KeyReused: Problem(
        422,
        "key-reused",
        "Idempotency-Key 已用于其他请求",
        lambda _: "同一个键只能用于重试同一个请求。",
    ),
    ReadsTooMuch: Problem(
        429,
        "reads-too-much",
        "查看过快",
        lambda e: f"短时间内查看的联系方式过多，请在 {e.wait_s} 秒后再试。",
        headers=lambda e: {"Retry-After": str(e.wait_s)},
    ),
    MadeAnonymous: Problem(
        410, "anonymised", "已匿名化", lambda _: "按保存期限，诉求人的信息已不再保存。"
    ),
    NoNumber: Problem(
        422,
        "no-number",
        "不是电话号码",
        lambda _: "请提供完整的电话号码，固定电话请带区号。",
        lambda _: (FieldProblem("/phone", "应为完整的电话号码"),),
    ),
    KeyFault: Problem(
        503,
        "keys",
        "密钥不全",
        lambda _: "封存个人信息的密钥不全，请联系系统管理员核对密钥文件。",
        headers=lambda _: {"Retry-After": RETRY_S},
    ),
    Tampered: Problem(
        500,
        "tampered",
        "封存的内容被改动",
        lambda _: "封存的个人信息被改动过，无法打开，请联系系统管理员从备份核对。",
    ),
    MessageReused: Problem(
        409,
        "webhook-reused",
        "webhook-id 已用于其他报文",
        lambda _: "同一个 webhook-id 只能用于重发同一份报文，内容不同的推送请用新的 webhook-id。",
    ),
    TooFast: Problem(
        429,
        "rate-limited",
        "推送过快",
        lambda e: (
            f"本来源每分钟 {e.rate.per_minute} 件、一次最多 {e.rate.burst} 件；"
            f"未保存任何内容，请在 {e.wait_s} 秒后重试。"
        ),
        headers=lambda e: {"Retry-After": str(e.wait_s)},
    ),
    Overloaded: Problem(
        503,
        "overloaded",
        "服务繁忙",
        lambda _: "正在处理的推送过多，未保存任何内容，请稍后重试。",
        headers=lambda _: {"Retry-After": "1"},
    ),
    BadCursor: Problem(
        400,
        "bad-cursor",
        "游标无效",
        lambda _: "请使用上一页返回的 next，不要自行构造。",
        lambda e: (FieldProblem(e.pointer, "不是此地址给出的游标"),),
    ),
    Lost: Problem(
        410,
        "cursor-lost",
        "游标所指的事件已不在",
        lambda _: (
            "数据库可能已恢复到较早的备份，此后的事件需重新读取："
            "请改用恢复时间点之前的游标，或不带 after 从头读取。"
        ),
    ),
    TakenOff: Problem(
        410,
        "events-archived",
        "较早的事件已归档",
        lambda e: (
            f"所要的事件已随较早的月份取下归档；仍在线的事件从游标 {cursor_at(e.first)} 之后开始。"
        ),
    ),
    Detached: Problem(
        410,
        "history-archived",
        "办件历史已归档",
        lambda e: (
            f"{e.until // 100} 年 {e.until % 100} 月及以前的办件历史已取下归档，"
            "工单仍可查看但不能再办理；需要时请联系管理员接回。"
        ),
    ),
    StreamsFull: Problem(
        503,
        "streams-full",
        "事件流连接已满",
        lambda _: "本实例打开的事件流已达上限，请稍后重试，或改用分页读取。",
        headers=lambda _: {"Retry-After": "30"},
    ),
    UnknownQueue: Problem(
        404, "unknown-queue", "没有这个单位", lambda _: "请用 GET /v1/units 查询单位代码。"
    ),
    UnknownRegion: Problem(
        422,
        "unknown-region",
        "没有这个地区",
        lambda _: "地区应为区划代码，例如 360732。",
        lambda _: (FieldProblem("/query/region", "没有这个地区，应为区划代码"),),
    ),
    Unsearchable: Problem(
        422,
        "unsearchable",
        "检索词无法使用",
        lambda e: f"{e}。",
        lambda e: (FieldProblem("/query/q", str(e)),),
    ),
    UnknownDelivery: Problem(
        404, "unknown-delivery", "没有这条投递", lambda _: "请用 GET /v1/deliveries 查询。"
    ),
    NotGivenUp: Problem(
        409,
        "not-given-up",
        "这条投递不能重新投递",
        lambda e: f"它是“{DELIVERY_STATES[e.state]}”；只有投递失败或无接收方的可以重新投递。",
    ),
    NoReceiver: Problem(
        409,
        "no-receiver",
        "没有配置接收方",
        lambda _: "请先在 sources.yaml 的 callback 或 receivers.yaml 中配置，再重新投递。",
    ),
    LimitError: Problem(
        422,
        "limit",
        "时限无法识别",
        str,
        lambda e: (FieldProblem("/limit", str(e)),),
    ),
    BadPeriod: Problem(
        422,
        "period",
        "无法按此统计",
        lambda e: f"{e}。",
        lambda e: e.problems,
    ),
    StoreFull: Problem(
        503,
        "store-full",
        "数据库磁盘已满",
        lambda _: "未保存任何内容，请稍后重试；管理员腾出磁盘空间后会自动恢复。",
        headers=lambda _: {"Retry-After": FULL_RETRY_S},
    ),
    StoreUnavailable: Problem(
        503,
        "store-unavailable",
        "数据库暂时不可用",
        lambda _: "未保存任何内容，请稍后重试。",
        headers=lambda _: {"Retry-After": RETRY_S},
    ),
    OutcomeUnknown: Problem(
        503,
        "outcome-unknown",
        "数据库中断，结果未知",
        lambda _: (
            "数据库在确认保存时中断，不能确定是否已保存；请稍后原样重发，已保存的不会重复受理"
            "（操作请沿用同一 Idempotency-Key）。"
        ),
        headers=lambda _: {"Retry-After": RETRY_S},
    ),
}

TOO_LARGE = Problem(413, "too-large", "报文过大")
TOO_SLOW = Problem(
    408,
    "too-slow",
    "报文发送过慢",
    lambda _: "报文迟迟没有发完，未保存任何内容，请检查网络后重发。",
)
NO_ROOM = PROBLEMS[Overloaded]
_HTTP: dict[int, Problem] = {
    404: Problem(404, "not-found", "没有这个地址"),
    405: Problem(405, "method-not-allowed", "此地址不支持该方法"),
    **{problem.status: problem for problem in (TOO_SLOW, TOO_LARGE, NO_ROOM)},
}

FAILED = Problem(
    500, "failed", "服务内部错误", lambda _: "请稍后重试；如仍然失败，请联系系统管理员查看日志。"
)
INVALID = Problem(422, "invalid", "请求内容有误")
MALFORMED = Problem(400, "malformed", "请求不是有效的 JSON")


def told(faults: Sequence[FieldProblem]) -> list[FieldProblem]:
    """Return the first 50 faults, each pointer cut to 64 characters."""
    return [
        FieldProblem(fault.pointer[:QUOTED_CHARS], fault.detail) for fault in faults[:FAULTS_TOLD]
    ]


def response(
    problem: Problem, error: Exception | None = None, *, detail: str = "", **more: Any
) -> JSONResponse:
    """Return the answer that tells of a problem; `more` are members beside those of RFC 9457."""
    body: dict[str, Any] = {
        "type": f"urn:banjie:problem:{problem.name}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail or problem.detail(error) or problem.title,
        "errors": [
            {"pointer": fault.pointer, "detail": fault.detail}
            for fault in told(problem.errors(error) if error else ())
        ],
        **more,
    }
    return JSONResponse(body, problem.status, dict(problem.headers(error)), MEDIA_TYPE)


def _known(_request: Request, error: Exception) -> JSONResponse:
    problem = next(PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS)
    return response(problem, error)


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return response(MALFORMED, detail="请检查引号、逗号、括号，以及编码是否为 UTF-8。")
    problems = [field_problem(fault) for fault in faults[:FAULTS_TOLD]]
    listing = Problem(INVALID.status, INVALID.name, INVALID.title, errors=lambda _: problems)
    return response(listing, error, detail=f"共 {len(faults)} 处需要更正，未保存任何内容。")


def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return untaken(error)


def untaken(error: HTTPException) -> JSONResponse:
    """Return the answer to what came to no route of ours, or could not be taken in."""
    problem = _HTTP.get(error.status_code)
    if problem is None:
        # FastAPI answers 400 for a body it cannot decode at all.
        problem = Problem(error.status_code, "http", "请求无法处理")
    answer = response(problem, detail=error.detail if problem is TOO_LARGE else "")
    answer.headers.update(error.headers or {})
    return answer


def install(app: FastAPI) -> None:
    """Make every known error answer as the table says."""
    for kind in PROBLEMS:
        app.add_exception_handler(kind, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


__all__ = ["MEDIA_TYPE", "PROBLEMS", "Problem", "install", "response"]
