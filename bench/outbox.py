"""The outbox against its limit: deliveries a second, and the same letters by bare httpx.

Run from the repository: `python -m bench.outbox`. A receiver in a process of its own answers 204.
The limit is what httpx posts in the same run to the same receiver, as many at once, without a
database and without signing.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import sqlalchemy as sa

from adapters.outbound import Outbound
from bench.enforce import fill, postgres
from service.domain.delivery import receiver
from service.domain.ports import Receiver
from service.domain.ticket import Delivery, Recipient, Word
from service.outbox import AT_ONCE, Outbox
from service.store import Store, deliveries, open_store

TICKETS = 500
PER_TICKET = 2
DESTINATIONS = 4
ROUNDS = 3

_RECEIVER = """
import asyncio, sys
class Told(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.taken = transport, b""
    def data_received(self, data):
        self.taken += data
        head, found, rest = self.taken.partition(b"\\r\\n\\r\\n")
        if found:
            length = int(head.lower().partition(b"content-length:")[2].split(b"\\r\\n")[0])
            if len(rest) >= length:
                self.taken = rest[length:]
                self.transport.write(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
async def main():
    server = await asyncio.get_running_loop().create_server(Told, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def _write(connection: sa.Connection, receivers: Mapping[str, Receiver], at: datetime) -> None:
    """Write deliveries of the tickets, each to one of the destinations."""
    rows = connection.execute(sa.text("SELECT id, no, region FROM tickets ORDER BY id")).all()
    facts = {
        "ticket": {"source_no": "XG20261118000731", "state": "resolved"},
        "public_reply": "已办",
    }
    deliveries.deliver_all(
        connection,
        [
            (
                row.id,
                row.no,
                row.region,
                Delivery(Word.RESOLVED, Recipient.SOURCE, "", facts, f"s{row.id % DESTINATIONS}"),
            )
            for _ in range(PER_TICKET)
            for row in rows
        ],
        at,
        receivers,
    )


async def _sent(store: Store, receivers: Mapping[str, Receiver]) -> float:
    """Return how many deliveries a second leave; check that each did."""

    def now() -> datetime:
        return datetime.now(UTC)

    await store.run(lambda c: c.execute(sa.text("DELETE FROM deliveries")))
    await store.run(lambda c: _write(c, receivers, now()))
    outbox = Outbox(store, receivers, Outbound(receivers, {"SECRET": "0" * 32}), now)
    waiting = sa.text("SELECT count(*) FROM deliveries WHERE state = 'pending'")
    started = time.perf_counter()
    outbox.start(1.0)
    # Asked of the rows: nothing in the process says that all has left.
    while await store.read(lambda c: c.execute(waiting).scalar_one()):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    rate = TICKETS * PER_TICKET / (time.perf_counter() - started)
    await outbox.stop()
    delivered = sa.text("SELECT count(*) FROM deliveries WHERE state = 'delivered'")
    found = await store.read(lambda c: c.execute(delivered).scalar_one())
    assert found == TICKETS * PER_TICKET
    return rate


async def _bare(url: str) -> float:
    """Return how many posts a second httpx makes, as many at once as the outbox."""
    body = json.dumps({"type": "ticket.resolved", "data": {"x": "已办" * 60}}).encode()
    left = TICKETS * PER_TICKET

    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:

        async def post() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                (await client.post(url, content=body)).raise_for_status()

        started = time.perf_counter()
        await asyncio.gather(*(post() for _ in range(AT_ONCE * DESTINATIONS)))
        return TICKETS * PER_TICKET / (time.perf_counter() - started)


async def _measure(url: str, told: str) -> tuple[float, float]:
    """Return the best of some rounds: what the machine does besides only ever slows."""
    names = [f"source:s{n}" for n in range(DESTINATIONS)]
    receivers = {name: receiver(name, {"url": told, "secret": "SECRET"}, []) for name in names}
    store = open_store(url)
    await store.migrate()
    await store.run(lambda c: fill(c, 1, TICKETS, closed=True))
    rates, bare = [], []
    for _ in range(ROUNDS):
        rates.append(await _sent(store, receivers))
        bare.append(await _bare(told))
    await store.close()
    return max(rates), max(bare)


def run() -> dict[str, Any]:
    """Measure, and return the figures, on PostgreSQL."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(  # noqa: S603 our own receiver, written above
        [sys.executable, "-c", _RECEIVER], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        told = f"http://127.0.0.1:{int(process.stdout.readline())}/told"
        try:
            with postgres() as url:
                rate, bare = asyncio.run(_measure(url, told))
        finally:
            process.kill()
    return {
        "deliveries": TICKETS * PER_TICKET,
        "deliveries_per_s": round(rate),
        "bare_posts_per_s": round(bare),
        "deliveries_to_bare": round(rate / bare, 3),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(), indent=2) + "\n")
