"""Blocks: one encoding, and nothing else is one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from depin_id import cbor
from depin_id.capability import Box, Grant, Operation, Selector, StatusReference
from depin_id.errors import CredentialError, DepinError
from tests.capability.world import BOX, DEVICE, OWNER_DID, ROOT

FULL = replace(ROOT, status=StatusReference(bytes(16), 7))


def test_a_block_is_read_as_written() -> None:
    assert Grant.decode(FULL.encode()) == FULL
    assert Grant.decode(FULL.encode()).encode() == FULL.encode()
    child = replace(FULL, issuer=None, parent=bytes(32))
    assert Grant.decode(child.encode()) == child


FIELDS = cbor.decode(FULL.encode())
WRONG: dict[str, dict[Any, Any]] = {
    "no audience": {2: None},
    "audience": {2: "key"},
    "audience of small order": {2: cbor.encode({1: 1, -1: 6, -2: b"\x01" + bytes(31)})},
    "selector": {3: 0},
    "selector, empty": {3: []},
    "selector, kind": {3: [3]},
    "selector, kind true": {3: [True]},
    "selector, no device": {3: [0]},
    "selector, owner of something": {3: [2, "x"]},
    "selector, unsorted": {3: [0, "did:b:b", "did:a:a"]},
    "selector, twice": {3: [0, "did:a:a", "did:a:a"]},
    "selector, no DID": {3: [0, "device"]},
    "selector, path": {3: [0, "did:a:a/b"]},
    "selector, query": {3: [0, "did:a:a?b"]},
    "selector, star in the DID": {3: [0, "did:a:*#*"]},
    "selector, two fragments": {3: [0, "did:a:a#b#*"]},
    "selector, bytes": {3: [0, b"did:a:a"]},
    "selector, model": {3: [1, ""]},
    "operations": {4: 1},
    "operations, none": {4: []},
    "operations, unknown": {4: [5]},
    "operations, twice": {4: [1, 1]},
    "operations, unsorted": {4: [2, 1]},
    "operations, true": {4: [True]},
    "count": {5: -1},
    "count, true": {5: True},
    "rate": {6: 60},
    "rate, one": {6: [60]},
    "rate, nothing": {6: [0, 1]},
    "rate, no burst": {6: [1, 0]},
    "region": {7: 1},
    "region, none": {7: []},
    "region, three": {7: [[0, 0, 1]]},
    "region, upside down": {7: [[1, 0, 0, 1]]},
    "region, over 180 degrees": {7: [[0, 1, 1, 0]]},
    "region, off the earth": {7: [[0, 0, 900_000_001, 1]]},
    "region, text": {7: [["a", 0, 1, 1]]},
    "region, nine": {7: [[0, 0, 1, 1]] * 9},
    "not before": {8: "now"},
    "not before, after the end": {8: FULL.expires + 1},
    "expiry": {9: None},
    "expiry, float": {9: 1.5},
    "depth": {10: 4},
    "status": {11: 5},
    "status, one": {11: [bytes(16)]},
    "status, short": {11: [bytes(15), 1]},
    "status, index": {11: [bytes(16), -1]},
    "issuer": {1: "owner"},
    "issuer, bytes": {1: b"did:a:a"},
    "issuer and parent": {12: bytes(32)},
    "parent": {1: None, 12: bytes(31)},
    "neither": {1: None},
    "unknown": {13: 1},
    "text key": {"x": 1},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_block(name: str) -> None:
    fields = {key: value for key, value in (FIELDS | WRONG[name]).items() if value is not None}
    with pytest.raises(DepinError) as caught:
        Grant.decode(cbor.encode(fields))
    assert caught.value.code in ("capability.malformed", "key.not_admissible")
    assert (caught.value.code == "key.not_admissible") is (name == "audience of small order")


@pytest.mark.parametrize("data", [b"", b"\x80", cbor.encode({**FIELDS, 5: None}), b"\xa0"])
def test_what_is_no_map_of_fields(data: bytes) -> None:
    with pytest.raises(DepinError):
        Grant.decode(data)


def test_words() -> None:
    assert [one.word for one in Operation] == [
        "sign-for",
        "read-data",
        "claim-rewards",
        "administer",
    ]
    assert all(Operation.parse(one.word) is one for one in Operation)
    with pytest.raises(CredentialError):
        Operation.parse("everything")


def test_values_made_by_hand() -> None:
    assert Selector.devices("did:b:b", "did:a:a", "did:a:a").items == ("did:a:a", "did:b:b")
    for wrong in (
        lambda: Selector("fun"),  # type: ignore[arg-type]
        lambda: Selector("owner", ("x",)),
        lambda: Selector.devices(),
        lambda: Selector.devices(*(f"did:a:{index}" for index in range(17))),
        lambda: Selector.models("a\n"),
        lambda: Box(0, 0, 0, 1_800_000_001),
        lambda: replace(ROOT, operations=frozenset()),
        lambda: replace(ROOT, operations=frozenset((9,))),  # type: ignore[arg-type]
        lambda: replace(ROOT, region=(BOX,) * 9),
        lambda: replace(ROOT, region=("everywhere",)),  # type: ignore[arg-type]
        lambda: replace(ROOT, selector="all"),  # type: ignore[arg-type]
        lambda: replace(ROOT, rate=[1, 1]),  # type: ignore[arg-type]
    ):
        with pytest.raises(CredentialError) as caught:
            wrong()
        assert caught.value.code == "capability.malformed"
    assert Selector.devices(DEVICE).within(Selector.owned())
    assert OWNER_DID in FULL.encode().decode("latin-1")
