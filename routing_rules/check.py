"""What is wrong with the rules, and a route said in Chinese."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from routing_rules.gazetteer import DATA
from routing_rules.rulebook import TERRITORY_LINE, Gate, Rule, Rulebook, load
from routing_rules.text import plain
from routing_rules.yamlfile import RuleFileError, read
from service.domain.complaint import Complaint, Decision, Kind, Route, Urgency
from service.domain.ports import Unit

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
    for part in (_units, _contradictions, _citations, *more):
        findings.extend(part(book))
    findings.extend(_examples(book, folder))
    return sorted(findings, key=lambda finding: not finding.grave)


def of_rule(book: Rulebook, code: str) -> list[Finding]:
    """Return the faults of one rule, the grave ones first: what `check` says of it."""
    findings = [each for part in (_units, _contradictions) for each in part(book)]
    findings.extend(_examples_of(book, None, [code]))
    own = [finding for finding in findings if finding.rule == code]
    return sorted(own, key=lambda finding: not finding.grave)


class _Row(NamedTuple):
    """Where a row stands that is neither a rule nor a gate."""

    code: str
    file: Path
    at_line: int


def _at(rule: Rule | Gate | _Row, code: str, text: str, *, grave: bool = True) -> Finding:
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
        told = Counter((*signals.strong, *signals.words, *signals.weak))
        twice = [word for word, times in told.items() if times > 1]
        if twice:
            yield _at(rule, "twice", f"同一个词写了两次：{'、'.join(twice)}", grave=False)


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


def _examples(book: Rulebook, folder: Path | None) -> Iterable[Finding]:
    """Find examples that do not go where their row says, or that say none of its words.

    Where a county's own rows or model lead a shipped example elsewhere, that may well be meant.
    """
    yield from _examples_of(book, folder, [rule.code for rule in book.rules])
    for place, gate in enumerate(book.gates, len(book.rules)):
        for example in gate.examples:
            route = book.route(_complaint(example, _ANYWHERE))
            right = (route.decision, route.hotline) == (gate.decision, gate.hotline)
            if gate.decision != Decision.EMERGENCY_LINE:
                right = right and route.reason == gate.reason
            yield from _tried(book, folder, gate, place, example, route, right)
    files = [place / "accusation.yaml" for place in (DATA, folder) if place]
    row = read([path for path in files if path.exists()][-1])[-1]
    words = _Row("accusation", row.file, row.line)
    supervisor = book.table.line_unit(_ANYWHERE, "wuxing_office")
    for example in row.texts("examples"):
        route = book.route(_complaint(example, _ANYWHERE))
        place = len(book.rules) + len(book.gates)
        yield from _tried(book, folder, words, place, example, route, _leads(route, supervisor))


def _examples_of(book: Rulebook, folder: Path | None, codes: Sequence[str]) -> Iterable[Finding]:
    """Find the examples of these rules that do not go where their rule says."""
    wanted = frozenset(codes)
    for place, rule in enumerate(book.rules):
        if rule.code not in wanted:
            continue
        cited = dict.fromkeys(cite.region for cite in rule.cites)
        for region in [rule.region] if rule.region else cited or [_ANYWHERE]:
            for example in rule.examples:
                route = book.route(_complaint(example, region))
                right = _leads(route, _meant(book, place, example, region))
                yield from _tried(book, folder, rule, place, example, route, right)


def _tried(
    book: Rulebook,
    folder: Path | None,
    row: Rule | Gate | _Row,
    place: int,
    example: str,
    route: Route,
    right: bool,
) -> Iterable[Finding]:
    """Judge an example of the row whose words are at `place` in the matcher."""
    if not right:
        gone = route.lead.name if route.lead else DECISIONS[route.decision] + route.reason
        grave = folder is None or not row.file.is_relative_to(DATA)
        yield _at(row, "example", f"示例“{example}”转到了{gone}", grave=grave)
    elif all(hit.rule != place or not hit.score for hit in book.matcher.hits(plain(example))):
        # What was learnt led it, and the row's words had no part in that.
        yield _at(row, "example-unheard", f"示例“{example}”没有用到本条的词", grave=False)


def _meant(book: Rulebook, place: int, example: str, region: str) -> Unit | None:
    """Return whom a rule means: for 属地 the place that the example names, else who helps it."""
    unit, line, _ = book.meant(place, region)
    if line != TERRITORY_LINE:
        return unit
    named = [m.code for m in book.gazetteer.mentions(plain(example), region) if m.code]
    if named:
        return book.table.territory(max(named, key=len))
    helps = (book.table.line_unit(region, other) for other in book.rules[place].assist)
    return next((unit for unit in helps if unit), None)


def _leads(route: Route, unit: Unit | None) -> bool:
    return route.lead is not None and unit is not None and route.lead.unit == unit.code


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
