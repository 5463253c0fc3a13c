"""The parts of a running service as the routes and pages get them; `main` puts them together."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import TypeVar

from service.audit import Audit
from service.bulletin import Bulletins
from service.custody import Custody
from service.desk import Desk
from service.domain.access import Actor
from service.domain.flow import Bucket, Rate, take
from service.domain.limits import Timetable
from service.domain.ports import Adapter, Gazetteer, Router, Source
from service.doors import Doors
from service.feed import Feed
from service.intake import Intake
from service.matching import Matching
from service.metrics import Metrics
from service.outbox import Outbox
from service.polling import Poller
from service.proposals import Proposals
from service.reports import Reports
from service.store import Store, StoreUnavailable, intakes, tokens
from service.store.engine import Schema, schema
from service.store.figures import Figures, figures
from service.store.intakes import Fate
from service.supervision import Supervision

T = TypeVar("T")

# Brings the rules of a running service up to date; True if clocks are to be worked out anew.
Refresh = Callable[[], Awaitable[bool]]

# A revoked token works so much longer; every request is spared a query.
_KEPT = timedelta(seconds=5)
_KEPT_MOST = 10_000


class Unauthenticated(Exception):
    """No token, or one that is unknown, expired, revoked or for another use."""


class Callers:
    """Looks tokens up and remembers what it found for a few seconds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[str, tuple[datetime, Actor]] = OrderedDict()

    async def find(self, token: str, at: datetime) -> Actor:
        """Return whom the token stands for, or raise Unauthenticated."""
        kept = self._known.get(token)
        if kept and at - kept[0] < _KEPT:
            return kept[1]
        actor = await self._store.read(lambda connection: tokens.find(connection, token, at))
        if actor is None:
            self._known.pop(token, None)
            raise Unauthenticated
        self._known[token] = (at, actor)
        self._known.move_to_end(token)
        if len(self._known) > _KEPT_MOST:
            self._known.popitem(last=False)
        return actor


class TooFast(Exception):
    """A source sends more than its rate allows; `wait_s` says when it may send again."""

    def __init__(self, rate: Rate, wait_s: int) -> None:
        super().__init__()
        self.rate = rate
        self.wait_s = wait_s


class Overloaded(Exception):
    """As many complaints wait as this replica lets wait."""


# What is longer takes so long to check and to parse that every other caller would feel it.
_READ_AT_ONCE = 64 * 1024
# Of all places, what one source may take.
_SHARE = 0.75


class Inflow:
    """How much comes in, on this replica: a bucket for each source, and a bound for all."""

    def __init__(self, most_at_once: int) -> None:
        self._most = most_at_once
        # One, for it shares the interpreter with the loop, and what it parses takes memory.
        self._reader = ThreadPoolExecutor(1, "reader")
        self._waiting: Counter[str] = Counter()
        self._buckets: dict[str, Bucket] = {}

    def take(self, source: Source, count: int, at: datetime, taken: int = 0) -> None:
        """Let `count` payloads of a source in, of which `taken` are in already, or raise TooFast."""
        if source.rate is None:
            return
        bucket, wait_s = take(source.rate, self._buckets.get(source.name), count, at, taken)
        self._buckets[source.name] = bucket
        if wait_s:
            raise TooFast(source.rate, wait_s)

    async def read(self, size: int, work: Callable[[], T]) -> T:
        """Return the result of work on a body of so many bytes, beside the loop if it is long."""
        if size <= _READ_AT_ONCE:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._reader, work)

    @contextmanager
    def place(self, source: str, count: int = 1, held: int = 0) -> Iterator[None]:
        """Let `count` complaints of a source wait, beside those that their push has `held` so far, or
        raise Overloaded. No source takes every place: one that sends without measure is told to
        wait, and the others are not.

        A batch takes no more than its source may have, and whoever comes while nobody waits is let
        in: none is so large that it is refused for ever.
        """
        share = ceil(self._most * _SHARE)
        count = min(count, share - held)
        total, here = self._waiting.total(), self._waiting[source]
        if total > held and (total + count > self._most or here + count > share):
            raise Overloaded
        self._waiting[source] += count
        try:
            yield
        finally:
            self._waiting[source] -= count


class Pulse:
    """What became of the pushes to this replica, until it is written down: a push writes no row of
    its source's, which all the others would wait for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted: dict[tuple[str, Fate], tuple[int, datetime]] = {}

    def note(self, source: str, fate: Fate, at: datetime) -> None:
        """Count a push."""
        count, _ = self._noted.get((source, fate), (0, at))
        self._noted[source, fate] = (count + 1, at)

    async def keep(self) -> int:
        """Write down what was counted since the last time; return how many counts there were."""
        noted, self._noted = self._noted, {}
        if noted:
            try:
                await self._store.run(lambda connection: intakes.note(connection, noted))
            except BaseException:
                for key, (count, at) in noted.items():
                    more, last = self._noted.get(key, (0, at))
                    self._noted[key] = (more + count, last)
                raise
        return len(noted)


class KeptFigures:
    """The counts behind /metrics, recounted when they are older than `keep`."""

    def __init__(self, store: Store, keep: timedelta) -> None:
        self._store = store
        self._keep = keep
        self._lock = asyncio.Lock()
        self._kept: tuple[datetime, Figures] | None = None

    async def at(self, now: datetime) -> tuple[datetime, Figures]:
        """Return the counts and when they were made. One asker counts, the others wait for it."""
        async with self._lock:
            # What was counted later than now was counted before the clock was set back.
            if self._kept is None or not timedelta() <= now - self._kept[0] < self._keep:
                self._kept = (now, await self._store.read(lambda c: figures(c, now)))
            return self._kept


class Readiness:
    """Whether the database answers, asked once for all who ask at a time: a balancer's questions must
    not take the connections of a database that hangs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looking: asyncio.Task[Schema] | None = None

    async def look(self, within_s: float) -> Schema:
        """Return how the schema stands. Raises StoreUnavailable, also for no answer in that time."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._store.read(schema))
            # Who asked may have gone by the time that it fails.
            self._looking.add_done_callback(lambda done: done.cancelled() or done.exception())
        looking = self._looking
        done, _ = await asyncio.wait({looking}, timeout=within_s)
        if not done:
            raise StoreUnavailable(f"{within_s:g} 秒内没有应答")
        return looking.result()


@dataclass(frozen=True, slots=True)
class Wiring:
    """The parts of a running service."""

    desk: Desk
    outbox: Outbox
    poller: Poller
    store: Store
    gazetteer: Gazetteer
    sources: Mapping[str, Source]
    keys: Mapping[str, tuple[bytes, ...]]  # of the signatures, by source
    adapters: Mapping[str, Adapter]
    matching: Matching
    custody: Custody
    metrics: Metrics
    callers: Callers
    pulse: Pulse
    figures: KeptFigures
    readiness: Readiness
    inflow: Inflow
    intake: Intake
    refresh: Refresh
    reports: Reports
    feed: Feed
    audit: Audit
    bulletins: Bulletins
    supervision: Supervision
    proposals: Proposals
    doors: Doors
    metrics_open: bool
    now: Callable[[], datetime]

    @property
    def router(self) -> Router:
        """Return who routes now; rulings change it."""
        return self.desk.router

    @property
    def times(self) -> Timetable:
        """Return the calendars, limits and policies of now; a year that is loaded changes them."""
        return self.desk.times
