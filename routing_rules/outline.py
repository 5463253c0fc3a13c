"""Finds the numbered paragraphs of an official document and tells clauses from headings.

Ranks follow GB/T 9704: 第一章, 第一条, 一、 （一） 1. （1） ①. Numbering that strays from it
is met where it was seen: a chapter `1、` beside the item `1.`, items `（一）` in one chapter that
are headings in another.
"""

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from routing_rules.named_units import Problem, named_units


@dataclass(frozen=True, slots=True)
class Node:
    """A numbered paragraph: `number` as written without its stop, [start, end) in the text.

    `parents` are the headings above it, outermost first. For a clause `end` is where it ends, for a
    heading where its own title ends.
    """

    number: str
    rank: int
    order: int
    start: int
    end: int
    parents: tuple["Node", ...] = ()


@dataclass(slots=True)
class _Line:
    """A numbered line and the text it may reach to: up to the next numbered line."""

    number: str
    style: str
    rank: int
    order: int
    start: int
    line_end: int
    end: int
    has_units: bool = False
    has_sentence: bool = False  # on its own line
    ends_in_sentence: bool = False  # anywhere up to the next numbered line
    parent: int = -1
    children: list[int] = field(default_factory=list)


_CN = "零〇一二三四五六七八九十百"
_NUMBERED = re.compile(
    r"(?:^|(?<=[\n\r\f]))[ \t\u3000\xa0]{0,200}(?:#{1,6}[ \t]{0,9})?(?:\*\*)?[ \t\u3000]{0,9}"
    rf"(?:(?P<law>第[ ]?[{_CN}\d]{{1,6}}[ ]?[章节条])"
    rf"|(?P<chapter>[{_CN}]{{1,6}})[ ]?、"
    rf"|(?P<section>[（(][ ]?[{_CN}]{{1,6}}[ ]?[）)])"
    r"|(?P<dot>\d{1,3})[ ]?[.．](?!\d)"
    r"|(?P<comma>\d{1,3})[ ]?、(?!\d)"
    r"|(?P<round>[（(][ ]?\d{1,3}[ ]?[）)])"
    r"|(?P<half>\d{1,3})[）)]"
    r"|(?P<circle>[①-⑳]))"
)
_RANKS = {"chapter": 3, "section": 4, "dot": 5, "comma": 5, "round": 6, "half": 6, "circle": 7}
_LAW_RANKS = {"章": 0, "节": 1, "条": 2}
_HEADING_BY_COMMA = 3
_SUBPOINT = 6

_LINE = re.compile(r"[^\n\r\f]*")
_SENTENCE = re.compile(r"[。；;！!]")
# Where a paragraph may stop: anything else at a line's end is a sentence broken by the layout.
_STOPS = re.compile(r"[。；;！!？?：:”’）)〕】…]\**$")
_END_MATTER = re.compile(
    r"^(?:抄送|附件|附[:：]|主办|承办|[（(]此件|网站地图|责任编辑|信息来源|来源|编辑[:：]|上一篇|下一篇|打印"
    r"|关闭|分享|扫一扫|联系人|联系电话|[（(]联系人|版权|主题词)"
    r"|^[^，。；]{0,30}\d{4}年\d{1,2}月\d{1,2}日(?:印发)?$"
)
_ATTACHED = re.compile(r"(?:^|(?<=[\n\r\f]))[ \t\u3000]{0,200}附件[ \t]{0,9}[:：]")
_PAGE_NUMBER = re.compile(r"^[-—–－\s]*\d{0,4}[-—–－\s]*$")


