"""The feed in the store: every committed event once, in one order, whoever writes and whatever dies."""

import asyncio
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from service.domain.access import SYSTEM
from service.domain.ticket import Event
from service.store import Store, open_store
from service.store.feed import (
    BEGINNING,
    Happened,
    Lost,
    Place,
    newest,
    order,
    stretch,
    tail,
    waiting,
)
from service.store.tables import metadata
from service.store.tickets import append_all, get, lock
from tests.revisions import down_to
from tests.test_desk import desk
from tests.worlds import at, complaint

Run = Callable[[Callable[[Store], Any]], Any]
NOW = at("2026-11-18 09:30")
_TICKETS = metadata.tables["tickets"]
only_postgresql = pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)


async def tickets_in(store: Store, count: int) -> list[str]:
    d = desk(store)
    return [
        (await d.receive(complaint(source_no=f"F{n}"), f"f{n}", NOW)).ticket.no
        for n in range(count)
    ]


def write(connection: sa.Connection, *numbers: str) -> list[tuple[str, int]]:
    """Write an event on each of these tickets, as an act does: the ticket is locked before."""
    lock(connection, *numbers)
    t = _TICKETS.c
    written = []
    for no in numbers:
        row = connection.execute(
            _TICKETS.update()
            .where(t.no == no)
            .values(version=t.version + 1)
            .returning(t.id, t.region, t.version)
        ).one()
        event = Event("note", NOW, SYSTEM.name, SYSTEM.role, {"text": "已查看"}, row.version)
        append_all(connection, [(row.id, no, row.region, event)])
        written.append((no, row.version))
    return written


async def ordered(store: Store, most: int = 10_000) -> None:
    while await store.run(lambda c: order(c, most)):
        pass


async def read_all(store: Store, pages: Callable[[], int] = lambda: 100) -> list[Happened]:
    found: list[Happened] = []
    place, more = BEGINNING, True
    while more:
        page = await store.read(lambda c, p=place: stretch(c, p, pages()))  # type: ignore[misc]
        found += page.rows
        place, more = page.end, page.more
    return found


def told(rows: list[Happened]) -> list[tuple[str, int]]:
    return [(row.ticket_no, row.event.version) for row in rows if row.event.act == "note"]


def in_order(rows: list[Happened]) -> bool:
    last: dict[str, int] = {}
    for no, version in told(rows):
        if version <= last.get(no, 0):
            return False
        last[no] = version
    return True


def open_engine(url: str) -> AsyncEngine:
    return create_async_engine(sa.make_url(url).set(drivername="postgresql+asyncpg"), pool_size=40)


class Writers:
    """Writes on tickets in transactions that overlap, take their number early, end in any order, and
    sometimes end in nothing."""

    def __init__(self, url: str, store: Store, numbers: list[str], chance: random.Random) -> None:
        self.committed: list[tuple[str, int]] = []
        self._url, self._store, self._numbers, self._chance = url, store, numbers, chance
        self._overlaps = url.startswith("postgresql")

    async def work(self, turns: int, writers: int) -> None:
        engine = open_engine(self._url) if self._overlaps else None

        async def one() -> None:
            for _ in range(turns):
                wanted = self._chance.sample(self._numbers, self._chance.choice((1, 1, 2)))
                await self._one(engine, *sorted(wanted))  # everybody locks several in one order

        await asyncio.gather(*(one() for _ in range(writers)))
        if engine:
            await engine.dispose()

    async def _one(self, engine: AsyncEngine | None, *wanted: str) -> None:
        fails = self._chance.random() < 0.2
        if engine is None:

            def work(connection: sa.Connection) -> list[tuple[str, int]]:
                written = write(connection, *wanted)
                if fails:
                    raise InterruptedError
                return written

            with suppress(InterruptedError):
                self.committed += await self._store.run(work)
            return
        async with engine.connect() as connection:
            begun = await connection.begin()
            if self._chance.random() < 0.5:
                await connection.execute(sa.text("SELECT pg_current_xact_id()"))
                await self._pause()
            written = await connection.run_sync(lambda c: write(c, *wanted))
            await self._pause()
            await (begun.rollback() if fails else begun.commit())
            self.committed += [] if fails else written

    async def _pause(self) -> None:
        await asyncio.sleep(self._chance.choice((0, 0, 0.002, 0.02)))


