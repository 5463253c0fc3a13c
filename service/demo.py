"""Living tickets to play with: invented people walk through the desk on a simulated clock.

Nothing is written past the desk. Payloads go through the adapters, acts through the Desk, time
through `enforce`, so that what the demo shows is what the service does.
"""

import heapq
import os
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain, count
from typing import Any

import httpx
import typer
from rich.console import Console
from rich.progress import Progress

from adapters.fakes import Upstream, serving
from adapters.fakes.invented import REGION
from adapters.fakes.invented import payload as invented
from adapters.pages import Lists
from adapters.payload import fingerprint
from service.desk import Order
from service.domain.access import Actor, Role
from service.domain.acts import RuleForbids
from service.domain.calendar import SHANGHAI
from service.domain.kpi import day_of
from service.domain.lifecycle import State
from service.domain.ports import Poll
from service.domain.sample import CheckedBy, Standing
from service.domain.ticket import Ticket
from service.polling import Poller
from service.store import tickets, tokens
from service.store.lists import Filter
from service.store.tokens import Use
from service.supervision import BadDraw, Draw
from service.wiring import Wiring

DAYS = 60
_TICKETS_A_DAY = 6
# Which shipped source sends what each adapter reads.
_SENDERS = {
    "hotline_12345": "hotline-12345",
    "wenzheng_jiangxi": "wenzheng-jiangxi",
    "haochaping": "haochaping",
}
_LINK_LIFE = timedelta(hours=12)
_TOKEN_LIFE = timedelta(days=30)

# One matter that comes by two channels, and one of many people: what is found across tickets.
_TWICE = (
    "平川大道超市短斤少两",
    "平川大道的超市卖排骨短斤少两，两斤回家称只有一斤七两，找超市不认账。",
    "<p>我在平川大道那家超市买排骨，两斤回家称只有一斤七两，短斤少两还不认账，电话13800099001。</p>",
)
_CROWD = [
    "滨江花园整栋楼停水两天了，自来水公司没人说什么时候来水。",
    "滨江花园停水两天，打自来水公司电话一直占线，什么时候来水？",
    "家住滨江花园3栋，停水两天了，老人没法做饭，自来水公司只说在修。",
    "滨江花园小区停水第二天，自来水公司没有通知什么时候来水。",
    "滨江花园又停水，整栋楼都没有水，自来水公司电话打不通。",
    "滨江花园停水两天，自来水公司说在修，到底什么时候来水。",
]
_REPLIES = [
    "已到现场核实并整改，感谢您的反映。",
    "经核查情况属实，已责令限期改正，结果将向您反馈。",
    "已安排维修人员处理完毕，欢迎继续监督。",
    "已向您解释有关政策，并告知所需材料和办理地点。",
]


_REASONS = (
    "需由检测机构出具报告，报告预计后天送达",
    "涉及两个村，要会同乡镇现场核定后答复",
    "配件已订货，到货后当天维修",
)
_ASKING, _DRAWN = 3, 16


def _call(
    at: datetime, number: int, title: str, words: str, place: str, phone: int
) -> dict[str, Any]:
    return {
        "workOrderNo": f"XG{at.astimezone(SHANGHAI):%Y%m%d}{number:06}",
        "acceptTime": f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}",
        "source": "电话",
        "appealTypeName": "投诉",
        "urgency": "一般",
        "title": title,
        "content": words,
        "address": place,
        "contactName": "李某",
        "contactPhone": f"138000{phone:05}",
        "areaCode": REGION,
        "areaName": "兴国县",
    }


@dataclass(order=True)
class _Step:
    """Something that will happen in the simulation."""

    at: datetime
    order: int
    run: Callable[[datetime], Awaitable[None]] = field(compare=False)


