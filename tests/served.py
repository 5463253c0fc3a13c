"""A whole service on a small database, for tests that speak HTTP to it."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi.testclient import TestClient

from routing_rules.clocks import load_timetable
from routing_rules.rulebook import Rulebook, load
from service.config import Settings
from service.domain.access import Actor, Role
from service.domain.limits import Timetable
from service.main import build, wire
from service.store import open_store, tokens
from service.wiring import Wiring
from tests.worlds import at


class Clock:
    """A clock that stands until it is set."""

    def __init__(self, time: datetime) -> None:
        self.time = time

    def __call__(self) -> datetime:
        """Return the time."""
        return self.time


# One caller of each sort, in 兴国县.
CALLERS = {
    "admin": Actor("管理员", Role.ADMIN),
    "dispatcher": Actor("分拨员", Role.DISPATCHER, region="360732"),
    "supervisor": Actor("督办员", Role.SUPERVISOR, region="360732"),
    "auditor": Actor("审计员", Role.AUDITOR, region="360732"),
    "handler": Actor("承办人", Role.HANDLER, ("360732-market_regulation",), region="360732"),
    "stranger": Actor("萍乡督办员", Role.SUPERVISOR, region="360300"),
    "hotline-12345": Actor("热线", Role.SOURCE, source="hotline-12345"),
    "wenzheng-jiangxi": Actor("问政", Role.SOURCE, source="wenzheng-jiangxi"),
    "haochaping": Actor("好差评", Role.SOURCE, source="haochaping"),
}


@dataclass
class Served:
    """A running service, its clock, and callers with their tokens."""

    client: TestClient
    parts: Wiring
    clock: Clock
    tokens: dict[str, str]

    def headers(self, who: str, **more: str) -> dict[str, str]:
        """Return the headers of a caller; `If_Match="1"` becomes If-Match."""
        given = {name.replace("_", "-"): value for name, value in more.items()}
        return {"Authorization": f"Bearer {self.tokens[who]}", **given}

    def get(self, path: str, who: str = "admin") -> Any:
        """Return the answer to a GET."""
        return self.client.get(path, headers=self.headers(who))

    def post(self, path: str, body: Any, who: str = "admin", **headers: str) -> Any:
        """Return the answer to a POST; bytes go as they are, anything else as JSON."""
        if isinstance(body, bytes):
            more = {"Content-Type": "application/json", **self.headers(who, **headers)}
            return self.client.post(path, content=body, headers=more)
        return self.client.post(path, json=body, headers=self.headers(who, **headers))

    def act(self, ticket: dict[str, Any], who: str, act: str, **fields: Any) -> dict[str, Any]:
        """Return the ticket after an act that must succeed."""
        answer = self.post(
            f"/v1/tickets/{ticket['no']}/acts",
            {"act": act, **fields},
            who,
            If_Match=str(ticket["version"]),
        )
        assert answer.status_code == 200, answer.text
        after: dict[str, Any] = answer.json()["ticket"]
        return after

    def run(self, work: Callable[[Wiring], Any]) -> Any:
        """Return the result of a coroutine function that works on the service's parts."""
        portal = self.client.portal
        assert portal is not None
        return portal.call(work, self.parts)


@cache
def rules(folder: Path | None) -> tuple[Rulebook, Timetable]:
    """Return the rules, loaded once for all tests: nothing in a service changes them."""
    return load(folder), load_timetable(folder)


@contextmanager
def served(database_url: str, now: str = "2026-11-21 09:00", **settings: Any) -> Iterator[Served]:
    """Serve with everything real but the clock."""
    _begin_migrated(database_url)
    usual = {"figures_seconds": 0, "tick_seconds": 60}
    configured = Settings(database_url=database_url, **usual | settings)
    clock = Clock(at(now))
    parts = wire(configured, clock, rules(configured.rules))
    with TestClient(build(parts, configured), raise_server_exceptions=False) as client:
        running = Served(client, parts, clock, {})

        async def invite(_: Wiring) -> dict[str, str]:
            return {
                name: await parts.store.run(
                    lambda connection, who=actor: tokens.create(connection, who, clock())  # type: ignore[misc]
                )
                for name, actor in CALLERS.items()
            }

        running.tokens = running.run(invite)
        yield running


@cache
def _migrated() -> bytes:
    """Return a migrated SQLite database, as its file."""

    async def migrate(url: str) -> None:
        store = open_store(url)
        await store.migrate()
        await store.close()

    with TemporaryDirectory() as folder:
        # In a thread: a test that asks may have a loop of its own.
        with ThreadPoolExecutor(1) as threads:
            threads.submit(asyncio.run, migrate(sqlite(Path(folder)))).result()
        return Path(folder, "banjie.db").read_bytes()


def _begin_migrated(database_url: str) -> None:
    """Put a migrated database where there is none yet: to migrate each takes longer than most tests,
    and tests of the store do it."""
    _, is_sqlite, path = database_url.partition("sqlite:///")
    if is_sqlite and not Path(path).exists():
        Path(path).write_bytes(_migrated())


def sqlite(folder: Path) -> str:
    """Return the address of a SQLite database in a folder."""
    return f"sqlite:///{folder}/banjie.db"
