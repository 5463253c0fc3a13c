"""A database as one door: `run` a plain function in a transaction, or `read` with one.

On PostgreSQL the function runs on the event loop through asyncpg; on SQLite in one writer thread,
reads in a small pool of their own (ADR 0002). The function gets a SQLAlchemy Connection, its result
is the answer, and the answer comes after the commit.
"""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from service.store.revision import VERSIONS, current, head

if TYPE_CHECKING:
    from service.store.sealing import Sealing

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

# Any number will do as long as every replica uses the same.
_MIGRATION_LOCK = 0x62616E6A6965
# How often one who waits for another's migration looks again.
_LOOKS_S = 0.2
# A lock not got in time, a deadlock lost; and between the tries of a migration, some minute and a half.
_LOCKED_OUT = ("55P03", "40P01")
_MIGRATES_AGAIN_S = (0.5, 1, 1, 2, 2, 4, 4, 8, 8, 15, 15, 30)
# How long a start waits for another process that migrates the same SQLite file.
_WAITS_S = 600.0


class StoreUnavailable(Exception):
    """The database cannot be reached or refuses to work just now; nothing was written."""


class StoreFull(StoreUnavailable):
    """There is no room on the database's disk; nothing was written, and it goes on by itself when
    there is room again."""


class MigrationBlocked(StoreUnavailable):
    """A migration did not get its locks; it was rolled back, and what serves goes on serving."""


class OutcomeUnknown(StoreUnavailable):
    """The database went away after it was told to commit: the work may be done or not. Whoever asked
    must ask again in the same words, and is told what there is."""


class InUse(Exception):
    """Somebody serves this database."""


class NoServer(ConnectionError):
    """None of the servers can be worked with just now; the message says of each why, in Chinese and
    by its place in the address: names and passwords are not repeated."""


class BadDatabaseUrl(ValueError):
    """A database address that no store of ours understands; the message says which ones they do."""


class NotPrepared(Exception):
    """Something is to be sealed, and the keys were not held against the database yet: the store does
    that, in a transaction of its own, and then the work again."""


# By this name whoever works with a connection finds the keys.
OPTION = "keys"


class Keys:
    """The keys of what is sealed in a database, read when they are asked for: a command that only
    migrates needs neither them nor the tables."""

    def __init__(self, path: Path | None, *, makes: bool) -> None:
        self._path = path
        self._makes = makes

    @cached_property
    def sealing(self) -> "Sealing":
        """Return what seals and opens."""
        from service.store.sealing import Sealing  # noqa: PLC0415

        return Sealing(self._path, makes=self._makes)


class Store(Protocol):
    """The database."""

    @property
    def sealing(self) -> "Sealing":
        """Return what seals and opens what is kept in it."""
        ...

    async def run(self, work: Work[T]) -> T:
        """Return the result of `work`, after its transaction is committed; roll back if it raises.

        Raises StoreUnavailable if the database is gone, OutcomeUnknown if it went while it was
        committing. `work` must not wait for anything else, and must change nothing but the
        database: it is done again if it failed before the commit for a reason that passes.
        """
        ...

    async def read(self, work: Work[T]) -> T:
        """Return the result of `work`, which only reads, all of it from one snapshot."""
        ...

    async def migrate(self, versions: Path = VERSIONS) -> None:
        """Bring the schema to the last revision of a folder; of several that start at once one does
        it, the rest wait. A schema that the next version has made is left as it is: this one works
        with it (ADR 0028).

        Raises MigrationBlocked.
        """
        ...

    def alone(self) -> AbstractAsyncContextManager[None]:
        """Work on a migrated database that nobody serves; who would begin to waits for the end.

        Raises InUse. SQLite cannot tell; there a person must see to it.
        """
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


SERVES = "banjie serve"


