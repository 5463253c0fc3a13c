"""The chain of events: whatever is done to a row behind the service's back is found, and the chain goes
on soundly whoever builds it and whatever dies (ADR 0031)."""

import asyncio
import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from service.audit import Audit, Verdict, Wish, head_line, new_key, read_head, verify
from service.domain.access import SYSTEM
from service.domain.chain import Fault
from service.domain.ticket import Event
from service.store import Store, chain, open_store
from service.store.tables import metadata
from service.store.tickets import append_all
from tests.test_desk import desk
from tests.test_feed import Writers, ordered, tickets_in
from tests.worlds import at, complaint

pytestmark = pytest.mark.slow

Run = Callable[[Callable[[Store], Any]], Any]
NOW = at("2026-11-18 09:30")
EVENTS, CHAIN, TAILS, HEADS = (
    metadata.tables[name] for name in ("events", "chain", "chain_tails", "chain_heads")
)


async def chained(store: Store, most: int = 10_000) -> None:
    await ordered(store)
    while await store.run(lambda c: chain.extend(c, most)):
        pass


async def two_regions(store: Store) -> None:
    """Write some events in two regions, with contents of every sort."""
    d = desk(store)
    for n, region in enumerate(("360732", "360300", "360732")):
        await d.receive(complaint(source_no=f"C{n}", region=region), f"c{n}", NOW)
    contents: list[dict[str, Any]] = [
        {"text": "已查看“现场”，\t拟\n办 😀", "z": 1, "a": [True, None, 0.85, -3, 1e-7, 2.0]},
        {"nested": {"b": {}, "a": [{"y": "\x1f", "x": "\u2028"}]}},
    ]

    def write(connection: sa.Connection) -> None:
        rows = connection.execute(
            sa.select(EVENTS.c.ticket_id, EVENTS.c.ticket_no, EVENTS.c.region).distinct()
        ).all()
        append_all(
            connection,
            [
                (
                    row.ticket_id,
                    row.ticket_no,
                    row.region,
                    Event("note", NOW, "某", "admin", content),
                )
                for content in contents
                for row in rows
            ],
        )

    await store.run(write)


# A second implementation, from docs/audit.md and nothing of the service


def written(value: Any) -> bytes:
    return json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()


def recomputed(connection: sa.Connection) -> dict[str, tuple[int, str]]:
    """Return how far the chain of each region goes, from the rows as SQL gives them."""
    postgres = connection.dialect.name == "postgresql"
    place = "CASE WHEN e.id <= t.base THEN e.id ELSE f.position END" if postgres else "e.id"
    more = ", feed_turns t" if postgres else ""
    join = "LEFT JOIN feed f ON f.event_id = e.id" if postgres else ""
    query = f"SELECT {place} AS place, e.* FROM events e {join} {more} ORDER BY 1"
    query = (
        query.replace(f"{join} {more}", f"{join} CROSS JOIN feed_turns t") if postgres else query
    )
    ends: dict[str, tuple[int, bytes]] = {}
    for row in connection.execute(sa.text(query)):
        # SQLite gives texts, PostgreSQL values.
        content = json.loads(row.content) if isinstance(row.content, str) else row.content
        when = f"{row.at}+00:00" if isinstance(row.at, str) else row.at
        if not isinstance(when, str):
            when = when.strftime("%Y-%m-%d %H:%M:%S.%f+00:00")
        told = written(
            [
                "banjie.event.1",
                row.place,
                row.id,
                row.ticket_id,
                row.ticket_no,
                row.region,
                row.act,
                when.replace(" ", "T"),
                row.actor,
                row.role,
                row.unit,
                row.version,
                hashlib.sha256(written(content)).hexdigest(),
            ]
        )
        sequence, before = ends.get(row.region, (0, bytes(32)))
        ends[row.region] = (sequence + 1, hashlib.sha256(before + told).digest())
    return {region: (sequence, last.hex()) for region, (sequence, last) in ends.items()}


