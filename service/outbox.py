"""The outbox: what waits to leave is claimed, sent, settled, tried again, given up (ADR 0014).

Each replica has one loop. A turn of it is one transaction: what was answered is settled, what is due
is claimed. Sending happens outside, a few at a time to each destination, and ends in the next turn.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog

from service.domain.access import Actor, Ask, check_act
from service.domain.delivery import WITH_COMPLAINT, Breaker, Due, Verdict, body, verdict
from service.domain.ports import Letter, Post, Refused, Unreachable
from service.domain.region import covers
from service.domain.ticket import DeliveryState, Event, Recipient, Ticket
from service.mishaps import findable
from service.store import Store, StoreUnavailable, deliveries, tickets
from service.store.deliveries import Receivers, Stored
from service.store.pages import Page

# To one destination at once. There is no bound over all: none waits for another.
AT_ONCE = 4
# What one press of a button makes due again.
RETRIED_AT_ONCE = 500
# Longer than any attempt, so that nothing under way is taken over.
_LEASE = timedelta(seconds=30)
_LEAVE_S = 3.0

log = structlog.get_logger()


class UnknownDelivery(Exception):
    """There is no such delivery, or none that the caller may see."""


class NotGivenUp(Exception):
    """Only what was given up or had no receiver can be tried again."""

    def __init__(self, state: DeliveryState) -> None:
        super().__init__(state)
        self.state = state


class NoReceiver(Exception):
    """No system is configured for the destination."""


class Outbox:
    """Sends what is to leave, and shows what did not."""

    def __init__(
        self,
        store: Store,
        receivers: Receivers,
        post: Post,
        now: Callable[[], datetime],
        draw: Callable[[], float] = random.random,
        at_once: int = AT_ONCE,
    ) -> None:
        self._store = store
        self._receivers = receivers
        self._post = post
        self._now = now
        self._draw = draw
        self._at_once = at_once
        self._breakers: defaultdict[str, Breaker] = defaultdict(Breaker)
        self._flying: dict[asyncio.Task[None], str] = {}
        self._came: list[tuple[Due, Verdict]] = []
        self._back: set[str] = set()
        self._wanted = asyncio.Event()
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None

    # Sending

    def wake(self) -> None:
        """Look at once whether something is due."""
        self._wanted.set()

    def start(self, tick_s: float) -> None:
        """Begin: a turn whenever it is woken, and at every tick."""
        self._loop = asyncio.create_task(self._run(tick_s))

    async def stop(self) -> None:
        """Claim nothing more, give what is under way a moment, settle it, and let go."""
        self._stopping = True
        self.wake()
        if self._loop:
            await self._loop
        if self._flying:
            _, late = await asyncio.wait(self._flying, timeout=_LEAVE_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        try:
            came, self._came = self._came, []
            at = self._now()
            await self._store.run(lambda connection: deliveries.settle(connection, came, at))
        except StoreUnavailable as error:
            # They are sent again, under the same number, when their claim has run out.
            log.warning("outbox.store_unavailable", error=str(error))
        await self._post.close()

    async def _run(self, tick_s: float) -> None:
        while not self._stopping:
            self._wanted.clear()
            try:
                await self.turn()
            except StoreUnavailable as error:
                log.warning("outbox.store_unavailable", error=str(error))
            except Exception as error:  # noqa: BLE001 what was not foreseen ends one turn, not all
                log.error("outbox.failed", **findable(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(tick_s):
                    await self._wanted.wait()

    async def turn(self) -> int:
        """Settle what came back, claim what is due and begin to send it; return how many began."""
        at = self._now()
        came, self._came = self._came, []
        back, self._back = self._back, set()
        try:
            # Counted here: what is under way changes while the store's threads work.
            room = self._room(at)
            if not came and not await self._store.read(lambda c: _is_due(c, room, at)):
                self._back |= back
                return 0
            claimed = await self._store.run(lambda c: _turn(c, came, back, room, at))
        except BaseException:
            self._came, self._back = came + self._came, back | self._back
            raise
        for due, ticket in claimed:
            task = asyncio.create_task(self._send(due, ticket))
            self._flying[task] = due.destination
            task.add_done_callback(self._landed)
        return len(claimed)

    async def landed(self) -> None:
        """Return when nothing is under way."""
        while self._flying:
            await asyncio.wait(self._flying)

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._flying[task]
        self.wake()

    def _room(self, at: datetime) -> "_Room":
        flying = Counter(self._flying.values())
        breakers = {name: self._breakers[name] for name in self._receivers}
        return {
            name: (breaker.room(at, flying[name], self._at_once), breaker.probing)
            for name, breaker in breakers.items()
        }

    async def _send(self, due: Due, ticket: Ticket | None) -> None:
        failed: Unreachable | Refused | None = None
        try:
            letter = Letter(due.destination, due.message, self._now(), body(due, ticket))
            await self._post.send(letter)
        except (Unreachable, Refused) as error:
            failed = error
        except asyncio.CancelledError:
            # We leave: nothing is known of it, and the next one sends it again at once.
            self._came.append((due, Verdict(DeliveryState.PENDING, "stopped", self._now())))
            return
        except Exception as error:  # noqa: BLE001 one that cannot be sent must not stop the others
            log.error("delivery.failed", delivery=due.id, **findable(error))
            failed = Unreachable("failed")
        at = self._now()
        found = verdict(failed, due.attempts, due.expires_at, at, self._draw)
        self._came.append((due, found))
        if found.state is DeliveryState.DEAD:
            log.warning(
                "delivery.dead",
                delivery=due.id,
                destination=due.destination,
                reason=found.reason,
                attempts=due.attempts,
            )
        self._note(due.destination, failed, at)

    def _note(self, destination: str, failed: Unreachable | Refused | None, at: datetime) -> None:
        before = self._breakers[destination]
        after = self._breakers[destination] = before.after(failed, at)
        if after.probing and not before.probing:
            reason = failed.reason if failed else ""
            log.warning("destination.down", destination=destination, reason=reason)
        if before.probing and not after.probing:
            self._back.add(destination)
            log.info("destination.back", destination=destination, failures=before.failures)

    # What people look at

    async def page(
        self, by: Actor, *, state: str = "", destination: str = "", after: int = 0, limit: int = 50
    ) -> Page[Stored]:
        """Return a page of deliveries of the caller's region, newest first, or raise Forbidden."""
        check_act(by, Ask.DELIVERIES)
        return await self._store.read(
            lambda connection: deliveries.page(
                connection,
                by.region,
                state=state,
                destination=destination,
                after=after,
                limit=limit,
            )
        )

    async def retry(self, delivery_id: int, by: Actor, at: datetime) -> Stored:
        """Make a delivery due again that was given up or had no receiver; it keeps its number.

        Raises Forbidden, UnknownDelivery, NotGivenUp or NoReceiver; then nothing is written.
        """
        check_act(by, Ask.REDELIVER)

        def work(connection: sa.Connection) -> Stored:
            found = deliveries.get(connection, delivery_id, lock=True)
            if found is None or not covers(by.region, found.region):
                raise UnknownDelivery
            if found.state not in {DeliveryState.DEAD, DeliveryState.UNADDRESSED}:
                raise NotGivenUp(found.state)
            receiver = self._receivers.get(found.destination)
            if receiver is None:
                raise NoReceiver
            ends = at + timedelta(hours=receiver.hours)
            tickets.append_all(connection, [_told(found, by, at)])
            return deliveries.revive(connection, delivery_id, at, ends)

        revived = await self._store.run(work)
        self.wake()
        return revived

    async def given_up(self, by: Actor) -> Mapping[str, int]:
        """Return how many deliveries of the caller's region were given up, by destination, as far as
        `deliveries.COUNTED` of them go. Raises Forbidden."""
        check_act(by, Ask.DELIVERIES)
        return await self._store.read(
            lambda c: deliveries.by_destination(c, by.region, DeliveryState.DEAD)
        )

    def receives(self, destination: str) -> bool:
        """Whether a system is configured for a destination."""
        return destination in self._receivers

    async def retry_all(self, destination: str, by: Actor, at: datetime) -> int:
        """Make what was given up to a destination due again, the oldest first, RETRIED_AT_ONCE at most;
        return how many.

        Raises Forbidden or NoReceiver; then nothing is written.
        """
        check_act(by, Ask.REDELIVER)
        receiver = self._receivers.get(destination)
        if receiver is None:
            raise NoReceiver
        ends = at + timedelta(hours=receiver.hours)

        def work(connection: sa.Connection) -> int:
            revived = deliveries.revive_all(
                connection, by.region, destination, at, ends, RETRIED_AT_ONCE
            )
            tickets.append_all(connection, [_told(each, by, at) for each in revived])
            return len(revived)

        done = await self._store.run(work)
        self.wake()
        return done


