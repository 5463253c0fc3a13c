"""Who is calling: a bearer token becomes an Actor."""

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.api.problems import Unauthenticated
from service.api.wiring import Wiring, wiring
from service.domain.access import Actor
from service.store import Store, tokens

# A revoked token works so much longer; every request is spared a query.
_KEPT = timedelta(seconds=5)
_KEPT_MOST = 10_000


class Callers:
    """Looks tokens up and remembers what it found for a few seconds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[str, tuple[datetime, Actor]] = OrderedDict()

    async def find(self, token: str, at: datetime) -> Actor:
        """Return whom the token stands for, or raise Unauthenticated."""
        kept = self._known.get(token)
        if kept and at - kept[0] < _KEPT:
            return kept[1]
        actor = await self._store.read(lambda connection: tokens.find(connection, token, at))
        if actor is None:
            self._known.pop(token, None)
            raise Unauthenticated
        self._known[token] = (at, actor)
        self._known.move_to_end(token)
        if len(self._known) > _KEPT_MOST:
            self._known.popitem(last=False)
        return actor


_bearer = HTTPBearer(auto_error=False, description="A token of `banjie token create`")


async def caller(
    request: Request,
    app: Annotated[Wiring, Depends(wiring)],
    given: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Actor:
    """Return who is calling, or raise Unauthenticated."""
    if given is None or not given.credentials.isascii():
        raise Unauthenticated
    return await app.callers.find(given.credentials, app.now())


Caller = Annotated[Actor, Depends(caller)]
