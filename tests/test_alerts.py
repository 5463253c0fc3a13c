"""Every alert fires when it should and only then, by Prometheus's own test runner; and has its page."""

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import make_rules
import pytest
import yaml

from service.metrics import Metrics
from service.store import Store
from tests.conftest import tool
from tests.test_metrics import _counted, _life
from tests.test_monitoring import PROMETHEUS, recorded
from tests.worlds import at

RUNBOOKS = Path(__file__).parents[1] / "docs" / "runbooks"
SERVED = "https://git.example.gov.cn/runbooks"
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
}
# The pairs of a series that both replicas show.
_BOTH = ('job="banjie",instance="a:8000"', 'job="banjie",instance="b:8000"')
_AT_ONE = '{job="banjie",instance="a:8000"}'


@dataclass(frozen=True)
class Try:
    """A history, by series and its values a minute apart, and what fires at a time: the labels that
    tell which, and the summary that people read. Nothing fires where there is none."""

    alert: str
    why: str
    series: Mapping[str, str]
    at: str
    fires: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""


def both(name: str, labels: str, values: str, other: str = "") -> dict[str, str]:
    """Return a series of the store as two replicas show it."""
    more = f",{labels}" if labels else ""
    return {f"{name}{{{_BOTH[0]}{more}}}": values, f"{name}{{{_BOTH[1]}{more}}}": other or values}


def _burn(
    slower: str, share: float, cases: int, faster: float | None, window: str
) -> dict[str, str]:
    """Return a channel's rates: the share on time in a long window and of how many, and in the short
    one, or that it has no case."""
    of = '{region="360732",channel="haochaping"}'
    found = {
        f"channel:banjie_on_time:cases_total{of}": f"{cases}+0x300",
        f"channel:banjie_on_time:ratio_{slower}{of}": f"{share}+0x300",
        f"channel:banjie_on_time:cases_{slower}{of}": f"{cases}+0x300",
    }
    if faster is not None:
        found[f"channel:banjie_on_time:ratio_{window}{of}"] = f"{faster}+0x300"
    return found


def _received(last: str, n: str, month: int) -> dict[str, str]:
    of = '{region="360732",channel="wenzheng-jiangxi"}'
    return {
        f"channel:banjie_received:cases_{last}{of}": n,
        f"channel:banjie_received:cases_30d{of}": f"{month}+0x3000",
    }


def _open(stage: str, values: str) -> dict[str, str]:
    labels = f'region="360732",unit="360732-housing",milestone="resolve",stage="{stage}"'
    return both("banjie_milestones_open", labels, values)


def _requests(status: str, values: str) -> dict[str, str]:
    labels = f'route="/v1/tickets",method="GET",status="{status}"'
    return both("banjie_http_request_seconds_count", labels, values)


def _pushes(quick: str, all_: str, batch: str = "") -> dict[str, str]:
    """Return pushes, those within a second and all, each within two and a half."""
    of = f'{_BOTH[0]},route="/v1/intake/{{source}}{batch}",method="POST",status="201"'
    name = "banjie_http_request_seconds"
    return {
        f'{name}_bucket{{{of},le="1.0"}}': quick,
        f'{name}_bucket{{{of},le="2.5"}}': all_,
        f'{name}_bucket{{{of},le="+Inf"}}': all_,
        f"{name}_count{{{of}}}": all_,
    }