@pytest.mark.parametrize("seed", [1, 2])
def test_every_committed_event_comes_once_while_others_write(
    in_store: Run, migrated_url: str, seed: int
) -> None:
    chance = random.Random(seed)

    async def scenario(store: Store) -> None:
        numbers = await tickets_in(store, 6)
        writers = Writers(migrated_url, store, numbers[:5], chance)
        writing = True
        followed: list[Happened] = []

        async def sequence() -> None:
            while writing:
                await store.run(lambda c: order(c, chance.randint(1, 9)))
                await asyncio.sleep(0)

        async def follow() -> None:
            place = BEGINNING
            while True:
                done = not writing
                page = await store.read(
                    lambda c: stretch(c, place, chance.randint(1, 12))  # noqa: B023
                )
                followed.extend(page.rows)
                place = page.end
                if done and not page.more:
                    return
                await asyncio.sleep(0)

        following = asyncio.create_task(follow())
        sequencing = [asyncio.create_task(sequence()) for _ in range(2)]
        await writers.work(12, 10)
        await ordered(store)
        writing = False
        await asyncio.gather(following, *sequencing)
        await ordered(store)

        again = await read_all(store, lambda: chance.randint(1, 30))
        assert again[: len(followed)] == followed
        assert Counter(told(again)) == Counter(writers.committed)
        assert len({row.event.id for row in again}) == len(again)
        assert in_order(again)
        positions = [row.place.position for row in again]
        assert positions == sorted(set(positions))
        assert len(told(followed)) > 50

    in_store(scenario)


@only_postgresql
def test_a_commit_that_overtakes_is_not_waited_for_and_nothing_is_passed_over(
    in_store: Run, migrated_url: str
) -> None:
    async def scenario(store: Store) -> None:
        numbers = await tickets_in(store, 4)
        await ordered(store)
        before = len(await read_all(store))
        engine = open_engine(migrated_url)
        async with engine.connect() as slow, engine.connect() as failing:
            late, never = await slow.begin(), await failing.begin()
            await slow.run_sync(lambda c: write(c, numbers[0]))
            await failing.run_sync(lambda c: write(c, numbers[1]))
            for _ in range(3):  # whole turns while both are held
                await store.run(lambda c: write(c, numbers[2]))
                await ordered(store)
            held = await read_all(store)
            assert [no for no, _ in told(held)] == [numbers[2]] * 3
            await never.rollback()
            await late.commit()
        await engine.dispose()
        assert await store.read(waiting)
        await store.run(lambda c: write(c, numbers[3]))
        await ordered(store)
        assert not await store.read(waiting)
        rows = await read_all(store)
        assert rows[: len(held)] == held
        assert [no for no, _ in told(rows)[3:]] == [numbers[0], numbers[3]]
        positions = [row.place.position for row in rows]
        assert positions == list(range(positions[0], positions[0] + before + 5)), "no holes"
        # The one that was committed late has the lower id, and so would have been lost.
        assert rows[-2].event.id < held[-1].event.id

    in_store(scenario)


@only_postgresql
def test_a_transaction_that_took_its_number_early_comes_where_it_committed(
    in_store: Run, migrated_url: str
) -> None:
    """By (transaction, id) its event would stand before one of the same ticket that came first."""

    async def scenario(store: Store) -> None:
        [no] = await tickets_in(store, 1)
        engine = open_engine(migrated_url)
        async with engine.connect() as early:
            begun = await early.begin()
            await early.execute(sa.text("SELECT pg_current_xact_id()"))
            await store.run(lambda c: write(c, no))
            await early.run_sync(lambda c: write(c, no))
            await begun.commit()
        await engine.dispose()
        await ordered(store)
        assert [version for _, version in told(await read_all(store))] == sorted(
            version for _, version in told(await read_all(store))
        )

    in_store(scenario)


