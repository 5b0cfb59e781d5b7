"""did:peaq: what resolves, what its keys are worth, and what makes them worth more."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from depin_id import base58, evm
from depin_id.did.multikey import encode_multikey
from depin_id.did.peaq import PeaqMethod, file_source
from depin_id.did.resolution import Options
from depin_id.did.resolver import Resolver
from depin_id.did.syntax import parse_did
from depin_id.keys import SoftwareSigner
from depin_id.peaq.account import encode_ss58
from depin_id.peaq.document import (
    ED25519,
    RECOVERY,
    SR25519,
    Document,
    DocumentSignature,
    Method,
    create_document,
)
from depin_id.peaq.machine import MachineDocument, MachineMethod, encode_machine_document
from depin_id.peaq.resolved import did_document
from depin_id.peaq.trust import (
    Evidence,
    MachineKeys,
    issuer_message,
    keys_of_did,
    keys_of_document,
    trusted_keys,
    vouched_by_evidence,
    vouched_by_issuer,
)
from tests.peaq.world import OTHER, WALLET_ADDRESS, WALLET_DID, code, load, personal_sign

DEVICE = SoftwareSigner.generate()
CHIP = SoftwareSigner.generate("p256")
SUBJECT = evm.checksum_address(bytes(range(200, 220)))
OWNER = evm.checksum_address(WALLET_ADDRESS)
OTHER_ADDRESS = evm.public_key_address(OTHER.public_key.format())


def document(**change: Any) -> Document:
    """A device's document with an Ed25519 key, controlled by a wallet."""
    methods = [
        {"type": ED25519, "public_key_multibase": encode_multikey(DEVICE.public_key)},
        {"type": RECOVERY},
    ]
    return replace(create_document(OWNER, subject=SUBJECT, methods=methods), **change)


def machine(**change: Any) -> MachineDocument:
    methods = (
        MachineMethod("#device", "Multikey", WALLET_ADDRESS, encode_multikey(DEVICE.public_key)),
        MachineMethod("#chip", "Multikey", WALLET_ADDRESS, encode_multikey(CHIP.public_key)),
        MachineMethod("#spare", "Multikey", WALLET_ADDRESS, encode_multikey(
            SoftwareSigner.generate().public_key)),
    )  # fmt: skip
    made = MachineDocument("did:peaq:42", WALLET_ADDRESS, methods, (0, 1), ())
    return replace(made, **change)


def test_both_generations_resolve_and_say_that_nobody_vouches() -> None:
    first, second = document(), machine()
    source = {
        first.id: first.on_chain().decode(),
        second.id: "0x" + encode_machine_document(second).hex(),
    }
    method = PeaqMethod(source)
    resolver = Resolver([method])
    for did in source:
        result = resolver.resolve(did)
        assert result.error is None and result.document is not None
        assert result.document_metadata["trust"] == "attribute-only"
        assert result.document_metadata["verified"] is False
        # Nobody gets at a key on the way that other methods' keys go.
        for relationship in ("authentication", "assertionMethod"):
            name = did + ("#device" if did == second.id else "#keys-1")
            found = resolver.dereference(name, relationship=relationship)
            assert found.error == "invalidRelationshipForVerificationMethod"
            assert code(resolver.key, name, relationship=relationship) == "did.relationship"
        assert resolver.resolve(did, version_time=0).error == "featureNotSupported"
        keys = keys_of_document(result.document)
        assert keys.trust == "attribute-only" and DEVICE.public_key in keys.keys
        assert keys.controllers == {WALLET_ADDRESS}
        assert code(keys.require_key, DEVICE.public_key) == "peaq.attribute_only"
        assert keys.require_key(DEVICE.public_key, allow_attribute=True) == "attribute-only"
        assert code(keys.require_key, SoftwareSigner.generate().public_key) == "peaq.key_not_named"
    # What does not authenticate does not sign.
    assert len(keys.keys) == 2
    # The RPC's form of the attribute: hexadecimal once more.
    twice = PeaqMethod(lambda did: "0x" + first.on_chain().hex())
    assert twice.read(first.id) == first
    assert resolver.resolve("did:peaq:43").error == "notFound"
    assert resolver.resolve("did:peaq:0x12").error == "invalidDid"


