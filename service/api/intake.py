"""What comes in: one native payload, or a batch of them."""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import APIRouter, Response

from adapters.payload import Undecodable, decode, decode_batch, fingerprint
from adapters.plausible import implausible
from service.api.edge import places
from service.api.problems import FAILED, PROBLEMS, told
from service.api.problems import response as problem_response
from service.api.pushes import Push, Pushed
from service.api.schemas import (
    BatchAnswer,
    BatchLine,
    BatchStopped,
    IntakeAnswer,
    LineProblem,
    TicketOut,
)
from service.desk import Receipt
from service.domain.access import Forbidden
from service.domain.ports import PayloadRejected
from service.store import StoreUnavailable
from service.store.messages import MessageReused
from service.wiring import Parts, Wiring

log = structlog.get_logger()
router = APIRouter(prefix="/v1/intake", tags=["intake"])

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
    openapi_extra=_NATIVE,
    responses={200: {"model": IntakeAnswer, "description": "A repeat, or a supplement"}},
    summary="Receive one payload",
)
async def receive(push: Pushed, response: Response, app: Parts) -> IntakeAnswer:
    """Receive one payload of a source: a new ticket (201), a repeat or a supplement (200)."""
    with app.inflow.place(push.source.name):
        payload = await app.inflow.read(
            len(push.body), lambda: decode(push.body, push.content_type)
        )
        receipt = await _take(app, push, payload)
    if receipt.duplicate or receipt.supplemented:
        response.status_code = 200
    response.headers["ETag"] = f'"{receipt.ticket.version}"'
    return IntakeAnswer(
        ticket=TicketOut.of(receipt.ticket),
        duplicate=receipt.duplicate,
        supplemented=receipt.supplemented,
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
    with app.inflow.place(push.source.name):
        payloads = await app.inflow.read(
            len(push.body), lambda: decode_batch(push.body, push.content_type)
        )
        app.inflow.take(push.source, len(payloads), app.now(), taken=1)
        items: list[BatchLine] = []
        for payload in payloads:
            # A line that is refused waits for nothing: others have their turn between two.
            await asyncio.sleep(0)
            try:
                items.append(await _line(app, push, len(items) + 1, payload))
            except StoreUnavailable:
                if not any(item.ticket_no for item in items):
                    raise
                return _stopped(items, len(payloads))
        return BatchAnswer(items=items)


def _stopped(done: list[BatchLine], lines: int) -> Response:
    """Return the answer to a batch in which the store went away after it had stored something.

    Not a 200: who looks at the status alone must send again, which doubles nothing.
    """
    problem = PROBLEMS[StoreUnavailable]
    first = len(done) + 1
    rest = [
        BatchLine(
            line=number,
            status=problem.status,
            title=problem.title,
            errors=[LineProblem(pointer="", detail=_UNSURE if number == first else _NOT_TRIED)],
        )
        for number in range(first, lines + 1)
    ]
    detail = (
        f"第 1 至 {len(done)} 行已处理完毕，结果见 items；第 {first} 至 {lines} 行请稍后重发。"
        "整批重发也可以，已保存的不会重复受理。"
    )
    items = [item.model_dump(mode="json") for item in (*done, *rest)]
    return problem_response(problem, detail=detail, items=items)


_UNSURE = "处理此行时数据库不可用，未能确认保存，请重发；如已保存，不会重复受理"
_NOT_TRIED = "未处理，未保存，请重发"


async def _take(app: Wiring, push: Push, payload: Mapping[str, Any]) -> Receipt:
    at, source = app.now(), push.source
    complaint = app.adapters[source.adapter].complaint(payload, source)
    if problems := implausible(complaint, at, source, payload.keys()):
        raise PayloadRejected(problems)
    return await app.desk.receive(complaint, fingerprint(payload), at, push.by, push.message)


async def _line(
    app: Wiring, push: Push, number: int, payload: Mapping[str, Any] | Undecodable
) -> BatchLine:
    try:
        if isinstance(payload, Undecodable):
            raise payload
        receipt = await _take(app, push, payload)
    except (Undecodable, PayloadRejected, Forbidden) as error:
        problem = PROBLEMS[type(error)]
        return BatchLine(
            line=number,
            status=problem.status,
            title=problem.title,
            errors=[
                LineProblem(pointer=fault.pointer, detail=fault.detail)
                for fault in told(problem.errors(error))
            ]
            or [LineProblem(pointer="", detail=problem.detail(error))],
        )
    except (StoreUnavailable, MessageReused):
        raise  # the lines after this one would fail too
    except Exception as error:  # noqa: BLE001 the lines before are stored, their senders must be told
        # As for a whole request: the message may quote what somebody sent, its type never does.
        log.error("batch.line_failed", line=number, error=type(error).__name__, at=places(error))
        return BatchLine(
            line=number,
            status=FAILED.status,
            title=FAILED.title,
            errors=[LineProblem(pointer="", detail=FAILED.detail(error))],
        )
    return BatchLine(
        line=number,
        status=200 if receipt.duplicate or receipt.supplemented else 201,
        ticket_no=receipt.ticket.no,
        duplicate=receipt.duplicate,
        supplemented=receipt.supplemented,
    )
