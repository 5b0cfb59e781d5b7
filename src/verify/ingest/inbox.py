"""What was read and is not yet committed: bounded in number and in bytes, between threads.

One thread reads the broker and offers; another takes requests; a third gathers batches. When the
broker's share is full its reader has to stop reading, so that the broker and, through it, the
publishers are held back. Requests have a share of their own, and are refused when that is full: so
neither way in can starve the other.

Bytes say what may be held; how long it waits depends on how fast it is committed. So the inbox
learns the pace of commits, and holds no more than a few seconds' worth of it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from verify.ingest import Message

_STALLS = 3
WAIT_S = 5.0
"""Of what brokers send, no more is held than is committed in this time."""
REQUEST_WAIT_S = 10.0
"""A request is refused if what is before it would take longer: it could not wait for its answer."""
_FLOOR = 1 << 20
"""Bytes that are held at any pace."""
_HEADROOM = 8
"""A request has to leave so many times its own size: large bundles shut nobody out."""
_UNKNOWN = 4 << 20
"""Bytes that are held while the pace is not known."""
_TELLING, _SLOW_S = 32 << 10, 0.5


@dataclass(frozen=True, slots=True)
class Arrival:
    """One received message in the order of arrival.

    Attributes:
        message: what to commit, or None for a refused one, which only has to be acknowledged.
        mid: packet identifier on its connection, 0 for what needs no acknowledgement.
        connection: number of the connection it came by; an identifier means nothing on another.
    """

    message: Message | None
    mid: int
    connection: int

    @property
    def size(self) -> int:
        """Bytes held; a refused message's data is not kept."""
        return 0 if self.message is None else len(self.message.data)

    @property
    def asked(self) -> bool:
        """Whether a request waits for the answer."""
        return self.message is not None and self.message.reply != 0


class Window:
    """Learns how many unacknowledged messages the broker sends before it waits.

    A broker that has 20 in flight will not send a 21st, so to wait for more would only cost time.
    MQTT 3.1.1 does not announce the number, and brokers cap what MQTT 5 clients ask for.
    """

    def __init__(self) -> None:
        self._peak = 0
        self._stalls = 0

    def seen(self, unacknowledged: int) -> None:
        """So many messages are unacknowledged now."""
        if unacknowledged > self._peak:
            self._peak, self._stalls = unacknowledged, 0

    def stalled(self, unacknowledged: int) -> None:
        """Nothing came for a while although so many are unacknowledged."""
        if unacknowledged >= self._peak:
            self._stalls += 1

    def closed(self, unacknowledged: int) -> bool:
        """Whether no more can be expected before an acknowledgement."""
        return self._stalls >= _STALLS and unacknowledged >= self._peak


def _nobody() -> None:
    pass