@dataclass(frozen=True, slots=True)
class Terms:
    """How a process uses PostgreSQL: with how many connections at most, how long each server has to
    answer a new one, how long a transaction may take (None for as long as it does), and as whom it
    shows itself there."""

    connections: int = 16
    connect_s: float = 3.0
    transaction_s: float | None = None
    name: str = "banjie"

    def session(self) -> dict[str, str]:
        """Return what is set in each session, so that the server too lets go of what hangs: locks of
        a machine that lost its power would be held for hours."""
        said = {
            "application_name": self.name,
            "tcp_keepalives_idle": "15",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
        }
        if self.transaction_s is None:
            return said
        # The server never takes this for a commit that waits for its standby.
        bound_ms = round(self.transaction_s * 1000)
        idle_ms = max(bound_ms, 60_000)
        return said | {
            # To compile a statement takes longer than what it saves in any that somebody waits for.
            "jit": "off",
            "statement_timeout": f"{bound_ms}",
            "idle_in_transaction_session_timeout": f"{idle_ms}",
        }


COMMAND = Terms()
"""What a command goes by: one that counts years may take as long as it does."""


def open_store(url: str, terms: Terms = COMMAND, keys: Path | None = None) -> Store:
    """Return the store for a plain URL: `sqlite:///path` or `postgresql://…`, of which the latter may
    name several servers. `keys` is the file with the keys of what is sealed; without one they are
    beside an SQLite file, and in PostgreSQL itself.

    Raises BadDatabaseUrl for any other.
    """
    scheme, marked, _ = url.partition("://")
    try:
        if scheme == "sqlite":
            return SqliteStore(url, keys)
        if scheme in {"postgresql", "postgres"}:
            return PostgresStore(url, terms, keys)
    except (sa.exc.ArgumentError, ValueError, OSError) as error:
        # The address itself may hold a password and is not repeated.
        ours = type(error) in {BadDatabaseUrl, ValueError} and not str(error).isascii()
        why = str(error) if ours else type(error).__name__
        msg = f"数据库地址无法使用：{why}"
        raise BadDatabaseUrl(msg) from None
    told = f"，而不是“{scheme}://”" if marked else ""
    msg = f"数据库地址应以 sqlite:/// 或 postgresql:// 开头{told}"
    raise BadDatabaseUrl(msg)


def lacks_file(url: str) -> bool:
    """Whether an address names an SQLite file that is not there: to open it would make it."""
    if not url.startswith("sqlite:"):
        return False
    path = sa.make_url(url).database
    return bool(path) and not Path(str(path)).exists()


class Schema(Enum):
    """How a database's schema stands to the one of this version."""

    NONE = "none"
    OLDER = "older"
    SAME = "same"
    NEWER = "newer"

    @property
    def works(self) -> bool:
        """Return whether this version works with it: its own, and the next version's."""
        return self in {Schema.SAME, Schema.NEWER}


def schema(connection: sa.Connection, versions: Path = VERSIONS) -> Schema:
    """Return how the schema stands to this version's, or to the revisions of a folder. Revisions are
    numbered, so that a version tells one that it does not know yet from one that is none of ours."""
    there, last = current(connection), head(versions)
    if there is None:
        return Schema.NONE
    if there == last:
        return Schema.SAME
    return Schema.NEWER if there.isdecimal() and there > last else Schema.OLDER


def is_migrated(connection: sa.Connection) -> bool:
    """Whether the schema is one that this version works with."""
    return schema(connection).works


def _upgrade(connection: sa.Connection, versions: Path) -> None:
    """Run the migrations that are still missing."""
    # Most starts and commands find nothing to do.
    from service.store.migrations.upgrade import upgrade  # noqa: PLC0415

    upgrade(connection, versions)


def logger() -> Any:
    """Return where what is worth a line is told: whoever serves says how, a command on standard
    error, for its answer is on the other."""
    # Most commands have nothing to say.
    import structlog  # noqa: PLC0415

    if not structlog.is_configured():
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    return structlog.get_logger()


def as_json(value: Any) -> str:
    """Return a value as the text of a JSON column. What comes in says nothing that this cannot write:
    whole numbers of more than 64 bits are text before they get here, and broken text is refused."""
    return orjson.dumps(value).decode()


