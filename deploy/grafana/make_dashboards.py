"""The dashboards (看板): Grafana's JSON, made of the tables of rates, stages and labels.

    PYTHONPATH=deploy/prometheus python deploy/grafana/make_dashboards.py

writes dashboards/*.json beside it. Only panel types and options that Grafana has had for years. Every
replica shows the same figures about tickets, so `counted` takes the greatest of them and never adds
replicas up; requests alone are counted by each process and are added.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from make_rules import JOB, LEVELS, WATCHED, WEIGHTS
from make_rules import SERIES as TOTALS

from service.domain.complaint import Decision
from service.domain.kpi import RATES, Better
from service.domain.lifecycle import FINISHED, State
from service.domain.ticket import DeliveryState, MilestoneKind, Stage
from service.labels import DECISIONS, DELIVERY_STATES, KINDS, MILESTONES, STAGES, STATES

FOLDER = Path(__file__).parent / "dashboards"
CHANNELS: Mapping[str, str] = {
    source["channel"]: source["label"]
    for source in yaml.safe_load(
        (Path(__file__).parents[2] / "adapters" / "sources.yaml").read_text("utf-8")
    ).values()
}

# What every channel aims at that has no share of its own: the threshold of rates on time.
_OBJECTIVES = Path(__file__).parents[1] / "prometheus" / "objectives.yml"
(OBJECTIVE,) = (
    float(share)
    for share in re.findall(
        r"^ +([\d.]+) \* group by \(region, channel\) \(\S+:cases_total\)$",
        _OBJECTIVES.read_text("utf-8"),
        re.MULTILINE,
    )
)

Json = dict[str, Any]

# What the pinned Grafana writes itself (compose.yaml).
SCHEMA = 42
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24

# The desk's colours (service/web/static/desk.css). There overdue and the red card share one red and
# differ by their ground; lines and bars have no ground, so here overdue is a lighter one.
STAGE_COLOURS: Mapping[Stage, str] = {
    Stage.NORMAL: "#1a6236",
    Stage.WARN: "#d99400",
    Stage.OVERDUE: "#d64550",
    Stage.YELLOW: "#ffe27a",
    Stage.RED: "#a31218",
}
BLUE = "#1f4e8c"
GOOD, POOR, BAD = (STAGE_COLOURS[s] for s in (Stage.NORMAL, Stage.WARN, Stage.OVERDUE))

# The labels of each series that is read here; a test holds them against /metrics.
SERIES: Mapping[str, tuple[str, ...]] = {
    **TOTALS,
    "banjie_tickets_open": ("region", "unit", "state"),
    "banjie_milestones_open": ("region", "unit", "milestone", "stage"),
    "banjie_tickets_closed_total": ("region", "unit", "channel", "kind"),
    "banjie_sendbacks_total": ("region", "unit", "upheld"),
    "banjie_extensions_total": ("region", "unit", "decision"),
    "banjie_oldest_overdue_seconds": ("region", "unit"),
    "banjie_calendar_days_left": (),
    "banjie_scheduler_lag_seconds": (),
    "banjie_source_last_success_seconds": ("source",),
    "banjie_source_failures": ("source",),
    "banjie_source_rejected_rows": ("source",),
    "banjie_deliveries": ("state",),
    "banjie_outbox_oldest_seconds": (),
}

# Queries


def series(name: str, where: str = "") -> str:
    """Return what selects a series of the service."""
    return f"{name}{{{JOB}, {where}}}" if where else f"{name}{{{JOB}}}"


def counted(name: str, where: str = "", by: str = "", each: str = "{}", how: str = "sum") -> str:
    """Return a sum by some labels, of each series the greatest of the replicas. `each` is what is made
    of a replica's series before."""
    labels = SERIES[name]
    found = each.format(series(name, where))
    if not labels:
        return f"max({found})"
    one = f"max by ({', '.join(labels)}) ({found})"
    return f"{how} by ({by}) ({one})" if by else f"{how}({one})"


def added(name: str, where: str, by: str = "") -> str:
    """Return by how much a total rose within each point's interval: whole numbers, and two samples read
    where `increase` reads them all. What appears within it counts from 0, unless nothing was known
    before: an old system does not count as new."""
    total = counted(name, where, by)
    before = counted(name, where, by, "{} offset $__interval")
    return f"clamp_min({total} - ({before} or 0 * {total} and on () {before}), 0)"


def or_none(query: str) -> str:
    """Return the query, with 0 where there is nothing of the kind, as long as the service answers."""
    answers = counted("banjie_calendar_days_left")
    return f"{query} or on () 0 * {answers}"


def _recorded(level: str, what: str, rates: Iterable[str], where: str) -> str:
    """Return the recorded counts of some rates, with the rate as a label."""
    wanted = f"{level}:banjie_({'|'.join(rates)}):{what}_${{window}}"
    return (
        f'label_replace({{__name__=~"{wanted}", {where}}}, '
        f'"rate", "$1", "__name__", "{level}:banjie_(.+):{what}_.+")'
    )


def cases(level: str, where: str, rates: Iterable[str], by: str = "rate") -> str:
    """Return how many cases each rate has."""
    return f"sum by ({by}) ({_recorded(level, 'cases', rates, where)})"


def ratio(level: str, where: str, rates: Sequence[str], by: str = "rate") -> str:
    """Return rates, 0 to 1, over all that is selected; nothing where there are too few cases."""
    over = cases(level, where, rates, by)
    return f"sum by ({by}) ({_recorded(level, 'counted', rates, where)}) / ({over} >= $floor)"


def named(query: str) -> str:
    """Return figures by unit with the unit's name beside its code."""
    return f"({query}) * on (unit) group_left (name) unit:banjie_name:info"


# Panels


