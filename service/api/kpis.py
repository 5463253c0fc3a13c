"""The rates, for whoever publishes them."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.callers import Caller
from service.api.problems import REFUSALS
from service.api.schemas import KpisOut
from service.api.tickets import Asked as Text
from service.parts import Parts
from service.reports import Asked, By, read_day

router = APIRouter(prefix="/v1/kpis", tags=["kpis"], responses=REFUSALS)


@router.get("", summary="Rates of a period (考核指标)")
async def kpis(
    app: Parts,
    caller: Caller,
    since: Annotated[Text, Query(alias="from", description="First day, 2026-10-01")],
    until: Annotated[Text, Query(alias="to", description="Last day, counted too")],
    region: Text = "",
    by: By = By.UNIT,
    as_of: Annotated[Text, Query(description="As known at the end of this day; empty is now")] = "",
    rate: Annotated[Text, Query(description="One rate alone; empty is all of them")] = "",
) -> KpisOut:
    """Return each rate with its numerator, denominator, what was left out and why, and interval."""
    asked = Asked(
        since=read_day("/from", since),
        until=read_day("/to", until),
        by=by,
        region=region,
        as_of=read_day("/as_of", as_of) if as_of else None,
        rate=rate,
    )
    return KpisOut.of(await app.reports.kpis(asked, caller, app.now()))
