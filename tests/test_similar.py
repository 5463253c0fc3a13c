"""When two tickets are the same matter, and many of them a matter of many people."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_rules.likeness import load_likeness
from service.domain.complaint import Contact
from service.domain.lifecycle import State
from service.domain.similar import (
    Common,
    Relation,
    Traits,
    alike,
    compare,
    imprint,
    marks,
    one_topic,
    people,
    person,
    reason,
    relation,
    spots,
    towns,
    traits,
)
from tests.worlds import at, complaint

KEY = b"k" * 32
RULES = load_likeness()
LAMP = "圩镇主街的路灯坏了十来天，晚上接孩子放学看不清路。"
LAMP_AGAIN = "高兴圩镇主街上的路灯不亮有十几天了，晚上孩子放学看不清路，希望尽快维修。"
LIFT = "电梯坏了一个星期没人修，物业说没有维修资金，老人上下楼很困难。"
LIFT_AGAIN = "御景新城3栋电梯停运七八天，物业以没有维修资金为由不修，家里老人上不了楼。"
DOOR = "买的房子交房两年了，想问不动产证什么时候能办，要不要排队。"


def one(
    content: str,
    phone: str = "",
    place: str = "",
    when: str = "2026-11-18 09:12",
    region: str = "360732",
    number: int = 1,
    line: str = "urban_management",
) -> Traits:
    told = complaint(
        title="", content=content, place=place, region=region, contact=Contact("王某", phone)
    )
    return traits(number, told, line, at(when), KEY)


@pytest.mark.parametrize(
    "phone", ["13800000001", "+86 138-0000-0001", "8613800000001", "138 0000 0001"]
)
def test_a_number_is_the_same_however_it_is_written(phone: str) -> None:
    assert person(phone, KEY) == person("13800000001", KEY)
    assert "13800000001" not in person(phone, KEY)


@pytest.mark.parametrize("phone", ["", "无", "00000000000", "12345"])
def test_what_is_no_number_is_nobody(phone: str) -> None:
    assert person(phone, KEY) == ""


def test_another_key_makes_another_person() -> None:
    assert person("13800000001", KEY) != person("13800000001", b"x" * 32)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("潋江镇滨江花园3栋", ("滨江花园",)),
        ("我住在滨江花园", ("滨江花园",)),
        ("我们小区的路灯", ()),
        ("附近的医院和这条路", ()),
        ("红军路与文明大道交叉口", ("红军路", "文明大道")),
    ],
)
def test_a_place_is_known_by_its_end(text: str, found: tuple[str, ...]) -> None:
    assert spots(text) == found


def test_a_town_is_no_exact_place() -> None:
    assert spots("潋江镇") == ()
    assert towns("兴国县潋江镇") == ("潋江",)


@pytest.mark.parametrize(
    ("earlier", "later", "same"),
    [
        # the same person in other words, named or not where
        (one(LAMP, "13800000001", "高兴镇圩镇主街"), one(LAMP_AGAIN, "13800000001"), True),
        (one(LIFT, "13800000001", "潋江镇"), one(LIFT_AGAIN, "13800000001", "潋江镇"), True),
        # the same person about something else
        (one(LAMP, "13800000001", "潋江镇"), one(DOOR, "13800000001", "潋江镇"), False),
        # the same person and trouble at two places
        (
            one(LAMP, "13800000001", "红军路"),
            one("滨江花园的路灯坏了，晚上看不清路。", "13800000001", "滨江花园"),
            False,
        ),
        # two people with one trouble are two who wait for an answer
        (one(LAMP, "13800000001", "红军路"), one(LAMP, "13800000002", "红军路"), False),
        # a forum knows no number: the place and the words, or nearly the same words
        (one(LAMP, "13800000001", "圩镇主街"), one(LAMP_AGAIN, place="圩镇主街"), True),
        (one(LAMP, "13800000001"), one("求助：" + LAMP), True),
        (one(LAMP, "13800000001"), one(LIFT), False),
        # in time, and in the county
        (one(LAMP, when="2026-08-01 09:00"), one(LAMP), False),
        (one(LAMP, region="360731"), one(LAMP), False),
    ],
)
def test_the_same_matter(earlier: Traits, later: Traits, same: bool) -> None:
    assert (compare(later, earlier, RULES) is not None) is same
    if same:  # what would be looked up finds it
        assert set(marks(later)) & set(marks(earlier))


def test_a_person_is_told_why() -> None:
    common = Common(True, "滨江花园", "", 0.82, 0.9)
    later, earlier = at("2026-11-21 08:00"), at("2026-11-18 22:00")
    assert (
        reason(common, later, earlier, "问政江西")
        == "同一来电号码，同一地点（滨江花园），内容相似 0.82，3 天前在问政江西提出"
    )
    assert reason(common, earlier, later, "12345").endswith("3 天后在12345提出")
    near = replace(common, person=False, spot="", town="潋江")
    assert reason(near, later, later, "12345") == "同一乡镇（潋江），内容相似 0.82，同日在12345提出"


@pytest.mark.parametrize(
    ("later", "earlier", "person_too", "expected"),
    [
        (State.SORTING, State.SIGNED, True, Relation.PROPOSED),
        (State.DISPATCHED, State.PAUSED, False, Relation.PROPOSED),
        (State.SIGNED, State.CLOSED, True, Relation.REPEAT),
        (State.CLOSED, State.CLOSED, True, Relation.REPEAT),
        (State.SIGNED, State.CLOSED, False, None),
        (State.MERGED, State.SIGNED, True, None),
        (State.PAUSED, State.SIGNED, True, None),  # a paused one cannot be merged
        (State.SIGNED, State.MERGED, True, None),
        (State.SIGNED, State.NOT_ACCEPTED, True, None),
    ],
)
def test_what_they_are_follows_from_how_they_stand(
    later: State, earlier: State, person_too: bool, expected: Relation | None
) -> None:
    assert relation(later, earlier, Common(person_too, "", "", 0.5, 0.5)) is expected


def test_many_people_about_one_thing_in_one_place() -> None:
    many = [
        one("滨江花园又停水两天了，自来水公司不说什么时候来水", f"1380000000{n}", number=n)
        for n in range(4)
    ]
    many += [one("滨江花园停水，自来水公司电话打不通", number=n) for n in (5, 6)]
    assert all(one_topic(many[0], other, RULES.group) for other in many)
    assert people(many) == 5  # who left no number may all be one
    assert not one_topic(many[0], one(LIFT, place="滨江花园"), RULES.group)
    assert not one_topic(many[0], one("红军路停水两天了，自来水公司不管"), RULES.group)


@given(st.text(max_size=300), st.text(max_size=300))
def test_likeness_is_a_share_and_the_same_both_ways(a: str, b: str) -> None:
    one_print, other = imprint(a), imprint(b)
    assert 0 <= alike(one_print, other) <= 1
    assert alike(one_print, other) == alike(other, one_print)
    assert alike(one_print, one_print) == (1 if one_print.least else 0)


@given(
    st.text(max_size=3000), st.text("潋江镇滨花园路灯小区 3栋", max_size=60), st.text(max_size=40)
)
def test_no_text_makes_too_many_marks(content: str, place: str, phone: str) -> None:
    told = complaint(content=content, place=place, contact=Contact("", phone))
    found = marks(traits(1, told, "", at("2026-11-18 09:12"), KEY))
    assert len(found) <= 8
    assert all(len(mark) <= 64 for mark in found)
