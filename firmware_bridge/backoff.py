"""Waiting longer each time, never all at once."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass
class Backoff:
    """Exponential back-off with jitter, so that a fleet does not come back in one second.

    Args:
        first, most: seconds before the first retry, and the bound.
        rng: where the jitter comes from.
    """

    first: float = 0.5
    most: float = 60.0
    rng: random.Random = field(default_factory=random.SystemRandom, repr=False)
    _tries: int = 0

    def next(self) -> float:
        """Seconds to wait now: half to all of ``first * 2**tries``, at most ``most``."""
        span = min(self.most, self.first * float(1 << min(self._tries, 30)))
        self._tries += 1
        return span * (0.5 + 0.5 * self.rng.random())

    def reset(self) -> None:
        """It worked: the next wait is the first again."""
        self._tries = 0
