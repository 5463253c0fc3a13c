"""What keeps the store in shape over the years: months of events, and tickets that ended long ago."""

from collections.abc import Callable
from datetime import datetime, timedelta

from service.store import Store, closed, months

# For so long after the upgrade that brought it no ticket is kept apart: replicas of the version before
# may still run, and would not find its documents.
_REST = timedelta(days=1)


class Upkeep:
    """Every replica looks, and one does it. `after_days` days after its end a ticket is kept apart,
    with 0 never."""

    def __init__(self, store: Store, now: Callable[[], datetime], after_days: int) -> None:
        self._store = store
        self._now = now
        self._after = timedelta(days=after_days)

    async def months(self) -> None:
        """Begin the month that it is, and make the partitions of those to come."""
        at = await self._store.read(lambda connection: months.clock(connection, self._now()))
        # First what must happen at midnight; the other may have to wait for locks.
        await self._store.run(lambda connection: months.begin(connection, at))
        await self._store.run(lambda connection: months.prepare(connection, at))

    async def closed(self) -> int:
        """Keep some tickets apart; return how many were looked at, 0 if there is nothing to do."""
        if not self._after:
            return 0
        at = self._now()
        began = await self._store.read(months.began)
        if at - began < _REST:
            return 0
        return await self._store.run(lambda c: closed.keep(c, at - self._after, at))
