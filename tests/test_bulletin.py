"""What a bulletin says of a month: pure decisions first, then a county's month on both databases."""

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from adapters.sources import load_sources
from routing_rules.likeness import load_likeness
from service.bulletin import Bulletin, Bulletins, Wish, received
from service.desk import Desk, Order
from service.domain.access import Actor, Forbidden, Role
from service.domain.bulletin import (
    HOT_CASES,
    Ground,
    Month,
    Rules,
    Why,
    begins,
    cards,
    growth,
    lists,
    overdue,
    public_title,
)
from service.domain.complaint import Contact
from service.domain.kpi import RATES, Rate, Row, Weights
from service.domain.ports import Unit
from service.domain.ticket import Level, MilestoneKind, Stage, Ticket
from service.matching import Matching
from service.paper.drawings import drawing
from service.paper.tables import Chart, Column, Format, Look, Table
from service.reports import Asked, BadPeriod, By, Reports
from service.store import Store, open_store, tickets
from service.store import bulletin as read
from tests.histories import Histories
from tests.served import rules as loaded
from tests.worlds import (
    ADMIN,
    AUDITOR,
    DISPATCHER,
    ELSEWHERE,
    HANDLER,
    HOTLINE,
    HOUSING,
    MARKET,
    SUPERVISOR,
    ToldRouter,
    at,
    complaint,
)

Run = Callable[[Callable[[Store], Any]], Any]
BOOK, TIMES = loaded(None)
OCTOBER = Month(2026, 10)
END = begins(date(2026, 11, 1))


# Months


def test_a_month_knows_its_days_and_those_around_it() -> None:
    assert (OCTOBER.first, OCTOBER.last) == (date(2026, 10, 1), date(2026, 10, 31))
    assert str(Month(2026, 1).back(1)) == "2025-12"
    assert Month(2025, 12).back(-1) == Month(2026, 1)
    assert OCTOBER.back(12) == Month(2025, 10)
    assert Month(2028, 2).last == date(2028, 2, 29)
    assert OCTOBER.label == "2026年10月"


@pytest.mark.parametrize(
    "text",
    ["", "2026", "2026-13", "2026-00", "2026-1", "202610", "0000-10", "２０２６-10", "2026-10-01"],
)
def test_what_is_no_month_is_not_read(text: str) -> None:
    assert Month.read(text) is None


@given(st.integers(0, 40_000), st.integers(2_000, 4_000), st.integers(1, 12))
def test_going_back_and_forth_ends_where_it_began(n: int, year: int, number: int) -> None:
    month = Month(year, number)
    if n < year * 12 - 12:
        assert month.back(n).back(-n) == month


# Lists


def _row(key: str, on_time: tuple[int, int], satisfied: tuple[int, int] = (0, 0)) -> Row:
    rates = {"on_time": Rate("on_time", *on_time), "satisfied": Rate("satisfied", *satisfied)}
    return Row(key, key.upper(), rates=rates)


def test_a_unit_is_praised_or_criticised_by_the_rule_that_it_meets() -> None:
    rows = [
        _row("good", (50, 50), (20, 20)),
        _row("fine", (98, 100), (19, 20)),
        _row("few", (9, 9), (9, 9)),  # too few to praise
        _row("late", (80, 100), (20, 20)),
        _row("hardly", (8, 10), (20, 20)),
        _row("carded", (100, 100), (20, 20)),  # would be praised
        _row("returns", (90, 100)),
        _row("plain", (90, 100), (20, 20)),
        _row("", (0, 100)),  # no unit has it
    ]
    praised, criticised = lists(rows, {"carded": 1}, {"returns": 3, "plain": 2}, Rules())
    assert [each.unit for each in praised] == ["good", "fine"]
    assert [each.unit for each in criticised] == ["carded", "hardly", "late", "returns"]
    (why,) = praised[1].reasons
    assert why.rule == "按时办结率不低于 98% 且满意率不低于 95%，两项各不少于 10 件"
    assert why.figures == "按时办结率 98%（98/100），满意率 95%（19/20）"
    assert [each.reasons[0].ground for each in criticised] == [
        Ground.RED,
        Ground.LATE,
        Ground.LATE,
        Ground.BACK_REFUSED,
    ]
    assert criticised[1].reasons[0].figures == "按时办结率 80%（8/10）"