# SQLSTATE classes that say "not now": connection gone, out of resources, operator's shutdown, lost a
# deadlock, did not get a lock in time (55P03), read-only standby (25006), no such database. Everything
# else is a fault of ours.
_NOT_NOW = ("08", "53", "57", "40", "25006", "3D", "28", "55P03")
_SQLITE_NOT_NOW = ("locked", "busy", "disk", "full", "readonly", "read-only", "unable to open")


def refused(error: Exception) -> Exception:
    """Return StoreUnavailable for what will pass or an operator must mend, else the error itself."""
    if not isinstance(error, sa.exc.DBAPIError):
        said = str(error) if isinstance(error, NoServer) else type(error).__name__
        return StoreUnavailable(said)
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


async def prepare(store: Store) -> bool:
    """Hold the keys against the database; return whether there are tables yet. Whoever serves does it
    first, so that it does not start with keys that lack one; for others `run` does. Raises KeyFault."""
    found = await store.run(store.sealing.prepare)
    store.sealing.is_ready = found
    return found


async def _sealing(store: Store, run: Callable[[Work[T]], Awaitable[T]], work: Work[T]) -> T:
    """Return the result of work, with the keys ready if it seals anything."""
    try:
        return await run(work)
    except NotPrepared:
        await prepare(store)
        return await run(work)


_DISK_FULL = "53100"
_SQLITE_FULL = "database or disk is full"
_TOLD_EVERY_S = 60.0
_told_at = [float("-inf")]


def _tell_full() -> None:
    """Tell whoever reads the log, and not with every push of a flood."""
    now = time.monotonic()
    if now - _told_at[0] >= _TOLD_EVERY_S:
        _told_at[0] = now
        logger().error("store.full")


class SqliteStore:
    """SQLite in WAL mode with synchronous=FULL: what was answered survives a power cut."""

    _READERS = 4

    def __init__(self, url: str, keys: Path | None = None) -> None:
        beside = Path(f"{sa.make_url(url).database}.keys")
        self._keys = Keys(keys or beside, makes=keys is None)
        self._writer = self._engine(url, begin="BEGIN IMMEDIATE", threads=1)
        self._reader = self._engine(url, begin="BEGIN", threads=self._READERS)
        self._write_thread = ThreadPoolExecutor(1, "store-writer")
        self._read_threads = ThreadPoolExecutor(self._READERS, "store-reader")

    def _engine(self, url: str, *, begin: str, threads: int) -> sa.Engine:
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
            json_serializer=as_json,
            execution_options={OPTION: self._keys},
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

    @property
    def sealing(self) -> "Sealing":
        """See Store."""
        return self._keys.sealing

    async def run(self, work: Work[T]) -> T:
        """See Store."""
        return await _sealing(self, partial(self._in, self._write_thread, self._writer), work)

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
            if not schema(connection, versions).works:
                _upgrade(connection, versions)

        until = time.monotonic() + _WAITS_S
        while True:
            try:
                await self.run(missing)
            except StoreUnavailable as error:
                if "locked" not in str(error.__cause__) or time.monotonic() > until:
                    raise
                logger().info("migrate.waits")
            else:
                return

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """See Store."""
        yield

    async def close(self) -> None:
        """See Store."""
        self._write_thread.shutdown()
        self._read_threads.shutdown()
        self._writer.dispose()
        self._reader.dispose()


# A deadlock lost, a write that met another, a connection that broke or leads to what is no primary
# any more, a statement prepared for the schema of before: done again from the beginning.
_PASSES = ("40001", "40P01", "55P03", "08", "57P01", "57P02", "25006", "0A000")
_GONE = ("08", "57")
_TRIES = 3
_APART_S = 0.05
# The server's own bound comes first: it says so and keeps the connection.
_GRACE_S = 1.0


