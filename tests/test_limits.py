"""Which limit holds, and files that must stop the start."""

from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_rules.clocks import ClockFileError, load_limits, load_timetable, year_table
from routing_rules.rulebook import load
from service.domain import acts
from service.domain.calendar import SHANGHAI, Calendar, Closure, YearTable
from service.domain.complaint import Kind, Urgency
from service.domain.deadline import Limit, LimitError, Measure
from service.domain.limits import Timetable, lengthened, recalculated
from service.domain.ticket import MilestoneKind, Outcome
from tests.worlds import at, complaint

LIMITS = load_limits()
TIMES = load_timetable()
START = at("2026-11-18 09:12")
ITEM_9 = frozenset({("2021年全市“五型”政府建设工作要点", "9")})
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
        # A route that rests on several items of one document names them together.
        ({}, frozenset({("兴五型办字〔2021〕4号", "3、4")}), "1 工作日"),
        ({"region": "360100"}, ITEM_9, "1 工作日"),
        ({"region": "360113"}, ITEM_9, "1 工作日"),
        # 萍乡's document of the year before has the same words in its title, and no such limit.
        ({"region": "360300"}, ITEM_9, "5 工作日"),
        ({"region": "360902"}, (), "7 日"),
        ({"region": "360902", "kind": Kind.CONSULTATION}, (), "3 工作日"),
        ({"region": "360902", "urgency": Urgency.EMERGENCY}, (), "24 小时"),
        ({"channel": "xinfang"}, (), "60 日"),
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


@pytest.mark.parametrize(
    ("region", "content", "basis"),
    [
        (
            "360732",
            "开办企业跑了三趟，说好的一日办结没有办成",
            "兴五型办字〔2021〕4号“一日办结”，第4项，文件",
        ),
        (
            "360100",
            "新公司营业执照办了五天，说好一个工作日，简易注销也退回",
            "南昌市2021年“五型”政府建设工作要点“1个工作日内”，第9项，文件",
        ),
    ],
)
def test_a_complaint_that_the_router_finds_in_a_clause_gets_the_clauses_limit(
    region: str, content: str, basis: str
) -> None:
    book = load()
    one = complaint(region=region, title="", content=content)
    ticket = acts.receive("1", one, book.route(one), book.coordinator(region).code, START, TIMES)
    clock = next(m for m in ticket.milestones if m.kind is MilestoneKind.RESOLVE)
    assert clock.basis.startswith(basis)
    assert clock.due_at == at("2026-11-19 17:30")


def test_the_emergency_profile_is_half_an_hour_two_hours_and_a_day() -> None:
    urgent = complaint(urgency=Urgency.EMERGENCY)
    owed = [MilestoneKind.SIGN, MilestoneKind.CONTACT, MilestoneKind.RESOLVE]
    assert [str(LIMITS.rule(kind, urgent).limit) for kind in owed] == [
        "30 分钟",
        "2 小时",
        "24 小时",
    ]


def test_13710_is_kept_in_yichun_and_says_that_its_meaning_is_borrowed() -> None:
    there = complaint(region="360900")
    owed = [MilestoneKind.SIGN, MilestoneKind.CONTACT, MilestoneKind.RESOLVE]
    rules = [LIMITS.rule(kind, there) for kind in owed]
    assert [str(rule.limit) for rule in rules] == ["1 工作日", "3 日", "7 日"]
    assert all("未作定义" in rule.basis and rule.basis.endswith("转引") for rule in rules)
    assert str(TIMES.policy(there).extensions.total) == "23 日"


@pytest.mark.parametrize(
    ("changes", "clauses", "basis"),
    [
        ({}, (), "山东 2020 年 12345 热线办理时限，转引"),
        (
            {"urgency": Urgency.URGENT},
            (),
            "次紧急工单从严，缺省设定；按紧急程度适用，优先于“山东 2020 年 12345 热线办理时限”",
        ),
        (
            {"urgency": Urgency.URGENT},
            ITEM_4,
            (
                "兴五型办字〔2021〕4号“一日办结”，第4项，文件；按文件条目适用，"
                "优先于“次紧急工单从严”、“山东 2020 年 12345 热线办理时限”"
            ),
        ),
        (
            {"channel": "wenzheng-jiangxi", "kind": Kind.CONSULTATION},
            (),
            (
                "问政江西督办后 3 至 5 个工作日内官方回复，转引；按诉求类型、渠道适用，"
                "优先于“某市局咨询类办理时限”、“问政江西督办后 3 至 5 个工作日内官方回复”、"
                "“山东 2020 年 12345 热线办理时限”"
            ),
        ),
    ],
)
def test_a_clock_says_which_row_won_and_over_which(changes, clauses, basis) -> None:  # type: ignore[no-untyped-def]
    one = complaint(**changes)
    clock = TIMES.milestone(MilestoneKind.RESOLVE, "u", one, START, clauses=clauses)
    assert clock.basis == basis


SUPERVISED, DISPATCHED, SIGNED = (
    at("2026-11-18 11:00"),
    at("2026-11-18 15:00"),
    at("2026-11-19 09:00"),
)