def test_somebody_else_comes_to_the_same_chain(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await two_regions(store)
        assert (await store.read(lambda c: verify(c, Wish()))).waiting > 5
        await chained(store, 4)
        found = await store.read(lambda c: verify(c, Wish()))
        assert found.is_sound
        assert found.waiting == 0
        theirs = await store.read(recomputed)
        assert {r: (t.sequence, t.hash) for r, t in found.tails.items()} == theirs
        assert set(theirs) == {"360732", "360300"}
        assert found.events == sum(count for count, _ in theirs.values())

    in_store(scenario)


def test_somebody_else_verifies_a_head(in_store: Run) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    async def scenario(store: Store) -> None:
        await two_regions(store)
        await chained(store)
        key, _ = new_key()
        audit = Audit(store, key.sign)
        assert await audit.make_heads(NOW) == 2
        assert await audit.make_heads(NOW + timedelta(hours=1)) == 0, "once a day"
        theirs = await store.read(recomputed)
        for head in await audit.heads(SYSTEM, None, "", 0, None):
            import base64

            line = json.loads(json.dumps(head_line(head)))
            assert line["date"] == "2026-11-17"
            assert (line["sequence"], line["hash"]) == theirs[line["region"]]
            fields = ("region", "date", "sequence", "hash", "events", "made_at")
            told = written(["banjie.head.1", *(line[name] for name in fields)])
            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(line["key"]))
            public.verify(base64.b64decode(line["signature"]), told)
            assert read_head(json.dumps(line)) == replace(head, id=0)
        # The next day counts on from it.
        await store.run(lambda c: append_all(c, [_copy(c)]))
        await chained(store)
        assert await audit.make_heads(NOW + timedelta(days=1)) == 2
        later = await audit.heads(SYSTEM, date(2026, 11, 18), "360732", 0, None)
        assert [head.events for head in later] == [1]

    in_store(scenario)


def _copy(connection: sa.Connection) -> tuple[int, str, str, Event]:
    row = connection.execute(sa.select(EVENTS).where(EVENTS.c.region == "360732").limit(1)).one()
    return (
        row.ticket_id,
        row.ticket_no,
        row.region,
        Event("note", NOW, "某", "admin", {"text": "再"}),
    )


# Tampering


class Undone(Exception):
    """What was done in a transaction is not to stay."""


class Tampered:
    """A chained history, and what verifying says of it with something done to it."""

    def __init__(self, run: Callable[[Any], Any], store: Store, wish: Wish) -> None:
        self._run, self._store, self._wish = run, store, wish
        self.postgres = store.__class__.__name__ == "PostgresStore"
        self.rows = {
            table.name: self._run(
                store.read(lambda c, t=table: c.execute(sa.select(t)).mappings().all())  # type: ignore[misc]
            )
            for table in (EVENTS, CHAIN, TAILS, HEADS)
        }

    def with_(self, *statements: sa.Executable) -> Verdict:
        found: list[Verdict] = []

        def work(connection: sa.Connection) -> None:
            for statement in statements:
                connection.execute(statement)
            found.append(verify(connection, self._wish))
            raise Undone

        with pytest.raises(Undone):
            self._run(self._store.run(work))
        return found[0]


@contextmanager
def history(url: str) -> Iterator[Tampered]:
    loop = asyncio.new_event_loop()
    store = open_store(url)

    async def make() -> None:
        await two_regions(store)
        # A hole, into which something could be put.
        last = sa.select(sa.func.max(EVENTS.c.id)).scalar_subquery()
        await store.run(lambda c: append_all(c, [_copy(c), _copy(c)]))
        await store.run(lambda c: c.execute(EVENTS.delete().where(EVENTS.c.id == last - 1)))
        await chained(store)
        await Audit(store, new_key()[0].sign).make_heads(NOW)

    loop.run_until_complete(make())
    tampered = Tampered(loop.run_until_complete, store, Wish())
    assert tampered.with_(sa.text("SELECT 1")).is_sound
    yield tampered
    loop.run_until_complete(store.close())
    loop.close()


MANY = settings(max_examples=60)


def other(table: str, column: str, value: Any, data: st.DataObject) -> Any:
    """Return another value of a column."""
    if column == "content":
        return data.draw(
            st.one_of(
                st.just({**value, "text": "改过了"}),
                st.just({"only": value}),
                st.just({}),
                st.just({name: each for name, each in value.items() if name != "text"} | {"b": 1}),
            ).filter(lambda new: new != value)
        )
    if column in {"at", "made_at"}:
        return value + timedelta(microseconds=data.draw(st.integers(1, 10**12)))
    if isinstance(value, int):
        return value + data.draw(st.integers(1, 50))
    if column == "day":
        return "2026-11-16"
    # The last digit but one of base64 has bits that say nothing.
    if column in {"hash", "key", "signature"}:
        at_ = data.draw(st.integers(0, len(value) - 4))
        return value[:at_] + ("0" if value[at_] != "0" else "1") + value[at_ + 1 :]
    return data.draw(st.sampled_from(["另", f"{value}1", ""]).filter(lambda new: new != value))


