"""Time slots that are filled already: disjoint sorted ranges ``[start, end)`` of slot numbers.

A stream in order is one range, or one for each gap. There are at most 64; then the two oldest
become one, gap included: what comes that late into the gap counts as repeated. So a slot may go
unpaid, and none is ever paid twice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

Ranges = tuple[tuple[int, int], ...]
MAX_RANGES: Final = 64


class Filling:
    """The filled slots of one series while a pack is judged."""

    __slots__ = ("_ends", "_starts", "changed")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        pairs = tuple(ranges)
        self._starts = [start for start, _ in pairs]
        self._ends = [end for _, end in pairs]
        self.changed = False

    def add(self, slot: int) -> bool:
        """Fill a slot; False when it was filled before."""
        starts, ends = self._starts, self._ends
        if not ends or slot > ends[-1]:
            starts.append(slot)
            ends.append(slot + 1)
            self._bound()
        elif slot == ends[-1]:
            ends[-1] = slot + 1
        elif not self._insert(slot):
            return False
        self.changed = True
        return True

    def _insert(self, slot: int) -> bool:
        starts, ends = self._starts, self._ends
        after = bisect_right(starts, slot)
        before = after - 1
        if before >= 0 and slot < ends[before]:
            return False
        joins_before = before >= 0 and ends[before] == slot
        joins_after = after < len(starts) and starts[after] == slot + 1
        if joins_before and joins_after:
            ends[before] = ends[after]
            del starts[after], ends[after]
        elif joins_before:
            ends[before] = slot + 1
        elif joins_after:
            starts[after] = slot
        else:
            starts.insert(after, slot)
            ends.insert(after, slot + 1)
            self._bound()
        return True

    def _bound(self) -> None:
        if len(self._starts) > MAX_RANGES:
            del self._starts[1], self._ends[0]

    @property
    def ranges(self) -> Ranges:
        """The ranges to keep."""
        return tuple(zip(self._starts, self._ends, strict=True))


def fill(ranges: Ranges, slot: int) -> tuple[Ranges, bool]:
    """Fill one slot.

    Args:
        ranges: disjoint, sorted, none touching the next.
        slot: the slot's number: time divided by its length, rounded down.

    Returns:
        The new ranges, and whether the slot was filled before.
    """
    filling = Filling(ranges)
    repeated = not filling.add(slot)
    return (ranges, True) if repeated else (filling.ranges, False)


def fill_all(ranges: Ranges, slots: Sequence[int]) -> Ranges | None:
    """Fill one slot after the other; None if one of them was filled before."""
    first, end = slots[0], slots[0] + len(slots)
    if slots == list(range(first, end)):
        if not ranges:
            return ((first, end),)
        start, last = ranges[-1]
        if first == last:
            return (*ranges[:-1], (start, end))
        if first > last and len(ranges) < MAX_RANGES:
            return (*ranges, (first, end))
    filling = Filling(ranges)
    return filling.ranges if all(map(filling.add, slots)) else None


def changes(before: Ranges, after: Ranges) -> Ranges:
    """What to remember of a change: the ranges that are new or end elsewhere.

    A range that is there no more is an empty one, ``(start, start)``. So a subject with many gaps
    stores with each pack what the pack has changed, not all its gaps again.
    """
    if before[:-1] == after[:-1] and before and before[-1][0] == after[-1][0]:
        return after[-1:] if before != after else ()  # a stream in order
    kept, ends = set(before), dict(after)
    gone = [(start, start) for start, _ in before if start not in ends]
    return tuple(sorted([*gone, *(pair for pair in after if pair not in kept)]))


def patched(before: Ranges, found: Ranges) -> Ranges:
    """The ranges after what :func:`changes` found."""
    if before and len(found) == 1 and before[-1][0] == found[0][0] < found[0][1]:
        return (*before[:-1], found[0])  # a stream in order
    ends = dict(before)
    ends.update(found)
    return tuple(sorted((start, end) for start, end in ends.items() if start != end))


def rescaled(ranges: Ranges, before_ms: int, after_ms: int) -> Ranges:
    """The same filled time in slots of another length; a slot that is filled in part is filled.

    Args:
        ranges: disjoint, sorted, in slots of ``before_ms``.
        after_ms: the new length, above zero like the old.
    """
    found: list[tuple[int, int]] = []
    for start, end in ranges:
        low, high = start * before_ms // after_ms, -(-end * before_ms // after_ms)
        if found and low <= found[-1][1]:
            low = found.pop()[0]
        found.append((low, high))
    return tuple(found)
