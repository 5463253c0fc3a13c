"""Batch intake beside a COPY of the ticket rows alone, in the same run.

Run from the repository: `python -m bench.batches [TICKETS]`. Signed batches of 500 lines on three lines to
a real `banjie serve`. The limit writes the very rows of `tickets` that came of it, and nothing else,
into a table like it: by COPY on PostgreSQL, row by row of one prepared statement on SQLite, in
transactions of as many rows as a batch has lines.
"""

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg

from bench.intake import DATABASES, counted, database
from bench.load import SOURCE, body, drive, signed
from bench.servers import banjie

TICKETS = 10_000
LINES_EACH = 500
_AT_ONCE = 3  # of one source; more would be told to wait
_LIKE = "tickets_alone"


async def _copied(url: str) -> float:
    connection = await asyncpg.connect(url)
    try:
        rows = [tuple(row) for row in await connection.fetch("SELECT * FROM tickets ORDER BY id")]
        await connection.execute(f"CREATE TABLE {_LIKE} (LIKE tickets INCLUDING ALL)")
        began = time.perf_counter()
        for batch in _batches(rows):
            await connection.copy_records_to_table(_LIKE, records=batch)
        took_s = time.perf_counter() - began
        await connection.execute(f"DROP TABLE {_LIKE}")
        return len(rows) / took_s
    finally:
        await connection.close()


def _inserted(url: str) -> float:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    made = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'tickets'").fetchone()[0]
    connection.execute(made.replace("tickets", _LIKE, 1))
    rows = connection.execute("SELECT * FROM tickets ORDER BY id").fetchall()
    marks = ", ".join("?" * len(rows[0]))
    began = time.perf_counter()
    for batch in _batches(rows):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(f"INSERT INTO {_LIKE} VALUES ({marks})", batch)  # noqa: S608
        connection.execute("COMMIT")
    took_s = time.perf_counter() - began
    connection.execute(f"DROP TABLE {_LIKE}")
    connection.close()
    return len(rows) / took_s


def alone_per_s(url: str) -> float:
    """Return how many of the ticket rows that are there can be written a second, and nothing else."""
    return asyncio.run(_copied(url)) if url.startswith("postgresql") else _inserted(url)


def _batches(rows: Sequence[Any]) -> list[Sequence[Any]]:
    return [rows[first : first + LINES_EACH] for first in range(0, len(rows), LINES_EACH)]


def measure(url: str, tickets: int) -> dict[str, Any]:
    """Measure one database."""
    now = datetime.now(UTC)
    path = f"/v1/intake/{SOURCE}/batch"
    messages = [
        signed(path, b"\n".join(body(now) for _ in range(LINES_EACH)), now)
        for _ in range(tickets // LINES_EACH)
    ]
    with banjie(url) as server:
        load = drive(server.port, messages, lines=_AT_ONCE)
        if set(load.statuses) != {200}:
            raise RuntimeError(f"{load.statuses}\n{server.log()[-3000:]}")
    stored = counted(url)["tickets"]
    if stored != len(messages) * LINES_EACH:
        raise RuntimeError(f"{len(messages) * LINES_EACH} were sent, and there are {stored}")
    per_s, alone = stored / load.seconds, alone_per_s(url)
    return {
        "tickets": stored,
        "batch_per_s": round(per_s),
        "alone_per_s": round(alone),
        "batch_to_alone": round(per_s / alone, 3),
    }


def run(tickets: int = TICKETS) -> dict[str, Any]:
    """Measure both databases, and return the figures, their names ending in the database's."""
    found: dict[str, Any] = {}
    for name in DATABASES:
        with database(name) as url:
            found |= {f"{figure}_{name}": v for figure, v in measure(url, tickets).items()}
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else TICKETS)) + "\n")
