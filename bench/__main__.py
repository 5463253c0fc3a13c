"""All measurements one after the other: a table to read, and `artefacts/bench.json` to keep.

Run from the repository: `make bench`, or `python -m bench [NAME …]` for some of them. `--open N` makes
the burst of `bench.enforce` smaller than its million open milestones, `--stored N` the database of
`life` and `spike`, `--counted N` that of `kpi`, `--read N` that of `reading`. `--docs` writes each table into
docs/benchmarks.md as well.
"""

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import (
    audit,
    batches,
    bulletin,
    capacity,
    enforce,
    feed,
    holdout,
    imports,
    intake,
    kpi,
    life,
    matching,
    memory,
    months,
    outbox,
    parts,
    reading,
    routing,
    sealing,
    simulate,
    spike,
    startup,
    working_days,
)

_ROOT = Path(__file__).parent.parent
WRITTEN = _ROOT / "artefacts" / "bench.json"
DOCUMENT = _ROOT / "docs" / "benchmarks.md"
_DATABASES = ("postgresql", "sqlite")


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


def machine() -> str:
    """Return what it was measured on."""
    told = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", told.read_text("utf-8")) if told.exists() else []
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}, {gib:.0f} GiB, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the end"
    )


def markdown(figures: Mapping[str, Any], endings: Sequence[str] = _DATABASES) -> str:
    """Return the figures as a table, with a column for each of these endings of their names, the databases
    where there are two."""
    by_name: dict[str, dict[str, Any]] = {}
    for figure, value in figures.items():
        of = next((ending for ending in endings if figure.endswith(f"_{ending}")), "")
        by_name.setdefault(figure.removesuffix(f"_{of}"), {})[of] = value
    columns = [d for d in ("", *endings) if any(d in values for values in by_name.values())]
    rows = [
        ["Figure", *(column or "Value" for column in columns)],
        ["---", *("---:" for _ in columns)],
        *(
            [f"`{name}`", *(f"{v:,}" if (v := values.get(c)) is not None else "" for c in columns)]
            for name, values in by_name.items()
        ),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def document(text: str, name: str, figures: Mapping[str, Any], at: str) -> str:
    """Return the document with the table of a measurement in its place, if it has one there."""
    endings = reading.SHARES if name == "reading" else _DATABASES
    told = f"{at}, {machine()}.\n\n{markdown(figures, endings)}"
    return re.sub(
        rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
        lambda found: f"{found[1]}\n{told}\n{found[2]}",
        text,
        flags=re.DOTALL,
    )


def main() -> int:
    """Measure, print, and write. Each measurement brings its own bare limit from the same run."""
    options = argparse.ArgumentParser(prog="python -m bench")
    options.add_argument(
        "--open", type=int, default=enforce.OPEN, help="open milestones of the enforcement"
    )
    options.add_argument("--stored", type=int, default=life.TICKETS, help="tickets that are there")
    options.add_argument("--counted", type=int, default=kpi.LARGE, help="tickets of `kpi`")
    options.add_argument("--read", type=int, default=reading.LARGE, help="tickets of `reading`")
    options.add_argument("--docs", action="store_true", help="write docs/benchmarks.md as well")
    options.add_argument("names", nargs="*", metavar="NAME", help="which; all if none is named")
    asked = options.parse_args()
    measurements: dict[str, Callable[[], dict[str, Any]]] = {
        "routing": routing.run,
        "sealing": sealing.run,
        "holdout": holdout.run,
        "working_days": working_days.run,
        "intake": intake.run,
        "parts": parts.run,
        "batches": batches.run,
        "life": lambda: life.run(asked.stored),
        "spike": lambda: spike.run(asked.stored),
        "memory": memory.run,
        "imports": imports.run,
        "matching": matching.run,
        "enforce": lambda: enforce.run(asked.open),
        "outbox": outbox.run,
        "kpi": lambda: kpi.run(asked.counted),
        "feed": feed.run,
        "months": months.run,
        "capacity": capacity.run,
        "audit": audit.run,
        "reading": lambda: reading.run(asked.read),
        "bulletin": bulletin.run,
        "simulate": simulate.run,
        "startup": startup.run,
    }
    if unknown := set(asked.names) - measurements.keys():
        options.error(f"no such measurement: {', '.join(sorted(unknown))}")
    results: dict[str, dict[str, Any]] = {}
    for name in asked.names or measurements:
        sys.stderr.write(f"{name} …\n")
        results[name] = measurements[name]()
        if asked.docs:
            at = datetime.now(UTC).date().isoformat()
            text = document(DOCUMENT.read_text("utf-8"), name, results[name], at)
            DOCUMENT.write_text(text, "utf-8")
        _keep(results)  # each time: all of them take an hour, and one may fail
    sys.stdout.write(table(results))
    return 0


def _keep(results: Mapping[str, Mapping[str, Any]]) -> None:
    WRITTEN.parent.mkdir(exist_ok=True)
    kept = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": machine(),
        **results,
    }
    WRITTEN.write_text(json.dumps(kept, ensure_ascii=False, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
