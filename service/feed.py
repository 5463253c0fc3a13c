"""The event feed (事件流): what happened, page by page or as it comes, as each caller may see it."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from math import ceil

import sqlalchemy as sa
import structlog

from service.desk import event_shown, sees_ticket
from service.domain.access import Actor, Ask, Role, check_act
from service.mishaps import findable
from service.store import Store, StoreUnavailable, feed, tickets
from service.store.feed import BEGINNING, Happened, Lost, Place, TakenOff

# Of all streams, what one token may hold.
_SHARE = 0.75
# Windows of one browser that are looked at at once.
_PAGES_EACH = 4

log = structlog.get_logger()


class StreamsFull(Exception):
    """As many streams are open as this replica keeps, for all or for this caller, or it is about to
    stop."""


class _Places:
    """How many streams are open, and whose. Nobody takes more than `each`."""

    def __init__(self, most: int, each: int) -> None:
        self._most = most
        self._each = each
        self._held: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        return self._held.total()

    @contextmanager
    def hold(self, by: Actor) -> Iterator[None]:
        if self.taken >= self._most or (by.id and self._held[by.id] >= self._each):
            raise StreamsFull
        self._held[by.id] += 1
        try:
            yield
        finally:
            self._held[by.id] -= 1
            self._held += Counter()  # who holds none is not kept


@dataclass(frozen=True, slots=True)
class Page:
    """What a caller may see of a stretch of the feed. Whoever goes on at `end` misses nothing;
    `more` says that there is more by now."""

    items: Sequence[Happened]
    end: Place
    more: bool


class Feed:
    """Reads the feed, and tells those who follow it that it has grown: one look into the database
    every `look_s` seconds, however many they are."""

    def __init__(self, store: Store, look_s: float, most_streams: int, most_pages: int = 0) -> None:
        self._store = store
        self._look_s = look_s
        self._followers = _Places(most_streams, ceil(most_streams * _SHARE))
        # People who leave pages open take no place from the programs that follow.
        self._watchers = _Places(most_pages, _PAGES_EACH)
        # Those who catch up read one after another: however many they are, they leave the database
        # and the loop to everybody else.
        self.turn = asyncio.Lock()
        self._tail = 0
        self._ending = False
        self._stirred = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def order(self) -> bool:
        """Give places to some events that have none yet; return whether there are likely more."""
        if not await self._store.read(feed.waiting):
            return False
        return await self._store.run(feed.order) == feed.PLACED_AT_ONCE

    async def page(self, by: Actor, after: Place, limit: int, region: str = "") -> Page:
        """Return what the caller may see after a place, of `limit` events at most, of a region.

        Raises Forbidden, and Lost for a place that is none. What the caller may not see is passed
        over: `end` lies behind it.
        """
        check_act(by, Ask.EVENTS)
        regions = (region, by.region)

        def work(connection: sa.Connection) -> Page:
            found = feed.stretch(connection, after, limit, regions)
            return Page(_shown(connection, by, found.rows), found.end, found.more)

        return await self._store.read(work)

    async def newest(self, by: Actor) -> Place:
        """Return the place of what happened last."""
        check_act(by, Ask.EVENTS)
        return await self._store.read(feed.newest)

    def stream(self, by: Actor) -> AbstractContextManager[None]:
        """Hold one of the places for those who follow the feed, or raise StreamsFull. No token takes
        every place."""
        return self._held(self._followers, by)

    def watch(self, by: Actor) -> AbstractContextManager[None]:
        """Hold one of the places for pages that look when the feed has grown, or raise StreamsFull. A
        session has a few."""
        return self._held(self._watchers, by)

    @contextmanager
    def _held(self, places: _Places, by: Actor) -> Iterator[None]:
        if self._ending:
            raise StreamsFull
        with places.hold(by):
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            yield

    @property
    def tail(self) -> int:
        """The position beyond which nothing was seen, when a stream last looked."""
        return self._tail

    @property
    def ending(self) -> bool:
        """Whether streams are to end."""
        return self._ending

    async def grown(self, beyond: int, within_s: float) -> None:
        """Wait in a stream until the feed has grown beyond a position, so many seconds are over, or
        streams are to end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._tail <= beyond and not self._ending:
                    await self._stirred.wait()

    def end(self) -> None:
        """Have all streams end now, and take no new ones."""
        self._ending = True
        self._stir()

    async def stop(self) -> None:
        """End, and finish the look that is under way."""
        self.end()
        if self._looking:
            await self._looking

    def _stir(self) -> None:
        before, self._stirred = self._stirred, asyncio.Event()
        before.set()

    async def _look(self) -> None:
        while (self._followers.taken or self._watchers.taken) and not self._ending:
            try:
                tail = await self._store.read(feed.tail)
                if tail != self._tail:
                    self._tail = tail
                    self._stir()
            except StoreUnavailable as error:
                # Each stream finds out for itself, and ends.
                log.warning("feed.store_unavailable", error=str(error))
            except Exception as error:  # noqa: BLE001 one look that fails is not the last
                log.error("feed.failed", **findable(error))
            stirred = self._stirred
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):
                    await stirred.wait()


def _shown(connection: sa.Connection, by: Actor, rows: Sequence[Happened]) -> Sequence[Happened]:
    if by.role is not Role.HANDLER:
        return [replace(row, event=event_shown(by, None, row.event)) for row in rows]
    # What a handler sees is a matter of the ticket, as it stands now.
    ids = tickets.touching(connection, by.units, {row.ticket_id for row in rows})
    seen = {each.id: each for each in tickets.by_ids(connection, ids) if sees_ticket(by, each)}
    return [
        replace(row, event=event_shown(by, seen[row.ticket_id], row.event))
        for row in rows
        if row.ticket_id in seen
    ]


__all__ = ["BEGINNING", "Feed", "Happened", "Lost", "Page", "Place", "StreamsFull", "TakenOff"]
