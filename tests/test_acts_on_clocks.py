"""What people may do to the clocks, and what a policy forbids, on both databases."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from service.desk import Desk, UnknownTicket
from service.domain import acts
from service.domain.access import Actor, Forbidden, Role
from service.domain.acts import RuleForbids
from service.domain.complaint import Contact, Kind, Urgency
from service.domain.deadline import parse_limit
from service.domain.lifecycle import IllegalMove, State
from service.domain.limits import LimitRule, Starts
from service.domain.policy import Assisting, Bears, HandOver, Policies
from service.domain.ticket import (
    Clock,
    Decided,
    Level,
    MilestoneKind,
    Outcome,
    Recipient,
    Stage,
    Ticket,
    Word,
)
from service.store import Store, tickets
from service.store.deliveries import deliveries
from service.store.tallies import recount
from tests.test_desk import NOW, TIMES, Run, clock, desk, order
from tests.worlds import (
    ADMIN,
    DISPATCHER,
    HANDLER,
    HOTLINE,
    HOUSING,
    MARKET,
    STRANGER,
    SUPERVISOR,
    ToldRouter,
    at,
    complaint,
)

RESOLVE, SIGN = MilestoneKind.RESOLVE, MilestoneKind.SIGN
BOTH = Actor("两家承办人", Role.HANDLER, units=(MARKET.code, HOUSING.code), region="360732", id="8")


async def signed(d: Desk, **changes: Any) -> Ticket:
    """Return a ticket that its lead has signed; due on 25 November at 17:30."""
    ticket = (await d.receive(complaint(**changes), "f1", NOW)).ticket
    return await d.sign(order(ticket, HANDLER))


async def last_event(d: Desk, ticket: Ticket) -> dict[str, Any]:
    return (await d.history(ticket.no, ADMIN))[-1].content


def helping(ticket: Ticket, kind: MilestoneKind) -> Any:
    return [m for m in ticket.milestones if m.kind is kind and m.assisting][-1]


# Assisting units


def test_an_assisting_unit_signs_and_answers_on_clocks_of_its_own(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(), "f1", NOW)).ticket
        assert helping(ticket, SIGN).due_at == at("2026-11-18 15:30")
        assert helping(ticket, RESOLVE).due_at == at("2026-11-23 17:30")
        ticket = await d.sign(order(ticket, STRANGER))
        assert ticket.state is State.DISPATCHED, "the lead has not signed"
        assert helping(ticket, SIGN).outcome is Outcome.ON_TIME
        with pytest.raises(IllegalMove):
            await d.sign(order(ticket, STRANGER))
        ticket = await d.sign(order(ticket, HANDLER))
        answer: dict[str, Any] = {"public_reply": "已核实", "internal_finding": "", "solved": True}
        ticket = await d.resolve(order(ticket, STRANGER, "2026-11-24 09:00"), **answer)
        assert ticket.state is State.SIGNED, "the lead has not resolved"
        assert helping(ticket, RESOLVE).outcome is Outcome.LATE
        ticket = await d.resolve(order(ticket, HANDLER, "2026-11-24 10:00"), **answer)
        assert ticket.state is State.RESOLVED
        units = [event.unit for event in await d.history(ticket.no, ADMIN) if event.act == "sign"]
        assert units == [HOUSING.code, MARKET.code]

    in_store(scenario)


def test_who_works_for_both_signs_as_the_lead_first_and_resolves_as_the_lead_last(
    in_store: Run,
) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(), "f1", NOW)).ticket
        answer: dict[str, Any] = {"public_reply": "已核实", "internal_finding": "", "solved": True}
        states = []
        for act, fields in ((d.sign, {}), (d.sign, {}), (d.resolve, answer), (d.resolve, answer)):
            ticket = await act(order(ticket, BOTH), **fields)
            states.append(ticket.state)
        assert states == [State.SIGNED, State.SIGNED, State.SIGNED, State.RESOLVED]

    in_store(scenario)


def test_what_an_assisting_unit_still_owes_when_the_lead_resolves_ends(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = await signed(d)
        answer: dict[str, Any] = {"public_reply": "已办", "internal_finding": "", "solved": True}
        ticket = await d.resolve(order(ticket, HANDLER, "2026-11-19 10:00"), **answer)
        assert helping(ticket, SIGN).outcome is Outcome.MISSED  # due on the 18th
        assert helping(ticket, RESOLVE).outcome is Outcome.WITHDRAWN

    in_store(scenario)


def test_a_policy_may_make_the_lead_wait_for_those_who_assist(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        rows = tuple(
            replace(row, awaited=True) if isinstance(row, Assisting) else row
            for row in TIMES.policies.rows
        )
        d = Desk(store, ToldRouter(), replace(TIMES, policies=Policies(rows)))
        ticket = await signed(d)
        answer: dict[str, Any] = {"public_reply": "已办", "internal_finding": "", "solved": True}
        with pytest.raises(RuleForbids, match="assist-awaited"):
            await d.resolve(order(ticket, HANDLER), **answer)
        ticket = await d.resolve(order(ticket, STRANGER), **answer)
        assert (await d.resolve(order(ticket, HANDLER), **answer)).state is State.RESOLVED

    in_store(scenario)


# Extensions


async def asked(d: Desk, ticket: Ticket, amount: str = "3 工作日", when: str = "") -> Ticket:
    by = order(ticket, HANDLER, when or "2026-11-19 09:00")
    return await d.request_extension(by, amount=amount, reason="需现场鉴定")


def test_a_granted_extension_moves_the_due_date_keeps_the_first_and_tells_the_citizen(
    in_store: Run,
) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        # The sender's own limit is later, and not what was granted.
        ticket = await asked(d, await signed(d, sender_due_at=at("2026-12-31 17:30")))
        assert ticket.pending is not None
        assert clock(ticket, RESOLVE).due_at == at("2026-11-25 17:30")
        ticket = await d.decide_extension(
            order(ticket, SUPERVISOR, "2026-11-20 09:00"), granted=True, reason="同意"
        )
        own = clock(ticket, RESOLVE)
        assert own.due_at == at("2026-11-30 17:30")
        assert own.original_due_at == at("2026-11-25 17:30")
        assert own.steps[0].at == own.due_at
        assert ticket.extensions[0].decided is Decided.GRANTED
        sent = await store.read(lambda c: deliveries(c, ticket))
        assert [(s.recipient, s.payload) for s in sent if s.kind is Word.EXTENDED] == [
            (Recipient.CITIZEN, {"due_at": "2026-11-30T17:30:00+08:00"})
        ]
        await d.enforce(at("2026-11-25 18:00"))
        assert clock(await d.ticket(ticket.no, ADMIN), RESOLVE).stage is Stage.NORMAL

    in_store(scenario)


def test_a_clock_that_was_warned_of_is_warned_of_again_before_its_new_end(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = await asked(d, await signed(d, contact=Contact()))
        await d.enforce(at("2026-11-25 09:00"))
        warned = await d.ticket(ticket.no, ADMIN)
        assert clock(warned, RESOLVE).stage is Stage.WARN
        ticket = await d.decide_extension(
            order(warned, SUPERVISOR, "2026-11-25 10:00"), granted=True, reason=""
        )
        assert clock(ticket, RESOLVE).stage is Stage.NORMAL
        await d.enforce(at("2026-12-01 09:00"))
        told = [
            (event.content["measure"], event.content["due_at"][:10])
            for event in await d.history(ticket.no, ADMIN)
            if event.act == "stage"
        ]
        assert told == [
            ("remind", "2026-11-25"),
            ("remind", "2026-11-30"),
            ("supervise", "2026-11-30"),
        ]

    in_store(scenario)


Trial = Callable[[Desk, Ticket], Awaitable[Any]]


async def _expired(d: Desk, ticket: Ticket) -> None:
    await asked(d, ticket, when="2026-11-25 17:31")


async def _too_much(d: Desk, ticket: Ticket) -> None:
    await asked(d, ticket, "6 工作日")


async def _other_measure(d: Desk, ticket: Ticket) -> None:
    await asked(d, ticket, "3 日")


async def _twice_at_once(d: Desk, ticket: Ticket) -> None:
    await asked(d, await asked(d, ticket))


async def _once_too_often(d: Desk, ticket: Ticket) -> None:
    ticket = await asked(d, ticket, "1 工作日")
    ticket = await d.decide_extension(order(ticket, SUPERVISOR), granted=True, reason="")
    await asked(d, ticket, "1 工作日")


async def _own_request(d: Desk, ticket: Ticket) -> None:
    by = Actor("某人", Role.ADMIN, id="9")
    ticket = await d.request_extension(order(ticket, by), amount="1 工作日", reason="难")
    await d.decide_extension(order(ticket, by), granted=True, reason="")


async def _own_request_in_another_role(d: Desk, ticket: Ticket) -> None:
    ticket = await asked(d, ticket)
    by = Actor(HANDLER.name, Role.SUPERVISOR, id="77")
    await d.decide_extension(order(ticket, by), granted=True, reason="")


async def _no_approver(d: Desk, ticket: Ticket) -> None:
    ticket = await asked(d, ticket)
    await d.decide_extension(order(ticket, ADMIN), granted=True, reason="")


async def _decided_too_late(d: Desk, ticket: Ticket) -> None:
    ticket = await asked(d, ticket)
    late = order(ticket, SUPERVISOR, "2026-11-26 09:00")
    await d.decide_extension(late, granted=True, reason="")


async def _nothing_to_decide(d: Desk, ticket: Ticket) -> None:
    await d.decide_extension(order(ticket, SUPERVISOR), granted=True, reason="")


async def _unknown_reason(d: Desk, ticket: Ticket) -> None:
    await d.pause(order(ticket, HANDLER), reason="busy")


async def _pause_when_over(d: Desk, ticket: Ticket) -> None:
    await d.pause(order(ticket, HANDLER, "2026-11-26 09:00"), reason="awaiting_citizen")


async def _third_pause(d: Desk, ticket: Ticket) -> None:
    for _ in range(2):
        ticket = await d.pause(order(ticket, HANDLER), reason="awaiting_citizen")
        ticket = await d.resume(order(ticket, HANDLER))
    await d.pause(order(ticket, HANDLER), reason="awaiting_citizen")


async def _late_send_back(d: Desk, ticket: Ticket) -> None:
    late = order(ticket, HANDLER, "2026-11-20 17:31")
    await d.send_back(late, reason="不是我们的", basis="三定", suggested_unit="")


async def _undisputed_ruling(d: Desk, ticket: Ticket) -> None:
    ticket = await d.send_back(order(ticket, HANDLER), reason="不是", basis="三定")
    ticket = await d.rule(order(ticket, SUPERVISOR), unit=MARKET.code, reason="是", document="三定")
    await d.send_back(order(ticket, HANDLER), reason="还是不是", basis="三定")


async def _into_itself(d: Desk, ticket: Ticket) -> None:
    await d.merge(order(ticket, DISPATCHER), into=ticket.no, reason="重复")


@pytest.mark.parametrize(
    ("trial", "rule"),
    [
        (_expired, "extension-expired"),
        (_too_much, "extension-total"),
        (_other_measure, "extension-measure"),
        (_twice_at_once, "extension-pending"),
        (_once_too_often, "extension-times"),
        (_own_request, "extension-own-request"),
        (_own_request_in_another_role, "extension-own-request"),
        (_no_approver, "extension-approver"),
        (_decided_too_late, "extension-expired"),
        (_nothing_to_decide, "extension-none-pending"),
        (_unknown_reason, "pause-reason"),
        (_pause_when_over, "pause-expired"),
        (_third_pause, "pause-times"),
        (_late_send_back, "send-back-window"),
        (_undisputed_ruling, "send-back-ruled"),
        (_into_itself, "merge-into"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else value,
)
def test_what_a_rule_forbids_is_refused_with_the_rule_and_changes_nothing(
    in_store: Run, trial: Trial, rule: str
) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = await signed(d, contact=Contact())
        with pytest.raises(RuleForbids) as refused:
            await trial(d, ticket)
        assert refused.value.rule == rule
        assert refused.value.detail
        history = await d.history(ticket.no, ADMIN)
        after = await d.ticket(ticket.no, ADMIN)
        assert history[-1].version == after.version, "nothing of the refused act is on record"

    in_store(scenario)


@pytest.mark.parametrize("by", [STRANGER, DISPATCHER], ids=lambda by: by.name)
def test_only_the_lead_asks_for_more_time(in_store: Run, by: Actor) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = await signed(d)
        with pytest.raises(Forbidden):
            await d.request_extension(order(ticket, by), amount="1 工作日", reason="难")

    in_store(scenario)


def test_an_extension_that_nobody_decided_on_lapses_when_the_ticket_goes_on(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = await asked(d, await signed(d))
        ticket = await d.dispatch(order(ticket, DISPATCHER), unit=HOUSING.code, reason="改派")
        assert ticket.extensions[0].decided is Decided.LAPSED

    in_store(scenario)


@pytest.mark.parametrize(
    ("changes", "due", "governs"),
    [
        # The sender's limit alone leaves ours as it is, and takes over where it ends first.
        ({"sender_due_at": "2026-12-02 12:00"}, "2026-11-30 17:30", Clock.OWN),
        ({"sender_due_at": "2026-11-26 12:00"}, "2026-11-30 17:30", Clock.SENDER),
        # A 督办 counts from a day later; the three days that were granted are granted again.
        ({"clock_from": "2026-11-19 08:00"}, "2026-12-01 17:30", Clock.OWN),
    ],
)
def test_a_supplement_never_takes_a_granted_extension_away(
    in_store: Run, changes: dict[str, str], due: str, governs: Clock
) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = await asked(d, await signed(d, sender_due_at=at("2026-12-04 12:00")))
        ticket = await d.decide_extension(order(ticket, SUPERVISOR), granted=True, reason="")
        ticket = await d.supervise(order(ticket, SUPERVISOR), level=Level.YELLOW, text="请抓紧")
        before = clock(ticket, RESOLVE)
        sent = {"sender_due_at": "2026-12-04 12:00"} | changes
        body = complaint(**{name: at(value) for name, value in sent.items()})
        ticket = (await d.receive(body, "f2", at("2026-11-19 10:00"))).ticket
        own, sender = clock(ticket, RESOLVE), clock(ticket, RESOLVE, Clock.SENDER)
        assert (own.id, own.extended, own.stage) == (before.id, "3 工作日", Stage.YELLOW)
        assert own.due_at == at(due)
        assert sender.due_at == body.sender_due_at
        assert [m.clock for m in ticket.open(RESOLVE) if m.governing] == [governs]
        # Of the two, one has the cards.
        carded = [m.clock for m in ticket.open(RESOLVE) if len(m.steps) > 1]
        assert carded == [governs]

    in_store(scenario)


def test_a_supplement_to_a_paused_ticket_leaves_our_clock_standing_still(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = await signed(d, contact=Contact())
        ticket = await d.pause(order(ticket, HANDLER), reason="awaiting_citizen")
        body = complaint(contact=Contact(), clock_from=at("2026-11-18 08:00"))
        ticket = (await d.receive(body, "f2", at("2026-11-19 10:00"))).ticket
        assert clock(ticket, RESOLVE).next_at is None
        ticket = await d.resume(order(ticket, HANDLER, "2026-11-19 10:00"))
        assert clock(ticket, RESOLVE).paused_s
        assert clock(ticket, RESOLVE).next_at is not None

    in_store(scenario)


# Pauses


@pytest.mark.parametrize(
    ("paused", "resumed", "due"),
    [
        ("2026-11-19 10:00", "2026-11-20 10:00", "2026-11-26 17:30"),  # one working day
        ("2026-11-19 10:00", "2026-11-19 11:00", "2026-11-26 09:30"),  # one hour of the office's
        ("2026-11-20 18:00", "2026-11-23 08:00", "2026-11-25 17:30"),  # a weekend: nothing lost
        ("2026-11-19 12:00", "2026-11-19 14:30", "2026-11-26 09:00"),  # the midday break is none
    ],
)
def test_a_pause_gives_back_exactly_the_working_time_that_it_lasted(
    in_store: Run, paused: str, resumed: str, due: str
) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = await signed(d, contact=Contact())
        ticket = await d.pause(order(ticket, HANDLER, paused), reason="awaiting_citizen")
        assert ticket.state is State.PAUSED
        assert clock(ticket, RESOLVE).next_at is None
        ticket = await d.resume(order(ticket, HANDLER, resumed))
        assert ticket.state is State.SIGNED
        assert clock(ticket, RESOLVE).due_at == at(due)
        assert clock(ticket, RESOLVE).original_due_at == at("2026-11-25 17:30")

    in_store(scenario)


def test_a_pause_ends_by_itself_at_its_longest_and_with_that_time(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = await signed(d, contact=Contact())
        ticket = await d.pause(order(ticket, HANDLER), reason="awaiting_third_party")
        until = ticket.pauses[0].until
        assert until == at("2026-12-02 17:30")
        assert await d.enforce(until - timedelta(seconds=1)) == 0
        # The service was down for a day: the pause ended when it ended.
        assert await d.enforce(until + timedelta(days=1)) >= 1
        awake = await d.ticket(ticket.no, ADMIN)
        assert awake.state is State.SIGNED
        # Ten working days and five and a half hours of the 18th were given back.
        assert clock(awake, RESOLVE).due_at == at("2026-12-10 16:00")
        event = next(e for e in await d.history(ticket.no, ADMIN) if e.act == "resume")
        assert (event.at, event.content, event.actor) == (until, {"auto": True}, "banjie")

    in_store(scenario)


def test_the_senders_clock_does_not_stand_still(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = await signed(d, contact=Contact(), sender_due_at=at("2026-11-27 17:30"))
        ticket = await d.pause(order(ticket, HANDLER), reason="awaiting_citizen")
        assert clock(ticket, RESOLVE, Clock.SENDER).next_at is not None
        ticket = await d.resume(order(ticket, HANDLER, "2026-11-24 10:00"))
        # Ours moved past the sender's: now the sender's is the earlier one, and rules.
        assert clock(ticket, RESOLVE, Clock.SENDER).governing
        assert not clock(ticket, RESOLVE).governing

    in_store(scenario)


async def _longer(d: Desk, ticket: Ticket, when: str = "2026-11-19 09:00") -> Ticket:
    ticket = await asked(d, ticket, when=when)
    return await d.decide_extension(order(ticket, SUPERVISOR, when), granted=True, reason="")


async def _stood(d: Desk, ticket: Ticket) -> Ticket:
    ticket = await d.pause(order(ticket, HANDLER), reason="awaiting_citizen")
    return await d.resume(order(ticket, HANDLER, "2026-11-23 10:00"))


async def _recounted(d: Desk, ticket: Ticket) -> Ticket:
    limits = replace(TIMES.limits, rules=tuple(map(_two_more, TIMES.limits.rules)))
    d.go_by(times=replace(TIMES, limits=limits))
    await d.recalculate(ADMIN, at("2026-11-20 09:00"), 0, apply=True)
    return await d.ticket(ticket.no, ADMIN)


def _two_more(rule: LimitRule) -> LimitRule:
    longer = replace(rule.limit, amount=rule.limit.amount + 2)
    return replace(rule, limit=longer) if rule.milestone is RESOLVE else rule


@pytest.mark.parametrize("way", [_longer, _stood, _recounted], ids=lambda way: way.__name__[1:])
def test_the_cards_pass_to_the_clock_that_rules_from_now_on(
    in_store: Run, way: Callable[[Desk, Ticket], Awaitable[Ticket]]
) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = await signed(d, contact=Contact(), sender_due_at=at("2026-11-26 12:00"))
        assert clock(ticket, RESOLVE).governing
        assert len(clock(ticket, RESOLVE).steps) == 4
        assert len(clock(ticket, RESOLVE, Clock.SENDER).steps) == 1
        ticket = await way(d, ticket)
        assert clock(ticket, RESOLVE).due_at > at("2026-11-26 12:00")
        assert clock(ticket, RESOLVE, Clock.SENDER).governing
        for hour in ("2026-11-24 18:00", "2026-12-20 09:00"):
            while await d.enforce(at(hour)):
                pass
        told = [
            (event.content["clock"], event.content["measure"])
            for event in await d.history(ticket.no, ADMIN)
            if event.act == "stage"
        ]
        measures = ["remind", "supervise", "yellow", "red", "bulletin"]
        assert [measure for whose, measure in told if whose == "sender"] == measures
        assert [measure for whose, measure in told if whose == "own"] == ["remind", "supervise"]

    in_store(scenario)


def test_a_clock_that_begins_with_the_signing_and_does_not_rule_has_no_cards(
    in_store: Run,
) -> None:
    async def scenario(store: Store) -> None:
        rules = tuple(
            replace(rule, starts=Starts.SIGN) if rule.milestone is RESOLVE else rule
            for rule in TIMES.limits.rules
        )
        times = replace(TIMES, limits=replace(TIMES.limits, rules=rules))
        d = Desk(store, ToldRouter(assisted=False), times)
        posted = complaint(sender_due_at=at("2026-11-24 12:00"))
        ticket = (await d.receive(posted, "f1", NOW)).ticket
        assert clock(ticket, RESOLVE, Clock.SENDER).governing
        ticket = await d.sign(order(ticket, HANDLER, "2026-11-20 09:00"))
        assert clock(ticket, RESOLVE).due_at == at("2026-11-27 17:30")
        carded = {m.clock for m in ticket.open(RESOLVE) if len(m.steps) > 1}
        assert carded == {Clock.SENDER}

    in_store(scenario)


# Send-back, rulings, who bears the days


def test_the_desk_may_take_back_what_a_unit_sends_back_too_late(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = await signed(d)
        late = order(ticket, DISPATCHER, "2026-11-24 09:00")
        ticket = await d.send_back(late, reason="确非其职责", basis="三定方案")
        assert (ticket.state, ticket.sent_back) == (State.SORTING, 1)

    in_store(scenario)


def test_a_ruling_dispatches_and_is_kept_as_a_precedent(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, item="4")
        ticket = await signed(d)
        with pytest.raises(IllegalMove):
            await d.rule(order(ticket, SUPERVISOR), unit=HOUSING.code, reason="?", document="")
        ticket = await d.send_back(order(ticket, HANDLER), reason="不是", basis="三定方案")
        with pytest.raises(Forbidden):
            await d.rule(order(ticket, DISPATCHER), unit=HOUSING.code, reason="是", document="")
        ticket = await d.rule(
            order(ticket, SUPERVISOR), unit=HOUSING.code, reason="装修归住建", document="三定方案"
        )
        assert ticket.state is State.DISPATCHED
        assert (ticket.lead and ticket.lead.unit, ticket.ruled) == (HOUSING.code, HOUSING.code)
        (ruling,) = await store.read(tickets.rulings)
        assert (ruling.unit, ruling.region, ruling.document) == (HOUSING.code, "360732", "三定方案")
        assert ruling.words == ("排骨", "短斤少两")
        assert (await last_event(d, ticket))["words"] == ["排骨", "短斤少两"]

    in_store(scenario)


@pytest.mark.parametrize(
    ("bears", "met", "answers"),
    [
        (Bears.TAKER, "2026-11-26 10:00", HOUSING.code),
        (Bears.GIVER, "2026-11-26 10:00", MARKET.code),
        (Bears.COORDINATOR, "2026-11-26 10:00", HOTLINE.code),
        # Later than a full limit of its own, counted from its dispatch: its own fault.
        (Bears.GIVER, "2026-12-03 10:00", HOUSING.code),
        (Bears.GIVER, "2026-11-24 10:00", HOUSING.code),  # in time: there is nothing to bear
    ],
)
def test_a_policy_says_who_bears_the_days_that_were_used_up(
    in_store: Run, bears: Bears, met: str, answers: str
) -> None:
    async def scenario(store: Store) -> None:
        rows = tuple(
            replace(row, send_back=bears) if isinstance(row, HandOver) else row
            for row in TIMES.policies.rows
        )
        times = replace(TIMES, policies=Policies(rows))
        d = Desk(store, ToldRouter(assisted=False), times)
        ticket = await signed(d, contact=Contact())
        ticket = await d.send_back(
            order(ticket, HANDLER, "2026-11-20 17:00"), reason="不是", basis="三定方案"
        )
        ticket = await d.dispatch(
            order(ticket, DISPATCHER, "2026-11-24 09:00"), unit=HOUSING.code, reason="改派"
        )
        assert clock(ticket, RESOLVE).due_at == at("2026-11-25 17:30"), "it never restarts"
        ticket = await d.sign(order(ticket, STRANGER, "2026-11-24 09:30"))
        ticket = await d.resolve(
            order(ticket, STRANGER, met), public_reply="已办", internal_finding="", solved=True
        )
        assert clock(ticket, RESOLVE).answers == answers
        assert clock(ticket, RESOLVE).unit == HOUSING.code

    in_store(scenario)


def test_a_redo_is_shorter_and_counts_against_who_answered_first(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = await signed(d, contact=Contact())
        ticket = await d.resolve(
            order(ticket, HANDLER), public_reply="已办", internal_finding="", solved=True
        )
        ticket = await d.reopen(order(ticket, DISPATCHER, "2026-11-20 09:00"), reason="未退款")
        assert clock(ticket, RESOLVE).due_at == at("2026-11-25 17:30")  # three days, not five
        assert await last_event(d, ticket) == {"reason": "未退款", "counts_against": MARKET.code}
        ticket = await d.dispatch(order(ticket, DISPATCHER), unit=HOUSING.code, reason="改派")
        ticket = await d.sign(order(ticket, STRANGER))
        ticket = await d.resolve(
            order(ticket, STRANGER), public_reply="已办", internal_finding="", solved=True
        )
        ticket = await d.reopen(order(ticket, DISPATCHER), reason="还是没有")
        assert (await last_event(d, ticket))["counts_against"] == MARKET.code

    in_store(scenario)


# Supervision, classification, merging


def test_a_card_shows_on_the_clock_and_stays_when_time_brings_less(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = await signed(d, contact=Contact())
        with pytest.raises(Forbidden):
            await d.supervise(order(ticket, HANDLER), level=Level.RED, text="?")
        ticket = await d.supervise(
            order(ticket, SUPERVISOR), level=Level.YELLOW, text="请于今日内联系诉求人"
        )
        assert clock(ticket, RESOLVE).stage is Stage.YELLOW
        assert [s.level for s in ticket.supervision] == [Level.YELLOW]
        await d.enforce(at("2026-11-25 17:30"))
        after = await d.ticket(ticket.no, ADMIN)
        assert clock(after, RESOLVE).stage is Stage.YELLOW
        measures = [
            event.content["measure"]
            for event in await d.history(ticket.no, ADMIN)
            if event.act == "stage"
        ]
        assert measures == ["remind", "supervise"]
        sent = await store.read(lambda c: deliveries(c, after))
        assert [(s.kind, s.recipient, s.unit) for s in sent] == [
            ("supervision", Recipient.UNIT, MARKET.code),
            ("stage", Recipient.UNIT, MARKET.code),
            ("stage", Recipient.SUPERVISOR, HOTLINE.code),
            ("stage", Recipient.UNIT, MARKET.code),
            ("stage", Recipient.SUPERVISOR, HOTLINE.code),
        ]

    in_store(scenario)


def test_a_ticket_can_be_classified_anew_and_its_clocks_stay(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = await signed(d)
        before = clock(ticket, RESOLVE)
        ticket = await d.reclassify(
            order(ticket, DISPATCHER), kind=Kind.CONSULTATION, urgency=None, reason="是咨询"
        )
        assert ticket.complaint.kind is Kind.CONSULTATION
        assert ticket.complaint.urgency is Urgency.NORMAL
        assert clock(ticket, RESOLVE) == before
        assert (await last_event(d, ticket))["kind_before"] == "complaint"

    in_store(scenario)


def test_merged_tickets_are_one_and_nothing_is_owed_twice(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        first = (await d.receive(complaint(source_no="A"), "a", NOW)).ticket
        second = (await d.receive(complaint(source_no="B"), "b", NOW)).ticket
        with pytest.raises(UnknownTicket):
            await d.merge(order(second, DISPATCHER), into="360732-20261118-99999", reason="重复")
        merged = await d.merge(order(second, DISPATCHER), into=first.no, reason="重复")
        assert (merged.state, merged.into) == (State.MERGED, first.no)
        assert not merged.open()
        assert (await last_event(d, first)) == {"from": second.no, "reason": "重复"}
        # Two that are merged into each other at once: one is, and nobody waits for ever.
        third = (await d.receive(complaint(source_no="C"), "c", NOW)).ticket
        done = await asyncio.gather(
            d.merge(order(first, DISPATCHER), into=third.no, reason="重复"),
            d.merge(order(third, DISPATCHER), into=first.no, reason="重复"),
            return_exceptions=True,
        )
        assert sum(isinstance(each, Ticket) for each in done) == 1
        assert sum(isinstance(each, RuleForbids) for each in done) == 1

    in_store(scenario)


# Time


def test_an_act_finds_what_was_due_before_it_done(in_store: Run) -> None:
    """A step that the ticker has not come to yet is not lost with the clock that the act ends."""

    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = (await d.receive(complaint(contact=Contact()), "f1", NOW)).ticket
        ticket = await d.sign(order(ticket, HANDLER, "2026-11-18 16:00"))
        history = await d.history(ticket.no, ADMIN)
        assert [(e.act, f"{e.at:%H:%M}") for e in history[2:]] == [
            ("stage", "03:30"),
            ("stage", "07:30"),
            ("sign", "08:00"),
        ]
        assert await d.enforce(at("2026-11-18 17:00")) == 0

    in_store(scenario)


def test_a_replica_whose_clock_is_behind_does_no_harm(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = await signed(d, contact=Contact())
        ticket = await d.pause(order(ticket, HANDLER), reason="awaiting_citizen")
        ticket = await d.resume(order(ticket, HANDLER, "2026-11-18 09:59"))
        assert clock(ticket, RESOLVE).due_at == at("2026-11-25 17:30")
        due_at = at("2026-11-25 17:30")
        assert await d.enforce(due_at) == 1
        assert await d.enforce(due_at - timedelta(seconds=5)) == 0
        assert await d.enforce(due_at + timedelta(seconds=5)) == 0

    in_store(scenario)


def test_acts_and_enforcement_of_the_same_ticket_never_lose_each_other(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        made = [
            (await d.receive(complaint(source_no=f"T{n}"), f"f{n}", NOW)).ticket for n in range(12)
        ]
        late = "2026-11-26 10:00"
        await asyncio.gather(
            *(d.sign(order(ticket, HANDLER, late)) for ticket in made),
            *(d.enforce(at(late), 7) for _ in range(8)),
        )
        while await d.enforce(at(late), 50):
            pass
        for ticket in made:
            after = await d.ticket(ticket.no, ADMIN)
            assert after.state is State.SIGNED
            assert clock(after, SIGN).outcome is Outcome.LATE
            assert clock(after, RESOLVE).stage is Stage.OVERDUE
            steps = [
                (e.unit, e.content["milestone"], e.content["measure"])
                for e in await d.history(ticket.no, ADMIN)
                if e.act == "stage"
            ]
            assert len(steps) == len(set(steps))
            assert (MARKET.code, "sign", "supervise") in steps
            assert (MARKET.code, "resolve", "supervise") in steps
            done = sum(m.done for m in after.milestones)
            assert done == len(steps)

    in_store(scenario)


# Working out anew


def test_a_recalculation_shows_first_and_then_moves_open_clocks_only(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = await signed(d, contact=Contact())
        ticket = await asked(d, ticket, "1 工作日")
        ticket = await d.decide_extension(order(ticket, SUPERVISOR), granted=True, reason="")
        closed = (await d.receive(complaint(source_no="B", contact=Contact()), "b", NOW)).ticket
        closed = await d.sign(order(closed, HANDLER))
        closed = await d.resolve(
            order(closed, HANDLER), public_reply="已办", internal_finding="", solved=True
        )
        rules = tuple(map(_two_more, TIMES.limits.rules))
        limits = replace(TIMES.limits, rules=rules, digest="1" * 64)
        changed = Desk(store, ToldRouter(assisted=False), replace(TIMES, limits=limits))
        when = at("2026-11-20 09:00")
        shown = await changed.recalculate(ADMIN, when, 0)
        assert [(m.no, m.due_at) for m in shown.moved] == [
            (ticket.no, (at("2026-11-26 17:30"), at("2026-11-30 17:30")))
        ]
        assert await d.ticket(ticket.no, ADMIN) == ticket, "only shown"
        assert (await changed.recalculate(ADMIN, when, 0, region="360300", apply=True)).moved == []
        applied = await changed.recalculate(ADMIN, when, 0, apply=True)
        assert applied.moved == shown.moved
        after = await d.ticket(ticket.no, ADMIN)
        own = clock(after, RESOLVE)
        assert (own.due_at, own.original_due_at) == (at("2026-11-30 17:30"), at("2026-11-27 17:30"))
        assert own.steps[0].at == own.due_at
        assert after.limits == "1" * 64
        assert (await d.history(ticket.no, ADMIN))[-1].act == "recalculated"
        assert await d.ticket(closed.no, ADMIN) == closed, "closed history never changes"
        again = await changed.recalculate(ADMIN, when, 0, apply=True)
        assert again.moved == [], "done again it finds nothing to do"
        assert (await store.read(recount)).agrees

    in_store(scenario)


async def _with_a_sender(d: Desk) -> Ticket:
    return await signed(d, sender_due_at=at("2026-11-20 12:00"))


async def _stood_and_longer(d: Desk) -> Ticket:
    """Return a ticket with somebody to help from late on, when the lead was given more time before."""
    ticket = await _longer(d, await _stood(d, await signed(d)), "2026-11-23 11:00")
    ticket = await d.dispatch(
        order(ticket, DISPATCHER, "2026-11-30 10:00"),
        unit=MARKET.code,
        assist=[HOUSING.code],
        reason="请协助",
    )
    ticket = await d.sign(order(ticket, HANDLER, "2026-11-30 11:00"))
    ticket = await d.pause(order(ticket, HANDLER, "2026-11-30 15:00"), reason="citizen_request")
    return await d.resume(order(ticket, HANDLER, "2026-12-01 15:00"))


async def _helped_late_then_longer(d: Desk) -> Ticket:
    ticket = (await d.receive(complaint(), "f1", NOW)).ticket
    ticket = await d.dispatch(
        order(ticket, DISPATCHER, "2026-11-24 09:00"),
        unit=MARKET.code,
        assist=[HOUSING.code, HOTLINE.code],
        reason="请协助",
    )
    ticket = await d.sign(order(ticket, HANDLER, "2026-11-24 10:00"))
    return await _longer(d, ticket, "2026-11-24 11:00")


@pytest.mark.parametrize(
    "life",
    [signed, _with_a_sender, _stood_and_longer, _helped_late_then_longer],
    ids=lambda life: life.__name__.strip("_"),
)
def test_a_recalculation_by_the_same_rules_moves_nothing(
    in_store: Run, life: Callable[[Desk], Awaitable[Ticket]]
) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = await life(d)
        shown = await d.recalculate(ADMIN, at("2026-12-01 16:00"), 0)
        assert (shown.tickets, shown.moved) == (1, [])
        assert acts.recalculated(ticket, at("2026-12-01 16:00"), TIMES, limits_too=False) == ticket

    in_store(scenario)


@pytest.mark.parametrize(("more", "lead_due"), [(2, "2026-11-27 17:30"), (-2, "2026-11-23 17:30")])
def test_who_assists_follows_the_lead_in_one_recalculation(
    in_store: Run, more: int, lead_due: str
) -> None:
    """Late in the lead's time the assisting unit's own three days reach beyond it."""

    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = await signed(d)
        ticket = await d.dispatch(
            order(ticket, DISPATCHER, "2026-11-20 09:00"),
            unit=MARKET.code,
            assist=[HOUSING.code],
            reason="请协助",
        )
        assert helping(ticket, RESOLVE).due_at == at("2026-11-25 17:30")
        rules = tuple(
            replace(rule, limit=replace(rule.limit, amount=rule.limit.amount + more))
            if rule.milestone is RESOLVE and rule.limit.amount > 3
            else rule
            for rule in TIMES.limits.rules
        )
        slow = tuple(
            replace(row, resolve=parse_limit("10 工作日")) if isinstance(row, Assisting) else row
            for row in TIMES.policies.rows
        )
        d.go_by(
            times=replace(TIMES, limits=replace(TIMES.limits, rules=rules), policies=Policies(slow))
        )
        when = at("2026-11-20 10:00")
        await d.recalculate(ADMIN, when, 0, apply=True)
        after = await d.ticket(ticket.no, ADMIN)
        assert clock(after, RESOLVE).due_at == at(lead_due)
        assert helping(after, RESOLVE).due_at == at(lead_due)
        assert (await d.recalculate(ADMIN, when, 0, apply=True)).moved == []
        assert (await store.read(recount)).agrees

    in_store(scenario)


def test_a_provisional_due_date_is_worked_out_again_when_its_year_is_there(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        from tests.calendars import with_year  # a 2027 that is invented

        d = desk(store, assisted=False)
        posted = complaint(accepted_at=at("2026-12-29 09:12"), contact=Contact())
        ticket = (await d.receive(posted, "f1", at("2026-12-29 09:30"))).ticket
        own = clock(ticket, RESOLVE)
        assert own.provisional
        assert own.due_at == at("2027-01-05 17:30")
        assert (await d.settle(at("2026-12-30 09:00"))).last is None
        later = Desk(store, ToldRouter(assisted=False), with_year(TIMES))
        settled = await later.settle(at("2026-12-30 09:00"))
        assert (settled.last, settled.tickets) == (ticket.id, 1)
        assert (await later.settle(at("2026-12-30 09:00"), ticket.id)).last is None
        own = clock(await d.ticket(ticket.no, ADMIN), RESOLVE)
        assert not own.provisional
        assert own.due_at == at("2027-01-11 17:30")
        assert (await d.history(ticket.no, ADMIN))[-1].act == "recalculated"
        assert (await later.settle(at("2026-12-30 09:00"))).last is None
        assert (await store.read(recount)).agrees

    in_store(scenario)


def test_what_ends_with_the_lead_this_year_does_not_wait_for_the_next_ones_calendar(
    in_store: Run,
) -> None:
    """An assisting unit's own days reach into next year, the lead's due date does not: no day of
    next year matters, and settling has nothing to come back to for ever."""

    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = (await d.receive(complaint(accepted_at=at("2026-12-24 09:12")), "f", NOW)).ticket
        ticket = await d.dispatch(
            order(ticket, DISPATCHER, "2026-12-30 09:00"),
            unit=MARKET.code,
            assist=[HOUSING.code],
            reason="请协助",
        )
        assert clock(ticket, RESOLVE).due_at == at("2026-12-31 17:30")
        assert helping(ticket, RESOLVE).due_at == at("2026-12-31 17:30")
        assert not helping(ticket, RESOLVE).provisional
        assert (await d.settle(at("2026-12-30 09:00"))).last is None

    in_store(scenario)
