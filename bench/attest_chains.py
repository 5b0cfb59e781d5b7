"""Chains: whole appraisals beside the signatures that they verify, turn by turn, on one core."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from bench.settings import Settings
from bench.table import Row, Target
from bench.world import Lab
from depin_id.keys import SoftwareSigner
from tests.attestation import dices, idevids, nitros, vouchers
from verify.attestation import Appraisal, Expected, appraise_evidence

_DEVICES = 20
"""Pieces of evidence in one turn, each of another device where the format has one."""
_MESSAGE = bytes(300)
_PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class _Case:
    name: str
    appraise: Sequence[Callable[[], object]]
    signed: Sequence[_PrivateKey]
    note: str = ""


def _raw(key: _PrivateKey) -> Callable[[], object]:
    """One verification and nothing else, by the same library: the key is loaded."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        edwards, made = key.public_key(), key.sign(_MESSAGE)
        return lambda: edwards.verify(made, _MESSAGE)
    if isinstance(key, rsa.RSAPrivateKey):
        modulus, scheme = key.public_key(), padding.PKCS1v15()
        digest = hashes.SHA256()
        made = key.sign(_MESSAGE, scheme, digest)
        return lambda: modulus.verify(made, _MESSAGE, scheme, digest)
    way = ec.ECDSA(hashes.SHA384() if key.key_size == 384 else hashes.SHA256())
    point, made = key.public_key(), key.sign(_MESSAGE, way)
    return lambda: point.verify(made, _MESSAGE, way)


def _idevid() -> _Case:
    found: list[Callable[[], object]] = []
    for _ in range(_DEVICES):
        signer = SoftwareSigner.generate("p256")
        chain = (idevids.leaf(idevids.public_of(signer)), *idevids.ISSUER.chain())
        expected = Expected(challenge=idevids.CHALLENGE, key=signer.public_key)
        case = idevids.Case(chain=chain, signer=signer, expected=expected)
        found.append(_whole(case, case.raw))
    key = ec.generate_private_key(ec.SECP256R1())
    return _Case("IDevID, two certificates", found, [key] * 3, "3 of P-256")


def _open_dice(form: str) -> _Case:
    chain = dices.layers() if form == "CWT" else dices.certificates()
    case = dices.Case(chain=chain)
    edwards, point = (
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256R1()),
    )
    signed: list[_PrivateKey] = [edwards, edwards, point, point]
    return _Case(
        f"Open DICE as {form}, three layers",
        [_whole(case, case.raw)] * _DEVICES,
        signed,
        "2 of Ed25519, 2 of P-256; one device again and again",
    )


def _nitro() -> _Case:
    found: list[Callable[[], object]] = []
    for _ in range(_DEVICES):
        key = ec.generate_private_key(ec.SECP384R1())
        chain = tuple(nitros.ZONE.issue("enclave", key.public_key(), days=360))
        case = nitros.Case(key=key, chain=chain)
        found.append(_whole(case, case.encoded()))
    key = ec.generate_private_key(ec.SECP384R1())
    return _Case("AWS Nitro, two certificates", found, [key] * 3, "3 of P-384")


def _fdo() -> _Case:
    case = vouchers.Case(vouchers.voucher())
    signed: list[_PrivateKey] = [vouchers.P256, vouchers.RSA, vouchers.P384, vouchers.LAST]
    note = "2 of P-256, 1 of P-384, 1 of RSA-2048"
    return _Case("FDO voucher, three transfers", [_whole(case, case.raw)] * _DEVICES, signed, note)


def _whole(
    case: idevids.Case | dices.Case | nitros.Case | vouchers.Case, raw: bytes
) -> Callable[[], object]:
    expected, at, materials = case.expected, case.at, case.materials

    def appraise() -> Appraisal:
        return appraise_evidence(
            case.media_type, raw, expected=expected, at=at, materials=materials
        )

    found = appraise()
    assert found.claims is not None, found.steps[-1]
    return appraise


def _turn(actions: Sequence[Callable[[], object]]) -> float:
    """Processor seconds."""
    start = time.thread_time()
    for action in actions:
        action()
    return time.thread_time() - start


def _measure(case: _Case, settings: Settings) -> Row:
    raw = [_raw(key) for key in case.signed] * len(case.appraise)
    _turn(case.appraise)  # whatever is made once is made
    values, ratios = [], []
    for _ in range(settings.runs):
        ours = theirs = 0.0
        count = 0
        while ours < settings.raw_seconds:
            ours += _turn(case.appraise)
            theirs += _turn(raw)
            count += len(case.appraise)
        values.append(count / ours)
        ratios.append(theirs / ours)
    return Row(
        "attestation",
        case.name,
        "/s",
        values,
        ratios,
        "the same signatures alone, one core",
        Target(0.6),
        note=case.note,
    )


def measure(lab: Lab) -> list[Row]:
    """Each format whose evidence is a chain."""
    cases = [_idevid(), _open_dice("CWT"), _open_dice("X.509"), _nitro(), _fdo()]
    return [_measure(case, lab.settings) for case in cases]
