"""What events by month cost on PostgreSQL, and what tickets by month would: figures of ADR 0026.

Run from the repository: `python -m bench.months [MONTHS]`. Each figure is a ratio to the same on a plain
table of the same run: a batch of events written, a ticket's history read with and without the bound, and
the two hot questions of tickets (a repeat by its source number, a page of a region's list) if tickets were
partitioned and their unique keys kept by a table of keys.
"""

# ruff: noqa: S608 statements of ours, from numbers of ours

import asyncio
import json
import statistics
import sys
import time
from typing import Any

import sqlalchemy as sa

from bench.enforce import postgres
from service.store import Store, months, open_store
from service.store.feed import waiting

MONTHS = 60
_TICKETS, _EVENTS = 2_000, 9  # a month, and a ticket
_IDS = 10**10
_COLUMNS = "ticket_id, ticket_no, region, act, at, actor, role, unit, version, content"


async def _run(store: Store, *texts: str) -> None:
    def work(connection: sa.Connection) -> None:
        for text in texts:
            connection.execute(sa.text(text))

    await store.run(work)


async def _ms(store: Store, texts: list[str], *, write: bool = False) -> float:
    """Return the median time of statements in ms, each a transaction, after one to warm up."""
    took = []
    for text in [texts[0], *texts]:

        def work(connection: sa.Connection, text: str = text) -> None:
            found = connection.execute(sa.text(text))
            if found.returns_rows:
                found.all()

        began = time.perf_counter()
        await (store.run if write else store.read)(work)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took[1:])


def _new(table: str, ticket: int) -> str:
    return (
        f"INSERT INTO {table} ({_COLUMNS}) SELECT {ticket}, 'n', '360732', 'note', now(), 'banjie',"
        " 'admin', '', n, '{\"text\": \"已查看现场\"}' FROM generate_series(1, 200) n"
    )


async def _fill(store: Store, count: int) -> list[int]:
    """Write so many months of tickets and events, and as many events into a plain table."""
    first = await store.read(
        lambda c: c.execute(sa.text("SELECT max(month) FROM event_months")).scalar_one()
    )
    month, begun = first, []
    await _run(
        store,
        "CREATE TABLE plain (LIKE events INCLUDING DEFAULTS INCLUDING INDEXES)",
        "CREATE SEQUENCE plain_ids",
        "ALTER TABLE plain ALTER COLUMN id SET DEFAULT nextval('plain_ids')",
        "ALTER TABLE plain ADD FOREIGN KEY (ticket_id) REFERENCES tickets (id)",
        "CREATE TABLE by_month (month int, LIKE tickets, PRIMARY KEY (month, id))"
        " PARTITION BY RANGE (month)",
        "CREATE INDEX ON by_month (region, state, id)",
        "CREATE TABLE ticket_keys (source text, source_no text, month int, ticket_id bigint,"
        " PRIMARY KEY (source, source_no))",
    )
    for n in range(count):
        if n:
            month = months.following(month)
        since, until = month * _IDS, months.following(month) * _IDS
        tickets = f"generate_series({n * _TICKETS + 1}, {(n + 1) * _TICKETS}) t"
        await _run(
            store,
            f"CREATE TABLE IF NOT EXISTS events_{month} PARTITION OF events"
            f" FOR VALUES FROM ({since}) TO ({until})",
            f"CREATE TABLE by_{month} PARTITION OF by_month"
            f" FOR VALUES FROM ({month}) TO ({months.following(month)})",
            f"SELECT setval(pg_get_serial_sequence('events', 'id'), {since})",
            f"INSERT INTO event_months VALUES ({month}, {since}, {n * _TICKETS}, now(), NULL, NULL, '')"
            " ON CONFLICT DO NOTHING",
            "INSERT INTO tickets (id, no, source, source_no, channel, region, kind, received_kind,"
            " urgency, state, version, decision, title, content, complaint, route, lead_unit,"
            " lead_name, assist, redo, limits, extensions, pauses, supervision, sent_back, ruled,"
            " merged_into, received_at, stored_at)"
            " SELECT t, 'N' || t, 'hotline-12345', 'S' || t, 'hotline-12345',"
            " (360700 + t % 20)::text, 'complaint', 'complaint', 'normal', 'closed', 1, 'auto', '标题',"
            " repeat('内容', 30), '{}', '{}', 'u', 'u', '[]', 0, '', '[]', '[]', '[]', 0, '', '',"
            f" now(), now() FROM {tickets}",
            f"INSERT INTO by_month SELECT {month}, x.* FROM tickets x WHERE id > {n * _TICKETS}",
            "INSERT INTO ticket_keys SELECT source, source_no, month, id FROM by_month"
            f" WHERE month = {month}",
            *(
                f"INSERT INTO {table} ({_COLUMNS}) SELECT t, 'N' || t, '360732', 'note', now(),"
                " 'banjie', 'admin', '', n, '{\"text\": \"已查看现场\"}'"
                f" FROM generate_series(1, {_EVENTS}) n, {tickets}"
                for table in ("events", "plain")
            ),
        )
        begun.append(month)
    await _run(store, "ANALYZE")
    return begun


