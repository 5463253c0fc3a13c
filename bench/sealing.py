"""What sealing a ticket costs: hiding it and sealing it, beside the bare cipher over the same bytes.

Run from the repository: `python -m bench.sealing`. Prints JSON; times in microseconds, medians.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.domain import personal
from service.domain.personal import hidden
from service.domain.similar import person
from service.seal import Algorithm, Keyring, new_key
from service.store.tickets import _sealed_of
from tests.worlds import complaint

ROUNDS = 5_000
_PLAIN = complaint(content="买了两斤排骨回家一称只有一斤七两，请相关部门尽快核实处理并答复。" * 4)
_NUMBERED = complaint(content="身份证11010519491231002X，电话13800000001，" + _PLAIN.content)


def _median_us(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        before = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - before)
    return round(statistics.median(times) / 1000, 2)


def run() -> dict[str, Any]:
    """Measure, and return the figures."""
    found: dict[str, Any] = {}
    document = orjson.dumps(_sealed_of(_NUMBERED))
    secret, nonce = os.urandom(32), os.urandom(12)
    bare = AESGCM(secret)
    found["bytes"] = len(document)
    found["bare_us"] = _median_us(lambda: bare.encrypt(nonce, document, b"1:"))
    for algorithm in Algorithm:
        ring = Keyring([new_key(algorithm, date(2026, 11, 18))])
        sealed = ring.seal(document, "1:")
        name = algorithm.lower().replace("-", "_")
        found[f"{name}_seal_us"] = _median_us(
            lambda r=ring: r.seal(orjson.dumps(_sealed_of(_NUMBERED)), "1:")  # type: ignore[misc]
        )
        found[f"{name}_open_us"] = _median_us(lambda r=ring, s=sealed: r.open(s, "1:"))  # type: ignore[misc]
        if algorithm is Algorithm.AES:
            found["seal_to_bare"] = round(found[f"{name}_seal_us"] / found["bare_us"], 1)
    key = os.urandom(32)
    found["person_us"] = _median_us(lambda: person(_NUMBERED.contact.phone, key))
    found["hide_no_number_us"] = _median_us(lambda: (personal._said.cache_clear(), hidden(_PLAIN)))
    found["hide_two_numbers_us"] = _median_us(
        lambda: (personal._said.cache_clear(), hidden(_NUMBERED))
    )
    found["hide_again_us"] = _median_us(lambda: hidden(_NUMBERED))
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(), indent=2) + "\n")
