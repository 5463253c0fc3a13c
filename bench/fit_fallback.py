"""Make routing_rules/data/fallback.yaml of the rules' words and the invented cases.

Run from the repository: `python bench/fit_fallback.py`.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from routing_rules.fallback import fit, written
from routing_rules.rulebook import Rulebook, load
from routing_rules.text import plain

ROOT = Path(__file__).parent.parent
CASES = ROOT / "tests" / "cases" / "routing"


def line_of(book: Rulebook, row: dict[str, Any]) -> str | None:
    """Return the line that a case expects, the one the rules prefer where several are right."""
    expect = row["expect"]
    if expect["route"] != "auto" or "not_lead" in expect or row.get("evaluated_unit"):
        return None
    region = book.gazetteer.find(row["region"])
    for line in book.table.lines:
        unit = book.table.line_unit(region, line.code) if region else None
        if unit and re.search(expect["lead"], unit.name):
            return line.code
    return None


def main(paths: list[str]) -> int:
    """Fit on the cases of the named files, or on all."""
    book = load()
    cases = []
    for path in [Path(p) for p in paths] or sorted(CASES.glob("*.jsonl")):
        for text in path.read_text("utf-8").splitlines():
            row = json.loads(text)
            line = line_of(book, row)
            if line:
                cases.append((line, plain(f"{row['title']}。{row['content']}")))
    rules = [(r.line, plain(r.name), r.signals) for r in book.rules if r.line != "territory"]
    target = ROOT / "routing_rules" / "data" / "fallback.yaml"
    target.write_text(written(fit(rules, cases)), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
