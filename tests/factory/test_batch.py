"""A batch as it comes out: every file fits every other, and verifies as others verify it."""

from __future__ import annotations

import csv
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from depin_id.credentials.batch import verify_birth
from depin_id.credentials.models import BirthCertificate
from depin_id.did.key import did_key
from depin_id.enrolment import read_enrolments
from depin_id.errors import CredentialError, DepinError, StateError
from depin_id.factory.labels import labels
from depin_id.keys import PublicKey
from depin_id.owners import Party, read_label, read_qr
from tests.factory.material import DEFAULTS, MAKER, NOW, key, lines, make, options
from tests.owners.people import party, signer
from tests.paths import ROOT


def maker_key(method: str, issuer: str, created: str | None) -> PublicKey:
    assert method == MAKER.method and issuer == MAKER.did
    return MAKER.signer.public_key


def certificates(folder: Path) -> list[bytes]:
    return (folder / "certificates.jsonl").read_bytes().splitlines()


def check(folder: Path, certificate: bytes) -> BirthCertificate:
    batch = (folder / "batch.json").read_bytes()
    found = verify_birth(certificate, key_of=maker_key, now_ms=NOW, batch=batch)
    assert isinstance(found.credential, BirthCertificate)
    return found.credential


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
def test_a_batch_of_any_size_verifies_and_its_files_agree(tmp_path: Path, count: int) -> None:
    folder = tmp_path / "batch"
    made = make(lines(count), folder)
    assert made.size == count and made.to_json()["files"] == [
        "batch.json",
        "certificates.jsonl",
        "claims.csv",
        "enrolments.jsonl",
    ]
    found = [check(folder, certificate) for certificate in certificates(folder)]
    enrolments = list(read_enrolments((folder / "enrolments.jsonl").read_text()))
    with open(folder / "claims.csv", newline="") as file:
        claims = list(csv.DictReader(file))
    assert len(found) == len(enrolments) == len(claims) == count
    for certificate, enrolment, claim in zip(found, enrolments, claims, strict=True):
        subject = certificate.credential_subject
        assert subject.id == enrolment.did == claim["did"]
        assert subject.serial == claim["serial"]
        label = read_qr(claim["qr_text"])
        assert label.device == subject.id and label == read_label(claim["claim_code"], subject.id)
        assert subject.claim_digest is not None
        assert label.code.opens(subject.id, bytes.fromhex(subject.claim_digest))


def test_every_form_of_a_key_and_every_column(tmp_path: Path) -> None:
    ed, p = key(1), key(2, "p256")
    point = p._p256.public_numbers()
    whole = "04" + point.x.to_bytes(32, "big").hex() + point.y.to_bytes(32, "big").hex()
    rows: list[dict[str, Any]] = [
        {"key": did_key(ed), "lat": "48.137", "lon": "-11.5", "owner": "did:key:x"},
        {"key": did_key(p).removeprefix("did:key:"), "curve": "P-256", "role": "gateway"},
        {"key": key(3).cose_key.hex(), "mac": "AA:bb:CC:dd:EE:0f", "name": "Dach, Nord \u00fc"},
        {"key": key(4, "p256").cose_key.hex().upper(), "mac": "AABBCCDDEEFF0011"},
        {"key": key(5).raw.hex(), "curve": "Ed25519", "profile": "noise@1", "model": None},
        {"key": key(6, "p256").raw.hex(), "curve": "secp256r1", "model": "N2"},
    ]
    for number, row in enumerate(rows):
        row["serial"] = f"A-{number}"
    text = "\n".join(json.dumps(row) for row in rows) + "\n\n"
    make("\ufeff" + text, tmp_path / "json")
    found = list(read_enrolments((tmp_path / "json" / "enrolments.jsonl").read_text()))
    assert [one.key for one in found] == [ed, p, key(3), key(4, "p256"), key(5), key(6, "p256")]
    assert found[0].place is not None and found[0].owner == "did:key:x"
    assert found[1].role == "gateway" and found[2].name == "Dach, Nord \u00fc"
    models = [
        check(tmp_path / "json", one).credential_subject.model
        for one in certificates(tmp_path / "json")
    ]
    assert models == ["N1"] * 5 + ["N2"]
    with open(tmp_path / "json" / "claims.csv", newline="") as file:
        assert [row["mac"] for row in csv.DictReader(file)][2:4] == [
            "aabbccddee0f",
            "aabbccddeeff0011",
        ]
    # The same as CSV, with an uncompressed point and cells in quotes.
    table = f'\ufeff"Serial", key ,curve,name\r\nB-1,{whole},p256,"a ""b"", c"\r\n'
    make(table, tmp_path / "csv")
    (one,) = read_enrolments((tmp_path / "csv" / "enrolments.jsonl").read_text())
    assert one.key == p and one.name == 'a "b", c'


