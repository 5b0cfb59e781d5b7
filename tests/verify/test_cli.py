"""``depin-verify``: every command, alone and beside a running aggregator; errors in one line."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from depin_id.device import Device
from depin_id.network import load_card
from depin_id.networkdir import NetworkDir
from tests.brokers import mosquitto
from tests.endtoend.world import aggregator_process, environment, until
from tests.verify.cli_site import Site
from verify.log import Checkpoint, sign_checkpoint


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    made = Site(tmp_path, capsys)
    yield made
    made.close()


def test_the_way_of_a_reading(site: Site) -> None:
    site.init()
    device = site.device()
    document = site.document(device)
    assert site.ok("enrol", site.root, document, "--json").json["enrolled"] == [device.did]
    again = site.ok("enrol", site.root, document)
    assert again.out.startswith("known") and device.did in again.out

    file = site.envelopes(device, 5)
    counts = site.ok("ingest", site.root, file, "--json").json
    assert counts == {
        "accepted": 5,
        "duplicates": 0,
        "rejected": {},
        "indeterminate": {},
        "quarantined": 0,
        "readings": 10,
    }
    repeated = site.ok("ingest", site.root, file, "--json").json
    assert (repeated["accepted"], repeated["duplicates"]) == (0, 5)
    damaged = site.folder / "damaged.cbor"
    data = file.read_bytes()
    damaged.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    told = site.ok("ingest", site.root, damaged)
    assert "signature.invalid 1" in told.out

    status = site.ok("status", site.root, "--json").json
    assert status["network"] == site.network
    assert (status["devices"], status["readings"]) == (1, 10)
    assert status["verdicts"] == {"accepted": 5}
    assert status["counted"]["signature.invalid"] == 1
    assert status["checkpoint"]["size"] == status["entries"]
    assert "accepted 5" in site.ok("status", site.root).out

    told_all = site.ok("explain", site.root, "--device", device.did, "--json").json
    assert [item["kind"] for item in told_all] == ["enrol"] + 5 * ["envelope"]
    first = site.ok("explain", site.root, "--device", device.did, "--position", "1/0")
    assert "accepted" in first.out.lower()
    _receipts(site, device)
    _dataset(site)
    assert site.ok("audit", site.root, "--json").json["ok"] is True
    assert site.ok("audit", site.root).out


def _receipts(site: Site, device: Device) -> None:
    out = site.folder / "r.receipt"
    made = site.ok(
        "receipt", site.root, "--device", device.did, "--position", "1/2", "-o", out, "--json"
    ).json
    assert made["bytes"] == out.stat().st_size
    checked = site.ok("check-receipt", out, "--network", site.network, "--json").json
    assert (checked["did"], checked["position"], checked["verdict"]) == (
        device.did,
        [1, 2],
        "accepted",
    )
    assert checked["network_pinned"] is True and checked["index"] == made["index"]
    newest = site.ok("receipt", site.root, "--device", device.did, "-o", out, "--json").json
    assert newest["index"] == made["index"] + 2
    unpinned = site.ok("check-receipt", out)
    assert "no --network was pinned" in unpinned.err
    data = bytearray(out.read_bytes())
    data[len(data) // 2] ^= 1
    bad = site.folder / "bad.receipt"
    bad.write_bytes(bytes(data))
    refused = site.run("check-receipt", bad, "--network", site.network)
    assert refused.code == 2 and refused.err.startswith("error: ")
    other = NetworkDir.create(site.folder / "other", "othernet").card.network
    foreign = site.run("check-receipt", out, "--network", other)
    assert foreign.code == 2 and foreign.err.startswith("error: network.")


def _dataset(site: Site) -> None:
    report = site.ok("verify-dataset", site.root, "--network", site.network, "--json").json
    assert report["ok"] and report["pinned"] and report["complete"] and report["readings"] == 10
    before = site.ok("status", site.root, "--json").json["checkpoint"]
    rebuilt = site.ok("rebuild", site.root, "--json").json
    assert rebuilt == before
    assert site.ok("verify-dataset", site.root / "public", "--json").json["readings"] == 10
    for format_ in ("csv", "jsonl", "parquet"):
        out = site.folder / f"readings.{format_}"
        done = site.ok("export", site.root, "--format", format_, "-o", out, "--json").json
        assert done["readings"] == 10
    with (site.folder / "readings.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 10
    lines = (site.folder / "readings.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == 10
    table: Any = parquet.read_table(site.folder / "readings.parquet")
    assert table.num_rows == 10


def test_a_reader_that_has_enough_and_a_question_asked(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``export | head`` ends quietly; a question and its answer leave standard output to JSON."""
    site.init()
    device = site.device()
    site.ok("enrol", site.root, site.document(device))
    site.ok("ingest", site.root, site.envelopes(device, 3))
    told = site.ok("audit", site.root).out
    assert "{" not in told and "size 6, root " in told
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    program = "from verify.cli import main; main()"
    command = [sys.executable, "-c", program, "export", str(site.root), "-o", "-"]
    with os.fdopen(writing_end, "wb") as nobody:
        ended = subprocess.run(
            command, stdout=nobody, stderr=subprocess.PIPE, env=environment(), timeout=120
        )
    assert (ended.returncode, ended.stderr) == (0, b"")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    erased = site.ok("erase", site.root, device.did, "--json")
    assert erased.json["did"] == device.did and "cannot be undone" in erased.err


