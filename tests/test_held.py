"""An act's ticket: what whoever waited for it gets, what a lock not got leaves, and in how few statements
an act is done."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa

from service.desk import Desk
from service.domain.ticket import MilestoneKind, Stage, Ticket
from service.store import Store, StoreUnavailable, open_store, tickets
from service.store.engine import Terms, prepare
from tests.test_desk import NOW, Run, desk, order
from tests.worlds import HANDLER, complaint

ON_POSTGRES = pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)


def with_one_connection(
    url: str, scenario: Callable[[Store, Ticket], Coroutine[Any, Any, None]]
) -> None:
    async def whole() -> None:
        store = open_store(url, Terms(connections=1, transaction_s=20))
        try:
            await prepare(store)
            receipt = await desk(store).receive(complaint(), "f1", NOW)
            await scenario(store, receipt.ticket)
        finally:
            await store.close()

    asyncio.run(whole())


@asynccontextmanager
async def held_elsewhere(url: str, ticket: Ticket) -> AsyncIterator[asyncpg.Connection]:
    """Hold a ticket as another replica does, and give the connection; what it wrote stays."""
    other = await asyncpg.connect(url)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM tickets WHERE id = $1 FOR NO KEY UPDATE", ticket.id)
            yield other
    finally:
        await other.close()


async def until_somebody_waits(holder: asyncpg.Connection) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while not await holder.fetchval(waiting):  # noqa: ASYNC110 nobody tells
        await asyncio.sleep(0.02)


@ON_POSTGRES
def test_who_waited_for_a_ticket_gets_its_clocks_as_they_were_left(migrated_url: str) -> None:
    async def scenario(store: Store, ticket: Ticket) -> None:
        async with held_elsewhere(migrated_url, ticket) as holder:
            waits = asyncio.create_task(store.run(lambda c: tickets.hold(c, ticket.no)))
            await until_somebody_waits(holder)
            # As the ticker does: the ticket's own row stays as it is.
            await holder.execute(
                "UPDATE milestones SET stage = 'overdue' WHERE ticket_id = $1 AND kind = 'sign'",
                ticket.id,
            )
        found = await waits
        assert found is not None
        signing = [m for m in found.ticket.milestones if m.kind is MilestoneKind.SIGN]
        assert {m.stage for m in signing} == {Stage.OVERDUE}

    with_one_connection(migrated_url, scenario)


@ON_POSTGRES
def test_a_lock_that_was_not_got_leaves_no_transaction_behind(migrated_url: str) -> None:
    async def scenario(store: Store, ticket: Ticket) -> None:
        async with held_elsewhere(migrated_url, ticket):

            def in_vain(connection: sa.Connection) -> None:
                tickets.hold(connection, ticket.no)

            await store.run(lambda c: c.exec_driver_sql("SET lock_timeout = '50ms'"))
            with pytest.raises(StoreUnavailable):
                await store.run(in_vain)
        await desk(store).sign(order(ticket, HANDLER, "2026-11-18 10:00"))
        held = await store.run(lambda c: tickets.hold(c, ticket.no))
        assert held is not None
        assert held.ticket.version == ticket.version + 1

    with_one_connection(migrated_url, scenario)


@ON_POSTGRES
def test_a_ticket_is_held_until_the_commit(migrated_url: str) -> None:
    async def scenario(store: Store, ticket: Ticket) -> None:
        other = await asyncpg.connect(migrated_url)
        tried = "SELECT count(*) FROM (SELECT FROM tickets FOR NO KEY UPDATE SKIP LOCKED) free"

        async def free() -> int:
            found: int = await other.fetchval(tried)
            return found

        def work(connection: sa.Connection) -> int:
            tickets.hold(connection, ticket.no)
            return sa.util.await_only(free())

        try:
            assert await store.run(work) == 0
            assert await free() == 1
        finally:
            await other.close()

    with_one_connection(migrated_url, scenario)


def test_a_ticket_that_is_held_is_the_ticket_that_is_looked_at(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(), "f1", NOW)).ticket
        await d.sign(order(ticket, HANDLER, "2026-11-18 10:00"))
        held = await store.run(lambda c: tickets.hold(c, ticket.no))
        [opened] = await store.read(lambda c: tickets.by_ids(c, [ticket.id], opened=True))
        assert held is not None
        assert held.ticket == opened
        assert await store.run(lambda c: tickets.hold(c, "360732-20261118-99999")) is None
        assert await store.run(lambda c: tickets.hold(c, "' OR ''='")) is None

    in_store(scenario)


async def said_by_signing(store: Store, ticket: Ticket) -> list[str]:
    return await said_by(store, lambda d: d.sign(order(ticket, HANDLER, "2026-11-18 10:00")))


async def said_by(store: Store, act: Callable[[Desk], Awaitable[object]]) -> list[str]:
    said: list[str] = []
    engine: Any = store

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        said.append(statement)

    sa.event.listen(engine._engine.sync_engine, "before_cursor_execute", note)
    await act(desk(store))
    sa.event.remove(engine._engine.sync_engine, "before_cursor_execute", note)
    return said


@ON_POSTGRES
def test_an_act_is_a_transaction_of_two_statements(migrated_url: str) -> None:
    async def scenario(store: Store, ticket: Ticket) -> None:
        said = await said_by_signing(store, ticket)
        assert [each.split(maxsplit=1)[0] for each in said] == ["SELECT", "WITH"]

    with_one_connection(migrated_url, scenario)


@ON_POSTGRES
def test_a_plan_made_before_there_was_a_ticket_finds_one_among_many(migrated_url: str) -> None:
    """A session keeps its plans until somebody looks at the tables again."""

    async def scenario(store: Store, ticket: Ticket) -> None:
        for statement in await said_by_signing(store, ticket):
            takes = max(int(n) for n in re.findall(r"\$(\d+)", statement))
            plan = await plan_of(store, statement, "'0'", *["'[]'"] * (takes - 1))
            assert "Seq Scan on tickets" not in plan
            assert "Seq Scan on milestones" not in plan
            assert "Index" in plan

    with_one_connection(migrated_url, scenario)


async def plan_of(store: Store, statement: str, *given: str) -> str:
    """Return how PostgreSQL runs a statement whatever it is given."""

    def explained(c: sa.Connection) -> str:
        c.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        c.exec_driver_sql(f"PREPARE act AS {statement}")
        found = c.exec_driver_sql(f"EXPLAIN EXECUTE act({', '.join(given)})").scalars().all()
        c.exec_driver_sql("DEALLOCATE act")
        return "\n".join(found)

    return await store.run(explained)


@ON_POSTGRES
def test_a_plan_made_before_there_was_a_ticket_finds_what_a_source_sent(migrated_url: str) -> None:
    async def scenario(store: Store, _ticket: Ticket) -> None:
        said = await said_by(store, lambda d: d.receive(complaint(source_no="T2"), "f2", NOW))
        (look,) = (each for each in said if "unnest" in each)
        plan = await plan_of(store, look, "'hotline-12345'", "1", "'{T2}'")
        assert "uq_tickets_source_source_no" in plan
        assert "Seq Scan on tickets" not in plan

    with_one_connection(migrated_url, scenario)
