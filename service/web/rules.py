"""The responsible-unit table (责任单位): from a row to its document item, and where a text would go."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.exceptions import HTTPException
from starlette.responses import Response

from routing_rules.evaluate import complaint_from
from service.domain.access import Ask, check_act, reach
from service.domain.complaint import Kind, Route
from service.domain.ports import Duty
from service.domain.region import covers
from service.web.queue import Asked
from service.web.sessions import Signed, SignedForm, Visit

router = APIRouter()

_PAGE = 50
_MOST_CHARS = 5_000


@router.get("/desk/rules")
async def table(
    visit: Signed,
    q: Asked = "",
    region: Asked = "",
    page: Annotated[int, Query(ge=0, le=10_000)] = 0,
) -> Response:
    """Show the table of a region, of those rows that a word is found in."""
    check_act(visit.by, Ask.UNITS)
    return _shown(visit, region, q=q, page=page)


@router.post("/desk/rules")
async def tried(visit: Signed, form: SignedForm) -> Response:
    """Show where a text would go, and why. Nothing is stored, and no text is in an address."""
    check_act(visit.by, Ask.EXPLAIN)
    text = form.one("text").strip()
    if len(text) > _MOST_CHARS:  # the page's own form is not that long
        raise HTTPException(413)
    code = _region(visit, form.one("region"))
    kind = form.one("kind") or Kind.HELP
    route: Route | None = None
    if text and code:
        try:
            asked = complaint_from({"region": code, "content": text, "kind": kind})
        except ValueError as error:
            raise HTTPException(400) from error
        route = visit.app.router.route(asked)
    return _shown(visit, code, text=text, kind=kind, route=route)


def _region(visit: Visit, asked: str) -> str:
    """Return the region whose table is shown, "" for none yet; another's than the caller's is not
    there."""
    gazetteer, own = visit.app.gazetteer, visit.by.region
    if not asked:
        return own
    code = gazetteer.find(asked)
    if code is None or not covers(own, code):
        raise HTTPException(404)
    return code


def _shown(
    visit: Visit,
    region: str,
    *,
    q: str = "",
    page: int = 0,
    text: str = "",
    kind: str = Kind.HELP,
    route: Route | None = None,
) -> Response:
    app = visit.app
    code = _region(visit, region)
    duties = [each for each in app.router.duties(code) if _says(each, q)] if code else []
    duties.sort(key=_by_unit)
    first = page * _PAGE
    return visit.page(
        "rules.html",
        region=code,
        region_name=app.gazetteer.name(code) if code else "",
        bound=bool(visit.by.region),
        q=q,
        found=len(duties),
        duties=duties[first : first + _PAGE],
        page_no=page,
        onward=page + 1 if duties[first + _PAGE :] else 0,
        digest=app.router.digest,
        text=text,
        kind=kind,
        kinds=list(Kind),
        route=route,
        most=_MOST_CHARS,
        may_propose=reach(visit.by.role, Ask.PROPOSE) is not None,
        may_see=reach(visit.by.role, Ask.PROPOSALS) is not None,
    )


def _by_unit(duty: Duty) -> tuple[bool, str, str]:
    """Return the order of the table: the duties of each unit together, the place's own last."""
    return duty.unit is None, duty.unit.code if duty.unit else "", duty.name


def _says(duty: Duty, q: str) -> bool:
    said: Sequence[str] = (
        duty.code,
        duty.name,
        duty.unit.name if duty.unit else "",
        duty.document,
        *(ref.name for ref in duty.assist),
        *duty.words,
        *duty.examples,
    )
    return all(any(word in each for each in said) for word in q.split())
