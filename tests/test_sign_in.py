"""How people come in: passwords, tries that fail, sessions that end, on either database."""

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from service.domain.access import Actor, Role
from service.domain.sign_in import (
    FREE,
    LONGEST,
    Claims,
    Counted,
    Ends,
    NotMapped,
    Record,
    Tries,
    account_name,
    failed,
    forgiven,
    plain_password,
    wait_s,
    weakness,
)
from service.doors import Busy, Comer, Doors, HeldOff, Refused
from service.passwords import fits, hashed
from service.purge import Purge
from service.store import Store, accounts, sessions, tokens
from service.store.tables import IdempotencyRow, metadata
from service.store.tokens import Use
from tests.served import Clock
from tests.worlds import HANDLER, at

Run = Callable[[Callable[[Store], Any]], Any]
NOW = at("2026-11-21 09:00")
PASSWORD = "correct horse battery staple"
WHO = Actor("某人", Role.HANDLER, ("360732-market",), region="360732")

# Checked at once: what a check costs is told by what was kept.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

# Passwords


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "绿水青山就是金山银山我们大家都知道",
        "x" * 3 + "kq9 wnt lop zur dfe",
        "🐟 swims under the bridge at noon",
    ],
)
def test_a_long_sentence_will_do(password: str) -> None:
    assert weakness(password, "li.si") == ""


@pytest.mark.parametrize(
    "password",
    [
        "",
        "Tr0ub4dor&3",
        "a" * 20,
        "abcabcabcabcabcabc",
        "123456789012345678",
        "abcdefghijklmnopqrs",
        "passwordpassword123",
        "zhang.san.zhang.san",
        "banjie-banjie-banjie",
        "x" * 200,
        "a line\nand another one",
    ],
)
def test_what_is_short_or_guessed_will_not(password: str) -> None:
    assert weakness(password, "zhang.san")


def test_a_password_is_kept_as_argon2id_and_fits_however_it_is_composed() -> None:
    encoded = hashed("le café est fermé")
    assert encoded.startswith("$argon2id$")
    assert "café" not in encoded
    assert fits(encoded, "le cafe\u0301 est ferme\u0301")
    assert not fits(encoded, "le café est ouvert")
    assert not fits(None, "nobody's password")


@pytest.mark.parametrize("typed", ["li.si", " LI.SI ", "ｌｉ.ｓｉ"])
def test_an_account_is_found_however_it_is_typed(typed: str) -> None:
    assert account_name(typed) == "li.si"


# Brought to form as a whole these would take a second of everybody's.
ACCENTS = "\u0301\u0316" * 25_000


def test_a_name_without_an_end_is_cut_before_it_is_brought_to_form() -> None:
    assert len(account_name("a" + ACCENTS)) <= 64
    assert account_name(" " * 20 + "li.si") == "li.si"


def test_a_password_too_long_as_typed_is_refused_as_typed() -> None:
    # Of what is typed at the door no more than this is looked at: it would never open it.
    decomposed = "correct horse battery staple " + "e\u0301 " * 40
    assert len(decomposed) > LONGEST > len(plain_password(decomposed))
    assert "最多" in weakness(decomposed, "li.si")
    assert "最多" in weakness("a" + ACCENTS, "li.si")


# Tries


@given(st.sampled_from(Counted), st.lists(st.integers(0, 3600), max_size=80))
def test_nobody_waits_longer_than_a_quarter_of_an_hour(counted: Counted, gaps: list[int]) -> None:
    tries, now = None, NOW
    for gap in gaps:
        now += timedelta(seconds=gap)
        if wait_s(tries, now) == 0:
            tries = failed(tries, counted, now)
        assert wait_s(tries, now) <= 15 * 60 + 1
        assert wait_s(tries, now + timedelta(minutes=15, seconds=1)) == 0


