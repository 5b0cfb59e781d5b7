"""The command line as people run it: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from depin_id import Enrolment, parse_envelope, read_card, read_enrolments, split_bundle
from depin_id.cli import main
from depin_id.testing import TestNetwork
from tests.paths import ROOT

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"}


def run(
    *arguments: str, cwd: Path, data: bytes = b"", code: int = 0
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "depin_id.cli", *arguments],
        input=data,
        capture_output=True,
        cwd=cwd,
        env=ENVIRONMENT,
        timeout=120,
    )
    assert b"Traceback" not in done.stderr + done.stdout, done.stderr.decode()
    assert done.returncode == code, done.stderr.decode()
    return done


CSV = b"time,name,value,unit\n1760000000,LAeq,54.2,dB\n1760000001,LAeq,54.3,dB\n,LAeq,1,dB\n"


def test_the_whole_way(tmp_path: Path) -> None:
    run("network", "new", "net", "--name", "demo", cwd=tmp_path)
    run("device", "new", "dev", "--name", "roof", "--curve", "p256", cwd=tmp_path)
    shown = run("device", "show", "dev", "--json", cwd=tmp_path).stdout.decode()
    (enrolment,) = read_enrolments(shown)
    assert isinstance(enrolment, Enrolment) and enrolment.name == "roof"
    card = read_card(run("network", "card", "net", cwd=tmp_path).stdout)
    run(
        "sign",
        "dev",
        "--network",
        "net/card.cbor",
        "-o",
        "out",
        "--batch",
        "2",
        data=CSV,
        cwd=tmp_path,
    )
    found = [parse_envelope(part) for part in split_bundle((tmp_path / "out").read_bytes())]
    heads = [envelope.verify(card.network, enrolment.key) for envelope in found]
    assert len(found) == 2 and found[1].provenance.prev == heads[0][:16]
    told = json.loads(
        run(
            "inspect",
            "out",
            "--network",
            card.network,
            "--device",
            enrolment.did,
            "--json",
            cwd=tmp_path,
        ).stdout
    )
    assert [part["signature"] for part in told] == ["valid", "valid"]
    assert told[0]["records"][1]["value"] == "54.3"
    (tmp_path / "in.csv").write_bytes(CSV)
    again = run("sign", "dev", "--network", card.network, "--in", "in.csv", cwd=tmp_path).stdout
    assert parse_envelope(again).provenance.epoch == 2
    assert b"LAeq  54.2  dB" in run("inspect", data=again, cwd=tmp_path).stdout


@pytest.mark.parametrize(
    "arguments, code",
    [
        (["frob"], "usage"),
        (["network", "new", "n", "--name", "Not A Name"], "network.name"),
        (["network", "show", "missing"], "file.missing"),
        (["network", "show", "text"], "encoding.malformed"),
        (["device", "new", "d", "--curve", "p521"], "usage"),
        (["device", "new", "d", "--profile", "zz zz"], "usage"),
        (["device", "new", "d", "--lat", "1"], "usage"),
        (["device", "new", "d", "--lat", "1", "--lon", "x"], "enrolment.malformed"),
        (["device", "new", "text/d"], "state.io"),
        (["device", "show", "none"], "state.incomplete"),
        (["sign", "none", "--network", "did:key:z6Mk"], "state.missing"),
        (["sign", "none", "--network", "."], "network.file"),
        (["sign", "none", "--network", "did:key:x", "--batch", "0"], "usage"),
        (["inspect", "missing"], "file.missing"),
        (["inspect", "/dev/null"], "state.io"),
        (["inspect", "."], "state.io"),
    ],
)
def test_errors_are_said_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("hello")
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {code}: ")


def test_errors_as_json_and_bad_readings(tmp_path: Path) -> None:
    failed = run("network", "show", "missing", "--json", cwd=tmp_path, code=2)
    assert json.loads(failed.stderr)["error"]["code"] == "file.missing"
    run("device", "new", "dev", cwd=tmp_path)
    did = TestNetwork().did
    (tmp_path / "out").write_bytes(b"older")
    for data in (b"", b"a,b\n1,2\n", b"name,value\nx,nan\n", b"[{]", b"\xff\xfe\x00"):
        run("sign", "dev", "--network", did, "-o", "out", data=data, cwd=tmp_path, code=2)
    assert (tmp_path / "out").read_bytes() == b"older"


def test_a_wrong_unit_says_what_to_write_once(tmp_path: Path) -> None:
    run("device", "new", "dev", cwd=tmp_path)
    csv = b"name,value,unit\nlaeq,50,decibels\n"
    failed = run("sign", "dev", "--network", TestNetwork().did, data=csv, cwd=tmp_path, code=2)
    assert failed.stderr.count(b"is not a registered SenML unit") == 1
    assert failed.stderr.count(b"use a symbol of RFC 8428") == 1
    assert b"\nhint: use a symbol of RFC 8428" in failed.stderr


def test_names_are_printed_in_every_locale(tmp_path: Path) -> None:
    run("device", "new", "dev", "--name", "Gerät 🚲", cwd=tmp_path)
    for how in ([], ["--json"]):
        told = subprocess.run(
            [sys.executable, "-m", "depin_id.cli", "device", "show", "dev", *how],
            capture_output=True,
            cwd=tmp_path,
            env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii"},
            timeout=60,
        )
        assert (told.returncode, told.stderr) == (0, b"") and "Gerät 🚲" in told.stdout.decode()


def test_without_standard_output_nothing_breaks(tmp_path: Path) -> None:
    run("device", "new", "dev", cwd=tmp_path)
    command = f"exec {sys.executable} -m depin_id.cli device show dev >&-"
    ended = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, stderr=subprocess.PIPE, timeout=60, env=ENVIRONMENT
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_inspect_ends_in_1_for_an_invalid_signature(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = TestNetwork()
    device, other = net.device(), net.gateway()
    (tmp_path / "one").write_bytes(device.envelope())
    main(["inspect", str(tmp_path / "one"), "--network", net.did, "--device", device.did])
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(tmp_path / "one"), "--network", net.did, "--device", other.did])
    assert ended.value.code == 1 and "INVALID: signature.invalid" in capsys.readouterr().out


def test_inspect_shows_everything_and_never_breaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = TestNetwork()
    device, gateway = net.device(), net.gateway()
    wrapped = gateway.wrap(device.envelope())
    parts = [wrapped, net.card_bytes, net.ack(device.key, 3), net.resume(device.key, bytes(16), 4)]
    for name, data in (("all", b"".join(parts)), ("junk", b"\x1b[31m" * 40), ("cut", wrapped[:99])):
        (tmp_path / name).write_bytes(data)
        main(["inspect", str(tmp_path / name)])
        shown = capsys.readouterr().out
        assert "\x1b" not in shown
        if name == "all":
            for text in ("kind: gateway", "LAeq", "kind: card", "kind: ack", "resume", "level: G1"):
                assert text in shown
        else:
            assert "unreadable" in shown


@pytest.mark.parametrize(
    "command",
    [[], ["network"], ["network", "new"], ["network", "card"], ["network", "show"], ["device"],
     ["device", "new"], ["device", "show"], ["sign"], ["inspect"], ["version"]],
    ids=" ".join,
)  # fmt: skip
def test_help_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*command, "--help"])
    shown = capsys.readouterr().out
    assert "Usage:" in shown
    assert "Example:" in shown or command in (["network"], ["device"])


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "card").write_bytes(TestNetwork().card_bytes * 400)
    child = subprocess.Popen(
        [sys.executable, "-m", "depin_id.cli", "inspect", "card"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    try:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(60) in (0, 1)  # typer ends with 1 when it sees the closed pipe itself
    finally:
        child.kill()
        child.wait(30)
        if child.stderr is not None:
            child.stderr.close()


def test_passphrase_files(tmp_path: Path) -> None:
    secret = tmp_path / "pass"
    secret.write_text("open sesame\n")
    secret.chmod(0o644)
    run("device", "new", "dev", "--passphrase-file", "pass", cwd=tmp_path, code=2)
    secret.chmod(0o600)
    run("device", "new", "dev", "--passphrase-file", "pass", cwd=tmp_path)
    arguments = ["sign", "dev", "--network", TestNetwork().did]
    failed = run(*arguments, data=CSV, cwd=tmp_path, code=2)
    assert b"key.passphrase" in failed.stderr
    run(*arguments, "--passphrase-file", "pass", data=CSV, cwd=tmp_path)
