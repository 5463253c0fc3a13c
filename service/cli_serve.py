"""`banjie serve` and `banjie openapi`: the service itself, and what it offers."""

import asyncio
import logging
import os
import socket
import sys
from contextlib import nullcontext
from typing import Annotated, Any

import structlog
import typer
import uvicorn
import yaml

from service.connection import Connection, Server
from service.main import build, serving, wire
from service.source_check import missing_secrets
from service.terminal import Refused, settings


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    demo: Annotated[bool, typer.Option(help="Add users and living tickets to play with.")] = False,
) -> None:
    """Migrate the database, then serve."""
    configured = settings()
    _log_as_json(configured.log_level)
    listening = _listen(host, port)
    address = f"http://{host}:{listening.getsockname()[1]}"
    parts = wire(configured, terms=serving(configured))
    if missing := missing_secrets(parts.sources, os.environ):
        # A source that cannot prove who it is would be refused for ever, and nobody told.
        raise Refused("；".join(missing), 2)
    token = ""
    if demo:
        from service.demo import living, prepare

        token = asyncio.run(prepare(parts, address))
        # The event loop of the preparation is gone, and with it what was bound to it.
        parts = wire(configured, terms=serving(configured))
    with living(parts, address, token) if demo else nullcontext(parts) as running:
        server = Server(
            uvicorn.Config(
                build(running, configured),
                http=Connection,
                ws="none",
                access_log=False,
                server_header=False,
                log_config=None,
                timeout_graceful_shutdown=10,
            ),
            running.feed.end,
        )
        server.run(sockets=[listening])


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
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
