"""Who pushes: a source's token or signature becomes its push, body and all."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials

from adapters.signature import HEADERS, NotSigned, check_time, stamp, verify
from service.api.callers import bearer, caller
from service.api.problems import UnknownSource
from service.domain.access import Actor, Ask, Forbidden, Role, check_act
from service.domain.ports import Auth, Source
from service.parts import Parts, wiring
from service.store.intakes import Fate
from service.store.messages import Message
from service.wiring import TooFast, Unauthenticated, Wiring

_SOURCE_CHARS = 64
_SOURCE_IS = "A source of sources.yaml"
SourceName = Annotated[str, Path(description=_SOURCE_IS, max_length=_SOURCE_CHARS)]
_NAME_CHARS = 100


@dataclass(frozen=True, slots=True)
class Push:
    """What a source sent: who it is, the bytes, what they are said to be, and which push it is if it
    is signed."""

    source: Source
    by: Actor
    body: bytes
    content_type: str
    message: Message | None = None


async def pushed(
    source: SourceName,
    request: Request,
    app: Parts,
    given: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
) -> Push:
    """Return a push once its sender is known and within its rate; who is refused is counted for the
    source that is named.

    Raises Unauthenticated, NotSigned, Forbidden, UnknownSource or TooFast. Where a signature is
    given and the source has secrets, the signature counts: a wrong one is never passed over for a
    token. Who cannot be told is refused before the body is read.
    """
    try:
        push = await _proven(app, source, request, given)
        app.inflow.take(push.source, 1, app.now())
    except (NotSigned, Unauthenticated, Forbidden, TooFast) as error:
        if source in app.sources:
            fate = Fate.TOO_FAST if isinstance(error, TooFast) else Fate.UNPROVEN
            app.pulse.note(source, fate, app.now())
        raise
    return push


async def _proven(
    app: Wiring, source: str, request: Request, given: HTTPAuthorizationCredentials | None
) -> Push:
    named = app.sources.get(source)
    signs = any(name in request.headers for name in HEADERS)
    if signs and named is None and given is None:
        raise UnknownSource(source)
    if named and (named.auth is not Auth.TOKEN) and (signs or named.auth is Auth.SIGNATURE):
        return await _signed(app, named, request)
    if named and signs and given is None:
        raise NotSigned(
            "本来源没有配置签名密钥，请用令牌推送，或请管理员在 sources.yaml 中配置 secrets"
        )
    if named and given is None and named.auth is Auth.EITHER:
        raise Unauthenticated(
            f"推送须带令牌（Authorization: Bearer 令牌），或带签名（请求头 {'、'.join(HEADERS)}）。"
        )
    by = await caller(app, given)
    known = _allowed(app, by, source)
    return Push(known, by, await request.body(), _content_type(request))


async def _signed(app: Wiring, source: Source, request: Request) -> Push:
    if not any(name in request.headers for name in HEADERS):
        raise NotSigned(f"本来源只接受签名的推送，缺少请求头 {'、'.join(HEADERS)}")
    keys = app.keys[source.name]
    if not keys:
        raise NotSigned("本来源的签名密钥尚未设置，请联系管理员")
    said = stamp(request.headers)
    check_time(said, app.now())
    body = await request.body()

    def digest() -> str:
        verify(said, body, keys, app.now())
        return sha256(body).hexdigest()

    message = Message(source.name, said.id, await app.inflow.read(len(body), digest))
    by = Actor(source.label[:_NAME_CHARS], Role.SOURCE, source=source.name)
    return Push(source, by, body, _content_type(request), message)


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "")


def _allowed(app: Wiring, by: Actor, name: str) -> Source:
    check_act(by, Ask.INTAKE)
    if by.source and by.source != name:
        raise Forbidden(by.role, Ask.INTAKE)
    try:
        return app.sources[name]
    except KeyError:
        raise UnknownSource(name) from None


Pushed = Annotated[Push, Depends(pushed)]
# What FastAPI would say of `pushed` by itself, for a route that calls it.
PUSHED: dict[str, Any] = {
    "security": [{bearer.scheme_name: []}],
    "parameters": [
        {
            "name": "source",
            "in": "path",
            "required": True,
            "schema": {
                "type": "string",
                "maxLength": _SOURCE_CHARS,
                "description": _SOURCE_IS,
                "title": "Source",
            },
            "description": _SOURCE_IS,
        }
    ],
}


async def pushed_by(request: Request) -> Push:
    """Return a push as `pushed` does."""
    source: str = request.path_params["source"]
    return await pushed(source, request, await wiring(request), await bearer(request))