def steps(*pairs: tuple[float | None, str]) -> Json:
    """Return thresholds: from which value on which colour, the first one from the bottom."""
    return {"mode": "absolute", "steps": [{"value": v, "color": c} for v, c in pairs]}


def above(least: float, colour: str = BAD, base: str = GOOD) -> Json:
    """Return the threshold from which on something is wrong."""
    return steps((None, base), (least, colour))


def marked(least: float, colour: str = BAD, below: str = "transparent") -> Json:
    """Return what gives the cells of a column a ground from a value on, or below it."""
    ground = {"type": "color-background", "mode": "basic"}
    return {
        "thresholds": above(least, colour, below),
        "custom.cellOptions": ground,
    }


PLAIN = steps((None, BLUE))
# Below what is aimed at something is wrong.
AIMED = steps((None, BAD), (OBJECTIVE, GOOD))


def target(query: str, legend: str = "", **more: Any) -> Json:
    """Return one query of a panel, for a line in time unless told otherwise."""
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query,
        "legendFormat": legend or "__auto",
        "range": True,
        **more,
    }


def now(query: str, legend: str = "", **more: Any) -> Json:
    """Return one query for the value of this moment."""
    return target(query, legend, range=False, instant=True, **more)


def look(name: str, label: str = "", colour: str = "", **properties: Any) -> Json:
    """Return how one series or column looks that differs from the rest."""
    found: list[Json] = [{"id": key, "value": value} for key, value in properties.items()]
    if label:
        found.append({"id": "displayName", "value": label})
    if colour:
        found.append({"id": "color", "value": {"mode": "fixed", "fixedColor": colour}})
    return {"matcher": {"id": "byName", "options": name}, "properties": found}


def looks(labels: Mapping[Any, str], colours: Mapping[Any, str] | None = None) -> list[Json]:
    """Return the Chinese name, and the colour if it has one, of each series of a table of labels."""
    chosen = colours or {}
    return [look(str(key), label, chosen.get(key, "")) for key, label in labels.items()]


def mapped(labels: Mapping[str, str]) -> list[Json]:
    """Return what a cell shows in place of a code."""
    return [{"type": "value", "options": {key: {"text": text} for key, text in labels.items()}}]


def panel(
    kind: str,
    title: str,
    description: str,
    targets: Json | Sequence[Json],
    *,
    unit: str = "short",
    size: tuple[int, int] = (12, 8),
    thresholds: Json = PLAIN,
    overrides: Iterable[Json] = (),
    none: str = "暂无数据",
    options: Json | None = None,
    custom: Json | None = None,
    links: Iterable[Json] = (),
    transformations: Iterable[Json] = (),
    interval: str = "",
    **defaults: Any,
) -> Json:
    """Return a panel, not placed yet: `size` is its width in columns and its height."""
    listed = [targets] if isinstance(targets, dict) else targets
    share = {"min": 0, "max": 1, "decimals": 1} if unit == "percentunit" else {"min": 0}
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"w": size[0], "h": size[1]},
        "targets": [{"refId": chr(ord("A") + n), **each} for n, each in enumerate(listed)],
        "options": options or {},
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "noValue": none,
                "color": {"mode": "thresholds"},
                "thresholds": thresholds,
                "links": list(links),
                **share,
                **({"custom": custom} if custom else {}),
                **defaults,
            },
            "overrides": list(overrides),
        },
        "transformations": list(transformations),
        **({"interval": interval} if interval else {}),
    }


_LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}


def stat(title: str, description: str, query: str, **more: Any) -> Json:
    """Return one large figure of this moment."""
    options = {
        "reduceOptions": _LAST,
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "textMode": "auto",
        "orientation": "auto",
    }
    return panel(
        "stat", title, description, now(query), **{"size": (4, 4), "options": options} | more
    )


def lines(
    title: str,
    description: str,
    targets: Json | Sequence[Json],
    *,
    stacked: bool = False,
    bars: bool = False,
    thresholds: Json | None = None,
    **more: Any,
) -> Json:
    """Return figures in time. Thresholds are drawn as dashed lines."""
    custom: Json = {
        "drawStyle": "bars" if bars else "line",
        "lineWidth": 1 if stacked else 2,
        "fillOpacity": 60 if stacked else 0,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if thresholds else "off"},
    }
    options = {
        "legend": {
            "displayMode": "table",
            "placement": "right",
            "showLegend": True,
            "calcs": ["lastNotNull"],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel(
        "timeseries",
        title,
        description,
        targets,
        thresholds=thresholds or PLAIN,
        **{"custom": custom, "options": options, "color": {"mode": "palette-classic"}} | more,
    )


def bars(title: str, description: str, query: str, legend: str, **more: Any) -> Json:
    """Return one bar for each series, of this moment."""
    options = {
        "reduceOptions": _LAST,
        "orientation": "horizontal",
        "displayMode": "basic",
        "showUnfilled": True,
        "valueMode": "color",
        "namePlacement": "left",
        "sizing": "auto",
    }
    return panel("bargauge", title, description, now(query, legend), options=options, **more)


def table(
    title: str,
    description: str,
    columns: Sequence[tuple[str, str, Json]],
    rows: Sequence[tuple[str, str]],
    *,
    sort: str = "",
    overrides: Iterable[Json] = (),
    **more: Any,
) -> Json:
    """Return a table: `rows` are the labels that make a row, with their heads; `columns` a head, a query
    and how it looks, each."""
    value = [f"Value #{chr(ord('A') + n)}" for n in range(len(columns))]
    if len(columns) == 1:
        value = ["Value"]
    shown = [name for name, _ in rows] + value
    heads = [look(name, head) for name, head in rows]
    heads += [look(v, head, **how) for v, (head, _, how) in zip(value, columns, strict=True)]
    transformations = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True},
                "indexByName": {name: n for n, name in enumerate(shown)},
                "renameByName": {},
            },
        },
    ]
    return panel(
        "table",
        title,
        description,
        [now(query, format="table") for _, query, _ in columns],
        overrides=[*heads, *overrides],
        transformations=transformations,
        options={
            "showHeader": True,
            "cellHeight": "sm",
            "sortBy": [{"displayName": sort, "desc": True}] if sort else [],
        },
        custom={"align": "auto", "cellOptions": {"type": "auto"}, "filterable": False},
        **more,
    )


