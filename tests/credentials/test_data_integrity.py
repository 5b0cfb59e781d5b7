"""Data Integrity proofs, byte for byte with the W3C's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from depin_id import base58
from depin_id.data_integrity import hash_data, make_proof, split_proof, verify_proof
from depin_id.did.multikey import decode_multikey
from depin_id.errors import CredentialError, DepinError, SignatureInvalid
from depin_id.keys import SoftwareSigner
from tests.paths import vectors


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _eddsa() -> tuple[dict[str, Any], dict[str, Any], SoftwareSigner]:
    folder = vectors("vc-di-eddsa/TestVectors")
    pair = _read(folder / "keyPair.json")
    # A multikey of a secret: two bytes of multicodec before the seed.
    secret = base58.decode(pair["privateKeyMultibase"][1:])[2:]
    signer = SoftwareSigner("ed25519", secret, allow_published=True)
    document = _read(folder / "eddsa-jcs-2022/signedJCS.json")
    return document, document.pop("proof"), signer


def test_eddsa_jcs_2022_is_made_byte_for_byte() -> None:
    document, proof, signer = _eddsa()
    made = make_proof(
        document,
        signer,
        verification_method=proof["verificationMethod"],
        purpose="assertionMethod",
        created=proof["created"],
    )
    assert made == proof
    verify_proof(document, proof, signer.public_key)


def test_ecdsa_jcs_2019_p256_verifies() -> None:
    folder = vectors("vc-di-ecdsa/TestVectors")
    document = _read(folder / "ecdsa-jcs-2019-p256/signedJCSECDSAP256.json")
    proof = document.pop("proof")
    public = _read(folder / "p256KeyPair.json")["publicKeyMultibase"]
    key = decode_multikey(public, allow_published=True)
    options, signature = split_proof(proof)
    assert len(hash_data(document, options)) == len(signature) == 64
    verify_proof(document, proof, key)


def test_every_part_is_signed() -> None:
    document, proof, signer = _eddsa()
    key = signer.public_key
    for name in document:
        with pytest.raises(DepinError):
            verify_proof({**document, name: "x"}, proof, key)
    for name in ("created", "verificationMethod", "proofPurpose"):
        other = {**proof, name: "2024-02-24T23:36:38Z"}
        with pytest.raises(SignatureInvalid):
            verify_proof(document, other, key)
    with pytest.raises(SignatureInvalid):
        verify_proof(document, {**proof, "challenge": "x"}, key)


def test_contexts_cannot_be_exchanged() -> None:
    document, proof, signer = _eddsa()
    other = {**document, "@context": [*document["@context"], "https://example.org/more"]}
    # The document may have more contexts than are signed only behind them, and they are not read.
    verify_proof(other, proof, signer.public_key)
    with pytest.raises(CredentialError, match="proof.context"):
        verify_proof({**document, "@context": document["@context"][::-1]}, proof, signer.public_key)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type": "Ed25519Signature2020"}, "proof.malformed"),
        ({"cryptosuite": "eddsa-rdfc-2022"}, "proof.suite"),
        ({"cryptosuite": "ecdsa-jcs-2019"}, "proof.suite"),
        ({"proofValue": "u" + "A" * 86}, "proof.malformed"),
        ({"proofValue": "z0OIl"}, "proof.malformed"),
        ({"proofValue": "z" + "1" * 2000}, "proof.malformed"),
        ({"created": "yesterday"}, "proof.malformed"),
        ({"proofPurpose": 1}, "proof.malformed"),
    ],
)
def test_a_proof_of_another_form_is_refused(change: dict[str, Any], code: str) -> None:
    document, proof, signer = _eddsa()
    with pytest.raises(CredentialError, match=code):
        verify_proof(document, {**proof, **change}, signer.public_key)
