"""Chains: chips, layers of DICE, enclaves and vouchers."""

from __future__ import annotations

from collections.abc import Sequence

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from bench.appraising import Case, Evidence, like, of_chain
from bench.appraising import measure as measured
from bench.table import Row
from bench.world import Lab
from depin_id.keys import SoftwareSigner
from tests.attestation import dices, idevids, nitros, vouchers
from tests.attestation.ca import NOW, PrivateKey
from verify.attestation import Anchor, Expected

_DEVICES = 101
_SIZE = 400


def _private(signer: SoftwareSigner) -> PrivateKey:
    if signer.public_key.curve == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(signer.secret)
    return ec.derive_private_key(int.from_bytes(signer.secret, "big"), ec.SECP256R1())


def _idevid() -> Case:
    root = idevids.ROOT.certificate.public_bytes(Encoding.DER)
    devices = []
    for _ in range(_DEVICES):
        signer = SoftwareSigner.generate("p256")
        chain = (idevids.leaf(idevids.public_of(signer)), *idevids.ISSUER.chain())
        expected = Expected(challenge=idevids.CHALLENGE, key=signer.public_key)
        case = idevids.Case(chain=chain, signer=signer, expected=expected)
        leaf, *above = of_chain([*chain, root])
        own = [leaf, like(_private(signer), 60)]
        devices.append(Evidence(case.raw, expected, case.materials, own, above))
    return Case("IDevID, two certificates", case.media_type, NOW, devices, "P-256")


def _layers(form: str, signers: Sequence[SoftwareSigner]) -> list[bytes]:
    if form == "CWT":
        made = []
        for number in range(3):
            key = cbor2.dumps(dices.cose_key(signers[number + 1]))
            made.append(dices.cwt(dices.claims(number) | {dices.KEY: key}, signers[number]))
        return made
    return [
        dices.certificate(number, dices.inputs(number), key=signers[number + 1], by=signers[number])
        for number in reversed(range(3))
    ]


def _open_dice(form: str) -> Case:
    devices = []
    for _ in range(_DEVICES):
        signers = [SoftwareSigner.generate(kind) for kind in ("ed25519", "ed25519", "p256", "p256")]
        expected = Expected(challenge=idevids.CHALLENGE, key=signers[-1].public_key)
        case = dices.Case(
            chain=_layers(form, signers),
            by=signers[-1],
            anchors=(Anchor("open-dice", "uds", idevids.spki(signers[0])),),
            expected=expected,
        )
        own = [like(_private(signer), _SIZE) for signer in signers]
        devices.append(Evidence(case.raw, expected, case.materials, own))
    kinds = "2 of Ed25519, 2 of P-256"
    note = "each device by itself, with its UDS for an anchor"
    return Case(f"Open DICE as {form}, three layers", case.media_type, NOW, devices, kinds, note)


def _nitro() -> Case:
    root = nitros.ROOT.certificate.public_bytes(Encoding.DER)
    devices = []
    for _ in range(_DEVICES):
        key = ec.generate_private_key(ec.SECP384R1())
        chain = tuple(nitros.ZONE.issue("enclave", key.public_key(), days=360))
        case = nitros.Case(key=key, chain=chain)
        own = [*of_chain([*chain, root]), like(key, 1800)]
        devices.append(Evidence(case.encoded(), case.expected, case.materials, own))
    kinds = "P-384, all verified for every device"
    return Case("AWS Nitro, two certificates", case.media_type, NOW, devices, kinds)


def _fdo() -> Case:
    signed = (vouchers.P256, vouchers.RSA, vouchers.P384, vouchers.LAST)
    devices = []
    for number in range(_DEVICES):
        guid, signer = number.to_bytes(16), SoftwareSigner.generate("p256")
        chain = (idevids.leaf(idevids.public_of(signer), issuer=vouchers.DEVICE_CA),)
        head = vouchers.header(vouchers.P256, chain, guid=guid)
        case = vouchers.Case(
            vouchers.voucher(vouchers.good_entries(head, guid), head=head, chain=chain),
            expected=Expected(challenge=idevids.CHALLENGE, key=signer.public_key),
        )
        own = [like(key, _SIZE) for key in signed]
        devices.append(Evidence(case.raw, case.expected, case.materials, own))
    kinds = "2 of P-256, 1 of P-384, 1 of RSA-2048; owners are the same, devices are not"
    name = "FDO voucher, three transfers"
    return Case(name, case.media_type, NOW, devices, kinds)


def measure(lab: Lab) -> list[Row]:
    """Each format whose evidence is a chain."""
    cases = [_idevid(), _open_dice("CWT"), _open_dice("X.509"), _nitro(), _fdo()]
    return [measured(case, lab.settings) for case in cases]
