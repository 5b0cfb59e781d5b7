"""Published vectors through the resolver: documents of did:key, keys that must not get in."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from depin_id import base58
from depin_id.did import Resolver, did_jwk, did_key, parse_did_jwk, parse_did_key
from depin_id.did.contents import RELATIONSHIPS
from depin_id.errors import KeyRefused, SignatureInvalid
from depin_id.keys import PublicKey, admit
from tests.paths import vectors

OTHERS = {
    "bls12381.json": 6,
    "ed25519-x25519.json": 0,
    "nist-curves.json": 4,
    "rsa.json": 2,
    "secp256k1.json": 6,
    "x25519.json": 4,
}
"""How many did:key of types that are not used here each file of the suite names."""


def _raw(method: dict[str, Any]) -> bytes:
    """The key of a verification method as the vectors write it."""
    if "publicKeyBase58" in method:
        return base58.decode(method["publicKeyBase58"])
    jwk = method["publicKeyJwk"]
    if jwk["kty"] == "OKP":
        return base64.urlsafe_b64decode(jwk["x"] + "=")
    x, y = (base64.urlsafe_b64decode(jwk[name] + "=") for name in "xy")
    return admit("p256", b"\x04" + x + y, allow_published=True).raw


def _dids(value: dict[str, Any]) -> dict[str, Any]:
    cases = value.get("didDocument", value)
    found = {did: case for did, case in cases.items() if did.startswith("did:key:")}
    return found or {value["didDocument"]["id"]: value}


@pytest.mark.parametrize("name", OTHERS)
def test_documents_of_did_key(name: str) -> None:
    """Each DID gives the document that the vectors expect, or a typed refusal.

    Ours names the key as Multikey, and no key to encrypt with.
    """
    resolver, strict = Resolver(allow_published=True), Resolver()
    refused = 0
    cases = _dids(json.loads(vectors(f"did-method-key/test-vectors/{name}").read_bytes()))
    assert cases
    for did, case in cases.items():
        found = resolver.resolve(did)
        if found.error is not None:
            assert found.error == "unsupportedPublicKeyType" and found.document is None
            assert did.startswith(("did:key:zDn", "did:key:z6Mk")) is False
            refused += 1
            continue
        assert found.document is not None and strict.resolve(did).error == "invalidPublicKey"
        expected = case["didDocument"]
        for relationship in RELATIONSHIPS[:-1]:
            assert found.document[relationship] == expected[relationship]
        method = expected["verificationMethod"][0]
        assert found.document["id"] == expected["id"] == did
        assert found.document["verificationMethod"][0]["id"] == method["id"]
        assert found.document["verificationMethod"][0]["controller"] == method["controller"]
        assert resolver.key(method["id"]).raw == _raw(method)
    assert refused == OTHERS[name]


def test_keys_of_the_speccheck_do_not_get_in() -> None:
    """Ten keys are of small or mixed order or not canonical; with the good one it is the s."""
    cases = json.loads(vectors("ed25519-speccheck/cases.json").read_bytes())
    assert len(cases) == 12
    good = []
    for number, case in enumerate(cases):
        key = PublicKey("ed25519", bytes.fromhex(case["pub_key"]))
        try:
            admit("ed25519", key.raw)
        except KeyRefused as error:
            assert error.code == "key.not_admissible"
            for did, parse in ((did_key(key), parse_did_key), (did_jwk(key), parse_did_jwk)):
                with pytest.raises(KeyRefused):
                    parse(did, allow_published=True)
                assert Resolver().resolve(did).error == "invalidPublicKey"
            continue
        good.append(number)
        with pytest.raises(SignatureInvalid):
            key.verify(bytes.fromhex(case["message"]), bytes.fromhex(case["signature"]))
    assert good == [6, 7]  # "S out of bounds", small and large


def test_keys_of_wycheproof_are_published_keys() -> None:
    """What anybody can sign with is no key of a device, though every signature of it is good."""
    for file, curve in (
        ("ed25519_test.json", "ed25519"),
        ("ecdsa_secp256r1_sha256_p1363_test.json", "p256"),
    ):
        groups = json.loads(vectors(f"wycheproof/testvectors_v1/{file}").read_bytes())["testGroups"]
        admitted = 0
        for group in groups:
            public = group["publicKey"]
            raw = bytes.fromhex(public.get("pk") or public["uncompressed"])
            assert admit(curve, raw, allow_published=True).curve == curve
            try:
                admit(curve, raw)
                admitted += 1
            except KeyRefused as error:
                assert "published" in error.message
        assert not admitted, (file, admitted)
