"""Reads the lists of sources that push nothing: what is due is asked for, and a page's tickets are
written together with the place that the reading has come to.

Of several replicas one reads, by a lease (`store.leases`). A page that was written is known to be
written, whoever reads on; a page that was not is asked for again.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

import sqlalchemy as sa
import structlog

from adapters.fields import parse_moment, value_at
from adapters.http import Answer
from adapters.pages import Lists, page_rows, row_payload
from adapters.payload import Undecodable, fingerprint
from adapters.plausible import CLOCK_SKEW, implausible
from service.desk import Arrival, Desk, Receipt
from service.domain.calendar import SHANGHAI
from service.domain.complaint import Complaint
from service.domain.polling import Misread, Page, Place, after, interrupted, is_due, pause, since
from service.domain.ports import (
    Adapter,
    FieldProblem,
    PayloadRejected,
    Poll,
    Refused,
    Source,
    Unreachable,
)
from service.mishaps import findable
from service.store import Store, StoreUnavailable, polls
from service.store.leases import Candidate, LeaseLost
from service.store.polls import KnownPage, PollState, Rejected

# How often the lease is renewed, and each source looked at whether it is due.
_TICK_S = 1.0
# A round that is longer goes on with the next tick.
_PAGES_A_TURN = 20
# The list's first page and its last one are what a quiet round asks for; a few more cost nothing.
_PAGES_KNOWN = 8
_TRIED_AGAIN_AT_ONCE = 100
_NUMBER_CHARS = 64

log = structlog.get_logger()


@dataclass
class _Reading:
    """What the holder of the lease remembers of a source. `flowing` is whether the last page came
    just before: a round goes on, it is not taken up again."""

    state: PollState
    flowing: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a page: a complaint with its fingerprint, or what is wrong with it."""

    text: str
    number: str
    moment: datetime | None
    complaint: Complaint | None = None
    fingerprint: str = ""
    problems: tuple[FieldProblem, ...] = ()


class _Moved(Protocol):
    """Where a page leads, given which of its rows were new and whether all of it is tickets now."""

    def __call__(self, new: Sequence[_Row], *, whole: bool) -> tuple[PollState, bool]: ...