def link(title: str, url: str) -> Json:
    """Return a link of a figure, opened beside the dashboard."""
    return {"title": title, "url": url, "targetBlank": True}


def desk(title: str, path: str) -> Json:
    """Return a link to a page of the desk (工作台)."""
    return link(title, f"${{desk:raw}}{path}")


def of_series(label: str) -> str:
    """Return what fills in a label of the series that a link stands at."""
    return f"${{__field.labels.{label}}}"


def figures(rate: str = "", by: str = "unit") -> Json:
    """Return a link to the rates of this month on the desk (指标): one of them, or the main ones."""
    one = f"&rate={rate}" if rate else ""
    return desk("工作台：本月指标", f"/desk/figures?by={by}{one}")


# Dashboards


def variable(name: str, label: str, kind: str, query: str | Json, **more: Any) -> Json:
    """Return a variable of a dashboard."""
    return {"name": name, "label": label, "type": kind, "query": query, **more}


def asked(name: str, label: str, query: str, *, every: bool, **more: Any) -> Json:
    """Return a variable whose values Prometheus tells, with a choice of all if `every`."""
    chosen = {"text": "全部", "value": "$__all"} if every else {}
    return variable(
        name,
        label,
        "query",
        {"query": query, "refId": "StandardVariableQuery"},
        datasource=DATASOURCE,
        refresh=2,
        sort=1,
        includeAll=every,
        multi=False,
        **({"allValue": ".+", "current": chosen} if every else {}),
        **more,
    )


def choice(name: str, label: str, values: Mapping[str, str]) -> Json:
    """Return a variable with values of our own, the first one chosen."""
    options = [
        {"text": text, "value": value, "selected": n == 0}
        for n, (value, text) in enumerate(values.items())
    ]
    query = ", ".join(f"{text} : {value}" for value, text in values.items())
    return variable(
        name,
        label,
        "custom",
        query,
        options=options,
        current=options[0],
        includeAll=False,
        multi=False,
    )


REGION = asked("region", "地区", "label_values(banjie_tickets_received_total, region)", every=True)
UNIT = asked(
    "unit",
    "单位",
    'query_result(unit:banjie_name:info{unit=~".+"})',
    every=False,
    # Prometheus writes labels in the order of their names.
    regex='/name="(?<text>[^"]+)".*unit="(?<value>[^"]+)"/',
)
CHANNEL = asked(
    "channel",
    "渠道",
    'label_values(banjie_tickets_received_total{region=~"$region"}, channel)',
    every=False,
)
WINDOW = choice("window", "统计时段", {"30d": "近 30 天", "1d": "近 24 小时"})
# Ten as the alerts have it (objectives.yml), thirty as the ranks do (BANJIE_RANK_FLOOR).
FLOOR = choice("floor", "最少件数", {"10": "10 件", "30": "30 件", "1": "不限"})
_ALWAYS = (
    variable("datasource", "数据源", "datasource", "prometheus", regex="", refresh=1),
    variable(
        "desk",
        "工作台地址",
        "textbox",
        "http://127.0.0.1:8000",
        current={"text": "http://127.0.0.1:8000", "value": "http://127.0.0.1:8000"},
        description="链接所去的工作台，不带末尾的斜线",
    ),
)


def row(title: str) -> Json:
    """Return the head of a group of panels."""
    return {
        "type": "row",
        "title": title,
        "collapsed": False,
        "panels": [],
        "gridPos": {"w": COLUMNS, "h": 1},
    }


def placed(panels: Iterable[Json]) -> list[Json]:
    """Return the panels with their places, from left to right and line by line."""
    found: list[Json] = []
    x = y = line = 0
    for number, each in enumerate(panels, 1):
        size = each["gridPos"]
        if x + size["w"] > COLUMNS:
            x, y, line = 0, y + line, 0
        found.append({"id": number, **each, "gridPos": {**size, "x": x, "y": y}})
        x, line = x + size["w"], max(line, size["h"])
    return found


