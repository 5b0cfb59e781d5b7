"""Envelopes of peaq's ROS 2 bridge (``peaq-ipfs-envelope@v1``), verified with a named key.

What is signed is ``sha256 | createdAt | robotId``: the content id is not, so the data are checked
by their hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from depin_id.errors import EnvelopeError
from depin_id.keys import admit
from depin_id.peaq.bounds import Once, Window
from depin_id.peaq.trust import MachineKeys, Trust, subject_of

SCHEMA: Final = "peaq-ipfs-envelope@v1"
MAX_TEXT: Final = 256
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")
_MEMBERS: Final = {
    "header": {"contentType", "createdAt", "robotId"},
    "payload": {"dataCid", "dataSha256"},
    "proof": {"algorithm", "publicKeyHex", "signatureHex"},
}
_WINDOW: Final = Window()


@dataclass(frozen=True, slots=True)
class VerifiedEnvelope:
    """An envelope whose signer the DID names.

    Attributes:
        digest: SHA-256 of the data, 32 bytes. time_ms: when, milliseconds since 1970.
        trust: on whose word the key is the robot's.
        unsigned: members that nobody signed.
    """

    digest: bytes
    time_ms: int
    trust: Trust
    unsigned: tuple[str, ...] = ("dataCid", "contentType")


def _refuse(what: str, code: str = "peaq.envelope_malformed", hint: str = "") -> NoReturn:
    raise EnvelopeError(code, what, hint=hint)


def challenge(digest_hex: str, created_at: int, robot: str) -> bytes:
    """What a robot signs with Ed25519; with sr25519 it signs the SHA-256 of it."""
    return f"{digest_hex}|{created_at}|{robot}".encode()


def _read(envelope: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(envelope, Mapping) or envelope.get("schema") != SCHEMA:
        _refuse(f"the schema is not {SCHEMA}")
    if set(envelope) != {"schema", *_MEMBERS}:
        _refuse("it has members that are not known, or not those that it needs")
    parts = []
    for name, members in _MEMBERS.items():
        part = envelope[name]
        if not isinstance(part, Mapping) or set(part) != members:
            _refuse(f"{name} has other members than {', '.join(sorted(members))}")
        for member, value in part.items():
            if member == "createdAt":
                if type(value) is not int or not 0 < value < 1 << 40:
                    _refuse("createdAt is not seconds since 1970")
            elif type(value) is not str or not 1 <= len(value) <= MAX_TEXT:
                _refuse(f"{member} is not a text of 1 to {MAX_TEXT} characters")
        parts.append(part)
    return tuple(parts)


def verify_envelope(
    envelope: Mapping[str, Any],
    data: bytes,
    keys: MachineKeys,
    *,
    now_ms: int,
    memory: Once | None,
    window: Window = _WINDOW,
    allow_attribute: bool = False,
    allow_published: bool = False,
) -> VerifiedEnvelope:
    """Verify an envelope and the data that it is for.

    Args:
        envelope: a JSON value. data: what its content id stands for.
        keys: what the robot's DID names. now_ms: milliseconds since 1970.
        memory: what was taken before; None is for looking at one only.
        window, allow_attribute: see :func:`depin_id.peaq.stream.verify_package`.
        allow_published: take keys whose private half is published (test vectors only).

    Raises:
        EnvelopeError: ``peaq.envelope_malformed``, ``peaq.algorithm``: sr25519 is not verified
            here; ``peaq.data_changed``, ``peaq.timestamp_old``, ``peaq.timestamp_future``,
            ``peaq.replayed``.
        SignatureInvalid: ``signature.invalid``.
        CredentialError: ``peaq.another_did``, ``peaq.key_not_named``, ``peaq.attribute_only``.
        KeyRefused: ``key.not_admissible``.
        StateError: ``peaq.memory_full``.
    """
    header, payload, proof = _read(envelope)
    if proof["algorithm"] != "ed25519":
        _refuse(
            "only envelopes signed with Ed25519 are verified",
            "peaq.algorithm",
            "have the robot sign with an Ed25519 key",
        )
    for text, form in (
        (payload["dataSha256"], _DIGEST),
        (proof["publicKeyHex"], _DIGEST),
        (proof["signatureHex"], _SIGNATURE),
    ):
        if not form.fullmatch(text):
            _refuse("a hash, key or signature is not hexadecimal in lower case")
    subject_of(header["robotId"], keys)
    when = header["createdAt"] * 1000
    window.check(when, now_ms)
    digest = hashlib.sha256(data)
    if digest.hexdigest() != payload["dataSha256"]:
        _refuse("the data are not those that were signed", "peaq.data_changed")
    key = admit("ed25519", bytes.fromhex(proof["publicKeyHex"]), allow_published=allow_published)
    trust = keys.require_key(key, allow_attribute=allow_attribute)
    message = challenge(payload["dataSha256"], header["createdAt"], header["robotId"])
    key.verify(message, bytes.fromhex(proof["signatureHex"]))
    if memory is not None:
        memory.take(hashlib.sha256(message).digest(), when + window.age_ms, now_ms)
    return VerifiedEnvelope(digest.digest(), when, trust)
