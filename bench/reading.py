"""What reading costs on PostgreSQL, few tickets and many: lists, search and one ticket, over HTTP.

Run from the repository: `python -m bench.reading [TICKETS]`; the smaller size is a tenth. The service
runs as a process of its own and answers twenty questions a second, over kept lines of plain sockets.
At first they are the four that the goal is about, in turn: a unit's queue, a filtered list, one ticket,
its history. Then they are of all sorts (`mixed`), with lists of a stage, a text search of each of several
words and pages of the desk among them. As the limit of the same run one row by its key over HTTP, from a
bare application, is asked in the same turns. Both sizes have the same regions, units and open tickets,
so that only the history differs. Tickets are made in SQL; a word's share of the texts is its own, from
one in two to one in a hundred thousand.
"""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count, islice
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import sqlalchemy as sa

from bench.enforce import postgres
from bench.filling import in_steps, quick, quickly
from routing_rules.clocks import load_timetable
from routing_rules.rulebook import load
from service.desk import Desk
from service.domain.access import Actor, Role
from service.domain.complaint import Complaint, Contact, Kind, Urgency
from service.domain.sign_in import Way
from service.store import Store, feed, open_store, sessions, tokens
from service.store.engine import prepare
from service.store.search import BLOCKS
from service.store.words import words
from service.web.sessions import COOKIE

LARGE = 1_000_000
TIMES = 10
OPEN = 20_000
A_SECOND = 20
QUESTIONS, WARM = 4_000, 200
SHARES = ("p50_ms", "p99_ms", "p50_to_bare", "p50_large_to_small", "p99_large_to_small")
_GOAL = ("queue", "filtered", "ticket", "history", "bare_row")
_REGIONS = 25
_COUNTY = "360732"
_LINES = ("market_regulation", "housing_construction", "education", "government")
_AT = datetime(2026, 11, 18, 2, 0, tzinfo=UTC)

# Invented matters, and of how many tickets each is one: the n-th ticket has all that divide n.
_MATTERS = {
    2: "小区门口路灯不亮，晚上出行不安全",
    7: "楼下烧烤店占道经营，油烟扰民",
    50: "自来水发黄，有异味",
    997: "学校门口红绿灯损坏",
    20_011: "潋江大道下水管道破裂",
    99_991: "沼气池漏气无人清理",
}
_ASKED = {
    "word_of_half": "路灯",
    "word_of_a_hundredth": "自来水",
    "word_of_a_thousandth": "红绿灯",
    "word_of_few": "潋江大道 下水",
    "two_common_words": "路灯 油烟",
    "word_of_none": "候鸟",
}
_COMMON = "来电人反映，希望有关部门尽快处理并回复，联系过多次一直没有解决"