def test_waits_double_after_the_free_tries_and_a_day_forgets() -> None:
    tries: Tries | None = None
    waits = []
    now = NOW
    for _ in range(FREE[Counted.PAIR] + 7):
        tries = failed(tries, Counted.PAIR, now)
        waits.append(wait_s(tries, now))
        now += timedelta(seconds=waits[-1])
    assert waits == [0] * 5 + [31, 61, 121, 241, 481, 901, 901]
    assert failed(tries, Counted.PAIR, now + timedelta(days=1)).failures == 1
    assert tries
    assert forgiven(tries, Counted.PAIR).failures == 0
    assert forgiven(tries, Counted.ACCOUNT).failures == tries.failures - 1


# Claims

CLAIMS = Claims(
    {"banjie-cb": Role.HANDLER, "banjie-fb": Role.DISPATCHER, "banjie-gl": Role.ADMIN},
    {"SCJG": "360732-market"},
    role="realm_access.roles",
    unit="dept",
    region="division",
)
TOLD = {
    "name": "张某",
    "realm_access": {"roles": ["offline_access", "banjie-cb"]},
    "dept": "SCJG",
    "division": "360732",
}


def test_claims_make_a_person_by_the_tables() -> None:
    assert CLAIMS.person(TOLD) == Actor("张某", Role.HANDLER, ("360732-market",), region="360732")
    sorter = TOLD | {"realm_access": {"roles": ["banjie-fb"]}}
    assert CLAIMS.person(sorter) == Actor("张某", Role.DISPATCHER, region="360732")
    everywhere = CLAIMS.person(sorter | {"division": "*"})
    assert everywhere.region == ""
    # A name in two parts stands in one line, whatever blank is between them.
    assert CLAIMS.person(TOLD | {"name": " 张\u3000某\n"}).name == "张 某"
    dotted = {"name": "某", "realm_access.roles": "banjie-gl"}
    assert CLAIMS.person(dotted) == Actor("某", Role.ADMIN)


@pytest.mark.parametrize(
    "changed",
    [
        {"name": ""},
        {"name": ["张某", "李某"]},
        {"name": "张某\0"},
        {"name": "张某\x1b[2J"},
        {"name": "张\u202e某"},
        {"realm_access": {"roles": ["somebody"]}},
        {"realm_access": "banjie-cb"},
        {"realm_access": {"roles": ["banjie-cb", "banjie-gl"]}},
        {"realm_access": {"roles": ["banjie-fb"]}, "division": ""},
        {"division": ["360732", "360733"]},
        {"dept": "unknown"},
        {"dept": None},
    ],
    ids=str,
)
def test_nobody_gets_what_no_row_gives_him(changed: dict[str, Any]) -> None:
    with pytest.raises(NotMapped):
        CLAIMS.person(TOLD | changed)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    )
)
def test_whatever_claims_hold_is_mapped_or_refused(value: Any) -> None:
    for name in ("name", "realm_access", "dept", "division"):
        try:
            by = CLAIMS.person(TOLD | {name: value})
        except NotMapped:
            continue
        assert by.role is Role.HANDLER
        assert by.units == ("360732-market",)


# Doors, on either database


def doors(store: Store, clock: Callable[[], datetime], **ends: timedelta) -> Doors:
    return Doors(store, clock, Ends(**ends), None, lambda _: True, lambda _: True)


async def account(store: Store, name: str = "li.si", password: str = PASSWORD) -> None:
    await store.run(lambda c: accounts.add(c, name, WHO, CHEAP.hash(password), NOW))


def comer(n: int = 1, device: str = "") -> Comer:
    return Comer(f"192.0.2.{n}", device)


def rows(table: str, connection: Any) -> int:
    return len(connection.execute(metadata.tables[table].select()).all())


async def told(store: Store) -> list[tuple[Record, str, str]]:
    found = await store.read(lambda c: sessions.recorded(c, NOW - timedelta(days=1), 100))
    return [(each.what, each.who, each.address) for each in reversed(found)]


