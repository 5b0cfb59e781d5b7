"""Bitstring Status List: what is issued is read, and each thing that is wrong has its refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from depin_id.credentials.status import (
    BitstringEntry,
    StatusList,
    encode_list,
    issue_bitstring,
    read_bitstring,
)
from depin_id.data_integrity import make_proof
from depin_id.errors import CredentialError, DepinError
from depin_id.jcs import canonicalize
from tests.status.world import (
    COUNT,
    DAY_MS,
    DID,
    ISSUER,
    METHOD,
    NOW_MS,
    OTHER,
    P256,
    URI,
    bitstring,
    entries,
    entry,
    key_of,
    method,
    store,
)


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(DepinError) as caught:
        action()
    return caught.value.code


def signed(change: Callable[[dict[str, Any]], object], **proof: Any) -> bytes:
    """A list that says something else, with a good proof."""
    document = json.loads(bitstring())
    del document["proof"]
    change(document)
    options = {"verification_method": METHOD, "purpose": "assertionMethod", "created": None}
    made = make_proof(document, ISSUER, **(options | proof))
    return canonicalize(document | {"proof": made})


def test_a_list_is_read_as_issued() -> None:
    data = bitstring({5: 1}, valid_until_ms=NOW_MS + DAY_MS, ttl_ms=60_000)
    document = json.loads(data)
    assert document["type"] == ["VerifiableCredential", "BitstringStatusListCredential"]
    assert document["credentialSubject"]["type"] == "BitstringStatusList"
    assert document["credentialSubject"]["encodedList"].startswith("uH4sI")
    found = read_bitstring(data, key_of=key_of)
    assert (found.uri, found.issuer, found.purposes) == (URI, DID, frozenset(("revocation",)))
    assert (found.issued_ms, found.expires_ms, found.ttl_ms) == (NOW_MS, NOW_MS + DAY_MS, 60_000)
    assert found.entries()[5] == 1 and found.entries()[4] == 0


def test_p256_and_an_issuer_with_a_name() -> None:
    assert read_bitstring(bitstring(who=P256), key_of=key_of).issuer == method(P256)[0]
    named = signed(lambda d: d.update(issuer={"id": DID, "name": "A maker"}))
    assert read_bitstring(named, key_of=key_of).issuer == DID


def test_the_end_of_a_proof_is_one_of_the_list() -> None:
    """A proof may have an end of its own (Data Integrity section 2.1)."""
    until = {"validUntil": "2026-12-24T00:00:00Z"}
    ends = signed(lambda d: d.update(until), expires="2026-11-30T00:00:00Z")
    assert read_bitstring(ends, key_of=key_of).expires_ms == 1_795_996_800_000
    wrong = signed(lambda d: None, expires="soon")
    assert code_of(lambda: read_bitstring(wrong, key_of=key_of)) == "proof.malformed"


def subject(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["credentialSubject"].update(changes)


WRONG: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "context": ("status.malformed", lambda d: d.update({"@context": ["https://example.org/"]})),
    "type": ("status.malformed", lambda d: d.update(type=["VerifiableCredential"])),
    "issuer": ("status.malformed", lambda d: d.update(issuer="a maker")),
    "no issuer": ("status.malformed", lambda d: d.pop("issuer")),
    "no id": ("status.malformed", lambda d: d.pop("id")),
    "until": ("status.malformed", lambda d: d.update(validUntil="tomorrow")),
    "until that is no day": (
        "status.malformed",
        lambda d: d.update(validUntil="2026-02-30T00:00:00Z"),
    ),
    "no moment": ("status.malformed", lambda d: d.pop("validFrom")),
    "subject": ("status.malformed", lambda d: d.update(credentialSubject=[])),
    "subject type": ("status.malformed", subject(type="StatusList2021")),
    "purpose": ("status.malformed", subject(statusPurpose=[])),
    "list": ("status.malformed", subject(encodedList="H4sI")),
    "a bomb": ("status.too_large", subject(encodedList=encode_list(bytes(1 << 24)))),
    "ttl": ("status.malformed", subject(ttl=0)),
    "another issuer": ("status.issuer", lambda d: d.update(issuer=method(OTHER)[0])),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_signed_list_that_is_wrong(name: str) -> None:
    code, change = WRONG[name]
    assert code_of(lambda: read_bitstring(signed(change), key_of=key_of)) == code


def test_a_short_list() -> None:
    """Section 3.2: STATUS_LIST_LENGTH_ERROR below 131,072 entries."""
    short = signed(subject(encodedList=encode_list(bytes(COUNT // 8 - 1))))
    assert code_of(lambda: read_bitstring(short, key_of=key_of)) == "status.length"
    held = store(bitstring())
    two_bits = entry(1, statusSize=2) | {
        "statusMessage": [{"status": f"0x{n}", "message": "m"} for n in range(4)]
    }
    assert held.check(two_bits, now_ms=NOW_MS).code == "status.length"


def test_signatures() -> None:
    data = bitstring({5: 1})
    assert code_of(lambda: read_bitstring(data, key_of=lambda *_: OTHER.public_key)) == (
        "signature.invalid"
    )
    document = json.loads(data)
    document["credentialSubject"]["encodedList"] = json.loads(bitstring())["credentialSubject"][
        "encodedList"
    ]
    changed = json.dumps(document).encode()
    assert code_of(lambda: read_bitstring(changed, key_of=key_of)) == "signature.invalid"
    del document["proof"]
    unsigned = json.dumps(document).encode()
    assert code_of(lambda: read_bitstring(unsigned, key_of=key_of)) == "proof.malformed"
    purpose = signed(lambda d: None, purpose="authentication")
    assert code_of(lambda: read_bitstring(purpose, key_of=key_of)) == "status.malformed"
    doubled = data[:-1] + b',"id":"https://example.com/other"}'
    assert code_of(lambda: read_bitstring(doubled, key_of=key_of)) == "json.malformed"


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("status.purpose", {"purpose": "fun"}),
        ("status.purpose", {"purpose": []}),
        ("status.purpose", {"purpose": ["revocation", "revocation"]}),
        ("status.issuer", {"issuer": method(OTHER)[0]}),
        ("status.malformed", {"uri": "not a url"}),
        ("status.malformed", {"ttl_ms": 0}),
        ("credential.malformed", {"now_ms": -1}),
    ],
)
def test_what_is_not_issued(code: str, changes: dict[str, Any]) -> None:
    assert code_of(lambda: bitstring(**changes)) == code


def test_a_short_list_is_not_issued() -> None:
    with pytest.raises(CredentialError) as caught:
        issue_bitstring(
            StatusList(bytes(8)),
            uri=URI,
            purpose="revocation",
            issuer=DID,
            signer=ISSUER,
            verification_method=METHOD,
            now_ms=NOW_MS,
        )
    assert caught.value.code == "status.length"


def test_an_entry_is_read_as_written() -> None:
    plain = BitstringEntry(URI, 94567, "revocation")
    assert BitstringEntry.parse(plain.to_json()) == plain
    assert plain.to_json()["statusListIndex"] == "94567"
    messages = ("pending", "rejected", "accepted", "undefined")
    wide = BitstringEntry(URI, 1, "message", 2, messages)
    assert BitstringEntry.parse(wide.to_json()) == wide


TWO = [{"status": "0x0", "message": "a"}, {"status": "0x1", "message": "b"}]


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "StatusList2021Entry"},
        {"statusListIndex": 5},
        {"statusListIndex": "-1"},
        {"statusListIndex": "05"},
        {"statusListIndex": "\u0665"},
        {"statusListIndex": "9" * 11},
        {"statusPurpose": None},
        {"statusListCredential": None},
        {"statusListCredential": ""},
        {"statusSize": 0},
        {"statusSize": 9},
        {"statusSize": True},
        {"statusSize": 2},
        {"statusMessage": TWO[:1]},
        {"statusMessage": [TWO[0], TWO[0]]},
        {"statusMessage": [TWO[0], {"status": "1", "message": "b"}]},
        {"statusMessage": [TWO[0], {"status": "0x1"}]},
        {"statusMessage": "no"},
    ],
)
def test_entries_that_are_none(changes: dict[str, Any]) -> None:
    assert code_of(lambda: BitstringEntry.parse(entry(5) | changes)) == "status.entry"
    result = store(bitstring()).check(entry(5) | changes, now_ms=NOW_MS)
    assert (result.state, result.code) == ("undecided", "status.entry")


def test_messages_inform_and_forbid_nothing() -> None:
    data = bitstring({3: 2}, purpose="message", size=2)
    held = store(data)
    wide = BitstringEntry(URI, 3, "message", 2, ("ok", "late", "in repair", "lost")).to_json()
    result = held.check(wide, now_ms=NOW_MS)
    assert (result.state, result.ok, result.value, result.message) == (
        "message",
        True,
        2,
        "in repair",
    )
    wide["statusListIndex"] = "4"
    assert held.check(wide, now_ms=NOW_MS).state == "valid"
    assert len(entries(size=2)) == COUNT