def clause_nodes(text: str) -> tuple[list[Node], list[Problem]]:
    """Return the clauses in order, each with its headings, and what is odd in their numbering."""
    lines = _numbered_lines(text)
    problems: list[Problem] = []
    _rerank_headings(text, lines, problems)
    _nest(lines)
    nodes: list[Node] = []
    headings: dict[int, Node] = {}
    taken_until = 0
    is_clause = _clauses(lines)
    for at, line in enumerate(lines):
        if line.start < taken_until:
            continue
        parents = _parents(lines, at, headings)
        if is_clause[at]:
            reach = line.end
            if line.children and _absorbs(lines, at):
                reach = _subtree_end(lines, at)
            end = _clause_end(text, line, reach)
            taken_until = reach
            nodes.append(Node(line.number, line.rank, line.order, line.start, end, parents))
        else:
            end = _title_end(text, line)
            headings[at] = Node(line.number, line.rank, line.order, line.start, end, parents)
    problems.extend(_gaps(nodes))
    return nodes, problems


def _numbered_lines(text: str) -> list[_Line]:
    lines: list[_Line] = []
    attached = [found.start() for found in _ATTACHED.finditer(text)]
    for found in _NUMBERED.finditer(text):
        style = str(found.lastgroup)
        start = found.start(style)
        number = re.sub(r"\s", "", found[style])
        line_end = _LINE.match(text, start)
        assert line_end is not None
        if _is_attachment(text, attached, start, line_end.end()):
            continue
        rank = _LAW_RANKS[number[-1]] if style == "law" else _RANKS[style]
        if lines:
            lines[-1].end = found.start()
        lines.append(_Line(number, style, rank, _order(number), start, line_end.end(), len(text)))
    for line in lines:
        line.has_units = bool(named_units(text, line.start, line.end).spans)
        line.has_sentence = bool(_SENTENCE.search(text, line.start, line.line_end))
        line.ends_in_sentence = bool(_SENTENCE.search(text, line.start, line.end))
    return lines


def _is_attachment(text: str, attached: Sequence[int], start: int, end: int) -> bool:
    """Whether a numbered line belongs to the list behind 附件：, which numbers files."""
    place = bisect.bisect_left(attached, start) - 1
    if place < 0 or start - attached[place] > 500 or _SENTENCE.search(text, start, end):
        return False
    before = attached[place]
    return not _SENTENCE.search(text, before, start)


_DIGIT = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"〇": 0}


def _order(number: str) -> int:
    """Return how much a number counts: 第十四条 → 14, （二十） → 20, ③ → 3."""
    if "①" <= number[0] <= "⑳":
        return ord(number[0]) - ord("①") + 1
    digits = "".join(character for character in number if character.isdigit())
    if digits.isascii() and digits:
        return int(digits)
    total = current = 0
    for character in number:
        if character in _DIGIT:
            current = _DIGIT[character]
        elif character == "十":
            total, current = total + (current or 1) * 10, 0
        elif character == "百":
            total, current = total + (current or 1) * 100, 0
    return total + current


def _rerank_headings(text: str, lines: list[_Line], problems: list[Problem]) -> None:
    """Take `1、` for a chapter where it only entitles the item `1.` below it (seen in print)."""
    for line, following in pairwise(lines):
        both = {line.style, following.style}
        title_only = not (line.has_units or line.ends_in_sentence)
        if both == {"dot", "comma"} and title_only and following.ends_in_sentence:
            line.rank = _HEADING_BY_COMMA
            written = text[line.start : line.start + len(line.number) + 1]
            problems.append(
                Problem(
                    "heading-number",
                    line.start,
                    f"章题编号写作“{written}”，与条目编号同形；按章题处理，编号照录。",
                )
            )


def _nest(lines: list[_Line]) -> None:
    stack: list[int] = []
    for at, line in enumerate(lines):
        while stack and lines[stack[-1]].rank >= line.rank:
            stack.pop()
        if stack:
            line.parent = stack[-1]
            lines[stack[-1]].children.append(at)
        stack.append(at)


def _clauses(lines: list[_Line]) -> list[bool]:
    heading_ranks = {
        line.rank for at, line in enumerate(lines) if line.children and not _absorbs(lines, at)
    }
    verdicts = [_verdict(lines, at, heading_ranks) for at in range(len(lines))]
    # A short item among items, without a stop at its end, is an item too.
    with_clauses = {
        (line.parent, line.rank)
        for line, verdict in zip(lines, verdicts, strict=True)
        if verdict is True
    }
    return [
        (line.parent, line.rank) in with_clauses if verdict is None else verdict
        for line, verdict in zip(lines, verdicts, strict=True)
    ]


