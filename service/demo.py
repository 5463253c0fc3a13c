"""Living tickets to play with: invented people walk through the desk on a simulated clock.

Nothing is written past the desk. Payloads go through the adapters, acts through the Desk, time
through `enforce`, so that what the demo shows is what the service does.
"""

import heapq
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, count
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress

from adapters.payload import fingerprint
from service.desk import Order
from service.domain.access import Actor, Role
from service.domain.calendar import SHANGHAI
from service.domain.lifecycle import State
from service.domain.ticket import Ticket
from service.store import tickets, tokens
from service.store.tokens import Use
from service.wiring import Wiring

DAYS = 60
_TICKETS_A_DAY = 6
_REGION = "360732"
_LINK_LIFE = timedelta(hours=12)
_TOKEN_LIFE = timedelta(days=30)

# Kind, urgency, title, content, place. All of it is invented.
_HOTLINE: list[tuple[str, str, str, str, str]] = [
    (
        "求助",
        "一般",
        "路灯不亮",
        "圩镇主街的路灯坏了十来天，晚上接孩子放学看不清路。",
        "高兴镇圩镇主街",
    ),
    (
        "投诉",
        "一般",
        "工地半夜施工",
        "小区旁边工地夜里一点还在打混凝土，吵得老人睡不着。",
        "潋江镇红军路附近",
    ),
    (
        "投诉",
        "一般",
        "拖欠工资",
        "在工业园做了四个月木工，包工头一直拖着工资不发，说没回款。",
        "兴国经济开发区",
    ),
    (
        "投诉",
        "一般",
        "烧烤摊油烟",
        "楼下烧烤摊天天摆到凌晨，油烟直往家里灌，窗户都不敢开。",
        "潋江镇文明大道",
    ),
    (
        "求助",
        "次紧急",
        "小区停水两天",
        "整栋楼停水两天了，打自来水公司电话说在修，没人说什么时候来水。",
        "潋江镇滨江花园",
    ),
    (
        "咨询",
        "一般",
        "医保报销比例",
        "想问一下在赣州住院，城乡居民医保回来能报多少，要带什么材料。",
        "",
    ),
    (
        "投诉",
        "一般",
        "物业不作为",
        "电梯坏了一个星期没人修，物业说没有维修资金，老人上下楼很困难。",
        "潋江镇御景新城",
    ),
    (
        "求助",
        "一般",
        "低保申请",
        "家里老人常年卧床，想申请低保，不知道找哪里办、要哪些证明。",
        "长冈乡",
    ),
    (
        "投诉",
        "一般",
        "超市短斤少两",
        "买了两斤排骨，回家称只有一斤七两，找超市不认账。",
        "潋江镇平川大道",
    ),
    (
        "投诉",
        "一般",
        "出租车绕路不打表",
        "从火车站打车到汽车站，司机不打表，开口要五十块。",
        "兴国西站",
    ),
    (
        "举报",
        "一般",
        "河道倒垃圾",
        "有人夜里用三轮车往河边倒建筑垃圾，已经堆了一大片。",
        "埠头乡河边",
    ),
    (
        "投诉",
        "一般",
        "村道破损",
        "村里通组公路被大货车压得坑坑洼洼，下雨积水，骑车摔了几个人。",
        "城岗乡",
    ),
    (
        "求助",
        "一般",
        "公交站太少",
        "新区这边公交站隔得太远，老人孩子出门不方便，能不能加一站。",
        "潋江镇新区",
    ),
    (
        "投诉",
        "一般",
        "校外培训退费难",
        "孩子报的英语班关门了，剩下的课时费六千多不退，电话也不接。",
        "潋江镇",
    ),
    (
        "投诉",
        "一般",
        "快递送到门口不通知",
        "快递放在楼下丢了，快递站说系统显示已签收，不肯赔。",
        "潋江镇",
    ),
    (
        "咨询",
        "一般",
        "不动产证办理",
        "买的房子交房两年了，想问不动产证什么时候能办，要不要排队。",
        "潋江镇",
    ),
    (
        "求助",
        "次紧急",
        "井盖缺失",
        "人行道上一个井盖不见了，晚上很危险，只有居民插了根树枝。",
        "潋江镇迎宾大道",
    ),
    (
        "投诉",
        "一般",
        "广场舞扰民",
        "楼下广场舞音响开得很大，每天到十点，孩子没法写作业。",
        "潋江镇将军广场",
    ),
    ("投诉", "一般", "养猪场臭气", "村边养猪场污水直接排到沟里，臭得不敢开窗。", "龙口镇"),
    ("投诉", "一般", "停车收费不规范", "路边停车没有收费公示，收费员要十块钱还不给票。", "潋江镇"),
    ("咨询", "一般", "养老保险转移", "以前在广东交的养老保险，想转回来，要怎么办。", ""),
    (
        "求助",
        "一般",
        "农田灌溉渠堵了",
        "水渠被塌下来的土堵了一段，下面几十亩田放不到水。",
        "杰村乡",
    ),
    ("投诉", "一般", "餐馆不给发票", "吃饭三百多块，老板说开发票要加税点，不加不开。", "潋江镇"),
    (
        "建议",
        "一般",
        "建议增设红绿灯",
        "学校门口的路口车多人多，建议装个红绿灯。",
        "潋江镇第五小学",
    ),
    (
        "表扬",
        "一般",
        "表扬窗口工作人员",
        "办社保卡的窗口工作人员很耐心，帮老人填表，特来表扬。",
        "",
    ),
    ("投诉", "一般", "违章搭建", "邻居在楼顶搭铁皮房，挡了光，下雨声音很大，怕掉下来。", "潋江镇"),
    (
        "求助",
        "一般",
        "残疾人补贴没到账",
        "父亲的残疾人护理补贴这两个月没有到账，想问什么原因。",
        "江背镇",
    ),
    (
        "投诉",
        "一般",
        "办营业执照跑了三趟",
        "开办企业材料都交齐了，窗口让回去等，第三趟还没拿到执照和公章。",
        "潋江镇县市民中心",
    ),
    (
        "投诉",
        "一般",
        "惠企补贴迟迟不兑现",
        "园区企业申报的设备补贴公示几个月了，一直没有拨付。",
        "兴国经济开发区",
    ),
    (
        "举报",
        "一般",
        "反映热线办件弄虚作假",
        "上个月反映的问题没人联系过，短信却说已经办结满意，请上级核查。",
        "",
    ),
    ("求助", "一般", "想找人说说", "就是心里烦，想找个人说说，也没什么具体的事。", ""),
    ("咨询", "一般", "信号不好", "听不清，信号断断续续，说了几句挂断了。", ""),
    (
        "求助",
        "一般",
        "外省社保问题",
        "在湖北武汉交的社保，那边单位欠缴，想让你们去催武汉的单位。",
        "武汉市",
    ),
    (
        "求助",
        "紧急",
        "楼道起火",
        "楼道里电动车正在着火，烟很大，楼上有人下不来！",
        "潋江镇金福小区",
    ),
]
_FORUM: list[tuple[str, str]] = [
    (
        "开发区企业补贴何时兑现",
        "<p>公司落户开发区一年多，招商时承诺的补贴一直在走流程。</p><p>希望有个准信。</p>",
    ),
    ("新区学校什么时候开学招生", "<p>新区小学建好了，一直没有招生的消息，家长很着急。</p>"),
    ("县城到乡镇的班车减少了", "<p>以前半小时一班，现在两个小时才一班，老人看病很不方便。</p>"),
    ("楼盘延期交房一年", "<p>合同约定去年交房，现在工地没几个人，请主管部门管一管预售资金。</p>"),
    ("河边散步道没有灯", "<p>江边新修的步道晚上一片漆黑，建议装上路灯。</p>"),
    ("垃圾中转站臭味", "<p>垃圾中转站离居民楼太近，夏天臭得受不了。</p>"),
]
_REVIEWS: list[tuple[str, str, str]] = [
    ("兴国县市场监督管理局", "公司设立登记", "让我重复交了两次一样的材料"),
    ("兴国县人力资源和社会保障局", "失业登记", "等了一上午没人叫号"),
    ("兴国县自然资源局", "不动产首次登记", "窗口说法前后不一致"),
    ("兴国县医疗保障局", "异地就医备案", "打电话一直没人接"),
]
_FAMILY_NAMES = "王李张刘陈杨黄赵吴周钟谢曾肖邱"
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
        "areaCode": _REGION,
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
                    yield at, *self._payload(at, next(number))

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

    def _payload(self, at: datetime, number: int) -> tuple[str, dict[str, Any]]:
        rng = self._rng
        written = f"{at:%Y-%m-%d %H:%M:%S}"
        named = rng.random() < 0.85
        name = f"{rng.choice(_FAMILY_NAMES)}某" if named else ""
        phone = f"138000{rng.randrange(100_000):05}" if named else ""
        place = {"areaCode": _REGION, "areaName": "兴国县"}
        channel = rng.choices(("hotline", "forum", "review"), (80, 8, 12))[0]
        if channel == "hotline":
            kind, urgency, title, content, where = rng.choice(_HOTLINE)
            deadline = self._calendar.nth_working_day(at.date(), rng.choice((5, 5, 10)))
            return "hotline-12345", {
                "workOrderNo": f"XG{at:%Y%m%d}{number:06}",
                "acceptTime": written,
                "source": rng.choice(("电话", "电话", "微信", "网页")),
                "appealTypeName": kind,
                "urgency": urgency,
                "title": title,
                "content": content,
                "address": where,
                "contactName": name,
                "contactPhone": phone,
                "anonymous": not named,
                "confidential": rng.random() < 0.1,
                "replyDeadline": f"{deadline} 17:30:00" if rng.random() < 0.5 else None,
                **place,
            }
        if channel == "forum":
            title, content = rng.choice(_FORUM)
            return "wenzheng-jiangxi", {
                "receiptno": f"WZ-{at:%Y}-{number:06}",
                "title": title,
                "content": content,
                "nickname": "匿名网友",
                "posttime": written,
                "areaName": "兴国县",
                "stage": "posted",
                "contactPhone": phone,
            }
        unit, task, words = rng.choice(_REVIEWS)
        rating = rng.choices((1, 2, 3, 4, 5), (8, 12, 10, 20, 50))[0]
        return "haochaping", {
            "evaluateId": f"HCP{at:%Y%m%d}-{number:05}",
            "proDepart": unit,
            "taskName": task,
            "proStatus": "3",
            "pf": "7" if rating == 5 and rng.random() < 0.4 else "4",
            "userName": name,
            "contactPhone": phone,
            "satisfaction": str(rating),
            "writingEvaluation": words if rating < 3 else "",
            "assessTime": written,
            "assessNumber": "1",
            **place,
        }

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
        return Actor(f"{lead.name}承办员", Role.HANDLER, (lead.unit,), region=_REGION)

    def _dispatching(self, ticket: Ticket) -> Callable[[datetime], Awaitable[None]]:
        async def dispatch(at: datetime) -> None:
            candidates = ticket.route.candidates
            had = ticket.route.lead.unit if ticket.route.lead else ""
            options = [c.unit for c in candidates if c.unit != had]
            unit = options[0] if options else self._parts.router.coordinator(_REGION).code
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


