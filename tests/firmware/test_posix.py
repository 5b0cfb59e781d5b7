"""The C device on POSIX: provisioned by the real command, killed, and accepted by the verifier."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from depin_id.cli import main
from depin_id.device_lines import Line, LineReader, SocketPort
from depin_id.device_station import DeviceRefused, Station
from depin_id.enrolment import Enrolment
from depin_id.envelope import parse_envelope
from depin_id.keys import SoftwareSigner
from depin_id.provisioning import Provisioner, read_info
from tests.bridge.world import Net
from tests.firmware.lines_c import FIRMWARE, STRICT, compiler
from verify.policy import Policy
from verify.profile import load_profiles
from verify.verifier import Verifier

CURVES = ("ed25519", "p256")


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built."""
    out = tmp_path_factory.mktemp("posix") / "posix_sender"
    if not Path("/usr/include/openssl/ec.h").exists():
        pytest.skip("no headers of libcrypto (libssl-dev)")
    monocypher = FIRMWARE / "build" / "monocypher"
    fetch = [sys.executable, str(FIRMWARE / "tools" / "fetch_monocypher.py"), str(monocypher)]
    if subprocess.run(fetch, capture_output=True, timeout=200).returncode:
        pytest.skip("Monocypher cannot be fetched")
    ports = [FIRMWARE / "ports" / "posix", FIRMWARE / "ports" / "p256"]
    folders = [FIRMWARE / "src", *ports, FIRMWARE / "examples" / "posix_sender"]
    sources = [str(file) for folder in folders for file in sorted(folder.glob("*.c"))]
    include = [f"-I{path}" for path in (FIRMWARE / "include", monocypher, *ports)]
    subprocess.run(
        [compiler(), *STRICT, "-O1", *include, *sources, "-lcrypto", "-o", str(out)],
        check=True,
        timeout=200,
    )
    return out


class Running:
    """The process with a socket as its serial line."""

    def __init__(self, sender: Path, folder: Path, curve: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [str(sender), str(folder), curve], stdin=theirs.fileno(), stdout=theirs.fileno()
            )
        self.port = SocketPort(ours)
        self.station = Station(self.port, timeout=20)

    def end(self) -> None:
        self.process.kill()
        self.process.wait(20)
        self.port.close()

    def packs(self, text: str, count: int) -> list[bytes]:
        """Readings to it, and the packs that come."""
        self.port.write(text.encode())
        reader, found = LineReader(), list[bytes]()
        end = time.monotonic() + 30
        while len(found) < count and time.monotonic() < end:
            for item in reader.feed(self.port.read(0.5)):
                if isinstance(item, Line) and item.verb == "up":
                    found.append(item.data())
        return found


_WRITES: tuple[tuple[str | bytes, ...], ...] = (("make", "key"), ("write", "key", b"k" * 32))


def _refuses(device: Running, *requests: tuple[str | bytes, ...], match: str = "refused") -> None:
    for verb, *arguments in requests:
        with pytest.raises(DeviceRefused, match=match):
            device.station.do(str(verb), *arguments)


@contextlib.contextmanager
def running(sender: Path, folder: Path, curve: str) -> Iterator[Running]:
    process = Running(sender, folder, curve)
    try:
        yield process
    finally:
        process.end()


@pytest.mark.parametrize("curve", CURVES)
def test_provisioned_killed_and_accepted(sender: Path, tmp_path: Path, curve: str) -> None:
    net = Net()
    network = net.card().network
    seed = os.urandom(32)
    with running(sender, tmp_path / "dev", curve) as device:
        assert read_info(device.station).state == "new"
        _refuses(
            device, ("prove", b"n" * 16), ("lock",), ("write", "key", b"short"), ("ask", "key")
        )
        with pytest.raises(DeviceRefused, match="could not read"):
            device.station.do("write", "network", "did:web:example.org")
        made = Provisioner(device.station, network, seed=seed, lock=False).run()
        assert made.enrolment.key == SoftwareSigner(made.enrolment.key.curve, seed).public_key
        assert made.enrolment.key.curve == curve and made.enrolment.name == "posix sender"
    with running(sender, tmp_path / "dev", curve) as device:  # killed; the same call goes on
        made = Provisioner(device.station, network).run()
        assert made.locked and made.changed
        _refuses(device, *_WRITES, ("write", "network", network), match="locked")
        device.station.do("lock")
        first = device.packs("laeq dB 5231 -2\nlaeq dB 5190 -2\n\nlaeq dB 50 0\n\n", 2)
    with running(sender, tmp_path / "dev", curve) as device:
        assert not Provisioner(device.station, network).run().changed
        second = device.packs("laeq dB 51 0\n\n", 1)
    positions = [parse_envelope(pack).provenance for pack in first + second]
    assert [(at.epoch, at.n) for at in positions[:2]] == [
        (positions[0].epoch, 0),
        (positions[0].epoch, 1),
    ]
    assert positions[2].epoch > positions[0].epoch and positions[2].n == 0

    verifier = Verifier(
        net.card(),
        [made.enrolment],
        Policy.from_toml('default_profile = "noise"\n', profiles=load_profiles()),
    )
    now = int(time.time() * 1000)
    verdicts = [verifier.verify(pack, now) for pack in first + second]
    assert [verdict.code for verdict in verdicts] == ["accepted"] * 3
    assert verifier.verify(first[0][:-1] + bytes([first[0][-1] ^ 1]), now).code != "accepted"
    for slot in (4, 5):
        assert seed in (tmp_path / "dev" / f"slot-{slot}").read_bytes()


def test_a_torn_or_damaged_record_never_unlocks(sender: Path, tmp_path: Path) -> None:
    network = Net().card().network
    folder = tmp_path / "dev"

    def state() -> str:
        with running(sender, folder, "ed25519") as device:
            return read_info(device.station).state

    with running(sender, folder, "ed25519") as device:
        device.station.do("make", "key")
    (folder / "slot-4").write_bytes((folder / "slot-4").read_bytes()[:50])
    assert state() == "new"  # a first write that was cut off
    with running(sender, folder, "ed25519") as device:
        Provisioner(device.station, network).run()
    good = {slot: (folder / f"slot-{slot}").read_bytes() for slot in (4, 5)}
    for slot in (4, 5):
        for damage in (b"", bytes(128), good[slot][:60] + b"x" + good[slot][61:]):
            (folder / f"slot-{slot}").write_bytes(damage)
            assert state() == "locked"
        (folder / f"slot-{slot}").write_bytes(good[slot])
    for slot in (4, 5):
        (folder / f"slot-{slot}").write_bytes(b"x" * 128)
    with running(sender, folder, "ed25519") as device:
        assert read_info(device.station).state == "lost"
        _refuses(device, *_WRITES, ("lock",), ("write", "network", network), match="damaged")


def test_the_command_provisions_it(
    sender: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = Net()
    card = net.write(tmp_path / "card.cbor")
    path = tmp_path / "tty"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    command = [str(sender), str(tmp_path / "dev"), "p256"]

    def serve() -> None:
        peer = listener.accept()[0]
        with peer:
            subprocess.run(
                command,
                stdin=peer.fileno(),
                stdout=peer.fileno(),
                timeout=60,
            )

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        main(
            [
                *("device", "provision", "--port", f"unix:{path}", "--network", str(card)),
                *("--serial", "N1-0007", "--profile", "noise@1", "--json", "--timeout", "20"),
            ]
        )
        thread.join(60)
    made = json.loads(capsys.readouterr().out)
    assert made["locked"] and Enrolment.from_json(made["enrolment"]).profile == "noise@1"
