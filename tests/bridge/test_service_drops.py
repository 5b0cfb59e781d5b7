"""What a full spool drops is told to the network: once, signed, whenever the process is killed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest

from depin_id import cbor
from depin_id.device import Device
from depin_id.envelope import CONTENT_STATUS, MAX_STATUS, parse_envelope
from depin_id.errors import EncodingError, StateError
from depin_id.readings import reading
from firmware_bridge import Spool, Uplink, dropping, spool_file
from firmware_bridge.gateway import Gateway
from firmware_bridge.items import GatewayLimits, SensorReadings
from tests.bridge.test_bridge import ROOT, environment
from tests.bridge.world import Aggregator, Net, identity, until
from tests.brokers import mosquitto

Range = tuple[str | None, int, int, int]


def reported(data: bytes) -> list[Range]:
    parsed = parse_envelope(data)
    if parsed.content_type != CONTENT_STATUS:
        return []
    assert len(parsed.payload) <= MAX_STATUS
    status: Any = cbor.decode(parsed.payload)
    return [tuple(entry) for entry in status[dropping.MEMBER]]


def positions(ranges: list[Range]) -> list[tuple[str | None, int, int]]:
    return [(sub, epoch, n) for sub, epoch, first, last in ranges for n in range(first, last + 1)]


def _ranges(spool: Spool) -> int:
    """As they are on disk; what the spool says of them is counted in memory."""
    with spool._guarded() as cursor:
        return len(dropping.waiting(cursor, 1 << 16))


def say(gate: Gateway, sensor: str) -> None:
    items = [SensorReadings(sensor, (reading("T", 1, "Cel"),))]
    assert gate.emitter("s", "G0")(items)
    gate.step(0)


def test_dropped_ranges_are_reported_when_the_uplink_is_back(
    tmp_path: Path, net: Net, gateway_device: Device
) -> None:
    key, network = gateway_device.public_key, net.card().network
    limits = GatewayLimits(batch_count=1)
    with (
        mosquitto(tmp_path) as broker,
        Aggregator(net, key) as aggregator,
        Spool.open(tmp_path / "spool", max_envelopes=10, policy="drop_oldest") as spool,
        Uplink(
            gateway_device, net.card(), spool, f"mqtt://127.0.0.1:{broker.port}", ack_timeout=0.3
        ) as uplink,
    ):
        until(lambda: uplink.connected)
        away = [True]
        gate = Gateway(
            gateway_device, network, spool, limits=limits, notify=uplink.wake,
            connected=lambda: not away[0] and uplink.connected,
        )  # fmt: skip
        for n in range(40):
            say(gate, f"s{n % 4}")
        assert spool.counts.dropped == 30 and spool.unreported == 4
        assert not any(reported(item.data) for item in spool.peek())
        away[0] = False
        gate.step(0)
        assert spool.unreported == 0 and spool.counts.reported == 30
        (report,) = [item.data for item in spool.peek() if reported(item.data)]
        # It is never dropped itself: what comes after it goes first.
        for _ in range(30):
            say(gate, "s0")
        assert report in [item.data for item in spool.peek()]
        aggregator.connect(broker.port)
        until(lambda: identity(key, network, report) in aggregator.envelopes)
        until(lambda: not len(spool))
        found = positions(reported(report))
        assert sorted(found, key=str) == sorted(
            ((f"#s{n % 4}", gateway_device._positions.epoch, n // 4) for n in range(30)), key=str
        )
        arrived = {
            (p.claims.sub, p.provenance.epoch, p.provenance.n)
            for p in map(parse_envelope, aggregator.envelopes.values())
        }
        assert not arrived & set(found)


def test_many_ranges_need_several_reports_and_none_is_told_twice(
    tmp_path: Path, net: Net, gateway_device: Device
) -> None:
    network = net.card().network
    with Spool.open(tmp_path / "spool", max_envelopes=1, policy="drop_oldest") as spool:
        gate = Gateway(
            gateway_device, network, spool, limits=GatewayLimits(batch_count=1, max_sensors=1000)
        )
        for n in range(600):
            say(gate, f"a-sensor-of-a-long-name-{n}")
        assert spool.unreported == 599 == _ranges(spool)
        gate._reports._connected = lambda: True
        gate.step(0)
        told = [entry for item in spool.peek() for entry in reported(item.data)]
        assert len(told) == len(set(told)) == 599 and spool.unreported == 0
        assert spool.kept() > 3 and _ranges(spool) == 0
        assert spool.report(lambda ranges: pytest.fail("nothing is left to report")) == 0


def test_what_is_added_while_it_is_sealed_stays_for_the_next(
    tmp_path: Path, net: Net, device: Device
) -> None:
    """A report that fails tells nothing and forgets nothing."""
    network = net.card().network
    with Spool.open(tmp_path / "spool", max_envelopes=1, policy="drop_oldest") as spool:

        def put() -> None:
            data = device.sign([reading("T", 1, "Cel")], network=network)
            spool.put([(identity(device.public_key, network, data), data)])

        def fail(ranges: list[dropping.DroppedRange]) -> tuple[bytes, bytes]:
            raise StateError("state.io", "the disk is full")

        put()
        put()
        with pytest.raises(StateError):
            spool.report(fail)
        assert spool.unreported == 1 == _ranges(spool) and len(spool) == 1
        put()
        seen: list[dropping.DroppedRange] = []

        def keep(ranges: list[dropping.DroppedRange]) -> tuple[bytes, bytes]:
            seen.extend(ranges)
            return bytes(32), b"x"

        assert spool.report(keep) == 1
        assert [(r.first, r.last, r.count) for r in seen] == [(0, 1, 2)]


def test_ranges_are_bounded(
    tmp_path: Path, net: Net, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dropping, "MAX_RANGES", 2)
    network = net.card().network
    with Spool.open(tmp_path / "spool", max_envelopes=1, policy="drop_oldest") as spool:
        for n in range(3):
            data = device.sign([reading("T", 1, "Cel")], network=network, subject=f"#s{n}")
            spool.put([(identity(device.public_key, network, data), data)])
        data = device.sign([reading("T", 1, "Cel")], network=network, subject="#s9")
        with pytest.raises(StateError) as error:
            spool.put([(identity(device.public_key, network, data), data)])
        assert error.value.code == "spool.full" and spool.counts.dropped == 2


def test_a_spool_of_the_first_version_is_taken_on(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    connection = sqlite3.connect(path)
    connection.executescript(spool_file._SCHEMA)
    connection.execute(f"PRAGMA application_id={spool_file.APPLICATION_ID}")
    connection.execute("PRAGMA user_version=1")
    connection.execute("INSERT INTO envelopes (id, crc, data) VALUES (?, ?, ?)",
                       (bytes(32), zlib.crc32(b"old"), b"old"))  # fmt: skip
    connection.commit()
    connection.close()
    with Spool.open(path) as spool:
        assert [item.data for item in spool.peek()] == [b"old"]
        spool.put([(bytes(31) + b"\1", b"new")])
    with Spool.open(path) as spool:
        assert [item.data for item in spool.peek()] == [b"old", b"new"]


_DROPPING = """
import sys, threading
from pathlib import Path
from depin_id.device import Device
from depin_id.readings import reading
from firmware_bridge import Spool
from firmware_bridge.gateway import Gateway
from firmware_bridge.items import GatewayLimits, SensorReadings
folder, network = Path(sys.argv[1]), sys.argv[2]
device = Device.open(folder / "gateway-device")
spool = Spool.open(folder / "spool", max_envelopes=20, policy="drop_oldest")
gate = Gateway(device, network, spool, limits=GatewayLimits(batch_count=1), connected=lambda: True)
print("ready", flush=True)
n = 0
while True:
    n += 1
    gate.emitter("s", "G0")([SensorReadings(f"s{n % 3}", (reading("T", n, "Cel"),))])
    gate._reports._next = 0.0
    gate.step(0)
    for item in spool.peek(3):
        if n % 7 == 0:
            with open(folder / "acknowledged", "ab") as file:
                file.write(item.data)
                file.flush()
            spool.release([item.id])
