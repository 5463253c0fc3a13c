"""What is wrong with the rules, and a route said in Chinese."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from routing_rules.rulebook import Rule, Rulebook, load
from routing_rules.yamlfile import RuleFileError
from service.domain.complaint import Complaint, Decision, Kind, Route, Urgency

_ANYWHERE = "360100"  # where a rule without a region is tried
_PROVINCIAL = frozenset({"customs", "railway"})  # one unit for the whole province
DECISIONS = {
    Decision.AUTO: "自动派单",
    Decision.MANUAL: "人工派单",
    Decision.NOT_ACCEPTED: "不予受理",
    Decision.EMERGENCY_LINE: "转紧急专线",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: a code, the rule, where it stands, and a sentence in Chinese.

    `grave` ones stop a release; the others are for somebody to look at.
    """

    code: str
    rule: str
    file: str
    line: int
    text: str
    grave: bool = True


def check(
    folder: Path | None = None, more: Sequence[Callable[[Rulebook], Iterable[Finding]]] = ()
) -> list[Finding]:
    """Return every fault of the rules with `folder` laid over them, the grave ones first.

    A rule file that does not load is the only finding then. `more` are checks of other parts that
    look at the same rulebook, such as one for missing time limits.
    """
    try:
        book = load(folder)
    except RuleFileError as error:
        return [Finding("not-loaded", "", error.file.name, error.line, error.reason)]
    findings: list[Finding] = []
    for part in (_units, _contradictions, _citations, _examples, *more):
        findings.extend(part(book))
    return sorted(findings, key=lambda finding: not finding.grave)


def _at(rule: Rule, code: str, text: str, *, grave: bool = True) -> Finding:
    return Finding(code, rule.code, rule.file.name, rule.at_line, text, grave)


def _units(book: Rulebook) -> Iterable[Finding]:
    """Find duties that nobody answers for in some city or county."""
    places = [r.code for r in book.gazetteer.regions if r.level in ("city", "county")]
    for rule in book.rules:
        if rule.line == "territory" or rule.line in _PROVINCIAL:
            continue
        missing = [p for p in places if book.table.line_unit(p, rule.line) is None]
        if missing:
            where = book.gazetteer.name(missing[0])
            text = f"条线 {rule.line} 在 {len(missing)} 个地区没有单位，如{where}"
            yield _at(rule, "no-unit", text)


def _contradictions(book: Rulebook) -> Iterable[Finding]:
    """Find words that work against their own rule, and rules with nothing of their own."""
    owners: dict[str, set[str]] = {}
    for rule in book.rules:
        for word in rule.signals.strong:
            owners.setdefault(word, set()).add(rule.line)
    for rule in book.rules:
        signals = rule.signals
        both = (set(signals.strong) | set(signals.words)) & set(signals.against)
        if both:
            yield _at(rule, "contradiction", f"同一个词既支持又反对：{'、'.join(sorted(both))}")
        alone = signals.strong and not signals.pairs and not signals.words
        if alone and all(len(owners[word]) > 1 for word in signals.strong):
            yield _at(rule, "shadowed", "所有强词都同时属于其他条线", grave=False)


def _citations(book: Rulebook) -> Iterable[Finding]:
    """Find topics whose line is not among the units that the cited item names."""
    for rule in book.rules:
        for cite in rule.cites:
            clause = book.clauses[cite.region, cite.item]
            named = [book.table.by_name(name, cite.region) for name in clause.units]
            unit = book.table.line_unit(cite.region, cite.line or rule.line)
            if any(named) and unit not in named:
                text = f"{clause.document}第{clause.item}项没有列{unit.name if unit else '该条线'}"
                yield _at(rule, "not-named", text, grave=False)
            for name, found in zip(clause.units, named, strict=True):
                if found is None:
                    yield _at(rule, "unknown-unit", f"{clause.document}的“{name}”不在单位表中")


def _examples(book: Rulebook) -> Iterable[Finding]:
    """Find examples that do not go where their rule says."""
    for rule in book.rules:
        region = rule.region or next((c.region for c in rule.cites), _ANYWHERE)
        for example in rule.examples:
            route = book.route(_complaint(example, region))
            unit = book.table.line_unit(region, rule.line)
            if route.lead is None or unit is None or route.lead.unit != unit.code:
                gone = route.lead.name if route.lead else DECISIONS[route.decision]
                yield _at(rule, "example", f"示例“{example}”转到了{gone}")


def _complaint(text: str, region: str) -> Complaint:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return Complaint(
        "check", "", "hotline-12345", region, Kind.COMPLAINT, Urgency.NORMAL, "", text, when
    )


def explain(route: Route) -> str:
    """Return a route in Chinese: the decision, the units, and what speaks for each candidate."""
    lines = [f"决定：{DECISIONS[route.decision]}"]
    if route.hotline:
        lines[0] += f"（{route.hotline}）"
    if route.reason:
        lines.append(f"理由：{route.reason}")
    if route.lead:
        advisory = "（供参考）" if route.decision != Decision.AUTO else ""
        lines.append(f"主办：{route.lead.name}{advisory}")
    if route.assist:
        lines.append(f"协办：{'、'.join(unit.name for unit in route.assist)}")
    lines.append(f"把握：{route.confidence:.0%}")
    for place, candidate in enumerate(route.candidates, start=1):
        lines.append(f"候选{place}：{candidate.name}（{candidate.score:.0%}）")
        lines.extend(f"  · {evidence.note}" for evidence in candidate.evidence)
    lines.append(f"规则版本：{route.rulebook[:12]}")
    return "\n".join(lines)
