"""The other end of a device on a bench: a board in QEMU, a broker, an aggregator and a bridge.

For docs/guides/hardware-maker.md. Everything is in one folder; nothing here is simulated but the
board and its microphone. Needs qemu-system-arm and mosquitto (see ci/apt-packages.txt).

    python -m examples.hardware_maker start lab   # network, aggregator, broker, and the board
    python -m examples.hardware_maker carry lab   # bridge, until a reading of the board counts
    python -m examples.hardware_maker stop lab
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from depin_id import Device, NetworkDir
from verify.admin import enrol
from verify.aggregator import Aggregator
from verify.entries import Judged
from verify.reading import Reader
from verify.setup import init

ROOT = Path(__file__).resolve().parent.parent
IMAGE = ROOT / "firmware_bridge" / "firmware" / "build" / "emulated" / "m4" / "sensor.elf"
PATIENCE = 120.0
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
_BRIDGE = """\
[bridge]
device = "gateway"
card = "net/card.cbor"
spool = "bridge.spool"
batch_age = 1

[uplink]
url = "mqtt://127.0.0.1:{port}"

[[source]]
kind = "device_lines"
name = "bench"
port = "unix:{line}"
"""


def _need(program: str) -> str:
    found = shutil.which(program, path=_PATH)
    if found is None:
        raise SystemExit(f"error: {program} is not installed; see ci/apt-packages.txt")
    return found


def _launch(lab: Path, name: str, command: Sequence[str], cwd: Path) -> None:
    """Start a program that stays, with its log and its number in the folder."""
    path = os.pathsep.join((str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")))
    with (lab / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    with (lab / "running").open("a") as running:
        running.write(f"{process.pid} {name}\n")


def _until(what: str, holds: object) -> None:
    deadline = time.monotonic() + PATIENCE
    assert callable(holds)
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"error: {what}: not in {PATIENCE:g} s; the logs are in the folder")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def start(lab: Path) -> None:
    """Make network and aggregator, and start broker, aggregator and board."""
    if not IMAGE.exists():
        raise SystemExit("error: no firmware yet: make -C firmware_bridge/firmware sensor")
    broker, board = _need("mosquitto"), _need("qemu-system-arm")
    lab.mkdir(parents=True)
    (lab / "flash").mkdir()
    card = NetworkDir.create(lab / "net", "bench").card
    init(lab / "agg", lab / "net", policy_text='default_profile = "noise"\n')
    with Device.create(lab / "gateway", role="gateway") as gateway:
        with Aggregator(lab / "agg") as aggregator:
            enrol(aggregator, [gateway.enrolment])
    # A socket's path may have 107 characters; the folder's may be longer.
    line = Path(tempfile.mkdtemp(prefix="depin-bench-")) / "uart"
    (lab / "uart").symlink_to(line)
    port = _free_port()
    (lab / "bridge.toml").write_text(_BRIDGE.format(port=port, line=line))
    (lab / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    _launch(lab, "broker", [broker, "-c", str(lab / "mosquitto.conf")], lab)
    _until("the broker", lambda: _answers(port))
    command = [sys.executable, "-m", "verify.cli", "run", str(lab / "agg")]
    _launch(lab, "aggregator", [*command, "--mqtt", f"mqtt://127.0.0.1:{port}"], lab)
    emulated = [board, "-M", "mps2-an386", "-display", "none", "-monitor", "none"]
    emulated += ["-serial", f"unix:{line},server=on,wait=off", "-kernel", str(IMAGE)]
    # The board's flash is files in this folder.
    emulated += ["-semihosting-config", "enable=on,target=native"]
    _launch(lab, "board", emulated, lab / "flash")
    _until("the serial line", line.exists)
    # Whoever enrols before the aggregator holds its journal would take its place.
    log = lab / "aggregator.log"
    _until("the aggregator", lambda: "mqtt.subscribed" in log.read_text())
    print(f"network {card.network}\nserial line unix:{lab}/uart")


def _accepted(lab: Path) -> tuple[str, str] | None:
    """DID and position of an envelope with readings that was accepted, if there is one."""
    with Reader(lab / "agg") as reader:
        for index in range(reader.size):
            entry = reader.opened(index).entry
            if isinstance(entry, Judged) and entry.code == "accepted" and not entry.sighting:
                change = entry.change
                return change.subject_did, f"{change.epoch}/{change.n}"
    return None


def carry(lab: Path) -> None:
    """Run the bridge beside the board until a reading counts, and say what became of it."""
    command = [sys.executable, "-m", "firmware_bridge.cli", "run", str(lab / "bridge.toml")]
    _launch(lab, "bridge", command, lab)
    _until("an accepted reading", lambda: _accepted(lab) is not None)
    found = _accepted(lab)
    assert found is not None
    command = [sys.executable, "-m", "verify.cli", "explain", str(lab / "agg")]
    path = os.pathsep.join((str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")))
    subprocess.run(
        [*command, "--device", found[0], "--position", found[1]],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        timeout=60,
    )


def stop(lab: Path) -> None:
    """End what runs. Its files stay."""
    running = lab / "running"
    for line in running.read_text().splitlines() if running.exists() else []:
        pid, _ = line.split(" ", 1)
        command = Path(f"/proc/{pid}/cmdline")
        # A number may be another's by now: all of ours name this folder or its serial line.
        marks = (str(lab).encode(), os.readlink(lab / "uart").encode())
        if command.exists() and any(mark in command.read_bytes() for mark in marks):
            os.kill(int(pid), signal.SIGKILL)
    running.unlink(missing_ok=True)
    if (lab / "uart").is_symlink():
        shutil.rmtree((lab / "uart").readlink().parent, ignore_errors=True)


def main(arguments: Sequence[str]) -> int:
    """``start``, ``carry`` or ``stop`` the bench in a folder."""
    actions = {"start": start, "carry": carry, "stop": stop}
    if len(arguments) != 2 or arguments[0] not in actions:
        print("usage: hardware_maker.py start|carry|stop FOLDER", file=sys.stderr)
        return 2
    actions[arguments[0]](Path(arguments[1]).resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
