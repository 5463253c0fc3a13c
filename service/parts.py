"""The parts of the service, for a route that names them: apart from `wiring`, which commands load too, so
that those do without FastAPI."""

from typing import Annotated

from fastapi import Depends, Request

from service.wiring import Wiring


async def wiring(request: Request) -> Wiring:
    """Return the parts of the service that a request came to. Async: FastAPI gives all else a thread."""
    parts: Wiring = request.app.state.wiring
    return parts


Parts = Annotated[Wiring, Depends(wiring)]
