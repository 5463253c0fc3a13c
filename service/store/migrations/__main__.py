"""`python -m service.store.migrations "why"`: write a migration from the difference to the tables."""

import asyncio
import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa
from alembic import command

from service.store.engine import SqliteStore
from service.store.migrations.upgrade import alembic_config


async def _write(message: str) -> None:
    folder = Path(__file__).parent
    number = f"{len(list((folder / 'versions').glob('[0-9]*.py'))) + 1:04}"

    def revise(connection: sa.Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.revision(config, message=message, autogenerate=True, rev_id=number)

    with tempfile.TemporaryDirectory() as scratch:
        store = SqliteStore(f"sqlite:///{scratch}/empty.db")
        await store.migrate()
        await store.run(revise)
        await store.close()


asyncio.run(_write(sys.argv[1]))
