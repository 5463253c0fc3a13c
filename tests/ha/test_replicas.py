"""Three replicas on one database: one killed, one asked to stop, and nobody notices."""

import re
import time
from pathlib import Path

import httpx
import pytest

from tests.ha.cluster import alone, until
from tests.ha.load import Load, check, token
from tests.process import Server, environment, fake_upstream, free_port
from tests.test_pull import CHANNEL, leads, sources_yaml

pytestmark = [pytest.mark.ha, pytest.mark.timeout(1800)]

# What a process counts of itself.
_OWN = re.compile(
    r"^(banjie_http_request_seconds|banjie_intake_batch_size|banjie_clock_set_back|process_|python_)"
)


def test_replicas_come_and_go_under_load(tmp_path: Path) -> None:
    with (
        alone() as database,
        fake_upstream(CHANNEL, rows=20, FAKE_TOKEN="t0ken") as upstream,
    ):
        hotline = (
            "hotline-12345:\n  adapter: hotline_12345\n  channel: hotline-12345\n  label: 热线\n"
        )
        sources = sources_yaml(tmp_path, upstream)
        sources.write_text(sources.read_text("utf-8") + hotline, "utf-8")
        env = environment(
            database.url,
            BANJIE_SOURCES=str(sources),
            BANJIE_FIGURES_SECONDS="1",
            LIST_TOKEN="t0ken",
        )
        made = token(database.url)
        logs = [tmp_path / f"{n}.log" for n in range(3)]
        servers = [Server(env, free_port(), log) for log in logs]
        gone: set[int] = set()
        try:
            with Load([server.address for server in servers], made) as load:
                load.wait_for(150)
                # Whoever reads the list is the one that dies.
                reader = until(lambda: [n for n in range(3) if leads(logs[n])])[0]
                servers[reader].kill()
                gone.add(reader)
                load.wait_for(150)
                until(lambda: any(leads(logs[n]) for n in range(3) if n not in gone))
                reader = next(n for n in range(3) if n not in gone and leads(logs[n]))
                servers[reader].stop()
                assert "Finished server process" in logs[reader].read_text("utf-8")
                gone.add(reader)
                load.wait_for(150)
                (last,) = {0, 1, 2} - gone
                until(lambda: leads(logs[last]))
                for n in gone:
                    servers[n] = Server(env, free_port(), logs[n])
                load.wait_for(50)
            assert not {status for status in load.statuses if status.startswith("5")} - {"503"}
            stored = check(load, database.url, besides=20)
            same(servers)
        finally:
            for server in servers:
                server.kill()
        print(f"{stored} tickets; {dict(load.statuses)}; {load.silence_s():.1f} s")  # noqa: T201


def same(servers: list[Server]) -> None:
    """All tell the same figures, as soon as nothing moves any more."""

    def figures(server: Server) -> set[str]:
        answer = httpx.get(f"{server.address}/metrics", timeout=60)
        assert answer.status_code == 200, answer.text
        lines = answer.text.splitlines()
        return {line for line in lines if not line.startswith("#") and not _OWN.match(line)}

    def equal() -> bool:
        time.sleep(1.1)
        told = [figures(server) for server in servers]
        steady = [
            {line for line in each if "_seconds{" not in line and "_seconds " not in line}
            for each in told
        ]
        return steady[0] == steady[1] == steady[2]

    until(equal)
