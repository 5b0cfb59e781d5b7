"""Succession: the new key signs, and somebody who may vouches for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from depin_id import cbor
from depin_id.cose import parse_sign1
from depin_id.errors import CredentialError, DepinError, SignatureInvalid
from depin_id.owners import (
    Party,
    make_succession,
    offer_succession,
    read_offer,
    read_succession,
    vouch,
)
from depin_id.owners.twofold import seal_inner, seal_outer
from tests.owners.people import NETWORK, NONCE, NOW, party, signer

OLD, NEW = party("old key"), signer("new key", "p256")
OWNER = party("owner")
DEVICE = OLD.did
ABOUT: dict[str, Any] = {
    "device": DEVICE,
    "old": OLD.signer.public_key.thumbprint,
    "reason": "rotation",
    "network": NETWORK,
    "nonce": NONCE,
    "now": NOW,
}


def make(role: Any = "old", voucher: Party = OLD, **change: Any) -> bytes:
    return make_succession(
        change.pop("signer", NEW), role=role, voucher=voucher, **{**ABOUT, **change}
    )


@pytest.mark.parametrize(("role", "voucher"), [("old", OLD), ("owner", OWNER)])
def test_a_succession_says_which_key_follows(role: Any, voucher: Party) -> None:
    found = read_succession(make(role, voucher, last=(3, 77)), network=NETWORK)
    assert (found.device, found.old, found.new_key) == (DEVICE, ABOUT["old"], NEW.public_key)
    assert (found.role, found.voucher, found.method) == (role, voucher.did, voucher.method)
    assert (found.reason, found.time, found.nonce, found.last) == ("rotation", NOW, NONCE, (3, 77))
    assert found.voucher_key == voucher.signer.public_key and len(found.id) == 32


def test_the_two_parts_can_be_made_in_two_places() -> None:
    offer = offer_succession(NEW, **{**ABOUT, "reason": "board"})
    assert read_offer(offer, network=NETWORK).new_key == NEW.public_key
    data = vouch(offer, role="manufacturer", voucher=OWNER, network=NETWORK)
    assert read_succession(data, network=NETWORK).reason == "board"


def test_who_may_not_vouch() -> None:
    thief = party("thief")
    wrongs: list[Callable[[], bytes]] = [
        lambda: make("old", thief),
        lambda: make("owner", OLD),
        lambda: make("owner", Party.of_key(NEW)),
        lambda: make("old", OLD, reason="compromised"),
        lambda: make("old", OLD, reason="lost"),
        lambda: make("old", Party("did:webvh:a:example.com#1", OLD.signer)),
    ]
    for wrong in wrongs:
        with pytest.raises(DepinError) as caught:
            wrong()
        assert caught.value.code in ("succession.voucher", "did.method_not_supported")
    # Made by hand, past the checks of the maker.
    offer = offer_succession(NEW, **{**ABOUT, "reason": "compromised"})
    for role, voucher in (("old", OLD), ("old", thief), ("owner", OLD)):
        data = seal_outer(offer, role, kind="succession", network=NETWORK, party=voucher)
        with pytest.raises(CredentialError, match="succession.voucher"):
            read_succession(data, network=NETWORK)
    nobody = seal_outer(offer, "friend", kind="succession", network=NETWORK, party=OWNER)
    with pytest.raises(CredentialError, match="friend"):
        read_succession(nobody, network=NETWORK)


def test_the_new_key_has_to_be_held() -> None:
    fields = cbor.decode(parse_sign1(offer_succession(NEW, **ABOUT)).payload)
    forged = seal_inner(fields, kind="succession-key", network=NETWORK, signer=signer("thief"))
    with pytest.raises(DepinError):
        read_succession(
            seal_outer(forged, "old", kind="succession", network=NETWORK, party=OLD),
            network=NETWORK,
        )
    fields[3] = signer("thief's own").public_key.cose_key
    forged = seal_inner(fields, kind="succession-key", network=NETWORK, signer=signer("thief"))
    with pytest.raises(SignatureInvalid):
        vouch(forged, role="old", voucher=OLD, network=NETWORK)


def test_a_succession_is_for_one_network_and_no_other_purpose() -> None:
    other = party("another network").did
    with pytest.raises(SignatureInvalid):
        read_succession(make(), network=other)
    offer = offer_succession(NEW, **{**ABOUT, "network": other})
    with pytest.raises(SignatureInvalid):
        vouch(offer, role="old", voucher=OLD, network=NETWORK)
    claim = seal_outer(
        offer_succession(NEW, **ABOUT), "old", kind="claim", network=NETWORK, party=OLD
    )
    with pytest.raises(SignatureInvalid):
        read_succession(claim, network=NETWORK)


@pytest.mark.parametrize(
    "change",
    [
        {"device": "nobody"},
        {"old": b""},
        {"old": NEW.public_key.thumbprint},
        {"reason": "whim"},
        {"nonce": bytes(33)},
        {"now": -1},
        {"last": (1, -1)},
        {"last": (1, 1 << 32)},
        {"network": "nowhere"},
    ],
    ids=str,
)
def test_statements_that_are_not_made(change: dict[str, Any]) -> None:
    with pytest.raises(DepinError):
        make(**change)


@pytest.mark.parametrize(
    "change",
    [{1: 5}, {3: b""}, {3: NEW.public_key.raw}, {4: []}, {7: 5}, {7: [1]}, {8: 1}, {6: None}],
    ids=str,
)
def test_fields_that_are_none_of_a_succession(change: dict[Any, Any]) -> None:
    fields = {**cbor.decode(parse_sign1(offer_succession(NEW, **ABOUT)).payload), **change}
    inner = seal_inner(fields, kind="succession-key", network=NETWORK, signer=NEW)
    with pytest.raises(DepinError):
        read_succession(
            seal_outer(inner, "old", kind="succession", network=NETWORK, party=OLD),
            network=NETWORK,
        )


def test_bytes_that_are_none() -> None:
    data = make()
    for at in range(0, len(data), 7):
        with pytest.raises(DepinError):
            read_succession(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :], network=NETWORK)