UNHASHED = {
    # The database's own note of who wrote a row.
    "events": {"tx"},
    "chain": set[str](),
    "chain_tails": set[str](),
    # What no head is held by; a place in the list.
    "chain_heads": {"id"},
}


def key_of(table: sa.Table) -> Any:
    (column,) = table.primary_key.columns
    return column


def test_whatever_is_changed_in_a_row_is_found(migrated_url: str) -> None:
    with history(migrated_url) as made:

        @MANY
        @given(st.data())
        def change(data: st.DataObject) -> None:
            table = data.draw(st.sampled_from([EVENTS, CHAIN, TAILS, HEADS]))
            row = data.draw(st.sampled_from(list(made.rows[table.name])))
            columns = [name for name in row if name not in UNHASHED[table.name]]
            column = data.draw(st.sampled_from(sorted(columns)))
            taken = {each[column] for each in made.rows[table.name] if column != "content"}
            value = other(table.name, column, row[column], data)
            if column == "ticket_id":
                value = next(each for each in sorted(taken) if each != row[column])
            elif column in {"id", "place", "event_id", "sequence"} or column == key_of(table).name:
                while value in taken:
                    value = value + 1 if isinstance(value, int) else f"{value}x"
            key = key_of(table)
            found = made.with_(table.update().where(key == row[key.name]).values({column: value}))
            assert not found.is_sound, (table.name, column)
            told = {each.region for each in found.findings}
            if table is EVENTS:
                assert row["region"] in told
                assert row["ticket_no"] in {each.ticket_no for each in found.findings}

        change()


def test_what_cannot_even_be_read_is_found(migrated_url: str) -> None:
    with history(migrated_url) as made:
        if made.postgres:
            return  # it keeps nothing in a column that does not belong there
        row = made.rows["events"][2]
        for column, value in (("content", "{"), ("at", "gestern"), ("content", '"\\ud800"')):
            spoilt = sa.text(f"UPDATE events SET {column} = :value WHERE id = :id")
            found = made.with_(spoilt.bindparams(value=value, id=row["id"]))
            assert [(each.fault, each.event_id) for each in found.findings] == [
                (Fault.CHANGED, row["id"])
            ]


def test_whatever_row_is_taken_away_is_found(migrated_url: str) -> None:
    with history(migrated_url) as made:
        for row in made.rows["events"]:
            found = made.with_(EVENTS.delete().where(EVENTS.c.id == row["id"]))
            assert [
                (each.fault, each.region, each.ticket_no, each.event_id) for each in found.findings
            ] == [(Fault.MISSING, row["region"], row["ticket_no"], row["id"])]
        for row in made.rows["chain"]:
            found = made.with_(CHAIN.delete().where(CHAIN.c.place == row["place"]))
            assert not found.is_sound
        for row in made.rows["chain_tails"]:
            assert not made.with_(TAILS.delete().where(TAILS.c.region == row["region"])).is_sound
        # An event with its link, be it the last one: the end of the chain was noted, and signed.
        for row in made.rows["chain"]:
            found = made.with_(
                CHAIN.delete().where(CHAIN.c.place == row["place"]),
                EVENTS.delete().where(EVENTS.c.id == row["event_id"]),
            )
            assert {each.fault for each in found.findings} & {Fault.GAP, Fault.CUT_OFF}
            assert {each.region for each in found.findings} - {""} == {row["region"]}


def test_whatever_two_rows_are_swapped_is_found(migrated_url: str) -> None:
    with history(migrated_url) as made:

        @MANY
        @given(st.data())
        def swap(data: st.DataObject) -> None:
            table = data.draw(st.sampled_from([EVENTS, CHAIN]))
            pairs = st.lists(st.sampled_from(list(made.rows[table.name])), min_size=2, max_size=2)
            one, two = data.draw(pairs.filter(lambda pair: pair[0] != pair[1]))
            key = key_of(table)
            # By way of a number that nothing has; or all that they say but the number.
            park, (a, b) = 10**9, (one[key.name], two[key.name])
            found = made.with_(
                table.update().where(key == a).values({key.name: park}),
                table.update().where(key == b).values({key.name: a}),
                table.update().where(key == park).values({key.name: b}),
            )
            assert not found.is_sound
            if table is EVENTS:
                told = {each.event_id for each in found.findings}
                assert {a, b} <= told

        swap()


