"""Evidence of TPMs: whole appraisals beside the raw signatures that are in it, turn by turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from bench.settings import Settings
from bench.table import Row, Target
from bench.world import Lab
from depin_id.attestation.tpm2_evidence import MEDIA_TYPE
from tests.attestation import tpm2_world as made
from tests.attestation.ca import NOW, new_key
from tests.attestation.tpm2_world import Private, Spec
from verify.attestation import Expected, appraise_evidence

_TURN = 10
"""Appraisals in one turn, before the raw signatures have one: both meet the same machine."""
_DEVICES = 100
Check = Callable[[], object]


@dataclass(frozen=True)
class _Device:
    raw: bytes
    expected: Expected
    signatures: Sequence[Check]


@dataclass(frozen=True)
class _Case:
    name: str
    devices: Sequence[_Device]
    target: Target | None
    note: str


def _verification(key: object, signature: bytes, message: bytes) -> Check:
    """The bare verification: key and bytes at hand."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        algorithm = ec.ECDSA(SHA256())
        return lambda: key.verify(signature, message, algorithm)
    if not isinstance(key, rsa.RSAPublicKey):
        raise TypeError("no such key")
    scheme, digest = padding.PKCS1v15(), SHA256()
    return lambda: key.verify(signature, message, scheme, digest)


def _signed(private: Private, message: bytes) -> Check:
    if isinstance(private, ec.EllipticCurvePrivateKey):
        signature = private.sign(message, ec.ECDSA(SHA256()))
    else:
        signature = private.sign(message, padding.PKCS1v15(), SHA256())
    return _verification(private.public_key(), signature, message)


def _device(ek: Private, ak: Private) -> _Device:
    own = new_key()
    spec = Spec(ek=ek, ak=ak, device=own)
    evidence = spec.evidence()
    certificates = [x509.load_der_x509_certificate(der) for der in evidence.ek_chain]
    above = [*certificates[1:], made.root().certificate]
    chain = [
        _verification(parent.public_key(), child.signature, child.tbs_certificate_bytes)
        for child, parent in zip(certificates, above, strict=True)
    ]
    expected = Expected(
        challenge=made.CHALLENGE, key=made.device_key(own), activation=spec.activation()
    )
    attested = [_signed(ak, part) for part in (evidence.quote, evidence.certify) if part]
    return _Device(evidence.encode(), expected, [*chain, *attested])


def _cases(count: int) -> list[_Case]:
    large = [made.rsa_key(f"{number % 4}") for number in range(count)]
    small = [_device(new_key(), new_key()) for _ in range(count)]
    note = "chains that were seen before are looked at once; the raw figure has them each time"
    return [
        _Case("TPM 2.0, keys of P-256", small, Target(0.6), note),
        _Case(
            "TPM 2.0, attestation key of RSA-2048",
            [_device(new_key(), private) for private in large],
            None,
            "verifying RSA is quick: what is left is reading and comparing",
        ),
    ]


def _measure(case: _Case, settings: Settings) -> Row:
    materials = made.materials()

    def appraise(devices: Sequence[_Device]) -> float:
        start = time.thread_time()
        for device in devices:
            found = appraise_evidence(
                MEDIA_TYPE, device.raw, expected=device.expected, at=NOW, materials=materials
            )
            if not found.affirmed:
                raise RuntimeError(f"not affirmed: {found.steps[-1]}")
        return time.thread_time() - start

    def verify(devices: Sequence[_Device]) -> float:
        start = time.thread_time()
        for device in devices:
            for signature in device.signatures:
                signature()
        return time.thread_time() - start

    values, ratios = [], []
    for _ in range(settings.runs):
        ours = theirs = 0.0
        count = 0
        while ours < settings.raw_seconds:
            for start in range(0, len(case.devices), _TURN):
                part = case.devices[start : start + _TURN]
                ours += appraise(part)
                theirs += verify(part)
                count += len(part)
        values.append(count / ours)
        ratios.append(theirs / ours)
    return Row(
        "attestation",
        case.name,
        "/s",
        values,
        ratios,
        "its raw signatures, one core",
        case.target,
        note=case.note,
    )


def measure(lab: Lab) -> list[Row]:
    """A quote, a certified key and the chain of an endorsement key, of many devices."""
    return [_measure(case, lab.settings) for case in _cases(_DEVICES)]
