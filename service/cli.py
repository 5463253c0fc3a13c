"""The command line: `banjie`."""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvicorn
import yaml

from adapters.http import SecretMissing
from adapters.sources import SourceFileError
from routing_rules.clocks import ClockFileError, load_timetable, load_year
from routing_rules.rulebook import load
from routing_rules.yamlfile import RuleFileError
from service import (
    cli_bulletin,
    cli_import,
    cli_kpi,
    cli_learn,
    cli_rules,
    cli_simulate,
    cli_sources,
    cli_store,
)
from service.connection import Connection, Server
from service.demo import living, prepare
from service.domain.access import SYSTEM, Actor, Role
from service.domain.calendar import SHANGHAI, Calendar
from service.domain.deadline import CountFrom, LimitError, due, parse_limit
from service.labels import MILESTONES
from service.main import build, now, wire
from service.source_check import missing_secrets
from service.store import BadDatabaseUrl, Store, StoreUnavailable, open_store, tokens
from service.store.months import Detached
from service.store.schema import SchemaRefused
from service.terminal import AsJson, Refused, fail, print_document, settings
from service.timekeeping import Moved

app = typer.Typer(
    name="banjie",
    help="Banjie 办结: complaints to the unit that must answer, and every unit to its time limit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
token_app = typer.Typer(no_args_is_help=True, help="Callers' tokens 令牌.")
calendar_app = typer.Typer(no_args_is_help=True, help="Working days 工作日.")
app.add_typer(token_app, name="token")
app.add_typer(cli_rules.app, name="rules")
app.add_typer(cli_sources.app, name="sources")
app.add_typer(cli_learn.app, name="learn")
app.add_typer(cli_kpi.app, name="kpi")
app.add_typer(cli_store.app, name="store")
app.add_typer(calendar_app, name="calendar")
app.command("import")(cli_import.import_history)
app.command()(cli_bulletin.bulletin)
app.command("simulate")(cli_simulate.run)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    demo: Annotated[bool, typer.Option(help="Add users and living tickets to play with.")] = False,
) -> None:
    """Migrate the database, then serve."""
    configured = settings()
    _log_as_json(configured.log_level)
    listening = _listen(host, port)
    address = f"http://{host}:{listening.getsockname()[1]}"
    parts = wire(configured)
    if missing := missing_secrets(parts.sources, os.environ):
        # A source that cannot prove who it is would be refused for ever, and nobody told.
        raise Refused("；".join(missing), 1)
    token = ""
    if demo:
        token = asyncio.run(prepare(parts, address))
        # The event loop of the preparation is gone, and with it what was bound to it.
        parts = wire(configured)
    with living(parts, address, token) if token else nullcontext(parts) as running:
        server = Server(
            uvicorn.Config(
                build(running, configured),
                http=Connection,
                ws="none",
                access_log=False,
                server_header=False,
                log_config=None,
                timeout_graceful_shutdown=10,
            ),
            running.feed.end,
        )
        server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, before anything else is begun; refuse a port that is taken."""
    try:
        return socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise Refused(
            f"无法监听 {host}:{port}：{error.strerror}；可用 --port 换一个端口", 1
        ) from error


@app.command()
def migrate() -> None:
    """Bring the database's schema up to date."""
    _with_store(lambda store: store.migrate())


@app.command()
def openapi() -> None:
    """Print the OpenAPI document as YAML."""
    configured = settings()
    document = build(wire(configured), configured).openapi()
    sys.stdout.write(yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=100))