def resolved(method: PeaqMethod, did: str) -> dict[str, Any]:
    found = method.resolve(parse_did(did), Options()).document
    assert found is not None
    return found


def test_a_folder_of_dids_may_hold_values_of_the_chain(tmp_path: Path) -> None:
    assert Resolver(dids=tmp_path).resolve(document().id).error == "notFound"
    value = document().on_chain().decode()
    (tmp_path / "peaq.json").write_text(json.dumps({document().id: value}))
    result = Resolver(dids=tmp_path).resolve(document().id)
    assert result.document_metadata == {
        "trust": "attribute-only",
        "verified": False,
        "generation": "A",
    }


def test_documents_of_the_vectors_resolve() -> None:
    for vector in load("did_documents")["vectors"]:
        value = bytes.fromhex(vector["value_onchain_hex"]).decode()
        method = PeaqMethod({vector["did"]: value}, allow_published=True)
        if vector["id"].startswith("p256-key-in-ed25519"):
            # A key of another kind than its type says: whoever reads one believes the other.
            assert code(resolved, method, vector["did"]) == "did.malformed"
            continue
        found = resolved(method, vector["did"])
        assert found["id"] == vector["did"]
        assert len(found["verificationMethod"]) == len(vector["decoded_v2"]["verificationMethod"])
        keys_of_document(found, allow_published=True)
    answer = load("peaqos_machine_did")["did_calls"][3]["return_data"]
    did = load("peaqos_machine_did")["machine_ids"][0]["machine_did"]
    found = resolved(PeaqMethod({did: answer}, allow_published=True), did)
    assert [m["id"] for m in found["verificationMethod"]] == [did + "#keys-1", did + "#device"]
    assert found["service"][0]["serviceEndpoint"].startswith("mqtts:")


def test_the_document_of_another_did_is_not_found() -> None:
    value = document().on_chain().decode()
    method = PeaqMethod(lambda did: value)
    assert code(resolved, method, WALLET_DID) == "did.not_found"
    numbered = "0x" + encode_machine_document(machine()).hex()
    assert code(resolved, PeaqMethod(lambda did: numbered), "did:peaq:43") == "did.not_found"
    assert code(resolved, PeaqMethod(), WALLET_DID) == "did.not_found"
    for wrong in ("", "0x", "0xzz", "0a1", 5, "0a" * 200_000):
        assert code(PeaqMethod(lambda did, v=wrong: v).read, WALLET_DID) == "peaq.source"


def test_files_of_documents(tmp_path: Path) -> None:
    path = tmp_path / "documents.json"
    path.write_text(json.dumps({document().id: document().on_chain().decode()}))
    assert PeaqMethod(file_source(path)).read(document().id) == document()
    path.write_text('{"did:peaq:1": 5}')
    assert code(file_source, path) == "peaq.source"
    assert code(file_source, tmp_path / "none") == "file.missing"


def method(kind: str, key: str, name: str = "#k") -> tuple[Method, ...]:
    did = f"did:peaq:{SUBJECT}"
    return (Method(did + name, kind, did, key),)


def multibase(prefix: str, raw: bytes) -> str:
    return "z" + base58.encode(bytes.fromhex(prefix) + raw)


@pytest.mark.parametrize(
    ("kind", "key", "expected"),
    [
        # The identity point: one signature under it verifies for any message in some libraries.
        (ED25519, multibase("ed01", b"\x01" + bytes(31)), "key.not_admissible"),
        (ED25519, multibase("e701", b"\x02" + bytes(32)), "did.key_not_supported"),
        (ED25519, "eip155:3338:" + SUBJECT, "did.malformed"),
        (ED25519, "zzzz0", "did.malformed"),
        (ED25519, "m" + "A" * 44, "did.malformed"),
        (RECOVERY, multibase("e701", b"\x02" + b"\xff" * 32), "did.malformed"),
        (RECOVERY, multibase("e701", bytes(12)), "did.malformed"),
        (RECOVERY, multibase("ed01", bytes(32)), "did.malformed"),
        (RECOVERY, "eip155:3338:" + SUBJECT.swapcase().replace("0X", "0x"), "did.malformed"),
        (RECOVERY, "eip155:03338:" + SUBJECT, "did.malformed"),
        (SR25519, multibase("ef01", bytes(31)), "did.malformed"),
        (SR25519, multibase("ed01", bytes(32)), "did.malformed"),
        ("JsonWebKey2020", "z6Mk", "did.key_not_supported"),
    ],
)
def test_every_key_is_admitted(kind: str, key: str, expected: str) -> None:
    assert code(did_document, document(methods=method(kind, key), authentications=())) == expected


