"""Time: the aggregator's own, what a device says of its own, and the two against each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from depin_id import cbor
from depin_id.claims import Claims
from depin_id.errors import StateError
from depin_id.testing import NOW, TestDevice
from tests.verify.net import POLICY, Net, level, picture
from verify.leaf import parse_leaf


def test_receipt_time_never_goes_back(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        steps = (0, 10, -3600, 5, -86_400 * 400, 4000)
        for n, step in enumerate(steps):
            net.advance(step)
            net.send(device, device.next([level(50, NOW - n)]))
            if n % 2:
                net.reopen(forget_snapshot=n == 3)
        times = [parse_leaf(entry.leaf).received_at for entry in net.aggregator.journal.entries()]
        assert times == sorted(times)
        assert net.fold.last_received_at == times[-1] == (NOW + 10) * 1000


def test_numbers_of_acknowledgements_rise_over_restarts(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device, numbers = net.device(), []
        envelope = device.next([level()])
        for step in (0, 0, 1, 0.001, 0, 7):
            net.advance(step)
            numbers += [ack.number for ack in net.acks(device, envelope, envelope)]
            numbers += [ack.number for ack in net.acks(device, device.next([level(51, NOW - 5)]))]
        net.advance(0.001)
        net.reopen()
        numbers += [ack.number for ack in net.acks(device, envelope)]
        net.advance(0.001)
        net.reopen(forget_snapshot=True)
        numbers += [ack.number for ack in net.acks(device, envelope)]
        assert numbers == sorted(set(numbers))


def test_the_key_is_chosen_by_receipt_and_never_by_the_devices_clock(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        assert net.codes(device, device.next([level()])) == ["accepted"]
        net.advance(60)
        fresh = net.rotate(device)
        # A thief of the old key backdates in vain.
        backdated = device.next([level(50, NOW - 100)], claims=Claims(iat=NOW - 100))
        assert net.codes(device, backdated) == ["key.rotated"]
        net.advance(1)
        net.revoke(device, since=net.now_ms + 10_000)
        assert net.codes(fresh, fresh.next([level(51, NOW + 50)])) == ["accepted"]
        net.advance(9.999)
        assert net.codes(fresh, fresh.next([level(52, NOW + 51)])) == ["accepted"]
        net.advance(0.001)
        assert net.codes(fresh, fresh.next([level(53, NOW + 52)])) == ["device.revoked"]
        # A later revocation does not lift an earlier one, nor does an older clock.
        net.revoke(device, since=net.now_ms + 10_000)
        net.advance(-3600)
        assert net.codes(fresh, fresh.next([level(54, NOW + 53)])) == ["device.revoked"]


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (NOW + 31, ""),  # a device's clock may be wrong by the second it says
        (NOW + 33, "time.future"),
        (NOW + 10**9, "time.future"),
        (NOW - 2_592_000, ""),
        (NOW - 2_592_002, "time.stale"),
        (0, "time.stale"),
    ],
)
def test_future_and_past_are_bounded(tmp_path: Path, at: int, code: str) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        payload = cbor.encode([{0: "laeq", 1: "dB", 2: 50, 6: at if at else -NOW}])
        if at == 0:
            made = device.next(payload=payload, clock=None)
        else:
            made = device.next(payload=payload, claims=Claims(iat=NOW))
        assert net.codes(device, made) == ["accepted"]
        assert net.record_codes() == [code]
        assert len(net.paid()) == (0 if code else 1)


@pytest.mark.parametrize("time", [1 << 63, -(1 << 63), (1 << 64) - 1, cbor.Tag(4, [18, 1 << 62])])
def test_times_that_no_calendar_knows(tmp_path: Path, time: object) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        payload = cbor.encode([{0: "laeq", 1: "dB", 2: 50, 6: time}])
        net.send(device, device.next(payload=payload), device.next(payload=payload, clock=None))
        assert not net.paid()
        net.aggregator.publisher.publish_dataset()
        assert picture(net.replayed()) == picture(net.fold)


@pytest.mark.parametrize("iat", [0, 1, NOW - 10**8, NOW + 10**6, 1 << 40])
def test_a_wrong_clock_pays_nothing(tmp_path: Path, iat: int) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        payload = cbor.encode([{0: "laeq", 1: "dB", 2: 50}])
        made = device.next(payload=payload, claims=Claims(iat=iat), uptime=1 << 40)
        assert net.codes(device, made) == ["accepted"]
        assert net.record_codes() in (["time.future"], ["time.stale"])


def _clockless(net: Net, device: TestDevice, uptime: int, nonce: bytes | None) -> None:
    payload = cbor.encode([{0: "laeq", 1: "dB", 2: 50 + uptime}])
    made = device.next(
        payload=payload, clock=None, uptime=uptime, claims=Claims(nonce=nonce) if nonce else None
    )
    assert net.codes(device, made) == ["accepted"]


def test_without_a_clock_time_is_bounded_by_a_beacon_and_receipt(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device, other = net.device(), net.device("other")
        _clockless(net, device, 0, None)
        assert "time.unbounded" in net.last.flags
        assert net.records()[-1].rows[0].time_lo is None
        net.advance(11)
        net.aggregator.publish()
        beacon = net.acks(device, device.next([level(60)]))[0].beacon
        issued = net.now_ms
        assert beacon is not None
        net.advance(20)
        # Somebody else's nonce and an invented one prove nothing.
        for wrong in (
            net.acks(other, other.next([level(61)]))[0].beacon,
            beacon[:-1] + bytes([beacon[-1] ^ 1]),
            bytes(16),
            beacon[:8],
            b"\xff" * 32,
        ):
            assert wrong is not None
            _clockless(net, device, 31, wrong)
            assert net.records()[-1].rows[0].time_lo is None
        _clockless(net, device, 31, beacon)
        row = net.records()[-1].rows[0]
        assert row.time_lo is not None
        assert issued - 1000 <= row.time_lo <= row.time_hi <= net.now_ms + 1000
        assert "time.unbounded" not in row.flags
        # After a reboot the old bound says nothing of the new boot.
        device.reboot()
        net.advance(30)
        _clockless(net, device, 2, None)
        assert net.records()[-1].rows[0].time_lo is None
        net.reopen(forget_snapshot=True)
        _clockless(net, device, 3, beacon)
        row = net.records()[-1].rows[0]
        assert row.time_lo is not None
        assert row.time_hi - row.time_lo >= 29_000


def test_asserted_times_need_the_genesis_and_are_flagged(tmp_path: Path) -> None:
    with Net(tmp_path / "strict") as net:
        device = net.device()
        with pytest.raises(StateError) as refused:
            net.send(device, device.next([level()]), asserted_ms=1)
        assert refused.value.code == "state.asserted_time"
        assert not net.leaves()
        assert net.codes(device, device.next([level(51)], n=5)) == ["accepted"]
    with Net(tmp_path / "lenient", asserted=True) as net:
        device = net.device()
        for never in (-1, 1 << 60):
            with pytest.raises(StateError) as refused:
                net.send(device, device.envelope([level()]), asserted_ms=never)
            assert refused.value.code == "state.asserted_time"
        long_ago = (NOW - 10**8) * 1000
        device.now = NOW - 10**8
        old = device.next([level(50, device.now)])
        bad = device.next(payload=b"\xff")
        net.send(device, old, bad, asserted_ms=long_ago)
        assert [leaf.received_at for leaf in net.leaves()] == [long_ago] * 2
        assert all("time.asserted" in leaf.flags for leaf in net.leaves())
        net.reopen(forget_snapshot=True)
        # What is live afterwards has its own time and no flag.
        device.now = NOW
        assert net.codes(device, device.next([level()])) == ["accepted"]
        assert (net.last.received_at, net.last.flags) == (net.now_ms, ())


@pytest.mark.parametrize("clock", [60, 61, 3600])
def test_a_poor_clock_is_flagged_and_pays_less(tmp_path: Path, clock: int) -> None:
    with Net(tmp_path, policy=POLICY) as net:
        device = net.device()
        assert net.codes(device, device.next([level()], clock=clock)) == ["accepted"]
        flags = set(net.last.flags)
        assert ("time.clock_poor" in flags) == (clock > 60)
        assert ("time.interval_wide" in flags) == (clock > 450)
