"""The vectors are what the library writes, and what it reads and refuses; and others agree."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import cbor2
import nacl.signing
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from depin_id import cbor
from depin_id.envelope import parse_envelope, split_bundle
from depin_id.errors import DepinError
from depin_id.keys import admit
from tests.docs import vectors
from tests.docs.material import Material, kept_signatures
from tests.docs.reading import Reader
from tests.docs.valid import read_out
from verify.leaf import RecordsContent, parse_leaf
from verify.log import leaf_hash

FILE = vectors.load()
SIGNED = [*FILE["envelopes"], *FILE["card"], *FILE["down"]]
KEYS = {key["name"]: key for key in FILE["keys"]}


def named(case: dict[str, Any]) -> str:
    return str(case.get("operation", "")) + " " + str(case["name"])


def test_the_file_is_what_the_library_writes() -> None:
    again = vectors.build(kept_signatures(FILE))
    assert vectors.text_of(again) == vectors.text_of(FILE), "python -m tests.docs.vectors --write"


def test_a_signature_that_no_longer_verifies_is_made_again() -> None:
    case = next(case for case in FILE["envelopes"] if case["signer"] == "device-p256")
    digest, message = bytes.fromhex(case["id"]), bytes.fromhex(case["to_be_signed"])
    kept = Material({digest: bytes(64)}).signers["device-p256"].sign(message)
    assert kept != bytes(64)
    Material({}).key("device-p256").verify(message, kept)


def test_the_keys_pass_admission_and_say_that_they_are_examples() -> None:
    for key in FILE["keys"]:
        secret = hashlib.sha256(key["label"].encode()).digest()
        assert secret.hex() == key["secret"] and "example" in key["label"]
        assert admit(key["curve"], bytes.fromhex(key["public"])).kid.hex() == key["kid"]
    assert "nobody's device" in FILE["warning"]


@pytest.mark.parametrize("case", FILE["cbor"], ids=lambda case: case["value"])
def test_cbor(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["bytes"])
    assert cbor.encode(cbor.decode(data)) == data == cbor.encode(cbor.decode_strict(data))


@pytest.mark.parametrize("case", FILE["envelopes"], ids=named)
def test_envelopes_are_read(case: dict[str, Any]) -> None:
    envelope = parse_envelope(bytes.fromhex(case["bytes"]))
    assert case | read_out(envelope) == case
    assert Reader(FILE).run("verify", case).hex() == case["id"]
    if case["kind"] == "gateway":
        inner = Reader(FILE).run("inside_gateway", {"bytes": case["payload"]})
        assert inner.raw.hex() == case["payload"]
    if envelope.content_type == 112:
        Reader(FILE).run("pack", {"bytes": case["payload"], "subject": KEYS[case["signer"]]["did"]})


def test_the_chain_of_the_examples_holds() -> None:
    heads: dict[tuple[str, str], str] = {}
    for case in FILE["envelopes"]:
        stream = (case["signer"], case["claims"].get("sub", ""))
        assert case["provenance"]["prev"] == heads.get(stream, "00" * 16)
        heads[stream] = case["id"][:32]


@pytest.mark.parametrize("case", SIGNED, ids=named)
def test_other_people_s_libraries_agree(case: dict[str, Any]) -> None:
    """The signed bytes and the signature, without this project's code."""
    key = KEYS[case["signer"]]
    aad = cbor2.dumps(["depin/1", case["kind"], case["network"], bytes.fromhex(key["thumbprint"])])
    parts = [bytes.fromhex(case["protected"]), aad, bytes.fromhex(case["payload"])]
    message = cbor2.dumps(["Signature1", *parts])
    signature = bytes.fromhex(case["signature"])
    assert aad.hex() == case["external_aad"] and message.hex() == case["to_be_signed"]
    assert hashlib.sha256(message).hexdigest() == case["id"]
    assert (
        bytes.fromhex(key["thumbprint"]) == hashlib.sha256(bytes.fromhex(key["cose_key"])).digest()
    )
    if key["curve"] == "ed25519":
        seed = nacl.signing.SigningKey(bytes.fromhex(key["secret"]))
        assert bytes(seed.sign(message).signature) == signature
    else:
        point = bytes.fromhex(key["public"])
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    body = cbor2.dumps([bytes.fromhex(case["protected"]), {}, parts[2], signature])
    assert b"\xd2" + body == bytes.fromhex(case["bytes"])


def test_the_bundle_splits_into_its_envelopes() -> None:
    by_name = {case["name"]: case["bytes"] for case in FILE["envelopes"]}
    parts = [part.hex() for part in split_bundle(bytes.fromhex(FILE["bundle"]["bytes"]))]
    assert parts == [by_name[name] for name in FILE["bundle"]["envelopes"]]


@pytest.mark.parametrize("case", [*FILE["card"], *FILE["down"]], ids=named)
def test_what_comes_down_is_read(case: dict[str, Any]) -> None:
    assert Reader(FILE).run(case["kind"], case) is not None


def test_nonces_salts_and_commitments_by_hand() -> None:
    for case in FILE["nonces"]:
        thumbprint = bytes.fromhex(KEYS[case["recipient"]]["thumbprint"])
        text = cbor2.dumps(["depin-nonce/1", case["size"], bytes.fromhex(case["root"]), thumbprint])
        expected = case["size"].to_bytes(8, "big") + hashlib.sha256(text).digest()[:8]
        assert case["nonce"] == expected.hex()
    salts = FILE["salts"]
    key = hmac.digest(bytes.fromhex(salts["data_key"]), b"depin-salt/1", "sha256")
    of = {row["index"]: row["salt"] for row in salts["salts"]}
    for index, salt in of.items():
        assert salt == hmac.digest(key, index.to_bytes(8, "big"), "sha256").hex()
    for row in salts["commitments"]:
        content = bytes.fromhex(of[row["index"]] + row["content"])
        assert row["commitment"] == hashlib.sha256(content).hexdigest()


def test_leaves_and_records_come_back() -> None:
    assert len(FILE["leaves"]) == 3
    for case in FILE["leaves"]:
        data = bytes.fromhex(case["bytes"])
        assert parse_leaf(data).encode() == data
        assert leaf_hash(data).hex() == case["leaf_hash"]
        assert hashlib.sha256(b"\x00" + data).hexdigest() == case["leaf_hash"]
    records = bytes.fromhex(FILE["records"]["bytes"])
    assert RecordsContent.decode(records).encode() == records


@pytest.mark.parametrize("case", FILE["receipts"], ids=named)
def test_receipts_are_checked_from_their_bytes_alone(case: dict[str, Any]) -> None:
    checked = Reader(FILE).run("receipt", case)
    assert (checked.index, checked.pinned, checked.checkpoint.size) == (case["index"], True, 4)
    assert (checked.records is not None) == ("with its records" in case["name"])


def refused() -> list[Any]:
    return [pytest.param(case, id=named(case)) for case in FILE["refused"]]


@pytest.mark.parametrize("case", refused())
def test_what_is_invalid_is_refused_with_its_code(case: dict[str, Any]) -> None:
    with pytest.raises(DepinError) as caught:
        Reader(FILE).run(case["operation"], case)
    assert caught.value.code == case["error"]


def test_an_implementation_finds_every_operation_and_enough_cases() -> None:
    operations = {case["operation"] for case in FILE["refused"]}
    assert len(FILE["refused"]) >= 100 and len(operations) == 15
    names = [named(case) for case in FILE["refused"]]
    assert len(names) == len(set(names))
