"""The demo's bridge: a process of its own, with its own key, configuration and spool."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

from depin_id.claims import Place
from depin_id.device import Device
from depin_id.durable import create_file
from depin_id.enrolment import Enrolment
from depin_id.networkdir import NetworkDir
from verify.demo.actors import CARRIED_TOPIC, UNSIGNED_TOPIC

CONNECTIONS = 3
"""Towards the aggregator, and one for each source."""
_STOP_S = 20.0

_CONFIG = """\
[bridge]
device = "device"
card = "card.cbor"
network = "{network}"
spool = "bridge.spool"
batch_count = 5
status_every = 5

[uplink]
url = "{url}"

[[source]]
kind = "native_mqtt"
name = "signed"
url = "{url}"
topic = "{carried}/+"

[[source]]
kind = "mqtt_json"
name = "unsigned"
url = "{url}"
topic = "{unsigned}/{{sensor}}/SENSOR"
time = "time"

[[source.reading]]
path = "sound.laeq"
name = "laeq"
unit = "dB"
"""


class BridgeProcess:
    """Makes a gateway in ``folder``; :meth:`start` runs ``depin-bridge`` on it.

    Attributes:
        enrolment: of the gateway.
    """

    def __init__(self, folder: Path, network: NetworkDir, url: str, place: Place) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        with Device.create(
            folder / "device", name="bridge", role="gateway", profile="noise", place=place
        ) as device:
            self.enrolment: Enrolment = device.enrolment
        create_file(folder / "card.cbor", network.card_bytes, mode=0o644)
        config = _CONFIG.format(
            network=network.card.network,
            url=url,
            carried=CARRIED_TOPIC,
            unsigned=UNSIGNED_TOPIC,
        )
        create_file(folder / "bridge.toml", config.encode(), mode=0o644)
        self.log = folder / "bridge.log"
        self._output: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; its log goes to ``bridge.log``."""
        self._output = open(self.log, "wb")
        # What this interpreter can import the bridge's can too, installed or not.
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "firmware_bridge.cli", "run", "bridge.toml"],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    @property
    def ended(self) -> bool:
        """Whether the process has ended although nobody told it to."""
        return self._process is not None and self._process.poll() is not None

    @property
    def ready(self) -> bool:
        """Whether all its connections have been made."""
        return self._said().count(": connected, MQTT") >= CONNECTIONS

    @property
    def last_words(self) -> str:
        """The last line of its log."""
        lines = self._said().strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def stop(self) -> None:
        """End it, at first kindly. A second call does nothing."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._output is not None:
            self._output.close()

    def _said(self) -> str:
        try:
            return self.log.read_text("utf-8", errors="replace")
        except FileNotFoundError:
            return ""
