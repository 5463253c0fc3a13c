"""What finding tickets of the same matter costs: to the intake, and with a long history.

Run from the repository: `python -m bench.matching`. Intake is measured with nobody looking and with
the ticker looking as it does, in turns of the same run; looking alone is told as a ratio to intake in
the same turn, before and after a history in which every ticket names the same places.
"""

import asyncio
import contextlib
import itertools
import json
import statistics
import sys
import time
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from adapters.sources import load_sources
from bench.enforce import AT, fill, postgres
from routing_rules.clocks import load_timetable
from routing_rules.likeness import load_likeness
from routing_rules.rulebook import load
from service.desk import Desk
from service.domain.complaint import Complaint, Contact, Kind, Urgency
from service.jobs import Jobs
from service.matching import Matching
from service.metrics import Metrics
from service.store import Store, open_store

TICKETS = 200
TURNS = 3
HISTORY = 100_000
TICK_S = 1.0
_AT_ONCE = 8
_PLACES = [
    "平川大道",
    "滨江花园",
    "红军路",
    "文明大道",
    "第五小学",
    "将军广场",
    "金福小区",
    "迎宾大道",
]
_MATTERS = [
    "超市卖排骨短斤少两，两斤只有一斤七两，超市不认账",
    "路灯坏了十来天没人修，晚上接孩子看不清路",
    "楼下烧烤摊天天摆到凌晨，油烟直往家里灌",
    "整栋楼停水两天了，自来水公司没人说什么时候来水",
    "电梯坏了一个星期没人修，物业说没有维修资金",
]
_HISTORY = (
    """
    INSERT INTO traits (ticket_id, person, region, line, spots, towns, pairs, least, at)
    SELECT id, 'p', '360732', 'market_regulation', '["平川大道"]', '[]', 3, '[1,2,3]',
        CAST(:at AS timestamptz) + (id % 86400) * interval '1 second'
    FROM tickets WHERE source = 'bench'
    """,
    """
    INSERT INTO marks (mark, at, ticket_id)
    SELECT 's:360732:' || place, CAST(:at AS timestamptz) + (id % 86400) * interval '1 second', id
    FROM tickets, unnest(ARRAY['平川大道', '滨江花园', '文明大道', '第五小学']) place
    WHERE source = 'bench'
    """,
    "UPDATE bodies SET looked_at = :at",
)
_numbers = itertools.count(1)


def _complaint() -> Complaint:
    number = next(_numbers)
    place = _PLACES[number % len(_PLACES)]
    content = f"{place}的{_MATTERS[number % len(_MATTERS)]}，第{number}次来电"
    return Complaint(
        source="hotline-12345",
        source_no=f"B{number}",
        channel="hotline-12345",
        region="360732",
        kind=Kind.COMPLAINT,
        urgency=Urgency.NORMAL,
        title=content[:8],
        content=content,
        accepted_at=AT,
        place=place,
        contact=Contact("王某", f"138{number % 3000:08}"),
    )


async def _intake(desk: Desk, count: int) -> float:
    """Return how many tickets a second come in, eight senders at once."""
    waiting = [_complaint() for _ in range(count)]
    started = time.perf_counter()

    async def sender() -> None:
        while waiting:
            told = waiting.pop()
            await desk.receive(told, told.source_no, AT)

    await asyncio.gather(*(sender() for _ in range(_AT_ONCE)))
    return count / (time.perf_counter() - started)


async def _looking(desk: Desk, matching: Matching) -> None:
    jobs = Jobs(desk, lambda: AT, TICK_S, Metrics())
    while True:
        await jobs.compare(matching)
        await asyncio.sleep(TICK_S)


async def _look_all(matching: Matching) -> tuple[int, float]:
    started = time.perf_counter()
    done = 0
    while found := await matching.look(AT):
        done += found
    return done, time.perf_counter() - started


async def _with_looking(desk: Desk, matching: Matching, count: int) -> float:
    ticker = asyncio.create_task(_looking(desk, matching))
    await asyncio.sleep(0)
    try:
        return await _intake(desk, count)
    finally:
        ticker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticker


def _history(connection: sa.Connection, count: int) -> None:
    """Write a history in which everybody names one place and one person calls all the time."""
    fill(connection, 1, count, at=AT, per_ticket=1)
    for statement in _HISTORY:
        connection.execute(sa.text(statement), {"at": AT - timedelta(days=2)})


async def _turn(desk: Desk, matching: Matching, tickets: int) -> tuple[float, float, float]:
    """Return tickets a second: received alone, received while others are looked at, looked at."""
    alone = await _intake(desk, tickets)
    beside = await _with_looking(desk, matching, tickets)
    done, seconds = await _look_all(matching)
    return alone, beside, done / seconds


async def _measure(url: str, tickets: int, history: int) -> dict[str, Any]:
    store: Store = open_store(url)
    desk = Desk(store, load(), load_timetable())
    matching = Matching(store, load_likeness(), load_sources())
    await store.migrate()
    await _intake(desk, tickets)
    await _look_all(matching)
    without = [await _turn(desk, matching, tickets) for _ in range(TURNS)]
    await store.run(lambda c: _history(c, history))
    await store.run(lambda c: c.execute(sa.text("ANALYZE")))
    after = [await _turn(desk, matching, tickets) for _ in range(TURNS)]
    await store.close()

    def middle(turns: list[tuple[float, float, float]], of: int, to: int) -> float:
        return round(statistics.median(turn[of] / turn[to] for turn in turns), 3)

    return {
        "intake_per_s": round(statistics.median(turn[0] for turn in without)),
        "while_looking_to_alone": middle([*without, *after], 1, 0),
        "looked_at_to_received": middle(without, 2, 0),
        "looked_at_to_received_with_history": middle(after, 2, 0),
        "history": history,
    }


def run(tickets: int = TICKETS, history: int = HISTORY) -> dict[str, Any]:
    """Measure on PostgreSQL, and return the figures."""
    with postgres() as url:
        return asyncio.run(_measure(url, tickets, history))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(), ensure_ascii=False) + "\n")