class PostgresStore:
    """PostgreSQL through asyncpg, on the event loop; with several servers, on the one that takes
    writes (ADR 0028)."""

    def __init__(self, url: str, terms: Terms, keys: Path | None = None) -> None:
        # SQLite needs no driver of another database.
        from service.store.servers import Servers  # noqa: PLC0415

        self._terms = terms
        self._keys = Keys(keys, makes=False)
        servers = Servers(url, terms.connect_s, terms.session())
        connect: dict[str, Any] = {"async_creator_fn": servers.connect}
        if not servers.prepares:
            connect["prepared_statement_cache_size"] = 0
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            connect_args=connect,
            pool_size=terms.connections,
            max_overflow=0,
            pool_timeout=86_400,  # who waits has a bound of its own
            hide_parameters=True,
            json_deserializer=orjson.loads,
            json_serializer=as_json,
            execution_options={OPTION: self._keys},
        )

        @sa.event.listens_for(self._engine.sync_engine, "checkout")
        def _lives(connection: Any, _record: Any, _proxy: Any) -> None:
            # The loop knows of a server that went away: to ask each time would be a round trip each.
            if connection.driver_connection.is_closed():
                raise sa.exc.InvalidatePoolError

    @property
    def sealing(self) -> "Sealing":
        """See Store."""
        return self._keys.sealing

    async def run(self, work: Work[T]) -> T:
        """See Store."""
        return await _sealing(self, self._done, work)

    async def read(self, work: Work[T]) -> T:
        """See Store."""
        return await self._done(work, reads=True)

    async def _done(self, work: Work[T], *, reads: bool = False) -> T:
        for left in reversed(range(_TRIES)):
            try:
                return await self._once(work, self._terms.transaction_s, reads=reads)
            except _Passing as passing:
                if passing.state.startswith("25"):
                    # The others lead to what is a standby now as well.
                    await self._engine.dispose()
                if not left:
                    raise passing.told from passing
                await asyncio.sleep(random.uniform(0, _APART_S))  # noqa: S311 two who met part
        raise AssertionError

    async def _once(self, work: Work[T], within_s: float | None, *, reads: bool = False) -> T:
        """Return the result of work in one transaction; raises _Passing where it may be done again."""
        ends = _End()

        def transaction(connection: sa.Connection) -> T:
            """Do all of it in one go: each step by itself would be a switch between stacks."""
            if reads:
                connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            with connection.begin():
                result = work(connection)
                ends.committing = not reads
            return result

        try:
            async with self._connected(within_s, ends) as connection:
                result = await connection.run_sync(transaction)
        except (sa.exc.DBAPIError, OSError) as error:
            told = ends.tells(error)
            if isinstance(told, OutcomeUnknown) or ends.out_of_time:
                raise told from error
            state = _state(error)
            if _is_lost(error) or state.startswith(_PASSES):
                raise _Passing(told, state) from error
            raise told from error
        if ends.warned and not reads:
            # The wait for the standby was cancelled: it is here and may not be there.
            raise OutcomeUnknown("WARNING")
        return result

    @asynccontextmanager
    async def _connected(
        self, within_s: float | None, ends: "_End"
    ) -> AsyncIterator[AsyncConnection]:
        """Give a connection that is cut when the time is over, whatever it waits for."""
        connection = self._engine.connect()
        try:
            async with asyncio.timeout(within_s):
                await connection.start()
        except TimeoutError:
            ends.out_of_time = True
            raise
        assert connection.sync_connection is not None
        driver: Any = connection.sync_connection.connection.driver_connection

        def cut() -> None:
            ends.out_of_time = True
            driver.terminate()

        loop = asyncio.get_running_loop()
        timer = loop.call_later(within_s + _GRACE_S, cut) if within_s else None
        driver.add_log_listener(ends.hear)
        try:
            yield connection
        finally:
            driver.remove_log_listener(ends.hear)
            # Whoever is cancelled gives it back all the same.
            await asyncio.shield(asyncio.create_task(connection.close()))
            if timer:
                timer.cancel()

    async def migrate(self, versions: Path = VERSIONS) -> None:
        """See Store. Each revision is a transaction of its own, so that no lock is held longer than
        it needs; an advisory lock on another connection keeps the others out meanwhile."""
        try:
            async with self._connected(None, _End()) as guard:
                await self._let_in(guard)
                # It may have been done by whoever was waited for.
                if not (await guard.run_sync(schema, versions)).works:
                    await self._stay(guard)
                    await self._migrated(versions)
        except (sa.exc.DBAPIError, OSError) as error:
            raise refused(error) from error

    @staticmethod
    async def _let_in(guard: AsyncConnection) -> None:
        """Hold the migration's lock for as long as this connection's transaction lasts."""
        # Asked for again and again instead of waited for: a statement that waits has a snapshot, and
        # CREATE INDEX CONCURRENTLY waits for every snapshot there is.
        taken = sa.select(sa.func.pg_try_advisory_xact_lock(_MIGRATION_LOCK))
        waited = False
        while not await guard.scalar(taken):
            await guard.rollback()
            if not waited:
                logger().info("migrate.waits")
            waited = True
            await asyncio.sleep(_LOOKS_S)

    @staticmethod
    async def _stay(guard: AsyncConnection) -> None:
        """Let a transaction be idle for long, and hold nobody up."""
        # What was selected last keeps its snapshot until something else is said; this needs none.
        await guard.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")

    async def _migrated(self, versions: Path) -> None:
        """Run what is missing beside those who serve: behind a lock that is waited for everybody
        queues, so that it is waited for briefly, let go of, and asked for again."""
        began = time.monotonic()
        for pause_s in (*_MIGRATES_AGAIN_S, None):
            try:
                async with self._connected(None, _End()) as connection:
                    return await connection.run_sync(_upgrade, versions)
            except sa.exc.DBAPIError as error:
                if not _state(error).startswith(_LOCKED_OUT):
                    raise
                if pause_s is None:
                    msg = (
                        f"数据库迁移在 {time.monotonic() - began:.0f} 秒内多次等不到锁，未完成的一步已撤回，"
                        "旧版本可以继续服务。请结束长时间未提交的事务（见 pg_stat_activity 的 xact_start）"
                        "后再执行 banjie migrate"
                    )
                    raise MigrationBlocked(msg) from error
            logger().warning("migrate.locked_out", again_in_s=pause_s)
            await asyncio.sleep(pause_s)
        raise AssertionError

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """See Store. The lock is the one that a start takes."""
        seen = sa.text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = :name"
        )
        taken = sa.select(sa.func.pg_try_advisory_xact_lock(_MIGRATION_LOCK))
        async with AsyncExitStack() as held:
            try:
                connection = await held.enter_async_context(self._connected(None, _End()))
                free = await connection.scalar(taken)
                served = await connection.scalar(seen, {"name": SERVES})
            except (sa.exc.DBAPIError, OSError) as error:
                raise refused(error) from error
            if served or not free:
                raise InUse
            yield

    async def close(self) -> None:
        """See Store."""
        await self._engine.dispose()


