"""Callers that push and sign tickets whatever happens, and note what they were told."""

import asyncio
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import sqlalchemy as sa

from service.domain.access import Actor, Role
from service.store import open_store, tallies, tokens
from tests.process import in_snapshot

ADMIN = Actor("管理员", Role.ADMIN)


class Load:
    """Several callers that go round the replicas as a balancer would."""

    def __init__(self, addresses: Sequence[str], token: str, callers: int = 5) -> None:
        self._addresses = addresses
        self._token = token
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._calls, args=(n,), daemon=True) for n in range(callers)
        ]
        self.told: dict[str, str] = {}  # the ticket number that was answered, by source number
        self.signed: set[str] = set()  # ticket numbers
        self.times: list[float] = []  # of new tickets' answers, monotonic
        self.statuses: Counter[str] = Counter()
        self.wrong: list[str] = []

    def __enter__(self) -> "Load":
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, when each caller has its answer."""
        self._stop.set()
        for thread in self._threads:
            thread.join(180)
            if thread.is_alive():
                self.wrong.append("a caller never got its answer")

    def wait_for(self, more: int, seconds: float = 300) -> None:
        """Return when so many more tickets were answered."""
        least = len(self.told) + more
        ends = time.monotonic() + seconds
        while len(self.told) < least:
            assert not self.wrong, self.wrong[:3]
            assert time.monotonic() < ends, f"intake does not answer: {self.statuses}"
            time.sleep(0.02)

    def silence_s(self) -> float:
        """Return the longest time between two answers."""
        return max((b - a for a, b in itertools.pairwise(sorted(self.times))), default=0.0)

    def _calls(self, caller: int) -> None:
        rng = random.Random(caller)
        headers = {"Authorization": f"Bearer {self._token}"}
        places = itertools.cycle(self._addresses)
        for _ in range(caller % len(self._addresses)):
            next(places)
        with httpx.Client(headers=headers, timeout=60) as client:
            for number in itertools.count(1):
                if self._stop.is_set():
                    return
                sent = f"H{caller}-{number:06}"
                answer = self._ask(client, places, "/v1/intake/hotline-12345", payload(sent), {})
                if answer is None:
                    return
                ticket = answer["ticket"]
                self.times.append(time.monotonic())
                self.told[sent] = ticket["no"]
                if rng.random() < 0.5 and ticket["state"] == "dispatched":
                    key = {"If-Match": str(ticket["version"]), "Idempotency-Key": f"s-{sent}"}
                    path = f"/v1/tickets/{ticket['no']}/acts"
                    if self._ask(client, places, path, {"act": "sign"}, key):
                        self.signed.add(ticket["no"])

    def _ask(
        self,
        client: httpx.Client,
        places: Any,
        path: str,
        body: dict[str, Any],
        headers: dict[str, str],
    ) -> dict[str, Any] | None:
        """Return the answer, from the next replica while one does not give it."""
        while True:
            try:
                answer = client.post(f"{next(places)}{path}", json=body, headers=headers)
            except httpx.TransportError as error:
                self.statuses[type(error).__name__] += 1
                time.sleep(0.1)
                continue
            self.statuses[str(answer.status_code)] += 1
            if answer.status_code in {200, 201}:
                found: dict[str, Any] = answer.json()
                return found
            if answer.status_code != 503 or "retry-after" not in answer.headers:
                self.wrong.append(f"{path} {answer.status_code} {answer.text[:300]}")
                return None
            time.sleep(0.05)


def payload(number: str) -> dict[str, Any]:
    """Return a complaint of the hotline."""
    return {
        "workOrderNo": number,
        "acceptTime": "2026-11-18 09:12:33",
        "appealTypeName": "投诉",
        "urgency": "一般",
        "title": "路灯不亮",
        "content": "街上的路灯坏了好几天没人修",
        "areaCode": "360732",
        "contactPhone": "13800000002",
    }


def check(load: Load, url: str, besides: int = 0) -> int:
    """Hold what was told against what is stored; return how many tickets there are. `besides` is how
    many of them came from elsewhere."""
    assert not load.wrong, load.wrong[:5]
    # The processes go on: at one moment everything agrees, between two it need not.
    rows, counted = in_snapshot(
        url,
        lambda c: (
            c.execute(
                sa.text(
                    """
                    SELECT t.source, t.source_no, t.no,
                        (SELECT count(*) FROM bodies b WHERE b.ticket_id = t.id) AS bodies,
                        (SELECT count(*) FROM milestones m WHERE m.ticket_id = t.id) AS milestones,
                        (SELECT count(*) FROM events e
                            WHERE e.ticket_id = t.id AND e.act = 'received') AS received,
                        (SELECT count(*) FROM events e
                            WHERE e.ticket_id = t.id AND e.act = 'sign') AS signed
                    FROM tickets t
                    """
                )
            ).all(),
            tallies.recount(c),
        ),
    )
    stored = {row.source_no: row.no for row in rows}
    assert len(stored) == len(rows), "a source number is there twice"
    # Nobody gave up: what is stored was told.
    assert {row.source_no for row in rows if row.source == "hotline-12345"} == set(load.told)
    lost = {number for number, no in load.told.items() if stored.get(number) != no}
    assert not lost, f"{len(lost)} answered tickets are lost or others: {sorted(lost)[:5]}"
    ours = [row for row in rows if row.source == "hotline-12345"]
    assert len(rows) - len(ours) == besides
    for row in ours:
        assert (row.bodies, row.milestones, row.received) == (1, 3, 1), row
        assert row.signed == (row.no in load.signed), row
    days: dict[str, list[int]] = {}
    for row in rows:
        day, _, count = row.no.rpartition("-")
        days.setdefault(day, []).append(int(count))
    for day, numbers in days.items():
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), f"numbers of {day} have gaps"
    assert counted.agrees, (counted.wrong[:5], counted.sums[:5])
    assert counted.tickets == len(rows)
    return len(rows)


def token(url: str) -> str:
    """Return an administrator's token; the database is migrated before."""

    async def make() -> str:
        store = open_store(url)
        try:
            await store.migrate()
            return await store.run(lambda c: tokens.create(c, ADMIN, datetime.now(UTC)))
        finally:
            await store.close()

    return asyncio.run(make())