def dashboard(
    uid: str, title: str, description: str, variables: Sequence[Json], panels: Iterable[Json]
) -> Json:
    """Return a dashboard."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["banjie"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "Asia/Shanghai",
        "weekStart": "monday",
        "refresh": "1m",
        "time": {"from": "now-7d", "to": "now"},
        "annotations": {"list": []},
        "templating": {"list": [*variables, *_ALWAYS]},
        "links": [
            {
                "type": "dashboards",
                "title": "看板",
                "tags": ["banjie"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            },
            {
                "type": "link",
                "title": "工作台",
                "url": "${desk:raw}/desk",
                "tags": [],
                "asDropdown": False,
                "includeVars": False,
                "keepTime": False,
                "targetBlank": True,
                "icon": "external link",
                "tooltip": "办结工作台，需登录",
            },
        ],
        "panels": placed(panels),
    }


# What several dashboards show

IN_REGION = 'region=~"$region"'
OF_UNIT = 'region=~"$region", unit="$unit"'
OF_CHANNEL = 'region=~"$region", channel="$channel"'
_FEW = "件数不足"
_MILESTONES = (
    "只计主办单位、起作用的时限，挂起的不算超期。阶段：临期为到提醒时间，超期为过到期时间，"
    "黄牌、红牌为已发牌。一件工单有几项时限时各算一项。"
)
_COUNTED = "由 Prometheus 按发生时间统计；考核以 banjie kpi 为准，两者的差别见 docs/monitoring.md。"
_STAGE_TITLES = {
    Stage.WARN: "过了提醒时间、尚未到期",
    Stage.OVERDUE: "过了到期时间、尚未发牌",
    Stage.YELLOW: "已发黄牌、仍未完成",
    Stage.RED: "已发红牌、仍未完成",
}


_SCORE = (
    f"近 30 天：首次联系率 × {WEIGHTS.response} +（4、5 分 + {WEIGHTS.basically} × 3 分）的比率 × "
    f"{WEIGHTS.satisfied} + 解决率 × {WEIGHTS.solved}。解决率的件数少于“最少件数”的不显示。{_COUNTED}"
)


def definition(rate: str) -> str:
    """Return the definition of a rate in a sentence, from the table that it is counted by."""
    each = RATES[rate]
    return f"{each.name}：{each.numerator} ÷ {each.denominator}（按{each.day}）"


def stages_now(where: str, to: str) -> list[Json]:
    """Return a figure for each stage that wants attention, in the stage's colour."""
    return [
        stat(
            STAGES[stage],
            f"{STAGES[stage]}的时限项数：{_STAGE_TITLES[stage]}。{_MILESTONES}",
            or_none(counted("banjie_milestones_open", f'{where}, stage="{stage}"')),
            thresholds=above(1, STAGE_COLOURS[stage]),
            decimals=0,
            links=[desk(f"工作台：{STAGES[stage]}的工单", f"{to}stage={stage}")],
        )
        for stage in _STAGE_TITLES
    ]


def stages_in_time(where: str, to: str) -> Json:
    """Return what is owed in time, by stage."""
    return lines(
        "时限阶段",
        f"尚未完成的时限项数，按阶段堆叠。{_MILESTONES}",
        target(counted("banjie_milestones_open", where, "stage"), "{{stage}}"),
        stacked=True,
        decimals=0,
        overrides=looks(STAGES, STAGE_COLOURS),
        links=[desk("工作台：该阶段的工单", f"{to}stage={of_series('stage')}")],
    )


_RATE_NAMES = {each.id: each.name for each in RATES.values()}


def known(level: str, rates: Iterable[str]) -> list[str]:
    """Return those of some rates that are recorded on a level."""
    known = set(LEVELS[level])
    return [rate for rate in rates if known <= set(LEVELS[WATCHED[rate].level])]


def rate_table(level: str, where: str, better: Better) -> Json:
    """Return the rates of which the higher, or the lower, is the better, with their cases."""
    chosen = [RATES[rate] for rate in known(level, RATES) if RATES[rate].better is better]
    rates = [each.id for each in chosen]
    which = {Better.HIGH: "越高越好", Better.LOW: "越低越好"}[better]
    return table(
        f"指标（{which}）",
        "；".join(definition(each.id) for each in chosen)
        + f"。件数为分母；少于“最少件数”的不显示比率。{_COUNTED}",
        [
            ("件数", cases(level, where, rates), {"unit": "short", "decimals": 0}),
            ("比率", ratio(level, where, rates), {"unit": "percentunit", "decimals": 1}),
        ],
        [("rate", "指标")],
        sort="件数",
        unit="percentunit",
        none=_FEW,
        size=(12, 9),
        overrides=[look("rate", mappings=mapped(_RATE_NAMES))],
        links=[figures()],
    )


def rates_in_time(level: str, where: str, title: str, rates: Sequence[str]) -> Json:
    """Return some rates in time, those that are recorded on this level."""
    shown = known(level, rates)
    aimed = f"虚线为{RATES['on_time'].name}的目标。" if "on_time" in shown else ""
    return lines(
        title,
        "；".join(definition(rate) for rate in shown)
        + f"。每一点是此前一个统计时段的比率，少于“最少件数”的不画。{aimed}{_COUNTED}",
        target(ratio(level, where, shown), "{{rate}}"),
        unit="percentunit",
        none=_FEW,
        overrides=looks({rate: _RATE_NAMES[rate] for rate in shown}),
        thresholds=AIMED if aimed else None,
        links=[figures(of_series("rate"))],
    )


_PROMPT = ("on_time", "sign", "contact", "called_back")
_HEARD = ("solved", "satisfied", "rectified")
_ROUTED = ("first_right", "sent_back", "redispatched", "redone", "extended", "repeated")
_OPEN_STATES = {state: STATES[state] for state in State if state not in FINISHED}


def open_by_state(where: str, to: str) -> Json:
    """Return the tickets that are not finished, by state."""
    return lines(
        "在办工单",
        "尚未结案的工单，按状态堆叠，计主办单位。",
        target(counted("banjie_tickets_open", where, "state"), "{{state}}"),
        stacked=True,
        decimals=0,
        overrides=looks(_OPEN_STATES),
        links=[desk("工作台：该状态的工单", f"{to}state={of_series('state')}")],
    )


def happened(title: str, description: str, name: str, where: str, by: str, **more: Any) -> Json:
    """Return what was counted in each interval, as bars."""
    return lines(
        title,
        f"{description}每一格为一段时间内的件数，格的长短随所选时间范围，最短一小时。",
        target(or_none(added(name, where, by)), f"{{{{{by}}}}}"),
        stacked=True,
        bars=True,
        interval="1h",
        **{"decimals": 0} | more,
    )


