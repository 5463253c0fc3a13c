"""What the two questions of a bulletin cost that go through a whole table, on PostgreSQL.

Run from the repository: `python -m bench.bulletin [TICKETS]`. Tickets, clocks and what they are compared
by are generated in SQL, no act is replayed: thirteen months of them, one in a hundred late at the
month's end. `bare` is the limit: counting the rows of the same table that lie in the same time.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from bench.enforce import fill, postgres
from service.store import bulletin as read
from service.store import open_store

TICKETS = 1_000_000
TIMES = 3
SINCE, FIRST, UNTIL = (
    datetime(2025, 9, 30, 16, tzinfo=UTC),
    datetime(2026, 9, 30, 16, tzinfo=UTC),
    datetime(2026, 10, 31, 16, tzinfo=UTC),
)
# Thirteen months of due times; one clock in a hundred of October was met after the month's end.
_SPREAD = (
    """
    UPDATE milestones SET
        due_at = CAST(:since AS timestamptz) + ticket_id * CAST(:step AS float) * interval '1 second',
        met_at = CAST(:since AS timestamptz) + ticket_id * CAST(:step AS float) * interval '1 second'
            + CASE WHEN ticket_id % 100 = 0 THEN interval '20 days' ELSE interval '-1 hour' END,
        stage = CASE WHEN ticket_id % 100 = 0 THEN 'overdue' ELSE 'normal' END
    """,
    """
    INSERT INTO traits (ticket_id, person, region, line, spots, towns, pairs, least, at)
    SELECT id, 'p', '3607' || lpad((id % 20)::text, 2, '0'), 'line-' || id % 60,
        jsonb_build_array('地点' || id % 5000), jsonb_build_array('乡' || id % 300), 3, '[1,2,3]',
        CAST(:since AS timestamptz) + id * CAST(:step AS float) * interval '1 second'
    FROM tickets
    """,
    """
    INSERT INTO marks (mark, at, ticket_id)
    SELECT 's:' || region || ':' || (spots->>0), at, ticket_id FROM traits
    """,
)


async def _measure(url: str, tickets: int) -> dict[str, Any]:
    store = open_store(url)
    await store.migrate()
    await store.run(lambda c: fill(c, 1, tickets, closed=True, at=UNTIL, per_ticket=2))
    given = {"since": SINCE, "step": (UNTIL - SINCE).total_seconds() / tickets}
    for statement in _SPREAD:
        # Only what the text names: a driver refuses a value that nothing asks for.
        named = {name: value for name, value in given.items() if f":{name}" in statement}
        await store.run(lambda c, s=statement, n=named: c.execute(sa.text(s), n))  # type: ignore[misc]
    await store.run(lambda c: c.execute(sa.text("ANALYZE")))

    async def median_ms(work: Callable[[sa.Connection], Any]) -> float:
        took = []
        for _ in range(TIMES):
            started = time.perf_counter()
            await store.read(work)
            took.append((time.perf_counter() - started) * 1000)
        return round(statistics.median(took), 1)

    def count(table: str, column: str) -> Callable[[sa.Connection], Any]:
        text = sa.text(f"SELECT count(*) FROM {table} WHERE {column} < :until")  # noqa: S608 ours
        return lambda c: c.execute(text, {"until": UNTIL}).scalar()

    suspects = len(await store.read(lambda c: read.late(c, "", FIRST, UNTIL)))
    found = {
        "tickets": tickets,
        "late_tickets": suspects,
        "late_ms": await median_ms(lambda c: read.late(c, "", FIRST, UNTIL)),
        "clocks_bare_ms": await median_ms(count("milestones", "due_at")),
        "matters_ms": await median_ms(lambda c: read.matters(c, "", SINCE, (FIRST, UNTIL), 5)),
        "traits_bare_ms": await median_ms(count("traits", "at")),
        "county_late_ms": await median_ms(lambda c: read.late(c, "360701", FIRST, UNTIL)),
        "county_matters_ms": await median_ms(
            lambda c: read.matters(c, "360701", SINCE, (FIRST, UNTIL), 5)
        ),
    }
    await store.close()
    found["late_to_bare"] = round(found["late_ms"] / found["clocks_bare_ms"], 1)
    found["matters_to_bare"] = round(found["matters_ms"] / found["traits_bare_ms"], 1)
    return found


def run(tickets: int = TICKETS) -> dict[str, Any]:
    """Measure, and return the figures."""
    with postgres() as url:
        return asyncio.run(_measure(url, tickets))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else TICKETS)) + "\n")
