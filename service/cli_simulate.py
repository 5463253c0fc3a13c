"""`banjie simulate`: the daily life of an invented place, and the rates that come of it."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from routing_rules.clocks import load_timetable
from routing_rules.rulebook import Rulebook, load
from service.api.schemas import KpisOut
from service.config import Settings
from service.domain.access import SYSTEM
from service.domain.calendar import SHANGHAI
from service.domain.kpi import RATES
from service.domain.limits import Timetable
from service.main import weights
from service.reports import Asked, BadPeriod, Report, Reports, read_day
from service.simulation.lives import Behaviour
from service.simulation.run import Plan, Simulated, simulate
from service.store import BadDatabaseUrl, InUse, open_store, tickets
from service.store.figures import UnitLoad, resolved, unit_loads, with_idle
from service.terminal import AsJson, Refused, print_document, settings

_MOST_DAYS, _MOST_PER_DAY = 1_100, 20_000
_EARLIEST = date(2005, 1, 1)
_SHOWN = 15
_USUAL = Behaviour()


def run(
    days: Annotated[int, typer.Option(help="How many days.")] = 30,
    per_day: Annotated[float, typer.Option(help="Tickets a day, on the average.")] = 118,
    seed: Annotated[int, typer.Option(help="The same seed tells the same story.")] = 1,
    region: Annotated[
        str, typer.Option(help="A county or city: GB/T 2260 code, or name.")
    ] = "360732",
    start: Annotated[str, typer.Option(help="First day; else so that it ends yesterday.")] = "",
    late_share: Annotated[float, typer.Option(help="Of answers, given late.")] = _USUAL.late,
    send_back_share: Annotated[
        float, typer.Option(help="Of tickets that a unit gets, sent back.")
    ] = _USUAL.send_back,
    repeat_share: Annotated[
        float, typer.Option(help="Of calls, said again by the same person.")
    ] = _USUAL.repeats,
    unit_per_day: Annotated[
        int, typer.Option(help="How many a unit can answer on a working day; 0 is any number.")
    ] = 0,
    database: Annotated[
        str, typer.Option(help="Keep the tickets here; else they are thrown away.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Simulate a place's days by the rules and limits in force, and tell what came of it."""
    configured = settings()
    first = _first(start, days)
    behaviour = Behaviour(
        late=_share("--late-share", late_share),
        send_back=_share("--send-back-share", send_back_share),
        repeats=_share("--repeat-share", repeat_share),
        per_day=unit_per_day,
    )
    wrong = []
    if not 1 <= days <= _MOST_DAYS:
        wrong.append(f"--days 应为 1 到 {_MOST_DAYS} 的整数，此处为 {days}")
    if not 0 < per_day <= _MOST_PER_DAY:
        wrong.append(f"--per-day 应大于 0、不超过 {_MOST_PER_DAY}，此处为 {per_day:g}")
    if unit_per_day < 0:
        wrong.append(f"--unit-per-day 不能为负，此处为 {unit_per_day}")
    if wrong:
        raise Refused("；".join(wrong), 2)
    # Rules take seconds to load: what is wrong without them is told first.
    book, times = load(configured.rules), load_timetable(configured.rules)
    found = book.gazetteer.find(region) if region else None
    if found is None or len(found) != _COUNTY or found.endswith("0000"):
        raise Refused(f"--region 应为本省市、县的代码或名称，没有“{region}”", 2)
    plan = Plan(first, days, per_day, found, seed, behaviour, configured.rules)
    with _database(database) as url:
        # What is thrown away gets a key file that is thrown away with it.
        keys = configured.keys if database else None
        outcome = asyncio.run(_simulated(plan, configured, url, (book, times), keys))
    if as_json:
        print_document(_document(plan, outcome, kept=bool(database)))
    else:
        _print(plan, outcome)


