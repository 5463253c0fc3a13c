"""What people told is sealed at rest, masked for everybody, read with a reason, and forgotten in time.

All people are invented.
"""

import asyncio
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from service.custody import Custody
from service.desk import MadeAnonymous, Order, ReadsTooMuch
from service.domain.access import Actor, Forbidden, Role
from service.domain.complaint import Complaint, Contact
from service.domain.personal import find, find_masked, hidden, is_full_name
from service.domain.ticket import Ticket
from service.seal import (
    Algorithm,
    Key,
    KeyFault,
    KeyMissing,
    Keyring,
    Tampered,
    new_key,
    read_keys,
    write_keys,
)
from service.store import Store, open_store, sealing, tallies, tickets
from service.store.engine import prepare
from service.store.tables import BodyRow, SealedRow, TicketRow, metadata
from tests.test_desk import desk
from tests.worlds import at, complaint

Run = Callable[[Callable[[Store], Any]], Any]

NOW = at("2026-11-18 09:30")
TODAY = date(2026, 11, 18)
PHONE, CARD = "13800004321", "11010519491231002X"
FULL = "司马昭雪"
ADMIN = Actor("管理员", Role.ADMIN, id="a")
AUDITOR = Actor("审计员", Role.AUDITOR, id="b")
SEALED = metadata.tables[SealedRow.__tablename__]
TICKETS = metadata.tables[TicketRow.__tablename__]
BODIES = metadata.tables[BodyRow.__tablename__]


def told(**changes: Any) -> Complaint:
    return complaint(
        title=f"退款，联系{PHONE}",
        content=f"我叫{FULL}，身份证{CARD}，电话{PHONE}，买排骨短斤少两",
        contact=Contact(FULL, PHONE),
        extra={"住址": "某路 1 号", "finding": "诉求类型不明"},
        **changes,
    )


async def everything(store: Store) -> str:
    """Return all that the database has, as text."""

    def work(connection: sa.Connection) -> str:
        names = sa.inspect(connection).get_table_names()
        return "\n".join(
            str(row)
            for name in names
            for row in connection.exec_driver_sql(f'SELECT * FROM "{name}"').all()
        )

    return await store.read(work)


def a_key(n: int, algorithm: Algorithm = Algorithm.AES) -> Key:
    return Key(f"k{n}", algorithm, bytes([n]) * algorithm.size)


# The form


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_what_is_sealed_opens_in_its_place_alone(algorithm: Algorithm) -> None:
    ring = Keyring([new_key(algorithm, TODAY)])
    sealed = ring.seal(f"电话{PHONE}".encode(), "7:")
    assert PHONE not in sealed
    assert ring.open(sealed, "7:").decode() == f"电话{PHONE}"
    assert ring.seal(f"电话{PHONE}".encode(), "7:") != sealed
    with pytest.raises(Tampered):
        ring.open(sealed, "8:")


SEALED_ONCE = Keyring([a_key(1)]).seal(b"138", "7:")


@given(st.integers(0, len(SEALED_ONCE) - 1), st.sampled_from("aB3-_.k "))
def test_a_changed_text_does_not_open(place: int, other: str) -> None:
    if SEALED_ONCE[place] == other:
        return
    changed = SEALED_ONCE[:place] + other + SEALED_ONCE[place + 1 :]
    with pytest.raises((Tampered, KeyMissing)):
        Keyring([a_key(1)]).open(changed, "7:")


def test_older_keys_open_and_the_first_one_seals() -> None:
    old, new = a_key(1), a_key(2)
    sealed = Keyring([old]).seal(b"x", "7:")
    both = Keyring([new, old])
    assert both.open(sealed, "7:") == b"x"
    assert both.seal(b"x", "7:").split(".")[2] == "k2"
    with pytest.raises(KeyMissing, match="k1"):
        Keyring([new]).open(sealed, "7:")


