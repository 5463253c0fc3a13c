"""Why: a route or a due date for a text or a start, with nothing stored."""

from fastapi import APIRouter

from routing_rules.evaluate import complaint_from
from service.api.callers import Caller
from service.api.problems import REFUSALS
from service.api.schemas import DeadlineIn, DeadlineOut, RoutingIn
from service.domain.access import Ask, check_act
from service.domain.calendar import SHANGHAI
from service.domain.complaint import Route
from service.domain.deadline import LimitError, due, parse_limit
from service.domain.ports import FieldProblem, PayloadRejected
from service.parts import Parts

router = APIRouter(prefix="/v1", tags=["explain"], responses=REFUSALS)


@router.post("/routing/explain", summary="Where would this go, and why?")
async def explain_routing(asked: RoutingIn, app: Parts, by: Caller) -> Route:
    """Route a complaint without storing anything."""
    check_act(by, Ask.EXPLAIN)
    region = app.gazetteer.find(asked.region)
    if region is None:
        raise PayloadRejected([FieldProblem("/region", "没有这个地区，应为区划代码或名称")])
    try:
        complaint = complaint_from(asked.model_dump() | {"region": region})
    except ValueError as error:
        raise PayloadRejected([FieldProblem("", str(error))]) from error
    return app.router.route(complaint)


@router.post("/deadlines/explain", summary="When is this due, and why?")
async def explain_deadline(asked: DeadlineIn, app: Parts, by: Caller) -> DeadlineOut:
    """Return when a limit ends, with the count in Chinese."""
    check_act(by, Ask.EXPLAIN)
    start = asked.from_
    if start.tzinfo is None:
        start = start.replace(tzinfo=SHANGHAI)
    region = app.gazetteer.find(asked.region) if asked.region else ""
    if region is None:
        raise PayloadRejected([FieldProblem("/region", "没有这个地区，应为区划代码或名称")])
    calendar = app.times.calendar_of(region)
    try:
        found = due(calendar, start, parse_limit(asked.limit), asked.count_from)
    except OverflowError as error:
        msg = f"{start:%Y-%m-%d} 起的时限超出日历所及（2000 年至数据截止后若干年）"
        raise LimitError(msg) from error
    return DeadlineOut(
        due_at=found.due_at, provisional=found.provisional, reasoning=found.reasoning
    )
