"""How long a ticket's routing takes, beside a bare Aho-Corasick pass over the same texts.

Run from the repository: `python bench/routing.py`. Prints JSON; times in microseconds.
"""

import gc
import json
import statistics
import sys
import time
from pathlib import Path

from ahocorasick_rs import AhoCorasick

from routing_rules.evaluate import complaint_from
from routing_rules.rulebook import load

CASES = Path(__file__).parent.parent / "tests" / "cases" / "routing"
CHARS = 120
ROUNDS = 5


def main() -> int:
    """Measure and print."""
    started = time.perf_counter()
    book = load()
    loaded = time.perf_counter() - started
    rows = [
        json.loads(line)
        for path in sorted(CASES.glob("*.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    ]
    # Texts of the length that hotline tickets have, cut from whole ones.
    filler = "".join(row["content"] for row in rows)
    complaints = []
    for place, row in enumerate(rows):
        content = (row["content"] + filler[place * 31 :])[: CHARS - len(row["title"])]
        complaints.append(complaint_from({**row, "content": content}))
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
    result = {
        "load_s": round(loaded, 3),
        "tickets": len(ours),
        "chars": CHARS,
        "median_us": round(statistics.median(ours), 1),
        "p99_us": round(statistics.quantiles(ours, n=100)[98], 1),
        "bare_median_us": round(statistics.median(theirs), 1),
        "ratio": round(statistics.median(ours) / statistics.median(theirs), 1),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
