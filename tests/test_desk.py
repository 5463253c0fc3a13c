"""How a ticket moves, on both databases."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from routing_rules.clocks import load_timetable
from service.desk import Desk, KeyReused, Order, UnknownTicket, UnknownUnit, shown
from service.domain.access import Actor, Forbidden, Role
from service.domain.complaint import Contact, Decision, Kind, Review, UnitRef, Urgency
from service.domain.deeds import CallBackOwed
from service.domain.lifecycle import IllegalMove, State
from service.domain.personal import hidden
from service.domain.ticket import Clock, Milestone, MilestoneKind, Outcome, Stage, Ticket
from service.orders import checked_no
from service.store import Store
from service.store.lists import Filter
from service.store.tickets import Stale
from tests.worlds import (
    ADMIN,
    AUDITOR,
    DISPATCHER,
    ELSEWHERE,
    HANDLER,
    HOTLINE,
    HOUSING,
    MARKET,
    STRANGER,
    ToldRouter,
    as_received,
    at,
    complaint,
)

TIMES = load_timetable()
NOW = at("2026-11-18 09:30")
Run = Callable[[Callable[[Store], Any]], Any]


def desk(
    store: Store, decision: Decision = Decision.AUTO, item: str = "", *, assisted: bool = True
) -> Desk:
    return Desk(store, ToldRouter(decision, item, assisted=assisted), TIMES)


def order(ticket: Ticket, by: Actor = ADMIN, when: str = "2026-11-18 10:00", **more: Any) -> Order:
    return Order(ticket.no, by, ticket.version, at(when), **more)


def clock(ticket: Ticket, kind: MilestoneKind, which: Clock = Clock.OWN) -> Milestone:
    """Return the latest milestone of a kind."""
    return [
        m for m in ticket.milestones if m.kind is kind and m.clock is which and not m.assisting
    ][-1]


def test_a_ticket_walks_from_intake_to_close_and_every_step_is_on_record(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = (await d.receive(complaint(), "f1", NOW)).ticket
        assert ticket.no == "360732-20261118-00001"
        assert ticket.state is State.DISPATCHED
        assert ticket.lead == UnitRef(MARKET.code, MARKET.name)
        ticket = await d.sign(order(ticket, HANDLER))
        ticket = await d.contact(order(ticket, HANDLER, "2026-11-18 11:00"), text="已电话联系")
        ticket = await d.resolve(
            order(ticket, HANDLER, "2026-11-20 16:00"),
            public_reply="已责令退款",
            internal_finding="首次违规",
            solved=True,
        )
        assert ticket.state is State.RESOLVED
        with pytest.raises(CallBackOwed):
            await d.close(order(ticket, DISPATCHER, "2026-11-20 17:00"))
        ticket = await d.call_back(
            order(ticket, DISPATCHER, "2026-11-23 09:00"),
            reached=True,
            solved=True,
            grade=5,
            text="满意",
        )
        ticket = await d.close(order(ticket, DISPATCHER, "2026-11-23 09:05"))
        assert ticket.state is State.CLOSED
        assert {m.outcome for m in ticket.milestones} == {Outcome.ON_TIME}
        assert not ticket.open()
        history = await d.history(ticket.no, AUDITOR)
        assert [event.act for event in history] == [
            "received",
            "dispatch",
            "sign",
            "contact",
            "resolve",
            "call_back",
            "close",
        ]
        assert [event.version for event in history] == [1, 1, 2, 3, 4, 5, 6]
        assert history[4].content["public_reply"] == "已责令退款"
        assert {event.unit for event in history} == {MARKET.code}

    in_store(scenario)


def test_the_clocks_of_a_new_ticket_are_those_of_the_limits(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        sender = complaint(sender_due_at=at("2026-11-25 17:30"))
        ticket = (await desk(store, item="4").receive(sender, "f1", NOW)).ticket
        assert clock(ticket, MilestoneKind.SIGN).due_at == at("2026-11-18 15:30")
        assert clock(ticket, MilestoneKind.CONTACT).due_at == at("2026-11-19 17:30")
        own = clock(ticket, MilestoneKind.RESOLVE)
        assert own.due_at == at("2026-11-19 17:30")
        assert "第4项" in own.basis
        assert own.governing
        second = clock(ticket, MilestoneKind.RESOLVE, Clock.SENDER)
        assert second.due_at == at("2026-11-25 17:30")
        assert not second.governing

    in_store(scenario)


def test_the_earlier_of_two_clocks_governs(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        sender = complaint(sender_due_at=at("2026-11-20 12:00"))
        ticket = (await desk(store).receive(sender, "f1", NOW)).ticket
        assert not clock(ticket, MilestoneKind.RESOLVE).governing
        assert clock(ticket, MilestoneKind.RESOLVE, Clock.SENDER).governing

    in_store(scenario)


def test_a_supervised_message_is_counted_from_its_supervision(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        posted = complaint(accepted_at=at("2026-11-15 20:11"), clock_from=at("2026-11-17 10:00"))
        ticket = (await desk(store).receive(posted, "f1", NOW)).ticket
        assert clock(ticket, MilestoneKind.RESOLVE).due_at == at("2026-11-24 17:30")

    in_store(scenario)


def test_the_same_body_is_a_duplicate_and_another_one_a_supplement_once(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        first = await d.receive(complaint(), "f1", NOW)
        again = await d.receive(complaint(), "f1", NOW)
        assert again.duplicate
        assert as_received(again.ticket) == first.ticket
        changed = complaint(content="又问了一次，还是不退", confidential=True)
        added = await d.receive(changed, "f2", NOW)
        assert added.supplemented
        assert added.ticket.no == first.ticket.no
        assert added.ticket.version == 2
        assert added.ticket.complaint.content == complaint().content
        assert added.ticket.complaint.confidential
        # An old body that comes late is nothing new.
        assert (await d.receive(complaint(), "f1", NOW)).duplicate
        assert (await d.receive(changed, "f2", NOW)).duplicate
        history = await d.history(first.ticket.no, ADMIN)
        assert [event.act for event in history] == ["received", "dispatch", "supplemented"]
        assert history[-1].content == {"content": "又问了一次，还是不退", "confidential": True}

    in_store(scenario)


def test_a_supplement_that_brings_a_supervision_sets_the_clock_anew(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        await d.receive(complaint(accepted_at=at("2026-11-15 20:11")), "f1", NOW)
        supervised = complaint(
            accepted_at=at("2026-11-15 20:11"),
            clock_from=at("2026-11-18 08:00"),
            sender_due_at=at("2026-11-24 12:00"),
        )
        ticket = (await d.receive(supervised, "f2", NOW)).ticket
        assert clock(ticket, MilestoneKind.RESOLVE).due_at == at("2026-11-25 17:30")
        assert clock(ticket, MilestoneKind.RESOLVE, Clock.SENDER).governing
        assert len(ticket.open(MilestoneKind.RESOLVE)) == 2

    in_store(scenario)


def test_many_pushes_of_the_same_number_at_once_make_one_ticket(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        receipts = await asyncio.gather(*(d.receive(complaint(), "f1", NOW) for _ in range(20)))
        assert {receipt.ticket.no for receipt in receipts} == {"360732-20261118-00001"}
        assert sum(not receipt.duplicate for receipt in receipts) == 1

    in_store(scenario)


def test_numbers_have_no_gap_even_when_many_come_at_once(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        receipts = await asyncio.gather(
            *(d.receive(complaint(source_no=f"T{n}"), f"f{n}", NOW) for n in range(30))
        )
        numbers = sorted(int(receipt.ticket.no[-5:]) for receipt in receipts)
        assert numbers == list(range(1, 31))

    in_store(scenario)


@pytest.mark.parametrize(
    ("decision", "state", "owed"),
    [
        (Decision.MANUAL, State.SORTING, [MilestoneKind.RESOLVE]),
        (Decision.NOT_ACCEPTED, State.NOT_ACCEPTED, []),
        (Decision.EMERGENCY_LINE, State.REFERRED, []),
    ],
)
def test_what_is_not_routed_to_a_unit_waits_where_it_belongs(
    in_store: Run, decision: Decision, state: State, owed: list[MilestoneKind]
) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, decision)
        ticket = (await d.receive(complaint(), "f1", NOW)).ticket
        assert ticket.state is state
        assert ticket.lead is None
        assert [m.kind for m in ticket.open()] == owed
        assert {m.unit for m in ticket.open()} <= {HOTLINE.code}
        ticket = await d.dispatch(order(ticket, DISPATCHER), unit=HOUSING.code, reason="属其职责")
        assert ticket.state is State.DISPATCHED
        assert ticket.lead == UnitRef(HOUSING.code, HOUSING.name)
        # However long it lay in the sorting list, the citizen's time began at receipt.
        assert clock(ticket, MilestoneKind.RESOLVE).due_at == at("2026-11-25 17:30")

    in_store(scenario)


def test_a_returned_ticket_keeps_its_first_deadline(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(), "f1", NOW)).ticket
        due_at = clock(ticket, MilestoneKind.RESOLVE).due_at
        ticket = await d.sign(order(ticket, HANDLER))
        ticket = await d.send_back(
            order(ticket, HANDLER, "2026-11-19 10:00"),
            reason="不属于市场监管职责",
            basis="三定方案",
            suggested_unit=HOUSING.code,
        )
        assert ticket.state is State.SORTING
        assert ticket.lead is None
        assert [m.unit for m in ticket.open()] == [HOTLINE.code]
        ticket = await d.dispatch(
            order(ticket, DISPATCHER, "2026-11-20 09:00"), unit=HOUSING.code, reason="改派"
        )
        assert clock(ticket, MilestoneKind.RESOLVE).due_at == due_at
        assert {m.unit for m in ticket.open()} == {HOUSING.code}
        assert clock(ticket, MilestoneKind.SIGN).started_at == at("2026-11-20 09:00")
        # The first unit's handler has no business with it any more.
        with pytest.raises(UnknownTicket):
            await d.ticket(ticket.no, HANDLER)

    in_store(scenario)


def test_a_redo_has_new_clocks_and_counts_its_round(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = (await d.receive(complaint(), "f1", NOW)).ticket
        ticket = await d.sign(order(ticket, HANDLER))
        ticket = await d.resolve(
            order(ticket, HANDLER), public_reply="已处理", internal_finding="", solved=True
        )
        # Nobody spoke to the citizen before: that is missed, and stays so.
        assert clock(ticket, MilestoneKind.CONTACT).outcome is Outcome.MISSED
        ticket = await d.reopen(order(ticket, DISPATCHER, "2026-11-20 09:00"), reason="未退款")
        assert ticket.state is State.DISPATCHED
        assert ticket.redo == 1
        assert clock(ticket, MilestoneKind.CALL_BACK).outcome is Outcome.WITHDRAWN
        assert [(m.kind, m.redo) for m in ticket.open()] == [
            (MilestoneKind.RESOLVE, 1),
            (MilestoneKind.SIGN, 1),
            (MilestoneKind.CONTACT, 1),
        ]
        assert clock(ticket, MilestoneKind.RESOLVE).due_at == at("2026-11-25 17:30")

    in_store(scenario)


def test_somebody_who_left_no_number_is_neither_contacted_nor_called_back(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(contact=Contact()), "f1", NOW)).ticket
        assert {m.kind for m in ticket.open()} == {MilestoneKind.SIGN, MilestoneKind.RESOLVE}
        ticket = await d.sign(order(ticket))
        ticket = await d.resolve(
            order(ticket), public_reply="已处理", internal_finding="", solved=True
        )
        assert (await d.close(order(ticket))).state is State.CLOSED

    in_store(scenario)


@pytest.mark.parametrize(("rating", "system_default"), [(5, False), (3, False), (1, True)])
def test_a_review_that_nobody_complains_in_is_counted_and_closed(
    in_store: Run, rating: int, *, system_default: bool
) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        review = Review(rating, MARKET.name, system_default=system_default)
        counted = complaint(kind=Kind.PRAISE, review=review)
        ticket = (await d.receive(counted, "f1", NOW)).ticket
        assert ticket.state is State.CLOSED
        assert ticket.milestones == ()
        with pytest.raises(IllegalMove):
            await d.reopen(order(ticket, DISPATCHER), reason="?")

    in_store(scenario)


def test_a_bad_review_is_worked_like_any_ticket(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        bad = complaint(review=Review(2, MARKET.name))
        ticket = (await desk(store).receive(bad, "f1", NOW)).ticket
        assert ticket.state is State.DISPATCHED
        assert ticket.milestones

    in_store(scenario)


@pytest.mark.parametrize(
    ("by", "error"),
    [
        (ELSEWHERE, UnknownTicket),
        (AUDITOR, Forbidden),
        (DISPATCHER, Forbidden),
    ],
    ids=["another region", "auditor", "dispatcher"],
)
def test_only_the_lead_signs(in_store: Run, by: Actor, error: type[Exception]) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(), "f1", NOW)).ticket
        with pytest.raises(error):
            await d.sign(order(ticket, by))
        assert as_received(await d.ticket(ticket.no, ADMIN)) == shown(ADMIN, ticket)

    in_store(scenario)


def test_a_stale_version_is_refused_and_changes_nothing(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        read = (await d.receive(complaint(), "f1", NOW)).ticket
        await d.note(order(read), text="先看一下")
        with pytest.raises(Stale) as stale:
            await d.sign(order(read, HANDLER))
        assert stale.value.current == 2
        assert (await d.ticket(read.no, ADMIN)).state is State.DISPATCHED

    in_store(scenario)


def test_of_two_acts_on_one_version_at_once_only_one_happens(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(), "f1", NOW)).ticket
        done = await asyncio.gather(
            *(d.note(order(ticket), text=f"第{n}人") for n in range(8)), return_exceptions=True
        )
        assert sum(isinstance(result, Ticket) for result in done) == 1
        assert sum(isinstance(result, Stale) for result in done) == 7

    in_store(scenario)


def test_an_act_that_the_state_does_not_allow_is_refused_with_those_it_does(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(), "f1", NOW)).ticket
        with pytest.raises(IllegalMove) as refused:
            await d.close(order(ticket))
        assert refused.value.state is State.DISPATCHED
        assert len(await d.history(ticket.no, ADMIN)) == 2

    in_store(scenario)


def test_a_retry_with_the_same_key_gets_the_same_answer_and_happens_once(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(), "f1", NOW)).ticket
        asked = order(ticket, HANDLER, key="k1", request="sign")
        first = await d.sign(asked)
        assert await d.sign(asked) == first
        with pytest.raises(KeyReused):
            await d.note(replace(asked, request="note"), text="别的事")
        # Another caller's key of the same name is another key.
        await d.note(order(first, ADMIN, key="k1", request="note"), text="管理员备注")
        acts = [event.act for event in await d.history(ticket.no, ADMIN)]
        assert acts == ["received", "dispatch", "sign", "note"]

    in_store(scenario)


def test_a_retried_sending_back_gets_its_answer_and_nothing_that_others_did_since(
    in_store: Run,
) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(), "f1", NOW)).ticket
        asked = order(ticket, HANDLER, key="k1", request="send_back")
        first = await d.send_back(asked, reason="不是", basis="三定")
        assert await d.send_back(asked, reason="不是", basis="三定") == first
        await d.dispatch(order(first, DISPATCHER), unit=HOUSING.code, reason="改派")
        with pytest.raises(UnknownTicket):
            await d.send_back(asked, reason="不是", basis="三定")

    in_store(scenario)


def test_an_unknown_unit_is_refused_before_anything_is_read(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(), "f1", NOW)).ticket
        with pytest.raises(UnknownUnit) as refused:
            await d.dispatch(order(ticket), unit=MARKET.code, assist=["nobody"], reason="")
        assert refused.value.pointer == "/assist/0"

    in_store(scenario)


def test_stages_come_once_each_and_in_order(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = (await d.receive(complaint(contact=Contact()), "f1", NOW)).ticket
        due_at = clock(ticket, MilestoneKind.RESOLVE).due_at
        assert await d.enforce(NOW + timedelta(hours=1)) == 0
        assert await d.enforce(at("2026-11-18 14:00")) == 1
        warned = await d.ticket(ticket.no, ADMIN)
        assert clock(warned, MilestoneKind.SIGN).stage is Stage.WARN
        assert warned.version == ticket.version
        # A service that was down for a week: each step leaves its event all the same.
        assert await d.enforce(due_at + timedelta(days=7)) == 2
        assert await d.enforce(due_at + timedelta(days=7)) == 0
        late = await d.ticket(ticket.no, ADMIN)
        assert late.stage is Stage.RED
        steps = [
            (event.content["milestone"], event.content["measure"], f"{event.at:%m-%d %H:%M}")
            for event in await d.history(ticket.no, ADMIN)
            if event.act == "stage"
        ]
        assert steps == [
            ("sign", "remind", "11-18 03:30"),
            ("sign", "supervise", "11-18 07:30"),
            ("resolve", "remind", "11-24 06:10"),
            ("resolve", "supervise", "11-25 09:30"),
            ("resolve", "yellow", "11-26 09:30"),
            ("resolve", "red", "11-30 09:30"),
            ("resolve", "bulletin", "12-02 09:30"),
        ]
        signed = await d.sign(order(late, HANDLER, "2026-12-03 09:00"))
        assert clock(signed, MilestoneKind.SIGN).outcome is Outcome.LATE

    in_store(scenario)


def test_what_is_done_in_time_is_never_warned_of(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(contact=Contact()), "f1", NOW)).ticket
        ticket = await d.sign(order(ticket))
        await d.resolve(order(ticket), public_reply="已办", internal_finding="", solved=True)
        assert await d.enforce(at("2027-06-01 09:00")) == 0

    in_store(scenario)


def test_many_due_milestones_are_enforced_in_batches_by_several_at_once(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        for n in range(12):
            await d.receive(complaint(source_no=f"T{n}", contact=Contact()), f"f{n}", NOW)
        later = at("2027-03-01 09:00")
        done = 0
        while step := sum(await asyncio.gather(*(d.enforce(later, 5) for _ in range(3)))):
            done += step
        assert done == 24
        for found in (await d.page(ADMIN, Filter(limit=50))).items:
            acts = [event.act for event in await d.history(found.no, ADMIN)]
            assert acts.count("stage") == 7

    in_store(scenario)


def test_lists_hold_what_was_asked_for_and_only_what_the_caller_may_see(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        await d.receive(complaint(source_no="A", title="路灯 不亮"), "a", NOW)
        await d.receive(complaint(source_no="B", region="360300", kind=Kind.HELP), "b", NOW)
        await d.receive(complaint(source_no="C", urgency=Urgency.URGENT), "c", NOW)

        async def numbers(by: Actor = ADMIN, **wanted: Any) -> list[str]:
            return [t.complaint.source_no for t in (await d.page(by, Filter(**wanted))).items]

        assert await numbers() == ["C", "B", "A"]
        assert await numbers(region="360700") == ["C", "A"]
        assert await numbers(ELSEWHERE) == ["B"]
        assert await numbers(STRANGER) == ["C", "A"]  # assists
        assert await numbers(kind="help") == ["B"]
        assert await numbers(unit=HOUSING.code, region="360732") == ["C", "A"]
        assert await numbers(state="sorting") == []
        assert await numbers(q="路灯") == ["A"]
        assert await numbers(q="路灯 不亮") == ["A"]
        assert await numbers(q="100%") == []
        assert await numbers(q="B") == ["B"]
        await d.enforce(at("2026-11-18 14:00"))
        assert await numbers(stage="warn") == ["C", "B", "A"]
        first = await d.page(ADMIN, Filter(limit=2))
        assert await numbers(limit=2, after=first.onward) == ["A"]

    in_store(scenario)


def test_a_queue_has_what_falls_due_first_on_top(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        await d.receive(complaint(source_no="late"), "a", at("2026-11-18 16:00"))
        await d.receive(complaint(source_no="early"), "b", at("2026-11-18 08:40"))
        mine = (await d.queue(MARKET.code, HANDLER)).items
        assert [t.complaint.source_no for t in mine] == ["early", "late"]
        assert len((await d.queue(HOUSING.code, STRANGER)).items) == 2
        with pytest.raises(Forbidden):
            await d.queue(MARKET.code, STRANGER)

    in_store(scenario)


def test_reading_a_number_needs_a_call_to_and_is_on_record(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(), "f1", NOW)).ticket
        contact = await d.read_contact(ticket.no, HANDLER, NOW, reason="电话核实")
        assert contact.contact.phone == "13800000001"
        for by in (AUDITOR, STRANGER):
            with pytest.raises(Forbidden):
                await d.read_contact(ticket.no, by, NOW, reason="好奇")
        last = (await d.history(ticket.no, ADMIN))[-1]
        assert (last.act, last.actor, last.content) == (
            "read_contact",
            "承办人",
            {"reason": "电话核实"},
        )

    in_store(scenario)


def test_a_sender_of_one_region_neither_reads_nor_changes_another_regions_ticket(
    in_store: Run,
) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        await d.receive(complaint(), "f1", NOW)
        nanchang = Actor("南昌热线", Role.SOURCE, source="hotline-12345", region="360100")
        moved = complaint(region="360100", contact=Contact("别人", "13900009999"))
        for sent in (moved, complaint(content="改一改")):
            with pytest.raises(Forbidden):
                await d.receive(sent, "f2", NOW, nanchang)
        kept = (await d.page(ADMIN, Filter())).items[0]
        assert kept.complaint == hidden(complaint())
        assert kept.version == 1

    in_store(scenario)


def test_a_new_number_leaves_a_trace_and_the_old_one_is_kept(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        await d.receive(complaint(), "f1", NOW)
        changed = complaint(contact=Contact("王某", "13900009999"), confidential=True)
        ticket = (await d.receive(changed, "f2", NOW)).ticket
        told = (await d.history(ticket.no, ADMIN))[-1].content
        assert told == {
            "confidential": True,
            "contact_before": "138****0001",
            "contact_now": "139****9999",
        }
        assert ticket.complaint.extra["contact_before_2"] == "王某 13800000001"

    in_store(scenario)


def test_a_unit_may_not_ring_who_asked_for_confidence_and_need_not(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(confidential=True), "f1", NOW)).ticket
        assert not ticket.open(MilestoneKind.CONTACT)
        with pytest.raises(Forbidden):
            await d.read_contact(ticket.no, HANDLER, NOW, reason="核实")
        assert await d.read_contact(ticket.no, DISPATCHER, NOW, reason="核实")

    in_store(scenario)


def test_nobody_reads_numbers_in_free_text_without_a_reason(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        told = complaint(content="身份证36073219900101153X，电话13812345678，共 20261118 件")
        ticket = (await d.receive(told, "f1", NOW)).ticket
        seen = await d.ticket(ticket.no, AUDITOR)
        assert seen.complaint.content == "身份证360****153X，电话138****5678，共 20261118 件"
        await d.note(order(ticket), text="打 13812345678")
        assert (await d.history(ticket.no, AUDITOR))[-1].content == {"text": "打 138****5678"}
        for by in (HANDLER, DISPATCHER, ADMIN):
            assert (await d.ticket(ticket.no, by)).complaint == seen.complaint
            assert (await d.history(ticket.no, by))[-1].content == {"text": "打 138****5678"}
        read = await d.read_contact(ticket.no, DISPATCHER, NOW, reason="回访")
        assert (read.content, read.contact) == (told.content, told.contact)
        assert [dict(texts) for texts in read.history.values()] == [{"text": "打 13812345678"}]

    in_store(scenario)


def test_a_ticket_of_a_development_zone_has_a_number_that_can_be_asked_for() -> None:
    for no in ("360732-20261118-00001", "3601K1-20261118-00001", "360732101-20261118-00001"):
        assert checked_no(no) == no


def test_one_key_used_for_two_tickets_at_once_is_refused_for_one(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        both = [(await d.receive(complaint(source_no=n), n, NOW)).ticket for n in "ab"]
        done = await asyncio.gather(
            *(d.note(order(t, key="k", request=t.no), text="同键") for t in both),
            return_exceptions=True,
        )
        assert sorted(type(result).__name__ for result in done) == ["KeyReused", "Ticket"]

    in_store(scenario)
