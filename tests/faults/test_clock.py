"""Clocks that jump, the aggregator's and a device's: nothing is lost, and nothing gets stuck."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from depin_id.claims import Claims
from depin_id.testing import NOW, TestDevice
from tests.operations.support import check
from tests.verify.net import POLICY, Net, level
from verify.aggregator import Aggregator
from verify.http.limits import Rates
from verify.leaf import parse_leaf
from verify.receipt_time import ReceiptTime

DAY_MS = 86_400_000
PER_MINUTE = 12
QUOTA = f"{POLICY}\n[quota]\ndevice_per_minute = {PER_MINUTE}\ndevice_burst = 5\n"


def test_receipt_time_rises_whatever_the_wall_clock_does() -> None:
    dice = random.Random(20261)
    wall, steady = NOW * 1000, 5_000
    time = ReceiptTime(lambda: wall, lambda: steady)
    shown = [time.now(0)]
    for _ in range(3000):
        passed = dice.randrange(0, 2000)
        steady += passed
        wall += passed + (dice.choice((-DAY_MS, DAY_MS, -500, 500)) if dice.random() < 0.1 else 0)
        newest = shown[-1] if dice.random() < 0.5 else 0
        shown.append(time.now(newest))
        assert shown[-1] >= max(wall, shown[-2])
        if wall < shown[-1]:
            assert shown[-1] - shown[-2] <= passed // 2 + 1 or shown[-2] < wall
    # It is met again: after twice the time that the clock was ahead.
    wall = shown[-1] - DAY_MS
    for _ in range(2 * 24 * 60 + 1):
        steady, wall = steady + 60_000, wall + 60_000
        time.now(0)
    assert time.behind_ms == 0 and time.now(0) == wall


class Site(Net):
    """A network whose aggregator has a wall clock that is set, and a steady one that is not."""

    steady_ms = 1_000_000

    def __enter__(self) -> Site:
        return self

    def _open(self) -> Aggregator:
        return Aggregator(
            self.root, clock=self.clock, steady=lambda: self.steady_ms, randomness=self.random
        )

    def advance(self, seconds: float) -> None:
        """Time passes."""
        super().advance(seconds)
        self.steady_ms += int(seconds * 1000)

    def jump(self, ms: int) -> None:
        """Somebody sets the clock."""
        self.now_ms += ms

    def kill(self) -> None:
        """Open again without having closed: nothing is published, no snapshot taken."""
        old = self.aggregator
        old.publisher.close()
        old.quarantine.close()
        old.keys.close()
        old.journal.close()
        self.aggregator = self._open()


def _sizes(net: Site) -> int:
    published = net.aggregator.publisher.published
    return 0 if published is None else published.size


@pytest.mark.parametrize("jumps", [(-DAY_MS,), (DAY_MS, -DAY_MS), (DAY_MS, -2 * DAY_MS)])
def test_a_wall_clock_that_jumps_sticks_nothing(jumps: tuple[int, ...], tmp_path: Path) -> None:
    with Site(tmp_path, policy=QUOTA) as net:
        device = net.device()
        numbers: list[int] = []
        sent = 0

        def speak(count: int) -> int:
            """As much as the quota allows, and what is over it again and again."""
            nonlocal sent
            accepted = 0
            held: bytes | None = None
            for _ in range(count):
                net.advance(2.5)
                if held is None:
                    held = device.next([level(50, NOW - 1000 + sent)])
                    sent += 1
                summary, downlinks = net.aggregator.ingest([net.message(device, held)])
                numbers.extend(ack.number for ack in net.read(device, downlinks))
                if summary.accepted:
                    accepted, held = accepted + 1, None
                net.aggregator.idle(net.now_ms)
            if held is not None:
                while not net.send(device, held).accepted:
                    net.advance(2.5)
            return accepted

        assert 14 <= speak(24) <= 18, "the quota does not act"
        for jump in jumps:
            net.jump(jump)
            net.aggregator.idle(net.now_ms)
            before, beacons = _sizes(net), len(net.fold.state.beacons)
            # Half as fast while the clock is behind, and never less.
            assert speak(32) >= PER_MINUTE * 32 * 2.5 / 60 / 2 - 2
            assert _sizes(net) > before + 6
            assert len(net.fold.state.beacons) > beacons
            net.kill()
        assert numbers == sorted(set(numbers))
        times = [parse_leaf(entry.leaf).received_at for entry in net.aggregator.journal.entries()]
        assert times == sorted(times)
        assert net.fold.tally.verdicts == {"accepted": sent}
        root, network = net.root, net.did
    check(root, network)


def test_acknowledgements_rise_over_kills_although_nothing_new_comes(tmp_path: Path) -> None:
    """What a device has seen of numbers is in no entry of its own: the clock must not repeat it."""
    with Site(tmp_path) as net:
        device = net.device()
        envelope = device.next([level()])
        numbers = [ack.number for ack in net.acks(device, envelope)]
        for jump in (DAY_MS, -DAY_MS, 0, -3_600_000, 0, 0):
            net.jump(jump)
            net.advance(1)
            # Only duplicates, and the process is killed right after the acknowledgement.
            numbers += [ack.number for ack in net.acks(device, envelope)]
            numbers += [ack.number for ack in net.acks(device, envelope)]
            net.kill()
        assert numbers == sorted(set(numbers))
        assert net.fold.tally.verdicts == {"accepted": 1}


def test_a_device_whose_clock_jumps_is_told_so_and_loses_nothing(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device: TestDevice = net.device()
        codes: list[Any] = []
        for n, off in enumerate((0, 86_400 * 400, -86_400 * 400, 0, 86_400, 0)):
            net.advance(60)
            now = net.now_ms // 1000
            sent = device.next([level(50, now + off - n)], claims=Claims(iat=now + off))
            codes += net.codes(device, sent)
        assert len(codes) == 6 and codes[0] == codes[3] == codes[5] == "accepted"
        assert net.fold.size >= 6, "each has an entry, whatever its verdict"
        root, network = net.root, net.did
    check(root, network)


def test_rates_of_requests_know_no_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("time.time_ns", lambda: 0)
    steady = [0.0]
    rates = Rates(60, 1, clock=lambda: steady[0])
    assert rates.take("a") == 0 and rates.take("a") == 1
    steady[0] = 1.0
    assert rates.take("a") == 0
