"""How long adding working days takes, beside a bare look-up in a dict of the same days.

Run from the repository: `python -m bench.working_days`. Prints JSON; times in nanoseconds of the
processor, so that what else the machine does is not measured.
"""

import gc
import json
import random
import statistics
import sys
import time
from datetime import date, timedelta
from typing import Any

from routing_rules.clocks import load_calendar

PAIRS = 20_000
ROUNDS = 15


def run() -> dict[str, Any]:
    """Measure, and return the figures."""
    started = time.perf_counter()
    calendar = load_calendar()
    loaded = time.perf_counter() - started
    rng = random.Random(20261121)  # noqa: S311 - dates to try, no secret
    first = date(2024, 1, 1)
    days = [first + timedelta(days=rng.randrange(3 * 365)) for _ in range(PAIRS)]
    amounts = [rng.randint(1, 60) for _ in range(PAIRS)]
    pairs = list(zip(days, amounts, strict=True))
    # The least that any answer costs: the right one looked up in a dict of these very questions.
    known = {pair: calendar.nth_working_day(*pair) for pair in pairs}
    gc.collect()
    gc.freeze()
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(ROUNDS):
        before = time.thread_time_ns()
        for day, amount in pairs:
            calendar.nth_working_day(day, amount)
        between = time.thread_time_ns()
        for day, amount in pairs:
            known[day, amount]
        after = time.thread_time_ns()
        ours.append((between - before) / PAIRS)
        bare.append((after - between) / PAIRS)
    gc.unfreeze()
    return {
        "load_s": round(loaded, 3),
        "additions": PAIRS,
        "median_ns": round(statistics.median(ours)),
        "bare_median_ns": round(statistics.median(bare)),
        "ratio": round(statistics.median(ours) / statistics.median(bare), 2),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run()) + "\n")
