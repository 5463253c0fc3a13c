"""How much may come in at once: a bucket of tokens for each source, pure."""

from dataclasses import dataclass
from datetime import datetime
from math import ceil


@dataclass(frozen=True, slots=True)
class Rate:
    """So many payloads a minute (速率), and so many at once after a rest (突发)."""

    per_minute: int
    burst: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many payloads a source may still send at a time; a new one is full."""

    left: float
    at: datetime


def take(
    rate: Rate, bucket: Bucket | None, count: int, at: datetime, taken: int = 0
) -> tuple[Bucket, int]:
    """Return the bucket after `count` payloads and 0, or as it was and the seconds to wait.

    What is more than the burst costs the whole burst, so that no batch is too large for ever;
    `taken` of it were let in before, and whoever waits sends these again. A clock that was set back
    empties nothing.
    """
    since = max(0.0, (at - bucket.at).total_seconds()) if bucket else 0.0
    left = min(float(rate.burst), (bucket.left if bucket else rate.burst) + since * _a_second(rate))
    whole = min(count, rate.burst)
    cost = whole - taken
    if left + 1e-9 < cost:
        return Bucket(left, at), max(1, ceil((whole - left) / _a_second(rate)))
    return Bucket(left - cost, at), 0


def _a_second(rate: Rate) -> float:
    return rate.per_minute / 60
