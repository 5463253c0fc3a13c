"""A database as one door: `run` a plain function in a transaction, or `read` with one.

On PostgreSQL the function runs on the event loop through asyncpg; on SQLite in one writer thread,
reads in a small pool of their own (ADR 0002). The function gets a SQLAlchemy Connection, its result
is the answer, and the answer comes after the commit.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import orjson
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from service.store.schema import VERSIONS, Standing, require, standing, upgrade

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

# Any number will do as long as every replica uses the same.
_MIGRATION_LOCK = 0x62616E6A6965
# How often one who waits for another's migration looks again.
_LOOKS_S = 0.2
# Between the tries of a migration that does not get its locks: about two minutes in all.
_TRIES_AFTER_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0)
# lock_not_available, deadlock_detected
_LOCKED_OUT = {"55P03", "40P01"}
# How long a start waits for another process that migrates the same SQLite file.
_WAITS_S = 600.0

log = structlog.get_logger()


class StoreUnavailable(Exception):
    """The database cannot be reached or refuses to work just now; nothing was written."""


class StoreFull(StoreUnavailable):
    """There is no room on the database's disk; nothing was written, and it goes on by itself when
    there is room again."""


class MigrationBlocked(StoreUnavailable):
    """A migration did not get its locks; it was rolled back, and what serves goes on serving."""


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

    async def migrate(self, versions: Path = VERSIONS) -> None:
        """Bring the schema to the last revision of a folder; of several that start at once one does
        it, the rest wait. A schema that is newer stays, if this program works with it.

        Raises SchemaRefused if it does not, and MigrationBlocked.
        """
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


def _is_due(connection: sa.Connection, versions: Path) -> bool:
    """Whether revisions are missing. Raises SchemaRefused for a database that is not for us."""
    found = standing(connection, versions)
    if found is Standing.NEWER:
        log.warning("schema.newer")
    elif found is Standing.FOREIGN:
        require(connection)
    return found is Standing.OLDER


def _document(value: Any) -> str:
    return orjson.dumps(value).decode()


# SQLSTATE classes that say "not now": connection gone, out of resources, operator's shutdown, lost a
# deadlock, did not get a lock in time (55P03), read-only standby (25006), no such database. Everything
# else is a fault of ours.
_NOT_NOW = ("08", "53", "57", "40", "25006", "3D", "28", "55P03")
_SQLITE_NOT_NOW = ("locked", "busy", "disk", "full", "readonly", "read-only", "unable to open")


def refused(error: Exception) -> Exception:
    """Return StoreUnavailable for what will pass or an operator must mend, else the error itself."""
    if not isinstance(error, sa.exc.DBAPIError):
        return StoreUnavailable(type(error).__name__)
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if state == _DISK_FULL or _SQLITE_FULL in str(error.orig):
        _tell_full()
        return StoreFull(state or type(error.orig).__name__)
    if state:
        return StoreUnavailable(f"SQLSTATE {state}") if state.startswith(_NOT_NOW) else error
    said = str(error.orig)
    gone = error.connection_invalidated or isinstance(error, sa.exc.InterfaceError)
    if gone or any(word in said for word in _SQLITE_NOT_NOW):
        return StoreUnavailable(type(error.orig).__name__)
    return error


_DISK_FULL = "53100"
_SQLITE_FULL = "database or disk is full"
_TOLD_EVERY_S = 60.0
_told_at = [float("-inf")]


def _tell_full() -> None:
    """Tell whoever reads the log, and not with every push of a flood."""
    now = time.monotonic()
    if now - _told_at[0] >= _TOLD_EVERY_S:
        _told_at[0] = now
        log.error("store.full")


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

    async def migrate(self, versions: Path = VERSIONS) -> None:
        """See Store. The write lock that BEGIN IMMEDIATE takes makes others wait. All revisions are
        one transaction: Python's driver would commit before DDL, ours begins nothing by itself."""

        def missing(connection: sa.Connection) -> None:
            if _is_due(connection, versions):
                upgrade(connection, versions)

        until = time.monotonic() + _WAITS_S
        while True:
            try:
                await self.run(missing)
            except StoreUnavailable as error:
                if "locked" not in str(error.__cause__) or time.monotonic() > until:
                    raise
                log.info("migrate.waits")
            else:
                return

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

    async def migrate(self, versions: Path = VERSIONS) -> None:
        """See Store. Each revision is a transaction of its own, so that no lock is held longer than
        it needs; an advisory lock on another connection keeps the others out meanwhile."""
        if not await self.read(lambda connection: _is_due(connection, versions)):
            return
        try:
            async with self._engine.connect() as guard:
                await self._alone(guard)
                # It may have been done by whoever was waited for.
                if await self.read(lambda connection: _is_due(connection, versions)):
                    await self._upgrade(versions)
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError) as error:
            raise refused(error) from error

    @staticmethod
    async def _alone(guard: AsyncConnection) -> None:
        """Hold the migration's lock for as long as this connection's transaction lasts."""
        # Asked for again and again instead of waited for: a statement that waits has a snapshot, and
        # CREATE INDEX CONCURRENTLY waits for every snapshot there is. One that is idle has none.
        taken = sa.select(sa.func.pg_try_advisory_xact_lock(_MIGRATION_LOCK))
        while not (await guard.execute(taken)).scalar():
            await guard.rollback()
            log.info("migrate.waits")
            await asyncio.sleep(_LOOKS_S)
        await guard.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))

    async def _upgrade(self, versions: Path) -> None:
        began = time.monotonic()
        for pause in (*_TRIES_AFTER_S, None):
            try:
                async with self._engine.connect() as connection:
                    await connection.run_sync(upgrade, versions)
            except sa.exc.DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _LOCKED_OUT:
                    raise
                if pause is None:
                    msg = (
                        f"数据库迁移在 {time.monotonic() - began:.0f} 秒内多次等不到锁，已撤回，"
                        "未改动任何数据；旧版本可以继续服务。请结束长时间未提交的事务"
                        "（见 pg_stat_activity 的 xact_start）后再启动"
                    )
                    raise MigrationBlocked(msg) from error
            else:
                return
            log.warning("migrate.locked_out", again_in_s=pause)
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """See Store."""
        await self._engine.dispose()
