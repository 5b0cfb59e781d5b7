"""Statements and proofs on the wire: what the CDDL says, what is refused, one spelling each."""

from __future__ import annotations

import re
from typing import Any

import pytest

from depin_id import cbor, cose
from depin_id.claims import Place
from depin_id.commands.inspect import describe
from depin_id.enrolment import Enrolment
from depin_id.envelope import bundle
from depin_id.errors import DepinError
from depin_id.possession import KIND, enrol_statement, prove, read_proof
from depin_id.statements import (
    CHALLENGE,
    MAX_STATEMENT,
    is_statement,
    read_statement,
    write_statement,
)
from depin_id.testing import TestNetwork
from tests.docs.cddl import Cddl
from tests.docs.examples import FILE

NET = TestNetwork("wire")
DEVICE = NET.device(name="roof", place=Place(1, -1))
NONCE = bytes(16)
_FOUND = re.search(r"```cddl\n(.*?)```", FILE.read_text(), re.DOTALL)
assert _FOUND is not None
CDDL = Cddl(_FOUND[1])


def made(**how: Any) -> bytes:
    about: dict[str, Any] = {"nonce": NONCE, "network": NET.did, **how}
    return prove(DEVICE.signer, DEVICE.enrolment, **about)


def signed(change: dict[int, object], headers: dict[int, object] | None = None) -> bytes:
    payload = {**cbor.decode(cose.parse_sign1(made()).payload), **change}
    carried = {4: DEVICE.key.kid} if headers is None else headers
    return cose.sign1(
        carried, cbor.encode(payload), kind=KIND, network=NET.did, signer=DEVICE.signer
    )


def test_the_cddl_takes_what_is_made() -> None:
    web = Enrolment("did:web:example.org", DEVICE.key)
    for proof in (
        made(),
        made(certificate=b"{}", earlier=False),
        prove(DEVICE.signer, web, nonce=NONCE, network=NET.did),
    ):
        assert CDDL.matches("proof", proof)
        assert CDDL.matches("proof-payload", cose.parse_sign1(proof).payload)
        assert CDDL.matches("statement", enrol_statement(proof, b"{}"))
    assert CDDL.matches("statement", write_statement(CHALLENGE, bytes(32)))


def test_a_proof_says_what_was_signed() -> None:
    found = read_proof(made(certificate=b"{}", earlier=False), network=NET.did)
    assert (found.enrolment, found.nonce, found.earlier) == (DEVICE.enrolment, NONCE, False)
    assert read_proof(made(), network=NET.did).certificate is None


ENROLMENT = DEVICE.enrolment.to_list()
WRONG = {
    "a member too many": signed({5: 0}),
    "a nonce of 15 bytes": signed({1: bytes(15)}),
    "a nonce of text": signed({1: "0" * 16}),
    "an enrolment of five": signed({2: ENROLMENT[:5]}),
    "an enrolment without key": signed({2: [None, *ENROLMENT[1:]]}),
    "a role of its own": signed({2: [*ENROLMENT[:4], "king", ENROLMENT[5]]}),
    "a place of texts": signed({2: [*ENROLMENT[:5], ["a", "b"]]}),
    "a DID of a number": signed({2: [*ENROLMENT, 7]}),
    "another's did:key": signed({2: [*ENROLMENT, NET.device("other").did]}),
    "a digest of 31 bytes": signed({3: bytes(31)}),
    "a number for a truth": signed({4: 1}),
    "a header too many": signed({}, {4: DEVICE.key.kid, 3: 0}),
    "no kid": signed({}, {}),
    "another's kid": signed({}, {4: bytes(8)}),
    "another network's": made(network=TestNetwork("abroad").did),
    "an acknowledgement": NET.ack(DEVICE.key, 1),
    "an envelope": DEVICE.next(payload=b"\x80"),
    "cut off": made()[:-1],
    "a bit": made()[:-1] + bytes([made()[-1] ^ 1]),
    "too large": signed({2: [*ENROLMENT[:1], "x" * 5000, *ENROLMENT[2:]]}),
    "nothing": b"",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_proof_is_refused(name: str) -> None:
    with pytest.raises(DepinError) as caught:
        read_proof(WRONG[name], network=NET.did)
    assert caught.value.code and caught.value.message


def test_a_proof_of_a_key_of_small_order() -> None:
    """The point that verifies everything is refused before its signature is looked at."""
    key = cbor.encode({1: 1, -1: 6, -2: b"\x01" + bytes(31)})
    with pytest.raises(DepinError) as caught:
        read_proof(signed({2: [key, *ENROLMENT[1:]]}), network=NET.did)
    assert caught.value.code == "key.not_admissible"


def test_bundles_and_statements_are_told_apart() -> None:
    envelopes = [DEVICE.next(payload=b"\x80") for _ in range(3)]
    for data in (*bundle(envelopes), envelopes[0][1:], b"", b"\x84", bytes(40), made()):
        assert not is_statement(data)
    for count in range(9):
        assert is_statement(write_statement("k", *[b""] * count))
    wrongs: list[Any] = [("", b""), ("k" * 33, b""), ("k", *[b""] * 9), ("k", bytes(MAX_STATEMENT))]
    for wrong in wrongs:
        with pytest.raises(DepinError):
            write_statement(*wrong)
    with pytest.raises(DepinError):
        read_statement(b"\x98\x02" + write_statement("k")[1:])


def test_they_are_shown_in_words() -> None:
    proof = made(certificate=b"{}")
    shown = describe(proof, NET.did, None)
    assert (shown["kind"], shown["signature"]) == ("proof of possession", "valid")
    assert shown["enrolment"]["name"] == "roof"
    assert "INVALID" in describe(proof, TestNetwork("abroad").did, None)["signature"]
    whole = describe(enrol_statement(proof, b"{}"), NET.did, None)
    assert whole["asks"] == "enrol" and whole["part 1"]["signature"] == "valid"
    assert describe(write_statement("k", bytes(99)), None, None)["part 1"] == "99 bytes"
    assert describe(enrol_statement(proof, b"{}")[:-1], None, None)["kind"] == "unreadable"
