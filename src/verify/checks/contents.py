"""The same measurement sent twice: digests of what was measured and when, and of nothing else.

Somebody who uploads a recording again changes what costs nothing: batching, positions, altitude,
the signer. Values and times stay. So time is cut into windows, each sixteen usual intervals long,
and the values and times in a window make its digest. A window with few records or few different
values makes none: two honest stations may well both read 0.0 for a while, or one value.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Final

SLOTS: Final = 16
MIN_RECORDS: Final = 12
MIN_DISTINCT: Final = 6
DIGEST_BYTES: Final = 16

Sample = tuple[int, int, int]
"""(nominal time in ms, mantissa, exponent) of a value."""


def window_digests(name: str, unit: str, samples: Iterable[Sample], period_ms: int) -> list[bytes]:
    """Digests of the windows of one series.

    Args:
        name, unit: of the series.
        samples: its values, in any order.
        period_ms: usual time between two of them; 0 makes no window.

    Returns:
        16 bytes for each window with at least 12 samples and 6 different values, by time. The
        same samples of a window give the same digest however they were batched; a window that is
        cut by the end of a pack has another one.
    """
    if period_ms == 0:
        return []
    length = SLOTS * period_ms
    ordered = sorted(samples)
    digests: list[bytes] = []
    start = 0
    while start < len(ordered):
        window = ordered[start][0] // length
        end = start + 1
        while end < len(ordered) and ordered[end][0] // length == window:
            end += 1
        if end - start >= MIN_RECORDS:
            digest = _digest(name, unit, ordered[start:end])
            if digest is not None:
                digests.append(digest)
        start = end
    return digests


def _digest(name: str, unit: str, samples: Sequence[Sample]) -> bytes | None:
    if len({sample[1:] for sample in samples}) < MIN_DISTINCT:
        return None
    head = f"depin/window/1\0{name}\0{unit}\0".encode()
    numbers = [number for sample in samples for number in sample]
    body = struct.pack(f">{len(numbers)}q", *numbers)
    return hashlib.sha256(head + body).digest()[:DIGEST_BYTES]
