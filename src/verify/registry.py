"""Enrolled devices and the history of their keys, as a fold of the journal's entries.

A device is known by its DID; it speaks through keys, each valid from one receipt time to another.
Keys are chosen by the aggregator's receipt time, never by the device's clock. One thumbprint
belongs to one DID for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from depin_id.enrolment import Enrolment
from depin_id.errors import ConfigError
from depin_id.keys import PublicKey

MAX_CANDIDATES = 4
"""How many keys with one kid are tried; further ones are refused at enrolment."""


@dataclass(slots=True)
class KeyPeriod:
    """A key and when it counts: receipt times in milliseconds, ``until`` exclusive or None."""

    key: PublicKey
    since: int
    until: int | None = None
    suspended_at: int | None = None


@dataclass(slots=True)
class Device:
    """One enrolled device.

    Attributes:
        enrolment: as accepted.
        subject: index of its own subject in the state.
        keys: in the order of their validity.
        revoked_at: receipt time from which nothing of it is accepted, or None.
        erased: whether its data were erased on request.
    """

    enrolment: Enrolment
    subject: int
    keys: list[KeyPeriod] = field(default_factory=list)
    revoked_at: int | None = None
    erased: bool = False

    @property
    def did(self) -> str:
        """The device's DID."""
        return self.enrolment.did


class Registry:
    """All devices, found by DID, thumbprint and kid."""

    def __init__(self) -> None:
        self._by_did: dict[str, Device] = {}
        self._by_thumbprint: dict[bytes, tuple[Device, KeyPeriod]] = {}
        self._by_kid: dict[bytes, tuple[bytes, ...]] = {}

    def __len__(self) -> int:
        return len(self._by_did)

    def __iter__(self) -> Iterator[Device]:
        return iter(self._by_did.values())

    def device(self, did: str) -> Device | None:
        """The device with this DID."""
        return self._by_did.get(did)

    def holder(self, thumbprint: bytes) -> tuple[Device, KeyPeriod] | None:
        """Whose key has this thumbprint."""
        return self._by_thumbprint.get(thumbprint)

    def candidates(self, kid: bytes) -> tuple[bytes, ...]:
        """Thumbprints of the keys with this kid, at most four."""
        return self._by_kid.get(kid, ())

    def check_new_key(self, key: PublicKey) -> None:
        """Refuse a key that is already somebody's, or one too many for its kid.

        Raises ConfigError ``registry.duplicate_key`` or ``registry.kid_crowded``.
        """
        holder = self._by_thumbprint.get(key.thumbprint)
        if holder is not None:
            raise ConfigError(
                "registry.duplicate_key",
                f"the key is already enrolled, for {holder[0].did}",
                hint="one key belongs to one device for ever; make a new key",
            )
        if len(self.candidates(key.kid)) >= MAX_CANDIDATES:
            raise ConfigError(
                "registry.kid_crowded",
                f"{MAX_CANDIDATES} keys share the kid {key.kid.hex()} already",
                hint="make a new key",
            )

    def check_new_device(self, enrolment: Enrolment) -> None:
        """Refuse a DID that is enrolled already (ConfigError ``registry.duplicate_device``)."""
        if enrolment.did in self._by_did:
            raise ConfigError(
                "registry.duplicate_device",
                f"{enrolment.did} is enrolled already",
                hint="`depin-verify rotate` gives a new key; erased or revoked it needs a new DID",
            )
        self.check_new_key(enrolment.key)

    def known(self, did: str) -> Device:
        """The device with this DID. Raises ConfigError ``registry.unknown_device``."""
        device = self._by_did.get(did)
        if device is None:
            raise ConfigError(
                "registry.unknown_device",
                f"{did[:100]} is not enrolled",
                hint="give the DID as `depin-id device show` prints it",
            )
        return device

    def enrol(self, enrolment: Enrolment, subject: int, since: int) -> Device:
        """Add a device whose key counts from receipt time ``since`` (ms). Raises ConfigError."""
        self.check_new_device(enrolment)
        device = Device(enrolment, subject)
        self._by_did[enrolment.did] = device
        self._add_key(device, KeyPeriod(enrolment.key, since))
        return device

    def rotate(self, did: str, key: PublicKey, since: int) -> None:
        """Give a device a new key from receipt time ``since`` (ms); the old one ends there.

        Raises ConfigError, ``registry.erased`` when there is nothing left to give a key to.
        """
        self.check_new_key(key)
        device = self.known(did)
        if device.erased:
            raise ConfigError(
                "registry.erased", f"{did[:100]} was erased", hint="enrol it anew, with a new key"
            )
        device.keys[-1].until = since
        self._add_key(device, KeyPeriod(key, since))

    def revoke(self, did: str, since: int) -> None:
        """Accept nothing of a device from receipt time ``since`` (ms) on. Raises ConfigError."""
        device = self.known(did)
        earlier = device.revoked_at
        device.revoked_at = since if earlier is None else min(since, earlier)

    def erase(self, did: str) -> None:
        """Mark a device as erased. Its thumbprints stay taken. Raises ConfigError."""
        device = self.known(did)
        device.erased = True
        # Name, owner and place are forgotten too: this is what the journal alone still gives.
        device.enrolment = Enrolment.of(device.enrolment.key)

    def suspend(self, thumbprint: bytes, at: int) -> None:
        """Accept nothing more under a key that forked, until it is rotated."""
        period = self._by_thumbprint[thumbprint][1]
        if period.suspended_at is None:
            period.suspended_at = at

    def restore(self, device: Device) -> None:
        """Take a device of a snapshot as it was."""
        periods, device.keys = device.keys, []
        self._by_did[device.did] = device
        for period in periods:
            self._add_key(device, period)

    def _add_key(self, device: Device, period: KeyPeriod) -> None:
        device.keys.append(period)
        key = period.key
        self._by_thumbprint[key.thumbprint] = (device, period)
        self._by_kid[key.kid] = (*self.candidates(key.kid), key.thumbprint)
