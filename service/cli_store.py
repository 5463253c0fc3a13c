"""`banjie store`: months of events, for those who run the database."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import sqlalchemy as sa
import typer

from service.cli_token import in_store
from service.domain.calendar import SHANGHAI
from service.store import archive
from service.terminal import AsJson, Refused, print_document

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Months of events 按月存放的办件历史.")


@app.command("months")
def months(as_json: AsJson = False) -> None:
    """List the months of events, the oldest first, with their size."""
    found = in_store(archive.months)
    if as_json:
        print_document(
            {
                "items": [
                    {
                        "month": _written(each.month),
                        "began_at": each.began_at.astimezone(SHANGHAI).isoformat(),
                        "events": each.events,
                        "bytes": each.bytes,
                        "detached": each.detached_at is not None,
                    }
                    for each in found
                ]
            }
        )
        return
    for each in found:
        off = "，已取下" if each.detached_at else ""
        typer.echo(
            f"{_written(each.month) or '分月之前'}  约 {each.events:,} 条，{each.bytes / 2**20:,.1f} MB{off}"
        )


@app.command("detach")
def detach(
    until: Annotated[str, typer.Option(help="The last month to take off: 2023-05.")],
) -> None:
    """Take the events of old months off, so that their tables can be put away."""
    month = _month(until)
    names = _changed(lambda connection: archive.detach(connection, month, datetime.now(UTC)))
    if not names:
        typer.echo("没有可取下的月份，未作改动")
        return
    typer.echo(f"已取下：{'、'.join(names)}")
    typer.echo(
        "表仍在库中，可用 pg_dump --table 导出后删除；这些月份的办件历史从此不可查，工单仍在"
    )


@app.command("attach")
def attach(
    since: Annotated[str, typer.Option("--from", help="The first month to put back: 2023-05.")],
) -> None:
    """Put months that were taken off back; their tables must be in the database."""
    month = _month(since)
    names = _changed(lambda connection: archive.attach(connection, month))
    typer.echo(f"已接回：{'、'.join(names)}" if names else "没有取下过的月份，未作改动")


def _month(text: str) -> int:
    year, _, month = text.partition("-")
    if len(text) != len("2023-05") or not (year + month).isdigit() or not 1 <= int(month) <= 12:
        raise Refused(f"看不懂的月份“{text}”，应如 2023-05", 2)
    return int(year) * 100 + int(month)


def _written(month: int) -> str:
    return f"{month // 100}-{month % 100:02}" if month else ""


def _changed(work: Callable[[sa.Connection], T]) -> T:
    try:
        return in_store(work)
    except archive.NotOver as error:
        raise Refused(f"未作改动：{error}", 1) from None