@pytest.mark.parametrize(
    ("kind", "changes", "events", "start"),
    [
        (MilestoneKind.RESOLVE, {}, {"dispatched_at": DISPATCHED}, START),
        (MilestoneKind.RESOLVE, {"clock_from": SUPERVISED}, {}, SUPERVISED),
        (MilestoneKind.RESOLVE, {"channel": "wenzheng-jiangxi"}, {}, START),
        (
            MilestoneKind.RESOLVE,
            {"channel": "wenzheng-jiangxi", "clock_from": SUPERVISED},
            {"dispatched_at": DISPATCHED},
            SUPERVISED,
        ),
        (MilestoneKind.RESOLVE, {"urgency": Urgency.EMERGENCY}, {}, START),
        (
            MilestoneKind.RESOLVE,
            {"urgency": Urgency.EMERGENCY},
            {"dispatched_at": DISPATCHED},
            DISPATCHED,
        ),
        (
            MilestoneKind.RESOLVE,
            {"channel": "xinfang"},
            {"dispatched_at": DISPATCHED},
            DISPATCHED,
        ),
        (
            MilestoneKind.RESOLVE,
            {"channel": "xinfang"},
            {"dispatched_at": DISPATCHED, "signed_at": SIGNED},
            SIGNED,
        ),
        (MilestoneKind.SIGN, {}, {"dispatched_at": DISPATCHED}, DISPATCHED),
        (MilestoneKind.CALL_BACK, {}, {"resolved_at": SIGNED}, SIGNED),
    ],
)
def test_a_clock_starts_with_the_event_its_row_names_or_the_last_before_it(  # type: ignore[no-untyped-def]
    kind, changes, events, start
) -> None:
    assert TIMES.starts(kind, complaint(**changes), **events) == start


def test_a_redo_has_the_shorter_of_two_limits() -> None:
    usual = TIMES.milestone(MilestoneKind.RESOLVE, "u", complaint(), START, redo=1)
    assert (usual.limit, usual.due_at) == ("3 工作日", at("2026-11-23 17:30"))
    one_day = TIMES.milestone(
        MilestoneKind.RESOLVE, "u", complaint(), START, redo=1, clauses=ITEM_4
    )
    assert one_day.limit == "1 工作日"


@pytest.mark.parametrize(
    ("lead_due", "due_at"),
    [
        (None, "2026-11-23 17:30"),
        ("2026-11-25 17:30", "2026-11-23 17:30"),
        ("2026-11-20 17:30", "2026-11-20 17:30"),
    ],
)
def test_an_assisting_unit_ends_before_the_lead_does(lead_due: str | None, due_at: str) -> None:
    clock = TIMES.assisting(
        MilestoneKind.RESOLVE,
        "u",
        complaint(),
        START,
        no_later_than=at(lead_due) if lead_due else None,
    )
    assert clock is not None
    assert clock.due_at == at(due_at)
    assert START < clock.warn_at < clock.due_at
    assert ("不晚于主办单位" in clock.basis) == (lead_due == "2026-11-20 17:30")


def test_an_assisting_unit_owes_no_call() -> None:
    assert TIMES.assisting(MilestoneKind.CONTACT, "u", complaint(), START) is None


def test_an_extension_adds_working_days_to_the_first_due_date_which_stays() -> None:
    clock = TIMES.milestone(MilestoneKind.RESOLVE, "u", complaint(), START)
    longer = lengthened(TIMES.calendar, clock, by=Limit(3, Measure.WORKING_DAYS))
    assert (longer.due_at, longer.original_due_at) == (at("2026-11-30 17:30"), clock.due_at)
    again = lengthened(TIMES.calendar, longer, by=Limit(2, Measure.WORKING_DAYS))
    assert (again.due_at, again.extended) == (at("2026-12-02 17:30"), "5 工作日")
    # The warning keeps its distance from the end.
    before = TIMES.calendar.working_seconds(clock.warn_at, clock.due_at)
    assert TIMES.calendar.working_seconds(again.warn_at, again.due_at) == before


def test_extensions_in_different_units_do_not_add_up() -> None:
    clock = TIMES.milestone(MilestoneKind.RESOLVE, "u", complaint(), START)
    longer = lengthened(TIMES.calendar, clock, by=Limit(3, Measure.WORKING_DAYS))
    with pytest.raises(LimitError, match="一致"):
        lengthened(TIMES.calendar, longer, by=Limit(3, Measure.DAYS))


def test_a_pause_gives_back_working_time_exactly() -> None:
    clock = TIMES.milestone(MilestoneKind.RESOLVE, "u", complaint(), START)
    paused_s = TIMES.calendar.working_seconds(at("2026-11-19 10:00"), at("2026-11-20 11:00"))
    assert paused_s == 8 * 3600
    later = lengthened(TIMES.calendar, clock, paused_s=paused_s)
    assert later.due_at == at("2026-11-27 09:30")
    emergency = TIMES.milestone(
        MilestoneKind.RESOLVE, "u", complaint(urgency=Urgency.EMERGENCY), START
    )
    assert lengthened(TIMES.calendar, emergency, paused_s=3600).due_at == at("2026-11-19 10:12")


