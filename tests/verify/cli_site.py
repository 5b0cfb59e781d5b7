"""A network worked with by commands of ``depin-verify`` alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from depin_id.device import Device
from depin_id.networkdir import NetworkDir
from depin_id.readings import reading
from verify.cli import main


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Site:
    """A network, a device and an aggregator's directory, worked with by commands alone."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.network = NetworkDir.create(folder / "net", "testnet").card.network
        self.root = folder / "agg"
        self.devices: list[Device] = []

    def run(self, *arguments: str | Path) -> Result:
        """One command; its exit code and what it printed."""
        self._capsys.readouterr()
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        return Result(code, captured.out, captured.err)

    def ok(self, *arguments: str | Path) -> Result:
        result = self.run(*arguments)
        assert result.code == 0, result.err or result.out
        return result

    def init(self, *options: str | Path) -> None:
        policy = self.folder / "policy.toml"
        policy.write_text('default_profile = "noise"\n')
        self.ok("init", self.root, "--network", self.folder / "net", "--policy", policy, *options)

    def device(self, name: str = "meter") -> Device:
        device = Device.create(self.folder / name, name=name, profile="noise")
        self.devices.append(device)
        return device

    def document(self, device: Device) -> Path:
        file = self.folder / f"{device.enrolment.name}.json"
        file.write_text(json.dumps(device.enrolment.to_json()))
        return file

    def envelopes(self, device: Device, count: int, *, second: int = 0) -> Path:
        """A file of so many envelopes, each of two readings."""
        now = int(device._wall()) - 5000 + second
        file = self.folder / f"{device.enrolment.name}.cbor"
        file.write_bytes(
            b"".join(
                device.sign(
                    [reading("laeq", 50 + n % 7, "dB", now + 2 * n + k) for k in range(2)],
                    network=self.network,
                )
                for n in range(count)
            )
        )
        return file

    def close(self) -> None:
        for device in self.devices:
            device.close()
