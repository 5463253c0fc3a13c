"""How many pushes a second are taken in, beside services that do next to nothing.

Run from the repository: `python -m bench.intake [--seconds S] [--rounds N] [--only DATABASE]`. Signed
pushes over 64 kept lines to a real `banjie serve`, on PostgreSQL with fsync and on SQLite with
synchronous=FULL. In turns with it, in the same run and with the same settings of the server: a bare
FastAPI endpoint that validates the same body and stores nothing, and a plain SQLModel endpoint that
inserts one row. Medians of the rounds; `lone` is one caller alone; `pair` are two replicas on one
PostgreSQL, with half of the lines each. In the end what was answered is counted in the database.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from bench.enforce import postgres
from bench.load import SOURCE, body, drive, pushes, request
from bench.servers import Process, banjie, limit
from service.store import open_store

LINES = 64
SECONDS = 4.0
ROUNDS = 5
LONE = 100
_PAUSE_S = 0.01
DATABASES = ("postgresql", "sqlite")
_MOST_PER_S = 4_000
_WARM_S = 1.0
_TABLES = ("tickets", "bodies", "milestones", "events", "deliveries")


@contextmanager
def database(name: str) -> Iterator[str]:
    """Give the address of an empty database that loses nothing."""
    if name == "postgresql":
        with postgres() as url:
            yield url
        return
    with tempfile.TemporaryDirectory(prefix="banjie-bench-") as folder:
        yield f"sqlite:///{folder}/bench.db"


def counted(url: str) -> dict[str, int]:
    """Return how many rows each table holds of what belongs to a ticket."""

    async def count() -> dict[str, int]:
        store = open_store(url)
        try:
            return await store.read(
                lambda c: {
                    name: c.execute(sa.text(f"SELECT count(*) FROM {name}")).scalar_one()  # noqa: S608
                    for name in _TABLES
                }
            )
        finally:
            await store.close()

    return asyncio.run(count())


def looked_over(url: str) -> None:
    """Let PostgreSQL know what there is, as its autovacuum does within a minute: a table that was empty
    when a statement was planned is read from end to end until then."""
    if not _shared(url):
        return

    async def analyze() -> None:
        store = open_store(url)
        try:
            await store.run(lambda c: c.execute(sa.text("ANALYZE")))
        finally:
            await store.close()

    asyncio.run(analyze())


class _Rounds:
    """One server's rounds."""

    def __init__(self, server: Process, path: str) -> None:
        self.server = server
        self.path = path
        self.rates: list[float] = []
        self.cpu_us: list[float] = []
        self.p99_ms: list[float] = []
        self.load_us: list[float] = []
        self.answered = 0

    def turn(self, seconds: float, *, noted: bool = True, lines: int = LINES) -> float:
        """Push for so long; return how many were answered a second."""
        messages = self._messages(int(seconds * _MOST_PER_S))
        before = self.server.cpu_s
        load = drive(self.server.port, messages, lines=lines, seconds=seconds)
        self.answered += load.statuses[201]
        if set(load.statuses) != {201} or load.cut:
            msg = f"{self.path}: {load.statuses}, {load.cut} cut\n{self.server.log()[-3000:]}"
            raise RuntimeError(msg)
        if noted:
            total = sum(load.statuses.values())
            self.rates.append(load.per_s)
            self.cpu_us.append((self.server.cpu_s - before) / total * 1e6)
            self.p99_ms.append(load.ms(0.99))
            self.load_us.append(load.cpu_s / total * 1e6)
        return load.per_s

    def lone(self) -> float:
        """Push one after the other, with a pause between two; return the median milliseconds."""
        took: list[float] = []
        for message in self._messages(LONE):
            load = drive(self.server.port, [message], lines=1)
            self.answered += load.statuses[201]
            took += load.took_ms
            time.sleep(_PAUSE_S)
        return statistics.median(took)

    def _messages(self, count: int) -> list[bytes]:
        if self.path != "/push":
            return pushes(count)
        now = datetime.now(UTC)
        # Twice as fast as ours at most: it may have each of them several times.
        return [request(self.path, body(now)) for _ in range(count // 4)] * 16


def measure(url: str, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure one database."""
    with banjie(url) as own, limit("bare", url) as bare, limit("plain", url) as plain:
        servers = {
            "banjie": _Rounds(own, f"/v1/intake/{SOURCE}"),
            "bare": _Rounds(bare, "/push"),
            "plain": _Rounds(plain, "/push"),
        }
        with own.paused():
            servers["bare"].turn(_WARM_S, noted=False)
            servers["plain"].turn(_WARM_S, noted=False)
        servers["banjie"].turn(_WARM_S, noted=False)
        looked_over(url)
        lone_ms, lone_bare_ms = servers["banjie"].lone(), servers["bare"].lone()
        for _ in range(rounds):
            with own.paused():
                servers["bare"].turn(seconds)
            servers["banjie"].turn(seconds)
            with own.paused():
                servers["plain"].turn(seconds)
        rss_mib = own.rss_mib
        pair = _pair(servers["banjie"], url, seconds, rounds) if _shared(url) else None
        rows = counted(url)
    ours = servers["banjie"]
    answered = ours.answered + (pair.answered if pair else 0)
    if rows["tickets"] != answered:
        msg = f"{answered} were answered 201, and there are {rows['tickets']}"
        raise RuntimeError(msg)
    found: dict[str, Any] = {}
    for name, server in servers.items():
        found[f"{name}_per_s"] = round(statistics.median(server.rates))
        found[f"{name}_cpu_us"] = round(statistics.median(server.cpu_us))
        found[f"{name}_p99_ms"] = round(statistics.median(server.p99_ms), 1)
    return {
        **found,
        "to_bare": round(found["banjie_per_s"] / found["bare_per_s"], 3),
        "to_plain": round(found["banjie_per_s"] / found["plain_per_s"], 2),
        "cpu_to_bare": round(found["bare_cpu_us"] / found["banjie_cpu_us"], 3),
        **({"pair_to_one": round(pair.to_one, 2)} if pair else {}),
        "lone_p50_ms": round(lone_ms, 2),
        "lone_bare_p50_ms": round(lone_bare_ms, 2),
        "load_cpu_us": round(statistics.median(ours.load_us)),
        "rows_per_ticket": round(sum(rows.values()) / rows["tickets"], 2),
        "tickets": rows["tickets"],
        "rss_mib": round(rss_mib),
    }


def _shared(url: str) -> bool:
    return url.startswith("postgresql")


class _Pair(NamedTuple):
    to_one: float
    answered: int


def _pair(one: _Rounds, url: str, seconds: float, rounds: int) -> _Pair:
    """Measure one and two replicas in turn, with as many lines in all."""
    with banjie(url) as server, ThreadPoolExecutor() as threads:
        other = _Rounds(server, one.path)
        other.turn(_WARM_S, noted=False)
        ratios = []
        for _ in range(rounds):
            alone = one.turn(seconds, noted=False)
            both = [
                threads.submit(each.turn, seconds, noted=False, lines=LINES // 2)
                for each in (one, other)
            ]
            ratios.append(sum(each.result() for each in both) / alone)
    return _Pair(statistics.median(ratios), other.answered)


def run(
    seconds: float = SECONDS, rounds: int = ROUNDS, databases: tuple[str, ...] = DATABASES
) -> dict[str, Any]:
    """Measure, and return the figures, their names ending in the database's."""
    found: dict[str, Any] = {}
    for name in databases:
        with database(name) as url:
            figures = measure(url, seconds, rounds)
        found |= {f"{figure}_{name}": value for figure, value in figures.items()}
    return found


def main() -> None:
    """Measure as asked, and print."""
    options = argparse.ArgumentParser(prog="python -m bench.intake")
    options.add_argument("--seconds", type=float, default=SECONDS, help="of each round")
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--only", choices=DATABASES)
    asked = options.parse_args()
    databases = (asked.only,) if asked.only else DATABASES
    began = time.perf_counter()
    figures = run(asked.seconds, asked.rounds, databases)
    figures["took_s"] = round(time.perf_counter() - began)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
