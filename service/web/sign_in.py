"""Signing in and out: by the identity provider, an account, a token, or a one-time link."""

import base64
import secrets
from collections.abc import Awaitable
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import RedirectResponse, Response

from service.domain.ports import Unreachable
from service.domain.sign_in import NotMapped, Unvouched
from service.doors import Busy, Comer, HeldOff, Refused
from service.parts import Parts
from service.store.tokens import Use
from service.web.refusals import refusal
from service.web.render import page
from service.web.sessions import (
    COOKIE,
    PATH,
    Sent,
    Signed,
    SignedForm,
    form_token,
    go,
    local,
    own_form,
)
from service.wiring import Wiring

router = APIRouter()

# By it a browser is known before anybody is signed in: its forms, and that it was here before.
_DEVICE = "banjie_device"
_DEVICE_LIFE = timedelta(days=180)
# What only the browser knows that was sent to the identity provider, and where it goes on.
_FLOW = "banjie_flow"
_FLOW_PATH = f"{PATH}/sign-in/oidc"
_FLOW_S = 600
_CHARS = 200  # of a cookie of ours at most

LinkToken = Annotated[str, Path(max_length=100)]

_BAD_TOKEN = "令牌无效、已过期，或不是个人使用的令牌。请核对后重新粘贴。"  # noqa: S105 told, no secret
_WRONG = "账号或密码不对，请核对后重新填写。"
_BUSY_S = 5
_UNREACHABLE = "暂时连不上统一身份平台，请稍后再试；仍不行请联系系统管理员。"
_UNVOUCHED = {
    "denied": "您在统一身份平台取消了登录。",
    "client": "统一身份平台不认识本系统，请联系系统管理员核对设置。",
}
_NOT_DONE = "统一身份平台的登录没有完成或已过期，请重新登录。"


@router.get("/desk/sign-in")
async def sign_in_page(request: Request, app: Parts) -> Response:
    """Show how to come in. `next` is read by hand: it is never refused, only left out."""
    return await _page(request, app, local(request.query_params.get("next", "")))


@router.post("/desk/sign-in")
async def sign_in(request: Request, app: Parts, form: Sent) -> Response:
    """Open a session with an API token."""
    own_form(form, _device(request))
    onward = local(form.one("next"))
    opening = app.doors.by_token(form.one("token").strip(), Use.API, comer(request))
    try:
        return await _enter(request, app, opening, onward)
    except Refused:
        return await _page(request, app, onward, 401, _BAD_TOKEN)


@router.post("/desk/sign-in/password")
async def sign_in_by_password(request: Request, app: Parts, form: Sent) -> Response:
    """Open a session with an account and its password."""
    own_form(form, _device(request))
    onward = local(form.one("next"))
    opening = app.doors.by_password(form.one("account"), form.one("password"), comer(request))
    try:
        return await _enter(request, app, opening, onward)
    except Refused:
        return await _page(request, app, onward, 401, _WRONG)
    except (HeldOff, Busy) as error:
        why = refusal(error)
        return later(error, await _page(request, app, onward, why.status, why.detail))


