"""`banjie migrate`."""

import asyncio

from service.store import open_store
from service.terminal import settings


def migrate() -> None:
    """Bring the database's schema up to date."""

    async def run() -> None:
        store = open_store(settings().database_url)
        try:
            await store.migrate()
        finally:
            await store.close()

    asyncio.run(run())
