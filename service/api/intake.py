"""What comes in: one native payload, or a batch of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Request, Response

from adapters.payload import Undecodable, decode, decode_batch, fingerprint
from adapters.plausible import implausible
from service.api.callers import Caller
from service.api.edge import places
from service.api.problems import FAILED, PROBLEMS, UnknownSource, told
from service.api.schemas import BatchAnswer, BatchLine, IntakeAnswer, LineProblem, TicketOut
from service.desk import Receipt
from service.domain.access import Actor, Forbidden, Role
from service.domain.ports import PayloadRejected, Source
from service.store import StoreUnavailable
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
SourceName = Annotated[str, Path(description="A source of sources.yaml", max_length=64)]


@router.post(
    "/{source}",
    status_code=201,
    openapi_extra=_NATIVE,
    responses={200: {"model": IntakeAnswer, "description": "A repeat, or a supplement"}},
    summary="Receive one payload",
)
async def receive(
    source: SourceName, request: Request, response: Response, app: Parts, by: Caller
) -> IntakeAnswer:
    """Receive one payload of a source: a new ticket (201), a repeat or a supplement (200)."""
    known = _source(app, by, source)
    payload = decode(await request.body(), request.headers.get("content-type", ""))
    receipt = await _take(app, by, known, payload, app.now())
    if receipt.duplicate or receipt.supplemented:
        response.status_code = 200
    response.headers["ETag"] = f'"{receipt.ticket.version}"'
    return IntakeAnswer(
        ticket=TicketOut.of(receipt.ticket),
        duplicate=receipt.duplicate,
        supplemented=receipt.supplemented,
    )


@router.post("/{source}/batch", openapi_extra=_NATIVE_BATCH, summary="Receive up to 1,000 payloads")
async def receive_batch(
    source: SourceName, request: Request, app: Parts, by: Caller
) -> BatchAnswer:
    """Receive up to 1,000 payloads; one that is wrong harms no other."""
    known = _source(app, by, source)
    payloads = decode_batch(await request.body(), request.headers.get("content-type", ""))
    items = [await _line(app, by, known, n, payload) for n, payload in enumerate(payloads, 1)]
    return BatchAnswer(items=items)


def _source(app: Wiring, by: Actor, name: str) -> Source:
    if by.role not in {Role.SOURCE, Role.ADMIN} or (by.source and by.source != name):
        raise Forbidden(by.role, "intake")
    try:
        return app.sources[name]
    except KeyError:
        raise UnknownSource(name) from None


async def _take(
    app: Wiring, by: Actor, source: Source, payload: Mapping[str, Any], at: datetime
) -> Receipt:
    complaint = app.adapters[source.adapter].complaint(payload, source)
    if problems := implausible(complaint, at, source):
        raise PayloadRejected(problems)
    return await app.desk.receive(complaint, fingerprint(payload), at, by)


async def _line(
    app: Wiring, by: Actor, source: Source, number: int, payload: Mapping[str, Any] | Undecodable
) -> BatchLine:
    try:
        if isinstance(payload, Undecodable):
            raise payload
        receipt = await _take(app, by, source, payload, app.now())
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
    except StoreUnavailable:
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
