"""`depin-id device provision` against a device in Python: every way a station can go wrong."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from depin_id.cli import main
from depin_id.device_lines import open_port, write_line
from depin_id.device_station import Station
from depin_id.enrolment import Enrolment
from depin_id.factory import Defaults, Faults, read_rows
from depin_id.keys import SoftwareSigner
from depin_id.network import network_did
from depin_id.provisioning import Provisioner
from tests.firmware.simulated_device import PowerCut, SimulatedDevice, plugged_in

NETWORK = network_did(SoftwareSigner("ed25519", b"root".ljust(32)).public_key)
OTHER = network_did(SoftwareSigner("ed25519", b"other".ljust(32)).public_key)
_FAST = ("--timeout", "0.3", "--json")


class Failed(Exception):
    """The command's error."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def run(
    device: SimulatedDevice,
    capsys: pytest.CaptureFixture[str],
    *more: str,
    serial: str = "N1-0007",
    network: str = NETWORK,
) -> dict[str, object]:
    capsys.readouterr()
    with plugged_in(device) as port:
        arguments = ["--port", port, "--network", network, "--serial", serial, *_FAST, *more]
        try:
            main(["device", "provision", *arguments])
        except SystemExit:
            error = json.loads(capsys.readouterr().err.splitlines()[-1])["error"]
            raise Failed(error["code"]) from None
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("curve", ["ed25519", "p256"])
def test_a_new_device_is_provisioned_locked_and_listed(
    curve: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = SimulatedDevice(curve=curve, profile="noise@1")
    book = tmp_path / "devices.csv"
    more = ("--factory-line", str(book), "--model", "N1", "--name", "roof, north")
    made = run(device, capsys, *more)
    assert made["locked"] and made["changed"] and device.locked
    enrolment = Enrolment.from_json(made["enrolment"])
    assert enrolment.key == device.signer.public_key
    assert (enrolment.name, enrolment.profile) == ("roof, north", "noise@1")
    assert book.read_text() == made["factory_line"]

    # Again: verified, nothing written, no second line.
    writes = device.writes
    again = run(device, capsys, *more)
    assert not again["changed"] and device.writes == writes
    assert book.read_text() == made["factory_line"]
    assert {line.verb for line in device.heard[-4:]} == {"ask", "prove"}

    second = SimulatedDevice()
    run(second, capsys, *more, serial="N1-0008")
    faults = Faults()
    defaults = Defaults(hardware_revision="B", key_protection="software")
    rows = list(read_rows(io.BytesIO(book.read_bytes()), defaults=defaults, faults=faults))
    assert not faults
    assert [row.enrolment.key for row in rows] == [
        device.signer.public_key,
        second.signer.public_key,
    ]
    for other, serial, code in (
        (SimulatedDevice(), "n1-0007", "provision.serial"),
        (device, "N1-0009", "provision.device"),
    ):
        writes = other.writes
        with pytest.raises(Failed, match=code):
            run(other, capsys, *more, serial=serial)
        assert other.writes == writes
    book.write_text(book.read_text()[:-5])
    with pytest.raises(Failed, match=r"provision\.file"):
        run(SimulatedDevice(), capsys, *more, serial="N1-0010")


@pytest.mark.parametrize("where", ["make", "write", "lock", "prove"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_power_cut_at_any_step_is_gone_on_with(
    where: str, when: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = SimulatedDevice()
    left = 1

    def cut(point: str) -> None:
        nonlocal left
        if point == f"{when} {where}" and left:
            left -= 1
            raise PowerCut

    device.cut = cut
    book = tmp_path / "devices.csv"
    if (when, where) != ("after", "prove"):
        with pytest.raises(Failed, match=r"port\.lost"):
            run(device, capsys, "--factory-line", str(book))
        assert not book.exists()
    seed = device.seed
    made = run(device, capsys, "--factory-line", str(book))
    assert made["locked"] and device.network == NETWORK
    assert seed in (None, device.seed)  # never a second key
    assert len(book.read_text().splitlines()) == 2


def test_a_given_key_is_written_and_another_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = os.urandom(32)
    file = tmp_path / "seed"
    file.write_text(seed.hex() + "\n")
    file.chmod(0o644)
    device = SimulatedDevice()
    with pytest.raises(Failed, match=r"state\."):
        run(device, capsys, "--write-key", str(file))
    file.chmod(0o600)
    assert not run(device, capsys, "--write-key", str(file), "--no-lock")["locked"]
    assert device.seed == seed and not device.locked
    assert run(device, capsys, "--write-key", str(file))["locked"]
    writes = device.writes
    file.write_bytes(os.urandom(32))
    for open_device in (device, SimulatedDevice()):
        open_device.seed = open_device.seed or os.urandom(32)
        with pytest.raises(Failed, match=r"provision\.key"):
            run(open_device, capsys, "--write-key", str(file))
        with pytest.raises(Failed, match=r"provision\.network"):
            open_device.network = OTHER
            run(open_device, capsys)
    assert device.writes == writes and open_device.writes == 0
    file.write_text(bytes(range(32)).hex())
    with pytest.raises(Failed, match=r"key\.not_admissible"):
        run(SimulatedDevice(), capsys, "--write-key", str(file))
    file.write_text("00" * 31)
    with pytest.raises(Failed, match=r"provision\.seed"):
        run(SimulatedDevice(), capsys, "--write-key", str(file))


def test_a_console_that_echoes_puts_no_key_into_the_log() -> None:
    device, logged, seed = SimulatedDevice(), list[str](), os.urandom(32)

    def echo(answer: bytes) -> bytes:
        heard = device.heard[-1]
        return b"# > " + write_line(heard.verb, *heard.arguments).upper() + answer

    device.change = echo
    with plugged_in(device) as url:
        port = open_port(url)
        try:
            station = Station(port, log=logged.append)
            Provisioner(station, NETWORK, seed=seed, lock=False).run()
        finally:
            port.close()
    assert device.seed == seed and any("DEPIN ASK INFO" in text for text in logged)
    assert not any(seed.hex()[at : at + 8] in "".join(logged).lower() for at in range(56))


def test_a_device_that_cheats_or_stammers_is_not_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(device: SimulatedDevice, code: str, *more: str) -> None:
        with pytest.raises(Failed, match=code):
            run(device, capsys, *more)
        assert not device.locked

    device = SimulatedDevice()
    device.prove_with = SoftwareSigner.generate()
    fails(device, r"provision\.proof")  # says one key, has another

    old: list[bytes] = []

    def replay(line: bytes) -> bytes:
        if b"is proof" in line:
            old.append(line)
            return old[0]
        return line

    device = SimulatedDevice()
    run(device, capsys, "--no-lock")
    device.change = replay
    run(device, capsys, "--no-lock")
    fails(device, r"provision\.proof")  # an earlier nonce

    device = SimulatedDevice()
    device.change = lambda line: line.replace(b"ed25519", b"ed25518")
    fails(device, r"device\.silent")  # a damaged line is no answer

    device = SimulatedDevice()
    device.change = lambda line: (
        write_line("is", "key", "ed25519", bytes(32)) if b"is key" in line else line
    )
    fails(device, r"key\.not_admissible")
    fails(SimulatedDevice(profile="noise@1"), r"provision\.profile", "--profile", "air@1")

    device = SimulatedDevice()
    device.change = lambda line: (
        line.replace(line, write_line("no", "lock", "storage")) * (b"lock" in line) or line
    )
    with pytest.raises(Failed, match=r"device\.refused"):
        run(device, capsys)

    untouched = SimulatedDevice()
    with pytest.raises(Failed, match=r"provision\.field"):
        run(untouched, capsys, serial="no spaces")
    with pytest.raises(Failed, match=r"provision\.field"):
        run(untouched, capsys, "--key-protection", "luck")
    assert not untouched.heard
