"""Whose a device is, and whom the aggregator pays: claims, transfers, wallets, erasure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from depin_id import credentials
from depin_id.ack import read_ack
from depin_id.credentials import OwnershipSubject
from depin_id.credentials.wire import read
from depin_id.errors import StateError
from depin_id.owners import ClaimCode, Party
from depin_id.owners.payout import make_payout
from depin_id.statements import write_statement
from depin_id.testing import NOW, TestDevice
from tests.identity.delegated import (
    OTHER_DID,
    OTHER_PARTY,
    OWNER_DID,
    OWNER_PARTY,
    SUBJECT,
    born,
    chain,
    claim_of,
    claimed,
    done,
    nonce_for,
    pack,
    ref_of,
    signer,
    sound,
    taken,
)
from tests.identity.factory import Maker, Plant, moment, refused
from tests.owners.people import WALLETS, Evm, Solana, bind
from tests.verify.net import Net, level
from verify.checks.capability import purse_of

BUYER = Party.of_key(signer("buyer"))
WALLET = WALLETS["eip155"]


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as made:
        yield made


def _claim(net: Plant, data: bytes) -> dict[str, Any]:
    return done(net, "claim", statement=data.hex())


def _owner(net: Net, device: TestDevice) -> str:
    return net.fold.identity.owner_of(device.did, net.now_ms)


# --- claims ---------------------------------------------------------------------------------------


def test_the_first_good_claim_wins(net: Plant) -> None:
    device, code = born(net)
    first = claim_of(net, code, device.did)
    assert _claim(net, first)["owner"] == OWNER_DID
    assert _owner(net, device) == OWNER_DID
    refused("possession.replayed", lambda: _claim(net, first))
    refused("owner.claimed", lambda: _claim(net, claim_of(net, code, device.did, OTHER_PARTY)))
    refused("owner.claimed", lambda: _claim(net, claim_of(net, code, device.did)))
    net.reopen(forget_snapshot=True)
    refused("possession.replayed", lambda: _claim(net, first))
    assert done(net, "owners", did=device.did)["history"][0]["how"] == "claim"
    sound(net)


def test_what_a_claim_is_refused_for(net: Plant) -> None:
    device, code = born(net)
    other, other_code = born(net, "other")
    plain = net.device("plain")
    wrong = ClaimCode(bytes(16))
    refused("owner.code", lambda: _claim(net, claim_of(net, wrong, device.did)))
    # A stolen code with another DID, and another device's code.
    refused("owner.code", lambda: _claim(net, claim_of(net, code, other.did)))
    refused("owner.code", lambda: _claim(net, claim_of(net, other_code, device.did)))
    refused("owner.no_code", lambda: _claim(net, claim_of(net, code, plain.did)))
    refused("registry.unknown_device", lambda: _claim(net, claim_of(net, code, OTHER_DID)))
    theirs = claim_of(net, code, device.did, nonce=nonce_for(net, BUYER.signer.public_key))
    refused("possession.challenge", lambda: _claim(net, theirs))
    late = claim_of(net, code, device.did)
    net.advance(2000)
    refused("possession.expired", lambda: _claim(net, late))
    net.revoke(device)
    refused("registry.revoked", lambda: _claim(net, claim_of(net, code, device.did)))
    net.erase(other)
    refused("registry.erased", lambda: _claim(net, claim_of(net, other_code, other.did)))
    assert not net.fold.identity.owners
    sound(net)


def test_a_claim_by_the_uplink_is_answered(net: Plant) -> None:
    device, code = born(net)
    statement = write_statement("claim", claim_of(net, code, device.did))
    assert _told(net, OWNER_PARTY, statement) == "accepted"
    assert _told(net, OWNER_PARTY, statement) == "accepted"  # sent again: remembered
    again = write_statement("claim", claim_of(net, code, device.did, OTHER_PARTY))
    assert _told(net, OTHER_PARTY, again) == "owner.claimed"
    assert _owner(net, device) == OWNER_DID
    sound(net)


def _told(net: Plant, party: Party, statement: bytes) -> str:
    key = party.signer.public_key
    (down,) = net.ingest(net.message(key.kid.hex(), statement))[1]
    (item,) = read_ack(down.data, card=net.card, recipient=key.thumbprint).items
    return item.code


# --- transfers ------------------------------------------------------------------------------------


def _passed(
    device: TestDevice,
    by: Party | Maker,
    to: str,
    *,
    previous: str = "ab" * 32,
    at_s: int = NOW,
) -> bytes:
    body = credentials.Ownership(
        credential_subject=OwnershipSubject(id=device.did, owner=to, previous=previous),
        issuer=by.did,
        valid_from=moment(at_s),
    )
    signed = credentials.issue(body, by.signer, verification_method=by.method, created=moment(at_s))
    return json.dumps(signed).encode()


def _transfer(net: Net, data: bytes) -> dict[str, Any]:
    return done(net, "transfer", credential=data.decode())


def test_an_owner_passes_his_device_on(net: Plant) -> None:
    device = claimed(net)
    stranger = _passed(device, OTHER_PARTY, OTHER_DID)
    refused("ownership.issuer", lambda: _transfer(net, stranger))
    forged = _passed(device, OTHER_PARTY, OTHER_DID).replace(OTHER_DID.encode(), OWNER_DID.encode())
    refused("signature.invalid", lambda: _transfer(net, forged))
    sold = _passed(device, OWNER_PARTY, BUYER.did)
    net.advance(5)
    assert _transfer(net, sold)["owner"] == BUYER.did == _owner(net, device)
    refused("ownership.issuer", lambda: _transfer(net, sold))
    digest = _digest(sold)
    early = _passed(device, BUYER, OWNER_DID, previous=digest)
    refused("ownership.time", lambda: _transfer(net, early))
    loose = _passed(device, BUYER, OWNER_DID, at_s=NOW + 5)
    refused("ownership.previous", lambda: _transfer(net, loose))
    back = _passed(device, BUYER, OWNER_DID, previous=digest, at_s=NOW + 5)
    _transfer(net, back)
    # He owns it again: what he signed before is good no more.
    refused("ownership.replayed", lambda: _transfer(net, sold))
    history = done(net, "owners", did=device.did)["history"]
    assert [item["how"] for item in history] == ["claim", "transfer", "transfer"]
    assert net.fold.identity.owner_of(device.did, NOW * 1000) == OWNER_DID
    assert net.fold.identity.owner_of(device.did, NOW * 1000 + 5000) == OWNER_DID
    sound(net)


def _digest(data: bytes) -> str:
    return read(data).digest.hex()


def test_the_operators_word_and_then_no_old_transfer(net: Plant) -> None:
    device = net.device("plain")
    assert done(net, "owner", did=device.did, owner=OWNER_DID)["changed"]
    assert not done(net, "owner", did=device.did, owner=OWNER_DID)["changed"]
    sold = _passed(device, OWNER_PARTY, BUYER.did)
    _transfer(net, sold)
    net.advance(10)
    done(net, "owner", did=device.did, owner=OWNER_DID)
    refused("ownership.replayed", lambda: _transfer(net, sold))
    unused = _passed(device, OWNER_PARTY, OTHER_DID)
    refused("ownership.time", lambda: _transfer(net, unused))
    refused("did.malformed", lambda: done(net, "owner", did=device.did, owner="me"))
    sound(net)


def test_the_manufacturer_passes_on_what_nobody_owned_yet(net: Plant) -> None:
    device, code = born(net)
    _transfer(net, _passed(device, net.maker, OWNER_DID))
    refused("ownership.issuer", lambda: _transfer(net, _passed(device, net.maker, OTHER_DID)))
    refused("owner.claimed", lambda: _claim(net, claim_of(net, code, device.did, OTHER_PARTY)))
    statement = write_statement(
        "transfer", _passed(device, OWNER_PARTY, BUYER.did, previous="00" * 32)
    )
    assert _told(net, OWNER_PARTY, statement) == "ownership.previous"
    sound(net)


# --- quotas ---------------------------------------------------------------------------------------


def test_the_owners_quota_follows_the_owner(tmp_path: Path) -> None:
    more = "[quota]\nowner_per_minute = 1\nowner_burst = 2\n"
    with Plant(tmp_path, more=more) as net:
        first, second = claimed(net, "first"), claimed(net, "second")
        told = [
            net.codes(device, device.next([level(50, NOW - n)]))[0]
            for n, device in enumerate((first, second, first))
        ]
        assert told == ["accepted", "accepted", "quota.exceeded"]
        _transfer(net, _passed(first, OWNER_PARTY, BUYER.did))
        assert net.codes(first, first.next([level(50, NOW - 9)])) == ["accepted"]
        assert set(net.fold.state.owners) == {purse_of(OWNER_DID), purse_of(BUYER.did)}
        sound(net)


# --- wallets --------------------------------------------------------------------------------------


def _bound(net: Plant, party: Party, wallet: Evm | Solana, **how: Any) -> bytes:
    nonce = how.pop("nonce", None) or nonce_for(net, party.signer.public_key)
    owner = how.pop("owner", party.did)
    binding = bind(wallet, owner, network=net.did, nonce=nonce, now=net.now_ms)
    return make_payout(binding, owner=party, network=net.did)


def _wallet(net: Plant, data: bytes) -> dict[str, Any]:
    return done(net, "wallet", statement=data.hex())


@pytest.mark.parametrize("kind", WALLETS)
def test_a_claim_may_bind_a_wallet(net: Plant, kind: str) -> None:
    device, code = born(net)
    wallet, nonce = WALLETS[kind], nonce_for(net, OWNER_PARTY.signer.public_key)
    binding = bind(wallet, OWNER_DID, network=net.did, nonce=nonce, now=net.now_ms)
    data = claim_of(net, code, device.did, nonce=nonce, wallet=binding)
    assert _claim(net, data)["wallet"] == wallet.account
    assert net.fold.identity.wallets == {OWNER_DID: wallet.account}
    other = Solana("another") if kind == "eip155" else Evm("another")
    assert _wallet(net, _bound(net, OWNER_PARTY, other))["wallet"] == other.account
    assert done(net, "owners", did=device.did)["wallet"] == other.account
    assert done(net, "owners", did=OWNER_DID)["devices"] == [device.did]
    sound(net)


def test_nobody_has_himself_paid_for_another(net: Plant) -> None:
    claimed(net)
    mine = Evm("mallory")
    # A wallet that another owner's name is put on, by whom it is not.
    refused("owner.none", lambda: _wallet(net, _bound(net, OTHER_PARTY, mine)))
    nonce = nonce_for(net, OWNER_PARTY.signer.public_key)
    stolen = bind(WALLET, OTHER_DID, network=net.did, nonce=nonce, now=net.now_ms)
    refused("statement.malformed", lambda: make_payout(stolen, owner=OWNER_PARTY, network=net.did))
    good = _bound(net, OWNER_PARTY, WALLET)
    _wallet(net, good)
    refused("possession.replayed", lambda: _wallet(net, good))
    # Somebody else's wallet: it did not sign.
    nonce = nonce_for(net, OWNER_PARTY.signer.public_key)
    forged = bind(mine, OWNER_DID, network=net.did, nonce=nonce, now=net.now_ms)
    object.__setattr__(forged.request, "account", Evm("victim").account)
    data = make_payout(forged, owner=OWNER_PARTY, network=net.did)
    refused("wallet.not_signer", lambda: _wallet(net, data))
    assert net.fold.identity.wallets == {OWNER_DID: WALLET.account}
    sound(net)


def test_an_owner_is_forgotten(net: Plant) -> None:
    device, gateway = claimed(net), net.gateway()
    _wallet(net, _bound(net, OWNER_PARTY, WALLET))
    cap = taken(net, gateway, chain(net, gateway))
    assert net.codes(gateway, pack(gateway, cap)) == ["accepted"]
    ref = net.fold.identity.owner_refs[OWNER_DID]
    own = ref_of(net, SUBJECT)
    done(net, "erase", did=OWNER_DID)
    assert net.aggregator.keys.erased(ref) and net.aggregator.keys.erased(own)
    assert not net.fold.identity.wallets and not net.fold.identity.owner_refs
    assert net.codes(gateway, pack(gateway, cap, at=NOW - 3)) == ["device.erased"]
    assert net.records() == []
    sound(net)
    # A key store that comes back from before the erasure is emptied again at the start.
    assert ref in net.aggregator._erased()
    # Who binds a wallet again is somebody new.
    _wallet(net, _bound(net, OWNER_PARTY, WALLET))
    assert net.fold.identity.owner_refs[OWNER_DID] != ref
    refused("registry.unknown_device", lambda: done(net, "erase", did=BUYER.did))
    assert net.codes(device, device.next([level(50, NOW)])) == ["accepted"]
    sound(net)


def test_a_key_store_from_before_an_owners_erasure_is_emptied_at_the_start(net: Plant) -> None:
    claimed(net)
    _wallet(net, _bound(net, OWNER_PARTY, WALLET))
    ref = net.fold.identity.owner_refs[OWNER_DID]
    net.close()
    files = {path: path.read_bytes() for path in (net.root / "keys").rglob("*") if path.is_file()}
    net.aggregator = net._open()
    done(net, "erase", did=OWNER_DID)
    net.close()
    for path, data in files.items():
        path.write_bytes(data)
    net.aggregator = net._open()
    assert net.aggregator.keys.erased(ref)
    with pytest.raises(StateError):
        net.aggregator.keys.get(ref, 202510)
    sound(net)
