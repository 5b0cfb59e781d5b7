"""The bridge's source for a device on a port, with the device's end in C on a pseudo terminal."""

from __future__ import annotations

import ctypes
import logging
import os
import select
import threading
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from unittest.mock import MagicMock

import pytest

from depin_id.ack import (
    Ack,
    AckItem,
    Challenge,
    Resume,
    sign_ack,
    sign_challenge,
    sign_resume,
)
from depin_id.device import Device
from depin_id.device_lines import write_line
from depin_id.envelope import parse_envelope
from depin_id.errors import ConfigError, TransportError
from depin_id.keys import SoftwareSigner
from depin_id.readings import Reading
from depin_id.senml import Decimal64
from depin_id.statements import CHALLENGE, write_statement
from firmware_bridge.carrying import device_of
from firmware_bridge.config import load_config
from firmware_bridge.gateway import Gateway
from firmware_bridge.sources.base import Context, kinds
from firmware_bridge.sources.device_lines import DeviceLines, DeviceLinesOptions
from firmware_bridge.spool import Spool
from tests.bridge.world import Net, until
from tests.firmware.lines_c import CLines, build


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build(tmp_path_factory.mktemp("lines"))


@dataclass
class World:
    """A gateway with one source, and the path of its port, a link that can be pulled."""

    net: Net
    spool: Spool
    gateway: Gateway
    port: Path
    library: ctypes.CDLL
    device: Device
    here: int = -1
    there: int = -1
    lines: list[tuple[str, ...]] = field(default_factory=list)

    def plug_in(self, logged: pytest.LogCaptureFixture) -> CLines:
        before = logged.text.count("is open")
        self.here, self.there = os.openpty()
        tty.setraw(self.there)
        beside = self.port.with_suffix(".new")
        beside.symlink_to(os.ttyname(self.there))
        beside.rename(self.port)
        # What came before a port is opened is not kept by the system.
        until(lambda: logged.text.count("is open") > before, "the port's opening")
        return CLines(self.library, 65_536)

    def pull(self) -> None:
        self.port.unlink()
        os.close(self.here)
        os.close(self.there)

    def say(self, data: bytes) -> None:
        os.write(self.here, data)

    def hear(self, end: CLines, enough: Callable[[], Any]) -> None:
        def step() -> Any:
            if select.select([self.here], [], [], 0.05)[0]:
                end.feed(os.read(self.here, 4096))
            return enough()

        until(step, "what is sent down")

    def envelope(self) -> bytes:
        reading = Reading("LAeq", Decimal64(5231, -2), "dB")
        return self.device.sign([reading], network=self.net.card().network)


