"""Chip evidence of peaq (``peaq.verify.chip-evidence/1``), verified against the machine's DID.

A chip signs a transcript once, at onboarding, and the DID's controller countersigns. peaq's own
check ends there: whether that controller controls that DID, and whether the DID names the chip's
key, is asked here. The chip signs no reading.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from depin_id import base64url, strict_json
from depin_id.errors import CredentialError, EncodingError, EnvelopeError, SignatureInvalid
from depin_id.evm import keccak256, parse_address, recover_address
from depin_id.jcs import canonicalize
from depin_id.keys import P256_ORDER, PublicKey, admit
from depin_id.peaq.bounds import Once
from depin_id.peaq.identifier import machine_did
from depin_id.peaq.trust import MachineKeys, Trust, subject_of

PROTOCOL: Final = "peaq.verify.chip-proof/1"
CONTROLLER_PROOF: Final = "peaq.verify.controller-proof/1"
SCHEMA: Final = "peaq.verify.chip-evidence/1"
PROFILE: Final = "infineon-optiga-trust-m-express-ca306/1"
TRUST_BUNDLE: Final = "infineon-optiga-trust-m-express-ca306-roots/1"
MAX_BYTES: Final = 16384
MAX_LEAF: Final = 1300
CHALLENGE_MS: Final = 300_000
_HEX: Final = re.compile(r"0x((?:[0-9a-f]{2})+)")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,77}")
_MEMBERS: Final[dict[str, tuple[str, ...]]] = {
    "certificate": ("fingerprintSha256", "leafDerBase64url", "publicKey"),
    "controllerProof": ("scheme", "signature"),
    "proof": ("chipSignature",),
    "transcript": (
        *("certificateFingerprintSha256", "chainId", "didController", "expiresAt", "machineDid"),
        *("machineId", "nonce", "profile", "protocol", "verifier"),
    ),
}
_FIXED: Final = {
    "evidenceSchema": SCHEMA,
    "profile": PROFILE,
    "revocationStatus": "not_evaluated",
    "trustBundle": TRUST_BUNDLE,
}

Certified = Callable[[bytes, int], bytes]
"""Takes a leaf certificate (DER) and now in milliseconds, gives the certified P-256 point (65
bytes), and raises a DepinError for a certificate that it does not trust."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the chip signs.

    Attributes:
        machine_id: the machine's number. chain_id: EIP-155.
        controller: address in the mixed case of EIP-55.
        nonce: 32 bytes, the verifier's. expires_at: seconds since 1970.
        fingerprint: SHA-256 of the leaf certificate.
    """

    machine_id: int
    chain_id: int
    controller: str
    nonce: bytes
    expires_at: int
    fingerprint: bytes

    def encode(self) -> bytes:
        """The canonical JSON. Raises DIDError for a number that no machine has."""
        return canonicalize(
            {
                "certificateFingerprintSha256": "0x" + self.fingerprint.hex(),
                "chainId": str(self.chain_id),
                "didController": self.controller,
                "expiresAt": str(self.expires_at),
                "machineDid": machine_did(self.machine_id),
                "machineId": str(self.machine_id),
                "nonce": "0x" + self.nonce.hex(),
                "profile": PROFILE,
                "protocol": PROTOCOL,
                "verifier": "peaq.verify",
            }
        )

    def message(self) -> bytes:
        """What is hashed with SHA-256 and signed by the chip (P-256)."""
        return PROTOCOL.encode() + b"\0" + self.encode()

    def controller_message(self, chip_signature: bytes) -> bytes:
        """What the controller's wallet signs with ``personal_sign``, after the chip (64 bytes)."""
        return canonicalize(
            {
                "chipSignature": "0x" + chip_signature.hex(),
                "proof": CONTROLLER_PROOF,
                "transcriptSha256": "0x" + hashlib.sha256(self.encode()).hexdigest(),
            }
        )


@dataclass(frozen=True, slots=True)
class VerifiedChip:
    """Evidence that holds.

    Attributes:
        transcript: what was signed. chip: the certified key.
        trust: on whose word the controller controls the DID.
        chip_named: whether the DID names the chip's key.
        chip_ref, evidence_hash: as peaq puts them on the chain.
    """

    transcript: Transcript
    chip: PublicKey
    trust: Trust
    chip_named: bool
    chip_ref: bytes
    evidence_hash: bytes