_COUNTY = len("360732")


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a simulation gives: how much, in which time, and the figures at its end: what each unit
    owes, how many it resolved, and how many of these in time. `unsure` says which days no calendar
    has, "" if it has all."""

    much: Simulated
    wall_s: float
    report: Report
    loads: Sequence[UnitLoad]
    resolved: Mapping[str, tuple[int, int]]
    unsure: str

    def of(self, unit: str) -> tuple[int, int]:
        """Return how many tickets a unit resolved, and how many of them in time."""
        return self.resolved.get(unit, (0, 0))


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise Refused(f"{name} 应在 0 到 1 之间，此处为 {value:g}", 2)
    return value


def _first(start: str, days: int) -> date:
    if not start:
        return datetime.now(SHANGHAI).date() - timedelta(max(1, min(days, _MOST_DAYS)))
    try:
        first = read_day("/start", start)
    except BadPeriod as error:
        raise Refused(f"--start：{error}", 2) from None
    if not _EARLIEST <= first <= date(2035, 12, 31):
        raise Refused(f"--start 应在 {_EARLIEST} 与 2035-12-31 之间，此处为 {first}", 2)
    return first


@contextmanager
def _database(kept: str) -> Iterator[str]:
    """Give the address of the database: the one that is named, or one that is thrown away."""
    if kept:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="banjie-simulate-") as folder:
        yield f"sqlite:///{Path(folder)}/simulated.db"


async def _simulated(
    plan: Plan,
    configured: Settings,
    url: str,
    rules: tuple[Rulebook, Timetable],
    keys: Path | None,
) -> _Outcome:
    book, times = rules
    # Years that nobody has published are counted by Monday to Friday: said, never silent.
    calendar = times.calendar
    unsure = ""
    if not calendar.covers(plan.first, plan.last):
        unsure = f"日历数据为 {calendar.first} 至 {calendar.last}，此外按周一至周五推算，时限为暂定"
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    started = time.perf_counter()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("模拟中", total=round(plan.days * plan.per_day))
        async with _prepared(url, keys):
            much = await simulate(
                plan, url, book, times, lambda n: bar.update(task, completed=n), keys=keys
            )
    wall_s = time.perf_counter() - started
    store = open_store(url, keys=keys)
    try:
        reports = Reports(
            store, lambda: book, book.gazetteer, weights(configured), configured.rank_floor
        )
        asked = Asked(plan.first, plan.last, region=plan.region)
        report = await reports.kpis(asked, SYSTEM, plan.end)
        since = plan.end - timedelta(plan.days)
        loads = await store.read(lambda c: unit_loads(c, plan.region, plan.end, plan.end))
        done = await store.read(lambda c: resolved(c, plan.region, since))
    finally:
        await store.close()
    return _Outcome(much, wall_s, report, with_idle(loads, done), done, unsure)


@asynccontextmanager
async def _prepared(url: str, keys: Path | None) -> AsyncIterator[None]:
    """Hold a migrated and empty database that nobody serves: what a service counts meanwhile and what
    is simulated would be told as one."""
    try:
        store = open_store(url, keys=keys)
    except BadDatabaseUrl as error:
        raise Refused(f"--database：{error}", 2) from None
    try:
        await store.migrate()
        async with store.alone():
            if await store.read(tickets.count):
                raise Refused(
                    "--database 所指数据库中已有工单；模拟的工单不与真实的混在一起，请指明一个空的数据库",
                    2,
                )
            yield
    except InUse:
        raise Refused(
            "--database 所指数据库正由运行中的服务使用，请先停下服务，或指明另一个数据库", 2
        ) from None
    finally:
        await store.close()


def _document(plan: Plan, outcome: _Outcome, *, kept: bool) -> dict[str, Any]:
    much, report = outcome.much, outcome.report
    return {
        "from": plan.first.isoformat(),
        "to": plan.last.isoformat(),
        "region": plan.region,
        "seed": plan.seed,
        "per_day": plan.per_day,
        "behaviour": asdict(plan.behaviour),
        "kept": kept,
        "provisional": outcome.unsure or None,
        "tickets": much.tickets,
        "acts": much.acts,
        "events": much.events,
        "open": much.not_over,
        "overdue": sum(each.overdue for each in outcome.loads),
        "wall_s": round(outcome.wall_s, 2),
        "tickets_per_s": round(much.tickets / outcome.wall_s, 1),
        "kpis": KpisOut.of(report).model_dump(mode="json", by_alias=True),
        "units": [
            asdict(each) | dict(zip(("resolved", "on_time"), outcome.of(each.unit), strict=True))
            for each in outcome.loads
        ],
    }


def _print(plan: Plan, outcome: _Outcome) -> None:
    much, report, loads = outcome.much, outcome.report, outcome.loads
    console = Console()
    console.print(
        f"模拟 {report.region_name} {plan.first} 至 {plan.last}（种子 {plan.seed}）："
        f"工单 {much.tickets} 张，操作 {much.acts} 次，留痕 {much.events} 条，"
        f"用时 {outcome.wall_s:.1f} 秒，每秒 {much.tickets / outcome.wall_s:.0f} 张"
    )
    console.print(f"期末未了结 {much.not_over} 张，超期 {sum(each.overdue for each in loads)} 张")
    if outcome.unsure:
        console.print(outcome.unsure)
    rates = Table(title="本期指标")
    for name in ("指标", "比率", "分子", "分母"):
        rates.add_column(name, justify="left" if name == "指标" else "right")
    for rate, found in report.total.rates.items():
        value = "—" if found.value is None else f"{found.value * 100:.2f}%"
        rates.add_row(RATES[rate].name, value, str(found.numerator), str(found.denominator))
    console.print(rates)
    named = {row.key: row.name for row in report.items}
    units = Table(title=f"期末各单位在办（超期多者在前，共 {len(loads)} 个单位）")
    for name in ("单位", "在办", "临期", "超期", "本期办结", "其中按时"):
        units.add_column(name, justify="left" if name == "单位" else "right")
    for each in loads[:_SHOWN]:
        counts = (each.open, each.warn, each.overdue, *outcome.of(each.unit))
        units.add_row(named.get(each.unit, each.unit), *map(str, counts))
    console.print(units)
    console.print("以上行为均属虚构，未按当地数据校准，不是预测。")
