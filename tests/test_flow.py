"""How much a source may send."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.domain.flow import Bucket, Rate, take

AT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
RATE = Rate(per_minute=60, burst=3)


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def test_a_burst_is_let_in_and_then_one_a_second() -> None:
    bucket: Bucket | None = None
    waits = []
    for _ in range(5):
        bucket, wait_s = take(RATE, bucket, 1, AT)
        waits.append(wait_s)
    assert waits == [0, 0, 0, 1, 1]
    bucket, wait_s = take(RATE, bucket, 1, after(1))
    assert wait_s == 0
    _, wait_s = take(RATE, bucket, 2, after(1.5))
    assert wait_s == 2


def test_a_batch_larger_than_the_burst_waits_for_the_whole_of_it() -> None:
    bucket, wait_s = take(RATE, None, 1_000, AT)
    assert wait_s == 0
    _, wait_s = take(RATE, bucket, 1_000, AT)
    assert wait_s == 3


def test_a_clock_that_is_set_back_takes_nothing_away() -> None:
    bucket, _ = take(RATE, None, 1, AT)
    bucket, wait_s = take(RATE, bucket, 2, after(-3600))
    assert (bucket.left, wait_s) == (0.0, 0)


@given(
    per_minute=st.integers(1, 10_000),
    burst=st.integers(1, 5_000),
    asked=st.lists(st.tuples(st.integers(1, 2_000), st.floats(0, 600)), max_size=30),
)
def test_never_more_than_burst_and_rate_and_who_waits_gets_in(
    per_minute: int, burst: int, asked: list[tuple[int, float]]
) -> None:
    rate = Rate(per_minute, burst)
    bucket: Bucket | None = None
    at, cost = AT, 0
    for count, pause in asked:
        at += timedelta(seconds=pause)
        bucket, wait_s = take(rate, bucket, count, at)
        if wait_s:
            _, again = take(rate, bucket, count, at + timedelta(seconds=wait_s))
            assert again == 0
        else:
            cost += min(count, burst)
        assert 0 <= bucket.left <= burst
        assert cost <= burst + (at - AT).total_seconds() * per_minute / 60 + 1e-3