def test_an_account_opens_a_session_and_says_no_in_one_way(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await account(store)
        ours = doors(store, Clock(NOW))
        opened = await ours.by_password("LI.SI ", PASSWORD, comer(1, "browser"))
        session = await ours.session(opened)
        assert session
        assert session.by == Actor(WHO.name, WHO.role, WHO.units, region="360732", id="s1")
        for name, password in (("li.si", "wrong"), ("nobody", PASSWORD), ("", ""), ("é" * 99, "x")):
            with pytest.raises(Refused):
                await ours.by_password(name, password, comer(2))
        await ours.out(opened, session, comer(1))
        assert await ours.session(opened) is None
        assert await told(store) == [
            (Record.SIGNED_IN, "某人", "192.0.2.1"),
            (Record.REFUSED, "某人", "192.0.2.2"),
            # What was typed as a name may be a password: it is not kept.
            (Record.REFUSED, "", "192.0.2.2"),
            (Record.REFUSED, "", "192.0.2.2"),
            (Record.REFUSED, "", "192.0.2.2"),
            (Record.SIGNED_OUT, "某人", "192.0.2.1"),
        ]

    in_store(scenario)


@pytest.mark.parametrize("name", ["\0", "li.si\0", "li.si\n", "é", "李四", ""])
def test_what_is_no_account_is_refused_from_any_browser(in_store: Run, name: str) -> None:
    async def scenario(store: Store) -> None:
        with pytest.raises(Refused):
            await doors(store, Clock(NOW)).by_password(name, PASSWORD, comer(1, "browser"))

    in_store(scenario)


def test_tries_are_counted_on_every_replica_and_after_a_restart(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await account(store)
        clock = Clock(NOW)
        replicas = [doors(store, clock) for _ in range(3)]
        for n in range(6):
            with pytest.raises(Refused):
                await replicas[n % 2].by_password("li.si", "wrong", comer())
        with pytest.raises(HeldOff) as held:
            # Begun after all that, as after a restart; and the right password is not looked at.
            await replicas[2].by_password("li.si", PASSWORD, comer())
        assert 0 < held.value.seconds <= 31
        clock.time += timedelta(seconds=held.value.seconds)
        assert await replicas[2].by_password("li.si", PASSWORD, comer())
        kept = await told(store)
        assert [what for what, _, _ in kept].count(Record.HELD_OFF) == 1

    in_store(scenario)


def test_many_at_once_are_counted_too(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await account(store)
        ours = doors(store, Clock(NOW))
        tries = [ours.by_password("li.si", f"guess {n}", comer()) for n in range(20)]
        found = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(each, Refused) for each in found) == FREE[Counted.PAIR] + 1
        assert sum(isinstance(each, HeldOff) for each in found) == 14

    in_store(scenario)


def test_those_who_come_at_once_wait_in_no_endless_line(
    in_store: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.passwords.fits", lambda *_: time.sleep(0.02))

    async def scenario(store: Store) -> None:
        ours = doors(store, Clock(NOW))
        tries = [ours.by_password(f"name{n}", "x", comer(n)) for n in range(90)]
        found = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(each, Busy) for each in found) == 26
        assert sum(isinstance(each, Refused) for each in found) == 64
        with pytest.raises(Refused):
            await ours.by_password("name", "x", comer(99))

    in_store(scenario)


def test_who_came_by_a_link_waits_in_that_line_too(
    in_store: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    come = threading.Event()

    def slow(_: str) -> str:
        assert come.wait(60)
        return "hashed"

    monkeypatch.setattr("service.passwords.hashed", slow)

    async def scenario(store: Store) -> None:
        await account(store)
        ours = doors(store, Clock(NOW))
        whose = await store.read(lambda c: accounts.find(c, "li.si"))
        assert whose
        until = NOW + timedelta(hours=1)
        link = await store.run(
            lambda c: tokens.create(
                c, WHO, NOW, use=Use.LINK, expires_at=until, account_id=whose.id
            )
        )
        session = await ours.session(await ours.by_token(link, Use.LINK, comer()))
        assert session
        new = "a new one that is quite long"
        tries = [
            asyncio.create_task(ours.change_password(session, "", new, comer())) for _ in range(90)
        ]
        # The line is as long as it gets once so many were sent away.
        waiting = set(tries)
        while len(waiting) > 64:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        come.set()
        found = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(each, Busy) for each in found) == 26
        assert sum(isinstance(each, str) for each in found) == 1, "its account is another by then"

    in_store(scenario)


def test_strangers_lock_nobody_out_of_a_browser_that_he_used(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await account(store)
        clock = Clock(NOW)
        ours = doors(store, clock)
        assert await ours.by_password("li.si", PASSWORD, comer(1, "his browser"))
        for n in range(FREE[Counted.ACCOUNT] + 1):
            with pytest.raises(Refused):
                await ours.by_password("li.si", "wrong", comer(2 + n, f"stranger {n}"))
        with pytest.raises(HeldOff) as held:
            await ours.by_password("li.si", PASSWORD, comer(200, "a new browser"))
        # His own door is open, from wherever he is.
        assert await ours.by_password("li.si", PASSWORD, comer(200, "his browser"))
        # And from a new browser it is not for ever.
        clock.time += timedelta(seconds=held.value.seconds)
        assert await ours.by_password("li.si", PASSWORD, comer(200, "a new browser"))

    in_store(scenario)


def test_who_is_held_off_fills_no_table(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        clock = Clock(NOW)
        ours = doors(store, clock)

        def held(connection: Any) -> None:
            key = accounts.keys(connection, {Counted.ADDRESS: "192.0.2.1"})[Counted.ADDRESS]
            accounts.hold(connection, [key], NOW)
            accounts.count(connection, key, Tries(200, NOW, NOW + timedelta(minutes=15)))

        await store.run(held)
        for n in range(10):
            with pytest.raises(HeldOff):
                await ours.by_password(f"name{n}", "wrong", comer(1))
        table = metadata.tables["sign_in_tries"]
        kept = await store.read(lambda c: c.execute(table.select()).all())
        assert len(kept) == 1
        assert "192.0.2" not in str(kept)
        assert await told(store) == []

    in_store(scenario)


def test_who_is_removed_or_gets_another_password_is_out_at_once_everywhere(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        clock = Clock(NOW)
        here, there = doors(store, clock), doors(store, clock)
        for name in ("li.si", "wang.wu"):
            await account(store, name)
        open_ = [await here.by_password("li.si", PASSWORD, comer()) for _ in range(2)]
        other = await here.by_password("wang.wu", PASSWORD, comer())
        for token in open_:
            assert await there.session(token)
        assert await store.run(
            lambda c: accounts.set_password(c, "li.si", CHEAP.hash("another long password"), NOW)
        )
        for token in open_:
            assert await here.session(token) is None
            assert await there.session(token) is None
        assert await there.session(other)
        assert await store.run(lambda c: accounts.remove(c, "wang.wu"))
        assert await there.session(other) is None
        assert not await store.run(lambda c: accounts.remove(c, "wang.wu"))
        with pytest.raises(Refused):
            await here.by_password("wang.wu", PASSWORD, comer())
        with pytest.raises(accounts.AccountExists):
            await account(store, "li.si")

    in_store(scenario)


def test_a_link_of_an_account_opens_one_session_that_ends_with_the_account(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await account(store)
        ours = doors(store, Clock(NOW))
        found = await store.read(lambda c: accounts.find(c, "li.si"))
        assert found

        async def link() -> str:
            return await store.run(
                lambda c: tokens.create(c, found.by, NOW, use=Use.LINK, account_id=found.id)
            )

        used, unused = await link(), await link()
        session = await ours.by_token(used, Use.LINK, comer())
        known = await ours.session(session)
        assert known
        assert known.by.name == WHO.name
        with pytest.raises(Refused):
            await ours.by_token(used, Use.LINK, comer())
        assert await store.run(lambda c: accounts.remove(c, "li.si"))
        assert await ours.session(session) is None
        with pytest.raises(Refused):
            await ours.by_token(unused, Use.LINK, comer())

    in_store(scenario)


def test_a_used_link_is_recorded_and_what_never_was_one_writes_nothing(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        ours = doors(store, Clock(NOW))
        link = await store.run(lambda c: tokens.create(c, WHO, NOW, use=Use.LINK))
        assert await ours.by_token(link, Use.LINK, comer(1))
        for token, use in (
            (link, Use.LINK),
            (link, Use.API),
            ("bj_made-up", Use.API),
            ("", Use.LINK),
        ):
            with pytest.raises(Refused):
                await ours.by_token(token, use, comer(2))
        assert await told(store) == [
            (Record.SIGNED_IN, WHO.name, "192.0.2.1"),
            (Record.REFUSED, WHO.name, "192.0.2.2"),
            (Record.REFUSED, WHO.name, "192.0.2.2"),
        ]

    in_store(scenario)


def test_a_session_ends_when_idle_at_its_end_and_with_its_token(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        clock = Clock(NOW)
        ours = doors(store, clock, idle=timedelta(hours=1), whole=timedelta(hours=3))
        token = await store.run(lambda c: tokens.create(c, HANDLER, NOW))
        opened = await ours.by_token(token, Use.API, comer())
        for _ in range(3):
            clock.time += timedelta(minutes=55)
            assert await ours.session(opened)
        clock.time += timedelta(minutes=20)
        assert await ours.session(opened) is None, "three hours are over"
        idle = await ours.by_token(token, Use.API, comer())
        clock.time += timedelta(minutes=61)
        assert await ours.session(idle) is None
        bound = await ours.by_token(token, Use.API, comer())
        await store.run(lambda c: tokens.revoke(c, token, clock(), Use.API))
        assert await ours.session(bound) is None
        with pytest.raises(Refused):
            await ours.by_token(token, Use.API, comer())

    in_store(scenario)


def test_what_has_ended_is_deleted_and_nothing_else(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await account(store)
        clock = Clock(NOW)
        ours = doors(store, clock)
        keys = metadata.tables[IdempotencyRow.__tablename__]
        await store.run(
            lambda c: c.execute(
                keys.insert().values(
                    caller="1", key="k", request="r", ticket_no="n", version=1, at=NOW
                )
            )
        )
        await ours.by_password("li.si", PASSWORD, comer(1, "browser"))
        link = await store.run(
            lambda c: tokens.create(
                c, HANDLER, NOW, use=Use.LINK, expires_at=NOW + timedelta(hours=12)
            )
        )
        api = await store.run(lambda c: tokens.create(c, HANDLER, NOW))
        assert await ours.purge() == 0

        async def counted() -> dict[str, int]:
            names = ("sessions", "devices", "sign_in_tries", "idempotency_keys", "sign_ins")
            return {name: await store.read(partial(rows, name)) for name in names}

        before = await counted()
        assert before == {
            "sessions": 1,
            "devices": 1,
            "sign_in_tries": 3,
            "idempotency_keys": 1,
            "sign_ins": 1,
        }
        clock.time = NOW + timedelta(days=6)
        assert await ours.purge() == 4
        assert await counted() == before | {"sessions": 0, "sign_in_tries": 0}
        clock.time = NOW + timedelta(days=8)
        assert await ours.purge() == 1
        clock.time = NOW + timedelta(days=400)
        assert await ours.purge() == 3
        assert not any((await counted()).values())
        assert link
        assert await store.read(lambda c: tokens.find(c, api, clock()))

    in_store(scenario)


def test_one_replica_alone_deletes_until_it_is_gone(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        done = []

        async def some(who: str) -> int:
            done.append(who)
            return 0

        first, second = (Purge(store, partial(some, who)) for who in ("first", "second"))
        for _ in range(3):
            await first.turn()
            await second.turn()
        assert set(done) == {"first"}

    in_store(scenario)
