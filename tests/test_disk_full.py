"""A disk that is full: told, nothing half, and on again by itself when there is room."""

import resource
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.conftest import tool
from tests.process import Server, environment, serving
from tests.test_process import _payload, admin_token

_ROOM = 24 * 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that is a disk of 24 MB."""
    mount, umount = tool("mount"), tool("umount")
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={_ROOM}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no disk of its own can be made here: {made.stderr.strip()}")
    yield folder
    subprocess.run([umount, str(folder)], check=True)


@contextmanager
def _no_room_on(disk: Path) -> Iterator[None]:
    """Fill the disk but for 64 kB."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        with suppress(OSError):
            while file.write(b"\0" * 64 * 1024):
                pass
        file.truncate(max(0, file.tell() - 64 * 1024))
    yield
    filler.unlink()


@contextmanager
def _no_room_for(pid: int) -> Iterator[None]:
    """Let a process write no file beyond 256 kB, as a quota does."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (256 * 1024, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
def test_a_full_disk_is_told_and_passes_without_a_restart(small_disk: Path, tmp_path: Path) -> None:
    refused = _scenario(small_disk, tmp_path, lambda _: _no_room_on(small_disk))
    assert refused.json()["type"] == "urn:banjie:problem:store-full"
    assert "磁盘" in refused.json()["title"]
    assert "store.full" in (tmp_path / "server.log").read_text("utf-8")


@pytest.mark.slow
def test_a_file_that_may_not_grow_is_told_and_passes_without_a_restart(tmp_path: Path) -> None:
    refused = _scenario(tmp_path, tmp_path, lambda server: _no_room_for(server.pid))
    assert refused.json()["type"] == "urn:banjie:problem:store-unavailable"


def _scenario(
    disk: Path, logs: Path, no_room: Callable[[Server], AbstractContextManager[None]]
) -> httpx.Response:
    """Push until there is no room, and when there is room again; return the refusal."""
    path = disk / "banjie.db"
    env = environment(f"sqlite:///{path}")
    headers = {"Authorization": f"Bearer {admin_token(env)}"}
    answered: set[str] = set()

    def push(client: httpx.Client, number: str) -> httpx.Response:
        answer = client.post("/v1/intake/hotline-12345", json=_payload(number))
        if answer.status_code in {200, 201}:
            answered.add(answer.json()["ticket"]["no"])
        return answer

    with (
        serving(env, logs) as server,
        httpx.Client(base_url=server.address, headers=headers, timeout=60) as client,
    ):
        assert push(client, "D-0").status_code == 201
        with no_room(server):
            refused = None
            for n in range(1, 400):
                answer = push(client, f"D-{n}")
                if answer.status_code != 201:
                    refused = answer
                    break
            assert refused is not None
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) > 0
            # Reading goes on, and jobs try and fail meanwhile.
            assert client.get("/v1/tickets").status_code == 200
            time.sleep(3)
            assert push(client, "D-0").status_code in {200, 503}
        assert push(client, "again").status_code == 201
        assert push(client, f"D-{n}").status_code == 201  # what was refused was not there

        def left() -> int:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
                return int(reader.execute("SELECT count(*) FROM tally_entries").fetchone()[0])

        for _ in range(300):
            if not left():
                break
            time.sleep(0.2)
        assert left() == 0  # the job that folds them goes on
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert {no for (no,) in database.execute("SELECT no FROM tickets")} == answered
    return refused
