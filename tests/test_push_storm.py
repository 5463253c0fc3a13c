"""A hotline that repeats, changes and cuts its pushes, and a server that is killed meanwhile: what was
answered is there, once."""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from service.store import open_store
from tests.process import Server, banjie, environment, free_port

LONG = os.environ.get("BANJIE_LONG") == "1"
PUSHES = 50_000 if LONG else 500
KILLS = 10 if LONG else 2
SENDERS = 16
REPEATS = 0.30
CHANGES = 0.05
CUTS = (
    0.03  # of all pushes, the sender hangs up on: before the end of its body, or before the answer
)


@dataclass
class Sender:
    """A sender that pushes until it is answered, as a hotline does. Every number is its own, so that
    what it sent last is what it knows."""

    name: str
    port: int
    token: str
    rng: random.Random
    versions: dict[str, int] = field(default_factory=dict)
    tickets: dict[str, str] = field(default_factory=dict)
    said: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def push(self) -> None:
        """Push once: something new, a repeat, or a changed body; again until there is an answer."""
        number, version = self._next()
        status, body = 503, b""
        while status == 503:  # the database is not there yet
            try:
                status, body = await self._post(_payload(number, version))
            except (OSError, EOFError):
                self._hang_up()
            if status == 503:
                await asyncio.sleep(0.05)
        if status not in {200, 201}:
            self.wrong.append(f"{number} {status} {body[:200]!r}")
            return
        answer = json.loads(body)
        word = "duplicate" if answer["duplicate"] else "supplemented"
        self.said["new" if status == 201 else word] += 1
        before = self.tickets.setdefault(number, answer["ticket"]["no"])
        if before != answer["ticket"]["no"]:
            self.wrong.append(f"{number} became {before} and {answer['ticket']['no']}")

    def _next(self) -> tuple[str, int]:
        kind = self.rng.random()
        if self.versions and kind < REPEATS + CHANGES:
            number = self.rng.choice(list(self.versions))
            if kind < CHANGES:
                self.versions[number] += 1
                return number, self.versions[number]
            return number, self.rng.randint(1, self.versions[number])
        number = f"{self.name}-{len(self.versions) + 1:06}"
        self.versions[number] = 1
        return number, 1

    async def _post(self, payload: dict[str, Any]) -> tuple[int, bytes]:
        if self._line is None:
            self._line = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._line
        body = json.dumps(payload, ensure_ascii=False).encode()
        head = (
            "POST /v1/intake/hotline-12345 HTTP/1.1\r\nHost: banjie\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        cut = self.rng.random()
        if cut < CUTS / 2:
            writer.write(head + body[: self.rng.randrange(len(body))])
            await writer.drain()
            raise EOFError
        writer.write(head + body)
        await writer.drain()
        if cut < CUTS:
            await asyncio.sleep(self.rng.uniform(0, 0.05))
            raise EOFError
        answer = await reader.readuntil(b"\r\n\r\n")
        status, _, lines = answer.partition(b"\r\n")
        lengths = [
            int(line.split(b":")[1])
            for line in lines.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ]
        return int(status.split()[1]), await reader.readexactly(lengths[0])

    def _hang_up(self) -> None:
        if self._line is not None:
            self.said["lines lost"] += 1
            self._line[1].transport.abort()
            self._line = None

    async def run(self, pushes: int) -> None:
        for _ in range(pushes):
            await self.push()
        self._hang_up()


def _payload(number: str, version: int) -> dict[str, Any]:
    more = f"，第 {version} 次来电补充" if version > 1 else ""
    return {
        "workOrderNo": number,
        "acceptTime": "2026-11-18 09:12:33",
        "appealTypeName": "投诉",
        "urgency": "一般",
        "title": "路灯不亮",
        "content": f"街上的路灯坏了好几天没人修{more}",
        "areaCode": "360732",
        "contactPhone": "13800000002",
    }


@pytest.mark.timeout(3600)
def test_whatever_was_answered_is_there_once_with_each_supplement_once(
    database_url: str, tmp_path: Path
) -> None:
    env = environment(database_url)
    made = banjie(
        *("token", "create", "--role", "source", "--name", "热线", "--source", "hotline-12345"),
        env=env,
    )
    token = made.stdout.strip()
    port = free_port()
    senders = [Sender(f"P{n:02}", port, token, random.Random(f"{n}")) for n in range(SENDERS)]
    rng = random.Random(5)

    def answered() -> int:
        return sum(sum(sender.said[word] for word in _ANSWERS) for sender in senders)

    async def scenario() -> int:
        server = await asyncio.to_thread(Server, env, port, tmp_path / "server.log")
        killed = 0
        try:
            work = asyncio.gather(*(sender.run(PUSHES // SENDERS) for sender in senders))
            for n in range(1, KILLS + 1):
                # In the middle of the work, wherever that is just then.
                mark = (n - rng.random() * 0.8) * PUSHES / (KILLS + 1)
                while answered() < mark and not work.done():  # noqa: ASYNC110 many count
                    await asyncio.sleep(0.005)
                if work.done():
                    break
                server.kill()
                killed += 1
                server = await asyncio.to_thread(Server, env, port, tmp_path / "server.log")
            await work
        finally:
            server.kill()
        return killed

    assert asyncio.run(scenario()) == KILLS
    assert [line for sender in senders for line in sender.wrong] == []

    versions = {number: most for sender in senders for number, most in sender.versions.items()}
    promised = {number: no for sender in senders for number, no in sender.tickets.items()}
    assert set(promised) == set(versions), "every push was answered in the end"
    stored = asyncio.run(_stored(database_url))
    assert {row.source_no: row.no for row in stored} == promised
    assert len(stored) == len(versions), "a number is there twice"
    for row in stored:
        most = versions[row.source_no]
        assert (row.received, row.supplemented, row.bodies) == (1, most - 1, most), row.source_no
        assert (row.version, row.dispatched, row.milestones) == (most, 1, 3), row.source_no
    numbers = sorted(int(row.no.rsplit("-", 1)[1]) for row in stored)
    days = Counter(row.no.rsplit("-", 1)[0] for row in stored)
    if len(days) == 1:  # not over midnight
        assert numbers == list(range(1, len(stored) + 1)), "numbers have gaps"
    said = sum((sender.said for sender in senders), Counter[str]())
    print(f"{len(stored)} tickets, killed {KILLS} times, {dict(said)}")  # noqa: T201


_ANSWERS = ("new", "duplicate", "supplemented")


async def _stored(url: str) -> Sequence[sa.Row[Any]]:
    store = open_store(url)
    try:
        return await store.read(
            lambda connection: connection.execute(
                sa.text(
                    """
                    SELECT t.source_no, t.no, t.version,
                        (SELECT count(*) FROM bodies b WHERE b.ticket_id = t.id) AS bodies,
                        (SELECT count(*) FROM milestones m WHERE m.ticket_id = t.id) AS milestones,
                        sum(CASE WHEN e.act = 'received' THEN 1 ELSE 0 END) AS received,
                        sum(CASE WHEN e.act = 'dispatch' THEN 1 ELSE 0 END) AS dispatched,
                        sum(CASE WHEN e.act = 'supplemented' THEN 1 ELSE 0 END) AS supplemented
                    FROM tickets t JOIN events e ON e.ticket_id = t.id
                    GROUP BY t.id, t.source_no, t.no, t.version
                    """
                )
            ).all()
        )
    finally:
        await store.close()
