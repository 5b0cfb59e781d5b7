"""An audit finds readings that were taken from a device without a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from depin_id.testing import NOW, TestDevice
from tests.identity.delegated import done, ref_of, sound
from tests.verify.net import Net, level
from verify.audit import audit
from verify.entries import Admin
from verify.identity.entries import Compromised, Rescored

Forgery = Callable[[Net, TestDevice, TestDevice], list[Admin]]
CODE = "key.compromised"


def _mark(net: Net, device: TestDevice, since: int = 0) -> Compromised:
    return Compromised(ref_of(net, device.did), device.key.thumbprint, since, "")


def _gone(net: Net, device: TestDevice, *runs: tuple[int, int], readings: int = 1) -> Rescored:
    return Rescored(ref_of(net, device.did), CODE, runs, readings)


def _at(net: Net, device: TestDevice) -> int:
    (stream,) = net.fold.state.streams.under(device.key.thumbprint)
    return next(iter(net.aggregator.journal.entries_of(stream)))


FORGERIES: dict[str, Forgery] = {
    "no mark": lambda net, mine, _: [_gone(net, mine, (_at(net, mine), 1))],
    "another's mark": lambda net, mine, other: [
        _mark(net, other),
        _gone(net, mine, (_at(net, mine), 1)),
    ],
    "another's entries": lambda net, mine, other: [
        _mark(net, mine),
        _gone(net, mine, (_at(net, other), 1)),
    ],
    "another's key": lambda net, mine, other: [
        Compromised(ref_of(net, mine.did), other.key.thumbprint, 0, "")
    ],
    "from before": lambda net, mine, _: [
        _mark(net, mine, net.now_ms + 1 - 1000),
        _gone(net, mine, (_at(net, mine), 1)),
    ],
    "to come": lambda net, mine, _: [_mark(net, mine, net.now_ms + 1)],
    "no envelope": lambda net, mine, _: [_mark(net, mine), _gone(net, mine, (0, 1))],
    "twice": lambda net, mine, _: [
        _mark(net, mine),
        _gone(net, mine, (_at(net, mine), 1), (_at(net, mine), 1)),
    ],
    "more readings": lambda net, mine, _: [
        _mark(net, mine),
        _gone(net, mine, (_at(net, mine), 1), readings=2),
    ],
    "what is not there": lambda net, mine, _: [_mark(net, mine), _gone(net, mine, (10**6, 1))],
    "another reason": lambda net, mine, _: [
        _mark(net, mine),
        Rescored(ref_of(net, mine.did), "value.out_of_range", ((_at(net, mine), 1),), 1),
    ],
}


@pytest.mark.parametrize("name", FORGERIES)
def test_an_audit_finds_it(tmp_path: Path, name: str) -> None:
    with Net(tmp_path) as net:
        mine, other = net.device("mine"), net.device("other")
        for device in (mine, other):
            assert net.codes(device, device.next([level(50, NOW)])) == ["accepted"]
        net.advance(10)
        net.aggregator.administer(FORGERIES[name](net, mine, other))
        net.close()
        report = audit(net.root)
        assert report.difference is not None and report.difference.what == "evidence"


def test_and_what_is_right_it_lets_be(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        mine = net.device("mine")
        fresh = net.rotate(mine)
        for step in range(3):
            net.advance(10)
            for device in (mine, fresh):
                net.send(device, device.next([level(50 + step, NOW + 10 * step)]))
        done(net, "compromised", did=mine.did, since=(NOW + 20) * 1000)
        done(net, "compromised", did=mine.did, since=0)
        done(net, "compromised", did=mine.did, since=0)
        net.erase(mine)
        sound(net)
