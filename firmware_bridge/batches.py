"""Readings of a sensor that wait to be sealed, and their times when the clock turns out wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from depin_id.claims import MAX_SECONDS, Link
from depin_id.errors import EncodingError
from depin_id.readings import Reading
from depin_id.senml import RELATIVE_LIMIT, Decimal64
from firmware_bridge.items import Behalf, NativeEnvelope

SAME_TIME = 2.0
"""A time this close to the moment when it was handed over, in seconds, is the gateway's own."""


class Receipt:
    """Calls back once everything of one message is durable or refused."""

    __slots__ = ("_done", "_parts", "number")

    def __init__(self, parts: int, done: Callable[[], None] | None) -> None:
        self._parts, self._done = parts, done
        self.number = 0

    @property
    def waits(self) -> bool:
        """Whether anybody wants to know."""
        return self._done is not None

    def part(self) -> None:
        """One part of it is durable or refused."""
        self._parts -= 1
        if self._parts == 0 and self._done is not None:
            self._done()


@dataclass
class Batch:
    """Readings of one sensor that wait to be sealed.

    Attributes:
        parts: how many readings came together, and when on the gateway's time line.
    """

    source: str
    deadline: float
    behalf: Behalf | None = None
    link: Link | None = None
    readings: list[Reading] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    parts: list[tuple[int, float]] = field(default_factory=list)

    def add(self, readings: tuple[Reading, ...], stamp: float, receipt: Receipt) -> None:
        """More readings, handed over at ``stamp``."""
        self.readings.extend(readings)
        self.parts.append((len(readings), stamp))
        self.receipts.append(receipt)

    def shift(self, by: float) -> None:
        """The time line was wrong by so many seconds: the times it gave are put right."""
        self._each(lambda item, stamp: moved(item, stamp, by))
        self.parts = [(count, stamp + by) for count, stamp in self.parts]

    def without_clock(self) -> int:
        """Make every time one of the time line; gives how many were the sensor's own.

        Without a clock nothing but a distance to now can be said, and of a sensor's own clock it
        is not known: the reading then has the time at which it came.
        """
        before = list(self.readings)
        self._each(_by_receipt)
        return sum(1 for old, new in zip(before, self.readings, strict=True) if old is not new)

    def _each(self, change: Callable[[Reading, float], Reading]) -> None:
        at = 0
        for count, stamp in self.parts:
            for index in range(at, at + count):
                self.readings[index] = change(self.readings[index], stamp)
            at += count


def own_time(item: Reading, stamp: float) -> bool:
    """Whether a reading's time is not simply when it was handed over."""
    if item.time is None:
        return False
    seconds: float = item.time.mantissa * 10.0**item.time.exponent
    return abs(seconds - stamp) > SAME_TIME


def moved(item: Reading, stamp: float, by: float) -> Reading:
    """The reading, with the time ``by`` seconds later if it is the gateway's own."""
    if item.time is None or own_time(item, stamp):
        return item
    return replace(item, time=item.time + Decimal64(round(by * 1000), -3))


def received_at(item: NativeEnvelope, stamp: float, by: float) -> int:
    """When an envelope came, put right as :func:`moved` does; whole seconds since 1970."""
    own = abs(item.received_at - stamp) > SAME_TIME
    return max(0, min(item.received_at if own else round(item.received_at + by), MAX_SECONDS))


def _by_receipt(item: Reading, stamp: float) -> Reading:
    if not own_time(item, stamp):
        return item
    assert item.time is not None
    if item.time < RELATIVE_LIMIT:
        return item  # refused where it is signed, with the reason
    try:
        return replace(item, time=Decimal64(round(stamp * 1000), -3))
    except EncodingError:
        return item
