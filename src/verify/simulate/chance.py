"""Random numbers that are the same on every machine: integers only, eight bytes of state.

A fleet holds one of these for each device, so it has to be small; and what it gives becomes signed
bytes, so no floating point may come between (libraries differ in the last digit).
"""

from __future__ import annotations

import hashlib
from typing import Final

_MASK: Final = (1 << 64) - 1
_STEP: Final = 0x9E3779B97F4A7C15
_SPREAD: Final = 37_837
"""Standard deviation of the sum of four 16-bit numbers: 65536 / sqrt(3)."""


class Chance:
    """SplitMix64, seeded by any names."""

    __slots__ = ("_state",)

    def __init__(self, *names: object) -> None:
        text = "\0".join(str(name) for name in ("depin simulate", *names))
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        self._state = int.from_bytes(digest, "big")

    def bits(self) -> int:
        """64 random bits."""
        self._state = state = (self._state + _STEP) & _MASK
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) & _MASK
        return state ^ state >> 31

    def below(self, bound: int) -> int:
        """From 0 up to, not including, ``bound``."""
        return self.bits() * bound >> 64

    def between(self, low: int, high: int) -> int:
        """From ``low`` to ``high``, both included."""
        return low + self.below(high - low + 1)

    def one_in(self, count: int) -> bool:
        """True once in ``count`` times."""
        return self.below(count) == 0

    def normal(self, deviation: int) -> int:
        """About normally distributed around 0, never beyond 3.5 deviations."""
        bits = self.bits()
        total = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
        return (total - 131_070) * deviation // _SPREAD