def _verdict(lines: list[_Line], at: int, heading_ranks: set[int]) -> bool | None:
    """Return whether a line is a clause, None where its neighbours decide."""
    line = lines[at]
    if line.children:
        return line.has_units or _absorbs(lines, at)
    if line.has_units or line.has_sentence:
        return True
    if line.rank in heading_ranks:
        return False
    return True if line.ends_in_sentence else None


def _absorbs(lines: list[_Line], at: int) -> bool:
    """Whether the numbered lines below are points of one clause, not clauses of their own."""
    line = lines[at]
    if not (line.has_sentence or line.has_units):
        return False
    below = [lines[child] for child in _descendants(lines, at)]
    if any(child.has_units for child in below[:-1]):
        return False
    points = all(child.rank >= _SUBPOINT for child in below) or line.rank == _LAW_RANKS["条"]
    if below[-1].has_units:
        return points and not line.has_units and len(below) > 1
    return points or line.has_units


def _descendants(lines: list[_Line], at: int) -> range:
    last = at + 1
    while last < len(lines) and lines[last].rank > lines[at].rank:
        last += 1
    return range(at + 1, last)


def _subtree_end(lines: list[_Line], at: int) -> int:
    below = _descendants(lines, at)
    return lines[below[-1]].end if below else lines[at].end


def _parents(lines: list[_Line], at: int, headings: dict[int, Node]) -> tuple[Node, ...]:
    chain: list[Node] = []
    parent = lines[at].parent
    while parent >= 0:
        if parent in headings:
            chain.append(headings[parent])
        parent = lines[parent].parent
    return tuple(reversed(chain))


def _clause_end(text: str, line: _Line, reach: int) -> int:
    """Return where a clause ends: behind its units, or with its last sentence before end matter."""
    spans = named_units(text, line.start, reach).spans
    if spans:
        found = _LINE.match(text, spans[-1][1], reach)
        assert found is not None
        rest = text[spans[-1][1] : found.end()].rstrip()
        return spans[-1][1] + len(rest)
    end, at = line.start, line.start
    previous = ""
    while at < reach:
        found = _LINE.match(text, at, reach)
        assert found is not None
        words = found[0].strip()
        goes_on = not previous or not _STOPS.search(previous) or _SENTENCE.search(words)
        if words and not (previous and _PAGE_NUMBER.match(words)):
            if previous and (not goes_on or "\t" in words or _END_MATTER.search(words)):
                break
            end = at + len(found[0].rstrip())
            previous = words
        at = found.end() + 1
    return end


_WRAPPED_FROM_CHARS = 25


def _title_end(text: str, line: _Line) -> int:
    """Return where a heading's title ends; the layout may have broken it over two lines."""
    title = text[line.start : line.line_end].rstrip()
    end = line.start + len(title)
    if len(title) >= _WRAPPED_FROM_CHARS and not _STOPS.search(title):
        rest = text[line.line_end : line.end]
        if rest.strip() and not _SENTENCE.search(rest) and len(rest.strip()) < len(title):
            end = line.line_end + len(rest.rstrip())
    return end


def _gaps(nodes: list[Node]) -> list[Problem]:
    """Return where items of one rank leave out a number or use one twice."""
    problems: list[Problem] = []
    last: dict[int, Node] = {}
    for node in nodes:
        before = last.get(node.rank)
        last[node.rank] = node
        restarts = node.order == 1 and (before is None or before.parents != node.parents)
        if before is None or restarts or node.order == before.order + 1:
            continue
        what = "重复" if node.order == before.order else "不连续"
        problems.append(
            Problem(
                "item-order",
                node.start,
                f"条目编号{what}：“{before.number}”之后是“{node.number}”。",
            )
        )
    return problems
