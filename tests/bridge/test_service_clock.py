"""Clocks that are late, jump, or are not there: what is sealed is right, or relative."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.device import Device
from depin_id.envelope import parse_envelope
from depin_id.readings import Reading, reading
from depin_id.senml import Decimal64, decode_pack
from firmware_bridge import Spool
from firmware_bridge.clock import BUILT, BridgeClock
from firmware_bridge.gateway import Gateway
from firmware_bridge.items import GatewayLimits, NativeEnvelope, SensorReadings
from tests.bridge.world import Net

NOW = BUILT + 20_000_000.0
YEAR = 31_536_000.0


class Machine:
    """A wall clock and a monotonic one, both set by hand."""

    def __init__(self, wall: float = NOW) -> None:
        self.offset, self.monotonic = wall - 50.0, 50.0

    def wall(self) -> float:
        return self.monotonic + self.offset

    def clock(self, bound: int | None = 1, floor: int = 0) -> BridgeClock:
        return BridgeClock(bound, floor=floor, wall=self.wall, monotonic=lambda: self.monotonic)


class World:
    """A gateway on such a machine; ``sealed`` empties the spool: (clock, times, iat) each."""

    def __init__(self, folder: Path, net: Net, machine: Machine, bound: int | None = 1) -> None:
        self.machine, self.network = machine, net.card().network
        self.spool = Spool.open(folder / "spool")
        self.clock = machine.clock(bound, self.spool.time)
        self.device = Device.create(
            folder / "gw", role="gateway", wall=lambda: self.clock.timeline()
        )
        limits = GatewayLimits(batch_count=100, batch_age=1000.0)
        self.gate = Gateway(
            self.device, self.network, self.spool, limits=limits, clock=self.clock,
            monotonic=lambda: machine.monotonic,
        )  # fmt: skip
        self.emit = self.gate.emitter("s", "G0")

    def say(self, time: Decimal64 | None = None) -> None:
        when = time or Decimal64(round(self.clock.timeline() * 1000), -3)
        self.emit([SensorReadings("a", (Reading("T", Decimal64(1), "Cel", when),))])
        self.gate.step(0)

    def sealed(self) -> list[tuple[int | None, list[float], int | None]]:
        self.gate.step(0)
        self.gate._seal(lambda batch: True)
        self.gate._store()
        found = []
        for entry in self.spool.peek():
            parsed = parse_envelope(entry.data)
            pack = decode_pack(parsed.payload) if parsed.content_type == 112 else []
            times = [record.time.to_float() for record in pack]
            found.append((parsed.provenance.clock, times, parsed.claims.iat))
        self.spool.release([entry.id for entry in self.spool.peek()])
        return found

    def close(self) -> None:
        self.spool.close()
        self.device.close()


@pytest.fixture
def at(tmp_path: Path, net: Net, request: pytest.FixtureRequest) -> Callable[..., World]:
    def make(wall: float = NOW, bound: int | None = 1) -> World:
        world = World(tmp_path, net, Machine(wall), bound)
        request.addfinalizer(world.close)
        return world

    return make


def test_without_a_clock_then_ntp_arrives(at: Callable[..., World], device: Device) -> None:
    world = at(wall=12.0)  # 1970
    machine = world.machine
    world.say()
    machine.monotonic += 30
    assert world.sealed() == [(None, [-30.0], None)]
    native = device.sign([reading("T", 1, "Cel")], network=world.network)
    world.emit([NativeEnvelope(native, int(world.clock.timeline()))])
    assert world.sealed() == [(None, [], None)]
    # What waits when NTP arrives gets the time it really had.
    world.say()
    waiting_since = machine.monotonic
    machine.monotonic += 10
    machine.offset = NOW - waiting_since
    assert world.sealed() == [(1, [NOW], None)]
    world.emit([NativeEnvelope(native, int(world.clock.timeline()))])
    assert world.sealed() == [(1, [], int(NOW) + 10)]
    assert world.spool.time == int(NOW) + 10


@pytest.mark.parametrize("jump", [-30 * YEAR, -YEAR, -7200.0, 7200.0, YEAR, 30 * YEAR])
def test_a_jump_and_back(at: Callable[..., World], jump: float) -> None:
    world = at()
    machine = world.machine
    world.say()
    machine.offset += jump
    machine.monotonic += 5
    world.say()
    assert world.sealed() == [(None, [-5.0, 0.0], None)]
    machine.offset -= jump
    world.say()
    assert world.sealed() == [(1, [NOW + 5], None)]


def test_a_jump_that_stays_is_believed_when_it_is_steady(at: Callable[..., World]) -> None:
    world = at()
    machine = world.machine
    machine.offset += 600
    world.say()
    machine.monotonic += 59
    world.gate.step(0)
    assert not world.clock.believed
    machine.monotonic += 2
    # It was right: what was stamped on the old line, and waits, is put right.
    assert world.sealed() == [(1, [NOW + 600], None)]
    machine.offset -= 30 * YEAR
    machine.monotonic += 10_000
    world.gate.step(0)
    machine.monotonic += 10_000
    world.gate.step(0)
    assert not world.clock.believed, "before anything was built"


def test_a_wrong_time_made_durable_is_not_for_ever(tmp_path: Path) -> None:
    machine = Machine(NOW)
    clock = machine.clock(floor=int(NOW + 10 * YEAR))
    assert not clock.believed and clock.timeline() >= NOW + 10 * YEAR
    machine.monotonic += 3599
    clock.check()
    assert not clock.believed
    machine.monotonic += 2
    clock.check()
    assert clock.believed and clock.timeline() == machine.wall()


def test_sensors_own_times_are_kept_with_a_clock_and_not_without(
    at: Callable[..., World],
) -> None:
    world = at()
    own = Decimal64(int(NOW) - 500)
    world.say(own)
    assert world.sealed() == [(1, [NOW - 500], None)]
    world.machine.offset += YEAR
    world.gate.step(0)
    world.say(own)
    world.machine.monotonic += 3
    assert world.sealed() == [(None, [-3.0], None)]
    assert world.gate.counts.by_receipt == 1


def test_a_machine_that_slept_and_one_without_a_clock(at: Callable[..., World]) -> None:
    world = at(bound=None)
    world.say()
    world.machine.monotonic += 86_400  # asleep: both clocks went on
    assert world.sealed() == [(None, [-86_400.0], None)]


def test_small_corrections_are_followed() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(1000):
        machine.monotonic += 1
        machine.offset += 0.4
        clock.check()
        assert clock.believed
    assert clock.timeline() == pytest.approx(machine.wall())


@given(
    st.lists(st.tuples(st.floats(0, 5000), st.floats(-1e10, 1e10) | st.floats(-2, 2)), max_size=30)
)
def test_whatever_the_wall_clock_does_the_line_never_goes_back_while_it_is_not_believed(
    steps: list[tuple[float, float]],
) -> None:
    machine = Machine()
    clock = machine.clock()
    for passed, jump in steps:
        line, base, believed = clock.timeline(), clock.base, clock.believed
        machine.monotonic += passed
        machine.offset += jump
        clock.check()
        if clock.believed:
            assert machine.wall() >= BUILT
            assert clock.timeline() == pytest.approx(machine.wall(), abs=0.01)
        else:
            assert clock.base == base or believed
            assert clock.timeline() >= line - 1
        assert clock.timeline() >= BUILT


def test_uptime_goes_on_in_sleep_as_the_time_line_does(
    tmp_path: Path, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what is relative to a boot would be dated too early by as long as the machine slept."""
    now, asleep = [1000.0], [0.0]
    ids = {time.CLOCK_BOOTTIME: lambda: now[0] + asleep[0], time.CLOCK_MONOTONIC: lambda: now[0]}
    monkeypatch.setattr(time, "clock_gettime", lambda clock: ids[clock]())
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = BridgeClock(None)
    with Device.create(tmp_path / "slept") as device:

        def uptime() -> int:
            data = device.sign([reading("T", 1, "Cel")], network=net.card().network, clock=None)
            return parse_envelope(data).provenance.uptime

        before, line = uptime(), clock.timeline()
        now[0] += 5
        asleep[0] += 7200
        assert (uptime() - before, clock.timeline() - line) == (7205, 7205)