"""


def test_killed_while_dropping_and_reporting(
    tmp_path: Path, net: Net, gateway_device: Device
) -> None:
    """Each position of a boot arrived, waits, or is reported; and is reported at most once."""
    gateway_device.close()
    for life in range(int(os.environ.get("DEPIN_KILL_TIMES", "6"))):
        process = subprocess.Popen(
            [sys.executable, "-c", _DROPPING, str(tmp_path), net.card().network],
            stdout=subprocess.PIPE, env=environment(), cwd=ROOT,
        )  # fmt: skip
        try:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            threading.Event().wait(0.15 + 0.03 * (life % 7))
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    told: list[Range] = []
    held: set[tuple[str | None, int, int]] = set()
    rest = (tmp_path / "acknowledged").read_bytes()
    with Spool.open(tmp_path / "spool") as spool:
        waiting = [item.data for item in spool.peek(1 << 20, 1 << 30)]
        with spool._guarded() as cursor:
            unreported = [r for _, r in dropping.waiting(cursor, 1 << 16)]
        assert spool.counts.dropped > 50 and spool.counts.reported > 0
    arrived: dict[bytes, None] = {}
    while rest:
        try:
            end = cbor.item_end(rest, 0)
        except EncodingError:
            break
        arrived[rest[:end]] = None
        rest = rest[end:]
    for data in {**arrived, **dict.fromkeys(waiting)}:
        parsed = parse_envelope(data)
        held.add((parsed.claims.sub, parsed.provenance.epoch, parsed.provenance.n))
        told += reported(data)
    gone = positions(told) + positions([(r.subject, r.epoch, r.first, r.last) for r in unreported])
    assert len(gone) == len(set(gone)), "reported twice"
    assert not held & set(gone), "reported, and there"
    for stream in {(sub, epoch) for sub, epoch, _ in held | set(gone)}:
        known = {n for sub, epoch, n in held | set(gone) if (sub, epoch) == stream}
        assert known == set(range(max(known) + 1)), f"a gap in {stream} that nobody explains"