@token_app.command("create")
def create_token(
    role: Annotated[Role, typer.Option(help="What the caller may do.")],
    name: Annotated[str, typer.Option(help="Who it is, as events will show it.")],
    unit: Annotated[list[str] | None, typer.Option(help="A handler's unit; repeat.")] = None,
    source: Annotated[str, typer.Option(help="The source that a source's token is for.")] = "",
    region: Annotated[str, typer.Option(help="GB/T 2260 code; empty is everywhere.")] = "",
) -> None:
    """Create a token and print it alone. It cannot be shown again."""
    parts = wire(settings())
    for code in unit or []:
        if parts.router.unit(code) is None:
            raise Refused(f"责任单位表中没有代码为“{code}”的单位", 2)
    if source and source not in parts.sources:
        raise Refused(f"sources.yaml 中没有“{source}”", 2)
    if region and parts.gazetteer.find(region) != region:
        raise Refused(f"没有代码为“{region}”的地区", 2)
    if role is Role.HANDLER and not unit:
        raise Refused("承办人的令牌要用 --unit 指明单位", 2)
    if role is Role.SOURCE and not source:
        raise Refused("来源系统的令牌要用 --source 指明来源", 2)
    if not name.strip() or len(name) > 100:
        raise Refused("--name 应为 1 到 100 个字", 2)
    actor = Actor(name.strip(), role, tuple(unit or ()), source, region)

    async def create(store: Store) -> None:
        await store.migrate()
        typer.echo(await store.run(lambda connection: tokens.create(connection, actor, now())))

    _with_store(create)


