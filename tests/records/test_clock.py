"""Intervals of time: what clocks, uptimes, nonces and receipt allow to say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from depin_id.claims import Claims
from depin_id.envelope import Provenance
from depin_id.errors import EncodingError
from depin_id.senml import Decimal64
from tests.records.support import NOW, POLICY, number
from verify.checks.clock import (
    Anchor,
    RecordClock,
    Sealed,
    Sealing,
    check_time,
    record_interval,
    sealing_of,
    time_flags,
)

BOOT = NOW - 3_600_000


def _sealed(
    uptime: int,
    received_at: int,
    *,
    anchor: Anchor | None = None,
    beacon: int | None = None,
    clock: int | None = None,
    iat: int | None = None,
    epoch: int = 1,
) -> Sealed:
    at = Provenance(epoch, 0, bytes(16), uptime, clock)
    return sealing_of(at, Claims(iat=iat), received_at, anchor, beacon, POLICY)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 86_400_000),  # sealing, ms after boot
            st.integers(0, 7_200_000),  # then on its way
            st.none() | st.integers(0, 600_000),  # age of the nonce it echoes
        ),
        min_size=1,
        max_size=20,
    )
)
def test_the_true_instant_always_lies_in_the_interval(
    sent: list[tuple[int, int, int | None]],
) -> None:
    anchor = None
    for up_ms, delay, age in sent:
        true = BOOT + up_ms
        beacon = None if age is None else true - age
        found = _sealed(up_ms // 1000, true + delay, anchor=anchor, beacon=beacon)
        anchor = found.anchor
        assert anchor is not None and anchor.hi_ms >= BOOT
        assert anchor.lo_ms is None or anchor.lo_ms <= BOOT
        sealing = found.sealing
        assert sealing.lo_ms is None or sealing.lo_ms <= true
        assert sealing.hi_ms >= true and found.flags == () and found.refusal is None
        assert sealing.lo_ms is None or sealing.lo_ms <= sealing.nominal_ms <= sealing.hi_ms
        low, high, nominal = record_interval(Decimal64(-7), sealing) or (0, 0, 0)
        assert high >= true - 7000 and nominal == sealing.nominal_ms - 7000
        assert (low is None) == (sealing.lo_ms is None) and (low is None or low <= true - 7000)


def test_without_a_nonce_there_is_no_lower_bound() -> None:
    found = _sealed(60, NOW)
    assert found.sealing == Sealing(None, NOW, 0, False, NOW)
    assert found.anchor == Anchor(1, None, NOW - 60_000)
    interval = record_interval(Decimal64(-5), found.sealing)
    assert interval == (None, NOW - 5000, NOW - 5000)
    assert time_flags(interval, POLICY) == ("time.unbounded",)


def test_one_nonce_bounds_the_whole_boot() -> None:
    first = _sealed(60, NOW, beacon=NOW - 2000)
    assert first.anchor == Anchor(1, NOW - 2000 - 61_000, NOW - 60_000)
    # Ten minutes later, delivered hours late: the boot is known, so the reading is too.
    late = _sealed(660, NOW + 20_000_000, anchor=first.anchor)
    assert late.sealing == Sealing(NOW + 597_000, NOW + 601_000, 0, False, NOW + 600_000)


def test_latency_does_not_move_the_times_of_a_boot() -> None:
    anchor = None
    nominal = set()
    for second, delay in enumerate((400, 900, 100, 350, 0)):
        found = _sealed(60 + second, NOW + 1000 * second + delay, anchor=anchor)
        anchor = found.anchor
        nominal.add(found.sealing.nominal_ms - 1000 * second)
    assert len(nominal) == 1


def test_a_new_boot_starts_anew_and_an_old_one_changes_nothing() -> None:
    held = Anchor(4, NOW - 70_000, NOW - 60_000)
    new = _sealed(1, NOW, anchor=held, epoch=5)
    assert new.anchor == Anchor(5, None, NOW - 1000)
    old = _sealed(500, NOW, anchor=held, epoch=3)
    assert old.anchor == held and old.sealing.lo_ms is None and old.sealing.hi_ms == NOW


def test_a_contradiction_leaves_no_lower_bound() -> None:
    held = Anchor(1, NOW - 70_000, NOW - 60_000)
    # Uptime 300 at receipt: the boot was 300 s ago at the latest, and known to be later.
    found = _sealed(300, NOW, anchor=held)
    assert found.flags == ("time.anchor_contradiction",)
    assert found.anchor == Anchor(1, None, NOW - 300_000)
    assert found.sealing.lo_ms is None


def test_a_beacon_from_after_receipt_counts_as_from_receipt() -> None:
    """Where receipt times are asserted a beacon may be younger than what echoes it."""
    found = _sealed(60, NOW, beacon=NOW + 50_000)
    assert found.anchor == Anchor(1, NOW - 61_000, NOW - 60_000) and found.flags == ()


def test_a_fast_counter_is_no_contradiction() -> None:
    anchor = None
    for day in range(30):
        true_ms = day * 86_400_000
        uptime = (true_ms + true_ms * 150 // 1_000_000) // 1000
        found = _sealed(uptime, NOW + true_ms + 500, anchor=anchor, beacon=NOW + true_ms - 3000)
        assert found.flags == () and found.sealing.lo_ms is not None
        anchor = found.anchor


def test_a_slow_counter_is_no_contradiction() -> None:
    anchor = None
    for day in range(30):
        true_ms = day * 86_400_000
        uptime = (true_ms - true_ms * 150 // 1_000_000) // 1000
        found = _sealed(uptime, NOW + true_ms + 500, anchor=anchor, beacon=NOW + true_ms - 3000)
        assert found.flags == () and found.sealing.lo_ms is not None
        assert found.sealing.lo_ms <= NOW + true_ms <= found.sealing.hi_ms + 1000
        anchor = found.anchor


def test_a_clock_gives_the_sealing_by_iat() -> None:
    found = _sealed(60, NOW, clock=5, iat=NOW // 1000 - 100)
    assert found.sealing == Sealing(NOW - 105_000, NOW - 94_000, 5000, True, NOW - 100_000)
    near = _sealed(60, NOW, clock=5, iat=NOW // 1000)
    assert near.sealing.hi_ms == NOW
    ahead = _sealed(60, NOW, clock=0, iat=NOW // 1000 + 100)
    interval = record_interval(Decimal64(0), ahead.sealing)
    assert interval is not None
    finding = check_time(interval, NOW, POLICY)
    assert finding is not None and finding.code == "time.future"


def test_a_clock_without_iat_falls_back_to_the_boot() -> None:
    found = _sealed(60, NOW, clock=5, anchor=Anchor(1, NOW - 62_000, NOW - 60_000))
    assert found.sealing == Sealing(NOW - 2000, NOW, 5000, True, NOW)


def test_poor_and_unusable_clocks() -> None:
    assert _sealed(1, NOW, clock=60, iat=NOW // 1000).flags == ()
    assert _sealed(1, NOW, clock=61, iat=NOW // 1000).flags == ("time.clock_poor",)
    assert _sealed(1, NOW, clock=3600, iat=NOW // 1000).refusal is None
    refusal = _sealed(1, NOW, clock=3601, iat=NOW // 1000).refusal
    assert refusal is not None and refusal.code == "time.clock_unusable"


def test_a_clock_that_runs_behind_its_nonce_is_not_believed() -> None:
    found = _sealed(60, NOW, clock=5, iat=NOW // 1000 - 1000, beacon=NOW - 10_000)
    assert found.flags == ("time.anchor_contradiction",)
    assert found.sealing.lo_ms is None and found.sealing.hi_ms == NOW


def test_the_threshold_between_relative_and_absolute() -> None:
    sealing = Sealing(NOW - 1000, NOW + 1000, 1000, True, NOW)
    relative = number("268435455.999")
    assert record_interval(relative, sealing) == (
        NOW - 1000 + 268_435_455_999,
        NOW + 1000 + 268_435_455_999,
        NOW + 268_435_455_999,
    )
    assert record_interval(Decimal64(1 << 28), sealing) == (
        (1 << 28) * 1000 - 1000,
        (1 << 28) * 1000 + 1000,
        (1 << 28) * 1000,
    )
    assert record_interval(Decimal64(1 << 28), Sealing(None, NOW, 0, False)) is None
    assert record_interval(number("-0.0001"), sealing) == (NOW - 1001, NOW + 1000, NOW - 1)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-18, 18), st.booleans())
def test_any_time_is_taken_and_stays_small(mantissa: int, exponent: int, clocked: bool) -> None:
    sealing = Sealing(NOW - 1000, NOW, 0, clocked)
    try:
        time = Decimal64(mantissa, exponent)
    except EncodingError:
        return
    timed = RecordClock(sealing, NOW, POLICY).judge(time)
    for instant in (timed.lo_ms, timed.hi_ms, timed.nominal_ms):
        assert instant is None or abs(instant) < 1 << 62
    interval = record_interval(time, sealing)
    if interval is None:
        assert timed.finding is not None and timed.finding.code == "time.no_clock"
    else:
        assert timed[:3] == interval
        assert timed.finding == check_time(interval, NOW, POLICY)
        assert timed.flags == time_flags(interval, POLICY)


def test_future_and_stale_at_their_bounds() -> None:
    latest = NOW + POLICY.time.max_future_s * 1000
    earliest = NOW - POLICY.time.max_age_s * 1000
    assert check_time((latest, latest + 9, latest), NOW, POLICY) is None
    future = check_time((latest + 1, latest + 9, latest), NOW, POLICY)
    assert future is not None and future.code == "time.future"
    assert check_time((None, latest + 1, latest), NOW, POLICY) is not None
    assert check_time((None, earliest, earliest), NOW, POLICY) is None
    stale = check_time((None, earliest - 1, 0), NOW, POLICY)
    assert stale is not None and stale.code == "time.stale"


def test_a_wide_interval_is_flagged() -> None:
    width = POLICY.time.max_interval_s * 1000
    assert time_flags((NOW, NOW + width, NOW), POLICY) == ()
    assert time_flags((NOW, NOW + width + 1, NOW), POLICY) == ("time.interval_wide",)
