"""Server processes to be measured, with what they cost while they are."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load import SECRET, SOURCES

_TICKS = os.sysconf("SC_CLK_TCK")
_START_S = 1_200.0  # the first one counts what is there: two minutes for a million tickets


class Process:
    """A server on a port of its own."""

    def __init__(self, command: list[str], port: int, ready: str, env: dict[str, str]) -> None:
        """Start it; return when `ready` is answered, in whatever way but a 5xx."""
        self.port = port
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 it lives as long as the server
        self._process = subprocess.Popen(  # noqa: S603 our own servers
            command, env=env, stdout=self._log, stderr=subprocess.STDOUT
        )
        self._wait(f"http://127.0.0.1:{port}{ready}")

    def _wait(self, url: str) -> None:
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                urllib.request.urlopen(url, timeout=1)  # noqa: S310 our own
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    return
            except OSError:
                pass
            else:
                return
            time.sleep(0.05)
        raise RuntimeError(self.log()[-4000:])

    def log(self) -> str:
        """Return what it said."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    @property
    def cpu_s(self) -> float:
        """Return the seconds that it has used of a core."""
        fields = (
            Path(f"/proc/{self._process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        )
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def rss_mib(self) -> float:
        """Return how much memory it holds."""
        status = Path(f"/proc/{self._process.pid}/status").read_text("ascii")
        kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
        return int(kib) / 1024

    @property
    def pid(self) -> int:
        """Return its number."""
        return self._process.pid

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop it while others are measured: what it does behind a load would be theirs."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def banjie(url: str, **settings: str) -> Iterator[Process]:
    """Serve as `banjie serve` does, with one source that signs."""
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "sources.yaml"
        sources.write_text(SOURCES, "utf-8")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("BANJIE_")}
        env = {
            **inherited,
            "BANJIE_DATABASE_URL": url,
            "BANJIE_SOURCES": str(sources),
            "BENCH_SECRET": SECRET,
            **settings,
        }
        port = _port()
        main = "from service.cli import main; main()"
        command = [sys.executable, "-c", main, "serve", "--port", str(port)]
        server = Process(command, port, "/readyz", env)
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def limit(which: str, url: str) -> Iterator[Process]:
    """Serve one of `bench.limits`."""
    port = _port()
    command = [sys.executable, "-m", "bench.limits", which, url, str(port)]
    server = Process(command, port, "/", dict(os.environ))
    try:
        yield server
    finally:
        server.stop()
