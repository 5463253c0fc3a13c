"""A load of signed pushes: made before anything is timed, sent by plain sockets from this process,
so that it costs a few hundredths of a core and the servers have the rest."""

import itertools
import json
import random
import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from adapters.signature import HEADERS, sign
from service.domain.calendar import SHANGHAI

SOURCE = "bench"
SECRET = "bench-secret-bench-secret-bench-secret"  # noqa: S105 of a server that lives for a minute
SOURCES = f"""
{SOURCE}:
  adapter: hotline_12345
  channel: hotline-12345
  label: 压力测试
  secrets: [BENCH_SECRET]
  auth: signature
  callback:
    url: http://127.0.0.1:9/told
    secret: BENCH_SECRET
    events: [accepted, dispatched]
"""
# Nobody listens there: every ticket writes what its source is to be told, and none of it is sent.

_CASES = Path(__file__).parent.parent / "tests" / "cases" / "routing"
_CHARS = 120  # of a hotline's ticket
_CLOSING = (
    "以上情况属实,来电人希望相关职能部门能够尽快安排人员到现场核实处理,并将结果电话回复本人,谢谢。"
)
_numbers = itertools.count(1)
_run = f"{int(time.time()):x}"


@cache
def _cases() -> list[dict[str, Any]]:
    rows = [
        json.loads(line)
        for path in sorted(_CASES.glob("*.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    ]
    rows = [row for row in rows if row["channel"] == "hotline-12345"]
    random.Random(1).shuffle(rows)  # noqa: S311 the same mixture in every run
    return rows


def body(at: datetime) -> bytes:
    """Return a ticket as a hotline pushes it, unlike any before: a text of the routing cases, of a
    ticket's usual length, with a number, a caller and a house of its own."""
    number = next(_numbers)
    case = _cases()[number % len(_cases())]
    text = f"{case['content']}。住{number % 971}号{number % 37}栋。{_CLOSING * 3}"
    return json.dumps(
        {
            "workOrderNo": f"YL{_run}{number:07}",
            "title": case["title"],
            "content": text[: max(_CHARS - len(case["title"]), 40)],
            "acceptTime": f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}",
            "areaCode": case["region"],
            "appealTypeName": case["kind"],
            "address": case["place"] or "",
            "contactName": "张三",
            "contactPhone": f"138{number % 100_000_000:08}",
            "source": "电话",
        },
        ensure_ascii=False,
    ).encode()


def request(path: str, content: bytes, *headers: str) -> bytes:
    """Return the bytes of a POST that keeps the line open."""
    head = "\r\n".join(
        (
            f"POST {path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
            *headers,
        )
    )
    return f"{head}\r\n\r\n".encode() + content


def pushes(count: int, path: str = f"/v1/intake/{SOURCE}") -> list[bytes]:
    """Return so many signed pushes, each with a body of its own; they are good for five minutes."""
    now = datetime.now(UTC)
    return [signed(path, body(now), now) for _ in range(count)]


def signed(path: str, content: bytes, at: datetime) -> bytes:
    """Return a signed push of a body."""
    number, timestamp = f"msg_{_run}{next(_numbers)}", str(int(at.timestamp()))
    signature = sign("v1", SECRET.encode(), number, timestamp, content)
    given = (number, timestamp, f"v1,{signature}")
    return request(path, content, *(f"{n}: {v}" for n, v in zip(HEADERS, given, strict=True)))


@dataclass
class Load:
    """What became of a load: seconds from the first to the last answer, statuses, milliseconds of
    each answer in the order of answers, when each came, and how many lines were cut."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    took_ms: list[float] = field(default_factory=list)
    ended_s: list[float] = field(default_factory=list)
    without_retry: int = 0  # answers 503 that do not say when to come again
    cut: int = 0
    cpu_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Return how many were answered a second."""
        return sum(self.statuses.values()) / self.seconds if self.seconds else 0.0

    def ms(self, share: float, since: float = 0.0, until: float = float("inf")) -> float:
        """Return the milliseconds within which such a share was answered, of what was answered
        between two seconds of the load."""
        some = sorted(
            took
            for took, ended in zip(self.took_ms, self.ended_s, strict=True)
            if since <= ended < until
        )
        return some[min(int(share * len(some)), len(some) - 1)] if some else 0.0


class _Line:
    """A connection, and what came of the answer that it waits for."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open()

    def _open(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self._port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._came = b""
        self.since = 0.0

    def reopen(self) -> None:
        """Begin anew after the line was cut."""
        self.socket.close()
        self._open()

    def send(self, message: bytes, since: float) -> None:
        """Send a request, which was due `since`."""
        self.since = since
        self.socket.sendall(message)

    def answer(self) -> tuple[int, bytes] | None:
        """Return status and head once an answer is whole; raises OSError for a line that was cut."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError
        self._came += data
        head, found, rest = self._came.partition(b"\r\n\r\n")
        if not found:
            return None
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return None
        self._came = b""
        return int(head[9:12]), head


def drive(
    port: int,
    messages: Sequence[bytes],
    *,
    lines: int = 64,
    seconds: float = 3600.0,
    rate: float = 0.0,
) -> Load:
    """Send messages over so many lines for so long, or until there are none left, and wait for the
    last answer.

    Without a rate each line sends its next when it has its answer. With one, each message is due at
    its own time whatever the answers do, and what it took counts from then.
    """
    load, selector = Load(), selectors.DefaultSelector()
    idle: deque[_Line] = deque(_Line(port) for _ in range(lines))
    for line in idle:
        selector.register(line.socket, selectors.EVENT_READ, line)
    began, cpu = time.perf_counter(), time.process_time()
    left = _due(messages, began, rate)
    due = next(left, None)
    waiting = 0
    while True:
        now = time.perf_counter()
        if now - began >= seconds:
            due = None
        while due and idle and due[0] <= now:
            line = idle.popleft()
            line.send(due[1], due[0] if rate else time.perf_counter())
            waiting += 1
            due = next(left, None)
        if not waiting and due is None:
            break
        pause = max(due[0] - now, 0.0) if due and idle else 1.0
        for key, _ in selector.select(pause):
            line = key.data
            try:
                answer = line.answer()
            except OSError:
                selector.unregister(line.socket)
                line.reopen()
                selector.register(line.socket, selectors.EVENT_READ, line)
                load.cut += 1
                answer = (0, b"")
            if answer is None:
                continue
            status, head = answer
            ended = time.perf_counter()
            if status:
                load.statuses[status] += 1
                load.took_ms.append((ended - line.since) * 1000)
                load.ended_s.append(ended - began)
                load.without_retry += status == 503 and b"retry-after: " not in head
            waiting -= 1
            idle.append(line)
    load.seconds = time.perf_counter() - began
    load.cpu_s = time.process_time() - cpu
    for line in idle:
        line.socket.close()
    selector.close()
    return load


def _due(messages: Sequence[bytes], began: float, rate: float) -> Iterator[tuple[float, bytes]]:
    for n, message in enumerate(messages):
        yield began + n / rate if rate else began, message
