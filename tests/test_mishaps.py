"""What the clock drives goes on whatever one ticket holds, and stops when it is told to."""

import asyncio
from typing import Any

import pytest
import structlog

from service.config import Settings
from service.desk import Desk, Settled
from service.domain.complaint import Contact
from service.domain.ports import Unit
from service.domain.ticket import Stage
from service.jobs import Jobs
from service.main import build, wire
from service.metrics import Metrics
from service.store import Store
from tests.calendars import with_year
from tests.test_desk import NOW, TIMES, Run, desk
from tests.worlds import ADMIN, HOTLINE, ToldRouter, at, complaint


class Forgetful(ToldRouter):
    """A router that knows one region's coordinator no longer."""

    def coordinator(self, region: str, named: str = "") -> Unit:
        """Return the hotline's office, but not of Pingxiang."""
        return {"360732": HOTLINE}[region]


def test_a_ticket_that_cannot_be_done_holds_up_no_other(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        usual = desk(store, assisted=False)
        bare = {"contact": Contact()}
        bad = (
            await usual.receive(complaint(source_no="A", region="360300", **bare), "a", NOW)
        ).ticket
        good = (await usual.receive(complaint(source_no="B", **bare), "b", NOW)).ticket
        d = Desk(store, Forgetful(assisted=False), TIMES)
        with structlog.testing.capture_logs() as logs:
            assert await d.enforce(at("2026-11-18 16:00")) == 1
            assert await d.enforce(at("2026-11-18 16:00")) == 0
        assert (await d.ticket(good.no, ADMIN)).stage is Stage.OVERDUE
        assert (await d.ticket(bad.no, ADMIN)).stage is Stage.NORMAL
        assert [(e["event"], e["ticket_id"], e["error"]) for e in logs] == [
            ("ticket.set_aside", bad.id, "KeyError")
        ]
        # With the table put right it is done, after a while.
        d._router = ToldRouter(assisted=False)
        assert await d.enforce(at("2026-11-18 16:11")) == 1
        assert (await d.ticket(bad.no, ADMIN)).stage is Stage.OVERDUE

    in_store(scenario)


def test_a_ticket_that_cannot_be_settled_holds_up_no_other(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        usual = desk(store, assisted=False)
        for no, region in (("A", "360300"), ("B", "360732")):
            posted = complaint(
                source_no=no, region=region, accepted_at=at("2026-12-29 09:12"), contact=Contact()
            )
            await usual.receive(posted, no, at("2026-12-29 09:30"))
        d = Desk(store, Forgetful(assisted=False), with_year(TIMES))
        # Time brings steps, and they are told of: that is what fails for one of the two.
        settled = await d.settle(at("2026-12-31 09:00"))
        assert settled.tickets == 1
        assert settled.last
        assert (await d.settle(at("2026-12-31 09:00"), settled.last)).last is None

    in_store(scenario)


class Stub:
    """A desk with endless work, whose settling may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.begun = 0
        self.busy = asyncio.Event()

    async def settle(self, _at: Any, _after: int) -> Settled:
        if self.error:
            raise self.error
        return Settled(None, 0)

    async def enforce(self, _at: Any, batch: int) -> int:
        self.begun += 1
        if self.begun > 2:
            self.busy.set()
        await asyncio.sleep(0)
        return 0 if self.error else batch


def jobs_of(stub: Stub) -> Jobs:
    return Jobs(stub, lambda: NOW, 0.001, Metrics())  # type: ignore[arg-type]


def test_settling_that_fails_keeps_no_clock_from_running() -> None:
    stub = Stub(KeyError("王某 13800000001"))
    with structlog.testing.capture_logs() as logs:
        asyncio.run(jobs_of(stub).enforce())
    assert stub.begun == 1
    assert logs[0]["event"] == "settle.failed"
    assert "王某" not in str(logs)


def test_after_the_stop_no_further_batch_begins() -> None:
    async def scenario() -> None:
        stub = Stub()
        jobs = jobs_of(stub)
        jobs.start()
        await stub.busy.wait()
        await jobs.stop()
        begun = stub.begun
        for _ in range(20):
            await asyncio.sleep(0)
        assert stub.begun == begun

    asyncio.run(scenario())


def test_what_ends_the_service_with_an_error_stops_the_jobs_too(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    stop = Jobs.stop

    async def told(jobs: Jobs) -> None:
        stopped.append("stopped")
        await stop(jobs)

    monkeypatch.setattr(Jobs, "stop", told)

    async def scenario() -> None:
        settings = Settings(database_url=database_url)
        app = build(wire(settings), settings)
        with pytest.raises(RuntimeError):
            async with app.router.lifespan_context(app):
                raise RuntimeError

    asyncio.run(scenario())
    assert stopped == ["stopped"]
