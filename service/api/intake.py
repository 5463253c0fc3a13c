"""What comes in: one native payload, or a batch of them."""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import APIRouter, Request, Response

from adapters.payload import Undecodable, decode, decode_batch, fingerprint
from adapters.plausible import implausible
from service.api.edge import places
from service.api.problems import FAILED, PROBLEMS, REFUSALS, told
from service.api.problems import response as problem_response
from service.api.pushes import PUSHED, Push, Pushed, pushed_by
from service.api.schemas import (
    BatchAnswer,
    BatchLine,
    BatchStopped,
    IntakeAnswer,
    LineProblem,
    intake_answer,
)
from service.desk import Arrival, Receipt
from service.domain.access import Forbidden
from service.domain.ports import PayloadRejected
from service.intake import Answer
from service.parts import Parts, wiring
from service.store import StoreUnavailable
from service.store.intakes import Fate
from service.store.messages import MessageReused
from service.wiring import Wiring

log = structlog.get_logger()
router = APIRouter(prefix="/v1/intake", tags=["intake"], responses=REFUSALS)

_OBJECT = {"schema": {"type": "object"}}
_NATIVE = {
    "requestBody": {
        "required": True,
        "description": "The source's own format, UTF-8 or GB18030",
        "content": {
            "application/json": _OBJECT,
            "application/xml": _OBJECT,
            "application/x-www-form-urlencoded": _OBJECT,
        },
    }
}
_NATIVE_BATCH = {
    "requestBody": {
        "required": True,
        "description": "Up to 1,000 payloads: an array, one a line, or the elements below an XML root",
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            "application/x-ndjson": {"schema": {"type": "string"}},
            "application/xml": {"schema": {"type": "array", "items": {"type": "object"}}},
        },
    }
}


@router.post(
    "/{source}",
    status_code=201,
    response_model=IntakeAnswer,
    openapi_extra=_NATIVE | PUSHED,
    responses={200: {"model": IntakeAnswer, "description": "A repeat, or a supplement"}},
    summary="Receive one payload",
)
async def receive(request: Request) -> Response:
    """Receive one payload of a source: a new ticket (201), a repeat or a supplement (200)."""
    # The request alone: what FastAPI does about parameters and answers costs as much as a push.
    push, app = await pushed_by(request), await wiring(request)
    with app.inflow.place(push.source.name):
        try:
            payload = await app.inflow.read(
                len(push.body), lambda: decode(push.body, push.content_type)
            )
            receipt = await _take(app, push, payload)
        except (Undecodable, PayloadRejected):
            app.pulse.note(push.source.name, Fate.REJECTED, app.now())
            raise
    app.pulse.note(push.source.name, Fate.TAKEN, app.now())
    return Response(
        intake_answer(
            receipt.ticket, duplicate=receipt.duplicate, supplemented=receipt.supplemented
        ),
        200 if receipt.duplicate or receipt.supplemented else 201,
        {"ETag": f'"{receipt.ticket.version}"'},
        "application/json",
    )


@router.post(
    "/{source}/batch",
    openapi_extra=_NATIVE_BATCH,
    response_model=BatchAnswer,
    responses={
        503: {
            "model": BatchStopped,
            "description": "The database went away; `items` tells of each line what became of it",
        }
    },
    summary="Receive up to 1,000 payloads",
)
async def receive_batch(push: Pushed, app: Parts) -> BatchAnswer | Response:
    """Receive up to 1,000 payloads; one that is wrong harms no other."""
    name = push.source.name
    with app.inflow.place(name):
        payloads = await app.inflow.read(
            len(push.body), lambda: decode_batch(push.body, push.content_type)
        )
        with app.inflow.place(name, len(payloads) - 1, held=1):
            app.inflow.take(push.source, len(payloads), app.now(), taken=1)
            begun: list[Answer | Exception] = []
            for payload in payloads:
                # Others have their turn between two lines.
                await asyncio.sleep(0)
                begun.append(_begun(app, push, payload))
            found = [await _ended(each) for each in begun]
    for each in found:
        if isinstance(each, MessageReused):
            raise each  # all lines are of one message
    items = [_line(number, each) for number, each in enumerate(found, 1)]
    gone = [each for each in found if isinstance(each, StoreUnavailable)]
    came = any(isinstance(each, Receipt) for each in found)
    if came or not gone:
        app.pulse.note(name, Fate.TAKEN if came else Fate.REJECTED, app.now())
    if not gone:
        return BatchAnswer(items=items)
    if not any(item.ticket_no for item in items):
        raise gone[0]
    # Not a 200: who looks at the status alone must send again, which doubles nothing.
    detail = (
        f"共 {len(items)} 行，其中 {len(gone)} 行未能确认保存，请稍后重发；各行结果见 items。"
        "整批重发也可以，已保存的不会重复受理。"
    )
    answers = [item.model_dump(mode="json") for item in items]
    return problem_response(PROBLEMS[StoreUnavailable], detail=detail, items=answers)


_UNSURE = "处理此行时数据库不可用，未能确认保存，请重发；如已保存，不会重复受理"


def _take(app: Wiring, push: Push, payload: Mapping[str, Any]) -> Answer:
    """Let a payload wait for its transaction; raise what makes it no complaint."""
    at, source = app.now(), push.source
    complaint = app.adapters[source.adapter].complaint(payload, source)
    if problems := implausible(complaint, at, source, payload.keys()):
        raise PayloadRejected(problems)
    return app.intake.submit(Arrival(complaint, fingerprint(payload), at, push.by, push.message))


def _begun(app: Wiring, push: Push, payload: Mapping[str, Any] | Undecodable) -> Answer | Exception:
    if isinstance(payload, Undecodable):
        return payload
    try:
        return _take(app, push, payload)
    except Exception as error:  # noqa: BLE001 it is told in its line
        return error


async def _ended(begun: Answer | Exception) -> Receipt | Exception:
    if isinstance(begun, Exception):
        return begun
    try:
        return await begun
    except Exception as error:  # noqa: BLE001 other lines are stored, their senders must be told
        return error


def _line(number: int, found: Receipt | Exception) -> BatchLine:
    if isinstance(found, Receipt):
        return BatchLine(
            line=number,
            status=200 if found.duplicate or found.supplemented else 201,
            ticket_no=found.ticket.no,
            duplicate=found.duplicate,
            supplemented=found.supplemented,
        )
    problem = PROBLEMS.get(type(found))
    if isinstance(found, StoreUnavailable) and problem:
        detail = [LineProblem(pointer="", detail=_UNSURE)]
        return BatchLine(line=number, status=problem.status, title=problem.title, errors=detail)
    if isinstance(found, Undecodable | PayloadRejected | Forbidden) and problem:
        errors = [
            LineProblem(pointer=fault.pointer, detail=fault.detail)
            for fault in told(problem.errors(found))
        ] or [LineProblem(pointer="", detail=problem.detail(found))]
        return BatchLine(line=number, status=problem.status, title=problem.title, errors=errors)
    # As for a whole request: the message may quote what somebody sent, its type never does.
    log.error("batch.line_failed", line=number, error=type(found).__name__, at=places(found))
    detail = [LineProblem(pointer="", detail=FAILED.detail(found))]
    return BatchLine(line=number, status=FAILED.status, title=FAILED.title, errors=detail)
