"""What a ticket costs PostgreSQL, and from that what a county, a city, a province and a country need.

Run from the repository: `python -m bench.capacity [TICKETS]`; it prints the sheet that docs/capacity.md keeps.
Room is measured on an invented month of a county (`banjie simulate`), with indexes. Log, transactions and
the time that a connection is busy are measured on tickets that live through the desk, one act after the
other, with the jobs that follow them; the limit beside them is how many single commits a second the same
database does with the same number of connections.
"""

import asyncio
import math
import os
import subprocess
import sys
import time
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from bench.enforce import postgres
from routing_rules.clocks import load_timetable
from routing_rules.likeness import load_likeness
from routing_rules.rulebook import load
from service.custody import Custody
from service.desk import Desk, Order
from service.domain.access import Actor, Role
from service.domain.complaint import Complaint, Contact, Kind, Urgency
from service.domain.lifecycle import State
from service.domain.ticket import Ticket
from service.matching import Matching
from service.store import Store, chain, feed, open_store, search, tallies
from service.store.engine import prepare

TICKETS = 120
_AT_ONCE = 8
_BUSIEST_HOUR = 1 / 6  # of a day's tickets
_BUSY = 0.5  # of its time a connection may work, so that nobody waits long for one
_PLACES = (
    ("县 (county)", 118),
    ("设区市 (prefecture)", 1_300),
    ("省 (province)", 50_000),
    ("全国 (country)", 1_000_000),
)
# What grows with days, units and kinds, and not with tickets.
_BY_DAY = ("tallies", "tally_sums", "counters", "unit_names")
_ADMIN = Actor("测量", Role.ADMIN)
_TEXTS = (
    "小区门口的路灯坏了好几天没人修，晚上出门很不方便，希望尽快处理。",
    "在超市买了两斤排骨，回家一称只有一斤七两，要求退赔差价。",
    "楼下烧烤店每天营业到凌晨两点，油烟和噪音很大，影响休息。",
    "村里的自来水已经停了三天，没有接到任何通知，请问什么时候恢复？",
)


async def _live(desk: Desk, number: int) -> int:
    """Let a ticket live from its receipt to its close; return how many acts that took."""
    at = datetime.now(UTC) - timedelta(days=4)
    text = _TEXTS[number % len(_TEXTS)]
    complaint = Complaint(
        source="hotline-12345",
        source_no=f"C{number}",
        channel="hotline-12345",
        region="360732",
        kind=Kind.COMPLAINT,
        urgency=Urgency.NORMAL,
        title=text[:12],
        content=text,
        accepted_at=at,
        contact=Contact("王某", "13800000001"),
    )
    ticket = (await desk.receive(complaint, f"f{number}", at)).ticket
    acts = 1

    async def act(doing: Awaitable[Ticket]) -> None:
        nonlocal ticket, acts
        ticket = await doing
        acts += 1

    def order() -> Order:
        return Order(ticket.no, _ADMIN, ticket.version, at + timedelta(hours=6 * acts))

    if ticket.state is State.SORTING:
        await act(desk.dispatch(order(), unit="360732-government", reason="人工派单"))
    if ticket.state is not State.DISPATCHED:
        return acts
    await act(desk.sign(order()))
    await act(desk.contact(order(), text="已电话联系诉求人"))
    answer: dict[str, Any] = {
        "public_reply": "已到现场处理完毕，感谢反映。",
        "internal_finding": "属实",
        "solved": True,
    }
    await act(desk.resolve(order(), **answer))
    called: dict[str, Any] = {"reached": True, "solved": True, "grade": 5, "text": "满意"}
    await act(desk.call_back(order(), **called))
    await act(desk.close(order()))
    return acts


def _stood(connection: sa.Connection) -> tuple[int, int, float]:
    """Return how far the log has been written, in bytes, how many transactions committed, and how
    many seconds connections were in one."""
    connection.execute(sa.text("SELECT pg_stat_clear_snapshot()"))
    row = connection.execute(
        sa.text(
            "SELECT pg_current_wal_insert_lsn() - '0/0', xact_commit,"
            " (active_time + idle_in_transaction_time) / 1000 FROM pg_stat_database"
            " WHERE datname = current_database()"
        )
    ).one()
    return int(row[0]), int(row[1]), float(row[2])


async def _commits(store: Store, seconds: float = 3.0) -> float:
    """Return how many transactions of one row a second the database does."""
    await store.run(lambda c: c.execute(sa.text("CREATE TABLE bare (n int)")))
    until, done = time.perf_counter() + seconds, 0

    async def one() -> None:
        nonlocal done
        while time.perf_counter() < until:
            await store.run(lambda c: c.execute(sa.text("INSERT INTO bare VALUES (1)")))
            done += 1

    await asyncio.gather(*(one() for _ in range(_AT_ONCE)))
    return done / seconds


async def _followed(store: Store) -> None:
    """Do what the service's jobs do after tickets that came or went on: sums, the feed, the chain, words,
    seals, and the look for the same matter."""
    matching = Matching(store, load_likeness(None), {})
    await prepare(store)
    custody = Custody(store, lambda: datetime.now(UTC))
    for work in (tallies.fold, feed.order, chain.extend, partial(search.catch_up, limit=500)):
        while await store.run(work):
            pass
    while await custody.turn():
        pass
    while await matching.look(datetime.now(UTC)):
        pass


