"""Events by month, and tickets that ended long ago kept apart: nobody notices but the disk."""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from service.domain.lifecycle import State
from service.domain.ticket import Ticket
from service.store import Store, archive, closed, months, open_store, search
from service.store.deliveries import deliveries
from service.store.feed import BEGINNING, TakenOff, stretch
from service.store.lists import Filter, page
from service.store.months import Detached, following, month_of, partitions
from service.store.tables import metadata
from service.store.tallies import correct, recount
from service.store.tickets import events
from service.upkeep import Upkeep
from tests.histories import Histories
from tests.revisions import down_to
from tests.test_desk import desk, order
from tests.test_feed import in_order, ordered, read_all, told, write
from tests.test_model import RULES
from tests.worlds import ADMIN, AUDITOR, DISPATCHER, HANDLER, at, complaint

Run = Callable[[Callable[[Store], Any]], Any]
NOW = at("2026-11-18 09:30")
only_postgresql = pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)


def _ahead(count: int) -> datetime:
    """Return a time in the month so many after the one that the database began with."""
    month = month_of(datetime.now().astimezone())
    for _ in range(count):
        month = following(month)
    return at(f"{month // 100}-{month % 100:02}-01 00:01")


async def _begin(store: Store, when: datetime) -> None:
    await store.run(lambda c: months.begin(c, when))


async def _received(store: Store, name: str, **changes: Any) -> Ticket:
    sent = complaint(source_no=name, **changes)
    return (await desk(store, assisted=False).receive(sent, name, NOW)).ticket


async def _closed(store: Store, name: str, **changes: Any) -> Ticket:
    """Return a ticket that was answered and closed in November 2026."""
    d = desk(store, assisted=False)
    ticket = await _received(store, name, **changes)
    ticket = await d.sign(order(ticket, HANDLER))
    ticket = await d.contact(order(ticket, HANDLER, "2026-11-18 11:00"), text="已电话联系")
    answer: dict[str, Any] = {"public_reply": "已退款", "internal_finding": "首次", "solved": True}
    ticket = await d.resolve(order(ticket, HANDLER, "2026-11-20 16:00"), **answer)
    called: dict[str, Any] = {"reached": True, "solved": True, "grade": 5, "text": "满意"}
    ticket = await d.call_back(order(ticket, DISPATCHER, "2026-11-23 09:00"), **called)
    return await d.close(order(ticket, DISPATCHER, "2026-11-23 09:05"))


async def _keep(store: Store, when: datetime) -> None:
    while await store.run(lambda c: closed.keep(c, when - timedelta(days=730), when)):
        pass


async def _wholes(store: Store) -> dict[str, Any]:
    """Return all that can be read of every ticket."""

    def work(connection: sa.Connection) -> dict[str, Any]:
        return {
            t.no: (t, events(connection, t), deliveries(connection, t))
            for t in page(connection, ADMIN, Filter(limit=1000)).items
        }

    return await store.read(work)