def test_the_lists_follow_the_settings() -> None:
    rows = [_row("a", (90, 100), (90, 100))]
    strict = Rules(criticise_on_time=0.95)
    mild = Rules(praise_on_time=0.9, praise_satisfied=0.9)
    assert lists(rows, {}, {}, strict)[1][0].unit == "a"
    assert lists(rows, {}, {}, mild)[0][0].unit == "a"
    assert lists(rows, {"a": 2}, {}, Rules(criticise_red=3)) == ([], [])


# Growth


def test_a_matter_is_hot_if_it_grew_more_than_chance_explains() -> None:
    steady = [(10, 30.0)] * 6
    grew = growth(25, 30, steady)
    assert grew
    assert grew.is_hot
    assert (grew.expected, grew.ratio) == (10, 2.5)
    for count in (10, 14, 5, 0):
        not_hot = growth(count, 30, steady)
        assert not_hot
        assert not not_hot.is_hot


def test_a_matter_that_jumps_every_month_must_jump_higher() -> None:
    restless = [(2, 30.0), (25, 30.0), (1, 30.0), (20, 30.0), (2, 30.0), (10, 30.0)]
    grew = growth(25, 30, restless)
    assert grew
    assert not grew.is_hot


def test_a_new_matter_is_hot_and_a_handful_is_none() -> None:
    nothing = [(0, 30.0)] * 3
    grew, few = growth(9, 30, nothing), growth(HOT_CASES - 1, 30, nothing)
    assert grew
    assert few
    assert (grew.is_hot, grew.ratio, few.is_hot) == (True, None, False)


def test_with_fewer_than_three_months_nothing_is_said() -> None:
    assert growth(99, 30, [(1, 30.0)] * 2) is None


@given(
    st.integers(0, 500),
    st.lists(st.tuples(st.integers(0, 200), st.just(30.0)), min_size=3, max_size=12),
)
def test_more_tickets_never_score_lower_and_half_a_month_expects_half(
    count: int, before: Sequence[tuple[int, float]]
) -> None:
    one, more, half = (
        growth(count, 30, before),
        growth(count + 1, 30, before),
        growth(count, 15, before),
    )
    assert one
    assert more
    assert half
    assert more.score > one.score
    assert half.expected * 2 == pytest.approx(one.expected)


# Titles


@pytest.mark.parametrize(
    ("title", "confidential", "told"),
    [
        ("超市短斤少两", False, "超市短斤少两"),
        ("超市短斤少两", True, "（保密件，标题不公开）"),
        ("请回电13800000001", False, "请回电138****0001"),
        ("王小明反映噪音", False, "王**反映噪音"),
        ("", False, "（无标题）"),
    ],
)
def test_a_title_tells_of_nobody(title: str, confidential: bool, told: str) -> None:
    contact = Contact("王小明", "13800000001")
    assert public_title(title, contact, confidential=confidential) == told


# What was overdue, whenever it is asked


@pytest.mark.parametrize("seed", range(6))
def test_what_was_overdue_at_a_time_is_told_the_same_ever_after(seed: int, tmp_path: Path) -> None:
    """The state at the time itself is the oracle: what was open then and past its due time."""

    async def whole() -> int:
        store = open_store(f"sqlite:///{tmp_path}/banjie.db")
        await store.migrate()
        lives = Histories(store, TIMES, at("2026-02-03 08:40"), random.Random(seed))
        for _ in range(90):
            await lives.step()
        until = lives.now + timedelta(seconds=1)
        desk = Desk(store, ToldRouter(), TIMES)
        while await desk.enforce(lives.now):
            pass
        since = until - timedelta(days=31)
        then = await _all(store)
        expected = {t.no: _overdue_now(t, until) for t in then}
        first = await store.read(lambda c: _told(c, since, until))
        assert {no: late for no, (late, _) in first.items() if late} == {
            no: late for no, late in expected.items() if late
        }
        lives.now = until + timedelta(seconds=1)
        for _ in range(90):
            await lives.step()
        again = await store.read(lambda c: _told(c, since, until))
        # A due time that was moved since counts as it lies now, as in the rates.
        kept = {t.no for t in then} - await store.read(lambda c: _moved(c, until))
        assert {no: told for no, told in again.items() if no in kept and any(told)} == {
            no: told for no, told in first.items() if no in kept and any(told)
        }
        assert len(kept) > len(then) / 2
        await store.close()
        return sum(map(len, expected.values()))

    # Some histories leave nothing overdue at the time; most must.
    assert asyncio.run(whole()) or seed % 4


