"""Position and chain: fresh, late, duplicate, forked or broken.

Every authenticated envelope in an unused position consumes it, whatever its verdict, so nobody can
try values until one is accepted. Order of arrival, redelivery and gaps are nobody's fault.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from depin_id.envelope import NO_PREV, PREV_BYTES, Provenance
from verify.state import WINDOW, Mark

_MASK = (1 << WINDOW) - 1

Status = Literal["fresh", "late", "duplicate", "forked", "broken"]


class Recorded(NamedTuple):
    """What stands at a position: its entry, identity (32 bytes) and predecessor (16 bytes)."""

    entry: int
    id: bytes
    prev: bytes


Lookup = Callable[[int, int], Recorded | None]
"""(epoch, n) of one stream to what stands there."""


class Standing(NamedTuple):
    """Where an envelope stands in its stream.

    Attributes:
        status: ``broken`` consumes its position like ``fresh`` and ``late`` do.
        mark: the stream's mark once it is consumed; None for duplicates and forks.
        recorded: what already stands there, for duplicates and forks.
        flags: for an accepted one.
    """

    status: Status
    mark: Mark | None = None
    recorded: Recorded | None = None
    flags: tuple[str, ...] = ()


def stand(mark: Mark | None, at: Provenance, identity: bytes, lookup: Lookup) -> Standing:
    """Where the envelope with this provenance and identity (32 bytes) stands.

    Args:
        mark: where the stream stands; None before its first envelope.
        lookup: what the journal holds at a position of this stream.
    """
    if mark is None or (at.epoch, at.n) > (mark.epoch, mark.n):
        return _above(mark, at, identity)
    recorded = _recorded(mark, at, lookup)
    if recorded is not None:
        same = recorded.id == identity
        return Standing("duplicate" if same else "forked", recorded=recorded)
    return _late(mark, at, identity, lookup)


def _recorded(mark: Mark, at: Provenance, lookup: Lookup) -> Recorded | None:
    below = mark.n - at.n
    if at.epoch == mark.epoch and below < WINDOW and not mark.window >> below & 1:
        return None
    return lookup(at.epoch, at.n)


def _above(mark: Mark | None, at: Provenance, identity: bytes) -> Standing:
    head = identity[:PREV_BYTES]
    if mark is None:
        new = Mark(at.epoch, at.n, 1, head)
        lost = at.n > 0 or at.prev != NO_PREV
        return Standing("fresh", new, flags=("sequence.gap",) if lost else ())
    if at.epoch > mark.epoch:
        new = Mark(at.epoch, at.n, 1, head)
        if at.n == 0 and at.prev == mark.head:
            return Standing("fresh", new)
        tail = at.n == 0 and at.prev == NO_PREV
        return Standing("fresh", new, flags=("chain.tail_unknown" if tail else "sequence.gap",))
    step = at.n - mark.n
    window = (mark.window << step | 1) & _MASK if step < WINDOW else 1
    new = Mark(at.epoch, at.n, window, head)
    if step > 1:
        return Standing("fresh", new, flags=("sequence.gap",))
    return Standing("fresh" if at.prev == mark.head else "broken", new)


def _late(mark: Mark, at: Provenance, identity: bytes, lookup: Lookup) -> Standing:
    new = mark
    below = mark.n - at.n
    if at.epoch == mark.epoch and below < WINDOW:
        new = Mark(mark.epoch, mark.n, mark.window | 1 << below, mark.head)
    # A copy of the key could fill a gap; the neighbours on both sides tell.
    before = lookup(at.epoch, at.n - 1) if at.n else None
    after = lookup(at.epoch, at.n + 1)
    if before is not None and before.id[:PREV_BYTES] != at.prev:
        return Standing("broken", new)
    if after is not None and after.prev != identity[:PREV_BYTES]:
        return Standing("broken", new)
    flags = ("late",) if before is not None or at.n == 0 else ("late", "sequence.gap")
    return Standing("late", new, flags=flags)
