"""The examples of docs/clocks.md come out as the page says."""

import re
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest

from routing_rules.clocks import load_timetable
from service.domain import acts
from service.domain.access import Actor, Role
from service.domain.calendar import SHANGHAI, Calendar, YearTable
from service.domain.complaint import UnitRef, Urgency
from service.domain.deadline import due, parse_limit
from service.domain.lifecycle import State
from service.domain.policy import Bears, HandOver, Policies
from service.domain.ticket import Milestone, MilestoneKind, Outcome, Ticket
from tests.worlds import HANDLER, HOTLINE, HOUSING, ToldRouter, at, complaint

PAGE = (Path(__file__).parents[1] / "docs" / "clocks.md").read_text("utf-8")
TIMES = load_timetable()
APPROVER = Actor("督办员", Role.SUPERVISOR, id="9")
RECEIVED = "2026-11-18 09:12"


def example(heading: str) -> str:
    """Return the text of one example."""
    found = re.search(rf"^## {heading}：.*?(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[0]


def said(moment: datetime) -> str:
    return f"{moment.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


def received(when: str = RECEIVED) -> Ticket:
    """Return a ticket that was received and dispatched at one moment."""
    one = complaint(accepted_at=at(when))
    route = ToldRouter(assisted=False).route(one)
    return acts.receive("1", one, route, HOTLINE.code, at(when), TIMES)


def own(ticket: Ticket, kind: MilestoneKind = MilestoneKind.RESOLVE) -> Milestone:
    return [m for m in ticket.milestones if m.kind is kind][-1]


def signed(ticket: Ticket, when: str) -> Ticket:
    return replace(acts.sign(ticket, "", at(when), TIMES), state=State.SIGNED)


def test_a_ticket_over_national_day() -> None:
    page = example("例一")
    ticket = received("2025-09-30 10:00")
    assert f"签收：{said(own(ticket, MilestoneKind.SIGN).due_at)} 前" in page
    assert f"首次联系：{said(own(ticket, MilestoneKind.CONTACT).due_at)} 前" in page
    assert own(ticket).due_at == at("2025-10-14 17:30")
    assert "办结：2025-10-14 17:30 前" in page
    told = "\n".join(due(TIMES.calendar, at("2025-09-30 10:00"), parse_limit("5 工作日")).reasoning)
    rows = re.findall(r"^\| (\d\S+(?: 至 \S+)?) \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) == 6
    for days, verdict in rows:
        for part in verdict.split("，第"):
            assert days.removesuffix("（周六）") in told
            assert part.removeprefix("第") in told


def test_a_ticket_sent_back_on_day_two() -> None:
    page = example("例二")
    ticket = signed(received(), "2026-11-18 10:00")
    assert said(own(ticket).due_at) == "2026-11-25 17:30"
    window = TIMES.policy(ticket.complaint).send_backs.window
    last = due(TIMES.calendar, at(RECEIVED), window).due_at
    assert f"派单后 {window}内，即 {said(last)} 前" in page
    with pytest.raises(acts.RuleForbids, match="send-back-window"):
        acts.send_back(ticket, HOTLINE.code, HANDLER, at("2026-11-23 09:00"), TIMES)
    back = acts.send_back(ticket, HOTLINE.code, HANDLER, at("2026-11-20 10:00"), TIMES)
    assert own(back).unit == HOTLINE.code
    housing = UnitRef(HOUSING.code, HOUSING.name)
    again = acts.dispatch(
        replace(back, state=State.SORTING), housing, (), HOTLINE.code, at("2026-11-20 15:00"), TIMES
    )
    assert own(again).unit == HOUSING.code
    assert f"办结期限不变，仍是 {said(own(again).due_at)}" in page
    assert f"乙单位签收从改派算起：{said(own(again, MilestoneKind.SIGN).due_at)} 前" in page


@pytest.mark.parametrize(
    ("bears", "answers"),
    [
        (Bears.TAKER, HOUSING.code),
        (Bears.GIVER, "360732-market"),
        (Bears.COORDINATOR, HOTLINE.code),
    ],
)
def test_who_bears_the_days_that_were_used_is_a_setting(bears: Bears, answers: str) -> None:
    rows = tuple(
        replace(row, send_back=bears) if isinstance(row, HandOver) else row
        for row in TIMES.policies.rows
    )
    times = replace(TIMES, policies=Policies(rows))
    ticket = signed(received(), "2026-11-18 10:00")
    back = acts.send_back(ticket, HOTLINE.code, HANDLER, at("2026-11-20 10:00"), times)
    housing = UnitRef(HOUSING.code, HOUSING.name)
    again = acts.dispatch(
        replace(back, state=State.SORTING), housing, (), HOTLINE.code, at("2026-11-20 15:00"), times
    )
    assert "一个完整时限（2026-11-27 17:30）内" in example("例二")
    for when, expected in [("2026-11-27 17:30", answers), ("2026-11-27 17:31", HOUSING.code)]:
        after = acts.resolve(again, HOTLINE.code, at(when), times)
        assert (own(after).outcome, own(after).answers) == (Outcome.LATE, expected)


def test_a_ticket_extended_once() -> None:
    page = example("例三")
    ticket = signed(received(), "2026-11-18 10:00")
    amount = parse_limit("3 工作日")
    asked = acts.request_extension(ticket, amount, "待检测", HANDLER, at("2026-11-24 09:00"), TIMES)
    with pytest.raises(acts.RuleForbids, match="own-request"):
        acts.decide_extension(asked, HANDLER, at("2026-11-24 10:00"), TIMES, granted=True)
    longer = acts.decide_extension(asked, APPROVER, at("2026-11-24 10:00"), TIMES, granted=True)
    assert f"原期限：{said(own(longer).original_due_at)}，" in page
    assert f"新期限：{said(own(longer).due_at)}（" in page
    limits = TIMES.policy(ticket.complaint).extensions
    assert f"最多延 {limits.times} 次，合计不超过 {limits.total}" in page
    with pytest.raises(acts.RuleForbids, match="extension-times"):
        acts.request_extension(
            longer, parse_limit("1 工作日"), "还要", HANDLER, at("2026-11-26 09:00"), TIMES
        )
    with pytest.raises(acts.RuleForbids, match="extension-expired"):
        acts.request_extension(ticket, amount, "晚了", HANDLER, at("2026-11-25 17:31"), TIMES)


def test_a_ticket_paused_for_a_while() -> None:
    page = example("例四")
    ticket = signed(received(), "2026-11-18 10:00")
    stands = acts.pause(ticket, "awaiting_third_party", at("2026-11-19 10:00"), TIMES)
    again = acts.resume(replace(stands, state=State.PAUSED), at("2026-11-20 11:00"), TIMES)
    assert own(again).paused_s == 8 * 3600
    assert f"新期限 {said(own(again).due_at)}" in page
    assert f"每次最长 {TIMES.policy(ticket.complaint).pauses.longest}" in page


def test_a_ticket_that_nobody_answers() -> None:
    clock = own(signed(received(), "2026-11-18 10:00"))
    rows = re.findall(r"^\| (\S+) \| (\d{4}\S+ \S+) \|$", example("例五"), re.MULTILINE)
    names = ["催办（时限用掉四分之三）", "普通督办", "黄牌", "红牌", "通报"]
    assert rows == [(name, said(s.at)) for name, s in zip(names, clock.course, strict=True)]


def test_a_ticket_that_reaches_a_year_without_a_notice() -> None:
    page = example("例六")
    ticket = received("2026-12-28 10:00")
    assert own(ticket).provisional
    assert f"先按周一至周五推算：{said(own(ticket).due_at)}，标为暂定" in page
    off = {date(2027, 1, day): "元旦" for day in (1, 2, 3)}
    year = YearTable(2027, True, "虚构的通知", off, frozenset())
    times = replace(TIMES, calendar=Calendar([*TIMES.calendar.years.values(), year]))
    again = acts.recalculated(ticket, at("2026-12-29 09:00"), times)
    assert not own(again).provisional
    assert f"录入后重新计算：{said(own(again).due_at)}，不再是暂定" in page


def test_the_table_of_defaults_is_the_one_in_force() -> None:
    kinds = dict(zip(["签收", "首次联系", "办结", "回访"], MilestoneKind, strict=True))
    urgencies = (Urgency.NORMAL, Urgency.URGENT, Urgency.EMERGENCY)
    rows = re.findall(r"^\| (签收|首次联系|办结|回访) \| (.*) \| .* \|$", PAGE, re.MULTILINE)
    assert [name for name, _ in rows] == list(kinds)
    for name, cells in rows:
        told = [cell.partition("（")[0] for cell in cells.split(" | ")]
        rules = [TIMES.limits.rule(kinds[name], complaint(urgency=u)) for u in urgencies]
        assert told == [str(rule.limit) for rule in rules]