def _moved(connection: sa.Connection, since: datetime) -> set[str]:
    found = connection.execute(
        sa.text(
            "SELECT DISTINCT ticket_no, at, act FROM events WHERE act IN ('supplemented', 'recalculated')"
        )
    )
    return {
        no for no, when, _ in found if datetime.fromisoformat(when).replace(tzinfo=UTC) >= since
    }


async def _all(store: Store) -> list[Ticket]:
    ids = await store.read(lambda c: list(range(1, tickets.count(c) + 1)))
    return await store.read(lambda c: tickets.claim(c, ids, lock=False))


def _overdue_now(ticket: Ticket, now: datetime) -> list[tuple[MilestoneKind, str, Stage]]:
    order = list(Stage)
    return sorted(
        (m.kind, m.unit, max(m.stage, Stage.OVERDUE, key=order.index))
        for m in ticket.open()
        if m.governing and not m.assisting and m.due_at < now and (m.next_at or m.done > 1)
    )


def _told(connection: Any, since: datetime, until: datetime) -> dict[str, Any]:
    found = {}
    suspects = read.late(connection, "", since, until)
    shown = read.shown(connection, [each.ticket for each in suspects])
    for each in suspects:
        late = sorted(
            (one.kind, one.unit or HOTLINE.code, one.stage)
            for one in overdue(each.milestones, each.events, until)
            if not one.assisting
        )
        got = cards(each.events, "", since, until)
        found[shown[each.ticket].no] = (
            late,
            sorted((card.level, card.at, card.unit) for card in got),
        )
    return found


# A county's months


def _reports(store: Store, floor: int = 1, known: Sequence[Unit] | None = None) -> Reports:
    router = ToldRouter()
    if known is not None:
        router.units = lambda region=None: list(known)  # type: ignore[method-assign]
    return Reports(store, lambda: router, BOOK.gazetteer, Weights(), floor)


def _bulletins(
    store: Store, reports: Reports | None = None, rules: Rules | None = None
) -> Bulletins:
    return Bulletins(
        store,
        reports or _reports(store),
        ToldRouter,
        BOOK.gazetteer,
        load_sources(),
        {"market": "市场监管"},
        rules or Rules(praise_cases=1, criticise_cases=1),
        "0.1.0",
    )


