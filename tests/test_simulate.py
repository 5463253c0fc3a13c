"""A simulated place: what happens there is what the desk would have done, and its rates are right."""

import asyncio
import json
import os
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from routing_rules.rulebook import Rulebook
from service.cli import app
from service.desk import Desk, Order
from service.domain.access import Actor, Role
from service.domain.kpi import RATES, Weights
from service.domain.lifecycle import Act
from service.domain.ticket import Event, Level, Ticket
from service.reports import Asked, By, Reports
from service.simulation.lives import Behaviour, Life
from service.simulation.run import Plan, lives, simulate, write
from service.store import Store, open_store, tallies
from service.store.bulk import insert_rows
from service.store.deliveries import deliveries
from service.store.tables import metadata
from service.store.tickets import events, get
from service.terminal import Refused
from tests.by_hand import BY_HAND, agrees, by_hand, told, worked_by_hand
from tests.process import banjie, in_snapshot
from tests.served import rules
from tests.worlds import ADMIN, at

pytestmark = pytest.mark.slow

Run = Callable[[Callable[[Store], Any]], Any]
_LONG = os.environ.get("BANJIE_LONG") == "1"
# Everything that may happen happens often.
BUSY = Behaviour(late=0.3, send_back=0.2, repeats=0.2, solved=0.6)
MONTH = Plan(date(2026, 1, 19), 30, 12, "360732", 7, BUSY)


def _walk(plan: Plan) -> list[Life]:
    book, times = rules(None)
    return list(lives(plan, plan.region, 1.0, book, times))


async def _written(store: Store, plan: Plan) -> None:
    book, times = rules(None)
    await write(store, lives(plan, plan.region, 1.0, book, times))
    while await store.run(tallies.fold):
        pass


def _reports(store: Store) -> Reports:
    book = rules(None)[0]
    return Reports(store, lambda: book, book.gazetteer, Weights(), 1)


async def _proved(store: Store, plan: Plan) -> None:
    """Hold every rate against the second count, by whatever it is told, and the tallies against all
    that there is."""
    days = {"a": plan.first, "b": plan.last, "elapsed": plan.last}
    texts = {name: day.isoformat() for name, day in days.items()}
    asked = Asked(plan.first, plan.last, region=plan.region)
    assert set(BY_HAND) == set(RATES)
    seconds = await store.read(lambda c: worked_by_hand(c, texts))
    for by, expected in (await store.read(lambda c: by_hand(c, texts))).items():
        report = await _reports(store).kpis(replace(asked, by=By(by)), ADMIN, plan.end)
        for rate in RATES:
            assert told(report, rate) == expected[rate], (rate, by)
            assert expected[rate], f"nothing happened that counts for {rate}"
        assert agrees(report.total.worked, seconds)
    assert (await store.read(tallies.recount)).agrees
    assert not await store.read(tallies.waiting)


