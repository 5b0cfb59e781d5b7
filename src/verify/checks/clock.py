"""When something was measured: intervals from clocks, uptimes, downlink nonces and receipt.

Milliseconds since 1970 throughout. A device without a clock knows its uptime only. Each of its
envelopes says "this boot was no later than receipt less uptime", and one that echoes a downlink
nonce says "and no earlier than that nonce less uptime": so the instant of the boot lies in an
interval, the :class:`Anchor`, and with it everything the device measured in that boot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from depin_id.claims import Claims
from depin_id.envelope import Provenance
from depin_id.senml import Decimal64
from verify.checks import Finding
from verify.columns import MAX_TIME_MS
from verify.policy import Policy

RELATIVE_LIMIT_S: Final = 1 << 28
"""RFC 8428 section 4.5.3: a time below it is relative, here to sealing."""
JITTER_MS: Final = 1_000
"""An upper bound that is better by less is not taken: a boot's times must not move with latency."""
DRIFT_PPM: Final = 200
"""How far an uptime counter may drift: cheap oscillators over their temperature range."""
_HORIZON_S: Final = 1 << 50
_HORIZON_MS: Final = _HORIZON_S * 1000

Interval = tuple[int | None, int, int]
"""(earliest or None, latest, nominal): nominal is what slots and windows are counted by."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """When a boot was (wall time of uptime 0): from ``lo_ms``, None when unknown, to ``hi_ms``."""

    epoch: int
    lo_ms: int | None
    hi_ms: int


@dataclass(frozen=True, slots=True)
class Sealing:
    """When an envelope was sealed.

    Attributes:
        lo_ms, hi_ms: earliest (None: unknown) and latest.
        error_ms: error of the device's wall clock; 0 without one.
        clocked: whether it has a wall clock, so that absolute times mean something.
        instant_ms: the instant that relative times count from; None is ``hi_ms``.
    """

    lo_ms: int | None
    hi_ms: int
    error_ms: int
    clocked: bool
    instant_ms: int | None = None

    @property
    def nominal_ms(self) -> int:
        """The instant that relative times count from."""
        return self.hi_ms if self.instant_ms is None else self.instant_ms


class Sealed(NamedTuple):
    """What :func:`sealing_of` finds: it unpacks as (sealing, anchor, flags, refusal)."""

    sealing: Sealing
    anchor: Anchor | None
    flags: tuple[str, ...]
    refusal: Finding | None


def sealing_of(
    provenance: Provenance,
    claims: Claims,
    received_at: int,
    anchor: Anchor | None,
    beacon_time_ms: int | None,
    policy: Policy,
) -> Sealed:
    """When an envelope was sealed, and what that says of the boot.

    Args:
        provenance: epoch, uptime and clock error, as signed.
        claims: ``iat`` is when a device with a clock sealed.
        received_at: the aggregator's receipt time.
        anchor: what is known of the device's newest boot, None before its first envelope.
        beacon_time_ms: when the downlink nonce was issued that the envelope echoes; None without.
        policy: bounds on the clock's error.

    Returns:
        The sealing, the anchor to keep, flags (``time.clock_poor``,
        ``time.anchor_contradiction``), and a refusal ``time.clock_unusable`` or None.
    """
    beacon = None if beacon_time_ms is None else min(beacon_time_ms, received_at)
    known, flags = _anchored(anchor, provenance, received_at, beacon)
    kept = anchor if anchor is not None and anchor.epoch > provenance.epoch else known
    refusal = None
    clock = provenance.clock
    if clock is not None:
        if clock > policy.time.unusable_clock_error_s:
            limit = f"{policy.time.unusable_clock_error_s} s"
            refusal = Finding("time.clock_unusable", f"{clock} s", limit)
        elif clock > policy.time.max_clock_error_s:
            flags += ("time.clock_poor",)
    if clock is not None and claims.iat is not None:
        sealing = _by_clock(claims.iat * 1000, clock * 1000, received_at)
        if beacon is not None and sealing.hi_ms < beacon:
            # It echoes a nonce that was issued after it says it sealed.
            flags += ("time.anchor_contradiction",)
            sealing = Sealing(None, received_at, clock * 1000, True, sealing.instant_ms)
    else:
        sealing = _by_uptime(known, provenance, received_at)
    return Sealed(sealing, kept, tuple(sorted(set(flags))), refusal)


def _by_clock(iat_ms: int, error_ms: int, received_at: int) -> Sealing:
    """Whole seconds, so it was sealed within the second after; nothing arrives before it is."""
    low, high = iat_ms - error_ms, iat_ms + 1000 + error_ms
    if low <= received_at:
        high = min(high, received_at)
    return Sealing(low, high, error_ms, True, min(max(iat_ms, low), high))


def _by_uptime(anchor: Anchor, provenance: Provenance, received_at: int) -> Sealing:
    up_ms = provenance.uptime * 1000
    instant = anchor.hi_ms + up_ms
    latest = max(instant, min(received_at, instant + 1000))
    earliest = None if anchor.lo_ms is None else min(anchor.lo_ms + up_ms, instant)
    error_ms = 0 if provenance.clock is None else provenance.clock * 1000
    return Sealing(earliest, latest, error_ms, provenance.clock is not None, instant)


def _anchored(
    anchor: Anchor | None, at: Provenance, received_at: int, beacon: int | None
) -> tuple[Anchor, tuple[str, ...]]:
    """What is known of the boot once this envelope is, and flags."""
    # Uptime is cut to whole seconds: the boot may lie up to a second earlier than it says.
    high = received_at - at.uptime * 1000
    low = None if beacon is None else beacon - (at.uptime + 1) * 1000
    if anchor is None or anchor.epoch != at.epoch:
        return Anchor(at.epoch, low, high), ()
    best_high = high if high <= anchor.hi_ms - JITTER_MS else anchor.hi_ms
    best_low = anchor.lo_ms if low is None else low
    if low is not None and anchor.lo_ms is not None:
        best_low = max(low, anchor.lo_ms)
    if best_low is None or best_low <= best_high:
        return Anchor(at.epoch, best_low, best_high), ()
    drift = at.uptime * DRIFT_PPM // 1000 + 2 * JITTER_MS
    if best_low - best_high > drift:
        return Anchor(at.epoch, None, best_high), ("time.anchor_contradiction",)
    # Within what an oscillator drifts: what was said last is right, and what was said first is
    # as uncertain as the drift.
    if low is not None:
        return Anchor(at.epoch, low, high), ()
    return Anchor(at.epoch, best_high - drift, best_high), ()


# --- times of records -----------------------------------------------------------------------------


def _milliseconds(time: Decimal64) -> tuple[int, int]:
    """Rounded down and up; what no calendar knows is cut off."""
    shift = time.exponent + 3
    if shift >= 0:
        low = high = time.mantissa * 10**shift
    else:
        low, rest = divmod(time.mantissa, 10**-shift)
        high = low + (rest > 0)
    if -_HORIZON_MS < low and high < _HORIZON_MS:
        return low, high
    cut = -_HORIZON_MS if low < 0 else _HORIZON_MS
    return cut, cut


_RELATIVE_LIMIT_MS: Final = RELATIVE_LIMIT_S * 1000


def record_interval(time: Decimal64, sealing: Sealing) -> Interval | None:
    """When a record was measured.

    Args:
        time: SenML time in seconds; below 2**28 relative to sealing (RFC 8428 section 4.5.3).
        sealing: from :func:`sealing_of`.

    Returns:
        (earliest or None, latest, nominal); None for an absolute time of a device without a clock
        (code ``time.no_clock``).
    """
    if time.exponent == 0 and -_HORIZON_S < time.mantissa < _HORIZON_S:
        low = high = time.mantissa * 1000
    else:
        low, high = _milliseconds(time)
    if low < _RELATIVE_LIMIT_MS:
        earliest = sealing.lo_ms
        return (
            None if earliest is None else earliest + low,
            sealing.hi_ms + high,
            sealing.nominal_ms + low,
        )
    if not sealing.clocked:
        return None
    return low - sealing.error_ms, high + sealing.error_ms, low


def check_time(interval: Interval, received_at_ms: int, policy: Policy) -> Finding | None:
    """Whether it was measured in the future, or too long ago.

    Returns:
        Finding ``time.future`` or ``time.stale``, in milliseconds since 1970; else None.
    """
    low, high, _ = interval
    latest = received_at_ms + policy.time.max_future_s * 1000
    earliest = received_at_ms - policy.time.max_age_s * 1000
    # Without a lower bound only a time after sealing can be ahead of receipt.
    surely = high if low is None else low
    if surely > latest:
        return Finding("time.future", f"{surely} ms", f"{latest} ms")
    if high < earliest:
        return Finding("time.stale", f"{high} ms", f"{earliest} ms")
    return None


def time_flags(interval: Interval, policy: Policy) -> tuple[str, ...]:
    """``time.unbounded`` without a lower bound, ``time.interval_wide`` when wider than allowed."""
    low, high, _ = interval
    if low is None:
        return ("time.unbounded",)
    wide = high - low > policy.time.max_interval_s * 1000
    return ("time.interval_wide",) if wide else ()


class Timed(NamedTuple):
    """A record's time: interval as :data:`Interval`, flags, and what is wrong with it."""

    lo_ms: int | None
    hi_ms: int
    nominal_ms: int
    flags: tuple[str, ...] = ()
    finding: Finding | None = None


