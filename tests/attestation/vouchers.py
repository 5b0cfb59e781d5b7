"""Ownership vouchers: other people's, and those made for the tests."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from depin_id import cbor, cose
from depin_id.keys import P256_ORDER
from tests.attestation.ca import NOW, Authority
from tests.attestation.idevids import CHALLENGE, SIGNER, leaf, public_of
from tests.paths import vectors
from verify.attestation import (
    Anchor,
    Anchors,
    Appraisal,
    Expected,
    Materials,
    Model,
    Models,
    appraise_evidence,
)
from verify.attestation.fdo import MEDIA_TYPE, signed_bytes

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
P256 = ec.derive_private_key(11, ec.SECP256R1())
P384 = ec.derive_private_key(12, ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)
LAST = ec.derive_private_key(13, ec.SECP256R1())
GUID, INFO = bytes(range(16)), "a virtual device"
DEVICE_CA = Authority("device CA")
DEVICE_CHAIN = (leaf(public_of(SIGNER), issuer=DEVICE_CA),)


def real(name: str) -> bytes:
    """Other people's voucher."""
    text = (vectors("attestation/fdo") / "testdata" / f"{name}.pem").read_text()
    body = text.partition("VOUCHER-----")[2].partition("-----END")[0]
    return base64.b64decode("".join(body.split()))


def real_manufacturer() -> Key:
    """The key of the voucher without entries."""
    path = vectors("attestation/fdo") / "testdata" / "mfg_key.pem"
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def spki(key: Key) -> bytes:
    """Its SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def kind(key: Key) -> int:
    """``pkType``."""
    if isinstance(key, rsa.RSAPrivateKey):
        return 1
    return 10 if key.curve.name == "secp256r1" else 11


def algorithm(key: Key) -> int:
    """Of COSE."""
    return {1: -257, 10: -7, 11: -35}[kind(key)]


def public(key: Key) -> list[Any]:
    """``PublicKey`` with an SPKI."""
    return [kind(key), 1, spki(key)]


def raw_sign(key: Key, message: bytes) -> bytes:
    """RS256, ES256 (low s) or ES384."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    size = key.key_size // 8
    digest = hashes.SHA256() if size == 32 else hashes.SHA384()
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
    s = min(s, P256_ORDER - s) if size == 32 else s
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def sha(*parts: bytes, number: int = -16) -> list[Any]:
    """``Hash``."""
    made = hashlib.sha256 if number == -16 else hashlib.sha384
    return [number, made(b"".join(parts)).digest()]


def entry(
    by: Key,
    to: Key,
    before: bytes,
    *,
    guid: bytes = GUID,
    previous: list[Any] | None = None,
    info: list[Any] | None = None,
    extra: Any = None,
    protected: bytes | None = None,
    owner: Any = None,
    unprotected: dict[int, Any] | None = None,
) -> cbor.Tag:
    """One transfer."""
    protected = cbor.encode({1: algorithm(by)}) if protected is None else protected
    payload = cbor.encode(
        [
            sha(before) if previous is None else previous,
            sha(guid, INFO.encode()) if info is None else info,
            extra,
            public(to) if owner is None else owner,
        ]
    )
    signature = raw_sign(by, cose.sig_structure(protected, b"", payload))
    return cbor.Tag(18, [protected, unprotected or {}, payload, signature])


def header(maker: Key, chain: Sequence[bytes] | None = DEVICE_CHAIN, **more: Any) -> bytes:
    """The manufacturer's part."""
    fields: dict[str, Any] = {
        "version": 101,
        "guid": GUID,
        "rv": [],
        "info": INFO,
        "key": public(maker),
        "chain": None if chain is None else sha(*chain),
    } | more
    return cbor.encode(list(fields.values()))


HMAC = [5, bytes(32)]


def start(head: bytes) -> bytes:
    """What the first entry hashes."""
    return head + cbor.encode(HMAC)


def good_entries(head: bytes, guid: bytes = GUID) -> list[cbor.Tag]:
    """From P-256 to RSA to P-384 to P-256."""
    first = entry(P256, RSA, start(head), guid=guid)
    second = entry(RSA, P384, cbor.encode(first), guid=guid)
    return [first, second, entry(P384, LAST, cbor.encode(second), guid=guid)]


def voucher(
    entries: Sequence[Any] | None = None,
    *,
    head: bytes | None = None,
    chain: Sequence[bytes] | None = DEVICE_CHAIN,
    **more: Any,
) -> bytes:
    """A whole voucher."""
    head = header(P256) if head is None else head
    fields: dict[str, Any] = {
        "version": 101,
        "header": head,
        "hmac": HMAC,
        "chain": None if chain is None else list(chain),
        "entries": good_entries(head) if entries is None else list(entries),
    } | more
    return cbor.encode(list(fields.values()))


MAKER = Anchor("fdo", "maker", spki(P256))
MODEL = Model("device", frozenset({"fdo"}), revocation="none")


@dataclass
class Case:
    """One voucher with its owner's proof, and what it is judged by."""

    voucher: bytes = field(default_factory=voucher)
    owner: Key = LAST
    challenge: bytes = CHALLENGE
    signature: bytes | None = None
    anchors: Sequence[Anchor] = (MAKER,)
    expected: Expected = field(
        default_factory=lambda: Expected(challenge=CHALLENGE, key=SIGNER.public_key)
    )
    at: int = NOW

    @property
    def raw(self) -> bytes:
        """The evidence."""
        signature = self.signature
        if signature is None:
            signature = raw_sign(self.owner, signed_bytes(self.challenge, self.voucher))
        return cbor.encode({1: self.voucher, 2: signature, 3: self.challenge})

    @property
    def materials(self) -> Materials:
        """What it is judged by."""
        return Materials(Anchors(self.anchors), Models([MODEL]))

    @property
    def media_type(self) -> str:
        """What it is called."""
        return MEDIA_TYPE

    def run(self, raw: bytes | None = None) -> Appraisal:
        """Appraise it."""
        return appraise_evidence(
            MEDIA_TYPE,
            self.raw if raw is None else raw,
            expected=self.expected,
            at=self.at,
            materials=self.materials,
        )
