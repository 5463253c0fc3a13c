"""How long a ticket's routing takes, beside a bare Aho-Corasick pass over the same texts.

Run from the repository: `python -m bench.routing`. Prints JSON; times in microseconds.
"""

import gc
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from ahocorasick_rs import AhoCorasick

from routing_rules.evaluate import complaint_from
from routing_rules.rulebook import load

CASES = Path(__file__).parent.parent / "tests" / "cases" / "routing"
CHARS = 120
ROUNDS = 5
CLOSING = (
    "以上情况属实,来电人希望相关职能部门能够尽快安排人员到现场核实处理,并将结果电话回复本人,谢谢。"
)


def run() -> dict[str, Any]:
    """Measure, and return the figures."""
    started = time.perf_counter()
    book = load()
    loaded = time.perf_counter() - started
    rows = [
        json.loads(line)
        for path in sorted(CASES.glob("*.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    ]
    # Texts of the length that hotline tickets have: cut, or filled up as operators close them.
    complaints = [
        complaint_from(
            {**row, "content": (row["content"] + CLOSING * 3)[: CHARS - len(row["title"])]}
        )
        for row in rows
    ]
    bare = AhoCorasick(list(book.terms))
    texts = [complaint.title + complaint.content for complaint in complaints]
    gc.collect()
    gc.freeze()
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        for complaint, text in zip(complaints, texts, strict=True):
            before = time.perf_counter_ns()
            book.route(complaint)
            between = time.perf_counter_ns()
            bare.find_matches_as_indexes(text, overlapping=True)
            after = time.perf_counter_ns()
            ours.append((between - before) / 1000)
            theirs.append((after - between) / 1000)
    gc.unfreeze()
    return {
        "load_s": round(loaded, 3),
        "tickets": len(ours),
        "chars": CHARS,
        "median_us": round(statistics.median(ours), 1),
        "p99_us": round(statistics.quantiles(ours, n=100)[98], 1),
        "bare_median_us": round(statistics.median(theirs), 1),
        "ratio": round(statistics.median(ours) / statistics.median(theirs), 1),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run()) + "\n")
