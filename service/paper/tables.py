"""What a bulletin prints, as tables of plain cells: told once for the workbook and for the page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.bulletin import (
    MOST_LATE,
    Bulletin,
    CrowdMatter,
    Figure,
    HotMatter,
    LateTicket,
    received,
)
from service.domain.bulletin import (
    HOT_CASES,
    HOT_RATIO,
    HOT_SCORE,
    LEAST_MONTHS,
    Named,
    Why,
    told_rules,
)
from service.domain.calendar import SHANGHAI
from service.domain.kpi import RATES, Better, Definition, Rate, Row, Weights
from service.domain.ticket import Level, Stage
from service.labels import KINDS, LEVELS, MILESTONES, STAGES
from service.reports import Report


class Format(StrEnum):
    """How a cell is written; what is no text is a number, or None for a dash."""

    TEXT = "text"
    CODE = "code"  # a number or a time that is not broken over lines
    WHOLE = "whole"
    SIGNED = "signed"  # +3
    PERCENT = "percent"  # a share of 1
    SIGNED_PERCENT = "signed_percent"
    POINTS = "points"  # a share of 1 as points of 100
    DECIMAL = "decimal"


Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `width` in Latin characters; columns with the same `group` have one head together;
    `rate` is the one that it shows alone."""

    title: str
    format: Format = Format.TEXT
    width: int = 8
    group: str = ""
    rate: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its name; `empty` is what stands in place of no rows, `made_of` what makes up each
    rate of a row."""

    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    empty: str = "本月没有。"
    made_of: Sequence[Mapping[str, str]] = ()


class Look(StrEnum):
    """How a chart draws."""

    COLUMNS = "columns"  # upright bars
    BARS = "bars"  # lying bars, for long names
    LINE = "line"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of a table of its section: the first column says what, `values` is the column drawn."""

    title: str
    look: Look
    table: int
    values: int


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter of the page and a sheet of the workbook; `sheet_only` is too long to print."""

    title: str
    notes: Sequence[str]
    tables: Sequence[Table]
    charts: Sequence[Chart] = ()
    sheet_only: bool = False


@dataclass(frozen=True, slots=True)
class Paper:
    """A whole bulletin: `mark` stands on every page, "" if it is final."""

    title: str
    subtitle: str
    mark: str
    lead: Sequence[str]
    sections: Sequence[Section]
    version: str
    made_at: datetime
    category: str = "通报"


DASH = "—"
# The rates of the ranking; all of them are in the details.
HEADLINE = ("on_time", "contact", "satisfied", "solved")
_SHOWN_UNITS = 20


def paper(bulletin: Bulletin) -> Paper:
    """Return what a bulletin prints."""
    month = bulletin.wish.month
    as_of = bulletin.wish.as_of
    known = f"{as_of} 终了时所知" if as_of else f"{moment(bulletin.made_at)} 所知"
    sections = [_methods(bulletin)]
    if not bulletin.empty:
        sections = [
            _overview(bulletin),
            _ranking(bulletin),
            _channels_and_kinds(bulletin),
            _late(bulletin),
            _lists(bulletin),
            _hot(bulletin),
            _charts(bulletin),
            _details(bulletin),
            *sections,
        ]
    return Paper(
        f"{bulletin.region_name}{month.label}群众诉求办理情况通报",
        f"{month.first} 至 {month.last}，按 {known}",
        "暂定" if bulletin.provisional else "",
        _lead(bulletin),
        sections,
        bulletin.version,
        bulletin.made_at,
    )


def moment(at: datetime) -> str:
    """Return a time as an office writes it: `2026-11-01 09:30`."""
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


def _figure(bulletin: Bulletin, group: str, key: str) -> Figure | None:
    return next((f for f in bulletin.figures if (f.group, f.key) == (group, key)), None)


def _lead(bulletin: Bulletin) -> list[str]:
    """Return the month in a few sentences."""
    said = [f"暂定：{bulletin.provisional}。"] if bulletin.provisional else []
    name, label = bulletin.region_name, bulletin.wish.month.label
    if bulletin.empty:
        return [*said, f"截至{label}，{name}没有工单，本月无可通报。"]
    came, hand = _figure(bulletin, "total", "received"), _figure(bulletin, "state", "in_hand")
    done = _figure(bulletin, "state", "resolved")
    parts = []
    if came and came.now:
        # Part of a month held against a whole one says nothing.
        against = "" if bulletin.provisional else _against_others(came.now, came)
        parts.append(f"共受理 {came.now} 件{against}")
    elif came:
        parts.append("没有收到工单")
    if done:
        parts.append(f"办结 {done.now} 件次")
    if hand and hand.now is not None:
        parts.append(f"期末在办 {hand.now} 件")
    overdue = [each for each in bulletin.late if each.why is Why.OVERDUE]
    red = sum(card.level is Level.RED for each in bulletin.late for card in each.cards)
    yellow = sum(card.level is Level.YELLOW for each in bulletin.late for card in each.cards)
    more = "以上" if bulletin.late_count > len(bulletin.late) else ""
    assisting = sum(each.assisting for each in overdue)
    of_them = f"（其中协办 {assisting} 项{more}）" if assisting else ""
    parts.append(
        f"期末超期事项 {len(overdue)} 项{more}{of_them}，当月黄牌 {yellow} 次{more}、红牌 {red} 次{more}"
    )
    said.append(f"{label}，{name}{'；'.join(parts)}。")
    rates = bulletin.units.total.rates
    said_of = [
        f"{RATES[each].name} {told(rates[each])}"
        for each in ("completion", *HEADLINE)
        if rates[each].value is not None
    ]
    if said_of:
        said.append(f"{'，'.join(said_of)}。")
    return said


def told(rate: Rate) -> str:
    """Return a rate as it is published: `90.05%（3112/3456）`."""
    value = rate.value
    return DASH if value is None else f"{value * 100:.2f}%（{rate.numerator}/{rate.denominator}）"


def _against_others(now: int, figure: Figure) -> str:
    return _against(now, figure.before, "上月") + _against(now, figure.year_before, "上年同月")


def _against(now: int, then: int | None, called: str) -> str:
    if then is None:
        return ""
    if now == then:
        return f"，与{called}持平"
    share = f"（{abs(now - then) / then * 100:.1f}%）" if then else ""
    return f"，比{called}{'多' if now > then else '少'} {abs(now - then)} 件{share}"


# Overview

_GROUPS = {
    "total": "总数",
    "state": "办理",
    "channel": "渠道",
    "kind": "诉求类型",
    "decision": "派单方式",
}


def _overview(bulletin: Bulletin) -> Section:
    columns = (
        Column("项目", width=12),
        Column("内容", width=36),
        Column("本月", Format.WHOLE, 10),
        Column("上月", Format.WHOLE, 10, "与上月比"),
        Column("增减", Format.SIGNED, 10, "与上月比"),
        Column("增减幅", Format.SIGNED_PERCENT, 10, "与上月比"),
        Column("上年同月", Format.WHOLE, 10, "与上年同月比"),
        Column("增减", Format.SIGNED, 10, "与上年同月比"),
        Column("增减幅", Format.SIGNED_PERCENT, 10, "与上年同月比"),
    )
    rows = [
        (
            _GROUPS[f.group],
            f.name,
            f.now,
            *_compared(f.now, f.before),
            *_compared(f.now, f.year_before),
        )
        for f in bulletin.figures
    ]
    notes = _lead(bulletin)
    if bulletin.provisional:
        notes = [*notes, "本月尚未结束，与上月、上年同月的全月相比。"]
    if bulletin.begun and bulletin.begun > bulletin.wish.month.back(12).first:
        notes = [*notes, f"本地区的工单自 {bulletin.begun} 起，此前没有整月数据的不作比较，记“—”。"]
    return Section("概况", notes, [Table("受理和办理总数", columns, rows)])


def _compared(now: int | None, then: int | None) -> tuple[Cell, Cell, Cell]:
    if now is None or then is None:
        return then, None, None
    return then, now - then, (now - then) / then if then else None


# Units


def change(now: int | None, before: int | None) -> str:
    """Return how a rank has changed: `▲2` for two places up, a dash where one of them is not there."""
    if now is None or before is None:
        return DASH
    return "平" if now == before else f"{'▲' if now < before else '▼'}{abs(now - before)}"


def unit_name(name: str, names: Sequence[str]) -> str:
    """Return a unit with what it was called before."""
    return f"{name}（原{'、'.join(names)}）" if names else name


def _ranking(bulletin: Bulletin) -> Section:
    columns = [
        Column("单位", width=30),
        Column("得分", Format.POINTS, 8, "三率得分"),
        Column("名次", Format.WHOLE, 6, "三率得分"),
        Column("升降", Format.TEXT, 6, "三率得分"),
    ]
    for each in HEADLINE:
        group = RATES[each].name
        columns += [
            Column("率", Format.PERCENT, 9, group),
            Column("件数", Format.WHOLE, 7, group),
            Column("名次", Format.WHOLE, 6, group),
            Column("升降", Format.TEXT, 6, group),
        ]
    rows: list[Sequence[Cell]] = []
    for row in sorted(bulletin.units.items, key=_ranked):
        before = bulletin.before(row)
        cells: list[Cell] = [
            unit_name(row.name, row.names),
            row.score,
            row.score_rank,
            change(row.score_rank, before.score_rank if before else None),
        ]
        for each in HEADLINE:
            rate = row.rates[each]
            was = before.rates[each].rank if before else None
            cells += [rate.value, rate.denominator, rate.rank, change(rate.rank, was)]
        rows.append(cells)
    total = bulletin.units.total
    rows.append(
        [
            "合计",
            total.score,
            None,
            DASH,
            *(
                cell
                for each in HEADLINE
                for cell in (total.rates[each].value, total.rates[each].denominator, None, DASH)
            ),
        ]
    )
    notes = [
        (
            f"件数不足 {bulletin.units.floor} 的列出比率，不排名。升降为与上月名次相比，▲为上升，▼为下降；"
            f"{'上月没有整月的数据，不比较' if bulletin.units_before is None else '两月之一未排名的不比较'}。"
        )
    ]
    return Section("单位排名", notes, [Table("各单位比率和名次", columns, rows)])


def _ranked(row: Row) -> tuple[float, float, float, str]:
    far = 1e9
    on_time = row.rates["on_time"]
    return row.score_rank or far, on_time.rank or far, -on_time.denominator, row.key or "~"


def _channels_and_kinds(bulletin: Bulletin) -> Section:
    shown = ("completion", *HEADLINE, "redone", "repeated")
    columns = [
        Column("", width=30),
        Column("受理", Format.WHOLE, 8),
        *(
            column
            for each in shown
            for column in (
                Column("率", Format.PERCENT, 9, RATES[each].name),
                Column("件数", Format.WHOLE, 7, RATES[each].name),
            )
        ),
    ]

    def table(name: str, title: str, report: Report) -> Table:
        rows = [
            [
                row.name,
                received(row),
                *(
                    cell
                    for each in shown
                    for cell in (row.rates[each].value, row.rates[each].denominator)
                ),
            ]
            for row in (*report.items, report.total)
        ]
        return Table(name, [Column(title, width=30), *columns[1:]], rows)

    return Section(
        "渠道和类型",
        ["件数为该比率的分母。类型为受理时的类型。"],
        [
            table("各渠道", "渠道", bulletin.channels),
            table("各诉求类型", "诉求类型", bulletin.kinds),
        ],
    )


def _details(bulletin: Bulletin) -> Section:
    columns = (
        Column("分组", width=8),
        Column("代码", Format.CODE, 26),
        Column("名称", width=30),
        Column("曾用名", width=20),
        Column("指标", width=14),
        Column("率", Format.PERCENT, 9),
        Column("分子", Format.WHOLE, 8),
        Column("分母", Format.WHOLE, 8),
        Column("下限", Format.PERCENT, 9, "95% 区间"),
        Column("上限", Format.PERCENT, 9, "95% 区间"),
        Column("名次", Format.WHOLE, 6),
        Column("上月名次", Format.WHOLE, 9),
        Column("升降", Format.TEXT, 6),
        Column("未计", width=50),
    )
    rows: list[Sequence[Cell]] = []
    groups: Sequence[tuple[str, Sequence[Row]]] = (
        ("全部", [bulletin.units.total]),
        ("单位", bulletin.units.items),
        ("渠道", bulletin.channels.items),
        ("类型", bulletin.kinds.items),
    )
    for group, found in groups:
        for row in found:
            before = bulletin.before(row) if group == "单位" else None
            for rate in row.rates.values():
                low, high = rate.interval or (None, None)
                was = before.rates[rate.id].rank if before else None
                left = "，".join(f"{each.label} {n}" for each, n in rate.left_out if n)
                head = (group, row.key, row.name, "、".join(row.names), RATES[rate.id].name)
                counts = (rate.value, rate.numerator, rate.denominator, low, high)
                rows.append((*head, *counts, rate.rank, was, change(rate.rank, was), left))
    notes = ["全部指标，与 GET /v1/kpis 和 banjie kpi 同一口径、同一数。"]
    return Section("指标明细", notes, [Table("指标明细", columns, rows)], sheet_only=True)


# Late tickets


def _late(bulletin: Bulletin) -> Section:
    columns = (
        Column("工单编号", Format.CODE, 24),
        Column("标题", width=36),
        Column("责任单位", width=28),
        Column("类型", width=7),
        Column("事项", Format.CODE, 14),
        Column("超期自", Format.CODE, 17),
        Column("程度", width=7),
        Column("当月亮牌", Format.CODE, 22),
        Column("期末", Format.CODE, 10),
    )
    when = moment(bulletin.until)
    notes = [
        (
            f"列期末（{when}）仍超期的事项，和当月被亮黄牌、红牌的工单，按其时的情形，其后办结的仍在列。"
            "责任单位为其时的单位。标题中的号码已隐去，保密件不列标题。"
        )
    ]
    if bulletin.late_count > len(bulletin.late):
        notes.append(f"共 {bulletin.late_count} 项，列最重的 {MOST_LATE} 项。")
    rows = [_late_row(each) for each in bulletin.late]
    return Section("超期和亮牌", notes, [Table("超期和亮牌工单", columns, rows)])


def _late_row(each: LateTicket) -> Sequence[Cell]:
    cards = "\n".join(f"{LEVELS[card.level]} {moment(card.at)}" for card in each.cards)
    return (
        each.no,
        each.title,
        each.unit_name,
        KINDS.get(each.kind, each.kind),
        MILESTONES[each.owed] + ("（协办）" if each.assisting else ""),
        moment(each.due_at) if each.due_at else DASH,
        STAGES[each.stage] if each.stage is not Stage.NORMAL else DASH,
        cards or DASH,
        {Why.OVERDUE: "仍超期", Why.CARDED: "已不超期"}[each.why],
    )


# Lists


def _lists(bulletin: Bulletin) -> Section:
    columns = (
        Column("单位", width=34),
        Column("依据的规则", width=60),
        Column("数据", width=60),
    )

    def table(name: str, found: Sequence[Named], empty: str) -> Table:
        rows = [
            (unit_name(each.name, each.names), why.rule, why.figures)
            for each in found
            for why in each.reasons
        ]
        return Table(name, columns, rows, empty)

    return Section(
        "表扬和批评",
        ["规则由本地设置。符合任何一条批评规则的单位不列入表扬。"],
        [
            table("表扬", bulletin.praised, "本月没有单位符合表扬规则。"),
            table("批评", bulletin.criticised, "本月没有单位符合批评规则。"),
        ],
    )


# Matters

_SORTS = {"line": "事项", "spot": "地点", "town": "乡镇"}


def _hot(bulletin: Bulletin) -> Section:
    columns = (
        Column("类别", Format.CODE, 7),
        Column("名称", width=24),
        Column("本月件数", Format.WHOLE, 9),
        Column("上月件数", Format.WHOLE, 9),
        Column("以往同样天数应有", Format.DECIMAL, 10),
        Column("倍数", Format.DECIMAL, 8),
        Column("增长分", Format.DECIMAL, 8),
        Column("集中于", width=18),
        Column("常见用词", width=24),
        Column("工单举例", Format.CODE, 24),
    )

    def row(each: HotMatter) -> Sequence[Cell]:
        grew = each.growth
        return (
            _SORTS[each.sort],
            each.name,
            each.count,
            each.before,
            grew.expected if grew else None,
            grew.ratio if grew else None,
            grew.score if grew else None,
            each.about or DASH,
            "、".join(each.words) or DASH,
            "\n".join(each.examples),
        )

    crowd_columns = (
        Column("事项", width=12),
        Column("地点", width=24),
        Column("人数", Format.WHOLE, 8),
        Column("工单", Format.WHOLE, 8),
        Column("其中本月", Format.WHOLE, 9),
        Column("起于", Format.CODE, 17),
        Column("首件工单", Format.CODE, 24),
    )

    def crowd(each: CrowdMatter) -> Sequence[Cell]:
        c = each.crowd
        return each.topic, each.place, c.people, c.tickets, c.new, moment(c.first_at), c.no

    enough = bulletin.compared >= LEAST_MONTHS
    notes = [
        f"与此前 {bulletin.compared} 个整月比较。"
        if enough
        else f"此前只有 {bulletin.compared} 个整月的数据，不足 {LEAST_MONTHS} 个，不判断增长。"
    ]
    if bulletin.unread:
        notes.append(f"另有 {bulletin.unread} 件工单尚未归类，不在其内。")
    no_growth = "本月没有明显增长的事项或地点。" if enough else "可比的月份不足，不列。"
    return Section(
        "热点",
        notes,
        [
            Table("增长明显的事项和地点", columns, [row(e) for e in bulletin.hot], no_growth),
            Table("诉求最多的事项", columns, [row(e) for e in bulletin.frequent]),
            Table(
                "群体性诉求",
                crowd_columns,
                [crowd(e) for e in bulletin.crowds],
                "本月没有群体性诉求。",
            ),
        ],
    )


# Charts


def _charts(bulletin: Bulletin) -> Section:
    per_day = [(f"{day.day}日", n) for day, n in bulletin.by_day]
    per_month = [(str(month), n, row.rates["on_time"].value) for month, n, row in bulletin.by_month]
    cases = [row for row in bulletin.units.items if row.key and row.rates["on_time"].denominator]
    ranked = [row for row in cases if row.rates["on_time"].rank]
    shown = ranked if len(ranked) > 2 else cases
    listed = sorted(
        shown,
        key=lambda row: (-(row.rates["on_time"].value or 0), -row.rates["on_time"].denominator),
    )
    units = [(row.name, row.rates["on_time"].value) for row in listed[:_SHOWN_UNITS]]
    of = f"前 {_SHOWN_UNITS} 个" if len(shown) > _SHOWN_UNITS else ""
    which = f"{'排名的' if shown is ranked else '有数据的'}单位{of}"
    return Section(
        "图表",
        [],
        [
            Table(
                "每日受理件数", (Column("日", width=12), Column("受理", Format.WHOLE, 10)), per_day
            ),
            Table(
                "近十二个月",
                (
                    Column("月", width=12),
                    Column("受理", Format.WHOLE, 10),
                    Column("按时办结率", Format.PERCENT, 12),
                ),
                per_month,
            ),
            Table(
                "各单位按时办结率",
                (Column("单位", width=34), Column("按时办结率", Format.PERCENT, 12)),
                units,
            ),
        ],
        [
            Chart("每日受理件数", Look.COLUMNS, 0, 1),
            Chart("近十二个月受理件数", Look.COLUMNS, 1, 1),
            Chart("近十二个月按时办结率", Look.LINE, 1, 2),
            Chart(f"按时办结率（{which}）", Look.BARS, 2, 1),
        ],
    )


# How it was worked out


def _methods(bulletin: Bulletin) -> Section:
    facts: list[Sequence[Cell]] = [
        ("地区", f"{bulletin.region_name} {bulletin.wish.region}".strip()),
        (
            "期间",
            f"{bulletin.wish.month.first} 至 {bulletin.wish.month.last}，首末日均计，北京时间",
        ),
        (
            "数据截止",
            f"按 {bulletin.wish.as_of} 终了时所知，以后再制作数不变"
            if bulletin.wish.as_of
            else "按制作时所知；其后补录、更正会使数变动，用 --as-of 可按某日所知再制作",
        ),
        ("是否暂定", bulletin.provisional or "否，期间已结束"),
        ("制作时间", moment(bulletin.made_at)),
        ("程序版本", bulletin.version),
        ("规则版本", f"{bulletin.rulebook}（制作时；各工单按受理时的规则办理）"),
        (
            "增减",
            "与上月、上年同月的数均按本通报的数据截止。没有数据的记“—”，不作零。",
        ),
        (
            "在办",
            "期末尚待答复的工单：已受理、待派单、待签收、办理中、挂起；按期末当日所知。",
        ),
        (
            "办结、结案",
            "当月发生的次数；重办后再次办结的另计一次。",
        ),
        (
            "区间",
            "95% 威尔逊（Wilson）区间：件数越少，比率越不确定，区间越宽。见“指标明细”。",
        ),
        (
            "名次",
            f"件数不少于 {bulletin.units.floor} 的比率才排名；相同的并列。率低为好的指标，低者在前。",
        ),
        ("三率得分", _weights(bulletin.units.weights)),
        (
            "改名、合并的单位",
            "列为一行，用现名，附原名；原单位的数一并计入。",
        ),
        (
            "超期和亮牌",
            (
                "按考核时钟，计主办单位；期末是否超期看其时的记录，以后办结不改变。其后因重新计算而移动的到期日，"
                "按现在的到期日。"
            ),
        ),
        *(
            (f"名单规则：{_GROUNDS[ground]}", said)
            for ground, said in told_rules(bulletin.rules).items()
        ),
        (
            "热点",
            (
                "事项按工单的条线，地点、乡镇按工单所写的名称，一件工单可计入多处。应有件数＝此前 3 至 12 个整月的日均"
                "件数×本月天数；增长分＝2（√(本月件数＋3/8)－√(应有件数＋3/8)）÷√(φ(1＋本月天数÷以往天数))，φ 为以往各月"
                f"起伏超出随机的倍数，不小于 1。件数不少于 {HOT_CASES}、倍数不低于 {HOT_RATIO:g}、增长分不低于"
                f" {HOT_SCORE:g} 的列入。按现存归类。"
            ),
        ),
    ]
    return Section(
        "口径说明",
        [],
        [
            Table("本通报的依据", (Column("项目", width=22), Column("说明", width=110)), facts),
            definitions(RATES.values()),
        ],
    )


def definitions(rates: Iterable[Definition]) -> Table:
    """Return what rates are made of."""
    columns = (
        Column("指标", width=14),
        Column("分子", width=30),
        Column("分母", width=34),
        Column("不计", width=30),
        Column("归入哪日", width=14),
        Column("何者为好", width=9),
        Column("定义来源", width=40),
    )
    rows = [
        (
            each.name,
            each.numerator,
            each.denominator,
            "；".join(out.label for out in each.left_out) or "无",
            each.day,
            {Better.HIGH: "高者", Better.LOW: "低者"}[each.better],
            each.source,
        )
        for each in rates
    ]
    return Table("各指标的定义", columns, rows)


_GROUNDS: Mapping[str, str] = {
    "well": "表扬",
    "late": "批评（按时办结率）",
    "red": "批评（红牌）",
    "back_refused": "批评（退单）",
}


def _weights(weights: Weights) -> str:
    return (
        f"响应（首次联系率）×{weights.response:g}＋（满意＋{weights.basically:g}×基本满意）×"
        f"{weights.satisfied:g}＋解决×{weights.solved:g}，满分 100；三项之一没有数据的不计分，之一件数不足的不排名。"
    )