def test_sr25519_keys_are_shown_and_never_verify() -> None:
    key = multibase("ef01", bytes(range(32)))
    made = document(methods=method(SR25519, key), authentications=(f"did:peaq:{SUBJECT}#k",))
    keys = keys_of_document(did_document(made))
    assert not keys.keys and not keys.addresses


def test_documents_that_contradict_themselves() -> None:
    key = encode_multikey(DEVICE.public_key)
    foreign = (Method("did:peaq:42#k", ED25519, document().id, key),)
    for change in (
        {"methods": foreign, "authentications": ()},
        {"methods": method(ED25519, key) * 2, "authentications": ()},
        {"methods": method(ED25519, key, "#a b"), "authentications": ()},
        {"authentications": (document().id + "#other",)},
        {"authentications": document().authentications[:1] * 2},
        {"controller": "did:web:example.org"},
    ):
        assert code(did_document, document(**change)) == "did.malformed"
    odd = MachineMethod("#k", "Multikey", WALLET_ADDRESS, "a\nb")
    assert code(did_document, machine(methods=(odd,), authentication=())) == "did.malformed"
    halves = did_document(document()) | {"verificationMethod": [5]}
    for wrong in ({}, {"id": 5}, {"id": WALLET_DID, "authentication": [[]]}, halves):
        assert code(keys_of_document, wrong) == "did.malformed"


def test_dids_that_name_their_own_key_need_no_document() -> None:
    account = f"did:peaq:{encode_ss58(DEVICE.public_key.raw)}"
    assert keys_of_did(account).require_key(DEVICE.public_key) == "did"
    assert code(keys_of_did(account).require_key, CHIP.public_key) == "peaq.key_not_named"
    assert keys_of_did(WALLET_DID).require_address(WALLET_ADDRESS) == "did"
    assert keys_of_did(WALLET_DID).require_controller(WALLET_ADDRESS) == "did"
    assert code(keys_of_did("did:peaq:42").require_address, WALLET_ADDRESS) == "peaq.key_not_named"
    for wrong in (
        "",
        "did:peaq:",
        "did:peaq:0",
        "did:peaq:01",
        "did:key:z6Mk",
        "did:peaq:" + "9" * 78,
    ):
        assert code(keys_of_did, wrong) == "did.malformed"


ISSUER = trusted_keys("did:peaq:900", addresses=[OTHER_ADDRESS])


def signed_by_wallet(made: Document, issuer: str = "did:peaq:900", key: Any = OTHER) -> Document:
    text = "0x" + personal_sign(issuer_message(made), key).hex()
    return replace(made, signature=DocumentSignature(RECOVERY, issuer, text))


def test_an_issuers_signature_makes_it_more() -> None:
    keys = vouched_by_issuer(signed_by_wallet(document()), [ISSUER])
    assert keys.trust == "issuer" and keys.require_key(DEVICE.public_key) == "issuer"
    maker = SoftwareSigner.generate()
    named = trusted_keys("did:peaq:901", keys=[maker.public_key])
    text = "0x" + maker.sign(issuer_message(document())).hex()
    made = document(signature=DocumentSignature(ED25519, "did:peaq:901", text))
    assert vouched_by_issuer(made, [ISSUER, named]).trust == "issuer"
    account = f"did:peaq:{encode_ss58(maker.public_key.raw)}"
    made = document(signature=DocumentSignature(ED25519, account, text))
    assert vouched_by_issuer(made, [keys_of_did(account)]).trust == "issuer"