@only_postgresql
def test_a_backlog_is_placed_in_parts_whatever_is_committed_between_them(
    in_store: Run, migrated_url: str
) -> None:
    """What was under way when the backlog was found has a lower id than most of it, and what follows
    from it a higher one."""

    async def scenario(store: Store) -> None:
        late, *numbers = await tickets_in(store, 4)
        await ordered(store)
        engine = open_engine(migrated_url)
        async with engine.connect() as early:
            begun = await early.begin()
            await early.run_sync(lambda c: write(c, late))
            for _ in range(5):
                await store.run(lambda c: write(c, *numbers))
            assert await store.run(lambda c: order(c, 4)) == 4
            await begun.commit()
        await engine.dispose()
        await store.run(lambda c: write(c, late, *numbers))
        others = len(await read_all(store))
        assert await store.read(waiting)
        assert [await store.run(lambda c: order(c, 4)) for _ in range(5)] == [4, 4, 4, 4, 0]
        assert not await store.read(waiting)
        rows = await read_all(store)
        assert len(rows) == others + 16
        assert in_order(rows)
        # As if one turn had placed all that it found, and the next one the rest.
        assert [version for no, version in told(rows)[15:] if no == late] == [2, 3]

    in_store(scenario)


@only_postgresql
def test_a_part_of_a_backlog_reads_no_more_than_it_places(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        [no] = await tickets_in(store, 1)
        await ordered(store)

        def many(connection: sa.Connection) -> None:
            [row] = connection.execute(sa.select(_TICKETS.c.id, _TICKETS.c.region))
            event = Event("note", NOW, SYSTEM.name, SYSTEM.role, {"text": "已查看"}, 2)
            append_all(connection, [(row.id, no, row.region, event)] * 2_000)

        def rows_read(connection: sa.Connection) -> int:
            # Of tables and indexes, in this transaction.
            found = "pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid)"
            text = f"SELECT sum({found}) FROM pg_class WHERE relname LIKE 'events%'"
            return int(connection.execute(sa.text(text)).scalar_one())

        def part(connection: sa.Connection) -> int:
            before = rows_read(connection)
            assert order(connection, 100) == 100
            return rows_read(connection) - before

        # Nobody has told the planner of them yet.
        await store.run(many)
        await store.run(lambda c: order(c, 100))
        assert max([await store.run(part) for _ in range(5)]) <= 400

    in_store(scenario)


_SEQUENCER = """
import asyncio, sys
from service.store import open_store
from service.store.feed import order

async def main():
    store = open_store(sys.argv[1])
    print("up", flush=True)
    while True:
        await store.run(lambda c: order(c, 3))

asyncio.run(main())
"""


@only_postgresql
def test_a_sequencer_that_is_killed_leaves_no_gap_and_no_repeat(
    in_store: Run, migrated_url: str
) -> None:
    chance = random.Random(3)

    async def scenario(store: Store) -> None:
        numbers = await tickets_in(store, 4)
        writers = Writers(migrated_url, store, numbers, chance)

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, "-c", _SEQUENCER, migrated_url], stdout=subprocess.PIPE
            )

        def up(process: subprocess.Popen[bytes]) -> None:
            assert process.stdout
            assert process.stdout.readline() == b"up\n"

        others = [start() for _ in range(2)]
        for process in others:
            await asyncio.to_thread(up, process)
        for process in others:
            writing = asyncio.create_task(writers.work(8, 3))
            await asyncio.sleep(chance.uniform(0.05, 0.4))
            process.send_signal(signal.SIGKILL)
            await writing
            await asyncio.to_thread(process.communicate)
        await ordered(store, 5)
        rows = await read_all(store)
        assert Counter(told(rows)) == Counter(writers.committed)
        assert in_order(rows)

    in_store(scenario)


@only_postgresql
def test_what_was_there_before_keeps_its_order(migrated_url: str) -> None:
    """A database of the version before, with events: their places are their ids, the next come
    after them, also those of a transaction that had begun before."""

    async def scenario() -> None:
        store = open_store(migrated_url)
        await store.migrate()
        numbers = await tickets_in(store, 3)
        for _ in range(4):
            await store.run(lambda c: write(c, *numbers))
        await store.run(lambda c: down_to(c, "0006"))
        rows = await store.run(
            lambda c: c.execute(sa.text("SELECT id FROM events ORDER BY id")).scalars().all()
        )
        engine = open_engine(migrated_url)
        async with engine.connect() as early:
            begun = await early.begin()
            await early.execute(sa.text("SELECT pg_current_xact_id()"))
            # What was selected last keeps its snapshot, and an index that is made beside it waits.
            await early.execute(sa.text("SET LOCAL lock_timeout = 0"))
            await store.migrate()
            assert [row.place.position for row in await read_all(store, lambda: 4)] == rows
            assert await store.read(tail) == rows[-1]
            await early.run_sync(lambda c: write(c, numbers[0]))
            await begun.commit()
        await engine.dispose()
        await store.run(lambda c: write(c, numbers[0]))
        await ordered(store)
        after = await read_all(store, lambda: 5)
        assert [row.event.id for row in after][: len(rows)] == rows
        assert [row.place.position for row in after[len(rows) :]] == [rows[-1] + 1, rows[-1] + 2]
        assert in_order(after)
        await store.close()

    asyncio.run(scenario())


