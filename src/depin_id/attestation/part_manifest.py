"""What a manufacturer signs about one secure element: its part number, and what its slots allow.

A certificate says which chip it is, not how the chip is configured. The manifest of an ATECC608
line does: serial number to part (SKU) and the policy of each slot. One small form: a COSE_Sign1
(tag 18, deterministic CBOR) with this module's label as ``external_aad``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from depin_id import cbor, cose
from depin_id.errors import AttestationError
from depin_id.keys import PublicKey, Signer

LABEL: Final = "depin-idevid-manifest/v1"
MAX_MANIFEST: Final = 8192
MAX_SLOTS: Final = 16
_AAD: Final = LABEL.encode()
_SERIAL, _SKU, _KEY, _SLOTS = range(1, 5)


@dataclass(frozen=True, slots=True)
class Slot:
    """What one slot allows.

    Attributes:
        readable: its private key can be read. writable: a private key can be written into it, so
            that somebody else may know it.
        external: it signs what comes from outside. challenged: only after a random number of the
            chip's own went in.
    """

    readable: bool
    writable: bool
    external: bool
    challenged: bool

    @property
    def keeps(self) -> bool:
        """Whether its key was made inside and never leaves."""
        return not self.readable and not self.writable


@dataclass(frozen=True, slots=True)
class PartManifest:
    """What is said of one chip.

    Attributes:
        serial: its serial number, as its certificate has it. sku: its part number.
        key: SHA-256 of the SubjectPublicKeyInfo (DER) of the key in slot 0, 32 bytes.
        slots: the policy of each slot, at least of slot 0.
    """

    serial: str
    sku: str
    key: bytes
    slots: Mapping[int, Slot] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A manifest as it was read; its signature is verified by :meth:`verify`."""

    manifest: PartManifest
    sign1: cose.Sign1

    def verify(self, key: PublicKey) -> None:
        """Verify it under a manufacturer's key. Raises KeyRefused, SignatureInvalid."""
        cose.check_algorithm(self.sign1.headers.get(cose.HEADER_ALG), key)
        signed = cose.sig_structure(self.sign1.protected, _AAD, self.sign1.payload)
        key.verify(signed, self.sign1.signature)


def sign_manifest(manifest: PartManifest, signer: Signer) -> bytes:
    """Sign what is said of one chip. Raises AttestationError ``attestation.manifest``."""
    slots = {
        number: [slot.readable, slot.writable, slot.external, slot.challenged]
        for number, slot in manifest.slots.items()
    }
    parts = {_SERIAL: manifest.serial, _SKU: manifest.sku, _KEY: manifest.key, _SLOTS: slots}
    _read_payload(parts)
    protected = cbor.encode({cose.HEADER_ALG: signer.public_key.algorithm})
    payload = cbor.encode(parts)
    signature = signer.sign(cose.sig_structure(protected, _AAD, payload))
    return cose.assemble(protected, payload, signature)


def read_manifest(data: bytes) -> SignedManifest:
    """Read a manifest strictly; its signature is not looked at.

    Raises:
        AttestationError: ``attestation.manifest``. EncodingError, EnvelopeError: another form.
    """
    sign1 = cose.parse_sign1(data, max_bytes=MAX_MANIFEST)
    if set(sign1.headers) != {cose.HEADER_ALG}:
        _wrong("the protected header is not exactly alg")
    return SignedManifest(_read_payload(cbor.decode(sign1.payload, max_bytes=MAX_MANIFEST)), sign1)


def _read_payload(parts: Any) -> PartManifest:
    if not isinstance(parts, dict) or set(parts) != {_SERIAL, _SKU, _KEY, _SLOTS}:
        _wrong("the payload is not a map of exactly 1 to 4")
    serial, sku, key, slots = (parts[label] for label in (_SERIAL, _SKU, _KEY, _SLOTS))
    if not all(type(text) is str and 0 < len(text) <= 64 for text in (serial, sku)):
        _wrong("serial number and part number are not texts of 1 to 64")
    if type(key) is not bytes or len(key) != 32:
        _wrong("the key's hash is not 32 bytes")
    if not isinstance(slots, dict) or 0 not in slots or len(slots) > MAX_SLOTS:
        _wrong(f"the slots are not a map with slot 0 and at most {MAX_SLOTS}")
    return PartManifest(
        serial, sku, key, {number: _slot(number, slots[number]) for number in slots}
    )


def _slot(number: Any, flags: Any) -> Slot:
    if type(number) is not int or not 0 <= number < MAX_SLOTS:
        _wrong(f"a slot's number is not 0 to {MAX_SLOTS - 1}")
    if not isinstance(flags, list) or [type(flag) for flag in flags] != [bool] * 4:
        _wrong("a slot's policy is not four truth values")
    return Slot(*flags)


def _wrong(what: str) -> NoReturn:
    raise AttestationError("attestation.manifest", what)