def test_a_key_file_is_its_owners_alone_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    keys = [new_key(Algorithm.AES, TODAY), new_key(Algorithm.SM4, TODAY)]
    write_keys(path, keys, new=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keys(path) == keys
    with pytest.raises(FileExistsError):
        write_keys(path, keys[:1], new=True)
    assert [each.name for each in tmp_path.iterdir()] == ["keys"]


@pytest.mark.parametrize(
    "text",
    ["", "k1 A256GCM", "k1 A256GCM AAAA", "k1 DES AAAA", "k1 A256GCM 密", "k.1 SM4GCM " + "A" * 22],
)
def test_a_key_file_that_is_wrong_is_refused_without_repeating_it(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(KeyFault) as caught:
        read_keys(path)
    assert "AAAA" not in str(caught.value)


# What everybody may see


@given(st.sampled_from([PHONE, CARD, "0797-5300000", "w.zhang@example.com", "6222021234567890128"]))
def test_what_is_masked_is_told_where_it_stands(number: str) -> None:
    shut = hidden(complaint(content=f"请打{number}谢谢")).content
    assert number not in shut
    assert find(shut) == ()
    [found] = find_masked(shut)
    assert shut[found.start : found.end] in shut.removeprefix("请打").removesuffix("谢谢")
    assert hidden(complaint(content=shut)).content == shut


def test_a_whole_name_is_masked_in_the_text_and_a_nickname_is_not() -> None:
    assert hidden(complaint(content="我是王建国", contact=Contact("王建国"))).content == "我是王**"
    for name in ("市民", "网友", "热心市民", "王先生", "群众"):
        assert not is_full_name(name)


# At rest


def test_nothing_that_tells_of_a_person_stands_in_the_database(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        contact = Contact("王建国", PHONE)
        said = replace(told(), contact=contact)
        said = replace(said, content=said.content.replace(FULL, "王建国"))
        ticket = (await d.receive(said, "f" * 64, NOW)).ticket
        again = replace(said, content=f"又打了 {PHONE}，我是王建国")
        await d.receive(again, "e" * 64, NOW)
        after = await d.note(_order(ticket.no, 2), text=f"已打{PHONE}，王建国核对身份证{CARD}")
        await d.read_contact(ticket.no, ADMIN, NOW, reason=f"回拨{PHONE}")
        everywhere = await everything(store)
        for each in (PHONE, CARD, "王建国", "建国", "某路 1 号", "f" * 64):
            assert each not in everywhere, each
        assert "138****4321" in everywhere
        assert after.complaint.contact == contact
        # And yet nothing is lost.
        assert (await d.receive(said, "f" * 64, NOW)).duplicate
        read = await d.read_contact(ticket.no, ADMIN, NOW, reason="核对")
        assert (read.contact, read.content) == (contact, said.content)
        texts = [text for words in read.history.values() for text in words.values()]
        assert f"已打{PHONE}，王建国核对身份证{CARD}" in texts
        assert again.content in texts

    in_store(scenario)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_nothing_stands_in_the_files_of_sqlite(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = open_store(f"sqlite:///{tmp_path}/banjie.db")
        await store.migrate()
        await desk(store).receive(told(), "f1", NOW)
        found = _files(tmp_path)
        await store.close()
        assert {"banjie.db", "banjie.db-wal", "banjie.db.keys"} <= set(found)
        for name, content in found.items():
            for each in (PHONE, CARD):
                assert each.encode() not in content, name
        assert stat.S_IMODE((tmp_path / "banjie.db.keys").stat().st_mode) == 0o600

    asyncio.run(scenario())


def _order(no: str, version: int) -> Order:
    return Order(no, ADMIN, version, NOW)


def test_what_is_moved_or_changed_is_refused_and_nothing_of_it_is_shown(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        one = (await d.receive(told(), "f1", NOW)).ticket
        two = (await d.receive(told(source_no="T2"), "f2", NOW)).ticket

        def document(of: int) -> Any:
            return sa.select(SEALED.c.document).where(SEALED.c.ticket_id == of).scalar_subquery()

        def write(value: Any, connection: sa.Connection) -> None:
            connection.execute(
                SEALED.update().where(SEALED.c.ticket_id == two.id).values(document=value)
            )

        await store.run(partial(write, document(one.id)))
        with pytest.raises(Tampered):
            await d.read_contact(two.no, ADMIN, NOW, reason="核对")
        assert (await d.history(two.no, ADMIN))[-1].act != "read_contact"
        # What everybody may see is there all the same.
        assert (await d.ticket(two.no, ADMIN)).complaint == hidden(told(source_no="T2"))
        await store.run(partial(write, "s1.A256GCM.k0.AAAA"))
        with pytest.raises(KeyMissing):
            await d.read_contact(two.no, ADMIN, NOW, reason="核对")

    in_store(scenario)


# Reading


def test_reading_is_an_event_without_what_was_read_and_has_a_bound(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(told(), "f1", NOW)).ticket
        with pytest.raises(Forbidden):
            await d.read_contact(ticket.no, AUDITOR, NOW, reason="审计")
        assert (await d.read_contact(ticket.no, ADMIN, NOW, reason="回访")).contact.phone == PHONE
        event = (await d.history(ticket.no, ADMIN))[-1]
        assert (event.act, event.actor, event.content) == (
            "read_contact",
            "管理员",
            {"reason": "回访"},
        )
        for _ in range(29):
            await d.read_contact(ticket.no, ADMIN, NOW, reason="回访")
        with pytest.raises(ReadsTooMuch):
            await d.read_contact(ticket.no, ADMIN, NOW, reason="回访")
        later = NOW + timedelta(minutes=1)
        assert await d.read_contact(ticket.no, ADMIN, later, reason="回访")

    in_store(scenario)


def test_somebodys_tickets_are_found_by_the_number_however_it_is_written(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        far = complaint(source_no="T3", region="360300", contact=Contact("", PHONE))
        found = [
            (await d.receive(each, str(n), NOW)).ticket.no
            for n, each in enumerate([told(), told(source_no="T2"), far])
        ]
        for phone in (PHONE, f"+86 {PHONE}", f"{PHONE[:3]}-{PHONE[3:7]}-{PHONE[7:]}"):
            page = await d.of_person(ADMIN, phone, 0, 10)
            assert [ticket.no for ticket in page.items] == found[::-1]
        here = replace(ADMIN, role=Role.DISPATCHER, region="360732")
        page = await d.of_person(here, PHONE, 0, 1)
        assert [ticket.no for ticket in page.items] == [found[1]]
        assert PHONE not in str(page.items)
        page = await d.of_person(here, PHONE, page.onward, 10)
        assert [ticket.no for ticket in page.items] == [found[0]]
        handler = Actor("某", Role.HANDLER, ("360732-market_regulation",), region="360732")
        with pytest.raises(Forbidden):
            await d.of_person(handler, PHONE, 0, 10)

    in_store(scenario)


# Keys


def opened(url: str, path: Path | None) -> Store:
    return open_store(url, keys=path)


def test_two_replicas_go_on_while_the_key_is_changed(migrated_url: str, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    write_keys(path, [a_key(1)])

    async def scenario() -> None:
        one, other = (opened(migrated_url, path) for _ in range(2))
        here, there = desk(one), desk(other)
        jobs = [Custody(store, lambda: NOW) for store in (one, other)]
        first = (await here.receive(told(), "f1", NOW)).ticket
        second = (await there.receive(told(source_no="T2"), "f2", NOW)).ticket
        write_keys(path, [a_key(2, Algorithm.SM4), a_key(1)])
        # Only one has looked at the file; the other opens what it sealed all the same.
        while await jobs[0].turn():
            pass
        third = (await here.receive(told(source_no="T3"), "f3", NOW)).ticket
        fourth = (await there.receive(told(source_no="T4"), "f4", NOW)).ticket
        for ticket in (first, second, third, fourth):
            for d in (here, there):
                read = await d.read_contact(ticket.no, ADMIN, NOW, reason="核对")
                assert read.contact.phone == PHONE
        for job in jobs:
            while await job.turn():
                pass
        state = await one.read(lambda c: sealing.state(c, one.sealing))
        assert state.is_done
        assert {key.id: key.parts for key in state.keys} == {"k1": 0, "k2": 5}
        assert [t.no for t in (await there.of_person(ADMIN, PHONE, 0, 9)).items] == [
            t.no for t in (fourth, third, second, first)
        ]
        # The old one is needed no more.
        assert await one.run(lambda c: sealing.drop_key(c, "k1"))
        write_keys(path, [a_key(2, Algorithm.SM4)])
        alone = opened(migrated_url, path)
        await prepare(alone)
        for store in (one, other, alone):
            await store.close()

    asyncio.run(scenario())


def test_who_lacks_a_key_that_is_needed_or_has_another_of_its_name_does_not_start(
    migrated_url: str, tmp_path: Path
) -> None:
    path, foreign = tmp_path / "keys", tmp_path / "foreign"
    write_keys(path, [a_key(1)])

    async def scenario() -> None:
        store = opened(migrated_url, path)
        await prepare(store)
        await store.close()
        for keys in ([a_key(2)], [replace(a_key(2), id="k1")]):
            write_keys(foreign, keys)
            other = opened(migrated_url, foreign)
            with pytest.raises(KeyFault, match="k1"):
                await prepare(other)
            await other.close()
        without = opened(migrated_url, None)
        with pytest.raises(KeyFault, match="k1"):
            await prepare(without)
        await without.close()

    asyncio.run(scenario())


def test_without_a_file_replicas_share_a_key_and_leave_it_for_a_file(
    migrated_url: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        one, other = (opened(migrated_url, None) for _ in range(2))
        await asyncio.gather(prepare(one), prepare(other))
        ticket = (await desk(one).receive(told(), "f1", NOW)).ticket
        read = await desk(other).read_contact(ticket.no, ADMIN, NOW, reason="核对")
        assert read.contact.phone == PHONE
        is_sqlite = migrated_url.startswith("sqlite:")
        assert one.sealing.keeps_in_database == (not is_sqlite)
        assert ("banjie keys" in Custody(one, lambda: NOW).says) == (not is_sqlite)
        for store in (one, other):
            await store.close()
        if is_sqlite:
            return
        path = tmp_path / "keys"
        write_keys(path, [a_key(1)])
        filed = opened(migrated_url, path)
        job = Custody(filed, lambda: NOW)
        while await job.turn():
            pass
        state = await filed.read(lambda c: sealing.state(c, filed.sealing))
        assert state.is_done
        [old] = [key.id for key in state.keys if key.in_database]
        assert await filed.run(lambda c: sealing.drop_key(c, old))
        read = await desk(filed).read_contact(ticket.no, ADMIN, NOW, reason="核对")
        assert read.contact.phone == PHONE
        assert not filed.sealing.keeps_in_database
        await filed.close()

    asyncio.run(scenario())


# What was there before


def test_what_was_there_before_is_masked_at_once_and_sealed_by_and_by(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(told(), "f1", NOW)).ticket
        await store.run(partial(_as_before, ticket=ticket))
        assert PHONE in await everything(store)
        assert (await d.ticket(ticket.no, ADMIN)).complaint == hidden(told())
        assert (
            await d.read_contact(ticket.no, ADMIN, NOW, reason="核对")
        ).content == told().content
        await store.run(partial(_as_before, ticket=ticket))
        job = Custody(store, lambda: NOW)
        while await job.turn():
            pass
        everywhere = await everything(store)
        assert PHONE not in everywhere
        assert CARD not in everywhere
        assert (await d.receive(told(), "f1", NOW)).duplicate
        assert (
            await d.read_contact(ticket.no, ADMIN, NOW, reason="核对")
        ).content == told().content
        assert (await d.of_person(ADMIN, PHONE, 0, 9)).items

    in_store(scenario)


def _as_before(connection: sa.Connection, ticket: Ticket) -> None:
    """Write a ticket as the version before wrote it."""
    from service.store.tickets import _complaint_values

    connection.execute(SEALED.delete().where(SEALED.c.ticket_id == ticket.id))
    connection.execute(BODIES.update().values(fingerprint="f1"))
    connection.execute(
        TICKETS.update()
        .where(TICKETS.c.id == ticket.id)
        .values(
            title=told().title,
            content=told().content,
            complaint=_complaint_values(told()),
        )
    )


# In time


def test_what_is_old_is_made_anonymous_and_counts_as_before(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        old = (await d.receive(told(), "f1", NOW)).ticket
        owed = (await d.receive(told(source_no="T2"), "f2", NOW)).ticket
        version = old.version
        for name, fields in (
            ("sign", {}),
            ("contact", {"text": "已联系"}),
            (
                "resolve",
                {"public_reply": f"已退款，{PHONE}", "internal_finding": "", "solved": True},
            ),
            ("call_back", {"reached": True, "solved": True, "grade": 5, "text": "满意"}),
            ("close", {}),
        ):
            version = (await getattr(d, name)(_order(old.no, version), **fields)).version
        while await store.run(tallies.fold):
            pass
        before = await store.read(lambda c: c.exec_driver_sql("SELECT * FROM tally_sums").all())
        soon = NOW + timedelta(days=90)
        early = Custody(store, lambda: soon, 365)
        while await early.turn():
            pass
        assert (await d.read_contact(old.no, ADMIN, soon, reason="核对")).contact.phone == PHONE
        late = NOW + timedelta(days=400)
        job = Custody(store, lambda: late, 365)
        while await job.turn():
            pass
        assert (await d.history(old.no, ADMIN))[-1].act == "anonymised"
        with pytest.raises(MadeAnonymous):
            await d.read_contact(old.no, ADMIN, late, reason="核对")
        assert (await d.read_contact(owed.no, ADMIN, late, reason="核对")).contact.phone == PHONE
        assert [t.no for t in (await d.of_person(ADMIN, PHONE, 0, 9)).items] == [owed.no]
        assert (await d.ticket(old.no, ADMIN)).complaint == hidden(told())
        rows = await store.read(
            lambda c: c.execute(sa.select(SEALED).where(SEALED.c.ticket_id == old.id)).all()
        )
        assert [(row.part, row.document, row.key) for row in rows] == [("", "", "")]
        while await store.run(tallies.fold):
            pass
        after = await store.read(lambda c: c.exec_driver_sql("SELECT * FROM tally_sums").all())
        assert sorted(map(str, after)) == sorted(map(str, before))
        assert await store.read(tickets.count) == 2

    in_store(scenario)
