"""What the clock drives. The tables are the truth and every replica ticks (ADR 0003)."""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from service.desk import Desk
from service.store import StoreUnavailable

_BATCH = 500

log = structlog.get_logger()


class Jobs:
    """Ticks that look for due work; each finds nothing when another replica was first."""

    def __init__(self, desk: Desk, now: Callable[[], datetime], tick_seconds: float) -> None:
        self._desk = desk
        self._now = now
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._scheduler.add_job(
            self.enforce,
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

    def stop(self) -> None:
        """Stop ticking; a transaction that is under way is left to finish."""
        self._scheduler.shutdown(wait=False)

    async def enforce(self) -> int:
        """Bring every due milestone up to date; return how many there were."""
        total = 0
        try:
            while (done := await self._desk.enforce(self._now(), _BATCH)) == _BATCH:
                total += done
        except StoreUnavailable as error:
            # The rows stay due: the next tick that reaches the database does them.
            log.warning("enforce.store_unavailable", error=str(error))
            return total
        if total + done:
            log.info("enforce.done", milestones=total + done)
        return total + done
