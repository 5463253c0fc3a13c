"""`banjie kpi`: the rates of a period, and the proof that they are what the events say."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, TypeVar

import typer

from service.api.schemas import KpisOut
from service.domain.access import SYSTEM
from service.domain.kpi import RATES, Percentile, Row
from service.main import now, wire
from service.reports import Asked, BadPeriod, By, Report, begin, read_day
from service.store.tallies import Recounted
from service.terminal import AsJson, Refused, asked, print_document, require_tables
from service.wiring import Wiring

app = typer.Typer(help="Rates that can be defended 考核指标.")

T = TypeVar("T")

_SHOWN = 20


@app.callback(invoke_without_command=True)
def kpi(
    context: typer.Context,
    since: Annotated[str, typer.Option("--from", help="First day, 2026-10-01.")] = "",
    until: Annotated[str, typer.Option("--to", help="Last day, counted too.")] = "",
    by: Annotated[
        str, typer.Option(help=f"What the figures are told by: {', '.join(By)}.")
    ] = By.UNIT,
    region: Annotated[str, typer.Option(help="GB/T 2260 code, or name; empty is everywhere.")] = "",
    as_of: Annotated[str, typer.Option(help="As known at the end of this day.")] = "",
    as_json: AsJson = False,
) -> None:
    """Tell each rate of a period with numerator, denominator, what was left out, and interval."""
    if context.invoked_subcommand:
        return
    if not since or not until:
        raise Refused("请用 --from 和 --to 指明期间的首日和末日", 2)
    if by not in set(By):
        raise Refused(f"--by 应为 {'、'.join(By)} 之一，而不是“{by[:64]}”", 2)
    try:
        wish = Asked(
            read_day("/from", since),
            read_day("/to", until),
            By(by),
            region,
            read_day("/as_of", as_of) if as_of else None,
        )
        report = with_parts(lambda parts: _report(parts, wish))
    except BadPeriod as error:
        raise asked_wrongly(error) from None
    if as_json:
        print_document(KpisOut.of(report).model_dump(mode="json", by_alias=True))
    else:
        _print(report)


def asked_wrongly(error: BadPeriod) -> Refused:
    """Return the refusal that names the options at fault."""
    told = (f"--{p.pointer[1:].replace('_', '-')}：{p.detail}" for p in error.problems)
    return Refused("；".join(told), 2)


async def counted(parts: Wiring) -> None:
    """Bring the schema and the tallies up to date."""
    await parts.store.migrate()
    await begin(parts.store, now())
    while await parts.reports.fold():
        pass


async def _report(parts: Wiring, wish: Asked) -> Report:
    await counted(parts)
    wish = replace(wish, region=region_code(parts, wish.region))
    return await parts.reports.kpis(wish, SYSTEM, now())


def region_code(parts: Wiring, named: str) -> str:
    """Return the code of a region that is given by its code or its name. What is none, or the name of
    several, stays, and is refused by whoever asks for its figures."""
    return (parts.gazetteer.find(named) or named) if named else ""


@app.command()
def recount(
    apply: Annotated[bool, typer.Option("--apply", help="Write what is missing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Count from scratch what tickets and events say; exit 1 if the tallies differ."""

    async def work(parts: Wiring) -> None:
        await parts.store.migrate()
        try:
            found = await parts.reports.recount(now(), apply=apply)
        except Recounted:
            raise Refused("另一处同时写入了重新统计的结果，未作改动，请再运行一次", 1) from None
        wrong = [
            {**where._asdict(), "tallied": is_, "counted": should}
            for where, is_, should in found.wrong
        ] + [
            {**where._asdict(), "tallied": is_, "counted": should}
            for where, is_, should in found.sums
        ]
        if as_json:
            print_document(
                {
                    "applied": apply and not found.agrees,
                    "tickets": found.tickets,
                    "counts": found.counts,
                    "differences": wrong,
                }
            )
        else:
            typer.echo(f"工单 {found.tickets} 张，计数 {found.counts} 个，不符 {len(wrong)} 处")
            for each in wrong[:_SHOWN]:
                where = " ".join(str(v) for k, v in each.items() if k not in {"tallied", "counted"})
                typer.echo(f"{where}：留存 {each['tallied']}，应为 {each['counted']}")
            if len(wrong) > _SHOWN:
                typer.echo(f"……另有 {len(wrong) - _SHOWN} 处")
            if wrong and apply:
                typer.echo("已补记，自今日起计入；此前各日当时的数不变")
        if wrong and not apply:
            raise typer.Exit(1)

    with_parts(work)


def with_parts(work: Callable[[Wiring], Awaitable[T]]) -> T:
    """Return the result of work on the parts of a service whose database is there, the store closed
    after it."""
    parts = wire(asked())

    async def run() -> T:
        try:
            await require_tables(parts.store)
            return await work(parts)
        finally:
            await parts.store.close()

    return asyncio.run(run())


def _print(report: Report) -> None:
    wish = report.asked
    known = f"，按 {wish.as_of} 终了时所知" if wish.as_of else ""
    typer.echo(f"{report.region_name or '全部地区'} {wish.since} 至 {wish.until}{known}")
    if report.provisional:
        typer.echo(report.provisional)
    for row in (report.total, *report.items):
        before = f"（原{'、'.join(row.names)}）" if row.names else ""
        typer.echo(f"\n{row.name}{before}")
        _print_row(row)


def _print_row(row: Row) -> None:
    for rate in row.rates.values():
        said = [f"  {RATES[rate.id].name} {_percent(rate.value)}"]
        said.append(f"{rate.numerator}/{rate.denominator}")
        if rate.interval:
            said.append("95% 区间 " + " 至 ".join(_percent(end) for end in rate.interval))
        if rate.rank:
            said.append(f"第 {rate.rank} 名")
        if left := [f"{each.label} {count}" for each, count in rate.left_out if count]:
            said.append(f"未计：{'，'.join(left)}")
        typer.echo("  ".join(said))
    took = row.worked
    if took.median and took.p90:
        typer.echo(
            f"  办理用时（工作时间） 中位 {_hours(took.median)}  九成在 {_hours(took.p90)}内"
            f"  共 {took.count} 次"
        )
    if row.score is not None:
        rank = f"  第 {row.score_rank} 名" if row.score_rank else ""
        typer.echo(f"  三率得分 {row.score * 100:.2f}{rank}")


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{value * 100:.2f}%"


def _hours(found: Percentile) -> str:
    return f"{found.about_s / 3600:.1f} 小时"