def overview() -> Json:
    """Return the dashboard of a region (地区总览)."""
    units: list[tuple[str, str, Json]] = [
        ("在办", counted("banjie_tickets_open", IN_REGION, "unit"), {"decimals": 0}),
        *(
            (
                STAGES[stage],
                counted("banjie_milestones_open", f'{IN_REGION}, stage="{stage}"', "unit"),
                {
                    "decimals": 0,
                    **marked(1, STAGE_COLOURS[stage]),
                    "links": [
                        desk(
                            f"工作台：{STAGES[stage]}的工单",
                            f"/desk/queue?unit=${{__data.fields.unit}}&stage={stage}",
                        )
                    ],
                },
            )
            for stage in _STAGE_TITLES
        ),
        (
            "最久超期",
            counted("banjie_oldest_overdue_seconds", IN_REGION, "unit", how="max"),
            {"unit": "s", "decimals": 1, **marked(1)},
        ),
        (
            "办结到期件数",
            cases("region_unit", IN_REGION, ["on_time"], "unit"),
            {"decimals": 0},
        ),
        (
            RATES["on_time"].name,
            ratio("region_unit", IN_REGION, ["on_time"], "unit"),
            {
                "unit": "percentunit",
                "decimals": 1,
                **marked(OBJECTIVE, "transparent", BAD),
                "links": [figures("on_time")],
            },
        ),
    ]
    return dashboard(
        "banjie-region",
        "办结 · 地区总览",
        "一个地区（或全部地区）的受理、在办、时限和考核指标，以及各单位的情况。",
        [REGION, WINDOW, FLOOR],
        [
            row("现在"),
            stat(
                "在办工单",
                "尚未结案的工单，含待人工派单的。",
                or_none(counted("banjie_tickets_open", IN_REGION)),
                thresholds=PLAIN,
                decimals=0,
                links=[desk("工作台：总览", "/desk/overview")],
            ),
            stat(
                "待人工派单",
                "依据不足、由人决定承办单位的工单（状态“待人工派单”）。",
                or_none(counted("banjie_tickets_open", f'{IN_REGION}, state="{State.SORTING}"')),
                thresholds=above(1, POOR),
                decimals=0,
                links=[desk("工作台：人工派单", "/desk/sorting")],
            ),
            *stages_now(IN_REGION, "/desk/tickets?"),
            row("考核指标"),
            rate_table("region", IN_REGION, Better.HIGH),
            rate_table("region", IN_REGION, Better.LOW),
            rates_in_time("region", IN_REGION, "时限指标", _PROMPT),
            rates_in_time("region", IN_REGION, "满意和解决", _HEARD),
            rates_in_time("region", IN_REGION, "派单质量", _ROUTED),
            bars(
                "三率得分（按地区）",
                _SCORE,
                f"region:banjie_score:ratio_30d{{{IN_REGION}}}"
                f" and on (region) region:banjie_solved:cases_30d >= $floor",
                "{{region}}",
                unit="percentunit",
                none=_FEW,
                links=[desk("工作台：总览，内有各月通报", "/desk/overview")],
            ),
            row("受理和在办"),
            happened(
                "受理量（按渠道）",
                "受理的工单，按渠道堆叠。",
                "banjie_tickets_received_total",
                IN_REGION,
                "channel",
                overrides=looks(CHANNELS),
                links=[
                    desk("工作台：该渠道的工单", f"/desk/tickets?channel={of_series('channel')}")
                ],
            ),
            happened(
                "受理量（按派单方式）",
                "受理的工单，按自动派单、人工派单、不予受理、转紧急专线堆叠。",
                "banjie_tickets_received_total",
                IN_REGION,
                "decision",
                overrides=looks(DECISIONS),
                links=[desk("工作台：最近受理的工单", "/desk/tickets")],
            ),
            open_by_state(IN_REGION, "/desk/tickets?"),
            stages_in_time(IN_REGION, "/desk/tickets?"),
            row("各单位"),
            table(
                "各单位情况",
                f"在办和各阶段为现在的数，指标为所选统计时段的。{definition('on_time')}。{_MILESTONES}"
                "点单位名称看该单位的看板或队列。",
                [(head, named(query), how) for head, query, how in units],
                [("name", "单位"), ("unit", "代码")],
                sort=STAGES[Stage.OVERDUE],
                size=(24, 12),
                none="",
                overrides=[
                    look(
                        "name",
                        links=[
                            {
                                "title": "单位看板",
                                "url": "/d/banjie-unit?var-unit=${__data.fields.unit}"
                                "&${region:queryparam}&${window:queryparam}&${floor:queryparam}"
                                "&${datasource:queryparam}&${desk:queryparam}&${__url_time_range}",
                                "targetBlank": False,
                            },
                            desk("工作台：单位队列", "/desk/queue?unit=${__data.fields.unit}"),
                        ],
                    )
                ],
            ),
            row("告警"),
            *alerts(),
        ],
    )


def alerts() -> list[Json]:
    """Return what Prometheus's rules say is wrong."""
    return [
        stat(
            "正在告警",
            "Prometheus 告警规则（deploy/prometheus/alerts.yml）中正在触发的条数，全部地区。",
            'count(ALERTS{alertname=~"Banjie.+", alertstate="firing"}) or on () vector(0)',
            thresholds=above(1),
            decimals=0,
        ),
        bars(
            "告警明细",
            "正在触发的告警，按级别和规则名称，全部地区；没有时显示“无告警”。内容见 Grafana 的“告警”页，"
            "处置见 docs/runbooks/ 中同名的一页。",
            'count by (severity, alertname) (ALERTS{alertname=~"Banjie.+", alertstate="firing"})'
            ' or on () label_replace(vector(0), "alertname", "无告警", "", "")',
            "{{severity}} {{alertname}}",
            thresholds=above(1),
            decimals=0,
            size=(20, 6),
        ),
    ]


