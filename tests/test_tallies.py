"""The tallies are what the tickets and their events say, whatever happens to whom and when."""

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from threading import Event
from time import sleep
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing_rules.clocks import load_timetable
from service.cli_serve import prepared
from service.config import Settings
from service.desk import Desk
from service.domain.access import Actor, Role
from service.domain.calendar import SHANGHAI
from service.domain.complaint import Contact
from service.domain.kpi import RATES, Row, Weights
from service.domain.ports import Unit
from service.domain.ticket import Ticket
from service.reports import Asked, BadPeriod, By, Reports, begin, read_day
from service.store import Store, open_store, tallies
from service.store.tables import metadata
from service.store.tallies import Recounted, fold, recount
from tests.by_hand import BY_HAND, by_hand, told
from tests.calendars import with_year
from tests.histories import Histories
from tests.process import in_database, in_snapshot
from tests.revisions import down_to
from tests.served import rules
from tests.test_desk import order
from tests.test_model import RULES, Crash, _migrated
from tests.worlds import ADMIN, HANDLER, HOUSING, MARKET, ToldRouter, at, complaint

Run = Callable[[Callable[[Store], Any]], Any]
START = at("2026-02-03 08:40")
_LONG = os.environ.get("BANJIE_LONG") == "1"


async def _killed(store: Store, work: Callable[[sa.Connection], Any], place: int) -> int:
    """Let a transaction die before its `place`-th statement, or before its commit if it has no such;
    return how many statements it came to."""
    came = 0

    def dying(connection: sa.Connection) -> None:
        nonlocal came
        came = 0

        def die(*_: Any) -> None:
            nonlocal came
            came += 1
            if came == place:
                raise Crash

        sa.event.listen(connection, "before_cursor_execute", die)
        try:
            work(connection)
        finally:
            sa.event.remove(connection, "before_cursor_execute", die)
        raise Crash

    with pytest.raises(Crash):
        await store.run(dying)
    return came


class Fragile:
    """A store whose transactions die, at places that are chosen of those that each of them has:
    before any of its statements, and before the commit. They are counted by letting it die at the
    end, so that no place is missed, however many statements it has."""

    def __init__(self, store: Store, choose: Callable[[int], Iterable[int]]) -> None:
        """`choose` is told how many places there are, and gives some of 1 to that."""
        self._store = store
        self._choose = choose

    async def run(self, work: Callable[[sa.Connection], Any]) -> Any:
        """Do the work and die in the middle of it, once for each place."""
        statements = await _killed(self._store, work, 0)
        for place in self._choose(statements + 1):
            assert await _killed(self._store, work, place) == min(place, statements)
        raise Crash

    async def read(self, work: Callable[[sa.Connection], Any]) -> Any:
        """Read as ever."""
        return await self._store.read(work)


class Stubborn(Fragile):
    """A store whose transactions die at every place that they have, and are done after all."""

    def __init__(self, store: Store) -> None:
        """`died` is at which of how many places a transaction died."""
        self.died: list[tuple[int, int]] = []
        super().__init__(store, self._everywhere)

    def _everywhere(self, places: int) -> Iterable[int]:
        for place in range(1, places + 1):
            yield place
            self.died.append((place, places))

    async def run(self, work: Callable[[sa.Connection], Any]) -> Any:
        """Do the work at last."""
        with pytest.raises(Crash):
            await super().run(work)
        await _agrees(self._store)
        return await self._store.run(work)


async def _agrees(store: Store) -> None:
    found = await store.read(recount)
    assert found.wrong == []
    assert found.sums == []


async def _live(store: Store, seed: int, steps: int) -> Histories:
    """Let things happen, transactions die and entries be folded; return the histories."""
    chance = random.Random(seed)
    lives = Histories(store, RULES, START, chance, str(seed))

    def somewhere(places: int) -> Iterable[int]:
        return [chance.randint(1, places)]

    for _ in range(steps):
        fate = chance.random()
        if fate < 0.12:
            fragile: Any = Fragile(store, somewhere)
            numbers = list(lives.numbers)
            try:
                await lives.step(fragile)
            except Crash:
                lives.numbers[:] = numbers
        elif fate < 0.2:
            with pytest.raises(Crash):
                await Fragile(store, somewhere).run(fold)
        elif fate < 0.3:
            await store.run(lambda connection: fold(connection, chance.randint(1, 9)))
        else:
            await lives.step()
    return lives


