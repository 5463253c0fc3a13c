"""How much memory a replica holds under a long load.

Run from the repository: `python -m bench.memory [MINUTES] [DATABASE]`. Pushes as fast as 16 lines take
them; `mib` is read every few seconds. `grows_mib_per_hour` is the slope of the second half.
"""

import json
import statistics
import sys
import threading
import time
from typing import Any

from bench.intake import database
from bench.load import drive, pushes
from bench.servers import Process, banjie

MINUTES = 3.0
_LINES = 16
_AT_ONCE = 2_000
_EVERY_S = 2.0


def _loaded(server: Process, seconds: float) -> tuple[int, list[tuple[float, float]]]:
    """Push for so long; return how many, and the memory over time."""
    held: list[tuple[float, float]] = []
    began = time.perf_counter()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_EVERY_S):
            held.append((time.perf_counter() - began, server.rss_mib))

    watching = threading.Thread(target=watch)
    watching.start()
    answered = 0
    try:
        while (left := began + seconds - time.perf_counter()) > 0:
            load = drive(server.port, pushes(_AT_ONCE), lines=_LINES, seconds=left)
            answered += load.statuses[201]
    finally:
        over.set()
        watching.join()
    return answered, held


def run(minutes: float = MINUTES, name: str = "postgresql") -> dict[str, Any]:
    """Measure, and return the figures."""
    with database(name) as url, banjie(url) as server:
        started_mib = server.rss_mib
        answered, held = _loaded(server, minutes * 60)
    half = held[len(held) // 2 :]
    slope = statistics.linear_regression(*zip(*half, strict=True)).slope if len(half) > 1 else 0.0
    return {
        "minutes": minutes,
        "pushes": answered,
        "started_mib": round(started_mib),
        "after_half_mib": round(half[0][1]) if half else 0,
        "ended_mib": round(held[-1][1]) if held else 0,
        "most_mib": round(max((mib for _, mib in held), default=0)),
        "grows_mib_per_hour": round(slope * 3600, 1),
    }


if __name__ == "__main__":
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    name = sys.argv[2] if len(sys.argv) > 2 else "postgresql"
    sys.stdout.write(json.dumps(run(minutes, name)) + "\n")
