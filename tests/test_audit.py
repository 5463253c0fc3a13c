"""The audit as people meet it: the commands, the heads over HTTP, and the jobs of a served database."""

import asyncio
import json
import stat
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from service.audit import Audit, BadKey, Wish, read_key
from service.cli import app
from service.config import Settings
from service.main import build, wire
from service.store import Store, feed, open_store
from service.store.tables import metadata
from service.terminal import Refused
from tests.exports import many
from tests.process import banjie
from tests.served import Clock, Served, rules, served, sqlite
from tests.test_access import ticket
from tests.test_imports import taken
from tests.worlds import at

EVENTS = metadata.tables["events"]
Said = Callable[..., tuple[int, str]]


@pytest.fixture
def said(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Said:
    monkeypatch.setenv("BANJIE_DATABASE_URL", migrated_url)

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["audit", *arguments])
        if isinstance(done.exception, Refused):
            return done.exception.code, str(done.exception)
        return done.exit_code, done.stdout

    return run


def some_history(service: Served, *, heads: bool = True) -> None:
    """Have tickets of two regions, chained."""
    ticket(service, "A1", "360732", "360732-market_regulation")
    ticket(service, "A2", "360300", "360300-market_regulation")

    async def chain(parts: Any) -> None:
        await parts.feed.order()
        while await parts.audit.extend():
            pass
        if heads:
            await parts.audit.make_heads(parts.now())

    service.run(chain)


def tamper(url: str, statement: sa.Executable) -> None:
    async def run() -> None:
        store = open_store(url)
        await store.run(lambda c: c.execute(statement))
        await store.close()

    asyncio.run(run())


def test_a_key_is_its_owners_alone_and_its_public_part_is_printed(
    said: Said, tmp_path: Path
) -> None:
    path = tmp_path / "audit.pem"
    code, printed = said("key", str(path))
    assert code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert printed.strip() == read_key(path).public
    assert said("key", str(path)) == (0, printed), "a key that is there stays"
    path.write_text("nothing")
    assert said("key", str(path))[0] == 1
    with pytest.raises(BadKey):
        read_key(path)


def test_a_key_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with (
        pytest.raises(BadKey, match="读不了"),
        served(sqlite(tmp_path), audit_key=tmp_path / "none.pem"),
    ):
        pass


def test_verify_tells_figures_where_all_is_sound_and_what_is_wrong_else(
    said: Said, migrated_url: str, tmp_path: Path
) -> None:
    key = tmp_path / "audit.pem"
    _, public = said("key", str(key))
    with served(migrated_url, audit_key=key) as service:
        some_history(service)
    code, text = said("verify")
    assert code == 0
    assert "未发现问题" in text
    assert public.strip() in text
    code, text = said("verify", "--json")
    found = json.loads(text)
    assert (code, found["sound"], found["unchained"]) == (0, True, 0)
    assert [each["region"] for each in found["regions"]] == ["360300", "360732"]
    assert found["events"] == sum(each["sequence"] for each in found["regions"])

    code, lines = said("heads")
    kept = tmp_path / "kept" / "2026.jsonl"
    kept.parent.mkdir()
    kept.write_text(lines)
    assert len(lines.splitlines()) == 2
    assert all(json.loads(line)["signature"] for line in lines.splitlines())
    for where in (kept, kept.parent):
        code, text = said("verify", "--heads", str(where), "--key", public.strip(), "--json")
        assert (code, json.loads(text)["heads"]["kept"]) == (0, 2)
    assert said("verify", "--region", "360700", "--json")[0] == 0

    event = sa.select(sa.func.min(EVENTS.c.id)).where(EVENTS.c.region == "360732")
    tamper(
        migrated_url,
        EVENTS.update().where(EVENTS.c.id == event.scalar_subquery()).values(actor="某"),
    )
    code, text = said("verify")
    assert code == 1
    assert "360732 第 1 环 工单 360732-20261121-00001" in text
    assert "被改动" in text
    code, text = said("verify", "--json")
    (fault,) = json.loads(text)["faults"]
    assert (code, fault["fault"], fault["sequence"]) == (1, "changed", 1)
    assert said("verify", "--region", "360300")[0] == 0


