"""What time it is, on a machine whose wall clock may be missing, late, or set while we run.

Input is stamped on a time line that never jumps: the monotonic clock plus a base. As long as the
wall clock agrees with it, the base follows the wall clock; when the wall clock jumps, the time line
goes on as before and the wall clock is not believed until it has shown itself steady.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from depin_id.uptime import boottime

log = logging.getLogger("depin_bridge.clock")

BUILT: Final = 1_767_225_600
"""2026-01-01: no wall clock that is right says less."""
_AUTO_BOUND = 1
_DAY = 86_400.0
_SETTLE = 60.0
_SETTLE_LONG = 3600.0
_SPREAD = 0.05


class BridgeClock:
    """The wall clock as far as it is believed; use from any thread, with one that checks.

    Args:
        bound: error of the wall clock in whole seconds, which envelopes say; None: there is no
            wall clock at all.
        floor: seconds since 1970 that were made durable before; what is earlier is not believed.
        wall, monotonic: the clocks of the machine; the second goes on while it sleeps.
    """

    def __init__(
        self,
        bound: int | None = _AUTO_BOUND,
        *,
        floor: int = 0,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = boottime,
    ) -> None:
        self.bound = bound
        self._wall, self._monotonic = wall, monotonic
        self._floor = max(floor, BUILT)
        self.believed = False
        self._was_believed = False
        now, offset = self._look()
        self.base = offset if now + offset >= self._floor else self._floor - now
        """What is added to the monotonic clock."""
        self._candidate, self._since = offset, now
        self._mutex = threading.Lock()
        self.check()
        if not self.believed and bound is not None:
            log.warning(
                "the wall clock says %s, which is before %s: times are sent relative to sealing "
                "until it is set (is NTP running?)", _shown(now + offset), _shown(self._floor),
            )  # fmt: skip

    @property
    def claim(self) -> int | None:
        """What envelopes say of the clock: its error in seconds, or None without one."""
        return self.bound if self.believed else None

    @property
    def slack(self) -> float:
        """Differences up to this many seconds are no jump."""
        return float(max(1, self.bound or 0))

    def timeline(self) -> float:
        """Seconds since 1970 on the time line that never jumps; right while believed."""
        return self._monotonic() + self.base

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._monotonic()

    def set_bound(self, bound: int | None) -> None:
        """Another bound from now on; None: there is no wall clock."""
        self.bound = bound
        self.check()

    def check(self) -> None:
        """Compare the clocks; now and then, and before something is sealed."""
        with self._mutex:
            now, offset = self._look()
            if self.bound is None:
                self.believed = False
            elif self.believed:
                self._still(now, offset)
            else:
                self._again(now, offset)

    def _look(self) -> tuple[float, float]:
        """The monotonic clock, and how far the wall clock is from it, read close together."""
        best = (float("inf"), 0.0, 0.0)
        for _ in range(3):
            before = self._monotonic()
            wall = self._wall()
            spread = self._monotonic() - before
            best = min(best, (spread, before, wall - before))
            if spread <= _SPREAD:
                break
        return best[1], best[2]

    def _still(self, now: float, offset: float) -> None:
        if abs(offset - self.base) <= self.slack:
            self.base = offset
            return
        self.believed = False
        self._candidate, self._since = offset, now
        log.warning(
            "the wall clock jumped by %+.1f s, to %s: times are sent relative to sealing until it "
            "is steady", offset - self.base, _shown(now + offset),
        )  # fmt: skip

    def _again(self, now: float, offset: float) -> None:
        if abs(offset - self._candidate) > self.slack:
            self._candidate, self._since = offset, now
        wait = self._patience(now + offset, offset - self.base)
        if wait is None or now - self._since < wait:
            return
        self._floor = min(self._floor, int(now + offset))
        self.base, self.believed = offset, True
        if self._was_believed:
            log.warning("the wall clock is believed again: %s", _shown(now + offset))
        elif self._since > 0:
            log.info("the wall clock says %s", _shown(now + offset))
        self._was_believed = True

    def _patience(self, wall: float, jump: float) -> float | None:
        """How long the wall clock has to be steady before it is believed; None: never."""
        if wall < BUILT:
            return None
        if wall < self._floor:
            return _SETTLE_LONG  # an earlier time, made durable, may have been the wrong one
        if not self._was_believed or abs(jump) <= self.slack:
            return 0.0
        return _SETTLE if abs(jump) < _DAY else _SETTLE_LONG


def _shown(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f}"
