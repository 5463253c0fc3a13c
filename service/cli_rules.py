"""`banjie rules`: derive, check, explain, evaluate and compare the responsible-unit table."""

import asyncio
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
import yaml
from pydantic import TypeAdapter

from routing_rules import check as checking
from routing_rules.clauses import Clause, diff, parse_clauses, read_clauses
from routing_rules.evaluate import complaint_from, evaluate
from routing_rules.gazetteer import load_gazetteer
from routing_rules.proposed import Proposed
from routing_rules.rulebook import Rulebook, load
from service.domain.complaint import Route
from service.domain.region import covers
from service.terminal import AsJson, Refused, asked, print_document, settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

app = typer.Typer(no_args_is_help=True, help="The responsible-unit table 责任单位.")

T = TypeVar("T")
Region = Annotated[str, typer.Option(help="GB/T 2260 code.")]


@app.command("derive")
def derive_clauses(
    file: Annotated[Path, typer.Argument(help="A policy document: txt, HTML, docx or PDF.")],
    region: Region,
    as_json: AsJson = False,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="The clause file, as committed under data/clauses.")
    ] = False,
) -> None:
    """Print the clauses of a document with units, roles and provenance; exit 1 if unusable."""
    from routing_rules.derive import clause_file, derive, refusal, render
    from routing_rules.readable import Unreadable

    if load_gazetteer(settings().rules).region(region) is None:
        raise Refused(f"没有代码为“{region}”的地区", 2)
    try:
        derivation = derive(file, region)
    except Unreadable as error:
        if as_json:
            print_document(refusal(file, region, error))
        raise Refused(f"{file}：{error.finding.message}", 1) from error
    except ValueError as error:
        raise Refused(str(error), 2) from error
    if as_json:
        print_document(derivation.as_json())
    else:
        typer.echo(clause_file(derivation) if as_yaml else render(derivation), nl=False)
    if not derivation.usable:
        raise typer.Exit(1)


@app.command("check")
def check_rules(as_json: AsJson = False) -> None:
    """Check every rule, limit, calendar and source; exit 1 if something is wrong."""
    from adapters.sources import load_sources
    from routing_rules.clock_check import Proof, World, prove
    from routing_rules.clocks import ClockFileError, load_timetable
    from routing_rules.receivers import load_receivers

    overlay = settings().rules
    try:
        times = load_timetable(overlay)
    except ClockFileError as error:
        raise Refused(str(error), 1) from error
    sources = load_sources(settings().sources)
    receivers: list[str] = []
    proofs: list[Proof] = []

    def clocks(book: Rulebook) -> Iterable[checking.Finding]:
        world = World(
            frozenset(source.channel for source in sources.values()),
            frozenset(region.code for region in book.gazetteer.regions),
            frozenset((clause.document, clause.key) for clause in book.clauses.values()),
        )
        proofs.append(prove(times, world))
        # Of another file, and known by the same table of units.
        receivers.extend(load_receivers(book, overlay))
        return proofs[-1].findings

    findings = checking.check(overlay, [clocks])
    if as_json:
        print_document(
            [
                {
                    "code": f.code,
                    "rule": f.rule,
                    "file": f.file,
                    "line": f.line,
                    "text": f.text,
                    "grave": f.grave,
                }
                for f in findings
            ]
        )
    else:
        for f in findings:
            # What is missing from a file stands in no line of it.
            where = f"{f.file}:{f.line}" if f.line else f.file
            typer.echo(f"{'错误' if f.grave else '提示'} {where} [{f.code}] {f.rule} {f.text}")
        grave = sum(f.grave for f in findings)
        typer.echo(
            f"{len(times.limits.rules)} 条时限（{sum(proof.tried for proof in proofs)} 种组合已逐一核对），"
            f"日历到 {times.calendar.last}，{len(sources)} 个来源，{len(receivers)} 个单位系统；"
            f"{grave} 个错误，{len(findings) - grave} 个提示"
        )
    if any(f.grave for f in findings):
        raise typer.Exit(1)


