"""What the clock drives. The tables are the truth and every replica ticks (ADR 0003).

The pace is kept by the monotonic clock: a wall clock that is set back would make a scheduler of
wall times wait until it has caught up.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

import structlog

from service.desk import Desk
from service.metrics import Metrics
from service.mishaps import findable, outcome
from service.store import StoreUnavailable

_BATCH = 1000
# Clocks are slewed by milliseconds; what is more than this was set.
_JUMP_S = 2.0

log = structlog.get_logger()


class Jobs:
    """Ticks that look for due work; each finds nothing when another replica was first."""

    def __init__(
        self,
        desk: Desk,
        now: Callable[[], datetime],
        tick_seconds: float,
        metrics: Metrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = desk
        self._now = now
        self._tick_s = tick_seconds
        self._metrics = metrics
        self._monotonic = monotonic
        self._seen = (now(), monotonic())
        self._settled = False
        self._ticking: asyncio.Task[None] | None = None
        self._working: asyncio.Task[int] | None = None

    def start(self) -> None:
        """Begin to tick."""
        self._ticking = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Stop ticking; a transaction that is under way is rolled back, and its rows stay due."""
        running = [task for task in (self._ticking, self._working) if task]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._tick_s)
            self.watch_clock()
            # A task of its own: what was not foreseen ends one tick, is logged, and the next comes.
            self._working = tick = asyncio.create_task(self.enforce())
            await asyncio.wait([tick])
            if (error := tick.exception()) is not None:
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
            while (done := await self._desk.enforce(self._now(), _BATCH)) >= _BATCH:
                total += done
        except StoreUnavailable as error:
            # The rows stay due: the next tick that reaches the database does them.
            log.warning("enforce.store_unavailable", error=str(error))
            return total
        if total + done:
            log.info("enforce.done", milestones=total + done)
        return total + done