@only_postgresql
def test_partitions_are_made_ahead_and_by_one_alone(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        first = await store.read(lambda c: partitions(c, "events"))
        when = _ahead(2)
        made = await asyncio.gather(
            *(store.run(lambda c: months.prepare(c, when)) for _ in range(3))
        )
        assert sorted(made) == [0, 0, 2]
        there = await store.read(lambda c: partitions(c, "events"))
        month, wanted = month_of(_ahead(0)), {"events_before", "events_rest"}
        for _ in range(6):
            wanted.add(f"events_{month}")
            month = following(month)
        assert there == wanted
        assert first < there
        assert await store.run(lambda c: months.prepare(c, when)) == 0

    in_store(scenario)


def test_a_history_over_months_is_whole_and_in_order(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        early = await _received(store, "M1")
        for count in range(1, 4):
            await store.run(lambda c: write(c, early.no))
            await _begin(store, _ahead(count))
        late = await _received(store, "M2")
        await store.run(lambda c: write(c, early.no, late.no))
        await ordered(store)
        rows = await read_all(store, lambda: 2)
        assert in_order(rows)
        assert [no for no, _ in told(rows)] == [early.no] * 4 + [late.no]
        ids = [row.event.id for row in rows]
        assert ids == sorted(set(ids))
        history = await store.read(lambda c: events(c, early))
        assert [each.version for each in history if each.act == "note"] == [2, 3, 4, 5]
        assert [each.act for each in await store.read(lambda c: events(c, late))][-1] == "note"
        assert len(await desk(store).history(early.no, AUDITOR)) == len(history)

    in_store(scenario)


def test_months_begin_once_and_never_go_back(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        ticket = await _received(store, "M1")
        when = _ahead(1)
        began = await asyncio.gather(
            *(store.run(lambda c: months.begin(c, when)) for _ in range(3))
        )
        assert sorted(began) == [False, False, True]
        await store.run(lambda c: write(c, ticket.no))
        # The clock was set back, and a turn was rolled back after it had moved the sequence.
        assert not await store.run(lambda c: months.begin(c, _ahead(0)))

        def rolled_back(connection: sa.Connection) -> None:
            assert months.begin(connection, _ahead(2))
            raise RuntimeError

        with pytest.raises(RuntimeError):
            await store.run(rolled_back)
        await store.run(lambda c: write(c, ticket.no))
        await _begin(store, _ahead(2))
        await store.run(lambda c: write(c, ticket.no))
        ids = [each.id for each in await store.read(lambda c: events(c, ticket))]
        assert ids == sorted(set(ids))

    in_store(scenario)


@only_postgresql
def test_what_comes_beyond_the_last_partition_is_kept_and_moved_later(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        ticket = await _received(store, "M1")
        when = _ahead(9)
        await _begin(store, when)
        await store.run(lambda c: write(c, ticket.no))
        await ordered(store)
        rest = sa.text("SELECT count(*) FROM events_rest")
        assert await store.read(lambda c: c.execute(rest).scalar()) == 1
        before = await read_all(store)
        assert await store.run(lambda c: months.prepare(c, when)) == 4
        assert await store.read(lambda c: c.execute(rest).scalar()) == 0
        own = sa.text(f"SELECT count(*) FROM events_{month_of(when)}")
        assert await store.read(lambda c: c.execute(own).scalar()) == 1
        await store.run(lambda c: write(c, ticket.no))
        await ordered(store)
        assert (await read_all(store))[:-1] == before

    in_store(scenario)


@only_postgresql
def test_a_young_tickets_history_reads_no_old_month(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await _received(store, "M1")
        for count in range(1, 4):
            await store.run(lambda c, n=count: months.prepare(c, _ahead(n)))  # type: ignore[misc]
            await _begin(store, _ahead(count))
        young = await _received(store, "M2")

        def explained(connection: sa.Connection) -> str:
            e = metadata.tables["events"]
            query = sa.select(e).where(e.c.ticket_id == young.id, months.since(young.id))
            text = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
            rows = connection.execute(sa.text(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {text}"))
            return "\n".join(rows.scalars())

        plan = await store.read(explained)
        parts = [line for line in plan.splitlines() if " on events_" in line]
        read = [line for line in parts if "never executed" not in line]
        old = ["before", *(str(month_of(_ahead(count))) for count in range(3))]
        assert len(parts) >= 5, plan
        assert not any(f"on events_{each}" in line for line in read for each in old), plan
        assert any(f"on events_{month_of(_ahead(3))}" in line for line in read), plan

    in_store(scenario)


def test_a_ticket_that_ended_long_ago_is_what_it_was(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        lives = Histories(store, RULES, at("2026-03-02 09:00"), random.Random(5))
        for _ in range(60):
            await lives.step()
        for n in range(3):
            await _closed(store, f"C{n}")
        before = await _wholes(store)
        counted = await store.read(recount)
        later = at("2029-02-01 09:00")
        await _keep(store, later)
        kept = await store.read(lambda c: c.execute(sa.select(closed._c.ticket_id)).scalars().all())
        assert len(kept) >= 3
        over = {t.id for t, _, _ in before.values() if t.state is State.CLOSED}
        assert set(kept) >= over
        assert await _wholes(store) == before
        again = await store.read(recount)
        assert (again.wrong, again.sums) == (counted.wrong, counted.sums)
        assert again.counts == counted.counts

    in_store(scenario)


def test_an_act_brings_a_ticket_back_whole(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        ticket = await _closed(store, "C1")
        before = (await _wholes(store))[ticket.no]
        await _keep(store, at("2029-02-01 09:00"))
        same = await desk(store, assisted=False).receive(complaint(source_no="C1"), "C1", NOW)
        assert same.ticket.no == ticket.no
        reopened = await desk(store, assisted=False).reopen(
            order(ticket, ADMIN, "2029-02-02 09:00"), reason="诉求人再次反映"
        )
        assert reopened.complaint == ticket.complaint
        assert reopened.route == ticket.route
        assert (await _wholes(store))[ticket.no][2][: len(before[2])] == before[2]
        assert await store.read(lambda c: c.execute(sa.select(closed._c.month)).all()) == []

    in_store(scenario)


def test_words_that_are_cut_after_a_ticket_was_kept_apart_are_all_there(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        ticket = await _closed(store, "C1", place="枫林村委会")
        await _keep(store, at("2029-02-01 09:00"))

        def forget(connection: sa.Connection) -> None:
            connection.execute(sa.text("DELETE FROM ticket_words"))
            connection.execute(sa.text("UPDATE search_backlog SET before = 1000"))

        await store.run(forget)
        assert await store.run(lambda c: search.catch_up(c, 10)) == 1
        for typed in ("枫林", "排骨"):
            found = await store.read(lambda c, q=typed: page(c, ADMIN, Filter(q=q)))  # type: ignore[misc]
            assert [each.no for each in found.items] == [ticket.no]

    in_store(scenario)


def test_nothing_is_kept_apart_soon_after_the_upgrade_or_when_it_is_switched_off(
    in_store: Run,
) -> None:
    async def scenario(store: Store) -> None:
        await _closed(store, "C1")
        later = at("2029-02-01 09:00")
        began = await store.read(months.began)
        assert await Upkeep(store, lambda: later, 0).closed() == 0
        assert await Upkeep(store, lambda: began + timedelta(hours=23), 1).closed() == 0
        assert await Upkeep(store, lambda: later, 730).closed() == 1

    in_store(scenario)


@only_postgresql
def test_old_months_are_taken_off_and_put_back(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        old = await _closed(store, "C1")
        await ordered(store)
        everything = await read_all(store)
        first = month_of(_ahead(0))
        await store.run(lambda c: months.prepare(c, _ahead(1)))
        await _begin(store, _ahead(1))
        with pytest.raises(archive.NotOver, match="1 张工单"):
            await store.run(lambda c: archive.detach(c, first, NOW))
        await _keep(store, at("2029-02-01 09:00"))
        with pytest.raises(archive.NotOver, match="本月"):
            await store.run(lambda c: archive.detach(c, following(first), NOW))
        young = await _received(store, "C2")
        await ordered(store)
        found = await store.read(recount)
        await store.run(lambda c: correct(c, found, NOW))
        names = await store.run(lambda c: archive.detach(c, first, NOW))
        assert names == ["events_before", f"events_{first}"]

        # What is gone is said to be gone, and nothing is done without it.
        for refused in (
            lambda c: events(c, old),
            recount,
            lambda c: closed.bring_back(c, {old.id: 202611}),
        ):
            with pytest.raises(Detached):
                await store.read(refused)
        with pytest.raises(TakenOff) as begins:
            await store.read(lambda c: stretch(c, BEGINNING, 5))
        rest = await store.read(lambda c: stretch(c, begins.value.first, 100))
        assert {row.ticket_no for row in rest.rows} == {young.no}
        assert len(await store.read(lambda c: events(c, young))) == len(rest.rows)
        assert (await _received(store, "C2")).no == young.no

        assert await store.run(lambda c: archive.attach(c, 0)) == names
        assert (await read_all(store))[: len(everything)] == everything
        assert (await store.read(recount)).agrees
        listed = await store.read(archive.months)
        assert [each.detached_at for each in listed] == [None] * 3

    in_store(scenario)


def test_an_upgrade_of_a_filled_database_keeps_every_answer(migrated_url: str) -> None:
    async def scenario() -> None:
        store = open_store(migrated_url)
        lives = Histories(store, RULES, at("2026-03-02 09:00"), random.Random(8))
        for _ in range(50):
            await lives.step()
        await ordered(store)
        before, rows = await _wholes(store), await read_all(store)
        counted = await store.read(recount)
        await store.run(lambda c: down_to(c, "0008"))
        # As a replica of the version before reads and writes it.
        await store.migrate()
        assert await _wholes(store) == before
        assert await read_all(store) == rows
        again = await store.read(recount)
        assert (again.counts, again.wrong) == (counted.counts, counted.wrong)
        for _ in range(10):
            await lives.step()
        await ordered(store)
        assert (await read_all(store))[: len(rows)] == rows
        await store.close()

    asyncio.run(scenario())


def test_upkeep_goes_by_the_earlier_of_two_clocks(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        wild = at("2099-01-01 00:00")
        on_postgresql = await store.read(lambda c: c.dialect.name == "postgresql")
        await Upkeep(store, lambda: wild, 730).months()
        last = (await store.read(archive.months))[-1].month
        assert last == (month_of(_ahead(0)) if on_postgresql else month_of(wild))

    in_store(scenario)
