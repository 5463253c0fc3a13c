"""What the routes are given; `main` puts it together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from service.desk import Desk
from service.domain.limits import Timetable
from service.domain.ports import Adapter, Gazetteer, Router, Source
from service.metrics import Metrics
from service.store import Store

if TYPE_CHECKING:
    from service.api.callers import Callers
    from service.api.figures import KeptFigures


@dataclass(frozen=True, slots=True)
class Wiring:
    """The parts of a running service."""

    desk: Desk
    store: Store
    router: Router
    gazetteer: Gazetteer
    times: Timetable
    sources: Mapping[str, Source]
    adapters: Mapping[str, Adapter]
    metrics: Metrics
    callers: "Callers"
    figures: "KeptFigures"
    now: Callable[[], datetime]


def wiring(request: Request) -> Wiring:
    """Return the parts of the service that a request came to."""
    parts: Wiring = request.app.state.wiring
    return parts


Parts = Annotated[Wiring, Depends(wiring)]