def test_secrets_are_private_and_fresh(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(lines(2), tmp_path / name, also=labels("svg", lambda *_: None))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a").rglob("*")}
    assert modes["claims.csv"] == modes["SN00000.svg"] == 0o600 and modes["labels"] == 0o700
    assert modes["batch.json"] == 0o644
    assert (tmp_path / "a" / "claims.csv").read_text() != (
        tmp_path / "b" / "claims.csv"
    ).read_text()
    written = (tmp_path / "a" / "certificates.jsonl").read_text()
    with open(tmp_path / "a" / "claims.csv", newline="") as file:
        for row in csv.DictReader(file):
            assert row["claim_code"].replace("-", "") not in written


def test_a_batch_without_claims(tmp_path: Path) -> None:
    made = make(lines(2), tmp_path / "batch", claims=False)
    assert "claims.csv" not in made.to_json()["files"]
    subject = check(tmp_path / "batch", certificates(tmp_path / "batch")[0]).credential_subject
    assert subject.claim_digest is None


@pytest.mark.parametrize("kind", ["svg", "png", "sheet"])
def test_labels(tmp_path: Path, kind: Any) -> None:
    make(lines(25), tmp_path / "batch", also=labels(kind, lambda *_: None))
    drawn = sorted(path.name for path in (tmp_path / "batch" / "labels").iterdir())
    if kind == "sheet":
        assert drawn == ["sheet-00001.svg", "sheet-00002.svg"]
        text = (tmp_path / "batch" / "labels" / drawn[1]).read_text()
        assert text.count("<path") == 1 and "SN00024" in text
    else:
        assert len(drawn) == 25 and drawn[0] == f"SN00000.{kind}"


def test_a_certificate_is_for_its_device_its_batch_and_its_maker(tmp_path: Path) -> None:
    folder = tmp_path / "batch"
    make(lines(5), folder)
    make(lines(5), tmp_path / "other")
    first, second = certificates(folder)[:2]
    for wrong in (
        first.replace(b"SN00000", b"SN00009"),
        first.replace(b'"index":0', b'"index":1'),
        second.replace(b"secure-element", b"software"),
        certificates(tmp_path / "other")[0],
    ):
        with pytest.raises(DepinError):
            check(folder, wrong)
    with pytest.raises(CredentialError):
        verify_birth(first, key_of=maker_key, now_ms=NOW, batch=None)


def test_a_p256_manufacturer(tmp_path: Path) -> None:
    maker = party("other maker", "p256")
    make(lines(3), tmp_path / "batch", issuer=maker)
    found = verify_birth(
        certificates(tmp_path / "batch")[2],
        key_of=lambda *_: maker.signer.public_key,
        now_ms=NOW,
        batch=(tmp_path / "batch" / "batch.json").read_bytes(),
    )
    assert found.credential.issuer == maker.did


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    for name, kind in (("folder", "dir"), ("file", "file"), ("link", "link")):
        path = tmp_path / name
        if kind == "dir":
            path.mkdir()
        elif kind == "file":
            path.write_text("x")
        else:
            path.symlink_to(tmp_path / "nowhere")
        with pytest.raises(StateError, match="state.exists"):
            make(lines(1), path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]


def test_options_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    class Unread:
        def readline(self, size: int) -> bytes:
            raise AssertionError("read")

    from depin_id.factory import make_batch

    for change in (
        {"batch": ""},
        {"batch": "a\nb"},
        {"issuer": Party(MAKER.method, signer("thief"))},
        {"now": -1},
        {"max_devices": 0},
    ):
        with pytest.raises(DepinError):
            make_batch(Unread(), tmp_path / "batch", options(**change))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


CHILD = """
import io, sys
from pathlib import Path
from tests.factory.material import lines, make
from depin_id.factory import batch as module
stop = sys.argv[2]
def wait(name):
    print(name, flush=True)
    sys.stdin.read()
if stop == "rows":
    module._EVERY = 1
    def report(what, done, total):
        if done == 5: wait("rows")
    module.make_batch(io.BytesIO("\\n".join(lines(9)).encode()), sys.argv[1],
        __import__("tests.factory.material", fromlist=["x"]).options(), report=report)
else:
    make(lines(9), Path(sys.argv[1]), also=lambda folder: wait("also"))
"""


@pytest.mark.parametrize("when", ["rows", "also"])
def test_a_killed_factory_leaves_no_half_batch(tmp_path: Path, when: str) -> None:
    target = tmp_path / "batch"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(target), when],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline().strip().decode() == when
        # Another one cannot write the same batch meanwhile.
        with pytest.raises(StateError, match="state.locked"):
            make(lines(1), target)
        child.send_signal(signal.SIGKILL)
        child.wait(30)
    finally:
        child.kill()
        child.wait(30)
    assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == [".batch.unfinished"]
    deadline = time.monotonic() + 30
    while True:
        try:
            make(lines(3), target)
            break
        except StateError:
            assert time.monotonic() < deadline
    assert len(certificates(target)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["batch"]


def test_a_disk_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StateError, match="state.full"):
        make(lines(2), tmp_path / "batch", also=full)
    assert list(tmp_path.iterdir()) == []


def test_defaults_are_for_lines_that_say_nothing(tmp_path: Path) -> None:
    text = ["serial,key,model", f"a,{did_key(key(1))},", f"b,{did_key(key(2))},own"]
    make(text, tmp_path / "batch", defaults=DEFAULTS)
    models = [
        check(tmp_path / "batch", one).credential_subject.model
        for one in certificates(tmp_path / "batch")
    ]
    assert models == ["N1", "own"]


def test_a_folder_that_others_may_write_is_not_taken(tmp_path: Path) -> None:
    beside = tmp_path / ".batch.unfinished"
    for mode in (0o777, 0o770, 0o750):
        beside.mkdir(exist_ok=True)
        beside.chmod(mode)
        (beside / "kept").write_text("x")
        with pytest.raises(StateError) as caught:
            make(lines(2), tmp_path / "batch")
        assert caught.value.code == "state.permissions"
        assert (beside / "kept").exists() and not (tmp_path / "batch").exists()
    beside.chmod(0o700)
    assert make(lines(2), tmp_path / "batch").size == 2
