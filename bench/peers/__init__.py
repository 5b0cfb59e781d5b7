"""What others ship for the same job: decode and verify signed messages of one reading, on one core.

Each peer is a script that runs in an environment of its own, made below ``.bench`` from pinned
versions with hashes; where that cannot be made it is left out, and the reason is said.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.raw import raw_cost
from bench.settings import Settings
from bench.table import Row
from bench.world import Lab
from depin_id.envelope import parse_envelope
from depin_id.senml import decode_pack

HERE: Final = Path(__file__).resolve().parent
CACHE: Final = HERE.parents[1] / ".bench"
INSTALL_S: Final = 600
RUN_S: Final = 120


@dataclass(frozen=True)
class Peer:
    """Another project.

    Attributes:
        package: its name, and that of its requirements file. script: what measures it.
        does: the job in its terms. note: what a reader has to know.
    """

    package: str
    script: str
    does: str
    note: str


PEERS: Final = (
    Peer("cwt", "peer_cwt.py", "COSE_Sign1, Ed25519", "neither position, nor admission of keys"),
    Peer("pyjwt", "peer_pyjwt.py", "JWT, EdDSA", "JSON; numbers become floating point"),
    Peer(
        "peaq-os-sdk",
        "peer_peaq.py",
        "signed data package",
        "JSON with EIP-191 on secp256k1: the key is recovered from the signature",
    ),
)


class PeerMissing(Exception):
    """The environment of a peer cannot be made, or does not run; says why."""


def measure(lab: Lab) -> list[Row]:
    """Our own decoding and verification, and that of each peer, beside raw PyNaCl."""
    rows = [_ours(lab)]
    for peer in PEERS:
        try:
            rows.append(_theirs(peer, lab.settings))
        except PeerMissing as missing:
            print(f"peers: {peer.package} is left out: {missing}", file=sys.stderr)
    return rows


def _row(name: str, costs: list[float], ratios: list[float], note: str = "") -> Row:
    rates = [1 / cost for cost in costs]
    return Row("peers", name, "/s", rates, ratios, "raw PyNaCl, one core", note=note)


def _ours(lab: Lab) -> Row:
    settings = lab.settings
    signed = lab.signed(1, settings.peer_messages, 1)[0]
    key, costs, ratios = signed.device.key, [], []
    for _ in range(settings.runs):
        raw = raw_cost(settings.raw_seconds)
        count, used, ends = 0, time.process_time(), time.perf_counter() + settings.peer_seconds
        while not count or time.perf_counter() < ends:
            for data in signed.envelopes:
                envelope = parse_envelope(data)
                envelope.verify(lab.did, key)
                decode_pack(envelope.payload)
            count += len(signed.envelopes)
        costs.append((time.process_time() - used) / count)
        ratios.append(raw / costs[-1])
    return _row("depin_id: envelope, Ed25519", costs, ratios)


def _theirs(peer: Peer, settings: Settings) -> Row:
    python, version = environment(peer)
    costs, ratios = [], []
    for _ in range(settings.runs):
        raw = raw_cost(settings.raw_seconds)
        found = _run(python, peer, settings)
        costs.append(found["processor"] / found["count"])
        ratios.append(raw / costs[-1])
    return _row(f"{peer.package} {version}: {peer.does}", costs, ratios, peer.note)


def _run(python: Path, peer: Peer, settings: Settings) -> dict[str, Any]:
    sizes = str(settings.peer_messages), str(settings.peer_seconds)
    result: dict[str, Any] = call(python, peer.script, *sizes)
    return result


def call(python: Path, script: str, *arguments: str) -> Any:
    """What a peer's script prints as JSON, run by its own interpreter.

    Raises PeerMissing.
    """
    command = [str(python), "-I", str(HERE / "start.py"), script, *arguments]
    # Nothing of this machine is told to anybody: one of them reports its use unless it is told so.
    quiet = {"DO_NOT_TRACK": "1", "PEAQOS_TELEMETRY": "0", "HOME": str(CACHE)}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=RUN_S,
            env={**os.environ, **quiet},
            check=False,
        )
        if done.returncode:
            raise PeerMissing(f"it does not run: {_last(done.stderr)}")
        return json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(f"it does not run: {error}") from error


def environment(peer: Peer) -> tuple[Path, str]:
    """The peer's interpreter and version; its environment is made when it is not there.

    Raises PeerMissing.
    """
    pinned = HERE / "requirements" / f"{peer.package}.txt"
    text = pinned.read_bytes()
    version = next(
        line.split("==")[1].split()[0]
        for line in text.decode().splitlines()
        if line.startswith(f"{peer.package}==")
    )
    mark = hashlib.sha256(text + sys.version.encode()).hexdigest()[:12]
    folder = CACHE / f"{peer.package}-{mark}"
    python = folder / "bin" / "python"
    stamp = folder / "complete"
    if not stamp.exists():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            venv.create(folder, with_pip=True)
            _install(python, pinned)
            stamp.touch()
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise PeerMissing(f"no environment: {error}") from error
    return python, version


def _install(python: Path, pinned: Path) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--require-hashes", "--only-binary", ":all:", "-r", str(pinned)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if done.returncode:
        raise OSError(f"it cannot be installed: {_last(done.stderr)}")


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"