async def _lives(url: str, count: int) -> dict[str, float]:
    store = open_store(url)
    bare = await _commits(store)
    desk = Desk(store, load(None), load_timetable(None), {})
    await _live(desk, -1)
    await asyncio.sleep(1.5)  # PostgreSQL tells its counts about once a second
    log, commits, busy = await store.read(_stood)
    began, acts, numbers = time.perf_counter(), 0, iter(range(count))

    async def some() -> None:
        nonlocal acts
        for number in numbers:
            done = await _live(desk, number)
            acts += done

    async def jobs() -> None:
        while True:
            await asyncio.sleep(1)
            await _followed(store)

    ticking = asyncio.create_task(jobs())
    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
    took = time.perf_counter() - began
    ticking.cancel()
    await _followed(store)
    await asyncio.sleep(1.5)
    log_after, commits_after, busy_after = await store.read(_stood)
    await store.close()
    return {
        "acts": acts / count,
        "log_bytes": (log_after - log) / count,
        "transactions": (commits_after - commits) / count,
        "busy_s": (busy_after - busy) / count,
        "tickets_a_second": count / took,
        "bare_commits_a_second": bare,
        "to_bare": acts / took / bare,
    }


async def _room(url: str) -> dict[str, float]:
    """Return the bytes of each table with its indexes: of a ticket, and of a day for those by day."""
    store = open_store(url)

    def sizes(connection: sa.Connection) -> dict[str, float]:
        tickets = connection.execute(sa.text("SELECT count(*) FROM tickets")).scalar_one()
        rows = connection.execute(
            sa.text(
                "SELECT CASE WHEN relname LIKE 'events%' THEN 'events' ELSE relname END AS name,"
                " sum(pg_total_relation_size(relid)) AS bytes FROM pg_stat_user_tables"
                " WHERE n_live_tup >= 1000 GROUP BY 1"
            )
        )
        return {
            row.name: float(row.bytes) / (30 if row.name in _BY_DAY else tickets) for row in rows
        }

    await _followed(store)
    # What was simulated is sealed afterwards, and leaves dead rows that a service does not.
    driver = sa.make_url(url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(driver, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(sa.text("VACUUM (FULL, ANALYZE)"))
    await engine.dispose()
    await asyncio.sleep(1.5)
    found = await store.read(sizes)
    await store.close()
    return found


def _sheet(room: dict[str, float], cost: dict[str, float]) -> str:
    """Return the sheet in Markdown."""
    per_ticket = sum(size for name, size in room.items() if name not in _BY_DAY)
    by_day = sum(size for name, size in room.items() if name in _BY_DAY)
    parts = "、".join(
        f"`{name}` {size:,.0f}"
        for name, size in sorted(room.items(), key=lambda each: -each[1])
        if name not in _BY_DAY
    )
    lines = [
        f"- A ticket: {per_ticket:,.0f} bytes with indexes ({parts}).",
        f"- A day of a county in the tallies: {by_day / 1024:,.0f} kB.",
        (
            f"- A ticket that lives through {cost['acts']:.1f} acts: {cost['log_bytes'] / 1024:,.0f} kB of"
            f" log (WAL), {cost['transactions']:.0f} transactions, {cost['busy_s'] * 1000:,.0f} ms of a"
            " connection."
        ),
        (
            f"- {cost['tickets_a_second']:.1f} whole lives a second with {_AT_ONCE} at once;"
            f" {cost['bare_commits_a_second']:,.0f} bare commits a second, of which the acts are"
            f" {cost['to_bare']:.2f}."
        ),
        "",
        (
            "| | tickets a day | in the busiest hour, a second | transactions a second then | connections"
            " then | writes a second then | log, GB a day | tables, GB a year |"
        ),
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, a_day in _PLACES:
        peak = a_day * _BUSIEST_HOUR / 3600
        commits = peak * cost["transactions"]
        pages = peak * cost["log_bytes"] * 2 / 8192
        counties = max(1, a_day / _PLACES[0][1])
        year = 365 * (a_day * per_ticket + counties * by_day) / 1e9
        lines.append(
            f"| {name} | {a_day:,} | {peak:,.2f} | {commits:,.1f} |"
            f" {math.ceil(peak * cost['busy_s'] / _BUSY) + 4} | {commits + pages:,.0f} |"
            f" {a_day * cost['log_bytes'] / 1e9:,.2f} | {year:,.1f} |"
        )
    return "\n".join(lines) + "\n"


def measure(count: int = TICKETS) -> tuple[dict[str, float], dict[str, float]]:
    """Return the bytes by table, and what a ticket's life costs."""
    with postgres() as url:
        command = [sys.executable, "-c", "from service.cli import main; main()", "simulate"]
        subprocess.run(  # noqa: S603 our own program
            [*command, "--days", "30", "--start", "2026-09-01", "--database", url, "--json"],
            env={**os.environ, "BANJIE_DATABASE_URL": url},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        room = asyncio.run(_room(url))
        return room, asyncio.run(_lives(url, count))


def run(count: int = TICKETS) -> dict[str, Any]:
    """Measure, and return the figures."""
    room, cost = measure(count)
    whole = sum(size for name, size in room.items() if name not in _BY_DAY)
    return {"bytes_a_ticket": round(whole), **{name: round(n, 3) for name, n in cost.items()}}


if __name__ == "__main__":
    sys.stdout.write(_sheet(*measure(int(sys.argv[1]) if len(sys.argv) > 1 else TICKETS)))
