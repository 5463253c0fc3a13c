"""The handlers' desk: pages under /desk, written on the server, workable without a script."""

from fastapi import FastAPI

from service.web.site import UnderDesk, site


def install(app: FastAPI) -> None:
    """Put the desk's pages into an application, under /desk."""
    pages = site()
    pages.state = app.state
    app.router.routes.append(UnderDesk(pages))
