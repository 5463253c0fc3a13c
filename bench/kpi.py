"""What a scrape and a year's rates cost on PostgreSQL, few tickets and many: they must not grow.

Run from the repository: `python -m bench.kpi [TICKETS]`. Both sizes have the same units, channels,
kinds and days, and as many open tickets, so that only the number of tickets differs: the figures are
ratios of the large to the small. `bare` is the limit of a scrape: reading as many rows, made up on the
spot. `by_tickets` is what one of its totals cost when tickets were counted. Before each scrape some
documents of sums are changed, as acts would between two scrapes; all of them before `scrape_anew`.
Tickets and sums are generated in SQL, no act is replayed; every cell that units, months, channels and
kinds can have is there at both sizes. A closed ticket has one clock.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import orjson
import sqlalchemy as sa

from bench.enforce import fill, postgres
from bench.filling import fill_all, quickly
from routing_rules.rulebook import load
from service.domain.access import SYSTEM
from service.domain.kpi import MEASURES, Grain, Weights, block
from service.domain.ticket import MilestoneKind, Outcome
from service.metrics import Metrics
from service.reports import Asked, Reports
from service.store import Store, open_store
from service.store.figures import figures
from service.store.tallies import CLOSED, EVER

SMALL, LARGE = 10_000, 1_000_000
UNITS, REGIONS, DAYS, OPEN = 300, 20, 365, 5_000
TIMES = 15
AT = datetime(2026, 12, 1, 2, 0, tzinfo=UTC)
_FIRST = date(2025, 12, 1)

_SUMS = """
    INSERT INTO tally_sums (view, since, region, unit, channel, kind, counts)
    SELECT :view, since, r.code, 'u' || u, '', '', CAST(:counts AS json)
    FROM unnest(CAST(:blocks AS text[])) since
    CROSS JOIN generate_series(1, CAST(:units AS int)) u
    CROSS JOIN LATERAL (SELECT '3607' || lpad((u % CAST(:regions AS int))::text, 2, '0')) r(code)
"""
_EVER = """
    INSERT INTO tally_sums (view, since, region, unit, channel, kind, counts)
    SELECT :view, '', '3607' || lpad((u % CAST(:regions AS int))::text, 2, '0'),
        CASE WHEN :by_unit THEN 'u' || u ELSE '' END,
        CASE WHEN :by_channel THEN 'channel-' || c ELSE '' END,
        CASE WHEN :by_kind THEN 'kind-' || k ELSE '' END, CAST(:counts AS json)
    FROM generate_series(1, CAST(:rows AS int)) u
    CROSS JOIN generate_series(1, CASE WHEN :by_channel THEN 3 ELSE 1 END) c
    CROSS JOIN generate_series(1, CASE WHEN :by_kind THEN 6 ELSE 1 END) k
"""
_CLASSES = [f"{CLOSED} channel-{c} kind-{k}" for c in range(1, 4) for k in range(1, 7)]


def _tally(connection: sa.Connection) -> None:
    """Write the sums of a year, as folding would have left them."""
    sizes = {"regions": REGIONS}
    days = [(_FIRST + timedelta(n)).isoformat() for n in range(DAYS)]
    themes: dict[str, dict[str, int]] = {}
    for measure in sorted(MEASURES):
        themes.setdefault(measure.partition("_")[0], {})[measure] = 7
    for grain in Grain:
        blocks = sorted({block(grain, day) for day in days})
        for theme, counts in themes.items():
            given = {"view": f"{grain}-unit-{theme}", "counts": orjson.dumps(counts).decode()}
            given |= {"blocks": blocks, "units": UNITS}
            connection.execute(sa.text(_SUMS), given | sizes)
    for view, (kept, measures) in EVER.items():
        by_unit = "unit" in kept
        told = [m for m in sorted(measures) if m != CLOSED] + (_CLASSES if by_unit else [])
        given = {
            "view": view,
            "counts": orjson.dumps(dict.fromkeys(told, 7)).decode(),
            "rows": UNITS if by_unit else REGIONS,
            "by_unit": by_unit,
            "by_channel": "channel" in kept,
            "by_kind": "kind" in kept,
        }
        connection.execute(sa.text(_EVER), given | sizes)


_CHANGED = """
    UPDATE tally_sums SET counts = (counts::jsonb || jsonb_build_object(CAST(:measure AS text), CAST(:n AS int)))::json
    WHERE (view, region, unit, channel, kind) IN (
        SELECT view, region, unit, channel, kind FROM tally_sums WHERE view = ANY(CAST(:views AS text[])) LIMIT CAST(:many AS int))
