"""Templates to answers. Everything a template prints is escaped; nothing turns that off."""

import hashlib
from importlib import resources
from typing import Any

from fastapi import APIRouter, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from service import labels
from service.domain.personal import parts
from service.web import words

_STATIC = {
    name: ((resources.files("service.web") / "static" / name).read_bytes(), media_type)
    for name, media_type in (
        ("desk.css", "text/css"),
        ("desk.js", "text/javascript"),
        # As npm has it (htmx.org); its licence lies beside it.
        ("htmx-2.0.11.min.js", "text/javascript"),
        ("mark.svg", "image/svg+xml"),
    )
}
# In the address of a file: a browser keeps it for good and still sees every change.
_DIGESTS = {
    name: hashlib.sha256(content).hexdigest()[:12] for name, (content, _) in _STATIC.items()
}

_templates = Environment(
    loader=PackageLoader("service.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals.update(
    KINDS=labels.KINDS,
    URGENCIES=labels.URGENCIES,
    STATES=labels.STATES,
    ACTS=labels.ACTS,
    ROLES=labels.ROLES,
    MILESTONES=labels.MILESTONES,
    STAGES=labels.STAGES,
    MEASURES=labels.MEASURES,
    OUTCOMES=labels.OUTCOMES,
    DECISIONS=labels.DECISIONS,
    RELATIONS=labels.RELATIONS,
    PERSONAL=labels.PERSONAL,
    WORDS=labels.WORDS,
    FATES=labels.FATES,
    PRESSINGS=labels.PRESSINGS,
    LEVELS=labels.LEVELS,
    PROPOSED=labels.PROPOSED,
    PROPOSAL_STATES=labels.PROPOSAL_STATES,
    CHECK_STATES=labels.CHECK_STATES,
    WAYS_OF_CHECKING=labels.WAYS_OF_CHECKING,
    DELIVERY_STATES=labels.DELIVERY_STATES,
    RECIPIENTS=labels.RECIPIENTS,
    CLOCKS=words.CLOCKS,
    event_name=words.event_name,
    next_owed=words.next_owed,
    share=words.share,
    static=lambda name: f"/desk/static/{name}?v={_DIGESTS[name]}",
    MENU=words.MENU,
    SYMBOLS=words.SYMBOLS,
)
_templates.filters.update(
    moment=words.moment, brief=words.brief, parts=parts, undelivered=words.undelivered
)

router = APIRouter()


def page(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """Return a page. `visit` is who is signed in, None where nobody is or need be."""
    context.setdefault("visit", getattr(request.state, "visit", None))
    context.setdefault("notice", "")
    context["path"] = request.url.path
    return HTMLResponse(_templates.get_template(template).render(context), status)


@router.get("/desk/static/{name}")
async def static(name: str) -> Response:
    """Return the stylesheet, the mark or a script."""
    if name not in _STATIC:
        raise HTTPException(404)
    content, media_type = _STATIC[name]
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(content, media_type=media_type, headers=kept)
