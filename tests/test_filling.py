"""What the benchmarks measure is filled fast, and must be what a service would have."""

import asyncio

import pytest
import sqlalchemy as sa

from bench.filling import fill_all, quickly
from service.store import Store, open_store

_STATE = {
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "held": "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1, 2",
    "set": "SELECT name, setting FROM pg_file_settings"
    " WHERE sourcefile LIKE '%postgresql.auto.conf' ORDER BY 1",
}


async def _state(store: Store) -> dict[str, list[tuple[object, ...]]]:
    def work(connection: sa.Connection) -> dict[str, list[tuple[object, ...]]]:
        found = {name: connection.execute(sa.text(text)).all() for name, text in _STATE.items()}
        return {name: [tuple(row) for row in rows] for name, rows in found.items()}

    return await store.read(work)


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
def test_a_filled_database_has_its_indexes_and_the_server_its_settings(migrated_url: str) -> None:
    async def scenario() -> None:
        store = open_store(migrated_url)
        try:
            before = await _state(store)
            async with quickly(migrated_url, "tickets", "milestones"):
                assert len((await _state(store))["indexes"]) < len(before["indexes"])
                await fill_all(store, 1, 120, per_ticket=2)
            assert await _state(store) == before
            asked = "SELECT (SELECT count(*) FROM tickets), (SELECT count(*) FROM milestones)"
            row = await store.read(lambda c: c.execute(sa.text(asked)).one())
            assert tuple(row) == (120, 240)
        finally:
            await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
def test_the_server_gets_its_settings_back_when_filling_fails(migrated_url: str) -> None:
    async def scenario() -> None:
        store = open_store(migrated_url)
        try:
            before = (await _state(store))["set"]
            with pytest.raises(InterruptedError):
                async with quickly(migrated_url, "tickets"):
                    raise InterruptedError
            assert (await _state(store))["set"] == before
        finally:
            await store.close()

    asyncio.run(scenario())
