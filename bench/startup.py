"""How long `banjie serve` takes to be ready, and what each command costs before it does anything.

Run from the repository: `python -m bench.startup [TIMES]`. Every figure is the median. `bare` is the
limit of the service: FastAPI and uvicorn in a process that answers /readyz and does nothing else, one
start of it before each of ours; that of a command is `python -c pass`. Seconds are from the start of
the process to the first 200; CPU is the process's own, user and system, and tells the same on a
machine that has other work.
"""

import asyncio
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.enforce import postgres
from service.store import open_store

TIMES = 5
_BANJIE = (sys.executable, "-c", "from service.cli import main; main()")
_BARE = """
import sys, fastapi, uvicorn
app = fastapi.FastAPI()
@app.get("/readyz")
async def ready() -> dict[str, bool]:
    return {"ready": True}
uvicorn.run(app, port=int(sys.argv[1]), log_config=None)
"""
_COMMANDS: Mapping[str, Sequence[str]] = {
    "help": ("--help",),
    "migrate": ("migrate",),
    "deadline": ("deadline", "--from", "2026-11-18T09:12", "--limit", "5 工作日"),
    "calendar_check": ("calendar", "check"),
    "rules_explain": ("rules", "explain", "--region", "360732", "--text", "沼气池漏气没人清理"),
    "sources_check": ("sources", "check"),
    "token_list": ("token", "list"),
    "token_create": ("token", "create", "--role", "admin", "--name", "管理员"),
    "kpi": ("kpi", "--from", "2026-10-01", "--to", "2026-10-31"),
    "bulletin": ("bulletin", "--month", "2026-10", "--json"),
}


class _Cost(NamedTuple):
    wall_s: float
    cpu_s: float


def _cpu_s(pid: int) -> float:
    """Return the processor time that a living process has taken so far, by Linux's own account."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ready(command: Sequence[str], port: int, env: Mapping[str, str]) -> _Cost:
    """Start a server, and return what it took until it was ready."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)  # noqa: S603 ours
    try:
        while process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return _Cost(time.perf_counter() - begun, _cpu_s(process.pid))
            except OSError:
                pass
            finally:
                connection.close()
            time.sleep(0.01)
    finally:
        process.terminate()
        process.wait(60)
    msg = f"{command} ended before it was ready"
    raise RuntimeError(msg)


def _cost(command: Sequence[str], env: Mapping[str, str]) -> _Cost:
    """Run a command, and return what it took."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)  # noqa: S603 ours
    _, status, usage = os.wait4(process.pid, 0)
    took = _Cost(time.perf_counter() - begun, usage.ru_utime + usage.ru_stime)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in {0, 1}:
        msg = f"{command} ended with {process.returncode}"
        raise RuntimeError(msg)
    return took


def _median(costs: Sequence[_Cost]) -> _Cost:
    return _Cost(*(round(statistics.median(column), 3) for column in zip(*costs, strict=True)))


async def _migrate(url: str) -> None:
    store = open_store(url)
    await store.migrate()
    await store.close()


@contextmanager
def _environment(url: str) -> Iterator[dict[str, str]]:
    """Yield the environment of a process on an up-to-date database, compiled code kept."""
    asyncio.run(_migrate(url))
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BANJIE_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    yield kept | {"BANJIE_DATABASE_URL": url}


def _serving(name: str, env: Mapping[str, str], times: int) -> dict[str, Any]:
    bare, ours = [], []
    for turn in range(times + 1):
        port = _port()
        limit = _ready((sys.executable, "-c", _BARE, str(port)), port, env)
        port = _port()
        found = _ready((*_BANJIE, "serve", "--port", str(port)), port, env)
        if turn:  # the first compiles, and reads from the disk
            bare.append(limit)
            ours.append(found)
    limit, found = _median(bare), _median(ours)
    return {
        f"{name}_ready_s": found.wall_s,
        f"{name}_ready_cpu_s": found.cpu_s,
        f"{name}_bare_ready_s": limit.wall_s,
        f"{name}_bare_ready_cpu_s": limit.cpu_s,
        f"{name}_ready_to_bare": round(found.wall_s / limit.wall_s, 2),
        f"{name}_ready_cpu_to_bare": round(found.cpu_s / limit.cpu_s, 2),
    }


def _commands(env: Mapping[str, str], times: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    limits = [_cost((sys.executable, "-c", "pass"), env) for _ in range(times)]
    found["pass_s"], found["pass_cpu_s"] = _median(limits)
    for name, arguments in _COMMANDS.items():
        costs = [_cost((*_BANJIE, *arguments), env) for _ in range(times)]
        found[f"{name}_s"], found[f"{name}_cpu_s"] = _median(costs)
        found[f"{name}_cpu_to_pass"] = round(found[f"{name}_cpu_s"] / found["pass_cpu_s"], 1)
    return found


def run(times: int = TIMES) -> dict[str, Any]:
    """Measure, and return the figures: seconds, and ratios to the limits of the same run."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="banjie-startup-") as folder:
        with _environment(f"sqlite:///{folder}/banjie.db") as env:
            found |= _serving("sqlite", env, times)
            found |= _commands(env, times)
        with postgres() as url, _environment(url) as env:
            found |= _serving("postgresql", env, times)
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else TIMES)) + "\n")