def _refuse(what: str, code: str = "peaq.evidence_malformed", hint: str = "") -> NoReturn:
    raise CredentialError(code, f"the chip evidence is not good: {what}", hint=hint)


def _bytes(text: Any, length: int, what: str) -> bytes:
    match = _HEX.fullmatch(text) if type(text) is str else None
    if match is None or len(match[1]) != 2 * length:
        _refuse(f"{what} is not 0x and {length} bytes in lower case")
    return bytes.fromhex(match[1])


def _number(text: str, limit: int, what: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > limit:
        _refuse(f"{what} is not a decimal number")
    return int(text)


def raw_signature(native: bytes) -> bytes:
    """r || s with a low s of what the chip gives: two DER integers without a sequence.

    Raises:
        SignatureInvalid: ``signature.invalid``.
    """
    r, rest = _integer(native)
    s, rest = _integer(rest)
    if rest:
        _not_native()
    return r.to_bytes(32, "big") + min(s, P256_ORDER - s).to_bytes(32, "big")


def _not_native() -> NoReturn:
    raise SignatureInvalid("signature.invalid", "the chip's signature is not two DER integers")


def _integer(data: bytes) -> tuple[int, bytes]:
    length = data[1] if len(data) > 1 else 0
    digits = data[2 : 2 + length]
    if data[:1] != b"\x02" or not 1 <= length <= 33 or len(digits) != length or digits[0] > 0x7F:
        _not_native()
    value = int.from_bytes(digits, "big")
    if not 0 < value < P256_ORDER or (length > 1 and not digits[0] and digits[1] < 0x80):
        _not_native()
    return value, data[2 + length :]


def _read(data: bytes) -> dict[str, Any]:
    value = strict_json.parse(data, max_bytes=MAX_BYTES)
    if not isinstance(value, dict) or set(value) != {*_MEMBERS, *_FIXED, "chipRef"}:
        _refuse("it has other members than it should")
    for name, members in _MEMBERS.items():
        part = value[name]
        if not isinstance(part, dict) or set(part) != set(members):
            _refuse(f"{name} has other members than it should")
        if any(type(text) is not str for text in part.values()):
            _refuse(f"{name} holds something else than texts")
    for name, text in _FIXED.items():
        if value[name] != text:
            _refuse(f"{name} is not {text}")
    if canonicalize(value) != data:
        _refuse("it is not canonical JSON (RFC 8785)")
    return value


def _transcript(fields: Mapping[str, str]) -> Transcript:
    try:
        parse_address(fields["didController"])
    except EncodingError as error:
        _refuse(error.message)
    found = Transcript(
        _number(fields["machineId"], (1 << 256) - 1, "machineId"),
        _number(fields["chainId"], (1 << 63) - 1, "chainId"),
        fields["didController"],
        _bytes(fields["nonce"], 32, "nonce"),
        _number(fields["expiresAt"], 1 << 40, "expiresAt"),
        _bytes(fields["certificateFingerprintSha256"], 32, "certificateFingerprintSha256"),
    )
    if found.encode() != canonicalize(dict(fields)):
        _refuse("the transcript says something else than it should")
    return found


def verify_chip_evidence(
    data: bytes,
    keys: MachineKeys,
    *,
    now_ms: int,
    nonce: bytes,
    chain_id: int,
    certified: Certified,
    memory: Once | None,
    chip_named: bool = True,
    allow_attribute: bool = False,
    allow_published: bool = False,
) -> VerifiedChip:
    """Verify evidence: the challenge, the certificate, both signatures, and whose DID it is.

    Args:
        data: the evidence, canonical JSON.
        keys: what the DID names: its controller, and the chip's key.
        now_ms: milliseconds since 1970. nonce: the challenge that was given out, 32 bytes.
        chain_id: the chain that the machine is on.
        certified: checks the leaf certificate (such as ``CertificatePath``).
        memory: nonces that were used; None is for looking at one piece of evidence only.
        chip_named: refuse a chip whose key the DID does not name.
        allow_attribute: see :func:`depin_id.peaq.stream.verify_package`.
        allow_published: take keys whose private half is published (test vectors only).

    Raises:
        EncodingError: ``json.malformed``, ``json.too_large``.
        CredentialError: ``peaq.evidence_malformed``, ``peaq.nonce``, ``peaq.another_chain``,
            ``peaq.another_did``, ``peaq.key_not_named``, ``peaq.attribute_only``; what
            ``certified`` raises.
        SignatureInvalid: ``signature.invalid``, ``signature.malleable``.
        EnvelopeError: ``peaq.timestamp_old``, ``peaq.timestamp_future``, ``peaq.replayed``.
        KeyRefused: ``key.not_admissible``.
        ConfigError, StateError: ``config.extra``, ``peaq.memory_full``.
    """
    value = _read(bytes(data))
    transcript = _transcript(value["transcript"])
    subject_of(value["transcript"]["machineDid"], keys)
    if transcript.chain_id != chain_id:
        _refuse(f"it is for chain {transcript.chain_id}, not {chain_id}", "peaq.another_chain")
    if transcript.nonce != nonce:
        _refuse("its nonce is not the one asked for", "peaq.nonce", "answer the new challenge")
    expires = transcript.expires_at * 1000
    if expires <= now_ms:
        raise EnvelopeError("peaq.timestamp_old", "the challenge of the chip has run out")
    # A challenge lives for five minutes: who names a later end did not get it from us.
    if expires > now_ms + CHALLENGE_MS:
        raise EnvelopeError("peaq.timestamp_future", "the chip's challenge ends too far ahead")
    chip = _certified(value, transcript, now_ms, certified, allow_published)
    signature = _bytes(value["proof"]["chipSignature"], 64, "chipSignature")
    chip.verify(transcript.message(), signature)
    trust = _controlled(value, transcript, signature, keys, allow_attribute)
    named = chip in keys.keys
    if chip_named:
        keys.require_key(chip, allow_attribute=allow_attribute)
    if memory is not None:
        memory.take(transcript.nonce, expires, now_ms)
    reference = bytes.fromhex(value["chipRef"][2:])
    return VerifiedChip(transcript, chip, trust, named, reference, keccak256(data))


def _certified(
    value: dict[str, Any],
    transcript: Transcript,
    now_ms: int,
    certified: Certified,
    allow_published: bool,
) -> PublicKey:
    text = value["certificate"]["leafDerBase64url"]
    try:
        leaf = base64url.decode(text)
    except EncodingError:
        leaf = b""
    if not 0 < len(leaf) <= MAX_LEAF:
        _refuse("the certificate is not base64url, or too large")
    fingerprint = _bytes(value["certificate"]["fingerprintSha256"], 32, "fingerprintSha256")
    if not hashlib.sha256(leaf).digest() == fingerprint == transcript.fingerprint:
        _refuse("the certificate is not the one that was signed for")
    point = certified(leaf, now_ms)
    if point != _bytes(value["certificate"]["publicKey"], 65, "publicKey"):
        _refuse("the key is not the one that the certificate certifies")
    if keccak256(point) != _bytes(value["chipRef"], 32, "chipRef"):
        _refuse("chipRef is not that of the key")
    return admit("p256", point, allow_published=allow_published)


def _controlled(
    value: dict[str, Any],
    transcript: Transcript,
    chip_signature: bytes,
    keys: MachineKeys,
    allow_attribute: bool,
) -> Trust:
    proof = value["controllerProof"]
    signature = _bytes(proof["signature"], 65, "the controller's signature")
    if proof["scheme"] != "eip191-secp256k1" or signature[64] not in (27, 28):
        _refuse("the controller's signature is not EIP-191 with v 27 or 28")
    address = recover_address(transcript.controller_message(chip_signature), signature)
    if address != parse_address(transcript.controller):
        raise SignatureInvalid("signature.invalid", "another wallet signed for the controller")
    return keys.require_controller(address, allow_attribute=allow_attribute)
