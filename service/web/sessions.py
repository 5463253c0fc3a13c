"""Who sits in front of a page: the session's cookie, and whose form this is."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from service.domain.access import Actor
from service.parts import Parts
from service.store.sessions import Session
from service.web import words
from service.web.render import page
from service.wiring import Unauthenticated, Wiring

COOKIE = "banjie_session"
_NOTICE = "banjie_notice"
PATH = "/desk"
SIGN_IN = f"{PATH}/sign-in"
# Two texts of 5,000 characters, each as nine bytes of percent-encoding, and room to spare.
_FORM_BYTES = 256 * 1024
_FORM_FIELDS = 200


class ForeignForm(Exception):
    """A form that was not sent from one of our own pages in this session (CSRF)."""


class OldForm(ForeignForm):
    """A form of one of our own pages, but of another session: who sent it has signed in anew since."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who is signed in."""

    request: Request
    app: Wiring
    session: Session
    token: str  # of the session

    @property
    def by(self) -> Actor:
        """Return who it is."""
        return self.session.by

    @property
    def form_token(self) -> str:
        """Return what every form of this session carries."""
        return form_token(self.token)

    def unit_name(self, code: str) -> str:
        """Return the name of a unit; of one that is gone from the table, its code."""
        unit = self.app.router.unit(code)
        return unit.name if unit else code

    def page(self, template: str, status: int = 200, **context: Any) -> Response:
        """Return a page, with the notice that the request before left for it."""
        notice = self.request.cookies.get(_NOTICE, "")
        answer = page(
            self.request, template, status, visit=self, notice=words.notice(notice), **context
        )
        if notice:
            answer.delete_cookie(_NOTICE, path=PATH)
        return answer


# Sent with what a page fetches by itself: nobody need sit there, and a session that nobody uses ends.
UNATTENDED = "Banjie-Unattended"


async def visit(request: Request, app: Parts) -> Visit:
    """Return the visit that the cookie stands for, or raise Unauthenticated."""
    return await _visit(request, app, attended=UNATTENDED not in request.headers)


async def watching(request: Request, app: Parts) -> Visit:
    """Return the visit of a page that watches by itself, or raise Unauthenticated."""
    return await _visit(request, app, attended=False)


async def _visit(request: Request, app: Wiring, *, attended: bool) -> Visit:
    token = request.cookies.get(COOKIE, "")
    session = (
        await app.doors.session(token, attended=attended) if token and token.isascii() else None
    )
    if session is None:
        raise Unauthenticated
    found = Visit(request, app, session, token)
    request.state.visit = found
    return found


Signed = Annotated[Visit, Depends(visit)]
Watching = Annotated[Visit, Depends(watching)]


# What is no writing of a person's, or must not be shown to who sits there next.
_NOT_TYPED = frozenset(
    {"form_token", "key", "token", "then", "next", "account", "password", "new", "again"}
)


class Form:
    """The fields of a form that was sent. A text's line ends are newlines."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        self._fields = fields

    def one(self, name: str) -> str:
        """Return the first value of a field, "" if there is none."""
        return self._fields.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        """Return every value of a field that is not empty."""
        return [value for value in self._fields.get(name, []) if value]

    def typed(self) -> list[str]:
        """Return what a person wrote. Buttons and choices send short ASCII; Chinese says much in few
        characters."""
        return [
            value
            for name, values in self._fields.items()
            if name not in _NOT_TYPED
            for value in values
            if value.strip() and (len(value) > 8 or not value.isascii())
        ]


async def sent(request: Request) -> Form:
    """Return the form of a request, urlencoded as browsers send it. Nothing else is read."""
    taken = bytearray()
    async for chunk in request.stream():
        taken += chunk
        if len(taken) > _FORM_BYTES:
            raise HTTPException(413)
    fields: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(
            taken.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_FORM_FIELDS,
        )
    except ValueError as error:
        raise HTTPException(400) from error
    for name, value in pairs:
        fields.setdefault(name, []).append(value.replace("\r\n", "\n").replace("\r", "\n"))
    # For the page that tells of a failure: it gives back what was typed.
    request.state.form = Form(fields)
    return Form(fields)


Sent = Annotated[Form, Depends(sent)]


def own_page(request: Request) -> None:
    """Raise ForeignForm for a POST that no page of this very site sent.

    Browsers tell so in Sec-Fetch-Site, or over plain http in Origin alone. One of them is needed.
    """
    if request.method in {"GET", "HEAD"}:
        return
    site = request.headers.get("sec-fetch-site")
    try:
        origin = urlsplit(request.headers.get("origin", "")).netloc
    except ValueError:
        raise ForeignForm from None
    if site not in {None, "same-origin"} or (not site and not origin):
        raise ForeignForm
    if origin and origin != request.headers.get("host"):
        raise ForeignForm


def form_token(cookie: str) -> str:
    """Return what a form carries that is shown to who holds a cookie. It tells nothing about it."""
    return hmac.digest(cookie.encode(), b"banjie desk form", hashlib.sha256).hex()


def own_form(form: Form, cookie: str) -> None:
    """Raise OldForm for a form that was not shown to who holds the cookie. `own_page` has seen to it
    that a page of ours sent it."""
    if not cookie or not hmac.compare_digest(
        form.one("form_token").encode(), form_token(cookie).encode()
    ):
        raise OldForm


async def signed_form(found: Signed, form: Sent) -> Form:
    """Return a form that carries the token of this session, or raise ForeignForm."""
    own_form(form, found.token)
    return form


SignedForm = Annotated[Form, Depends(signed_form)]


def local(address: str, otherwise: str = PATH) -> str:
    """Return an address if it is one of our pages, else `otherwise`: nobody is led elsewhere."""
    path = address.partition("?")[0]
    fits = path == PATH or path.startswith(f"{PATH}/")
    dots = "/.." in path.lower().replace("%2e", ".")
    plain = address.isprintable() and "\\" not in address and not dots
    return address if fits and plain else otherwise


def go(address: str, notice: str = "") -> Response:
    """Return the answer that leads on to one of our pages and leaves a notice for it."""
    answer = RedirectResponse(local(address), 303)
    if notice:
        # Cookies are ASCII; the page looks the notice up and never shows the cookie itself.
        answer.set_cookie(_NOTICE, notice, 60, path=PATH, httponly=True, samesite="strict")
    return answer


# Where forms are sent to and no page stands, though an answer may have shown one there.
_NO_PAGE = re.compile(r"/(?:acts/[^/]*|contact|not-same|sign|by-phone|(?:[0-9]+/)?retry)$")


def came_from(request: Request) -> str:
    """Return the page that a form was sent from, the first one if nobody tells or it is not ours."""
    try:
        page = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return PATH
    if page.netloc != request.headers.get("host"):
        return PATH
    path, without = _NO_PAGE.subn("", page.path)
    return local(path if without or not page.query else f"{path}?{page.query}")


def way_in(onward: str) -> str:
    """Return the address of the sign-in page that leads on to one of our pages."""
    return f"{SIGN_IN}?next={quote(onward, safe='/')}"


def sign_in_first(request: Request) -> Response:
    """Return the answer that leads to the sign-in page and from there back."""
    if "hx-request" in request.headers:
        # A part of a page cannot be led there; the whole page is.
        return Response(status_code=401, headers={"HX-Refresh": "true"})
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    back = wanted if request.method == "GET" else came_from(request)
    answer = RedirectResponse(way_in(back), 303)
    answer.delete_cookie(COOKIE, path=PATH)
    return answer
