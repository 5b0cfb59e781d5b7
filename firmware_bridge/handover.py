"""A bounded queue between many who hand over and one who takes all there is at once."""

from __future__ import annotations

import collections
import threading
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Handover(Generic[Thing]):
    """First in, first out; use from any thread.

    ``queue.Queue`` takes its locks, and wakes somebody, for every single item, on both sides. At
    one reading a message that was a fifth of the gateway's time.

    Args:
        maxsize: how many may wait; it may be changed at any time.
    """

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self._things: collections.deque[Thing] = collections.deque()
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._waiting = False

    def offer(self, thing: Thing) -> bool:
        """Put at the end; False when there is no room."""
        with self._lock:
            if len(self._things) >= self.maxsize:
                return False
            self._things.append(thing)
            if self._waiting:
                self._filled.notify()
        return True

    def take(self, most: int, wait: float) -> list[Thing]:
        """What is there, at most ``most``; waits up to ``wait`` seconds for the first."""
        things = self._things
        with self._lock:
            if not things and wait > 0:
                self._waiting = True
                try:
                    self._filled.wait(wait)
                finally:
                    self._waiting = False
            return [things.popleft() for _ in range(min(most, len(things)))]

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._things