def _told(found: Stored, by: Actor, at: datetime) -> tuple[int, str, str, Event]:
    """Return the event of a delivery that is tried again, with its ticket's id, number and region."""
    content = {
        "delivery": found.kind,
        "destination": found.destination,
        "message": found.message,
    }
    event = Event("redeliver", at, by.name, by.role, content)
    return found.ticket_id, found.ticket_no, found.region, event


# How many may be sent to each destination now, and whether they are probes.
_Room = Mapping[str, tuple[int, bool]]


def _is_due(connection: sa.Connection, room: _Room, at: datetime) -> bool:
    """Whether a turn would find anything, asked without taking the writer's place."""
    return any(
        destination not in room
        or (
            room[destination][0]
            and deliveries.is_due(connection, destination, at, probing=room[destination][1])
        )
        for destination in deliveries.destinations(connection)
    )


def _turn(
    connection: sa.Connection,
    came: Sequence[tuple[Due, Verdict]],
    back: Collection[str],
    room: _Room,
    at: datetime,
) -> list[tuple[Due, Ticket | None]]:
    """Settle and claim; return what is to be sent, with its ticket where that is told of."""
    deliveries.settle(connection, came, at)
    for destination in sorted(back):
        deliveries.waken(connection, destination, at)
    claimed: list[Due] = []
    for destination in deliveries.destinations(connection):
        if destination not in room:
            deliveries.unaddress(connection, destination, at)
            log.warning("outbox.no_receiver", destination=destination)
            continue
        most, probing = room[destination]
        claimed += deliveries.claim(connection, destination, most, at, at + _LEASE, probing=probing)
    told = {
        due.ticket_id
        for due in claimed
        if due.recipient is Recipient.UNIT and due.kind in WITH_COMPLAINT
    }
    found = tickets.claim(connection, told, lock=False) if told else []
    by_id = {ticket.id: ticket for ticket in found}
    return [(due, by_id.get(due.ticket_id)) for due in claimed]