_TICKETS = """
    INSERT INTO tickets (no, source, source_no, channel, region, kind, received_kind, urgency, state,
        version, decision, title, content, complaint, route, lead_unit, lead_name, assist, redo,
        limits, received_at, stored_at, extensions, pauses, supervision, sent_back, ruled, merged_into)
    SELECT '360732-20261101-' || lpad(n::text, 9, '0'), 'bench', n::text,
        (ARRAY['hotline-12345', 'wenzheng-jiangxi', 'haochaping'])[1 + n / 3 % 3], spread.region,
        (ARRAY['help', 'complaint', 'consultation', 'report'])[1 + n / 5 % 4], 'help', 'normal',
        CASE WHEN n >= :open_from THEN (ARRAY['signed', 'dispatched'])[1 + n / 7 % 2]
             ELSE 'closed' END,
        3, 'auto', '路灯不亮', :text || '住' || n % 971 || '号' || n % 37 || '栋', like_it.complaint, like_it.route, spread.region || '-' || spread.line,
        '承办单位', '[]', 0, '', :at - (CAST(:last AS bigint) - n) * interval '10 seconds',
        CAST(:at AS timestamptz), '[]', '[]', '[]', 0,
        '', ''
    FROM generate_series(CAST(:first AS bigint), CAST(:until AS bigint)) n
    JOIN tickets like_it ON like_it.id = 1
    CROSS JOIN LATERAL (
        SELECT (CAST(:regions AS text[]))[1 + n % cardinality(CAST(:regions AS text[]))],
            (CAST(:lines AS text[]))[1 + n / 40 % cardinality(CAST(:lines AS text[]))]
    ) spread (region, line)
    ORDER BY n.n
""".replace(":at -", "CAST(:at AS timestamptz) -").replace(
    "n >= :open_from", "n >= CAST(:open_from AS bigint)"
)
_BELONGING = (
    """
    INSERT INTO milestones (ticket_id, region, unit, kind, clock, governing, "limit", basis, started_at,
        due_at, original_due_at, provisional, warn_at, stage, next_at, met_at, outcome, redo,
        assisting, count_from, extended, paused_s, steps, done, answers, bearer)
    SELECT t.id, t.region, t.lead_unit, one.kind, one.clock, one.governing, one."limit", one.basis,
        t.received_at, t.received_at + (one.due_at - one.started_at),
        t.received_at + (one.due_at - one.started_at), false, t.received_at,
        CASE WHEN one.kind = 'resolve' AND t.id / 25 % 20 = 0 THEN 'overdue' ELSE 'normal' END,
        CASE WHEN t.state <> 'closed' THEN CAST(:later AS timestamptz) END,
        CASE WHEN t.state = 'closed' THEN t.received_at END,
        CASE WHEN t.state = 'closed' THEN 'on_time' END, 0, false, one.count_from, '', 0, one.steps,
        1, '', ''
    FROM tickets t JOIN milestones one ON one.ticket_id = 1
    WHERE t.id BETWEEN :first AND :until ORDER BY t.id, one.id
    """,
    """
    INSERT INTO events (ticket_id, ticket_no, region, act, at, actor, role, unit, version, content)
    SELECT t.id, t.no, t.region, a.act, t.received_at, 'banjie', 'admin', t.lead_unit, a.n, '{{}}'
    FROM tickets t
    CROSS JOIN LATERAL (VALUES ('received', 1), ('sign', 2), ('note', 3)) a (act, n)
    WHERE t.id BETWEEN :first AND :until ORDER BY t.id
    """,
    """
    INSERT INTO sealed (ticket_id, part, key, person, document)
    SELECT t.id, one.part, one.key, one.person, one.document
    FROM tickets t CROSS JOIN sealed one
    WHERE one.ticket_id = 1 AND one.part = '' AND t.id BETWEEN :first AND :until ORDER BY t.id
    """,
    """
    INSERT INTO ticket_words (ticket_id, words)
    SELECT t.id, CAST(:common AS tsvector) || array_to_tsvector(ARRAY[{blocks},
        'R' || left(t.region, 4), 'R' || t.region, 'n' || t.id]){matters}
    FROM tickets t WHERE t.id BETWEEN :first AND :until ORDER BY t.id
    """,
)

# As the service's jobs would have left it: nothing waits for its place or its link, and none of what is
# asked goes through the hashes.
_FOLLOWED = (
    """
    INSERT INTO chain (place, region, sequence, event_id, ticket_no, hash)
    SELECT f.position, e.region, f.position, e.id, e.ticket_no, repeat('0', 64)
    FROM feed f JOIN events e ON e.id = f.event_id
    """,
    """
    INSERT INTO chain_tails (region, sequence, hash)
    SELECT region, max(sequence), repeat('0', 64) FROM chain GROUP BY region
    """,
)


async def _fill(store: Store, url: str, last: int) -> None:
    """Write tickets, of which the newest are open, with clocks, events and words. What each holds
    besides is copied from one that came in, with its route: the kind that hotlines send most."""
    book = load()
    desk = Desk(store, book, load_timetable())
    one = Complaint(
        source="bench",
        source_no="first",
        channel="hotline-12345",
        region=_COUNTY,
        kind=Kind.HELP,
        urgency=Urgency.NORMAL,
        title="路灯不亮",
        content=_COMMON,
        accepted_at=_AT,
        place="红军路十二号",
        contact=Contact("张三", "13800000002"),
    )
    await desk.receive(one, "first", _AT)
    # A city with all its counties, and some of the next.
    regions = sorted({each.code for each in book.gazetteer.regions if each.level == "county"})
    city = [code for code in regions if code.startswith("3607")]
    regions = [*city, *(code for code in regions if code not in city)][:_REGIONS]
    matters = "".join(
        f" || CASE WHEN t.id % {every} = 0 THEN CAST('{_vector(text).replace(chr(39), chr(39) * 2)}'"
        " AS tsvector) ELSE '' END"
        for every, text in _MATTERS.items()
    )
    given = {
        "open_from": last - OPEN + 1,
        "text": _COMMON,
        "regions": regions,
        "lines": list(_LINES),
        "at": _AT,
        "last": last,
        "later": _AT + timedelta(days=30),
        "common": _vector(_COMMON),
    }
    blocks = ", ".join(f"'{letter}' || to_hex(t.id >> {n})" for letter, n in BLOCKS.items())
    texts = [
        _TICKETS,
        *(text.format(matters=matters, blocks=blocks) for text in _BELONGING),
    ]

    def work(connection: sa.Connection, begin: int, end: int) -> None:
        for text in texts:
            named = {**given, "first": begin, "until": end}
            asked = {name: value for name, value in named.items() if f":{name}" in text}
            connection.execute(sa.text(text), asked)

    async with quickly(url, "tickets", "milestones", "sealed", "ticket_words"):
        # One after the other: a ticket's number is its id.
        await in_steps(store, 2, last, work, lines=1)
        await store.run(_follow)


