"""What is sealed where a ticket goes on to: kept apart long after its end, chained, simulated, and not
served without its keys. All people are invented."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from service.cli import app
from service.custody import Custody
from service.domain.personal import hidden
from service.domain.ticket import Delivery, Recipient, Ticket, Word
from service.seal import Algorithm, new_key, write_keys
from service.store import (
    Store,
    archive,
    closed,
    deliveries,
    months,
    open_store,
    sealing,
    search,
    tickets,
)
from service.store.feed import order
from service.store.months import Detached, following, month_of
from service.store.sealing import HIDDEN
from service.store.tables import ClosedRow, DeliveryRow, EventRow, SealedRow, TicketRow, metadata
from tests.process import banjie, environment, free_port, in_database
from tests.test_chain import chained
from tests.test_desk import desk
from tests.test_months import _ahead, _keep, only_postgresql
from tests.test_sealing import (
    ADMIN,
    CARD,
    FULL,
    NOW,
    PHONE,
    TODAY,
    _as_before,
    _order,
    everything,
    told,
)
from tests.worlds import at

Run = Callable[[Callable[[Store], Any]], Any]

LATER = at("2029-02-01 09:00")
CLOSED = metadata.tables[ClosedRow.__tablename__]
DELIVERIES = metadata.tables[DeliveryRow.__tablename__]
EVENTS = metadata.tables[EventRow.__tablename__]
SEALED = metadata.tables[SealedRow.__tablename__]
TICKETS = metadata.tables[TicketRow.__tablename__]
REPLY = f"已退款，请{PHONE}查收"
REPLIED = {"public_reply": REPLY}


async def over(store: Store, name: str = "T1") -> Ticket:
    """Return a ticket that was answered and closed, in whose texts its citizen is named."""
    d = desk(store)
    found = (await d.receive(told(source_no=name), f"f-{name}", NOW)).ticket
    version = found.version
    steps: tuple[tuple[str, dict[str, Any]], ...] = (
        ("sign", {}),
        ("contact", {"text": f"打了{PHONE}，是{FULL}本人"}),
        ("resolve", {"public_reply": REPLY, "internal_finding": "", "solved": True}),
        ("call_back", {"reached": True, "solved": True, "grade": 5, "text": "满意"}),
        ("close", {}),
    )
    for act, fields in steps:
        version = (await getattr(d, act)(_order(found.no, version), **fields)).version
    row = (found.id, found.no, found.region, Delivery(Word.RESOLVED, Recipient.UNIT, "u", REPLIED))
    await store.run(lambda c: deliveries.deliver_all(c, [row], NOW, {}))
    return found


async def all_of(job: Custody) -> None:
    while await job.turn():
        pass


async def _apart(store: Store) -> list[Any]:
    return list(await store.read(lambda c: c.execute(sa.select(CLOSED)).all()))


def _unsealed(connection: sa.Connection, ticket: Ticket) -> None:
    _as_before(connection, ticket)
    connection.execute(DELIVERIES.update().values(payload=REPLIED))


def test_what_is_not_sealed_is_not_kept_apart_until_it_is(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        ticket = await over(store)
        await store.run(partial(_unsealed, ticket=ticket))
        await _keep(store, LATER)
        assert await _apart(store) == []
        assert REPLY in await everything(store)
        await all_of(Custody(store, lambda: NOW))
        await _keep(store, LATER)
        (row,) = await _apart(store)
        assert row.ticket_id == ticket.id
        for known in (PHONE, CARD, FULL):
            assert known not in json.dumps([row.kept, row.deliveries], ensure_ascii=False)
            assert known not in await everything(store)
        assert (await desk(store).ticket(ticket.no, ADMIN)).complaint == hidden(told())
        read = await desk(store).read_contact(ticket.no, ADMIN, LATER, reason="核对")
        assert (read.contact.phone, read.content) == (PHONE, told().content)
        parts = await store.read(lambda c: sealing.parts_of(c, ticket.id))
        assert REPLIED in parts.values(), "what was told may have to be told again"

    in_store(scenario)


async def _kept_as_before(store: Store) -> Ticket:
    """Return a ticket that the version before kept apart as it came."""
    ticket = await over(store)
    await store.run(partial(_unsealed, ticket=ticket))

    def moved(connection: sa.Connection) -> None:
        connection.execute(
            SEALED.insert().values(
                ticket_id=ticket.id, part="", key="", person="", document="", dropped_at=None
            )
        )

    await store.run(moved)
    await _keep(store, LATER)
    gone = SEALED.delete().where(SEALED.c.ticket_id == ticket.id, SEALED.c.part == "")
    await store.run(lambda c: c.execute(gone) and None)
    (row,) = await _apart(store)
    assert PHONE in json.dumps(row.kept, ensure_ascii=False)
    assert PHONE in json.dumps(row.deliveries, ensure_ascii=False)
    return ticket


def test_what_was_kept_apart_before_is_masked_at_once_and_sealed_where_it_stands(
    in_store: Run,
) -> None:
    async def scenario(store: Store) -> None:
        ticket = await _kept_as_before(store)
        assert (await desk(store).ticket(ticket.no, ADMIN)).complaint == hidden(told())
        await all_of(Custody(store, lambda: NOW))
        (row,) = await _apart(store)
        assert PHONE not in json.dumps([row.kept, row.deliveries], ensure_ascii=False)
        assert PHONE not in await everything(store)
        assert (await desk(store).ticket(ticket.no, ADMIN)).complaint == hidden(told())
        # An act brings it back, sealed and whole.
        reopened = await desk(store).reopen(
            _order(ticket.no, (await desk(store).ticket(ticket.no, ADMIN)).version),
            reason="诉求人再次反映",
        )
        assert await _apart(store) == []
        read = await desk(store).read_contact(reopened.no, ADMIN, LATER, reason="核对")
        assert (read.contact.phone, read.content) == (PHONE, told().content)
        assert PHONE not in await everything(store)

    in_store(scenario)


@only_postgresql
def test_what_is_kept_apart_is_sealed_and_forgotten_without_its_months(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        ticket = await _kept_as_before(store)
        while await store.run(order):
            pass
        first = month_of(_ahead(0))
        await store.run(lambda c: months.prepare(c, _ahead(1)))
        await store.run(lambda c: months.begin(c, _ahead(1)))
        while await store.run(partial(search.catch_up, limit=100)):
            pass
        assert await store.run(lambda c: archive.detach(c, first, NOW))
        assert following(first) == month_of(_ahead(1))
        await all_of(Custody(store, lambda: NOW))
        (row,) = await _apart(store)
        assert PHONE not in json.dumps([row.kept, row.deliveries], ensure_ascii=False)
        assert await store.read(lambda c: sealing.is_sealed(c, [ticket.id])) == {ticket.id}
        with pytest.raises(Detached):
            await store.read(lambda c: closed.bring_back(c, {ticket.id: row.month}))
        await all_of(Custody(store, lambda: LATER, 365))
        rows = await store.read(
            lambda c: c.execute(sa.select(SEALED).where(SEALED.c.ticket_id == ticket.id)).all()
        )
        assert [(each.part, each.document, each.person) for each in rows] == [("", "", "")]

    in_store(scenario)


def test_what_is_kept_apart_is_made_anonymous_where_it_stands(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        ticket = await over(store)
        await _keep(store, LATER)
        before = await _apart(store)
        assert len(before) == 1
        await all_of(Custody(store, lambda: LATER, 365))
        assert await _apart(store) == before
        rows = await store.read(
            lambda c: c.execute(sa.select(SEALED).where(SEALED.c.ticket_id == ticket.id)).all()
        )
        assert [(each.part, each.document, each.person) for each in rows] == [("", "", "")]
        assert (await desk(store).history(ticket.no, ADMIN))[-1].act == "anonymised"
        assert await store.read(lambda c: tickets.is_anonymous(c, ticket.id))
        assert (await desk(store).of_person(ADMIN, PHONE, 0, 9)).items == []
        assert (await desk(store).ticket(ticket.no, ADMIN)).complaint == hidden(told())

    in_store(scenario)


def test_the_chain_is_sound_over_sealed_texts_and_after_they_were_dropped(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANJIE_DATABASE_URL", migrated_url)

    def run(work: Callable[[Store], Any]) -> Any:
        async def whole() -> Any:
            store = open_store(migrated_url)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(whole())

    def verified() -> dict[str, Any]:
        done = CliRunner().invoke(app, ["audit", "verify", "--json"])
        found: dict[str, Any] = json.loads(done.stdout)
        assert (done.exit_code == 0) == found["sound"], done.stdout
        return found

    async def lived(store: Store) -> int:
        await over(store)
        await chained(store)
        rows = await store.read(lambda c: c.execute(sa.select(EVENTS.c.content)).scalars().all())
        return sum(HIDDEN in each for each in rows)

    assert run(lived) >= 2, "events with texts that are sealed"
    first = verified()
    assert (first["sound"], first["unchained"]) == (True, 0)

    async def forgotten(store: Store) -> None:
        await all_of(Custody(store, lambda: NOW + timedelta(days=400), 365))
        await chained(store)

    run(forgotten)
    second = verified()
    assert (second["sound"], second["events"]) == (True, first["events"] + 1)

    # Which sealed text belongs to an event is chained too.
    def moved(connection: sa.Connection) -> None:
        found = connection.execute(sa.select(EVENTS.c.id, EVENTS.c.content)).all()
        row = next(each for each in found if HIDDEN in each.content)
        content = {**row.content, HIDDEN: "event:another"}
        connection.execute(EVENTS.update().where(EVENTS.c.id == row.id).values(content=content))

    in_database(migrated_url, moved)
    assert [each["fault"] for each in verified()["faults"]] == ["changed"]


@pytest.mark.slow
def test_who_lacks_a_key_that_is_needed_ends_in_chinese_before_it_serves(
    migrated_url: str, tmp_path: Path
) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for path in (right, wrong):
        write_keys(path, [new_key(Algorithm.AES, TODAY)], new=True)

    async def filled() -> None:
        store = open_store(migrated_url, keys=right)
        await desk(store).receive(told(), "f1", NOW)
        await store.close()

    asyncio.run(filled())
    for path in (wrong, tmp_path / "none"):
        env = environment(migrated_url, BANJIE_KEYS=str(path))
        done = banjie("serve", "--port", str(free_port()), env=env, timeout_s=120)
        assert done.returncode == 1
        assert "密钥" in done.stderr
        for never in ("Traceback", "Uvicorn running", PHONE):
            assert never not in done.stdout + done.stderr


@pytest.mark.slow
def test_what_is_simulated_is_sealed_as_it_is_written(migrated_url: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    write_keys(keys, [new_key(Algorithm.AES, TODAY)], new=True)
    env = environment(migrated_url, BANJIE_KEYS=str(keys))
    arguments = ("simulate", "--days", "2", "--per-day", "20", "--database", migrated_url)
    done = banjie(*arguments, env=env, timeout_s=300)
    assert done.returncode == 0, done.stderr
    status = banjie("keys", "status", "--json", env=env)
    assert status.returncode == 0, status.stdout + status.stderr

    async def counted() -> tuple[int, int]:
        store = open_store(migrated_url, keys=keys)
        every = await store.read(lambda c: list(c.execute(sa.select(TICKETS.c.id)).scalars()))
        opened = await store.read(lambda c: sealing.opened(c, every))
        await store.close()
        return len(every), sum(each is not None for each in opened.values())

    tickets_there, opened = asyncio.run(counted())
    assert tickets_there == opened > 0
