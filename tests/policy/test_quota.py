"""Token buckets: never more than the rate, and nothing lost to rounding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from verify.checks.quota import Bucket, take


@given(
    st.integers(1, 10_000),
    st.integers(1, 500),
    st.lists(st.tuples(st.integers(-50, 5_000), st.integers(1, 20)), max_size=200),
)
def test_never_more_than_burst_and_rate(
    per_minute: int, burst: int, calls: list[tuple[int, int]]
) -> None:
    bucket, now, latest, given_out = None, 0, 0, 0
    for wait, count in calls:
        now += wait
        latest = max(latest, now)
        bucket, allowed = take(bucket, now, per_minute, burst, count)
        given_out += count if allowed else 0
        assert 0 <= bucket.tokens_milli <= burst * 1000
    assert given_out * 60_000 <= burst * 60_000 + per_minute * (latest - min(0, now) + 50)


def test_a_steady_sender_at_the_rate_is_never_refused() -> None:
    for per_minute in (1, 7, 60, 120, 999):
        bucket: Bucket | None = Bucket(1000, 0)
        for i in range(1, 500):
            # Rounded up to whole milliseconds, and one more a call for the rounding of the bucket.
            now = i * (60_000 // per_minute + 2)
            bucket, allowed = take(bucket, now, per_minute, 5)
            assert allowed


def test_empty_refill_full() -> None:
    bucket = None
    for _ in range(3):
        bucket, allowed = take(bucket, 1000, 60, 3)
        assert allowed
    bucket, allowed = take(bucket, 1999, 60, 3)
    assert not allowed
    bucket, allowed = take(bucket, 2000, 60, 3)
    assert allowed
    bucket, allowed = take(bucket, 10**15, 60, 3, count=4)
    assert not allowed and bucket.tokens_milli == 3000


def test_a_rate_of_zero_is_no_limit() -> None:
    bucket = None
    for _ in range(100):
        bucket, allowed = take(bucket, 5, 0, 0)
        assert allowed


def test_time_that_goes_back_gives_nothing() -> None:
    bucket, _ = take(Bucket(0, 100_000), 0, 60, 5)
    assert bucket == Bucket(0, 100_000)
