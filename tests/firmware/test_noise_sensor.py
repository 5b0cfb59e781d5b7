"""The example firmware in QEMU, from a new device to readings that count, over a power cut."""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from depin_id.cli import main
from depin_id.device import Device
from depin_id.enrolment import Enrolment
from tests.brokers import mosquitto
from tests.endtoend.world import (
    Held,
    aggregator_process,
    bridge_process,
    check_audit,
    check_nothing_twice,
    journal,
    make_network,
    until,
)
from tests.firmware.emulator import command, image
from verify.admin import enrol
from verify.aggregator import Aggregator

TARGETS = ("m4", "rv32")
_BRIDGE = """\
[bridge]
device = "gateway"
card = "net/card.cbor"
spool = "bridge.spool"
batch_age = 0.5

[uplink]
url = "mqtt://127.0.0.1:{port}"
"""
_SOURCE = """
[[source]]
kind = "device_lines"
name = "{name}"
port = "{port}"
"""
_LINE = "socket,id=uart,path=uart,server=on,wait=off,logfile=uart.log,logappend=on"


class Sensor:
    """A board with the example firmware; its flash are files in its folder."""

    def __init__(self, target: str, folder: Path) -> None:
        elf = image(target, "sensor")
        self._command = [
            *command(target, elf, "chardev:uart", counted=False),
            *("-chardev", _LINE),
        ]
        self.name, self.folder = target, folder
        folder.mkdir()
        self._before = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> str:
        return f"unix:{self.folder}/uart"

    @property
    def said(self) -> str:
        """Everything that it sent since the power came on."""
        return self._log()[self._before :].decode(errors="replace")

    def _log(self) -> bytes:
        log = self.folder / "uart.log"
        return log.read_bytes() if log.exists() else b""

    def power_on(self) -> None:
        self._before = len(self._log())
        self._process = subprocess.Popen(
            self._command, cwd=self.folder, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def power_off(self) -> None:
        """As a plug that is pulled."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def sensors() -> Iterator[list[Sensor]]:
    # A socket's path may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="sensors-") as made:
        boards = [Sensor(target, Path(made) / target) for target in TARGETS]
        try:
            yield boards
        finally:
            for board in boards:
                board.power_off()


def provision(sensor: Sensor, card: Path, capsys: pytest.CaptureFixture[str]) -> Enrolment:
    """The command of the factory, on a new device."""
    until(lambda: (sensor.folder / "uart").exists(), "the serial line")
    capsys.readouterr()
    main(
        ["device", "provision", "--port", sensor.port, "--network", str(card)]
        + ["--serial", f"N1-{sensor.name}", "--json"]
    )
    said = json.loads(capsys.readouterr().out)
    assert said["locked"] and said["changed"] and said["version"] == "noise-sensor-0.1.0"
    return Enrolment.from_json(said["enrolment"])


def envelopes(root: Path, device: Enrolment) -> list[Held]:
    """Of a device, as the journal has them."""
    return [held for held in journal(root) if held.thumbprint == device.key.thumbprint]


def acknowledged(sensor: Sensor) -> bool:
    """Whether the ring of what it sent since its boot was emptied by the network's word."""
    return "all acknowledged" in sensor.said


def test_sensors_are_made_measure_lose_power_and_go_on(
    sensors: list[Sensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Device.create(tmp_path / "gateway", role="gateway") as gateway:
        root, _ = make_network(tmp_path, gateway.enrolment)
    for sensor in sensors:
        sensor.power_on()
    devices = [provision(s, tmp_path / "net" / "card.cbor", capsys) for s in sensors]
    with Aggregator(root) as aggregator:
        assert enrol(aggregator, devices)["refused"] == []
    with mosquitto(tmp_path) as broker:
        config = tmp_path / "bridge.toml"
        sources = [_SOURCE.format(name=sensor.name, port=sensor.port) for sensor in sensors]
        config.write_text(_BRIDGE.format(port=broker.port) + "".join(sources))
        with aggregator_process(root, broker), bridge_process(config) as bridge:

            def reach(epoch: int) -> None:
                def reached() -> bool:
                    held = [{one.position[0] for one in envelopes(root, d)} for d in devices]
                    return all(epoch in epochs for epochs in held)

                until(reached, f"epoch {epoch} of every device", process=bridge)

            reach(1)
            # Somewhere in the next pack: measured, sealed, sent or acknowledged.
            time.sleep(random.uniform(0, 2))
            for sensor in sensors:
                sensor.power_off()
                sensor.power_on()
            reach(2)
            for sensor in sensors:
                until(partial(acknowledged, sensor), f"the ring of {sensor.name}", process=bridge)
    for device in devices:
        held = envelopes(root, device)
        assert {one.code for one in held} == {"accepted"}, "no fork, no broken chain"
        assert {one.position[0] for one in held} == {1, 2}
        assert all(not row.code for one in held for row in one.rows)
    check_nothing_twice(list(journal(root)))
    check_audit(root)
