"""Rates of a period as an office looks at them: one table, its charts, and what the rates are made of."""

from bisect import bisect
from collections.abc import Sequence
from datetime import date, datetime
from math import ceil

from service.bulletin import received
from service.domain.kpi import RATES, Row
from service.paper.drawings import Day
from service.paper.tables import (
    Cell,
    Chart,
    Column,
    Format,
    Look,
    Paper,
    Section,
    Table,
    definitions,
    moment,
    told,
    unit_name,
)
from service.reports import By, Report

BY = {
    By.UNIT: "单位",
    By.CHANNEL: "渠道",
    By.KIND: "诉求类型",
    By.REGION: "地区",
    By.MONTH: "月",
    By.DAY: "日",
}
# Side by side there is room for these; each of the fourteen is told alone.
_SIDE_BY_SIDE = (
    "completion",
    "on_time",
    "sign",
    "contact",
    "solved",
    "satisfied",
    "sent_back",
    "redone",
)
_IN_TIME = {By.DAY, By.MONTH}
_MOST_BARS = 40
# Of a rate, where the shades of a calendar change.
_STEPS = (0.6, 0.8, 0.9, 0.95)


def figures(report: Report, made_at: datetime, version: str) -> Paper:
    """Return what is printed of a report: of one rate all that makes it up, else the main rates side
    by side."""
    asked = report.asked
    name = BY[asked.by]
    alone = RATES.get(asked.rate)
    table = _alone(report, name) if alone else _side_by_side(report, name)
    known = f"{asked.as_of} 终了时所知" if asked.as_of else f"{moment(made_at)} 所知"
    shown = [RATES[each] for each in ((asked.rate,) if alone else _SIDE_BY_SIDE)]
    notes = [f"暂定：{report.provisional}。"] if report.provisional else []
    if alone and asked.by in _IN_TIME:
        notes.append(f"期间合计 {told(report.total.rates[asked.rate])}。")
    if asked.by is By.UNIT:
        notes.append(f"分母不足 {report.floor} 的列出，不排名。")
    if alone:
        notes.append("95% 区间：件数越少，比率越不确定，区间越宽。")
    title = f"按{name}的{alone.name if alone else '主要指标'}"
    return Paper(
        f"{report.region_name or '全部地区'}{title}",
        f"{asked.since} 至 {asked.until}，按 {known}",
        "暂定" if report.provisional else "",
        notes,
        [
            Section(title, notes, [table], _charts(report, table) if alone else ()),
            Section("口径说明", [], [definitions(shown)]),
        ],
        version,
        made_at,
        "指标",
    )


def _alone(report: Report, name: str) -> Table:
    columns = (
        Column(name, width=30),
        Column(RATES[report.asked.rate].name, Format.PERCENT, 12),
        Column("分子", Format.WHOLE, 9),
        Column("分母", Format.WHOLE, 9),
        Column("下限", Format.PERCENT, 9, "95% 区间"),
        Column("上限", Format.PERCENT, 9, "95% 区间"),
        Column("名次", Format.WHOLE, 6),
        Column("未计", width=50),
    )
    return Table(
        RATES[report.asked.rate].name,
        columns,
        [_made_of(row, report.asked.rate) for row in _in_order(report)],
        "期间没有数据。",
    )


def _made_of(row: Row, rate: str) -> Sequence[Cell]:
    found = row.rates[rate]
    low, high = found.interval or (None, None)
    left = "，".join(f"{each.label} {n}" for each, n in found.left_out if n)
    counts = (found.value, found.numerator, found.denominator, low, high, found.rank)
    return (unit_name(row.name, row.names), *counts, left)


def _side_by_side(report: Report, name: str) -> Table:
    columns = [Column(name, width=30)]
    for each in _SIDE_BY_SIDE:
        columns += [
            Column("率", Format.PERCENT, 9, RATES[each].name, rate=each),
            Column("件数", Format.WHOLE, 7, RATES[each].name),
        ]
    rows = [
        [
            unit_name(row.name, row.names),
            *(cell for each in _SIDE_BY_SIDE for cell in _briefly(row, each)),
        ]
        for row in _in_order(report)
    ]
    made_of = [
        {
            each: f"分子 {found.numerator}，分母 {found.denominator}"
            for each, found in row.rates.items()
        }
        for row in _in_order(report)
    ]
    return Table("主要指标，件数为分母", columns, rows, "期间没有数据。", made_of)


def _briefly(row: Row, rate: str) -> tuple[Cell, Cell]:
    found = row.rates[rate]
    return found.value, found.denominator


def _in_order(report: Report) -> list[Row]:
    """Return the rows: days and months as they follow each other, others by rank and then by how much
    they had, with the total last."""
    items = list(report.items)
    if not items or report.asked.by in _IN_TIME:
        return items
    rate, last = report.asked.rate or "on_time", len(items)
    items.sort(
        key=lambda row: (row.rates[rate].rank or last + 1, -row.rates[rate].denominator, row.key)
    )
    return [*items, report.total]


def _charts(report: Report, table: Table) -> Sequence[Chart]:
    """Return a line where the rows follow each other in time, else bars."""
    of = f"{RATES[report.asked.rate].name}（按{BY[report.asked.by]}）"
    look = Look.LINE if report.asked.by in _IN_TIME else Look.BARS
    drawn = [row for row in table.rows if row[1] is not None]
    if not drawn or (look is Look.BARS and len(drawn) > _MOST_BARS):
        return ()
    return (Chart(of, look, 0, 1),)


def calendars(report: Report) -> list[tuple[str, list[Day]]]:
    """Return what a calendar shows of a report by days: how many came in, and how many of those that
    were resolved were so on time."""
    came: list[Day] = []
    on_time: list[Day] = []
    counts = sorted(received(row) for row in report.items)
    # One day of a storm does not make all others pale.
    most = counts[int(len(counts) * 0.95)] if counts else 0
    for row in report.items:
        day, count, rate = date.fromisoformat(row.key), received(row), row.rates["on_time"]
        if count:
            came.append(Day(day, min(ceil(4 * count / max(most, 1)), 4), f"受理 {count} 件"))
        if rate.value is not None:
            told = f"按时办结率 {rate.value:.2%}（{rate.numerator}/{rate.denominator}）"
            on_time.append(Day(day, bisect(_STEPS, rate.value), told))
    return [("受理件数", came), ("按时办结率", on_time)]
