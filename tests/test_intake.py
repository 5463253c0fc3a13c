"""Complaints that wait together are received in one transaction, each as if it were alone."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from service.desk import Arrival, Receipt
from service.domain import deeds
from service.domain.access import Forbidden, Role
from service.domain.personal import hidden
from service.domain.ticket import Ticket
from service.intake import Intake
from service.store import Store, StoreUnavailable, tickets
from service.store.tallies import recount
from tests.test_desk import desk
from tests.worlds import ADMIN, as_received, at, complaint

Run = Callable[[Callable[[Store], Any]], Any]
NOW = at("2026-11-18 09:30")


def _arrival(number: str, fingerprint: str = "f", **fields: Any) -> Arrival:
    return Arrival(complaint(source_no=number, **fields), fingerprint, NOW)


def test_what_waits_together_is_stored_together_and_answered_in_order(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        sizes: list[int] = []
        intake = Intake(desk(store), sizes.append)
        answers = [intake.submit(_arrival(f"T{n}")) for n in range(60)]
        receipts = await asyncio.gather(*answers)
        numbers = [receipt.ticket.no for receipt in receipts]
        assert numbers == [f"360732-20261118-{n:05}" for n in range(1, 61)]
        assert sum(sizes) == 60
        assert len(sizes) <= 2, "they were there before anything was stored"
        for receipt in receipts[::20]:
            seen = replace(receipt.ticket, complaint=hidden(receipt.ticket.complaint))
            stored = await desk(store).ticket(receipt.ticket.no, ADMIN)
            assert as_received(stored) == seen
            assert all(m.id for m in stored.milestones)
            history = await desk(store).history(receipt.ticket.no, ADMIN)
            assert [event.act for event in history] == ["received", "dispatch"]
        found = await store.read(recount)
        assert found.agrees
        assert found.tickets == 60

    in_store(scenario)


def test_a_lone_complaint_waits_for_nobody(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        sizes: list[int] = []
        intake = Intake(desk(store), sizes.append)
        for n in range(3):
            await intake.submit(_arrival(f"T{n}"))
        assert sizes == [1, 1, 1]

    in_store(scenario)


def test_repeats_and_supplements_within_a_batch_are_what_they_are_alone(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        intake = Intake(desk(store), lambda _: None)
        sent = [
            _arrival("A"),
            _arrival("A"),
            _arrival("B"),
            _arrival("A", "g", content="又来了"),
            _arrival("A", "g", content="又来了"),
            _arrival("A"),
        ]
        receipts = await asyncio.gather(*map(intake.submit, sent))
        assert [(r.duplicate, r.supplemented) for r in receipts] == [
            (False, False),
            (True, False),
            (False, False),
            (False, True),
            (True, False),
            (True, False),
        ]
        first, _, other, added, *_ = (receipt.ticket for receipt in receipts)
        assert other.no != first.no == added.no
        assert added.version == 2
        assert (await store.read(recount)).agrees

    in_store(scenario)


def test_one_that_fails_falls_out_alone(in_store: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = deeds.arrived

    def fail(ticket: Ticket, at: datetime) -> Any:
        if ticket.complaint.source_no == "bad":
            raise ZeroDivisionError
        return arrived(ticket, at)

    monkeypatch.setattr(deeds, "arrived", fail)

    async def scenario(store: Store) -> None:
        intake = Intake(desk(store), lambda _: None)
        refused = Arrival(complaint(source_no="foreign"), "f", NOW, replace(ADMIN, region="360430"))
        sent = [_arrival("A"), _arrival("bad"), refused, _arrival("B")]
        found = await asyncio.gather(*map(intake.submit, sent), return_exceptions=True)
        assert [type(each) for each in found] == [Receipt, ZeroDivisionError, Forbidden, Receipt]
        stored = [each.ticket.no for each in found if isinstance(each, Receipt)]
        assert stored == ["360732-20261118-00001", "360732-20261118-00002"]
        assert (await store.read(recount)).agrees

    in_store(scenario)


def test_who_loses_a_deadlock_beside_one_that_fails_is_told_to_come_again(
    in_store: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = deeds.arrived

    class Deadlock(Exception):
        sqlstate = "40P01"

    def fail(ticket: Ticket, at: datetime) -> Any:
        if ticket.complaint.source_no == "bad":
            raise ZeroDivisionError
        if ticket.complaint.source_no == "late":
            raise sa.exc.DBAPIError("", None, Deadlock())
        return arrived(ticket, at)

    monkeypatch.setattr(deeds, "arrived", fail)

    async def scenario(store: Store) -> None:
        intake = Intake(desk(store), lambda _: None)
        sent = [_arrival("bad"), _arrival("late"), _arrival("A")]
        found = await asyncio.gather(*map(intake.submit, sent), return_exceptions=True)
        assert [type(each) for each in found] == [ZeroDivisionError, StoreUnavailable, Receipt]

    in_store(scenario)


def test_who_goes_away_before_the_batch_begins_is_not_stored(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        intake = Intake(desk(store), lambda _: None)
        gone, stays = intake.submit(_arrival("gone")), intake.submit(_arrival("stays"))
        gone.cancel()
        await stays
        assert not (await intake.submit(_arrival("gone"))).duplicate

    in_store(scenario)


def test_a_number_that_another_region_has_is_refused_within_a_batch_too(in_store: Run) -> None:
    """Two senders of one source, each bound to a region, use the same number at once."""

    async def scenario(store: Store) -> None:
        intake = Intake(desk(store), lambda _: None)
        elsewhere = replace(ADMIN, role=Role.SOURCE, source="hotline-12345", region="360430")
        sent = [
            _arrival("A"),
            Arrival(complaint(source_no="A", region="360430"), "g", NOW, elsewhere),
            Arrival(complaint(source_no="A", region="360430"), "f", NOW, elsewhere),
        ]
        found = await asyncio.gather(*map(intake.submit, sent), return_exceptions=True)
        assert [type(each) for each in found] == [Receipt, Forbidden, Forbidden]
        first = await desk(store).ticket(found[0].ticket.no, ADMIN)  # type: ignore[union-attr]
        assert first.version == 1
        alone = await asyncio.gather(intake.submit(sent[1]), return_exceptions=True)
        assert [type(each) for each in alone] == [Forbidden]

    in_store(scenario)


def test_whose_number_another_replica_stores_again_and_again_harms_no_other(
    in_store: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender that tells two replicas everything is first now here, now there."""
    insert = tickets.insert_all
    others = [1, 2, 3]

    def overtaken(connection: sa.Connection, new: Any, at: Any, *besides: Any) -> None:
        if others and any(each.ticket.complaint.source_no == "twice" for each in new):
            others.pop()
            raise tickets.Raced
        insert(connection, new, at, *besides)

    monkeypatch.setattr(tickets, "insert_all", overtaken)

    async def scenario(store: Store) -> None:
        intake = Intake(desk(store), lambda _: None)
        sent = [_arrival("A"), _arrival("twice"), _arrival("B")]
        receipts = await asyncio.gather(*map(intake.submit, sent))
        assert [receipt.ticket.no[-5:] for receipt in receipts] == ["00001", "00002", "00003"]
        assert not others
        assert (await store.read(recount)).agrees

    in_store(scenario)
