"""ecdsa-jcs-2019 byte for byte with the W3C's vectors, on P-256 and P-384."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from depin_id import base58
from depin_id.data_integrity import hash_data, make_proof, split_proof, verify_proof
from depin_id.did.multikey import decode_multikey
from depin_id.ecdsa import (
    P384Key,
    P384Signer,
    VerificationKey,
    admit_p384,
    decode_p384,
    encode_p384,
)
from depin_id.errors import CredentialError, DIDError, KeyRefused, SignatureInvalid
from depin_id.keys import P256_ORDER, PublicKey, SoftwareSigner
from tests.paths import vectors


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _case(name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, str]]:
    """Document, proof, the options as published, and the key pair."""
    folder = vectors("vc-di-ecdsa/TestVectors")
    document = _read(folder / f"ecdsa-jcs-2019-{name}/signedJCSECDSA{name.upper()}.json")
    options = _read(folder / f"ecdsa-jcs-2019-{name}/proofConfigJCSECDSA{name.upper()}.json")
    return document, document.pop("proof"), options, _read(folder / f"{name}KeyPair.json")


def _secret(pair: dict[str, str]) -> bytes:
    return base58.decode(pair["secretKeyMultibase"][1:])[2:]


def _keys(name: str, pair: dict[str, str]) -> tuple[SoftwareSigner | P384Signer, VerificationKey]:
    if name == "p256":
        signer = SoftwareSigner("p256", _secret(pair), allow_published=True)
        return signer, decode_multikey(pair["publicKeyMultibase"], allow_published=True)
    return P384Signer(_secret(pair)), decode_p384(pair["publicKeyMultibase"])


@pytest.mark.parametrize("name", ["p256", "p384"])
def test_proofs_are_made_byte_for_byte(name: str) -> None:
    document, proof, options, pair = _case(name)
    signer, key = _keys(name, pair)
    assert signer.public_key == key
    made = make_proof(
        document,
        signer,
        verification_method=proof["verificationMethod"],
        purpose="assertionMethod",
        created=proof["created"],
    )
    assert made == proof
    assert split_proof(proof)[0] == options
    assert len(hash_data(document, options, curve=key.curve)) == (96 if name == "p384" else 64)
    verify_proof(document, proof, key)
    for other in ({**document, "name": "another"}, {**document, "more": 1}):
        with pytest.raises(SignatureInvalid):
            verify_proof(other, proof, key)


def test_a_high_s_of_others_verifies_in_documents_and_nowhere_else() -> None:
    document, proof, _, pair = _case("p256")
    _, key = _keys("p256", pair)
    options, signature = split_proof(proof)
    s = P256_ORDER - int.from_bytes(signature[32:], "big")
    high = signature[:32] + s.to_bytes(32, "big")
    verify_proof(document, {**proof, "proofValue": "z" + base58.encode(high)}, key)
    assert isinstance(key, PublicKey)
    with pytest.raises(SignatureInvalid, match="malleable"):
        key.verify(hash_data(document, options), high)


@pytest.mark.parametrize("name", ["p256", "p384"])
@pytest.mark.parametrize("change", [b"", b"\0" * 64, b"\0" * 96, b"\xff" * 96, b"\xff" * 64])
def test_a_signature_of_another_form_is_invalid(name: str, change: bytes) -> None:
    document, proof, _, pair = _case(name)
    _, key = _keys(name, pair)
    with pytest.raises(SignatureInvalid):
        verify_proof(document, {**proof, "proofValue": "z" + base58.encode(change)}, key)


def test_the_suite_has_to_fit_the_key() -> None:
    document, proof, _, pair = _case("p384")
    _, key = _keys("p384", pair)
    with pytest.raises(CredentialError, match=r"proof\.suite"):
        verify_proof(document, {**proof, "cryptosuite": "eddsa-jcs-2022"}, key)


def test_points_of_p384_are_admitted_in_one_spelling() -> None:
    _, _, _, pair = _case("p384")
    text = pair["publicKeyMultibase"]
    key = decode_p384(text)
    assert encode_p384(key) == text
    for raw in (b"", bytes(49), b"\x04" + bytes(96), key.raw[:-1], b"\x05" + key.raw[1:]):
        with pytest.raises(KeyRefused):
            admit_p384(raw)
    uncompressed = key._point.public_numbers()
    point = b"\x04" + uncompressed.x.to_bytes(48, "big") + uncompressed.y.to_bytes(48, "big")
    assert admit_p384(point) == key
    with pytest.raises(DIDError):
        decode_p384("z" + base58.encode(b"\x81\x24" + point))
    for wrong in ("", "z", "u" + text, text + "1" * 100, "z0", text[:-1] + "O", "zDnaep"):
        with pytest.raises((DIDError, KeyRefused)):
            decode_p384(wrong)
    for secret in (b"", bytes(48), b"\xff" * 48):
        with pytest.raises(KeyRefused):
            P384Signer(secret)
    assert isinstance(key, P384Key)
