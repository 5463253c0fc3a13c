"""The rates as published, and what counts in them: pure, no store."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.kpi import (
    BOUNDS_S,
    RATES,
    STEPS,
    WORKED_S,
    Better,
    Grain,
    Weights,
    block,
    happened,
    ranks,
    rate,
    score,
    spans,
    wilson,
    worked,
)
from service.domain.lifecycle import Act
from tests.worlds import at


@pytest.mark.parametrize(
    ("which", "found", "numerator", "denominator", "percent"),
    [
        # 高安 2022-09: what was rejected counts as finished.
        (
            "completion",
            {"stand_closed": 1821, "stand_not_accepted": 98, "stand_signed": 2381 - 1821 - 98},
            1919,
            2381,
            "80.60",
        ),
        # 高安 2023-10: the assessed, not the 1833 finished; 重派 over the finished.
        (
            "solved",
            {"answer_yes_5": 1273, "answer_no_1": 1774 - 1273, "answer_unreached": 1833 - 1774},
            1273,
            1774,
            "71.76",
        ),
        ("redispatched", {"resolved": 1833, "resolved_moved": 15}, 15, 1833, "0.82"),
        # 丰城 2025-05.
        ("solved", {"answer_yes_0": 3112, "answer_no_0": 3456 - 3112}, 3112, 3456, "90.05"),
    ],
)
def test_a_published_rate_comes_out_as_published(
    which: str, found: dict[str, int], numerator: int, denominator: int, percent: str
) -> None:
    counted = rate(RATES[which], found)
    assert (counted.numerator, counted.denominator) == (numerator, denominator)
    assert counted.value is not None
    assert f"{counted.value * 100:.2f}" == percent


def test_what_is_left_out_is_told_with_its_reason() -> None:
    found = {"answer_yes_5": 8, "answer_no_2": 2, "answer_unreached": 3, "answer_none_4": 1}
    left = {each.reason: n for each, n in rate(RATES["solved"], found).left_out}
    assert left == {"unreached": 3, "unanswered": 1}
    late = {"resolve_on_time": 7, "resolve_late": 1, "resolve_overdue": 2, "resolve_open": 5}
    on_time = rate(RATES["on_time"], late)
    assert (on_time.numerator, on_time.denominator) == (7, 10)
    assert {each.reason: n for each, n in on_time.left_out} == {"within_limit": 5, "paused": 0}


def test_the_three_rates_weigh_as_the_hotline_says() -> None:
    found = {
        "contact_on_time": 9,
        "contact_late": 1,
        "answer_yes_5": 6,
        "answer_yes_3": 2,
        "answer_no_1": 2,
    }
    # 响应 0.9 × 0.1 + (满意 0.6 + 0.9 × 基本满意 0.2) × 0.4 + 解决 0.8 × 0.5
    assert score(found, Weights()) == pytest.approx(0.09 + 0.78 * 0.4 + 0.4)
    assert score(found, Weights(0, 0, 1, 1)) == pytest.approx(0.8)
    assert score({"answer_yes_5": 6}, Weights()) is None, "nobody was to be contacted"


@pytest.mark.parametrize(
    ("numerator", "denominator", "low", "high"),
    [
        # Newcombe (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(numerator: int, denominator: int, low: float, high: float) -> None:
    assert wilson(numerator, denominator) == pytest.approx((low, high), abs=5e-5)


def test_there_is_no_interval_of_nothing_or_of_more_than_all() -> None:
    assert wilson(0, 0) is None
    assert wilson(3, 2) is None


@given(st.integers(0, 5000), st.integers(1, 5000))
def test_an_interval_holds_its_rate(some: int, more: int) -> None:
    interval = wilson(some, some + more)
    assert interval is not None
    assert 0 <= interval[0] <= some / (some + more) <= interval[1] <= 1


def test_equals_share_a_rank_and_what_is_not_ranked_has_none() -> None:
    assert ranks([0.9, None, 0.95, 0.9, 0.1]) == [2, None, 1, 2, 4]
    assert ranks([0.9, 0.1], Better.LOW) == [2, 1]


@given(st.lists(st.integers(0, 70 * 25_200), min_size=1, max_size=60))
def test_a_percentile_lies_in_the_step_that_is_told(took: list[int]) -> None:
    found: Counter[str] = Counter()
    for seconds in took:
        found.update(
            {
                c.measure: n
                for c, n in happened(_Told(Act.RESOLVE, content={"working_s": seconds}), []).items()
            }
        )
    told = worked(found)
    assert told.count == len(took)
    assert told.mean_s == round(sum(took) / len(took))
    for share, percentile in ((0.5, told.median), (0.9, told.p90)):
        true = sorted(took)[max(1, ceil(share * len(took))) - 1]
        assert percentile is not None
        assert percentile.above_s <= true
        assert percentile.within_s is None or true <= percentile.within_s
        assert percentile.above_s <= percentile.about_s


def test_steps_are_no_wider_than_is_told() -> None:
    hour, day = 3_600, 25_200
    for lower, upper in pairwise((0, *BOUNDS_S)):
        most = hour / 2 if upper <= day else hour if upper <= 3 * day else day / 2
        assert upper - lower <= (most if upper <= 15 * day else day)
    assert len(STEPS) == len(BOUNDS_S) + 1


# Days


def _of(spans_: Any) -> dict[date, tuple[Grain, bool]]:
    days = {}
    for span in spans_:
        day = span.first
        while day <= span.last:
            assert day not in days
            days[day] = (span.grain, span.elapsed)
            day += timedelta(1)
        before, after = span.first - timedelta(1), span.last + timedelta(1)
        for ours, other in ((span.first, before), (span.last, after)):
            assert block(span.grain, ours.isoformat()) != block(span.grain, other.isoformat())
    return days


_DAYS = st.dates(date(2024, 1, 1), date(2028, 1, 1))


@given(_DAYS, _DAYS, _DAYS)
def test_spans_hold_each_day_once_and_know_whether_it_is_over(
    one: date, other: date, elapsed: date
) -> None:
    first, last = sorted((one, other))
    days = _of(spans(first, last, elapsed))
    assert sorted(days) == [first + timedelta(n) for n in range((last - first).days + 1)]
    assert all(over == (day <= elapsed) for day, (_, over) in days.items())
    assert len(spans(first, last, elapsed)) <= 18


@given(_DAYS, _DAYS, st.sampled_from(Grain))
def test_no_span_is_longer_than_is_asked_for(one: date, other: date, longest: Grain) -> None:
    first, last = sorted((one, other))
    grains = {span.grain for span in spans(first, last, last, longest)}
    assert grains <= set(list(Grain)[list(Grain).index(longest) :])


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("2026-01-01", "2026-12-31", ["2026-01-01 year 2026-12-31"]),
        (
            "2025-12-01",
            "2026-11-30",
            [
                "2025-12-01 month 2025-12-31",
                "2026-01-01 quarter 2026-09-30",
                "2026-10-01 month 2026-11-30",
            ],
        ),
        (
            "2026-02-19",
            "2026-03-21",
            [
                "2026-02-19 day 2026-02-20",
                "2026-02-21 ten 2026-03-20",
                "2026-03-21 day 2026-03-21",
            ],
        ),
        ("2026-02-28", "2026-02-28", ["2026-02-28 day 2026-02-28"]),
    ],
)
def test_a_period_is_made_of_the_longest_blocks(first: str, last: str, expected: list[str]) -> None:
    found = spans(date.fromisoformat(first), date.fromisoformat(last), date(2027, 2, 1))
    assert [f"{span.first} {span.grain} {span.last}" for span in found] == expected


# Events


_NOON = at("2026-11-18 12:00")


@dataclass
class _Told:
    act: str
    at: datetime = _NOON
    unit: str = "A"
    content: dict[str, Any] = field(default_factory=dict)


def _give(unit: str, *, had: str = "", when: str = "2026-11-18 10:00") -> _Told:
    return _Told(Act.DISPATCH, at(when), had or unit, {"unit": unit})


def _counted(*events: _Told) -> dict[tuple[str, str, str], int]:
    total: Counter[Any] = Counter()
    for n, event in enumerate(events):
        total.update(happened(event, events[:n]))
    return {(c.day.isoformat()[5:], c.unit, c.measure): n for c, n in total.items() if n}


def test_a_first_dispatch_was_right_until_another_unit_gets_the_ticket() -> None:
    first = _give("A", when="2026-11-02 10:00")
    assert _counted(first) == {("11-02", "A", "dispatched"): 1, ("11-02", "A", "first_right"): 1}
    again = _give("B", had="A", when="2026-11-05 10:00")
    third = _give("C", had="B", when="2026-11-06 10:00")
    assert _counted(first, again, third) == {
        ("11-02", "A", "dispatched"): 1,
        ("11-05", "B", "dispatched"): 1,
        ("11-06", "C", "dispatched"): 1,
        ("11-02", "A", "first_wrong"): 1,
        ("11-05", "A", "redispatched"): 1,
        ("11-06", "B", "redispatched"): 1,
    }


def test_a_ticket_that_came_with_its_unit_has_no_first_dispatch_however_often_it_moves() -> None:
    moved = _give("B", had="A", when="2026-11-02 10:00")
    again = _give("C", had="B", when="2026-11-03 10:00")
    assert _counted(moved, again) == {
        ("11-02", "B", "dispatched"): 1,
        ("11-03", "C", "dispatched"): 1,
        ("11-02", "A", "redispatched"): 1,
        ("11-03", "B", "redispatched"): 1,
    }


def test_a_send_back_belongs_to_the_day_of_its_dispatch_and_is_decided_later() -> None:
    first = _give("A", when="2026-10-31 10:00")
    back = _Told(Act.SEND_BACK, at("2026-11-01 10:00"), "A")
    refused = _give("A", when="2026-11-02 10:00")
    found = _counted(first, back, refused)
    assert found["10-31", "A", "sent_back"] == 1
    assert found["11-02", "A", "back_refused"] == 1
    assert found["10-31", "A", "first_right"] == 1
    upheld = _counted(first, back, _give("B", when="2026-11-02 10:00"))
    assert upheld["11-02", "A", "back_upheld"] == 1
    assert upheld["10-31", "A", "first_wrong"] == 1


def _call(when: str, **content: Any) -> _Told:
    return _Told(
        Act.CALL_BACK, at(when), "A", {"reached": True, "solved": None, "grade": None} | content
    )


def _resolve(when: str, **content: Any) -> _Told:
    return _Told(Act.RESOLVE, at(when), "A", {"working_s": 3600} | content)


def test_of_each_resolution_the_last_answer_counts_and_every_call() -> None:
    calls = (
        _resolve("2026-11-03 10:00"),
        _call("2026-11-04 10:00", reached=False),
        _call("2026-11-05 10:00", solved=False, grade=2),
        _call("2026-11-06 10:00", solved=True, grade=4),
        _call("2026-11-07 10:00", reached=False),
    )
    found = _counted(*calls)
    answers = {key: n for key, n in found.items() if key[2].startswith("answer")}
    assert answers == {("11-06", "A", "answer_yes_4"): 1}
    assert sum(n for key, n in found.items() if key[2].startswith("call_")) == 4
    # A redo is asked about again, and what was said of the first stays.
    more = _counted(
        *calls, _resolve("2026-11-09 10:00"), _call("2026-11-10 10:00", solved=False, grade=1)
    )
    answers = {key: n for key, n in more.items() if key[2].startswith("answer")}
    assert answers == {("11-06", "A", "answer_yes_4"): 1, ("11-10", "A", "answer_no_1"): 1}


def test_a_redo_belongs_to_the_resolution_that_did_not_hold() -> None:
    found = _counted(
        _give("A"),
        _resolve("2026-11-20 10:00"),
        _Told(Act.REOPEN, at("2026-12-02 10:00"), "A", {"counts_against": "A"}),
    )
    assert found["11-20", "A", "redone"] == 1


def test_an_assisting_units_answer_is_no_resolution() -> None:
    assert _counted(_Told(Act.RESOLVE, content={"public_reply": "好", "solved": True})) == {}


@pytest.mark.parametrize(
    ("before", "moved"),
    [
        ([_give("A")], 0),
        ([_give("A"), _give("B", had="A")], 1),
        ([_give("A"), _Told(Act.SEND_BACK), _give("B")], 1),
        ([_give("A"), _Told(Act.SEND_BACK), _give("A")], 0),
        ([_give("A"), _give("B", had="A"), _resolve("2026-11-19 10:00")], 0),
    ],
)
def test_a_resolution_knows_whether_its_ticket_was_moved(before: list[_Told], moved: int) -> None:
    last = _resolve("2026-11-20 10:00")
    found = happened(last, before)
    assert sum(n for c, n in found.items() if c.measure == "resolved_moved") == moved
    assert sum(n for c, n in found.items() if c.measure == WORKED_S) == 3600


def test_every_rate_is_made_of_measures_that_are_counted() -> None:
    for each in RATES.values():
        assert set(each.counts) <= set(each.of) or each.id in {
            "sent_back",
            "redispatched",
            "redone",
            "extended",
        }
        left = [measure for out in each.left_out for measure in out.measures]
        assert not set(left) & set(each.of), "what is left out is not counted"
