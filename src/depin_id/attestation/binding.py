"""The one challenge of all formats: evidence for it is fresh, for this network, key and boot."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from depin_id import cbor
from depin_id.ack import NONCE_BYTES
from depin_id.claims import is_uint
from depin_id.envelope import MAX_POSITION
from depin_id.errors import AttestationError

LABEL: Final = "depin-attest/v1"
CHALLENGE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Binding:
    """What evidence is bound to: its hash goes into the challenge slot of the format.

    Attributes:
        audience: DID of the network that asks.
        nonce: of its challenge (:func:`depin_id.ack.read_challenge`), 16 bytes.
        did: of the device.
        thumbprint: of the key that signs its readings, 32 bytes.
        expires: of the challenge, whole seconds since 1970.
        boot: the device's epoch on this network: the result is for this boot only.

    Raises:
        AttestationError: ``attestation.binding``, a part has the wrong form.
    """

    audience: str
    nonce: bytes
    did: str
    thumbprint: bytes
    expires: int
    boot: int

    def __post_init__(self) -> None:
        if type(self.nonce) is not bytes or len(self.nonce) != NONCE_BYTES:
            raise _wrong(f"the nonce is not {NONCE_BYTES} bytes")
        if type(self.thumbprint) is not bytes or len(self.thumbprint) != 32:
            raise _wrong("the thumbprint is not 32 bytes")
        if not is_uint(self.expires) or not is_uint(self.boot, MAX_POSITION):
            raise _wrong("expiry or boot is no number, or too large")
        if not all(type(did) is str and len(did) <= 2048 for did in (self.audience, self.did)):
            raise _wrong("a DID is no text, or too long")

    @property
    def challenge(self) -> bytes:
        """32 bytes: SHA-256 over the deterministic CBOR of all parts, under their own label.

        PSA and ESP-TEE take challenges of 32, 48 or 64 bytes only; every other slot takes 32 too.
        """
        parts = [self.audience, self.nonce, self.did, self.thumbprint, self.expires, self.boot]
        return hashlib.sha256(cbor.encode([LABEL, *parts])).digest()


def _wrong(what: str) -> AttestationError:
    return AttestationError("attestation.binding", what)
