"""A policy document (政策文件) → its clauses with items, responsible units and provenance.

`derive` is the door: a file and its region give a `Derivation`, the same for the same bytes. What
is damaged in the document is a `Finding` with its place and is never completed or guessed: a wrong
unit or date in the table would be worse than a missing one.
"""

import bisect
import datetime
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from routing_rules import duty_table
from routing_rules.masthead import damage, masthead
from routing_rules.named_units import Named, Problem, named_units
from routing_rules.outline import Node, clause_nodes
from routing_rules.readable import (
    LINE_END,
    LONG_CHARS,
    LONG_PAGES,
    Finding,
    Unreadable,
    read,
)
from routing_rules.topics import topics

__all__ = [
    "Clause",
    "Derivation",
    "Document",
    "Finding",
    "Heading",
    "Unreadable",
    "clause_file",
    "derive",
    "derive_text",
    "refusal",
    "render",
]


@dataclass(frozen=True, slots=True)
class Document:
    """What a document says of itself; None where it does not say it in full. `file` has no folder.

    `number` is the 文号, `region` a GB/T 2260 code, `sha256` that of the file's bytes.
    """

    file: str
    title: str | None
    number: str | None
    date: datetime.date | None
    region: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading above a clause: its number (`三`, `（一）`) and its whole line as written."""

    number: str
    line: str


@dataclass(frozen=True, slots=True)
class Clause:
    """One item (条目) of a document.

    `item` is its number as written (`1`, `(十四)`). `lead_units` (牵头单位) and `responsible_units`
    (责任单位) hold names in the order written; those that stand for several units are in `groups`
    too. `limits` and `topics` are as written. [start, end) counts characters in the document's
    text, `sha256` is that of text[start:end] in UTF-8.
    """

    item: str
    headings: tuple[Heading, ...]
    lead_units: tuple[str, ...]
    responsible_units: tuple[str, ...]
    groups: tuple[str, ...]
    limits: tuple[str, ...]
    topics: tuple[str, ...]
    start: int
    end: int
    sha256: str


_UNUSABLE = frozenset({"no-clause", "no-unit", "long-document"})
MAX_FINDINGS = 1_000


@dataclass(frozen=True, slots=True)
class Derivation:
    """All that was derived from one document. `text` is what spans count in."""

    document: Document
    clauses: tuple[Clause, ...]
    findings: tuple[Finding, ...]
    text: str = field(repr=False)

    @property
    def usable(self) -> bool:
        """Whether a table can be built on it: it has clauses, units, and the length of a plan.

        Damage in places leaves a document usable; its findings say what to look at.
        """
        return not any(finding.code in _UNUSABLE for finding in self.findings)

    def as_json(self) -> dict[str, object]:
        """Return the answer of `banjie rules derive --json`."""
        document = self.document
        return {
            "document": {
                "file": document.file,
                "title": document.title,
                "number": document.number,
                "date": document.date.isoformat() if document.date else None,
                "region": document.region,
            },
            "clauses": [
                {
                    "item": clause.item,
                    "heading_path": [heading.line for heading in clause.headings],
                    "lead_units": list(clause.lead_units),
                    "responsible_units": list(clause.responsible_units),
                    "groups": list(clause.groups),
                    "limits": list(clause.limits),
                    "topics": list(clause.topics),
                    "span": [clause.start, clause.end],
                    "sha256": clause.sha256,
                }
                for clause in self.clauses
            ],
            "findings": [finding.as_json() for finding in self.findings],
        }


def refusal(path: Path, region: str, error: Unreadable) -> dict[str, object]:
    """Return the answer of `banjie rules derive --json` for a file that is not readable."""
    return {
        "document": {
            "file": path.name,
            "title": None,
            "number": None,
            "date": None,
            "region": region,
        },
        "clauses": [],
        "findings": [error.finding.as_json()],
    }


_REGION = re.compile(r"[1-9]\d{5}(?:\d{3}){0,2}")


def derive(path: Path, region: str) -> Derivation:
    """Return what follows from a policy document (txt, HTML, docx, PDF with text).

    Raises Unreadable where there is no text to derive from, ValueError for a region that is no
    code. A document without clauses or units gives a Derivation whose findings say so.
    """
    if not _REGION.fullmatch(region):
        raise ValueError(f"行政区划代码应为 6 位数字：{region}")
    source = read(path)
    long = len(source.text) > LONG_CHARS or (source.pages or 0) > LONG_PAGES
    return _derive(source.text, path.name, region, source.sha256, long=long)


def derive_text(text: str, file: str, region: str) -> Derivation:
    """Return what follows from the text of a document; its hash is that of the text in UTF-8."""
    return _derive(text, file, region, _sha256(text), long=len(text) > LONG_CHARS)


def _derive(text: str, file: str, region: str, sha256: str, *, long: bool) -> Derivation:
    nodes, problems = clause_nodes(text)
    named = [named_units(text, node.start, node.end) for node in nodes]
    for units in named:
        problems.extend(units.problems)
    nodes, named = _with_tables(text, nodes, named, problems)
    first = nodes[0].start if nodes else len(text)
    if nodes and nodes[0].parents:
        first = nodes[0].parents[0].start
    head = masthead(text, first, nodes[-1].end if nodes else len(text))
    problems += [*head.problems, *damage(text), *_overall(nodes, named, long=long)]
    bodies = [_body(text, node, units) for node, units in zip(nodes, named, strict=True)]
    clauses = tuple(
        _clause(text, node, units, body, words)
        for node, units, body, words in zip(nodes, named, bodies, topics(bodies), strict=True)
    )
    document = Document(file, head.title, head.number, head.date, region, sha256)
    return Derivation(document, clauses, _findings(text, problems), text)


def _with_tables(
    text: str, nodes: list[Node], named: list[Named], problems: list[Problem]
) -> tuple[list[Node], list[Named]]:
    """Return the clauses of the text and those of its tables of duties, by place."""
    rows, regions, faults = duty_table.rows(text)
    if not regions:
        return nodes, named
    problems.extend(faults)
    starts = [start for start, _ in regions]
    both = [(row.node, row.named) for row in rows]
    for node, units in zip(nodes, named, strict=True):
        region = bisect.bisect_right(starts, node.start) - 1
        if region < 0 or node.start >= regions[region][1]:
            both.append((node, units))
    both.sort(key=lambda pair: pair[0].start)
    return [node for node, _ in both], [units for _, units in both]


def _clause(text: str, node: Node, units: Named, body: str, words: tuple[str, ...]) -> Clause:
    return Clause(
        item=node.number,
        headings=tuple(
            Heading(parent.number, _SPACES.sub("", text[parent.start : parent.end]))
            for parent in node.parents
        ),
        lead_units=units.lead,
        responsible_units=units.responsible,
        groups=units.groups,
        limits=tuple(dict.fromkeys(limits(body))),
        topics=words,
        start=node.start,
        end=node.end,
        sha256=_sha256(text[node.start : node.end]),
    )


def _sha256(text: str) -> str:
    # A lone surrogate cannot come from a decoded file; from elsewhere it must not end the work.
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


_SPACES = re.compile(r"[\s*]+")
_NUMBER_MARK = re.compile(r"^[\s*]{0,9}[.．、]?")


def _body(text: str, node: Node, units: Named) -> str:
    """Return what a clause says, in one line, without its number and its list of units."""
    at = node.start
    pieces = []
    for start, end in units.spans:
        pieces.append(text[at:start])
        at = max(at, end)
    pieces.append(text[at : node.end])
    body = _SPACES.sub("", "".join(pieces))
    return _NUMBER_MARK.sub("", body.removeprefix(node.number), count=1)


def _overall(nodes: Sequence[Node], named: Sequence[Named], *, long: bool) -> list[Problem]:
    problems = []
    if not nodes:
        problems.append(Problem("no-clause", 0, "没有找到带编号的条目，这可能不是分工文件。"))
    elif not any(units.lead or units.responsible for units in named):
        problems.append(
            Problem("no-unit", 0, f"共 {len(nodes)} 条，没有一条写明牵头单位或责任单位。")
        )
    if long:
        problems.append(Problem("long-document", 0, "文件远长于一般的分工文件，请核对是否选错。"))
    return problems


def _findings(text: str, problems: Iterable[Problem]) -> tuple[Finding, ...]:
    """Return the problems by place, one for each place and code, offsets as lines and columns."""
    starts = [0, *(end.end() for end in LINE_END.finditer(text))]
    once: dict[tuple[int, str], Problem] = {}
    for problem in problems:
        once.setdefault((problem.offset, problem.code), problem)
    findings = []
    for offset, code in sorted(once)[:MAX_FINDINGS]:
        line = bisect.bisect_right(starts, offset)
        column = offset - starts[line - 1] + 1
        findings.append(Finding(code, line, column, once[offset, code].message))
    return tuple(findings)


# --- time limits ----------------------------------------------------------------------------------

_COUNT = r"(?:\d{1,4}|[一二两三四五六七八九十半]{1,3})"
_SPAN = rf"{_COUNT}(?:个?工作日|个?自然日|个?工作小时|个?小时|分钟|个月|日|天|周)"
_LIMIT = re.compile(
    # a span with what ends it: 一日办结, 1个工作日内
    rf"(?<![\d年月第.]){_SPAN}(?:以内|之内|内|办结|办理|办成|完成|反馈|回复|答复|响应|签收|受理|出证)"
    # a span with what bounds it: 压缩至1个工作日
    rf"|(?:(?<=压缩至)|(?<=压缩到)|(?<=缩短至)|(?<=缩短到)|(?<=不超过)|(?<=不得超过)|(?<=限时)|(?<=最长)){_SPAN}(?![年月])"
    # a limit without a figure, and the one that goes by its code
    r"|(?:当日|即日|当场|当天|即时|限时|限期)(?:办结|办理|反馈|回复|答复|响应|受理|整改)"
    r"|(?<!\d)13710(?!\d)"
)


def limits(body: str) -> list[str]:
    """Return the time limits a clause names, as written: 一日办结, 1个工作日内, 13710.

    Dates by which a plan is to be done (年底前) are no limits for a complaint and stay out.
    """
    return [found[0] for found in _LIMIT.finditer(body)]


# --- for people and for the repository ------------------------------------------------------------


def render(derivation: Derivation) -> str:
    """Return a derivation as Chinese text for a terminal."""
    document = derivation.document
    with_units = sum(1 for c in derivation.clauses if c.lead_units or c.responsible_units)
    lines = [
        f"文件：{document.file}",
        f"标题：{document.title or '（未见）'}",
        f"文号：{document.number or '（未见或缺损）'}",
        f"日期：{document.date or '（未见或缺损）'}",
        f"地区：{document.region}",
        f"条目：{len(derivation.clauses)} 条，{with_units} 条写明单位",
    ]
    for clause in derivation.clauses:
        path = " › ".join([*(heading.number for heading in clause.headings), clause.item])
        lines += ["", f"【{path}】 {'、'.join(clause.topics)}"]
        for label, names in (
            ("牵头单位", clause.lead_units),
            ("责任单位", clause.responsible_units),
            ("时限", clause.limits),
        ):
            marked = (f"{name}（群体）" if name in clause.groups else name for name in names)
            if names:
                lines.append(f"  {label}：{'；'.join(marked)}")
    if derivation.findings:
        lines += ["", f"问题：{len(derivation.findings)} 处"]
        lines += [
            f"  第 {finding.line} 行第 {finding.column} 列 [{finding.code}] {finding.message}"
            for finding in derivation.findings
        ]
    return "\n".join(lines) + "\n"


_FILE_HEAD = """\
# Derived by `banjie rules derive`; a test derives it again, byte for byte. Do not edit.
# document: title, 文号 (number) and date as the document says them, null where it does not or the
#   print is damaged; region is a GB/T 2260 code; sha256 is that of the published file's bytes.
# clauses: item is the number as written, heading_path the numbers of the headings above it.
#   lead_units 牵头单位, responsible_units 责任单位, in the order and the names of their day; groups
#   says which of them stand for several units. limits and topics are short words of the clause.
#   span is [start, end) in characters of the document's text, sha256 that of this slice in UTF-8.
# findings: what is damaged or odd in the document, with line and column.
"""


def clause_file(derivation: Derivation) -> str:
    """Return a derivation as the YAML kept in data/clauses: facts and names, no sentence."""
    document = derivation.document
    lines = [
        "document:",
        f"  file: {_scalar(document.file)}",
        f"  title: {_scalar(document.title)}",
        f"  number: {_scalar(document.number)}",
        f"  date: {_scalar(document.date.isoformat() if document.date else None)}",
        f"  region: {_scalar(document.region)}",
        f"  sha256: {_scalar(document.sha256)}",
        "clauses:" if derivation.clauses else "clauses: []",
    ]
    for clause in derivation.clauses:
        lines += [
            f"  - item: {_scalar(clause.item)}",
            f"    heading_path: {_flow(heading.number for heading in clause.headings)}",
            f"    lead_units: {_flow(clause.lead_units)}",
            f"    responsible_units: {_flow(clause.responsible_units)}",
            f"    groups: {_flow(clause.groups)}",
            f"    limits: {_flow(clause.limits)}",
            f"    topics: {_flow(clause.topics)}",
            f"    span: [{clause.start}, {clause.end}]",
            f"    sha256: {_scalar(clause.sha256)}",
        ]
    lines.append("findings:" if derivation.findings else "findings: []")
    lines += [
        f"  - {{code: {finding.code}, line: {finding.line}, column: {finding.column}}}"
        for finding in derivation.findings
    ]
    return _FILE_HEAD + "\n".join(lines) + "\n"


def _flow(values: Iterable[str]) -> str:
    return "[" + ", ".join(_scalar(value) for value in values) + "]"


def _scalar(value: str | None) -> str:
    """Return a value as JSON, which YAML reads, with what YAML takes for no character escaped."""
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else _escaped(c) for c in quoted)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