class _County:
    """A county whose tickets go where they are told, day by day."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.desk = Desk(store, ToldRouter(assisted=False), TIMES)
        self.matching = Matching(store, load_likeness(), load_sources())
        self.now = at("2026-07-01 08:00")
        self._count = 0

    async def until(self, when: str) -> None:
        """Let time pass, and what it brings, looked for twice a day."""
        while self.now < at(when):
            self.now = min(self.now + timedelta(hours=12), at(when))
            while await self.desk.enforce(self.now):
                pass

    async def come(self, when: str, title: str = "短斤少两", **changes: Any) -> Ticket:
        """Receive a complaint."""
        await self.until(when)
        self._count += 1
        told = complaint(
            source_no=f"C{self._count}",
            title=title,
            content=changes.pop("content", "平川大道的超市卖排骨短斤少两，超市不认账"),
            accepted_at=at(when),
            contact=Contact("王小明", f"138{self._count:08}"),
            **changes,
        )
        return (await self.desk.receive(told, told.source_no, at(when))).ticket

    async def act(self, ticket: Ticket, name: str, when: str, **fields: Any) -> Ticket:
        """Let somebody act, after all that time has brought before."""
        await self.until(when)
        found = await self.desk.ticket(ticket.no, ADMIN)
        order = Order(ticket.no, ADMIN, found.version, at(when))
        after: Ticket = await getattr(self.desk, name)(order, **fields)
        return after

    async def end(self, ticket: Ticket, when: str, grade: int = 5) -> None:
        """Sign, contact, resolve and call back."""
        day = f"{at(when):%Y-%m-%d} "
        await self.act(ticket, "sign", when)
        await self.act(ticket, "contact", day + "10:40", text="已联系")
        said = {"public_reply": "已核查处理。", "internal_finding": "", "solved": True}
        await self.act(ticket, "resolve", day + "11:00", **said)
        answer = {"reached": True, "solved": grade > 2, "grade": grade, "text": ""}
        await self.act(ticket, "call_back", day + "11:30", **answer)

    async def look(self) -> None:
        """Compare what came in."""
        while await self.matching.look(self.now):
            pass


async def _summer(county: _County) -> None:
    """July to September: two tickets a month, all of them answered the next day."""
    for month in ("07", "08", "09"):
        for day in ("01", "15"):
            came = await county.come(f"2026-{month}-{day} 09:00")
            await county.end(came, f"2026-{month}-{int(day) + 1:02} 10:30")


async def _october(county: _County) -> dict[str, str]:
    """October: six tickets of one place, and some that are late; the numbers by what they are."""
    named = {}
    for n in range(6):
        came = await county.come(
            f"2026-10-{12 + n % 2} 09:0{n}",
            "停水",
            content="滨江花园整栋楼停水两天了，没人说什么时候来水",
        )
        named[f"water{n}"] = came.no
        await county.end(came, f"2026-10-{14 + n % 2} 10:3{n}")
    late = await county.come("2026-10-16 09:10", "王小明请回电13800000001")
    named["late"] = late.no
    secret = await county.come("2026-10-16 09:20", "举报某某", confidential=True)
    named["secret"] = secret.no
    moved = await county.come("2026-10-16 09:30", "房屋漏水")
    named["moved"] = moved.no
    carded = await county.come("2026-10-12 14:00", "超市油烟")
    named["carded"] = carded.no
    await county.end(carded, "2026-10-27 10:30", grade=1)
    return named


def test_a_month_is_told_as_it_was_however_late_it_is_told(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        county = _County(store)
        await _summer(county)
        named = await _october(county)
        await county.look()
        await county.until("2026-11-01 08:00")
        first = await _bulletins(store).make(Wish(OCTOBER), SUPERVISOR, county.now)
        # What happens afterwards changes nothing of it.
        late = await county.desk.ticket(named["late"], ADMIN)
        await county.end(late, "2026-11-06 10:30")
        moved = await county.desk.ticket(named["moved"], ADMIN)
        await county.act(moved, "dispatch", "2026-11-06 12:00", unit=HOUSING.code, reason="归住建")
        await county.until("2026-11-20 09:00")
        later = await _bulletins(store).make(Wish(OCTOBER), SUPERVISOR, county.now)
        assert later.late == first.late
        assert later.late_count == first.late_count
        assert later.figures == first.figures
        assert later.by_day == first.by_day
        by_no = {each.no: each for each in later.late if each.owed is MilestoneKind.RESOLVE}
        assert set(by_no) == {named[name] for name in ("late", "secret", "moved", "carded")}
        line = by_no[named["late"]]
        assert (line.title, line.unit_name) == ("王**请回电138****0001", MARKET.name)
        assert (line.why, line.stage) == (Why.OVERDUE, Stage.RED)
        assert [card.level for card in line.cards] == [Level.YELLOW, Level.RED]
        assert by_no[named["secret"]].title == "（保密件，标题不公开）"
        assert by_no[named["moved"]].unit == MARKET.code
        gone = by_no[named["carded"]]
        assert (gone.why, gone.due_at) == (Why.CARDED, None)
        assert gone.cards

    in_store(scenario)


def test_the_totals_are_what_came_and_went(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        county = _County(store)
        await _summer(county)
        await _october(county)
        await county.until("2026-11-20 09:00")
        made = await _bulletins(store).make(Wish(OCTOBER), SUPERVISOR, county.now)
        told = {(f.group, f.key): (f.now, f.before, f.year_before) for f in made.figures}
        assert told["total", "received"] == (10, 2, None)
        assert told["channel", "hotline-12345"] == (10, 2, None)
        assert told["kind", "complaint"] == (10, 2, None)
        assert told["decision", "auto"] == (10, 2, None)
        assert told["state", "resolved"] == (7, 2, None)
        assert told["state", "in_hand"] == (3, 0, None)
        assert {f.name for f in made.figures} >= {"受理", "期末在办", "投诉", "自动派单"}
        assert sum(n for _, n in made.by_day) == 10
        assert [(str(month), n) for month, n, _ in made.by_month] == [
            ("2026-07", 2),
            ("2026-08", 2),
            ("2026-09", 2),
            ("2026-10", 10),
        ]
        assert received(made.units.total) == received(made.kinds.total) == 10
        # Folded or not, it is the same.
        while await _reports(store).fold():
            pass
        folded = await _bulletins(store).make(Wish(OCTOBER), SUPERVISOR, county.now)
        assert folded == made

    in_store(scenario)


def test_the_rates_are_those_of_the_kpis_and_never_counted_again(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        county = _County(store)
        await _summer(county)
        await _october(county)
        await county.until("2026-11-20 09:00")
        for as_of in (None, date(2026, 11, 2)):
            wish = Wish(OCTOBER, "360732", as_of)
            made = await _bulletins(store).make(wish, SUPERVISOR, county.now)
            for by, told in (
                (By.UNIT, made.units),
                (By.KIND, made.kinds),
                (By.CHANNEL, made.channels),
            ):
                asked = Asked(OCTOBER.first, OCTOBER.last, by, "360732", as_of)
                found = await _reports(store).kpis(asked, SUPERVISOR, county.now)
                items = [replace(row, name="") for row in found.items]
                assert [replace(row, name="") for row in told.items] == items
                assert told.total == found.total
            month = OCTOBER.back(1)
            asked = Asked(month.first, month.last, By.UNIT, "360732", as_of)
            assert made.units_before == await _reports(store).kpis(asked, SUPERVISOR, county.now)

    in_store(scenario)


def test_a_bulletin_as_of_a_day_is_the_same_ever_after(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        county = _County(store)
        await _summer(county)
        named = await _october(county)
        await county.look()
        await county.until("2026-11-03 08:00")
        wish = Wish(OCTOBER, "", date(2026, 11, 2))
        first = await _bulletins(store).make(wish, SUPERVISOR, county.now)
        late = await county.desk.ticket(named["late"], ADMIN)
        await county.end(late, "2026-11-06 10:30")
        later = await _bulletins(store).make(wish, SUPERVISOR, county.now)
        assert replace(later, made_at=first.made_at) == first

    in_store(scenario)


def test_what_grew_is_hot_with_its_place_words_and_tickets(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        county = _County(store)
        await _summer(county)
        named = await _october(county)
        await county.look()
        await county.until("2026-11-20 09:00")
        made = await _bulletins(store).make(Wish(OCTOBER), SUPERVISOR, county.now)
        assert made.compared == 3
        assert made.unread == 0
        hot = {(each.sort, each.name): each for each in made.hot}
        place = hot["spot", "滨江花园"]
        assert (place.count, place.before, place.about) == (6, 0, "市场监管")
        assert set(place.examples) <= {named[f"water{n}"] for n in range(6)}
        assert len(place.examples) == 3
        # Ten where two were to be expected may still be chance, of six tickets in three months.
        (line,) = made.frequent
        assert (line.name, line.count, line.before) == ("市场监管", 10, 2)
        assert line.growth
        assert line.growth.expected == pytest.approx(6 / 92 * 31)
        assert not line.growth.is_hot
        (crowd,) = made.crowds
        assert (crowd.place, crowd.crowd.people, crowd.crowd.new) == ("滨江花园", 6, 6)

    in_store(scenario)


def test_red_cards_and_bad_rates_put_a_unit_on_the_list(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        county = _County(store)
        await _summer(county)
        await _october(county)
        await county.until("2026-11-20 09:00")
        made = await _bulletins(store).make(Wish(OCTOBER), SUPERVISOR, county.now)
        assert made.praised == []
        (worst,) = made.criticised
        assert worst.name == MARKET.name
        red = sum(card.level is Level.RED for each in made.late for card in each.cards)
        reasons = {why.ground: why.figures for why in worst.reasons}
        assert reasons[Ground.RED] == f"红牌 {red} 次"
        on_time = next(row for row in made.units.items if row.key == MARKET.code).rates["on_time"]
        assert f"（{on_time.numerator}/{on_time.denominator}）" in reasons[Ground.LATE]
        good = await _bulletins(store).make(Wish(OCTOBER.back(1)), SUPERVISOR, county.now)
        assert [each.name for each in good.praised] == [MARKET.name]

    in_store(scenario)


def test_a_unit_that_was_renamed_is_one_row_with_both_names_everywhere(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        county = _County(store)
        await _summer(county)
        await _october(county)
        await county.until("2026-11-20 09:00")
        renamed = Unit(MARKET.code, "兴国县市场监管服务局", "360732", "market", "document")
        reports = _reports(store, known=(renamed, HOUSING, HOTLINE))
        made = await _bulletins(store, reports).make(Wish(OCTOBER), SUPERVISOR, county.now)
        (row,) = [row for row in made.units.items if row.key == MARKET.code]
        assert (row.name, row.names) == (renamed.name, (MARKET.name,))
        assert (made.criticised[0].name, made.criticised[0].names) == (row.name, row.names)
        assert {each.unit_name for each in made.late} == {renamed.name}
        merged = _reports(store, known=(HOUSING, HOTLINE))
        made = await _bulletins(store, merged).make(Wish(OCTOBER), SUPERVISOR, county.now)
        row = next(row for row in made.units.items if MARKET.code in row.codes)
        assert MARKET.name in (row.name, *row.names)

    in_store(scenario)


def test_what_no_bulletin_can_be_made_of_is_refused_with_its_reason(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        county = _County(store)
        await county.come("2026-07-15 09:00")
        now = at("2026-11-20 09:00")
        made = _bulletins(store)
        for wish, pointer, said in (
            (Wish(Month(2026, 12)), "/month", "尚未开始"),
            (Wish(Month(2026, 6)), "/month", "自 2026-07-15 起"),
            (Wish(Month(1999, 6)), "/month", "不能早于2001年1月"),
            (Wish(OCTOBER, "999999"), "/region", "没有这个地区"),
            (Wish(OCTOBER, "", date(2026, 12, 1)), "/as_of", "不能晚于今天"),
            (Wish(OCTOBER, "", date(2026, 9, 30)), "/as_of", "不能早于"),
        ):
            with pytest.raises(BadPeriod, match=said) as refused:
                await made.make(wish, ADMIN, now)
            assert pointer in {each.pointer for each in refused.value.problems}
        source = Actor("热线", Role.SOURCE, source="hotline-12345")
        for who in (HANDLER, source, ELSEWHERE):
            with pytest.raises(Forbidden):
                await made.make(Wish(OCTOBER, "360732"), who, now)
        for who in (DISPATCHER, SUPERVISOR, AUDITOR, ADMIN):
            assert not (await made.make(Wish(Month(2026, 7)), who, now)).empty

    in_store(scenario)


def test_a_region_without_tickets_and_a_month_that_is_not_over_say_so(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        nothing = await _bulletins(store).make(Wish(OCTOBER), ADMIN, at("2026-11-20 09:00"))
        assert (nothing.empty, nothing.figures, nothing.units.items) == (True, [], [])
        county = _County(store)
        await county.come("2026-10-15 09:00")
        elsewhere = await _bulletins(store).make(
            Wish(OCTOBER, "360302"), ADMIN, at("2026-11-20 09:00")
        )
        assert (elsewhere.empty, elsewhere.region_name) == (True, "萍乡市安源区")
        before = await _bulletins(store).make(
            Wish(Month(2026, 11)), SUPERVISOR, at("2026-11-20 09:00")
        )
        assert before.provisional.endswith("为暂定数")
        assert before.until == at("2026-11-20 09:00")
        assert before.units_before is None  # October had no data before its fifteenth
        partly = await _bulletins(store).make(
            Wish(OCTOBER, "", date(2026, 10, 20)), SUPERVISOR, at("2026-11-20 09:00")
        )
        assert partly.provisional.startswith("按 2026-10-20 终了时所知")
        assert len(partly.by_day) == 20

    in_store(scenario)


def test_every_rate_has_a_row_in_every_unit(in_store: Run) -> None:
    async def scenario(store: Store) -> Bulletin:
        county = _County(store)
        await county.come("2026-10-15 09:00")
        made: Bulletin = await _bulletins(store).make(Wish(OCTOBER), ADMIN, at("2026-11-20 09:00"))
        return made

    made = in_store(scenario)
    assert all(set(row.rates) == set(RATES) for row in made.units.items)


@pytest.mark.parametrize("days", [1, 2, 7, 20, 31, 33, 34, 92, 366])
def test_no_name_under_a_chart_is_cut_off_at_its_edge(days: int) -> None:
    rows = [(str(date(2026, 1, 1) + timedelta(n)), n / days) for n in range(days)]
    table = Table("", (Column("日"), Column("率", Format.PERCENT)), rows)
    drawn = drawing(Chart("", Look.LINE, 0, 1), table, 0)
    wide = float(re.findall(r'viewBox="0 0 (\d+) ', drawn)[0])
    middles = [float(x) for x in re.findall(r'class="mid" x="([\d.]+)" y="\d+">2026-', drawn)]
    assert middles
    half = 10 * 7 / 2  # ten characters, of a digit's width or less
    assert all(half <= x <= wide - half for x in middles)
    assert all(b - a >= 2 * half for a, b in pairwise(middles))