class Simulation:
    """Sixty days of a county, up to `now`. The same seed and day make the same story."""

    def __init__(self, parts: Wiring, now: datetime, seed: int = 360732) -> None:
        self._parts = parts
        self._desk = parts.desk
        self._calendar = parts.times.calendar
        self._now = now
        self._rng = random.Random(seed)  # noqa: S311 a story, not a secret
        self._steps: list[_Step] = []
        self._order = count()
        self.received = 0
        self._asked: list[str] = []

    async def run(self, progress: Callable[[datetime], None] = lambda _at: None) -> None:
        """Let it all happen in the order of its times, enforcing every two hours."""
        start = self._now - timedelta(days=DAYS)
        for at, source, payload in chain(self._payloads(start), self._echoes()):
            self._plan(at, self._arrival(source, payload))
        next_tick = start
        while self._steps and self._steps[0].at <= self._now:
            step = heapq.heappop(self._steps)
            while next_tick <= step.at:
                await self._desk.enforce(next_tick, 10_000)
                await self._look(next_tick)
                next_tick += timedelta(hours=2)
            await step.run(step.at)
            progress(step.at)
        await self._desk.enforce(self._now, 10_000)
        await self._look(self._now)
        await self._supervise()

    async def _supervise(self) -> None:
        """Leave a supervisor something to do: requests for more time, and second looks at what was
        closed, some of them done."""
        at, rng = self._now, self._rng
        signed = await self._desk.page(DISPATCHER, Filter(state=State.SIGNED, limit=200))
        for ticket in rng.sample(signed.items, len(signed.items)):
            if len(self._asked) < _ASKING:
                with suppress(RuleForbids):  # too late, or more than there may be
                    reason, order = rng.choice(_REASONS), self._order_for
                    await self._desk.request_extension(
                        order(ticket, self._handler(ticket), at), amount="2 工作日", reason=reason
                    )
                    self._asked.append(ticket.no)
        today = day_of(at)
        wanted = Draw(today - timedelta(days=45), today - timedelta(days=5), size=_DRAWN)
        with suppress(BadDraw):  # a simulation that somebody made short
            await self._parts.supervision.draw(SUPERVISOR, wanted, at)
        waiting = await self._parts.supervision.checks(SUPERVISOR, Standing.WAITING)
        for each in waiting.items[: _DRAWN // 2]:
            reached = rng.random() < 0.85
            await self._desk.check(
                self._order_for(each.ticket, SUPERVISOR, at),
                way=rng.choice(list(CheckedBy)) if reached else CheckedBy.PHONE,
                reached=reached,
                solved=rng.random() < 0.85 if reached else None,
                truthful=rng.random() < 0.9 if reached else None,
                text="" if reached else "电话无人接听",
            )

    async def _look(self, at: datetime) -> None:
        while await self._parts.matching.look(at):
            pass

    def _plan(self, at: datetime, run: Callable[[datetime], Awaitable[None]]) -> None:
        heapq.heappush(self._steps, _Step(at, next(self._order), run))

    def _later(self, at: datetime, low_hours: float, high_hours: float) -> datetime:
        """Return a time so many working hours on."""
        seconds = int(self._rng.uniform(low_hours, high_hours) * 3600)
        return self._calendar.after_working_seconds(at, max(60, seconds))

    def _payloads(self, start: datetime) -> Iterator[tuple[datetime, str, dict[str, Any]]]:
        rng = self._rng
        number = count(1)
        for day in range(DAYS):
            midnight = (start + timedelta(days=day)).astimezone(SHANGHAI)
            midnight = midnight.replace(hour=0, minute=0, second=0, microsecond=0)
            busy = 1.2 if self._calendar.is_working(midnight.date()) else 0.5
            for _ in range(round(rng.uniform(0.6, 1.4) * _TICKETS_A_DAY * busy)):
                at = midnight + timedelta(minutes=int(rng.triangular(7 * 60, 23 * 60, 10 * 60)))
                if start <= at <= self._now:
                    adapter, payload = invented(
                        rng, at, next(number), due_on=self._calendar.nth_working_day
                    )
                    yield at, _SENDERS[adapter], payload

    def _echoes(self) -> Iterator[tuple[datetime, str, dict[str, Any]]]:
        """Yield what several people or several channels bring of one matter."""
        title, called, posted = _TWICE
        at = self._now - timedelta(hours=30)
        yield at, "hotline-12345", _call(at, 900_000, title, called, "潋江镇平川大道", 99_001)
        later = self._now - timedelta(hours=5)
        yield (
            later,
            "wenzheng-jiangxi",
            {
                "receiptno": f"WZ-{later:%Y}-900001",
                "title": title,
                "content": posted,
                "nickname": "赶集的人",
                "posttime": f"{later.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}",
                "areaName": "兴国县",
                "stage": "posted",
                "contactPhone": "13800099001",
            },
        )
        for n, words in enumerate(_CROWD):
            at = self._now - timedelta(hours=20 - 3 * n)
            told = _call(at, 900_010 + n, "停水", words, "潋江镇滨江花园", 99_010 + n)
            yield at, "hotline-12345", told

    def _arrival(
        self, source_name: str, payload: dict[str, Any]
    ) -> Callable[[datetime], Awaitable[None]]:
        async def arrive(at: datetime) -> None:
            source = self._parts.sources[source_name]
            complaint = self._parts.adapters[source.adapter].complaint(payload, source)
            receipt = await self._desk.receive(complaint, fingerprint(payload), at)
            self.received += 1
            self._follow(receipt.ticket, at)

        return arrive

    def _follow(self, ticket: Ticket, at: datetime) -> None:
        """Plan what somebody will do next to a ticket."""
        rng = self._rng
        slow = 3.0 if rng.random() < 0.12 else 1.0
        if ticket.state is State.SORTING:
            if self._now - at < timedelta(days=4) and rng.random() < 0.6:
                return  # what came in lately lies in the sorting list, as it does
            self._plan(self._later(at, 0.5, 6), self._dispatching(ticket))
        elif ticket.state is State.DISPATCHED:
            if rng.random() < 0.05 and not ticket.redo:
                self._plan(self._later(at, 1, 6), self._sending_back(ticket))
            else:
                self._plan(self._later(at, 0.2, 3.2 * slow), self._signing(ticket, slow))
        elif ticket.state is State.RESOLVED:
            self._plan(self._later(at, 2, 18), self._calling_back(ticket))

    def _order_for(self, ticket: Ticket, by: Actor, at: datetime) -> Order:
        return Order(ticket.no, by, ticket.version, at)

    def _handler(self, ticket: Ticket) -> Actor:
        lead = ticket.lead
        assert lead is not None
        return Actor(f"{lead.name}承办员", Role.HANDLER, (lead.unit,), region=REGION)

    def _dispatching(self, ticket: Ticket) -> Callable[[datetime], Awaitable[None]]:
        async def dispatch(at: datetime) -> None:
            candidates = ticket.route.candidates
            had = ticket.route.lead.unit if ticket.route.lead else ""
            options = [c.unit for c in candidates if c.unit != had]
            unit = options[0] if options else self._parts.router.coordinator(REGION).code
            after = await self._desk.dispatch(
                self._order_for(ticket, DISPATCHER, at), unit=unit, reason="按职责分工派单"
            )
            self._follow(after, at)

        return dispatch

    def _sending_back(self, ticket: Ticket) -> Callable[[datetime], Awaitable[None]]:
        async def send_back(at: datetime) -> None:
            after = await self._desk.send_back(
                self._order_for(ticket, self._handler(ticket), at),
                reason="经核实不属于本单位职责",
                basis="本单位三定方案",
            )
            self._follow(after, at)

        return send_back

    def _signing(self, ticket: Ticket, slow: float) -> Callable[[datetime], Awaitable[None]]:
        async def sign(at: datetime) -> None:
            signed = await self._desk.sign(self._order_for(ticket, self._handler(ticket), at))
            self._plan(self._later(at, 0.5, 7 * slow), self._contacting(signed, slow))

        return sign

    def _contacting(self, ticket: Ticket, slow: float) -> Callable[[datetime], Awaitable[None]]:
        async def contact(at: datetime) -> None:
            order = self._order_for(ticket, self._handler(ticket), at)
            spoken = await self._desk.contact(order, text="已电话联系诉求人，了解情况")
            self._plan(self._later(at, 5, 34 * slow), self._resolving(spoken))

        return contact

    def _resolving(self, ticket: Ticket) -> Callable[[datetime], Awaitable[None]]:
        async def resolve(at: datetime) -> None:
            done = await self._desk.resolve(
                self._order_for(ticket, self._handler(ticket), at),
                public_reply=self._rng.choice(_REPLIES),
                internal_finding="",
                solved=self._rng.random() < 0.9,
            )
            self._follow(done, at)

        return resolve

    def _calling_back(self, ticket: Ticket) -> Callable[[datetime], Awaitable[None]]:
        async def call_back(at: datetime) -> None:
            rng = self._rng
            called = ticket
            solved = True
            if ticket.complaint.contact.phone:
                reached = rng.random() < 0.92
                solved = rng.random() < 0.88
                grade = rng.choices((5, 4, 3), (6, 3, 1))[0] if solved else rng.choice((1, 2, 3))
                called = await self._desk.call_back(
                    self._order_for(ticket, DISPATCHER, at),
                    reached=reached,
                    solved=solved if reached else None,
                    grade=grade if reached else None,
                    text="" if reached else "电话无人接听",
                )
            order = self._order_for(called, DISPATCHER, at + timedelta(minutes=5))
            if not solved and not called.redo:
                again = await self._desk.reopen(order, reason="诉求人反映问题没有解决")
                self._follow(again, at)
            else:
                await self._desk.close(order)

        return call_back


DISPATCHER = Actor("王分拨", Role.DISPATCHER, region=REGION)
SUPERVISOR = Actor("李督办", Role.SUPERVISOR, region=REGION)


def _users() -> list[Actor]:
    """Return one user of each role, and handlers of three busy units."""
    return [
        Actor("系统管理员", Role.ADMIN),
        DISPATCHER,
        SUPERVISOR,
        Actor("赵审计", Role.AUDITOR, region=REGION),
        Actor("城管局承办员", Role.HANDLER, (f"{REGION}-urban_management",), region=REGION),
        Actor("市场监管局承办员", Role.HANDLER, (f"{REGION}-market_regulation",), region=REGION),
        Actor("住建局承办员", Role.HANDLER, (f"{REGION}-housing_construction",), region=REGION),
    ]


async def prepare(parts: Wiring, address: str) -> str:
    """Migrate, fill an empty database with sixty days of tickets, and print who may come in. Return a
    token for what comes in from now on, "" if nothing is to.

    A database that already holds tickets gets none added: a demo is never mixed into real work.
    """
    now = parts.now()
    console = Console(stderr=True)
    token = ""
    try:
        await parts.store.migrate()
        if await parts.store.read(tickets.count):
            console.print("数据库中已有工单，不再添加演示工单。")
        else:
            await _fill(parts, now, console)
            hotline = Actor("演示热线", Role.SOURCE, source=_PUSHED)
            token = await _token(parts, hotline, now, Use.API, _TOKEN_LIFE)
        await _print_ways_in(parts, address, now)
    finally:
        await parts.store.close()
    return token


_PUSHED = "hotline-12345"
_LISTED = ("wenzheng-jiangxi", "haochaping")
_POLL_EVERY = timedelta(seconds=10)
_ROW_EVERY_S = 20.0
# The tickets of the sixty days have numbers below.
_FIRST_NUMBER = 500_000


@contextmanager
def living(parts: Wiring, address: str, token: str) -> Iterator[Wiring]:
    """Let complaints go on coming for as long as the block lasts: two fakes offer lists that grow, one
    pushes. Yield the parts with sources that read those lists."""
    console = Console(stderr=True)
    sources = dict(parts.sources)
    ended = threading.Event()
    with ExitStack() as stack:
        fakes = []
        for name in _LISTED:
            source = sources.get(name)
            if source is None or source.poll:
                continue  # somebody's own sources.yaml
            fake = Upstream(name, first=_FIRST_NUMBER, now=lambda: parts.now().astimezone(SHANGHAI))
            url = f"{stack.enter_context(serving(fake))}/list"
            console.print(f"演示来源 {name} 的列表 {url}")
            sources[name] = replace(source, poll=Poll(url, fake.time, every=_POLL_EVERY))
            fakes.append(fake)
        pushing = Upstream(
            _PUSHED, first=_FIRST_NUMBER, now=lambda: parts.now().astimezone(SHANGHAI)
        )

        def come() -> None:
            with httpx.Client(timeout=10) as client:
                while not ended.wait(_ROW_EVERY_S):
                    for fake in fakes:
                        fake.put(fake.invent())
                    with suppress(httpx.TransportError):
                        where = f"{address}/v1/intake/{_PUSHED}"
                        pushing.push(client, [pushing.invent()], where, token)

        coming = threading.Thread(target=come, daemon=True)
        coming.start()
        try:
            lists = Lists(sources, os.environ)
            poller = Poller(parts.desk, parts.store, sources, parts.adapters, parts.now, lists)
            yield replace(parts, sources=sources, poller=poller)
        finally:
            ended.set()
            coming.join()


async def _fill(parts: Wiring, now: datetime, console: Console) -> None:
    simulation = Simulation(parts, now)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("正在模拟过去 60 天的工单", total=DAYS * 24.0)
        start = now - timedelta(days=DAYS)
        await simulation.run(
            lambda at: bar.update(task, completed=(at - start).total_seconds() / 3600)
        )
    console.print(f"已生成 {simulation.received} 张演示工单。")


async def _print_ways_in(parts: Wiring, address: str, now: datetime) -> None:
    typer.echo(f"\nBanjie 办结（演示） {address}/desk")
    typer.echo("\n一次性登录链接（12 小时内有效，用后即失效）：")
    for user in _users():
        link = await _token(parts, user, now, Use.LINK, _LINK_LIFE)
        typer.echo(f"  {user.name:<10}\t{user.role:<10} {address}/desk/enter/{link}")
    typer.echo("\n接口令牌（30 天内有效）：")
    for user in _users():
        typer.echo(
            f"  {user.name:<10}\t{user.role:<10} {await _token(parts, user, now, Use.API, _TOKEN_LIFE)}"
        )
    for name, source in parts.sources.items():
        caller = Actor(source.label, Role.SOURCE, source=name)
        token = await _token(parts, caller, now, Use.API, _TOKEN_LIFE)
        typer.echo(f"  {name:<18}\tsource     {token}")
    typer.echo(f"\n指标 {address}/metrics  就绪 {address}/readyz  接口 {address}/openapi.json\n")


async def _token(parts: Wiring, actor: Actor, now: datetime, use: Use, life: timedelta) -> str:
    return await parts.store.run(
        lambda connection: tokens.create(connection, actor, now, use=use, expires_at=now + life)
    )
