"""Three real servers on one PostgreSQL, one of them killed every few seconds: each step comes once."""

import os
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bench.enforce import fill
from tests.process import Server, environment, free_port, in_database

pytestmark = pytest.mark.slow

LONG = os.environ.get("BANJIE_LONG") == "1"
# They fall due in slices, so that there is something to enforce whenever a server is killed.
SLICES = 10 if LONG else 2
SLICE = 2_000 if LONG else 700
DUE = SLICES * SLICE
TAKEOVER_S = 5.0


@pytest.mark.slow
@pytest.mark.timeout(1800 if LONG else 600)
@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
def test_no_step_is_lost_or_doubled_when_servers_are_killed(
    migrated_url: str, tmp_path: Path
) -> None:
    env = environment(migrated_url)

    def start() -> Server:
        return Server(env, free_port(), tmp_path / "server.log")

    def told(connection: sa.Connection) -> int:
        return int(connection.execute(sa.text("SELECT count(*) FROM events")).scalar_one())

    servers = [start() for _ in range(3)]
    rng = random.Random(4)
    waits: list[float] = []
    up = {0, 1, 2}
    restarts: list[threading.Thread] = []

    def again(place: int) -> None:
        servers[place] = start()
        up.add(place)

    try:
        for number in range(SLICES):
            when = datetime.now(UTC) - timedelta(seconds=1)
            first = number * SLICE + 1
            in_database(
                migrated_url,
                partial(fill, first=first, count=SLICE, at=when, per_ticket=1, due_every=1),
            )
            time.sleep(rng.uniform(0, 0.3))
            before = in_database(migrated_url, told)
            place = rng.choice(sorted(up))
            up.remove(place)
            servers[place].kill()
            killed = time.monotonic()
            restarts.append(threading.Thread(target=again, args=(place,)))
            restarts[-1].start()
            while before < first + SLICE - 1 and in_database(migrated_url, told) == before:
                assert time.monotonic() - killed < TAKEOVER_S * 4, "nobody took over"
                time.sleep(0.02)
            waits.append(time.monotonic() - killed)
            while in_database(migrated_url, told) < first + SLICE - 1 or len(up) < 2:
                assert time.monotonic() - killed < 240, "it never ends"
                time.sleep(0.1)
    finally:
        for thread in restarts:
            thread.join()
        for server in servers:
            server.kill()

    def counts(connection: sa.Connection) -> Any:
        return connection.execute(
            sa.text(
                """
                SELECT (SELECT count(*) FROM events), (SELECT count(DISTINCT ticket_id) FROM events),
                    (SELECT count(*) FROM deliveries),
                    (SELECT count(*) FROM milestones WHERE stage = 'overdue' AND done = 2),
                    (SELECT count(*) FROM milestones WHERE next_at <= now())
                """
            )
        ).one()

    assert tuple(in_database(migrated_url, counts)) == (DUE, DUE, 2 * DUE, DUE, 0)
    assert waits, "nobody was killed"
    print(f"killed {len(waits)} times; the longest wait {max(waits):.2f} s")  # noqa: T201
    if LONG:  # how long it takes says nothing on a machine that does other things
        assert max(waits) < TAKEOVER_S
