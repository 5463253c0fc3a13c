"""Who sits in front of a page: signing in and out, the cookie, and whose form this is."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import APIRouter, Depends, Path, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from service.domain.access import Actor
from service.store import tokens
from service.store.tokens import Use
from service.web import words
from service.web.render import page
from service.wiring import Parts, Unauthenticated, Wiring

SESSION_LIFE = timedelta(hours=12)
_COOKIE = "banjie_session"
_NOTICE = "banjie_notice"
_PATH = "/desk"
# Two texts of 5,000 characters, each as nine bytes of percent-encoding, and room to spare.
_FORM_BYTES = 256 * 1024
_FORM_FIELDS = 200

router = APIRouter()


class ForeignForm(Exception):
    """A form that was not sent from one of our own pages in this session (CSRF)."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who is signed in."""

    request: Request
    app: Wiring
    by: Actor
    token: str  # of the session

    @property
    def form_token(self) -> str:
        """Return what every form of this session carries. It tells nothing about the session."""
        return hmac.new(self.token.encode(), b"banjie desk form", hashlib.sha256).hexdigest()

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
            answer.delete_cookie(_NOTICE, path=_PATH)
        return answer


async def visit(request: Request, app: Parts) -> Visit:
    """Return the visit that the cookie stands for, or raise Unauthenticated."""
    token = request.cookies.get(_COOKIE, "")
    if not token.isascii() or not token:
        raise Unauthenticated
    by = await app.callers.find(token, app.now(), Use.SESSION)
    found = Visit(request, app, by, token)
    request.state.visit = found
    return found


Signed = Annotated[Visit, Depends(visit)]


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
        """Return what a person wrote, longer than any button or choice."""
        return [
            value
            for name, values in self._fields.items()
            if name not in {"form_token", "key", "token", "then"}
            for value in values
            if len(value) > 8
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


async def signed_form(found: Signed, form: Sent) -> Form:
    """Return a form that carries the token of this session, or raise ForeignForm."""
    if not hmac.compare_digest(form.one("form_token").encode(), found.form_token.encode()):
        raise ForeignForm
    return form


SignedForm = Annotated[Form, Depends(signed_form)]


def local(address: str, otherwise: str = _PATH) -> str:
    """Return an address if it is one of our pages, else `otherwise`: nobody is led elsewhere."""
    path = address.partition("?")[0]
    fits = path == _PATH or path.startswith(f"{_PATH}/")
    plain = address.isprintable() and "\\" not in address and "/.." not in path
    return address if fits and plain else otherwise


def go(address: str, notice: str = "") -> Response:
    """Return the answer that leads on to one of our pages and leaves a notice for it."""
    answer = RedirectResponse(local(address), 303)
    if notice:
        # Cookies are ASCII; the page looks the notice up and never shows the cookie itself.
        answer.set_cookie(_NOTICE, notice, 60, path=_PATH, httponly=True, samesite="strict")
    return answer


def sign_in_first(request: Request) -> Response:
    """Return the answer that leads to the sign-in page and from there back."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    back = wanted if request.method == "GET" else _PATH
    answer = RedirectResponse(f"{_PATH}/sign-in?next={quote(back, safe='/')}", 303)
    answer.delete_cookie(_COOKIE, path=_PATH)
    return answer


@router.get("/desk/sign-in")
async def sign_in_page(request: Request) -> Response:
    """Show where a token is pasted. `next` is read by hand: it is never refused, only left out."""
    return page(request, "sign_in.html", next=local(request.query_params.get("next", "")))


@router.post("/desk/sign-in")
async def sign_in(request: Request, app: Parts, form: Sent) -> Response:
    """Open a session with an API token."""
    onward = local(form.one("next"))
    session = await _session(app, form.one("token").strip(), Use.API)
    if session is None:
        return page(request, "sign_in.html", 401, next=onward, refused=True)
    return _enter(request, session, onward)


LinkToken = Annotated[str, Path(max_length=100)]


@router.get("/desk/enter/{link}")
async def enter_page(request: Request, link: LinkToken) -> Response:
    """Show a button; the link itself is used up by pressing it, not by a preview that fetches it."""
    return page(request, "enter.html", link=link)


@router.post("/desk/enter/{link}")
async def enter(request: Request, app: Parts, link: LinkToken) -> Response:
    """Open a session with a one-time link."""
    session = await _session(app, link, Use.LINK)
    if session is None:
        return page(request, "enter.html", 401, link="", refused=True)
    return _enter(request, session, _PATH)


@router.post("/desk/sign-out")
async def sign_out(found: Signed, _form: SignedForm) -> Response:
    """End the session for good."""
    now = found.app.now()
    await found.app.store.run(
        lambda connection: tokens.revoke(connection, found.token, now, Use.SESSION)
    )
    found.app.callers.forget(found.token)
    answer = RedirectResponse(f"{_PATH}/sign-in", 303)
    answer.delete_cookie(_COOKIE, path=_PATH)
    return answer


async def _session(app: Wiring, token: str, use: Use) -> str | None:
    now = app.now()
    return await app.store.run(
        lambda connection: tokens.open_session(connection, token, now, use, now + SESSION_LIFE)
    )


def _enter(request: Request, session: str, onward: str) -> Response:
    answer = RedirectResponse(onward, 303)
    answer.set_cookie(
        _COOKIE,
        session,
        int(SESSION_LIFE.total_seconds()),
        path=_PATH,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer
