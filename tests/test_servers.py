"""Which server of an address is worked with, and what becomes of a transaction that cannot be."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from service.store import BadDatabaseUrl, InUse, OutcomeUnknown, Store, StoreUnavailable, open_store
from service.store.engine import SERVES, Schema, Terms, schema
from tests.process import free_port

ON_POSTGRES = pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
BRIEF = Terms(connections=2, connect_s=2, transaction_s=2)


def over(url: str, scenario: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        store = open_store(url, BRIEF)
        try:
            await scenario(store)
        finally:
            await store.close()

    asyncio.run(whole())


def one(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT 1").scalar_one())


@ON_POSTGRES
def test_a_session_of_who_serves_is_bounded_and_compiles_nothing(migrated_url: str) -> None:
    async def scenario(store: Store) -> None:
        for name, value in {"statement_timeout": "2s", "jit": "off"}.items():
            shown = sa.text(f"SHOW {name}")
            assert await store.read(lambda c, s=shown: c.execute(s).scalar_one()) == value  # type: ignore[misc]

    over(migrated_url, scenario)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u@h1:5432,h2:54x/db", "主机:端口"),
        ("postgresql://u@h1,,h2/db", "主机:端口"),
        ("postgresql://u:geheim@h1,h2/db?target_session_attrs=any", "read-write"),
        ("postgresql://u@h1/db?target_session_attrs=standby", "read-write"),
    ],
)
def test_an_address_that_cannot_be_worked_with_is_refused(url: str, says: str) -> None:
    with pytest.raises(BadDatabaseUrl, match=says) as refused:
        open_store(url)
    assert "geheim" not in str(refused.value)


def test_each_server_that_does_not_answer_is_told_of_without_its_name() -> None:
    async def scenario(store: Store) -> None:
        with pytest.raises(StoreUnavailable) as gone:
            await store.run(one)
        said = str(gone.value)
        assert said.startswith("第 1 台连接不上")
        assert "第 2 台连接不上" in said
        assert "127.0.0.1" not in said

    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    over(f"postgresql://banjie:geheim@{hosts}/banjie", scenario)


@contextmanager
def listening(url: str) -> Iterator[str]:
    """Give host and port that lead to the server of an address, which may be a socket in a folder."""
    (folder,) = parse_qs(urlsplit(url).query).get("host", [""])
    if not folder:
        yield urlsplit(url).netloc.rpartition("@")[2]
        return
    loop = asyncio.new_event_loop()

    async def passes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while part := await source.read(65536):
                sink.write(part)
            sink.close()

        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer), return_exceptions=True)

    server = loop.run_until_complete(asyncio.start_server(passes, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:

        async def end() -> None:
            server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@ON_POSTGRES
def test_the_server_that_takes_writes_is_found_behind_one_that_is_gone(migrated_url: str) -> None:
    parts = urlsplit(migrated_url)

    async def scenario(store: Store) -> None:
        assert await store.run(one) == 1

    with listening(migrated_url) as there:
        named = f"{parts.username}@127.0.0.1:{free_port()},{there}{parts.path}"
        over(f"postgresql://{named}?target_session_attrs=read-write", scenario)


@ON_POSTGRES
def test_a_server_that_takes_no_writes_is_told_as_such(migrated_url: str) -> None:
    async def close_it(store: Store) -> None:
        def work(connection: sa.Connection) -> None:
            name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
            connection.exec_driver_sql(
                f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'
            )

        await store.run(work)

    async def scenario(store: Store) -> None:
        with pytest.raises(StoreUnavailable, match="只读，不是主库"):
            await store.run(one)

    over(migrated_url, close_it)
    over(migrated_url, scenario)


@ON_POSTGRES
@pytest.mark.parametrize(
    "fails",
    [
        "DO $$ BEGIN RAISE EXCEPTION 'met another' USING ERRCODE = '40001'; END $$",
        "DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$",
        "SELECT pg_terminate_backend(pg_backend_pid())",
    ],
    ids=["serialization", "deadlock", "connection lost"],
)
def test_what_fails_before_its_commit_for_a_reason_that_passes_is_done_again(
    migrated_url: str, fails: str
) -> None:
    async def scenario(store: Store) -> None:
        tried: list[int] = []

        def work(connection: sa.Connection) -> int:
            tried.append(1)
            connection.execute(sa.text("INSERT INTO tries VALUES (:n)"), {"n": len(tried)})
            if len(tried) == 1:
                connection.exec_driver_sql(fails)
            return len(tried)

        await store.run(lambda c: c.exec_driver_sql("CREATE TABLE tries (n int)"))
        assert await store.run(work) == 2
        stored = sa.text("SELECT n FROM tries")
        assert await store.read(lambda c: c.execute(stored).scalars().all()) == [2]

    over(migrated_url, scenario)


@ON_POSTGRES
def test_a_commit_whose_end_nobody_saw_is_neither_done_nor_done_again(migrated_url: str) -> None:
    dies_at_the_commit = """
        CREATE TABLE dying (n int);
        CREATE FUNCTION dies() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER dies AFTER INSERT ON dying DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION dies()
    """

    async def scenario(store: Store) -> None:
        tried: list[int] = []

        def work(connection: sa.Connection) -> None:
            tried.append(1)
            connection.exec_driver_sql("INSERT INTO dying VALUES (1)")

        for statement in dies_at_the_commit.split(";\n        CREATE"):
            text = statement if statement.strip().startswith("CREATE") else f"CREATE{statement}"
            await store.run(lambda c, text=text: c.exec_driver_sql(text))  # type: ignore[misc]
        with pytest.raises(OutcomeUnknown):
            await store.run(work)
        assert len(tried) == 1
        assert await store.run(one) == 1, "the next one has a connection that lives"

    over(migrated_url, scenario)


@ON_POSTGRES
def test_a_statement_without_end_is_given_up_and_others_go_on(migrated_url: str) -> None:
    async def scenario(store: Store) -> None:
        def sleep(connection: sa.Connection) -> None:
            connection.exec_driver_sql("SELECT pg_sleep(600)")

        both = await asyncio.gather(store.run(sleep), store.read(sleep), return_exceptions=True)
        assert [type(each) for each in both] == [StoreUnavailable] * 2
        assert await store.run(one) == 1

    over(migrated_url, scenario)


@ON_POSTGRES
def test_a_database_that_is_served_is_nobody_s_alone(migrated_url: str) -> None:
    async def scenario(store: Store) -> None:
        async with store.alone():
            pass
        serving = open_store(migrated_url, Terms(name=SERVES))
        assert await serving.run(one) == 1
        with pytest.raises(InUse):
            async with store.alone():
                pass
        await serving.close()
        async with store.alone():
            with pytest.raises(InUse):
                async with store.alone():
                    pass

    over(migrated_url, scenario)


def test_a_schema_of_the_next_version_is_worked_with_and_left_alone(migrated_url: str) -> None:
    def at(revision: str) -> Callable[[sa.Connection], Any]:
        change = sa.text("UPDATE alembic_version SET version_num = :revision")
        return lambda connection: connection.execute(change, {"revision": revision})

    async def scenario(store: Store) -> None:
        assert await store.read(schema) is Schema.SAME
        await store.run(at("9999"))
        assert await store.read(schema) is Schema.NEWER
        await store.migrate()
        assert await store.read(schema) is Schema.NEWER
        await store.run(at("0001"))
        assert await store.read(schema) is Schema.OLDER

    over(migrated_url, scenario)