_CHANNEL = {"region": "360732", "channel": "haochaping"}
_SORTING = 'region="360732",unit="360732-government",state="sorting"'
_DAY = "0+0x1439"
TRIES = [
    Try(
        "BanjieDown",
        "both away",
        {f"up{{{r}}}": "1 1 0x9" for r in _BOTH},
        "5m",
        {"job": "banjie"},
        "办结服务无副本应答",
    ),
    Try(
        "BanjieDown",
        "not even known",
        {'up{job="node"}': "1x9"},
        "5m",
        {"job": "banjie"},
        "办结服务无副本应答",
    ),
    Try("BanjieDown", "one answers", both("up", "", "1x9", "0x9"), "5m"),
    Try("BanjieDown", "a restart of a minute", both("up", "", "1 0 1x9"), "2m"),
    Try(
        "BanjieReplicaDown",
        "one away",
        both("up", "", "1x20", "1 0x20"),
        "10m",
        {"job": "banjie", "instance": "b:8000"},
        "副本 b:8000 没有应答",
    ),
    Try("BanjieReplicaDown", "all away is another alert", both("up", "", "0x20"), "10m"),
    Try("BanjieReplicaDown", "away for five minutes", both("up", "", "1x20", "1x3 0x4 1x9"), "9m"),
    Try(
        "BanjieReplicasDisagree",
        "one stands still",
        both("banjie_tickets_received_total", 'region="360732"', "9+1x20", "9+0x20"),
        "15m",
        {"job": "banjie"},
        "各副本的受理总数不一致",
    ),
    Try(
        "BanjieReplicasDisagree",
        "another database",
        both("banjie_tickets_received_total", 'region="360732"', "900x20", "9+1x20"),
        "15m",
        {"job": "banjie"},
        "各副本的受理总数不一致",
    ),
    Try(
        "BanjieReplicasDisagree",
        "busy, and one a minute behind",
        both("banjie_tickets_received_total", 'region="360732"', "9+50x20", "9 9+50x20"),
        "15m",
    ),
    Try(
        "BanjieReplicasDisagree",
        "a restored backup, on both",
        both("banjie_tickets_received_total", 'region="360732"', "900x7 300x9"),
        "12m",
    ),
    Try(
        "BanjieErrors",
        "a tenth fails",
        _requests("200", "0+90x20") | _requests("500", "0+10x20"),
        "15m",
        {"job": "banjie"},
        "10% 的请求以 5xx 失败",
    ),
    Try(
        "BanjieErrors",
        "a few of many",
        _requests("200", "0+90x20") | _requests("500", "0+1x20"),
        "15m",
    ),
    Try(
        "BanjieErrors",
        "one of two at night",
        _requests("200", "0x8 1x20") | _requests("500", "0x8 1x20"),
        "15m",
    ),
    Try(
        "BanjieErrors",
        "what the caller did wrong",
        _requests("200", "0+9x20") | _requests("422", "0+90x20"),
        "15m",
    ),
    Try(
        "BanjieIntakeSlow",
        "half takes longer",
        _pushes("0+50x40", "0+100x40"),
        "30m",
        {"job": "banjie"},
        "工单推送有 1% 超过 2.47s",
    ),
    Try(
        "BanjieIntakeSlow",
        "batches",
        _pushes("0+100x40", "0+100x40") | _pushes("0+0x40", "0+100x40", "/batch"),
        "30m",
    ),
    Try("BanjieIntakeSlow", "all within a second", _pushes("0+100x40", "0+100x40"), "30m"),
    Try("BanjieIntakeSlow", "too few to tell", _pushes("0+0x40", "0+1x40"), "30m"),
    Try(
        "BanjieSchedulerLags",
        "behind",
        both("banjie_scheduler_lag_seconds", "", "0 120x20"),
        "8m",
        {"job": "banjie"},
        "到期处理已滞后 2m 0s",
    ),
    Try(
        "BanjieSchedulerLags",
        "a burst",
        both("banjie_scheduler_lag_seconds", "", "0 120x3 0x20"),
        "8m",
    ),
    Try(
        "BanjieAuditChainStands",
        "more and more",
        both("banjie_audit_unchained_events", "", "0x5 100+10x100"),
        "90m",
        {"job": "banjie"},
        "审计链已停滞，至少 640 条事件没有入链",
    ),
    Try(
        "BanjieAuditChainStands",
        "a history after an upgrade",
        both("banjie_audit_unchained_events", "", "900000-5000x100"),
        "90m",
    ),
    Try(
        "BanjieAuditChainStands",
        "a busy day",
        both("banjie_audit_unchained_events", "", "0x10 500x20 0x5 800x25 0x5 900x40"),
        "75m",
    ),
    Try(
        "BanjieClockSetBack",
        "once",
        both("banjie_clock_set_back_total", "", "0 0 1x40", "0x40"),
        "10m",
        {"job": "banjie", "instance": "a:8000"},
        "a:8000 的系统时钟被拨回",
    ),
    Try(
        "BanjieClockSetBack",
        "an hour later",
        both("banjie_clock_set_back_total", "", "0 0 1x90", "0x90"),
        "80m",
    ),
    Try(
        "BanjieClockSetBack",
        "a process that began again",
        both("banjie_clock_set_back_total", "", "1 1 0x40", "0x40"),
        "10m",
    ),
    Try(
        "BanjieCalendarEnds",
        "of one replica",
        both("banjie_calendar_days_left", "", "400x90", "40x90"),
        "80m",
        {"job": "banjie"},
        "放假安排只录入到 40 天后",
    ),
    Try(
        "BanjieCalendarEnds",
        "sixty days are enough",
        both("banjie_calendar_days_left", "", "60x90"),
        "80m",
    ),
    Try(
        "BanjieOverdueGrows",
        "by half in a day",
        _open("overdue", "40x1439 60x90") | _open("red", "2x1600"),
        "1510m",
        {"region": "360732"},
        "地区 360732 的超期事项一天内增至 62 件",
    ),
    Try("BanjieOverdueGrows", "by less than a fifth", _open("overdue", "400x1439 420x90"), "1510m"),
    Try("BanjieOverdueGrows", "doubled, but ten", _open("overdue", "10x1439 20x90"), "1510m"),
    Try(
        "BanjieOverdueGrows",
        "nothing is known of yesterday",
        _open("overdue", "0x2 60x200"),
        "120m",
    ),
    Try(
        "BanjieRedCards",
        "two",
        _open("red", "2x20"),
        "10m",
        {"region": "360732", "unit": "360732-housing"},
        "360732-housing 有 2 件红牌督办",
    ),
    Try("BanjieRedCards", "yellow is not red", _open("yellow", "2x20"), "10m"),
    Try("BanjieRedCards", "done", _open("red", "2x4 stale"), "10m"),
    Try(
        "BanjieSortingWaits",
        "all morning",
        both("banjie_tickets_open", _SORTING, "3x300"),
        "200m",
        {"region": "360732"},
        "地区 360732 有 3 件等待人工派单",
    ),
    Try(
        "BanjieSortingWaits",
        "before work begins",
        both("banjie_tickets_open", _SORTING, "3x300"),
        "59m",
    ),
    Try(
        "BanjieSortingWaits",
        "on Saturday",
        both("banjie_tickets_open", _SORTING, "3x3200"),
        "3080m",
    ),
    Try(
        "BanjieSortingWaits",
        "emptied in between",
        both("banjie_tickets_open", _SORTING, "3x120 0x2 3x80"),
        "200m",
    ),
    Try(
        "BanjieOnTimeBurnsFast",
        "in an hour",
        _burn("1h", 0.25, 12, 0.2, "5m"),
        "5m",
        _CHANNEL,
        "haochaping（360732）近几小时 75% 的办结超时",
    ),
    Try(
        "BanjieOnTimeBurnsFast",
        "and no case since",
        _burn("1h", 0.25, 12, None, "5m"),
        "5m",
        _CHANNEL,
        "haochaping（360732）近几小时 75% 的办结超时",
    ),
    Try(
        "BanjieOnTimeBurnsFast",
        "in six hours",
        _burn("6h", 0.5, 10, 0.5, "30m"),
        "5m",
        _CHANNEL,
        "haochaping（360732）近几小时 50% 的办结超时",
    ),
    Try("BanjieOnTimeBurnsFast", "over already", _burn("1h", 0.25, 12, 0.9, "5m"), "5m"),
    Try("BanjieOnTimeBurnsFast", "too few cases", _burn("1h", 0.0, 9, 0.0, "5m"), "5m"),
    Try("BanjieOnTimeBurnsFast", "slower than that", _burn("1h", 0.4, 90, 0.2, "5m"), "5m"),
    Try(
        "BanjieOnTimeBurnsSlow",
        "in a day",
        _burn("1d", 0.75, 12, 0.8, "2h"),
        "70m",
        _CHANNEL,
        "haochaping（360732）近几天 25% 的办结超时",
    ),
    Try(
        "BanjieOnTimeBurnsSlow",
        "in three days",
        _burn("3d", 0.9, 20, None, "6h"),
        "70m",
        _CHANNEL,
        "haochaping（360732）近几天 10% 的办结超时",
    ),
    Try("BanjieOnTimeBurnsSlow", "as is aimed at", _burn("3d", 0.96, 900, 0.5, "6h"), "70m"),
    Try("BanjieOnTimeBurnsSlow", "over already", _burn("1d", 0.75, 12, 1, "2h"), "70m"),
    Try("BanjieOnTimeBurnsSlow", "too few cases", _burn("3d", 0.5, 9, 0.5, "6h"), "70m"),
    Try(
        "BanjieDeliveriesDead",
        "one",
        both("banjie_deliveries", 'state="dead"', "0 1x20"),
        "10m",
        {"job": "banjie"},
        "有 1 条投递失败",
    ),
    Try(
        "BanjieDeliveriesDead",
        "none",
        both("banjie_deliveries", 'state="dead"', "0x20")
        | both("banjie_deliveries", 'state="pending"', "9x20"),
        "10m",
    ),
    Try(
        "BanjieOutboxWaits",
        "two hours",
        both("banjie_outbox_oldest_seconds", "", "7200x20"),
        "10m",
        {"job": "banjie"},
        "投递已等待 2h 0m 0s",
    ),
    Try(
        "BanjieOutboxWaits",
        "ten minutes",
        both("banjie_outbox_oldest_seconds", "", "600x20"),
        "10m",
    ),
    Try(
        "BanjieSourceFails",
        "four times",
        both("banjie_source_failures", 'source="ganzhou"', "4x20"),
        "10m",
        {"job": "banjie", "source": "ganzhou"},
        "来源 ganzhou 的列表连续 4 次读取失败",
    ),
    Try(
        "BanjieSourceFails",
        "three times",
        both("banjie_source_failures", 'source="ganzhou"', "3x20"),
        "10m",
    ),
    Try(
        "BanjieSourceRows",
        "two",
        both("banjie_source_rejected_rows", 'source="ganzhou"', "2x20"),
        "10m",
        {"job": "banjie", "source": "ganzhou"},
        "来源 ganzhou 有 2 条无法受理",
    ),
    Try(
        "BanjieSourceRows",
        "none",
        both("banjie_source_rejected_rows", 'source="ganzhou"', "0x20"),
        "10m",
    ),
    Try(
        "BanjieSourceUnread",
        "three hours",
        both("banjie_source_last_success_seconds", 'source="ganzhou"', "10800x20"),
        "10m",
        {"job": "banjie", "source": "ganzhou"},
        "来源 ganzhou 的列表已有 3h 0m 0s 没有读完",
    ),
    Try(
        "BanjieSourceUnread",
        "an hour",
        both("banjie_source_last_success_seconds", 'source="ganzhou"', "3600x20"),
        "10m",
    ),
    Try(
        "BanjieChannelSilent",
        "a day",
        _received("1d", "0x90", 150),
        "40m",
        {"channel": "wenzheng-jiangxi"},
        "渠道 wenzheng-jiangxi 异常地没有新工单",
    ),
    Try("BanjieChannelSilent", "a day of a channel with few", _received("1d", "0x90", 149), "40m"),
    Try("BanjieChannelSilent", "one came", _received("1d", "1x90", 900), "40m"),
    Try(
        "BanjieChannelSilent",
        "an afternoon",
        _received("4h", "0x900", 1200),
        "345m",
        {"channel": "wenzheng-jiangxi"},
        "渠道 wenzheng-jiangxi 异常地没有新工单",
    ),
    Try(
        "BanjieChannelSilent",
        "a morning after a quiet night",
        _received("4h", "0x900", 1200),
        "150m",
    ),
    Try("BanjieChannelSilent", "a night", _received("4h", "0x1500", 1200), "1200m"),
    Try(
        "BanjieChannelSilent",
        "an afternoon of a channel with few",
        _received("4h", "0x900", 1199),
        "345m",
    ),
]


