"""The heads of the chain of events (审计链), for whoever keeps them elsewhere."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.callers import Caller
from service.api.problems import REFUSALS
from service.api.schemas import HeadList, HeadOut
from service.api.tickets import Asked, PageSize, check_region
from service.audit import head_line
from service.cursors import List, cursor_of, read_cursor
from service.parts import Parts
from service.reports import read_day

router = APIRouter(prefix="/v1/audit", tags=["audit"], responses=REFUSALS)


@router.get("/heads", summary="Heads of the chain of events, oldest first")
async def heads(
    app: Parts,
    by: Caller,
    since: Annotated[Asked, Query(description="First day, 2026-11-01; empty is all")] = "",
    region: Asked = "",
    cursor: Asked = "",
    limit: PageSize = 50,
) -> HeadList:
    """List the daily heads of the caller's region. Kept elsewhere, they show that the chain is still
    the one that it was."""
    check_region(app, region)
    found = await app.audit.heads(
        by,
        read_day("/since", since) if since else None,
        region,
        read_cursor(List.HEADS, cursor),
        limit + 1,
    )
    shown = found[:limit]
    return HeadList(
        items=[HeadOut.model_validate(head_line(head)) for head in shown],
        next=cursor_of(List.HEADS, shown[-1].id if len(found) > limit else 0),
    )
