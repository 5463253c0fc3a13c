"""How well the shipped rules and model route tickets that neither was made from.

Run from the repository: `python -m bench.holdout`. Prints JSON. The tickets of `holdout.jsonl` are
invented, and were written by somebody who had not seen the rules. Nothing is fitted or mended on
them: what fails here is answered with other texts, or the figures stop saying anything.
"""

import json
import sys
from pathlib import Path
from typing import Any

from routing_rules.evaluate import evaluate
from routing_rules.rulebook import load

TICKETS = Path(__file__).with_name("holdout.jsonl")


def run() -> dict[str, Any]:
    """Return the rates, and of the tickets routed at 0.9 and more how many are right."""
    rows = [json.loads(line) for line in TICKETS.read_text("utf-8").splitlines()]
    found = evaluate(load(), rows)
    sure = [each for each in found["calibration"] if each["from"] >= 0.9]
    right = sum(each["right"] * each["n"] for each in sure) / sum(each["n"] for each in sure)
    named = [each for each in found["by_tag"] if each.startswith("doc-")]
    documents = [found["by_tag"][each] for each in named]
    in_all = sum(each["n"] for each in documents)
    return {
        **{key: value for key, value in found.items() if not isinstance(value, dict | list)},
        "documents_right": sum(each["right"] * each["n"] for each in documents) / in_all,
        "right_at_0.9": right,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run()) + "\n")