def unit() -> Json:
    """Return the dashboard of one unit (单位)."""
    return dashboard(
        "banjie-unit",
        "办结 · 单位",
        "一个单位的在办工单、时限阶段和考核指标。",
        [REGION, UNIT, WINDOW, FLOOR],
        [
            row("现在"),
            stat(
                "在办工单",
                "由该单位主办、尚未结案的工单。",
                or_none(counted("banjie_tickets_open", OF_UNIT)),
                thresholds=PLAIN,
                decimals=0,
                links=[desk("工作台：单位队列", "/desk/queue?unit=${unit}")],
            ),
            *stages_now(OF_UNIT, "/desk/queue?unit=${unit}&"),
            stat(
                "最久超期",
                "该单位超期最久的一项时限已超期多久（自然时间）。",
                or_none(counted("banjie_oldest_overdue_seconds", OF_UNIT, how="max")),
                unit="s",
                thresholds=above(1),
                decimals=1,
                links=[desk("工作台：单位队列", "/desk/queue?unit=${unit}")],
            ),
            row("考核指标"),
            rate_table("region_unit", OF_UNIT, Better.HIGH),
            rate_table("region_unit", OF_UNIT, Better.LOW),
            rates_in_time("region_unit", OF_UNIT, "时限指标", _PROMPT),
            rates_in_time("region_unit", OF_UNIT, "满意和解决", _HEARD),
            rates_in_time("region_unit", OF_UNIT, "派单质量", _ROUTED),
            row("在办和办理"),
            open_by_state(OF_UNIT, "/desk/queue?unit=${unit}&"),
            stages_in_time(OF_UNIT, "/desk/queue?unit=${unit}&"),
            bars(
                "时限项数（按事项）",
                f"尚未完成的时限项数，按签收、首次联系、办结、回访。{_MILESTONES}",
                or_none(counted("banjie_milestones_open", OF_UNIT, "milestone")),
                "{{milestone}}",
                overrides=looks({str(k): MILESTONES[k] for k in MilestoneKind}),
                decimals=0,
                links=[desk("工作台：单位队列", "/desk/queue?unit=${unit}")],
            ),
            happened(
                "结案量",
                "由该单位主办并结案的工单，按渠道堆叠。",
                "banjie_tickets_closed_total",
                OF_UNIT,
                "channel",
                overrides=looks(CHANNELS),
                links=[
                    desk(
                        "工作台：该渠道已结案的工单",
                        f"/desk/tickets?unit=${{unit}}&state={State.CLOSED}"
                        f"&channel={of_series('channel')}",
                    )
                ],
            ),
            happened(
                "退单",
                "该单位退回、已有结果的，按退单是否成立堆叠（成立即改派给其他单位）。",
                "banjie_sendbacks_total",
                OF_UNIT,
                "upheld",
                overrides=looks({"true": "成立", "false": "不成立"}),
                links=[figures("sent_back")],
            ),
            happened(
                "延期审批",
                "该单位申请延期、已审批的，按结果堆叠。",
                "banjie_extensions_total",
                OF_UNIT,
                "decision",
                overrides=looks({"granted": "同意", "refused": "不同意"}),
                links=[figures("extended")],
            ),
            happened(
                "回访评分",
                "对该单位主办工单的回访，按评分堆叠；无评分的是未联系上或未作答。",
                "banjie_callbacks_total",
                OF_UNIT,
                "grade",
                overrides=looks({str(n): f"{n} 分" for n in range(1, 6)}),
                links=[figures("satisfied")],
            ),
        ],
    )


def _in_a_day(where: str) -> str:
    """Return how many tickets were received within a day; asked for one moment only."""
    return f"round({counted('banjie_tickets_received_total', where, each='increase({}[1d])')})"


# No page has the time that tickets took by channel; each ticket's own page has its own.
_RESOLVED = desk(
    "工作台：该渠道已办结的工单", f"/desk/tickets?channel=${{channel}}&state={State.RESOLVED}"
)


