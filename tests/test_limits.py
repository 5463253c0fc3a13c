"""Which limit holds, and files that must stop the start."""

from pathlib import Path

import pytest

from routing_rules.clocks import ClockFileError, load_limits, load_timetable, year_table
from service.domain.complaint import Kind, Urgency
from service.domain.ticket import MilestoneKind
from tests.worlds import complaint

LIMITS = load_limits()
ITEM_4 = frozenset({("兴五型办字〔2021〕4号", "4")})


@pytest.mark.parametrize(
    ("changes", "clauses", "limit"),
    [
        ({}, (), "5 工作日"),
        ({"kind": Kind.CONSULTATION}, (), "3 工作日"),
        ({"channel": "wenzheng-jiangxi", "kind": Kind.CONSULTATION}, (), "3 工作日"),
        ({"channel": "haochaping"}, (), "5 工作日"),
        ({"urgency": Urgency.URGENT}, (), "3 工作日"),
        ({"urgency": Urgency.EMERGENCY}, (), "24 小时"),
        ({"urgency": Urgency.EMERGENCY, "kind": Kind.CONSULTATION}, (), "24 小时"),
        ({}, ITEM_4, "1 工作日"),
        ({"urgency": Urgency.URGENT}, ITEM_4, "1 工作日"),
        ({}, frozenset({("兴五型办字〔2021〕4号", "5")}), "5 工作日"),
    ],
)
def test_the_most_specific_limit_to_resolve_wins(changes, clauses, limit) -> None:  # type: ignore[no-untyped-def]
    rule = LIMITS.rule(MilestoneKind.RESOLVE, complaint(**changes), clauses)
    assert str(rule.limit) == limit


@pytest.mark.parametrize("kind", list(MilestoneKind))
@pytest.mark.parametrize("demand", list(Kind))
@pytest.mark.parametrize("urgency", list(Urgency))
@pytest.mark.parametrize("channel", ["hotline-12345", "wenzheng-jiangxi", "haochaping", "new"])
def test_every_combination_has_a_limit(
    kind: MilestoneKind, demand: Kind, urgency: Urgency, channel: str
) -> None:
    found = LIMITS.rule(kind, complaint(kind=demand, urgency=urgency, channel=channel))
    assert found.limit.amount > 0


def test_a_basis_names_its_source_and_never_calls_a_default_a_rule() -> None:
    item = LIMITS.rule(MilestoneKind.RESOLVE, complaint(), ITEM_4)
    assert item.basis == "兴五型办字〔2021〕4号“一日办结”，第4项，文件"
    assert LIMITS.rule(MilestoneKind.CALL_BACK, complaint()).basis.endswith("缺省设定")


_GOOD = """
- {milestone: sign, limit: 1 工作日, count_from: next_day, warn_share: 0.5, status: default, source: 甲}
- {milestone: contact, limit: 1 工作日, count_from: next_day, warn_share: 0.5, status: default, source: 乙}
- {milestone: resolve, limit: 5 工作日, count_from: next_day, warn_share: 0.5, status: default, source: 丙}
- {milestone: call_back, limit: 3 工作日, count_from: next_day, warn_share: 0.5, status: default, source: 丁}
"""


def test_a_good_limits_file_loads(tmp_path: Path) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text(_GOOD, "utf-8")
    assert len(load_limits(path).rules) == 4


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("limit: 5 工作日", "limit: 5 周", "看不懂的时限"),
        ("limit: 5 工作日", "limit: -5 工作日", "超出范围"),
        ("status: default, source: 丙", "status: rule, source: 丙", "status"),
        (", source: 丙", "", "source"),
        ("milestone: resolve", "milestone: finish", "milestone"),
        ("source: 丙", "source: 丙, match: {item: '4'}", "同时给出"),
        ("source: 丙", "source: 丙, match: {kind: 举报}", "match"),
        ("source: 丙", "source: 丙, extra: 1", "extra"),
        ("milestone: call_back", "milestone: sign", "完全相同"),
        ("source: 丁", "source: 丁, match: {kind: help}", "没有兜底时限"),
        ("- {milestone: sign", "- [{milestone: sign", "limits.yaml"),
        (
            "warn_share: 0.5, status: default, source: 甲",
            "warn_share: 1.5, status: default, source: 甲",
            "warn_share",
        ),
    ],
)
def test_a_broken_limits_file_stops_the_start_and_says_where(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    path = tmp_path / "limits.yaml"
    assert old in _GOOD
    path.write_text(_GOOD.replace(old, new), "utf-8")
    with pytest.raises(ClockFileError, match=reason) as refused:
        load_limits(path)
    assert "limits.yaml" in str(refused.value)


_YEAR = """
year: 2026
status: official
source: 通知
days_off: [{name: 元旦, from: "01-01", to: "01-03"}]
worked: ["01-04"]
"""


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('worked: ["01-04"]', 'worked: ["01-03"]', "既放假"),
        ('worked: ["01-04"]', 'worked: ["01-05"]', "不是周末"),
        ('to: "01-03"', 'to: "02-30"', "day"),
        ('from: "01-01"', 'from: "01-09"', "早于"),
        ("status: official", "status: final", "status"),
        ("}]", '}, {name: 春节, from: "01-02", to: "01-02"}]', "同时属于"),
    ],
)
def test_a_calendar_that_contradicts_itself_is_refused(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    path = tmp_path / "2026.yaml"
    assert old in _YEAR
    path.write_text(_YEAR.replace(old, new, 1), "utf-8")
    with pytest.raises(ClockFileError, match=reason):
        year_table(path)


def test_an_overlay_replaces_the_limits_and_leaves_the_calendar(tmp_path: Path) -> None:
    (tmp_path / "limits.yaml").write_text(_GOOD, "utf-8")
    times = load_timetable(tmp_path)
    assert str(times.limits.rule(MilestoneKind.SIGN, complaint()).limit) == "1 工作日"
    assert 2026 in times.calendar.years
