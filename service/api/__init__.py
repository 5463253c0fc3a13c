"""The HTTP interface."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


def install(app: "FastAPI") -> None:
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

    problems.install(app)
    for module in (
        *(intake, tickets, events, sources, explain, deliveries, kpis, bulletins, audit),
        ops,
    ):
        # Routes as they are: what is included FastAPI builds anew, when the first request comes.
        app.router.routes += module.router.routes