def _asked(tried: Try) -> dict[str, Any]:
    rule = ALERTS[tried.alert]
    told = rule["annotations"]
    said = (
        re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda m: tried.fires[m[1]], told["description"])
        if tried.fires
        else ""
    )
    fires = {
        "exp_labels": {**tried.fires, **rule["labels"]},
        "exp_annotations": {
            "summary": tried.summary,
            "description": said,
            "runbook_url": f"{SERVED}/{tried.alert}.md",
        },
    }
    return {
        "interval": "1m",
        "external_labels": {"runbooks": SERVED},
        "input_series": [{"series": s, "values": v} for s, v in tried.series.items()],
        "alert_rule_test": [
            {
                "alertname": tried.alert,
                "eval_time": tried.at,
                "exp_alerts": [fires] if tried.fires else [],
            }
        ],
    }


def _hold(folder: Path, rules: Sequence[Mapping[str, Any]], tests: list[dict[str, Any]]) -> None:
    (folder / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}, allow_unicode=True), "utf-8"
    )
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")
    ran = subprocess.run(
        [tool("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _objectives() -> list[dict[str, Any]]:
    document = yaml.safe_load((PROMETHEUS / "objectives.yml").read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_when_it_should_and_only_then(tmp_path: Path, alert: str) -> None:
    tries = [tried for tried in TRIES if tried.alert == alert]
    assert {bool(tried.fires) for tried in tries} == {True, False}, (
        "one that fires, one that does not"
    )
    _hold(tmp_path, [*_objectives(), ALERTS[alert]], [_asked(tried) for tried in tries])


def test_an_objective_is_one_for_each_channel_and_nobody_s_else(tmp_path: Path) -> None:
    def asked(expr: str, at: str, value: float | None) -> dict[str, Any]:
        samples = [] if value is None else [{"labels": "{}", "value": value}]
        return {"expr": f"sum({expr})", "eval_time": at, "exp_samples": samples}

    monday = 4 * 24  # promtool begins on a Thursday
    series = [
        {
            "series": f'channel:banjie_on_time:cases_total{{region="{region}",channel="c"}}',
            "values": "7x9",
        }
        for region in ("360732", "360733")
    ]
    wanted = [
        asked("channel:banjie_on_time:objective", "5m", 1.9),
        asked("channel:banjie_on_time:objective", "30m", None),
        asked("banjie_on_time:cases_floor", "5m", 10),
        asked("banjie_source:unread_seconds", "5m", 7200),
        # In Shanghai it is eight hours later: five in the afternoon is nine.
        asked("banjie:office_hours", "59m", None),
        asked("banjie:office_hours", "60m", 1),
        asked("banjie:office_hours", "8h59m", 1),
        asked("banjie:office_hours", "9h", None),
        asked("banjie:office_hours", "51h", None),
        asked("banjie:office_hours", f"{monday + 2}h", 1),
    ]
    assert {each["expr"][4:-1] for each in wanted} == {rule["record"] for rule in _objectives()}
    test = {"interval": "1m", "input_series": series, "promql_expr_test": wanted}
    _hold(tmp_path, _objectives(), [test])


def test_late_tickets_of_a_channel_wake_somebody(tmp_path: Path) -> None:
    """From the totals of two replicas to the alert, through the rules between."""
    of = 'region="360732",channel="haochaping"'
    late = both("banjie_resolutions_due_total", of + ',outcome="late"', "40x59 41+1x30")
    on_time = both("banjie_resolutions_due_total", of + ',outcome="on_time"', "900x90")
    labels = {**_CHANNEL, **ALERTS["BanjieOnTimeBurnsFast"]["labels"]}
    shown = "".join(f',{name}="{value}"' for name, value in sorted(labels.items()))
    fires = f'{{alertname="BanjieOnTimeBurnsFast",alertstate="firing"{shown}}}'
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": s, "values": v} for s, v in {**late, **on_time}.items()],
            "promql_expr_test": [
                {
                    "expr": 'group(ALERTS{alertname="BanjieOnTimeBurnsFast"})',
                    "eval_time": "68m",
                    "exp_samples": [],
                },
                {
                    "expr": 'ALERTS{alertname="BanjieOnTimeBurnsFast"}',
                    "eval_time": "80m",
                    "exp_samples": [{"labels": f"ALERTS{fires}", "value": 1}],
                },
            ],
        }
    ]
    # Objectives are among what is recorded.
    by_channel = [
        {"record": name, "expr": expr}
        for name, expr in recorded()
        if name.startswith(("channel:banjie_on_time", "banjie_on_time"))
    ]
    _hold(tmp_path, [*by_channel, ALERTS["BanjieOnTimeBurnsFast"]], tests)


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"} == set(ALERTS)
    for name, rule in ALERTS.items():
        told = rule["annotations"]
        assert told["runbook_url"] == "{{ $externalLabels.runbooks }}/" + f"{name}.md"
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert re.search("[\u4e00-\u9fff]", told["summary"])
        assert re.search("[\u4e00-\u9fff]", told["description"])


@pytest.mark.parametrize("alert", ALERTS)
def test_a_page_says_what_to_do(alert: str) -> None:
    text = (RUNBOOKS / f"{alert}.md").read_text("utf-8")
    assert text.startswith(f"# {alert}\n")
    parts = re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE)
    assert parts == [
        "What it means",
        "How to see it",
        "What to do",
        "How it ends",
        "What it is not",
    ]


# Series that a process counts of itself: these, and no others, are told by replica.
_OF_A_PROCESS = {"banjie_http_request_seconds", "banjie_clock_set_back_total"}


def _series(expression: str) -> set[str]:
    found = re.findall(r"(?<![:\w])banjie_\w+(?![:\w])", expression)
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in found}