@app.command("explain")
def explain_route(
    region: Region,
    text: Annotated[str, typer.Option(help="The complaint.")],
    channel: Annotated[str, typer.Option(help="The channel it comes by.")] = "hotline-12345",
    place: Annotated[str, typer.Option(help="Where it happened.")] = "",
    kind: Annotated[str, typer.Option(help="咨询, 求助, 投诉, 举报, 建议 or 表扬.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say where a complaint would go, and why. Nothing is stored."""
    book = load(settings().rules)
    code = book.gazetteer.find(region)
    if code is None:
        raise Refused(f"没有这个地区：{region}", 2)
    row = {"region": code, "content": text, "channel": channel, "place": place, "kind": kind}
    try:
        route = book.route(complaint_from(row))
    except ValueError as error:
        raise Refused(str(error), 2) from error
    if as_json:
        print_document(TypeAdapter(Route).dump_python(route, mode="json"))
    else:
        typer.echo(checking.explain(route))


@app.command("export-proposals")
def export_proposals(
    folder: Annotated[Path, typer.Argument(help="A folder that is new or empty.")],
) -> None:
    """Write the accepted proposals 提议 of the database as files of a rule folder."""
    from service.store import proposals

    configured = asked()
    rules = Proposed(load(configured.rules), configured.rules)
    found = asyncio.run(_read(proposals.accepted))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refused(f"{folder} 不是空的文件夹，没有写入", 2)
    try:
        files = rules.files(found)
    except ValueError as error:
        raise Refused(str(error), 1) from error
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    typer.echo(f"已同意的提议 {len(found)} 条" + "".join(f"\n  {folder / name}" for name in files))


@app.command("evaluate")
def evaluate_rules(
    file: Annotated[Path, typer.Argument(help="Cases with what is expected, JSON lines.")],
    as_json: AsJson = False,
) -> None:
    """Measure the router on cases whose answer is known."""
    rows = _cases(file)
    try:
        figures = evaluate(load(settings().rules), rows)
    except (KeyError, ValueError) as error:
        raise Refused(f"{file}：{error}", 2) from error
    if as_json:
        print_document(figures)
    else:
        typer.echo(yaml.safe_dump(figures, allow_unicode=True, sort_keys=False), nl=False)


@app.command("diff")
def diff_editions(
    old: Annotated[Path, typer.Argument(help="The edition in force: a clause file or document.")],
    new: Annotated[Path, typer.Argument(help="The new edition.")],
    region: Annotated[str, typer.Option(help="GB/T 2260 code, for documents.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say what a new edition of a document changes, and which open tickets it would touch."""
    before, after = _edition(old, region), _edition(new, region)
    changes = diff(before, after)
    keys = {change.item for change in changes}
    book = load(settings().rules)
    regions = {clause.region for clause in before}
    names = {clause.document for clause in book.clauses.values() if clause.region in regions}
    touched = asyncio.run(_touched(names, keys))
    if as_json:
        print_document(
            {
                "changes": [{"item": c.item, "what": c.what} for c in changes],
                "open_tickets": touched,
            }
        )
        return
    for change in changes:
        typer.echo(f"第{change.item}项 {change.what}")
    if not changes:
        typer.echo("两个版本没有差别")
    typer.echo(f"涉及未办结工单 {len(touched)} 张" + ("：" if touched else ""))
    for no in touched:
        typer.echo(f"  {no}")


async def _touched(documents: set[str], items: set[str]) -> list[str]:
    from service.store import tickets

    return await _read(lambda c: tickets.open_citing(c, documents, items))


async def _read(work: "Callable[[Connection], T]") -> T:
    from service.store import open_store
    from service.store.engine import is_migrated

    store = open_store(asked().database_url)
    try:
        # A question changes no schema: that of a running service may be another version's.
        if not await store.read(is_migrated):
            raise Refused("数据库的结构不是本版本的，请先运行 banjie migrate", 2)
        return await store.read(work)
    finally:
        await store.close()


def _edition(path: Path, region: str) -> list[Clause]:
    from routing_rules.derive import clause_file, derive
    from routing_rules.readable import Unreadable

    if path.suffix in {".yaml", ".yml"}:
        return read_clauses(path)
    if not covers("360000", region):
        raise Refused("比较文件时用 --region 给出区划代码", 2)
    try:
        derivation = derive(path, region)
    except Unreadable as error:
        raise Refused(f"{path}：{error.finding.message}", 1) from error
    return parse_clauses(clause_file(derivation))


def _cases(path: Path) -> list[dict[str, Any]]:
    rows = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path}：{error}", 2) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise Refused(f"{path}：第 {number} 行不是合法的 JSON", 2) from error
    return rows
