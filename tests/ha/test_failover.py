"""The primary dies in the middle of the work, and its standby takes its place."""

from pathlib import Path

import httpx
import pytest

from tests.ha.cluster import both, pair, until
from tests.ha.load import Load, check, token
from tests.process import Server, environment, free_port

pytestmark = [pytest.mark.ha, pytest.mark.timeout(1800)]


def test_no_answered_ticket_is_lost_when_the_primary_dies(tmp_path: Path) -> None:
    with pair() as (primary, standby):
        url = both(primary, standby)
        env = environment(
            url, BANJIE_DATABASE_TIMEOUT_SECONDS="5", BANJIE_DATABASE_CONNECT_SECONDS="1"
        )
        made = token(url)
        servers = [Server(env, free_port(), tmp_path / f"{n}.log") for n in range(2)]
        try:
            with Load([server.address for server in servers], made) as load:
                load.wait_for(300)
                primary.kill()
                before = len(load.told)
                for server in servers:
                    until(lambda server=server: _tells_of_the_first(server.address))  # type: ignore[misc]
                assert len(load.told) - before <= 5, "a dead primary does not answer"
                standby.promote()
                load.wait_for(300)
                for server in servers:
                    until(lambda server=server: _ready(server.address))  # type: ignore[misc]
        finally:
            for server in servers:
                server.kill()
        stored = check(load, standby.url)
    print(  # noqa: T201
        f"{len(load.told)} tickets answered, {stored} stored, {len(load.signed)} signed; "
        f"{load.silence_s():.1f} s without service; {dict(load.statuses)}"
    )


def _tells_of_the_first(address: str) -> bool:
    """Whether it is not ready and says which server is gone; a look may end before it knows that."""
    answer = httpx.get(f"{address}/readyz", timeout=30)
    if answer.status_code != 503:
        return False
    told: str = answer.json()["checks"]["store"]["detail"]
    return told.startswith("数据库不可用：第 1 台")


def _ready(address: str) -> bool:
    return httpx.get(f"{address}/readyz", timeout=30).status_code == 200
