"""Group matters (群体性诉求): what many people complained about in one place."""

from fastapi import APIRouter
from starlette.responses import Response

from service.web.sessions import Signed

router = APIRouter()


@router.get("/desk/groups")
async def groups(visit: Signed) -> Response:
    """List the group matters of the caller's region, those that grew last first."""
    found = await visit.app.matching.groups(visit.by)
    return visit.page("groups.html", groups=found, region_name=visit.app.gazetteer.name)