def _expressions() -> list[tuple[str, str]]:
    return [*recorded(), *((name, rule["expr"]) for name, rule in ALERTS.items())]


def test_every_series_that_a_rule_names_is_shown_with_these_labels(
    in_store: Callable[[Callable[[Store], Any]], Any],
) -> None:
    async def scenario(store: Store) -> str:
        await _life(store)
        metrics = Metrics()
        metrics.request("/v1/tickets", "GET", 200, 0.004)
        return metrics.render(await _counted(store), at("2026-11-26 09:00"), 35).decode()

    text = in_store(scenario)
    shown = set(re.findall(r"^# HELP (\S+)", text, re.MULTILINE))
    named = set().union(*(_series(expression) for _, expression in _expressions()))
    assert named <= shown
    for name, labels in make_rules.SERIES.items():
        sample = re.search(rf"^{name}{{(.*)}}", text, re.MULTILINE)
        if sample:
            assert set(re.findall(r"(\w+)=", sample[1])) == set(labels), name


def test_every_series_that_a_rule_names_is_recorded() -> None:
    names = {name for name, _ in recorded()}
    for name, expression in _expressions():
        plain = re.sub(r'"[^"]*"|\[[^]]*\]', "", expression)  # neither labels nor lengths of time
        assert set(re.findall(r"\b\w+:\w+(?::\w+)?", plain)) <= names, name


def test_no_alert_adds_replicas_up() -> None:
    for name, rule in ALERTS.items():
        expression = rule["expr"]
        for found in re.finditer(r"(?<![:\w])(banjie_\w+|up)(?=\{)", expression):
            series = re.sub(r"_(bucket|count|sum)$", "", found[1])
            if series in _OF_A_PROCESS or name in ("BanjieReplicaDown", "BanjieReplicasDisagree"):
                continue
            before = expression[: found.start()]
            assert re.search(r"((max|min) by \([\w, ]+\)|absent) ?\($", before), (
                f"{name}: {found[1]}"
            )