@app.command()
def deadline(
    start: Annotated[str, typer.Option("--from", help="When it begins; +08:00 if no zone.")],
    limit: Annotated[str, typer.Option(help="For instance “5 工作日”.")],
    count_from: Annotated[CountFrom, typer.Option(help="Which day counts first.")] = (
        CountFrom.NEXT_DAY
    ),
    region: Annotated[
        str, typer.Option(help="Count by a region's office hours and closures: code or name.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Work out when a limit ends, and say how."""
    try:
        at = datetime.fromisoformat(start)
    except ValueError:
        raise Refused(f"看不懂的时间“{start}”，应如 2026-11-18T09:12", 2) from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=SHANGHAI)
    rules = settings().rules
    code = load(rules).gazetteer.find(region) if region else ""
    if code is None:
        raise Refused(f"没有这个地区：{region}", 2)
    try:
        found = due(load_timetable(rules).calendar_of(code), at, parse_limit(limit), count_from)
    except LimitError as error:
        raise Refused(str(error), 2) from None
    except OverflowError:
        raise Refused(
            f"{at:%Y-%m-%d} 起的时限超出日历所及（2000 年至数据截止后若干年）", 2
        ) from None
    if as_json:
        print_document(
            {
                "due_at": found.due_at.astimezone(SHANGHAI).isoformat(),
                "provisional": found.provisional,
                "reasoning": found.reasoning,
            }
        )
    else:
        typer.echo("\n".join(found.reasoning))


@calendar_app.command("check")
def check_calendar() -> None:
    """Tell which years and local calendars are there; exit 1 if the next 60 days are not all
    published."""
    times = load_timetable(settings().rules)
    calendar = times.calendar
    for year, table in calendar.years.items():
        count = calendar.working_days(date(year - 1, 12, 31), date(year, 12, 31))
        typer.echo(
            f"{year} {'正式' if table.official else '预测'} {count} 个工作日，"
            f"调休上班 {len(table.worked)} 天，{table.source}"
        )
    typer.echo(f"办公时间 {_hours(calendar)}")
    for region, local in times.local.items():
        typer.echo(f"{region} 办公时间 {_hours(local)}，停办 {len(local.closed)} 天")
    left = calendar.days_left(now().astimezone(SHANGHAI).date())
    typer.echo(f"数据到 {calendar.last}，还有 {left} 天")
    if left < 60:
        raise typer.Exit(1)


@calendar_app.command("load")
def load_calendar_year(
    file: Annotated[
        Path, typer.Argument(help="A year's file, as in routing_rules/data/calendars.")
    ],
) -> None:
    """Take a year into the folder of BANJIE_RULES; exit 1 if it cannot be. A forecast may become
    official, nothing else is overwritten."""
    overlay = settings().rules
    if overlay is None:
        raise Refused(
            "请先用 BANJIE_RULES 指明本地规则文件夹，新一年的日历写入其中的 calendars/", 2
        )
    try:
        table, target = load_year(file, overlay)
    except ClockFileError as error:
        raise Refused(f"未录入：{error}", 1) from None
    status = "正式" if table.official else "预测"
    if target is None:
        typer.echo(f"{table.year} 年{status}安排已经录入，与本文件一致，未作改动")
        return
    calendar = load_timetable(overlay).calendar
    typer.echo(f"{table.year} 年{status}安排已写入 {target}，数据到 {calendar.last}")
    typer.echo(
        f"使用此文件夹的服务约 {settings().refresh_seconds:g} 秒内自行取用，不必重启；"
        "此前暂定的到期时间随后重新计算，每张工单留下记录"
    )


@app.command()
def recalculate(
    region: Annotated[str, typer.Option(help="GB/T 2260 code; empty is everywhere.")] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Write it; else only tell.")] = False,
    as_json: AsJson = False,
) -> None:
    """Work out open clocks anew by the calendar and limits of today: tell what moves, then do it."""
    parts = wire(settings())
    if region and parts.gazetteer.find(region) != region:
        raise Refused(f"没有代码为“{region}”的地区", 2)
    moved: list[Moved] = []
    seen = 0

    async def run() -> None:
        nonlocal seen
        await parts.store.migrate()
        after: int | None = 0
        while after is not None:
            batch = await parts.desk.recalculate(SYSTEM, now(), after, region=region, apply=apply)
            moved.extend(batch.moved)
            seen += batch.tickets
            after = batch.last
        await parts.store.close()

    asyncio.run(run())
    if as_json:
        print_document(
            {"applied": apply, "tickets": seen, "moved": [_moved(each) for each in moved]}
        )
        return
    done = "已重算" if apply else "将变动（尚未写入，加 --apply 执行）"
    typer.echo(f"在办工单 {seen} 张，时限{done} {len(moved)} 个")
    for each in moved[:_EXAMPLES]:
        before, after_due = (f"{t.astimezone(SHANGHAI):%Y-%m-%d %H:%M}" for t in each.due_at)
        limit = each.limit[0] if each.limit[0] == each.limit[1] else "→".join(each.limit)
        typer.echo(f"{each.no} {MILESTONES[each.kind]} {limit}：{before} → {after_due}")
    if len(moved) > _EXAMPLES:
        typer.echo(f"……另有 {len(moved) - _EXAMPLES} 个")


_EXAMPLES = 20


def _moved(each: Moved) -> dict[str, Any]:
    before, after = (t.astimezone(SHANGHAI).isoformat() for t in each.due_at)
    return {
        "no": each.no,
        "milestone": each.kind,
        "unit": each.unit,
        "limit": list(each.limit),
        "due_at": [before, after],
    }


def _hours(calendar: Calendar) -> str:
    spans = "、".join(f"{start:%H:%M}–{end:%H:%M}" for start, end in calendar.hours.spans)
    return f"{spans}（{calendar.hours.cuts_off_at:%H:%M} 截止）"


def main() -> None:
    """Run the command line; what an operator can mend is told in one line, without a traceback."""
    # The database and its journals hold people's numbers: nobody else on the machine reads them.
    os.umask(0o077)
    try:
        app()
    except Refused as error:
        fail(str(error), error.code)
    except (RuleFileError, ClockFileError, SourceFileError) as error:
        fail(f"规则或配置无法加载，已停止：{error}", 1)
    except SecretMissing as error:
        fail(f"设置有误：{error}", 2)
    except BadDatabaseUrl as error:
        fail(f"设置有误：BANJIE_DATABASE_URL：{error}", 2)
    except StoreUnavailable as error:
        fail(f"数据库不可用：{error}", 1)
    except SchemaRefused as error:
        fail(str(error), 1)
    except Detached as error:
        fail(
            f"{error.until // 100} 年 {error.until % 100} 月及以前的办件历史已取下，请先用 banjie store attach 接回",
            1,
        )


def _with_store(work: Callable[[Store], Any]) -> None:
    async def run() -> None:
        store = open_store(settings().database_url)
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(run())


def _log_as_json(level: str) -> None:
    """One JSON object a line on standard error, ours and the libraries' alike."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # They would tell of every tick and request; what one finds is told by ours.
    for noisy in ("alembic", "apscheduler", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
