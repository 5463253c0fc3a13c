"""How fast years of history are taken over, beside bare inserts of as many rows in the same run.

Run from the repository: `python -m bench.imports [ROWS]`. The bare limit writes the very rows that
the import wrote (tickets, bodies, clocks, events) by the same set-based statements, in as many
batches, into the same database, emptied; `alone` writes the rows of `tickets` and nothing else, as
`bench.batches` does. `again` is the same file once more: what an
interrupted import pays for the rows that are there.
"""

import asyncio
import csv
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from adapters.history import HistoryFile
from adapters.hotline_12345 import Hotline12345
from adapters.sources import load_sources
from bench.batches import alone_per_s
from bench.enforce import postgres
from routing_rules.clocks import load_timetable
from routing_rules.rulebook import load
from service.desk import Desk
from service.imports import BATCH, Report, Summary, take_over
from service.store import Store, open_store
from service.store.bulk import insert_rows
from service.store.tables import metadata

ROWS = 20_000
AT = datetime(2026, 11, 18, 2, 0, tzinfo=UTC)
_TABLES = ("tickets", "bodies", "milestones", "events")
_UNITS = (
    "县住建局",
    "县公安局",
    "县市场监督管理局",
    "县城管局",
    "县人社局",
    "高兴镇人民政府",
    "县环保局",
)
_SAID = "街上的路灯坏了半个月，晚上小孩放学看不见路，村里说报了没人修，来电人要求尽快处理并回复。"


def write(path: Path, rows: int) -> None:
    """Write a file of closed tickets of three years, and a fiftieth of them open."""
    names = (
        "工单编号 来电时间 诉求标题 诉求内容 诉求类型 所属区域 来电号码 派单时间 承办单位 办结期限 办结时间 答复内容 "
        "回访时间 是否满意 结案时间 工单状态"
    )
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(names.split())
        for n in range(rows):
            is_open = n >= rows * 49 // 50
            days = timedelta(days=1000 * n / rows)
            at = datetime(2026, 11, 17, 9) if is_open else datetime(2023, 1, 4, 9) + days  # noqa: DTZ001
            moments = [at + timedelta(days=d) for d in (n % 9 + 1, n % 9 + 2, n % 9 + 3)]
            done, asked, closed = ("" if is_open else f"{m:%Y-%m-%d %H:%M:%S}" for m in moments)
            sheet.writerow(
                [
                    f"XG{n:09}",
                    f"{at:%Y-%m-%d %H:%M:%S}",
                    "路灯不亮",
                    _SAID,
                    "求助",
                    "兴国县",
                    f"138{n:08}",
                    f"{at + timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
                    _UNITS[n % len(_UNITS)],
                    f"{at + timedelta(days=7):%Y-%m-%d %H:%M:%S}",
                    done,
                    "" if is_open else "经核查，已更换灯具并告知来电人。",
                    asked,
                    "" if is_open else "满意",
                    closed,
                    "办理中" if is_open else "已结案",
                ]
            )


async def taken(store: Store, path: Path) -> tuple[float, Summary]:
    """Return the seconds that taking the file over needs, and what became of it."""
    book = load()
    desk = Desk(store, book, load_timetable())
    source = load_sources()["hotline-12345"]
    started = time.perf_counter()
    file = HistoryFile(path, source, Hotline12345(book.gazetteer), {})
    with Report(path.with_suffix(".report.csv")) as report:
        summary = await take_over(
            file,
            source.name,
            desk,
            lambda: AT,
            report,
            apply=True,
            passed=lambda _: None,
        )
    return time.perf_counter() - started, summary


async def _bare(store: Store, written: Sequence[Sequence[dict[str, Any]]]) -> float:
    """Return the seconds that it takes to insert rows, in batches of tickets with what is theirs."""
    tables = [metadata.tables[name] for name in _TABLES]
    batch_of = {ticket["id"]: n // BATCH for n, ticket in enumerate(written[0])}
    batches: list[list[list[dict[str, Any]]]] = [
        [[] for _ in _TABLES] for _ in range(max(batch_of.values()) + 1)
    ]
    for position, rows in enumerate(written):
        for row in rows:
            ticket = row.get("ticket_id", row.get("id"))
            batches[batch_of[ticket]][position].append(row)

    def work(connection: sa.Connection, batch: list[list[dict[str, Any]]]) -> None:
        for table, rows in zip(tables, batch, strict=True):
            insert_rows(connection, table, rows)

    started = time.perf_counter()
    for batch in batches:
        await store.run(partial(work, batch=batch))
    return time.perf_counter() - started


def _emptied(connection: sa.Connection) -> list[list[dict[str, Any]]]:
    """Return the rows of each table, and remove them."""
    tables = [metadata.tables[name] for name in _TABLES]
    found = [
        [dict(row) for row in connection.execute(sa.select(table)).mappings()] for table in tables
    ]
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())
    return found


async def _measure(url: str, path: Path, rows: int) -> dict[str, Any]:
    store = open_store(url)
    try:
        await store.migrate()
        taken_s, summary = await taken(store, path)
        assert (summary.taken, summary.refused) == (rows, 0)
        again_s, summary = await taken(store, path)
        assert (summary.known, summary.taken) == (rows, 0)
        alone = await asyncio.to_thread(alone_per_s, url)
        bare_s = await _bare(store, await store.run(_emptied))
    finally:
        await store.close()
    return {
        "rows": rows,
        "rows_per_s": round(rows / taken_s),
        "bare_per_s": round(rows / bare_s),
        "ratio": round(bare_s / taken_s, 3),
        "alone_per_s": round(alone),
        "to_alone": round(rows / taken_s / alone, 3),
        "again_per_s": round(rows / again_s),
    }


def run(rows: int = ROWS) -> dict[str, Any]:
    """Measure both databases, and return the figures, their names ending in the database's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "history.csv"
        write(path, rows)
        found = {"sqlite": asyncio.run(_measure(f"sqlite:///{folder}/bench.db", path, rows))}
        with postgres() as url:
            found["postgresql"] = asyncio.run(_measure(url, path, rows))
    return {
        f"{figure}_{database}": value
        for database, figures in found.items()
        for figure, value in figures.items()
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)) + "\n")
