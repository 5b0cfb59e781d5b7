"""Evidence of phones: whole appraisals beside the raw signatures that are in it, turn by turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.settings import Settings
from bench.table import Row, Target
from bench.world import Lab
from depin_id import cbor
from depin_id.keys import admit
from tests.attestation import phones, test_android_key, test_app_attest
from tests.attestation.ca import NOW, new_key
from tests.attestation.phones import FACTORY, RKP, Description, Link
from verify.attestation import Anchors, Expected, Materials, appraise_evidence
from verify.attestation.android_key import CBOR_TYPE
from verify.attestation.app_attest import MEDIA_TYPE

_TURN = 20
"""Devices in one turn, before the raw signatures have one: both meet the same machine."""
Check = Callable[[], object]


@dataclass(frozen=True)
class _Device:
    raw: bytes
    expected: Expected
    signatures: Sequence[Check]


@dataclass(frozen=True)
class _Case:
    name: str
    media_type: str
    at: int
    materials: Materials
    devices: Sequence[_Device]
    note: str

    def appraise(self, device: _Device) -> None:
        """One appraisal, which has to affirm."""
        found = appraise_evidence(
            self.media_type,
            device.raw,
            expected=device.expected,
            at=self.at,
            materials=self.materials,
        )
        if not found.affirmed:
            raise RuntimeError(f"not affirmed: {found.steps[-1]}")


def _signature(child: x509.Certificate, issuer: x509.Certificate) -> Check:
    """The bare verification of one certificate's signature: key and bytes are at hand."""
    key, signature, signed = issuer.public_key(), child.signature, child.tbs_certificate_bytes
    digest = child.signature_hash_algorithm
    if digest is None:
        raise RuntimeError("a signature without a hash")
    if isinstance(key, rsa.RSAPublicKey):
        scheme = padding.PKCS1v15()
        return lambda: key.verify(signature, signed, scheme, digest)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise RuntimeError("no such key")
    algorithm = ec.ECDSA(digest)
    return lambda: key.verify(signature, signed, algorithm)


def _signatures(chain: Sequence[bytes]) -> list[Check]:
    found = [x509.load_der_x509_certificate(der) for der in chain]
    return [_signature(child, issuer) for child, issuer in zip(found, found[1:], strict=False)]


def _android(name: str, links: Sequence[Link], root: Link, count: int, note: str) -> _Case:
    """Devices with attestation keys of their own, below authorities that all have."""
    devices = []
    for _ in range(count):
        key = new_key().public_key()
        above = (replace(links[0], key=new_key()), *links[1:])
        chain = phones.chain(Description(), above, root=root, key=key)
        point = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        expected = Expected(challenge=phones.CHALLENGE, key=admit("p256", point))
        devices.append(_Device(cbor.encode(chain), expected, _signatures(chain)))
    anchors = Anchors([phones.anchor(root)])
    materials = replace(test_android_key.MATERIALS, anchors=anchors)
    return _Case(name, CBOR_TYPE, test_android_key.AT, materials, devices, note)


def _app_attest(count: int) -> _Case:
    devices = []
    root = test_app_attest.ROOT.certificate.public_bytes(Encoding.DER)
    for _ in range(count):
        key = new_key()
        parts = test_app_attest.Parts(leaf_key=key, cose_key=key)
        chain = parts.chain()
        evidence = parts.evidence(chain)
        devices.append(_Device(evidence, test_app_attest.EXPECTED, _signatures([*chain, root])))
    return _Case(
        "App Attest",
        MEDIA_TYPE,
        NOW,
        test_app_attest.MATERIALS,
        devices,
        "both signatures are of P-384, as Apple's",
    )


def _cases(count: int) -> list[_Case]:
    large = [ec.generate_private_key(ec.SECP384R1()) for _ in range(2)]
    remote = (*RKP[:2], replace(RKP[2], key=large[0]))
    factory = (FACTORY[0], replace(FACTORY[1], key=large[0]))
    note = "authorities' keys and signatures are looked at once; the raw figure has them each time"
    root = replace(phones.ROOT, key=large[1])
    return [
        _android("Android key attestation, RKP", remote, root, count, note),
        _android("Android key attestation, factory", factory, root, count, note),
        _app_attest(count),
    ]


def _turn(action: Callable[[_Device], object], devices: Sequence[_Device]) -> float:
    """Processor seconds."""
    start = time.thread_time()
    for device in devices:
        action(device)
    return time.thread_time() - start


def _raw(device: _Device) -> None:
    for check in device.signatures:
        check()


def _measure(case: _Case, settings: Settings) -> Row:
    _turn(case.appraise, case.devices[:_TURN])  # whatever is made once is made
    values, ratios = [], []
    for _ in range(settings.runs):
        ours = theirs = 0.0
        count = 0
        while ours < settings.raw_seconds:
            for start in range(0, len(case.devices), _TURN):
                part = case.devices[start : start + _TURN]
                ours += _turn(case.appraise, part)
                theirs += _turn(_raw, part)
                count += len(part)
        values.append(count / ours)
        ratios.append(theirs / ours)
    return Row(
        "attestation",
        case.name,
        "/s",
        values,
        ratios,
        f"the {len(case.devices[0].signatures)} raw signatures in it, one core",
        Target(0.6),
        note=case.note,
    )


def measure(lab: Lab) -> list[Row]:
    """Each format of phones: whole appraisals of many devices."""
    return [_measure(case, lab.settings) for case in _cases(2 * lab.settings.receipts)]
