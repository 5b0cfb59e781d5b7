"""The CDDL of docs/protocol.md takes every valid vector, and refuses what is wrong in form."""

from __future__ import annotations

import re
from typing import Any

import pytest

from depin_id import cbor
from tests.docs.cddl import Cddl
from tests.docs.examples import FILE as PROTOCOL
from tests.docs.vectors import load

_FOUND = re.search(r"```cddl\n(.*?)```", PROTOCOL.read_text(), re.DOTALL)
assert _FOUND is not None
CDDL = Cddl(_FOUND[1])
FILE = load()
PAYLOADS = {
    112: "pack",
    18: "gateway-payload",
    "application/depin-status+cbor": "status",
}
# What CDDL cannot say: order of keys and flags, sums, characters of names, kid and keys, number of
# records, which of two spellings is canonical.
NOT_SAID = {"kid not the root's", "validity ends before it begins", "origin of another log",
            "name begins with a point", "no name", "bn is somebody else's identifier",
            "unit with a space", "more than 4096 records", "two envelopes",
            "iss is no DID", "no claim at all", "log key of small order", "of another network",
            "protected header over 1024 bytes", "flags not sorted",
            "a quorum above the witnesses", "a witness under two names",
            "the log as its own witness", "a witness of small order",
            "decimal fraction not canonical"}  # fmt: skip
FORM = ("envelope.malformed", "envelope.claims", "senml.", "ack.malformed", "challenge.malformed",
        "resume.malformed", "network.card", "network.name", "log.leaf", "log.records",
        "receipt.form", "receipt.incomplete", "encoding.")  # fmt: skip
RULES = {"envelope": "envelope", "pack": "pack", "card": "card", "ack": "ack", "leaf": "leaf",
         "challenge": "challenge", "resume": "resume", "records": "records-content",
         "inside_gateway": "gateway-payload", "receipt": "receipt"}  # fmt: skip
REFUSED = [
    case
    for case in FILE["refused"]
    if case["operation"] in RULES
    and case["error"].startswith(FORM)
    and case["name"] not in NOT_SAID
    and "zeros" not in case
]


def valid() -> list[tuple[str, str]]:
    """(rule, bytes) of everything valid in the file."""
    rows = [("cose-key", key["cose_key"]) for key in FILE["keys"]]
    rows += [("pack", case["bytes"]) for case in FILE["packs"]]
    for case in FILE["envelopes"]:
        rows.append(("envelope", case["bytes"]))
        if case["content_type"] in PAYLOADS:
            rows.append((PAYLOADS[case["content_type"]], case["payload"]))
    for case in [*FILE["card"], *FILE["down"]]:
        rows += [(case["kind"], case["bytes"]), (f"{case['kind']}-payload", case["payload"])]
    for case in [*FILE["envelopes"], *FILE["card"], *FILE["down"]]:
        rows += [("sig-structure", case["to_be_signed"]), ("external-aad", case["external_aad"])]
    rows += [("leaf", case["bytes"]) for case in FILE["leaves"]]
    rows += [("receipt", case["bytes"]) for case in FILE["receipts"]]
    return [*rows, ("records-content", FILE["records"]["bytes"])]


def test_what_is_valid_matches() -> None:
    wrong = [
        (rule, data[:60]) for rule, data in valid() if not CDDL.matches(rule, bytes.fromhex(data))
    ]
    assert not wrong


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case['operation']} {case['name']}")
def test_what_is_wrong_in_form_does_not_match(case: dict[str, Any]) -> None:
    assert not CDDL.matches(RULES[case["operation"]], bytes.fromhex(case["bytes"]))


def test_most_invalid_cases_are_seen_by_the_cddl() -> None:
    assert len(REFUSED) > 80


def test_the_matcher_itself() -> None:
    small = Cddl('a = { ? 1 => int, (2 => tstr // 3 => b) } b = [x: 1..3, * null] c = [1*2 "z"]')
    good = [("a", {2: "x"}), ("a", {1: 5, 3: [2, None, None]}), ("c", ["z", "z"])]
    bad = [("a", {}), ("a", {2: "x", 3: [1]}), ("a", {1: 1.0, 2: "x"}), ("b", [4]), ("c", []),
           ("c", ["z"] * 3)]  # fmt: skip
    assert all(small.matches(rule, cbor.encode(value)) for rule, value in good)
    assert not any(small.matches(rule, cbor.encode(value)) for rule, value in bad)
