"""The HTTP interface."""

from typing import Any

from fastapi import APIRouter, FastAPI

from service.api import (
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
from service.api.schemas import ProblemOut

_REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "Refused; `errors` points at what is wrong",
        "content": {"application/problem+json": {"schema": ProblemOut.model_json_schema()}},
    }
}


def install(app: FastAPI) -> None:
    """Add every route and refusal to an application."""
    problems.install(app)
    routes = APIRouter(responses=_REFUSALS)
    for module in (intake, tickets, events, sources, explain, deliveries, kpis, bulletins):
        routes.include_router(module.router)
    app.include_router(routes)
    app.include_router(ops.router)
