"""The same measurement sent twice: digests of what was measured and when, and of nothing else.

Somebody who uploads a recording again changes what costs nothing: batching, positions, altitude,
the signer. Values and times stay. So time is cut into windows, each sixteen usual intervals long,
and the first values and times in a window make its digest: twelve, or more until six of them are
different. A window with fewer makes none: two honest stations may well both read 0.0 for a while,
or one value.

A pack may be as small as one reading. So the last windows that packs added to are kept with their
subject, and a window is the same however its readings were cut into packs.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

SLOTS: Final = 16
MIN_RECORDS: Final = 12
MIN_DISTINCT: Final = 6
DIGEST_BYTES: Final = 16
MAX_KEPT: Final = 16
"""The most samples of a window that are kept for later packs."""
KEPT_WINDOWS: Final = 2
"""The most windows of a series that are kept: what comes now, and what comes late beside it."""

Sample = tuple[int, int, int]
"""(nominal time in ms, mantissa, exponent) of a value."""

_SAMPLE: Final = struct.Struct(">Iqb")
"""Time in the window in ms, mantissa, exponent: sorted as bytes they are sorted by time."""
_TIME_BYTES: Final = 4

Kept = tuple[tuple[int, bytes], ...]
"""(number of a window, its samples of 13 bytes each, by time); the one added to last is last."""


class Windows(NamedTuple):
    """What a pack has of a series.

    Attributes:
        digests: 16 bytes for each window that it adds to and that makes a digest, by time.
        added: what to keep of it (:func:`merged`).
    """

    digests: tuple[bytes, ...] = ()
    added: Kept = ()


def series_key(name: str, unit: str, period_ms: int) -> str:
    """What windows of a series are kept under: of another length they are other windows."""
    return f"{name}\0{unit}\0{period_ms}"


def look(key: str, samples: Iterable[Sample], period_ms: int, kept: Kept = ()) -> Windows:
    """The windows of one series.

    Args:
        key: of the series (:func:`series_key`).
        samples: its values in a pack, in any order.
        period_ms: usual time between two of them; 0 makes no window.
        kept: what is kept of earlier packs.
    """
    if period_ms == 0:
        return Windows()
    length = SLOTS * period_ms
    found: dict[int, set[bytes]] = {}
    for time, mantissa, exponent in samples:
        number, at = divmod(time, length)
        sample = _SAMPLE.pack(at, mantissa, exponent)
        held = found.get(number)
        if held is None:
            found[number] = {sample}
        else:
            held.add(sample)
    before = {number: _split(packed) for number, packed in kept}
    numbers = sorted(found)
    digests: list[bytes] = []
    added: list[tuple[int, bytes]] = []
    for number in numbers:
        earlier = before.get(number, ())
        ordered = sorted(found[number].union(earlier))
        digest = _digest(key, number, b"".join(ordered))
        if digest is not None:
            digests.append(digest)
        # A window that is whole in this pack needs no other, but the last one may go on.
        if number == numbers[-1] or earlier or len(ordered) < MIN_RECORDS:
            new = b"".join(item for item in ordered[:MAX_KEPT] if item not in earlier)
            if new:
                added.append((number, new))
    return Windows(tuple(digests), tuple(added[-KEPT_WINDOWS:]))


def look_in_order(
    key: str,
    times: Sequence[int],
    mantissas: Sequence[int],
    exponents: Sequence[int],
    period_ms: int,
    kept: Kept = (),
) -> Windows:
    """:func:`look` at samples that come as columns, each later than the one before it."""
    if period_ms == 0:
        return Windows()
    length = SLOTS * period_ms
    offsets = [time % length for time in times]
    packed = b"".join(map(_SAMPLE.pack, offsets, mantissas, exponents))
    before = dict(kept)
    digests: list[bytes] = []
    added: list[tuple[int, bytes]] = []
    start, count = 0, len(times)
    while start < count:
        number = times[start] // length
        end = bisect_left(times, (number + 1) * length, start)
        earlier = before.get(number, b"")
        samples = packed[start * _SAMPLE.size : end * _SAMPLE.size]
        if earlier[-_SAMPLE.size :] >= samples[: _SAMPLE.size]:
            # What comes late has to be put in between what is kept.
            return look(key, zip(times, mantissas, exponents, strict=True), period_ms, kept)
        ordered = earlier + samples
        digest = _digest(key, number, ordered)
        if digest is not None:
            digests.append(digest)
        if end == count or earlier or end - start < MIN_RECORDS:
            new = ordered[len(earlier) : MAX_KEPT * _SAMPLE.size]
            if new:
                added.append((number, new))
        start = end
    return Windows(tuple(digests), tuple(added[-KEPT_WINDOWS:]))


def merged(kept: Kept, added: Kept) -> Kept:
    """What is kept of a series after a pack has added to it."""
    found = dict(kept)
    for number, packed in added:
        held = found.pop(number, b"")
        if held[-_SAMPLE.size :] < packed[: _SAMPLE.size]:
            found[number] = (held + packed)[: MAX_KEPT * _SAMPLE.size]
        else:
            samples = sorted({*_split(held), *_split(packed)})
            found[number] = b"".join(samples[:MAX_KEPT])
    return tuple(found.items())[-KEPT_WINDOWS:]


def keep(carried: dict[str, Kept], added: Mapping[str, Kept], most: int) -> None:
    """Take in what a pack added; the series that were silent longest go when there are too many."""
    for key, windows in added.items():
        carried[key] = merged(carried.pop(key, ()), windows)
    while len(carried) > most:
        del carried[next(iter(carried))]


def _split(packed: bytes) -> tuple[bytes, ...]:
    return tuple(packed[i : i + _SAMPLE.size] for i in range(0, len(packed), _SAMPLE.size))


def _digest(key: str, number: int, ordered: bytes) -> bytes | None:
    """Of as many samples as it takes, so what follows in the window changes nothing."""
    size, end, whole = _SAMPLE.size, MIN_RECORDS * _SAMPLE.size, len(ordered)
    if end > whole:
        return None
    values = {ordered[at + _TIME_BYTES : at + size] for at in range(0, end, size)}
    while len(values) < MIN_DISTINCT and end < whole:
        values.add(ordered[end + _TIME_BYTES : end + size])
        end += size
    if len(values) < MIN_DISTINCT:
        return None
    head = f"depin/window/2\0{key}\0{number}\0".encode()
    return hashlib.sha256(head + ordered[:end]).digest()[:DIGEST_BYTES]
