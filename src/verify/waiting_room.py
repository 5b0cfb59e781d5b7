"""The quarantine as the aggregator keeps it: its bounds, and how much of it a stranger may fill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from verify.batch import Parking
from verify.checks.quota import Bucket, take
from verify.policy import Policy, QuotaPolicy
from verify.store import Quarantine
from verify.store.quarantine import Arrival

QUARANTINE_BYTES = 256 << 20
QUARANTINE_PRINCIPAL_BYTES = 4 << 20
QUARANTINE_PER_KID = 1024

EXPIRE_MS = 3_600_000
"""What has waited in vain is looked for this often."""

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


class Expiry:
    """Drops what has waited for longer than any attestation result may come after it.

    It was counted when it came, and its sender was told: nothing could take it up any more, and it
    would keep the room of its device for ever.
    """

    def __init__(self, quarantine: Quarantine) -> None:
        self._quarantine, self._last = quarantine, 0

    def due(self, now: int, policy: Policy) -> int:
        """Do it, if it is due at a receipt time (ms); gives how much was dropped."""
        if now - self._last < EXPIRE_MS:
            return 0
        self._last = now
        return self._quarantine.expire(now - policy.attestation.wait_s * 1000)


class Strangers:
    """How often those may park that nobody knows."""

    def __init__(self) -> None:
        self._rates: dict[str, Bucket] = {}

    def park(
        self, quarantine: Quarantine, parked: Sequence[Parking], rules: QuotaPolicy
    ) -> tuple[int, set[bytes]]:
        """Park what its sender's rate allows, and what verifies and waits.

        Returns:
            How many were parked, and ids of those that wait and found no room.
        """
        allowed = [item for item in parked if item.id or self.allow(item.principal, item.at, rules)]
        if not allowed:
            return 0, set()
        arrivals = [Arrival(item.principal, item.kid, item.at, item.data) for item in allowed]
        kept = quarantine.park_many(arrivals)
        refused = {
            item.id for item, good in zip(allowed, kept, strict=True) if item.id and not good
        }
        return sum(kept), refused

    def allow(self, principal: str, at: int, rules: QuotaPolicy) -> bool:
        """Whether somebody's rate has room for one more at a receipt time (ms); takes it."""
        rate, burst = rules.unauthenticated_per_minute, rules.unauthenticated_burst
        self._rates[principal], allowed = take(self._rates.pop(principal, None), at, rate, burst)
        while len(self._rates) > MAX_STRANGERS:
            del self._rates[next(iter(self._rates))]
        return allowed
