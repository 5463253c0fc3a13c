"""`banjie sources`: what each source maps, and what is wrong with it."""

import os
from datetime import UTC, datetime
from typing import Any

import typer

from adapters.sources import ADAPTERS, SourceFile, SourceFileError, read_sources
from routing_rules.clocks import load_timetable
from routing_rules.rulebook import Rulebook, load
from service.domain.complaint import Complaint, Kind, Urgency
from service.domain.limits import Timetable
from service.domain.ports import Auth, Clocks, Source
from service.domain.ticket import MilestoneKind
from service.labels import KINDS, URGENCIES
from service.source_check import Finding, check
from service.terminal import AsJson, Refused, print_document, settings

app = typer.Typer(no_args_is_help=True, help="The systems that send complaints 来源.")

_AUTHS = {Auth.TOKEN: "令牌", Auth.SIGNATURE: "签名", Auth.EITHER: "令牌或签名"}


@app.command("check")
def check_sources(as_json: AsJson = False) -> None:
    """Check sources.yaml and the secrets that it names, and tell what each source maps; exit 1 if
    something is wrong."""
    configured = settings()
    try:
        file = read_sources(configured.sources)
    except SourceFileError as error:
        if as_json:
            fault = Finding(error.line, "", error.reason)
            print_document({"file": str(error.path), "sources": [], "findings": [_shown(fault)]})
        raise Refused(str(error), 1) from error
    book, times = load(configured.rules), load_timetable(configured.rules)
    findings = check(file, book, book.gazetteer, os.environ)
    told = [_told(source, book, times) for source in file.sources.values()]
    if as_json:
        print_document(
            {
                "file": str(file.path),
                "sources": told,
                "findings": [_shown(finding) for finding in findings],
            }
        )
    else:
        _print(file, told, findings)
    if any(finding.grave for finding in findings):
        raise typer.Exit(1)


def _shown(finding: Finding) -> dict[str, Any]:
    return {
        "line": finding.line,
        "source": finding.source,
        "text": finding.text,
        "grave": finding.grave,
    }


def _told(source: Source, book: Rulebook, times: Timetable) -> dict[str, Any]:
    """Return all that a source maps, under the keys of sources.yaml, and the limit that it gets."""
    kind = source.kind or Kind.COMPLAINT
    some = Complaint(
        source.name, "", source.channel, source.region, kind, Urgency.NORMAL, "", "", _SOME_DAY
    )
    choice = times.limits.choose(MilestoneKind.RESOLVE, some)
    coordinator = ""
    if source.region and book.gazetteer.find(source.region):
        try:
            coordinator = book.coordinator(source.region, source.coordinator).name
        except KeyError:
            coordinator = ""  # told as a finding
    return {
        "name": source.name,
        "label": source.label,
        "adapter": source.adapter,
        "channel": source.channel,
        "region": source.region,
        "auth": source.auth,
        "secrets": list(source.secrets),
        "rate_limit": source.rate
        and {"per_minute": source.rate.per_minute, "burst": source.rate.burst},
        "coordinator": {"named": source.coordinator, "unit": coordinator},
        "clocks": {"limit": source.clocks.limit, "starts": source.clocks.starts},
        "resolve": {"kind": kind, "limit": str(choice.rule.limit), "basis": choice.basis},
        "kind": source.kind,
        "field_map": dict(source.field_map),
        "kinds": dict(source.kinds),
        "urgencies": dict(source.urgencies),
        "regions": dict(source.regions),
        "ratings": dict(source.ratings),
    }


_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def _print(file: SourceFile, told: list[dict[str, Any]], findings: list[Finding]) -> None:
    for one in told:
        source = file.sources[one["name"]]
        labels = ADAPTERS[source.adapter].FIELDS
        region = source.region or "由报文给出"
        typer.echo(f"{source.name} {source.label}")
        typer.echo(f"  适配器 {source.adapter}，渠道 {source.channel}，地区 {region}")
        typer.echo(f"  验证 {_AUTHS[source.auth]}" + "".join(f" {name}" for name in source.secrets))
        if source.rate:
            typer.echo(
                f"  限速 每分钟 {source.rate.per_minute} 件，一次最多 {source.rate.burst} 件"
            )
        coordinator = one["coordinator"]
        named = coordinator["named"] or "热线承办单位"
        typer.echo(
            f"  牵头 {named}" + (f"（{coordinator['unit']}）" if coordinator["unit"] else "")
        )
        limit = source.clocks.limit or "适配器所知的字段"
        starts = {"": "适配器所知的字段，没有则受理", Clocks.RECEIPT: "受理"}.get(
            source.clocks.starts, source.clocks.starts
        )
        typer.echo(f"  来件时限 {limit}，起算 {starts}")
        resolve = one["resolve"]
        typer.echo(f"  {KINDS[resolve['kind']]}办结 {resolve['limit']}：{resolve['basis']}")
        for written, canon in source.field_map.items():
            typer.echo(f"  字段 {written} → {canon} {labels.get(canon, '附件')}")
        for what, words in (
            ("诉求类型", {word: KINDS[kind] for word, kind in source.kinds.items()}),
            ("没有诉求类型", {"": KINDS[source.kind]} if source.kind else {}),
            ("紧急程度", {word: URGENCIES[degree] for word, degree in source.urgencies.items()}),
            ("地区", source.regions),
            ("满意度", source.ratings),
        ):
            if words:
                meant = "、".join(f"{word} → {meaning}" for word, meaning in words.items())
                typer.echo(f"  {what} {meant.strip()}")
    for finding in findings:
        source_name = f" {finding.source}" if finding.source else ""
        grave = "错误" if finding.grave else "提示"
        typer.echo(f"{grave} {file.path}:{finding.line}{source_name} {finding.text}")
    wrong = sum(finding.grave for finding in findings)
    typer.echo(f"{len(told)} 个来源；{wrong} 个错误，{len(findings) - wrong} 个提示")
