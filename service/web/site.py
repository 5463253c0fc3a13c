"""The pages as an application of their own: what goes wrong under /desk is told as a page."""

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routing_rules.proposed import FilesChanged
from service.cursors import BadCursor
from service.desk import UnknownTicket
from service.domain.access import Forbidden
from service.feed import StreamsFull
from service.outbox import NoReceiver, NotGivenUp, UnknownDelivery
from service.proposals import UnknownProposal
from service.reports import BadPeriod
from service.store import StoreUnavailable
from service.store.months import Detached
from service.web import (
    account,
    bulletin,
    deliveries,
    figures,
    groups,
    keys,
    live,
    overview,
    proposals,
    queue,
    render,
    rules,
    search,
    sign_in,
    sorting,
    sources,
    supervision,
    ticket,
)
from service.web.refusals import Refusal, refusal
from service.web.render import page
from service.web.sessions import (
    SIGN_IN,
    ForeignForm,
    Form,
    OldForm,
    came_from,
    own_page,
    sent,
    sign_in_first,
    way_in,
)
from service.wiring import Unauthenticated

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; "
    "style-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class UnderDesk(BaseRoute):
    """Hands /desk and everything under it to the pages, addresses unchanged.

    A Mount would cut `/desk` off: then the metrics' route labels lack it and `/desk` itself is
    not found.
    """

    path = "/desk/{unmatched}"  # the metrics' label of what no page answers

    def __init__(self, pages: ASGIApp) -> None:
        self._pages = Guarded(pages)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match by the path alone: a wrong method is for the pages to refuse."""
        path = scope.get("path", "")
        if scope["type"] == "http" and (path == "/desk" or path.startswith("/desk/")):
            return Match.FULL, {}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._pages(scope, receive, send)


class Guarded:
    """Puts the headers that every page has on every answer, refusals included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)  # a bulletin names its own style
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, guarded)


def site() -> FastAPI:
    """Return the pages as an application."""
    pages = FastAPI(
        openapi_url=None,
        dependencies=[Depends(own_page)],
        redirect_slashes=False,
        exception_handlers={
            Unauthenticated: _unauthenticated,
            UnknownTicket: _refused,
            Forbidden: _refused,
            ForeignForm: _refused,
            StoreUnavailable: _refused,
            Detached: _refused,
            UnknownDelivery: _refused,
            UnknownProposal: _refused,
            FilesChanged: _refused,
            NotGivenUp: _refused,
            NoReceiver: _refused,
            StreamsFull: _refused,
            BadCursor: _refused,
            BadPeriod: _refused,
            RequestValidationError: _refused,
            HTTPException: _refused,
            Exception: _refused,
        },
    )
    for part in (
        render,
        sign_in,
        account,
        queue,
        ticket,
        live,
        keys,
        sorting,
        search,
        overview,
        figures,
        rules,
        proposals,
        bulletin,
        groups,
        deliveries,
        supervision,
        sources,
    ):
        pages.include_router(part.router)
    return pages


async def _unauthenticated(request: Request, _error: Exception) -> Response:
    """Lead to the sign-in page; what was typed into a form is shown first, so that it is not lost."""
    if request.method != "POST":
        return sign_in_first(request)
    try:
        form = await sent(request)
    except HTTPException as error:
        return await _refused(request, error)
    why = Refusal(401, "登录已过期", "请重新登录后再提交。您刚才填写的内容在下面，可先复制保存。")
    return _error_page(request, why, form, way_in(came_from(request)))


async def _refused(request: Request, error: Exception) -> Response:
    # What a foreign page sent is not shown: it is nothing that the person typed.
    foreign = isinstance(error, ForeignForm) and not isinstance(error, OldForm)
    form = None if foreign else getattr(request.state, "form", None)
    answer = _error_page(request, refusal(error), form)
    if isinstance(error, HTTPException):
        answer.headers.update(error.headers or {})
    return answer


def _error_page(
    request: Request, why: Refusal, form: Form | None, sign_in: str = SIGN_IN
) -> Response:
    typed = form.typed() if form else []
    return page(request, "error.html", why.status, why=why, typed=typed, sign_in=sign_in)
