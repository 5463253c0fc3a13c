"""What ticks: it keeps its pace, notices a clock that was set back, and outlives what goes wrong."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from structlog.testing import capture_logs

from service.desk import Settled
from service.jobs import Jobs
from service.metrics import Metrics
from service.store import StoreUnavailable
from service.store.figures import Figures
from service.wiring import Wiring
from tests.served import served
from tests.test_api import new, received
from tests.worlds import at


class Hands:
    """A desk that counts, and fails as it is told."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.asked = 0
        self.settled = 0
        self.enough = asyncio.Event()

    async def settle(self, _at: datetime, _after: int) -> Settled:
        """Count."""
        self.settled += 1
        return Settled(None, 0)

    async def enforce(self, _at: datetime, batch: int = 500) -> int:
        """Count, or fail."""
        self.asked += 1
        if self.asked == 4:
            self.enough.set()
        if self.failures:
            raise self.failures.pop(0)
        return 0


class Clocks:
    """A wall clock and a monotonic one, both set by hand."""

    def __init__(self) -> None:
        self.wall = at("2026-11-18 10:00")
        self.steady = 100.0

    def go(self, wall_s: float, steady_s: float) -> None:
        """Let time go by, on each of them."""
        self.wall += timedelta(seconds=wall_s)
        self.steady += steady_s


@pytest.mark.parametrize(
    ("wall_s", "steady_s", "back_s"),
    [(1, 1, 0), (0.5, 1, 0), (-3600, 1, 3601), (3600, 1, 0), (3600, 3600, 0)],
    ids=["goes on", "slewed", "set back", "set ahead", "asleep"],
)
def test_a_clock_that_was_set_back_is_noticed_and_reported(
    wall_s: float, steady_s: float, back_s: float
) -> None:
    clocks, metrics = Clocks(), Metrics()
    desk: Any = Hands()
    jobs = Jobs(desk, lambda: clocks.wall, 1, metrics, lambda: clocks.steady)
    clocks.go(wall_s, steady_s)
    with capture_logs() as logs:
        assert jobs.watch_clock() == back_s
    assert [entry["event"] for entry in logs] == (["clock.set_back"] if back_s else [])
    shown = metrics.render(Figures(), clocks.wall, 1).decode()
    assert f"banjie_clock_set_back_total {1.0 if back_s else 0.0}" in shown
    clocks.go(1, 1)
    assert jobs.watch_clock() == 0, "told once"


def test_ticks_go_on_when_the_machines_clock_is_set_back() -> None:
    """The scheduler waits for a time on the wall: set back by an hour it would stand still for one."""

    async def scenario() -> None:
        desk: Any = Hands()
        jobs = Jobs(desk, lambda: datetime.now(UTC), 0.01, Metrics())
        with capture_logs() as logs:
            jobs.start()
            await desk.enough.wait()
            with time_machine.travel(datetime.now(UTC) - timedelta(hours=1)):
                desk.asked, desk.enough = 0, asyncio.Event()
                await desk.enough.wait()
                await jobs.stop()
        assert "clock.set_back" in [entry["event"] for entry in logs]

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_ticks_go_on_after_what_nobody_foresaw_and_after_the_database_was_away() -> None:
    async def scenario() -> None:
        desk: Any = Hands(ZeroDivisionError(), StoreUnavailable("gone"))
        jobs = Jobs(desk, lambda: at("2026-11-18 10:00"), 0.001, Metrics())
        with capture_logs() as logs:
            jobs.start()
            await desk.enough.wait()
            await jobs.stop()
        events = [(e["event"], e["job"]) for e in logs if e["event"] != "clock.set_back"]
        assert events == [("job.failed", "enforce"), ("job.store_unavailable", "enforce")]
        assert desk.settled == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("job", ["chain", "custody", "cut"])
def test_who_stops_waits_for_no_rest(job: str) -> None:
    clocks = Clocks()
    worked = asyncio.Event()

    async def long_work() -> int:
        clocks.steady += 100_000  # a rest is as long, or longer
        worked.set()
        return 1

    async def scenario() -> None:
        desk: Any = Hands()
        more: dict[str, Any] = {job: long_work}
        jobs = Jobs(desk, lambda: clocks.wall, 0.01, Metrics(), lambda: clocks.steady, **more)
        jobs.start()
        await asyncio.wait_for(worked.wait(), 30)
        await asyncio.wait_for(jobs.stop(), 30)

    asyncio.run(scenario())


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_service_with_nothing_to_do_writes_nothing(database_url: str) -> None:
    """Not even a lock on a row, each of which a disk is waited for: 86,400 a day and replica."""
    written: list[int] = []

    def note(connection: sa.Connection) -> None:
        own = connection.exec_driver_sql("SELECT pg_current_xact_id_if_assigned()::text")
        written.append(int(own.scalar() or 0))

    async def rest(_: Wiring) -> None:
        await asyncio.sleep(1)

    with served(database_url, tick_seconds=0.1) as service:
        made = received(service, new())
        sa.event.listen(sa.Engine, "commit", note)
        try:
            # What came in is counted, put in order, linked and compared; then there is nothing.
            quiet = 0
            for _ in range(60):
                written.clear()
                service.run(rest)
                quiet = 0 if any(written) or len(written) < 10 else quiet + 1
                if quiet == 3:
                    break
            service.act(made, "handler", "sign")
        finally:
            sa.event.remove(sa.Engine, "commit", note)
    assert quiet == 3
    assert any(written), "an act writes"