def _follow(connection: sa.Connection) -> None:
    quick(connection)
    feed.order(connection, most=1_000_000_000)
    for text in _FOLLOWED:
        connection.execute(sa.text(text))


def _vector(text: str) -> str:
    return " ".join(f"'{word}'" for word in words(text))


# What is asked


@dataclass(frozen=True)
class Question:
    """What is asked of which service, by whom."""

    name: str
    path: str
    token: str = ""
    session: str = ""
    bare: bool = False


def _questions(made: dict[str, str], last: int) -> Iterator[Question]:
    """Yield the questions in turn, for ever."""
    unit = f"{_COUNTY}-{_LINES[0]}"
    dispatcher, province = made["dispatcher"], made["province"]
    for n in count(1):
        some = n * 7919 % (last - 1) + 2
        number = f"/v1/tickets/{_COUNTY}-20261101-{some:09}"
        yield Question("queue", f"/v1/units/{unit}/queue?limit=50", dispatcher)
        yield Question("county", "/v1/tickets?limit=50", dispatcher)
        yield Question("filtered", "/v1/tickets?limit=50&state=closed&kind=help", dispatcher)
        yield Question("stage", "/v1/tickets?limit=50&stage=overdue", province)
        yield Question("ticket", number, province)
        yield Question("history", f"{number}/events", province)
        yield Question("by_number", f"/v1/tickets?q={some}", province)
        yield Question("bare_row", f"/{some}", bare=True)
        page = f"/desk/tickets/{_COUNTY}-20261101-{some:09}"
        yield Question("desk_first_page", "/desk/queue", session=made["handler_session"])
        yield Question("desk_overview", "/desk/overview", session=made["province_session"])
        yield Question("desk_ticket", page, session=made["province_session"])
        for name, asked in _ASKED.items():
            for who, token in (("county", dispatcher), ("province", province)):
                path = f"/v1/tickets?limit=50&q={quote(asked)}"
                yield Question(f"search_{who}_{name}", path, token)


class _Lines:
    """Kept lines to a server, one for each question that is under way: a client that costs next to
    nothing, for it shares the cores with the servers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(self, path: str, header: str) -> None:
        """Read the whole answer, which must be a 200."""
        while self._idle and self._idle[-1][0].at_eof():
            self._idle.pop()  # the server closes what nobody used for a while
        line = self._idle.pop() if self._idle else await self._open()
        reader, writer = line
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        assert head.startswith(b"http/1.1 200"), f"{path}: {body[:300]!r}"
        self._idle.append(line)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)

    async def close(self) -> None:
        """End all that are idle."""
        for _, writer in self._idle:
            writer.close()
            await writer.wait_closed()


async def _asked(
    questions: Iterator[Question], served: int, bare: int, many: int
) -> dict[str, list[float]]:
    """Ask at a steady rate, whatever became of the question before; return the milliseconds from when
    each was to be asked to its whole answer."""
    took: dict[str, list[float]] = {}
    ours, limit = _Lines(served), _Lines(bare)

    async def ask(one: Question, at: float) -> None:
        header = f"Authorization: Bearer {one.token}\r\n" if one.token else ""
        if one.session:
            header = f"Cookie: {COOKIE}={one.session}\r\n"
        async with asyncio.timeout(60):
            await (limit if one.bare else ours).get(one.path, header)
        took.setdefault(one.name, []).append((time.perf_counter() - at) * 1000)

    began = time.perf_counter() + 0.1
    try:
        async with asyncio.TaskGroup() as under_way:
            for n, one in enumerate(islice(questions, many)):
                at = began + n / A_SECOND
                await asyncio.sleep(max(0.0, at - time.perf_counter()))
                under_way.create_task(ask(one, at))
    finally:
        await ours.close()
        await limit.close()
    return took


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """Answer with one row by its key, and nothing else: the application that the limit is."""
    if scope["type"] != "http":
        return
    global _pool  # noqa: PLW0603 of a process that does nothing else
    if _pool is None:
        _pool = await asyncpg.create_pool(os.environ["BANJIE_DATABASE_URL"], min_size=1, max_size=4)
    row = await _pool.fetchrow(
        "SELECT no, state, title, content FROM tickets WHERE id = $1", int(scope["path"][1:])
    )
    body = json.dumps(dict(row)).encode()
    length = (b"content-length", str(len(body)).encode())
    headers = [(b"content-type", b"application/json"), length]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


_pool: Any = None


@contextmanager
def _process(url: str, *command: str) -> Iterator[int]:
    """Run a server as a process on a port of its own; give the port once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    env = {**os.environ, "BANJIE_DATABASE_URL": url, "BANJIE_LOG_LEVEL": "error"}
    process = subprocess.Popen([sys.executable, *command, "--port", str(port)], env=env)  # noqa: S603 ours
    try:
        for _ in range(1200):
            with suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/1", timeout=5)
                break
            assert process.poll() is None, "a server ended at its start"
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)


