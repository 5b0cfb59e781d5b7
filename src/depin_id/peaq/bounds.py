"""When something was signed, and that it is taken once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final, Protocol

from depin_id import rfc3339
from depin_id.errors import EnvelopeError, StateError
from depin_id.peaq.identifier import PeaqDid

MAX_SEQUENCE: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Window:
    """How far a timestamp may lie from now.

    Attributes:
        age_ms: in the past. ahead_ms: in the future.
    """

    age_ms: int = 7 * 86_400_000
    ahead_ms: int = 120_000

    def check(self, when_ms: int, now_ms: int) -> None:
        """Refuse what lies outside.

        Raises:
            EnvelopeError: ``peaq.timestamp_old``, ``peaq.timestamp_future``.
        """
        if when_ms < now_ms - self.age_ms:
            raise EnvelopeError(
                "peaq.timestamp_old",
                f"signed {(now_ms - when_ms) // 1000} s ago, at most {self.age_ms // 1000} s",
            )
        if when_ms > now_ms + self.ahead_ms:
            raise EnvelopeError(
                "peaq.timestamp_future",
                f"signed {(when_ms - now_ms) // 1000} s ahead, at most {self.ahead_ms // 1000} s",
                hint="set the clock of the machine",
            )


def parse_moment(text: str) -> int:
    """ISO 8601 in UTC with seconds (``2025-01-01T00:00:00Z``) as milliseconds since 1970.

    Raises:
        EnvelopeError: ``peaq.timestamp_malformed``.
    """
    found = rfc3339.milliseconds(text, utc=True)
    if found is None:
        raise EnvelopeError(
            "peaq.timestamp_malformed",
            "the timestamp is not a moment in UTC",
            hint="write 2025-01-01T00:00:00Z",
        )
    return found


class Memory(Protocol):
    """What remembers which packages were taken."""

    def take(self, did: PeaqDid, sequence: int) -> None:
        """Remember a package that is good.

        Raises:
            EnvelopeError: ``peaq.replayed``, it was taken before, or one after it was.
            StateError: ``peaq.memory_full``.
        """
        ...


class Increasing:
    """Sequence numbers of each machine only grow. Lost with the process: :meth:`state` keeps it.

    Args:
        limit: machines remembered. A new one beyond it is refused: forgetting an old one would let
            its packages in again.
        state: what :meth:`state` gave.
    """

    def __init__(self, limit: int = 1_000_000, state: dict[str, int] | None = None) -> None:
        self._limit = limit
        self._last: dict[str, int] = dict(state or {})
        self._lock = threading.Lock()

    def take(self, did: PeaqDid, sequence: int) -> None:
        """As :meth:`Memory.take`."""
        name = f"{did.form}:{did.raw.hex()}"
        with self._lock:
            last = self._last.get(name)
            if last is None and len(self._last) >= self._limit:
                raise StateError(
                    "peaq.memory_full", f"{self._limit} machines are remembered already"
                )
            if last is None or sequence > last:
                self._last[name] = sequence
                return
        raise EnvelopeError(
            "peaq.replayed",
            f"sequence {sequence} of {did} was taken, or one after it: the last is {last}",
            hint="a machine counts up; what it sends again is not taken again",
        )

    def state(self) -> dict[str, int]:
        """The last number by machine, to be kept."""
        with self._lock:
            return dict(self._last)


class Once:
    """Things without a number are taken once, for as long as their timestamps let them in.

    Args:
        limit: how many are remembered; beyond it nothing new is taken.
    """

    def __init__(self, limit: int = 1_000_000) -> None:
        self._limit = limit
        self._until: dict[bytes, int] = {}
        self._lock = threading.Lock()

    def take(self, digest: bytes, until_ms: int, now_ms: int) -> None:
        """Remember a digest until its timestamp alone has it refused.

        Raises:
            EnvelopeError: ``peaq.replayed``.
            StateError: ``peaq.memory_full``.
        """
        with self._lock:
            if digest in self._until:
                raise EnvelopeError("peaq.replayed", "it was taken before")
            if len(self._until) >= self._limit:
                self._until = {d: until for d, until in self._until.items() if until >= now_ms}
                if len(self._until) >= self._limit:
                    raise StateError("peaq.memory_full", f"{self._limit} are remembered already")
            self._until[digest] = until_ms
