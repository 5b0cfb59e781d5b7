"""Generation A: documents, call data, storage, roles and accounts, equal to peaq's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.evm import parse_address
from depin_id.peaq import abi, calls
from depin_id.peaq.account import decode_ss58, encode_ss58, substrate_account
from depin_id.peaq.document import (
    Document,
    DocumentSignature,
    Method,
    Service,
    create_document,
    decode_document,
    decode_value,
    encode_multibase,
)
from depin_id.peaq.identifier import parse_peaq_did
from tests.peaq.world import code, load


def build(given: dict[str, Any], chain_id: int | None) -> Document:
    signature = given.get("signature")
    return create_document(
        given["controller"],
        subject=given.get("did_address"),
        methods=given.get("verification_methods", ()),
        services=given.get("services", ()),
        signature=DocumentSignature(**signature) if signature else None,
        chain_id=chain_id or calls.MAINNET,
    )


def test_documents_and_call_data_are_those_of_peaq() -> None:
    found = load("did_documents")["vectors"]
    assert len(found) == 7
    for vector in found:
        document = build(vector["input"], vector["chain_id"])
        assert document.id == vector["did"]
        assert document.encode().hex() == vector["document_hex"]
        assert document.on_chain().hex() == vector["value_onchain_hex"]
        assert decode_value(bytes.fromhex(vector["value_onchain_hex"])) == document
        shown = vector["decoded_v2"]
        assert [
            dict(
                zip(
                    ("id", "type", "controller", "publicKeyMultibase"),
                    (m.id, m.type, m.controller, m.multibase),
                    strict=True,
                )
            )
            for m in document.methods
        ] == shown["verificationMethod"]
        assert list(document.authentications) == shown["authentication"]
        if vector["chain"] == "evm":
            _call_data(vector, document)


def _call_data(vector: dict[str, Any], document: Document) -> None:
    account, name = parse_peaq_did(document.id).raw, vector["input"]["name"]
    read = next(key for key in vector if key.startswith("calldata_readAttribute"))
    for made, expected in (
        (calls.add_attribute(account, name, document), vector["calldata_addAttribute"]),
        (calls.update_attribute(account, name, document), vector["calldata_updateAttribute"]),
        (calls.remove_attribute(account, name), vector["calldata_removeAttribute"]),
        (calls.read_attribute(account, name), vector[read]),
    ):
        shown = made.to_json()
        assert shown["data"] == expected and shown["to"] == vector["to"]
        assert made.reads is (expected == vector[read])
    # What the precompile answers, as a struct and as a plain tuple.
    values = [name.encode(), document.on_chain(), 0, 1_735_000_000]
    for answer in (
        abi.encode("(bytes,bytes,uint32,uint256)", values),
        abi.encode("((bytes,bytes,uint32,uint256))", [values]),
    ):
        found = calls.decode_attribute(answer)
        assert found.document == document and found.created == 1_735_000_000


def test_what_peaq_refuses_is_refused_here() -> None:
    expected = {
        "service-without-endpoint-or-data": "peaq.document_malformed",
        "unknown-vm-type": "peaq.field",
        "multikey-type": "peaq.field",
        "malformed-address": "did.malformed",
    }
    found = {vector["id"]: vector for vector in load("did_errors")}
    for name, wanted in expected.items():
        assert code(build, found[name]["input"], None) == wanted
    empty = found["empty-name-accepted"]
    document = build(empty["input"], None)
    made = calls.add_attribute(parse_peaq_did(document.id).raw, "", document)
    assert "0x" + made.data.hex() == empty["calldata"]


def test_storage_and_roles() -> None:
    import json

    found = load("storage_rbac_address")
    for vector in found["storage"]:
        item = vector["item"]
        text = item if isinstance(item, str) else json.dumps(item)
        key = vector["item_type"]
        assert calls.add_item(key, text).to_json()["data"] == vector["addItem"]
        assert calls.update_item(key, text).to_json()["data"] == vector["updateItem"]
        assert calls.remove_item(key).to_json()["data"] == vector["removeItem"]
        assert calls.remove_item(key).to_json()["to"] == vector["to"]
    made = 0
    for vector in found["rbac"]:
        verb, *words = vector["fn"].split("_")
        arguments = vector["args"]
        if verb == "create":
            kind = words[0]
            call = calls.create_entity(kind, arguments[f"{kind}_id"], arguments[f"{kind}_name"])
        else:
            kind, _, to = words
            call = calls.assign(kind, arguments[f"{kind}_id"], to, arguments[f"{to}_id"])
        assert call.to_json()["data"] == vector["data"] and call.to_json()["to"] == vector["to"]
        made += 1
    assert made == 7
    assert code(calls.add_item, "k" * 65, "") == "peaq.field"
    assert code(calls.add_item, "k", "v" * 257) == "peaq.field"
    assert code(calls.create_entity, "role", "short", "n") == "peaq.field"
    assert code(calls.create_entity, "king", "r" * 32, "n") == "peaq.field"
    assert code(calls.assign, "user", "u" * 32, "role", "r" * 32) == "peaq.field"
    assert code(calls.remove_attribute, bytes(20), "\ud800") == "peaq.field"
    assert code(calls.remove_attribute, bytes(20), "ä" * 33) == "peaq.field"
    assert code(calls.remove_attribute, bytes(19), "n") == "abi.malformed"


def test_accounts_and_keys_as_text() -> None:
    found = load("storage_rbac_address")
    for vector in found["evm_to_substrate_ss58_42"]:
        account = substrate_account(parse_address(vector["evm"]))
        assert account.hex() == vector["account_id_hex"]
        assert encode_ss58(account) == vector["ss58"]
        assert decode_ss58(vector["ss58"]) == account
    kinds = {
        "ed25519": "Ed25519VerificationKey2020",
        "sr25519": "Sr25519VerificationKey2020",
    }
    for name, kind in kinds.items():
        vector = found["multibase"][name]
        assert decode_ss58(vector["ss58"]).hex() == vector["pub"]
        assert encode_multibase(kind, bytes.fromhex(vector["pub"])) == vector["mb"]
    good = found["evm_to_substrate_ss58_42"][0]["ss58"]
    for bad in ("", good[:-1], good[:-1] + "b", "1" + good, good + "l", good * 9, encode_ss58(
        bytes(32), network=0
    )):  # fmt: skip
        assert code(decode_ss58, bad) == "peaq.account_malformed"
    assert code(substrate_account, bytes(21)) == "evm.address_malformed"
    assert code(encode_ss58, bytes(31)) == "peaq.account_malformed"


def some() -> Document:
    """A document with everything."""
    did = "did:peaq:0x6Fac4D18c912343BF86fa7049364Dd4E424Ab9C0"
    method = Method(f"{did}#k", "Ed25519VerificationKey2020", did, "z6MkX")
    services = (Service("#a", "t", "https://example.org", "d"), Service("#b", "t", data="d"))
    signature = DocumentSignature("Ed25519VerificationKey2020", did, "0x00")
    return Document(did, did, (method,), signature, services, (f"{did}#k",))


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": "a\nb"},
        {"id": "a" * 3000},
        {"controller": "\ud800"},
        {"controller": None},
        {"services": (Service("#a", "t"),)},
        {"services": (Service("", "t", "e"),)},
        {"methods": (Method("a", "b", "c", ""),)},
        {"authentications": ("a",) * 65},
        {"authentications": ("",)},
    ],
)
def test_documents_that_cannot_be_read_back_are_not_written(change: dict[str, Any]) -> None:
    made = replace(some(), **change)
    assert code(made.encode) in ("peaq.document_malformed", "peaq.document_too_large")


def test_one_document_has_one_encoding() -> None:
    data = some().encode()
    assert decode_document(data) == some()
    wrong = "peaq.document_malformed"
    assert code(decode_document, data + b"\x3a\x01a") == wrong  # an unknown field
    assert code(decode_document, data + b"\x30\x01") == wrong  # a number
    assert code(decode_document, data + b"\x0a\x01a") == wrong  # id after authentication
    assert code(decode_document, b"\x0a\x01a" + data) == wrong  # two ids
    long = data[:1] + bytes((data[1] | 0x80, 0)) + data[2:]
    assert code(decode_document, long) == wrong  # a length with a leading zero group
    assert code(decode_document, b"") == wrong
    assert code(decode_document, b"\x0a\xff\xff\xff\xff\x7f") == wrong
    # An empty endpoint that is written out: another reader would hash other bytes.
    assert (
        code(decode_document, b"\x0a\x01a\x12\x01b\x2a\x0b\x0a\x01c\x12\x01d\x1a\x00\x22\x01e")
        == wrong
    )
    assert code(decode_document, bytes(1 << 17)) == "peaq.document_too_large"
    assert code(decode_value, b"0a" * (1 << 17)) == "peaq.document_too_large"
    for value in (b"", b"0", b"0A", b"zz", b"0x0a", data):
        assert code(decode_value, value) == wrong


@given(st.data())
def test_no_changed_byte_of_a_document_reads_as_the_same(data: st.DataObject) -> None:
    encoded = bytearray(some().encode())
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_document(bytes(encoded))
    except Exception as error:
        assert getattr(error, "code", "").startswith("peaq.document")
    else:
        assert found != some() and found.encode() == encoded