def test_a_folder_may_have_any_name(site: Site) -> None:
    """File names are bytes on Linux; Python carries what is no UTF-8 as lone surrogates."""
    site.root = site.folder / os.fsdecode(b"r\xe4um 100%?#")
    site.init()
    assert "entries" in site.ok("status", site.root).out
    device = site.device()
    site.ok("enrol", site.root, site.document(device))
    file = site.folder / os.fsdecode(b"\xe4.cbor")
    site.envelopes(device, 2).rename(file)
    assert site.ok("ingest", site.root, file, "--json").json["accepted"] == 2
    site.ok("audit", site.root)
    assert site.ok("init", os.fsdecode(b"%s/\xff" % os.fsencode(site.folder)), "--network",
                   site.folder / "net").out  # fmt: skip


def test_damaged_tiles_are_made_again(site: Site) -> None:
    site.init()
    device = site.device()
    site.ok("enrol", site.root, site.document(device))
    site.ok("ingest", site.root, site.envelopes(device, 3))
    log = site.root / "public" / "log"
    checkpoint = (log / "checkpoint").read_bytes().splitlines()[:3]
    for level in ("0", "entries"):
        tile = next(path for path in sorted((log / "tile" / level).rglob("*")) if path.is_file())
        data = bytearray(tile.read_bytes())
        data[5] ^= 1
        tile.write_bytes(bytes(data))
        assert site.run("audit", site.root).code == 1
        done = site.ok("rebuild", site.root, "--json").json
        assert Path(done["set_aside"]).is_dir()
        assert (log / "checkpoint").read_bytes().splitlines()[:3] == checkpoint
        site.ok("audit", site.root)
    assert "set_aside" not in site.ok("rebuild", site.root, "--json").json


def test_tiles_are_not_replaced_from_a_journal_that_was_not_published(site: Site) -> None:
    """Somebody else's checkpoint beside the tiles: then the journal may be what is wrong."""
    site.init()
    device = site.device()
    site.ok("enrol", site.root, site.document(device))
    site.ok("ingest", site.root, site.envelopes(device, 3))
    log = site.root / "public" / "log"
    keys = NetworkDir(site.root / "network").log_signer
    origin, size, _ = (log / "checkpoint").read_text().splitlines()[:3]
    other = Checkpoint(origin, int(size), bytes(32))
    note = sign_checkpoint(other, origin, keys.public_key.raw, keys.sign)
    (log / "checkpoint").write_text(note)
    tile = next(path for path in sorted((log / "tile" / "0").rglob("*")) if path.is_file())
    damaged = bytes(reversed(tile.read_bytes()))
    tile.write_bytes(damaged)
    refused = site.run("rebuild", site.root)
    assert refused.code == 2 and "restore" in refused.err
    assert tile.read_bytes() == damaged and not list(site.root.glob("damaged-*"))


