"""Files of an operator that would mean another thing than they seem to, or stop the reader."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from depin_id.errors import AttestationError
from tests.attestation.ca import new_key
from tests.attestation.tokens import mac0, spki
from verify.attestation.anchor_files import read_anchors
from verify.attestation.materials import RevocationSnapshot
from verify.attestation.reference_files import read_references_file
from verify.attestation.revocation_lists import read_list
from verify.cli import main
from verify.commands.materials import load_references

DIGITS = "x = " + "9" * 5000
DOTS = "a." * 300_000 + "b = 1"
CHALLENGE = bytes(range(32))


def _nothing(_: str) -> bytes:
    return b""


def test_numbers_and_keys_without_end_are_refused_at_once(tmp_path: Path) -> None:
    """Of 5000 digits no number is made; keys cost the square of their dots."""
    for text in (DIGITS, DOTS, "a = " + "[" * 100_000, "a = " + "{a = " * 50_000, "\udc80a = 1"):
        data = text.encode(errors="surrogateescape")
        file = tmp_path / "registry.toml"
        file.write_bytes(data)
        begun = time.process_time()
        for code, read in (
            ("attestation.file", lambda data=data: read_references_file(data, _nothing)),
            ("attestation.list", lambda data=data: read_list(data, taken=1, covers=frozenset())),
            ("attestation.file", lambda file=file: read_anchors(file, "psa")),
        ):
            with pytest.raises(AttestationError) as refused:
                read()
            assert refused.value.code == code
        assert time.process_time() - begun < 3


def test_a_name_with_a_nul_is_no_file(tmp_path: Path) -> None:
    models, registry = tmp_path / "models.toml", tmp_path / "registry.toml"
    models.write_text('[[corim]]\nname = "a"\nfile = "a\\u0000b"\n')
    registry.write_text('[[anchor]]\nname = "a"\nfile = "a\\u0000b"\n')
    with pytest.raises(AttestationError, match="not beside"):
        load_references(models)
    with pytest.raises(AttestationError, match="without a path"):
        read_anchors(registry, "psa")


def test_a_public_key_is_never_made_a_common_one(tmp_path: Path) -> None:
    """Its bytes are known to everybody: whoever has them could make any token."""
    key = new_key()
    registry = tmp_path / "registry.toml"
    registry.write_text(
        f'[[anchor]]\nname = "a"\nspki = "{spki(key).hex()}"\nids = {{ key = "symmetric" }}\n'
    )
    assert mac0({10: CHALLENGE}, spki(key))
    with pytest.raises(AttestationError, match="common key"):
        read_anchors(registry, "psa")


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_private_key_is_refused_and_never_shown(
    tmp_path: Path, encoding: Encoding, form: PrivateFormat
) -> None:
    from cryptography.hazmat.primitives.serialization import NoEncryption

    key = new_key()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    secret = key.private_bytes(encoding, form, NoEncryption())
    file = tmp_path / "key.pem"
    for data in (secret, secret + b"\n" + secret):
        file.write_bytes(data)
        with pytest.raises(AttestationError) as refused:
            read_anchors(file, "psa")
        assert refused.value.code == "attestation.key"
        number = format(key.private_numbers().private_value, "x")
        assert number[:16] not in str(refused.value) and "BEGIN" not in str(refused.value)


def _revoked(row: str) -> set[str]:
    found = read_list(f"[[revoked]]\n{row}".encode(), taken=1, covers=frozenset({"eat"}))
    assert isinstance(found, RevocationSnapshot)
    return set(found.revoked)


def test_a_row_that_would_revoke_nothing_is_refused() -> None:
    issuer = "ab" * 32
    assert _revoked(f'serial = "0A"\nof = "{issuer.upper()}"') == {f"cert:{issuer}:a"}
    assert _revoked(f'key = "{issuer.upper()}"') == {f"key:{issuer}"}
    assert _revoked('ueid = "01AABBCCDDEEFF"') == {"ueid:01aabbccddeeff"}
    for row in (
        'serial = "0a"\nof = "android"',
        'serial = "0a"\nof = "ABCD"',
        'serial = "0a"\nof = ""',
        'ueid = "01"',
        'ueid = "01aabbccddeeff"\nkey = "' + issuer + '"',
        "ueid = 1",
        'reason = "nothing"',
    ):
        with pytest.raises(AttestationError) as refused:
            _revoked(row)
        assert refused.value.code == "attestation.list"


def test_the_command_says_which_formats_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    main(["evidence", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "android-key, app-attest, cca, eat, esp-tee, fdo, idevid, nitro, open-dice, psa" in text


@pytest.mark.parametrize("at", ["250000000001", "253402300800", "9" * 24])
def test_a_time_of_no_calendar_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], at: str
) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"\xa0")
    with pytest.raises(SystemExit) as stopped:
        main(
            ["evidence", str(file), "--format", "eat", "--challenge", "00" * 32, "--at", at]
            + ["--json"]
        )
    assert stopped.value.code == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "usage"
