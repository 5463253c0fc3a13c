"""What the pages say about time and events."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_rules.clocks import load_timetable
from service.domain.ticket import Clock, Event, Milestone, MilestoneKind, Outcome, Stage
from service.web.timeline import timeline
from service.web.words import amount, event_name, left, notice, share, told, undelivered
from tests.worlds import at

CALENDAR = load_timetable().calendar
DAY = CALENDAR.hours.seconds


@pytest.mark.parametrize(
    ("now", "due", "limit", "said"),
    [
        # Friday morning to Monday's cut-off: the weekend is no time at all.
        ("2026-11-20 08:30", "2026-11-23 17:30", "2 工作日", "剩 2 天（工作时间）"),
        ("2026-11-18 14:30", "2026-11-20 10:30", "2 工作日", "剩 1 天 5 小时（工作时间）"),
        ("2026-11-18 17:29", "2026-11-18 17:30", "1 工作日", "剩 1 分钟（工作时间）"),
        ("2026-11-18 17:29:30", "2026-11-18 17:30", "1 工作日", "剩 不到 1 分钟（工作时间）"),
        ("2026-11-20 17:30", "2026-11-18 17:30", "5 工作日", "已超 2 天（工作时间）"),
        # 国庆 2025 with 10-11 worked: ten days on the wall, two at work.
        ("2025-09-30 17:30", "2025-10-10 17:30", "2 工作日", "剩 2 天（工作时间）"),
        # At night, and for limits that run day and night, the time on the clock.
        ("2026-11-18 20:00", "2026-11-18 20:30", "", "剩 30 分钟（自然时间）"),
        ("2026-11-18 11:50", "2026-11-18 12:20", "30 分钟", "剩 30 分钟（自然时间）"),
        ("2026-11-18 09:00", "2026-11-19 10:00", "24 小时", "剩 1 天 1 小时（自然时间）"),
        ("2026-11-18 09:00", "2026-11-18 09:00", "24 小时", "剩 不到 1 分钟（自然时间）"),
        ("2026-11-18 09:00", "2026-11-18 10:30", "来件时限", "剩 1 小时 30 分钟（工作时间）"),
        # A sender may name a year that no calendar reaches.
        ("2026-11-18 09:00", "2099-11-18 09:00", "来件时限", "剩 26663 天（自然时间）"),
    ],
)
def test_what_is_left_is_said_in_working_time(now: str, due: str, limit: str, said: str) -> None:
    assert left(CALENDAR, at(now), at(due), limit) == said


@given(
    st.integers(0, 60 * 24 * 330),
    st.integers(0, 60 * 24 * 30),
    st.sampled_from(["5 工作日", "24 小时", "来件时限"]),
)
def test_what_is_left_has_one_wording_for_every_time(start: int, minutes: int, limit: str) -> None:
    now = at("2026-01-01") + timedelta(minutes=start)
    due = now + timedelta(minutes=minutes)
    assert left(CALENDAR, now, due, limit).startswith("剩 ")
    assert left(CALENDAR, due + timedelta(seconds=60), now, limit).startswith("已超 ")


@given(st.integers(0, 10**8))
def test_an_amount_never_promises_more_than_there_is(seconds: int) -> None:
    said = amount(seconds, DAY)
    units = {"天": DAY, "小时": 3600, "分钟": 60}
    words = said.split()
    promised = (
        0
        if said == "不到 1 分钟"
        else sum(int(n) * units[u] for n, u in zip(words[::2], words[1::2], strict=True))
    )
    assert promised <= seconds
    assert seconds - promised < (3600 if seconds >= DAY else 60)


def test_an_event_tells_all_that_it_carries_with_labels_where_there_are_some() -> None:
    content = {
        "reason": "不属于本单位",
        "suggested_unit": "a",
        "solved": False,
        "grade": 5,
        "auto": True,
        "confidence": 0.934,
        "assist": ["a", "b"],
        "text": "",
        "hotline": None,
        "code": "awaiting_citizen",
        "something_new": "新的一项",
    }
    said = told(Event("note", at("2026-11-18 09:00"), "人", "handler", content), lambda c: f"{c}局")
    assert dict(said) == {
        "理由": "不属于本单位",
        "建议改派": "a局",
        "是否解决": "未解决",
        "满意度": "5 非常满意",
        "方式": "自动",
        "把握": "93%",
        "协办单位": "a局、b局",
        "事由代码": "awaiting_citizen",
        "something_new": "新的一项",
    }


def test_a_clocks_step_is_one_line() -> None:
    content = {"milestone": "sign", "clock": "own", "stage": "overdue"}
    content["due_at"] = "2026-11-18T15:30:00+08:00"
    step = Event("stage", at("2026-11-18 15:30"), "banjie", "admin", content)
    assert event_name(step) == "时限预警：签收超期"
    for measure, said in (
        ("remind", "催办"),
        ("red", "红牌"),
        ("bulletin", "通报"),
        (None, "红牌"),
    ):
        red = Event("stage", step.at, "", "", content | {"stage": "red", "measure": measure})
        assert event_name(red) == f"时限预警：签收{said}"
    assert told(step, str) == [("到期", "2026-11-18 15:30")]
    theirs = Event("stage", step.at, "banjie", "admin", content | {"clock": "sender"})
    assert told(theirs, str) == [("时钟", "来件时限"), ("到期", "2026-11-18 15:30")]


@pytest.mark.parametrize(
    ("left_behind", "said"),
    [
        ("sign.360732-20261118-00001", "签收成功：工单 360732-20261118-00001"),
        ("sign.<b>", ""),
        ("fly.360732-20261118-00001", ""),
        ("", ""),
    ],
)
def test_a_notice_says_nothing_but_what_acts_say(left_behind: str, said: str) -> None:
    assert notice(left_behind) == said


def test_a_rate_is_said_with_what_it_was_counted_of() -> None:
    assert share(3112, 3456) == "90.05 %（3112/3456）"
    assert share(0, 0) == "—"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("", "—"),
        ("http-401", "对方应答 401"),
        ("no-connection", "连接不上对方"),
        ("expired", "超过期限仍未送达"),
    ],
)
def test_a_handler_reads_why_nothing_arrived(reason: str, said: str) -> None:
    assert undelivered(reason) == said


def _clock(kind: MilestoneKind, began: str, due: str, met: str = "", **more: Any) -> Milestone:
    return Milestone(
        kind=kind,
        unit="u",
        clock=Clock.OWN,
        governing=True,
        limit="4 工作小时",
        basis="",
        started_at=at(began),
        due_at=at(due),
        original_due_at=at(due),
        provisional=False,
        warn_at=at(began),
        met_at=at(met) if met else None,
        outcome=Outcome.ON_TIME if met else None,
        **more,
    )


def test_clocks_lie_beside_each_other_on_one_line_of_time() -> None:
    signed = _clock(MilestoneKind.SIGN, "2026-11-18 09:00", "2026-11-18 13:00", "2026-11-18 11:00")
    owed = _clock(MilestoneKind.RESOLVE, "2026-11-18 09:00", "2026-11-19 09:00", assisting=True)
    drawn = timeline([owed, signed], at("2026-11-18 21:00"))
    assert drawn is not None
    first, second = drawn.bars
    assert (first.name, second.name) == ("签收", "协办办结")
    assert first.begins == second.begins == drawn.left
    assert first.met is not None
    assert first.begins < first.met < first.due < second.due
    assert drawn.now == (second.begins + second.due) / 2
    assert (first.look, second.look) == (Outcome.ON_TIME, Stage.NORMAL)
    assert first.told == "签收按时，11-18 09:00 起，11-18 13:00 到期，11-18 11:00 完成"
    # Over, nothing is now; without clocks there is nothing to draw.
    over = timeline([signed], at("2026-12-18 21:00"))
    assert over is not None
    assert over.now is None
    assert timeline([], at("2026-11-18 21:00")) is None
