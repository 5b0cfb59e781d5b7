"""Evidence of phones: chains whose leaf says what is attested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.appraising import Case, Evidence, of_chain
from bench.appraising import measure as measured
from bench.table import Row
from bench.world import Lab
from depin_id import cbor
from depin_id.keys import admit
from tests.attestation import phones, test_android_key, test_app_attest
from tests.attestation.ca import NOW, new_key
from tests.attestation.phones import FACTORY, RKP, Description, Link
from verify.attestation import Anchors, Expected
from verify.attestation.android_key import CBOR_TYPE
from verify.attestation.app_attest import MEDIA_TYPE

_DEVICES = 101


def _android(name: str, links: Sequence[Link], root: Link, signatures: str) -> Case:
    """Devices with attestation keys of their own, below authorities that all have."""
    anchors = Anchors([phones.anchor(root)])
    materials = replace(test_android_key.MATERIALS, anchors=anchors)
    devices = []
    for _ in range(_DEVICES):
        key = new_key().public_key()
        above = (replace(links[0], key=new_key()), *links[1:])
        chain = phones.chain(Description(), above, root=root, key=key)
        point = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        expected = Expected(challenge=phones.CHALLENGE, key=admit("p256", point))
        leaf, attester, *shared = of_chain(chain)
        devices.append(Evidence(cbor.encode(chain), expected, materials, [leaf, attester], shared))
    return Case(name, CBOR_TYPE, test_android_key.AT, devices, signatures)


def _app_attest() -> Case:
    root = test_app_attest.ROOT.certificate.public_bytes(Encoding.DER)
    devices = []
    for _ in range(_DEVICES):
        key = new_key()
        parts = test_app_attest.Parts(leaf_key=key, cose_key=key)
        chain = parts.chain()
        checks = of_chain([*chain, root])
        given = test_app_attest.EXPECTED, test_app_attest.MATERIALS
        devices.append(Evidence(parts.evidence(chain), *given, checks))
    return Case("App Attest", MEDIA_TYPE, NOW, devices, "P-384, both verified for every device")


def measure(lab: Lab) -> list[Row]:
    """Each format of phones: whole appraisals of many devices."""
    large = [ec.generate_private_key(ec.SECP384R1()) for _ in range(2)]
    remote = (*RKP[:2], replace(RKP[2], key=large[0]))
    factory = (FACTORY[0], replace(FACTORY[1], key=large[0]))
    root = replace(phones.ROOT, key=large[1])
    kinds = "P-256 and P-384"
    cases = [
        _android("Android key attestation, RKP", remote, root, kinds),
        _android("Android key attestation, factory", factory, root, kinds),
        _app_attest(),
    ]
    return [measured(case, lab.settings) for case in cases]
