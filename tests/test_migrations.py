"""Migrations beside those who serve: one at a time, none half, none that stops the others."""

import ast
import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from service.store import open_store
from service.store.engine import MigrationBlocked, PostgresStore, Schema, schema
from service.store.migrations.online import BIG
from service.store.revision import VERSIONS, head
from service.store.tickets import count
from tests.process import in_database
from tests.test_desk import desk
from tests.worlds import at, complaint

NOW = at("2026-11-18 09:30")
_HEAD = head()
_FIRST_HELD = "0009"
only_postgresql = pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)


# What a revision may do


def _faults(text: str) -> list[str]:
    """Return what a revision does to a big table by other ways than `online`."""
    upgrade = next(
        (
            node
            for node in ast.parse(text).body
            if isinstance(node, ast.FunctionDef) and node.name == "upgrade"
        ),
        None,
    )
    if upgrade is None:
        return ["no upgrade"]
    found = []
    calls = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call)]
    # Nobody waits for a table that was not there.
    made = {
        call.args[0].value
        for call in calls
        if ast.unparse(call.func) == "op.create_table" and isinstance(call.args[0], ast.Constant)
    }
    big = BIG - made
    for call in calls:
        name = ast.unparse(call.func)
        words = {
            node.value
            for each in (*call.args, *(keyword.value for keyword in call.keywords))
            for node in ast.walk(each)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        if name in _SHORT_WAYS and words & big:
            found.append(f"{name} on {sorted(words & big)}")
        if name in {"op.execute", "sa.text"}:
            said = " ".join(sorted(words, key=len)).upper()
            if any(way in said for way in _SHORT_SQL) and any(t.upper() in said for t in big):
                found.append(f"{name}: {said[:60]}")
    return found


_SHORT_WAYS = {
    "op.create_index",
    "op.drop_index",
    "op.add_column",
    "op.alter_column",
    "op.drop_column",
    "op.create_check_constraint",
    "op.create_foreign_key",
    "op.create_unique_constraint",
    "op.batch_alter_table",
}
_SHORT_SQL = (
    "CREATE INDEX ",
    "CREATE UNIQUE INDEX ",
    " TYPE ",
    "SET NOT NULL",
    "CLUSTER",
    "VACUUM FULL",
)


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(VERSIONS.glob("[0-9]*.py")) if path.name[:4] >= _FIRST_HELD],
    ids=lambda path: path.stem,
)
def test_a_revision_changes_big_tables_by_the_long_ways_alone(path: Path) -> None:
    assert _faults(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "body",
    [
        'op.create_index("ix", "tickets", ["q"])',
        'op.alter_column("events", "act", type_=sa.Text())',
        'op.execute("CREATE INDEX ix ON deliveries (unit)")',
        'op.execute(sa.text("ALTER TABLE milestones ALTER unit TYPE text"))',
        'op.add_column("tickets", sa.Column("x", sa.Integer(), server_default=sa.func.random()))',
        'with op.batch_alter_table("events") as batch:\n        batch.create_index("ix", ["a"])',
    ],
)
def test_a_short_way_is_found(body: str) -> None:
    assert _faults(f"def upgrade() -> None:\n    {body}\n")
    assert not _faults("def upgrade() -> None:\n    op.create_index('ix', 'tokens', ['name'])\n")


# One at a time


# What every start does with its database first.
_START = """
import asyncio
import sys
from service.store import open_store

async def start():
    store = open_store(sys.argv[1])
    await store.migrate()
    await store.close()

asyncio.run(start())
"""


def test_of_two_that_start_on_an_empty_database_one_migrates(database_url: str) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "-c", _START, database_url], stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in both:
        _, said = process.communicate(timeout=100)
        assert process.returncode == 0, said
    assert in_database(database_url, schema) is Schema.SAME
    begun = sa.text("SELECT count(*) FROM closed_turns")
    assert in_database(database_url, lambda c: c.execute(begun).scalar()) == 1


# None half


def _versions(folder: Path, revision: str, body: str, after: str = _HEAD) -> Path:
    """Return a folder of all revisions and one more."""
    versions = folder / f"versions_{revision}"
    shutil.copytree(VERSIONS, versions, ignore=shutil.ignore_patterns("__pycache__"))
    (versions / f"{revision}_extra.py").write_text(
        f'''"""An extra revision"""

import sqlalchemy as sa
from alembic import op

from service.store.migrations import online

revision = "{revision}"
down_revision = "{after}"


def upgrade() -> None:
    {body}
''',
        "utf-8",
    )
    return versions


