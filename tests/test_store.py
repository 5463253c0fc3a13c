"""The door to the database, on both."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from service.domain.access import Actor, Role
from service.store import BadDatabaseUrl, Store, StoreUnavailable, open_store, revision, tokens
from service.store.engine import is_migrated
from service.store.tables import is_compared, metadata
from service.store.tickets import count, take_numbers
from service.store.tokens import Use
from tests.test_desk import desk
from tests.worlds import at, complaint

Run = Callable[[Callable[[Store], Any]], Any]
NOW = at("2026-11-18 09:30")
HANDLER = Actor("承办人", Role.HANDLER, ("a", "b"), region="360732")


def test_the_migrations_make_the_tables(in_store: Run) -> None:
    async def scenario(store: Store) -> Any:
        def compare(connection: sa.Connection) -> Any:
            within = is_compared(connection.dialect.name)
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "include_object": within}
            )
            return compare_metadata(context, metadata)

        assert await store.read(is_migrated)
        return await store.read(compare)

    assert in_store(scenario) == []


def test_which_revision_there_is_is_told_as_alembic_tells_it(database_url: str) -> None:
    assert revision.head() == ScriptDirectory(str(revision.MIGRATIONS)).get_current_head()

    async def scenario() -> Any:
        def told(connection: sa.Connection) -> Any:
            alembic = MigrationContext.configure(connection).get_current_revision()
            return revision.current(connection), alembic

        store = open_store(database_url)
        try:
            empty = await store.read(told)
            await store.migrate()
            return empty, await store.read(told)
        finally:
            await store.close()

    assert asyncio.run(scenario()) == ((None, None), (revision.head(), revision.head()))


def test_migrating_again_changes_nothing(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        await desk(store).receive(complaint(), "f1", NOW)
        await asyncio.gather(store.migrate(), store.migrate())
        assert await store.read(count) == 1

    in_store(scenario)


def test_work_that_fails_leaves_nothing(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        def half(connection: sa.Connection) -> None:
            take_numbers(connection, [("360732", "20261118")])
            raise RuntimeError

        with pytest.raises(RuntimeError):
            await store.run(half)
        ((first, _),) = await store.run(lambda c: take_numbers(c, [("360732", "20261118")]))
        assert first == "360732-20261118-00001"

    in_store(scenario)


def test_a_time_without_zone_never_gets_in(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        with pytest.raises(sa.exc.StatementError, match="without zone"):
            await store.run(lambda c: tokens.create(c, HANDLER, datetime(2026, 11, 18)))  # noqa: DTZ001

    in_store(scenario)


def test_a_token_stands_for_its_caller_until_it_ends(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        def find(token: str, when: str = "2026-11-18 10:00", use: Use = Use.API) -> Any:
            return store.read(lambda c: tokens.find(c, token, at(when), use))

        token = await store.run(
            lambda c: tokens.create(c, HANDLER, NOW, expires_at=at("2026-11-19 09:00"))
        )
        found = await find(token)
        assert (found.name, found.role, found.units) == ("承办人", Role.HANDLER, ("a", "b"))
        assert await find(token, "2026-11-19 09:00") is None
        assert await find(token, use=Use.LINK) is None
        assert await find(token + "x") is None
        assert await store.run(lambda c: tokens.revoke(c, token, NOW, Use.API))
        assert not await store.run(lambda c: tokens.revoke(c, token, NOW, Use.API))
        assert await find(token) is None

    in_store(scenario)


def test_of_two_who_use_up_a_token_at_once_one_gets_it(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        link = await store.run(lambda c: tokens.create(c, HANDLER, NOW, use=Use.LINK))
        ends = [store.run(lambda c: tokens.revoke(c, link, NOW, Use.LINK)) for _ in range(6)]
        assert sorted(await asyncio.gather(*ends)) == [False] * 5 + [True]

    in_store(scenario)


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", "", "sqlite://", "sqlite:///:memory:"])
def test_an_address_that_is_no_database_is_refused(url: str) -> None:
    with pytest.raises(BadDatabaseUrl):
        open_store(url)


def test_an_address_without_a_scheme_is_not_repeated() -> None:
    with pytest.raises(BadDatabaseUrl) as refused:
        open_store("postgresql:banjie:geheim@db/banjie")
    assert "geheim" not in str(refused.value)


def test_a_database_that_is_gone_is_unavailable_and_says_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = open_store("postgresql://user:secret@127.0.0.1:1/none")
        for attempt in (store.run, store.read):
            with pytest.raises(StoreUnavailable) as gone:
                await attempt(count)
            assert "secret" not in str(gone.value)
        await store.close()

    asyncio.run(scenario())


def test_sqlite_keeps_what_was_answered_through_a_power_cut(tmp_path: Path) -> None:
    """WAL with synchronous=FULL: the commit is on the disk before the answer."""

    async def scenario() -> None:
        store = open_store(f"sqlite:///{tmp_path}/folder/banjie.db")

        def pragmas(connection: sa.Connection) -> tuple[str, int, int]:
            read = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
            return read[0], read[1], read[2]  # type: ignore[return-value]

        assert await store.run(pragmas) == ("wal", 2, 1)
        await store.close()

    asyncio.run(scenario())