class Poller:
    """Reads the lists of the sources that have one."""

    def __init__(
        self,
        desk: Desk,
        store: Store,
        sources: Mapping[str, Source],
        adapters: Mapping[str, Adapter],
        now: Callable[[], datetime],
        lists: Lists,
    ) -> None:
        self._desk = desk
        self._store = store
        self._polled = {name: source for name, source in sources.items() if source.poll}
        self._adapters = adapters
        self._now = now
        self._lists = lists
        self._lease = Candidate(store, "poll")
        self._term: int | None = None
        self._readings: dict[str, _Reading] = {}
        self._asking: set[asyncio.Task[Answer]] = set()
        self._busy = {name: asyncio.Lock() for name in self._polled}
        self._stopping = False
        self._ended = asyncio.Event()
        self._ticking: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin. The lease and each source have a loop of their own: one that is slow keeps no other
        waiting."""
        ticks: list[Callable[[], Awaitable[object]]] = [self.lead]
        ticks += [partial(self.pull, name) for name in self._polled]
        self._ticking = [asyncio.create_task(self._tick(tick)) for tick in ticks]

    async def _tick(self, tick: Callable[[], Awaitable[object]]) -> None:
        while not self._ended.is_set():
            try:
                await tick()
            except Exception as error:  # noqa: BLE001 what was not foreseen ends one turn, not all
                log.error("poll.tick_failed", **findable(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._ended.wait()

    async def lead(self) -> bool:
        """Hold the lease or stand for it, about once a second; return whether it is held."""
        if not self._polled or self._stopping:
            return False
        try:
            term = await self._lease.step()
        except StoreUnavailable:
            term = self._lease.term
        if term != self._term:
            self._term = term
            self._readings.clear()
            log.info("poll.lease", held=term is not None, term=term)
        return term is not None

    async def pull(self, name: str) -> int:
        """Read what is due of a source; return how many rows came that were new to us.

        What fails is kept with the source, to be seen, and tried again later.
        """
        async with self._busy[name]:
            if self._stopping or self._term is None:
                return 0
            try:
                return await self._pull(self._polled[name], self._term)
            except LeaseLost:
                # Another reads by now. What was not written is read by it.
                self._lease.lost()
                self._term = None
                self._readings.clear()
            except StoreUnavailable as error:
                self._readings.pop(name, None)
                log.warning("poll.store_unavailable", source=name, error=str(error))
            return 0

    async def stop(self) -> None:
        """Leave off: no page is asked for any more, one that came is written, the next replica may
        begin at once."""
        self._stopping = True
        self._ended.set()
        for task in self._asking:
            task.cancel()
        for busy in self._busy.values():
            async with busy:
                pass
        with suppress(StoreUnavailable):  # then it ends by itself, three seconds later
            await self._lease.give_up()
        await asyncio.gather(*self._ticking)
        await self._lists.close()

    async def _pull(self, source: Source, term: int) -> int:
        poll = source.poll
        assert poll is not None
        reading = self._readings.get(source.name)
        news = 0
        if reading is None:
            state = await self._store.run(lambda c: polls.begin(c, source.name, term))
            reading = self._readings[source.name] = _Reading(state)
            # Rules and field maps may have been mended since; both are read once, at a start.
            news += await self._try_again(source)
        if not is_due(reading.state.next_at, self._now(), poll):
            return news
        if not reading.flowing:
            place = interrupted(reading.state.place)
            reading.state = replace(reading.state, place=place)
        for _ in range(_PAGES_A_TURN):
            if self._stopping or self._term != term:
                break
            reading.flowing = False
            try:
                brought, over = await self._turn(source, poll, reading, term)
            except (Unreachable, Refused, Undecodable, Misread) as error:
                await self._failed(poll, reading, term, error)
                break
            except asyncio.CancelledError:
                if not self._stopping:
                    raise
                break
            except (StoreUnavailable, LeaseLost):
                raise
            except Exception as error:  # noqa: BLE001 nobody foresaw it, and the list is still there
                log.error("poll.page_failed", source=source.name, **findable(error))
                await self._failed(poll, reading, term, _OUR_FAULT)
                break
            news += brought
            reading.flowing = not over
            if over:
                break
        return news

    async def _turn(
        self, source: Source, poll: Poll, reading: _Reading, term: int
    ) -> tuple[int, bool]:
        """Ask for the next page and write it; return how many rows were new, and whether that was the
        end of the list."""
        place = reading.state.place
        params = _params(place, poll)
        key = hashlib.sha256(json.dumps(params).encode()).hexdigest()[:16]
        known = reading.state.pages.get(key)
        answer = await self._ask(source, params, known)
        if answer.status == 304 and known:
            page = Page(known.count, known.newest, known.digest, news=None)
            state, over = self._moved(reading.state, poll, page, key, known)
            await self._store.run(lambda c: polls.save(c, state, term))
            reading.state = state
            return 0, over
        now = self._now()
        # A long answer takes its time to read; others are served meanwhile.
        texts = await asyncio.to_thread(
            page_rows, answer.body, answer.headers.get("content-type", ""), poll.items
        )
        rows = []
        for text in texts:
            rows.append(self._row(source, poll, text, now))
            await asyncio.sleep(0)
        times = [row.moment for row in rows if row.moment and row.moment <= now + CLOCK_SKEW]
        newest = max(times, default=None)
        digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()

        def moved(new: Sequence[_Row], *, whole: bool) -> tuple[PollState, bool]:
            news = min((row.moment for row in new if row.moment), default=None)
            page = Page(len(rows), newest, digest, news)
            kept = _known(answer, page) if whole and len(times) == len(rows) else None
            return self._moved(reading.state, poll, page, key, kept)

        reading.state, over, new = await self._write(source, rows, moved, term, now)
        return new, over

    async def _write(
        self, source: Source, rows: Sequence[_Row], moved: _Moved, term: int, now: datetime
    ) -> tuple[PollState, bool, int]:
        """Write the tickets of a page and the place it leads to in one transaction; return that, whether
        the round is over, and how many rows were new.

        Raises Misread if the page leads nowhere; what came is written all the same.
        """
        good = [row for row in rows if row.complaint]
        bad = [row for row in rows if not row.complaint]
        # Of the transaction that holds: one that is tried again leaves nothing.
        outcome: list[tuple[PollState, bool, int] | Misread] = []

        def also(connection: sa.Connection, receipts: Sequence[Receipt | Exception]) -> None:
            outcome.clear()
            failed = _failures(source, good, receipts)
            refused = [*bad, *failed]
            first = polls.reject(connection, [_rejected(source, row) for row in refused], now)
            done = [receipt for receipt in receipts if isinstance(receipt, Receipt)]
            numbers = [receipt.ticket.complaint.source_no for receipt in done]
            polls.taken(connection, source.name, numbers, now)
            new = [row for row in refused if _digest(row.text) in first]
            new += [
                row
                for row, receipt in zip(good, receipts, strict=True)
                if isinstance(receipt, Receipt) and not receipt.duplicate
            ]
            try:
                state, over = moved(new, whole=not refused)
            except Misread as error:
                outcome.append(error)
                return
            polls.save(connection, state, term)
            outcome.append((state, over, len(new)))

        arrivals = [Arrival(row.complaint, row.fingerprint, now) for row in good if row.complaint]
        await self._desk.receive_all(arrivals, also)
        if bad:
            log.warning("poll.rejected", source=source.name, rows=len(bad))
        (found,) = outcome
        if isinstance(found, Misread):
            raise found
        return found

    async def _ask(
        self, source: Source, params: Mapping[str, str], known: KnownPage | None
    ) -> Answer:
        etag, modified = (known.etag, known.modified) if known else ("", "")
        asked = self._lists.page(source.name, params, etag, modified, self._now())
        task = asyncio.create_task(asked)
        self._asking.add(task)
        try:
            answer = await task
        finally:
            self._asking.discard(task)
        if answer.status == 304 and known is None:
            raise Refused("http-304")
        return answer

    def _moved(
        self, state: PollState, poll: Poll, page: Page, key: str, known: KnownPage | None
    ) -> tuple[PollState, bool]:
        """Return the state after a page, and whether the round is over."""
        now = self._now()
        place, over = after(state.place, page, poll)
        pages = {other: kept for other, kept in state.pages.items() if other != key}
        if known:
            pages[key] = known
        return (
            replace(
                state,
                place=place,
                pages=dict(list(pages.items())[-_PAGES_KNOWN:]),
                next_at=now + pause(0, poll) if over else now,
                succeeded_at=now,
                caught_up_at=now if over else state.caught_up_at,
                error="",
                failures=0,
            ),
            over,
        )

    async def _failed(
        self,
        poll: Poll,
        reading: _Reading,
        term: int,
        error: Unreachable | Refused | Undecodable | Misread,
    ) -> None:
        """Keep what went wrong, and when to try again."""
        now = self._now()
        reason = _reason(error)
        state = reading.state
        failures = state.failures + 1
        said_s = error.wait_s if isinstance(error, Unreachable) else None
        asked = timedelta(seconds=said_s) if said_s else None
        wait = pause(failures, poll, asked)
        # A list that was misread is read again from the mark.
        place = Place(mark=state.place.mark) if isinstance(error, Misread) else state.place
        state = replace(
            state,
            place=place,
            next_at=now + wait,
            failed_at=now,
            error=reason,
            failures=failures,
        )
        log.warning(
            "poll.failed",
            source=state.source,
            reason=reason,
            failures=failures,
            wait_s=wait.total_seconds(),
        )
        await self._store.run(lambda c: polls.save(c, state, term))
        reading.state = state

    def _row(self, source: Source, poll: Poll, text: str, now: datetime) -> _Row:
        """Return a row as a complaint, or as what is wrong with it."""
        try:
            payload = row_payload(text)
        except Undecodable as error:
            return _Row(text, "", None, problems=(FieldProblem("", error.detail),))
        moment = _moment(value_at(payload, poll.changed))
        number = _number(payload, source, self._adapters[source.adapter])
        try:
            complaint = self._adapters[source.adapter].complaint(payload, source)
            problems = implausible(complaint, now, source, payload)
        except PayloadRejected as error:
            return _Row(text, number, moment, problems=error.problems)
        except Exception as error:  # noqa: BLE001 a row that nobody foresaw harms no other
            log.error("poll.row_failed", source=source.name, **findable(error))
            return _Row(text, number, moment, problems=(_UNFORESEEN,))
        if problems:
            return _Row(text, number, moment, problems=tuple(problems))
        return _Row(text, number, moment, complaint, fingerprint(payload))

    async def _try_again(self, source: Source) -> int:
        """Take what was rejected before and is not any more; return how many rows that were."""
        poll = source.poll
        assert poll is not None
        last = 0
        total = 0
        while waiting := await self._store.read(
            lambda c, after=last: polls.rejected(  # type: ignore[misc]
                c, source.name, after=after, limit=_TRIED_AGAIN_AT_ONCE
            )
        ):
            last = waiting[-1].id
            now = self._now()
            rows = [self._row(source, poll, row.body, now) for row in waiting]
            good = [row for row in rows if row.complaint]

            def also(
                connection: sa.Connection,
                receipts: Sequence[Receipt | Exception],
                found: Sequence[_Row] = good,
                at: datetime = now,
            ) -> None:
                failed = {row.text for row in _failures(source, found, receipts)}
                bodies = [row.text for row in found if row.text not in failed]
                polls.settle(connection, source.name, [_digest(text) for text in bodies], at)

            arrivals = [
                Arrival(row.complaint, row.fingerprint, now) for row in good if row.complaint
            ]
            if arrivals:
                receipts = await self._desk.receive_all(arrivals, also)
                total += sum(isinstance(receipt, Receipt) for receipt in receipts)
        if total:
            log.info("poll.taken_after_all", source=source.name, rows=total)
        return total


_OUR_FAULT = Refused("failed")
_UNFORESEEN = FieldProblem("", "受理时出错，请联系系统管理员查看日志")
# Why no page came, by the word for it.
_REASONS = {
    "timeout": "没有在时限内答复完",
    "no-connection": "连接不上",
    "tls": "TLS 连接失败，请核对证书",
    "broken-off": "连接中断",
    "redirected": "被重定向到另一台主机，或重定向过多，没有跟随",
    "packed": "对方压缩了答复，而请求不接受压缩",
    "too-long": "答复过大",
    "http-304": "对方答复 304，而请求没有附带条件",
    "http-401": "对方不认可令牌（401）",
    "http-403": "对方不认可令牌（403）",
    "http-429": "对方暂时不受理（429）",
    "http-503": "对方暂时不受理（503）",
    "failed": "读取时出错，请联系系统管理员查看日志",
}


def _reason(error: Unreachable | Refused | Undecodable | Misread) -> str:
    """Return why a page did not come or cannot be read, in Chinese."""
    if isinstance(error, Undecodable | Misread):
        return str(error)
    status = error.reason.removeprefix("http-")
    if error.reason in _REASONS:
        return _REASONS[error.reason]
    return (
        f"对方出错（{status}）" if isinstance(error, Unreachable) else f"对方拒绝了请求（{status}）"
    )


def _params(place: Place, poll: Poll) -> dict[str, str]:
    params = {poll.page: str(place.page), poll.size: str(poll.page_size)}
    start = since(place, poll)
    if poll.since and start is not None:
        params[poll.since] = f"{start.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}"
    return params


def _known(answer: Answer, page: Page) -> KnownPage | None:
    etag, modified = answer.headers.get("etag", ""), answer.headers.get("last-modified", "")
    if not (etag or modified) or len(etag) + len(modified) > 1000:
        return None
    return KnownPage(etag, modified, page.count, page.newest, page.digest)


def _moment(value: object) -> datetime | None:
    return parse_moment(value.strip()) if isinstance(value, str) else None


def _number(payload: Mapping[str, Any], source: Source, adapter: Adapter) -> str:
    """Return the number of a row as far as it can be read, to find it again."""
    written = {canon: name for name, canon in source.field_map.items()}
    value = value_at(payload, written.get(adapter.NUMBER, adapter.NUMBER))
    text = str(value).strip() if isinstance(value, str | int) else ""
    return text if len(text) <= _NUMBER_CHARS and text.isprintable() else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _failures(
    source: Source, rows: Sequence[_Row], receipts: Sequence[Receipt | Exception]
) -> list[_Row]:
    """Return the rows that failed in the desk, as rejected ones; raise StoreUnavailable for one that
    is to come again."""
    failed = []
    for row, receipt in zip(rows, receipts, strict=True):
        if isinstance(receipt, StoreUnavailable):
            raise receipt  # nothing is wrong with the row: the page is read again
        if isinstance(receipt, Exception):
            log.error("poll.row_failed", source=source.name, **findable(receipt))
            failed.append(replace(row, complaint=None, problems=(_UNFORESEEN,)))
    return failed


def _rejected(source: Source, row: _Row) -> Rejected:
    return Rejected(source.name, row.number, _digest(row.text), row.text, row.problems)
