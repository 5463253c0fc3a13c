"""The HTTP interface."""

from typing import Any

from fastapi import APIRouter, FastAPI


def install(app: FastAPI) -> None:
    """Add every route and refusal to an application."""
    # Who wants the schemas of this package alone, as a command does, makes no routes.
    from service.api import (  # noqa: PLC0415
        audit,
        bulletins,
        deliveries,
        events,
        explain,
        intake,
        kpis,
        ops,
        problems,
        sources,
        tickets,
    )
    from service.api.schemas import ProblemOut  # noqa: PLC0415

    refusals: dict[int | str, dict[str, Any]] = {
        "4XX": {
            "description": "Refused; `errors` points at what is wrong",
            "content": {"application/problem+json": {"schema": ProblemOut.model_json_schema()}},
        }
    }
    problems.install(app)
    routes = APIRouter(responses=refusals)
    for module in (intake, tickets, events, sources, explain, deliveries, kpis, bulletins, audit):
        routes.include_router(module.router)
    app.include_router(routes)
    app.include_router(ops.router)