def test_a_migration_that_fails_half_way_leaves_what_there_was(
    migrated_url: str, tmp_path: Path
) -> None:
    """DDL and rows alike: Python's SQLite driver would have committed before the first ALTER."""
    broken = _versions(
        tmp_path,
        "9001",
        "op.create_table('extra', sa.Column('id', sa.Integer(), primary_key=True))\n"
        "    online.add_column('tickets', sa.Column('extra', sa.Integer(), nullable=True))\n"
        "    op.execute('UPDATE tickets SET extra = 1, version = version + 1')\n"
        "    op.execute('INSERT INTO no_such_table VALUES (1)')",
    )

    async def scenario() -> None:
        store = open_store(migrated_url)
        first = (await desk(store).receive(complaint(), "f1", NOW)).ticket
        with pytest.raises(sa.exc.DBAPIError):
            await store.migrate(broken)
        assert await store.read(schema) is Schema.SAME
        tables = await store.read(lambda c: sa.inspect(c).get_table_names())
        columns = await store.read(lambda c: sa.inspect(c).get_columns("tickets"))
        assert "extra" not in {*tables, *(column["name"] for column in columns)}
        # The version before goes on, on the same connections and on new ones.
        second = (await desk(store).receive(complaint(source_no="T2"), "f2", NOW)).ticket
        assert (first.version, second.version) == (1, 1)
        assert await store.read(count) == 2
        await store.close()

    asyncio.run(scenario())


@only_postgresql
def test_a_migration_that_gets_no_lock_gives_up_and_the_others_go_on(
    migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = _versions(
        tmp_path,
        "9001",
        "online.add_column('tickets', sa.Column('extra', sa.Integer(), nullable=True))",
    )
    monkeypatch.setattr("service.store.engine._MIGRATES_AGAIN_S", (0.1,))

    async def scenario() -> None:
        store, serving = open_store(migrated_url), open_store(migrated_url)
        assert isinstance(serving, PostgresStore)
        async with serving._engine.begin() as long:
            await long.execute(sa.text("SELECT * FROM tickets"))
            with pytest.raises(MigrationBlocked, match="等不到锁"):
                await store.migrate(wide)
            await desk(serving).receive(complaint(), "f1", NOW)
        await store.migrate(wide)
        assert await store.read(lambda c: schema(c, wide)) is Schema.SAME
        await store.close()
        await serving.close()

    asyncio.run(scenario())


@only_postgresql
def test_an_index_is_made_while_others_write_and_wait(migrated_url: str, tmp_path: Path) -> None:
    """Two that migrate, and one that serves: who waits has no snapshot that the index waits for."""
    indexed = _versions(
        tmp_path, "9001", "online.create_index('ix_tickets_extra', 'tickets', ['kind', 'id'])"
    )

    async def scenario() -> None:
        stores = [open_store(migrated_url) for _ in range(3)]
        async with asyncio.timeout(100):
            await asyncio.gather(
                *(store.migrate(indexed) for store in stores[:2]),
                *(
                    desk(stores[2]).receive(complaint(source_no=f"T{n}"), f"f{n}", NOW)
                    for n in range(5)
                ),
            )
        valid = sa.text(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = CAST('ix_tickets_extra' AS regclass)"
        )
        assert await stores[0].read(lambda c: c.execute(valid).scalars().all()) == [True]
        for store in stores:
            await store.close()

    asyncio.run(scenario())


# Older and newer


def test_this_version_serves_on_the_schema_of_the_next(migrated_url: str, tmp_path: Path) -> None:
    newer = _versions(
        tmp_path,
        "9001",
        "online.add_column('tickets', sa.Column('extra', sa.Integer(), nullable=True))",
    )

    async def scenario() -> None:
        store = open_store(migrated_url)
        await store.migrate(newer)
        assert await store.read(schema) is Schema.NEWER
        await store.migrate()
        assert await store.read(schema) is Schema.NEWER
        await desk(store).receive(complaint(), "f1", NOW)
        await store.close()

    asyncio.run(scenario())