def test_what_is_asked_wrongly_is_refused(said: Said, tmp_path: Path) -> None:
    bad = tmp_path / "heads.jsonl"
    bad.write_text('\n{"region": "360732"}\n')
    assert said("verify", "--from", "昨天") == (2, "日期应写作 2026-11-01，而不是“昨天”")
    code, why = said("verify", "--heads", str(bad))
    assert (code, "第 2 行不是链头" in why) == (2, True)


def test_heads_are_listed_for_those_who_keep_them(tmp_path: Path) -> None:
    with served(sqlite(tmp_path)) as service:
        some_history(service)
        service.clock.time += timedelta(days=1)
        some_day_later = service.run(lambda parts: parts.audit.make_heads(parts.now()))
        assert some_day_later == 2
        first = service.get("/v1/audit/heads?limit=3").json()
        assert len(first["items"]) == 3
        second = service.get(f"/v1/audit/heads?limit=3&cursor={first['next']}").json()
        assert (len(second["items"]), second["next"]) == (1, None)
        days = [item["date"] for item in (*first["items"], *second["items"])]
        assert days == ["2026-11-20", "2026-11-20", "2026-11-21", "2026-11-21"]
        assert {item["signature"] for item in first["items"]} == {""}, "no key, and it says so"
        own = service.get("/v1/audit/heads", "auditor").json()["items"]
        assert {item["region"] for item in own} == {"360732"}
        since = service.get("/v1/audit/heads?since=2026-11-21&region=360300").json()["items"]
        assert [item["events"] for item in since] == [0]
        assert service.get("/v1/audit/heads?since=x").status_code == 422
        assert service.get("/v1/audit/heads", "dispatcher").status_code == 403


def test_a_served_database_chains_by_itself_and_shows_what_waits(
    migrated_url: str,
) -> None:
    with served(migrated_url) as service:
        some_history(service, heads=False)
        ticket(service, "A3", "360732", "360732-market_regulation")
        service.run(lambda parts: parts.feed.order())
        shown = service.client.get("/metrics").text
        (line,) = [row for row in shown.splitlines() if row.startswith("banjie_audit_unchained")]
        assert float(line.split()[1]) > 0
    settings = Settings(database_url=migrated_url, tick_seconds=0.05, figures_seconds=0)
    parts = wire(settings, Clock(at("2026-11-21 09:00")), rules(None))
    with TestClient(build(parts, settings)) as client:
        for _ in range(600):
            if "banjie_audit_unchained_events 0.0" in client.get("/metrics").text:
                break
            time.sleep(0.05)
        else:
            raise AssertionError


@pytest.mark.slow
def test_what_a_simulation_and_an_import_write_is_chained(
    migrated_url: str, tmp_path: Path
) -> None:
    done = banjie(
        "simulate", "--days", "2", "--per-day", "10", "--database", migrated_url, timeout_s=300
    )
    assert done.returncode == 0, done.stderr

    async def chain(store: Store) -> None:
        await taken(store, many(tmp_path / "history.csv", 30))
        audit = Audit(store)
        before = await audit.verify(Wish())
        assert (before.events, before.is_sound) == (0, True)
        while await store.run(feed.order):
            pass
        while await audit.extend():
            pass
        found = await audit.verify(Wish())
        assert (found.is_sound, found.waiting, found.events) == (True, 0, before.waiting)
        acts = await store.read(
            lambda c: c.execute(sa.select(EVENTS.c.act).distinct()).scalars().all()
        )
        assert {"received", "imported"} <= set(acts)

    async def whole() -> None:
        store = open_store(migrated_url)
        await chain(store)
        await store.close()

    asyncio.run(whole())
