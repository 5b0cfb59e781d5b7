"""Whole appraisals beside the raw signatures in the same evidence, turn by turn, on one core.

Every piece of evidence is of another device, with keys and certificates of its own; only
authorities come again, as they do when a fleet attests. Before each round all caches of what was
read are emptied, and one more device shows the authorities.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm

from bench.settings import Settings
from bench.table import Row, Target
from verify.attestation import Expected, Materials, appraise_evidence

_TURN = 10
"""Appraisals in one turn, before the raw signatures have one: both meet the same machine."""
Check = Callable[[], object]
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Evidence:
    """Evidence of one device.

    Attributes:
        checks: the bare verification of each signature that is the device's own.
        shared: the same of authorities' certificates, which come with every device and are
            verified once by formats whose chains the project itself verifies.
    """

    raw: bytes
    expected: Expected
    materials: Materials
    checks: Sequence[Check]
    shared: Sequence[Check] = ()


@dataclass(frozen=True)
class Case:
    """One format.

    Attributes:
        devices: the first shows the authorities and is not measured.
        signatures: of which kinds there are how many, for people.
        note: what else has to be known.
        target: None where the signatures are too quick to be a measure.
    """

    name: str
    media_type: str
    at: int
    devices: Sequence[Evidence]
    signatures: str
    note: str = ""
    target: Target | None = Target(0.6)


def bare(key: object, signature: bytes, message: bytes, digest: HashAlgorithm | None) -> Check:
    """One verification and nothing else: key, signature and message are at hand."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return lambda: key.verify(signature, message)
    if digest is None:
        raise TypeError("a signature without a hash")
    if isinstance(key, rsa.RSAPublicKey):
        scheme = padding.PKCS1v15()
        return lambda: key.verify(signature, message, scheme, digest)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("no such key")
    algorithm = ec.ECDSA(digest)
    return lambda: key.verify(signature, message, algorithm)


def like(key: PrivateKey, size: int) -> Check:
    """The bare verification of a signature of this key over as many bytes."""
    message = bytes(size)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return bare(key.public_key(), key.sign(message), message, None)
    if isinstance(key, rsa.RSAPrivateKey):
        made = key.sign(message, padding.PKCS1v15(), SHA256())
        return bare(key.public_key(), made, message, SHA256())
    digest = SHA384() if key.key_size == 384 else SHA256()
    return bare(key.public_key(), key.sign(message, ec.ECDSA(digest)), message, digest)


def of_chain(chain: Sequence[bytes]) -> list[Check]:
    """Of each certificate below the last of these, the leaf's first."""
    found = [x509.load_der_x509_certificate(der) for der in chain]
    return [
        bare(
            parent.public_key(),
            child.signature,
            child.tbs_certificate_bytes,
            child.signature_hash_algorithm,
        )
        for child, parent in zip(found, found[1:], strict=False)
    ]


def _forget() -> None:
    """Empty every cache of what was read."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("verify.", "depin_id.")):
            for value in list(vars(module).values()):
                clear = getattr(value, "cache_clear", None)
                if callable(clear):
                    clear()


def _appraise(case: Case, devices: Sequence[Evidence]) -> float:
    """Processor seconds."""
    start = time.thread_time()
    for device in devices:
        found = appraise_evidence(
            case.media_type,
            device.raw,
            expected=device.expected,
            at=case.at,
            materials=device.materials,
        )
        if found.claims is None:
            raise RuntimeError(f"{case.name}: not verified: {found.steps[-1]}")
    return time.thread_time() - start


def _verify(checks: Sequence[Check]) -> float:
    """Processor seconds."""
    start = time.thread_time()
    for check in checks:
        check()
    return time.thread_time() - start


@dataclass
class _Spent:
    """Processor seconds of one run: first sight, once more, and the bare signatures."""

    first: float = 0.0
    again: float = 0.0
    own: float = 0.0
    shared: float = 0.0
    count: int = 0


def _run(case: Case, seconds: float) -> _Spent:
    spent = _Spent()
    shown, *devices = case.devices
    while spent.first < seconds:
        _forget()
        _appraise(case, [shown])
        for start in range(0, len(devices), _TURN):
            part = devices[start : start + _TURN]
            spent.first += _appraise(case, part)
            spent.own += _verify([check for device in part for check in device.checks])
            spent.shared += _verify([check for device in part for check in device.shared])
            spent.again += _appraise(case, part)
            spent.count += len(part)
    return spent


def measure(case: Case, settings: Settings) -> Row:
    """The row of one format."""
    runs = [_run(case, settings.raw_seconds) for _ in range(settings.runs)]
    one = case.devices[0]
    count = len(one.checks) + len(one.shared)
    spent = min(runs, key=lambda run: run.first / run.count)
    notes = [case.signatures]
    if one.shared:
        alone = spent.own / spent.first
        notes.append(f"{len(one.shared)} of them of authorities seen before, {alone:.3g} without")
    notes.append(f"{(spent.own + spent.shared) / spent.again:.3g} for devices seen before")
    return Row(
        "attestation",
        case.name,
        "/s",
        [run.count / run.first for run in runs],
        [(run.own + run.shared) / run.first for run in runs],
        "the raw signature in it" if count == 1 else f"the {count} raw signatures in it",
        case.target,
        note="; ".join([*notes, case.note] if case.note else notes),
    )