DISPATCHER = Actor("王分拨", Role.DISPATCHER, region=_REGION)


def _users() -> list[Actor]:
    """Return one user of each role, and handlers of three busy units."""
    return [
        Actor("系统管理员", Role.ADMIN),
        DISPATCHER,
        Actor("李督办", Role.SUPERVISOR, region=_REGION),
        Actor("赵审计", Role.AUDITOR, region=_REGION),
        Actor("城管局承办员", Role.HANDLER, (f"{_REGION}-urban_management",), region=_REGION),
        Actor("市场监管局承办员", Role.HANDLER, (f"{_REGION}-market_regulation",), region=_REGION),
        Actor("住建局承办员", Role.HANDLER, (f"{_REGION}-housing_construction",), region=_REGION),
    ]


async def prepare(parts: Wiring, address: str) -> None:
    """Migrate, fill an empty database with sixty days of tickets, and print who may come in.

    A database that already holds tickets gets none added: a demo is never mixed into real work.
    """
    now = parts.now()
    console = Console(stderr=True)
    try:
        await parts.store.migrate()
        if await parts.store.read(tickets.count):
            console.print("数据库中已有工单，不再添加演示工单。")
        else:
            await _fill(parts, now, console)
        await _print_ways_in(parts, address, now)
    finally:
        await parts.store.close()


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
