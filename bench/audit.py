"""What the chain of events costs: a link, and verifying all of them again.

Run from the repository: `python -m bench.audit [EVENTS]`. The limit of the same run reads the same
rows, in as many pages, and hashes each as Python writes it: no order of keys, no link, nothing
compared. A link is told in microseconds and as a ratio to that; the service spends a fifth of its
time on links at most, however many wait.
"""

import asyncio
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench import imports
from bench.enforce import postgres
from service.audit import Wish, verify
from service.domain.ticket import Event
from service.store import Store, chain, feed, open_store
from service.store.tables import metadata
from service.store.tickets import append_all

EVENTS = 1_000_000
_BATCH = 5_000
_PAGE = 2_000
_AT = datetime(2026, 11, 18, 2, 0, tzinfo=UTC)
_events = metadata.tables["events"]


def _write(connection: sa.Connection, count: int) -> None:
    rows = connection.execute(
        sa.select(_events.c.ticket_id, _events.c.ticket_no, _events.c.region).limit(100)
    ).all()
    content = {"text": "已查看现场，正在联系诉求人", "reached": True, "minutes": 12}
    append_all(
        connection,
        [
            (
                row.ticket_id,
                row.ticket_no,
                row.region,
                Event("note", _AT, "某", "handler", content, n),
            )
            for n, row in ((n, rows[n % len(rows)]) for n in range(count))
        ],
    )


def _bare(connection: sa.Connection) -> int:
    """Read every event, page by page, and hash it as it is; return how many."""
    query = (
        sa.select(_events)
        .where(_events.c.id > sa.bindparam("after"))
        .order_by(_events.c.id)
        .limit(_PAGE)
    )
    after, count = 0, 0
    while rows := connection.execute(query, {"after": after}).all():
        for row in rows:
            hashlib.sha256(repr(tuple(row)).encode()).digest()
        after, count = rows[-1].id, count + len(rows)
    return count


async def _measure(store: Store, count: int) -> dict[str, Any]:
    await store.migrate()
    with tempfile.TemporaryDirectory(prefix="banjie-bench-") as folder:
        path = Path(folder, "history.csv")
        imports.write(path, 100)
        await imports.taken(store, path)
    for _ in range(count // _BATCH):
        await store.run(lambda c: _write(c, _BATCH))
    while await store.run(feed.order):
        pass

    read, *bare = await _timed(lambda: store.read(_bare))
    linked, *link = await _timed(lambda: _linked(store))
    found, *verified = await _timed(lambda: store.read(lambda c: verify(c, Wish())))
    assert found.is_sound
    assert found.events == linked == read
    _, *again = await _timed(lambda: store.read(_bare))
    bare_s, bare_cpu_s = map(min, zip(bare, again, strict=True))
    (link_s, link_cpu_s), (verify_s, verify_cpu_s) = link, verified
    return {
        "events": linked,
        "link_us": round(link_s / read * 1e6, 1),
        "link_to_bare": round(link_s / bare_s, 2),
        "link_cpu_to_bare": round(link_cpu_s / bare_cpu_s, 2),
        "verified_a_second": round(read / verify_s),
        "bare_a_second": round(read / bare_s),
        "verify_to_bare": round(bare_s / verify_s, 2),
        "verify_cpu_to_bare": round(bare_cpu_s / verify_cpu_s, 2),
    }


async def _timed(work: Callable[[], Awaitable[Any]]) -> tuple[Any, float, float]:
    """Return the result of work, the seconds that it took, and those of this process's processor."""
    began, used = time.perf_counter(), time.process_time()
    result = await work()
    return result, time.perf_counter() - began, time.process_time() - used


async def _linked(store: Store) -> int:
    linked = 0
    while done := await store.run(chain.extend):
        linked += done
    return linked


async def _one(url: str, count: int) -> dict[str, Any]:
    store = open_store(url)
    try:
        return await _measure(store, count)
    finally:
        await store.close()


def run(count: int = EVENTS) -> dict[str, Any]:
    """Measure on both databases, and return the figures."""
    with postgres() as url:
        figures = {f"{k}_postgresql": v for k, v in asyncio.run(_one(url, count)).items()}
    with tempfile.TemporaryDirectory(prefix="banjie-bench-") as folder:
        found = asyncio.run(_one(f"sqlite:///{folder}/banjie.db", count))
    return figures | {f"{k}_sqlite": v for k, v in found.items()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)) + "\n")
