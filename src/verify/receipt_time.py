"""Receipt time: the wall clock, which never goes back and never stands still.

A clock that was a day ahead and is put right would hold receipt times where they are for a day:
quotas would not fill, checkpoints and ticks would not come. So while the wall clock is behind what
was shown, receipt time goes on at half the speed of a steady clock until the wall clock meets it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from depin_id.errors import StateError

Clock = Callable[[], int]
"""Milliseconds."""
MAX_ASSERTED_MS = 253_370_764_800_000
"""Start of the year 9999: data keys are named by calendar months."""


def check_asserted(at: int, allowed: bool) -> None:
    """Whether a receipt time (ms) may be asserted. Raises StateError ``state.asserted_time``."""
    if not allowed:
        raise StateError(
            "state.asserted_time",
            "this aggregator does not take asserted receipt times",
            hint="`depin-verify init --allow-asserted-time` allows them, once and for all",
        )
    if not 0 <= at < MAX_ASSERTED_MS:
        raise StateError(
            "state.asserted_time",
            f"{at} is no time of receipt",
            hint="give milliseconds since 1970, before the year 9999",
        )


def steady_clock() -> int:
    """Milliseconds since some moment; nobody sets it."""
    return time.monotonic_ns() // 1_000_000


class ReceiptTime:
    """The receipt times of one aggregator, ms since 1970.

    Args:
        wall: milliseconds since 1970. steady: milliseconds since whenever; without one, receipt
            time stands still while the wall clock is behind.
    """

    def __init__(self, wall: Clock, steady: Clock | None) -> None:
        self._wall, self._steady = wall, steady
        self._shown = 0
        self._since: tuple[int, int] | None = None

    @property
    def behind_ms(self) -> int:
        """How far the wall clock is behind what was shown last."""
        return max(0, self._shown - self._wall())

    def open(self, newest: int, margin_ms: int) -> bool:
        """Begin after a journal's newest entry; gives whether the wall clock is behind it.

        Then acknowledgements may have been given with later times, by no more than ``margin_ms``:
        what is shown from now on is later still.
        """
        if self._steady is None or self._wall() >= newest or not newest:
            return False
        self.now(newest + margin_ms)
        return True

    def now(self, newest: int) -> int:
        """The time of what arrives now: not before ``newest``, nor before what was shown."""
        wall = self._wall()
        if self._steady is None:
            return max(wall, newest)
        steady = self._steady()
        if wall >= max(self._shown, newest):
            self._shown, self._since = wall, None
            return wall
        if self._since is None or newest > self._shown:
            self._shown = max(self._shown, newest)
            self._since = (self._shown, steady)
        began, at = self._since
        self._shown = max(self._shown, began + (steady - at) // 2)
        return self._shown
