"""The database stops, stands still, or waits for a standby that does: what callers are told, and that
the service goes on by itself."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ha.cluster import Postgres, alone, both, pair, until
from tests.ha.load import Load, check, payload, token
from tests.process import Server, environment, free_port

pytestmark = [pytest.mark.ha, pytest.mark.timeout(1800)]

BRIEF = {
    "BANJIE_DATABASE_TIMEOUT_SECONDS": "2",
    "BANJIE_DATABASE_CONNECT_SECONDS": "1",
    "BANJIE_FIGURES_SECONDS": "1",
}
INTAKE = "/v1/intake/hotline-12345"


class Service:
    """A served process, and a caller of it that waits a minute for an answer and no longer."""

    def __init__(self, url: str, folder: Path) -> None:
        self.token = token(url)
        self.server = Server(environment(url, **BRIEF), free_port(), folder / "server.log")
        self.client = httpx.Client(
            base_url=self.server.address,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=60,
        )

    def push(self, number: str) -> httpx.Response:
        """Return the answer to a push."""
        return self.client.post(INTAKE, json=payload(number))

    def ready(self) -> bool:
        """Return whether it says that it is ready."""
        return self.client.get("/readyz").status_code == 200


@contextmanager
def serving(url: str, folder: Path) -> Iterator[Service]:
    service = Service(url, folder)
    try:
        yield service
    finally:
        service.client.close()
        service.server.kill()


def is_away(answer: httpx.Response, *names: str) -> None:
    """Hold an answer to what is promised while the database is away."""
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["type"].rpartition(":")[2] in names, told
    assert "数据库" in told["title"]


AWAY = ("store-unavailable", "outcome-unknown")


def all_is_away(service: Service) -> None:
    is_away(service.push("W-1"), *AWAY)
    is_away(service.client.get("/v1/tickets"), "store-unavailable")
    is_away(service.client.get("/metrics"), "store-unavailable")
    page = service.client.get("/desk/sign-in")
    assert page.status_code in {200, 503}
    ready = service.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["checks"]["store"]["detail"].startswith("数据库不可用：")
    assert service.client.get("/healthz").status_code == 200


def it_goes_on(service: Service) -> None:
    """Intake answers again, and the jobs work without a restart: what came in gets its place in the
    feed."""
    until(service.ready)
    answer = service.push("W-1")
    assert answer.status_code in {200, 201}, answer.text
    no = answer.json()["ticket"]["no"]

    def told() -> bool:
        more, cursor = True, ""
        while more:
            page = service.client.get("/v1/events", params={"limit": 1000, "after": cursor})
            assert page.status_code == 200, page.text
            more, cursor = page.json()["more"], page.json()["next"]
            if any(item["no"] == no for item in page.json()["items"]):
                return True
        return False

    until(told)
    again = service.push("W-1")
    assert again.status_code == 200
    assert again.json()["ticket"]["no"] == no


# How a database goes, and how it comes back.
WAYS: tuple[tuple[Callable[[Postgres], None], Callable[[Postgres], None]], ...] = (
    (Postgres.stop_at_once, Postgres.start),
    (Postgres.freeze, Postgres.thaw),
    (Postgres.kill, Postgres.start),
)


def test_the_service_outlives_a_database_that_stops_and_one_that_stands_still(
    tmp_path: Path,
) -> None:
    with alone() as database, serving(database.url, tmp_path) as service:
        with Load([service.server.address], service.token, callers=3) as load:
            for leave, come_back in WAYS:
                load.wait_for(40)
                leave(database)
                until(lambda: not service.ready())
                all_is_away(service)
                come_back(database)
                load.wait_for(40)
            it_goes_on(service)
        load.told["W-1"] = service.push("W-1").json()["ticket"]["no"]
        check(load, database.url)
        print(dict(load.statuses), f"{load.silence_s():.1f} s")  # noqa: T201


def test_what_only_one_machine_has_is_not_answered_as_done(tmp_path: Path) -> None:
    with pair() as (primary, standby), serving(both(primary, standby), tmp_path) as service:
        assert service.push("S-1").status_code == 201
        standby.freeze()
        is_away(service.push("S-2"), "outcome-unknown")
        standby.thaw()
        until(lambda: service.push("S-2").status_code == 200)
        answer = service.push("S-2").json()
        assert answer["duplicate"], "what was committed is found again"

        # A wait for the standby that somebody cancels: PostgreSQL answers such a commit as done.
        standby.freeze()
        stop = threading.Event()

        def cancel() -> None:
            while not stop.wait(0.05):
                primary.ask(
                    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                    " WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'"
                )

        canceller = threading.Thread(target=cancel)
        canceller.start()
        try:
            is_away(service.push("C-2"), "outcome-unknown")
        finally:
            stop.set()
            canceller.join()
            standby.thaw()
        until(lambda: service.push("C-2").status_code == 200)


def test_what_takes_too_long_is_given_up_and_keeps_no_lock(tmp_path: Path) -> None:
    """A lock that somebody holds for minutes stands for whatever makes a statement long."""
    with alone() as database, serving(database.url, tmp_path) as service:
        assert service.push("L-1").status_code == 201
        with locked(database):
            is_away(service.push("L-2"), "store-unavailable")
            assert service.ready(), "reads do not wait for it"
        until(lambda: service.push("L-2").status_code in {200, 201})


@contextmanager
def locked(database: Postgres) -> Iterator[None]:
    """Hold what every new ticket needs, from outside."""
    name = "SET application_name = 'locker'; BEGIN; LOCK TABLE counters; SELECT pg_sleep(300)"
    with ThreadPoolExecutor(1) as pool:
        held: Future[Any] = pool.submit(_sleeps, database, name)
        where = "FROM pg_stat_activity WHERE application_name = 'locker'"
        until(lambda: database.ask(f"SELECT count(*) {where} AND wait_event = 'PgSleep'"))
        try:
            yield
        finally:
            database.ask(f"SELECT pg_terminate_backend(pid) {where}")
            held.result(60)


def _sleeps(database: Postgres, statement: str) -> None:
    import asyncio

    import asyncpg

    async def run() -> None:
        connection = await asyncpg.connect(database.url)
        try:
            await connection.execute(statement)
        except asyncpg.PostgresError:
            pass  # ended from outside, as meant
        finally:
            connection.terminate()

    asyncio.run(run())
