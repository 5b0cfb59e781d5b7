"""Answers kept for a while: bounded in number and age, failures for a shorter while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from depin_id.errors import DepinError

T = TypeVar("T")


class Cache(Generic[T]):
    """What was found by key, for at most so long. Any thread may ask.

    Args:
        max_age_ms: how long an answer is good; 0 keeps none.
        max_failure_ms: how long a failure is repeated without asking again.
        max_entries: the one not used for longest goes first.
        clock: milliseconds that only go forward.
        max_weight: of all answers together. weigh: what one weighs, such as its bytes.
        age: how long an answer itself says that it is good, in milliseconds; it cannot be longer
            than ``max_age_ms``.
    """

    def __init__(
        self,
        clock: Callable[[], int],
        *,
        max_age_ms: int = 300_000,
        max_failure_ms: int = 10_000,
        max_entries: int = 1024,
        max_weight: int = 1 << 26,
        weigh: Callable[[T], int] | None = None,
        age: Callable[[T], int] | None = None,
    ) -> None:
        self._clock = clock
        self._max_age = max_age_ms
        self._max_failure = min(max_failure_ms, max_age_ms)
        self._most = max_entries
        self._age = age
        self._heaviest, self._weigh, self._weight = max_weight, weigh, 0
        self._entries: OrderedDict[str, tuple[int, T | DepinError]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, load: Callable[[], T], *, fresh: bool = False) -> T:
        """What ``load`` gives, or gave lately; errors of ours are raised again.

        Args:
            fresh: ask again whatever is kept; what is found is kept.
        """
        now = self._clock()
        with self._lock:
            kept = None if fresh else self._entries.get(key)
            if kept is not None and kept[0] > now:
                self._entries.move_to_end(key)
                found = kept[1]
                if isinstance(found, DepinError):
                    raise _again(found)
                return found
        try:
            value = load()
        except DepinError as error:
            self._keep(key, now + self._max_failure, error)
            raise
        age = self._max_age if self._age is None else min(self._age(value), self._max_age)
        self._keep(key, now + age, value)
        return value

    def forget(self, key: str) -> None:
        """Ask again next time."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: str) -> None:
        gone = self._entries.pop(key, None)
        self._weight -= 0 if gone is None else self._heavy(gone[1])

    def _heavy(self, value: T | DepinError) -> int:
        return 0 if self._weigh is None or isinstance(value, DepinError) else self._weigh(value)

    def _keep(self, key: str, until: int, value: T | DepinError) -> None:
        with self._lock:
            self._drop(key)
            if until > self._clock():
                self._entries[key] = (until, value)
                self._weight += self._heavy(value)
            while len(self._entries) > self._most or self._weight > self._heaviest:
                self._drop(next(iter(self._entries)))


def _again(error: DepinError) -> DepinError:
    """The same error without the traceback of the first time."""
    return type(error)(error.code, error.message, hint=error.hint)
