"""`banjie bulletin`: a month as a workbook or a page to print."""

import os
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from service.api.schemas import BulletinOut
from service.bulletin import Bulletin, Wish, read_month
from service.cli_kpi import asked_wrongly, counted, region_code, with_parts
from service.domain.access import SYSTEM
from service.main import now
from service.paper import page, workbook
from service.reports import BadPeriod, read_day
from service.terminal import AsJson, Refused, print_document
from service.wiring import Wiring

_ENDINGS = (".xlsx", ".html")


def bulletin(
    month: Annotated[str, typer.Option(help="The month, 2026-10.")] = "",
    region: Annotated[str, typer.Option(help="GB/T 2260 code, or name; empty is everywhere.")] = "",
    out: Annotated[Path | None, typer.Option(help="File to write: .xlsx or .html.")] = None,
    as_of: Annotated[str, typer.Option(help="As known at the end of this day.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make the monthly bulletin (通报): totals, rankings, late tickets, lists, hot matters."""
    if out is None and not as_json:
        raise Refused("请用 --out 指明要写的文件（.xlsx 或 .html），或用 --json", 2)
    if out is not None:
        _check(out)
    try:
        wish = Wish(read_month(month), region, read_day("/as_of", as_of) if as_of else None)

        async def make(parts: Wiring) -> Bulletin:
            await counted(parts)
            named = replace(wish, region=region_code(parts, wish.region))
            return await parts.bulletins.make(named, SYSTEM, now())

        made = with_parts(make)
    except BadPeriod as error:
        raise asked_wrongly(error) from None
    if out is not None:
        _write(out, workbook(made) if _ending(out) == ".xlsx" else page(made).encode())
    if as_json:
        print_document(BulletinOut.of(made).model_dump(mode="json", by_alias=True))
    elif out is not None:
        said = made.provisional and f"（暂定：{made.provisional}）"
        typer.echo(f"{made.region_name}{made.wish.month.label}通报已写入 {out}{said}")
        if made.empty:
            typer.echo(f"截至{made.wish.month.label}，{made.region_name}没有工单，本月无可通报")


def _ending(out: Path) -> str:
    return out.suffix.lower()


def _check(out: Path) -> None:
    """Refuse a file that cannot be written, before anything is worked out."""
    if out.is_dir():
        raise Refused(f"--out：{out} 是一个文件夹，应为文件", 2)
    if _ending(out) not in _ENDINGS:
        raise Refused(f"--out：文件名应以 .xlsx 或 .html 结尾，而不是“{out.name}”", 2)
    if not out.parent.is_dir():
        raise Refused(f"--out：没有文件夹 {out.parent}", 2)
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise Refused(f"--out：没有写入文件夹 {out.parent} 的权限", 2)


def _write(out: Path, content: bytes) -> None:
    """Put a whole file in place of what was there, or leave that as it was."""
    made = ""
    try:
        descriptor, made = tempfile.mkstemp(prefix=f".{out.stem[:80]}-", dir=out.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(made).replace(out)
    except OSError as error:
        if made:
            with suppress(OSError):
                Path(made).unlink()
        raise Refused(f"无法写入 {out}：{error.strerror}", 1) from error
