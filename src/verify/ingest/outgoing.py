"""Downlinks on their way to the broker: how many there may be, and how they are sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

CONGESTED_S = 2.0
_POLL_S = 0.5


class Outgoing:
    """Counts what was published and is not yet answered for.

    While we do not read because the inbox is full, the broker's answers to what was published are
    not read either. To wait for them would keep the inbox full, so QoS 0 has to do then: who
    misses an acknowledgement sends again.

    Args:
        alive: whether anybody is left to publish.
    """

    def __init__(self, alive: Callable[[], bool]) -> None:
        self._alive = alive
        self._changed = threading.Condition()
        self._count = 0
        self._unanswered: set[int] = set()
        self._stopped_at = -CONGESTED_S

    def stopped_reading(self) -> None:
        """The inbox is full, so nothing is read now."""
        self._stopped_at = time.monotonic()

    @property
    def congested(self) -> bool:
        """Whether reading was stopped lately because the inbox was full."""
        return time.monotonic() - self._stopped_at < CONGESTED_S

    def begin(self, limit: int, deadline: float) -> int | None:
        """One more: the QoS to publish it with, or None without room before ``deadline``.

        Waits while ``limit`` others are under way, unless their answers are not read now.
        """
        with self._changed:
            while not self.congested and self._count >= limit:
                if not self._wait(limit - 1, min(deadline, time.monotonic() + _POLL_S)):
                    if time.monotonic() >= deadline or not self._alive():
                        return None
            if self.congested:
                return 0
            self._count += 1
            return 1

    def sent(self, mid: int) -> None:
        """It went out with QoS 1 under this packet identifier."""
        self._unanswered.add(mid)

    def answered(self, mid: int) -> None:
        """The broker has it; what is not ours to wait for, or had QoS 0, is passed over."""
        if mid in self._unanswered:
            self._unanswered.discard(mid)
            self.failed()

    def failed(self) -> None:
        """One with QoS 1 less, whatever became of it."""
        with self._changed:
            self._count = max(0, self._count - 1)
            self._changed.notify_all()

    def forget(self) -> None:
        """A new client: nothing is under way."""
        with self._changed:
            self._count = 0
            self._unanswered.clear()
            self._changed.notify_all()

    def drain(self, deadline: float) -> bool:
        """Wait until none is under way; False when some are at ``deadline`` (monotonic seconds)."""
        with self._changed:
            return self._wait(0, deadline)

    def _wait(self, most: int, deadline: float) -> bool:
        while self._count > most:
            left = deadline - time.monotonic()
            if left <= 0 or not self._alive():
                return False
            self._changed.wait(min(left, _POLL_S))
        return True
