"""Tickets of the same matter across channels: found, told to who may know, merged by people."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.sources import load_sources
from routing_rules.likeness import load_likeness
from routing_rules.yamlfile import RuleFileError
from service.desk import Order, UnknownTicket, is_withheld, may_read_contact, shown
from service.domain.access import Actor, Forbidden, Role
from service.domain.complaint import Contact, Kind
from service.domain.confidence import names, withheld
from service.domain.lifecycle import State
from service.domain.personal import hidden
from service.domain.similar import Relation
from service.domain.ticket import MilestoneKind, Ticket
from service.jobs import Jobs
from service.matching import Matching
from service.metrics import Metrics
from service.store import Store, matching
from tests.test_desk import desk
from tests.worlds import (
    ADMIN,
    AUDITOR,
    DISPATCHER,
    ELSEWHERE,
    HANDLER,
    MARKET,
    STRANGER,
    SUPERVISOR,
    ToldRouter,
    at,
    complaint,
)

Run = Callable[[Callable[[Store], Any]], Any]
NOW = at("2026-11-18 09:30")
SHOP = "平川大道的超市卖排骨短斤少两，两斤只有一斤七两，超市不认账"
SHOP_AGAIN = "我在平川大道那家超市买排骨，两斤回家称只有一斤七两，短斤少两还不认账"
SOURCE = Actor("热线", Role.SOURCE, source="hotline-12345", id="9")


def matching_of(store: Store) -> Matching:
    return Matching(store, load_likeness(), load_sources())


def hotline(number: str = "T1", **changes: Any) -> Any:
    usual = complaint(source_no=number, title="短斤少两", content=SHOP)
    return replace(usual, **changes)


def forum(number: str = "W1", **changes: Any) -> Any:
    return hotline(
        number,
        **{
            "source": "wenzheng-jiangxi",
            "channel": "wenzheng-jiangxi",
            "content": SHOP_AGAIN,
            "accepted_at": at("2026-11-20 20:00"),
            **changes,
        },
    )


async def received(store: Store, *complaints: Any, **router: Any) -> list[Ticket]:
    d = desk(store, **router)
    return [
        (await d.receive(told, f"f{told.source_no}{n}", told.accepted_at)).ticket
        for n, told in enumerate(complaints)
    ]


async def links(store: Store, by: Actor, *found: Ticket) -> list[tuple[Any, ...]]:
    seen = await store.read(lambda c: matching_of(store).told(c, by, found))
    return [(link.relation, link.no, link.later) for each in seen for link in each.links]


def test_two_channels_bring_one_matter_and_a_person_merges_it(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        m, d = matching_of(store), desk(store)
        first, second = await received(store, hotline(), forum())
        assert await m.look(NOW) == 2
        assert await m.look(NOW) == 0
        [seen] = await store.read(lambda c: m.told(c, DISPATCHER, [second]))
        [link] = seen.links
        assert (link.relation, link.no, link.later) == (Relation.PROPOSED, first.no, True)
        assert link.reason.startswith("同一来电号码，同一地点（平川大道），内容相似 0.")
        assert link.reason.endswith("2 天前在江西省12345政务服务便民热线提出")
        assert await links(store, DISPATCHER, first) == [(Relation.PROPOSED, second.no, False)]
        assert (await d.ticket(second.no, DISPATCHER)).state is State.DISPATCHED, "nobody merged"
        order = Order(second.no, DISPATCHER, second.version, at("2026-11-21 09:00"))
        merged = await d.merge(order, into=first.no, reason=link.reason)
        assert await links(store, DISPATCHER, merged) == []
        assert await links(store, DISPATCHER, first) == [(Relation.MERGED, second.no, False)]

    in_store(scenario)


def test_what_somebody_rejected_does_not_come_again(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        m, d = matching_of(store), desk(store)
        first, second = await received(store, hotline(), forum())
        await m.look(NOW)
        for by in (HANDLER, AUDITOR, SOURCE):
            with pytest.raises(Forbidden):
                await m.reject(second.no, first.no, by, NOW, reason="")
        with pytest.raises(UnknownTicket):
            await m.reject(second.no, first.no, ELSEWHERE, NOW, reason="")
        for _ in range(2):
            await m.reject(first.no, second.no, DISPATCHER, NOW, reason="两次购物")
        assert await links(store, DISPATCHER, first, second) == []
        # A supplement is looked at again, and changes nothing of it.
        await d.receive(forum(content=SHOP_AGAIN + "。补充：还有小票"), "f9", NOW)
        assert await m.look(NOW) == 1
        assert await links(store, DISPATCHER, first, second) == []
        for one, other in ((first, second), (second, first)):
            told = [e for e in await d.history(one.no, DISPATCHER) if e.act == "not_same"]
            assert [e.content for e in told] == [{"with": other.no, "reason": "两次购物"}]

    in_store(scenario)


def test_a_matter_that_was_answered_comes_as_a_repeat(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        [first] = await received(store, hotline(), assisted=False)
        done = await d.sign(Order(first.no, HANDLER, 1, at("2026-11-18 10:00")))
        await d.resolve(
            Order(first.no, HANDLER, done.version, at("2026-11-19 10:00")),
            public_reply="已责令退款",
            internal_finding="",
            solved=True,
        )
        [again] = await received(store, forum(accepted_at=at("2026-12-30 09:00")))
        await matching_of(store).look(NOW)
        assert await links(store, DISPATCHER, again) == [(Relation.REPEAT, first.no, True)]

    in_store(scenario)


def test_a_number_that_is_told_later_is_compared_too(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        m = matching_of(store)
        other = "平川大道超市的排骨缺秤，两斤只有一斤七两"
        first, second = await received(
            store, hotline(), forum(contact=Contact(), content=other, title="")
        )
        await m.look(NOW)
        before = await links(store, DISPATCHER, second)
        told = forum(contact=Contact("王某", "138 0000 0001"), content=other, title="")
        await desk(store).receive(told, "f2", NOW)
        await m.look(NOW)
        [told] = await store.read(lambda c: m.told(c, DISPATCHER, [second]))
        [link] = told.links
        assert link.no == first.no
        # What was noted of them first stays; the person is found where nothing was before.
        assert before or link.reason.startswith("同一来电号码")

    in_store(scenario)


def test_nobody_is_told_of_what_he_may_not_see(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        first, second = await received(store, hotline(), forum())
        await matching_of(store).look(NOW)
        assert await links(store, HANDLER, second)
        assert await links(store, AUDITOR, second)
        assert await links(store, SUPERVISOR, second)
        assert await links(store, SOURCE, second) == []
        assert await links(store, ELSEWHERE, second) == []
        # A stranger to the other ticket's unit is told nothing of it.
        assert await links(store, replace(STRANGER, units=("360732-none",)), first) == []

    in_store(scenario)


@pytest.mark.parametrize(
    "kept", [{"confidential": True}, {"anonymous": True}, {"kind": Kind.REPORT}]
)
def test_a_unit_does_not_learn_who_complained_from_a_proposal(
    in_store: Run, kept: dict[str, Any]
) -> None:
    async def scenario(store: Store) -> None:
        first, second = await received(store, hotline(), forum(**kept))
        await matching_of(store).look(NOW)
        assert await links(store, HANDLER, first, second) == []
        assert len(await links(store, DISPATCHER, first, second)) == 2

    in_store(scenario)


def test_many_people_about_one_thing_are_a_group_matter(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        m, d = matching_of(store), desk(store)
        crowd = [
            hotline(f"G{n}", contact=Contact("王某", f"1380000010{n}"), content=f"{SHOP}{n}")
            for n in range(6)
        ]
        found = await received(store, *crowd[:4])
        await m.look(NOW)
        assert await m.groups(SUPERVISOR, None, 9) == ([], None)
        found += await received(store, *crowd[4:])
        await m.look(NOW)
        [group], _ = await m.groups(SUPERVISOR, None, 9)
        assert (group.people, group.tickets, group.open) == (6, 6, 6)
        assert (group.place, group.title) == ("平川大道", "短斤少两")
        [one] = await store.read(lambda c: m.told(c, HANDLER, found[:1]))
        assert one.group
        assert one.group.people == 6
        assert [link.relation for link in one.links] == [], "each of them gets an answer"
        # A supplement stays where it was.
        await d.receive(replace(crowd[0], content=crowd[0].content + "。还没人管"), "f7", NOW)
        await m.look(NOW)
        assert (await m.groups(SUPERVISOR, None, 9))[0][0].tickets == 6
        assert await m.groups(ELSEWHERE, None, 9) == ([], None)
        for by in (HANDLER, SOURCE):
            with pytest.raises(Forbidden):
                await m.groups(by, None, 9)

    in_store(scenario)


def test_replicas_that_look_at_once_miss_nothing(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        first, second = await received(store, hotline(), forum())
        m = matching_of(store)
        while any(await asyncio.gather(*(m.look(NOW, batch=1) for _ in range(4)))):
            pass
        assert await links(store, DISPATCHER, second) == [(Relation.PROPOSED, first.no, True)]
        assert await store.read(lambda c: matching.unseen(c, 10)) == []

    in_store(scenario)


def test_a_ticket_that_cannot_be_looked_at_holds_up_no_other(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        broken, first, second = await received(
            store, hotline("B1", contact=Contact("王某", "13800000009")), hotline(), forum()
        )
        await store.run(
            lambda c: c.execute(
                sa.text("UPDATE tickets SET complaint = '{}' WHERE id = :id"), {"id": broken.id}
            )
        )
        m = matching_of(store)
        assert await m.look(NOW) == 3
        assert await m.look(NOW) == 0
        assert await links(store, DISPATCHER, second) == [(Relation.PROPOSED, first.no, True)]

    in_store(scenario)


def test_comparing_rests_nine_times_as_long_as_it_worked(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        clock = iter([100.0, 100.0, 102.0, 119.9, 120.0, 120.1])
        jobs = Jobs(desk(store), lambda: NOW, 60, Metrics(), monotonic=lambda: next(clock))
        m = matching_of(store)
        await received(store, hotline())
        assert await jobs.compare(m) == 1
        await received(store, forum())
        assert await jobs.compare(m) == 0
        assert await jobs.compare(m) == 1

    in_store(scenario)


def test_the_store_has_no_number_beside_the_ticket(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await received(store, hotline())
        await matching_of(store).look(NOW)

        def everything(connection: sa.Connection) -> str:
            rows = [
                connection.execute(sa.text(f"SELECT * FROM {table}")).all()
                for table in ("traits", "marks", "likenesses", "group_matters")
            ]
            return str(rows)

        assert "13800000001" not in await store.read(everything)

    in_store(scenario)


# Who may know who complained


def test_a_unit_that_a_report_names_is_not_told_who_made_it(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        accused = hotline(
            kind=Kind.REPORT,
            content="举报市监局的人收了超市老板好处，我的电话13800000001，车赣B12345可作证",
        )
        [ticket] = await received(store, accused)
        assert is_withheld(HANDLER, ticket)
        assert not may_read_contact(HANDLER, ticket)
        assert may_read_contact(DISPATCHER, ticket)
        assert MilestoneKind.CONTACT not in {m.kind for m in ticket.milestones}, "nor need it ring"
        told = (await desk(store).ticket(ticket.no, HANDLER)).complaint
        assert told.contact == Contact()
        assert "13800000001" not in told.content
        assert "赣B12345" in told.content
        # Who has to ring reads it with a reason; until then it is masked for everybody.
        assert shown(DISPATCHER, ticket) == replace(ticket, complaint=hidden(ticket.complaint))
        # Who assists and is not named sees what units see.
        assert not is_withheld(STRANGER, ticket)

    in_store(scenario)


@pytest.mark.parametrize("kept", [{"confidential": True}, {"anonymous": True}])
def test_who_asked_to_stay_unnamed_is_known_to_no_unit(in_store: Run, kept: dict[str, Any]) -> None:
    async def scenario(store: Store) -> None:
        [ticket] = await received(store, hotline(**kept))
        for by in (HANDLER, STRANGER):
            assert (await desk(store).ticket(ticket.no, by)).complaint.contact == Contact()
            assert not may_read_contact(by, ticket)
        changed = hotline(**kept, contact=Contact("王某", "13900009999"))
        await desk(store).receive(changed, "f5", NOW)
        for by, sees in ((HANDLER, False), (ADMIN, True)):
            events = await desk(store).history(ticket.no, by)
            assert ("contact_now" in events[-1].content) is sees

    in_store(scenario)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("举报市监局的人收了老板好处", True),
        ("向县市场监管局反映过，他们通风报信", False),
        ("县市场监管局的执法人员通风报信", True),
        ("请市监局查处这家店", False),
        ("请贵局查一下，市监局吃拿卡要", True),
        ("举报超市短斤少两", False),
        ("举报住建局的人", False),
    ],
)
def test_a_unit_is_named_by_its_short_names(text: str, named: bool) -> None:
    told = complaint(kind=Kind.REPORT, title="", content=text)
    assert names(told, MARKET.name) is named
    route = ToldRouter().route(told)
    assert withheld(told, route, [MARKET.name]) is named
    plain = replace(told, kind=Kind.COMPLAINT)
    assert not withheld(plain, route, [MARKET.name])
    # What the router took for one is one, whatever it was called.
    assert withheld(plain, replace(route, reason="是对单位或人员的举报"), [MARKET.name]) is named


# The figures


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- {section: other}", "section"),
        ("- {section: repeat, days: 0, status: default, source: x}", "days"),
        ("- {section: repeat, days: 30, status: sure, source: x}", "status"),
        (
            "- {section: group, days: 3, people: 1, line_text: 0.1, text: 0.2, status: default, source: x}",
            "people",
        ),
        (
            "- {section: group, days: 3, people: 3, line_text: nan, text: 0.2, status: default, source: x}",
            "line_text",
        ),
    ],
)
def test_figures_that_cannot_be_stop_the_start(tmp_path: Any, text: str, why: str) -> None:
    (tmp_path / "matching.yaml").write_text(text, "utf-8")
    with pytest.raises(RuleFileError, match=why):
        load_likeness(tmp_path)


def test_a_city_has_figures_of_its_own(tmp_path: Any) -> None:
    (tmp_path / "matching.yaml").write_text(
        "- {section: repeat, days: 30, status: read, source: 某市规定}", "utf-8"
    )
    own = load_likeness(tmp_path)
    assert own.repeat.days == 30
    assert own.same == load_likeness().same
