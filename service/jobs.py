"""What the clock drives. The tables are the truth and every replica ticks (ADR 0003)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from service.desk import Desk
from service.metrics import Metrics
from service.mishaps import findable, outcome
from service.polling import Poller
from service.store import StoreUnavailable

_BATCH = 1000
# Clocks are slewed by milliseconds; what is more than this was set.
_JUMP_S = 2.0
# How often the lease of who polls is renewed, and each source looked at whether it is due.
_POLL_S = 1.0

log = structlog.get_logger()


class Jobs:
    """Ticks that look for due work; each finds nothing when another replica was first.

    APScheduler waits for a time on the wall, and would stand still after that was set back: a watch
    on the monotonic clock notices and sets it going again.
    """

    def __init__(
        self,
        desk: Desk,
        now: Callable[[], datetime],
        tick_seconds: float,
        metrics: Metrics,
        monotonic: Callable[[], float] = time.monotonic,
        poller: Poller | None = None,
    ) -> None:
        self._desk = desk
        self._now = now
        self._tick_s = tick_seconds
        self._metrics = metrics
        self._monotonic = monotonic
        self._poller = poller
        self._ended = asyncio.Event()
        self._polling: list[asyncio.Task[None]] = []
        self._seen = (now(), monotonic())
        self._settled = False
        self._stopping = False
        self._working = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._enforcing = self._scheduler.add_job(
            self._tick,
            "interval",
            seconds=tick_seconds,
            id="enforce",
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )

    def start(self) -> None:
        """Begin to tick."""
        self._scheduler.start()
        self._watching = asyncio.create_task(self._watch())
        if self._poller:
            ticks: list[Callable[[], Awaitable[object]]] = [self._poller.lead]
            ticks += [partial(self._poller.pull, name) for name in self._poller.sources]
            for tick in ticks:
                self._polling.append(asyncio.create_task(self._poll(tick)))

    async def stop(self) -> None:
        """Stop ticking; the transaction that is under way is finished, and none begins after it."""
        self._stopping = True
        if self._watching:
            self._watching.cancel()
        async with self._working:
            self._scheduler.shutdown(wait=False)
        self._ended.set()
        if self._poller:
            await self._poller.stop()
        await asyncio.gather(*self._polling)

    async def _poll(self, tick: Callable[[], Awaitable[object]]) -> None:
        """Do one thing of the poller about every second by the monotonic clock: each source by itself,
        so that one that is slow keeps no other waiting, and the lease apart from them all."""
        while not self._ended.is_set():
            try:
                await tick()
            except Exception as error:  # noqa: BLE001 as above
                log.error("poll.tick_failed", **findable(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _POLL_S)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._tick_s)
            if self.watch_clock():
                self._enforcing.modify(next_run_time=datetime.now(UTC))

    async def _tick(self) -> None:
        async with self._working:
            try:
                await self.enforce()
            except Exception as error:  # noqa: BLE001 what was not foreseen ends one tick, not all
                log.error("tick.failed", **findable(error))

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
        """Work out, once after a start, what was provisional. What goes wrong with it is no reason
        for clocks not to run: it is tried again with the next tick."""
        if self._settled:
            return

        async def settle() -> int:
            total = 0
            while done := await self._desk.settle(self._now()):
                total += done
            return total

        found = await outcome(settle())
        self._settled = isinstance(found, int)
        if isinstance(found, Exception):
            log.error("settle.failed", **findable(found))

    async def enforce(self) -> int:
        """Bring every due milestone up to date; return how many there were."""
        total = 0
        try:
            await self._settle()
            done = _BATCH
            while done >= _BATCH and not self._stopping:
                done = await self._desk.enforce(self._now(), _BATCH)
                total += done
        except StoreUnavailable as error:
            # The rows stay due: the next tick that reaches the database does them.
            log.warning("enforce.store_unavailable", error=str(error))
            return total
        if total:
            log.info("enforce.done", milestones=total)
        return total
