"""The commands of operations, as an operator types them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations.s3 import ACCESS, REGION, SECRET, s3_server
from tests.verify.cli_site import Site
from verify.store import Journal


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    made = Site(tmp_path, capsys)
    try:
        made.init()
        device = made.device()
        made.ok("enrol", made.root, made.document(device))
        made.ok("ingest", made.root, made.envelopes(device, 5))
        yield made
    finally:
        made.close()


def test_backup_disaster_restore_go_on(site: Site) -> None:
    copy, keys, public = site.folder / "copy", site.folder / "keys", site.folder / "public"
    made = site.ok("backup", site.root, copy, "--keys", keys, "--json").json
    assert made["entries"] == 8 and made["keys"] == str(keys)
    again = site.ok("backup", site.root, copy, "--keys", keys, "--check-all").out
    assert "entries" in again
    late = site.device("late")
    site.ok("enrol", site.root, site.document(late))
    site.ok("ingest", site.root, site.envelopes(site.devices[0], 3, second=100))
    shutil.copytree(site.root / "public", public)
    shutil.rmtree(site.root)

    refused = site.run("restore", copy, site.root, "--keys", keys)
    assert refused.code == 2 and "restore.unknown" in refused.err and "--published" in refused.err
    refused = site.run("restore", copy, site.root, "--keys", keys, "--published", public)
    assert refused.code == 2 and "restore.behind" in refused.err
    assert "its data key" in refused.err and "Traceback" not in refused.err
    refused = site.run("restore", copy, site.root, "--published", public, "--json")
    error = json.loads(refused.err)["error"]
    assert error["code"] == "restore.behind" and "--keys" in error["hint"]
    assert not any(site.root.iterdir())

    how = ("--keys", keys, "--published", public, "--read-only", "--json")
    looked = site.ok("restore", copy, site.root, *how).json
    assert looked["read_only"] and looked["missing"] == 4
    assert looked["first_missing"]["kind"] == "enrol"
    assert site.ok("status", site.root, "--json").json["entries"] == 8
    refused = site.run("ingest", site.root, site.folder / "meter.cbor")
    assert refused.code == 2 and "state.rewrites_log" in refused.err
    shutil.rmtree(site.root)

    word = site.ok("restore", copy, site.root, "--keys", keys, "--nothing-newer", "--json").json
    assert word["entries"] == 8 and not word["read_only"]
    assert word["public"] and site.ok("audit", site.root, "--json").json["log"]["size"] == 8
    assert site.ok("ingest", site.root, site.folder / "meter.cbor", "--json").json["accepted"] == 3


def test_archive_to_a_folder_and_to_s3(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal.open(site.root / "journal") as journal:
        journal.rotate()
    cold = site.folder / "cold"
    found = site.ok("archive", site.root, "--to", cold, "--keep", "0").out
    assert "journal-000001.db" in found
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", REGION)
    with s3_server() as store:
        made = site.ok(
            "archive", site.root, "--to", "s3://cold/agg", "--endpoint", store.url, "--json"
        )
        assert [item["place"] for item in made.json["copied"]] == ["s3://cold/agg"]
        assert SECRET not in made.out + made.err
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        refused = site.run("archive", site.root, "--to", "s3://cold/agg", "--endpoint", store.url)
        assert refused.code == 2 and "archive.refused" in refused.err
        assert "Traceback" not in refused.err and ACCESS not in refused.err
    for wrong in (
        ("--to", "x", "--from", "y"),
        (),
        ("--from", "x", "--keep", "1"),
        ("--to", "x", "--file", "y"),
        ("--to", "ftp" + "://x"),
    ):
        refused = site.run("archive", site.root, *wrong)
        assert refused.code == 2 and refused.err.startswith("error: "), wrong


def test_migrate_says_that_there_is_nothing_to_do(site: Site) -> None:
    found = site.ok("migrate", site.root, "--dry-run", "--json").json
    assert found["done"] and found["files"] == []
    assert "done" in site.ok("migrate", site.root).out


def test_help_has_examples(site: Site) -> None:
    for command in ("backup", "restore", "archive", "migrate"):
        assert f"Example: depin-verify {command}" in site.ok(command, "--help").out
