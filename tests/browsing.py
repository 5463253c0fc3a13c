"""A real browser before a real server, for tests that look at pages as people do."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

from service.config import Settings
from service.connection import Server, configured
from service.main import build, wire
from tests.conftest import tool

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
SIZES = {"desk": (1366, 768), "phone": (390, 844)}


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Serve on a port of its own; yield the address."""
    listening = socket.create_server(("127.0.0.1", 0))  # who comes before it serves waits
    parts = wire(settings)
    server = Server(configured(build(parts, settings)), parts.feed.end)
    running = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    running.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        running.join()
        listening.close()


@contextmanager
def chromium() -> Iterator[Any]:
    """Yield a browser; skip or fail where there is none, as `tool` does."""
    path = tool("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


def axe() -> str:
    """Return axe-core, to be evaluated in a page."""
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
