"""Group commit: complaints that wait together are received in one transaction.

While one transaction is under way the next ones gather, so that the batches are as large as the load
makes them and a lone complaint waits for nobody. Each is answered after the commit that holds it.
"""

import asyncio
from collections.abc import Callable

from service.desk import Arrival, Desk, Receipt, Routed

# More would hold the loop, and the locks, for longer than a caller should wait.
_TOGETHER = 200

Answer = asyncio.Future[Receipt]


class Intake:
    """What comes in on this replica, in batches. How many may wait is the bound of `Inflow`."""

    def __init__(self, desk: Desk, took: Callable[[int], None]) -> None:
        """`took` is told the size of each batch."""
        self._desk = desk
        self._took = took
        self._waiting: list[tuple[Routed, Answer]] = []
        self._working: asyncio.Task[None] | None = None

    def submit(self, arrival: Arrival) -> Answer:
        """Route a complaint and let it wait; what it returns is done when the commit is, with what
        `Desk.receive` returns or raises. Complaints of one caller are stored in the order of calls."""
        answer: Answer = asyncio.get_running_loop().create_future()
        self._waiting.append((self._desk.routed(arrival), answer))
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
                # Who went away before it was stored will send again.
                await self._store([each for each in batch if not each[1].cancelled()])
        finally:
            self._working = None

    async def _store(self, batch: list[tuple[Routed, Answer]]) -> None:
        if not batch:
            return
        self._took(len(batch))
        try:
            found = await self._desk.receive_together([routed for routed, _ in batch])
        except BaseException as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error if isinstance(error, Exception) else Stopped())
            if not isinstance(error, Exception):
                raise
            return
        for (_, answer), receipt in zip(batch, found, strict=True):
            if answer.done():
                continue
            if isinstance(receipt, Exception):
                answer.set_exception(receipt)
            else:
                answer.set_result(receipt)


class Stopped(Exception):
    """The service stopped before it was known whether a complaint was stored."""
