"""How many whole lives of tickets a second, with many tickets stored, on PostgreSQL.

Run from the repository: `python -m bench.life [TICKETS]`. A life is seven calls over HTTP: pushed, read,
signed for, the citizen rung up, resolved, called back, closed. `ack_ms` is what one act takes. The
tickets that are there are written in SQL, closed, with two clocks each.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bench.enforce import postgres
from bench.filling import fill_all, quickly
from bench.load import SOURCE, body, signed
from bench.servers import banjie
from service.domain.access import Actor, Role
from service.store import open_store, tokens

TICKETS = 1_000_000
SECONDS = 20.0
LINES = 32
_MATTER = {
    "title": "超市短斤少两",
    "content": "在平川大道的超市买排骨，两斤只有一斤七两，超市不认账，请市场监管部门处理。",
    "areaCode": "360732",
    "appealTypeName": "投诉",
    "address": "",
}
_ACTS: tuple[dict[str, Any], ...] = (
    {"act": "sign"},
    {"act": "contact", "text": "已联系"},
    {"act": "resolve", "public_reply": "已责令退款。", "solved": True},
    {"act": "call_back", "reached": True, "solved": True, "grade": 5},
    {"act": "close"},
)


class _Life:
    """A caller that leads one ticket after the other through its life."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._headers = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        self.lives = 0
        self.wrong: list[str] = []
        self.took_ms: list[float] = []

    async def run(self, until: float) -> None:
        """Live until then; a life that is begun is ended."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)

        async def call(message: bytes) -> dict[str, Any]:
            began = time.perf_counter()
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            answer = await reader.readexactly(length)
            self.took_ms.append((time.perf_counter() - began) * 1000)
            if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
                self.wrong.append(answer[:300].decode(errors="replace"))
                raise InterruptedError
            told: dict[str, Any] = json.loads(answer)["ticket"]
            return told

        while time.perf_counter() < until:
            try:
                await self._one(call)
            except InterruptedError:
                continue
            self.lives += 1
        writer.close()

    async def _one(self, call: Any) -> None:
        now = datetime.now(UTC)
        push = json.dumps(json.loads(body(now)) | _MATTER, ensure_ascii=False).encode()
        ticket = await call(signed(f"/v1/intake/{SOURCE}", push, now))
        path = f"/v1/tickets/{ticket['no']}"
        ticket = await call(f"GET {path} HTTP/1.1\r\n{self._headers}\r\n".encode())
        for act in _ACTS:
            ticket = await call(self._act(path, act, ticket))

    def _act(self, path: str, act: Mapping[str, Any], ticket: Mapping[str, Any]) -> bytes:
        content = json.dumps(act, ensure_ascii=False).encode()
        head = (
            f"POST {path}/acts HTTP/1.1\r\n{self._headers}Content-Type: application/json\r\n"
            f"If-Match: {ticket['version']}\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content


async def filled(url: str, tickets: int) -> str:
    """Fill a database with closed tickets, and return a token of somebody who may do every act."""
    store = open_store(url)
    await store.migrate()
    async with quickly(url, "tickets", "milestones"):
        await fill_all(store, 1, tickets, per_ticket=2)
    at = datetime.now(UTC)
    admin = Actor("管理员", Role.ADMIN)
    token = await store.run(lambda c: tokens.create(c, admin, at))
    await store.close()
    return token


async def _measure(port: int, token: str, seconds: float) -> tuple[float, list[_Life]]:
    lives = [_Life(port, token) for _ in range(LINES)]
    began = time.perf_counter()
    await asyncio.gather(*(life.run(began + seconds) for life in lives))
    return time.perf_counter() - began, lives


def run(tickets: int = TICKETS, seconds: float = SECONDS) -> dict[str, Any]:
    """Measure, and return the figures."""
    with postgres() as url:
        began = time.perf_counter()
        token = asyncio.run(filled(url, tickets))
        fill_s = time.perf_counter() - began
        with banjie(url) as server:
            asyncio.run(_measure(server.port, token, 2.0))
            cpu = server.cpu_s
            took_s, lives = asyncio.run(_measure(server.port, token, seconds))
            cpu = server.cpu_s - cpu
    done = sum(life.lives for life in lives)
    took = [ms for life in lives for ms in life.took_ms]
    wrong = [said for life in lives for said in life.wrong]
    if wrong:
        sys.stderr.write(f"{wrong[0]}\n")
    return {
        "stored": tickets,
        "cores": os.cpu_count(),
        "lives_per_s": round(done / took_s, 1),
        "calls_per_s": round(len(took) / took_s),
        "call_p50_ms": round(statistics.median(took), 1),
        "call_p99_ms": round(statistics.quantiles(took, n=100)[98], 1),
        "server_cpu_us_per_call": round(cpu / len(took) * 1e6),
        "errors": len(wrong),
        "fill_s": round(fill_s),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else TICKETS)) + "\n")
