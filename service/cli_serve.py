"""`banjie serve` and `banjie openapi`: the service itself, and what it offers."""

import asyncio
import gc
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Annotated, Any

import structlog
import typer
import yaml

from service.config import Settings
from service.connection import Server, configured
from service.main import build, now, serving, wire
from service.reports import begin
from service.source_check import missing_secrets
from service.store import StoreUnavailable, open_store
from service.store.engine import prepare
from service.terminal import Refused, settings

# New objects, then young collections, before the next older ones are looked through.
_COLLECTED_AFTER = (20_000, 20, 20)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    demo: Annotated[bool, typer.Option(help="Add users and living tickets to play with.")] = False,
) -> None:
    """Migrate the database, then serve."""
    chosen = settings()
    _log_as_json(chosen.log_level)
    listening = _listen(host, port)
    address = f"http://{host}:{listening.getsockname()[1]}"
    with _kept():
        parts = wire(chosen, terms=serving(chosen))
    if missing := missing_secrets(parts.sources, os.environ):
        # A source that cannot prove who it is would be refused for ever, and nobody told.
        raise Refused("；".join(missing), 2)
    # Before anything listens to callers: keys that do not fit the database stop the start.
    asyncio.run(prepared(chosen))
    token = ""
    if demo:
        from service.demo import living, prepare

        token = asyncio.run(prepare(parts, address))
        # The event loop of the preparation is gone, and with it what was bound to it.
        parts = wire(chosen, terms=serving(chosen))
    with living(parts, address, token) if demo else nullcontext(parts) as running:
        with _kept():
            server = Server(configured(build(running, chosen)), running.feed.end)
        # A service makes more in a moment than a script does in all.
        gc.set_threshold(*_COLLECTED_AFTER)
        server.run(sockets=[listening])


@contextmanager
def _kept() -> Iterator[None]:
    """Keep what is made herein, for as long as the process lives: rules, routes and their models are a
    quarter of a million objects, of which hardly any is garbage. To look for it takes as long again."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


async def prepared(chosen: Settings) -> None:
    """Bring schema, keys and tallies to where whoever serves may begin."""
    # Nobody waits for an answer yet, and the first count of a large database takes what it takes.
    patient = replace(serving(chosen), transaction_s=None)
    store = open_store(chosen.database_url, patient, chosen.keys)
    try:
        await store.migrate()
        await prepare(store)
        await begin(store, now())
    except StoreUnavailable:
        pass  # the service itself says so
    finally:
        await store.close()


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, before anything else is begun; refuse a port that is taken."""
    try:
        return socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise Refused(
            f"无法监听 {host}:{port}：{error.strerror}；可用 --port 换一个端口", 1
        ) from error


def openapi() -> None:
    """Print the OpenAPI document as YAML."""
    configured = settings()
    document = build(wire(configured), configured).openapi()
    sys.stdout.write(yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=100))


def _log_as_json(level: str) -> None:
    """One JSON object a line on standard error, ours and the libraries' alike."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # They would tell of every tick and request; what one finds is told by ours.
    for noisy in ("alembic", "apscheduler", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It warns each second that a turn which takes or rests longer is still under way; how far due
    # work lags is a metric.
    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
