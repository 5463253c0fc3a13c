"""`banjie audit`: whether what happened still says what it said, and the heads that prove it."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from service.audit import (
    Audit,
    BadHead,
    BadKey,
    Verdict,
    Wish,
    head_line,
    new_key,
    read_head,
    read_key,
)
from service.domain.access import SYSTEM
from service.domain.chain import Fault, Finding, Head
from service.store import open_store
from service.terminal import AsJson, Refused, asked, print_document, require_schema

app = typer.Typer(
    no_args_is_help=True, help="The chain of events that shows what was tampered with 审计."
)

T = TypeVar("T")

_SHOWN = 20
_SAID = {
    Fault.CHANGED: "事件或其链环被改动",
    Fault.MISSING: "事件缺失",
    Fault.REORDERED: "顺序被改动",
    Fault.INSERTED: "事后插入，不在链上",
    Fault.GAP: "此前的链环缺失",
    Fault.CUT_OFF: "链尾与记录不符",
    Fault.REWRITTEN: "与当时的链头不符，链被改写或截短",
    Fault.FORGED: "链头的签名不对",
}


@app.command()
def verify(
    region: Annotated[str, typer.Option(help="GB/T 2260 code; empty is everywhere.")] = "",
    since: Annotated[
        str, typer.Option("--from", help="From the last head before this day on, 2026-11-01.")
    ] = "",
    heads: Annotated[
        Path | None,
        typer.Option(exists=True, help="Heads that were kept elsewhere: a file, or a folder."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(help="Public key that must have signed the heads; repeat."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute the chain anew from the events and tell what is changed, missing, inserted or out of
    order; exit 1 if anything is."""
    wish = Wish(region, _day(since) if since else None, list(_kept(heads)), key or ())
    found = _with_audit(lambda audit: audit.verify(wish))
    if as_json:
        print_document(_document(found))
    else:
        _print(found)
    if not found.is_sound:
        raise typer.Exit(1)


@app.command("heads")
def list_heads(
    since: Annotated[str, typer.Option(help="First day, 2026-11-01; empty is all.")] = "",
    region: Annotated[str, typer.Option(help="GB/T 2260 code; empty is everywhere.")] = "",
) -> None:
    """Print the heads as JSON lines, for keeping elsewhere."""
    day = _day(since) if since else None
    for head in _with_audit(lambda audit: audit.heads(SYSTEM, day, region, 0, None)):
        typer.echo(json.dumps(head_line(head), ensure_ascii=False))


@app.command("key")
def make_key(
    out: Annotated[Path, typer.Argument(dir_okay=False, help="The file that is to hold it.")],
) -> None:
    """Make a key for BANJIE_AUDIT_KEY, readable by its owner alone, and print its public part; of one
    that is there, print that."""
    if out.exists():
        try:
            typer.echo(read_key(out).public)
        except BadKey as error:
            raise Refused(str(error), 1) from None
        return
    made, pem = new_key()
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
    except OSError as error:
        raise Refused(f"写不了 {out}：{error.strerror}", 2) from None
    typer.echo(made.public)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Refused(f"日期应写作 2026-11-01，而不是“{text}”", 2) from None


def _kept(path: Path | None) -> Iterator[Head]:
    """Give the heads of a file, or of all files of a folder."""
    if path is None:
        return
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    for file in files:
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise Refused(f"读不了链头文件 {file}", 2) from None
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield read_head(line)
            except BadHead:
                raise Refused(
                    f"{file} 第 {number} 行不是链头（banjie audit heads 的一行）", 2
                ) from None


def _with_audit(work: Callable[[Audit], Awaitable[T]]) -> T:
    configured = asked()

    async def run() -> T:
        store = open_store(configured.database_url)
        try:
            await require_schema(store)
            return await work(Audit(store))
        finally:
            await store.close()

    return asyncio.run(run())


def _document(found: Verdict) -> dict[str, Any]:
    return {
        "sound": found.is_sound,
        "events": found.events,
        "unchained": found.waiting,
        "regions": [
            {"region": region, "sequence": tail.sequence, "hash": tail.hash}
            for region, tail in sorted(found.tails.items())
        ],
        "heads": {
            "stored": found.stored,
            "kept": found.kept,
            "unsigned": found.unsigned,
            "keys": list(found.keys),
        },
        "fault_count": found.faults,
        "faults": [
            {
                "fault": each.fault,
                "region": each.region,
                "sequence": each.sequence or None,
                "no": each.ticket_no or None,
                "event": each.event_id or None,
                "told": each.told or None,
            }
            for each in found.findings
        ],
    }


def _print(found: Verdict) -> None:
    typer.echo(
        f"已核对事件 {found.events} 条，地区 {len(found.tails)} 个；尚未入链 {found.waiting} 条"
    )
    if found.stored or found.kept:
        unsigned = f"，其中未签名 {found.unsigned} 个" if found.unsigned else ""
        typer.echo(f"链头：库内 {found.stored} 个，另存 {found.kept} 个{unsigned}")
        for key in found.keys:
            typer.echo(f"签名公钥 {key}，请与留存的核对")
    if found.is_sound:
        typer.echo("未发现问题")
        return
    typer.echo(f"发现问题 {found.faults} 处：")
    for each in found.findings[:_SHOWN]:
        typer.echo(f"  {_sentence(each)}")
    if found.faults > _SHOWN:
        typer.echo(f"……另有 {found.faults - _SHOWN} 处，--json 可列出更多")


def _sentence(each: Finding) -> str:
    where = [each.region or "地区不明"]
    if each.sequence:
        where.append(f"第 {each.sequence} 环")
    if each.ticket_no:
        where.append(f"工单 {each.ticket_no}")
    if each.event_id:
        where.append(f"事件 {each.event_id}")
    if each.told:
        where.append(f"链头 {each.told}" if each.sequence else f"事件流第 {each.told} 位")
    return f"{' '.join(where)}：{_SAID[each.fault]}"
