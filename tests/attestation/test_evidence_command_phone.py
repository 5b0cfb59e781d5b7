"""``depin-verify evidence`` over a phone's chain that its publisher recorded, from files alone."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.paths import vectors
from verify.cli import main

FOLDER = "attestation/android-key-attestation"


def _chain() -> tuple[Path, dict[str, Any]]:
    """The first chain of a locked phone whose boot was verified, and how it has to be read."""
    for path in sorted(vectors(f"{FOLDER}/chains").rglob("*.json")):
        expected: dict[str, Any] = json.loads(path.read_text())
        boot = expected.get("hardwareEnforced", {}).get("rootOfTrust", {})
        usable = boot.get("verifiedBootState") == "VERIFIED" and boot.get("deviceLocked")
        if usable and expected["attestationSecurityLevel"] != "SOFTWARE":
            return path.with_suffix(".pem"), expected
    pytest.skip("no such chain")


class Phone:
    """The files of an appraisal, and the command over them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.file, expected = _chain()
        self.challenge = base64.b64decode(expected["attestationChallenge"]).hex()
        self.at = str(int(expected["softwareEnforced"]["creationDateTime"]) // 1000)
        (folder / "roots" / "android-key").mkdir(parents=True)
        roots = json.loads(vectors(f"{FOLDER}/roots.json").read_text())
        (folder / "roots" / "android-key" / "google.pem").write_text("\n".join(roots))
        self.status = json.loads(vectors(f"{FOLDER}/status.json").read_text())
        self.models('[[model]]\nname = "phone"\nformats = ["android-key"]\n')

    def models(self, text: str) -> None:
        (self.folder / "models.toml").write_text(text)

    def run(self, challenge: str = "") -> tuple[int, dict[str, Any]]:
        folder = self.folder
        (folder / "status.json").write_text(json.dumps(self.status))
        arguments = ["evidence", str(self.file), "--format", "android-key", "--at", self.at]
        arguments += ["--challenge", challenge or self.challenge, "--json"]
        arguments += ["--anchors", str(folder / "roots")]
        arguments += ["--references", str(folder / "models.toml")]
        arguments += ["--revocations", str(folder / "status.json")]
        code = 0
        try:
            main(arguments)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        report: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        return code, report


def test_a_recorded_phone_is_affirmed_by_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phone = Phone(tmp_path, capsys)
    code, report = phone.run()
    assert (code, report["reasons"]) == (1, ["attestation.references"])
    assert report["vector"]["executables"] == 33
    rows = "".join(
        f'[[model.reference]]\nname = "{item["name"]}"\ndigests = ["{item["digest"]}"]\n'
        for item in report["claims"]["measurements"]
    )
    phone.models(f'[[model]]\nname = "phone"\nformats = ["android-key"]\n{rows}')
    code, report = phone.run()
    assert (code, report["affirmed"], report["reasons"]) == (0, True, [])
    assert report["level"] == "D3" and report["claims"]["bound"] == "attested"
    assert phone.run("00" * 32)[1]["reasons"] == ["attestation.challenge"]


def test_a_recorded_phone_whose_batch_is_revoked_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phone = Phone(tmp_path, capsys)
    chain = x509.load_pem_x509_certificates(phone.file.read_bytes())
    serial = chain[1].serial_number
    for key in (f"{serial:x}", str(serial)):
        phone.status["entries"] = {key: {"status": "REVOKED", "reason": "KEY_COMPROMISE"}}
        code, report = phone.run()
        assert code == 1 and "attestation.revoked" in report["reasons"]
        assert report["vector"]["instance-identity"] == 97
    phone.status["entries"] = {f"{serial + 1:x}": {"status": "REVOKED"}}
    assert "attestation.revoked" not in phone.run()[1]["reasons"]
