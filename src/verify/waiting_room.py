"""The quarantine as the aggregator keeps it: its bounds, and how much of it a stranger may fill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from verify.batch import Parking
from verify.checks.quota import Bucket, take
from verify.policy import QuotaPolicy
from verify.store import Quarantine
from verify.store.quarantine import Arrival

QUARANTINE_BYTES = 256 << 20
QUARANTINE_PRINCIPAL_BYTES = 4 << 20
QUARANTINE_PER_KID = 1024

MAX_STRANGERS = 65_536
"""Principals whose unauthenticated rate is remembered; which bytes wait changes no verdict."""


def open_quarantine(directory: Path) -> Quarantine:
    """The quarantine, within its bounds. Raises StateError."""
    return Quarantine.open(
        directory,
        max_total_bytes=QUARANTINE_BYTES,
        max_per_principal_bytes=QUARANTINE_PRINCIPAL_BYTES,
        max_per_kid=QUARANTINE_PER_KID,
    )


class Strangers:
    """How often those may park that nobody knows."""

    def __init__(self) -> None:
        self._rates: dict[str, Bucket] = {}

    def park(self, quarantine: Quarantine, parked: Sequence[Parking], rules: QuotaPolicy) -> int:
        """Park what its sender's rate allows; gives how many were."""
        rate, burst = rules.unauthenticated_per_minute, rules.unauthenticated_burst
        arrivals = []
        for item in parked:
            held, allowed = take(self._rates.pop(item.principal, None), item.at, rate, burst)
            self._rates[item.principal] = held
            if allowed:
                arrivals.append(Arrival(item.principal, item.kid, item.at, item.data))
        while len(self._rates) > MAX_STRANGERS:
            del self._rates[next(iter(self._rates))]
        return sum(quarantine.park_many(arrivals)) if arrivals else 0
