"""Keeps what people told: seals what was there before, seals anew when keys change, and makes anonymous
what is old enough (ADR 0030). Nobody waits for any of it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import sqlalchemy as sa
import structlog

from service.domain.access import SYSTEM
from service.domain.lifecycle import FINISHED
from service.domain.ticket import Event
from service.mishaps import findable, outcome
from service.seal import KeyFault
from service.store import Store, deliveries, matching, polls, sealing, tickets
from service.store.engine import prepare

_AT_ONCE = 100
_WINDOW = 5_000
# Replicas of the version before write unsealed while both run; so far back it is looked at again.
_AGAIN_AFTER = timedelta(minutes=10)
_AGAIN_IDS = 50_000

log = structlog.get_logger()


class Custody:
    """A job of every replica; what it changes one replica changes at a time."""

    def __init__(
        self, store: Store, now: Callable[[], datetime], anonymise_after_days: int = 0
    ) -> None:
        """`anonymise_after_days` is how long after the last that happened to it a finished ticket is
        made anonymous, 0 for never."""
        self._store = store
        self._now = now
        self._keeps = timedelta(anonymise_after_days)
        self._after = 0
        self._rests_until: datetime | None = None
        self._aged = 0
        self._aged_at: datetime | None = None
        self.is_busy = False

    @property
    def says(self) -> str:
        """Return what whoever runs the service should know, in Chinese, "" for nothing."""
        found = []
        if self._store.sealing.keeps_in_database:
            found.append(
                "封存密钥在数据库内，拿到数据库即可读出个人信息：请用 banjie keys 建立密钥文件"
            )
        if self.is_busy:
            found.append("正在封存或重新封存，进度见 banjie keys status")
        return "；".join(found)

    async def turn(self) -> int:
        """Do a piece of it; return how much there was, 0 while there is nothing to do."""
        await self._refresh()
        walked, sealed = await self._seal()
        resealed = await self._reseal()
        self.is_busy = sealed + resealed > 0
        return walked + resealed + await self._age()

    async def _refresh(self) -> None:
        """Take in a key file that somebody changed; one that does not fit is told of and not taken."""
        held = self._store.sealing
        if held.is_ready and not held.has_changed:
            return
        try:
            await prepare(self._store)
        except KeyFault as error:
            log.error("keys.refused", error=str(error))

    async def _seal(self) -> tuple[int, int]:
        """Seal some of what was there before; return how many ids were looked at or more, and how many
        of them were not sealed."""
        at = self._now()
        if self._rests_until and at < self._rests_until:
            return 0, 0
        ids, last = await self._store.read(
            lambda connection: sealing.unsealed(connection, self._after, _WINDOW)
        )
        # A turn is short, for between two there is a rest, and who stops the service waits for its end.
        some = ids[:_AT_ONCE]
        if some:
            await self._store.run(partial(_sealed, ids=some))
        if len(ids) > len(some):
            last = some[-1]
        bodies = await self._store.run(partial(polls.seal_bodies, limit=_AT_ONCE))
        if last is None and not bodies:
            self._after = max(0, self._after - _AGAIN_IDS)
            self._rests_until = at + _AGAIN_AFTER
            return 0, 0
        self._after = last or self._after
        return 1, len(some) + bodies

    async def _reseal(self) -> int:
        # Who takes the turn locks a row, and a disk is waited for.
        if not await self._store.read(sealing.is_to_reseal):
            return 0
        return await self._store.run(_resealed)

    async def _age(self) -> int:
        """Make some tickets anonymous, in the order of their ids; after the last, an hour's rest."""
        at = self._now()
        if not self._keeps or (self._aged_at and at < self._aged_at + timedelta(hours=1)):
            return 0
        ids = await self._store.read(
            lambda c: tickets.aged(c, at - self._keeps, self._aged, _AT_ONCE)
        )
        if not ids:
            self._aged, self._aged_at = 0, at
            return 0
        self._aged = ids[-1]
        found = await outcome(self._store.run(partial(_anonymised, ids=ids, at=at)))
        if isinstance(found, Exception):
            log.error("anonymise.failed", **findable(found))
            return 0
        if found:
            log.info("anonymise.done", tickets=found)
        return len(ids)


def _sealed(connection: sa.Connection, ids: list[int]) -> None:
    tickets.seal(connection, ids)


def _resealed(connection: sa.Connection) -> int:
    return sealing.reseal(connection, _AT_ONCE) if sealing.take_turn(connection) else 0


def _anonymised(connection: sa.Connection, ids: list[int], at: datetime) -> int:
    """Forget who complained in these tickets, unless one is still worked or told of."""
    found = tickets.held(connection, ids)
    waiting = deliveries.waiting(connection, ids)
    free = [
        each
        for each in found
        if each.state in FINISHED and not each.open() and each.id not in waiting
    ]
    if not free:
        return 0
    over = [each.id for each in free]
    sealing.drop(connection, over, at)
    matching.forget_people(connection, over)
    for each in free:
        unit = each.lead.unit if each.lead else ""
        event = Event("anonymised", at, SYSTEM.name, SYSTEM.role, {}, each.version, unit)
        tickets.append(connection, each, event)
    return len(free)
