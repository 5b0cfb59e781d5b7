"""COSE_Sign1 of other people's examples: the bytes that are signed, the verdict, and our limits."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest

from depin_id import cbor, cose
from depin_id.errors import DepinError, EnvelopeError, KeyRefused, SignatureInvalid
from depin_id.keys import P256_ORDER, PublicKey, admit
from tests.paths import vectors

OURS = {"P-256": "p256", "Ed25519": "ed25519"}
# Name to algorithm on the wire: -7 and -8 are the deprecated names of what we take.
SIGN1 = {
    "ecdsa-examples/ecdsa-sig-01": -7,
    "RFC8152/Appendix_C_2_1": -7,
    "CWT/A_3": -7,
    "eddsa-examples/eddsa-sig-01": -8,
}
# An algorithm that is not the curve's own, and curves that are not of the wire.
NOT_OURS = {
    "ecdsa-examples/ecdsa-sig-02": "key.not_admissible",
    "ecdsa-examples/ecdsa-sig-03": "key.not_admissible",
    "ecdsa-examples/ecdsa-sig-04": "key.algorithm",
    "eddsa-examples/eddsa-sig-02": "key.not_admissible",
}
# COSE_Sign, with a list of signers.
SIGN = (
    *(f"ecdsa-examples/ecdsa-0{n}" for n in range(1, 5)),
    *("eddsa-examples/eddsa-01", "eddsa-examples/eddsa-02"),
    *(f"RFC8152/Appendix_C_1_{n}" for n in range(1, 5)),
)


def read(name: str) -> tuple[dict[str, Any], bytes]:
    case = json.loads(vectors(f"cose-examples/{name}.json").read_text())
    return case, bytes.fromhex(case["output"]["cbor"])


def member(key: dict[str, str], name: str) -> bytes:
    if f"{name}_hex" in key:
        return bytes.fromhex(key[f"{name}_hex"])
    return urlsafe_b64decode(key[name] + "=" * (-len(key[name]) % 4))


def key_of(case: dict[str, Any]) -> PublicKey:
    key = case["input"]["sign0"]["key"]
    raw = member(key, "x")
    if key["kty"] == "EC":
        raw = b"\x04" + raw + member(key, "y")
    return admit(OURS.get(key["crv"], key["crv"]), raw, allow_published=True)


def parts(data: bytes) -> tuple[bytes, Any, bytes, bytes]:
    value = cbor.decode(data)
    assert isinstance(value, cbor.Tag) and value.tag == 18
    protected, unprotected, payload, signature = value.value
    return protected, unprotected, payload, signature


@pytest.mark.parametrize("name", SIGN1)
def test_sign1(name: str) -> None:
    case, data = read(name)
    protected, unprotected, payload, signature = parts(data)
    message = cose.sig_structure(protected, b"", payload)
    assert message.hex().upper() == case["intermediates"]["ToBeSign_hex"].upper()
    algorithm, key = cbor.decode(protected)[1], key_of(case)
    assert algorithm == SIGN1[name]
    with pytest.raises(KeyRefused):
        cose.check_algorithm(algorithm, key)
    cose.check_algorithm(algorithm, key, allow_deprecated=True)
    r, s = signature[:32], int.from_bytes(signature[32:], "big")
    if key.curve == "p256" and s > P256_ORDER // 2:
        with pytest.raises(SignatureInvalid, match="high s"):
            key.verify(message, signature)
        signature = r + (P256_ORDER - s).to_bytes(32, "big")
    key.verify(message, signature)
    for changed in (message + b"\x00", message[:-1], message.swapcase()):
        with pytest.raises(SignatureInvalid):
            key.verify(changed, signature)
    # None carries our domain, so none is a signature over anything of the wire.
    for kind in ("envelope", "card", "ack"):
        foreign = cose.sig_structure(protected, cose.external_aad(kind, "", key.thumbprint), b"")
        with pytest.raises(SignatureInvalid):
            key.verify(foreign, signature)
    if unprotected:
        with pytest.raises(EnvelopeError, match="unprotected"):
            cose.parse_sign1(data)


@pytest.mark.parametrize("name, code", NOT_OURS.items())
def test_other_curves_and_algorithms(name: str, code: str) -> None:
    case, data = read(name)
    with pytest.raises(EnvelopeError):
        cose.parse_sign1(data)
    with pytest.raises(KeyRefused) as caught:
        cose.check_algorithm(cbor.decode(parts(data)[0])[1], key_of(case), allow_deprecated=True)
    assert caught.value.code == code


@pytest.mark.parametrize("name", SIGN)
def test_several_signers_are_no_envelope(name: str) -> None:
    _, data = read(name)
    with pytest.raises(DepinError) as caught:
        cose.parse_sign1(data)
    assert caught.value.code == "envelope.malformed"


def test_every_published_key_of_these_examples_is_refused_without_leave() -> None:
    for name in SIGN1:
        key = key_of(read(name)[0])
        with pytest.raises(KeyRefused, match="published"):
            admit(key.curve, key.raw)


def test_points_of_another_curve_are_no_keys() -> None:
    refused = 0
    for file in ("ecdsa_secp256k1_sha256_p1363", "ecdsa_secp256k1_sha256_bitcoin"):
        found = json.loads(vectors(f"wycheproof/testvectors_v1/{file}_test.json").read_text())
        for group in found["testGroups"]:
            with pytest.raises(KeyRefused):
                admit("p256", bytes.fromhex(group["publicKey"]["uncompressed"]))
            refused += 1
    assert refused > 100
