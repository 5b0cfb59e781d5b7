"""What the bridge needs of a device, and the identity of what it has signed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

import cbor2

from depin_id.ack import Ack
from depin_id.claims import Link, Place
from depin_id.cose import external_aad, sig_structure
from depin_id.envelope import parse_envelope
from depin_id.errors import EnvelopeError
from depin_id.keys import PublicKey
from depin_id.network import NetworkCard, newer, read_card
from depin_id.readings import Reading

Level = Literal["G0", "G1"]


class SigningDevice(Protocol):
    """The part of :class:`depin_id.device.Device` that the bridge uses."""

    @property
    def did(self) -> str:
        """The device's DID."""

    @property
    def public_key(self) -> PublicKey:
        """Its admitted public key."""

    def card(self, network: str) -> bytes | None:
        """The newest card of this network that it has taken, as signed."""

    def sign(
        self,
        readings: Iterable[Reading],
        *,
        network: str,
        subject: str | None = None,
        capability: bytes | None = None,
        clock: int | None = 1,
        level: Level | None = None,
        link: Link | None = None,
    ) -> bytes:
        """One signed pack; for a subject of somebody else's under a capability."""

    def sign_status(
        self, status: Mapping[int | str, Any], *, network: str, clock: int | None = 1
    ) -> bytes:
        """A signed status."""

    def wrap(
        self,
        envelope: bytes,
        *,
        network: str,
        received_at: int | None,
        link: Link | None = None,
        place: Place | None = None,
        level: Level = "G1",
        clock: int | None = 1,
    ) -> bytes:
        """A gateway envelope around unchanged bytes."""

    def take_card(self, data: bytes, *, network: str | None = None) -> NetworkCard:
        """A verified card, kept; never an older one."""

    def take_ack(self, data: bytes, *, card: NetworkCard) -> Ack:
        """A verified acknowledgement that is newer than the last."""


def own_identity(key: PublicKey, network: str, envelope: bytes) -> bytes:
    """The identity (32 bytes) of an envelope that the holder of ``key`` signed.

    Raises:
        EnvelopeError: ``envelope.foreign`` when its kid is another's; ``envelope.malformed``.
        EncodingError: it is no deterministic CBOR.
    """
    parsed = parse_envelope(envelope)
    if parsed.kid != key.kid:
        raise EnvelopeError(
            "envelope.foreign",
            "the envelope is signed by another key than this sender's",
            hint="a gateway wraps what others signed: Device.wrap",
        )
    return hashlib.sha256(parsed.sign1.to_be_signed(parsed.kind, network, key.thumbprint)).digest()


def signed_identity(key: PublicKey, network: str, envelope: bytes, kind: str) -> bytes:
    """What :func:`own_identity` gives, many times faster, for what our device has just signed.

    Never for bytes that came from elsewhere: nothing is checked.

    Args:
        kind: ``KIND_ENVELOPE``, or ``KIND_GATEWAY`` around another's.
    """
    protected, _, payload, _ = cbor2.loads(envelope).value
    aad = external_aad(kind, network, key.thumbprint)
    return hashlib.sha256(sig_structure(protected, aad, payload)).digest()


def newest_card(device: SigningDevice, card: NetworkCard) -> NetworkCard:
    """``card``, or the newer one of that network that the device took from the downlink.

    Raises: DepinError, as :func:`depin_id.network.read_card`, when the kept card is damaged.
    """
    kept = device.card(card.network)
    return card if kept is None else newer(card, read_card(kept, network=card.network))
