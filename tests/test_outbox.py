"""What leaves arrives: against real receivers, on both databases."""

import asyncio
import random
import socket
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from typing import Any

import pytest

from adapters.http import SecretMissing
from adapters.outbound import Outbound, secrets_of
from routing_rules.clocks import load_timetable
from service.desk import Desk
from service.domain import ports
from service.domain.delivery import receiver
from service.domain.ticket import DeliveryState, Level, Ticket, Word
from service.outbox import NoReceiver, NotGivenUp, Outbox, UnknownDelivery
from service.store import Store, deliveries, open_store
from service.store.deliveries import Stored
from service.store.tallies import correct, recount
from tests.receivers import SECRET, Got, Receiver, expected
from tests.revisions import down_to
from tests.test_desk import order
from tests.worlds import (
    ADMIN,
    ELSEWHERE,
    HANDLER,
    HOUSING,
    MARKET,
    SUPERVISOR,
    ToldRouter,
    at,
    complaint,
)

pytestmark = pytest.mark.slow

TIMES = load_timetable()
NOW = at("2026-11-18 10:00")
SOURCE, OTHER = "source:hotline-12345", "source:wenzheng-jiangxi"
UNIT = f"unit:{MARKET.code}"
Run = Callable[[Callable[[Store], Any]], Any]
VARIABLES = {"SECRET": SECRET.decode(), "TOKEN": "a-token"}


class Sim:
    """A desk and an outbox on one store, under a clock that is set by hand."""

    def __init__(
        self, store: Store, urls: Mapping[str, str], now: datetime = NOW, timeout_s: float = 10
    ) -> None:
        self.time = now
        self.store = store
        self.receivers = {
            name: receiver(name, {"url": url, "secret": "SECRET"}, []) for name, url in urls.items()
        }
        post = Outbound(self.receivers, VARIABLES, timeout_s)
        self.outbox = Outbox(
            store, self.receivers, post, lambda: self.time, random.Random(1).random
        )
        router = ToldRouter(assisted=False)
        self.desk = Desk(store, router, TIMES, self.receivers, self.outbox.wake)

    async def receive(self, no: str = "T1", source: str = "hotline-12345") -> Ticket:
        receipt = await self.desk.receive(complaint(source_no=no, source=source), no, self.time)
        return receipt.ticket

    async def act(self, ticket: Ticket, act: str, by: Any = ADMIN, **fields: Any) -> Ticket:
        when = f"{self.time:%Y-%m-%d %H:%M:%S}"
        after: Ticket = await getattr(self.desk, act)(order(ticket, by, when), **fields)
        return after

    async def flush(self) -> None:
        """Send whatever is due just now."""
        while await self.outbox.turn():
            await self.outbox.landed()
        await self.outbox.turn()

    async def go(self, seconds: int) -> None:
        """Let time go by, a tick a second."""
        for _ in range(seconds):
            self.time += timedelta(seconds=1)
            await self.flush()

    async def rows(self, **which: Any) -> list[Stored]:
        found = (
            await self.store.read(lambda c: deliveries.page(c, "", limit=10_000, **which))
        ).items
        return found[::-1]


@asynccontextmanager
async def sim(store: Store, **urls: str) -> AsyncIterator[Sim]:
    names = {"source": SOURCE, "other": OTHER, "unit": UNIT}
    world = Sim(store, {names[name]: url for name, url in urls.items()})
    try:
        yield world
    finally:
        await world.outbox.stop()
    # Whatever became of the deliveries, each is counted in the state that it is in.
    assert (await store.read(recount)).agrees


def kinds(got: list[Got]) -> list[str]:
    return [each.document["type"].removeprefix("ticket.") for each in got]


ANSWER = {"public_reply": "已责令退款", "internal_finding": "首次违规，内部处理", "solved": True}
REACHED = {"reached": True, "solved": True, "grade": 5, "text": "满意，尾号0001"}


