"""The monthly bulletin, for whoever publishes it: as JSON, as a page to print, as a workbook."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from service.api.callers import Caller
from service.api.problems import REFUSALS
from service.api.schemas import BulletinOut
from service.api.tickets import Asked as Text
from service.bulletin import Bulletin, Wish, read_month
from service.paper import POLICY, page, workbook
from service.parts import Parts
from service.reports import read_day

router = APIRouter(prefix="/v1/bulletins", tags=["bulletins"], responses=REFUSALS)

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class Form(StrEnum):
    """How a bulletin is wanted."""

    JSON = "json"
    HTML = "html"
    XLSX = "xlsx"


_MEDIA = {"application/json": Form.JSON, "text/html": Form.HTML, XLSX: Form.XLSX}


def accepted(header: str) -> Form:
    """Return the form that an Accept header likes best; JSON where it says nothing that we have."""
    best, form = 0.0, Form.JSON
    for part in header.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        quality = 1.0
        for each in parameters:
            name, _, value = each.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        if media.lower() in _MEDIA and quality > best:
            best, form = quality, _MEDIA[media.lower()]
    return form


@router.get(
    "/{month}",
    summary="The bulletin of a month (通报)",
    response_model=BulletinOut,
    responses={
        200: {
            "description": "As JSON, or as `format` or `Accept` ask",
            "content": {"text/html": {}, XLSX: {}},
        }
    },
)
async def bulletin(
    app: Parts,
    caller: Caller,
    request: Request,
    month: Text,
    region: Text = "",
    as_of: Annotated[Text, Query(description="As known at the end of this day; empty is now")] = "",
    format: Annotated[  # noqa: A002 the name of the parameter
        Form | None, Query(description="Goes before `Accept`")
    ] = None,
) -> Response:
    """Return totals, rates and ranks, late tickets, lists and hot matters of a region's month."""
    wish = Wish(read_month(month), region, read_day("/as_of", as_of) if as_of else None)
    wanted = format or accepted(request.headers.get("accept", ""))
    written = await app.bulletins.written(wish, caller, app.now(), _WRITERS[wanted])
    written.headers["Vary"] = "Accept"
    return written


def _json(made: Bulletin) -> Response:
    return JSONResponse(BulletinOut.of(made).model_dump(mode="json", by_alias=True))


def _html(made: Bulletin) -> Response:
    return HTMLResponse(page(made), headers={"Content-Security-Policy": POLICY})


def _xlsx(made: Bulletin) -> Response:
    name = f"{made.wish.region or 'all'}-{made.wish.month}"
    spoken = quote(f"{made.region_name}{made.wish.month.label}通报.xlsx")
    told = f"attachment; filename=\"bulletin-{name}.xlsx\"; filename*=UTF-8''{spoken}"
    return Response(workbook(made), media_type=XLSX, headers={"Content-Disposition": told})


_WRITERS: dict[Form, Callable[[Bulletin], Response]] = {
    Form.JSON: _json,
    Form.HTML: _html,
    Form.XLSX: _xlsx,
}
