"""Twenty times the usual rate for a minute, with many tickets stored, on PostgreSQL.

Run from the repository: `python -m bench.spike [TICKETS] [STEADY_PER_S] [SECONDS]`. Pushes come at their
own times, whatever the answers do. Every answer must be 201, or 503 that says when to come again;
every 201 must be in the database. `recovered_s` is how long after the spike a second's p99 is back at
no more than twice that of before it, for good.
"""

import asyncio
import json
import resource
import sys
from typing import Any

from bench.enforce import postgres
from bench.intake import counted
from bench.life import filled
from bench.load import Load, drive, pushes
from bench.servers import Process, banjie

TICKETS = 1_000_000
STEADY_PER_S = 50
TIMES = 20
SECONDS = 60
_BEFORE_S, _AFTER_S = 15, 20
_LINES = 2_000
_FILES = 8_192
# A second that is a little slower than the median one is no spike.
_SLACK_MS = 20.0


def _at(server: Process, rate: float, seconds: int, lines: int) -> Load:
    return drive(server.port, pushes(int(rate * seconds)), lines=lines, seconds=seconds, rate=rate)


def _recovered_s(after: Load, usual_ms: float) -> float:
    slow = [
        second + 1.0
        for second in range(_AFTER_S)
        if after.ms(0.99, second, second + 1) > 2 * usual_ms + _SLACK_MS
    ]
    return max(slow, default=0.0)


def run(
    tickets: int = TICKETS, steady_per_s: float = STEADY_PER_S, seconds: int = SECONDS
) -> dict[str, Any]:
    """Measure, and return the figures."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, most), most))
    with postgres() as url:
        asyncio.run(filled(url, tickets))
        with banjie(url) as server:
            before = _at(server, steady_per_s, _BEFORE_S, 64)
            spike = _at(server, steady_per_s * TIMES, seconds, _LINES)
            after = _at(server, steady_per_s, _AFTER_S, 64)
            rss_mib = server.rss_mib
        stored = counted(url)["tickets"] - tickets
    loads = (before, spike, after)
    answered = sum(load.statuses[201] for load in loads)
    usual_ms = before.ms(0.99, 5)
    return {
        "stored": tickets,
        "steady_per_s": steady_per_s,
        "asked_per_s": steady_per_s * TIMES,
        "taken_per_s": round(spike.statuses[201] / spike.seconds),
        "told_to_wait": spike.statuses[503],
        "without_retry_after": sum(load.without_retry for load in loads),
        "other_answers": sum(
            n for load in loads for status, n in load.statuses.items() if status not in {201, 503}
        ),
        "lines_cut": sum(load.cut for load in loads),
        "lost": max(answered - stored, 0),
        "p99_before_ms": round(usual_ms, 1),
        "p99_in_spike_ms": round(spike.ms(0.99), 1),
        "p99_after_10s_ms": round(after.ms(0.99, 10), 1),
        "recovered_s": _recovered_s(after, usual_ms),
        "rss_mib": round(rss_mib),
    }


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    sys.stdout.write(json.dumps(run(*given)) + "\n")
