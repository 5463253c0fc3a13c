"""`banjie recalculate`: open clocks by the calendar and limits of today."""

import asyncio
from typing import Annotated, Any

import typer

from service.domain.access import SYSTEM
from service.domain.calendar import SHANGHAI
from service.labels import MILESTONES
from service.main import now, wire
from service.terminal import AsJson, Refused, asked, print_document, require_tables
from service.timekeeping import Moved


def recalculate(
    region: Annotated[str, typer.Option(help="GB/T 2260 code; empty is everywhere.")] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Write it; else only tell.")] = False,
    as_json: AsJson = False,
) -> None:
    """Work out open clocks anew by the calendar and limits of today: tell what moves, then do it."""
    parts = wire(asked())
    if region and parts.gazetteer.find(region) != region:
        raise Refused(f"没有代码为“{region}”的地区", 2)
    moved: list[Moved] = []
    seen = 0

    async def run() -> None:
        nonlocal seen
        await require_tables(parts.store)
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