def test_a_resolver_that_trusts_the_issuer_opens_the_key() -> None:
    made = signed_by_wallet(document())
    source = {made.id: made.on_chain().decode()}
    name = made.id + "#keys-1"
    resolver = Resolver([PeaqMethod(source, issuers=[ISSUER])])
    assert resolver.resolve(made.id).document_metadata["trust"] == "issuer"
    assert resolver.key(name, relationship="authentication") == DEVICE.public_key
    # What authenticates does not assert.
    assert code(resolver.key, name) == "did.relationship"
    for issuers in ((), [keys_of_did("did:peaq:900")], [keys_of_did(WALLET_DID)]):
        other = Resolver([PeaqMethod(source, issuers=issuers)])
        metadata = other.resolve(made.id).document_metadata
        assert metadata["trust"] == "attribute-only" and metadata["verified"] is False
        assert code(other.key, name, relationship="authentication") == "did.relationship"


def test_signatures_that_make_it_nothing() -> None:
    good = signed_by_wallet(document())
    assert code(vouched_by_issuer, document(), [ISSUER]) == "peaq.not_vouched"
    assert code(vouched_by_issuer, good, []) == "peaq.not_vouched"
    assert code(vouched_by_issuer, good, [keys_of_did(WALLET_DID)]) == "peaq.not_vouched"
    nobody = document(signature=DocumentSignature(RECOVERY, "did:web:example.org", "0x00"))
    assert code(vouched_by_issuer, nobody, [ISSUER]) == "peaq.not_vouched"
    # The document was changed after the issuer signed it: the thief's key comes in.
    thief = encode_multikey(SoftwareSigner.generate().public_key)
    changed = replace(good, methods=(replace(good.methods[0], multibase=thief), good.methods[1]))
    assert code(vouched_by_issuer, changed, [ISSUER]) == "peaq.key_not_named"
    forged = signed_by_wallet(document(), key=personal_key())
    assert code(vouched_by_issuer, forged, [ISSUER]) == "peaq.key_not_named"
    # Who is known from an attribute alone cannot vouch for others.
    attribute = replace(ISSUER, trust="attribute-only")
    assert code(vouched_by_issuer, good, [attribute]) == "peaq.attribute_only"
    assert good.signature is not None
    for change in ({"type": SR25519}, {"type": ED25519}, {"hash": "0x" + "ab" * 64}, {"hash": "x"}):
        odd = replace(good, signature=replace(good.signature, **change))
        assert code(vouched_by_issuer, odd, [ISSUER]) == "signature.invalid"
    ed = replace(good, signature=DocumentSignature(ED25519, "did:peaq:900", "0x" + "00" * 64))
    assert code(vouched_by_issuer, ed, [ISSUER]) == "signature.invalid"


def personal_key() -> Any:
    from coincurve import PrivateKey

    return PrivateKey(bytes([0x55]) * 32)


def test_a_birth_certificate_or_enrolment_binds_one_key() -> None:
    made = did_document(document())
    attribute = keys_of_document(made)
    evidence = Evidence(document().id, "birth-certificate", key=DEVICE.public_key)
    keys = vouched_by_evidence(attribute, evidence)
    assert keys.trust == "birth-certificate" and keys.keys == {DEVICE.public_key}
    assert not keys.addresses
    assert keys.require_key(DEVICE.public_key) == "birth-certificate"
    wallet = Evidence(document().id.lower(), "enrolment", address=WALLET_ADDRESS)
    assert vouched_by_evidence(attribute, wallet).addresses == {WALLET_ADDRESS}
    for wrong in (
        Evidence("did:peaq:42", "enrolment", key=DEVICE.public_key),
        Evidence("nobody", "enrolment", key=DEVICE.public_key),
        Evidence(document().id, "enrolment", key=CHIP.public_key),
        Evidence(document().id, "enrolment", address=OTHER_ADDRESS),
        Evidence(document().id, "enrolment"),
    ):
        assert code(vouched_by_evidence, attribute, wrong) == "peaq.not_vouched"


def test_a_document_cannot_say_what_it_is_worth() -> None:
    made = did_document(document()) | {"trust": "issuer", "verified": True}
    keys: MachineKeys = keys_of_document(made)
    assert keys.trust == "attribute-only"
