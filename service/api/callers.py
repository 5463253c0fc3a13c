"""Who is calling: a bearer token becomes an Actor."""

from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.domain.access import Actor
from service.parts import Parts
from service.wiring import Unauthenticated

bearer = HTTPBearer(auto_error=False, description="A token of `banjie token create`")


async def caller(
    app: Parts, given: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
) -> Actor:
    """Return who is calling, or raise Unauthenticated."""
    if given is None or not given.credentials.isascii():
        raise Unauthenticated
    return await app.callers.find(given.credentials, app.now())


def token_of(given: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]) -> str:
    """Return the token that a caller came with, "" for none."""
    return given.credentials if given else ""


Caller = Annotated[Actor, Depends(caller)]
Bearer = Annotated[str, Depends(token_of)]
