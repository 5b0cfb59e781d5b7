"""What waits: nobody fills the room for others, and nobody gets anything from it twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from depin_id.errors import ConfigError
from depin_id.testing import NOW
from tests.results import toy
from tests.results.attesting import REQUIRED
from tests.results.test_ground import at, checked
from tests.verify.net import Net, level
from verify.policy import Policy
from verify.store import Quarantine
from verify.store.quarantine import WAITING, Arrival

WEEK = 604_800


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with toy.toys(), Net(tmp_path, policy=REQUIRED) as net:
        toy.trust_toys(net)
        yield net


def parked(net: Net) -> int:
    return net.aggregator.quarantine.counts().parked


def test_whoever_sends_what_waits_again_fills_nothing(net: Net) -> None:
    device, gateway = net.device(), net.gateway()
    toy.attest(net, gateway)
    envelope = device.next(at(1))
    for _ in range(5):
        net.send("somebody", envelope, envelope)
        net.send(gateway, gateway.wrap(envelope))
    assert net.codes(device, envelope) == ["attestation.required"]
    assert parked(net) == 1
    net.reopen()
    assert net.codes(device, envelope) == ["attestation.required"]
    assert parked(net) == 1
    assert toy.attest(net, device)["parked"]["accepted"] == 1
    assert parked(net) == 0
    assert net.codes(device, envelope) == ["accepted"]
    assert net.fold.tally.readings == 1
    checked(net)


def test_what_is_taken_up_and_cut_off_before_it_was_removed_counts_once(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = net.device()
    for n in (1, 2, 3):
        net.send(device, device.next(at(n)))
    with monkeypatch.context() as patch:
        patch.setattr(Quarantine, "delete", lambda *_: 0)
        assert toy.attest(net, device)["parked"]["accepted"] == 3
    assert parked(net) == 3
    net.reopen()
    assert parked(net) == 0
    assert net.fold.tally.readings == 3
    checked(net)


def test_two_envelopes_that_wait_at_one_position_are_a_fork_and_not_a_choice(net: Net) -> None:
    device = net.device()
    first = device.next(at(1))
    second = device.envelope([level(99, NOW - 60)])
    assert net.codes(device, first, second) == ["attestation.required"] * 2
    assert toy.attest(net, device)["parked"]["accepted"] == 1
    assert net.fold.registry.counts().suspended == 1
    checked(net)


def test_what_can_never_count_makes_room(net: Net) -> None:
    device = net.device()
    net.send(device, device.next(at(1)))
    net.advance(WEEK)
    net.send(device, device.next([level(51, NOW + WEEK)]))
    net.aggregator.idle(net.now_ms)
    assert parked(net) == 2
    net.advance(3600)
    net.aggregator.idle(net.now_ms)
    assert parked(net) == 1
    assert net.aggregator.quarantine.waiting == 1


def test_however_many_wait_there_is_room_for_one_more(tmp_path: Path) -> None:
    bounds = {"max_total_bytes": 1 << 20, "max_per_principal_bytes": 1 << 17, "max_per_kid": 1024}
    with Quarantine.open(tmp_path, **bounds) as quarantine:
        for number in range(24):
            who, kept = f"{WAITING}greedy{number}", True
            for n in range(200):
                data = b"%d.%d" % (number, n) + bytes(1000)
                kept = quarantine.park(who, bytes(8), 0, data)
            assert not kept
        assert quarantine.park_many([Arrival(WAITING + "modest", bytes(8), 0, b"x")]) == [True]
        before = quarantine.waiting
        assert quarantine.expire(1) == before
        assert (quarantine.waiting, quarantine.counts().cost) == (0, 0)


def test_a_device_has_no_more_items_than_are_taken_up_in_time(tmp_path: Path) -> None:
    bounds = {"max_total_bytes": 1 << 24, "max_per_principal_bytes": 1 << 20, "max_per_kid": 4}
    with Quarantine.open(tmp_path, **bounds) as quarantine:
        data = [b"%d" % n for n in range(40)]
        found = quarantine.park_many([Arrival(WAITING + "d", bytes(8), 0, item) for item in data])
        assert found == [True] * 32 + [False] * 8


def test_an_asserted_time_is_not_lost_by_waiting(tmp_path: Path) -> None:
    with toy.toys(), Net(tmp_path, policy=REQUIRED, asserted=True) as net:
        toy.trust_toys(net)
        device = net.device()
        found = net.send("file:old", device.next(at(1)), asserted_ms=NOW * 1000 - 5000)
        assert found.indeterminate == {"attestation.required": 1}
        assert parked(net) == 0


def test_a_policy_that_requires_a_level_of_no_profile_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Policy.from_toml(REQUIRED.replace("noise = ", "niose = "))
    assert "niose" in str(caught.value)
