"""What the desk lists for people, on both databases."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from routing_rules.clocks import load_timetable
from service.desk import Desk, Order, may_read_contact, offered
from service.domain.access import Actor, Forbidden, Role
from service.domain.complaint import Contact, Decision, Review
from service.domain.lifecycle import Act
from service.domain.sign_in import Ends
from service.domain.ticket import Stage, Ticket
from service.store import Store, sessions, tokens
from service.store.figures import UnitLoad, resolved
from service.store.lists import Filter, Owed
from service.store.pages import Page
from service.store.tables import MilestoneRow, metadata
from service.store.tokens import Use
from tests.worlds import (
    ADMIN,
    AUDITOR,
    DISPATCHER,
    ELSEWHERE,
    HANDLER,
    HOTLINE,
    MARKET,
    STRANGER,
    ToldRouter,
    at,
    complaint,
)

TIMES = load_timetable()
CLOCKS = metadata.tables[MilestoneRow.__tablename__]
NOW = at("2026-11-18 09:30")
Run = Callable[[Callable[[Store], Any]], Any]


async def receive(desk: Desk, no: str, **changes: Any) -> Ticket:
    return (await desk.receive(complaint(source_no=no, **changes), no, NOW)).ticket


def order(ticket: Ticket, by: Actor = ADMIN, when: str = "2026-11-18 10:00") -> Order:
    return Order(ticket.no, by, ticket.version, at(when))


def test_a_queue_holds_one_state_or_one_stage_of_what_the_unit_owes(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        desk = Desk(store, ToldRouter(), TIMES)
        signed = await receive(desk, "A")
        waiting = await receive(desk, "B")
        await desk.sign(order(signed, HANDLER))
        await desk.enforce(at("2026-11-18 16:00"))

        async def queue(**wanted: Any) -> list[str]:
            found = await desk.queue(MARKET.code, HANDLER, wanted=Owed(**wanted))
            return [t.no for t in found.items]

        assert await queue() == [waiting.no, signed.no]
        assert await queue(state="signed") == [signed.no]
        assert await queue(stage="overdue") == [waiting.no]
        assert await queue(state="signed", stage="overdue") == []

    in_store(scenario)


def test_a_sorting_list_has_every_sending_back_of_each_ticket(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        desk = Desk(store, ToldRouter(), TIMES)
        ticket = await receive(desk, "A")
        await receive(desk, "B")
        reasons = []
        for reason in ("第一次", "第二次"):
            reasons.append(reason)
            back = await desk.send_back(order(ticket, HANDLER), reason=reason, basis="三定")
            found, sent_back = await desk.sorting(DISPATCHER, Filter())
            assert [t.no for t in found.items] == [ticket.no]
            assert [event.content["reason"] for event in sent_back[ticket.id]] == reasons
            ticket = await desk.dispatch(order(back), unit=MARKET.code, reason="")
        assert await desk.sorting(DISPATCHER, Filter()) == (Page([]), {})
        with pytest.raises(Forbidden):
            await desk.sorting(HANDLER, Filter())

    in_store(scenario)


def test_a_sorting_list_has_what_has_waited_longest_on_top_page_by_page(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        desk = Desk(store, ToldRouter(Decision.MANUAL), TIMES)
        made = [(await receive(desk, n)).no for n in "ABC"]
        found, _ = await desk.sorting(DISPATCHER, Filter(limit=2))
        assert [t.no for t in found.items] == made[:2]
        rest, _ = await desk.sorting(DISPATCHER, Filter(limit=2, after=found.onward))
        assert [t.no for t in rest.items] == made[2:]

    in_store(scenario)


def test_loads_are_those_of_each_ticket_s_clocks_counted_by_hand(in_store: Run) -> None:
    chance = random.Random(7)
    now, until = at("2026-11-18 16:00"), at("2026-11-19 00:00")
    dues = {"late": at("2026-11-18 12:00"), "today": at("2026-11-18 20:00"), "": at("2026-12-01")}
    owed = CLOCKS.c.outcome.is_(None) & CLOCKS.c.governing & ~CLOCKS.c.assisting

    async def scenario(store: Store) -> None:
        desk = Desk(store, ToldRouter(), TIMES)
        for n in range(40):
            await receive(desk, f"L{n}")

        def changed(connection: sa.Connection) -> dict[str, dict[str, set[int]]]:
            found: dict[str, dict[str, set[int]]] = {}
            clocks = sa.select(CLOCKS.c.id, CLOCKS.c.ticket_id, CLOCKS.c.unit).where(owed)
            for clock, ticket, unit in connection.execute(clocks).all():
                due = chance.choice(list(dues))
                stage = chance.choice([Stage.NORMAL, Stage.WARN])
                # One that stands still is neither late nor followed by anything.
                stands = chance.random() < 0.3
                follows = {"next_at": None if stands else at("2026-12-02"), "done": 0}
                connection.execute(
                    CLOCKS.update()
                    .where(CLOCKS.c.id == clock)
                    .values(due_at=dues[due], stage=stage, **follows)
                )
                of = found.setdefault(unit, {})
                of.setdefault("open", set()).add(ticket)
                if due == "late" and not stands:
                    of.setdefault("overdue", set()).add(ticket)
                    continue
                if stage is Stage.WARN:
                    of.setdefault("warn", set()).add(ticket)
                if due:
                    of.setdefault("due_today", set()).add(ticket)
            return found

        found = await store.run(changed)
        expected = {
            unit: UnitLoad(unit, **{name: len(ids) for name, ids in of.items()})
            for unit, of in found.items()
        }
        assert len(found[MARKET.code]) == 4
        loads = await desk.loads(DISPATCHER, now, until)
        assert {load.unit: load for load in loads} == expected

    in_store(scenario)


def test_loads_count_tickets_once_and_only_of_the_callers_region(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        desk = Desk(store, ToldRouter(), TIMES)
        done = await receive(desk, "A")
        late = await receive(desk, "B")
        done = await desk.sign(order(done, HANDLER))
        await desk.resolve(
            order(done, HANDLER), public_reply="好", internal_finding="", solved=True
        )
        await desk.enforce(at("2026-11-18 16:00"))
        now = at("2026-11-18 16:00")
        since, until = NOW - timedelta(days=30), at("2026-11-19 00:00")
        assert await store.read(lambda c: resolved(c, "360732", since)) == {MARKET.code: (1, 1)}
        assert await store.read(lambda c: resolved(c, "360732", at("2026-12-01"))) == {}
        assert await store.read(lambda c: resolved(c, "361000", since)) == {}
        # Signing is overdue and the first contact is not: one ticket. The other waits at the
        # hotline's office to be called back.
        loads = {load.unit: load for load in await desk.loads(DISPATCHER, now, until)}
        assert loads == {
            MARKET.code: UnitLoad(MARKET.code, 1, 0, 1, 0),
            HOTLINE.code: UnitLoad(HOTLINE.code, 1, 0, 0, 0),
        }
        await desk.sign(order(late, HANDLER, "2026-11-18 16:30"))
        loads = {load.unit: load for load in await desk.loads(AUDITOR, now, until)}
        assert loads[MARKET.code] == UnitLoad(MARKET.code, 1, 0, 0, 0)
        assert await desk.loads(ELSEWHERE, now, until) == []
        with pytest.raises(Forbidden):
            await desk.loads(HANDLER, now, until)

    in_store(scenario)


def test_what_is_offered_is_what_would_be_taken(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        desk = Desk(store, ToldRouter(), TIMES)
        ticket = await receive(desk, "A")
        assert offered(HANDLER, ticket) == (Act.SIGN, Act.SEND_BACK, Act.NOTE)
        # Who assists signs for its part and answers it.
        assert offered(STRANGER, ticket) == (Act.SIGN, Act.RESOLVE, Act.NOTE)
        assert offered(AUDITOR, ticket) == ()
        assert [may_read_contact(by, ticket) for by in (HANDLER, DISPATCHER)] == [True, True]
        assert [may_read_contact(by, ticket) for by in (STRANGER, AUDITOR)] == [False, False]
        ticket = await desk.sign(order(ticket, HANDLER))
        ticket = await desk.resolve(
            order(ticket, HANDLER), public_reply="好", internal_finding="", solved=True
        )
        assert offered(DISPATCHER, ticket) == (Act.CALL_BACK, Act.REOPEN, Act.NOTE)
        nobody = await receive(desk, "B", contact=Contact())
        nobody = await desk.sign(order(nobody, HANDLER))
        nobody = await desk.resolve(
            order(nobody, HANDLER), public_reply="好", internal_finding="", solved=True
        )
        assert Act.CLOSE in offered(DISPATCHER, nobody)
        review = Review(5, MARKET.name)
        counted = await receive(desk, "C", review=review)
        assert offered(DISPATCHER, counted) == (Act.NOTE,)

    in_store(scenario)


def test_a_link_opens_one_session_and_a_token_none_that_outlives_it(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        hour, day = timedelta(hours=1), timedelta(days=1)

        async def create(actor: Actor, use: Use) -> str:
            return await store.run(
                lambda c: tokens.create(c, actor, NOW, use=use, expires_at=NOW + hour)
            )

        async def open_session(token: str, use: Use) -> str | None:
            opened = await store.run(
                lambda c: sessions.start_by_token(c, token, use, NOW, NOW + day)
            )
            return opened[0] if opened else None

        async def whose(session: str, later: timedelta) -> Actor | None:
            ends = Ends(idle=day, whole=day)
            found = await store.read(lambda c: sessions.find(c, session, NOW + later, ends))
            return found.by if found else None

        link = await create(HANDLER, Use.LINK)
        assert await open_session(link, Use.API) is None
        session = await open_session(link, Use.LINK)
        assert session
        assert await open_session(link, Use.LINK) is None
        found = await whose(session, 2 * hour)
        assert found
        assert (found.name, found.role, found.units) == ("承办人", Role.HANDLER, (MARKET.code,))
        assert await whose(session, day) is None
        token = await create(HANDLER, Use.API)
        session = await open_session(token, Use.API)
        assert session
        assert await whose(session, hour - timedelta(minutes=1))
        assert await whose(session, hour) is None
        source = await create(Actor("热线", Role.SOURCE, source="hotline-12345"), Use.LINK)
        assert await open_session(source, Use.LINK) is None

    in_store(scenario)
