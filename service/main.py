"""Puts the service together: the one place that names concrete classes and reads the clock."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog

from adapters.outbound import Outbound
from adapters.pages import Lists
from adapters.sources import ADAPTERS, read_sources
from routing_rules.clocks import load_timetable
from routing_rules.likeness import load_likeness
from routing_rules.proposed import Proposed
from routing_rules.receivers import load_receivers
from routing_rules.rulebook import TERRITORY_LINE, Rulebook, load
from service.audit import Audit, read_key
from service.bulletin import Bulletins
from service.config import Settings, pairs
from service.custody import Custody
from service.desk import Desk
from service.domain.access import Role
from service.domain.bulletin import Rules
from service.domain.kpi import Weights
from service.domain.limits import Timetable
from service.domain.sign_in import Claims, Ends
from service.doors import Doors, Identity
from service.feed import Feed
from service.intake import Intake
from service.matching import Matching
from service.metrics import Metrics
from service.outbox import Outbox
from service.polling import Poller
from service.proposals import Proposals
from service.purge import Purge
from service.refresh import Freshness
from service.reports import Reports, begin
from service.source_check import require, signing_keys
from service.store import Terms, intakes, messages, open_store
from service.store.engine import COMMAND, SERVES, prepare
from service.store.search import catch_up
from service.store.words import words
from service.supervision import Supervision
from service.upkeep import Upkeep
from service.wiring import Callers, Inflow, KeptFigures, Pulse, Readiness, Wiring

if TYPE_CHECKING:
    from fastapi import FastAPI

log = structlog.get_logger()

VERSION = "0.1.0"
_THREADS = 64
# Some tens of milliseconds of the loop.
_CUT_AT_ONCE = 100


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def wire(
    settings: Settings,
    clock: Callable[[], datetime] = now,
    rules: tuple[Rulebook, Timetable] | None = None,
    environ: Mapping[str, str] = os.environ,
    terms: Terms = COMMAND,
) -> Wiring:
    """Return the parts of a service, rules loaded and nothing connected yet; `rules` are those that
    were loaded before, for whoever wires more than once, `environ` holds the secrets, and `terms` is
    how it uses the database.

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
    store = open_store(settings.database_url, terms, settings.keys)
    metrics = Metrics()
    outbox = Outbox(store, receivers, post, clock)
    laid = Proposed(rulebook, settings.rules)
    matching = Matching(store, likeness, sources)
    desk = Desk(store, rulebook, times, receivers, outbox.wake, matching.told)
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
        matching=matching,
        custody=Custody(store, clock, settings.anonymise_after_days),
        metrics=metrics,
        callers=Callers(store),
        pulse=Pulse(store),
        figures=KeptFigures(store, timedelta(seconds=settings.figures_seconds)),
        readiness=Readiness(store),
        inflow=Inflow(settings.intake_in_flight),
        intake=Intake(desk, metrics.intake_batch),
        refresh=Freshness(store, desk, laid, settings.rules).look,
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
        audit=Audit(store, read_key(settings.audit_key).sign if settings.audit_key else None),
        feed=Feed(store, settings.tick_seconds, settings.feed_streams, settings.desk_streams),
        supervision=Supervision(store),
        proposals=Proposals(
            store,
            laid,
            lambda code: unit.region if (unit := rulebook.unit(code)) else "",
        ),
        doors=Doors(
            store,
            clock,
            Ends(
                timedelta(minutes=settings.session_idle_minutes),
                timedelta(hours=settings.session_hours),
            ),
            identity(settings),
            lambda code: desk.router.unit(code) is not None,
            lambda code: rulebook.gazetteer.find(code) == code,
        ),
        metrics_open=settings.metrics_open,
        now=clock,
    )


def identity(settings: Settings) -> Identity | None:
    """Return the identity provider that the settings name, if they name one."""
    if settings.oidc_issuer is None:
        return None
    # Who has none starts without it: it brings a library of ciphers along.
    from adapters.oidc import OpenId  # noqa: PLC0415

    secret = settings.oidc_client_secret
    provider = OpenId(
        settings.oidc_issuer,
        settings.oidc_client_id or "",
        secret.get_secret_value() if secret else "",
        f"{(settings.public_url or '').rstrip('/')}/desk/sign-in/oidc/back",
        settings.oidc_scopes,
    )
    claims = Claims(
        {value: Role(role) for value, role in pairs(settings.oidc_roles).items()},
        pairs(settings.oidc_units),
        settings.oidc_name_claim,
        settings.oidc_role_claim,
        settings.oidc_unit_claim,
        settings.oidc_region_claim,
    )
    return Identity(provider, settings.oidc_label, claims)


def serving(settings: Settings) -> Terms:
    """Return how a replica uses the database."""
    return Terms(
        settings.database_connections,
        settings.database_connect_seconds,
        settings.database_timeout_seconds,
        SERVES,
    )


def weights(settings: Settings) -> Weights:
    """Return by how much each part of the 三率 score counts."""
    return Weights(
        settings.score_response,
        settings.score_satisfied,
        settings.score_solved,
        settings.score_basically,
    )


async def _purged(parts: Wiring) -> int:
    """Delete some of what has ended; return how many rows it was."""
    done = await parts.doors.purge()
    now = parts.now()
    for purge in (intakes.purge, messages.purge):
        done += await parts.store.run(partial(purge, at=now))
    return done


def build(parts: Wiring, settings: Settings) -> "FastAPI":
    """Return the application around these parts. When it starts it migrates and takes in rulings,
    proposals and calendars, then ticks."""
    # A command that wires the parts serves nothing.
    from fastapi import FastAPI  # noqa: PLC0415

    from service import api, web  # noqa: PLC0415
    from service.api.edge import Edge  # noqa: PLC0415
    from service.jobs import Jobs  # noqa: PLC0415

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        await parts.store.migrate()
        await prepare(parts.store)
        if parts.store.sealing.keeps_in_database:
            log.warning("keys.in_database", hint=parts.custody.says)
        await begin(parts.store, parts.now())
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
            chain=parts.audit.extend,
            heads=parts.audit.make_heads,
            purge=Purge(parts.store, partial(_purged, parts)).turn,
            keep=parts.pulse.keep,
            custody=parts.custody.turn,
            cut=partial(parts.store.run, partial(catch_up, limit=_CUT_AT_ONCE)),
            upkeep=Upkeep(parts.store, parts.now, settings.closed_after_days),
        )
        jobs.start()
        # The dictionary is read beside the first answers, and not by the first who sends something.
        reading = asyncio.create_task(asyncio.to_thread(words, "路灯"))
        try:
            yield
        finally:
            await reading
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
