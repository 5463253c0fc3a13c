"""What the feed costs on PostgreSQL: the sequencer, the writer, an idle look, and a page.

Run from the repository: `python -m bench.feed [EVENTS]`. Each figure is a ratio to a bare limit of the
same run: the sequencer to `INSERT … SELECT` of as many rows of two numbers, the writer to the same
inserts into a table without the column and its index, a page to a plain SELECT of as many events. The
look is measured with few and with many events behind it, and while a transaction is held open.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from bench.enforce import fill, postgres
from service.store import Store, open_store
from service.store.feed import Place, order, stretch, waiting

EVENTS = 200_000
TURNS = 5
_WRITES = 500
_PART = 5_000
_AT = datetime(2026, 11, 18, 2, 0, tzinfo=UTC)
_COLUMNS = "ticket_id, ticket_no, region, act, at, actor, role, unit, version, content"
# Each transaction of many writes a few, as a burst of acts would.
_MANY = f"""
    INSERT INTO events ({_COLUMNS})
    SELECT 1 + n % 100, '360732-20261101-000000001', '360732', 'note', now(), 'banjie', 'admin', '', n,
        '{{"text": "已查看现场，正在联系诉求人"}}'
    FROM generate_series(1, CAST(:count AS int)) n
"""  # noqa: S608 nothing of a caller's


async def _seconds(work: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def _median(work: Callable[[], Awaitable[Any]], times: int = TURNS) -> float:
    return statistics.median([await _seconds(work) for _ in range(times)])


async def _run(store: Store, *texts: str, **values: Any) -> None:
    def work(connection: sa.Connection) -> None:
        for text in texts:
            connection.execute(sa.text(text), values)

    await store.run(work)


async def _ordered(store: Store) -> None:
    while await store.run(order):
        pass


async def _writer(store: Store) -> float:
    """Return what a transaction with two events costs, to one into the same table without the column
    and its index; in turn, so that both meet the same machine."""
    await _run(
        store,
        "CREATE TABLE events_without (LIKE events INCLUDING ALL)",
        "ALTER TABLE events_without DROP COLUMN tx",
        "ALTER TABLE events_without ADD FOREIGN KEY (ticket_id) REFERENCES tickets (id)",
    )
    took: dict[str, list[float]] = {"events": [], "events_without": []}
    for _ in range(_WRITES):
        for table, seconds in took.items():
            text = _MANY.replace("INTO events", f"INTO {table}")
            seconds.append(await _seconds(lambda t=text: _run(store, t, count=2)))  # type: ignore[misc]
    return statistics.median(took["events"]) / statistics.median(took["events_without"])


async def _sequencer(store: Store, count: int) -> tuple[float, float]:
    """Return the seconds of ordering so many events, and of the bare inserts."""
    bare, took = [], []
    for _ in range(TURNS):
        await _run(store, _MANY, count=count)
        took.append(await _seconds(lambda: _ordered(store)))
        await _run(store, "TRUNCATE bare")
        place = "INSERT INTO bare SELECT n, n FROM generate_series(1, CAST(:count AS bigint)) n"
        bare.append(await _seconds(lambda p=place: _run(store, p, count=count)))  # type: ignore[misc]
    return statistics.median(took), statistics.median(bare)


async def _part(store: Store, waiting: int) -> float:
    """Return what a part of a backlog takes of which so many events wait, but for the first, which
    reads all of it."""
    for _ in range(10):
        await _run(store, _MANY, count=waiting // 10)
    await store.run(lambda c: order(c, _PART))
    took = []
    while waiting > 2 * _PART:
        took.append(await _seconds(lambda: store.run(lambda c: order(c, _PART))))
        waiting -= _PART
    await _ordered(store)
    return statistics.median(took)


async def _measure(url: str, count: int) -> dict[str, Any]:
    store = open_store(url)
    await store.migrate()
    await store.run(lambda c: fill(c, 1, 100, closed=True, at=_AT, per_ticket=1))
    await _run(store, "CREATE TABLE bare (position bigint PRIMARY KEY, event_id bigint UNIQUE)")
    found: dict[str, Any] = {"events": count}

    async def look() -> None:
        assert not await store.read(waiting)

    async def nothing() -> None:
        await store.read(lambda c: c.execute(sa.text("SELECT 1")).scalar())

    await _run(store, _MANY, count=1_000)
    await _ordered(store)
    small = await _median(look, 50)

    took, bare = await _sequencer(store, count)
    found["ordered_a_second"] = round(count / took)
    found["order_to_bare_insert"] = round(took / bare, 2)

    few = await _part(store, 4 * _PART)
    found["part_of_a_backlog_many_to_few"] = round(await _part(store, count) / few, 2)

    await _run(store, "ANALYZE")
    large = await _median(look, 50)
    found["look_to_select_1"] = round(large / await _median(nothing, 50), 2)
    found["look_many_to_few"] = round(large / small, 2)

    # A transaction that is held open while others go on holds up nothing but itself.
    held = open_store(url)
    holding, done = asyncio.Event(), asyncio.Event()
    engine = held._engine  # type: ignore[attr-defined]

    async def hold() -> None:
        async with engine.begin() as connection:
            await connection.execute(sa.text("SELECT pg_current_xact_id()"))
            holding.set()
            await done.wait()

    holder = asyncio.create_task(hold())
    await holding.wait()
    for _ in range(4):
        await _run(store, _MANY, count=count // 4)
        await _ordered(store)
    found["look_while_one_is_held_open_to_few"] = round(await _median(look, 50) / small, 2)
    done.set()
    await holder
    await held.close()

    last = await store.read(lambda c: stretch(c, Place(), 1))
    place = last.end

    async def page() -> None:
        assert len((await store.read(lambda c: stretch(c, place, 1000))).rows) == 1000

    async def plain() -> None:
        text = sa.text("SELECT * FROM events WHERE id > 500 ORDER BY id LIMIT 1000")
        await store.read(lambda c: c.execute(text).all())

    found["page_of_1000_ms"] = round(await _median(page, 20) * 1000, 1)
    found["page_to_plain_select"] = round(await _median(page, 20) / await _median(plain, 20), 2)

    found["writer_to_one_without"] = round(await _writer(store), 2)
    await store.close()
    return found


def run(count: int = EVENTS) -> dict[str, Any]:
    """Measure, and return the figures."""
    with postgres() as url:
        return asyncio.run(_measure(url, count))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)) + "\n")
