"""What a simulated ticket costs, beside bare bulk inserts of the very rows that it leaves.

Run from the repository: `python -m bench.simulate [DAYS]`. A prefecture of 1,300 tickets a day is walked
and written in as many processes as there are cores, on SQLite and PostgreSQL; the rows are then read,
removed, and inserted again as they are. `ratio` is bare time by simulated time. `year_min` is how long
a year would take at this rate.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.enforce import postgres
from routing_rules.clocks import load_timetable
from routing_rules.rulebook import load
from service.simulation.lives import Behaviour
from service.simulation.run import Plan, simulate
from service.store import Store, open_store
from service.store.bulk import insert_rows
from service.store.tables import metadata

DAYS = 10
_PER_DAY = 1300
_AT_ONCE = 10_000
_TABLES = (
    "tickets",
    "bodies",
    "assists",
    "milestones",
    "events",
    "deliveries",
    "tallies",
    "tally_sums",
)


def _emptied(connection: sa.Connection) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the rows of each table, and remove them."""
    found = [
        (
            name,
            [dict(row) for row in connection.execute(sa.select(metadata.tables[name])).mappings()],
        )
        for name in _TABLES
    ]
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())
    return found


async def _bare(store: Store, written: Sequence[tuple[str, list[dict[str, Any]]]]) -> float:
    def work(connection: sa.Connection, name: str, rows: list[dict[str, Any]]) -> None:
        insert_rows(connection, metadata.tables[name], rows)

    started = time.perf_counter()
    for name, rows in written:
        for first in range(0, len(rows), _AT_ONCE):
            await store.run(partial(work, name=name, rows=rows[first : first + _AT_ONCE]))
    return time.perf_counter() - started


async def _measure(url: str, days: int) -> dict[str, Any]:
    plan = Plan(date(2026, 3, 2), days, _PER_DAY, "360700", 1, Behaviour())
    store = open_store(url)
    try:
        await store.migrate()
        cpu = sum(os.times()[:4])
        started = time.perf_counter()
        much = await simulate(plan, url, load(), load_timetable(), lambda _: None)
        wall_s = time.perf_counter() - started
        cpu_s = sum(os.times()[:4]) - cpu
        bare_s = await _bare(store, await store.run(_emptied))
    finally:
        await store.close()
    return {
        "tickets": much.tickets,
        "events_per_ticket": round(much.events / much.tickets, 2),
        "tickets_per_s": round(much.tickets / wall_s),
        "bare_per_s": round(much.tickets / bare_s),
        "ratio": round(bare_s / wall_s, 3),
        "cpu_ms_per_ticket": round(cpu_s / much.tickets * 1000, 2),
        "year_min": round(wall_s / much.tickets * _PER_DAY * 365 / 60, 1),
    }


def run(days: int = DAYS) -> dict[str, Any]:
    """Measure both databases, and return the figures, their names ending in the database's."""
    with tempfile.TemporaryDirectory() as folder:
        found = {"sqlite": asyncio.run(_measure(f"sqlite:///{Path(folder)}/bench.db", days))}
    with postgres() as url:
        found["postgresql"] = asyncio.run(_measure(url, days))
    return {
        f"{figure}_{database}": value
        for database, figures in found.items()
        for figure, value in figures.items()
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else DAYS)) + "\n")