def channel() -> Json:
    """Return the dashboard of one channel (渠道)."""
    return dashboard(
        "banjie-channel",
        "办结 · 渠道",
        "一个渠道的受理、派单方式、按时办结率和办理用时。",
        [REGION, CHANNEL, WINDOW, FLOOR],
        [
            row("概况"),
            stat(
                "近 24 小时受理",
                "该渠道近 24 小时受理的工单。",
                or_none(f"sum(channel:banjie_received:cases_1d{{{OF_CHANNEL}}})"),
                thresholds=PLAIN,
                decimals=0,
                links=[desk("工作台：该渠道的工单", "/desk/tickets?channel=${channel}")],
            ),
            stat(
                "自动派单比例",
                "该渠道近 24 小时受理的工单中，直接派给单位的所占比例；其余为人工派单、不予受理或转紧急专线。"
                "少于“最少件数”的不显示。",
                _in_a_day(f'{OF_CHANNEL}, decision="{Decision.AUTO}"')
                + f" / ({_in_a_day(OF_CHANNEL)} >= $floor)",
                unit="percentunit",
                none=_FEW,
                links=[desk("工作台：该渠道的工单", "/desk/tickets?channel=${channel}")],
            ),
            stat(
                RATES["on_time"].name,
                f"{definition('on_time')}。低于目标变色，少于“最少件数”的不显示。{_COUNTED}",
                ratio("channel", OF_CHANNEL, ["on_time"]),
                unit="percentunit",
                none=_FEW,
                thresholds=AIMED,
                links=[figures("on_time", "channel")],
            ),
            stat(
                "办结到期件数",
                "按时办结率的分母：所选统计时段内到期应办结的件数。",
                or_none(cases("channel", OF_CHANNEL, ["on_time"])),
                decimals=0,
                links=[figures("on_time", "channel")],
            ),
            *(
                stat(
                    f"办理用时{name}",
                    f"近 30 天办结的工单中，{share}的用时不超过此数。工作小时，不含挂起；七小时为一个工作日。",
                    f"max(channel:banjie_resolve_working_seconds:{series}_30d{{{OF_CHANNEL}}}) / 3600",
                    unit="suffix: 工作小时",
                    decimals=1,
                    none="尚无办结",
                    links=[_RESOLVED],
                )
                for series, name, share in (("p50", "中位数", "一半"), ("p90", "九成位", "九成"))
            ),
            row("受理"),
            happened(
                "受理量（按派单方式）",
                "该渠道受理的工单，按自动派单、人工派单、不予受理、转紧急专线堆叠。",
                "banjie_tickets_received_total",
                OF_CHANNEL,
                "decision",
                overrides=looks(DECISIONS),
                links=[desk("工作台：该渠道的工单", "/desk/tickets?channel=${channel}")],
            ),
            happened(
                "受理量（按诉求类型）",
                "该渠道受理的工单，按受理时的诉求类型堆叠。",
                "banjie_tickets_received_total",
                OF_CHANNEL,
                "kind",
                overrides=looks(KINDS),
                links=[
                    desk(
                        "工作台：该类型的工单",
                        f"/desk/tickets?channel=${{channel}}&kind={of_series('kind')}",
                    )
                ],
            ),
            row("办理"),
            lines(
                "按时办结率",
                f"{definition('on_time')}。每一点是此前一个统计时段的比率；“目标”在 deploy/prometheus/objectives.yml 中，虚线为没有另定目标的渠道的。{_COUNTED}",
                [
                    target(ratio("channel", OF_CHANNEL, ["on_time"]), RATES["on_time"].name),
                    target(f"max(channel:banjie_on_time:objective{{{OF_CHANNEL}}})", "目标"),
                ],
                unit="percentunit",
                none=_FEW,
                thresholds=AIMED,
                links=[figures("on_time", "channel")],
            ),
            lines(
                "办理用时",
                "每一点是此前 30 天办结工单用时的中位数和九成位。工作小时，不含挂起；七小时为一个工作日。",
                [
                    target(
                        f"max(channel:banjie_resolve_working_seconds:{series}_30d{{{OF_CHANNEL}}}) / 3600",
                        name,
                    )
                    for series, name in (("p50", "中位数"), ("p90", "九成位"))
                ],
                unit="suffix: 工作小时",
                decimals=1,
                none="尚无办结",
                links=[_RESOLVED],
            ),
            panel(
                "heatmap",
                "办理用时分布",
                "每一格时间内办结的工单，按用时（工作秒）分档；颜色越深越多。25200 秒为一个工作日。",
                target(
                    added("banjie_resolve_working_seconds_bucket", OF_CHANNEL, "le"),
                    "{{le}}",
                    format="heatmap",
                ),
                options={
                    "calculate": False,
                    "cellGap": 1,
                    "color": {
                        "mode": "scheme",
                        "scheme": "Blues",
                        "fill": "dark-blue",
                        "exponent": 0.5,
                        "reverse": False,
                        "steps": 32,
                    },
                    "exemplars": {"color": "rgba(255,0,255,0.7)"},
                    "filterValues": {"le": 1e-9},
                    "legend": {"show": True},
                    "rowsFrame": {"layout": "auto"},
                    "showValue": "never",
                    "tooltip": {"mode": "single", "yHistogram": False},
                    "yAxis": {"axisPlacement": "left", "unit": "s", "reverse": False},
                },
                decimals=0,
                interval="1h",
                none="尚无办结",
                links=[_RESOLVED],
            ),
            happened(
                "结案量",
                "该渠道结案的工单，按诉求类型堆叠。",
                "banjie_tickets_closed_total",
                OF_CHANNEL,
                "kind",
                overrides=looks(KINDS),
                links=[
                    desk(
                        "工作台：该类型已结案的工单",
                        f"/desk/tickets?channel=${{channel}}&state={State.CLOSED}"
                        f"&kind={of_series('kind')}",
                    )
                ],
            ),
        ],
    )


# Those whom nobody waits for: the scraper and the probes.
_PEOPLE = 'route!~"/metrics|/healthz|/readyz"'
_HTTP = "banjie_http_request_seconds"
_EACH = "各进程分别计数，这里相加；重启后从零开始，不影响速率。"


def rate_of(where: str, by: str = "") -> str:
    """Return requests a second of all processes."""
    total = f"sum by ({by})" if by else "sum"
    return f"{total} (rate({series(f'{_HTTP}_count', where)}[$__rate_interval]))"


def quantile(share: float, where: str) -> str:
    """Return the time within which this share of the requests of all processes was answered."""
    buckets = series(f"{_HTTP}_bucket", where)
    return f"histogram_quantile({share}, sum by (le) (rate({buckets}[$__rate_interval])))"


_SOURCES = desk("工作台：来源", "/desk/sources")