def test_a_source_is_told_step_by_step_and_nothing_that_stays_inside(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        with Receiver() as source:
            async with sim(store, source=source.url) as s:
                ticket = await s.receive()
                ticket = await s.act(ticket, "sign")
                ticket = await s.act(
                    ticket, "request_extension", HANDLER, amount="1 工作日", reason="情况复杂"
                )
                ticket = await s.act(
                    ticket, "decide_extension", SUPERVISOR, granted=True, reason="内部意见"
                )
                ticket = await s.act(ticket, "note", text="内部备注")
                ticket = await s.act(ticket, "resolve", **ANSWER)
                ticket = await s.act(ticket, "call_back", **REACHED)
                ticket = await s.act(ticket, "close")
                ticket = await s.act(ticket, "reopen", reason="又坏了")
                await s.desk.receive(complaint(content="补充一句"), "other body", s.time)
                await s.flush()
                states = {row.state for row in await s.rows(destination=SOURCE)}
                assert states == {DeliveryState.DELIVERED}
        assert kinds(source.got) == [
            "accepted",
            "dispatched",
            "extended",
            "resolved",
            "closed",
            "reopened",
            "supplemented",
        ]
        whole = b"".join(got.body for got in source.got).decode()
        for inside in (
            "首次违规",
            "内部",
            "尾号",
            "情况复杂",
            "又坏了",
            "王某",
            "13800000001",
            "补充一句",
        ):
            assert inside not in whole
        dispatched, extended, resolved = (source.got[n].data for n in (1, 2, 3))
        assert dispatched["ticket"] == {
            "no": ticket.no,
            "source": "hotline-12345",
            "source_no": "T1",
            "state": "dispatched",
            "lead": {"unit": MARKET.code, "name": MARKET.name},
            "due_at": "2026-11-25T17:30:00+08:00",
            "merged_into": None,
        }
        assert extended["ticket"]["due_at"] == "2026-11-26T17:30:00+08:00"
        assert (resolved["public_reply"], resolved["solved"]) == ("已责令退款", True)
        sequence = [got.data["sequence"] for got in source.got]
        assert sequence == sorted(set(sequence))
        for got in source.got:
            assert set(got.headers["webhook-signature"].split()) == expected(got)
            assert int(got.headers["webhook-timestamp"]) == NOW.timestamp()

    in_store(scenario)


def test_merged_sources_all_get_the_answer(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        with Receiver() as first, Receiver() as other:
            async with sim(store, source=first.url, other=other.url) as s:
                leading = await s.receive("leading")
                one = await s.receive("one", "wenzheng-jiangxi")
                two = await s.receive("two", "wenzheng-jiangxi")
                one = await s.act(one, "merge", into=two.no, reason="同一件事")
                two = await s.act(two, "merge", into=leading.no, reason="同一件事")
                leading = await s.act(leading, "sign")
                leading = await s.act(leading, "resolve", **ANSWER)
                await s.flush()
        told = defaultdict(list)
        for got in other.got:
            told[got.data["ticket"]["source_no"]].append(
                (got.document["type"][7:], got.data["ticket"]["merged_into"])
            )
        begun = [("accepted", None), ("dispatched", None)]
        into = leading.no
        assert told["one"] == [*begun, ("merged", two.no), ("merged", into), ("resolved", into)]
        assert told["two"] == [*begun, ("merged", into), ("resolved", into)]
        answers = [got.data for got in other.got if "public_reply" in got.data]
        assert [answer["public_reply"] for answer in answers] == ["已责令退款"] * 2
        assert kinds(first.got) == ["accepted", "dispatched", "resolved"]

    in_store(scenario)


def test_a_units_own_system_gets_its_ticket_and_learns_that_it_lost_it(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        with Receiver() as unit:
            async with sim(store, unit=unit.url) as s:
                ticket = await s.receive()
                await s.act(ticket, "supervise", SUPERVISOR, level=Level.YELLOW, text="请抓紧")
                await s.flush()
                # A wish for confidence that comes before it leaves holds for it.
                hidden = await s.receive("hidden")
                wish = complaint(source_no="hidden", confidential=True)
                await s.desk.receive(wish, "other body", s.time)
                await s.act(
                    await s.desk.ticket(hidden.no, ADMIN),
                    "dispatch",
                    unit=HOUSING.code,
                    reason="错",
                )
                await s.flush()
        assert kinds(unit.got[:2]) == ["dispatched", "supervision"]
        told = unit.got[0].data["complaint"]
        assert told["contact"]["phone"] == "13800000001"
        assert unit.got[1].data["text"] == "请抓紧"
        assert kinds(unit.got[2:]) == ["dispatched", "supplemented", "withdrawn"]
        # By the time it was sent the unit had it no longer.
        assert [got.data.get("complaint") for got in unit.got[2:]] == [None] * 3
        assert b"13800000001" not in b"".join(got.body for got in unit.got[2:])

    in_store(scenario)


def test_what_nobody_receives_is_settled_and_never_sent(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        async with sim(store) as s:
            ticket = await s.receive()
            await s.act(ticket, "supervise", SUPERVISOR, level=Level.YELLOW, text="请抓紧")
            await s.desk.enforce(at("2026-12-01 09:00"))
            rows = await s.rows()
            assert {row.kind for row in rows} == {Word.STAGE, Word.SUPERVISION}
            assert {(row.state, row.next_at) for row in rows} == {(DeliveryState.UNADDRESSED, None)}
            with pytest.raises(NoReceiver):
                await s.outbox.retry(rows[0].id, ADMIN, s.time)
        with Receiver() as unit:
            async with sim(store, unit=unit.url) as s:
                await s.flush()
                assert unit.got == [], "what is old does not flood out"
                await s.outbox.retry(rows[0].id, SUPERVISOR, s.time)
                await s.flush()
                assert kinds(unit.got) == ["supervision"]
                # A system that is taken out of the configuration.
                await s.receive("T2")
            async with sim(store) as s:
                await s.flush()
                pending = await s.rows(state=DeliveryState.PENDING)
                rows = await s.rows(destination=UNIT, state=DeliveryState.UNADDRESSED)
                assert (pending, rows[-1].reason) == ([], "no-receiver")

    in_store(scenario)


def test_a_refusal_is_dead_at_once_seen_and_sent_again(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        with Receiver(lambda _: 400) as source:
            source.extra = "诉求人 13800000001".encode()
            async with sim(store, source=source.url) as s:
                ticket = await s.receive()
                await s.go(5)
                assert kinds(source.got) == ["accepted", "dispatched"], "a dead one blocks nothing"
                dead = (await s.outbox.page(SUPERVISOR, state=DeliveryState.DEAD)).items
                assert [(d.kind, d.reason, d.attempts) for d in dead] == [
                    (Word.DISPATCHED, "http-400", 1),
                    (Word.ACCEPTED, "http-400", 1),
                ]
                assert (await s.outbox.page(ELSEWHERE)).items == []
                with pytest.raises(UnknownDelivery):
                    await s.outbox.retry(dead[0].id, ELSEWHERE, s.time)
                source.answers = lambda _: 204
                for each in dead:
                    await s.outbox.retry(each.id, SUPERVISOR, s.time)
                await s.flush()
                assert [got.message for got in source.taken] == [d.message for d in dead[::-1]]
                with pytest.raises(NotGivenUp):
                    await s.outbox.retry(dead[0].id, SUPERVISOR, s.time)
                history = await s.desk.history(ticket.no, ADMIN)
                assert [e.act for e in history][-2:] == ["redeliver", "redeliver"]
                assert history[-1].actor == SUPERVISOR.name

    in_store(scenario)


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (200, "delivered", ""),
        (202, "delivered", ""),
        (301, "pending", "http-301"),
        (400, "dead", "http-400"),
        (401, "dead", "http-401"),
        (408, "pending", "http-408"),
        (409, "pending", "http-409"),
        (410, "dead", "http-410"),
        (425, "pending", "http-425"),
        (429, "pending", "http-429"),
        (500, "pending", "http-500"),
    ],
)
def test_what_an_answer_means(
    tmp_path: Any, answer: int, state: DeliveryState, reason: str
) -> None:
    async def scenario() -> None:
        store = open_store(f"sqlite:///{tmp_path}/banjie.db")
        await store.migrate()
        with Receiver() as elsewhere, Receiver() as source:
            source.answers = lambda _: (answer, {"Location": elsewhere.url})
            async with sim(store, source=source.url) as s:
                await s.receive()
                await s.outbox.turn()
                await s.outbox.landed()
                await s.outbox.turn()
                first = (await s.rows())[0]
                assert (first.state, first.reason) == (state, reason)
            assert elsewhere.got == [], "redirects are not followed"
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("wait", ["120", "date"])
def test_a_receiver_that_asks_for_time_is_left_alone(in_store: Run, wait: str) -> None:
    async def scenario(store: Store) -> None:
        said = "Wed, 18 Nov 2026 02:02:00 GMT" if wait == "date" else wait
        with Receiver(lambda _: (503, {"Retry-After": said})) as source:
            async with sim(store, source=source.url) as s:
                await s.receive()
                await s.flush()
                await s.receive("T2")
                await s.go(119)
                assert len(source.got) == 1
                source.answers = lambda _: 204
                await s.go(2)
                assert len(source.taken) == 4

    in_store(scenario)


def test_after_an_outage_of_an_hour_everything_arrives_in_order_and_no_other_waited(
    in_store: Run,
) -> None:
    async def scenario(store: Store) -> None:
        arrived: dict[str, datetime] = {}
        rng = random.Random(5)
        with Receiver() as other, Receiver() as source:
            async with sim(store, source=source.url, other=other.url) as s:

                def keep(got: Got) -> int:
                    arrived.setdefault(got.message, s.time)
                    return 204

                other.answers = keep
                source.answers = lambda _: rng.choice([500, 502, 503, 504])
                begun = s.time
                tickets: list[Ticket] = []
                while s.time < begun + timedelta(hours=1):
                    for name in ("hotline-12345", "wenzheng-jiangxi"):
                        tickets.append(await s.receive(f"{name} {len(tickets)}", name))
                    for place in range(max(0, len(tickets) - 6), len(tickets) - 2):
                        old = tickets[place]
                        if old.state == "dispatched":
                            tickets[place] = await s.act(old, "sign")
                        elif old.state == "signed":
                            tickets[place] = await s.act(old, "resolve", **ANSWER)
                    await s.go(240)
                assert source.taken == []
                assert len(source.got) < 120, "a dead system is not hammered"
                source.answers = keep
                await s.go(90)
                rows = await s.rows()
                assert {row.state for row in rows if row.destination in {SOURCE, OTHER}} == {
                    DeliveryState.DELIVERED
                }
        for destination, receiver_ in ((SOURCE, source), (OTHER, other)):
            wanted = [row for row in rows if row.destination == destination]
            assert len(wanted) > 40
            assert sorted(got.message for got in receiver_.taken) == sorted(
                row.message for row in wanted
            ), "each once"
            by_ticket = defaultdict(list)
            for got in receiver_.taken:
                by_ticket[got.data["ticket"]["no"]].append(got.data["sequence"])
            assert all(found == sorted(found) for found in by_ticket.values())
        waits = [arrived[row.message] - row.created_at for row in rows if row.destination == OTHER]
        assert max(waits) < timedelta(seconds=2)

    in_store(scenario)


def test_a_system_that_hangs_delays_no_other(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        hang = threading.Event()

        def wait(_: Got) -> int:
            hang.wait(60)
            return 204

        with Receiver() as other, Receiver(wait) as source:
            async with sim(store, source=source.url, other=other.url) as s:
                for n in range(10):
                    await s.receive(f"hangs {n}")
                    await s.receive(f"other {n}", "wenzheng-jiangxi")
                while len(other.taken) < 20:
                    await s.outbox.turn()
                    await asyncio.sleep(0.01)
                assert source.got == []
                hang.set()
                await s.outbox.landed()
                await s.flush()
                assert len(source.taken) == 20

    in_store(scenario)


def test_under_random_failures_nothing_is_lost_nothing_overtakes(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        rng = random.Random(7)
        kept: list[Got] = []

        def whims(got: Got) -> Any:
            whim = rng.random()
            if whim < 0.3:
                kept.append(got)
                return 204
            if whim < 0.5:  # kept, and the answer says otherwise: it comes again
                kept.append(got)
                return 500
            return rng.choice([408, 409, 425, 429, 500, 503])

        with Receiver(whims) as source:
            async with sim(store, source=source.url) as s:
                for n in range(8):
                    ticket = await s.receive(f"T{n}")
                    ticket = await s.act(ticket, "sign")
                    ticket = await s.act(ticket, "resolve", **ANSWER)
                    ticket = await s.act(ticket, "reopen", reason="没有解决")
                    await s.go(3)
                for _ in range(400):
                    await s.go(30)
                    if not await s.rows(state=DeliveryState.PENDING):
                        break
                rows = await s.rows()
        assert {row.state for row in rows if row.destination == SOURCE} == {DeliveryState.DELIVERED}
        first: dict[str, Got] = {}
        by_ticket: dict[str, list[int]] = defaultdict(list)
        for got in kept:
            assert first.setdefault(got.message, got).body == got.body, "the same under one number"
            by_ticket[got.data["ticket"]["no"]].append(got.data["sequence"])
        assert set(first) == {row.message for row in rows if row.destination == SOURCE}
        assert all(sequence == sorted(sequence) for sequence in by_ticket.values())
        assert any(len(set(sequence)) < len(sequence) for sequence in by_ticket.values())

    in_store(scenario)


def test_one_message_that_always_fails_stops_no_other_ticket(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        poisoned = "T0"

        def picky(got: Got) -> int:
            return 500 if got.data["ticket"]["source_no"] == poisoned else 204

        with Receiver(picky) as source:
            async with sim(store, source=source.url) as s:
                await s.receive(poisoned)
                await s.go(300)
                tried = len(source.got)
                assert tried >= 5, "the breaker is open"
                await s.receive("T1")
                await s.go(61)
                assert [got.data["ticket"]["source_no"] for got in source.taken] == ["T1", "T1"]
                s.time += timedelta(hours=73)
                await s.go(120)
                assert {row.state for row in await s.rows(destination=SOURCE)} == {
                    DeliveryState.DELIVERED,
                    DeliveryState.DEAD,
                }

    in_store(scenario)


def test_two_replicas_send_nothing_twice(database_url: str) -> None:
    async def scenario() -> None:
        with Receiver() as source:
            stores = [open_store(database_url) for _ in range(2)]
            await stores[0].migrate()
            worlds = [Sim(store, {SOURCE: source.url}) for store in stores]
            for world in worlds:
                world.outbox.start(0.005)
            tickets = await asyncio.gather(
                *(worlds[n % 2].receive(f"T{n}") for n in range(60)),
            )
            await asyncio.gather(*(worlds[n % 2].act(t, "sign") for n, t in enumerate(tickets)))
            signed = [await worlds[0].desk.ticket(t.no, ADMIN) for t in tickets]
            await asyncio.gather(
                *(worlds[n % 2].act(t, "resolve", **ANSWER) for n, t in enumerate(signed))
            )
            for _ in range(1000):
                if not await worlds[0].rows(state=DeliveryState.PENDING):
                    break
                await asyncio.sleep(0.05)
            for world in worlds:
                await world.outbox.stop()
            rows = await worlds[0].rows(state=DeliveryState.DELIVERED)
            for store in stores:
                await store.close()
        assert len(rows) == 180
        assert sorted(got.message for got in source.got) == sorted(row.message for row in rows)
        by_ticket = defaultdict(list)
        for got in source.got:
            by_ticket[got.data["ticket"]["no"]].append(got.data["sequence"])
        assert all(found == sorted(found) for found in by_ticket.values())

    asyncio.run(scenario())


def test_who_answers_after_the_claim_passed_on_settles_nothing(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        held, seen = threading.Event(), threading.Event()

        def slow(got: Got) -> int:
            if not seen.is_set():
                seen.set()
                held.wait(60)
                return 400  # would be dead, had it still a say
            return 204

        with Receiver(slow) as source:
            async with (
                sim(store, source=source.url) as late,
                sim(store, source=source.url) as next_,
            ):
                await late.receive()
                await late.outbox.turn()
                await asyncio.to_thread(seen.wait, 30)
                next_.time += timedelta(seconds=31)
                await next_.flush()
                held.set()
                await late.outbox.landed()
                await late.flush()
                rows = await late.rows(destination=SOURCE)
                assert {row.state for row in rows} == {DeliveryState.DELIVERED}
                assert {got.message for got in source.got} == {row.message for row in rows}

    in_store(scenario)


def test_a_stop_in_the_middle_gives_back_what_was_under_way(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        held = threading.Event()

        def slow(_: Got) -> int:
            held.wait(60)
            return 204

        with Receiver(slow) as source:
            async with sim(store, source=source.url) as s:
                await s.receive()
                await s.outbox.turn()
            held.set()
            async with sim(store, source=source.url) as s:
                assert (await s.rows())[0].reason == "stopped"
                await s.flush()
                assert {row.state for row in await s.rows()} == {DeliveryState.DELIVERED}

    in_store(scenario)


# The wire


def letter(body: bytes = b"{}") -> ports.Letter:
    return ports.Letter(SOURCE, "msg_1", NOW, body)


async def sent(url: str, timeout_s: float = 10) -> None:
    one = receiver(SOURCE, {"url": url, "secret": "SECRET", "token": "TOKEN"}, [])
    post = Outbound({SOURCE: one}, VARIABLES, timeout_s)
    try:
        await post.send(letter("诉求".encode()))
    finally:
        await post.close()
        await asyncio.sleep(0.05)  # a connection that was given up closes in the loop's next rounds


def test_a_letter_is_signed_and_carries_its_token() -> None:
    with Receiver() as source:
        asyncio.run(sent(source.url))
    (got,) = source.got
    assert set(got.headers["webhook-signature"].split()) == expected(got)
    assert got.headers["authorization"] == "Bearer a-token"
    assert got.headers["content-type"] == "application/json"


def test_nobody_there_an_answer_without_end_and_silence_are_unreachable() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ports.Unreachable, match="timeout"):
            asyncio.run(sent(f"http://127.0.0.1:{port}", 0.2))
        with pytest.raises(ports.Unreachable, match=r"tls|timeout"):
            asyncio.run(sent(f"https://127.0.0.1:{port}", 0.2))
    with pytest.raises(ports.Unreachable, match="no-connection"):
        asyncio.run(sent(f"http://127.0.0.1:{port}"))
    with Receiver() as plain, pytest.raises(ports.Unreachable, match="tls"):
        asyncio.run(sent(plain.url.replace("http://", "https://")))
    with Receiver(lambda _: 200) as endless:
        endless.extra = b"x" * 50_000_000
        asyncio.run(sent(endless.url))


def test_a_secret_comes_from_the_environment_or_the_start_is_stopped() -> None:
    one = receiver(SOURCE, {"url": "http://127.0.0.1", "secret": "SECRET", "token": "TOKEN"}, [])
    for variables, said in (
        ({"TOKEN": "t"}, "环境变量 SECRET 没有设置"),
        ({"SECRET": "short", "TOKEN": "t"}, "至少 16 字节"),
        ({"SECRET": "whsec_???", "TOKEN": "t"}, "base64"),
        ({"SECRET": SECRET.decode(), "TOKEN": "令牌"}, "不是可用的令牌"),
        ({"SECRET": SECRET.decode()}, "环境变量 TOKEN 没有设置"),
    ):
        with pytest.raises(SecretMissing, match=said):
            Outbound({SOURCE: one}, variables)
    both = secrets_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw another-secret-of-it")
    assert [len(secret) for secret in both] == [24, 20]


# The upgrade


def test_what_waited_before_there_was_an_outbox_is_never_sent(database_url: str) -> None:
    async def scenario() -> None:
        with Receiver() as unit:
            store = open_store(database_url)
            await store.migrate()
            async with sim(store, unit=unit.url) as s:
                ticket = await s.receive()
                await s.act(ticket, "supervise", SUPERVISOR, level=Level.YELLOW, text="请抓紧")
            await store.run(lambda c: down_to(c, "0001"))
            await store.migrate()
            # What every start does after an upgrade from before there were tallies.
            found = await store.read(recount)
            await store.run(lambda c: correct(c, found, NOW))
            async with sim(store, unit=unit.url) as s:
                await s.go(3)
                rows = await s.rows()
                assert {(r.state, r.destination, r.next_at) for r in rows} == {
                    (DeliveryState.UNADDRESSED, UNIT, None)
                }
                assert len({r.message for r in rows}) == len(rows) == 2
                await s.outbox.retry(rows[-1].id, ADMIN, s.time)
                await s.flush()
                assert kinds(unit.got) == ["supervision"]
            await store.close()

    asyncio.run(scenario())