class Inbox:
    """A bounded queue of arrivals.

    Args:
        max_messages, max_bytes: bounds of what brokers send; one offer may overshoot by what was
            already read.
        max_requests, max_request_bytes: bounds of what requests bring; never passed.

    Attributes:
        on_room: called by the taking thread when what brokers send has room again.
    """

    def __init__(
        self,
        max_messages: int,
        max_bytes: int,
        *,
        max_requests: int = 1024,
        max_request_bytes: int = 16 << 20,
    ) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._max_requests = max_requests
        self._max_request_bytes = max_request_bytes
        self.on_room: Callable[[], None] = _nobody
        self._queue: deque[Arrival] = deque()
        self._bytes = 0
        self._requests = self._request_bytes = 0
        self._pace = 0.0
        self._unacknowledged = 0
        self._window = Window()
        self._changed = threading.Condition()
        self._interrupted = False
        self._was_full = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def bytes(self) -> int:
        """Bytes of messages held."""
        return self._bytes

    @property
    def full(self) -> bool:
        """Whether the reader has to stop."""
        with self._changed:
            self._was_full = (
                len(self._queue) - self._requests >= self._max_messages
                or self._bytes - self._request_bytes >= self._most(self._max_bytes, WAIT_S)
            )
            return self._was_full

    @property
    def pace(self) -> float:
        """Bytes committed a second, lately; 0 before the first commit."""
        return self._pace

    @property
    def wait_s(self) -> float:
        """How long what is held will take; 0 before the first commit."""
        return self._bytes / self._pace if self._pace else 0.0

    def committed(self, size: int, took_s: float) -> None:
        """So many bytes took so long: sets the pace, unless they are too few to tell."""
        if size < _TELLING and took_s < _SLOW_S:
            return
        pace = size / max(took_s, 1e-6)
        with self._changed:
            self._pace = pace if not self._pace else (self._pace + pace) / 2

    def _most(self, bound: int, seconds: float, floor: int = _FLOOR) -> int:
        known = int(self._pace * seconds) if self._pace else _UNKNOWN
        return min(bound, max(floor, known))

    @property
    def requests(self) -> tuple[int, int]:
        """Messages and bytes held that requests brought."""
        return self._requests, self._request_bytes

    def offer(self, arrival: Arrival) -> None:
        """Add one; never blocks."""
        with self._changed:
            self._queue.append(arrival)
            self._bytes += arrival.size
            if arrival.mid:
                self._unacknowledged += 1
                self._window.seen(self._unacknowledged)
            self._changed.notify_all()

    def offer_request(self, message: Message) -> bool:
        """Add what a request brought; False when its share is full. Never blocks."""
        with self._changed:
            size = len(message.data)
            if not self._has_room(size):
                return False
            self._requests += 1
            self._request_bytes += size
            self._queue.append(Arrival(message, 0, 0))
            self._bytes += size
            self._changed.notify_all()
            return True

    def has_room(self, size: int) -> bool:
        """Whether a request's message of so many bytes would be taken now."""
        with self._changed:
            return self._has_room(size)

    def _has_room(self, size: int) -> bool:
        return not (
            self._interrupted
            or self._requests >= self._max_requests
            or self._request_bytes + size > self._max_request_bytes
            or self._bytes + _HEADROOM * size > self._most(sys.maxsize, REQUEST_WAIT_S, 3 * _FLOOR)
        )

    def reconnected(self) -> None:
        """A new connection: nothing is unacknowledged on it."""
        with self._changed:
            self._unacknowledged = 0
            self._window = Window()

    def acknowledged(self, count: int) -> None:
        """So many of the current connection were acknowledged."""
        with self._changed:
            self._unacknowledged = max(0, self._unacknowledged - count)

    def interrupt(self) -> None:
        """Let a waiting :meth:`take` return at once, now and ever after."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def take(
        self, *, messages: int, size: int, wait_s: float, linger_s: float, gap_s: float
    ) -> list[Arrival]:
        """A batch in the order of arrival; empty when nothing came within ``wait_s``.

        Args:
            messages, size: bounds of the batch; it has at least one arrival when there is any.
            wait_s: how long to wait for the first.
            linger_s: how long to wait for more after the first.
            gap_s: a pause in the arrivals that ends the wait earlier.
        """
        with self._changed:
            self._changed.wait_for(lambda: bool(self._queue) or self._interrupted, wait_s)
            if self._queue:
                self._linger(messages, size, linger_s, gap_s)
            batch = self._cut(messages, size)
            room, self._was_full = self._was_full and bool(batch), False
        if room:
            self.on_room()
        return batch

    def _linger(self, messages: int, size: int, linger_s: float, gap_s: float) -> None:
        end = time.monotonic() + linger_s
        while len(self._queue) < messages and self._bytes < size and not self._interrupted:
            left = end - time.monotonic()
            if left <= 0 or self._window.closed(self._unacknowledged):
                return
            if not self._more(min(left, gap_s)):
                self._window.stalled(self._unacknowledged)
                return

    def _more(self, wait_s: float) -> bool:
        count = len(self._queue)
        return self._changed.wait_for(lambda: len(self._queue) > count or self._interrupted, wait_s)

    def _cut(self, messages: int, size: int) -> list[Arrival]:
        batch: list[Arrival] = []
        total = 0
        while self._queue and len(batch) < messages:
            total += self._queue[0].size
            if batch and total > size:
                break
            arrival = self._queue.popleft()
            self._bytes -= arrival.size
            if arrival.asked:
                self._requests -= 1
                self._request_bytes -= arrival.size
            batch.append(arrival)
        return batch
