"""Time and people at once, replicas whose clocks differ, clocks that jump, connections that die."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from bench.enforce import fill
from service.desk import Desk
from service.domain.access import Actor
from service.domain.acts import RuleForbids
from service.domain.complaint import Contact
from service.domain.lifecycle import IllegalMove
from service.domain.ticket import Ticket
from service.jobs import Jobs
from service.metrics import Metrics
from service.store import Store, StoreUnavailable, open_store
from service.store.deliveries import deliveries
from tests.process import Server, environment, free_port, in_database
from tests.test_desk import NOW, TIMES, Run, desk, order
from tests.test_jobs import Clocks
from tests.worlds import (
    ADMIN,
    DISPATCHER,
    HANDLER,
    HOUSING,
    MARKET,
    STRANGER,
    SUPERVISOR,
    ToldRouter,
    at,
    complaint,
)

pytestmark = pytest.mark.slow

Step = tuple[str, Actor, dict[str, Any]]
_SIGN: Step = ("sign", HANDLER, {})
_THEIRS: Step = ("sign", STRANGER, {})
_ASK: Step = ("request_extension", HANDLER, {"amount": "3 工作日", "reason": "需鉴定"})
_GRANT: Step = ("decide_extension", SUPERVISOR, {"granted": True, "reason": ""})
_PAUSE: Step = ("pause", HANDLER, {"reason": "awaiting_citizen"})
_RESUME: Step = ("resume", HANDLER, {})
_BACK: Step = ("send_back", HANDLER, {"reason": "不是", "basis": "三定"})
_RULE: Step = ("rule", SUPERVISOR, {"unit": HOUSING.code, "reason": "是", "document": ""})
_AGAIN: Step = ("dispatch", DISPATCHER, {"unit": HOUSING.code, "reason": "改派"})
_SOLVED = {"public_reply": "已办", "internal_finding": "", "solved": True}
_SOLVE: Step = ("resolve", HANDLER, _SOLVED)
_THEY_SOLVE: Step = ("resolve", STRANGER, _SOLVED)
_NOTE: Step = ("note", HANDLER, {"text": "备注"})

# What is done to a ticket at each of these times, none of them a second that a step comes in.
_WHEN = ("18 10:00", "18 16:00", "19 10:00", "20 10:00", "24 16:00", "26 10:00", "30 18:00")
_LIVES: tuple[tuple[Step | None, ...], ...] = (
    (None, None, None, None, None, None, None),
    (_SIGN, None, None, _SOLVE, None, None, None),
    (None, _SIGN, _ASK, _GRANT, _NOTE, None, _SOLVE),
    (_SIGN, None, _PAUSE, None, _RESUME, None, None),
    (_SIGN, _PAUSE, None, None, None, _NOTE, None),
    (None, None, _BACK, _RULE, _THEIRS, None, _THEY_SOLVE),
    (_SIGN, None, _ASK, _AGAIN, _GRANT, _THEIRS, _THEY_SOLVE),
    (_SIGN, None, None, _BACK, None, _AGAIN, None),
    (None, None, _SIGN, None, _ASK, _GRANT, _SOLVE),
)
_TICKETS = 18


async def _done(d: Desk, ticket: Ticket, step: Step, when: datetime) -> str:
    """Do an act and return how it ended; what a rule or the state forbids is an end as well."""
    name, by, fields = step
    current = await d.ticket(ticket.no, ADMIN)
    wanted = order(current, by, f"{when:%Y-%m-%d %H:%M}")
    try:
        await getattr(d, name)(wanted, **fields)
    except (RuleForbids, IllegalMove) as error:
        return type(error).__name__
    return "done"


async def _lived(store: Store, *, at_once: bool) -> list[Any]:
    """Let the tickets live, acts and enforcement at once or one after the other; return all of it."""
    d = desk(store, assisted=False)
    made = [
        (await d.receive(complaint(source_no=f"T{n}", contact=Contact()), f"f{n}", NOW)).ticket
        for n in range(_TICKETS)
    ]
    replicas = [Desk(store, ToldRouter(assisted=False), TIMES) for _ in range(3)]
    ends: list[Any] = []
    for number, day in enumerate(_WHEN):
        when = at(f"2026-11-{day}")
        acts = [
            _done(d, ticket, step, when)
            for n, ticket in enumerate(made)
            if (step := _LIVES[n % len(_LIVES)][number])
        ]
        if at_once:
            skews = (-3, 0, 3)
            jobs = [
                replica.enforce(when + timedelta(seconds=skew), batch)
                for replica, skew in zip(replicas, skews, strict=True)
                for batch in (2, 5, 50)
            ]
            mixed: list[Awaitable[Any]] = [*acts, *jobs]
            places = list(range(len(mixed)))
            random.Random(number).shuffle(places)
            found = await asyncio.gather(*(mixed[place] for place in places))
            ends += [end for _, end in sorted(zip(places, found, strict=True))[: len(acts)]]
        else:
            ends += [await act for act in acts]
        while await d.enforce(when, 50):
            pass
    lives: list[Any] = [ends]
    for ticket in made:
        after = await d.ticket(ticket.no, ADMIN)
        history = await d.history(ticket.no, ADMIN)
        sent = await store.read(lambda c, after=after: deliveries(c, after))  # type: ignore[misc]
        versions = [event.version for event in history if event.act != "stage"]
        assert sorted(set(versions)) == list(range(1, after.version + 1))
        clocks = sorted(
            (
                m.kind,
                m.unit,
                m.due_at,
                m.stage,
                m.done,
                str(m.outcome),
                str(m.met_at),
                str(m.next_at),
            )
            for m in after.milestones
        )
        steps = sorted(
            (e.content["milestone"], e.unit, str(e.content["measure"]), e.at, e.content["due_at"])
            for e in history
            if e.act == "stage"
        )
        assert len(steps) == len(set(steps)), "a step came twice"
        lives.append((after.state, after.version, clocks, steps, len(sent)))
    return lives


def test_acts_and_enforcement_at_once_end_as_one_after_the_other(
    in_store: Run, tmp_path: Path
) -> None:
    """Replicas whose clocks differ by seconds enforce while people act: no step is lost or doubled,
    nobody gets an error that he would not have got alone, and every clock is where it belongs."""
    found = in_store(partial(_lived, at_once=True))

    async def alone() -> list[Any]:
        store = open_store(f"sqlite:///{tmp_path}/alone.db")
        await store.migrate()
        try:
            return await _lived(store, at_once=False)
        finally:
            await store.close()

    expected = asyncio.run(alone())
    for one, other in zip(found, expected, strict=True):
        assert one == other
    assert Counter(found[0])["done"] > 4 * _TICKETS / 2


def test_a_clock_that_jumps_loses_and_doubles_nothing(in_store: Run) -> None:
    """Two days of downtime, then the machine's clock jumps back by an hour, and goes on."""

    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = (await d.receive(complaint(contact=Contact()), "f", NOW)).ticket
        clocks = Clocks()
        clocks.wall = at("2026-11-24 15:00")
        jobs = Jobs(d, lambda: clocks.wall, 1, Metrics(), lambda: clocks.steady)
        assert await jobs.enforce() == 2

        async def steps() -> list[tuple[str, str, str, str]]:
            return [
                (
                    event.content["milestone"],
                    event.content["measure"],
                    f"{event.at.astimezone(NOW.tzinfo):%m-%d %H:%M}",
                    event.content["noticed_at"][5:16].replace("T", " "),
                )
                for event in await d.history(ticket.no, ADMIN)
                if event.act == "stage"
            ]

        # Down from the 24th to the 26th: what was missed comes in order, with its true times.
        clocks.go(48 * 3600 + 3 * 3600, 48 * 3600 + 3 * 3600)
        await jobs.enforce()
        before = [
            ("sign", "remind", "11-18 11:30", "11-24 15:00"),
            ("sign", "supervise", "11-18 15:30", "11-24 15:00"),
            ("resolve", "remind", "11-24 14:10", "11-24 15:00"),
            ("resolve", "supervise", "11-25 17:30", "11-26 18:00"),
            ("resolve", "yellow", "11-26 17:30", "11-26 18:00"),
        ]
        assert await steps() == before
        assert jobs.watch_clock() == 0
        clocks.go(-3600, 1)
        with capture_logs() as logs:
            assert jobs.watch_clock() == 3601
        assert [entry["event"] for entry in logs] == ["clock.set_back"]
        assert await jobs.enforce() == 0
        # An act by the clock that is behind now finds everything as it was left.
        current = await d.ticket(ticket.no, ADMIN)
        current = await d.sign(order(current, HANDLER, "2026-11-26 17:00"))
        assert await steps() == before
        clocks.go(4 * 24 * 3600, 4 * 24 * 3600)
        await jobs.enforce()
        assert [step[:3] for step in await steps()] == [
            *(step[:3] for step in before),
            ("resolve", "red", "11-30 17:30"),
        ][: len(await steps())]
        clocks.go(24 * 3600, 24 * 3600)
        await jobs.enforce()
        assert Counter(step[1] for step in await steps() if step[0] == "resolve") == {
            "remind": 1,
            "supervise": 1,
            "yellow": 1,
            "red": 1,
        }

    in_store(scenario)


