"""Finding tickets by words and numbers, on both databases."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from service.desk import Desk
from service.domain.access import Actor
from service.domain.complaint import Kind
from service.domain.lifecycle import State
from service.domain.region import covers
from service.domain.ticket import Ticket
from service.store import Store, search
from service.store.lists import Filter
from service.store.words import Unsearchable, terms, words
from tests.test_desk import desk
from tests.worlds import ADMIN, DISPATCHER, ELSEWHERE, STRANGER, at, complaint

Run = Callable[[Callable[[Store], Any]], Any]
NOW = at("2026-11-18 09:30")


async def numbers(d: Desk, q: str, by: Actor = ADMIN, **more: Any) -> list[str]:
    """Return the source numbers that all pages of a list have together."""
    found: list[str] = []
    after = 0
    while True:
        page = await d.page(by, Filter(q=q, after=after, **more))
        found += [ticket.complaint.source_no for ticket in page.items]
        if not page.onward:
            return found
        assert not after or page.onward < after
        after = page.onward


# Words


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("路灯", "潋江大道中段的路灯坏了半个月"),
        ("潋江大道", "住在潋江大道附近"),
        ("潋江", "潋江大道中段的路灯坏了"),
        ("红绿灯", "新建路口红绿灯不亮"),
        ("绿灯", "新建路口红绿灯不亮"),
        ("不亮", "小区路灯不亮"),
        ("王建国", "来电人称邻居王建国占道经营"),
        ("xg20261118", "此前工单XG20261118未处理"),
        ("ＸＧ２０", "编号xg20"),
        ("路燈", "路灯坏了"),
        ("路灯", "路 灯 坏了"),
        ("iphone 13", "网购iPhone 13 Pro不发货"),
        ("赣B12345", "车牌赣B12345的货车"),
    ],
)
def test_what_is_typed_is_among_the_words_of_what_was_written(asked: str, text: str) -> None:
    found = words(text)
    for term in terms(asked):
        assert term.words
        assert set(term.words) <= set(found)


def test_no_number_of_a_person_is_a_word() -> None:
    found = words(
        "电话13800000001，座机0797-5300000，身份证360732199001011235，卡号6222020000000000000，"
        "邮箱wang@example.com，13800000002"
    )
    for digits in ("138", "5300000", "3607321990", "62220200", "wang"):
        assert not any(digits in word for word in found)
    assert "身份" in found


@given(st.text(max_size=200))
def test_words_are_letters_and_digits_and_more_than_one_chinese_character(text: str) -> None:
    for word in words(text):
        assert word.isalnum() or all(c.isalnum() or not c.isprintable() for c in word) or word
        assert not set(word) & set("'\"\\ \t\n")
        assert len(word) <= 64


@given(st.text(alphabet="路灯潋江大道不亮红绿口新建的了", min_size=2, max_size=12))
def test_a_whole_text_finds_itself(text: str) -> None:
    assert set(words(text)) <= set(words(text, "另一段话"))


# What is found


def test_a_place_a_matter_and_a_number_are_found(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        told = {
            "XG1": ("潋江大道路灯不亮", "晚上看不见，联系电话13800000001", ""),
            "XG2": ("烧烤店油烟扰民", "潋江大道烧烤店占道", ""),
            "XG3": ("水管破裂", "没有水用", "方太乡中学门口"),
        }
        for no, (title, content, place) in told.items():
            await d.receive(
                complaint(source_no=no, title=title, content=content, place=place), no, NOW
            )
        assert await numbers(d, "路灯") == ["XG1"]
        assert await numbers(d, "潋江大道") == ["XG2", "XG1"]
        assert await numbers(d, "潋江大道 油烟") == ["XG2"]
        assert await numbers(d, "方太乡中学") == ["XG3"]
        assert await numbers(d, "路灯 油烟") == []
        assert await numbers(d, "候鸟") == []
        assert await numbers(d, "XG2") == ["XG2"]
        [first] = (await d.page(ADMIN, Filter(q="XG1"))).items
        assert await numbers(d, first.no) == ["XG1"]
        assert await numbers(d, f"{first.no} 路灯") == ["XG1"]
        assert await numbers(d, f"{first.no} 油烟") == []
        assert await numbers(d, "路灯", ELSEWHERE) == []
        assert await numbers(d, first.no, ELSEWHERE) == []
        assert await numbers(d, "路灯", STRANGER) == ["XG1"]
        assert await numbers(d, "路灯", state="closed") == []
        assert await numbers(d, "油烟", DISPATCHER, kind="complaint") == ["XG2"]

    in_store(scenario)


def test_a_number_and_words_are_found_in_any_order(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        await d.receive(complaint(source_no="XG1", title="路灯不亮"), "a", NOW)
        await d.receive(complaint(source_no="XG2", title="油烟扰民"), "b", NOW)
        [first] = (await d.page(ADMIN, Filter(q="XG1"))).items
        for number in ("XG1", first.no):
            assert await numbers(d, f"路灯 {number}") == ["XG1"]
            assert await numbers(d, f"{number} 路灯") == ["XG1"]
            assert await numbers(d, f"油烟 {number}") == []

    in_store(scenario)


def test_nobody_types_what_a_row_says_of_where_it_lies(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        await d.receive(complaint(source_no="X", title="路灯不亮"), "a", NOW)
        for asked in ("A0", "b0", "R3607", "r360732", "路灯 a0"):
            assert await numbers(d, asked) == []
        await d.receive(complaint(source_no="Y", title="A0栋电梯坏了"), "b", NOW)
        assert await numbers(d, "a0") == ["Y"]
        # Who has a region still finds what lies in it.
        assert await numbers(d, "路灯", DISPATCHER) == ["X"]

    in_store(scenario)


def test_a_number_that_is_also_a_word_finds_both(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        await d.receive(complaint(source_no="110"), "a", NOW)
        await d.receive(complaint(source_no="B", title="拨打110无人接听"), "b", NOW)
        assert await numbers(d, "110") == ["B", "110"]

    in_store(scenario)


@pytest.mark.parametrize("asked", ["，。！", "水", "路灯 水", "13800000001", "王@example.com %"])
def test_what_cannot_be_looked_for_is_refused(in_store: Run, asked: str) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        await d.receive(complaint(title="路灯", content="请打13800000001"), "a", NOW)
        with pytest.raises(Unsearchable):
            await d.page(ADMIN, Filter(q=asked))

    in_store(scenario)


def test_a_supplement_is_found_too_and_the_first_text_still_is(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        await d.receive(complaint(title="路灯不亮"), "a", NOW)
        await d.receive(complaint(title="路灯不亮", content="电线杆也倒了"), "b", NOW)
        assert await numbers(d, "电线杆") == ["T1"]
        assert await numbers(d, "路灯 电线杆") == ["T1"]
        assert await numbers(d, "排骨") == ["T1"]

    in_store(scenario)


def test_what_is_added_to_without_end_is_still_taken_and_found(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        await d.receive(complaint(title="路灯不亮"), "a", NOW)
        [ticket] = (await d.page(ADMIN, Filter())).items
        for n in range(8):
            # A supplement of the longest words that there are.
            more = [f"{n}x{k:03}{'가' * 59}" for k in range(1000)]
            await store.run(partial(search.add, ticket_id=ticket.id, region="360732", more=more))
        assert await numbers(d, "路灯") == ["T1"]
        assert await numbers(d, f"0x999{'가' * 59}") == ["T1"]
        await d.receive(complaint(title="路灯不亮", content="电线杆也倒了"), "b", NOW)

    in_store(scenario)


def test_what_was_there_before_is_found_while_its_words_are_being_cut(in_store: Run) -> None:
    """As an upgrade leaves it: tickets without words, and a mark up to where."""

    async def scenario(store: Store) -> None:
        d = desk(store)
        for n in range(7):
            await d.receive(complaint(source_no=f"A{n}", title=f"路灯坏了第{n}盏"), f"a{n}", NOW)
        await d.receive(complaint(source_no="A3", content="电线杆倒了"), "more", NOW)

        def forget(connection: sa.Connection) -> None:
            connection.execute(sa.text("DELETE FROM ticket_words"))
            last = connection.execute(sa.text("SELECT max(id) FROM tickets")).scalar_one()
            connection.execute(sa.text("UPDATE search_backlog SET before = :n"), {"n": last + 1})

        await store.run(forget)
        every = [f"A{n}" for n in reversed(range(7))]
        await d.receive(complaint(source_no="B", title="路灯又坏了"), "b", NOW)
        await d.receive(complaint(source_no="A1", content="井盖不见了"), "well", NOW)
        steps = []
        while True:
            assert await numbers(d, "路灯", limit=2) == ["B", *every]
            assert await numbers(d, "路灯", DISPATCHER) == ["B", *every]
            done = await store.run(lambda c: search.catch_up(c, 3))
            if done is None:
                break
            steps.append(done)
        assert steps == [3, 3, 1]
        assert await numbers(d, "路灯") == ["B", *every]
        assert await numbers(d, "电线杆") == ["A3"]
        assert await numbers(d, "井盖 路灯") == ["A1"]

    in_store(scenario)


# Pages


def test_every_list_has_by_pages_what_it_has_as_a_whole(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        chance = random.Random(7)
        regions = ["360732", "360700", "360733", "360300", "3607K9"]
        titles = ["路灯不亮", "烧烤油烟", "路灯油烟", "自来水发黄"]
        for n in range(60):
            await d.receive(
                complaint(
                    source_no=f"N{n}",
                    region=chance.choice(regions),
                    kind=chance.choice([Kind.HELP, Kind.COMPLAINT]),
                    channel=chance.choice(["hotline-12345", "wenzheng-jiangxi"]),
                    title=chance.choice(titles),
                ),
                str(n),
                NOW,
            )

        def close(connection: sa.Connection) -> None:
            connection.execute(sa.text("UPDATE tickets SET state = 'closed' WHERE id % 3 = 0"))

        await store.run(close)
        whole = (await d.page(ADMIN, Filter(limit=200))).items
        assert len(whole) == 60

        def fits(t: Ticket, by: Actor, f: dict[str, str]) -> bool:
            told = t.complaint
            return (
                covers(by.region, t.region)
                and covers(f.get("region", ""), t.region)
                and f.get("state", t.state) == t.state
                and f.get("kind", told.kind) == told.kind
                and f.get("channel", told.channel) == told.channel
                and all(word in told.title for word in f.get("q", "").split())
            )

        for n in range(60):
            choices: dict[str, list[str]] = {
                "region": ["360700", "360732", "360000", "360300"],
                "state": [State.CLOSED, State.DISPATCHED, State.SORTING],
                "kind": [Kind.HELP],
                "channel": ["wenzheng-jiangxi", "none"],
                "q": ["路灯", "油烟", "路灯 油烟"],
            }
            names = chance.sample(list(choices), chance.randrange(4))
            f: dict[str, str] = {name: chance.choice(choices[name]) for name in names}
            by = chance.choice([ADMIN, DISPATCHER, ELSEWHERE])
            expected = [t.complaint.source_no for t in whole if fits(t, by, f)]
            more = {name: value for name, value in f.items() if name != "q"}
            limit = chance.choice([1, 7, 50])
            assert await numbers(d, f.get("q", ""), by, limit=limit, **more) == expected, (n, f)

    in_store(scenario)
