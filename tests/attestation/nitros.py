"""Attestation documents of enclaves: those that Amazon signed, and those made for the tests."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from depin_id import cose
from tests.attestation.ca import NOW, Authority
from tests.attestation.idevids import CHALLENGE, SIGNER
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
from verify.attestation.identifiers import spki_of
from verify.attestation.materials import Reference
from verify.attestation.nitro import MEDIA_TYPE

REAL = ("debug-mode-attestation-doc-bytes", "valid-attestation-doc-base64", "debug", "non-debug")


def real(name: str) -> bytes:
    """A document that Amazon signed; the last two stand in a certificate's DNS names."""
    folder = vectors("attestation/nitro")
    if name == REAL[0]:
        return (folder / name).read_bytes()
    if name == REAL[1]:
        return base64.b64decode((folder / "test-data" / name).read_bytes())
    (path,) = (folder / "test-data" / "beta").glob(f"{name}-*-18-1-23.pem")
    loaded = x509.load_pem_x509_certificate(path.read_bytes())
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    longest = max(names.get_values_for_type(x509.DNSName), key=len)
    found = re.match(r"(?:[0-9a-f]{2})+", longest)
    assert found
    return bytes.fromhex(found[0])


def fields_of(document: bytes) -> dict[str, Any]:
    """What a document says; mutable."""
    return dict(cbor2.loads(cbor2.loads(document)[2]))


def root_g1() -> Anchor:
    """Amazon's root."""
    path = vectors("attestation/nitro") / "attestation-doc-validation" / "src" / "nitro.pem"
    root = x509.load_pem_x509_certificate(path.read_bytes())
    return Anchor("nitro", "G1", spki_of(root), root.public_bytes(Encoding.DER))


def _p384() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


ROOT = Authority("aws.nitro-enclaves", _p384())
ZONE = Authority("zone", _p384(), parent=ROOT)
LEAF_KEY = _p384()
CHAIN = tuple(ZONE.issue("enclave", LEAF_KEY.public_key(), days=360))
IMAGE = bytes(range(48))


def references(pcrs: Mapping[int, bytes]) -> tuple[Reference, ...]:
    """All of these approved, those of zeros left out."""
    return tuple(
        Reference(f"pcr{number}", frozenset((value,)))
        for number, value in pcrs.items()
        if any(value)
    )


def sign(key: ec.EllipticCurvePrivateKey, protected: bytes, payload: bytes) -> bytes:
    """ES384 over a Sig_structure."""
    made = key.sign(cose.sig_structure(protected, b"", payload), ec.ECDSA(hashes.SHA384()))
    return b"".join(number.to_bytes(48, "big") for number in decode_dss_signature(made))


@dataclass(frozen=True)
class Case:
    """One document, and what it is judged by."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    without: Sequence[str] = ()
    key: ec.EllipticCurvePrivateKey = LEAF_KEY
    chain: Sequence[bytes] = CHAIN
    protected: bytes = b"\xa1\x01\x38\x22"
    unprotected: Mapping[int, Any] = field(default_factory=dict)
    tag: bool = False
    anchors: Sequence[Anchor] = (ROOT.anchor("nitro"),)
    expected: Expected = Expected(challenge=CHALLENGE, key=SIGNER.public_key)
    model: Model = Model(
        "enclave",
        frozenset({"nitro"}),
        references=references({0: IMAGE, 1: IMAGE}),
        revocation="none",
        protects_key=True,
    )
    at: int = NOW

    @property
    def document(self) -> dict[str, Any]:
        """What it says."""
        root = ROOT.certificate.public_bytes(Encoding.DER)
        pcrs = dict.fromkeys(range(16), bytes(48)) | {0: IMAGE, 1: IMAGE}
        found: dict[str, Any] = {
            "module_id": "i-0123456789abcdef0-enc0123456789abcdef",
            "digest": "SHA384",
            "timestamp": NOW - 1000,
            "pcrs": pcrs,
            "certificate": self.chain[0],
            "cabundle": [root, *reversed(self.chain[1:])],
            "public_key": SIGNER.public_key.cose_key,
            "user_data": None,
            "nonce": CHALLENGE,
        }
        found |= self.fields
        return {name: value for name, value in found.items() if name not in self.without}

    def encoded(self, payload: bytes | None = None) -> bytes:
        """The document, signed; of another payload where one is given."""
        payload = cbor2.dumps(self.document) if payload is None else payload
        value: Any = [
            self.protected,
            dict(self.unprotected),
            payload,
            sign(self.key, self.protected, payload),
        ]
        return cbor2.dumps(cbor2.CBORTag(18, value) if self.tag else value)

    @property
    def materials(self) -> Materials:
        """What it is judged by."""
        return Materials(Anchors(self.anchors), Models([self.model]))

    @property
    def media_type(self) -> str:
        """What it is called."""
        return MEDIA_TYPE

    def run(self, raw: bytes | None = None) -> Appraisal:
        """Appraise it."""
        return appraise_evidence(
            MEDIA_TYPE,
            self.encoded() if raw is None else raw,
            expected=self.expected,
            at=self.at,
            materials=self.materials,
        )


@cache
def real_case(name: str) -> tuple[bytes, Case]:
    """A real document with everything that it needs to be affirmed, if it can be."""
    raw = real(name)
    said = fields_of(raw)
    base = Case()
    return raw, replace(
        base,
        anchors=(root_g1(),),
        expected=Expected(challenge=said["nonce"] or bytes(32)),
        model=replace(base.model, references=references(said["pcrs"])),
        at=said["timestamp"],
    )
