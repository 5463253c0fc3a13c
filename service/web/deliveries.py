"""What did not arrive outside, and sending it again."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Path
from pydantic import BeforeValidator
from starlette.responses import Response

from service.cursors import List, cursor_of, read_cursor
from service.domain.access import Ask, reach
from service.domain.ticket import DeliveryState
from service.outbox import RETRIED_AT_ONCE
from service.store.deliveries import COUNTED
from service.web.queue import Asked
from service.web.sessions import Signed, SignedForm, Visit, go

router = APIRouter()

_PAGE = 50

# Without a choice: what somebody has to see to.
OneState = Annotated[DeliveryState, BeforeValidator(lambda value: value or DeliveryState.DEAD)]


@router.get("/desk/deliveries")
async def deliveries(
    visit: Signed, state: OneState = DeliveryState.DEAD, destination: Asked = "", after: Asked = ""
) -> Response:
    """Show deliveries of one state, newest first."""
    found = await visit.app.outbox.page(
        visit.by,
        state=state,
        destination=destination,
        after=read_cursor(List.DELIVERIES, after),
        limit=_PAGE,
    )
    given_up = await visit.app.outbox.given_up(visit.by) if state is DeliveryState.DEAD else {}
    asked = {"state": state.value, "destination": destination}
    onward = cursor_of(List.DELIVERIES, found.onward)
    return visit.page(
        "deliveries.html",
        deliveries=found.items,
        asked=asked,
        states=list(DeliveryState),
        onward=f"/desk/deliveries?{urlencode({**asked, 'after': onward})}" if onward else "",
        here=f"/desk/deliveries?{urlencode(asked)}",
        to=lambda destination: _to(visit, destination),
        given_up=sorted(given_up.items(), key=lambda each: (-each[1], each[0])),
        counted=COUNTED,
        at_once=RETRIED_AT_ONCE,
        receives=visit.app.outbox.receives,
        may_retry=reach(visit.by.role, Ask.REDELIVER) is not None
        and state in {DeliveryState.DEAD, DeliveryState.UNADDRESSED},
    )


@router.post("/desk/deliveries/retry")
async def retry_all(visit: Signed, form: SignedForm) -> Response:
    """Make all that was given up to one destination due again and lead back to the list."""
    app = visit.app
    done = await app.outbox.retry_all(form.one("destination")[:80], visit.by, app.now())
    return go("/desk/deliveries", f"redeliver.{done}")


@router.post("/desk/deliveries/{delivery_id}/retry")
async def retry(
    visit: Signed, form: SignedForm, delivery_id: Annotated[int, Path(ge=1, le=2**62)]
) -> Response:
    """Make one due again and lead back to the list."""
    revived = await visit.app.outbox.retry(delivery_id, visit.by, visit.app.now())
    return go(form.one("then") or "/desk/deliveries", f"redeliver.{revived.ticket_no}")


def _to(visit: Visit, destination: str) -> str:
    """Return whom it goes to, by name."""
    sort, _, name = destination.partition(":")
    if sort == "source":
        source = visit.app.sources.get(name)
        return source.label if source else name
    return visit.unit_name(name) if sort == "unit" else ""
