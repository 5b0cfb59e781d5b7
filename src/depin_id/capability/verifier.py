"""Verdicts on capabilities, kept by the hash of the chain: signatures are verified once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Final

from depin_id.capability.chain import (
    MAX_BYTES,
    Capability,
    OwnerKey,
    Revoked,
    check_now,
    no_list,
    verify_chain,
)
from depin_id.errors import CredentialError
from depin_id.keys import PublicKey

CACHED: Final = 4096


class CapabilityVerifier:
    """Verifies chains of one network and remembers those whose signatures are good. Any thread may
    ask.

    Time, revocation and the owner's key are looked at each time: a verdict is kept for the key it
    was made with, and one that is not good is not kept at all.

    Args:
        network: its DID. owner_key, revoked: as for
            :func:`~depin_id.capability.chain.verify_chain`.
        cached: how many verdicts are kept; the one unused for longest goes first.
    """

    def __init__(
        self,
        *,
        network: str,
        owner_key: OwnerKey,
        revoked: Revoked = no_list,
        cached: int = CACHED,
    ) -> None:
        self._network = network
        self._owner_key = owner_key
        self._revoked = revoked
        self._cached = cached
        self._lock = threading.Lock()
        self._verdicts: OrderedDict[bytes, tuple[PublicKey, Capability]] = OrderedDict()

    def __len__(self) -> int:
        """How many verdicts are kept."""
        return len(self._verdicts)

    def verify(self, data: bytes, *, now_ms: int) -> Capability:
        """As :func:`~depin_id.capability.chain.verify_chain`, which says what it raises."""
        if len(data) > MAX_BYTES:
            raise CredentialError("capability.too_large", f"it has more than {MAX_BYTES} bytes")
        mark = hashlib.sha256(data).digest()
        with self._lock:
            kept = self._verdicts.get(mark)
            if kept is not None:
                self._verdicts.move_to_end(mark)
        if kept is not None and self._owner_key(kept[1].issuer) == kept[0]:
            check_now(kept[1], now_ms=now_ms, revoked=self._revoked)
            return kept[1]
        with self._lock:
            self._verdicts.pop(mark, None)
        return self._first(mark, data, now_ms)

    def _first(self, mark: bytes, data: bytes, now_ms: int) -> Capability:
        used: list[PublicKey] = []

        def owner_key(issuer: str) -> PublicKey:
            used.append(self._owner_key(issuer))
            return used[-1]

        capability = verify_chain(
            data,
            network=self._network,
            owner_key=owner_key,
            now_ms=now_ms,
            revoked=self._revoked,
        )
        with self._lock:
            self._verdicts[mark] = used[-1], capability
            while len(self._verdicts) > self._cached:
                self._verdicts.popitem(last=False)
        return capability