"""
_BUSY = 50  # documents that change in ten seconds of a busy day


async def _nothing() -> None:
    pass


async def _median_ms(
    work: Callable[[], Awaitable[Any]], before: Callable[[], Awaitable[Any]] = _nothing
) -> float:
    took = []
    await work()
    for _ in range(TIMES):
        await before()
        started = time.perf_counter()
        await work()
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took)


async def _measured(store: Store, reports: Reports) -> dict[str, float]:
    metrics = Metrics()
    year = Asked(_FIRST, _FIRST + timedelta(DAYS - 1))

    async def counted() -> None:
        await store.read(lambda c: figures(c, AT))

    async def scrape() -> None:
        metrics.render(await store.read(lambda c: figures(c, AT)), AT, 40)

    async def one_rate() -> None:
        await reports.kpis(Asked(year.since, year.until, rate="on_time"), SYSTEM, AT)

    async def widest_rate() -> None:
        """Ask for the rate that is made of most measures."""
        await reports.kpis(Asked(year.since, year.until, rate="satisfied"), SYSTEM, AT)

    async def odd_year() -> None:
        """Ask for a year that begins and ends within a month and is made of most blocks."""
        some = timedelta(40)
        await reports.kpis(Asked(year.since + some, AT.date() + some, rate="on_time"), SYSTEM, AT)

    async def every_rate() -> None:
        await reports.kpis(year, SYSTEM, AT)

    async def by_tickets() -> None:
        text = sa.text(
            "SELECT region, channel, received_kind, decision, count(*) FROM tickets GROUP BY 1, 2, 3, 4"
        )
        await store.read(lambda c: c.execute(text).all())

    async def bare() -> None:
        text = sa.text(
            "SELECT 'view', '', 'region', 'unit-' || n, '', '', repeat('x', 2000) "
            "FROM generate_series(1, (SELECT count(*) FROM tally_sums WHERE view LIKE 'ever%')) n"
        )
        await store.read(lambda c: c.execute(text).all())

    numbers = count(1_000_000)

    async def change(views: list[str], measure: str, many: int) -> None:
        given = {"views": views, "measure": measure, "many": many, "n": next(numbers)}
        await store.run(lambda c: c.execute(sa.text(_CHANGED), given))

    async def some() -> None:
        await change(["ever-unit"], "dispatched", _BUSY)

    async def all_() -> None:
        await change(list(EVER), f"{MilestoneKind.RESOLVE}_{Outcome.ON_TIME}", 10_000)

    works = (one_rate, widest_rate, odd_year, every_rate, by_tickets)
    return {
        "bare": await _median_ms(bare),
        "counted": await _median_ms(counted, some),
        "scrape": await _median_ms(scrape, some),
        "scrape_anew": await _median_ms(scrape, all_),
        **{work.__name__: await _median_ms(work) for work in works},
    }


async def _measure(url: str, small: int, large: int) -> dict[str, Any]:
    store = open_store(url)
    book = load()
    reports = Reports(store, lambda: book, book.gazetteer, Weights(), 30)
    await store.migrate()

    found: dict[str, Any] = {"units": UNITS, "tickets_small": small, "tickets_large": large}
    async with quickly(url, "tickets", "milestones"):
        await store.run(_tally)
        await store.run(lambda c: fill(c, 1, OPEN, closed=False, at=AT, per_ticket=2))
    written = OPEN
    for name, tickets in (("small", small), ("large", large)):
        began = time.perf_counter()
        async with quickly(url, "tickets", "milestones"):
            await fill_all(store, written + 1, tickets, at=AT, per_ticket=1, steps=False)
        found[f"fill_{name}_s"] = round(time.perf_counter() - began)
        written = tickets
        for figure, value in (await _measured(store, reports)).items():
            found[f"{figure}_{name}_ms"] = round(value, 2)
    size = sa.text("SELECT pg_database_size(current_database())")
    found["database_gb"] = round(await store.read(lambda c: c.execute(size).scalar_one()) / 1e9, 1)
    await store.close()
    found["counted_to_bare"] = round(found["counted_large_ms"] / found["bare_large_ms"], 2)
    for figure in (
        "counted",
        "scrape",
        "scrape_anew",
        "one_rate",
        "widest_rate",
        "odd_year",
        "every_rate",
    ):
        found[f"{figure}_large_to_small"] = round(
            found[f"{figure}_large_ms"] / found[f"{figure}_small_ms"], 2
        )
    return found


def run(large: int = LARGE) -> dict[str, Any]:
    """Measure, and return the figures."""
    with postgres() as url:
        return asyncio.run(_measure(url, SMALL, large))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else LARGE)) + "\n")
