"""What leaves the house: what of it did not arrive, and sending that again."""

from typing import Annotated

from fastapi import APIRouter, Path

from service.api.callers import Caller
from service.api.problems import REFUSALS
from service.api.schemas import DeliveryAnswer, DeliveryList, DeliveryOut
from service.api.tickets import Asked, PageSize
from service.cursors import List, cursor_of, read_cursor
from service.domain.ticket import DeliveryState
from service.parts import Parts

router = APIRouter(prefix="/v1/deliveries", tags=["deliveries"], responses=REFUSALS)


@router.get("", summary="List deliveries, newest first")
async def deliveries(
    app: Parts,
    by: Caller,
    state: DeliveryState | None = None,
    destination: Asked = "",
    cursor: Asked = "",
    limit: PageSize = 50,
) -> DeliveryList:
    """List what is to leave or has left of the caller's region; what it says is not shown."""
    found = await app.outbox.page(
        by,
        state=state or "",
        destination=destination,
        after=read_cursor(List.DELIVERIES, cursor),
        limit=limit,
    )
    return DeliveryList(
        items=[DeliveryOut.of(each) for each in found.items],
        next=cursor_of(List.DELIVERIES, found.onward),
    )


@router.post("/{delivery_id}/retry", summary="Send again what was given up")
async def retry(
    delivery_id: Annotated[int, Path(ge=1, le=2**62)], app: Parts, by: Caller
) -> DeliveryAnswer:
    """Make a dead or unaddressed delivery due at once, under its old number."""
    return DeliveryAnswer(
        delivery=DeliveryOut.of(await app.outbox.retry(delivery_id, by, app.now()))
    )
