"""The result token: one form, one digest, and nobody else's signature."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from typing import Any

import pytest

from depin_id import cbor, cose
from depin_id.attestation import AttestationResult, TrustVector, ear
from depin_id.errors import AttestationError, DepinError, SignatureInvalid
from depin_id.keys import Curve, SoftwareSigner

NETWORK = "did:web:example.org"
AT = 1_700_000_000_123
RESULT = AttestationResult(
    verifier=NETWORK,
    software="depin-id 0",
    did="did:key:z6MkDevice",
    thumbprint=bytes(range(32)),
    boot=3,
    nonce=bytes(16),
    challenge=b"c" * 32,
    media_type="application/x-example",
    format="example",
    model="thermometer",
    evidence=b"e" * 32,
    issued=AT,
    not_after=AT + 86_400_001,
    vector=TrustVector(instance_identity=2, executables=33, hardware=2, sourced_data=-3),
    level="D2",
    assurance="tee",
    bound="attested",
    root=b"r" * 32,
    unique=True,
    identifiers=("cert:example:1f", "key:00"),
    reasons=("attestation.references",),
    anchors=b"a" * 32,
    references=b"b" * 32,
    revocations=b"d" * 32,
)


def test_a_result_comes_back_and_has_one_digest() -> None:
    data = ear.encode_result(RESULT)
    assert ear.decode_result(data) == RESULT
    assert ear.result_digest(data) == hashlib.sha256(data).digest()
    assert ear.ear_id(data) == ear.result_digest(data)[:16]
    claims = cbor.decode(data)
    assert claims[265] == ear.PROFILE
    assert (claims[6], claims[4]) == (RESULT.issued // 1000, RESULT.not_after // 1000)
    appraisal = claims[266]["example"]
    assert appraisal[1000] == 32
    assert appraisal[1001] == {0: 2, 2: 33, 4: 2, 7: -3}
    assert appraisal[1003] == ["thermometer"]
    bare = replace(RESULT, model="", identifiers=(), reasons=(), vector=TrustVector())
    assert ear.decode_result(ear.encode_result(bare)) == bare


WRONG: list[tuple[str, Any]] = [
    ("verifier", ""),
    ("software", "x" * 257),
    ("did", 5),
    ("thumbprint", bytes(31)),
    ("boot", -1),
    ("nonce", bytes(15)),
    ("challenge", bytes(48)),
    ("media_type", ""),
    ("format", ""),
    ("model", None),
    ("evidence", "e"),
    ("issued", True),
    ("not_after", AT - 1),
    ("vector", TrustVector(hardware=128)),
    ("level", "D4"),
    ("assurance", "magic"),
    ("bound", ""),
    ("root", b""),
    ("unique", 1),
    ("identifiers", ("b", "a")),
    ("reasons", ("a", "a")),
    ("anchors", b""),
    ("references", b""),
    ("revocations", b""),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[name for name, _ in WRONG])
def test_each_attribute_of_a_result_is_checked(name: str, value: Any) -> None:
    with pytest.raises(AttestationError) as caught:
        ear.encode_result(replace(RESULT, **{name: value}))
    assert caught.value.code == "attestation.result"


def test_every_attribute_has_its_wrong_value_above() -> None:
    assert {name for name, _ in WRONG} == {field.name for field in fields(AttestationResult)}


def test_a_text_without_utf8_form_is_refused() -> None:
    with pytest.raises(AttestationError):
        ear.encode_result(replace(RESULT, model="\ud800"))


def _changed(path: list[Any], value: Any) -> bytes:
    claims = cbor.decode(ear.encode_result(RESULT))
    inside = claims
    for step in path[:-1]:
        inside = inside[step]
    if value is None:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    return cbor.encode(claims)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ([265], "tag:ietf.org,2026:rats/ear#02"),
        ([6], AT // 1000 + 1),
        ([4], None),
        ([7], b"more"),
        ([1004], {0: NETWORK}),
        ([1004, 2], "more"),
        ([266], {}),
        ([266, "other"], {}),
        ([266, "example", 1000], 2),
        ([266, "example", 1001, 8], 2),
        ([266, "example", 1001, 1], 0),
        ([266, "example", 1003], ["thermometer", "another"]),
        ([266, "example", 1003], [""]),
        ([266, "example", 1002], b"raw"),
        ([266, "example", ear.OWN, 20], 1),
        ([266, "example", ear.OWN, 15], None),
        ([266, "example", ear.OWN, 15], "text"),
        ([266, "example", ear.OWN, 10], ["D3"]),
    ],
)
def test_another_claims_set_is_refused(path: list[Any], value: Any) -> None:
    with pytest.raises(AttestationError) as caught:
        ear.decode_result(_changed(path, value))
    assert caught.value.code == "attestation.result"


def test_no_byte_of_a_result_is_free() -> None:
    data = ear.encode_result(RESULT)
    for at in range(len(data)):
        changed = bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]])
        try:
            assert ear.decode_result(changed) != RESULT
        except AttestationError as error:
            assert error.code == "attestation.result"
    for spoilt in (b"", data[:-1], data + b"\x00", b"\xa0"):
        with pytest.raises(AttestationError):
            ear.decode_result(spoilt)


@pytest.mark.parametrize("curve", ["ed25519", "p256"])
def test_a_token_is_read_under_the_keys_of_its_network(curve: Curve) -> None:
    signer, other = SoftwareSigner.generate(curve), SoftwareSigner.generate()
    payload = ear.encode_result(RESULT)
    token = ear.sign_ear(payload, network=NETWORK, signer=signer)
    keys = [other.public_key, signer.public_key]
    assert ear.read_ear(token, network=NETWORK, keys=keys) == (RESULT, payload)
    with pytest.raises(AttestationError):
        ear.read_ear(token, network=NETWORK, keys=[other.public_key])
    with pytest.raises(SignatureInvalid):
        ear.read_ear(token, network="did:web:other.example.org", keys=keys)
    for at in range(len(token)):
        changed = bytes([*token[:at], token[at] ^ 1, *token[at + 1 :]])
        with pytest.raises(DepinError):
            ear.read_ear(changed, network=NETWORK, keys=keys)


def test_a_token_for_another_use_or_network_is_refused() -> None:
    signer = SoftwareSigner.generate()
    keys = [signer.public_key]
    payload = ear.encode_result(RESULT)
    with pytest.raises(AttestationError):
        ear.sign_ear(payload, network="did:web:other.example.org", signer=signer)
    headers: dict[int, Any] = {3: ear.CONTENT_TYPE, 4: signer.public_key.kid}
    wrong = cose.sign1(headers, payload, kind="ack", network=NETWORK, signer=signer)
    with pytest.raises(SignatureInvalid):
        ear.read_ear(wrong, network=NETWORK, keys=keys)
    for changed in (headers | {3: "text/plain"}, headers | {2: [3]}, {4: headers[4]}):
        wrong = cose.sign1(changed, payload, kind="ear", network=NETWORK, signer=signer)
        with pytest.raises(AttestationError):
            ear.read_ear(wrong, network=NETWORK, keys=keys)
    foreign = ear.encode_result(replace(RESULT, verifier="did:web:other.example.org"))
    wrong = cose.sign1(headers, foreign, kind="ear", network=NETWORK, signer=signer)
    with pytest.raises(AttestationError):
        ear.read_ear(wrong, network=NETWORK, keys=keys)
