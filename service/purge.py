"""Deletes what has ended: sessions, failed tries, keys of acts and ids of pushes that nobody repeats any
more."""

from collections.abc import Awaitable, Callable

import structlog

from service.store import Store
from service.store.leases import Candidate

log = structlog.get_logger()


class Purge:
    """A job for one replica. Where two hold it for a moment, each deletes what the other left."""

    def __init__(self, store: Store, purge: Callable[[], Awaitable[int]]) -> None:
        """`purge` deletes some and tells how much."""
        self._lease = Candidate(store, "purge")
        self._purge = purge

    async def turn(self) -> int:
        """Delete some if it is this replica's turn; return how many rows it was."""
        if await self._lease.step() is None:
            return 0
        done = await self._purge()
        if done:
            log.info("purge.done", rows=done)
        return done