def test_the_migration_goes_back_and_forth(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        [no] = await tickets_in(store, 1)
        await store.run(lambda c: write(c, no))
        await store.run(lambda c: down_to(c, "0006"))
        await store.migrate()
        await store.run(lambda c: write(c, no))
        await ordered(store)
        assert [version for _, version in told(await read_all(store))] == [2, 3]

    in_store(scenario)


@only_postgresql
def test_a_dump_that_was_loaded_elsewhere_goes_on_where_it_was(in_store: Run) -> None:
    """Its rows name transactions of another server: of times to come here, or long gone."""

    async def scenario(store: Store) -> None:
        numbers = await tickets_in(store, 2)
        await store.run(lambda c: write(c, *numbers))
        await ordered(store)
        before = await read_all(store)
        await store.run(lambda c: write(c, numbers[0]))  # nobody gave it a place before the dump

        def load(connection: sa.Connection) -> None:
            # As a dump does: the same values, written by another transaction.
            connection.execute(sa.text("UPDATE events SET tx = tx + 30"))
            connection.execute(
                sa.text("UPDATE feed_turns SET tx = tx + 999, since = '999999:999999:'")
            )

        await store.run(load)
        assert await store.read(waiting)
        await ordered(store, 1)
        rows = await read_all(store)
        assert rows[:-1] == before
        assert told(rows)[-1][0] == numbers[0]
        for _ in range(20):  # until this server comes to the numbers in the dump
            await store.run(lambda c: write(c, numbers[1]))
            await ordered(store)
        assert len(await read_all(store)) == len(before) + 21

    in_store(scenario)


def test_a_cursor_of_another_past_is_refused(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        [no] = await tickets_in(store, 1)
        await ordered(store)
        last = await store.read(newest)
        assert (await store.read(lambda c: stretch(c, last, 5))).rows == ()
        for wrong in (Place(last.position + 7, last.mark), Place(last.position, "00000000")):
            with pytest.raises(Lost):
                await store.read(lambda c, w=wrong: stretch(c, w, 5))  # type: ignore[misc]
        await store.run(lambda c: write(c, no))
        await ordered(store)
        assert len((await store.read(lambda c: stretch(c, last, 5))).rows) == 1

    in_store(scenario)


def test_a_region_where_nothing_happens_is_passed_over_in_bounded_steps(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        [no] = await tickets_in(store, 1)
        event = Event("note", NOW, SYSTEM.name, SYSTEM.role, {}, 2)
        ticket = await store.read(lambda c: get(c, no))
        assert ticket
        await store.run(lambda c: append_all(c, [(ticket.id, no, "360732", event)] * 6_000))
        await store.run(lambda c: append_all(c, [(ticket.id, no, "360302", event)]))
        await ordered(store)
        first = await store.read(lambda c: stretch(c, BEGINNING, 9, ["360300"]))
        assert (first.rows, first.more) == ([], True)
        then = await store.read(lambda c: stretch(c, first.end, 9, ["360300", "360000", ""]))
        assert [row.region for row in then.rows] == ["360302"]
        assert not then.more
        assert then.end == await store.read(newest)
        beside = await store.read(lambda c: stretch(c, first.end, 9, ["360300", "360700"]))
        assert (beside.rows, beside.end) == ([], then.end)

    in_store(scenario)


def test_an_empty_feed_has_a_beginning(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await ordered(store)
        assert await store.read(newest) == BEGINNING
        page = await store.read(lambda c: stretch(c, BEGINNING, 5))
        assert (page.rows, page.end, page.more) == ((), BEGINNING, False)

    in_store(scenario)
