"""COSE_Sign1 and COSE_Mac0 of others (RFC 9052), verified over the bytes that arrived.

Nothing in a message is free to change: the algorithm is in the protected header, the unprotected
header holds only labels that its caller reads, and the frame around the byte strings has exactly
one form.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, NoReturn

import cbor2
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from depin_id import cbor
from depin_id.errors import EncodingError, KeyRefused
from verify.attestation import foreign_cbor
from verify.attestation.steps import Steps

Kind = Literal["Signature1", "MAC0"]
VerifyKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey | bytes
"""A public key, or the bytes of a key that both sides hold (MAC)."""

ALG: Final = 1
CRIT: Final = 2
CONTENT_TYPE: Final = 3
KID: Final = 4
X5CHAIN: Final = 33
MAX_HEADERS: Final = 16
_TAGS: Final[Mapping[int, Kind]] = {18: "Signature1", 17: "MAC0"}
_HEADS: Final[Mapping[Kind, bytes]] = {"Signature1": b"\xd2\x84", "MAC0": b"\xd1\x84"}
_CONTEXTS: Final[Mapping[Kind, bytes]] = {
    "Signature1": b"\x84\x6aSignature1",
    "MAC0": b"\x84\x64MAC0",
}
_TAG_HEADS: Final[Mapping[bytes, int]] = {b"\xd2": 18, b"\xd1": 17}
_RSA_BITS: Final = range(2048, 8193)

_ECDSA: Final[Mapping[int, tuple[int, int, ec.ECDSA]]] = {
    -7: (256, 32, ec.ECDSA(SHA256())),
    -9: (256, 32, ec.ECDSA(SHA256())),
    -35: (384, 48, ec.ECDSA(SHA384())),
    -51: (384, 48, ec.ECDSA(SHA384())),
    -36: (521, 66, ec.ECDSA(SHA512())),
    -52: (521, 66, ec.ECDSA(SHA512())),
}
_CURVES: Final = frozenset(("secp256r1", "secp384r1", "secp521r1"))
_EDDSA: Final = frozenset((-8, -19))
_PSS: Final[Mapping[int, HashAlgorithm]] = {-37: SHA256(), -38: SHA384(), -39: SHA512()}
_PKCS1: Final[Mapping[int, HashAlgorithm]] = {-257: SHA256(), -258: SHA384(), -259: SHA512()}
_HMAC: Final[Mapping[int, str]] = {5: "sha256", 6: "sha384", 7: "sha512"}

ECDSA: Final = frozenset(_ECDSA)
EDDSA: Final = _EDDSA
PSS: Final = frozenset(_PSS)
PKCS1: Final = frozenset(_PKCS1)
HMAC: Final = frozenset(_HMAC)
"""Algorithms by family; tags that are cut short (HS256/64) are of none."""


@dataclass(frozen=True, slots=True)
class CoseRules:
    """What a format allows.

    Attributes:
        algorithms: of its messages, by their COSE number.
        kinds: signed, authenticated with a common key, or both.
        untagged: what a message without tag is; None when the tag is needed.
        unprotected: labels of the unprotected header that the caller reads; others are refused.
        understood: labels that ``crit`` may name.
    """

    algorithms: frozenset[int]
    kinds: tuple[Kind, ...] = ("Signature1",)
    untagged: Kind | None = None
    unprotected: frozenset[int | str] = frozenset()
    understood: frozenset[int | str] = frozenset()


@dataclass(frozen=True, slots=True)
class CoseMessage:
    """A message as it arrived; :meth:`verifies` says whether it is authentic.

    Attributes:
        kind: signed, or authenticated with a common key.
        algorithm: of the protected header.
        protected, unprotected: the headers. protected_bytes: the first as it arrived.
        payload: as it arrived. signature: or tag.
    """

    kind: Kind
    algorithm: int
    protected: Mapping[Any, Any]
    unprotected: Mapping[Any, Any]
    protected_bytes: bytes
    payload: bytes
    signature: bytes

    @property
    def encoded(self) -> bytes:
        """The message in its frame, in the shortest way."""
        return _frame(_HEADS[self.kind], self)

    def header(self, label: int) -> Any:
        """A header parameter of either header (a label is in one of them at most), or None."""
        found = self.protected.get(label)
        return self.unprotected.get(label) if found is None else found

    def to_be_signed(self, external_aad: bytes = b"") -> bytes:
        """Sig_structure or MAC_structure (RFC 9052 sections 4.4 and 6.3)."""
        return to_be_signed(self.kind, self.protected_bytes, self.payload, external_aad)

    def verifies(self, key: VerifyKey, *, external_aad: bytes = b"") -> bool:
        """Whether the key is one for the algorithm, and the signature or tag is its."""
        signed = self.to_be_signed(external_aad)
        if isinstance(key, bytes) != (self.kind == "MAC0"):
            return False
        return signature_is_good(self.algorithm, key, self.signature, signed)


def to_be_signed(kind: Kind, protected: bytes, payload: bytes, external_aad: bytes = b"") -> bytes:
    """What is signed. A protected header of ``h'a0'`` counts as empty (RFC 9052 section 4.4)."""
    body = b"" if protected == b"\xa0" else protected
    parts = [_CONTEXTS[kind]]
    for part in (body, external_aad, payload):
        parts += (cbor.bytes_head(len(part)), part)
    return b"".join(parts)


def read(data: bytes, rules: CoseRules, *, max_bytes: int) -> CoseMessage:
    """Read a message strictly; no signature is looked at.

    Raises:
        EncodingError: not of this form. KeyRefused: ``key.algorithm``, none that is allowed.
    """
    usual = _usual_frame(data) if len(data) <= max_bytes else None
    if usual is not None:
        return from_value(usual, rules)
    value = foreign_cbor.decode(data, max_bytes=max_bytes)
    message = from_value(value, rules)
    head = _HEADS[message.kind] if isinstance(value, foreign_cbor.Tag) else b"\x84"
    if _frame(head, message) != data:
        _malformed("the frame is not written in the shortest way")
    return message


def _usual_frame(data: bytes) -> Any:
    """What stands in a frame without unprotected header, in the shortest way; None for others."""
    tag = _TAG_HEADS.get(data[:1])
    at = 0 if tag is None else 1
    try:
        if data[at] != 0x84:
            return None
        protected, at = _cut(data, at + 1)
        if data[at] != 0xA0:
            return None
        payload, at = _cut(data, at + 1)
        signature, at = _cut(data, at)
    except (IndexError, ValueError):
        return None
    if at != len(data):
        return None
    parts = [protected, {}, payload, signature]
    return parts if tag is None else foreign_cbor.Tag(tag, parts)


def _cut(data: bytes, at: int) -> tuple[bytes, int]:
    """A byte string of less than 64 KiB with the shortest head, and where it ends.

    Raises:
        IndexError, ValueError: there is none.
    """
    first, start = data[at], at + 1
    size = first - 0x40
    if first == 0x58:
        size, start = data[start], start + 1
    elif first == 0x59:
        size, start = data[start] << 8 | data[start + 1], start + 2
    end = start + size
    # The head that belongs to this size is the only one that is taken; a cut end is none.
    if size < 0 or end > len(data) or cbor.bytes_head(size) != data[at:start]:
        raise ValueError("no such byte string")
    return data[start:end], end


def _frame(head: bytes, message: CoseMessage) -> bytes:
    parts = [head]
    for part in (message.protected_bytes, None, message.payload, message.signature):
        if part is None:
            parts.append(cbor2.dumps(message.unprotected) if message.unprotected else b"\xa0")
        else:
            parts += (cbor.bytes_head(len(part)), part)
    return b"".join(parts)


def from_value(value: Any, rules: CoseRules) -> CoseMessage:
    """What :func:`read` gives, of an item that is read already (part of another one).

    Raises:
        EncodingError: not of this form. KeyRefused: ``key.algorithm``, none that is allowed.
    """
    kind = rules.untagged
    if isinstance(value, foreign_cbor.Tag):
        kind, value = _TAGS.get(value.tag), value.value
    if kind is None or kind not in rules.kinds:
        _malformed("its tag is not one that is allowed here")
    if not isinstance(value, list) or len(value) != 4:
        _malformed("a message is an array of four")
    raw, unprotected, payload, signature = value
    if type(raw) is not bytes or type(payload) is not bytes or type(signature) is not bytes:
        _malformed("protected header, payload and signature are byte strings")
    protected = _usual(raw) if len(raw) <= 8 else _header(raw)
    if type(protected) is not dict or type(unprotected) is not dict:
        _malformed("a header is no map")
    _check_headers(protected, unprotected, rules)
    algorithm = protected.get(ALG)
    if type(algorithm) is not int or algorithm not in rules.algorithms:
        raise KeyRefused("key.algorithm", f"algorithm {algorithm!r:.40} is not allowed here")
    if (algorithm in HMAC) != (kind == "MAC0"):
        raise KeyRefused("key.algorithm", f"algorithm {algorithm} is not one of a {kind}")
    return CoseMessage(kind, algorithm, protected, unprotected, raw, payload, signature)


def _header(raw: bytes) -> Any:
    return foreign_cbor.decode(raw, max_bytes=4096, max_depth=4) if raw else {}


@lru_cache(maxsize=64)
def _usual(raw: bytes) -> Any:
    """Headers with just an algorithm come again and again. Nobody changes what this gives."""
    return _header(raw)


def _check_headers(
    protected: dict[Any, Any], unprotected: dict[Any, Any], rules: CoseRules
) -> None:
    for label in (*protected, *unprotected):
        if type(label) is bytes:
            _malformed("a header label is an integer or a text")
    if len(protected) + len(unprotected) > MAX_HEADERS:
        _malformed("too many header parameters")
    if not protected.keys().isdisjoint(unprotected):
        _malformed("a label is in both headers")
    if not rules.unprotected.issuperset(unprotected):
        _malformed("the unprotected header has what nobody reads")
    critical = protected.get(CRIT)
    if CRIT not in protected:
        return
    if type(critical) is not list or not critical:
        _malformed("crit is no list of labels")
    for label in critical:
        known = type(label) in (int, str) and label in rules.understood
        if not known or label not in protected or critical.count(label) > 1:
            _malformed("crit names what is not understood, not there, or named twice")


def open_message(
    data: bytes, rules: CoseRules, *, max_bytes: int, name: str, steps: Steps
) -> CoseMessage:
    """:func:`read` as steps: ``<name>.cose`` and ``<name>.algorithm``. Raises AttestationError."""
    try:
        message = read(data, rules, max_bytes=max_bytes)
    except KeyRefused as error:
        steps.fail(f"{name}.algorithm", "algorithm", error.message)
    except EncodingError as error:
        steps.fail(f"{name}.cose", "malformed", error.message)
    steps.passed(f"{name}.cose", message.kind)
    steps.passed(f"{name}.algorithm", str(message.algorithm))
    return message


@lru_cache(maxsize=1024)
def load_key(spki: bytes) -> VerifyKey:
    """The public key of a SubjectPublicKeyInfo (DER).

    Raises:
        ValueError: not one of a family that is known here.
    """
    try:
        key = load_der_public_key(spki)
    except UnsupportedAlgorithm as error:
        raise ValueError("a key of an unknown kind") from error
    if isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
        return key
    raise ValueError("a key of an unknown kind")


def signature_is_good(algorithm: int, key: VerifyKey, signature: bytes, signed: bytes) -> bool:
    """Whether a signature (or tag) of a COSE algorithm verifies; False too for another kind of key.

    Each ECDSA algorithm has its own curve here, and r and s in full length.
    """
    try:
        if isinstance(key, bytes):
            name = _HMAC.get(algorithm)
            enough = name is not None and len(key) >= 16
            return enough and hmac.compare_digest(hmac.digest(key, signed, str(name)), signature)
        if isinstance(key, ec.EllipticCurvePublicKey):
            bits, size, scheme = _ECDSA[algorithm]
            curve = key.curve
            if curve.key_size != bits or curve.name not in _CURVES or len(signature) != 2 * size:
                return False
            r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
            key.verify(encode_dss_signature(r, s), signed, scheme)
        elif isinstance(key, ed25519.Ed25519PublicKey):
            if algorithm not in _EDDSA:
                return False
            key.verify(signature, signed)
        else:
            if key.key_size not in _RSA_BITS:
                return False
            if algorithm in _PSS:
                digest = _PSS[algorithm]
                pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
                key.verify(signature, signed, pss, digest)
            else:
                key.verify(signature, signed, padding.PKCS1v15(), _PKCS1[algorithm])
    except (InvalidSignature, UnsupportedAlgorithm, KeyError, ValueError):
        return False
    return True


def _malformed(what: str) -> NoReturn:
    raise EncodingError("encoding.malformed", what)
