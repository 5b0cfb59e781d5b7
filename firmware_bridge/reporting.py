"""Telling the network which envelopes were dropped, so that gaps are explained."""

from __future__ import annotations

import logging
from collections.abc import Callable

from depin_id.envelope import KIND_ENVELOPE
from firmware_bridge.clock import BridgeClock
from firmware_bridge.dropping import MEMBER, DroppedRange
from firmware_bridge.signing import SigningDevice, signed_identity
from firmware_bridge.spool import Spool

log = logging.getLogger("depin_bridge.spool")

EVERY = 30.0
AHEAD = 8
"""Reports that may wait for their acknowledgement; they are beyond the spool's bounds."""


class Reporter:
    """Seals signed reports of dropped ranges while the uplink is up.

    Args:
        connected: whether it is.
    """

    def __init__(
        self,
        device: SigningDevice,
        network: str,
        spool: Spool,
        clock: BridgeClock,
        connected: Callable[[], bool],
    ) -> None:
        self._device, self._network, self._spool = device, network, spool
        self._clock, self._connected = clock, connected
        self._next = 0.0

    def work(self, now: float, at: int | None) -> bool:
        """Report, if it is time to; gives whether there is something to send.

        Args:
            now: the monotonic clock. at: seconds since 1970, or None when that is not known.

        Raises:
            StateError: as :meth:`Spool.report`, and what signing raises.
        """
        if now < self._next or not self._connected():
            return False
        self._next = now + EVERY
        reports = 0
        while self._spool.unreported and self._spool.kept() < AHEAD:
            count = self._spool.report(self._seal, at=at)
            if not count:
                break
            reports += 1
            log.warning("%d ranges of dropped envelopes are reported to the network", count)
        return reports > 0

    def _seal(self, ranges: list[DroppedRange]) -> tuple[bytes, bytes]:
        data = self._device.sign_status(
            {MEMBER: [dropped.member for dropped in ranges]},
            network=self._network,
            clock=self._clock.claim,
        )
        key = self._device.public_key
        return signed_identity(key, self._network, data, KIND_ENVELOPE), data
