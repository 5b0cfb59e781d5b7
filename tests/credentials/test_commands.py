"""depin-id credential: issue, verify, show; exit 0 good, 1 not good with the reason, 2 error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from depin_id.cli import main
from depin_id.commands.identity import wall_ms
from depin_id.credentials import BirthCertificate, batch_digest, format_moment, issue, make
from depin_id.did.folder import DidFolder
from depin_id.did.key import did_key
from depin_id.keyfile import write_key
from depin_id.keys import SoftwareSigner
from tests.credentials.test_batch import CERTIFICATES, SIGNED
from tests.credentials.world import BORN, DEVICE, MAKER, birth, compact

Run = Callable[..., str]
AT = ["--at", "2026-11-21T00:00:00Z"]
"""The machine's clock may say anything."""
ABOUT = ["--serial", "17", "--model", "noise", "--revision", "B2", "--protection", "tpm"]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command in a folder with a manufacturer, its key file and an owner; gives what it says."""
    monkeypatch.chdir(tmp_path)
    DidFolder.create("maker", method="key")
    DidFolder.create("anna", method="jwk")
    write_key(tmp_path / "lab.key", SoftwareSigner.generate("p256"))

    def command(*arguments: str, code: int = 0) -> str:
        try:
            main(["credential", *arguments])
        except SystemExit as ended:
            assert ended.code == code, capsys.readouterr().err
        else:
            assert code == 0
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return shown.out if code != 2 else shown.err

    return command


def _did(folder: str) -> str:
    return DidFolder.open(folder).did


def _birth(run: Run, *more: str) -> None:
    device = ["--device", DEVICE.did, "--batch", "2026-11-A", "--from", BORN]
    run("issue", "birth", "--as", "maker", *device, *ABOUT, "-o", "birth.json", *more)


def test_from_birth_to_the_second_owner(run: Run) -> None:
    _birth(run)
    said = json.loads(run("verify", "birth.json", *AT, "--device", DEVICE.did, "--json"))
    assert said["good"] and said["issuer"] == _did("maker") and said["serial"] == "17"
    first = ["--previous", "birth.json", "--owner", _did("anna"), "--from", "2026-11-20T01:00:00Z"]
    run("issue", "ownership", "--as", "maker", *first, "-o", "first.json")
    other = did_key(SoftwareSigner.generate().public_key)
    second = ["--previous", "first.json", "--owner", other, "--from", "2026-11-20T02:00:00Z"]
    run("issue", "ownership", "--as", "anna", *second, "-o", "second.json")
    chain = ["--transfer", "second.json", "--transfer", "first.json"]
    for at, owner in ((BORN, None), ("2026-11-20T01:30:00Z", "anna"), (AT[1], "other")):
        when = ["--at", at]
        if owner is None:
            run("verify", "birth.json", *chain, *when, code=1)  # they do not hold yet
            continue
        given = chain if owner == "other" else chain[2:]
        said = json.loads(run("verify", "birth.json", *given, *when, "--json"))
        assert said["owner"] == (other if owner == "other" else _did("anna"))
    assert "ownership.gap" in run("verify", "birth.json", *AT, *chain[:2], code=1)


def test_calibration_and_location_from_options_and_files(run: Run, tmp_path: Path) -> None:
    about = {"quantity": "sound pressure level", "unit": "dB", "reference": "114 dB"}
    (tmp_path / "in.json").write_text(json.dumps(about | {"uncertainty": "9"}))
    options = ["--in", "in.json", "--device", DEVICE.did, "--uncertainty", "0.25"]
    until = ["--until", "2027-11-20T00:00:00Z", "--from", BORN]
    run("issue", "calibration", "--as", "lab.key", *options, "--coverage", "2", *until, "-o", "c")
    shown = run("verify", "c", "--at", "2026-11-21T00:00:00Z")
    assert "0.25" in shown and "DeviceCalibration" in shown
    place = ["--device", DEVICE.did, "--lat", "52.5", "--lon", "13.4", "--accuracy", "10"]
    signed = run("issue", "location", "--as", "anna", *place, *until)
    assert json.loads(signed)["credentialSubject"]["latitude"] == "52.5"
    error = run("issue", "location", "--as", "anna", *place[:3], "95", *place[4:], *until, code=2)
    assert "credential.malformed" in error and "latitude" in error


def test_each_reason_to_refuse_ends_in_1(run: Run, tmp_path: Path) -> None:
    _birth(run, "--until", "2027-11-20T00:00:00Z")
    for options, code in (
        (["--at", "2026-11-19T00:00:00Z"], "credential.not_yet_valid"),
        (["--at", "2027-11-20T00:00:01Z"], "credential.expired"),
        ([*AT, "--device", MAKER.did], "credential.subject"),
        ([*AT, "--issuer", MAKER.did], "credential.issuer"),
    ):
        said = json.loads(run("verify", "birth.json", *options, "--json", code=1))
        assert (said["good"], said["code"]) == (False, code)
    signed = (tmp_path / "birth.json").read_text()
    for text, code in (
        (signed.replace('"17"', '"18"'), "signature.invalid"),
        (signed.replace('"serial":', '"serial":"1","serial":'), "json.malformed"),
        ("{}", "credential.type"),
    ):
        (tmp_path / "changed.json").write_text(text)
        assert code in run("verify", "changed.json", *AT, code=1)
    for options in (
        ["missing.json"],
        ["birth.json", "--at", "now"],
        ["birth.json", *AT, "--dids", "no"],
    ):
        run("verify", *options, code=2)


def test_a_certificate_of_a_batch_needs_the_batch(run: Run, tmp_path: Path) -> None:
    (tmp_path / "leaf.json").write_bytes(compact(CERTIFICATES[3]))
    (tmp_path / "batch.json").write_bytes(compact(SIGNED))
    assert "batch.missing" in run("verify", "leaf.json", *AT, code=1)
    assert "SN-3" in run("verify", "leaf.json", *AT, "--batch", "batch.json")
    shown = run("show", "leaf.json")
    assert f"leaf 3 of 7 of the batch {batch_digest(SIGNED)}" in shown
    assert "not verified" in run("show", "batch.json")
    (tmp_path / "own.json").write_bytes(compact(MAKER.sign(birth())))
    run("verify", "own.json", "--batch", "batch.json", code=2)
    (tmp_path / "plain.json").write_text(json.dumps(CERTIFICATES[3] | {"proof": None}))
    run("show", "plain.json", code=2)


def test_a_retired_key_only_when_asked_for(run: Run, tmp_path: Path) -> None:
    hour, now = 3_600_000, wall_ms()
    folder = DidFolder.create(
        tmp_path / "dids" / "acme", method="webvh", place="example.com:acme", now_ms=now - 9 * hour
    )
    credential = make(
        BirthCertificate,
        issuer=folder.did,
        valid_from=format_moment(now - 8 * hour),
        credential_subject=birth().credential_subject,
    )
    method, then = folder.verification_method, format_moment(now - 8 * hour)
    signed = issue(credential, folder.signer, verification_method=method, created=then)
    (tmp_path / "b.json").write_bytes(compact(signed))
    assert "did.not_found" in run("verify", "b.json", code=1)
    run("verify", "b.json", "--dids", "dids")
    folder.rotate(now_ms=now - 2 * hour)
    assert "--keys-then" in run("verify", "b.json", "--dids", "dids", code=1)
    run("verify", "b.json", "--dids", "dids", "--keys-then")
    run("verify", "b.json", "--dids", "dids", "--at", format_moment(now - 3 * hour))


def test_help_names_an_example(run: Run) -> None:
    for words in (["verify"], ["show"], ["issue", "birth"], ["issue", "ownership"]):
        assert "Example: depin-id credential" in run(*words, "--help")
