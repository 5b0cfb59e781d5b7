"""How long the machine has been up, in the one way that every process on it counts."""

from __future__ import annotations

import time


def boottime() -> float:
    """Seconds that never go back and go on while the machine sleeps, where the system has that.

    A device's uptime has to go on in sleep: a reader that knows when the device booted would
    otherwise date everything after a sleep too early, by as much as it took.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