Asked = Callable[[sa.Connection], Any]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_connection_that_is_killed_leaves_no_half_act(database_url: str) -> None:
    """PostgreSQL ends backends in the middle of acts, which are tried again: who acts gets his answer
    or is told that the database is away, and a ticket has all of an act, once, or nothing."""

    async def scenario() -> None:
        store, other = open_store(database_url), open_store(database_url)
        await store.migrate()
        d = desk(store)
        made: list[Ticket] = [
            (await d.receive(complaint(source_no=f"T{n}"), f"f{n}", NOW)).ticket for n in range(24)
        ]
        ended = Counter[str]()
        busy = True

        async def killing() -> None:
            kill = sa.text(
                """
                SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()
                    AND state IN ('active', 'idle in transaction') AND backend_type = 'client backend'
                    AND pid % 3 = :which
                """
            )
            while busy and ended["killed"] < 60:
                which = {"which": ended["looked"] % 3}
                ended["looked"] += 1
                ended["killed"] += await other.run(
                    lambda c, which=which: int(c.execute(kill, which).scalar_one())  # type: ignore[misc]
                )
                await asyncio.sleep(0.02)

        async def one(ticket: Ticket) -> None:
            for name, fields in (
                ("sign", {}),
                ("contact", {"text": "已联系"}),
                ("resolve", _SOLVED),
            ):
                for _ in range(200):
                    current = await _patiently(lambda: d.ticket(ticket.no, ADMIN))
                    if any(
                        event.act == name and event.unit == MARKET.code
                        for event in await _patiently(lambda: d.history(ticket.no, ADMIN))
                    ):
                        break
                    try:
                        await getattr(d, name)(order(current, HANDLER), **fields)
                        ended["done"] += 1
                    except StoreUnavailable:
                        ended["refused"] += 1

        killer = asyncio.create_task(killing())
        await asyncio.gather(*(one(ticket) for ticket in made))
        busy = False
        await killer
        assert ended["killed"], "nothing was killed"
        for ticket in made:
            after = await d.ticket(ticket.no, ADMIN)
            acts = [
                (e.act, e.version) for e in await d.history(ticket.no, ADMIN) if e.act != "stage"
            ]
            assert acts == [
                ("received", 1),
                ("dispatch", 1),
                ("sign", 2),
                ("contact", 3),
                ("resolve", 4),
            ]
            assert (after.state, after.version) == ("resolved", 4)
            assert {str(m.outcome) for m in after.milestones if m.unit == MARKET.code} == {
                "on_time"
            }
        await store.close()
        await other.close()

    asyncio.run(scenario())


