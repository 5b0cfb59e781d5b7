"""A device gets a new key on somebody's word; whose counts, the policy says."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from depin_id.capability import Grant, Operation, Selector, issue
from depin_id.keys import SoftwareSigner
from depin_id.owners import Party, make_succession
from depin_id.owners.succession import Reason, Role
from depin_id.statements import write_statement
from depin_id.testing import NOW, TestDevice
from tests.identity.delegated import (
    OTHER,
    OTHER_DID,
    OTHER_PARTY,
    OWNER,
    OWNER_DID,
    OWNER_PARTY,
    claimed,
    done,
    nonce_for,
    signer,
    sound,
)
from tests.identity.factory import Plant, refused
from tests.identity.test_owners import _passed, _transfer
from tests.verify.net import level

ALL = 'succession = ["key", "owner", "manufacturer"]\nrotation_grace_s = 100\n'
AGENT = signer("agent")


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as made:
        made.policy(made.text.replace("{more}", "") + ALL)
        yield made


def _said(
    net: Plant,
    device: TestDevice,
    role: Role,
    voucher: Party,
    *,
    new: str = "new board",
    reason: Reason = "board",
    **how: Any,
) -> tuple[TestDevice, bytes]:
    """The device with its new key, and the statement about it."""
    fresh = net.make(new)
    usual: dict[str, Any] = {
        "device": how.pop("did", device.did),
        "old": device.key.thumbprint,
        "reason": reason,
        "network": net.did,
        "nonce": how.pop("nonce", None) or nonce_for(net, fresh.key),
        "now": net.now_ms,
    }
    data = make_succession(fresh.signer, role=role, voucher=voucher, **(usual | how))
    return fresh, data


def _succeed(net: Plant, data: bytes, **more: str) -> dict[str, Any]:
    return done(net, "succeed", statement=data.hex(), **more)


def _maker(net: Plant) -> Party:
    return Party(net.maker.method, net.maker.signer)


@pytest.mark.parametrize("role", ["old", "owner", "manufacturer"])
def test_each_voucher_that_the_policy_names(net: Plant, role: Role) -> None:
    device = claimed(net)
    assert net.codes(device, device.next([level(50, NOW)])) == ["accepted"]
    voucher = {
        "old": Party.of_key(device.signer),
        "owner": OWNER_PARTY,
        "manufacturer": _maker(net),
    }[role]
    fresh, data = _said(net, device, role, voucher)
    answer = _succeed(net, data)
    assert answer["voucher"] == ("key" if role == "old" else role)
    assert answer["until"] == net.now_ms + 100_000
    # Same device: its slots, its owner, its history; what was under way still counts.
    assert net.codes(fresh, fresh.next([level(50, NOW)])) == ["accepted"]
    assert net.record_codes() == ["", "record.repeated"]
    assert net.codes(device, device.next([level(50, NOW - 1)])) == ["accepted"]
    assert {content.subject for content in net.records()} == {device.did}
    assert net.fold.identity.owner_of(device.did, net.now_ms) == OWNER_DID
    net.advance(101)
    assert net.codes(device, device.next([level(50, NOW + 101)])) == ["key.rotated"]
    refused("possession.replayed", lambda: _succeed(net, data))
    sound(net)


def test_strangers_vouch_in_vain(net: Plant) -> None:
    device, other = claimed(net), claimed(net, "other", owner=OTHER_PARTY)
    for role, voucher, code in (
        ("owner", OTHER_PARTY, "succession.owner"),
        ("manufacturer", OTHER_PARTY, "succession.manufacturer"),
        ("manufacturer", OWNER_PARTY, "succession.manufacturer"),
        ("owner", _maker(net), "succession.owner"),
    ):
        kind: Any = role
        _, data = _said(net, device, kind, voucher)
        refused(code, partial(_succeed, net, data))
    _, data = _said(net, device, "owner", OWNER_PARTY, old=other.key.thumbprint)
    refused("succession.old", lambda: _succeed(net, data))
    _, wrong = _said(net, device, "owner", OWNER_PARTY, nonce=nonce_for(net, other.key))
    refused("possession.challenge", lambda: _succeed(net, wrong))
    taken = make_succession(
        other.signer,
        role="owner",
        voucher=OWNER_PARTY,
        device=device.did,
        old=device.key.thumbprint,
        reason="board",
        network=net.did,
        nonce=nonce_for(net, other.key),
        now=net.now_ms,
    )
    refused("registry.duplicate_key", lambda: _succeed(net, taken))
    # Who sold it vouches for it no more.
    _transfer(net, _passed(device, OWNER_PARTY, OTHER_DID))
    _, sold = _said(net, device, "owner", OWNER_PARTY)
    refused("succession.owner", lambda: _succeed(net, sold))
    net.revoke(device)
    _, gone = _said(net, device, "owner", OTHER_PARTY)
    refused("registry.revoked", lambda: _succeed(net, gone))
    sound(net)


def test_the_policy_says_who_may_vouch(net: Plant) -> None:
    net.policy(net.text.replace("{more}", ""))  # the key alone
    device = claimed(net)
    for role, voucher in (("owner", OWNER_PARTY), ("manufacturer", _maker(net))):
        kind: Any = role
        _, data = _said(net, device, kind, voucher)
        refused("succession.policy", partial(_succeed, net, data))
    net.policy(net.text.replace("{more}", "") + 'succession = ["owner"]\n')
    _, data = _said(net, device, "old", Party.of_key(device.signer))
    refused("succession.policy", lambda: _succeed(net, data))
    _, data = _said(net, device, "owner", OWNER_PARTY)
    net.policy(net.text.replace("{more}", "") + "succession = []\n")
    refused("succession.policy", lambda: _succeed(net, data))
    sound(net)


@pytest.mark.parametrize("reason", ["compromised", "lost"])
def test_a_key_that_is_in_others_hands_ends_at_once(net: Plant, reason: Reason) -> None:
    device = claimed(net)
    fresh, data = _said(net, device, "owner", OWNER_PARTY, reason=reason)
    assert _succeed(net, data)["until"] == net.now_ms
    assert net.codes(device, device.next([level(50, NOW)])) == ["key.rotated"]
    assert net.codes(fresh, fresh.next([level(50, NOW)])) == ["accepted"]
    sound(net)


def test_a_forked_key_goes_on_by_the_owners_word_not_its_own(net: Plant) -> None:
    device = claimed(net)
    net.send(device, device.next([level()]), device.envelope([level(51)]))
    assert net.last.code == "sequence.forked"
    _, own = _said(net, device, "old", Party.of_key(device.signer), new="thief's")
    refused("succession.key", lambda: _succeed(net, own))
    fresh, data = _said(net, device, "owner", OWNER_PARTY)
    _succeed(net, data)
    assert net.codes(fresh, fresh.next([level(50, NOW - 1)])) == ["accepted"]
    assert net.codes(device, device.next([level(50, NOW - 2)])) == ["key.suspended"]
    sound(net)


def test_parked_bytes_of_the_new_key_are_taken_up(net: Plant) -> None:
    device = claimed(net)
    fresh, data = _said(net, device, "owner", OWNER_PARTY)
    early = fresh.next([level(50, NOW)])
    net.send(fresh, early)
    assert net.aggregator.quarantine.counts().parked == 1
    assert _succeed(net, data)["parked"]["rejected"] in ({}, {"device.not_yet": 1})
    assert net.aggregator.quarantine.counts().parked == 0
    sound(net)


def _delegated(
    net: Plant, *operations: Operation, by: SoftwareSigner = OWNER, selector: Selector
) -> bytes:
    grant = Grant(
        audience=AGENT.public_key,
        selector=selector,
        operations=frozenset(operations),
        expires=NOW + 1000,
        issuer=Party.of_key(by).did,
    )
    return issue(grant, signer=by, network=net.did)


def test_an_owners_delegate_vouches_if_he_may_administer(net: Plant) -> None:
    device = claimed(net)
    agent = Party.of_key(AGENT)
    fresh, data = _said(net, device, "owner", agent)
    refused("succession.owner", lambda: _succeed(net, data))
    owned = Selector.owned()
    reader = _delegated(net, Operation.READ_DATA, selector=owned)
    refused("capability.operation", lambda: _succeed(net, data, capability=reader.hex()))
    alien = _delegated(net, Operation.ADMINISTER, by=OTHER, selector=owned)
    refused("capability.device", lambda: _succeed(net, data, capability=alien.hex()))
    others = _delegated(net, Operation.ADMINISTER, selector=Selector.devices(OTHER_DID))
    refused("capability.device", lambda: _succeed(net, data, capability=others.hex()))
    good = _delegated(net, Operation.ADMINISTER, selector=owned)
    _, thiefs = _said(net, device, "owner", OTHER_PARTY)
    refused("succession.owner", lambda: _succeed(net, thiefs, capability=good.hex()))
    _succeed(net, data, capability=good.hex())
    assert net.codes(fresh, fresh.next([level(50, NOW)])) == ["accepted"]
    sound(net)


def test_by_the_uplink(net: Plant) -> None:
    device = claimed(net)
    fresh, data = _said(net, device, "owner", OWNER_PARTY)
    statement = write_statement("succession", data)
    assert net.result(fresh, net.say(fresh, statement), statement) == "accepted"
    again, data = _said(net, fresh, "owner", OTHER_PARTY, new="again", did=device.did)
    statement = write_statement("succession", data)
    assert net.result(again, net.say(again, statement), statement) == "succession.owner"
    sound(net)
