"""What each part of a push costs, timed alone in one process: microseconds of processor for a push.

Run from the repository: `python -m bench.parts [DATABASE]`. The parts are the functions that intake calls,
in its order, each over 32 pushes that nobody has seen, so that what one part leaves in a cache is there
for the next and no push is worked out twice. `bare` is the FastAPI endpoint of `bench.limits`, called
in the same rounds without HTTP; `pure` the parts before the transaction together. Medians of the rounds.
"""

import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from adapters.payload import decode, fingerprint
from adapters.plausible import implausible
from adapters.signature import Stamp, keys, sign, stamp, verify
from adapters.sources import ADAPTERS, load_sources
from bench import limits
from bench.intake import DATABASES, database
from bench.load import SECRET, SOURCE, SOURCES, body
from routing_rules.clocks import load_timetable
from routing_rules.rulebook import load
from service.api.schemas import intake_answer
from service.desk import Arrival, Desk, Receipt, Routed, searched
from service.domain.acts import receive
from service.store import open_store, tallies

TOGETHER = 32
ROUNDS = 60
_WARM = 12
_FOLDED_EVERY = 6  # rounds: a second has about so many pushes
_PURE = ("signature", "decode", "adapter", "plausible", "fingerprint", "route", "clocks", "words")

_Result = TypeVar("_Result")


class _Timed:
    """The processor's time of each part, by round."""

    def __init__(self) -> None:
        self.us: dict[str, list[float]] = {}

    @contextmanager
    def part(self, name: str, pushes: int = TOGETHER) -> Iterator[None]:
        """Time what is done for so many pushes, those of a round if not told."""
        began = time.process_time_ns()
        yield
        took = (time.process_time_ns() - began) / 1000 / pushes
        self.us.setdefault(name, []).append(took)

    def each(self, name: str, work: Callable[..., _Result], *given: Any) -> list[_Result]:
        """Return what came of the work for each push, of what was given for it."""
        with self.part(name):
            return [work(*one) for one in zip(*given, strict=True)]


async def _called(app: Any, content: bytes) -> None:
    """Let an ASGI application answer a push, as its server would after parsing it."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/push",
        "raw_path": b"/push",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message.get("status", 201) != 201:
            raise RuntimeError(message)

    await app(scope, receive, send)


async def _measured(url: str, rounds: int) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "sources.yaml"
        written.write_text(SOURCES, "utf-8")
        source = load_sources(written)[SOURCE]
    assert source.callback
    book = load()
    secrets, adapter = keys(SECRET), ADAPTERS[source.adapter](book.gazetteer)
    store = open_store(url)
    await store.migrate()
    times = load_timetable()
    desk = Desk(store, book, times, {source.callback.destination: source.callback})
    bare = limits.bare()
    timed = _Timed()
    gc.collect()
    gc.freeze()
    for n in range(rounds + _WARM):
        if n == _WARM:
            timed.us.clear()
        now = datetime.now(UTC)
        bodies = [body(now) for _ in range(TOGETHER)]
        at = str(int(now.timestamp()))
        heads = [
            {
                "webhook-id": f"m{n}-{k}",
                "webhook-timestamp": at,
                "webhook-signature": f"v1,{sign('v1', secrets[0], f'm{n}-{k}', at, each)}",
            }
            for k, each in enumerate(bodies)
        ]

        def proven(head: dict[str, str], content: bytes, now: datetime = now) -> Stamp:
            said = stamp(head)
            verify(said, content, secrets, now)
            sha256(content).hexdigest()
            return said

        with timed.part("bare"):
            for each in bodies:
                await _called(bare, each)
        timed.each("signature", proven, heads, bodies)
        payloads = timed.each("decode", lambda b: decode(b, "application/json"), bodies)
        complaints = timed.each("adapter", lambda p: adapter.complaint(p, source), payloads)
        faults = timed.each(
            "plausible",
            lambda c, p, now=now: implausible(c, now, source, p.keys()),
            complaints,
            payloads,
        )
        if any(faults):
            raise RuntimeError(faults)
        prints = timed.each("fingerprint", fingerprint, payloads)
        routes = timed.each("route", book.route, complaints)
        clerks = [book.coordinator(complaint.region).code for complaint in complaints]
        made = timed.each(
            "clocks",
            lambda c, r, u, now=now: receive("", c, r, u, now, times),
            complaints,
            routes,
            clerks,
        )
        words = timed.each("words", searched, complaints)
        arrivals = [
            Routed(Arrival(complaint, printed, now), ticket, found)
            for complaint, printed, ticket, found in zip(
                complaints, prints, made, words, strict=True
            )
        ]
        with timed.part("transaction"):
            receipts = await desk.receive_together(arrivals)
        for receipt in receipts:
            if not isinstance(receipt, Receipt):
                raise receipt
        timed.each(
            "answer",
            lambda r: intake_answer(r.ticket, duplicate=False, supplemented=False),
            receipts,
        )
        if n % _FOLDED_EVERY == _FOLDED_EVERY - 1:
            with timed.part("fold", TOGETHER * _FOLDED_EVERY):
                while await store.run(tallies.fold) == tallies.FOLDED_AT_ONCE:
                    pass
    gc.unfreeze()
    await store.close()
    return timed.us


def measure(url: str, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure on one database."""
    us = asyncio.run(_measured(url, rounds))
    us["pure"] = [sum(parts) for parts in zip(*(us[name] for name in _PURE), strict=True)]
    found: dict[str, Any] = {
        f"{name}_us": round(statistics.median(took), 1) for name, took in us.items()
    }
    found["pure_to_bare"] = round(found["pure_us"] / found["bare_us"], 2)
    return found


def run(databases: tuple[str, ...] = DATABASES) -> dict[str, Any]:
    """Measure, and return the figures, their names ending in the database's."""
    found: dict[str, Any] = {}
    for name in databases:
        with database(name) as url:
            found |= {f"{figure}_{name}": value for figure, value in measure(url).items()}
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(tuple(sys.argv[1:]) or DATABASES), indent=2) + "\n")
