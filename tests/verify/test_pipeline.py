"""The way of an envelope to its verdict: positions and chains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from depin_id.claims import Claims
from depin_id.testing import NOW, TestDevice
from tests.verify.net import Net, level
from verify.leaf import EnvelopeLeaf

# --- positions ------------------------------------------------------------------------------------


class Chain:
    """Envelopes of one boot, each after the one before; ``[i]`` is at position i."""

    def __init__(self, device: TestDevice, count: int, *, epoch: int = 1, start: int = 0) -> None:
        self.sent: list[bytes] = []
        prev = None
        for n in range(count):
            made = device.envelope([level(50, NOW - start - n)], epoch=epoch, n=n, prev=prev)
            prev = device.identity(made)
            self.sent.append(made)

    def __getitem__(self, n: int) -> bytes:
        return self.sent[n]


def _flags(net: Net) -> Sequence[str]:
    return net.last.flags


def test_order_of_arrival_is_nobodys_fault(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        chain = Chain(device, 100)
        assert net.codes(device, chain[0]) == ["accepted"]
        assert _flags(net) == ()
        assert net.codes(device, chain[1]) == ["accepted"]
        assert _flags(net) == ()
        assert net.codes(device, chain[99]) == ["accepted"]
        assert _flags(net) == ("sequence.gap",)
        # In the window (below 64) and beyond it, over a restart too.
        for n in (98, 35):
            assert net.codes(device, chain[n]) == ["accepted"]
            assert _flags(net) == ("late", "sequence.gap")
        net.reopen(forget_snapshot=True)
        for n in (36, 2):
            assert net.codes(device, chain[n]) == ["accepted"]
            assert _flags(net) == ("late",)
        assert net.codes(device, chain[10]) == ["accepted"]
        assert _flags(net) == ("late", "sequence.gap")
        rest = [chain[n] for n in range(100) if n not in (0, 1, 2, 10, 35, 36, 98, 99)]
        assert set(net.codes(device, *reversed(rest))) == {"accepted"}
        assert len(net.paid()) == 100
        assert net.send(device, *chain.sent).duplicates == 100
        assert len(net.leaves()) == 100


def test_a_duplicate_is_acknowledged_again_without_an_entry(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        envelope = device.next([level()])
        first = net.acks(device, envelope)[0]
        bad = device.next([level(50)], claims=Claims(iss="did:key:zOther"))
        refused = net.acks(device, bad)[0]
        size = net.size
        for forget in (False, True):
            again, wrong = net.acks(device, envelope), net.acks(device, bad)
            assert again[0].items == first.items
            assert wrong[0].items == refused.items
            assert wrong[0].items[0].code == "identity.issuer"
            net.reopen(forget_snapshot=forget)
        both = net.acks(device, envelope, envelope, bad)[0]
        assert [item.code for item in both.items] == ["accepted"] * 2 + ["identity.issuer"]
        assert len(net.leaves()) == 2
        assert net.size - size <= 1  # a tick at most


def test_boots_follow_each_other(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        one, two, three = (Chain(device, 3, epoch=e, start=10 * e) for e in (1, 2, 5))
        assert net.codes(device, one[0], one[1]) == ["accepted"] * 2
        assert net.codes(device, two[0]) == ["accepted"]
        assert _flags(net) == ("chain.tail_unknown",)
        assert net.codes(device, one[2]) == ["accepted"]  # of an earlier boot
        assert _flags(net) == ("late",)
        proven = device.envelope([level(50, NOW - 99)], epoch=3, prev=device.identity(two[0]))
        assert net.codes(device, proven) == ["accepted"]
        assert _flags(net) == ()
        assert net.codes(device, three[2]) == ["accepted"]
        assert _flags(net) == ("sequence.gap",)
        assert net.codes(device, three[0], three[1]) == ["accepted"] * 2
        assert net.codes(device, two[1], two[2]) == ["accepted"] * 2
        # What is at an old position and is different is a fork there too.
        other = device.envelope([level(66, NOW - 77)], epoch=1, n=1, prev=device.identity(one[0]))
        assert net.codes(device, other) == ["sequence.forked"]


@pytest.mark.parametrize("together", [True, False])
def test_a_fork_keeps_both_and_suspends_until_rotation(tmp_path: Path, together: bool) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        one = device.next([level(50)])
        two = device.envelope([level(51)])
        if together:
            codes = net.codes(device, one, two)
        else:
            codes = net.codes(device, one)
            net.reopen(forget_snapshot=True)
            codes += net.codes(device, two)
        assert codes == ["accepted", "sequence.forked"]
        stored = [entry.sealed for entry in net.aggregator.journal.entries()][-2:]
        assert all(len(sealed) > len(one) for sealed in stored)  # both are kept
        assert net.send(device, one).duplicates == 1  # the first commit stands
        assert net.codes(device, device.next([level(52, NOW - 9)])) == ["key.suspended"]
        net.reopen(forget_snapshot=not together)
        assert net.codes(device, device.next([level(53, NOW - 10)])) == ["key.suspended"]
        fresh = net.rotate(device)
        assert net.codes(fresh, fresh.next([level(54, NOW - 11)])) == ["accepted"]
        assert net.codes(device, device.next([level(55, NOW - 12)])) == ["key.rotated"]
        # Forks under the old key touch the new one no more.
        assert net.codes(device, device.envelope([level(56)])) == ["sequence.forked"]
        assert net.codes(fresh, fresh.next([level(57, NOW - 13)])) == ["accepted"]
        assert len(net.paid()) == 3


def test_a_chain_breaks_on_both_sides(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        chain = Chain(device, 12)
        assert net.codes(device, chain[0], chain[1]) == ["accepted"] * 2
        wrong = device.envelope([level(60, NOW - 70)], n=2, prev=bytes(16))
        assert net.codes(device, wrong) == ["chain.broken"]
        # It used its position all the same: nobody tries until something fits.
        assert net.codes(device, chain[2]) == ["sequence.forked"]

        other = net.device("other")
        chain = Chain(other, 12)
        assert net.codes(other, chain[0], chain[5], chain[9]) == ["accepted"] * 3
        # A copy of the key fills gaps; the neighbours before and after tell.
        after = other.envelope([level(61, NOW - 71)], n=4, prev=bytes(16))
        assert net.codes(other, after) == ["chain.broken"]
        before = other.envelope([level(62, NOW - 72)], n=6, prev=b"x" * 16)
        assert net.codes(other, before) == ["chain.broken"]
        fits_before = other.envelope([level(63, NOW - 73)], n=8, prev=other.identity(chain[7]))
        assert net.codes(other, fits_before) == ["chain.broken"]
        assert net.codes(other, chain[1]) == ["accepted"]
        assert len([s for s, _, _ in net.paid() if s == other.did]) == 4


def test_whatever_its_verdict_an_envelope_uses_its_position(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        bad = [
            device.envelope(payload=b"\xff", n=0),
            device.envelope(payload=b"\x80", n=2),
            device.envelope([level()], n=4, claims=Claims(iss="did:key:zX")),
            device.envelope([level()], n=6, clock=9999),
        ]
        refused = net.codes(device, *bad)
        assert refused == [
            "payload.malformed",
            "payload.empty",
            "identity.issuer",
            "time.clock_unusable",
        ]
        better = [device.envelope([level(50, NOW - n)], n=n) for n in (0, 2, 4, 6)]
        assert net.codes(device, *better) == ["sequence.forked"] * 4
        assert not net.paid()


def test_leaves_tell_nothing_that_can_be_guessed(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        one, two = net.device("one"), net.device("two")
        same = [level(50)]
        net.send(one, one.next(same))
        net.send(two, two.next(same))
        first, second = net.leaves()
        assert isinstance(first, EnvelopeLeaf)
        assert first.records != second.records
        assert first.device != second.device
        for entry in net.aggregator.journal.entries():
            for secret in (one.did.encode(), one.key.thumbprint, two.key.kid):
                assert secret not in entry.leaf


def test_all_keys_with_one_kid_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Net(tmp_path) as net:
        first, second, curve = net.device("1"), net.device("2"), net.device("3", curve="p256")
        every = tuple(device.key.thumbprint for device in (first, curve, second))
        monkeypatch.setattr(net.fold.registry, "candidates", lambda kid: every)
        for device in (first, second, curve):
            assert net.codes(device, device.next([level()])) == ["accepted"]
        monkeypatch.setattr(net.fold.registry, "candidates", lambda kid: every[:2])
        assert not net.send(second, second.next([level()])).accepted