class TimedColumn(NamedTuple):
    """Times of records that nothing is wrong with: as :class:`Timed`, with flags that they share.

    None stands for the earliest of all.
    """

    lo_ms: Sequence[int] | None
    hi_ms: Sequence[int]
    nominal_ms: Sequence[int]
    flags: tuple[str, ...]


class RecordClock:
    """:func:`record_interval`, :func:`check_time` and :func:`time_flags` for a whole pack."""

    __slots__ = ("_earliest", "_latest", "_policy", "_received_at", "_sealing", "_width")

    def __init__(self, sealing: Sealing, received_at_ms: int, policy: Policy) -> None:
        self._sealing, self._received_at, self._policy = sealing, received_at_ms, policy
        self._latest = received_at_ms + policy.time.max_future_s * 1000
        self._earliest = received_at_ms - policy.time.max_age_s * 1000
        self._width = policy.time.max_interval_s * 1000

    @property
    def earliest_ms(self) -> int:
        """What was measured before this time is refused."""
        return self._earliest

    def judge(self, time: Decimal64) -> Timed:
        """A record's time; ``time.no_clock`` has the envelope's, and no lower bound."""
        sealing = self._sealing
        interval = record_interval(time, sealing)
        if interval is None:
            finding = Finding("time.no_clock", str(time), "relative to sealing")
            return Timed(None, sealing.hi_ms, sealing.nominal_ms, ("time.unbounded",), finding)
        low, high, nominal = interval
        if low is None or high - low > self._width:
            flags = time_flags(interval, self._policy)
        else:
            flags = ()
        if high < self._earliest or high > self._latest:
            late = check_time(interval, self._received_at, self._policy)
            return Timed(low, high, nominal, flags, late)
        return Timed(low, high, nominal, flags)

    def judge_column(self, times_ms: Sequence[int]) -> TimedColumn | None:
        """What :meth:`judge` finds of times in ms, all of them absolute or all relative.

        None when they are of both kinds, or something is wrong with one.
        """
        sealing, least, most = self._sealing, min(times_ms), max(times_ms)
        if least <= -_HORIZON_MS or most >= _HORIZON_MS:
            return None
        low: int | None
        if most < _RELATIVE_LIMIT_MS:
            low, high, nominal = sealing.lo_ms, sealing.hi_ms, sealing.nominal_ms
        elif least >= _RELATIVE_LIMIT_MS and sealing.clocked:
            low, high, nominal = -sealing.error_ms, sealing.error_ms, 0
        else:
            return None
        surely = high if low is None else low
        if most + surely > self._latest or least + high < self._earliest:
            return None
        if least + min(surely, high) < 0 or most + max(surely, high) > MAX_TIME_MS:
            return None  # is cut to be stored
        flags = time_flags((low, high, nominal), self._policy)
        return TimedColumn(
            None if low is None else [time + low for time in times_ms],
            [time + high for time in times_ms],
            [time + nominal for time in times_ms] if nominal else times_ms,
            flags,
        )
