"""Accepted proposals (提议) as the rows that a county's own folder would hold, and what the rules say
to one that is new."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import yaml

from routing_rules.check import of_rule
from routing_rules.rulebook import Rulebook, load
from routing_rules.table import UnitTable, is_group, unit_rows
from routing_rules.text import plain
from routing_rules.yamlfile import Row, RuleFileError, Value
from service.domain.calendar import SHANGHAI
from service.domain.ports import FieldProblem, Unit
from service.domain.proposal import Proposal, Sort, faults, one_line
from service.domain.region import covers

_HEAD = (
    "# 由系统中已同意的提议导出；谁提出、谁同意、何时、为什么，见每行的 proposed。\n"
    "# 编号不变：移入规则文件夹以后，与系统中的同一条提议算一条。\n"
)


def code_of(proposal: Proposal) -> str:
    """Return the id of the duty that a proposal makes."""
    return f"proposal-{proposal.id}"


def told(proposal: Proposal) -> str:
    """Return who proposed it and why, who agreed and why, on one line."""
    what = f"别名“{plain(proposal.name)}”：" if proposal.sort is Sort.ALIAS else ""
    said = f"{what}第{proposal.id}号提议，{proposal.author} {_day(proposal.at)} 提出：{proposal.reason}"
    if agreed := proposal.agreed:
        said += f"；{agreed.by} {_day(agreed.at)} 同意：{agreed.reason}"
    return one_line(said)


def overlay(
    proposals: Sequence[Proposal], table: UnitTable, rows: Mapping[str, Row]
) -> dict[str, str]:
    """Return the files of a rule folder that say what was proposed, by name; `rows` are those of
    units.yaml as they hold without. A row of a unit is put in place whole: it keeps what it said.

    Raises ValueError for a unit that is not in the table.
    """
    units: dict[str, dict[str, object]] = {}
    duties: list[dict[str, object]] = []
    for each in sorted(proposals, key=lambda proposal: proposal.id):
        unit = table.unit(each.unit)
        if unit is None:
            raise ValueError(f"单位 {each.unit} 不在单位表中")
        if each.sort is Sort.DUTY:
            duties.append(_duty(each, unit))
            continue
        row = units.get(unit.code) or _as_written(rows.get(unit.code), unit)
        if each.name in row.get("as", []):  # type: ignore[operator]
            continue  # it has been moved into the files
        units[unit.code] = row
        for key, text in (("as", each.name), ("proposed", told(each))):
            before = row.get(key, [])
            row[key] = [*(before if isinstance(before, list) else [before]), text]
    files: dict[str, list[dict[str, object]]] = {
        "units.yaml": list(units.values()),
        "duties/proposals.yaml": duties,
    }
    return {
        name: _HEAD + yaml.safe_dump(made, allow_unicode=True, sort_keys=False, width=110)
        for name, made in files.items()
        if made
    }


def _as_written(row: Row | None, unit: Unit) -> dict[str, object]:
    if row is None:
        return {"code": unit.code}
    return {key: _value(value) for key, value in row.items()}


def _value(value: Value) -> object:
    if isinstance(value, list):
        return [_value(part) for part in value]
    return {key: _value(part) for key, part in value.items()} if isinstance(value, Row) else value


def _duty(proposal: Proposal, unit: Unit) -> dict[str, object]:
    said: dict[str, object] = {
        "id": code_of(proposal),
        "name": proposal.name,
        "line": unit.line,
        "region": proposal.region,
    }
    if proposal.words:
        said["strong"] = " ".join(proposal.words)
    if proposal.pairs:
        said["pairs"] = list(proposal.pairs)
    return {**said, "examples": list(proposal.examples), "proposed": told(proposal)}


class FilesChanged(Exception):
    """The rule folder is not as it was when it was loaded: what stands there counts from the next start
    on, and must not come in by the back door."""


# The rulebook with all that can be laid over the files, which that is, and what is left out, and why.
Usable: TypeAlias = tuple[Rulebook, list[Proposal], list[tuple[Proposal, str]]]


class Proposed:
    """The rules of the files, and what they become with proposals laid over them. What is in use is kept:
    who asks for the same gets the same."""

    def __init__(self, book: Rulebook, folder: Path | None) -> None:
        """`book` is what `load(folder)` returned."""
        self._book = book
        self._folder = folder
        self._as_loaded = _state_of(folder)
        self._kept: tuple[tuple[Proposal, ...], Usable] = (), (book, [], [])

    @cached_property
    def _rows(self) -> dict[str, Row]:
        return unit_rows(self._folder)

    def files(self, accepted: Sequence[Proposal]) -> dict[str, str]:
        """Return the files of the folder that these make. Raises ValueError."""
        return overlay(accepted, self._book.table, self._rows)

    def book(self, accepted: Sequence[Proposal]) -> Rulebook:
        """Return the rulebook with these laid over it, about a second's work: the files' own for none.
        Raises RuleFileError, ValueError, and FilesChanged."""
        if not accepted:
            return self._book
        self._check_files()
        return load(self._folder, self.files(accepted))

    def usable(self, accepted: Sequence[Proposal]) -> Usable:
        """Return the rulebook with all of these that can be laid over the files of today, which they
        are, and those left out, with the reason. Raises FilesChanged."""
        kept, found = self._kept
        if kept == tuple(accepted):
            if kept:
                self._check_files()
            return found
        found = self._laid(accepted)
        self._kept = tuple(accepted), found
        return found

    def _check_files(self) -> None:
        if _state_of(self._folder) != self._as_loaded:
            raise FilesChanged

    def _laid(self, accepted: Sequence[Proposal]) -> Usable:
        try:
            return self.book(accepted), list(accepted), []
        except (RuleFileError, ValueError):
            pass
        taken: list[Proposal] = []
        left: list[tuple[Proposal, str]] = []
        book = self._book
        for each in accepted:
            try:
                book = self.book([*taken, each])
            except (RuleFileError, ValueError) as error:
                left.append((each, str(error)))
            else:
                taken.append(each)
        return book, taken, left

    def tried(
        self, now: Rulebook, accepted: Sequence[Proposal], proposal: Proposal
    ) -> tuple[Rulebook, list[FieldProblem]]:
        """Return the rulebook with a proposal beside these, and what the rules say against it, at its
        fields: what `banjie rules check` would refuse of it. `now` is the rulebook with `accepted`, to
        which it would come, and comes back where there is none with the proposal. Raises FilesChanged."""
        table, unit = now.table, now.table.unit(proposal.unit)
        found = faults(proposal)
        if unit is None:
            said = "没有这个单位，请核对全称或代码"
            return now, [*found, FieldProblem("/unit", said)]
        if proposal.sort is Sort.DUTY:
            found.extend(_duty_faults(now, unit, proposal))
        elif not any(each.pointer == "/name" for each in found):
            # Whose name it is takes quadratic time: not asked of what is no name anyway.
            found.extend(_alias_faults(table, unit, proposal.name))
        if found:
            return now, found
        at = "/words" if proposal.sort is Sort.DUTY else "/name"
        try:
            book = self.book([*accepted, proposal])
        except RuleFileError as error:
            return now, [FieldProblem(at, error.reason)]
        except ValueError as error:
            return now, [FieldProblem("/unit", str(error))]
        return book, [
            FieldProblem("/examples" if each.code == "example" else at, each.text)
            for each in of_rule(book, code_of(proposal))
            if each.grave
        ]


def _duty_faults(book: Rulebook, unit: Unit, proposal: Proposal) -> list[FieldProblem]:
    region = proposal.region
    if book.gazetteer.region(region) is None:
        return [FieldProblem("/region", "没有这个地区，请填区划代码或名称")]
    if not unit.line:
        said = "乡镇、街道和园区按地点派单（属地），不列职责；可以提议别名"
        return [FieldProblem("/unit", said)]
    here = book.table.line_unit(region, unit.line)
    if here != unit:
        name = book.gazetteer.name(region)
        said = f"在{name}，这类职责由{here.name}负责" if here else f"{name}没有这类职责的单位"
        return [FieldProblem("/unit", f"{said}；职责按条线写，请核对单位和地区")]
    if short := _too_short(proposal):
        return short
    words = {plain(word) for word in proposal.words}
    for place, rule in enumerate(book.rules):
        if rule.code == code_of(proposal) or not (not rule.region or covers(rule.region, region)):
            continue
        known = words <= set(rule.signals.strong) and not proposal.pairs
        if known and words and book.meant(place, region)[0] == unit:
            return [FieldProblem("/words", f"“{rule.name}”已经列有这些词，由{unit.name}负责")]
    return []


def _too_short(proposal: Proposal) -> list[FieldProblem]:
    """Return what is wrong with words of which markup, entities or blanks leave less than was counted:
    “路<b>” is listened for as “路”, and “<b>” as nothing at all."""
    return [
        FieldProblem("/words", f"“{word}”中能用来匹配的不到两个字")
        for word in proposal.words
        if len(plain(word)) < 2
    ] + [
        FieldProblem("/pairs", f"“{word}”中没有能用来匹配的字")
        for pair in proposal.pairs
        for word in pair.replace("|", " ").split()
        if not plain(word)
    ]


def _alias_faults(table: UnitTable, unit: Unit, name: str) -> list[FieldProblem]:
    if is_group(name):
        return [FieldProblem("/name", "指多个单位的统称不能作为一个单位的别名")]
    bearer = table.bearer(name, unit.region)
    if bearer == unit:
        return [FieldProblem("/name", f"{unit.name}已经有这个名称，不用再提")]
    if bearer:
        return [FieldProblem("/name", f"这是另一个单位的名称：{bearer.name}")]
    return []


def _state_of(folder: Path | None) -> tuple[tuple[str, int, int], ...]:
    """Return what differs whenever a rule file has changed. Calendars are taken in at any time, and
    sources are no rules."""
    if folder is None:
        return ()
    found = []
    for path in sorted(folder.rglob("*.*")):
        inner = path.relative_to(folder)
        if inner.parts[0] != "calendars" and path.name != "sources.yaml" and path.is_file():
            stat = path.stat()
            found.append((str(inner), stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _day(at: datetime) -> str:
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d}"
