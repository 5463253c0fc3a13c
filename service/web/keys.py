"""What the keys do, as a page; the same list is shown in a dialog by pressing `?`."""

from fastapi import APIRouter
from starlette.responses import Response

from service.labels import ACTS
from service.web.sessions import Signed
from service.web.words import ACT_KEYS

router = APIRouter()


@router.get("/desk/help")
async def keys(visit: Signed) -> Response:
    """List the keys."""
    return visit.page("help.html", act_keys=[(key, ACTS[act]) for act, key in ACT_KEYS.items()])