def test_places_of_the_feed_that_are_swapped_are_found(migrated_url: str) -> None:
    with history(migrated_url) as made:
        if not made.postgres:
            return  # an event's number is its place, and was swapped above
        feed = metadata.tables["feed"].c
        one, two = (row["event_id"] for row in made.rows["chain"][1:3])
        table, park = metadata.tables["feed"], 10**9
        found = made.with_(
            table.update().where(feed.event_id == one).values(event_id=park),
            table.update().where(feed.event_id == two).values(event_id=one),
            table.update().where(feed.event_id == park).values(event_id=two),
        )
        assert [each.fault for each in found.findings] == [Fault.REORDERED] * 2


def test_what_is_put_among_the_events_is_found(migrated_url: str) -> None:
    with history(migrated_url) as made:
        ids = {row["id"] for row in made.rows["events"]}
        (hole,) = set(range(min(ids), max(ids))) - ids
        row = {**made.rows["events"][0], "id": hole, "tx": None}
        found = made.with_(EVENTS.insert().values(**row))
        assert (
            Fault.INSERTED,
            row["region"],
            row["ticket_no"],
            hole,
        ) in [(each.fault, each.region, each.ticket_no, each.event_id) for each in found.findings]


def test_an_event_that_was_taken_away_before_it_was_chained_leaves_its_place(
    migrated_url: str,
) -> None:
    if not migrated_url.startswith("postgresql"):
        return  # there is no place but the event itself

    async def scenario(store: Store) -> None:
        await two_regions(store)
        await ordered(store)
        first = sa.select(sa.func.min(EVENTS.c.id)).scalar_subquery()
        await store.run(lambda c: c.execute(EVENTS.delete().where(EVENTS.c.id == first)))
        await chained(store)
        found = await store.read(lambda c: verify(c, Wish()))
        assert [(each.fault, each.told) for each in found.findings] == [(Fault.MISSING, "1")]

    async def whole() -> None:
        store = open_store(migrated_url)
        await scenario(store)
        await store.close()

    asyncio.run(whole())


def test_a_chain_that_is_written_anew_is_found_by_a_head_that_was_kept_elsewhere(
    in_store: Run,
) -> None:
    async def scenario(store: Store) -> None:
        await two_regions(store)
        await chained(store)
        key, stranger = new_key()[0], new_key()[0]
        audit = Audit(store, key.sign)
        await audit.make_heads(NOW)
        kept = [
            read_head(json.dumps(head_line(head)))
            for head in await audit.heads(SYSTEM, None, "", 0, None)
        ]
        found = await audit.verify(Wish(kept=kept, keys=[key.public]))
        assert (found.is_sound, found.stored, found.kept, found.unsigned) == (True, 2, 2, 0)
        assert found.keys == [key.public]

        # Somebody owns the database: changes an event, and makes all that hangs on it anew.
        def rewrite(connection: sa.Connection) -> None:
            first = sa.select(sa.func.min(EVENTS.c.id)).scalar_subquery()
            connection.execute(EVENTS.update().where(EVENTS.c.id == first).values(actor="别人"))
            for table in (CHAIN, TAILS, HEADS):
                connection.execute(table.delete())

        await store.run(rewrite)
        await chained(store)
        await Audit(store, stranger.sign).make_heads(NOW)
        assert (await audit.verify(Wish())).is_sound, "nothing in the database says so"
        found = await audit.verify(Wish(kept=kept))
        assert [(each.fault, each.region, each.told) for each in found.findings] == [
            (Fault.REWRITTEN, "360732", "2026-11-17")
        ]
        # Whoever names the key sees that the heads in the database are not signed by it.
        found = await audit.verify(Wish(keys=[key.public]))
        assert [each.fault for each in found.findings] == [Fault.FORGED] * 2
        # A head that was kept and doctored proves nothing.
        doctored = [replace(head, sequence=head.sequence - 1) for head in kept]
        found = await audit.verify(Wish(kept=doctored))
        assert [each.fault for each in found.findings] == [Fault.FORGED] * 2
        # One of a chain that was cut short has nothing to meet.
        longer = [key.sign(replace(head, sequence=999)) for head in kept]
        found = await audit.verify(Wish(kept=longer))
        assert [each.fault for each in found.findings] == [Fault.REWRITTEN] * 2

    in_store(scenario)


