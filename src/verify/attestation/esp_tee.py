"""Tokens of ESP-TEE, the trusted execution environment of ESP32-C5, C6, C61 and H2.

The token is JSON, signed over the bytes of three of its parts as they stand. Its key is made on the
device and vouched for by nobody: the manufacturer's registry, of hashes of such keys, is all that
makes one known. So nothing that a token says of firmware affirms it; what it admits counts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id import strict_json
from verify.attestation.foreign_cose import signature_is_good
from verify.attestation.identifiers import key_identifier
from verify.attestation.materials import Anchors, Model
from verify.attestation.model import BoundKey, Expected, HardwareRoot, Measurement, VerifiedClaims
from verify.attestation.public_keys import spki_of_raw
from verify.attestation.steps import Steps

MEDIA_TYPE: Final = "application/x-esp-tee-token+json"
"""Ours: Espressif has registered none."""
MAGIC: Final = "44fef7cc"
ALGORITHM: Final = "ecdsa_secp256r1_sha256"
_PARTS: Final = ("header", "eat", "public_key")
# Up to the next brace that is in no text. Nothing is tried twice: time in its length alone.
_TO_BRACE: Final = re.compile(
    rb'[^"{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}]*+)*+([{}])', re.DOTALL
)
_POINT: Final = re.compile(rb'\{"compressed":"(0[23][0-9a-f]{64})"\}')
_SIGN: Final = re.compile(rb',"sign":\{"r":"([0-9a-f]{64})","s":"([0-9a-f]{64})"\}\}')
_MAX_DEPTH: Final = 6
_INTEGERS: Final = range(-(1 << 31), 1 << 32)
_IMAGES: Final = ("bootloader", "tee", "app")


@dataclass(frozen=True, slots=True)
class SelfMadeKey:
    """A key that a token brings: as it verifies, as DER, and the hash that it is known by."""

    public: ec.EllipticCurvePublicKey
    spki: bytes
    instance: str


@lru_cache(maxsize=64)
def _header(raw: bytes) -> Any:
    """Headers are of the firmware, and come again. Nobody changes what this gives."""
    return strict_json.parse(raw)


@lru_cache(maxsize=1024)
def _key(point: bytes) -> SelfMadeKey:
    """Of a compressed point. A device attests again and again, with the same key."""
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    whole = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return SelfMadeKey(key, spki_of_raw("p256", whole), hashlib.sha256(whole[1:]).hexdigest())


@dataclass(frozen=True, slots=True)
class EspTeeToken:
    """A token as it was read; no signature is looked at.

    Attributes:
        signed: the bytes that are. signature: r and s, 64 bytes. key: that the token brings.
        instance: the hash over that key. challenge: 32, 48 or 64 bytes.
        ids: what models match on. images: digests of what runs, by its own account.
        open: images whose signature or digest was not verified, by its own account.
    """

    signed: bytes
    signature: bytes
    key: SelfMadeKey
    instance: str
    challenge: bytes
    ids: Mapping[str, str]
    images: tuple[Measurement, ...]
    open: tuple[str, ...]


def read_token(raw: bytes, steps: Steps) -> EspTeeToken:
    """Read a token: form only. Raises AttestationError."""
    header, eat, public, signature = _split(raw, steps)
    with steps.typed("esp-tee.json"):
        head, claims = _header(header), strict_json.parse(eat)
    if type(head) is not dict or type(claims) is not dict:
        steps.fail("esp-tee.json", "malformed", "header or claims are no object")
    found = head.get("magic") == MAGIC and head.get("encr_alg") == ""
    steps.require(found, "esp-tee.header", "malformed", "its magic, and not encrypted")
    signing = head.get("sign_alg")
    steps.require(signing == ALGORITHM, "esp-tee.algorithm", "algorithm", str(signing)[:40])
    match = _POINT.fullmatch(public)
    if match is None:
        steps.fail("esp-tee.key", "malformed", "no compressed point of P-256")
    with steps.typed("esp-tee.key", "key"):
        key = _key(bytes.fromhex(match[1].decode()))
    reader = _Claims(claims, steps)
    instance = reader.octets("instance_id", (32,)).hex()
    hashed = instance == key.instance
    steps.require(hashed, "esp-tee.instance", "claims", "it is the hash of the key")
    ids = {"instance": instance, "device": reader.octets("device_id", (32,)).hex()}
    ids |= _named(reader, ids["device"])
    images, unverified = _images(reader)
    return EspTeeToken(
        signed=header + eat + public,
        signature=signature,
        key=key,
        instance=instance,
        challenge=reader.octets("auth_challenge", (32, 48, 64)),
        ids=ids,
        images=images,
        open=unverified,
    )


def _split(raw: bytes, steps: Steps) -> tuple[bytes, bytes, bytes, bytes]:
    """The three parts that are signed, as they stand, and the signature.

    What is around them has exactly one form, that of the firmware: no byte there is free.
    """
    at, found = 0, []
    for index, part in enumerate(_PARTS):
        opening = (b"," if index else b"{") + f'"{part}":'.encode()
        if not raw.startswith(opening + b"{", at):
            steps.fail("esp-tee.form", "malformed", f"where {part} has to be")
        at += len(opening)
        end = _object_end(raw, at)
        if end is None:
            steps.fail("esp-tee.form", "malformed", f"{part} has no end, or is nested too deeply")
        found.append(raw[at:end])
        at = end
    match = _SIGN.fullmatch(raw, at)
    if match is None:
        steps.fail("esp-tee.form", "malformed", "no signature of r and s, and nothing after it")
    header, eat, public = found
    return header, eat, public, bytes.fromhex((match[1] + match[2]).decode())


def _object_end(raw: bytes, start: int) -> int | None:
    """Where the object that begins here ends. What is in it is read later."""
    depth, at = 0, start
    while match := _TO_BRACE.match(raw, at):
        at = match.end()
        depth += 1 if match[1] == b"{" else -1
        if depth == 0:
            return at
        if depth > _MAX_DEPTH:
            return None
    return None


@dataclass(frozen=True, slots=True)
class _Claims:
    claims: Mapping[str, Any]
    steps: Steps

    def octets(self, name: str, sizes: tuple[int, ...]) -> bytes:
        value = self.claims.get(name)
        try:
            found = bytes.fromhex(value) if type(value) is str else b""
        except ValueError:
            found = b""
        # One spelling: lower-case, and nothing between.
        if len(found) not in sizes or found.hex() != value:
            self.steps.fail(f"esp-tee.{name}", "claims", "missing, or no hexadecimal of its size")
        return found

    def integer(self, name: str) -> int:
        value = self.claims.get(name)
        if type(value) is not int or value not in _INTEGERS:
            self.steps.fail(f"esp-tee.{name}", "claims", "missing, or no integer of 32 bits")
        return value

    def text(self, name: str) -> str:
        value = self.claims.get(name)
        if type(value) is not str or len(value) > 64:
            self.steps.fail(f"esp-tee.{name}", "claims", "missing, or no short text")
        return value

    def flag(self, name: str) -> bool:
        value = self.claims.get(name)
        if type(value) is not bool:
            self.steps.fail(f"esp-tee.{name}", "claims", "missing, or no truth value")
        return value

    def part(self, name: str) -> _Claims:
        value = self.claims.get(name)
        if type(value) is not dict:
            self.steps.fail(f"esp-tee.{name}", "claims", "missing, or no object")
        return _Claims(value, self.steps)


def _named(reader: _Claims, device: str) -> dict[str, str]:
    """Chip and revision; the device's id is the hash of its address, where that is told."""
    ids = {"revision": str(reader.integer("device_ver")), "reference": reader.text("psa_cert_ref")}
    reader.integer("client_id")
    reader.integer("device_status")
    if "chip_id" in reader.claims:
        ids["chip"] = str(reader.integer("chip_id"))
    if "ueid" in reader.claims:
        ueid = reader.part("ueid")
        address = ueid.octets("mac", (6, 8))
        ueid.octets("optional_id", (16,))
        hashed = hashlib.sha256(address).hexdigest() == device
        reader.steps.require(hashed, "esp-tee.device", "claims", "it is the hash of the address")
    return ids


