"""How the databases answer what lists ask, on a store whose history is long: along an index, never
through a big table, and never by sorting all there is."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from service.domain.access import Actor, Role
from service.domain.complaint import Decision
from service.domain.sample import Standing
from service.domain.ticket import DeliveryState
from service.store import (
    Store,
    deliveries,
    intakes,
    lists,
    matching,
    polls,
    samples,
    search,
    supervised,
    tickets,
)
from service.store.figures import resolved, unit_loads
from service.store.lists import Due, Filter, Owed
from service.store.supervised import Pressing, Times
from service.store.tables import metadata
from service.store.words import words
from tests.test_desk import desk
from tests.worlds import ADMIN, DISPATCHER, HANDLER, HOUSING, MARKET, at, complaint

Run = Callable[[Callable[[Store], Any]], Any]
NOW = at("2026-11-18 09:30")
PROVINCE = Actor("督办员", Role.SUPERVISOR, region="360000")
CITY = Actor("督办员", Role.SUPERVISOR, region="360700")
SOURCE = Actor("热线", Role.SOURCE, source="hotline-12345")

_BIG = ("tickets", "milestones", "events", "deliveries", "assists", "ticket_words")
_DOUBLINGS = 9
# More rows than this read or sorted by one statement, of 6,144 tickets, and the history would be felt.
_FEW = 6_000


def _doubled(connection: sa.Connection, n: int) -> None:
    """Write all tickets once more, with what belongs to them."""

    def copied(table: sa.Table, **changed: str) -> str:
        names = [c.name for c in table.columns if c.name not in {"id", "tx"}]
        values = [changed.get(name, f'o."{name}"') for name in names]
        columns = ", ".join(f'"{name}"' for name in names)
        return (
            f"INSERT INTO {table.name} ({columns}) SELECT {', '.join(values)} FROM {table.name} o"
        )

    t = metadata.tables
    no = f"'{n}-' || o.id"
    connection.execute(sa.text(copied(t["tickets"], no=no, source_no=no)))
    joined = (
        f" JOIN tickets t ON t.source = 'hotline-12345' AND t.source_no = '{n}-' || o.ticket_id"
    )
    for name in ("milestones", "events", "deliveries", "assists"):
        changed = {"ticket_id": "t.id", "ticket_no": "t.no"}
        connection.execute(sa.text(copied(t[name], **changed) + joined))


def _filled(connection: sa.Connection) -> None:
    for n in range(_DOUBLINGS):
        _doubled(connection, n)
    for statement in (
        "UPDATE tickets SET state = 'closed' WHERE id % 20 <> 0",
        """UPDATE milestones SET outcome = 'on_time', met_at = started_at, next_at = NULL
        WHERE ticket_id % 20 <> 0""",
        "UPDATE milestones SET stage = 'overdue' WHERE ticket_id % 40 = 0",
        "UPDATE deliveries SET state = 'dead', next_at = NULL WHERE id % 50 = 0",
    ):
        connection.execute(sa.text(statement))
    connection.execute(sa.text("DELETE FROM ticket_words"))
    rows = connection.execute(sa.text("SELECT id, region, title FROM tickets ORDER BY id"))
    search.keep(connection, [(row.id, row.region, words(row.title)) for row in rows])
    connection.execute(sa.text("ANALYZE"))


Asked = tuple[str, Any]


@contextmanager
def _heard(connection: sa.Connection) -> Iterator[list[Asked]]:
    """Give the list of what is asked of the database meanwhile."""
    heard: list[Asked] = []

    def hear(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        heard.append((statement, values))

    sa.event.listen(connection, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        sa.event.remove(connection, "before_cursor_execute", hear)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def _faults_of_postgres(connection: sa.Connection, asked: Asked) -> list[str]:
    statement, values = asked
    explained = f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {statement}"
    found = connection.exec_driver_sql(explained, values).scalar_one()
    plan = (found if isinstance(found, list) else json.loads(found))[0]["Plan"]
    faults = []
    for node in _nodes(plan):
        kind, loops = node["Node Type"], node["Actual Loops"]
        read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * loops
        if kind == "Seq Scan" and node["Relation Name"] in _BIG:
            faults.append(f"reads through {node['Relation Name']}")
        if "Sort" in kind:
            sorted_rows = sum(inner["Actual Rows"] for inner in node["Plans"]) * loops
            if sorted_rows > _FEW:
                faults.append(f"sorts {sorted_rows} rows")
        # What an index gives a bitmap counts rows that are dead as well; its table's rows are counted.
        if "Scan" in kind and kind != "Bitmap Index Scan" and read > _FEW:
            faults.append(f"reads {read} rows by {kind}")
    return faults


def _faults_of_sqlite(connection: sa.Connection, asked: Asked) -> list[str]:
    statement, values = asked
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
    steps = [row[3] for row in rows]
    faults = []
    for step in steps:
        through = step.startswith("SCAN") and step.split()[1] in _BIG and "INDEX" not in step
        # By the key, to where enough are found, is no reading through.
        if through and not ("LIMIT" in statement and "ORDER BY" in statement):
            faults.append(step)
        if step == "USE TEMP B-TREE FOR ORDER BY" and not _is_of_few(statement):
            faults.append(f"{step}: {steps}")
    return faults


def _is_of_few(statement: str) -> bool:
    """Whether what a statement sorts is a few rows that it names, or finds for each of a few."""
    return "json_each" in statement or " IN (" in statement


@pytest.mark.slow  # it writes thousands of tickets, and looks at hundreds of plans
def test_no_list_reads_through_a_big_table_or_sorts_all_there_is(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        manual = desk(store, Decision.MANUAL)
        titles = ["路灯不亮", "烧烤油烟", "自来水发黄", "红绿灯损坏"]
        regions = ["360732", "360733", "360703", "360702", "360300"]
        for n in range(12):
            told = complaint(source_no=f"S{n}", title=titles[n % 4], region=regions[n % 5])
            await (manual if n == 11 else d).receive(told, str(n), NOW)
        await store.run(_filled)

        units = (MARKET.code, HOUSING.code)
        wanted: dict[str, tuple[Actor, Filter]] = {}
        for who, actor in {
            "everywhere": ADMIN,
            "province": PROVINCE,
            "city": CITY,
            "county": DISPATCHER,
            "handler": HANDLER,
            "source": SOURCE,
        }.items():
            for what, asked in {
                "all": Filter(),
                "second page": Filter(after=6_000),
                "closed": Filter(state="closed"),
                "sorting": Filter(state="sorting", oldest_first=True),
                "overdue": Filter(stage="overdue"),
                "normal": Filter(stage="normal"),
                "channel and kind": Filter(channel="hotline-12345", kind="complaint"),
                "of no channel": Filter(channel="none"),
                "of a unit": Filter(unit=units[1]),
                "open of a unit": Filter(unit=units[0], state="dispatched"),
                "word": Filter(q="路灯"),
                "words": Filter(q="路灯 不亮"),
                "words of none": Filter(q="路灯 油烟"),
                "word and state": Filter(q="路灯", state="sorting"),
                "number": Filter(q="S3"),
                "group": Filter(group=1),
            }.items():
                wanted[f"{what}, {who}"] = (actor, asked)
        asking: dict[str, Callable[[sa.Connection], object]] = {
            name: lambda c, of=of: lists.page(c, *of)  # type: ignore[misc]
            for name, of in wanted.items()
        }
        due = Due(NOW + timedelta(days=1), 1)
        ticket = (await d.page(ADMIN, Filter(limit=1))).items[0]
        asking |= {
            "queue": lambda c: lists.queue(c, DISPATCHER, MARKET.code, 50),
            "queue, second page": lambda c: lists.queue(c, HANDLER, MARKET.code, 50, after=due),
            "queue of a stage": lambda c: lists.queue(
                c, ADMIN, MARKET.code, 50, Owed(stage="overdue")
            ),
            "queue of a state": lambda c: lists.queue(
                c, ADMIN, MARKET.code, 50, Owed(state="signed")
            ),
            "history": lambda c: tickets.events(c, ticket, 0, 201),
            "ticket": lambda c: tickets.get(c, ticket.no),
            "deliveries": lambda c: deliveries.page(c, "360732"),
            "deliveries, dead": lambda c: deliveries.page(c, "", state="dead", after=9_000),
            "deliveries to one": lambda c: deliveries.page(c, "360732", destination="unit:none"),
            "rejected": lambda c: polls.rejected(c, "hotline-12345"),
            "groups": lambda c: matching.groups(c, DISPATCHER, due, 51),
            "overview": lambda c: unit_loads(c, "360700", NOW, NOW),
            "resolved": lambda c: resolved(c, "360700", NOW + timedelta(days=9)),
            "what is left to cut": search.cut_before,
            "dead by destination": lambda c: deliveries.by_destination(c, "", DeliveryState.DEAD),
            "last tickets": intakes.latest,
            "pushes": lambda c: intakes.pushes(c, "hotline-12345", NOW.date()),
            "requests for more time": lambda c: supervised.extensions(c, "360700", after=due),
            "how many requests": lambda c: supervised.extensions_waiting(c, "360700", 1_000),
            "what may be drawn": lambda c: samples.closed(
                c, "360700", "", NOW - timedelta(days=30), NOW - timedelta(days=1), 20_001
            ),
            "draws": lambda c: samples.samples(c, "360700", 10),
            "second look at a ticket": lambda c: samples.latest(c, ticket),
            "second looks that wait": lambda c: samples.waiting(c, "360700", 1_000),
            "what second looks found": lambda c: samples.tallies(
                c, "360700", NOW.date() - timedelta(days=90), NOW.date()
            ),
        }
        times = Times(NOW + timedelta(days=3), NOW + timedelta(days=4))
        for where, region in (("province", "360000"), ("county", "360732")):
            asking[f"board, {where}"] = lambda c, r=region: supervised.board(c, r, times)  # type: ignore[misc]
            for why in Pressing:
                for unit in ("", MARKET.code):
                    asking[f"{why}, {where}, {unit}"] = lambda c, w=why, r=region, u=unit: (
                        supervised.page(  # type: ignore[misc]
                            c, r, w, times, unit=u, after=Due(NOW - timedelta(days=9), 1)
                        )
                    )
        for standing in Standing:
            for sample in (0, 1):
                asking[f"second looks, {standing}, {sample}"] = (
                    lambda c, s=standing, n=sample: samples.page(c, "360700", s, sample=n)  # type: ignore[misc]
                )

        def explain(connection: sa.Connection) -> list[str]:
            postgres = connection.dialect.name == "postgresql"
            if postgres:
                # Through a table as small as this would be the shorter way. Where it is gone all the
                # same there is no other.
                connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
            look = _faults_of_postgres if postgres else _faults_of_sqlite
            faults: list[str] = []
            seen = set()
            for name, ask in asking.items():
                with _heard(connection) as heard:
                    ask(connection)
                assert heard
                for asked in heard:
                    if str(asked) in seen:
                        continue
                    seen.add(str(asked))
                    told = " ".join(asked[0].split())
                    faults += (f"{name}: {fault}: {told}" for fault in look(connection, asked))
            return faults

        faults = await store.read(explain)
        assert not faults, "\n".join(each[:600] for each in faults[:20])

    in_store(scenario)
