"""Walks the regions of a place and writes them, batch by batch, in as many processes as are free.

Regions share nothing but the database: each has its own citizens, queues and numbers, so that the
figures are the same however many processes walk them.
"""

import asyncio
import gc
import hashlib
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import partial
from itertools import islice
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from routing_rules.clocks import load_timetable
from routing_rules.rulebook import Rulebook, load
from service.desk import searched
from service.domain.calendar import SHANGHAI
from service.domain.complaint import Complaint
from service.domain.limits import Timetable
from service.domain.ticket import Ticket
from service.simulation.lives import Behaviour, Life, Lives
from service.simulation.place import Place, shares
from service.store import Store, deliveries, open_store, search, tallies, tickets
from service.store.bulk import Ready, insert_ready, ready
from service.store.search import Words

_AT_ONCE = 2_000
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated: so many days of a region from `first` on, `per_day` tickets on the average
    of them. `rules` is the folder that overlays the shipped rules."""

    first: date
    days: int
    per_day: float
    region: str
    seed: int
    behaviour: Behaviour
    rules: Path | None = None

    @property
    def end(self) -> datetime:
        """Return when it is over: the midnight after its last day."""
        return datetime.combine(self.first + timedelta(self.days), time(), SHANGHAI)

    @property
    def last(self) -> date:
        """Return its last day."""
        return self.first + timedelta(self.days - 1)


@dataclass(frozen=True, slots=True)
class Simulated:
    """How much was simulated; `not_over` is how many tickets were open at the end."""

    tickets: int = 0
    acts: int = 0
    events: int = 0
    not_over: int = 0

    def __add__(self, other: "Simulated") -> "Simulated":
        """Return both together."""
        return Simulated(
            self.tickets + other.tickets,
            self.acts + other.acts,
            self.events + other.events,
            self.not_over + other.not_over,
        )


def lives(
    plan: Plan, region: str, share: float, book: Rulebook, times: Timetable
) -> Iterator[Life]:
    """Return the lives of the tickets of one region of the plan, as they end."""
    behaviour = plan.behaviour
    place = Place(book, times.calendar_of(region), region, plan.seed)
    arrivals = place.days(plan.first, plan.days, plan.per_day * share, behaviour.repeats)
    return Lives(arrivals, book, times, behaviour, region, plan.end, plan.seed).walk()


async def simulate(
    plan: Plan,
    url: str,
    book: Rulebook,
    times: Timetable,
    passed: Callable[[int], None],
    processes: int = 0,
    keys: Path | None = None,
) -> Simulated:
    """Walk the plan into a migrated and empty database, and fold what was counted; return how much it
    was. `passed` is told now and then how many tickets are written; `keys` is the key file of whoever
    will serve the database."""
    regions = shares(book, plan.region, plan.seed)
    processes = min(processes or os.cpu_count() or 1, len(regions))
    store = open_store(url, keys=keys)
    try:
        if processes == 1:
            found = await _here(plan, regions, store, book, times, passed)
        else:
            found = await asyncio.to_thread(_elsewhere, plan, regions, url, passed, processes, keys)
        while await store.run(tallies.fold):
            pass
    finally:
        await store.close()
    return found


async def _here(
    plan: Plan,
    regions: Sequence[tuple[str, float]],
    store: Store,
    book: Rulebook,
    times: Timetable,
    passed: Callable[[int], None],
) -> Simulated:
    found, ids = Simulated(), Ids()
    for region, share in regions:
        before = found.tickets
        walked = lives(plan, region, share, book, times)
        found += await write(store, walked, lambda n, before=before: passed(before + n), ids)  # type: ignore[misc]
    return found


class Ids:
    """Ids of tickets in the order of asking, for all processes."""

    def __init__(self, last: "Synchronized[int] | None" = None) -> None:
        self._last = last or multiprocessing.Value("l", 0)

    def take(self, many: int) -> range:
        """Return the next ones."""
        with self._last.get_lock():
            first = self._last.value + 1
            self._last.value += many
        return range(first, first + many)


async def write(
    store: Store,
    walked: Iterator[Life],
    passed: Callable[[int], None] = lambda _: None,
    ids: Ids | None = None,
) -> Simulated:
    """Write lives into a database without tickets batch by batch, each in one transaction with all
    that counts of it."""
    total = Simulated()
    numbered: Counter[tuple[str, str]] = Counter()
    ids = ids or Ids()
    dialect = await store.read(lambda connection: connection.dialect.name)
    with _seldom_collected():
        while batch := list(islice(walked, _AT_ONCE)):
            # Made beforehand: while one process writes the others wait.
            rows = _rows(dialect, batch, ids.take(len(batch)))
            await store.run(partial(_write, rows=rows))
            numbered.update(tuple(life.ticket.no.rsplit("-", 2)[:2]) for life in batch)  # type: ignore[misc]
            total += Simulated(
                len(batch),
                sum(life.acts for life in batch),
                sum(len(life.events) for life in batch),
                sum(not life.is_over for life in batch),
            )
            passed(total.tickets)
            gc.collect(1)
    # So that whoever goes on with the database gives the next numbers.
    await store.run(lambda c: tickets.take_numbers(c, list(numbered.elements())))
    await store.run(tickets.ids_chosen)
    return total


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Look for circles among what is alive once a batch: rules and open tickets hold none, and looking
    at them all the time is a sixth of the work."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def _fingerprint(ticket: Ticket) -> str:
    return hashlib.sha256(ticket.complaint.source_no.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Rows:
    """A batch of lives as the database takes it."""

    written: Sequence[Ready]
    searched: Sequence[tuple[int, str, Words]]
    told: Sequence[tuple[int, Complaint]]
    told_at: Sequence[datetime]
    past: tallies.Past


def _rows(dialect: str, batch: Sequence[Life], numbers: Iterable[int]) -> _Rows:
    ids = dict(zip((life.ticket.no for life in batch), numbers, strict=True))
    new, events, words = [], [], []
    for life in batch:
        ticket = life.ticket
        no, region = ticket.no, ticket.region
        new.append((ticket, _fingerprint(ticket), ticket.route.decision, life.stored_at))
        events += [(ids[no], no, region, event) for event in life.events]
        words += [(ids[no], no, region, word, at) for at, word in life.words]
    tables = (
        *tickets.new_rows(ids, new),
        tickets.event_rows(events),
        deliveries.unaddressed_rows(words),
    )
    return _Rows(
        [ready(dialect, table, rows) for table, rows in tables],
        [(ids[t.no], t.region, searched(t.complaint)) for t, *_ in new],
        [(ids[t.no], t.complaint) for t, *_ in new],
        [at for life in batch for at, _ in life.words],
        tallies.past((life.ticket, life.counts) for life in batch),
    )


def _write(connection: sa.Connection, rows: _Rows) -> None:
    for each in rows.written:
        insert_ready(connection, each)
    tickets.seal_new(connection, rows.told)
    search.keep(connection, rows.searched)
    deliveries.note_unaddressed(connection, rows.told_at)
    tallies.note_past(connection, rows.past)


# In processes of their own


@dataclass
class _Mine:
    """What a process keeps between regions."""

    written: Any = None
    ids: Ids | None = None
    rules: tuple[Rulebook, Timetable] | None = field(default=None)


_mine = _Mine()


def _begin(written: "Synchronized[int]", ids: "Synchronized[int]") -> None:
    _mine.written = written
    _mine.ids = Ids(ids)


def _region(plan: Plan, region: str, share: float, url: str, keys: Path | None) -> Simulated:
    if _mine.rules is None:
        _mine.rules = load(plan.rules), load_timetable(plan.rules)
    told = 0

    def passed(written: int) -> None:
        nonlocal told
        with _mine.written.get_lock():
            _mine.written.value += written - told
        told = written

    async def whole() -> Simulated:
        assert _mine.rules
        store = open_store(url, keys=keys)
        try:
            walked = lives(plan, region, share, *_mine.rules)
            return await write(store, walked, passed, _mine.ids)
        finally:
            await store.close()

    return asyncio.run(whole())


def _elsewhere(
    plan: Plan,
    regions: Sequence[tuple[str, float]],
    url: str,
    passed: Callable[[int], None],
    processes: int,
    keys: Path | None,
) -> Simulated:
    context = multiprocessing.get_context("spawn")
    written, ids = context.Value("l", 0), context.Value("l", 0)
    with ProcessPoolExecutor(processes, context, _begin, (written, ids)) as pool:
        works = [pool.submit(_region, plan, region, share, url, keys) for region, share in regions]
        try:
            left = set(works)
            while left:
                done, left = wait(left, _LOOK_EVERY_S)
                for work in done:
                    work.result()
                passed(written.value)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return sum((work.result() for work in works), Simulated())