def _images(reader: _Claims) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    software = reader.part("sw_claims")
    if not {"bootloader", "app"} <= set(software.claims) <= set(_IMAGES):
        reader.steps.fail("esp-tee.sw_claims", "claims", "not the images of a device")
    images, unverified = [], []
    for name in sorted(software.claims):
        image = software.part(name)
        digest = image.part("part_digest")
        image.integer("secure_ver")
        measured = digest.octets("calc_digest", (32,))
        images.append(Measurement(name=name, digest=measured, version=image.text("ver")))
        good = [digest.flag("digest_validated"), digest.flag("sign_verified")]
        if not all(good):
            unverified.append(name)
    return tuple(images), tuple(unverified)


class EspTeeHandler:
    """See :class:`~verify.attestation.handlers.EvidenceHandler`.

    Anchors are the manufacturer's registry: ids ``instance``, and ``device`` where that is to be
    held against the token; their key is that of the device, or empty when only its hash is known.
    """

    name = "esp-tee"
    media_types = frozenset((MEDIA_TYPE,))
    max_bytes = 8_192

    def parse(self, raw: bytes, steps: Steps) -> EspTeeToken:
        """See EvidenceHandler."""
        return read_token(raw, steps)

    def hints(self, parsed: EspTeeToken) -> Mapping[str, str]:
        """See EvidenceHandler."""
        return parsed.ids

    def verify(
        self,
        parsed: EspTeeToken,
        *,
        anchors: Anchors,
        expected: Expected,
        model: Model,
        at: int,
        steps: Steps,
    ) -> VerifiedClaims:
        """See EvidenceHandler."""
        spki = parsed.key.spki
        found = [
            anchor
            for anchor in anchors.find("esp-tee", instance=parsed.instance)
            if anchor.spki in (b"", spki)
        ]
        steps.require(bool(found), "esp-tee.registry", "anchor", "its key is of the registry")
        known = found[0].ids.get("device", parsed.ids["device"])
        steps.require(known == parsed.ids["device"], "esp-tee.registry", "anchor", "its device too")
        good = signature_is_good(-7, parsed.key.public, parsed.signature, parsed.signed)
        steps.require(good, "esp-tee.signature", "signature", found[0].name)
        steps.passed("esp-tee.images", f"not verified: {', '.join(parsed.open) or 'none'}")
        return VerifiedClaims(
            challenge_seen=parsed.challenge,
            bound_key=BoundKey(how="challenge"),
            root=HardwareRoot(id=hashlib.sha256(spki).digest(), unique=True, assurance="firmware"),
            identifiers=frozenset((key_identifier(spki),)),
            anchors=(found[0].digest,),
            device_ids=parsed.ids,
            measurements=parsed.images,
            measures=False,
            # Its own word may open it, and not close it.
            secure=False if parsed.open else None,
        )


HANDLER: Final = EspTeeHandler()