async def _measure(url: str, count: int) -> dict[str, Any]:
    store = open_store(url)
    await store.migrate()
    await _fill(store, count)
    last = count * _TICKETS
    young = [last - n * 7 for n in range(200)]
    bound = "id >= (SELECT max(first_event) FROM event_months WHERE ticket_id < {0})"
    history = "SELECT * FROM {1} WHERE ticket_id = {0}{2} ORDER BY id"

    async def read(table: str, more: str = "") -> float:
        texts = [history.format(t, table, more.format(t)) for t in young]
        return await _ms(store, texts)

    plain = await read("plain")
    found: dict[str, Any] = {
        "months": count,
        "history_to_plain": round(await read("events", f" AND {bound}") / plain, 2),
        "history_without_the_bound_to_plain": round(await read("events") / plain, 2),
    }
    pairs = [
        (
            await _ms(store, [_new("events", t)], write=True),
            await _ms(store, [_new("plain", t)], write=True),
        )
        for t in young[:60]
    ]
    found["write_200_to_plain"] = round(statistics.median(a / b for a, b in pairs), 2)

    repeat = "SELECT id FROM {0} WHERE source = 'hotline-12345' AND source_no = 'S{1}'"
    by_keys = (
        "SELECT b.id FROM ticket_keys k JOIN by_month b ON b.month = k.month AND b.id = k.ticket_id"
        " WHERE k.source = 'hotline-12345' AND k.source_no = 'S{0}'"
    )
    page = (
        "SELECT id FROM {0} WHERE region LIKE '3607%' AND region = '360705' AND state = 'closed'"
        " ORDER BY id DESC LIMIT 50"
    )
    found["tickets_by_month_repeat_to_plain"] = round(
        await _ms(store, [by_keys.format(t) for t in young])
        / await _ms(store, [repeat.format("tickets", t) for t in young]),
        2,
    )
    found["tickets_by_month_page_to_plain"] = round(
        await _ms(store, [page.format("by_month")] * 60)
        / await _ms(store, [page.format("tickets")] * 60),
        2,
    )

    took = []
    for _ in range(60):
        began = time.perf_counter()
        await store.read(waiting)
        took.append((time.perf_counter() - began) * 1000)
    found["feed_look_to_select_1"] = round(
        statistics.median(took) / await _ms(store, ["SELECT 1"] * 60), 2
    )
    await store.close()
    return found


def run(count: int = MONTHS) -> dict[str, Any]:
    """Measure, and return the figures."""
    with postgres() as url:
        return asyncio.run(_measure(url, count))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else MONTHS)) + "\n")
