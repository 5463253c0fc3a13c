"""What may be done to the clocks, and files that must stop the start."""

from pathlib import Path

import pytest

from routing_rules.calendars import DATA
from routing_rules.clocks import ClockFileError, load_policies, load_timetable
from service.domain.access import Role
from service.domain.complaint import Kind, Urgency
from service.domain.policy import Bears, Measures
from service.domain.scope import Scope
from tests.worlds import complaint

TIMES = load_timetable()
SHIPPED = (DATA / "policies.yaml").read_text("utf-8")


@pytest.mark.parametrize(
    ("changes", "times", "total"),
    [
        ({}, 1, "5 工作日"),
        ({"urgency": Urgency.EMERGENCY}, 0, "1 工作日"),
        ({"region": "360902"}, 1, "23 日"),
        ({"region": "360902", "urgency": Urgency.EMERGENCY}, 0, "1 工作日"),
        ({"channel": "xinfang"}, 1, "30 日"),
    ],
)
def test_the_most_specific_extension_wins(changes, times, total) -> None:  # type: ignore[no-untyped-def]
    found = TIMES.policy(complaint(**changes)).extensions
    assert (found.times, str(found.total)) == (times, total)
    assert Role.HANDLER not in found.approvers


def test_a_policy_has_a_section_for_everything_and_says_where_each_comes_from() -> None:
    policy = TIMES.policy(complaint())
    assert str(policy.send_backs.window) == "2 工作日"
    assert policy.pauses.reasons["awaiting_citizen"] == "待诉求人补充材料"
    assert (policy.hand_over.send_back, policy.hand_over.redispatch) == (Bears.TAKER, Bears.TAKER)
    assert [step for step, _ in policy.escalation.steps] == [
        Measures.SUPERVISE,
        Measures.YELLOW,
        Measures.RED,
        Measures.BULLETIN,
    ]
    assert policy.send_backs.origin.basis.endswith("，转引")
    assert policy.redo.origin.basis.endswith("，缺省设定")


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("urgency", list(Urgency))
def test_a_redo_is_never_granted_more_than_the_first_time(kind: Kind, urgency: Urgency) -> None:
    policy = TIMES.policy(complaint(kind=kind, urgency=urgency))
    assert policy.redo.limit.amount < 24


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (Scope(), ""),
        (Scope(region="360732"), "按地区"),
        (Scope(channel="a", kind="help"), "按诉求类型、渠道"),
        (Scope(document="d", item="1", urgency="urgent"), "按文件条目、紧急程度"),
    ],
)
def test_a_scope_says_by_what_it_is_narrower(scope: Scope, words: str) -> None:
    assert scope.named_by == words


def test_an_overlay_replaces_the_policies_and_changes_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(SHIPPED.replace("send_back: taker", "send_back: giver"), "utf-8")
    times = load_timetable(tmp_path)
    assert times.policy(complaint()).hand_over.send_back is Bears.GIVER
    assert times.limits.digest != TIMES.limits.digest


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("times: 1\n", "times: -1\n", "times"),
        ("times: 1\n", "times: 99\n", "times"),
        ("total: 5 工作日", "total: 5 周", "看不懂的时限"),
        ("total: 5 工作日", "total: 5000 工作日", "超出范围"),
        ("approvers: [dispatcher, supervisor]", "approvers: []", "approvers"),
        ("approvers: [dispatcher, supervisor]", "approvers: [boss]", "approvers"),
        ("    citizen_request: 诉求人要求暂缓", "    诉求人要求: 暂缓", "reasons"),
        ("reasons: {force_majeure: 不可抗力}", "reasons: {}", "reasons"),
        ("send_back: taker", "send_back: restart", "send_back"),
        ("{step: supervise, at: due}", "{step: remind, at: due}", "催办"),
        ("{step: supervise, at: due}", "{step: supervise}", "其中一个"),
        ("{step: supervise, at: due}", "{step: red, at: due}", "由轻到重"),
        ("section: redo", "section: again", "again"),
        ("match: {urgency: emergency}", "match: {urgency: fast}", "urgency"),
        ("match: {channel: xinfang}", "match: {urgency: emergency}", "完全相同"),
        (
            "- section: hand_over\n",
            "- section: hand_over\n  match: {kind: help}\n",
            "hand_over 没有兜底",
        ),
    ],
)
def test_a_broken_policies_file_stops_the_start_and_says_where(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    path = tmp_path / "policies.yaml"
    assert old in SHIPPED
    path.write_text(SHIPPED.replace(old, new, 1), "utf-8")
    with pytest.raises(ClockFileError, match=reason) as refused:
        load_policies(path)
    assert "policies.yaml" in str(refused.value)
