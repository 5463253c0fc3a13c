"""The monthly bulletin (通报) as the page that is printed of it."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse
from starlette.responses import Response

from service.bulletin import Wish, read_month
from service.paper import POLICY, page
from service.web.sessions import Signed

router = APIRouter()


@router.get("/desk/bulletins/{month}")
async def bulletin(visit: Signed, month: Annotated[str, Path(max_length=20)]) -> Response:
    """Show the bulletin of the caller's region, as it is known now. It brings its own style."""
    app = visit.app
    written = await app.bulletins.written(Wish(read_month(month)), visit.by, app.now(), page)
    return HTMLResponse(written, headers={"Content-Security-Policy": POLICY})
