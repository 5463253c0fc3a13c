"""`banjie` as a process of its own, for what only a real process shows."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from service.store import open_store
from service.store.engine import T, Work

BANJIE = [sys.executable, "-c", "from service.cli import main; main()"]


def environment(database_url: str, **settings: str) -> dict[str, str]:
    """Return the environment of a process that uses this database."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("BANJIE_")}
    return inherited | {"BANJIE_DATABASE_URL": database_url, **settings}


def banjie(
    *arguments: str,
    env: dict[str, str] | None = None,
    timeout_s: float = 60,
    version: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Return what a command printed and how it ended; `version` is the folder of another version's
    code."""
    return subprocess.run(
        [*BANJIE, *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd=version,
    )


def in_database(database_url: str, work: Work[T]) -> T:
    """Return what a database says to work that is done in it beside the processes."""

    async def once() -> T:
        store = open_store(database_url)
        try:
            return await store.run(work)
        finally:
            await store.close()

    return asyncio.run(once())


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A served process on a port of its own; `version` is the folder of another version's code."""

    def __init__(
        self,
        env: dict[str, str],
        port: int,
        log: Path,
        *options: str,
        version: Path | None = None,
    ) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*BANJIE, "serve", "--port", str(port), *options],
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=version,
            )
        self._wait()

    def _wait(self) -> None:
        # A demo is half a minute's work; on a machine with much else to do, some minutes'.
        for _ in range(2400):
            if self._process.poll() is not None:
                raise AssertionError(self._log.read_text("utf-8")[-4000:])
            try:
                if httpx.get(f"{self.address}/readyz", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(self._log.read_text("utf-8")[-4000:])

    def kill(self) -> None:
        """End it as a power cut would, in the middle of whatever it does."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self._process.terminate()
        return self._process.wait(30)


@contextmanager
def serving(env: dict[str, str], folder: Path, *options: str) -> Iterator[Server]:
    """Serve in a process that is gone afterwards."""
    server = Server(env, free_port(), folder / "server.log", *options)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def fake_upstream(channel: str, *options: str, rows: int, **variables: str) -> Iterator[str]:
    """Run a channel's fake as a process with so many rows in its list; yield its address."""
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "adapters.fakes", "--channel", channel, "--port", str(port)),
            *("--rows", str(rows), "--every", "0", *options),
        ],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip().removesuffix("/list")
    finally:
        process.kill()
        process.communicate()
