"""Owners attacked: takeover, what an erasure leaves behind, what an audit makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from depin_id import cbor
from depin_id.owners import Party
from depin_id.statements import write_statement
from depin_id.testing import TestDevice, key_from_seed
from tests.identity.delegated import (
    OTHER_PARTY,
    OWNER_DID,
    OWNER_PARTY,
    born,
    claim_of,
    claimed,
    done,
    nonce_for,
    ref_of,
    sound,
)
from tests.identity.factory import Plant, refused
from tests.identity.test_owners import BUYER, WALLET, _bound, _passed, _transfer, _wallet
from tests.owners.people import bind
from tests.verify.net import Net, level
from verify.audit import audit
from verify.identity.entries import EvidenceTaken, OwnerSet, WalletBound
from verify.replay import Opener


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as made:
        yield made


def _claimed_with_wallet(net: Plant, name: str = "device") -> TestDevice:
    device, code = born(net, name)
    nonce = nonce_for(net, OWNER_PARTY.signer.public_key)
    binding = bind(WALLET, OWNER_DID, network=net.did, nonce=nonce, now=net.now_ms)
    data = claim_of(net, code, device.did, nonce=nonce, wallet=binding)
    done(net, "claim", statement=data.hex())
    return device


def _openable(net: Plant) -> bytes:
    """All that can still be opened of the journal, in one."""
    opener = Opener(net.fold, net.aggregator.keys)
    found = b""
    for stored in net.aggregator.journal.entries():
        opened = opener.open(stored)
        found += stored.delta + stored.leaf + (opened.registration or b"")
    return found


def test_an_erased_device_leaves_a_wallet_that_stands_on_its_claim(net: Plant) -> None:
    device = _claimed_with_wallet(net)
    net.erase(device)
    assert net.fold.identity.wallets == {OWNER_DID: WALLET.account}
    sound(net)


def test_an_erased_owner_takes_his_wallet_along(net: Plant) -> None:
    device = _claimed_with_wallet(net)
    account = WALLET.account.encode()
    assert account in _openable(net)
    done(net, "erase", did=OWNER_DID)
    assert account not in _openable(net)
    assert net.codes(device, device.next([level()])) == ["accepted"]
    sound(net)
    net.erase(device)
    sound(net)


def test_a_claim_that_binds_no_wallet_is_no_wallets(net: Plant) -> None:
    """What an audit reads of a claim that rests with the wallet."""
    device, code = born(net)
    nonce = nonce_for(net, OWNER_PARTY.signer.public_key)
    data = claim_of(net, code, device.did, nonce=nonce)
    private = cbor.encode([device.did, OWNER_DID, b"", b""])
    net.aggregator.administer(
        [OwnerSet(ref_of(net, device.did), net.now_ms, "claim", nonce, private)]
    )
    net.aggregator.administer(
        [WalletBound(bytes(16), b"", cbor.encode([OWNER_DID, WALLET.account, data]))]
    )
    net.close()
    assert not audit(net.root).ok


def test_a_gateway_that_is_an_owner_is_forgotten_whole(net: Plant) -> None:
    device, code = born(net)
    gateway = net.gateway()
    party = Party.of_key(gateway.signer)
    done(net, "claim", statement=claim_of(net, code, device.did, party).hex())
    _wallet(net, _bound(net, party, WALLET))
    ref = net.fold.identity.owner_refs[gateway.did]
    done(net, "erase", did=gateway.did)
    assert not net.fold.identity.wallets and not net.fold.identity.owner_refs
    assert net.aggregator.keys.erased(ref)
    sound(net)
    assert WALLET.account.encode() not in _openable(net)


def test_a_device_with_an_owner_by_its_enrolment_is_nobody_elses(net: Plant) -> None:
    """The operator said whose it is: neither a stolen label nor its manufacturer says otherwise."""
    device, code = born(net, owner=OWNER_DID)
    refused(
        "owner.claimed",
        lambda: done(net, "claim", statement=claim_of(net, code, device.did, OTHER_PARTY).hex()),
    )
    refused("ownership.issuer", lambda: _transfer(net, _passed(device, net.maker, OTHER_PARTY.did)))
    _transfer(net, _passed(device, OWNER_PARTY, BUYER.did))
    named, code = born(net, "named", owner="account 17")  # no DID: nobody who could sign
    done(net, "claim", statement=claim_of(net, code, named.did).hex())
    sound(net)


def test_a_claim_is_judged_at_one_moment(net: Plant) -> None:
    """A key that ends between reading and committing would make an audit fail."""
    told = []
    for ends in range(1, 10):
        did, key = "did:example:owner", key_from_seed(f"{ends}", "owner")
        party = Party(f"{did}#key-1", key)
        device, code = born(net, f"device {ends}")
        net.history(did, (party.method, key.public_key, 0, net.now_ms + 7 * ends))
        data = claim_of(net, code, device.did, party)
        clock = net.aggregator._time._wall
        net.aggregator._time._wall = _ticking(net)
        net.ingest(net.message(key.public_key.kid.hex(), write_statement("claim", data)))
        net.aggregator._time._wall = clock
        told.append(net.fold.identity.owned(device.did) is not None)
    assert set(told) == {True, False}
    sound(net)


def _ticking(net: Net) -> Callable[[], int]:
    def clock() -> int:
        net.now_ms += 7
        return net.now_ms

    return clock


def test_evidence_for_nothing_known_is_no_evidence(net: Plant) -> None:
    """Planted under another purpose, a claim code would make anybody the owner."""
    device, _ = born(net)
    plain = net.device("plain")
    birth = [plain.did, net.maker.did, "9", "m", "h", "secure-element", b"", bytes(32), bytes(32)]
    net.aggregator.administer(
        [EvidenceTaken(ref_of(net, plain.did), "gift", bytes(16), cbor.encode([birth]))]
    )
    net.close()
    assert not audit(net.root).ok


def test_who_pays_whom_is_not_open_in_the_journal(tmp_path: Path) -> None:
    """Whose a device is rests sealed: a quota of owners does not write it beside each envelope."""
    with Plant(tmp_path, more="[quota]\nowner_per_minute = 10\nowner_burst = 10\n") as net:
        device = claimed(net)
        assert net.codes(device, device.next([level()])) == ["accepted"]
        assert net.fold.state.owners
        open_part = b"".join(
            stored.delta + stored.leaf for stored in net.aggregator.journal.entries()
        )
        assert OWNER_DID.encode() not in open_part
        net.erase(device)
        assert OWNER_DID not in net.fold.state.owners
        sound(net)