async def _prepared(url: str, tickets: int) -> dict[str, str]:
    store = open_store(url)
    try:
        await store.migrate()
        await prepare(store)  # else the first ticket is tried twice, and is not the first
        await _fill(store, url, tickets)
        callers = {
            "dispatcher": Actor("分拨员", Role.DISPATCHER, region=_COUNTY),
            "province": Actor("督办员", Role.SUPERVISOR, region="360000"),
            "handler": Actor("承办人", Role.HANDLER, (f"{_COUNTY}-{_LINES[0]}",), region=_COUNTY),
        }
        at = datetime.now(UTC)
        ends = at + timedelta(days=1)
        made = {}
        for name, by in callers.items():
            made[name] = await store.run(partial(tokens.create, actor=by, at=at))
            made[f"{name}_session"] = await store.run(
                partial(sessions.start, by=by, way=Way.TOKEN, at=at, expires_at=ends)
            )
        return made
    finally:
        await store.close()


def _measured(tickets: int) -> dict[str, dict[str, float]]:
    """Return p50 and p99 of each question at a size, in milliseconds."""
    with postgres() as url:
        made = asyncio.run(_prepared(url, tickets))
        started = "from service.cli import main; main()"
        with (
            _process(url, "-c", started, "serve") as served,
            _process(url, "-m", "uvicorn", "bench.reading:bare", "--log-level", "error") as limit,
        ):
            every = _questions(made, tickets)
            goal = (one for one in _questions(made, tickets) if one.name in _GOAL)
            asyncio.run(_asked(every, served, limit, WARM))
            took = asyncio.run(_asked(goal, served, limit, QUESTIONS))
            mixed = asyncio.run(_asked(every, served, limit, QUESTIONS))
    took |= {f"mixed_{name}": each for name, each in mixed.items()}
    return {
        name: {"p50": statistics.median(each), "p99": statistics.quantiles(each, n=100)[98]}
        for name, each in took.items()
    }


def _cut_us() -> float:
    """Return what it costs the intake to cut a complaint of some fifty characters, in microseconds of
    the processor."""
    texts = [f"{matter}，{_COMMON}" for matter in _MATTERS.values()] * 200
    words(texts[0])  # the dictionary is read at first
    began = time.process_time()
    for text in texts:
        words(text)
    return (time.process_time() - began) / len(texts) * 1e6


def run(large: int = LARGE) -> dict[str, Any]:
    """Measure, and return the figures."""
    sizes = {"small": large // TIMES, "large": large}
    measured = {name: _measured(tickets) for name, tickets in sizes.items()}
    found: dict[str, Any] = {f"tickets_{name}": tickets for name, tickets in sizes.items()}
    found["cut_us"] = round(_cut_us(), 1)
    for question, at_large in measured["large"].items():
        small = measured["small"][question]
        bare = measured["large"]["mixed_bare_row" if question.startswith("mixed_") else "bare_row"]
        for share, value in at_large.items():
            found[f"{question}_{share}_ms"] = round(value, 1)
        found[f"{question}_p50_to_bare"] = round(at_large["p50"] / bare["p50"], 2)
        for share, value in at_large.items():
            found[f"{question}_{share}_large_to_small"] = round(value / small[share], 2)
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else LARGE)) + "\n")