@router.get("/desk/sign-in/oidc")
async def to_provider(request: Request, app: Parts) -> Response:
    """Lead to the identity provider."""
    onward = local(request.query_params.get("next", ""))
    if app.doors.identity is None:
        return await _page(request, app, onward, 404, "本系统没有接入统一身份平台。")
    secret = secrets.token_urlsafe(32)
    try:
        address = await app.doors.identity.provider.address(secret)
    except Unreachable:
        return await _page(request, app, onward, 503, _UNREACHABLE)
    answer = RedirectResponse(address, 303)
    kept = base64.urlsafe_b64encode(onward.encode()).decode()
    # Lax: the way back begins on the provider's page.
    answer.set_cookie(
        _FLOW,
        f"{secret}.{kept}",
        _FLOW_S,
        path=_FLOW_PATH,
        secure=_is_https(request),
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get("/desk/sign-in/oidc/back")
async def from_provider(request: Request, app: Parts) -> Response:
    """Open a session for whom the identity provider vouches."""
    secret, _, kept = request.cookies.get(_FLOW, "").partition(".")
    onward = PATH
    try:
        onward = local(base64.urlsafe_b64decode(kept.encode()).decode())
    except ValueError:
        secret = ""
    if app.doors.identity is None:
        return await _page(request, app, onward, 404, "本系统没有接入统一身份平台。")
    opening = app.doors.by_identity(secret, dict(request.query_params), comer(request))
    try:
        answer = await _enter(request, app, opening, onward)
    except Unvouched as error:
        why = _UNVOUCHED.get(error.reason, _NOT_DONE)
        answer = await _page(request, app, onward, 401, why)
    except NotMapped as error:
        why = f"{error}，不能登录。请联系系统管理员。"
        answer = await _page(request, app, onward, 403, why)
    except Unreachable:
        answer = await _page(request, app, onward, 503, _UNREACHABLE)
    answer.delete_cookie(_FLOW, path=_FLOW_PATH)
    return answer


@router.get("/desk/enter/{link}")
async def enter_page(request: Request, app: Parts, link: LinkToken) -> Response:
    """Show a button; the link itself is used up by pressing it, not by a preview that fetches it."""
    if not await app.doors.opens(link):
        return _known(request, "enter.html", 401, link="", refused=True)
    return _known(request, "enter.html", link=link)


@router.post("/desk/enter/{link}")
async def enter(request: Request, app: Parts, form: Sent, link: LinkToken) -> Response:
    """Open a session with a one-time link."""
    own_form(form, _device(request))
    try:
        return await _enter(request, app, app.doors.by_token(link, Use.LINK, comer(request)), PATH)
    except Refused:
        return _known(request, "enter.html", 401, link="", refused=True)


@router.post("/desk/sign-out")
async def sign_out(found: Signed, _form: SignedForm) -> Response:
    """End the session for good."""
    await found.app.doors.out(found.token, found.session, comer(found.request))
    answer = RedirectResponse(f"{PATH}/sign-in", 303)
    answer.delete_cookie(COOKIE, path=PATH)
    return answer


def later(error: HeldOff | Busy, answer: Response) -> Response:
    """Return an answer that says when to try again."""
    answer.headers["Retry-After"] = str(error.seconds if isinstance(error, HeldOff) else _BUSY_S)
    return answer


def _device(request: Request) -> str:
    found = request.cookies.get(_DEVICE, "")
    return found if found.isascii() and len(found) <= _CHARS else ""


def comer(request: Request) -> Comer:
    """Return where a request comes from."""
    return Comer(request.client.host if request.client else "", _device(request))


def _is_https(request: Request) -> bool:
    return request.url.scheme == "https"


async def _page(
    request: Request, app: Wiring, onward: str, status: int = 200, refused: str = ""
) -> Response:
    return _known(
        request,
        "sign_in.html",
        status,
        next=onward,
        refused=refused,
        provider=app.doors.identity.label if app.doors.identity else "",
        accounts=await app.doors.has_accounts(),
        hours=app.doors.ends.whole // timedelta(hours=1),
        idle=app.doors.ends.idle // timedelta(minutes=1),
    )


def _known(request: Request, template: str, status: int = 200, **context: object) -> Response:
    """Return a page with forms for whoever it is, whose browser is known from now on."""
    device = _device(request)
    answer_device = device or secrets.token_urlsafe(32)
    answer = page(request, template, status, form_token=form_token(answer_device), **context)
    if not device:
        _keep(request, answer, answer_device)
    return answer


def _keep(request: Request, answer: Response, device: str) -> None:
    answer.set_cookie(
        _DEVICE,
        device,
        int(_DEVICE_LIFE.total_seconds()),
        path=PATH,
        secure=_is_https(request),
        httponly=True,
        samesite="lax",
    )


async def _enter(request: Request, app: Wiring, opening: Awaitable[str], onward: str) -> Response:
    """Lead on with a new session; the one that the browser had before ends."""
    session = await opening
    before = request.cookies.get(COOKIE, "")
    if before.isascii() and before and (found := await app.doors.session(before)):
        await app.doors.out(before, found, comer(request))
    return come_in(request, app, session, onward)


def come_in(request: Request, app: Wiring, session: str, onward: str, notice: str = "") -> Response:
    """Return the answer that leads on with a session and leaves a notice."""
    answer = go(onward, notice)
    # Lax, so that a link from another system's page leads to a ticket and not to the sign-in page;
    # forms have a token besides, and a page of another site sends none.
    answer.set_cookie(
        COOKIE,
        session,
        int(app.doors.ends.whole.total_seconds()),
        path=PATH,
        secure=_is_https(request),
        httponly=True,
        samesite="lax",
    )
    if device := _device(request):
        _keep(request, answer, device)
    return answer