def with_2027() -> Timetable:
    """The shipped timetable after an invented notice for 2027 has come."""
    off = {date(2027, 1, n): "元旦" for n in (1, 2, 3)}
    year = YearTable(2027, True, "虚构的通知", off, frozenset())
    return replace(TIMES, calendar=Calendar([*TIMES.calendar.years.values(), year]))


LATE = at("2026-12-28 10:00")


def test_a_new_year_moves_a_provisional_clock_and_leaves_a_firm_one() -> None:
    clock = TIMES.milestone(MilestoneKind.RESOLVE, "u", complaint(), LATE)
    assert (clock.due_at, clock.provisional) == (at("2027-01-04 17:30"), True)
    again = recalculated(clock, complaint(), with_2027())
    assert again is not None
    assert (again.due_at, again.provisional) == (at("2027-01-05 17:30"), False)
    assert again.original_due_at == again.due_at
    assert again.started_at == clock.started_at
    firm = TIMES.milestone(MilestoneKind.RESOLVE, "u", complaint(), START)
    assert recalculated(firm, complaint(), with_2027()) is None


def test_a_clock_that_ended_and_a_senders_are_never_worked_out_again() -> None:
    clock = TIMES.milestone(MilestoneKind.RESOLVE, "u", complaint(), LATE)
    ended = replace(clock, outcome=Outcome.ON_TIME, met_at=LATE)
    assert recalculated(ended, complaint(), with_2027()) is None
    timed = complaint(sender_due_at=at("2027-01-04 12:00"))
    sender = TIMES.sender_milestone("u", timed, LATE)
    assert sender is not None
    assert recalculated(sender, timed, with_2027()) is None


def test_extension_and_pause_are_given_again_on_the_new_days() -> None:
    clock = TIMES.milestone(MilestoneKind.RESOLVE, "u", complaint(), LATE)
    longer = lengthened(TIMES.calendar, clock, by=Limit(2, Measure.WORKING_DAYS), paused_s=3600)
    assert longer.due_at == at("2027-01-07 09:30")
    again = recalculated(longer, complaint(), with_2027())
    assert again is not None
    assert (again.due_at, again.original_due_at) == (at("2027-01-08 09:30"), at("2027-01-05 17:30"))
    assert (again.extended, again.paused_s) == ("2 工作日", 3600)


def test_a_changed_limit_moves_an_open_clock_from_its_own_start(tmp_path: Path) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text(_GOOD.replace("limit: 5 工作日", "limit: 2 工作日"), "utf-8")
    clock = TIMES.milestone(MilestoneKind.RESOLVE, "u", complaint(), START)
    again = recalculated(clock, complaint(), replace(TIMES, limits=load_limits(path)))
    assert again is not None
    assert (again.limit, again.due_at) == ("2 工作日", at("2026-11-20 17:30"))


CHANGES = st.tuples(
    st.datetimes(datetime(2024, 1, 2), datetime(2026, 10, 1)),  # noqa: DTZ001
    st.sampled_from(
        [complaint(), complaint(urgency=Urgency.EMERGENCY), complaint(region="360900")]
    ),
    st.integers(0, 200_000),
    st.integers(0, 10),
)


@given(CHANGES)
def test_working_out_again_under_the_same_timetable_changes_nothing(change) -> None:  # type: ignore[no-untyped-def]
    moment, one, paused_s, days = change
    start = moment.replace(tzinfo=SHANGHAI, microsecond=0)
    clock = TIMES.milestone(MilestoneKind.RESOLVE, "u", one, start)
    by = Limit(days, Measure.WORKING_DAYS) if days else None
    longer = lengthened(TIMES.calendar, clock, by=by, paused_s=paused_s)
    assert longer.due_at >= clock.due_at
    assert recalculated(longer, one, TIMES) is None


def test_a_clock_counts_by_the_closures_of_its_region() -> None:
    closed = Closure("360732", date(2026, 11, 19), date(2026, 11, 20), "防汛停办", "通告")
    local = TIMES.calendar.local(TIMES.calendar.hours, [closed])
    times = replace(TIMES, local={"360732": local})
    here = times.milestone(MilestoneKind.RESOLVE, "u", complaint(), START)
    there = times.milestone(MilestoneKind.RESOLVE, "u", complaint(region="360733"), START)
    assert (here.due_at, there.due_at) == (at("2026-11-27 17:30"), at("2026-11-25 17:30"))


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
        ("limit: 5 工作日", "limit: 99999 工作日", "超出范围"),
        ("source: 丙", "source: 丙, starts: tomorrow", "starts"),
        ("source: 丙", "source: 丙, starts: resolve", "不能自 resolve 起算"),
        ("source: 丁", "source: 丁, starts: dispatch", "不能自 dispatch 起算"),
        ("source: 丙", "source: 丙, source: 戊", "写了两次"),
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
