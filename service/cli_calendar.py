"""`banjie calendar`: the years and local calendars that are there, and one more."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from routing_rules.clocks import ClockFileError, load_timetable, load_year
from service.domain.calendar import SHANGHAI, Calendar
from service.terminal import Refused, settings

app = typer.Typer(no_args_is_help=True, help="Working days 工作日.")


@app.command("check")
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
    left = calendar.days_left(datetime.now(SHANGHAI).date())
    typer.echo(f"数据到 {calendar.last}，还有 {left} 天")
    if left < 60:
        raise typer.Exit(1)


@app.command("load")
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


def _hours(calendar: Calendar) -> str:
    spans = "、".join(f"{start:%H:%M}–{end:%H:%M}" for start, end in calendar.hours.spans)
    return f"{spans}（{calendar.hours.cuts_off_at:%H:%M} 截止）"