async def _patiently(ask: Callable[[], Awaitable[Any]]) -> Any:
    for _ in range(200):
        try:
            return await ask()
        except StoreUnavailable:
            await asyncio.sleep(0.005)
    raise AssertionError


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
def test_a_server_that_is_told_to_stop_while_it_enforces_stops_and_loses_nothing(
    migrated_url: str, tmp_path: Path
) -> None:
    env = environment(migrated_url)
    due = 6_000

    def counted(*columns: str) -> Sequence[int]:
        return tuple(
            in_database(
                migrated_url, lambda c: c.execute(sa.text(f"SELECT {', '.join(columns)}")).one()
            )
        )

    told = ("(SELECT count(*) FROM events)", "(SELECT count(DISTINCT ticket_id) FROM events)")
    when = datetime.now(UTC) - timedelta(seconds=1)
    server = Server(env, free_port(), tmp_path / "first.log")
    try:
        in_database(
            migrated_url, partial(fill, first=1, count=due, at=when, per_ticket=1, due_every=1)
        )
        until = time.monotonic() + 30
        while not counted(told[0])[0]:
            assert time.monotonic() < until, "it never began"
    finally:
        code = server.stop()
    assert code in {0, -signal.SIGTERM}, "uvicorn ends by the signal that it was asked to end by"
    events, of_tickets = counted(*told)
    assert events == of_tickets
    log = (tmp_path / "first.log").read_text("utf-8")
    assert "Traceback" not in log
    assert '"error"' not in log
    second = Server(env, free_port(), tmp_path / "second.log")
    try:
        until = time.monotonic() + 60
        while counted(told[0])[0] < due:
            assert time.monotonic() < until, "the rest never came"
            time.sleep(0.1)
    finally:
        second.stop()
    assert counted(*told, "(SELECT count(*) FROM deliveries)") == (due, due, 2 * due)
