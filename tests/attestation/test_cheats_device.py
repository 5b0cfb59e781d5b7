"""What the device's commands are given by mistake, and what its tools print."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from depin_id import Device
from depin_id.ack import Challenge, sign_challenge
from depin_id.attestation.tpm_device import _handles
from depin_id.cli import main
from depin_id.testing import TestNetwork
from tests.attestation.ca import Authority

NET = TestNetwork("cheats")
UNKNOWN_CURVE = bytes.fromhex("302e0201003005060329657f04220420") + bytes(32)
NO_SCALAR = bytes.fromhex("302e020100300506032b656f04220420") + bytes(32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Device.create(tmp_path / "d") as device:
        asked = Challenge(device.public_key.thumbprint, b"n" * 16, 4_000_000_000)
    (tmp_path / "challenge").write_bytes(
        sign_challenge(asked, network=NET.did, signer=NET.ack_signer)
    )
    (tmp_path / "card.cbor").write_bytes(NET.card_bytes)
    pem = Authority("maker").certificate.public_bytes(Encoding.PEM)
    (tmp_path / "chain.pem").write_bytes(pem)
    return tmp_path


def _refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["attest", *arguments])
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "Traceback" not in err
    return err


@pytest.mark.parametrize("der", [UNKNOWN_CURVE, NO_SCALAR])
def test_a_private_key_that_nobody_knows_is_an_error_and_no_traceback(
    folder: Path, capsys: pytest.CaptureFixture[str], der: bytes
) -> None:
    key = folder / "key.pem"
    key.touch(mode=0o600)
    body = base64.b64encode(der).decode()
    key.write_text(f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    err = _refused(
        capsys,
        *("idevid", str(folder / "d"), "--challenge", str(folder / "challenge")),
        *("--network", str(folder / "card.cbor"), "--chain", str(folder / "chain.pem")),
        *("--key", str(key), "-o", str(folder / "out")),
    )
    assert "no open private key" in err
    assert not (folder / "out").exists()


def test_only_one_file_comes_from_standard_input(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--challenge", "-", "--network", str(folder / "card.cbor"), "-o", "-")
    for arguments in (
        ("token", "--type", "a/b", "--evidence", "-"),
        ("tpm", "--event-log", "-"),
        ("tpm", "--credential", "-"),
        ("idevid", "--chain", str(folder / "chain.pem"), "--manifest", "-"),
    ):
        err = _refused(capsys, arguments[0], str(folder / "d"), *arguments[1:], *common)
        assert "only one file" in err


def test_handles_are_read_whatever_else_is_printed() -> None:
    printed = b"- 0x81010001\n- 0x1c00002 0xzz 0x 0x123456789 x0x1 \xff\n"
    assert _handles(printed) == [0x81010001, 0x1C00002]
