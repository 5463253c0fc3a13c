"""`banjie import`: years of history from CSV, Excel or NDJSON."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from adapters.history import BadMapping, HistoryFile
from adapters.sheets import Unreadable
from service.imports import Report, Summary, take_over
from service.labels import STATES
from service.main import now, wire
from service.store import StoreUnavailable
from service.terminal import AsJson, Refused, print_document, settings
from service.wiring import Wiring


def import_history(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV, Excel or NDJSON."),
    ],
    source: Annotated[str, typer.Option(help="The source of sources.yaml that it comes from.")],
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", help="COLUMN=FIELD, for a column that is not known."),
    ] = None,
    sheet: Annotated[str, typer.Option(help="Which sheet of a workbook with several.")] = "",
    report: Annotated[
        Path | None, typer.Option(help="Rows to look at, as CSV; else next to the file.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Store nothing, only tell.")] = False,
    closed_only: Annotated[
        bool, typer.Option("--closed-only", help="Refuse rows that were not finished.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take over years of history; exit 1 if rows were refused. Interrupted, the same command goes on;
    again, it adds nothing."""
    parts = wire(settings())
    known = parts.sources.get(source)
    if known is None:
        raise Refused(f"没有来源“{source}”，有的是 {' '.join(parts.sources)}", 2)
    try:
        opened = HistoryFile(
            file,
            known,
            parts.adapters[known.adapter],
            _mapping(columns or []),
            sheet=sheet,
            closed_only=closed_only,
        )
    except BadMapping as error:
        raise Refused(error.detail, 2) from None
    except Unreadable as error:
        raise Refused(f"{file.name}：{error.detail}", 1) from None
    if missing := opened.missing():
        unknown = [column for column in opened.sheet.columns if column not in opened.fields]
        raise Refused(
            f"{file.name}：缺少列 {'、'.join(missing)}；没有认出的列有 {'、'.join(unknown) or '（无）'}，"
            "可用 --map 列名=字段 指明",
            1,
        )
    told = report or file.with_name(f"{file.name}.report.csv")
    if told.resolve() == file.resolve():
        raise Refused("--report 不能是要导入的文件", 2)
    if not as_json:
        for column, field in opened.fields.items():
            typer.echo(f"{column} → {opened.label(field)} {field}")
    try:
        with Report(told) as written:
            summary = asyncio.run(_run(parts, opened, source, written, apply=not dry_run))
    except OSError as error:
        raise Refused(f"写不了报告 {told}：{error.strerror}", 2) from None
    except StoreUnavailable as error:
        raise Refused(
            f"数据库不可用：{error}；已导入的不会丢失，恢复后再运行同一命令即可继续", 1
        ) from None
    except KeyboardInterrupt:
        raise Refused("已中断；已导入的不会丢失，再运行同一命令即从中断处继续", 130) from None
    if as_json:
        print_document(_document(summary, opened, told, dry_run=dry_run))
    else:
        typer.echo(_sentence(summary, told, dry_run=dry_run))
    if summary.refused:
        raise typer.Exit(1)
    if not summary.rows:
        raise Refused(f"{file.name}：表头之下没有一行", 1)


def _mapping(given: list[str]) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for each in given:
        column, equals, field = (part.strip() for part in each.rpartition("="))
        if not (column and equals and field):
            raise Refused(f"--map 应写作 列名=字段，而不是“{each}”", 2)
        if column in mapping or field in mapping.values():
            raise Refused(f"--map 中“{column}”或“{field}”重复了", 2)
        mapping[column] = field
    return mapping


async def _run(
    parts: Wiring, opened: HistoryFile, source: str, report: Report, *, apply: bool
) -> Summary:
    try:
        await parts.store.migrate()
        await parts.refresh()  # rulings and proposals count here as in the service
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        ) as progress:
            task = progress.add_task("导入" if apply else "试运行", total=opened.sheet.size)
            summary = await take_over(
                opened,
                source,
                parts.desk,
                now,
                report,
                apply=apply,
                passed=lambda at: progress.update(task, completed=at),
            )
            progress.update(task, completed=opened.sheet.size)
        return summary
    finally:
        await parts.store.close()


def _sentence(summary: Summary, told: Path, *, dry_run: bool) -> str:
    states = "、".join(f"{STATES[state]} {count}" for state, count in summary.states.most_common())
    words = "将导入" if dry_run else "导入"
    lines = [
        f"共 {summary.rows} 行：{words} {summary.taken}，已在库中 {summary.known}，退回 {summary.refused}"
    ]
    if states:
        lines.append(f"{words}的：{states}")
    if summary.late:
        lines.append(f"未办结而已超期的 {summary.late} 张，导入后立即进入催办督办")
    if summary.refused or summary.findings:
        lines.append(f"退回 {summary.refused} 行、请核对 {summary.findings} 行，见 {told}")
    if dry_run:
        lines.append("试运行，没有写入")
    return "\n".join(lines)


def _document(
    summary: Summary, opened: HistoryFile, told: Path, *, dry_run: bool
) -> dict[str, object]:
    return {
        "file": opened.sheet.digest,
        "sheet": opened.sheet.name,
        "columns": dict(opened.fields),
        "dry_run": dry_run,
        "rows": summary.rows,
        "imported": summary.taken,
        "known": summary.known,
        "refused": summary.refused,
        "findings": summary.findings,
        "late": summary.late,
        "states": dict(summary.states),
        "report": str(told),
    }