def begin_by(connection: sa.Connection, statement: str) -> None:
    """Run a statement before the next one, on PostgreSQL; its result is nobody's. What is written with
    its values in it goes along with the transaction's BEGIN where that was not said yet."""
    session: Any = connection.connection.driver_connection
    if session.is_in_transaction():
        connection.exec_driver_sql(statement)
    else:
        session.begins_by = statement


class _Passing(Exception):
    """Nothing was written, for a reason that passes; `told` is what the caller gets in the end."""

    def __init__(self, told: Exception, state: str) -> None:
        super().__init__(state)
        self.told = told
        self.state = state


class _End:
    """What is known of how a transaction ended."""

    committing = False
    out_of_time = False
    warned = False

    def hear(self, _driver: Any, message: Any) -> None:
        """Take note of a warning that comes with a commit."""
        self.warned = self.warned or (self.committing and message.severity_en == "WARNING")

    def tells(self, error: sa.exc.DBAPIError | OSError) -> Exception:
        """Return what an error means to whoever asked."""
        why = StoreUnavailable("没有在限定时间内应答") if self.out_of_time else refused(error)
        # An error that the server answers a commit with says that it was rolled back.
        state = _state(error)
        if self.committing and (_is_lost(error) or not state or state.startswith(_GONE)):
            return OutcomeUnknown(str(why))
        return why


def _state(error: Exception) -> str:
    return str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")


def _is_lost(error: Exception) -> bool:
    """Whether a connection that there was is no more."""
    if isinstance(error, sa.exc.DBAPIError):
        return error.connection_invalidated
    return not isinstance(error, NoServer)
