"""Filling PostgreSQL fast, and leaving it as a service would have: same indexes, same settings, fresh
statistics, and nothing written any more while something is measured."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from bench.enforce import AT, fill
from service.store import Store

_AT_ONCE = 50_000
_LINES = 2
# While it is filled: few checkpoints, and nobody who vacuums what is not all there.
_SERVER = {"max_wal_size": "'4GB'", "checkpoint_timeout": "'1h'", "autovacuum": "off"}
# Of a transaction: rows refer to what is there, and a power cut ends the measurement anyway.
_QUICK = ("session_replication_role = replica", "synchronous_commit = off")
_INDEXES = sa.text(
    """
    SELECT t.relname AS at, i.relname AS name, pg_get_indexdef(i.oid) AS made,
        (SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k
         WHERE k.conindid = i.oid AND k.contype = 'u') AS held_by
    FROM pg_index x
    JOIN pg_class i ON i.oid = x.indexrelid
    JOIN pg_class t ON t.oid = x.indrelid
    WHERE t.relname = ANY(:tables) AND t.relkind = 'r' AND NOT x.indisprimary
        AND pg_table_is_visible(t.oid)
    ORDER BY 1, 2
    """
)


@asynccontextmanager
async def quickly(url: str, *tables: str) -> AsyncIterator[None]:
    """Fill tables, of a database that nobody else uses, without their indexes other than the primary
    keys: made at the end they are the same, in a fraction of the time. Whoever is in the block writes
    by `quick`. A partitioned table keeps its indexes. Only a superuser may do this."""
    driver = sa.make_url(url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(driver, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            async with _settings(connection):
                indexes = await _indexes(connection, tables)
                for at, name, _, held_by in indexes:
                    dropped = f"ALTER TABLE {at} DROP CONSTRAINT" if held_by else "DROP INDEX"
                    await connection.execute(sa.text(f"{dropped} {name}"))
                yield
                await connection.execute(sa.text("SET maintenance_work_mem = '512MB'"))
                for at, name, made, held_by in indexes:
                    held = f"ALTER TABLE {at} ADD CONSTRAINT {name} {held_by}"
                    await connection.execute(sa.text(held if held_by else made))
                await connection.execute(sa.text("VACUUM (ANALYZE)"))
            # With the settings of before, which let the log be as long as it was.
            await connection.execute(sa.text("CHECKPOINT"))
            assert await _indexes(connection, tables) == indexes
    finally:
        await engine.dispose()


async def _indexes(
    connection: AsyncConnection, tables: tuple[str, ...]
) -> list[tuple[str, str, str, str | None]]:
    rows = await connection.execute(_INDEXES, {"tables": list(tables)})
    return [tuple(row) for row in rows]


@asynccontextmanager
async def _settings(connection: AsyncConnection) -> AsyncIterator[None]:
    """Let the server have other settings, and those of before when it is over."""
    ours = sa.text(
        "SELECT name, setting FROM pg_file_settings"
        " WHERE sourcefile LIKE '%postgresql.auto.conf' AND name = ANY(:names)"
    )
    before = {
        row.name: row.setting for row in await connection.execute(ours, {"names": [*_SERVER]})
    }

    async def say(settings: dict[str, str]) -> None:
        for name, value in settings.items():
            how = f"SET {name} = {value}" if value else f"RESET {name}"
            await connection.execute(sa.text(f"ALTER SYSTEM {how}"))
        await connection.execute(sa.text("SELECT pg_reload_conf()"))

    await say(_SERVER)
    try:
        yield
    finally:
        await say({name: f"'{before[name]}'" if name in before else "" for name in _SERVER})


def quick(connection: sa.Connection) -> None:
    """Let a transaction check no reference and wait for no disk."""
    for setting in _QUICK:
        connection.execute(sa.text(f"SET LOCAL {setting}"))


async def in_steps(
    store: Store,
    first: int,
    last: int,
    work: Callable[[sa.Connection, int, int], None],
    lines: int = _LINES,
) -> None:
    """Do `work` for all numbers, some thousands in each transaction, over so many connections."""
    begins = iter(range(first, last + 1, _AT_ONCE))

    def step(connection: sa.Connection, begin: int) -> None:
        quick(connection)
        work(connection, begin, min(begin + _AT_ONCE - 1, last))

    async def line() -> None:
        for begin in begins:
            await store.run(partial(step, begin=begin))

    await asyncio.gather(*(line() for _ in range(lines)))


async def fill_all(
    store: Store, first: int, last: int, *, per_ticket: int, at: datetime = AT, steps: bool = True
) -> None:
    """Write closed tickets with these numbers."""

    def some(connection: sa.Connection, begin: int, end: int) -> None:
        many = end - begin + 1
        fill(connection, begin, many, closed=True, at=at, per_ticket=per_ticket, steps=steps)

    await in_steps(store, first, last, some)
