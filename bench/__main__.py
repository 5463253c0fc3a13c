"""All measurements one after the other: a table to read, and `artefacts/bench.json` to keep.

Run from the repository: `make bench`, or `python -m bench`. `--open N` makes the burst of
`bench.enforce` smaller than its million open milestones.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import (
    bulletin,
    capacity,
    enforce,
    feed,
    holdout,
    imports,
    kpi,
    matching,
    months,
    outbox,
    routing,
    simulate,
    working_days,
)

WRITTEN = Path(__file__).parent.parent / "artefacts" / "bench.json"


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a line for each figure: measurement, figure, value."""
    rows = [
        (name, figure, f"{value:,}")
        for name, figures in results.items()
        for figure, value in figures.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "".join(
        f"{name:<{widths[0]}}  {figure:<{widths[1]}}  {value:>{widths[2]}}\n"
        for name, figure, value in rows
    )


def main() -> int:
    """Measure, print, and write. Each measurement brings its own bare limit from the same run."""
    options = argparse.ArgumentParser(prog="python -m bench")
    options.add_argument(
        "--open", type=int, default=enforce.OPEN, help="open milestones of the enforcement"
    )
    asked = options.parse_args()
    measurements: dict[str, Callable[[], dict[str, Any]]] = {
        "routing": routing.run,
        "holdout": holdout.run,
        "working_days": working_days.run,
        "imports": imports.run,
        "matching": matching.run,
        "enforce": lambda: enforce.run(asked.open),
        "outbox": outbox.run,
        "kpi": kpi.run,
        "feed": feed.run,
        "months": months.run,
        "capacity": capacity.run,
        "bulletin": bulletin.run,
        "simulate": simulate.run,
    }
    results: dict[str, dict[str, Any]] = {}
    for name, measure in measurements.items():
        sys.stderr.write(f"{name} …\n")
        results[name] = measure()
    sys.stdout.write(table(results))
    WRITTEN.parent.mkdir(exist_ok=True)
    document = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        **results,
    }
    WRITTEN.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
