"""`banjie` as a process of its own, for what only a real process shows.

It is forked from one that has imported the modules of all commands and done nothing else, so that a
test does not pay for the same imports again; environment, folder, output, signals and end are its own.
Whoever wants a start from nothing runs `BANJIE`, as tests/test_commands.py does.
"""

import asyncio
import itertools
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import httpx

from service.cli import COMMANDS, main
from service.store import Store, open_store
from service.store.engine import T, Work

BANJIE = [sys.executable, "-c", "from service.cli import main; main()"]
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *("service.main", "service.api.schemas", "service.web", "service.jobs", "service.demo"),
        *("routing_rules.derive", "adapters.fakes.upstream"),
        *sorted({f"service.{module}" for module, *_ in COMMANDS.values()}),
    ]
)


def _become(
    arguments: Sequence[str], env: Mapping[str, str], folder: str | None, out: str, err: str
) -> None:
    """Be `banjie` with these arguments, in a process just forked."""
    os.environ.clear()
    os.environ.update(env)
    if folder:
        os.chdir(folder)
    for path, descriptor in ((os.devnull, 0), (out, 1), (err, 2)):
        opened = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = ["banjie", *arguments]
    main()


class Foreign:
    """Another version's `banjie`, which nothing is imported of here: a process from nothing, to be
    handled as the forked ones are."""

    def __init__(
        self, arguments: Sequence[str], env: Mapping[str, str], code: Path, out: Path, err: Path
    ) -> None:
        with out.open("ab") as told, err.open("ab") as wrong:
            self._process = subprocess.Popen(
                [*BANJIE, *arguments], env=env, stdout=told, stderr=wrong, cwd=code
            )

    @property
    def pid(self) -> int:
        """Return the number of the process."""
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        """Return how it ended, None if it has not."""
        return self._process.poll()

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, so long at most."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()


def start(
    *arguments: str,
    out: Path,
    err: Path,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
    version: Path | None = None,
) -> "ForkServerProcess | Foreign":
    """Start `banjie`, which adds what it prints to these files; `folder` is where it runs, `version`
    the folder of another version's code."""
    given = dict(os.environ if env is None else env)
    if version:
        return Foreign(arguments, given, version, out, err)
    process = _FORKS.Process(
        target=_become,
        args=(arguments, given, folder and str(folder), str(out), str(err)),
    )
    process.start()
    return process


def environment(database_url: str, **settings: str) -> dict[str, str]:
    """Return the environment of a process that uses this database."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("BANJIE_")}
    return inherited | {"BANJIE_DATABASE_URL": database_url, **settings}


def banjie(
    *arguments: str,
    env: dict[str, str] | None = None,
    timeout_s: float = 60,
    folder: Path | None = None,
    version: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Return what a command printed and how it ended; `version` is the folder of another version's
    code."""
    with tempfile.TemporaryDirectory(prefix="banjie-said-") as scratch:
        out, err = Path(scratch, "out"), Path(scratch, "err")
        process = start(*arguments, out=out, err=err, env=env, folder=folder, version=version)
        try:
            process.join(timeout_s)
            if process.is_alive():
                raise subprocess.TimeoutExpired(["banjie", *arguments], timeout_s)
        finally:
            process.kill()  # else the tests would wait for it at their end
            process.join()
        assert process.exitcode is not None
        return subprocess.CompletedProcess(
            ["banjie", *arguments],
            process.exitcode,
            *(path.read_text("utf-8") if path.exists() else "" for path in (out, err)),
        )


def in_database(database_url: str, work: Work[T]) -> T:
    """Return what a database says to work that is done in it beside the processes."""
    return _in_store(database_url, lambda store: store.run(work))


def in_snapshot(database_url: str, work: Work[T]) -> T:
    """Return what a database says to work that reads: all of it as it was at one moment, whatever the
    processes write meanwhile."""
    return _in_store(database_url, lambda store: store.read(work))


def _in_store(database_url: str, ask: Callable[[Store], Awaitable[T]]) -> T:
    async def once() -> T:
        store = open_store(database_url)
        try:
            return await ask(store)
        finally:
            await store.close()

    return asyncio.run(once())


# Below those that the system gives out by itself, and apart from the other workers': between the look
# and the use hardly anybody takes one.
_PORTS = itertools.count(random.randrange(1_000))
_FIRST_PORT = 20_000 + 1_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 12)


def free_port() -> int:
    """Return a port that nobody listens on."""
    for _ in range(1_000):
        port = _FIRST_PORT + next(_PORTS) % 1_000
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


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
        self._process = start(
            *("serve", "--port", str(port)), *options, out=log, err=log, env=env, version=version
        )
        try:
            self._wait()
        except BaseException:
            self.kill()  # else the tests would wait for it at their end
            raise

    @property
    def pid(self) -> int:
        """Return the number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def _wait(self) -> None:
        # A demo is half a minute's work; on a machine with much else to do, some minutes'.
        with httpx.Client(timeout=5) as client:
            for _ in range(2400):
                if self._process.exitcode is not None:
                    raise AssertionError(self._log.read_text("utf-8")[-4000:])
                try:
                    if client.get(f"{self.address}/readyz").status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
        raise AssertionError(self._log.read_text("utf-8")[-4000:])

    def kill(self) -> None:
        """End it as a power cut would, in the middle of whatever it does."""
        self._process.kill()
        self._process.join()

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self._process.terminate()
        self._process.join(30)
        assert self._process.exitcode is not None, "it did not end"
        return self._process.exitcode


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
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "adapters.fakes", "--channel", channel, "--port", "0"),
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