def _at_once(work: Callable[[Store], Any]) -> None:
    """Do work in a SQLite store of its own."""

    empty = _migrated()

    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(empty, f"{folder}/banjie.db")
            store = open_store(f"sqlite:///{folder}/banjie.db")
            try:
                await work(store)
            finally:
                await store.close()

    asyncio.run(whole())


@pytest.mark.slow
@pytest.mark.timeout(28_800 if _LONG else 600)  # ten thousand are some hours' work
@settings(max_examples=10_000 if _LONG else 15, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.integers(10, 60))
def test_tallies_equal_a_count_from_scratch_whatever_happens(seed: int, steps: int) -> None:
    async def scenario(store: Store) -> None:
        await _live(store, seed, steps)
        await _agrees(store)
        while await store.run(fold):
            pass
        await _agrees(store)

    _at_once(scenario)


@pytest.mark.slow
@pytest.mark.timeout(3_600 if _LONG else 600)
def test_on_both_databases_too(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        for seed in range(40 if _LONG else 2):
            await _live(store, seed, 60)
            await _agrees(store)

    in_store(scenario)


@pytest.mark.slow
@pytest.mark.timeout(3_600 if _LONG else 600)
def test_a_crash_at_any_statement_of_anything_leaves_nothing_behind(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        stubborn: Any = Stubborn(store)
        lives = Histories(store, RULES, START, random.Random(1))
        for n in range(300 if _LONG else 24):
            await lives.step(stubborn)
            if n % 8 == 7:
                await stubborn.run(lambda connection: fold(connection, 9))
        await _agrees(store)
        most = max(places for _, places in stubborn.died)
        assert most > 9, "of transactions with many statements too"
        assert {at for at, places in stubborn.died if places == most} == set(range(1, most + 1))

    in_store(scenario)


def test_what_is_folded_at_once_by_many_is_counted_once(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        desk = Desk(store, ToldRouter(), RULES)
        posted = (complaint(source_no=f"T{n}") for n in range(24))
        receiving = [desk.receive(each, each.source_no, START) for each in posted]
        await asyncio.gather(*receiving, *(store.run(lambda c: fold(c, 5)) for _ in range(12)))
        await _agrees(store)
        while await store.run(fold):
            pass
        await _agrees(store)
        assert not await store.run(fold), "nothing is left"

    in_store(scenario)


# A count of its own


def _reports(store: Store, known: tuple[Unit, ...] = (MARKET, HOUSING), floor: int = 1) -> Reports:
    class Known(ToldRouter):
        def unit(self, code: str) -> Unit | None:
            return {unit.code: unit for unit in known}.get(code)

        def named(self, name: str, region: str, on: date) -> Unit | None:
            return {MARKET.name: HOUSING}.get(name) if MARKET not in known else None

    return Reports(store, Known, rules(None)[0].gazetteer, Weights(), floor)


def test_every_rate_equals_plain_sql_over_events(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        lives = Histories(store, RULES, START, random.Random(7))
        for n in range(700):
            await lives.step()
            if n % 50 == 0:
                await store.run(fold)
        today = lives.now.date()
        assert set(BY_HAND) == set(RATES)
        for first, last in (
            (date(2024, 6, 1), today),
            (date(2026, 2, 11), date(2026, 3, 17)),
            (date(2026, 3, 1), date(2026, 4, 30)),
        ):
            report = await _reports(store).kpis(Asked(first, last), ADMIN, lives.now)
            # Of today nobody can say yet what will be late.
            days = {"a": first, "b": last, "elapsed": today - timedelta(1)}
            texts = {name: day.isoformat() for name, day in days.items()}
            for rate, expected in (await store.read(lambda c: by_hand(c, texts)))["unit"].items():  # noqa: B023
                assert told(report, rate) == expected, (rate, first)
                assert expected or first.year == 2026, f"the history has nothing for {rate}"
            ways = [By.CHANNEL, By.KIND, By.MONTH]
            for by in (*ways, By.DAY) if (last - first).days < 100 else ways:
                same = await _reports(store).kpis(Asked(first, last, by), ADMIN, lives.now)
                assert same.total.rates == report.total.rates, by
                assert same.total.worked == report.total.worked

    in_store(scenario)


# As it was known


def test_what_was_known_at_the_end_of_a_day_stays_known(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        lives = Histories(store, RULES, START, random.Random(11))
        seen: dict[Asked, Row] = {}
        for n in range(300):
            await lives.step()
            if n % 30 == 0:
                await store.run(fold)
            # Nothing happens any more on the day of the step before, and midnight comes.
            over = lives.now.date()
            lives.now = datetime.combine(over + timedelta(1), time(0, 0, 1), SHANGHAI)
            if n % 20 == 10:
                asked = Asked(START.date(), over + timedelta(30), as_of=over)
                seen[asked] = (await _reports(store).kpis(asked, ADMIN, lives.now)).total
        assert len(seen) == 15
        for asked, total in seen.items():
            again = await _reports(store).kpis(asked, ADMIN, lives.now)
            assert again.total == total, asked.as_of

    in_store(scenario)


_DONE: dict[str, Any] = {"public_reply": "办", "internal_finding": "", "solved": True}
_UNSOLVED: dict[str, Any] = {"reached": True, "solved": False, "grade": 1, "text": ""}


async def _all_folded(store: Store) -> None:
    while await store.run(fold):
        pass


def test_a_correction_is_a_new_row_and_changes_no_old_one(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        desk = Desk(store, ToldRouter(assisted=False), RULES)
        ticket = (await desk.receive(complaint(), "f", at("2026-03-02 09:30"))).ticket
        ticket = await desk.sign(order(ticket, HANDLER, "2026-03-02 10:00"))
        ticket = await desk.resolve(order(ticket, HANDLER, "2026-03-03 10:00"), **_DONE)
        ticket = await desk.call_back(order(ticket, ADMIN, "2026-03-04 10:00"), **_UNSOLVED)
        await _all_folded(store)

        def rows(connection: sa.Connection) -> set[Any]:
            found = connection.execute(sa.select(metadata.tables["tallies"]))
            return {
                (*row[:-1], *sorted(row.counts.items()))
                for row in found
                if row.known_on < "2026-04-01"
            }

        before = await store.read(rows)
        mended = _UNSOLVED | {"solved": True, "grade": 5}
        await desk.call_back(order(ticket, ADMIN, "2026-04-01 10:00"), **mended)
        await _all_folded(store)
        assert await store.read(rows) == before
        march, april = Asked(date(2026, 3, 1), date(2026, 3, 31)), at("2026-04-02 09:00")
        then = replace(march, as_of=march.until)
        was = (await _reports(store).kpis(then, ADMIN, april)).total.rates["solved"]
        now = (await _reports(store).kpis(march, ADMIN, april)).total.rates["solved"]
        assert (was.numerator, was.denominator) == (0, 1)
        assert now.denominator == 0, "the answer that counts is of April now"

    in_store(scenario)


def test_a_clock_that_ran_over_a_calendar_change_counts_where_it_lies_now(in_store: Run) -> None:
    """What was due on 5 January by a guess is due on the 11th by the year that came out, and nothing
    is left on the 5th, whether it was folded before or not."""
    guessed = load_timetable()

    async def scenario(store: Store) -> None:
        desk = Desk(store, ToldRouter(assisted=False), guessed)
        told = [
            replace(complaint(source_no=no), accepted_at=at("2026-12-29 09:12"), contact=Contact())
            for no in ("folded", "fresh")
        ]
        noted = at("2026-12-29 09:30")
        first = (await desk.receive(told[0], "a", noted)).ticket
        await _all_folded(store)
        second = (await desk.receive(told[1], "b", noted)).ticket
        changed = Desk(store, ToldRouter(assisted=False), with_year(guessed))
        moved = (await changed.recalculate(ADMIN, at("2026-12-30 09:00"), 0, apply=True)).moved
        days = {(m.no, *(due and due.date() for due in m.due_at)) for m in moved}
        was, is_ = date(2027, 1, 5), date(2027, 1, 11)
        assert {(ticket.no, was, is_) for ticket in (first, second)} <= days
        await _agrees(store)
        await _all_folded(store)
        await _agrees(store)
        for day, due in ((was, 0), (is_, 2)):
            report = await _reports(store).kpis(Asked(day, day), ADMIN, at("2027-01-13 09:00"))
            assert report.total.rates["on_time"].denominator == due

    in_store(scenario)


# Proof


def test_a_recount_finds_what_was_tampered_with_and_mends_it_from_today(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await _live(store, 3, 60)
        await _all_folded(store)
        table, now = metadata.tables["tallies"], at("2027-01-01 09:00")

        def tamper(connection: sa.Connection) -> None:
            for row in connection.execute(sa.select(table)).all():
                if n := row.counts.get("dispatched"):
                    keys = (table.c[c.name] == row._mapping[c.name] for c in table.primary_key)
                    more = {"counts": row.counts | {"dispatched": n + 2}}
                    connection.execute(table.update().where(*keys).values(more))

        await store.run(tamper)
        found = await _reports(store).recount(now)
        assert {key.measure for key, _, _ in found.wrong} == {"dispatched"}
        assert (await _reports(store).recount(now, apply=True)).wrong == found.wrong
        await _agrees(store)
        with pytest.raises(Recounted):
            await store.run(lambda c: tallies.correct(c, found, now))

    in_store(scenario)


def test_what_was_there_before_anything_was_counted_is_counted_at_the_start(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        lives = await _live(store, 5, 80)
        await _forget(store)
        reports = _reports(store)
        both = await asyncio.gather(begin(store, lives.now), begin(store, lives.now))
        assert sorted(both) == [False, True], "two starts at once count once"
        await _agrees(store)
        assert not await begin(store, lives.now), "once"
        asked = Asked(START.date(), lives.now.date())
        report = await reports.kpis(asked, ADMIN, lives.now)
        assert report.total.rates["completion"].denominator > 0
        assert any(row.name == MARKET.name for row in report.items)
        early = replace(asked, as_of=lives.now.date() - timedelta(1))
        with pytest.raises(BadPeriod, match="逐日留存"):
            await reports.kpis(early, ADMIN, lives.now)

    in_store(scenario)


async def _forget(store: Store) -> None:
    """Leave what a version without tallies leaves."""
    for name in ("tally_entries", "tallies", "tally_sums", "unit_names"):
        emptied = metadata.tables[name].delete()
        await store.run(lambda c, emptied=emptied: c.execute(emptied))  # type: ignore[misc]


def test_a_first_count_may_take_longer_than_any_transaction(
    in_store: Run, migrated_url: str
) -> None:
    bound_s = 1

    async def left_by_an_older_version(store: Store) -> None:
        await _live(store, 6, 60)
        await _forget(store)

    def hold_up(connection: sa.Connection) -> None:
        """Make whoever counts wait, for longer than the bound and its grace."""
        connection.execute(sa.text("LOCK TABLE tally_sums IN ACCESS EXCLUSIVE MODE"))
        locked.set()
        waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        while not (over.is_set() or connection.execute(waits).scalar()):
            sleep(0.02)
        sleep(bound_s + 1.5)

    in_store(left_by_an_older_version)
    chosen = Settings(database_url=migrated_url, database_timeout_seconds=bound_s)
    locked, over = Event(), Event()
    with ThreadPoolExecutor(1) as beside:
        if migrated_url.startswith("postgresql"):
            beside.submit(in_database, migrated_url, hold_up)
            assert locked.wait(60)
        try:
            asyncio.run(prepared(chosen))
        finally:
            over.set()
    found = in_snapshot(migrated_url, recount)
    assert found.tickets
    assert found.agrees


def test_an_upgrade_keeps_what_was_tallied_and_when_it_was_known(in_store: Run) -> None:
    def kept(connection: sa.Connection) -> dict[str, set[Any]]:
        return {
            name: {
                (*row[:-1], *sorted(row.counts.items()))
                for row in connection.execute(sa.select(metadata.tables[name]))
                if row.counts
            }
            for name in ("tallies", "tally_sums")
        }

    def unpack(connection: sa.Connection, found: dict[str, set[Any]]) -> None:
        """Write what 0006 had: a row for each measure, and no longer blocks than months."""
        cell = "region, unit, channel, kind"
        for name, key in (("tallies", ("day", "known_on")), ("tally_sums", ("view", "since"))):
            columns = [*cell.split(", "), *key, "measure", "n"]
            old = sa.table(name, *(sa.column(c) for c in columns))
            for *where, pairs in ((*row[:6], row[6:]) for row in found[name]):
                named = dict(
                    zip(metadata.tables[name].primary_key.columns.keys(), where, strict=True)
                )
                if name == "tallies" or named["view"].startswith(("day-", "month-")):
                    if name == "tally_sums":
                        named["view"] = "-".join(named["view"].split("-")[:2])
                    rows = [named | {"measure": measure, "n": n} for measure, n in pairs]
                    connection.execute(old.insert(), rows)

    async def scenario(store: Store) -> None:
        await _live(store, 13, 70)
        await _all_folded(store)
        before = await store.read(kept)
        assert before["tallies"]
        await store.run(lambda c: down_to(c, "0006"))
        await store.run(lambda c: unpack(c, before))
        await store.migrate()
        assert await store.read(kept) == before
        await _agrees(store)

    in_store(scenario)


# Who asks for what

_MARCH = Asked(date(2026, 3, 1), date(2026, 3, 31))
_APRIL = at("2026-04-02 09:00")


async def _given(store: Store, name: str, unit: Unit) -> Ticket:
    """Return a ticket of a unit, received on 2 March."""
    desk = Desk(store, ToldRouter(assisted=False), RULES)
    posted = complaint(source_no=name, accepted_at=at("2026-03-02 09:12"))
    ticket = (await desk.receive(posted, "f", at("2026-03-02 09:30"))).ticket
    if unit is MARKET:
        return ticket
    when = order(ticket, ADMIN, "2026-03-02 10:00")
    return await desk.dispatch(when, unit=unit.code, reason="派")


def test_a_unit_that_was_merged_into_another_is_one_row_with_both_names(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        for name, unit in (("a", MARKET), ("b", MARKET), ("c", HOUSING)):
            await _given(store, name, unit)
        apart = await _reports(store).kpis(_MARCH, ADMIN, _APRIL)
        assert {row.name: row.names for row in apart.items} == {HOUSING.name: (), MARKET.name: ()}
        merged = await _reports(store, known=(HOUSING,)).kpis(_MARCH, ADMIN, _APRIL)
        (row,) = merged.items
        assert (row.key, row.name, row.names) == (HOUSING.code, HOUSING.name, (MARKET.name,))
        assert row.rates["completion"].denominator == 3
        renamed = Unit(MARKET.code, "兴国县市场监管服务局", "360732", "market", "document")
        found = await _reports(store, known=(renamed, HOUSING)).kpis(_MARCH, ADMIN, _APRIL)
        (row,) = [row for row in found.items if row.key == MARKET.code]
        assert (row.name, row.names) == (renamed.name, (MARKET.name,))

    in_store(scenario)


def test_a_unit_whose_tickets_came_after_the_period_is_found_in_its_successor(
    in_store: Run,
) -> None:
    async def scenario(store: Store) -> None:
        desk = Desk(store, ToldRouter(assisted=False), RULES)
        late = complaint(source_no="late", accepted_at=at("2026-02-27 17:00"))
        await desk.receive(late, "f", at("2026-03-02 09:30"))
        february = replace(_MARCH, since=date(2026, 2, 1), until=date(2026, 2, 28))
        found = await _reports(store, known=(HOUSING,)).kpis(february, ADMIN, _APRIL)
        (row,) = found.items
        assert (row.key, row.name, row.names) == (HOUSING.code, HOUSING.name, (MARKET.name,))

    in_store(scenario)


def test_small_samples_are_shown_and_not_ranked(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        desk = Desk(store, ToldRouter(assisted=False), RULES)
        await _given(store, "few", HOUSING)
        for name in ("a", "b", "c"):
            await desk.sign(order(await _given(store, name, MARKET), HANDLER, "2026-03-02 10:00"))
        report = await _reports(store, floor=3).kpis(_MARCH, ADMIN, _APRIL)
        signed = {row.key: row.rates["sign"] for row in report.items}
        assert (signed[MARKET.code].rank, signed[MARKET.code].value) == (1, 1)
        assert (signed[HOUSING.code].rank, signed[HOUSING.code].denominator) == (None, 1)

    in_store(scenario)


def test_a_handler_gets_the_figures_of_its_units_alone(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await _live(store, 9, 120)
        now, whole = at("2026-07-01 09:00"), Asked(date(2026, 1, 1), date(2026, 6, 30))
        handler = Actor("承办人", Role.HANDLER, (MARKET.code,), region="360732")
        theirs = await _reports(store).kpis(whole, handler, now)
        assert [row.key for row in theirs.items] == [MARKET.code]
        everyones = await _reports(store).kpis(replace(whole, region="360732"), ADMIN, now)
        (same,) = [row for row in everyones.items if row.key == MARKET.code]
        assert any(rate.rank for rate in same.rates.values())
        assert not any(rate.rank for rate in theirs.items[0].rates.values()), "among all or not"
        assert _counts(theirs.items[0]) == _counts(same)
        for by in (By.CHANNEL, By.DAY, By.MONTH):
            other = await _reports(store).kpis(replace(whole, by=by), handler, now)
            assert _counts(other.total) == _counts(same)

    in_store(scenario)


def _counts(row: Row) -> dict[str, tuple[int, int]]:
    return {name: (rate.numerator, rate.denominator) for name, rate in row.rates.items()}


@pytest.mark.parametrize("text", ["2026-W01-1", "20261001", "2026-10-1", "2026-02-30", "明天", ""])
def test_a_day_is_written_in_one_way(text: str) -> None:
    assert read_day("/from", "2026-10-01") == date(2026, 10, 1)
    with pytest.raises(BadPeriod, match="应为日期"):
        read_day("/from", text)