@pytest.fixture
def world(tmp_path: Path, library: ctypes.CDLL) -> Iterator[World]:
    net = Net()
    with (
        Device.create(tmp_path / "gw", role="gateway") as gateway_device,
        Device.create(tmp_path / "dev") as device,
        Spool.open(tmp_path / "spool.db") as spool,
    ):
        card = net.card()
        gateway = Gateway(gateway_device, card.network, spool)
        gateway.carrier.offer_card(net.signed_card(), card.network)
        port = tmp_path / "tty"
        options = DeviceLinesOptions(kind="device_lines", port=str(port))
        source = DeviceLines(options, Context("uart", tmp_path, "00" * 8, card, time.time))
        found = World(net, spool, gateway, port, library, device)
        stop = threading.Event()
        threads = [
            threading.Thread(target=gateway.run),
            threading.Thread(target=source.run, args=(gateway.emitter("uart", "G0"), stop)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield found
        finally:
            stop.set()
            gateway.stop()
            for thread in threads:
                thread.join(20)


def test_up_and_down_and_a_port_that_is_pulled(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "depin_bridge")
    net, carrier = world.net, world.gateway.carrier
    card, key = net.card(), world.device.public_key
    end = world.plug_in(caplog)
    envelopes = [world.envelope(), world.envelope()]
    statement = write_statement(CHALLENGE, key.thumbprint)
    world.say(b"boot \x1b[31mred\xff\n" * 500 + end.send("up", (), b"".join(envelopes)))
    until(lambda: len(world.spool) == 2, "the envelopes")
    carried = [parse_envelope(item.data).payload for item in world.spool.peek(9, 1 << 20)]
    assert carried == envelopes
    world.hear(end, lambda: end.lines)
    assert end.lines.pop() == ("down", net.signed_card().hex())
    logged = [record.getMessage() for record in caplog.records if "red" in record.getMessage()]
    assert 0 < len(logged) <= 50 and logged[0] == r"uart: boot \x1b[31mred\ufffd"

    world.say(end.send("state", (), statement))
    assert until(carrier.take, "the statement") == statement

    # What the network signed for this device goes down, for another one not; a card when newer.
    item = AckItem(bytes(32), "accepted", 0, bytes(32))
    ack = sign_ack(
        Ack(key.thumbprint, 2, 0, None, card.log_origin, (item,), None),
        network=card.network,
        signer=net.ack,
    )
    challenge = sign_challenge(
        Challenge(key.thumbprint, bytes(16), 1 << 39), network=card.network, signer=net.ack
    )
    resume = sign_resume(Resume(key.thumbprint, b"n" * 16, 7), network=card.network, signer=net.ack)
    foreign = sign_resume(Resume(bytes(32), b"n" * 16, 7), network=card.network, signer=net.ack)
    forged = sign_resume(
        Resume(key.thumbprint, b"n" * 16, 7), network=card.network, signer=SoftwareSigner.generate()
    )
    assert [device_of(data, card) for data in (ack, challenge, resume, forged)] == [key.kid] * 3 + [
        None
    ]
    for data in (foreign, ack, forged, challenge, resume):
        carrier.hand_down(data, card, b"")
    carrier.offer_card(net.signed_card(3), card.network)
    carrier.offer_card(net.signed_card(2), card.network)
    world.hear(end, lambda: len(end.lines) >= 4)
    assert sorted(end.lines) == sorted(
        ("down", data.hex()) for data in (ack, challenge, resume, net.signed_card(3))
    )

    # Pulled, and in again: the card comes again, and what came down meanwhile.
    world.pull()
    refused = world.gateway.counts.refused
    until(lambda: refused["uart", "port.lost"] and refused["uart", "port.unusable"], "the loss")
    carrier.hand_down(ack, card, b"")
    end = world.plug_in(caplog)
    world.say(b"garbage\0\xff *12345678\ndepin up zz *00000000\n" + write_line("up", "zz"))
    world.say(write_line("state", b"\x01") + write_line("up") + write_line("up", b"\xff"))
    world.hear(end, lambda: len(end.lines) >= 2)
    assert end.lines == [("down", net.signed_card(3).hex()), ("down", ack.hex())]
    until(lambda: refused["uart", "line.malformed"] == 2, "the refusals")
    assert refused["uart", "line.checksum"] == 1 and refused["uart", "statement.malformed"] == 1
    assert len(world.spool) == 2
    world.pull()


def test_a_port_authenticates_nobody(tmp_path: Path) -> None:
    assert "device_lines" in kinds()
    net = Net()
    net.write(tmp_path / "card.cbor")
    text = f"""
[bridge]
device = "gw"
network = "{net.card().network}"
card = "card.cbor"
spool = "spool.db"
[uplink]
url = "mqtt://127.0.0.1"
[[source]]
kind = "device_lines"
port = "{{port}}"
level = "{{level}}"
"""
    path = tmp_path / "bridge.toml"
    for port, level, code in (
        ("/dev/null", "G1", "config.level"),
        ("ftp://x", "G0", "config.port"),
    ):
        path.write_text(text.format(port=port, level=level))
        with pytest.raises(ConfigError) as error:
            load_config(path).make_sources(net.card(), "00" * 8)
        assert error.value.code == code


def test_a_pulled_port_keeps_the_newest_that_waits(tmp_path: Path) -> None:
    options = DeviceLinesOptions(kind="device_lines", port="/dev/none")
    context = Context("uart", tmp_path, "00" * 8, Net().card(), time.time)
    source, kid = DeviceLines(options, context), bytes(8)

    class Pulled:
        """Says who it is, and is gone while much comes down for it."""

        def read(self, timeout: float) -> bytes:
            return write_line("up", b"\0")

        def write(self, data: bytes) -> None:
            for number in range(64):
                source._deliver(kid, bytes([number]))
            raise TransportError("port.lost", "gone")

    source._meet(kid)
    source._deliver(kid, b"old")
    emit: Any = MagicMock()
    emit.carrier.card = None
    with pytest.raises(TransportError):
        source._serve(cast(Any, Pulled()), emit, threading.Event())
    assert list(source._down) == [bytes([number]) for number in range(64)]