def test_what_was_taken_off_is_verified_from_a_head_on(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await two_regions(store)
        await chained(store)
        key = new_key()[0]
        audit = Audit(store, key.sign)
        await audit.make_heads(NOW)
        await store.run(lambda c: append_all(c, [_copy(c), _copy(c)]))
        await chained(store)
        await audit.make_heads(NOW + timedelta(days=1))
        day = date(2026, 11, 18)
        found = await audit.verify(Wish(since=day))
        assert (found.is_sound, found.events) == (True, 2)
        before = await audit.verify(Wish(region="360300", since=date(2026, 11, 17)))
        assert (before.is_sound, before.events) == (True, 4)

        # Months are taken off: events with their links.
        last = sa.select(sa.func.max(EVENTS.c.id)).scalar_subquery()

        def archive(connection: sa.Connection) -> None:
            last_id = connection.execute(sa.select(last)).scalar_one()
            connection.execute(CHAIN.delete().where(CHAIN.c.event_id <= last_id - 2))
            connection.execute(EVENTS.delete().where(EVENTS.c.id <= last_id - 2))

        await store.run(archive)
        found = await audit.verify(Wish(since=day))
        assert (found.is_sound, found.events) == (True, 2), found.findings
        whole = await audit.verify(Wish())
        assert {each.fault for each in whole.findings} >= {
            Fault.GAP,
            Fault.CUT_OFF,
            Fault.REWRITTEN,
        }
        # What is left is still held together with the head.
        await store.run(lambda c: c.execute(EVENTS.update().values(actor="别人")))
        assert not (await audit.verify(Wish(since=day))).is_sound
        # A chain that has gone altogether is missed.
        for table in (CHAIN, TAILS, EVENTS):
            await store.run(lambda c, t=table: c.execute(t.delete()))  # type: ignore[misc]
        assert {each.region for each in (await audit.verify(Wish(since=day))).findings} == {
            "360732",
            "360300",
        }

    in_store(scenario)


# Whoever builds it, and whatever dies

_CHAINER = """
import asyncio, sys
from service.store import StoreUnavailable, open_store
from service.store.chain import extend
from service.store.feed import order

async def main():
    store = open_store(sys.argv[1])
    print("up", flush=True)
    while True:
        try:
            await store.run(lambda c: order(c, 3))
            await store.run(lambda c: extend(c, 2))
        except StoreUnavailable:
            pass

asyncio.run(main())
"""


def test_a_chain_goes_on_soundly_where_its_builders_are_killed(
    in_store: Run, migrated_url: str
) -> None:
    chance = random.Random(5)

    async def scenario(store: Store) -> None:
        numbers = await tickets_in(store, 4)
        writers = Writers(migrated_url, store, numbers, chance)

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, "-c", _CHAINER, migrated_url], stdout=subprocess.PIPE
            )

        async def links() -> int:
            count = sa.select(sa.func.count(CHAIN.c.place))
            return int(await store.read(lambda c: c.execute(count).scalar_one()))

        async def longer_than(before: int, both: list[subprocess.Popen[bytes]]) -> None:
            while await links() <= before:
                assert all(each.poll() is None for each in both), "a builder ended by itself"
                await asyncio.sleep(0.01)

        async def kill() -> None:
            for _ in range(2):
                both = [start(), start()]
                for each in both:
                    assert each.stdout
                    assert await asyncio.to_thread(each.stdout.readline)
                await longer_than(await links(), both)
                await asyncio.sleep(chance.uniform(0, 0.3))
                for each in both:
                    each.kill()
                    await asyncio.to_thread(each.wait)
                    assert each.stdout
                    each.stdout.close()

        killing = asyncio.create_task(kill())
        while not killing.done():
            await writers.work(6, 4)
        await killing
        found = await store.read(lambda c: verify(c, Wish()))
        assert found.is_sound
        assert found.events == await links() > 0
        await chained(store)
        found = await store.read(lambda c: verify(c, Wish()))
        assert (found.is_sound, found.waiting) == (True, 0)
        theirs = await store.read(recomputed)
        assert {r: (t.sequence, t.hash) for r, t in found.tails.items()} == theirs

    in_store(scenario)


def test_two_who_build_at_once_build_one_chain(in_store: Run, migrated_url: str) -> None:
    async def scenario(store: Store) -> None:
        numbers = await tickets_in(store, 3)
        other_one = open_store(migrated_url)
        writers = Writers(migrated_url, store, numbers, random.Random(6))
        writing = asyncio.create_task(writers.work(6, 5))

        async def build(with_: Store) -> None:
            while not writing.done():
                await with_.run(lambda c: chain.extend(c, 3))
                await ordered(with_)

        await asyncio.gather(writing, build(store), build(other_one), build(store))
        await other_one.close()
        await chained(store)
        found = await store.read(lambda c: verify(c, Wish()))
        assert (found.is_sound, found.waiting) == (True, 0)

    in_store(scenario)
