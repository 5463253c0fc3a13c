"""What one replica alone may do: a lease row with a fencing term. No clock of any machine is compared
with another's (ADR 0019).

The holder lets its row's beat grow about every second. Who would take over watches the row by its own
monotonic clock, and takes it with the next term when the beat stood still for three seconds. A holder
that was only slow finds its term gone: whatever it writes under a lease carries the term, and the
row that it writes refuses an older one.
"""

import time
from collections.abc import Callable
from uuid import uuid4

import sqlalchemy as sa

from service.store.bulk import upsert
from service.store.engine import Store, StoreUnavailable
from service.store.tables import LeaseRow, metadata

SILENCE_S = 3.0

_leases = metadata.tables[LeaseRow.__tablename__]
_l = _leases.c


class LeaseLost(Exception):
    """Somebody else holds the lease by now; nothing was written."""


class Candidate:
    """A replica that does something by a lease when it is its turn. Call `step` about once a second
    for as long as it lives; `term` is the term it holds, None while somebody else does."""

    def __init__(
        self, store: Store, name: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._name = name
        self._holder = uuid4().hex
        self._monotonic = monotonic
        self._seen: tuple[int, int] | None = None
        self._since = monotonic()
        self.term: int | None = None

    async def step(self) -> int | None:
        """Show that the holder lives, or take the lease if nobody does; return the term held.

        Raises StoreUnavailable; a holder that could not show itself for three seconds holds no more.
        """
        if self.term is None:
            self.term = await self._stand()
        else:
            try:
                if not await self._store.run(self._beat):
                    self.lost()
            except StoreUnavailable:
                if self._monotonic() - self._since >= SILENCE_S:
                    self.lost()
                raise
        if self.term is not None:
            self._since = self._monotonic()
        return self.term

    def lost(self) -> None:
        """Know that the term is over, as a refused write has shown."""
        self.term = None
        self._seen = None
        self._since = self._monotonic()

    async def give_up(self) -> None:
        """Let the next one begin at once."""
        if self.term is None:
            return
        mine = (_l.name == self._name) & (_l.holder == self._holder) & (_l.term == self.term)
        self.lost()
        await self._store.run(
            lambda connection: connection.execute(_leases.update().where(mine).values(holder=""))
        )

    async def _stand(self) -> int | None:
        row = await self._store.read(
            lambda connection: connection.execute(
                sa.select(_leases).where(_l.name == self._name)
            ).one_or_none()
        )
        if row is None:
            return await self._store.run(self._found)
        if (row.term, row.beat) != self._seen:
            self._seen = (row.term, row.beat)
            self._since = self._monotonic()
        if row.holder and self._monotonic() - self._since < SILENCE_S:
            return None
        return await self._store.run(lambda connection: self._take(connection, row.term, row.beat))

    def _found(self, connection: sa.Connection) -> int | None:
        first = upsert(connection, _leases).values(
            name=self._name, holder=self._holder, term=1, beat=0
        )
        return 1 if connection.execute(first.on_conflict_do_nothing()).rowcount else None

    def _take(self, connection: sa.Connection, term: int, beat: int) -> int | None:
        taken = connection.execute(
            _leases.update()
            .where(_l.name == self._name, _l.term == term, _l.beat == beat)
            .values(holder=self._holder, term=term + 1, beat=beat + 1)
        )
        return term + 1 if taken.rowcount else None

    def _beat(self, connection: sa.Connection) -> bool:
        mine = (_l.name == self._name) & (_l.holder == self._holder) & (_l.term == self.term)
        beaten = connection.execute(_leases.update().where(mine).values(beat=_l.beat + 1))
        return bool(beaten.rowcount)
