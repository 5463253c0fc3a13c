"""A database as one door: `run` a plain function in a transaction, or `read` with one.

On PostgreSQL the function runs on the event loop through asyncpg; on SQLite in one writer thread,
reads in a small pool of their own (ADR 0002). The function gets a SQLAlchemy Connection, its result
is the answer, and the answer comes after the commit.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from service.store.revision import MIGRATIONS, current, head

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

# Any number will do as long as every replica uses the same.
_MIGRATION_LOCK = 0x62616E6A6965


class StoreUnavailable(Exception):
    """The database cannot be reached or refuses to work just now; nothing was written."""


class BadDatabaseUrl(ValueError):
    """A database address that no store of ours understands; the message says which ones they do."""


class Store(Protocol):
    """The database."""

    async def run(self, work: Work[T]) -> T:
        """Return the result of `work`, after its transaction is committed; roll back if it raises.

        Raises StoreUnavailable if the database is gone. `work` must not wait for anything else.
        """
        ...

    async def read(self, work: Work[T]) -> T:
        """Return the result of `work`, which only reads, all of it from one snapshot."""
        ...

    async def migrate(self) -> None:
        """Bring the schema up to date; of several that start at once one does it, the rest wait."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


def open_store(url: str) -> Store:
    """Return the store for a plain URL: `sqlite:///path` or `postgresql://…`.

    Raises BadDatabaseUrl for any other.
    """
    scheme, marked, _ = url.partition("://")
    try:
        if scheme == "sqlite":
            return SqliteStore(url)
        if scheme in {"postgresql", "postgres"}:
            return PostgresStore(url)
    except (sa.exc.ArgumentError, ValueError, OSError) as error:
        # The address itself may hold a password and is not repeated.
        why = str(error) if isinstance(error, BadDatabaseUrl) else type(error).__name__
        msg = f"数据库地址无法使用：{why}"
        raise BadDatabaseUrl(msg) from None
    told = f"，而不是“{scheme}://”" if marked else ""
    msg = f"数据库地址应以 sqlite:/// 或 postgresql:// 开头{told}"
    raise BadDatabaseUrl(msg)


def migrate(connection: sa.Connection) -> None:
    """Run the migrations that are still missing on an open connection."""
    if is_migrated(connection):
        return
    # Most starts and commands find nothing to do.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def is_migrated(connection: sa.Connection) -> bool:
    """Whether the schema is the one this version works with."""
    return current(connection) == head()


def _document(value: Any) -> str:
    return orjson.dumps(value).decode()


# SQLSTATE classes that say "not now": connection gone, out of resources, operator's shutdown, lost a
# deadlock, read-only standby (25006), no such database. Everything else is a fault of ours.
_NOT_NOW = ("08", "53", "57", "40", "25006", "3D", "28")
_SQLITE_NOT_NOW = ("locked", "busy", "disk", "full", "readonly", "read-only", "unable to open")


def refused(error: Exception) -> Exception:
    """Return StoreUnavailable for what will pass or an operator must mend, else the error itself."""
    if not isinstance(error, sa.exc.DBAPIError):
        return StoreUnavailable(type(error).__name__)
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if state:
        return StoreUnavailable(f"SQLSTATE {state}") if state.startswith(_NOT_NOW) else error
    said = str(error.orig)
    gone = error.connection_invalidated or isinstance(error, sa.exc.InterfaceError)
    if gone or any(word in said for word in _SQLITE_NOT_NOW):
        return StoreUnavailable(type(error.orig).__name__)
    return error


class SqliteStore:
    """SQLite in WAL mode with synchronous=FULL: what was answered survives a power cut."""

    _READERS = 4

    def __init__(self, url: str) -> None:
        self._writer = self._engine(url, begin="BEGIN IMMEDIATE", threads=1)
        self._reader = self._engine(url, begin="BEGIN", threads=self._READERS)
        self._write_thread = ThreadPoolExecutor(1, "store-writer")
        self._read_threads = ThreadPoolExecutor(self._READERS, "store-reader")

    @staticmethod
    def _engine(url: str, *, begin: str, threads: int) -> sa.Engine:
        path = sa.make_url(url).database
        if not path or path == ":memory:":
            msg = "SQLite 需要一个文件路径，例如 sqlite:///var/banjie.db"
            raise BadDatabaseUrl(msg)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(
            url,
            poolclass=sa.QueuePool,
            pool_size=threads,
            max_overflow=0,
            hide_parameters=True,  # they would end up in logs, and are people's
            json_deserializer=orjson.loads,
            connect_args={"check_same_thread": False, "timeout": 10},
            json_serializer=_document,
        )

        @sa.event.listens_for(engine, "connect")
        def _connect(connection: Any, _record: Any) -> None:
            # The driver's own transactions skip DDL and reads; ours are written out below.
            connection.isolation_level = None
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                "busy_timeout=10000",
                "cache_size=-65536",
            ):
                connection.execute(f"PRAGMA {pragma}").close()

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    async def run(self, work: Work[T]) -> T:
        """See Store."""
        return await self._in(self._write_thread, self._writer, work)

    async def read(self, work: Work[T]) -> T:
        """See Store."""
        return await self._in(self._read_threads, self._reader, work)

    async def _in(self, threads: ThreadPoolExecutor, engine: sa.Engine, work: Work[T]) -> T:
        def transaction() -> T:
            try:
                with engine.begin() as connection:
                    return work(connection)
            except sa.exc.DBAPIError as error:
                raise refused(error) from error

        return await asyncio.get_running_loop().run_in_executor(threads, transaction)

    async def migrate(self) -> None:
        """See Store. The write lock that BEGIN IMMEDIATE takes makes others wait."""
        await self.run(migrate)

    async def close(self) -> None:
        """See Store."""
        self._write_thread.shutdown()
        self._read_threads.shutdown()
        self._writer.dispose()
        self._reader.dispose()


class PostgresStore:
    """PostgreSQL through asyncpg, on the event loop."""

    def __init__(self, url: str) -> None:
        self._engine: AsyncEngine = create_async_engine(
            sa.make_url(url).set(drivername="postgresql+asyncpg"),
            pool_size=16,
            max_overflow=16,
            pool_pre_ping=True,
            hide_parameters=True,
            json_deserializer=orjson.loads,
        )

    async def run(self, work: Work[T]) -> T:
        """See Store."""
        try:
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError) as error:
            raise refused(error) from error

    async def read(self, work: Work[T]) -> T:
        """See Store."""
        try:
            async with self._engine.connect() as plain:
                connection = await plain.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
                async with connection.begin():
                    return await connection.run_sync(work)
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError) as error:
            raise refused(error) from error

    async def migrate(self) -> None:
        """See Store. An advisory lock makes others wait; they then find nothing left to do."""

        def locked(connection: sa.Connection) -> None:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            migrate(connection)

        await self.run(locked)

    async def close(self) -> None:
        """See Store."""
        await self._engine.dispose()
