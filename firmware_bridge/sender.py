"""One call from readings to an acknowledged envelope, for devices that run Python."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from depin_id.closing import Closing
from depin_id.network import NetworkCard
from depin_id.readings import Reading
from firmware_bridge.options import MqttOptions
from firmware_bridge.signing import SigningDevice
from firmware_bridge.spool import Policy, Spool
from firmware_bridge.uplink import Uplink


class Sender(Closing):
    """Signs readings and gets them to the aggregator, with a spool behind it.

    ::

        with Sender(device, card, "mqtts://broker.example", spool="readings.spool") as sender:
            sender.send([reading("laeq", 52.1, "dB")])

    Args:
        device: signs.
        card: the network's card.
        url: the broker, as :class:`Uplink`.
        spool: the spool's file.
        max_bytes, policy: as :meth:`Spool.open`.
        options: further options of :class:`Uplink` (``ca``, ``cert``, ``key``, ...).

    Raises:
        StateError: the spool cannot be opened. ConfigError: address or TLS files.
    """

    def __init__(
        self,
        device: SigningDevice,
        card: NetworkCard,
        url: str | MqttOptions,
        *,
        spool: str | Path,
        max_bytes: int = 64 << 20,
        policy: Policy = "refuse",
        **options: Any,
    ) -> None:
        self._device, self._network = device, card.network
        self.spool = Spool.open(spool, max_bytes=max_bytes, policy=policy)
        # Two threads that sign must also put in the order they signed.
        self._order = threading.Lock()
        try:
            self.uplink = Uplink(device, card, self.spool, url, **options)
        except BaseException:
            self.spool.close()
            raise

    def __enter__(self) -> Self:
        self.uplink.start()
        return self

    def send(self, readings: Iterable[Reading], *, subject: str | None = None) -> bytes:
        """Sign one pack; it is durable in the spool when this returns.

        Returns:
            The envelope's identity, 32 bytes.

        Raises:
            DepinError: as :meth:`depin_id.device.Device.sign` and :meth:`Spool.put`.
        """
        with self._order:
            envelope = self._device.sign(readings, network=self._network, subject=subject)
            return self.uplink.send(envelope)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything is acknowledged; gives whether it is after ``timeout`` seconds."""
        return self.uplink.flush(timeout)

    def close(self) -> None:
        """Disconnect; what is not acknowledged stays in the spool for the next time."""
        self.uplink.close()
        self.spool.close()


def send(
    device: SigningDevice,
    card: NetworkCard,
    readings: Iterable[Reading],
    *,
    url: str | MqttOptions,
    spool: str | Path,
    timeout: float = 30.0,
    **options: Any,
) -> bool:
    """Sign readings, send them, and wait for the signed acknowledgement.

    Returns:
        Whether everything in the spool is acknowledged after at most ``timeout`` seconds; if not,
        it is kept and goes with the next call.

    Raises:
        DepinError: as :class:`Sender`.
    """
    with Sender(device, card, url, spool=spool, **options) as sender:
        sender.send(readings)
        return sender.flush(timeout)