def test_every_rate_of_a_simulated_month_equals_plain_sql_over_events(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await _written(store, MONTH)
        await _proved(store, MONTH)

    in_store(scenario)


@pytest.mark.timeout(7_200)
@pytest.mark.skipif(not _LONG, reason="a prefecture's year takes minutes")
def test_every_rate_of_a_prefectures_year_equals_plain_sql_over_events(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        plan = Plan(date(2025, 1, 1), 365, 1300, "360700", 7, Behaviour())
        url = str(await store.read(lambda c: c.engine.url.render_as_string(hide_password=False)))
        url = url.replace("+asyncpg", "")
        found = await simulate(plan, url, *rules(None), lambda _: None)
        assert found.tickets > 460_000
        await _proved(store, plan)

    in_store(scenario)


# The same as the desk


class Replay:
    """Does at the desk what was simulated, at the same times."""

    def __init__(self, store: Store, book: Rulebook, times: Any) -> None:
        self._desk = Desk(store, book, times)

    async def all(self, walked: list[Life]) -> None:
        steps = [
            (event.at, life.ticket.id, life, event) for life in walked for event in life.events
        ]
        for _, _, life, event in sorted(steps, key=lambda step: step[:2]):
            await self._step(life, event)

    async def _step(self, life: Life, event: Event) -> None:
        no = life.ticket.no
        if event.act == "received":
            digest = await self._desk.receive(life.ticket.complaint, _print_of(life), event.at)
            assert digest.ticket.no == no
        elif event.act == "stage" or event.content.get("auto"):
            if event.act != Act.DISPATCH:
                await self._desk.enforce(event.at, 10_000)
        elif event.act != "merged_here":
            await self._act(no, event)

    async def _act(self, no: str, event: Event) -> None:
        units = (event.unit,) if event.role == Role.HANDLER else ()
        by = Actor(event.actor, Role(event.role), units, region=no[:6])
        version = (await self._desk.ticket(no, ADMIN)).version
        names: dict[str, tuple[str, ...]] = {
            Act.DISPATCH: ("unit", "assist", "reason"),
            Act.SEND_BACK: ("reason", "basis"),
            Act.CONTACT: ("text",),
            Act.REQUEST_EXTENSION: ("amount", "reason"),
            Act.DECIDE_EXTENSION: ("granted", "reason"),
            Act.RESOLVE: ("public_reply", "internal_finding", "solved"),
            Act.CALL_BACK: ("reached", "solved", "grade", "text"),
            Act.REOPEN: ("reason",),
            Act.MERGE: ("into", "reason"),
        }
        fields = {name: event.content[name] for name in names.get(event.act, ())}
        if event.act == Act.PAUSE:
            fields = {"reason": event.content["code"]}
        if event.act == Act.SUPERVISE:
            fields = {"level": Level(event.content["level"]), "text": event.content["text"]}
        await getattr(self._desk, event.act)(Order(no, by, version, event.at), **fields)


def _print_of(life: Life) -> str:
    return f"f{life.ticket.no}"


def _plain(ticket: Ticket) -> Ticket:
    """Return a ticket without what only a store gives."""
    return replace(ticket, id=0, milestones=tuple(replace(m, id=0) for m in ticket.milestones))


def _told(said: list[Event]) -> list[Event]:
    """Return events without their ids. Which of several steps that are due in one second comes first is
    for the database to say."""
    plain = [replace(event, id=0) for event in said]

    def which(numbered: tuple[int, Event]) -> Any:
        number, event = numbered
        return event.at if event.act == "stage" else number

    runs = groupby(enumerate(plain), which)
    return [event for _, run in runs for event in sorted((e for _, e in run), key=_in_order)]


def _in_order(value: Any) -> str:
    """Return something with all that it says in one order."""
    return json.dumps(asdict(value), sort_keys=True, default=str)


async def _all_of(store: Store, numbers: list[str]) -> list[Any]:
    def read(connection: sa.Connection) -> list[Any]:
        found: list[Any] = []
        for no in numbers:
            ticket = get(connection, no)
            assert ticket
            told_of = sorted(map(_in_order, deliveries(connection, ticket)))
            found.append((_plain(ticket), _told(events(connection, ticket)), told_of))
        return found

    return await store.read(read)


async def _tables(store: Store) -> dict[str, list[str]]:
    """Return what is counted, numbered and assisted, without rows that hold nothing."""

    def read(connection: sa.Connection) -> dict[str, list[str]]:
        found = {}
        for name in ("tallies", "tally_sums", "counters", "assists"):
            rows = [list(row) for row in connection.execute(sa.select(metadata.tables[name]))]
            told = (row[1:] if name == "assists" else row for row in rows if row[-1])
            found[name] = sorted(json.dumps(row, sort_keys=True) for row in told)
        return found

    return await store.read(read)


@pytest.mark.slow  # a thousand acts, each in a transaction of its own
def test_what_was_simulated_is_what_the_desk_makes_of_the_same_acts(
    in_store: Run, tmp_path: Path
) -> None:
    plan = replace(MONTH, days=26, per_day=4)
    walked = _walk(plan)
    acts = {event.act for life in walked for event in life.events}
    assert acts >= set(Act) - {Act.RULE, Act.RECLASSIFY, Act.NOTE, Act.CHECK}, "everything happens"
    numbers = sorted(life.ticket.no for life in walked)

    async def scenario(store: Store) -> None:
        replay = Replay(store, *rules(None))
        await replay.all(walked)
        while await store.run(tallies.fold):
            pass
        simulated = open_store(f"sqlite:///{tmp_path}/simulated.db")
        await simulated.migrate()
        await _written(simulated, plan)
        for one, other in zip(
            await _all_of(store, numbers), await _all_of(simulated, numbers), strict=True
        ):
            assert one == other
        assert await _tables(store) == await _tables(simulated)
        await simulated.close()

    in_store(scenario)


# What it is asked for


def test_the_same_seed_tells_the_same_story() -> None:
    plan = replace(MONTH, days=8, per_day=8)
    first, again, other = _walk(plan), _walk(plan), _walk(replace(plan, seed=8))
    assert [life.ticket for life in first] == [life.ticket for life in again]
    assert [life.events for life in first] == [life.events for life in again]
    assert [life.ticket.no for life in first] != [life.ticket.no for life in other]


def test_units_that_can_answer_few_a_day_leave_more_undone() -> None:
    plan = replace(MONTH, days=15, per_day=40, behaviour=Behaviour())
    few = replace(plan, behaviour=Behaviour(per_day=1))
    over, left = (sum(life.is_over for life in _walk(each)) for each in (plan, few))
    assert left < 0.8 * over


def test_nobody_in_it_is_real() -> None:
    for life in _walk(replace(MONTH, days=5, per_day=20)):
        contact = life.ticket.complaint.contact
        assert contact.phone == "" or contact.phone.startswith("138000")
        assert contact.name == "" or contact.name.endswith("某")


@pytest.mark.timeout(900)
def test_processes_that_share_the_work_give_the_same_figures(database_url: str) -> None:
    plan = Plan(date(2026, 3, 2), 3, 60, "360700", 3, Behaviour())
    found = []
    for processes in (1, 2):
        if processes == 2 and "sqlite" in database_url:
            database_url = database_url.replace("banjie.db", "second.db")

        async def whole(processes: int = processes, url: str = database_url) -> Any:
            store = open_store(url)
            await store.migrate()
            if processes == 2:
                for table in reversed(metadata.sorted_tables):
                    await store.run(lambda c, table=table: c.execute(table.delete()))  # type: ignore[misc]
            much = await simulate(plan, url, *rules(None), lambda _: None, processes)
            recounted = await store.read(tallies.recount)
            assert recounted.agrees
            asked = Asked(plan.first, plan.last, region=plan.region)
            report = await _reports(store).kpis(asked, ADMIN, plan.end)
            await store.close()
            return much, report.total, report.items

        found.append(asyncio.run(whole()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--days", "0"], "--days 应为 1 到"),
        (["--days", "-3"], "此处为 -3"),
        (["--per-day", "0"], "--per-day 应大于 0"),
        (["--per-day", "nan"], "--per-day 应大于 0"),
        (["--region", "999999"], "没有“999999”"),
        (["--region", "360000"], "本省市、县"),
        (["--start", "明天"], "应为日期"),
        (["--start", "1999-01-01"], "--start 应在"),
        (["--late-share", "1.5"], "--late-share 应在 0 到 1 之间"),
        (["--unit-per-day", "-1"], "--unit-per-day 不能为负"),
        (["--database", "mysql://x"], "--database"),
    ],
)
def test_bad_wishes_are_refused_in_chinese(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["simulate", *arguments])
    assert isinstance(done.exception, Refused), done.output
    assert (done.exception.code, done.stdout) == (2, "")
    assert said in str(done.exception)


@pytest.mark.timeout(900)  # processes of its own, each of which loads the rules
def test_the_command_keeps_its_tickets_where_it_is_told_and_adds_to_no_others(
    database_url: str,
) -> None:
    wishes = ("simulate", "--days", "5", "--per-day", "15", "--start", "2027-03-01", "--json")
    done = banjie(*wishes, "--database", database_url, timeout_s=300)
    assert done.returncode == 0, done.stderr
    told_json = json.loads(done.stdout)
    assert told_json["kept"] is True
    assert "推算" in told_json["provisional"], "nobody has published that year"
    assert 50 < told_json["tickets"] < 100
    assert {"open", "overdue", "wall_s", "tickets_per_s", "units"} <= told_json.keys()
    again = banjie(*wishes, "--database", database_url, timeout_s=300)
    assert (again.returncode, again.stdout) == (2, "")
    assert "已有工单" in again.stderr
    assert in_snapshot(database_url, tallies.recount).agrees


@pytest.mark.timeout(900)
def test_what_is_to_be_kept_nowhere_is_shown_and_thrown_away() -> None:
    wishes = ("--days", "2", "--per-day", "10", "--start", "2026-03-02")
    done = banjie("simulate", *wishes, timeout_s=300)
    assert done.returncode == 0, done.stderr
    assert "按时办结率" in done.stdout


def test_rows_are_written_as_sqlalchemy_writes_them(in_store: Run) -> None:
    """The bulk way looks at no value twice; what it writes is the same."""
    table = metadata.tables["events"]
    chance = random.Random(3)
    content = {"text": "已联系“诉求人”", "n": 3, "no": None, "list": [1, "二"], "yes": True}
    moments = [at("2026-03-02 09:00") + timedelta(seconds=chance.random() * 1e7) for _ in range(20)]
    rows = [
        {
            "ticket_id": 1, "ticket_no": "n", "region": "360732", "act": Act.NOTE, "at": moment,
            "actor": "某", "role": Role.HANDLER, "unit": "", "version": 1, "content": content,
        }
        for moment in moments
    ]  # fmt: skip

    async def scenario(store: Store) -> None:
        def both(connection: sa.Connection) -> tuple[list[Any], list[Any]]:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
            else:
                connection.exec_driver_sql("SET session_replication_role = replica")
            connection.execute(table.insert(), rows)
            insert_rows(connection, table, rows)
            found = [
                tuple(row)[1:] for row in connection.execute(sa.select(table).order_by(table.c.id))
            ]
            connection.execute(table.delete())
            return found[:20], found[20:]

        one, other = await store.run(both)
        assert one == other

    in_store(scenario)
