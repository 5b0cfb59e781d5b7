"""An audit finds what was entered without standing on anything: each entry forged on its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from depin_id import cbor
from depin_id.owners import make_succession
from depin_id.testing import TestDevice
from tests.identity.delegated import (
    OTHER_DID,
    OTHER_PARTY,
    OWNER_DID,
    OWNER_PARTY,
    born,
    chain,
    claim_of,
    claimed,
    nonce_for,
    ref_of,
    shown,
    signer,
)
from tests.identity.factory import Plant
from tests.identity.test_owners import WALLET, _bound
from verify.audit import audit
from verify.entries import Admin, Rotated
from verify.identity.chains import read
from verify.identity.entries import CapabilityTaken, OwnerSet, Succeeded, WalletBound

Forgery = Callable[[Plant], list[Admin]]


def _capability(net: Plant) -> list[Admin]:
    """Shown with the proof for another one."""
    gateway = net.gateway()
    data = chain(net, gateway)
    proof = shown(net, gateway.signer, chain(net, gateway, max_count=1))
    private = cbor.encode([data, proof])
    return [CapabilityTaken(ref_of(net, gateway.did), read(data).id, bytes(16), private)]


def _holder(net: Plant) -> list[Admin]:
    """Entered as another gateway's."""
    gateway, other = net.gateway(), net.gateway("other")
    data = chain(net, gateway)
    nonce = nonce_for(net, gateway.key)
    private = cbor.encode([data, shown(net, gateway.signer, data, nonce=nonce)])
    return [CapabilityTaken(ref_of(net, other.did), read(data).id, nonce, private)]


def _owner_set(net: Plant, device: TestDevice, owner: str, how: str, shown: bytes) -> OwnerSet:
    private = cbor.encode([device.did, owner, shown, b""])
    return OwnerSet(ref_of(net, device.did), net.now_ms, how, b"", private)


def _claim(net: Plant) -> list[Admin]:
    """A good claim, entered for somebody else."""
    device, code = born(net)
    data = claim_of(net, code, device.did)
    return [_owner_set(net, device, OTHER_DID, "claim", data)]


def _unclaimed(net: Plant) -> list[Admin]:
    device, _ = born(net)
    return [_owner_set(net, device, OWNER_DID, "claim", b"")]


def _transfer(net: Plant) -> list[Admin]:
    return [_owner_set(net, claimed(net), OTHER_DID, "transfer", b"{}")]


def _gift(net: Plant) -> list[Admin]:
    return [_owner_set(net, claimed(net), OTHER_DID, "gift", b"")]


def _earlier(net: Plant) -> list[Admin]:
    """The operator's word, dated back."""
    device = net.device("plain")
    private = cbor.encode([device.did, OTHER_DID, b"", b""])
    return [OwnerSet(ref_of(net, device.did), net.now_ms - 1, "operator", b"", private)]


def _wallet(net: Plant) -> list[Admin]:
    """The owner's statement for one wallet, entered for another."""
    claimed(net)
    data = _bound(net, OWNER_PARTY, WALLET)
    private = cbor.encode([OWNER_DID, "eip155:1:0x" + "00" * 20, data])
    return [WalletBound(bytes(16), bytes(16), private)]


def _unnamed(net: Plant) -> list[Admin]:
    """A wallet of a claim that is not the entry before."""
    device, code = born(net)
    data = claim_of(net, code, device.did)
    private = cbor.encode([OWNER_DID, WALLET.account, data])
    return [WalletBound(bytes(16), b"", private)]


def _succession(net: Plant, party: Any, key: str = "fresh") -> list[Admin]:
    device, fresh = claimed(net), signer("fresh")
    nonce = nonce_for(net, fresh.public_key)
    data = make_succession(
        fresh,
        role="owner",
        voucher=party,
        device=device.did,
        old=device.key.thumbprint,
        reason="lost",
        network=net.did,
        nonce=nonce,
        now=net.now_ms,
    )
    return [
        Succeeded(ref_of(net, device.did), "owner", nonce, cbor.encode([data])),
        Rotated(device.did, signer(key).public_key, net.now_ms),
    ]


FORGERIES: dict[str, Forgery] = {
    "another capability's proof": _capability,
    "another holder": _holder,
    "another owner than claimed": _claim,
    "no claim": _unclaimed,
    "no transfer": _transfer,
    "another way": _gift,
    "dated back": _earlier,
    "another wallet": _wallet,
    "no claim of the wallet": _unnamed,
    "a stranger vouched": lambda net: _succession(net, OTHER_PARTY),
    "another key": lambda net: _succession(net, OWNER_PARTY, key="thief's"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_an_audit_finds_it(tmp_path: Path, name: str) -> None:
    with Plant(tmp_path) as net:
        net.policy(net.text.replace("{more}", "") + 'succession = ["owner"]\n')
        entries = FORGERIES[name](net)
        size = net.size
        net.aggregator.administer(entries)
        net.close()
        report = audit(net.root)
        assert report.difference is not None and report.difference.what == "evidence"
        assert report.difference.index is not None and report.difference.index >= size


def test_and_what_is_right_it_lets_be(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        net.policy(net.text.replace("{more}", "") + 'succession = ["owner"]\n')
        net.aggregator.administer(_succession(net, OWNER_PARTY))
        net.close()
        assert audit(net.root).ok