def service() -> Json:
    """Return the dashboard of the service itself (服务本身)."""
    received = f"sum by (instance) ({series('banjie_tickets_received_total')})"
    failed = f'{_PEOPLE}, status=~"5.."'
    return dashboard(
        "banjie-service",
        "办结 · 服务",
        "服务本身是否正常：副本、请求、定时任务、投递、来源、日历。给运维人员看。",
        [],
        [
            row("是否正常"),
            stat(
                "可抓取的副本",
                "Prometheus 抓取得到的副本数。",
                f"count({series('banjie_calendar_days_left')})",
                thresholds=steps((None, BAD), (1, GOOD)),
                decimals=0,
            ),
            stat(
                "抓取失败的副本",
                "配置了但抓取不到的副本数（任务名 banjie）。",
                f"count({series('up')} == 0) or on () vector(0)",
                thresholds=above(1),
                decimals=0,
            ),
            stat(
                "副本相差",
                "各副本所见受理总数的最大差。抓取时刻不同，短时相差几件正常；长时间不为零说明它们不在同一个数据库上。",
                f"max({received}) - min({received})",
                thresholds=above(1, POOR),
                decimals=0,
            ),
            stat(
                "日历剩余天数",
                "已公布的放假安排还有多少天，各副本中最少的；少于 60 天应录入下一年（docs/operations.md）。",
                f"min({series('banjie_calendar_days_left')})",
                unit="suffix: 天",
                thresholds=steps((None, BAD), (1, POOR), (60, GOOD)),
                decimals=0,
            ),
            stat(
                "时钟回拨",
                "近 24 小时各机器时钟向回跳两秒以上的次数；应检查对时服务。",
                or_none(f"sum(increase({series('banjie_clock_set_back_total')}[1d]))"),
                thresholds=above(1),
                decimals=0,
            ),
            stat(
                "定时任务滞后",
                "最早到点的时限提醒已等了多久；超过一分钟说明定时任务不正常。",
                counted("banjie_scheduler_lag_seconds"),
                unit="s",
                thresholds=above(60),
                decimals=0,
            ),
            *alerts(),
            row("请求"),
            lines(
                "请求速率（按地址）",
                f"每秒请求数，不含 /metrics 和探针。{_EACH}",
                target(rate_of(_PEOPLE, "route"), "{{route}}"),
                unit="reqps",
                decimals=2,
            ),
            lines(
                "响应时间",
                "所有请求（不含 /metrics 和探针）的中位数、九成五、九成九分位；由分档估算。",
                [
                    target(quantile(q, _PEOPLE), name)
                    for q, name in ((0.5, "中位数"), (0.95, "95%"), (0.99, "99%"))
                ],
                unit="s",
                decimals=3,
                none="没有请求",
            ),
            lines(
                "请求速率（按状态码）",
                f"每秒请求数，按状态码。429 为来源超出速率，503 为忙不过来。{_EACH}",
                target(rate_of(_PEOPLE, "status"), "{{status}}"),
                unit="reqps",
                decimals=2,
                stacked=True,
            ),
            lines(
                "失败比例",
                "状态码 5xx 的请求所占比例。",
                target(
                    f"({or_none(rate_of(failed))}) / {rate_of(_PEOPLE)}",
                    "5xx",
                ),
                unit="percentunit",
                thresholds=above(0.05),
                none="没有请求",
            ),
            lines(
                "收单请求",
                "各来源推送工单的请求，按状态码：201 新工单，200 重复、补充或批量，4xx 拒收，5xx 失败。"
                + _EACH,
                target(or_none(rate_of('route=~"/v1/intake/.+"', "status")), "{{status}}"),
                unit="reqps",
                decimals=2,
                links=[_SOURCES],
            ),
            lines(
                "收单响应时间",
                "推送单件工单的请求，九成九分位；虚线为一秒。",
                target(quantile(0.99, 'route="/v1/intake/{source}"'), "99%"),
                unit="s",
                decimals=3,
                thresholds=above(1),
                none="没有推送",
            ),
            row("定时任务和投递"),
            lines(
                "定时任务滞后",
                "最早到点的时限提醒已等了多久；虚线为一分钟。",
                target(counted("banjie_scheduler_lag_seconds"), "滞后"),
                unit="s",
                thresholds=above(60),
            ),
            lines(
                "最久未投递",
                "最早一条尚未送达的投递已等了多久；超过一小时说明某个接收系统中断。",
                target(counted("banjie_outbox_oldest_seconds"), "等待"),
                unit="s",
                thresholds=above(3600),
                links=[desk("工作台：待投递", f"/desk/deliveries?state={DeliveryState.PENDING}")],
            ),
            bars(
                "投递",
                "发往外部系统的通知，按到了哪一步；“投递失败”须处理后重新投递，“无接收方”不会自动发送。",
                counted("banjie_deliveries", "", "state"),
                "{{state}}",
                overrides=looks(DELIVERY_STATES),
                decimals=0,
                links=[
                    desk(
                        "工作台：投递",
                        "/desk/deliveries?state=${__field.labels.state}",
                    )
                ],
            ),
            stat(
                "投递失败",
                "放弃投递的条数，须有人处理。",
                counted("banjie_deliveries", f'state="{DeliveryState.DEAD}"'),
                thresholds=above(1),
                decimals=0,
                size=(12, 8),
                links=[desk("工作台：投递失败", f"/desk/deliveries?state={DeliveryState.DEAD}")],
            ),
            row("读取来源列表"),
            table(
                "来源",
                "由本系统主动读取的来源：距上次读完多久，连续失败几次，有几行无法受理。没有时不显示。",
                [
                    (
                        "距上次读完",
                        counted("banjie_source_last_success_seconds", "", "source"),
                        {"unit": "s", "decimals": 0},
                    ),
                    (
                        "连续失败",
                        counted("banjie_source_failures", "", "source"),
                        {
                            "decimals": 0,
                            **marked(4),
                        },
                    ),
                    (
                        "无法受理",
                        or_none(counted("banjie_source_rejected_rows", "", "source")),
                        {
                            "decimals": 0,
                            **marked(1),
                        },
                    ),
                ],
                [("source", "来源")],
                none="没有主动读取的来源",
                links=[_SOURCES],
                overrides=[look("source", mappings=mapped(CHANNELS))],
            ),
            lines(
                "距上次读完",
                "每个来源的列表多久前读到底；超过“上限”告警（deploy/prometheus/objectives.yml）。",
                [
                    target(
                        counted("banjie_source_last_success_seconds", "", "source"), "{{source}}"
                    ),
                    target("banjie_source:unread_seconds", "上限"),
                ],
                unit="s",
                none="没有主动读取的来源",
                overrides=looks(CHANNELS),
                links=[_SOURCES],
            ),
        ],
    )


def dashboards() -> dict[str, Json]:
    """Return every dashboard by the name of its file."""
    return {
        "region.json": overview(),
        "unit.json": unit(),
        "channel.json": channel(),
        "service.json": service(),
    }


def text(content: Json) -> str:
    """Return a dashboard as its file has it."""
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    for file, made in dashboards().items():
        (FOLDER / file).write_text(text(made), "utf-8")
