"""A gateway signs for what is not its own: each rule of a capability, broken on its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from depin_id.capability import Box, Operation, Selector
from depin_id.claims import Claims, Place
from depin_id.did.key import did_key
from depin_id.errors import EnvelopeError
from depin_id.testing import NOW
from tests.identity.delegated import (
    OTHER,
    OTHER_DID,
    OWNER_DID,
    SUBJECT,
    chain,
    longer,
    pack,
    sound,
    taken,
)
from tests.verify.net import Net, level
from verify.entries import decode_delta, encode_judged
from verify.identity.entries import Withdrawn

HERE, THERE = Place(500, 500), Place(5000, 5000)
BOX = Box(0, 0, 1000, 1000)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with Net(tmp_path) as made:
        yield made


def _codes(net: Net, gateway: Any, *envelopes: bytes) -> list[str]:
    return net.codes(gateway, *envelopes)


def test_a_gateway_signs_for_an_owners_sensor(net: Net) -> None:
    gateway = net.gateway()
    cap = taken(net, gateway, chain(net, gateway))
    data = pack(gateway, cap)
    assert _codes(net, gateway, data) == ["accepted"]
    assert net.last.level == "G0"
    assert net.fold.identity.spent[cap].used == 1
    assert [paid[:2] for paid in net.paid()] == [(SUBJECT, "laeq")]
    assert _codes(net, gateway, data) == ["accepted"]  # sent again: no use of its own
    assert net.fold.identity.spent[cap].used == 1
    # The slot is the subject's, whoever signs for it.
    second = net.gateway("second")
    other = taken(net, second, chain(net, second))
    assert _codes(net, second, pack(second, other)) == ["accepted"]
    assert len(net.paid()) == 1
    sound(net)


CASES: dict[str, dict[str, Any]] = {
    "capability.unknown": {"cap": bytes(16)},
    "capability.subject": {"subject": f"{OTHER_DID}#lobby"},
    "capability.expired": {"expires": NOW},
    "capability.region": {"region": (BOX,)},
}


@pytest.mark.parametrize("code", CASES)
def test_each_refusal_breaks_its_own_check(net: Net, code: str) -> None:
    how = dict(CASES[code])
    gateway = net.gateway()
    named: dict[str, Any] = {key: how.pop(key) for key in ("cap", "subject") if key in how}
    good = taken(net, gateway, chain(net, gateway))
    cap = taken(net, gateway, chain(net, gateway, **how)) if how else good
    assert _codes(net, gateway, pack(gateway, **({"cap": cap} | named))) == [code]
    assert _codes(net, gateway, pack(gateway, good, at=NOW - 2)) == ["accepted"]
    sound(net)


@pytest.mark.parametrize(
    ("selector", "subject", "code"),
    [
        (Selector.devices(SUBJECT), SUBJECT, "accepted"),
        (Selector.devices(f"{OWNER_DID}#*"), SUBJECT, "accepted"),
        (Selector.devices(f"{OWNER_DID}#hall"), SUBJECT, "capability.subject"),
        (Selector.models("m"), SUBJECT, "capability.subject"),
        (Selector.devices("did:example:board"), "did:example:board", "accepted"),
        (Selector.devices("did:example:board#*"), "did:example:board#x", "capability.subject"),
        (Selector.devices("did:example:b#x"), "did:example:b#x", "capability.subject"),
        (Selector.owned(), "did:example:board", "capability.subject"),
        (Selector.owned(), f"{OWNER_DID}#{OWNER_DID[8:]}", "capability.subject"),
    ],
)
def test_what_a_selector_covers(net: Net, selector: Selector, subject: str, code: str) -> None:
    gateway = net.gateway()
    cap = taken(net, gateway, chain(net, gateway, selector=selector))
    assert _codes(net, gateway, pack(gateway, cap, subject)) == [code]
    sound(net)


def test_not_for_signing_is_not_for_signing(net: Net) -> None:
    gateway = net.gateway()
    cap = taken(net, gateway, chain(net, gateway, operations=frozenset((Operation.READ_DATA,))))
    assert _codes(net, gateway, pack(gateway, cap)) == ["capability.subject"]


def test_a_subject_with_a_key_of_its_own_is_refused(net: Net) -> None:
    gateway, device = net.gateway(), net.device()
    selector = Selector.devices(device.did)
    cap = taken(net, gateway, chain(net, gateway, selector=selector))
    assert _codes(net, gateway, pack(gateway, cap, device.did)) == ["capability.subject"]
    # Somebody signed for it before it was enrolled: what it signs itself takes its place.
    late = net.make("late")
    cap = taken(net, gateway, chain(net, gateway, selector=Selector.devices(late.did)))
    assert _codes(net, gateway, pack(gateway, cap, late.did)) == ["accepted"]
    net.enrol(late)
    assert _codes(net, gateway, pack(gateway, cap, late.did, at=NOW - 5)) == ["capability.subject"]
    assert _codes(net, late, late.next([level(51, NOW)])) == ["accepted"]
    sound(net)


def test_a_did_that_nobody_proved_stays_with_the_first_who_vouched_for_it(net: Net) -> None:
    one, two = net.gateway("one"), net.gateway("two")
    named = Selector.devices("did:example:board")
    first = taken(net, one, chain(net, one, selector=named))
    second = taken(net, two, chain(net, two, by=OTHER, selector=named))
    assert _codes(net, one, pack(one, first, "did:example:board")) == ["accepted"]
    assert _codes(net, two, pack(two, second, "did:example:board")) == ["capability.subject"]
    sound(net)


def test_a_region_asks_for_a_place(net: Net) -> None:
    gateway = net.gateway()
    cap = taken(net, gateway, chain(net, gateway, region=(BOX,)))
    inside = pack(gateway, cap, place=HERE)
    assert _codes(net, gateway, inside) == ["accepted"]
    outside = pack(gateway, cap, place=THERE, at=NOW - 1)
    assert _codes(net, gateway, outside) == ["capability.region"]
    assert _codes(net, gateway, pack(gateway, cap, at=NOW - 2)) == ["capability.region"]
    assert net.fold.identity.spent[cap].used == 1
    sound(net)


def test_a_budget_ends_exactly_across_restarts_and_through_a_child(net: Net) -> None:
    one, two = net.gateway("one"), net.gateway("two")
    parent = chain(net, one, max_count=4)
    root = taken(net, one, parent)
    child = taken(net, two, longer(net, parent, one, two, max_count=3))
    assert _codes(net, one, pack(one, root)) == ["accepted"]
    assert _codes(net, two, pack(two, child, at=NOW - 1)) == ["accepted"]
    net.reopen()
    assert _codes(net, two, pack(two, child, at=NOW - 2)) == ["accepted"]
    net.reopen(forget_snapshot=True)
    assert _codes(net, one, pack(one, root, at=NOW - 3)) == ["accepted"]
    spent = net.fold.identity.spent
    assert (spent[root].used, spent[child].used) == (4, 2)
    assert _codes(net, one, pack(one, root, at=NOW - 4)) == ["capability.budget"]
    assert _codes(net, two, pack(two, child, at=NOW - 4)) == ["capability.budget"]
    assert len(net.leaves()) == 4  # counted, not entered
    assert net.fold.tally.counted["capability.budget"] == 2
    sound(net)


def test_a_child_has_a_budget_of_its_own(net: Net) -> None:
    one, two = net.gateway("one"), net.gateway("two")
    parent = chain(net, one, max_count=10)
    root = taken(net, one, parent)
    child = taken(net, two, longer(net, parent, one, two, max_count=1))
    assert _codes(net, two, pack(two, child)) == ["accepted"]
    assert _codes(net, two, pack(two, child, at=NOW - 1)) == ["capability.budget"]
    assert _codes(net, one, pack(one, root, at=NOW - 2)) == ["accepted"]
    assert net.fold.identity.spent[root].used == 2
    sound(net)


def test_a_rate_is_kept_over_the_aggregators_time(net: Net) -> None:
    gateway = net.gateway()
    cap = taken(net, gateway, chain(net, gateway, rate=(60, 2)))
    told = [_codes(net, gateway, pack(gateway, cap, at=NOW - n))[0] for n in range(3)]
    assert told == ["accepted", "accepted", "capability.budget"]
    net.reopen()
    net.advance(1)
    assert _codes(net, gateway, gateway.next([level(50, NOW)], claims=Claims(sub="#own"))) == [
        "accepted"
    ]
    assert _codes(net, gateway, pack(gateway, cap, at=NOW - 9)) == ["accepted"]
    sound(net)


def test_withdrawn_while_readings_come_in(net: Net) -> None:
    one, two = net.gateway("one"), net.gateway("two")
    parent = chain(net, one)
    root = taken(net, one, parent)
    child = taken(net, two, longer(net, parent, one, two))
    assert _codes(net, two, pack(two, child)) == ["accepted"]
    net.advance(1)
    net.aggregator.administer([Withdrawn(root, net.now_ms, "lost")])
    assert _codes(net, two, pack(two, child, at=NOW - 1)) == ["capability.withdrawn"]
    assert _codes(net, one, pack(one, root, at=NOW - 2)) == ["capability.withdrawn"]
    sound(net)


def test_two_gateways_cannot_share_a_capability(net: Net) -> None:
    one, two = net.gateway("one"), net.gateway("two")
    cap = taken(net, one, chain(net, one))
    assert _codes(net, two, pack(two, cap)) == ["capability.unknown"]
    assert SUBJECT not in net.fold.state.by_did
    assert _codes(net, one, pack(one, cap)) == ["accepted"]
    sound(net)


def test_a_device_is_no_gateway_with_a_capability_either(net: Net) -> None:
    device = net.device()
    cap = taken(net, device, chain(net, device))
    assert _codes(net, device, pack(device, cap)) == ["subject.refused"]


def test_erasing_the_gateway_erases_what_it_signed_for_others(net: Net) -> None:
    one, two = net.gateway("one"), net.gateway("two")
    first, second = (taken(net, item, chain(net, item)) for item in (one, two))
    assert _codes(net, one, pack(one, first)) == ["accepted"]
    assert _codes(net, two, pack(two, second, at=NOW - 1)) == ["accepted"]
    net.erase(one)
    assert net.records() == []
    assert _codes(net, two, pack(two, second, at=NOW - 2)) == ["device.erased"]
    assert _codes(net, two, pack(two, second, f"{OWNER_DID}#new", at=NOW - 2)) == ["accepted"]
    sound(net)


def test_entries_from_before_read_and_write_as_they_were(net: Net) -> None:
    gateway = net.gateway()
    cap = taken(net, gateway, chain(net, gateway, rate=(60, 2)))
    own = gateway.next([level(50, NOW)], claims=Claims(sub="#own"))
    net.send(gateway, own, pack(gateway, cap))
    deltas = [item.delta for item in net.aggregator.journal.entries() if item.delta[1] == 0x10]
    assert [delta[0] for delta in deltas] == [0x8E, 0x8F]
    for delta in deltas:
        entry: Any = decode_delta(delta, None, net.fold.did_of)
        assert encode_judged(entry) == delta
    assert encode_judged(replace_spent(entry, None))[0] == 0x8E


def replace_spent(entry: Any, spent: Any) -> Any:
    return entry._replace(change=replace(entry.change, spent=spent))


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "#own", "cap": bytes(16)},
        {"sub": SUBJECT},
        {"cap": bytes(16)},
        {"sub": SUBJECT, "cap": bytes(15)},
        {"sub": f"{SUBJECT}#x", "cap": bytes(16)},
        {"sub": "did:example:a/b", "cap": bytes(16)},
        {"sub": "did:example:a:", "cap": bytes(16)},
        {"sub": "did:example:%4", "cap": bytes(16)},
        {"sub": "did:example:" + "a" * 256, "cap": bytes(16)},
    ],
)
def test_a_foreign_subject_stands_with_a_capability_and_only_so(claims: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeError) as refused:
        Claims(**claims)
    assert refused.value.code == "envelope.claims"
    assert did_key(OTHER.public_key) == OTHER_DID
