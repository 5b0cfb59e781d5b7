"""People who are forgotten, and hardware that is revoked: the audit still says the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.results import toy
from tests.results.test_ground import at, checked
from tests.verify.net import POLICY, Net
from verify.audit import audit
from verify.results import revoking

SHARED = POLICY + "[attestation]\ndids_per_root = 3\n"
ROOT = b"\x07" * 32


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with toy.toys(), Net(tmp_path, policy=SHARED) as net:
        toy.trust_toys(net)
        yield net


def test_who_is_erased_after_its_hardware_was_revoked_does_not_fail_the_audit(net: Net) -> None:
    device, other = net.device(), net.device("other")
    for who, root in ((device, ROOT), (other, b"\x08" * 32)):
        toy.attest(net, who, root=root)
        net.send(who, who.next(at(1)), who.next(at(2)))
    toy.revoke(net, ROOT)
    toy.revoke(net, b"\x08" * 32, "more")
    net.erase(device)
    checked(net)
    assert net.fold.tally.readings == 0


def test_who_shared_hardware_and_is_erased_leaves_the_others_entries_as_they_were(
    net: Net,
) -> None:
    first, second = net.device(), net.device("second")
    toy.attest(net, first, root=ROOT)
    net.send(first, first.next(at(1)))
    assert "attestation.shared_root" not in net.last.flags
    assert toy.attest(net, second, root=ROOT)["shared_with"] == [first.did]
    net.send(second, second.next(at(2)))
    assert "attestation.shared_root" in net.last.flags
    net.erase(first)
    net.send(second, second.next(at(3)))
    checked(net)


def test_an_operator_who_takes_a_list_and_spares_a_friend_is_found(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    friend = net.device()
    toy.attest(net, friend, root=ROOT)
    net.send(friend, friend.next(at(1)))
    monkeypatch.setattr(revoking, "_by_device", lambda *_: {})
    toy.revoke(net, ROOT)
    net.close()
    report = audit(net.root)
    assert report.difference is not None
    assert "revoked" in str(report.difference.expected) + str(report.difference.found)


def test_revoked_a_second_time_from_an_earlier_time_on_takes_back_more(net: Net) -> None:
    device = net.device()
    toy.attest(net, device, root=ROOT)
    for n in (1, 2, 3):
        net.send(device, device.next(at(n)))
        net.advance(100)
    late = toy.revoke(net, ROOT, since=net.now_ms - 50_000)
    assert [row["readings"] for row in late["touched"]] == [0]
    earlier = net.now_ms - 150_000
    again = toy.revoke(net, ROOT, since=earlier, dry_run=True)
    assert [row["readings"] for row in again["touched"]] == [1]
    again = toy.revoke(net, ROOT, "elsewhere", since=earlier)
    assert [row["readings"] for row in again["touched"]] == [1]
    # The same list again, now from the beginning: what is left is taken back too.
    again = toy.revoke(net, ROOT, since=0)
    assert [row["readings"] for row in again["touched"]] == [2]
    assert toy.revoke(net, ROOT, since=earlier)["touched"] == []
    assert net.fold.tally.readings == 0
    held = net.fold.identity.results.by_key[device.key.thumbprint][-1]
    assert held.disavowed == 0
    checked(net)
