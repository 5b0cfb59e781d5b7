"""A device whose DID has a history, by command lines: its keys change, its readings go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from depin_id.cli import main
from tests.verify.cli_site import Site


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    made = Site(tmp_path, capsys)
    yield made
    made.close()


def _tool(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What a command of depin-id printed."""
    capsys.readouterr()
    main([str(argument) for argument in arguments])
    return capsys.readouterr().out


def test_keys_turn_under_one_did(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.init()
    first, second = site.device("first"), site.device("second")
    folder = site.folder / "named"
    made = _tool(
        capsys, "did", "create", folder, "--place", "example.org:n1", "--signing", first.did
    )
    did = next(line.split()[1] for line in made.splitlines() if line.startswith("did "))
    assert not (folder / "signing.key").exists()
    shown = _tool(capsys, "device", "show", first.directory, "--did", did, "--json")
    assert json.loads(shown)["did"] == did
    document = site.folder / "named.json"
    document.write_text(shown)

    unbound = site.run("enrol", site.root, document)
    assert unbound.code == 1 and "registry.did_unbound" in unbound.err
    site.ok("history", site.root, folder / "did.jsonl")
    site.ok("enrol", site.root, document)
    # What the second key signs before the network hears of it waits.
    early = site.envelopes(second, 1, second=30)
    assert site.ok("ingest", site.root, early, "--json").json["quarantined"] == 1
    _tool(capsys, "did", "rotate", folder, "--signing", second.did)
    taken = site.ok("history", site.root, folder / "did.jsonl", "--json").json
    assert taken["parked"]["accepted"] == 1
    under_way = site.envelopes(first, 1, second=60)
    assert site.ok("ingest", site.root, under_way, "--json").json["accepted"] == 1
    told = site.ok("explain", site.root, "--device", did, "--position", "1/0")
    assert told.out.count(f"position 1/0 of {did}: accepted") == 2
    assert site.ok("audit", site.root, "--json").json["ok"] is True
    assert site.ok("verify-dataset", site.root, "--json").json["ok"] is True
