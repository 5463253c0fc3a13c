"""Proves that every ticket there can be has a limit and a policy, and that no row is there in vain."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product

from routing_rules.check import Finding
from service.domain.complaint import Complaint, Kind, Urgency
from service.domain.limits import LimitRule, NoLimit, Timetable
from service.domain.policy import SECTIONS, NoPolicy, Section
from service.domain.region import covers
from service.domain.scope import Scope, fitting
from service.domain.ticket import MilestoneKind

_ANY = "any-other"  # a channel that no row names


@dataclass(frozen=True, slots=True)
class World:
    """What tickets can be made of: the channels of the sources, the codes of the regions, and the
    clauses as (document, item)."""

    channels: Collection[str]
    regions: Collection[str]
    clauses: Collection[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Proof:
    """How many combinations were tried, and what is wrong."""

    tried: int
    findings: tuple[Finding, ...]


def prove(times: Timetable, world: World) -> Proof:
    """Try every channel × kind × urgency × region, without a clause and with each that a row names.

    Regions for which exactly the same rows hold are tried once for all: they cannot differ.
    """
    limits, sections = times.limits.rules, times.policies.rows
    findings = [
        *_unknown("limits.yaml", limits, world),
        *_unknown("policies.yaml", sections, world),
    ]
    scopes = [row.origin.scope for row in (*limits, *sections)]
    named = {(s.document, s.item) for s in scopes if s.document}
    channels = [_ANY, *sorted({*world.channels, *(s.channel for s in scopes if s.channel)})]
    won: set[int] = set()
    tried = 0
    for channel, kind, urgency, region in product(
        channels, Kind, Urgency, _representatives(scopes, world.regions)
    ):
        complaint = replace(_COMPLAINT, channel=channel, kind=kind, urgency=urgency, region=region)
        for clauses in ((), *(((document, item),) for document, item in sorted(named))):
            tried += 1
            where = "/".join((channel, kind, urgency, region, *(f"{d}第{i}项" for d, i in clauses)))
            for milestone in MilestoneKind:
                try:
                    won.add(id(times.limits.rule(milestone, complaint, clauses)))
                except NoLimit:
                    text = f"{where} 没有 {milestone} 的时限"
                    findings.append(Finding("no-limit", milestone, "limits.yaml", 0, text))
            try:
                times.policy(complaint, clauses)
            except NoPolicy as error:
                text = f"{where} 缺少规定：{error}"
                findings.append(Finding("no-policy", "", "policies.yaml", 0, text))
            for section in SECTIONS.values():
                rows = [row for row in sections if isinstance(row, section)]
                won.update(id(row) for row in fitting(rows, complaint, clauses)[:1])
    findings += _dead("limits.yaml", limits, won)
    findings += _dead("policies.yaml", sections, won)
    return Proof(tried, tuple(findings))


_COMPLAINT = Complaint(
    "check", "", "", "", Kind.COMPLAINT, Urgency.NORMAL, "", "", datetime(2026, 1, 1, tzinfo=UTC)
)


def _representatives(scopes: Iterable[Scope], regions: Collection[str]) -> list[str]:
    named = sorted({scope.region for scope in scopes if scope.region})
    classes = {tuple(covers(outer, region) for outer in named): region for region in regions}
    return sorted(classes.values())


def _unknown(file: str, rows: Iterable[LimitRule | Section], world: World) -> Iterator[Finding]:
    for row in rows:
        scope, source = row.origin.scope, row.origin.source
        if scope.document and (scope.document, scope.item) not in world.clauses:
            text = f"引用的条目不存在：{scope.document}第{scope.item}项"
            yield Finding("unknown-clause", source, file, 0, text)
        if scope.region and scope.region not in world.regions:
            yield Finding("unknown-region", source, file, 0, f"没有这个地区：{scope.region}")
        if scope.channel and scope.channel not in world.channels:
            text = f"没有来源使用渠道“{scope.channel}”，暂不生效"
            yield Finding("unknown-channel", source, file, 0, text, grave=False)


def _dead(
    file: str, rows: Iterable[LimitRule | Section], won: Collection[int]
) -> Iterator[Finding]:
    for row in rows:
        if id(row) not in won:
            text = "永远不会生效：凡它适用之处都有更具体的规定"
            yield Finding("dead-row", row.origin.source, file, 0, text)
