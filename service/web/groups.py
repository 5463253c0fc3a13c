"""Group matters (群体性诉求): what many people complained about in one place."""

from fastapi import APIRouter
from starlette.responses import Response

from service.cursors import List, cursor_due, read_due
from service.web.queue import Asked
from service.web.sessions import Signed

router = APIRouter()

_PAGE = 50


@router.get("/desk/groups")
async def groups(visit: Signed, after: Asked = "") -> Response:
    """List the group matters of the caller's region, those that grew last first."""
    place = read_due(List.GROUPS, after)
    found, onward = await visit.app.matching.groups(visit.by, place, _PAGE)
    return visit.page(
        "groups.html",
        groups=found,
        onward=cursor_due(List.GROUPS, onward),
        region_name=visit.app.gazetteer.name,
    )
