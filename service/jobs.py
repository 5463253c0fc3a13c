"""What the clock drives. The tables are the truth and every replica ticks (ADR 0003)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from service.desk import Desk
from service.matching import Matching
from service.metrics import Metrics
from service.mishaps import findable, outcome
from service.outbox import Outbox
from service.polling import Poller
from service.store import StoreUnavailable
from service.upkeep import Upkeep
from service.wiring import Refresh

_BATCH = 1000
_UPKEEP_S = 60.0
_KEPT_AT_MOST = 20
# Clocks are slewed by milliseconds; what is more than this was set.
_JUMP_S = 2.0
# How much longer than it worked the comparing of tickets rests.
_RESTS = 9
# The chain of events is in no hurry: it works a fifth of the time, however much waits.
_CHAIN_RESTS = 4
# How much longer than it worked the folding rests: so it works an eleventh of the time at most.
_FOLD_RESTS = 10
# How often is looked whether a day is over of which the chain has no head.
_HEADS_S = 60
# How often what has ended is deleted.
_PURGE_S = 600

log = structlog.get_logger()


async def _nothing_new() -> bool:
    return False


async def _nothing_to_do() -> int:
    return 0


async def _nothing_more() -> bool:
    return False


async def _no_heads(_at: datetime) -> int:
    return 0


async def _all_done() -> int | None:
    return None


class Jobs:
    """Ticks that look for due work; each finds nothing when another replica was first.

    APScheduler waits for a time on the wall, and would stand still after that was set back: a watch
    on the monotonic clock notices and sets it going again.

    `refresh` brings the rules up to date and tells whether the calendar has changed; `fold` adds
    some of what was counted to the sums, `order` gives some events their places in the feed, and both
    tell whether there is likely more; `chain` gives some of these their links and tells how many,
    `heads` makes those of a day that is over; `purge` deletes some of what has ended and tells how much;
    `cut` makes some tickets of before findable by their words and tells how many, None once all are;
    `custody` seals some of what is not and tells whether there was any; `upkeep` keeps the store in
    shape; `keep` writes down what became of the pushes to this replica.
    """

    def __init__(
        self,
        desk: Desk,
        now: Callable[[], datetime],
        tick_seconds: float,
        metrics: Metrics,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        refresh: Refresh = _nothing_new,
        refresh_seconds: float = 10.0,
        outbox: Outbox | None = None,
        poller: Poller | None = None,
        matching: Matching | None = None,
        fold: Callable[[], Awaitable[bool]] = _nothing_more,
        order: Callable[[], Awaitable[bool]] = _nothing_more,
        chain: Callable[[], Awaitable[int]] = _nothing_to_do,
        heads: Callable[[datetime], Awaitable[int]] = _no_heads,
        purge: Callable[[], Awaitable[int]] = _nothing_to_do,
        cut: Callable[[], Awaitable[int | None]] = _all_done,
        upkeep: Upkeep | None = None,
        custody: Callable[[], Awaitable[int]] = _nothing_to_do,
        keep: Callable[[], Awaitable[int]] = _nothing_to_do,
    ) -> None:
        self._desk = desk
        self._outbox = outbox
        self._matching = matching
        self._now = now
        self._tick_s = tick_seconds
        self._metrics = metrics
        self._monotonic = monotonic
        self._refresh = refresh
        self._poller = poller
        self._fold = fold
        self._order = order
        self._chain = chain
        self._heads = heads
        self._purge = purge
        self._cut = cut
        self._keep = keep
        self._custody = custody
        self._all_cut = False
        self._upkeep = upkeep
        self._seen = (now(), monotonic())
        self._settled = False
        self._settle_again = False
        self._stopping = False
        self._ended = asyncio.Event()
        self._compares_from = 0.0
        self._watching: asyncio.Task[None] | None = None
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        # Each beside the others: a backlog of what is to be compared holds up no clock.
        every = (
            ("enforce", self.enforce, tick_seconds),
            ("refresh", self._look, refresh_seconds),
            ("compare", self._compare, tick_seconds),
            ("fold", self._fold_all, tick_seconds),
            ("order", self._order_all, tick_seconds),
            ("months", self._months, _UPKEEP_S),
            ("closed", self._closed, _UPKEEP_S),
            ("chain", self._chain_all, tick_seconds),
            ("heads", self._make_heads, _HEADS_S),
            ("purge", self._purge_all, _PURGE_S),
            ("cut", self._cut_all, tick_seconds),
            ("custody", self._custody_all, tick_seconds),
            ("keep", self._keep, refresh_seconds),
        )
        self._under_way = {name: asyncio.Lock() for name, _, _ in every}
        # One after the other, not all at the same moment: who asks meanwhile would wait for all of them.
        self._apart = timedelta(seconds=tick_seconds / len(every))
        begins = datetime.now(UTC)
        self._jobs = [
            self._scheduler.add_job(
                self._turn,
                "interval",
                args=(name, work),
                seconds=seconds,
                start_date=begins + timedelta(seconds=seconds) + n * self._apart,
                id=name,
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
            )
            for n, (name, work, seconds) in enumerate(every)
        ]

    def start(self) -> None:
        """Begin to tick. The outbox and the poller have loops of their own: none waits for another."""
        self._scheduler.start()
        if self._outbox:
            self._outbox.start(self._tick_s)
        if self._poller:
            self._poller.start()
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop ticking; the transaction that is under way is finished, and none begins after it."""
        self._stopping = True
        self._ended.set()
        if self._watching:
            self._watching.cancel()
        for under_way in self._under_way.values():
            async with under_way:
                pass
        self._scheduler.shutdown(wait=False)
        with suppress(StoreUnavailable):  # a few counts of pushes, which tell how a source fares
            await self._keep()
        if self._poller:
            await self._poller.stop()
        if self._outbox:
            await self._outbox.stop()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._tick_s)
            if self.watch_clock():
                begins = datetime.now(UTC)
                for n, job in enumerate(self._jobs):
                    job.modify(next_run_time=begins + n * self._apart)

    async def _turn(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do a job once; what goes wrong ends this turn and is told, and the next one tries again."""
        if self._stopping:
            return  # whoever waits when the scheduler is shut down is cancelled
        try:
            async with self._under_way[name]:
                await work()
        except StoreUnavailable as error:
            log.warning("job.store_unavailable", job=name, error=str(error))
        except Exception as error:  # noqa: BLE001 what was not foreseen ends one turn, not all
            log.error("job.failed", job=name, **findable(error))

    async def _fold_all(self) -> None:
        """Add to the sums what was counted. Answers never wait for it; they get slower without it.
        What comes meanwhile is for the next turn: the more at once, the less each costs, so after a
        flood it rests for long and after a ticket or two hardly."""
        began = self._monotonic()
        while not self._stopping and await self._fold():
            pass
        await self._rest((self._monotonic() - began) * _FOLD_RESTS)

    async def _order_all(self) -> None:
        """Give every event its place in the feed. Those who follow it wait for this, nobody else."""
        while not self._stopping and await self._order():
            pass

    async def _rest(self, seconds: float) -> None:
        """Rest for so long, or until it is time to stop: who stops waits for work, not for rests."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)

    async def _months(self) -> None:
        if self._upkeep:
            await self._upkeep.months()

    async def _closed(self) -> None:
        """Keep what ended long ago apart, in small transactions, and so many a turn: nobody waits."""
        for _ in range(_KEPT_AT_MOST):
            if not self._upkeep or self._stopping or not await self._upkeep.closed():
                return

    async def _chain_all(self) -> None:
        """Give every event that has its place its link. Nobody waits for it, and nobody should feel it."""
        while not self._stopping:
            began = self._monotonic()
            if not await self._chain():
                return
            await self._rest((self._monotonic() - began) * _CHAIN_RESTS)

    async def _make_heads(self) -> None:
        """Make the heads of a day that is over."""
        if made := await self._heads(self._now()):
            log.info("audit.heads_made", regions=made)

    async def _purge_all(self) -> None:
        """Delete what has ended. Nobody waits for it."""
        while not self._stopping and await self._purge():
            pass

    async def _cut_all(self) -> None:
        """Make findable by words what was there before words were kept. It rests as long as it worked:
        nobody who pushes or asks should feel it."""
        while not self._stopping and not self._all_cut:
            began = self._monotonic()
            done = await self._cut()
            if done is None:
                self._all_cut = True
            elif not done:
                return  # another replica is at it
            else:
                await self._rest(self._monotonic() - began)

    async def _custody_all(self) -> None:
        """Seal what is not, seal anew, make anonymous. It rests as long as it worked, as above."""
        done = 1
        while done and not self._stopping:
            began = self._monotonic()
            done = await self._custody()
            if done:
                await self._rest(self._monotonic() - began)

    async def _look(self) -> None:
        """Bring the rules up to date; after a new calendar, what was provisional is worked out, and
        once more when acts that began by the old one are over."""
        if self._settle_again:
            self._settled = self._settle_again = False
        if await self._refresh():
            self._settled, self._settle_again = False, True

    async def _compare(self) -> None:
        if self._matching:
            await self.compare(self._matching)

    async def compare(self, matching: Matching) -> int:
        """Compare a batch of what came in with what is there; return how many tickets it was, 0 while
        it rests: nine times as long as it worked. A backlog takes longer, and intake does not."""
        began = self._monotonic()
        if began < self._compares_from:
            return 0
        done = await matching.look(self._now())
        ended = self._monotonic()
        self._compares_from = ended + (ended - began) * _RESTS
        return done

    def watch_clock(self) -> float:
        """Return by how many seconds the wall clock was set back since the last look, 0 if it was
        not, and report it.

        Nothing is lost or doubled by it: what was done stays done, what comes waits until the clock
        says so again.
        """
        wall, steady = self._now(), self._monotonic()
        went = (wall - self._seen[0]).total_seconds()
        back = (steady - self._seen[1]) - went
        self._seen = (wall, steady)
        if back < _JUMP_S:
            return 0.0
        self._metrics.clock_set_back()
        log.warning("clock.set_back", seconds=round(back, 1))
        return back

    async def _settle(self) -> None:
        """Work out what was provisional, after a start and after a new calendar. What goes wrong with
        it is no reason for clocks not to run: it is tried again with the next tick."""
        if self._settled:
            return

        async def settle() -> int:
            total, after = 0, 0
            while not self._stopping:
                batch = await self._desk.settle(self._now(), after)
                total += batch.tickets
                if batch.last is None:
                    break
                after = batch.last
            return total

        # Before and not after: a calendar that comes meanwhile says that there is more.
        self._settled = True
        try:
            found = await outcome(settle())
        except StoreUnavailable:
            self._settled = False
            raise
        if isinstance(found, Exception):
            self._settled = False
            log.error("settle.failed", **findable(found))
        elif found:
            log.info("settle.done", tickets=found)

    async def enforce(self) -> int:
        """Bring every due milestone up to date; return how many there were. What a turn does not reach
        stays due: the next one that reaches the database does it."""
        total = 0
        await self._settle()
        done = _BATCH
        while done >= _BATCH and not self._stopping:
            done = await self._desk.enforce(self._now(), _BATCH)
            total += done
        if total:
            log.info("enforce.done", milestones=total)
        return total
