"""Puts the service together: the one place that names concrete classes and reads the clock."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from fastapi import FastAPI

from adapters.outbound import Outbound
from adapters.pages import Lists
from adapters.sources import ADAPTERS, read_sources
from routing_rules.clocks import load_timetable
from routing_rules.likeness import load_likeness
from routing_rules.receivers import load_receivers
from routing_rules.rulebook import TERRITORY_LINE, Rulebook, load
from service import api, web
from service.api.edge import Edge
from service.bulletin import Bulletins
from service.config import Settings
from service.desk import Desk
from service.domain.bulletin import Rules
from service.domain.kpi import Weights
from service.domain.limits import Timetable
from service.feed import Feed
from service.intake import Intake
from service.jobs import Jobs
from service.matching import Matching
from service.metrics import Metrics
from service.outbox import Outbox
from service.polling import Poller
from service.refresh import Freshness
from service.reports import Reports
from service.source_check import require, signing_keys
from service.store import open_store, schema
from service.upkeep import Upkeep
from service.wiring import Callers, Inflow, KeptFigures, Wiring

VERSION = "0.1.0"
_THREADS = 64


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def wire(
    settings: Settings,
    clock: Callable[[], datetime] = now,
    rules: tuple[Rulebook, Timetable] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Wiring:
    """Return the parts of a service, rules loaded and nothing connected yet; `rules` are those that
    were loaded before, for whoever wires more than once, `environ` holds the secrets.

    Raises what the loaders raise, and SecretMissing: a rule that does not load stops the start.
    """
    rulebook, times = rules or (load(settings.rules), load_timetable(settings.rules))
    likeness = load_likeness(settings.rules)
    sources = require(read_sources(settings.sources), rulebook, rulebook.gazetteer)
    callbacks = (source.callback for source in sources.values() if source.callback)
    receivers = {
        **{each.destination: each for each in callbacks},
        **load_receivers(rulebook, settings.rules),
    }
    post = Outbound(receivers, environ)
    store = open_store(settings.database_url)
    metrics = Metrics()
    outbox = Outbox(store, receivers, post, clock)
    desk = Desk(store, rulebook, times, receivers, outbox.wake)
    adapters = {name: adapter(rulebook.gazetteer) for name, adapter in ADAPTERS.items()}
    reports = Reports(
        store,
        lambda: desk.router,
        rulebook.gazetteer,
        weights(settings),
        settings.rank_floor,
    )
    return Wiring(
        desk=desk,
        outbox=outbox,
        poller=Poller(desk, store, sources, adapters, clock, Lists(sources, environ)),
        store=store,
        gazetteer=rulebook.gazetteer,
        sources=sources,
        keys={name: signing_keys(source, environ) for name, source in sources.items()},
        adapters=adapters,
        matching=Matching(store, likeness, sources),
        metrics=metrics,
        callers=Callers(store),
        figures=KeptFigures(store, timedelta(seconds=settings.figures_seconds)),
        inflow=Inflow(settings.intake_in_flight),
        intake=Intake(desk, metrics.intake_batch),
        refresh=Freshness(store, desk, rulebook, settings.rules).look,
        reports=reports,
        bulletins=Bulletins(
            store,
            reports,
            lambda: desk.router,
            rulebook.gazetteer,
            sources,
            {line.code: line.name for line in rulebook.table.lines} | {TERRITORY_LINE: "属地"},
            Rules(
                settings.bulletin_praise_on_time,
                settings.bulletin_praise_satisfied,
                settings.bulletin_praise_cases,
                settings.bulletin_criticise_on_time,
                settings.bulletin_criticise_cases,
                settings.bulletin_criticise_red,
                settings.bulletin_criticise_back_refused,
            ),
            VERSION,
        ),
        feed=Feed(store, settings.tick_seconds, settings.feed_streams),
        now=clock,
    )


def weights(settings: Settings) -> Weights:
    """Return by how much each part of the 三率 score counts."""
    return Weights(
        settings.score_response,
        settings.score_satisfied,
        settings.score_solved,
        settings.score_basically,
    )


def build(parts: Wiring, settings: Settings) -> FastAPI:
    """Return the application around these parts. When it starts it migrates and takes in rulings and
    calendars, then ticks."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if settings.migrate:
            await parts.store.migrate()
        else:
            await parts.store.read(schema.require)
        upkeep = Upkeep(parts.store, parts.now, settings.closed_after_days)
        await parts.reports.begin(parts.now())
        await parts.refresh()
        # Names are looked up in these; a name server that hangs must not hold up the others.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "waiting"))
        jobs = Jobs(
            parts.desk,
            parts.now,
            settings.tick_seconds,
            parts.metrics,
            refresh=parts.refresh,
            refresh_seconds=settings.refresh_seconds,
            outbox=parts.outbox,
            poller=parts.poller,
            matching=parts.matching,
            fold=parts.reports.fold,
            order=parts.feed.order,
            upkeep=upkeep,
        )
        jobs.start()
        try:
            yield
        finally:
            await parts.feed.stop()
            await jobs.stop()
            await parts.store.close()

    app = FastAPI(
        title="Banjie 办结",
        version=VERSION,
        summary="Routes citizens' complaints and holds every unit to its time limit",
        lifespan=lifespan,
        # Swagger's and ReDoc's pages load scripts from a CDN; openapi.json is there for any viewer.
        # A redirect would repeat whatever host the caller named.
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.state.wiring = parts
    api.install(app)
    web.install(app)
    app.add_middleware(Edge, metrics=parts.metrics)
    return app
