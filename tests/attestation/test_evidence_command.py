"""``depin-verify evidence``: affirmed exits 0, anything else 1, and every step is shown."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from depin_id.did.key import did_key
from depin_id.keys import SoftwareSigner
from tests.attestation import tiny
from verify.attestation.handlers import _by_media_type, handlers
from verify.cli import main

ROOT = SoftwareSigner.generate("p256")
DEVICE = SoftwareSigner.generate()
CHALLENGE = bytes(range(32))
AT = "2026-03-22T00:00:00Z"
MODELS = """
[[model]]
name = "thermometer"
formats = ["tiny"]
match = { implementation = "aa" }
[[model.reference]]
name = "BL"
digests = ["%s"]
"""


@pytest.fixture(autouse=True)
def _tiny_format(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    built_in = {tiny.NAME: "tests.attestation.tiny"}
    # The package gives away a function of the module's name.
    module = sys.modules["verify.attestation.handlers"]
    monkeypatch.setattr(module, "_BUILT_IN", built_in)
    _forget()
    yield
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    for cached in (handlers, _by_media_type):
        cached.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "roots" / "tiny").mkdir(parents=True)
    (tmp_path / "roots" / "tiny" / "root.cbor").write_bytes(ROOT.public_key.cose_key)
    (tmp_path / "models.toml").write_text(MODELS % ("dd" * 32))
    (tmp_path / "revoked.toml").write_text('[[revoked]]\nkey = "%s"\n' % ("00" * 32))
    (tmp_path / "evidence").write_bytes(tiny.make(ROOT, CHALLENGE, DEVICE.public_key, b"\xdd" * 32))
    return tmp_path


def _arguments(folder: Path, **changed: str | None) -> list[str]:
    options: dict[str, str | None] = {
        "format": "tiny",
        "challenge": CHALLENGE.hex(),
        "at": AT,
        "anchors": str(folder / "roots"),
        "references": str(folder / "models.toml"),
        "revocations": str(folder / "revoked.toml"),
        "key": did_key(DEVICE.public_key),
        **changed,
    }
    found = ["evidence", str(folder / "evidence")]
    for name, value in options.items():
        if value is not None:
            found += [f"--{name.replace('_', '-')}", value]
    return found


def _run(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> tuple[int, dict[str, Any]]:
    try:
        main([*arguments, "--json"])
        code = 0
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    out, err = capsys.readouterr()
    report: dict[str, Any] = json.loads(out or err)
    return code, report


def test_affirmed_evidence_exits_0(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = _run(capsys, _arguments(folder))
    assert (code, report["affirmed"], report["reasons"]) == (0, True, [])
    assert report["level"] == "D3"
    assert report["model"] == "thermometer"
    assert report["vector"] == {
        "instance-identity": 2,
        "configuration": 2,
        "executables": 2,
        "hardware": 2,
        "storage-opaque": 2,
    }
    steps = [step["step"] for step in report["steps"]]
    assert steps[0] == "evidence.size" and "binding.challenge" in steps
    assert all(step["passed"] for step in report["steps"])
    by_type = _arguments(folder, format=None, media_type=tiny.MEDIA_TYPE)
    assert _run(capsys, by_type) == (0, report)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"challenge": "00" * 32}, "attestation.challenge"),
        ({"anchors": None}, "attestation.anchor"),
        ({"references": None}, "attestation.model"),
        ({"revocations": None}, "attestation.revocations"),
        ({"taken": "2026-03-01T00:00:00Z"}, "attestation.revocations"),
        ({"key": did_key(ROOT.public_key)}, "attestation.key"),
    ],
)
def test_what_is_missing_or_wrong_is_not_affirmed(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, str | None],
    reason: str,
) -> None:
    code, report = _run(capsys, _arguments(folder, **changed))
    assert (code, report["affirmed"]) == (1, False)
    assert reason in report["reasons"]
    assert not all(step["passed"] for step in report["steps"])


def test_another_firmware_or_a_revoked_key_is_not_affirmed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "models.toml").write_text(MODELS % ("ee" * 32))
    code, report = _run(capsys, _arguments(folder))
    assert (code, report["vector"]["executables"], report["level"]) == (1, 33, "D2")
    (folder / "models.toml").write_text(MODELS % ("dd" * 32))
    (folder / "revoked.toml").write_text('[[revoked]]\nserial = "1f"\nof = "tiny"\n')
    code, report = _run(capsys, _arguments(folder))
    assert (code, report["vector"]["instance-identity"], report["level"]) == (1, 97, "D1")


def test_evidence_comes_on_standard_input_and_the_key_from_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = SimpleNamespace(buffer=io.BytesIO((folder / "evidence").read_bytes()))
    monkeypatch.setattr(sys, "stdin", stream)
    (folder / "device.cbor").write_bytes(DEVICE.public_key.cose_key)
    arguments = _arguments(folder, key=str(folder / "device.cbor"))
    arguments[1] = "-"
    assert _run(capsys, arguments)[0] == 0


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"format": "none"}, "attestation.format"),
        ({"format": None}, "usage"),
        ({"media_type": "x/y"}, "usage"),
        ({"format": None, "media_type": "x/y"}, "attestation.format"),
        ({"challenge": "zz"}, "usage"),
        ({"challenge": "00"}, "usage"),
        ({"at": "yesterday"}, "usage"),
        ({"anchors": "/nowhere"}, "attestation.file"),
        ({"references": "/nowhere"}, "attestation.file"),
        ({"revocations": "/nowhere"}, "attestation.file"),
        ({"key": "/nowhere"}, "attestation.file"),
        ({"key": "did:key:z"}, "did.malformed"),
        ({"model": "another"}, "usage"),
        ({"activated": "00"}, "usage"),
        ({"max_age": "0"}, "usage"),
    ],
)
def test_errors_are_typed(
    folder: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, str | None], code: str
) -> None:
    found, report = _run(capsys, _arguments(folder, **changed))
    assert (found, report["error"]["code"]) == (2, code)


def test_people_see_every_step(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(_arguments(folder))
    shown = capsys.readouterr().out
    for text in ("binding.challenge", "tiny.signature", "affirmed", "yes", "D3", "thermometer"):
        assert text in shown
    with pytest.raises(SystemExit) as stopped:
        main(_arguments(folder, challenge="00" * 32))
    assert stopped.value.code == 1
    shown = capsys.readouterr().out
    assert "FAILED" in shown and "attestation.challenge" in shown and "NO" in shown


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["evidence"],
        *(
            [group, verb]
            for group in ("anchors", "references", "revocations")
            for verb in ("add", "list", "remove")
        ),
    ):
        main([*command, "--help"])
        assert "depin-verify " + " ".join(command) in capsys.readouterr().out