def test_a_changed_dataset_is_named_with_exit_1(site: Site) -> None:
    site.init()
    device = site.device()
    site.ok("enrol", site.root, site.document(device))
    site.ok("ingest", site.root, site.envelopes(device, 3))
    segment = sorted((site.root / "public" / "segments").rglob("*.parquet"))[0]
    data = bytearray(segment.read_bytes())
    data[len(data) // 3] ^= 0xFF
    segment.write_bytes(bytes(data))
    found = site.run("verify-dataset", site.root, "--network", site.network, "--json")
    assert found.code == 1
    assert found.json["ok"] is False and found.json["code"].startswith("dataset.")


def test_administration(site: Site) -> None:
    site.init()
    meter, other = site.device(), site.device("other")
    site.ok("enrol", site.root, site.document(meter), site.document(other))
    site.ok("ingest", site.root, site.envelopes(meter, 2))

    with Device.create(site.folder / "next") as made:
        turn = ("rotate", site.root, meter.did, made.did, "--at-once", "--json")
        rotated = site.ok(*turn).json
        assert rotated["thumbprint"] == made.public_key.thumbprint.hex()
        old_key = site.ok("ingest", site.root, site.envelopes(meter, 1, second=100), "--json").json
        assert (old_key["accepted"], old_key["rejected"]) == (0, {"key.rotated": 1})
        twice = site.run("rotate", site.root, other.did, made.did)
        assert twice.code == 2 and "registry.duplicate_key" in twice.err

    site.ok("revoke", site.root, other.did, "--reason", "stolen")
    revoked = site.ok("ingest", site.root, site.envelopes(other, 1), "--json").json
    assert revoked["rejected"] == {"device.revoked": 1}

    shown = site.ok("policy", site.root)
    assert 'default_profile = "noise"' in shown.out
    stricter = site.folder / "stricter.toml"
    stricter.write_text('default_profile = "noise"\n[time]\nmax_age_s = 60\n')
    changed = site.ok("policy", site.root, stricter, "--json").json
    assert changed["changed"] is True
    assert site.ok("policy", site.root, stricter, "--json").json["changed"] is False
    assert "max_age_s = 60" in site.ok("policy", site.root).out
    stricter.write_text("[time]\nmax_age = 60\n")
    wrong = site.run("policy", site.root, stricter)
    assert wrong.code == 2 and wrong.err.startswith("error: policy.invalid: ")

    site.ok("erase", site.root, meter.did, "--yes")
    status = site.ok("status", site.root, "--json").json
    assert (status["devices"], status["revoked"], status["erased"]) == (2, 1, 1)
    left = site.ok("explain", site.root, "--device", meter.did)
    assert "erased" in left.out
    receipt = site.folder / "erased.receipt"
    site.ok("receipt", site.root, "--index", "4", "-o", receipt)
    assert site.ok("check-receipt", receipt, "--network", site.network, "--json").json["erased"]
    assert site.ok("audit", site.root, "--json").json["ok"] is True
    assert site.ok("verify-dataset", site.root, "--json").json["ok"] is True


def test_a_damaged_device_is_resumed(site: Site) -> None:
    site.init()
    device = site.device()
    site.ok("enrol", site.root, site.document(device))
    site.ok("ingest", site.root, site.envelopes(device, 2))
    device.close()
    for file in (site.folder / "meter").glob("position*"):
        file.write_bytes(b"torn")
    with Device.open(site.folder / "meter") as damaged:
        assert damaged.position_lost
        nonce = damaged.resume_nonce(site.network)
        out = site.folder / "resume.cbor"
        done = site.ok(
            "resume", site.root, device.did, "--nonce", nonce.hex(), "-o", out, "--json"
        ).json
        assert done["epoch_floor"] >= 1
        card, _ = load_card(site.folder / "net" / "card.cbor")
        damaged.take_resume(out.read_bytes(), card=card)
        counts = site.ok("ingest", site.root, site.envelopes(damaged, 1, second=50), "--json").json
        assert counts["accepted"] == 1, counts


def test_asserted_times_need_the_genesis_entry(site: Site, tmp_path: Path) -> None:
    site.init()
    device = site.device()
    file = site.envelopes(device, 1)
    refused = site.run("ingest", site.root, file, "--received-at", "2025-03-22T00:00:00Z")
    assert refused.code == 2 and "state.asserted_time" in refused.err
    site.root = tmp_path / "replay"
    site.init("--allow-asserted-time")
    site.ok("enrol", site.root, site.document(device), "--effective-from", "2025-03-22T00:00:00Z")
    assert site.ok("status", site.root, "--json").json["asserted_time"] is True


def test_early_envelopes_wait_for_enrolment(site: Site) -> None:
    site.init()
    device = site.device()
    file = site.envelopes(device, 3)
    waiting = site.ok("ingest", site.root, file, "--json").json
    assert (waiting["quarantined"], waiting["indeterminate"]) == (3, {"device.unknown": 3})
    since = str(int(device._wall()) - 3600)
    answer = site.ok(
        "enrol", site.root, site.document(device), "--effective-from", since, "--json"
    ).json
    assert answer["parked"]["accepted"] == 3


def test_commands_beside_a_running_aggregator(site: Site, tmp_path: Path) -> None:
    """Requests are carried out by the process that holds the directory; others read beside it."""
    site.init()
    meter, other = site.device(), site.device("other")
    file = site.envelopes(meter, 2)
    with mosquitto(tmp_path) as broker, aggregator_process(site.root, broker) as process:
        until(lambda: "mqtt.subscribed" in process.log, "subscription", process=process)
        assert site.ok("enrol", site.root, site.document(meter), "--json").json["enrolled"]
        assert site.ok("enrol", site.root, site.document(meter), "--json").json["known"]
        site.ok("enrol", site.root, site.document(other))
        site.ok("revoke", site.root, other.did)
        unknown = site.run("revoke", site.root, "did:key:z6MkNobody")
        assert unknown.code == 2 and "registry.unknown_device" in unknown.err
        status = site.ok("status", site.root, "--json").json
        assert (status["devices"], status["revoked"]) == (2, 1)
        busy = site.run("ingest", site.root, file)
        assert busy.code == 2 and busy.err.startswith("error: state.locked: ")
        second = site.run("run", site.root, "--mqtt", f"mqtt://127.0.0.1:{broker.port}")
        assert second.code == 2 and second.err.startswith("error: state.locked: ")
        assert site.ok("explain", site.root, "--index", "2").out
        assert process.running, process.log
        process.finish()
    assert not list((site.root / "control").iterdir())
    assert site.ok("ingest", site.root, file, "--json").json["accepted"] == 2
    assert site.ok("audit", site.root, "--json").json["ok"] is True


def test_as_a_process_with_standard_input(site: Site) -> None:
    """Documents and envelopes come through a pipe; a closed output is no error."""
    site.init()
    device = site.device()
    document = site.document(device).read_bytes()
    run: Callable[..., subprocess.CompletedProcess[bytes]] = lambda stdin, *arguments: (  # noqa: E731
        subprocess.run(
            [sys.executable, "-m", "verify.cli", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            timeout=120,
            env=environment(),
            check=False,
        )
    )
    enrolled = run(document, "enrol", site.root, "-", "--json")
    assert enrolled.returncode == 0 and device.did.encode() in enrolled.stdout
    data = site.envelopes(device, 2).read_bytes()
    taken = run(data, "ingest", site.root, "-", "--json")
    assert json.loads(taken.stdout)["accepted"] == 2, taken.stderr
    csv_text = run(b"", "export", site.root, "-o", "-").stdout.decode()
    assert len(csv_text.splitlines()) == 1 + 4
    refused = run(b"", "erase", site.root, device.did)
    assert refused.returncode != 0 and b"Traceback" not in refused.stderr
    assert site.ok("status", site.root, "--json").json["erased"] == 0
