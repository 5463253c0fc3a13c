"""Reads a table of duties (分工表): a line a row, cells apart by tabs, roles named in its head."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from routing_rules.named_units import Named, Problem, is_group, role_of, split_names
from routing_rules.outline import Node

_LINE = re.compile(r"[^\n\r\f]+")
_NUMBER_HEAD = re.compile(r"^(?:序号|编号|条目|号)$")
_NUMBER = re.compile(r"^[（(]?[一二三四五六七八九十百\d]{1,6}[）)]?(?=[.．、]?$)")
_ROW_RANK = 5
_HEAD_ROWS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: where it stands and whom it names."""

    node: Node
    named: Named


def looks_like_duties(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a table's first rows hold a head that names a role, such as 责任单位."""
    return any(
        len(row) > 1 and any(role_of(_bare(cell)) is not None for cell in row)
        for row in rows[:_HEAD_ROWS]
    )


def as_line(cells: Sequence[str]) -> str:
    """Return a row as the line `rows` reads."""
    return "\t".join(" ".join(cell.split()) for cell in cells) + "\n"


def rows(text: str) -> tuple[list[Row], list[tuple[int, int]], list[Problem]]:
    """Return the rows of every table of duties, the [start, end) of the tables, and problems."""
    found: list[Row] = []
    regions: list[tuple[int, int]] = []
    problems: list[Problem] = []
    head: list[str] | None = None
    for line in _LINE.finditer(text):
        if "\t" not in line[0].strip():
            head = None
            continue
        cells = line[0].split("\t")
        if looks_like_duties([cells]):
            head = [_bare(cell) for cell in cells]
            regions.append(line.span())
        elif head is not None:
            regions[-1] = (regions[-1][0], line.end())
            row = _row(line.start(), cells, head, text, problems)
            if row:
                found.append(row)
    return found, regions, problems


def _row(
    start: int, cells: list[str], head: list[str], text: str, problems: list[Problem]
) -> Row | None:
    spans = list(_cell_spans(start, cells))
    number = next(
        (_bare(cell) for cell, name in zip(cells, head, strict=False) if _NUMBER_HEAD.match(name)),
        "",
    )
    written = _NUMBER.match(number)
    named: dict[bool, dict[str, None]] = {True: {}, False: {}}
    unit_spans = []
    for (cell_start, cell_end), name in zip(spans, head, strict=False):
        role = role_of(name)
        if role is None:
            continue
        unit_spans.append((cell_start, cell_end))
        named[role].update(dict.fromkeys(split_names(text, cell_start, cell_end, problems)))
    names = [*named[True], *named[False]]
    if written is None:
        if names:
            problems.append(Problem("row-number", start, "表中这一行没有序号，未采用。"))
        return None
    end = start + len("\t".join(cells).rstrip())
    groups = tuple(name for name in dict.fromkeys(names) if is_group(name))
    at = text.index(written[0][0], start)
    return Row(
        Node(written[0], _ROW_RANK, 0, at, end),
        Named(tuple(named[True]), tuple(named[False]), groups, tuple(unit_spans), ()),
    )


def _cell_spans(start: int, cells: Sequence[str]) -> Iterator[tuple[int, int]]:
    for cell in cells:
        yield start, start + len(cell)
        start += len(cell) + 1


def _bare(cell: str) -> str:
    return re.sub(r"\s+", "", cell)
